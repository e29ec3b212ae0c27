//! Drills: a scene, an attack, a response, and what it was worth.
//!
//! A [`scenario`] is YAML beside the runbooks. [`stage`] sets it up, on the embedded cluster or in a namespace of a real
//! one; [`inject`] does what the attacker does; [`observe`] watches what the cluster itself shows; the response is an
//! ordinary run of the runbook, made by the same code as `quell run`. [`score`] judges by the journal, the artifacts and
//! the cluster, and never asks the response how it went. [`outcome`] is what is kept, [`report`] what people read.

mod credentials;
pub mod inject;
mod library;
pub mod observe;
pub mod outcome;
pub mod report;
pub mod rights;
pub mod scenario;
pub mod score;
pub mod stage;

pub use library::{DrillRow, find, list};
