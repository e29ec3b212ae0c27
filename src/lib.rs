//! quell executes incident-response runbooks on Kubernetes.
//!
//! # The flow
//!
//! ```text
//! runbook YAML --parse, check--> Runbook --bind--> actions --plan (reads only)--> Plan of Ops
//!   --approve--> engine, for each Op:
//!        journal Intent (on disk before the request leaves)
//!        action.apply --> cluster (guard, tape) --> kube::Client
//!        evidence.put --> Artifact
//!        journal Outcome
//!   each journaled Event --> reporters (terminal, JSON lines)
//! later: journal --> resume | undo | status;  journal + artifacts --> bundle
//! ```

#[cfg(feature = "cli")]
pub mod action;
#[cfg(feature = "cli")]
pub mod clock;
#[cfg(feature = "cli")]
pub mod cluster;
pub mod collector;
#[cfg(feature = "cli")]
pub mod event;
#[cfg(feature = "cli")]
pub mod evidence;
#[cfg(feature = "cli")]
pub mod runbook;
