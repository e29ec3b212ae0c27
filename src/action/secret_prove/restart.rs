//! Restarting what does not take up a new value by itself: one workload after the other, in an order and at a pace that
//! keep the disruption budgets.

use std::time::Duration;

use http::Request;
use serde::Serialize;
use serde_json::{Value, json};

use crate::action::secret_consumers::workloads::{Found, not_read};
use crate::action::{Done, Problem};
use crate::cluster::{Cx, Fault, raw};
use crate::event::{ObjectRef, Op, Proof, Risk, Undo};

/// As `kubectl rollout restart` writes it.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// Names the run that restarted it, on the template and so on its pods.
pub const RESTARTED_BY: &str = "quell.dev/restarted-by";

/// A disruption budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Budget {
    pub name: String,
    pub selector: Value,
    pub healthy: i64,
    pub desired: i64,
}

impl Budget {
    pub fn kept(&self) -> bool {
        self.healthy >= self.desired
    }

    fn text(&self) -> String {
        format!("budget {}: {} healthy of the {} that it wants", self.name, self.healthy, self.desired)
    }
}

/// The namespace's budgets; None when they may not be read.
pub async fn budgets(cx: &Cx, namespace: &str) -> Result<Option<Vec<Budget>>, Problem> {
    let (mut all, mut left) = (Vec::new(), Vec::new());
    let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
    let listed = raw::each(&cx.client, &path, 500, |b: Value| {
        let number = |at: &str| b["status"][at].as_i64().unwrap_or(0);
        all.push(Budget {
            name: b["metadata"]["name"].as_str().unwrap_or_default().into(),
            selector: b["spec"]["selector"].clone(),
            healthy: number("currentHealthy"),
            desired: number("desiredHealthy"),
        });
    })
    .await;
    not_read(cx, listed, "budgets", &mut left)?;
    Ok(left.is_empty().then_some(all))
}

/// Whether a label selector takes labels.
fn takes(selector: &Value, labels: &Value) -> bool {
    let has = |key: &str| labels[key].as_str();
    let exact = selector["matchLabels"].as_object().into_iter().flatten().all(|(k, v)| has(k) == v.as_str());
    let loose = selector["matchExpressions"].as_array().into_iter().flatten().all(|e| {
        let value = has(e["key"].as_str().unwrap_or_default());
        let among =
            || e["values"].as_array().is_some_and(|all| all.iter().any(|v| v.as_str() == value && value.is_some()));
        match e["operator"].as_str() {
            Some("In") => among(),
            Some("NotIn") => !among(),
            Some("Exists") => value.is_some(),
            _ => value.is_none(),
        }
    });
    exact && loose && selector.is_object()
}

/// The object and path of a workload that rolls out, from `Kind/name`. It has no UID: it is only looked at.
pub fn place(namespace: &str, name: &str) -> Option<(ObjectRef, String)> {
    let (kind, name) = name.split_once('/')?;
    let plural = match kind {
        "Deployment" => "deployments",
        "StatefulSet" => "statefulsets",
        "DaemonSet" => "daemonsets",
        _ => return None,
    };
    let object = ObjectRef {
        api_version: "apps/v1".into(),
        kind: kind.into(),
        namespace: Some(namespace.into()),
        name: name.into(),
        uid: None,
    };
    Some((object, format!("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}")))
}

/// One workload to restart.
struct Target {
    object: ObjectRef,
    path: String,
    labels: Value,
    wants: i64,
    budgets: Vec<Budget>,
    note: Option<String>,
}

/// Operations, what an approver should know, and what has to be restarted by hand.
#[derive(Default)]
pub struct Restarts {
    pub ops: Vec<Op>,
    pub warnings: Vec<String>,
    pub by_hand: Vec<String>,
}

