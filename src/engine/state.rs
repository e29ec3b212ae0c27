//! What the journal says has happened so far: read back for resume, undo and status.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::action::Done;
use crate::event::{Decision, Event, Landed, Op, OpKind, OpStatus, Plan, Record, RunStatus, StepStatus};

/// An incident as its journal tells it.
#[derive(Debug, Default, Clone)]
pub struct State {
    /// The first record's event.
    pub opened: Option<Event>,
    /// The newest plan that was shown.
    pub plan: Option<Plan>,
    /// By step instance.
    pub steps: BTreeMap<String, StepState>,
    /// Steps in the order they began or were decided.
    pub order: Vec<String>,
    /// Operations that were taken back.
    pub undone: BTreeSet<String>,
    /// Intents of undo without an outcome.
    pub undo_open: BTreeSet<String>,
    /// How the last run ended; None while one is going on, or was killed.
    pub ended: Option<RunStatus>,
    /// The last seal.
    pub sealed: Option<String>,
    /// Guards that were overridden.
    pub overridden: BTreeSet<String>,
    /// Path to SHA-256 of everything captured.
    pub artifacts: BTreeMap<String, String>,
    /// What is still open, from the last Finished.
    pub open: Vec<String>,
    /// Leases taken and not given back, by operation id: the answer's `observed`.
    pub leases: BTreeMap<String, Value>,
}

/// One step instance.
#[derive(Debug, Default, Clone)]
pub struct StepState {
    /// Its operations, once it began.
    pub ops: Vec<Op>,
    /// The action's name.
    pub uses: String,
    /// By operation id.
    pub done: BTreeMap<String, Done>,
    /// Intents without an outcome.
    pub open: BTreeSet<String>,
    /// How it ended.
    pub finished: Option<(StepStatus, String, Value)>,
    /// It began.
    pub started: bool,
    /// It was approved.
    pub approved: bool,
    /// A person skipped it: it is not asked about again unless it is named.
    pub skipped_by_person: bool,
    /// What its plan already knew of its outputs.
    pub planned_outputs: Value,
}

impl StepState {
    /// It needs no more work: verified or not, it was done, was not needed, or a person left it out.
    pub fn has_ended(&self) -> bool {
        match &self.finished {
            Some((StepStatus::Failed, _, _)) | None => false,
            Some((StepStatus::Skipped, _, _)) => self.skipped_by_person,
            Some(_) => true,
        }
    }

    /// It ended, and looking again may come to something better: what stood in its way may be gone.
    pub fn may_be_better(&self) -> bool {
        matches!(&self.finished, Some((StepStatus::Unproved | StepStatus::Refuted, _, _)))
    }

    /// Operations that were given up: done again, each is another one.
    pub fn left_out(&self) -> BTreeSet<&str> {
        self.done.iter().filter(|(_, d)| d.status == OpStatus::LeftOut).map(|(id, _)| id.as_str()).collect()
    }
}

impl State {
    /// Reads the records in order.
    pub fn of(records: &[Record]) -> State {
        let mut state = State::default();
        for record in records {
            state.add(&record.event);
        }
        state
    }

    /// One more event.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::Opened { .. } => self.opened = Some(event.clone()),
            Event::RunStarted { .. } => self.ended = None,
            Event::Planned { plan, .. } => self.plan = Some(plan.clone()),
            Event::Overridden { by } => {
                self.overridden.insert(by.guard.clone());
            }
            Event::Decided { step, decision, how, .. } => {
                let state = self.step(step);
                state.approved = *decision == Decision::Approve;
                state.skipped_by_person = *decision == Decision::Skip && how == "terminal";
            }
            Event::StepStarted { step, uses, ops, outputs } => {
                let state = self.step(step);
                // A step that is done again after a failure: what an earlier try changed stands, and can be taken back.
                let before = std::mem::replace(&mut state.ops, ops.clone());
                let stands = |op: &Op| {
                    let applied = state.done.get(&op.id).is_some_and(|d| d.status == OpStatus::Applied);
                    applied && op.kind == OpKind::Change && !ops.iter().any(|new| new.id == op.id)
                };
                state.ops.splice(0..0, before.into_iter().filter(stands));
                state.planned_outputs.clone_from(outputs);
                state.uses.clone_from(uses);
                state.started = true;
                state.finished = None;
            }
            Event::Intent { op, .. } => self.intent(op),
            Event::Captured { artifact, .. } => {
                self.artifacts.insert(artifact.path.clone(), artifact.sha256.clone());
            }
            Event::Outcome { op, status, detail, proof, observed, .. } => {
                let done =
                    Done { status: *status, detail: detail.clone(), proof: proof.clone(), observed: observed.clone() };
                self.outcome(op, done);
            }
            Event::FoundOut { op, landed: Landed::No, .. } => {
                let step = step_of(op).to_string();
                self.step(&step).open.remove(op);
            }
            Event::StepFinished { step, status, summary, outputs } => {
                self.step(step).finished = Some((*status, summary.clone(), outputs.clone()));
            }
            Event::Finished { status, open, .. } => {
                self.ended = Some(*status);
                self.open.clone_from(open);
            }
            Event::Interrupted { .. } => self.ended = Some(RunStatus::Interrupted),
            Event::Sealed { bundle, .. } => self.sealed = Some(bundle.clone()),
            _ => {}
        }
    }

    fn intent(&mut self, op: &str) {
        if let Some(original) = op.strip_prefix("undo:") {
            self.undo_open.insert(original.into());
        } else if !op.starts_with("lease") {
            let step = step_of(op).to_string();
            self.step(&step).open.insert(op.into());
        }
    }

    fn outcome(&mut self, op: &str, done: Done) {
        if let Some(original) = op.strip_prefix("undo:") {
            self.undo_open.remove(original);
            if done.status != OpStatus::Failed {
                self.undone.insert(original.into());
            }
        } else if let Some(target) = op.strip_prefix("lease:") {
            if done.status == OpStatus::Applied {
                self.leases.insert(target.into(), done.observed);
            }
        } else if let Some(target) = op.strip_prefix("lease-release:") {
            self.leases.remove(target);
        } else {
            let step = step_of(op).to_string();
            let state = self.step(&step);
            state.open.remove(op);
            if done.status != OpStatus::Failed {
                state.done.insert(op.into(), done);
            }
        }
    }

    fn step(&mut self, id: &str) -> &mut StepState {
        if !self.steps.contains_key(id) {
            self.order.push(id.into());
        }
        self.steps.entry(id.into()).or_default()
    }

    /// Outputs of the finished steps, for expressions: `{record: {outputs: …, status: …}}`, `-` written `_`.
    pub fn outputs(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for (id, step) in &self.steps {
            if let Some((status, _, outputs)) = &step.finished {
                all.insert(id.clone(), serde_json::json!({"outputs": outputs, "status": status}));
            }
        }
        all
    }

    /// Applied changes that have not been taken back, newest first.
    pub fn standing(&self) -> Vec<(String, Op, Done)> {
        let mut all = Vec::new();
        for id in self.order.iter().rev() {
            let Some(step) = self.steps.get(id) else { continue };
            for op in step.ops.iter().rev() {
                if let Some(done) = step.done.get(&op.id).filter(|d| d.status == OpStatus::Applied)
                    && op.kind == OpKind::Change
                    && !self.undone.contains(&op.id)
                {
                    all.push((id.clone(), op.clone(), done.clone()));
                }
            }
        }
        all
    }
}

/// `isolate/2` belongs to `isolate`.
pub fn step_of(op: &str) -> &str {
    op.rsplit_once('/').map_or(op, |(step, _)| step)
}
