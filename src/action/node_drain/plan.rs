//! The plan: what becomes of each pod and why, what their budgets say, whether there is room elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::filter::{Rules, Verdict, controller, decide, finished};
use super::{NodeDrain, OnDeadline, budget, capacity, taint};
use crate::action::{COLLECTORS, StepPlan, node};
use crate::cluster::{Cx, Fault, Problem, raw, selector};
use crate::event::{Guarded, ObjectRef, Op, Risk, Undo};

/// `namespace/name`.
pub(super) fn name(pod: &Value) -> String {
    let part = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

/// What the cluster says beside the node's own pods.
struct Around {
    budgets: Vec<Value>,
    sets: BTreeSet<(String, String)>,
    /// UIDs of pods elsewhere that have the same owners: those are no replacements.
    known: BTreeSet<String>,
    /// The room on other nodes, where it is to be counted.
    others: Option<capacity::Others>,
}

impl NodeDrain {
    pub(super) async fn draft(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let found = node::find(&cx.client, &self.node, self.uid.as_deref()).await?;
        let target = node::object(&found);
        let (pods, more) =
            raw::list(&cx.client, format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", self.node)).await?;
        let mut plan = StepPlan::default();
        if more {
            plan.blockers.push(format!("{target} has more pods than can be read"));
        }
        let Ok(spare) = Spare::parse(&self.spare) else {
            plan.blockers
                .push(format!("`spare` {:?} is no label selector: app=web,tier!=db or a label's name", self.spare));
            return Ok(plan);
        };
        let around = self.around(cx, &pods, &mut plan.warnings).await?;
        let unreachable = node::ready(&found) != "True";
        let (mut ops, mut stays, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
        let mut refused: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let rules = Rules {
            ignore_daemonsets: self.ignore_daemonsets,
            delete_emptydir_data: self.delete_emptydir_data,
            force: self.force,
        };
        let has_set = |pod: &Value| {
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
            let sets = &around.sets;
            move |owner: &Value| {
                sets.contains(&(namespace.clone(), owner["name"].as_str().unwrap_or_default().to_string()))
            }
        };
        for pod in &pods {
            let spared = if pod["metadata"]["namespace"] == COLLECTORS {
                Some("it is quell's own".to_string())
            } else {
                spare.takes(pod).then(|| format!("spared by {}", self.spare))
            };
            let verdict = spared.map_or_else(|| decide(pod, rules, has_set(pod)), Verdict::Stay);
            match verdict {
                Verdict::Stay(why) => stays.push((name(pod), why)),
                Verdict::Refuse { why, parameter } => {
                    refused.entry(parameter).or_default().push(format!("{}: {why}", name(pod)));
                }
                Verdict::Await(why) => {
                    let text = format!("wait for the end of {}: {why}", name(pod));
                    let mut op = Op::observe(object(pod), text);
                    op.verb = "await".into();
                    op.detail = detail(pod, &[], None, unreachable);
                    op.part_of = Some(target.clone());
                    ops.push(op);
                }
                Verdict::Evict { lost } => {
                    let under: Vec<String> = budget::of(pod, &around.budgets).into_iter().map(budget::key).collect();
                    ops.push(self.eviction(&target, pod, &under, lost, unreachable));
                    leaving.push(pod);
                }
            }
        }
        for (pod, why) in &stays {
            plan.warnings.push(format!("stays: {pod}: {why}"));
        }
        for (parameter, all) in refused {
            plan.blockers.push(format!(
                "{} can't leave {target} before it is decided: {}; `{parameter}: true` decides (--set {parameter}=true in the shipped runbook)",
                if all.len() == 1 { "a pod".into() } else { format!("{} pods", all.len()) },
                all.join("; ")
            ));
        }
        plan.warnings.extend(self.of_budgets(&leaving, &around.budgets));
        plan.warnings.extend(around.others.map(|others| others.lacking(&leaving)).unwrap_or_default());
        self.of_unreachable(&found, &target, unreachable, &mut ops, &mut plan);
        let mut look =
            Op::observe(target.clone(), format!("see what is left on {target}, and where the pods come up again"));
        look.detail = json!({
            "stays": stays.iter().map(|(pod, why)| json!({"pod": pod, "why": why})).collect::<Vec<_>>(),
            "staying_uids": pods.iter().filter(|p| stays.iter().any(|(n, _)| *n == name(p))).map(|p| &p["metadata"]["uid"]).collect::<Vec<_>>(),
            "left": leaving.iter().map(|pod| json!({"pod": name(pod), "uid": pod["metadata"]["uid"], "owner": controller(pod).filter(|_| !finished(pod))})).collect::<Vec<_>>(),
            "waited_for": ops.iter().filter(|op| op.part_of.is_some()).map(|op| json!({"pod": format!("{}/{}", op.object.namespace.as_deref().unwrap_or_default(), op.object.name), "uid": op.object.uid})).collect::<Vec<_>>(),
            "known": around.known,
        });
        ops.push(look);
        plan.outputs = json!({"evicted": 0, "left_out": [], "ending": [], "came_up": [], "report": null,
            "stayed": stays.iter().map(|(pod, why)| format!("{pod}: {why}")).collect::<Vec<_>>()});
        plan.ops = ops;
        Ok(plan)
    }

    fn eviction(
        &self,
        target: &ObjectRef,
        pod: &Value,
        under: &[String],
        lost: Option<String>,
        unreachable: bool,
    ) -> Op {
        let past = self.on_deadline == OnDeadline::Delete && !under.is_empty();
        let owner = controller(pod).map_or_else(
            || "no controller".to_string(),
            |o| format!("{} {}", o["kind"].as_str().unwrap_or_default(), o["name"].as_str().unwrap_or_default()),
        );
        let mut text = format!("evict {} ({owner}", name(pod));
        if let [one] = under {
            text.push_str(&format!("; budget {}", one.split('/').nth(1).unwrap_or_default()));
        }
        text.push(')');
        if let Some(lost) = &lost {
            text.push_str(&format!(": {lost}"));
        }
        if past {
            text.push_str(&format!("; deleted past its budget after {} s", self.deadline));
        }
        let risk = if lost.is_some() || past { Risk::Destructive } else { Risk::High };
        let undo = match &lost {
            Some(lost) => Undo::Impossible(lost.clone()),
            None => Undo::NotNeeded,
        };
        let mut op = Op::change("evict", object(pod), text, risk, undo);
        op.detail = detail(pod, under, lost.as_deref(), unreachable);
        if let Some(seconds) = self.grace_seconds {
            op.detail["grace"] = json!(seconds.max(1));
            op.detail["grace_asked"] = json!(seconds.max(1));
        }
        op.part_of = Some(target.clone());
        if past {
            op.guards.push(Guarded {
                guard: "disruption-budget".into(),
                why: format!("may delete {} past its budget {}", name(pod), under.join(", ")),
            });
        }
        op
    }

    /// What budgets will hold back, as far as they say now.
    fn of_budgets(&self, leaving: &[&Value], budgets: &[Value]) -> Vec<String> {
        let mut lines = Vec::new();
        let then = match self.on_deadline {
            OnDeadline::Skip => format!("what it has not let go after {} s stays", self.deadline),
            OnDeadline::Wait => "they are waited for as long as it takes".to_string(),
            OnDeadline::Delete => format!("what it has not let go after {} s is deleted past it", self.deadline),
        };
        for budget in budgets {
            let here = leaving.iter().filter(|p| budget::of(p, std::slice::from_ref(budget)).len() == 1).count();
            let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
            if here as i64 > allowed {
                lines.push(format!(
                    "PodDisruptionBudget {} {}; {here} of its pods are here: {then}",
                    budget::key(budget),
                    budget::state(budget)
                ));
            }
        }
        for pod in leaving {
            let under = budget::of(pod, budgets);
            if under.len() > 1 {
                let names: Vec<String> = under.into_iter().map(budget::key).collect();
                lines.push(format!(
                    "{} stands under {} budgets ({}), which the Eviction API refuses for good: {then}",
                    name(pod),
                    names.len(),
                    names.join(", ")
                ));
            }
        }
        lines
    }

    fn of_unreachable(
        &self,
        found: &Value,
        target: &ObjectRef,
        unreachable: bool,
        ops: &mut Vec<Op>,
        plan: &mut StepPlan,
    ) {
        if !self.out_of_service {
            if unreachable && !ops.is_empty() {
                plan.warnings.push(format!(
                    "{target} does not answer: what is told to go stays Terminating, and goes on running if the machine does; \
                     once it is known to be off, `out-of-service: true` lets its pods and volumes go"
                ));
            }
            return;
        }
        if !unreachable {
            plan.blockers.push(format!(
                "{target} answers, and out-of-service is for a machine that is known to be off: leave it out"
            ));
        } else if taint::has(found) {
            plan.warnings.push(format!("{target} has the out-of-service taint already: undo will leave it"));
        } else {
            let undo =
                Undo::Automatic("the taint is taken off again; pods that it removed are not brought back".into());
            let text = format!(
                "{target}: mark it out of service, so that its pods are removed without its word and their volumes are let go"
            );
            let mut op = Op::change("patch", target.clone(), text, Risk::Destructive, undo);
            op.before = json!({"taints": node::taints(found)});
            op.after = json!({"add": taint::out_of_service()});
            let pods: Vec<&Option<String>> = ops.iter().map(|o| &o.object.uid).collect();
            op.detail = json!({"key": "out-of-service", "pods": pods});
            ops.push(op);
        }
    }

    /// Budgets, DaemonSets, pods elsewhere. What can't be read is said.
    async fn around(&self, cx: &Cx, pods: &[Value], warnings: &mut Vec<String>) -> Result<Around, Problem> {
        let mut around = Around { budgets: Vec::new(), sets: BTreeSet::new(), known: BTreeSet::new(), others: None };
        match raw::list(&cx.client, "/apis/policy/v1/poddisruptionbudgets").await {
            Ok((all, _)) => around.budgets = all,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                warnings.push(format!("disruption budgets are not known, only what they refuse: {problem}"))
            }
        }
        let wanted: BTreeSet<(String, String)> = pods
            .iter()
            .filter_map(|p| {
                let owner = controller(p).filter(|o| o["kind"] == "DaemonSet")?;
                Some((p["metadata"]["namespace"].as_str()?.to_string(), owner["name"].as_str()?.to_string()))
            })
            .collect();
        for (namespace, set) in wanted {
            match raw::get(&cx.client, &format!("/apis/apps/v1/namespaces/{namespace}/daemonsets/{set}")).await {
                Ok(_) => drop(around.sets.insert((namespace, set))),
                Err(problem) if problem.fault == Fault::NotFound => {}
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => {
                    warnings
                        .push(format!("taken to be there: DaemonSet {namespace}/{set} could not be read: {problem}"));
                    around.sets.insert((namespace, set));
                }
            }
        }
        if !self.capacity {
            return Ok(around);
        }
        let owners: BTreeSet<&str> = pods.iter().filter_map(|p| controller(p)?["uid"].as_str()).collect();
        let nodes = match raw::list(&cx.client, "/api/v1/nodes").await {
            Ok((nodes, _)) => nodes,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                warnings.push(format!("whether the other nodes have room is not known: {problem}"));
                return Ok(around);
            }
        };
        let mut others = capacity::Others::new(nodes, &self.node);
        let known = &mut around.known;
        raw::pages(&cx.client, "/api/v1/pods", |page| {
            for pod in &page {
                others.add(pod);
                if controller(pod).and_then(|o| o["uid"].as_str()).is_some_and(|uid| owners.contains(uid)) {
                    known.insert(pod["metadata"]["uid"].as_str().unwrap_or_default().to_string());
                }
            }
        })
        .await?;
        around.others = Some(others);
        Ok(around)
    }
}

fn object(pod: &Value) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: pod["metadata"]["namespace"].as_str().map(Into::into),
        name: pod["metadata"]["name"].as_str().unwrap_or_default().into(),
        uid: pod["metadata"]["uid"].as_str().map(Into::into),
    }
}