/// What is to be restarted among what was found. `leave`: `Kind/name` of what is not; `all`: what only mounts it too.
pub async fn plan(
    cx: &Cx,
    namespace: &str,
    found: &Found,
    leave: &[String],
    done: &[String],
    all: bool,
) -> Result<Restarts, Problem> {
    let mut restarts = Restarts::default();
    let known = budgets(cx, namespace).await?;
    if known.is_none() {
        restarts
            .warnings
            .push("you may not list disruption budgets: restarts go one after the other, blind to them".into());
    }
    let known = known.unwrap_or_default();
    let mut targets = Vec::new();
    let mut evict = Vec::new();
    for workload in found.workloads.iter().filter(|w| w.owner.is_none()) {
        let name = format!("{}/{}", workload.kind, workload.name);
        let stays = workload.uses.iter().any(|u| u.stays());
        let holds = workload.uses.iter().any(|u| u.via != "imagePullSecret");
        if done.contains(&name) || !(stays || all && holds) {
            continue;
        }
        if leave.contains(&name) {
            restarts.by_hand.push(format!("{name} is left alone, as it was asked: its pods keep the old value"));
            continue;
        }
        let (base, plural) = match workload.kind {
            "Deployment" => ("/apis/apps/v1", "deployments"),
            "StatefulSet" => ("/apis/apps/v1", "statefulsets"),
            "DaemonSet" => ("/apis/apps/v1", "daemonsets"),
            "ReplicaSet" | "ReplicationController" => {
                evict.extend(found.pods.iter().filter(|p| p.workload.as_deref() == Some(name.as_str())));
                continue;
            }
            _ => continue,
        };
        let path = format!("{base}/namespaces/{namespace}/{plural}/{}", workload.name);
        let object = match raw::get(&cx.client, &path).await {
            Ok(object) => object,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                restarts.by_hand.push(format!("{name} can't be read: {problem}"));
                continue;
            }
        };
        let spec = &object["spec"];
        let labels = spec["template"]["metadata"]["labels"].clone();
        let strategy =
            spec["strategy"]["type"].as_str().or(spec["updateStrategy"]["type"].as_str()).unwrap_or_default();
        if strategy == "OnDelete" {
            restarts
                .warnings
                .push(format!("{name} replaces a pod only when it is deleted: each of its pods is evicted"));
            evict.extend(found.pods.iter().filter(|p| p.workload.as_deref() == Some(name.as_str())));
        }
        let budgets: Vec<Budget> = known.iter().filter(|b| takes(&b.selector, &labels)).cloned().collect();
        let wants = spec["replicas"].as_i64().or(object["status"]["desiredNumberScheduled"].as_i64()).unwrap_or(1);
        let note = match (strategy, budgets.first()) {
            ("Recreate", Some(budget)) if budget.desired > 0 => Some(format!(
                "{name} is of strategy Recreate: all of its pods end at once, whatever budget {} wants",
                budget.name
            )),
            ("Recreate", _) => Some(format!("{name} is of strategy Recreate: it is down until its new pods are ready")),
            _ if spec["paused"] == true => {
                Some(format!("{name} is paused: its pods are not replaced until it is resumed"))
            }
            _ => None,
        };
        targets.push(Target {
            object: ObjectRef {
                api_version: "apps/v1".into(),
                kind: workload.kind.into(),
                namespace: Some(namespace.into()),
                name: workload.name.clone(),
                uid: object["metadata"]["uid"].as_str().map(Into::into),
            },
            path,
            labels,
            wants,
            budgets,
            note,
        });
    }
    // Those whose budgets have room first: a budget that is short now may recover meanwhile. Then the small ones: what is
    // wrong with the new value shows where it does least harm.
    targets
        .sort_by_key(|t| (t.budgets.iter().any(|b| !b.kept()), t.wants, t.object.kind.clone(), t.object.name.clone()));
    for target in targets {
        let Target { object, path, labels, wants, budgets, note } = target;
        restarts.warnings.extend(note);
        for budget in budgets.iter().filter(|b| !b.kept()) {
            restarts.warnings.push(format!("{object} waits until {} is kept: {}", budget.name, budget.text()));
        }
        let names: Vec<&str> = budgets.iter().map(|b| b.name.as_str()).collect();
        let kept = if names.is_empty() { String::new() } else { format!(", keeping budget {}", names.join(", ")) };
        let undo = Undo::Impossible("its pods were replaced; the note on its template does no harm".into());
        let pods = if wants == 1 { "1 pod".to_owned() } else { format!("{wants} pods") };
        let mut op =
            Op::change("restart", object.clone(), format!("restart {object} ({pods}){kept}"), Risk::High, undo);
        op.after = json!({ "spec": { "template": { "metadata": { "annotations": { RESTARTED_AT: "(now)" } } } } });
        op.detail = json!({ "key": "restart", "path": path, "labels": labels });
        let answer = send(cx, &op, "dry-run", true).await.map(|_| ());
        let (mut warnings, mut blockers) = (Vec::new(), Vec::new());
        match answer {
            Ok(()) => {}
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) if problem.is_transient() => {
                warnings.push(format!("whether {object} can be restarted is not known: {problem}"));
            }
            Err(problem) => blockers.push(format!("{object} can't be restarted: {problem}")),
        }
        restarts.warnings.extend(warnings);
        if blockers.is_empty() {
            restarts.ops.push(op);
        }
        restarts.by_hand.extend(blockers);
    }
    for pod in evict {
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: Some(namespace.into()),
            name: pod.name.clone(),
            uid: Some(pod.uid.clone()),
        };
        let undo = Undo::Impossible("its controller has made another".into());
        let mut op = Op::change(
            "evict",
            object.clone(),
            format!("evict {object}: its controller makes a new one"),
            Risk::High,
            undo,
        );
        op.detail = json!({ "key": "evict" });
        restarts.ops.push(op);
    }
    for pod in &found.pods {
        let name = format!("Pod/{}", pod.name);
        let ended = ["Succeeded", "Failed"].contains(&pod.phase.as_str());
        if ended || !pod.uses.iter().any(|u| u.stays()) {
            continue;
        }
        match pod.workload.as_deref() {
            None => restarts.by_hand.push(format!("{name} has no controller: end it and start it again by hand")),
            Some(job) if job.starts_with("Job/") || job.starts_with("CronJob/") => restarts
                .by_hand
                .push(format!("{name} of {job} keeps the old value until it ends; its next run takes the new one")),
            Some(owner) => {
                let kind = owner.split('/').next().unwrap_or_default();
                let known = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"];
                if !known.contains(&kind) {
                    restarts.by_hand.push(format!("{name} belongs to {owner}: restart it there"));
                }
            }
        }
    }
    Ok(restarts)
}

