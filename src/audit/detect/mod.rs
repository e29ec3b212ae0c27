//! What the audit log means: detections, sessions, and what can't be known from it.
//!
//! ```text
//! each thread:  Brief --glimpse--> Gathered  (sessions, kinds of request) where no detection asks for more
//!               Event --map------> Gathered  (and the facts of each detection; bounded)
//! at the end:   Gathered + Gathered + … --reduce--> findings, sessions, what can't be known
//! ```
//!
//! A detection is one file in `known/`: what it is and which requests by whom it asks for ([`Spec`]), what it notes of one
//! event (`look`), and, where several events make the matter, how their facts are judged in order of time (`judge`). It
//! stands in one list, [`known::all`].
//! Teams add theirs in YAML, and Sigma rules can be loaded ([`rule`]).
//!
//! The answer is the same however the lines were split over files and threads, in whatever order, and if some are there
//! twice. An event may come once for each of its stages or only once. Text from the log is cut but not escaped: who prints
//! a finding on a terminal escapes it.
//!
//! ```no_run
//! # fn events() -> Vec<quell::audit::Event<'static>> { Vec::new() }
//! use quell::audit::detect::Detectors;
//! let detectors = Detectors::all();
//! let (mut one, mut other) = (detectors.gather(), detectors.gather());
//! for event in &events() {
//!     detectors.map(event, &mut one); // on several threads, each with its own
//! }
//! one.merge(other);
//! let report = detectors.reduce(one);
//! # let _ = report.findings;
//! ```

mod caller;
mod detectors;
mod document;
mod fact;
mod finding;
mod follow;
mod gather;
mod kind;
pub mod known;
mod look;
mod looking;
mod needs;
mod network;
#[cfg(test)]
pub(crate) mod plant;
pub mod rule;
mod session;
mod span;
mod spec;
mod template;
mod tokens;
mod window;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

pub use detectors::{Detectors, Gathered};
pub use document::{DOCUMENT, counts, document, headline, told};
pub use fact::{Fact, MAX_TEXT, Out, Outcome, Subject, outcome};
pub use finding::{EventRef, FORMAT, Finding, Who};
pub use follow::{Follow, follow, one as follow_one};
pub use look::{Actor, Actors, Look, Verbs};
pub use looking::{Looked, Looking, Ours};
pub use needs::{Blindness, Unknowable};
pub use rule::Rule;
pub use session::{BoundPod, CallCount, Issued, Seen, Session, SessionKind};
pub use spec::{Need, On, Severity, Spec};

/// One thing to look for.
pub trait Detection: Send + Sync {
    /// What it is.
    fn spec(&self) -> Spec<'_>;

    /// Notes what it needs of one event. Called for events of [`Spec::on`], at any stage and whatever their outcome: a
    /// line that does not tell the outcome may be followed by one that does.
    fn look(&self, look: &Look, out: &mut Out);

    /// Which facts make the finding, in order of time, each request once. By default all do.
    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        facts
    }
}

/// What a detection may judge by besides its own facts.
pub struct Around<'a> {
    /// All sessions.
    pub sessions: &'a [Session],
    /// Addresses that kubelets asked from, by node.
    pub nodes: &'a HashMap<String, Vec<String>>,
}

/// What all detections found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The gravest first.
    pub findings: Vec<Finding>,
    /// In the order in which they began.
    pub sessions: Vec<Session>,
    /// What the detections could not know here.
    pub unknowable: Vec<Unknowable>,
    /// What of the sessions is not exact, in words; empty if all is.
    pub limits: Vec<String>,
}

#[cfg(test)]
mod tests;
