//! What an action is handed: a client that can do no more than it may, the store for evidence, and the run's facts.

use std::sync::{Arc, Mutex};

use super::{Fault, Problem};
use crate::clock::Clock;
use crate::event::NoteLevel;
use crate::evidence::Store;

/// The run's facts and doors, the same for `plan` and `apply` but for the client's rights.
#[derive(Clone)]
pub struct Cx {
    /// In `plan`, `landed`: refuses every write without `dryRun=All`, and every exec. In `apply` and `undo`: carries the
    /// intent's Audit-ID.
    pub client: kube::Client,
    /// The namespace in force.
    pub namespace: String,
    /// The incident's id: `20261123t031245z-pod-compromise-4f2a`, a DNS label of at most 63.
    pub incident: String,
    /// The step's id.
    pub step: String,
    /// Where evidence goes.
    pub store: Arc<Store>,
    /// Now.
    pub clock: Clock,
    /// Shows progress: label, bytes so far, bytes expected.
    pub progress: Arc<Progress>,
    /// What an operation has to say beside its outcome, one line each; `apply`'s alone are journaled.
    pub notes: Arc<Notes>,
    /// What only a person can give.
    pub ask: Arc<dyn Ask>,
    /// The engine will not try again: what can be done without an answer is done without it, and said.
    pub last_try: bool,
}

impl Cx {
    /// Whether a failure of something that can be done without goes to the engine: it tries again, or nothing works.
    pub fn passes_on(&self, problem: &Problem) -> bool {
        problem.fault == Fault::Unreachable || problem.is_transient() && !self.last_try
    }

    /// A line for people and the journal, before the operation's outcome.
    pub fn note(&self, level: NoteLevel, text: impl Into<String>) {
        if let Ok(mut notes) = self.notes.lock() {
            notes.push((level, text.into()));
        }
    }
}

/// How loud, and the line.
pub type Notes = Mutex<Vec<(NoteLevel, String)>>;

/// Label, bytes so far, bytes expected.
pub type Progress = dyn Fn(&str, u64, Option<u64>) + Send + Sync;

/// What a person did, with the files that show it; or why it was not done.
pub type ByHand = Result<(String, Vec<std::path::PathBuf>), String>;

/// A person's part in a `manual` step.
pub trait Ask: Send + Sync {
    /// Shows the instructions; the answer is what was done (and the files attached), or why it was not. None when there
    /// is nobody to ask.
    fn manual(
        &self,
        step: &str,
        title: &str,
        instructions: &str,
    ) -> Option<Result<(String, Vec<std::path::PathBuf>), String>>;
}
