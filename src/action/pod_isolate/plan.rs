//! Which pods, in which order, and what is to be expected of whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::around::Around;
use super::{KEPT_ALIVE, PodIsolate, QUARANTINE, Spread, change, means, policy_name, reach};
use crate::action::StepPlan;
use crate::action::collector::{self, Wanted, node};
use crate::cluster::{Cx, Problem, raw, selector, target};
use crate::event::{ObjectRef, Op, Risk, Undo};

/// One pod to cut off.
struct Target {
    object: ObjectRef,
    pod: Value,
    around: Around,
    removed: BTreeMap<String, String>,
    after: selector::Labels,
    still: Vec<String>,
}

pub(super) async fn plan(with: &PodIsolate, cx: &Cx) -> Result<StepPlan, Problem> {
    let namespace = with.namespace.as_deref().unwrap_or(&cx.namespace);
    let found = target::pod(&cx.client, namespace, &with.pod, with.uid.as_deref()).await?;
    let object = target::object(&found);
    let mut plan = StepPlan::default();
    for address in with.canary.iter().filter(|a| a.parse::<SocketAddr>().is_err()) {
        plan.blockers.push(format!("canary: {address:?} is no IP:PORT"));
    }
    let pod = raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{}", object.name)).await?;
    let mut targets = vec![target(cx, object, pod, &mut plan).await?];
    for pod in others(with, cx, &targets[0], &mut plan).await? {
        let object = reference(&pod);
        targets.push(target(cx, object, pod, &mut plan).await?);
    }
    if targets.len() > with.limit {
        let names: Vec<String> = targets.iter().map(|t| t.object.to_string()).collect();
        plan.blockers.push(format!(
            "it would cut off {} pods, more than the limit of {}: {}; raise `limit`, or choose a smaller `spread`",
            targets.len(),
            with.limit,
            names.join(", ")
        ));
    }

    let (mut starts, mut controls, mut changes, mut ends) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut policies: BTreeMap<String, Op> = BTreeMap::new();
    let mut denying: BTreeMap<String, Option<Op>> = BTreeMap::new();
    for target in &targets {
        let namespace = target.object.namespace.clone().unwrap_or_default();
        if !denying.contains_key(&namespace) {
            let found = means::offer(cx, &namespace, &mut plan).await?;
            denying.insert(namespace.clone(), found);
        }
        let create = policies.entry(namespace.clone()).or_insert_with(|| policy(cx, &namespace)).clone();
        let patch = moved(cx, target);
        change::dry_run(cx, &create, &patch, &mut plan).await?;
        changes.push(patch);
        let detail = tries(with, cx, target, &mut starts, &mut plan).await?;
        let probing = !detail["handle"].is_null() && target.pod["spec"]["hostNetwork"] != true;
        if probing {
            let mut control = Op::observe(
                target.object.clone(),
                format!("list what {} has open, try what it reaches and who reaches it", target.object),
            );
            control.verb = "exec".into();
            control.detail = with_kind(&detail, "control", target);
            controls.push(control);
            if detail["handle"]["cuts"] == true {
                let mut cut = Op::change(
                    "exec",
                    target.object.clone(),
                    format!("end what {} has open, again once the policy holds", target.object),
                    Risk::Medium,
                    Undo::NotNeeded,
                );
                cut.detail = with_kind(&detail, "cut", target);
                ends.push(cut);
            }
        }
        let mut verdict = Op::observe(
            target.object.clone(),
            if probing {
                format!("try all of it again, watch {} s, and judge", with.watch_seconds)
            } else {
                "say what is known of the policy's effect".into()
            },
        );
        verdict.detail = with_kind(&detail, "verdict", target);
        ends.push(verdict);
    }
    // Verdicts after all cuts: one pod's watch must not delay another's end.
    ends.sort_by_key(|op| op.detail["kind"] == "verdict");
    let first = &targets[0];
    plan.outputs = json!({
        "policy": policy_name(cx), "removed_labels": first.removed, "still_selected_by": first.still, "enforcement": "unknown",
        "controller": {"expected": expected(first)}, "pods": targets.iter().map(|t| t.object.to_string()).collect::<Vec<_>>(),
    });
    dedup(&mut starts);
    let policies = policies.into_values().chain(denying.into_values().flatten());
    plan.ops = starts.into_iter().chain(controls).chain(policies).chain(changes).chain(ends).collect();
    Ok(plan)
}

