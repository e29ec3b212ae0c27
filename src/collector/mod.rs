//! What runs inside the suspect pod, and the words it speaks with quell.
//!
//! `quell-collector` is one static program: it needs no shell, no libc and no other file in its image. It trusts nothing
//! that it reads: names, command lines and file contents belong to whoever holds the pod. It opens no network
//! connection but for `probe`, writes no file, and ends by itself.

#[cfg(target_os = "linux")]
mod commands;
#[cfg(target_os = "linux")]
mod filesystem;
#[cfg(target_os = "linux")]
mod layer;
pub mod network;
#[cfg(target_os = "linux")]
mod output;
#[cfg(target_os = "linux")]
mod packets;
#[cfg(target_os = "linux")]
mod probe;
pub mod processes;
pub mod wire;

#[cfg(target_os = "linux")]
pub use commands::main;

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
