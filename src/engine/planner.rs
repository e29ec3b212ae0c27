//! The plan: every step's operations, by reads alone, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::approve::risk_of;
use super::session::Session;
use crate::action::Scope as RuleScope;
use crate::action::{self, Action, Rule, StepPlan};
use crate::cluster::access::{self, Question};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Call, Event, Op, OpKind, Plan, PlannedStep, Risk};
use crate::runbook::{ExprError, Scope, Step, evaluate, list, truth};

/// One step, or one turn of a step with `foreach`.
#[derive(Debug, Clone)]
pub struct Instance {
    /// `rotate`, or `rotate#2` for the second turn.
    pub id: String,
    /// The step.
    pub step: Step,
    /// `${{ item }}`.
    pub item: Option<Value>,
}

/// What evaluating and planning a step came to.
pub enum Planned {
    /// It can be done so.
    Ready(Arc<dyn Action>, StepPlan, Vec<Call>),
    /// `when` is false.
    NotNeeded,
    /// It depends on a step that has not run.
    NotYet(String),
}

impl Session {
    /// The values that expressions see: inputs, and the outputs of steps that have finished.
    pub fn scope(&self, item: Option<&Value>, preview: &BTreeMap<String, Value>) -> Scope {
        let mut steps = preview.clone();
        let state = self.state();
        // What a step that failed gave is nothing; what it is going to give, when it is done again, is in the preview.
        let again = |id: &str| preview.contains_key(id) && state.steps.get(id).is_some_and(|s| !s.has_ended());
        steps.extend(state.outputs().into_iter().filter(|(id, _)| !again(id)));
        Scope::new(&self.inputs, &steps, item)
    }

    /// A step's turns: itself, or one for each item of `foreach`.
    pub fn instances(&self, step: &Step, preview: &BTreeMap<String, Value>) -> Result<Vec<Instance>, ExprError> {
        let Some(expression) = &step.foreach else {
            return Ok(vec![Instance { id: step.id.clone(), step: step.clone(), item: None }]);
        };
        let items = list(expression, &self.scope(None, preview))?;
        Ok(items
            .into_iter()
            .enumerate()
            .map(|(i, item)| Instance { id: format!("{}#{}", step.id, i + 1), step: step.clone(), item: Some(item) })
            .collect())
    }

    /// Binds and plans one instance.
    pub async fn plan_instance(&self, at: &Instance, preview: &BTreeMap<String, Value>) -> Result<Planned, Problem> {
        let scope = self.scope(at.item.as_ref(), preview);
        if let Some(when) = &at.step.when {
            match truth(when, &scope) {
                Ok(true) => {}
                Ok(false) => return Ok(Planned::NotNeeded),
                Err(ExprError::NotYet { step }) => return Ok(Planned::NotYet(step)),
                Err(error) => return Err(self.bad(at, "when", &error)),
            }
        }
        let with = match evaluate(&at.step.with, &scope) {
            Ok(with) => with,
            Err(ExprError::NotYet { step }) => return Ok(Planned::NotYet(step)),
            Err(error) => return Err(self.bad(at, "with", &error)),
        };
        let entry = action::find(&at.step.uses).ok_or_else(|| {
            Problem::new(Fault::Runbook, format!("step {}: there is no action {:?}", at.id, at.step.uses))
        })?;
        let action = (entry.bind)(with).map_err(|why| {
            Problem::new(Fault::Runbook, format!("step {} ({}): {why}", at.id, at.step.uses))
                .hint(format!("`quell action explain {}` lists its parameters", at.step.uses))
        })?;
        let (client, tape) = self.cluster.reader();
        let cx = self.cx(client, &at.id, &at.id);
        let mut plan = self
            .retrying(&at.id, at.step.retry, |n| {
                let (action, cx) = (action.clone(), Cx { last_try: n >= at.step.retry.attempts, ..cx.clone() });
                async move { action.plan(&cx).await }
            })
            .await?;
        let known = self.state().steps.get(&at.id).cloned().unwrap_or_default();
        number(&at.id, &mut plan.ops, &known.ops, &known.left_out());
        Ok(Planned::Ready(action, plan, tape.take()))
    }