fn with_kind(detail: &Value, kind: &str, target: &Target) -> Value {
    let mut detail = detail.clone();
    detail["kind"] = json!(kind);
    detail["key"] = json!(kind);
    if kind == "verdict" {
        detail["policy_labels"] = json!(target.after);
        detail["owner"] = target.around.owner.clone();
        detail["expected"] = expected(target);
        detail["siblings"] = target.around.siblings.clone().into();
        let services = target.around.services_on(&selector::labels(&target.pod));
        detail["services"] = services.iter().map(|s| s["metadata"]["name"].clone()).collect();
    }
    detail
}

fn dedup(ops: &mut Vec<Op>) {
    let mut seen = BTreeSet::new();
    ops.retain(|op| seen.insert(op.key()));
}

fn reference(pod: &Value) -> ObjectRef {
    let text = |key: &str| pod["metadata"][key].as_str().map(str::to_string);
    ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: text("namespace"),
        name: text("name").unwrap_or_default(),
        uid: text("uid"),
    }
}

/// The pods that go with it.
async fn others(with: &PodIsolate, cx: &Cx, first: &Target, plan: &mut StepPlan) -> Result<Vec<Value>, Problem> {
    let namespace = first.object.namespace.as_deref().unwrap_or_default();
    let path = match with.spread {
        Spread::Pod => return Ok(Vec::new()),
        Spread::Owner if first.around.owner.is_null() => {
            plan.warnings.push("nothing controls it: there are no other pods of its owner".into());
            return Ok(Vec::new());
        }
        Spread::Owner => format!("/api/v1/namespaces/{namespace}/pods"),
        Spread::Image => "/api/v1/pods".into(),
    };
    let (pods, more) = raw::list(&cx.client, &path).await?;
    if more {
        plan.blockers.push("there are more pods than are read: which of them to cut off is not known".into());
    }
    let digests = |pod: &Value| -> BTreeSet<String> {
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        let ids = statuses.filter_map(|s| s["imageID"].as_str());
        ids.filter_map(|id| id.rsplit_once('@').map_or(Some(id), |(_, digest)| Some(digest)))
            .filter(|d| !d.is_empty())
            .map(Into::into)
            .collect()
    };
    let own = digests(&first.pod);
    let owner = first.around.owner["uid"].as_str();
    Ok(pods
        .into_iter()
        .filter(|p| {
            p["metadata"]["uid"] != first.pod["metadata"]["uid"] && p["metadata"]["deletionTimestamp"].is_null()
        })
        .filter(|p| match with.spread {
            Spread::Image => !digests(p).is_disjoint(&own),
            _ => p["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|o| o["uid"].as_str() == owner),
        })
        .collect())
}

async fn target(cx: &Cx, object: ObjectRef, pod: Value, plan: &mut StepPlan) -> Result<Target, Problem> {
    let around = Around::read(cx, &pod).await?;
    let labels = selector::labels(&pod);
    if let Some(other) = labels.get(QUARANTINE).filter(|v| **v != cx.incident) {
        plan.blockers.push(format!(
            "{object} is already in the quarantine of incident {other}: `quell status {other}`, or undo that one first"
        ));
    }
    let keys = around.keys_to_leave(&labels);
    let removed: BTreeMap<String, String> = labels.clone().into_iter().filter(|(k, _)| keys.contains(k)).collect();
    let mut after = labels;
    after.retain(|k, _| !keys.contains(k));
    after.insert(QUARANTINE.into(), cx.incident.clone());
    let still = around.policies_on(&after, cx);
    for policy in &still {
        plan.warnings.push(format!("NetworkPolicy {policy} selects {object} whatever its labels: what it allows stays allowed, for policies add up"));
    }
    plan.warnings.extend(around.not_read.clone());
    let target = Target { object, pod, around, removed, after, still };
    plan.warnings.extend(cautions(&target));
    Ok(target)
}

/// What the approver should know of this pod.
fn cautions(target: &Target) -> Vec<String> {
    let (pod, object) = (&target.pod, &target.object);
    let mut all = Vec::new();
    if pod["spec"]["hostNetwork"] == true {
        all.push(format!(
            "{object} uses its node's network (hostNetwork): NetworkPolicies do not apply to it and isolating it this way has no \
             effect; treat its node as compromised: `quell run node-compromise --set node={}`",
            pod["spec"]["nodeName"].as_str().unwrap_or("-")
        ));
    }
    let expected = expected(target);
    all.extend(expected["text"].as_str().map(Into::into));
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    for container in containers.filter(|c| c["livenessProbe"].is_object()) {
        let probe = &container["livenessProbe"];
        let times = probe["failureThreshold"].as_u64().unwrap_or(3) * probe["periodSeconds"].as_u64().unwrap_or(10);
        all.push(format!(
            "container {} has a liveness probe: should it depend on the network, the kubelet restarts the container about {times} s \
             after the cut, and its memory and writable layer are gone: capture soon",
            container["name"].as_str().unwrap_or("-")
        ));
    }
    let marks = ["labels", "annotations"].map(|of| &pod["metadata"][of]);
    let reconciler = marks.iter().flat_map(|m| m.as_object().into_iter().flatten()).find_map(|(key, _)| {
        let of = |prefix: &str| key.starts_with(prefix);
        match key {
            _ if of("argocd.argoproj.io/") => Some("Argo CD"),
            _ if of("kustomize.toolkit.fluxcd.io/") || of("helm.toolkit.fluxcd.io/") => Some("Flux"),
            _ => None,
        }
    });
    if let Some(who) = reconciler {
        all.push(format!("{who} reconciles this workload: it may give labels back or remove what is not in its source; suspend it while the evidence is needed"));
    }
    all
}

/// What the pod's controller will do when the pod leaves its selector (each controller's source; tried on a real
/// cluster): `lets_go`, `replaces`, and a sentence.
fn expected(target: &Target) -> Value {
    let owner = &target.around.owner;
    let (kind, name) = (owner["kind"].as_str().unwrap_or_default(), owner["name"].as_str().unwrap_or_default());
    let image = target.pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let (lets_go, replaces, text) = match kind {
        "" => (Value::Null, json!(false), "nothing controls it: nothing will replace it".to_string()),
        "ReplicaSet" => (
            json!(true),
            json!(true),
            format!(
                "ReplicaSet {name} will let it go and start a replacement from the same image ({image}), which may fall to the same attack"
            ),
        ),
        "StatefulSet" => (
            json!(true),
            json!(false),
            format!(
                "StatefulSet {name} will let it go, and can't replace it while a pod of its name is there: the ordinal stays missing until it is deleted"
            ),
        ),
        "DaemonSet" => (
            json!(true),
            json!(true),
            format!(
                "DaemonSet {name} will let it go and start another on the same node from the same image ({image}); host ports, if it has any, would clash"
            ),
        ),
        "Job" => (
            json!(true),
            json!(true),
            format!("Job {name} will let it go and start another run from the same image ({image})"),
        ),
        kind => (
            Value::Null,
            Value::Null,
            format!(
                "{kind} {name} controls it: what that does when the pod leaves its labels is not known here; it may give them back"
            ),
        ),
    };
    json!({"kind": kind, "name": name, "lets_go": lets_go, "replaces": replaces, "text": text})
}

fn policy(cx: &Cx, namespace: &str) -> Op {
    let object = ObjectRef {
        api_version: "networking.k8s.io/v1".into(),
        kind: "NetworkPolicy".into(),
        namespace: Some(namespace.into()),
        name: policy_name(cx),
        uid: None,
    };
    let text =
        format!("create a NetworkPolicy that allows nothing in or out of pods labelled {QUARANTINE}={}", cx.incident);
    let mut create = Op::change("create", object, text, Risk::Low, Undo::Automatic("delete the policy".into()));
    create.after =
        json!({"podSelector": {"matchLabels": {QUARANTINE: cx.incident}}, "policyTypes": ["Ingress", "Egress"]});
    create
}

fn moved(cx: &Cx, target: &Target) -> Op {
    let Target { object, pod, removed, after, .. } = target;
    let spoken = if removed.is_empty() {
        "no label (none is selected by anything)".into()
    } else {
        removed.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", ")
    };
    let mut patch = Op::change(
        "patch",
        object.clone(),
        format!("label {object} {QUARANTINE}={} and take off {spoken}; keep autoscalers from evicting it", cx.incident),
        Risk::Medium,
        Undo::Automatic("put the labels back; the controller takes the pod back and drops its replacement (a ReplicaSet is told which by the annotation pod-deletion-cost, which stays on the pod)".into()),
    );
    let annotations: BTreeMap<&str, &Value> =
        KEPT_ALIVE.iter().map(|(key, _)| (*key, &pod["metadata"]["annotations"][*key])).collect();
    patch.before = json!({"labels": selector::labels(pod), "annotations": annotations});
    patch.after = json!({"labels": after, "annotations": KEPT_ALIVE.iter().copied().collect::<BTreeMap<_, _>>()});
    patch.detail = json!({"remove": removed, "owner": target.around.owner, "enforcement_unknowable": pod["spec"]["hostNetwork"] == true});
    patch
}

