//! quell, as a user runs it, against a real Kubernetes: see README.md in this folder for how to run these.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod access;
mod capture;
mod crash;
mod detections;
mod drills;
mod isolation;
mod node;
mod playbook;
#[path = "../postgres/mod.rs"]
mod postgres;
mod refusals;
mod secret;
mod support;
mod transcripts;
mod undo;