    fn bad(&self, at: &Instance, key: &str, error: &ExprError) -> Problem {
        Problem::new(
            Fault::Runbook,
            format!("{}:{}: step {}, {key}: {error}", self.runbook.source, at.step.line, at.id),
        )
    }

    /// Plans everything that can be planned now, checks rights and guards. Reads only; journals the plan.
    pub async fn make_plan(&self) -> Result<Plan, Problem> {
        let mut plan = Plan::default();
        let mut preview = BTreeMap::new();
        let mut calls = Vec::new();
        let steps: Vec<Step> = self.runbook.all_steps().cloned().collect();
        for step in &steps {
            if let Some(why) = self.selection.leaves_out(&self.runbook, &step.id) {
                plan.steps.push(deferred(&step.id, step, format!("left out: {why}")));
                continue;
            }
            let instances = match self.instances(step, &preview) {
                Ok(instances) => instances,
                Err(ExprError::NotYet { step: other }) => {
                    plan.steps.push(deferred(
                        &step.id,
                        step,
                        format!("depends on what {other} finds: planned when it is reached"),
                    ));
                    continue;
                }
                Err(error) => return Err(Problem::new(Fault::Runbook, format!("step {}, foreach: {error}", step.id))),
            };
            for at in instances {
                if let Some(so_far) = self.so_far(&at) {
                    plan.steps.push(so_far);
                    continue;
                }
                let made = match self.plan_instance(&at, &preview).await {
                    Ok(made) => made,
                    // One thing that the API server can't answer now does not keep the others from being done.
                    Err(problem) if problem.is_transient() && !preview.is_empty() => {
                        let why = format!("could not be planned: {problem}; planned again when it is reached");
                        plan.steps.push(deferred(&at.id, step, why));
                        continue;
                    }
                    Err(problem) => return Err(problem),
                };
                match made {
                    Planned::NotNeeded => plan.steps.push(deferred(&at.id, step, "not needed: `when` is false".into())),
                    Planned::NotYet(other) => {
                        plan.steps.push(deferred(
                            &at.id,
                            step,
                            format!("depends on what {other} finds: planned when it is reached"),
                        ));
                    }
                    Planned::Ready(_, mut found, made) => {
                        calls.extend(made);
                        once(&plan, &mut found);
                        preview
                            .insert(at.id.clone(), serde_json::json!({"outputs": found.outputs, "status": "planned"}));
                        plan.steps.push(planned(&at, &found));
                    }
                }
            }
        }
        self.rights(&mut plan).await?;
        for (guard, text) in self.guards.of_plan(&plan) {
            plan.blockers.push(format!("{text}; go on with --override {guard} --reason TEXT"));
        }
        self.emit(Event::Planned { plan: plan.clone(), calls })?;
        Ok(plan)
    }

    /// On resume: a step that has ended is not planned again (its target may be gone), and one that had begun goes on
    /// with the operations that were approved then.
    fn so_far(&self, at: &Instance) -> Option<PlannedStep> {
        let ended = self.ended_well(&at.id);
        let state = self.state();
        let known = state.steps.get(&at.id)?;
        match &known.finished {
            Some((status, _, _)) if ended => {
                let again = if known.may_be_better() { "; --only looks at it again" } else { "" };
                Some(deferred(&at.id, &at.step, format!("has ended: {status}{again}")))
            }
            None if known.started => {
                let rest: Vec<Op> = known.ops.iter().filter(|op| !known.done.contains_key(&op.id)).cloned().collect();
                let mut step = planned(at, &StepPlan { ops: rest, ..StepPlan::default() });
                step.warnings.push(format!(
                    "had begun: {} of {} operations are done",
                    known.done.len(),
                    known.ops.len()
                ));
                Some(step)
            }
            _ => None,
        }
    }

