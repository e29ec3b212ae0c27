//! Steps in order: plan again, compare, ask, then one operation after the other.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::Value;

use super::approve::{Answer, WholePlan, by_policy, risk_of};
use super::planner::{Instance, Planned, planned};
use super::session::Session;
use crate::action::{Action, StepPlan};
use crate::cluster::{Fault, Problem};
use crate::event::{Decision, Event, OpKind, Plan, PlannedStep, RunStatus, StepStatus};
use crate::runbook::{ExprError, Item, OnFailure, Step};

/// Whether the run goes on after a step.
enum Flow {
    On,
    Stop(RunStatus),
}

impl Session {
    /// Runs every step that has not ended well, after the plan was made. How the run ended, and what keeps it from being
    /// all done.
    pub async fn execute(&self, plan: &Plan) -> Result<(RunStatus, Vec<String>), Problem> {
        let whole = match &self.prompt {
            Some(prompt) if self.needs_asking(plan) => tokio::task::block_in_place(|| prompt.plan()),
            _ => WholePlan::EachStep,
        };
        if whole == WholePlan::Stop {
            return Ok((RunStatus::Stopped, vec!["the plan was not approved".into()]));
        }
        let approved: BTreeSet<String> = if whole == WholePlan::ApproveAll {
            plan.steps.iter().flat_map(|s| &s.ops).map(crate::event::Op::key).collect()
        } else {
            BTreeSet::new()
        };
        let mut ended = None;
        for item in self.runbook.steps.clone() {
            let steps = match item {
                Item::Step(step) => vec![step],
                Item::Parallel(steps) => steps,
            };
            if let Flow::Stop(status) = self.side_by_side(&steps, &approved).await? {
                ended = Some(status);
                break;
            }
        }
        Ok(self.tally(ended))
    }

    /// Is there any step that flags do not already decide?
    fn needs_asking(&self, plan: &Plan) -> bool {
        plan.steps.iter().any(|planned| {
            let id = planned.step.split('#').next().unwrap_or_default();
            let Some(step) = self.runbook.step(id) else { return false };
            let ended = self.state().steps.get(&planned.step).is_some_and(|s| s.finished.is_some());
            !ended && by_policy(id, step.approve, planned.risk, &self.policy, false).is_none()
        })
    }

