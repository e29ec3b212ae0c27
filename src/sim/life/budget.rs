//! PodDisruptionBudgets: how many pods may go.

use serde_json::{Value, json};

use super::{condition, controller};
use crate::sim::selector::takes;
use crate::sim::special::is_ready;
use crate::sim::store::Key;
use crate::sim::world::World;

/// Computes the status.
pub fn budget(world: &mut World, key: &Key) {
    let Some(mut object) = world.store.value(key) else { return };
    let selector = object["spec"]["selector"].clone();
    let pods: Vec<Value> = world
        .store
        .list("pods", &key.namespace, None)
        .filter(|(_, e)| takes(&selector, &e.labels))
        .map(|(_, e)| e.value())
        .filter(|p| !["Succeeded", "Failed"].contains(&p["status"]["phase"].as_str().unwrap_or_default()))
        .collect();
    let mut disrupted = object["status"]["disruptedPods"].clone();
    if let Some(map) = disrupted.as_object_mut() {
        map.retain(|name, _| {
            pods.iter().any(|p| p["metadata"]["name"] == name.as_str() && p["metadata"]["deletionTimestamp"].is_null())
        });
    }
    let healthy = pods
        .iter()
        .filter(|p| p["metadata"]["deletionTimestamp"].is_null() && is_ready(p))
        .filter(|p| disrupted[p["metadata"]["name"].as_str().unwrap_or_default()].is_null())
        .count();
    let expected = expected(world, &pods);
    let spec = &object["spec"];
    let desired = if !spec["maxUnavailable"].is_null() {
        expected.saturating_sub(share(&spec["maxUnavailable"], expected))
    } else {
        share(&spec["minAvailable"], expected)
    };
    let expected =
        if spec["maxUnavailable"].is_null() && !spec["minAvailable"].is_string() { pods.len() } else { expected };
    let allowed = if expected == 0 { 0 } else { healthy.saturating_sub(desired) };
    let mut status = object["status"].take();
    status["currentHealthy"] = json!(healthy);
    status["desiredHealthy"] = json!(desired);
    status["expectedPods"] = json!(expected);
    status["disruptionsAllowed"] = json!(allowed);
    status["observedGeneration"] = object["metadata"]["generation"].clone();
    if disrupted.as_object().is_some_and(|d| !d.is_empty()) {
        status["disruptedPods"] = disrupted;
    } else if let Some(map) = status.as_object_mut() {
        map.remove("disruptedPods");
    }
    if allowed > 0 {
        condition(world, &mut status, "DisruptionAllowed", "True", "SufficientPods", "");
    } else {
        condition(world, &mut status, "DisruptionAllowed", "False", "InsufficientPods", "");
    }
    if let Some(first) = status["conditions"].get_mut(0) {
        first["observedGeneration"] = object["metadata"]["generation"].clone();
        if first["message"].is_null() {
            first["message"] = json!("");
        }
    }
    object["status"] = status;
    world.improve(key, object);
}

/// How many pods their controllers want.
fn expected(world: &World, pods: &[Value]) -> usize {
    let mut seen: Vec<String> = Vec::new();
    let mut sum = 0;
    for pod in pods {
        let Some(uid) = controller(pod) else {
            sum += 1;
            continue;
        };
        if seen.iter().any(|s| s == uid) {
            continue;
        }
        seen.push(uid.to_string());
        let owner = world.store.by_uid(uid).and_then(|k| world.store.value(k));
        sum += owner.and_then(|o| o["spec"]["replicas"].as_u64()).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    }
    sum
}

/// A number, or a percentage of all, rounded up.
fn share(value: &Value, of: usize) -> usize {
    match value {
        Value::String(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            (of * percent).div_ceil(100)
        }
        other => other.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0),
    }
}
