//! On which node a pod runs: cordon, taints, node selectors and required affinity; then the emptiest.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::condition;
use crate::sim::selector::takes;
use crate::sim::store::Key;
use crate::sim::world::World;

/// Whether one of a pod's tolerations covers a taint.
pub fn tolerated(pod: &Value, taint: &Value) -> bool {
    pod["spec"]["tolerations"].as_array().into_iter().flatten().any(|t| {
        let any = t["key"].as_str().unwrap_or_default().is_empty() && t["operator"] == "Exists";
        let key = any || t["key"] == taint["key"];
        let value = t["operator"] == "Exists"
            || t["value"].as_str().unwrap_or_default() == taint["value"].as_str().unwrap_or_default();
        let effect = t["effect"].as_str().unwrap_or_default();
        key && value && (effect.is_empty() || taint["effect"] == effect)
    })
}

/// Why a pod can't run on a node; None when it can.
pub fn refused(pod: &Value, node: &Value) -> Option<String> {
    let unschedulable = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !tolerated(pod, &unschedulable) {
        return Some("node(s) were unschedulable".into());
    }
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    for taint in taints.filter(|t| t["effect"] != "PreferNoSchedule") {
        if !tolerated(pod, taint) {
            return Some("node(s) had untolerated taint(s)".into());
        }
    }
    let labels: BTreeMap<String, String> = node["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().into()))
        .collect();
    let mut wanted = pod["spec"]["nodeSelector"].as_object().into_iter().flatten();
    let selected = wanted.all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str());
    let affinity =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let fits = affinity.as_array().is_none_or(|terms| {
        terms.iter().any(|term| {
            let name = term["matchFields"].as_array().is_none_or(|all| {
                all.iter().all(|f| f["values"].as_array().is_some_and(|v| v.contains(&node["metadata"]["name"])))
            });
            name && takes(&json!({"matchExpressions": term["matchExpressions"]}), &labels)
        })
    });
    (!selected || !fits).then(|| "node(s) didn't match Pod's node affinity/selector".into())
}

/// Binds a pod that has no node, or says why it waits.
pub fn schedule(world: &mut World, key: &Key, mut pod: Value) {
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|g| !g.is_empty())
        || pod["spec"]["schedulerName"].as_str().is_some_and(|s| s != "default-scheduler")
    {
        return;
    }
    // The emptiest first: of a thousand nodes, mostly one is looked at.
    let mut nodes: Vec<(usize, String)> =
        world.store.list("nodes", "", None).map(|((_, name), _)| (world.store.load(name), name.clone())).collect();
    nodes.sort();
    let mut best = None;
    let mut why: BTreeMap<String, usize> = BTreeMap::new();
    for (_, name) in &nodes {
        match refused(&pod, &world.store.value(&Key::new("nodes", "", name)).unwrap_or_default()) {
            Some(reason) => *why.entry(reason).or_default() += 1,
            None => {
                best = Some(name.clone());
                break;
            }
        }
    }
    if let Some(node) = best {
        pod["spec"]["nodeName"] = json!(node);
        let mut status = pod["status"].take();
        condition(world, &mut status, "PodScheduled", "True", "", "");
        pod["status"] = status;
        world.put(key, &mut pod);
        let message = format!("Successfully assigned {}/{} to {node}", key.namespace, key.name);
        world.event(&pod, "Pod", "Normal", "Scheduled", &message, "default-scheduler");
        return;
    }
    let reasons: Vec<String> = why.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let reasons =
        if reasons.is_empty() { "no nodes available to schedule pods".to_string() } else { reasons.join(", ") };
    let message = if nodes.is_empty() {
        reasons
    } else {
        format!(
            "0/{} nodes are available: {reasons}. preemption: 0/{} nodes are available: {} Preemption is not helpful for scheduling.",
            nodes.len(),
            nodes.len(),
            nodes.len()
        )
    };
    let known = pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "PodScheduled" && c["message"] == message.as_str());
    if !known {
        let mut status = pod["status"].take();
        condition(world, &mut status, "PodScheduled", "False", "Unschedulable", &message);
        pod["status"] = status;
        world.put(key, &mut pod);
        world.event(&pod, "Pod", "Warning", "FailedScheduling", &message, "default-scheduler");
    }
}