    /// The RBAC preflight: every right that the planned steps' actions declare, asked of the API server.
    async fn rights(&self, plan: &mut Plan) -> Result<(), Problem> {
        let mut wanted: BTreeMap<Question, (bool, BTreeSet<String>, &'static str)> = BTreeMap::new();
        for step in &plan.steps {
            if step
                .deferred
                .as_ref()
                .is_some_and(|why| ["left out", "not needed", "has ended"].iter().any(|s| why.starts_with(s)))
            {
                continue;
            }
            let Some(entry) = action::find(&step.uses) else { continue };
            let mut namespaces: BTreeSet<String> = step
                .ops
                .iter()
                .filter(|op| op.part_of.is_none())
                .filter_map(|op| op.object.namespace.clone())
                .filter(|ns| ns != action::COLLECTORS)
                .collect();
            namespaces.insert(self.namespace());
            for rule in entry.spec.rules.iter().copied().chain(lease_rule(&step.ops)) {
                for verb in rule.verbs {
                    for namespace in &namespaces {
                        let question = Question {
                            group: rule.group.into(),
                            resource: rule.resource.into(),
                            verb: (*verb).into(),
                            namespace: match rule.scope {
                                RuleScope::Target => Some(namespace.clone()),
                                RuleScope::Collectors => Some(action::COLLECTORS.into()),
                                RuleScope::In(namespace) => Some(namespace.into()),
                                RuleScope::Cluster => None,
                            },
                        };
                        let known = wanted.entry(question).or_insert_with(|| (true, BTreeSet::new(), rule.why));
                        known.0 &= rule.optional;
                        known.1.insert(step.step.clone());
                    }
                }
            }
        }
        let (client, _) = self.cluster.reader();
        let retry = crate::runbook::Retry { attempts: 5, max_wait: std::time::Duration::from_secs(8) };
        let denied = self
            .retrying("rights", retry, |_| {
                let (client, questions) = (client.clone(), wanted.keys().cloned().collect());
                async move { access::denied(&client, questions).await }
            })
            .await?;
        for question in denied {
            let Some((optional, steps, why)) = wanted.get(&question) else { continue };
            let names = steps.iter().cloned().collect::<Vec<_>>().join(", ");
            if *optional {
                let text = format!("you may not {question} ({why}): it will be said as not read");
                for step in plan.steps.iter_mut().filter(|s| steps.contains(&s.step)) {
                    step.warnings.push(text.clone());
                }
            } else {
                plan.blockers.push(format!(
                    "you ({}) may not {question}, which {names} needs ({why}); `quell runbook rbac {}` prints the rights",
                    self.cluster.id.user, self.runbook.name
                ));
            }
        }
        Ok(())
    }
}

/// The engine's own need, for steps that change something: the Lease that tells other responders. Actions on nodes say
/// theirs themselves.
pub fn lease_rule(ops: &[Op]) -> Option<Rule> {
    let of_nodes = |op: &Op| op.part_of.is_some() || op.object.namespace.is_none();
    (risk_of(ops) > Risk::Read && !ops.iter().all(of_nodes)).then_some(LEASE)
}

/// See [`lease_rule`].
pub const LEASE: Rule = Rule {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &["get", "create", "update", "delete"],
    scope: RuleScope::Target,
    why: "the Lease that tells other responders who is at work",
    optional: false,
};

/// Gives the operations their ids. In a step that is planned again, a change or a capture keeps the id that it had, so that
/// what was done is not done twice; what only looks has to look again, under a new one, and so has what was given up.
fn number(step: &str, ops: &mut [Op], known: &[Op], left_out: &BTreeSet<&str>) {
    let place = |op: &Op| op.id.rsplit('/').next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
    let mut next = known.iter().map(place).max().unwrap_or(0);
    let mut left: Vec<&Op> =
        known.iter().filter(|op| op.kind != OpKind::Observe && !left_out.contains(op.id.as_str())).collect();
    for op in ops {
        let same = left.iter().position(|old| op.kind == old.kind && op.key() == old.key());
        op.id = match same {
            Some(at) => left.remove(at).id.clone(),
            None => {
                next += 1;
                format!("{step}/{next}")
            }
        };
    }
}

/// A change that an earlier step makes is shown there alone: when this step's turn comes, it is made.
fn once(plan: &Plan, found: &mut StepPlan) {
    let earlier = |op: &Op| {
        let mut steps = plan.steps.iter();
        steps.find(|s| s.ops.iter().any(|o| o.kind == OpKind::Change && o.key() == op.key() && o.after == op.after))
    };
    let warnings = &mut found.warnings;
    found.ops.retain(|op| match earlier(op).filter(|_| op.kind == OpKind::Change) {
        Some(step) => {
            warnings.push(format!("step {} does this before, else it is done here: {}", step.step, op.summary));
            false
        }
        None => true,
    });
}

fn deferred(id: &str, step: &Step, why: String) -> PlannedStep {
    PlannedStep {
        step: id.into(),
        title: step.title.clone(),
        uses: step.uses.clone(),
        risk: action::find(&step.uses).map(|e| e.spec.risk).unwrap_or_default(),
        ops: Vec::new(),
        warnings: Vec::new(),
        blockers: Vec::new(),
        deferred: Some(why),
    }
}

/// A step as the approver sees it.
pub fn planned(at: &Instance, found: &StepPlan) -> PlannedStep {
    PlannedStep {
        step: at.id.clone(),
        title: at.step.title.clone(),
        uses: at.step.uses.clone(),
        risk: risk_of(&found.ops),
        ops: found.ops.clone(),
        warnings: found.warnings.clone(),
        blockers: found.blockers.clone(),
        deferred: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{ObjectRef, Undo};

    #[test]
    fn a_step_that_is_planned_again_keeps_the_ids_of_what_it_changed_and_looks_anew() {
        let object = |name: &str| ObjectRef { kind: "Pod".into(), name: name.into(), ..ObjectRef::default() };
        let change = |name: &str| Op::change("restart", object(name), "x", Risk::High, Undo::NotNeeded);
        let mut first = vec![change("a"), change("b"), Op::observe(object("a"), "look")];
        number("prove", &mut first, &[], &BTreeSet::new());
        let ids = |ops: &[Op]| ops.iter().map(|op| op.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&first), ["prove/1", "prove/2", "prove/3"]);
        let mut again = vec![change("new"), change("b"), Op::observe(object("a"), "look")];
        number("prove", &mut again, &first, &BTreeSet::new());
        assert_eq!(ids(&again), ["prove/4", "prove/2", "prove/5"]);
        number("prove", &mut again, &first, &BTreeSet::from(["prove/2"]));
        assert_eq!(ids(&again), ["prove/4", "prove/5", "prove/6"], "what was given up is another one");
    }

    #[test]
    fn the_same_change_is_planned_once_and_another_of_the_same_object_is_not_lost() {
        let op = |key: &str, after: Value| {
            let object =
                ObjectRef { kind: "Pod".into(), name: "web".into(), uid: Some("u".into()), ..ObjectRef::default() };
            let mut op = Op::change("patch", object, format!("set {key} {after}"), Risk::Low, Undo::NotNeeded);
            (op.detail, op.after) = (json!({ "key": key }), after);
            op
        };
        let step = |ops: Vec<Op>| StepPlan { ops, ..StepPlan::default() };
        let first = PlannedStep {
            step: "reach".into(),
            title: String::new(),
            uses: String::new(),
            risk: Risk::Low,
            ops: vec![op("collector app", json!(1))],
            warnings: Vec::new(),
            blockers: Vec::new(),
            deferred: None,
        };
        let plan = Plan { steps: vec![first], blockers: Vec::new() };
        let mut later =
            step(vec![op("collector app", json!(1)), op("collector app", json!(2)), op("collector sidecar", json!(1))]);
        once(&plan, &mut later);
        let left: Vec<&str> = later.ops.iter().map(|op| op.summary.as_str()).collect();
        assert_eq!(left, ["set collector app 2", "set collector sidecar 1"]);
        assert_eq!(later.warnings, ["step reach does this before, else it is done here: set collector app 1"]);
    }
}