async fn send(cx: &Cx, op: &Op, mark: &str, dry_run: bool) -> Result<Value, Problem> {
    let body = json!({
        "metadata": { "uid": op.object.uid },
        "spec": { "template": { "metadata": { "annotations": {
            RESTARTED_AT: crate::clock::rfc3339(cx.clock.now()), RESTARTED_BY: mark,
        } } } },
    });
    let path = op.detail["path"].as_str().unwrap_or_default();
    let dry = if dry_run { "&dryRun=All" } else { "" };
    let request = Request::patch(format!("{path}?fieldManager=quell{dry}"))
        .header("content-type", "application/merge-patch+json")
        .body(body.to_string().into_bytes())
        .map_err(|e| Problem::internal(e.to_string()))?;
    Ok(cx.client.request(request).await?)
}

/// The mark of a run's restarts.
pub fn mark(cx: &Cx) -> String {
    format!("{}.{}", cx.incident, cx.step)
}

/// Whether it has been restarted by this run.
pub async fn is_restarted(cx: &Cx, op: &Op) -> Result<bool, Problem> {
    let object = raw::get(&cx.client, op.detail["path"].as_str().unwrap_or_default()).await?;
    Ok(object["spec"]["template"]["metadata"]["annotations"][RESTARTED_BY] == mark(cx).as_str())
}

