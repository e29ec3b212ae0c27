//! Taking containment back: every applied change in reverse order, each as a new intent.

use serde_json::Value;

use super::session::Session;
use crate::action;
use crate::cluster::{Fault, Problem};
use crate::event::{Decision, Event, Op, OpStatus, Proof, RunStatus, Undo};

/// What undo would do.
pub struct UndoPlan {
    /// Step, operation, what the outcome observed; in the order in which they are taken back.
    pub possible: Vec<(String, Op, Value)>,
    /// What can't be taken back, and why.
    pub impossible: Vec<(Op, String)>,
}

impl Session {
    /// Reads the journal alone.
    pub fn plan_undo(&self) -> UndoPlan {
        let mut plan = UndoPlan { possible: Vec::new(), impossible: Vec::new() };
        for (step, op, done) in self.state().standing() {
            match op.undo.clone() {
                Undo::Automatic(_) => plan.possible.push((step, op, done.observed)),
                Undo::Impossible(why) => plan.impossible.push((op, why)),
                Undo::NotNeeded => {}
            }
        }
        plan
    }

    /// Takes back what can be. Goes on past a failure: as much as possible is given back.
    pub async fn undo(&self, plan: &UndoPlan) -> Result<(RunStatus, Vec<String>), Problem> {
        let mut open: Vec<String> = plan
            .impossible
            .iter()
            .map(|(op, why)| format!("{} {}: can't be taken back: {why}", op.verb, op.object))
            .collect();
        let mut failed = false;
        let ops: Vec<Op> = plan.possible.iter().map(|(_, op, _)| op.clone()).collect();
        if !ops.is_empty() {
            self.emit(Event::Decided {
                step: "undo".into(),
                decision: Decision::Approve,
                who: self.who.clone(),
                how: "quell undo".into(),
                reason: None,
            })?;
            self.hold(&ops).await?;
        }
        for (step, op, observed) in &plan.possible {
            if self.cancel.is_cancelled() {
                open.push(format!("{} {}: not taken back: interrupted", op.verb, op.object));
                return Ok((RunStatus::Interrupted, open));
            }
            match self.undo_one(step, op, observed).await {
                Ok(Some(Proof::Unproved(why) | Proof::Refuted(why))) => {
                    open.push(format!("{} {}: {why}", op.verb, op.object))
                }
                Ok(_) => {}
                Err(problem) if matches!(problem.fault, Fault::Internal | Fault::Interrupted) => return Err(problem),
                Err(problem) => {
                    failed = true;
                    open.push(format!("{} {}: not taken back: {problem}", op.verb, op.object));
                }
            }
        }
        let status = if failed {
            RunStatus::Failed
        } else if open.is_empty() {
            RunStatus::Done
        } else {
            RunStatus::Unproved
        };
        Ok((status, open))
    }

    /// The step's action as it was bound when it ran: from the same inputs and outputs.
    fn bound(&self, id: &str) -> Result<std::sync::Arc<dyn action::Action>, Problem> {
        let step = self
            .runbook
            .step(id.split('#').next().unwrap_or_default())
            .ok_or_else(|| Problem::failed(format!("the runbook has no step {id}")))?;
        let turns = self.instances(step, &std::collections::BTreeMap::new());
        let item = turns.ok().and_then(|all| all.into_iter().find(|at| at.id == id)).and_then(|at| at.item);
        let scope = self.scope(item.as_ref(), &std::collections::BTreeMap::new());
        let with =
            crate::runbook::evaluate(&step.with, &scope).map_err(|e| Problem::failed(format!("step {id}: {e}")))?;
        let entry =
            action::find(&step.uses).ok_or_else(|| Problem::failed(format!("there is no action {:?}", step.uses)))?;
        (entry.bind)(with).map_err(|why| Problem::failed(format!("step {id}: {why}")))
    }

    /// An undo is idempotent: one whose outcome is unknown is simply sent again.
    async fn undo_one(&self, step: &str, op: &Op, observed: &Value) -> Result<Option<Proof>, Problem> {
        let id = format!("undo:{}", op.id);
        let action = self.bound(step)?;
        let retry = crate::runbook::Retry { attempts: 5, max_wait: std::time::Duration::from_secs(8) };
        self.retrying(&id, retry, |attempt| {
            let (action, id) = (action.clone(), id.clone());
            async move {
                let audit_id = uuid::Uuid::now_v7().to_string();
                self.emit(Event::Intent { op: id.clone(), audit_id: audit_id.clone(), attempt })?;
                let (client, tape) = self.cluster.writer(&audit_id);
                let cx = self.cx(client, step, &id);
                let result = action.undo(&cx, op, observed).await;
                let (status, detail, proof) = match &result {
                    Ok(done) => (done.status, done.detail.clone(), done.proof.clone()),
                    Err(problem) => (OpStatus::Failed, problem.message.clone(), None),
                };
                self.emit(Event::Outcome {
                    op: id,
                    status,
                    detail,
                    proof: proof.clone(),
                    observed: Value::Null,
                    calls: tape.take(),
                })?;
                result.map(|_| proof)
            }
        })
        .await
    }
}
