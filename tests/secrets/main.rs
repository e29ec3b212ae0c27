//! The exposed-secret playbook as a user runs it: on the embedded cluster, with a real PostgreSQL, and with stand-ins for
//! the other issuers.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod desk;
mod issuers;
mod logs;
#[path = "../postgres/mod.rs"]
mod postgres;
mod restarts;
mod rotation;
mod terminal;
