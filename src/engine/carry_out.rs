//! One step's operations: intent on disk, then the act, then the outcome.

use serde_json::Value;

use super::planner::Instance;
use super::session::Session;
use crate::action::{Action, Done, StepPlan};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Event, Landed, Op, OpKind, OpStatus};

impl Session {
    /// Carries out a step that was approved, from where its journal left it.
    pub(super) async fn carry_out(&self, at: &Instance, action: &dyn Action, plan: &StepPlan) -> Result<(), Problem> {
        let limit = Session::time_limit(&at.step);
        let work = self.operations(at, action, plan);
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => {
                Err(Problem::failed(format!("step {} was not done after {} s, its time limit", at.id, limit.as_secs()))
                    .hint("what was captured is kept; `quell resume` finds out what landed and goes on"))
            }
        }
    }

    async fn operations(&self, at: &Instance, action: &dyn Action, plan: &StepPlan) -> Result<(), Problem> {
        self.hold(&plan.ops).await?;
        let begun = self.state().steps.get(&at.id).is_some_and(|s| s.started && s.finished.is_none());
        if !begun {
            self.emit(Event::StepStarted {
                step: at.id.clone(),
                uses: at.step.uses.clone(),
                ops: plan.ops.clone(),
                outputs: plan.outputs.clone(),
            })?;
        }
        let mut all = Vec::new();
        let beside = |a: &Op, b: &Op| {
            (a.part_of.is_some() && a.part_of == b.part_of) || (a.stage.is_some() && a.stage == b.stage)
        };
        for ops in plan.ops.chunk_by(beside) {
            match ops {
                [op] if op.part_of.is_none() => all.push((op.clone(), self.once(at, action, op, None).await?)),
                several => all.extend(self.together(at, action, several).await?),
            }
        }
        let end = action.conclude(&plan.outputs, &all);
        for (level, text) in end.notes {
            self.emit(Event::Note { step: Some(at.id.clone()), level, text })?;
        }
        self.finish(&at.id, end.status, end.summary, end.outputs)
    }

    /// One operation, unless an earlier process did it. `announced` is the Audit-ID of an intent that is on disk already.
    pub(super) async fn once(
        &self,
        at: &Instance,
        action: &dyn Action,
        op: &Op,
        announced: Option<String>,
    ) -> Result<Done, Problem> {
        let earlier = self.state().steps.get(&at.id).and_then(|s| s.done.get(&op.id).cloned());
        match earlier {
            Some(done) => Ok(done),
            None if self.cancel.is_cancelled() => Err(interrupted(at)),
            None => self.one(at, action, op, announced).await,
        }
    }

    /// One operation, tried until it is done, it fails for good, or it can't be told whether it landed.
    async fn one(
        &self,
        at: &Instance,
        action: &dyn Action,
        op: &Op,
        mut announced: Option<String>,
    ) -> Result<Done, Problem> {
        let retry = at.step.retry;
        let open = announced.is_none() && self.is_open(at, op);
        if open && let Some(done) = self.find_out(at, action, op).await? {
            return Ok(done);
        }
        let mut attempt = 1;
        loop {
            let audit_id = match announced.take() {
                Some(audit_id) => audit_id,
                None => {
                    let audit_id = uuid::Uuid::now_v7().to_string();
                    self.emit(Event::Intent { op: op.id.clone(), audit_id: audit_id.clone(), attempt })?;
                    audit_id
                }
            };
            let (client, tape) = self.cluster.writer(&audit_id);
            let cx = Cx { last_try: attempt >= retry.attempts, ..self.cx(client, &at.id, &op.id) };
            let result = self.unless_interrupted(at, op, action.apply(&cx, op)).await;
            self.journal_artifacts(&cx, op)?;
            self.journal_notes(&cx, at)?;
            match result {
                // It may have landed: without an outcome, resume looks.
                Err(problem) if problem.fault == Fault::Interrupted => return Err(problem),
                Err(problem) if problem.fault == Fault::Held => {
                    self.emit(Event::Retrying {
                        op: op.id.clone(),
                        attempt,
                        cause: problem.message.clone(),
                        wait_ms: 0,
                    })?;
                    self.held(at, action, op).await?;
                    attempt += 1;
                }
                Ok(done) => {
                    self.outcome(op, &done, tape.take())?;
                    return Ok(done);
                }
                Err(problem) if problem.is_transient() && attempt < retry.attempts && !self.cancel.is_cancelled() => {
                    self.wait(&op.id, attempt, &problem, retry).await?;
                    // The answer was lost, not necessarily the request: look before doing it twice.
                    if op.kind == OpKind::Change
                        && let Some(done) = self.find_out(at, action, op).await?
                    {
                        return Ok(done);
                    }
                    attempt += 1;
                }
                Err(problem) => {
                    let status = OpStatus::Failed;
                    let detail = problem.message.clone();
                    self.emit(Event::Outcome {
                        op: op.id.clone(),
                        status,
                        detail,
                        proof: None,
                        observed: Value::Null,
                        calls: tape.take(),
                    })?;
                    return Err(problem);
                }
            }
        }
    }

    /// Looks whether an operation without an outcome had reached the cluster.
    async fn find_out(&self, at: &Instance, action: &dyn Action, op: &Op) -> Result<Option<Done>, Problem> {
        let (client, tape) = self.cluster.reader();
        let cx = self.cx(client, &at.id, &op.id);
        let (landed, done) = self
            .retrying(&op.id, at.step.retry, |_| {
                let cx = cx.clone();
                async move { action.landed(&cx, op).await }
            })
            .await?;
        let how = match landed {
            Landed::Yes => "the cluster shows its effect",
            Landed::No => "the cluster shows no effect of it; it is done now",
            Landed::Unknown => "the cluster does not tell",
        };
        self.emit(Event::FoundOut { op: op.id.clone(), landed, how: how.into() })?;
        match (landed, done) {
            (Landed::Yes, Some(done)) => {
                self.journal_artifacts(&cx, op)?;
                self.outcome(op, &done, tape.take())?;
                Ok(Some(done))
            }
            (Landed::No, _) => Ok(None),
            _ => Err(Problem::failed(format!(
                "it can't be told whether {:?} took effect before the interruption",
                op.summary
            ))
            .hint(format!("look at {}, then resume with --skip {} or undo the incident", op.object, at.id))),
        }
    }

    /// Whether an earlier process left its intent without an outcome.
    pub(super) fn is_open(&self, at: &Instance, op: &Op) -> bool {
        self.state().steps.get(&at.id).is_some_and(|s| s.open.contains(&op.id))
    }

    /// Until an operation that the cluster held back is worth another try, or Ctrl-C.
    async fn held(&self, at: &Instance, action: &dyn Action, op: &Op) -> Result<(), Problem> {
        let (client, _) = self.cluster.reader();
        let cx = self.cx(client, &at.id, &op.id);
        tokio::select! {
            waited = action.until(&cx, op) => waited,
            () = self.cancel.cancelled() => Err(interrupted(at)),
        }
    }

    fn outcome(&self, op: &Op, done: &Done, calls: Vec<crate::event::Call>) -> Result<(), Problem> {
        let outcome = Event::Outcome {
            op: op.id.clone(),
            status: done.status,
            detail: done.detail.clone(),
            proof: done.proof.clone(),
            observed: done.observed.clone(),
            calls,
        };
        // Of many at once each would wait for the disk in turn; what a crash loses of them is found out again.
        if op.part_of.is_some() { self.emit_unsynced(outcome) } else { self.emit(outcome) }
    }

    /// Artifacts that reached the disk are in the journal whatever became of the operation: nothing captured is lost.
    fn journal_artifacts(&self, cx: &Cx, op: &Op) -> Result<(), Problem> {
        for artifact in cx.store.drain() {
            let known = self.state().artifacts.get(&artifact.path) == Some(&artifact.sha256);
            if !known {
                self.emit(Event::Captured { op: op.id.clone(), artifact })?;
            }
        }
        Ok(())
    }

    fn journal_notes(&self, cx: &Cx, at: &Instance) -> Result<(), Problem> {
        let notes = cx.notes.lock().map(|mut notes| std::mem::take(&mut *notes)).unwrap_or_default();
        let note = |(level, text)| Event::Note { step: Some(at.id.clone()), level, text };
        match notes.is_empty() {
            true => Ok(()),
            false => self.emit_all(notes.into_iter().map(note).collect()),
        }
    }
}

pub(super) fn interrupted(at: &Instance) -> Problem {
    Problem::new(Fault::Interrupted, format!("interrupted in step {}", at.id))
        .hint("everything is saved; `quell resume` goes on")
}
