//! The pod's network as its node's kernel knows it: what is open and by whom, and the end of it.

#[cfg(target_os = "linux")]
mod connections;
#[cfg(target_os = "linux")]
mod conntrack;
#[cfg(target_os = "linux")]
mod diag;
pub mod model;
#[cfg(target_os = "linux")]
mod netlink;

#[cfg(target_os = "linux")]
pub use connections::{Asked, within, write};
