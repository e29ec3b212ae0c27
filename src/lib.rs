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
//!
//! # The folders
//!
//! - [`event`]: the one vocabulary: the journal's line, the `--json` line and what reporters are told.
//! - [`runbook`]: YAML with places, the check that reports everything at once, expressions, inputs, alerts.
//! - [`action`]: what a step can do, one file each, and the list.
//! - [`engine`]: plan, guards, approval, steps, Leases, resume, undo.
//! - [`cluster`]: the only door to Kubernetes: connecting, the guard, exec streams, finding the target.
//! - [`journal`]: append, chain, lock, read.
//! - [`evidence`]: the store of artifacts, the tar index, the bundle, the collector's image and its way into a registry.
//! - [`https`]: HTTP to what is not the cluster.
//! - [`audit`]: the API server's audit log in one bounded, parallel pass: formats, queries, coverage; detections and the
//!   graph on top.
//! - [`collector`]: what runs inside the suspect pod; built alone, it is all there is of this crate.
//! - [`sim`]: the embedded cluster: a Kubernetes API server in the process. [`drill`]: scenarios, injects, scores, reports.
//! - [`report`]: records as text or JSON lines, and [`report::escape`] for everything that a stranger wrote.
//! - [`cli`]: one file a command; the only place that prints, asks and exits. [`exit`] holds the exit codes.
//!
//! # What holds everywhere
//!
//! - No journal line, no mutation: the client that an action is handed can make one write, for the one intent it was
//!   made for; in `plan` it can make none but dry runs.
//! - Every write carries the target's UID. What an earlier try completed is found again, not done twice.
//! - What was not shown is [`event::Proof::Unproved`], and keeps the exit code from being 0.
//! - Who may import whom is a table in `tests/layers.rs`.

#[cfg(feature = "cli")]
pub mod action;
#[cfg(feature = "cli")]
pub mod audit;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod clock;
#[cfg(feature = "cli")]
pub mod cluster;
pub mod collector;
#[cfg(feature = "cli")]
pub mod drill;
#[cfg(feature = "cli")]
pub mod engine;
#[cfg(feature = "cli")]
pub mod event;
#[cfg(feature = "cli")]
pub mod evidence;
#[cfg(feature = "cli")]
pub mod exit;
#[cfg(feature = "cli")]
pub mod https;
#[cfg(feature = "cli")]
pub mod journal;
#[cfg(feature = "cli")]
pub mod report;
#[cfg(feature = "cli")]
pub mod runbook;
#[cfg(feature = "cli")]
pub mod sim;