/// Waits for its budgets, restarts it, and waits until its new pods have taken over.
pub async fn restart(cx: &Cx, op: &Op, patience: Duration) -> Result<Done, Problem> {
    let namespace = op.object.namespace.clone().unwrap_or_default();
    if !is_restarted(cx, op).await? {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let all = budgets(cx, &namespace).await?.unwrap_or_default();
            let short: Vec<String> = all
                .iter()
                .filter(|b| takes(&b.selector, &op.detail["labels"]) && !b.kept())
                .map(Budget::text)
                .collect();
            if short.is_empty() {
                break;
            }
            if tokio::time::Instant::now() >= deadline {
                let why = format!("{} is not restarted: {}, for {} s", op.object, short.join(", "), patience.as_secs());
                let observed = json!({ "restarted": false });
                return Ok(Done {
                    status: crate::event::OpStatus::Failed,
                    ..Done::taken(why.clone(), Some(Proof::Unproved(why)), observed)
                });
            }
            (cx.progress)(&format!("waiting for {}", short.join(", ")), 0, None);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        send(cx, op, &mark(cx), false).await.map_err(|problem| {
            if problem.fault == Fault::Conflict {
                return problem.hint("it was replaced or changed meanwhile: `quell resume` plans it again");
            }
            problem
        })?;
    }
    rolled_out(cx, op, patience).await
}