    /// Steps of a `parallel` group: each is decided in turn, then all of them run.
    async fn side_by_side(&self, steps: &[Step], approved: &BTreeSet<String>) -> Result<Flow, Problem> {
        let mut ready = Vec::new();
        for step in steps {
            if self.cancel.is_cancelled() {
                return Ok(Flow::Stop(RunStatus::Interrupted));
            }
            match self.prepare(step, approved).await {
                Ok(Prepared::Ready(all)) => ready.extend(all),
                Ok(Prepared::Ended) => {}
                Ok(Prepared::Stop) => return Ok(Flow::Stop(RunStatus::Stopped)),
                Err(problem) => {
                    if let Flow::Stop(status) = self.failed(step, &step.id, &problem)? {
                        return Ok(Flow::Stop(status));
                    }
                }
            }
        }
        let results = join_all(ready.iter().map(|(at, action, plan)| self.carry_out(at, action.as_ref(), plan))).await;
        let mut flow = Flow::On;
        for ((at, _, _), result) in ready.iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(problem) if problem.fault == Fault::Interrupted => flow = Flow::Stop(RunStatus::Interrupted),
                Err(problem) => {
                    if let Flow::Stop(status) = self.failed(&at.step, &at.id, &problem)? {
                        flow = Flow::Stop(status);
                    }
                }
            }
        }
        Ok(flow)
    }

    /// Selection, `when`, `needs`, the plan and the approval of one step (all its turns).
    async fn prepare(&self, step: &Step, approved: &BTreeSet<String>) -> Result<Prepared, Problem> {
        if let Some(why) = self.selection.leaves_out(&self.runbook, &step.id) {
            if !self.ended_well(&step.id) {
                self.skip(&step.id, &why, &why)?;
            }
            return Ok(Prepared::Ended);
        }
        let instances = match self.instances(step, &BTreeMap::new()) {
            Ok(instances) => instances,
            Err(ExprError::NotYet { step: other }) => {
                self.skip(&step.id, "engine", &format!("it depends on the outputs of {other}, which did not end"))?;
                return Ok(Prepared::Ended);
            }
            Err(error) => return Err(Problem::new(Fault::Runbook, format!("step {}, foreach: {error}", step.id))),
        };
        let mut ready = Vec::new();
        for at in instances {
            if self.ended_well(&at.id) {
                continue;
            }
            if let Some(unmet) = self.unmet(step) {
                self.skip(&at.id, "needs", &unmet)?;
                continue;
            }
            match self.plan_or_take_up(&at).await? {
                Planned::NotNeeded => {
                    self.finish(&at.id, StepStatus::NotNeeded, "`when` is false".into(), Value::Null)?
                }
                Planned::NotYet(other) => {
                    self.skip(&at.id, "engine", &format!("it depends on the outputs of {other}, which did not end"))?
                }
                Planned::Ready(action, plan, calls) => {
                    if !plan.blockers.is_empty() {
                        return Err(Problem::refused(plan.blockers.join("; ")));
                    }
                    let shown = planned(&at, &plan);
                    // What could not be planned at the beginning stands behind the same guards.
                    let alone = Plan { steps: vec![shown.clone()], blockers: Vec::new() };
                    if let Some((guard, text)) = self.guards.of_plan(&alone).into_iter().next() {
                        let hint = format!("`quell resume {} --override {guard} --reason TEXT` goes on", self.incident);
                        return Err(Problem::refused(text).hint(hint));
                    }
                    if !calls.is_empty() {
                        self.emit(Event::Planned {
                            plan: Plan { steps: vec![shown.clone()], blockers: Vec::new() },
                            calls,
                        })?;
                    }
                    match self.decide(&at, &shown, approved)? {
                        Decision::Approve => ready.push((at, action, plan)),
                        Decision::Stop => return Ok(Prepared::Stop),
                        Decision::Skip | Decision::ByHand => {}
                    }
                }
            }
        }
        Ok(Prepared::Ready(ready))
    }

    /// A step that had begun before a crash goes on with the operations that were approved then; any other is planned.
    async fn plan_or_take_up(&self, at: &Instance) -> Result<Planned, Problem> {
        let begun = self.state().steps.get(&at.id).filter(|s| s.started && s.finished.is_none()).cloned();
        let Some(begun) = begun else {
            return self.plan_instance(at, &BTreeMap::new()).await;
        };
        let scope = self.scope(at.item.as_ref(), &BTreeMap::new());
        let with = crate::runbook::evaluate(&at.step.with, &scope)
            .map_err(|e| Problem::new(Fault::Runbook, format!("step {}, with: {e}", at.id)))?;
        let entry = crate::action::find(&at.step.uses)
            .ok_or_else(|| Problem::internal(format!("no action {}", at.step.uses)))?;
        let action =
            (entry.bind)(with).map_err(|why| Problem::new(Fault::Runbook, format!("step {}: {why}", at.id)))?;
        // What plan knew is in what the operations observed; a step whose outputs come from the plan alone says so there.
        let outputs = self.planned_outputs(&at.id);
        Ok(Planned::Ready(action, StepPlan { ops: begun.ops, outputs, ..StepPlan::default() }, Vec::new()))
    }

    fn planned_outputs(&self, id: &str) -> Value {
        let state = self.state();
        state.steps.get(id).map(|s| s.planned_outputs.clone()).unwrap_or_default()
    }

    /// Ended in an earlier process. A step that was skipped is done after all when `--only` or `--approve` names it, and one
    /// that was not proved when `--only` does.
    pub(super) fn ended_well(&self, id: &str) -> bool {
        let state = self.state();
        let Some(known) = state.steps.get(id).filter(|s| s.has_ended()) else { return false };
        let name = id.split('#').next().unwrap_or_default();
        let only = self.selection.only.contains(name);
        let after_all = known.skipped_by_person && (only || self.policy.approve.contains(name));
        !(after_all || known.may_be_better() && only)
    }

    /// Why `needs` do not hold. Verified will do, and a person's word that it was done by hand.
    fn unmet(&self, step: &Step) -> Option<String> {
        if self.guards.overridden.contains("needs") {
            return None;
        }
        let state = self.state();
        step.needs.iter().find_map(|need| {
            let turns: Vec<_> = state.steps.iter().filter(|(id, _)| id.split('#').next() == Some(need)).collect();
            let bad = turns.iter().find_map(|(_, s)| match &s.finished {
                Some((StepStatus::Verified | StepStatus::ByHand, _, _)) => None,
                Some((status, why, _)) => Some(format!("it needs {need} verified, which is {status}: {why}")),
                None => Some(format!("it needs {need} verified, which has not ended")),
            });
            if turns.is_empty() { Some(format!("it needs {need} verified, which has not run")) } else { bad }
        })
    }

    /// Asks, or lets the flags answer; journals the decision, and ends the step when it is not to run.
    fn decide(&self, at: &Instance, shown: &PlannedStep, approved: &BTreeSet<String>) -> Result<Decision, Problem> {
        if self.state().steps.get(&at.id).is_some_and(|s| s.approved && s.started && !s.may_be_better()) {
            return Ok(Decision::Approve);
        }
        let risk = risk_of(&shown.ops);
        let covered = !approved.is_empty()
            && shown.ops.iter().filter(|op| op.kind != OpKind::Observe).all(|op| approved.contains(&op.key()));
        let answer = match by_policy(&at.step.id, at.step.approve, risk, &self.policy, covered) {
            Some(answer) => answer,
            None => match &self.prompt {
                Some(prompt) => tokio::task::block_in_place(|| prompt.step(shown)),
                None => {
                    return Err(Problem::new(
                        Fault::Approval,
                        format!("step {} needs an approval (risk {risk}), and there is no terminal to ask at", at.id),
                    )
                    .hint(format!(
                        "`quell resume {} --approve {}` approves it; `--yes --max-risk {risk}` approves every step up to that risk",
                        self.incident, at.step.id
                    )));
                }
            },
        };
        let Answer { decision, how, reason } = answer;
        self.emit(Event::Decided {
            step: at.id.clone(),
            decision,
            who: self.who.clone(),
            how,
            reason: reason.clone(),
        })?;
        let reason = reason.unwrap_or_default();
        match decision {
            Decision::Skip => self.finish(&at.id, StepStatus::Skipped, reason, Value::Null)?,
            Decision::ByHand => self.finish(
                &at.id,
                StepStatus::ByHand,
                format!("done by hand, as {} says: {reason}", self.who),
                Value::Null,
            )?,
            Decision::Approve | Decision::Stop => {}
        }
        Ok(decision)
    }

    /// A step that is left out, with the reason in the record.
    fn skip(&self, id: &str, how: &str, reason: &str) -> Result<(), Problem> {
        self.emit(Event::Decided {
            step: id.into(),
            decision: Decision::Skip,
            who: self.who.clone(),
            how: how.into(),
            reason: Some(reason.into()),
        })?;
        self.finish(id, StepStatus::Skipped, reason.into(), Value::Null)
    }

    pub(super) fn finish(&self, id: &str, status: StepStatus, summary: String, outputs: Value) -> Result<(), Problem> {
        self.emit(Event::StepFinished { step: id.into(), status, summary, outputs })
    }

    /// A step failed: in the record, and what it means for the rest.
    fn failed(&self, step: &Step, id: &str, problem: &Problem) -> Result<Flow, Problem> {
        // These are about the whole run, not about the step: it stays where it is and can be resumed.
        if matches!(
            problem.fault,
            Fault::Approval | Fault::Locked | Fault::Interrupted | Fault::Runbook | Fault::Internal
        ) {
            return Err(problem.clone());
        }
        let mut text = problem.message.clone();
        if let Some(hint) = &problem.hint {
            text = format!("{text} ({hint})");
        }
        self.finish(id, StepStatus::Failed, text.clone(), Value::Null)?;
        let go_on = match (step.on_failure, &self.prompt) {
            (OnFailure::Continue, _) => true,
            (OnFailure::Ask, Some(prompt)) => tokio::task::block_in_place(|| prompt.go_on(id, &text)),
            (OnFailure::Ask | OnFailure::Stop, _) => false,
        };
        Ok(if go_on { Flow::On } else { Flow::Stop(RunStatus::Failed) })
    }

    /// How the run ended, from what every step came to.
    fn tally(&self, ended: Option<RunStatus>) -> (RunStatus, Vec<String>) {
        let state = self.state();
        let mut open = Vec::new();
        let mut worst = RunStatus::Done;
        for step in self.runbook.all_steps() {
            let turns: Vec<_> = state.steps.iter().filter(|(id, _)| id.split('#').next() == Some(&step.id)).collect();
            if turns.is_empty() && step.foreach.is_none() {
                open.push(format!("{}: not reached", step.id));
            }
            for (id, turn) in turns {
                match &turn.finished {
                    Some((StepStatus::Verified | StepStatus::NotNeeded, _, _)) => {}
                    Some((status @ StepStatus::Failed, why, _)) => {
                        worst = RunStatus::Failed;
                        open.push(format!("{id}: {status}: {why}"));
                    }
                    Some((status, why, _)) => open.push(format!("{id}: {status}: {why}")),
                    None => open.push(format!("{id}: not ended")),
                }
            }
        }
        if worst == RunStatus::Done && !open.is_empty() {
            worst = RunStatus::Unproved;
        }
        (ended.unwrap_or(worst), open)
    }
}

/// What a step's preparation came to.
enum Prepared {
    Ready(Vec<(Instance, std::sync::Arc<dyn Action>, StepPlan)>),
    Ended,
    Stop,
}
