//! quell, as a user runs it, against a real Kubernetes: see README.md in this folder for how to run these.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod capture;
mod crash;
mod detections;
mod drills;
mod isolation;
mod node;
mod playbook;
mod refusals;
mod support;
mod transcripts;
mod undo;
