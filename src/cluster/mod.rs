//! The only door to Kubernetes: connecting, the guard that refuses unplanned writes, the tape of calls, access reviews,
//! finding the one pod that is meant.

pub mod access;
mod connect;
mod context;
pub mod exec;
pub mod fetch;
mod guard;
mod problem;
pub mod raw;
pub mod selector;
pub mod target;

pub use connect::{Cluster, Options, unguarded, unguarded_as};
pub use context::{Ask, ByHand, Cx, Progress};
pub use guard::Tape;
pub(crate) use problem::chain;
pub use problem::{Fault, Problem};
