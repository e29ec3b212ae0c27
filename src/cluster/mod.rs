//! The only door to Kubernetes: connecting, the guard that refuses unplanned writes, the tape of calls, access reviews,
//! exec streams and waiting.

mod context;
mod problem;

pub use context::{Ask, Cx};
pub use problem::{Fault, Problem};