/// Who tries what, and what starts them; the detail that control, cut and verdict share.
async fn tries(
    with: &PodIsolate,
    cx: &Cx,
    target: &Target,
    starts: &mut Vec<Op>,
    plan: &mut StepPlan,
) -> Result<Value, Problem> {
    let pod = &target.pod;
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let running = statuses.into_iter().find(|s| s["state"]["running"].is_object()).and_then(|s| s["name"].as_str());
    let image = with.collector_image.as_deref().unwrap_or_default();
    let nothing = |why: String| json!({"handle": null, "why": why, "hostNetwork": pod["spec"]["hostNetwork"] == true});
    let Some(container) = running.filter(|_| pod["spec"]["hostNetwork"] != true) else {
        return Ok(nothing(if running.is_none() {
            "none of its containers runs".into()
        } else {
            "it uses its node's network".into()
        }));
    };
    let wanted = Wanted { image, ttl: with.ttl_seconds, node: true };
    let offer = collector::offer(cx, &target.object, pod, container, wanted).await?;
    let why = offer.why();
    starts.extend(offer.ops);
    let Some(handle) = offer.handle else {
        plan.warnings.push(format!("nothing will be tried or cut, and enforcement not proved: {why}"));
        return Ok(nothing(why));
    };
    if !why.is_empty() {
        plan.warnings.push(format!("the collector runs beside its container: {why}"));
    }
    let (mut probes, mut missing) = (Vec::new(), Vec::new());
    let own = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !handle.cuts {
        missing.push("open connections can't be cut: the collector has no NET_ADMIN here".to_string());
    }
    // From a probe in the pod network, from another node's own network, and from the pod's own node.
    let elsewhere = node::another(cx, own).await?;
    if elsewhere.is_none() {
        missing.push("no other node is ready, or nodes may not be listed: the probe is on the pod's own node".into());
    }
    let place = elsewhere.clone().unwrap_or_else(|| own.to_string());
    for (role, from) in
        [(node::Role::ProbePod, format!("a pod on node {place}")), (node::Role::ProbeNode, format!("node {place}"))]
    {
        if role == node::Role::ProbeNode && elsewhere.is_none() {
            continue;
        }
        match node::offer(cx, role, &place, image, with.ttl_seconds).await? {
            Ok((ops, handle)) => {
                starts.extend(ops);
                probes.push(json!({"from": from, "handle": handle}));
            }
            Err(why) => missing.push(format!("no try from {from}: {why}")),
        }
    }
    if handle.on_node() {
        probes.push(json!({"from": format!("its own node {own}"), "handle": handle, "own_node": true}));
    }
    plan.warnings.extend(missing.iter().cloned());
    Ok(json!({
        "handle": handle, "container": container, "probes": probes, "missing": missing,
        "out": reach::outwards(cx, pod, &with.canary).await?,
        "ips": reach::addresses(pod, "podIPs"), "node_ips": reach::addresses(pod, "hostIPs"),
    }))
}
