//! The processes as one JSON document: read from `/proc`, or put together from what a target's own programs printed.

#[cfg(target_os = "linux")]
pub mod environ;
pub mod model;
pub mod parse;
#[cfg(target_os = "linux")]
mod read;
pub mod sockets;

#[cfg(target_os = "linux")]
pub use read::{all_of, held_in, oldest_of, write};