/// Waits for the end of a rollout.
pub async fn rolled_out(cx: &Cx, op: &Op, patience: Duration) -> Result<Done, Problem> {
    let deadline = tokio::time::Instant::now() + patience;
    let path = op.detail["path"].as_str().unwrap_or_default();
    loop {
        let object = raw::get(&cx.client, path).await?;
        let (ready, wanted, stuck) = progress(&object);
        (cx.progress)(
            &format!("rollout of {}", op.object.name),
            u64::try_from(ready).unwrap_or(0),
            u64::try_from(wanted).ok(),
        );
        if ready >= wanted && stuck.is_none() {
            let said =
                format!("{} is restarted: {ready} of {wanted} new pods are available, no old one is left", op.object);
            return Ok(Done::applied(said.clone(), Proof::Verified(said), json!({ "restarted": true })));
        }
        let late = tokio::time::Instant::now() >= deadline;
        if stuck.is_some() || late {
            let why = stuck.unwrap_or_else(|| format!("{} s were not enough", patience.as_secs()));
            let said = format!("{} does not come up again: {ready} of {wanted} new pods, {why}", op.object);
            let proof = Proof::Unproved(format!("{said}; look at its pods: the new value may be the reason"));
            return Ok(Done::applied(said, proof, json!({ "restarted": false })));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// New pods that are there with no old one left, how many are wanted, and why it will not go on.
fn progress(object: &Value) -> (i64, i64, Option<String>) {
    let (spec, status) = (&object["spec"], &object["status"]);
    let number = |at: &str| status[at].as_i64().unwrap_or(0);
    let stuck = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded");
    let stuck = stuck.map(|_| "its progress deadline is over".to_owned());
    let seen = object["metadata"]["generation"].as_i64() <= status["observedGeneration"].as_i64();
    match object["kind"].as_str() {
        Some("DaemonSet") => {
            let wanted = number("desiredNumberScheduled");
            if !seen || spec["updateStrategy"]["type"] == "OnDelete" {
                return (if seen { wanted } else { -1 }, wanted, None);
            }
            (number("updatedNumberScheduled").min(number("numberAvailable")), wanted, None)
        }
        Some("StatefulSet") => {
            let wanted = spec["replicas"].as_i64().unwrap_or(1);
            if !seen || spec["updateStrategy"]["type"] == "OnDelete" {
                return (if seen { wanted } else { -1 }, wanted, None);
            }
            (number("updatedReplicas").min(number("readyReplicas")), wanted, None)
        }
        _ => {
            let wanted = spec["replicas"].as_i64().unwrap_or(1);
            if spec["paused"] == true {
                return (0, wanted, Some("it is paused".into()));
            }
            let old = (number("replicas") - number("updatedReplicas")).max(0);
            let ready = number("updatedReplicas").min(number("availableReplicas")) - old;
            (if seen { ready } else { -1 }, wanted, if seen { stuck } else { None })
        }
    }
}

/// Evicts one pod through the Eviction API, which keeps the budgets, and sees it gone.
pub async fn evict(cx: &Cx, op: &Op, patience: Duration) -> Result<Done, Problem> {
    let namespace = op.object.namespace.clone().unwrap_or_default();
    let path = format!("/api/v1/namespaces/{namespace}/pods/{}", op.object.name);
    let there = || async {
        match raw::get(&cx.client, &path).await {
            Ok(pod) => Ok(pod["metadata"]["uid"].as_str() == op.object.uid.as_deref()),
            Err(problem) if problem.fault == Fault::NotFound => Ok(false),
            Err(problem) => Err(problem),
        }
    };
    if there().await? {
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": op.object.name, "namespace": namespace },
            "deleteOptions": { "preconditions": { "uid": op.object.uid } },
        });
        let request = Request::post(format!("{path}/eviction"))
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes())
            .map_err(|e| Problem::internal(e.to_string()))?;
        // 429 is a budget's no: transient, so the engine asks again.
        match cx.client.request::<Value>(request).await.map_err(Problem::from) {
            Ok(_) => {}
            Err(problem) if problem.fault == Fault::NotFound => {}
            Err(problem) => return Err(problem),
        }
    }
    let deadline = tokio::time::Instant::now() + patience;
    while there().await? {
        if tokio::time::Instant::now() >= deadline {
            let said = format!("{} was told to end but is still there", op.object);
            return Ok(Done::applied(said.clone(), Proof::Unproved(said), json!({ "restarted": false })));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let said = format!("{} is gone", op.object);
    Ok(Done::applied(said.clone(), Proof::Verified(said), json!({ "restarted": true })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_over_when_no_old_pod_is_left() {
        let deployment = |replicas: i64, updated: i64, available: i64, seen: i64| {
            progress(&json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2},
                "status": {"replicas": replicas, "updatedReplicas": updated, "availableReplicas": available, "observedGeneration": seen}}))
        };
        assert_eq!(deployment(2, 2, 2, 2), (2, 2, None));
        assert!(deployment(3, 2, 2, 2).0 < 2, "an old one is left");
        assert!(deployment(2, 2, 1, 2).0 < 2, "a new one is not available");
        assert!(deployment(2, 2, 2, 1).0 < 2, "the controller has not seen the change");
        let none = json!({"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 0}, "status": {"observedGeneration": 1}});
        assert_eq!(progress(&none), (0, 0, None));
        let stuck = json!({"kind": "Deployment", "metadata": {"generation": 1}, "spec": {"replicas": 1}, "status": {"observedGeneration": 1,
            "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}});
        assert!(progress(&stuck).2.is_some());
    }

    #[test]
    fn a_budget_takes_the_pods_that_its_selector_takes() {
        let labels = json!({"app": "web", "tier": "a"});
        assert!(takes(&json!({"matchLabels": {"app": "web"}}), &labels));
        assert!(!takes(&json!({"matchLabels": {"app": "db"}}), &labels));
        assert!(takes(&json!({}), &labels), "an empty selector takes all");
        assert!(!takes(&Value::Null, &labels), "none takes nothing");
        assert!(takes(
            &json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a"]}, {"key": "x", "operator": "DoesNotExist"}]}),
            &labels
        ));
        assert!(!takes(&json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}), &labels));
    }
}