fn detail(pod: &Value, budgets: &[String], lost: Option<&str>, unreachable: bool) -> Value {
    let grace = pod["metadata"]["deletionGracePeriodSeconds"]
        .as_i64()
        .or(pod["spec"]["terminationGracePeriodSeconds"].as_i64())
        .unwrap_or(30);
    let mut detail = json!({"grace": grace});
    if !budgets.is_empty() {
        detail["budgets"] = json!(budgets);
    }
    if let Some(lost) = lost {
        detail["lost"] = json!(lost);
    }
    if unreachable {
        detail["unreachable"] = json!(true);
    }
    detail
}

/// A label selector as kubectl writes it: `app=web,tier!=db,quell.dev/quarantine,!x`.
#[derive(Debug, Default)]
struct Spare(Vec<(String, Option<String>, bool)>);

impl Spare {
    fn parse(text: &str) -> Result<Spare, ()> {
        let mut all = Vec::new();
        for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value, is) = if let Some((key, value)) = part.split_once("!=") {
                (key, Some(value), false)
            } else if let Some((key, value)) = part.split_once('=') {
                (key, Some(value.trim_start_matches('=')), true)
            } else {
                part.strip_prefix('!').map_or((part, None, true), |key| (key, None, false))
            };
            let plain = |t: &str| t.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            if key.trim().is_empty() || !plain(key.trim()) || !value.is_none_or(|v| plain(v.trim())) {
                return Err(());
            }
            all.push((key.trim().to_string(), value.map(|v| v.trim().to_string()), is));
        }
        Ok(Spare(all))
    }

    /// An empty selector takes none: nothing was to be spared.
    fn takes(&self, pod: &Value) -> bool {
        let labels = selector::labels(pod);
        !self.0.is_empty()
            && self.0.iter().all(|(key, value, is)| match value {
                Some(value) => (labels.get(key) == Some(value)) == *is,
                None => labels.contains_key(key) == *is,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_spares_what_it_takes_and_an_empty_one_nothing() {
        let pod = json!({"metadata": {"labels": {"app": "web", "quell.dev/quarantine": "x"}}});
        for (text, takes) in [
            ("", false),
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("quell.dev/quarantine", true),
            ("!tier", true),
            ("app=web,tier=db", false),
        ] {
            assert_eq!(Spare::parse(text).unwrap().takes(&pod), takes, "{text}");
        }
        assert!(Spare::parse("app in (a, b)").is_err());
    }
}
