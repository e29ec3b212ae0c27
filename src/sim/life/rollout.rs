//! Deployments: a ReplicaSet for each template, and the way from one to the next.

use serde_json::{Value, json};

use super::replica::revision;
use super::{condition, controller, owned_by};
use crate::sim::store::Key;
use crate::sim::world::World;

const SETS: &str = "replicasets.apps";
const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// `25%` or a number, of the replicas.
fn share(value: &Value, of: u64, up: bool) -> u64 {
    match value.as_str() {
        Some(text) => {
            let percent: u64 = text.trim_end_matches('%').parse().unwrap_or(25);
            if up { (of * percent).div_ceil(100) } else { of * percent / 100 }
        }
        None => value.as_u64().unwrap_or(1),
    }
}

/// One Deployment.
pub fn deployment(world: &mut World, key: &Key) {
    let Some(object) = world.store.value(key) else { return };
    if !object["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_string();
    let hash = revision("", &object["spec"]["template"]);
    let mut sets: Vec<(Key, Value)> = world
        .store
        .owned(&uid)
        .into_iter()
        .filter(|k| &*k.of == SETS)
        .filter_map(|k| world.store.value(&k).map(|v| (k, v)))
        .filter(|(_, set)| controller(set) == Some(uid.as_str()))
        .collect();
    let wanted = object["spec"]["replicas"].as_u64().unwrap_or(1);
    let paused = object["spec"]["paused"] == true;
    let newest = sets
        .iter()
        .map(|(_, s)| s["metadata"]["annotations"][REVISION].as_str().and_then(|r| r.parse::<u64>().ok()).unwrap_or(0))
        .max()
        .unwrap_or(0);
    let current = sets.iter().position(|(_, s)| s["metadata"]["labels"][HASH] == hash.as_str());
    let current = match current {
        Some(i) => Some(i),
        None if paused => None,
        None => {
            let name = format!("{}-{hash}", key.name);
            let mut meta = world.metadata(&key.namespace, &name);
            meta["labels"] = object["spec"]["template"]["metadata"]["labels"].clone();
            meta["labels"][HASH] = json!(hash);
            meta["annotations"] = json!({REVISION: (newest + 1).to_string(), "deployment.kubernetes.io/desired-replicas": wanted.to_string(), "deployment.kubernetes.io/max-replicas": (wanted + share(&object["spec"]["strategy"]["rollingUpdate"]["maxSurge"], wanted, true)).to_string()});
            meta["ownerReferences"] = json!([owned_by(&object)]);
            meta["generation"] = json!(1);
            let mut selector = object["spec"]["selector"].clone();
            selector["matchLabels"][HASH] = json!(hash);
            let mut template = object["spec"]["template"].clone();
            template["metadata"]["labels"][HASH] = json!(hash);
            let at = Key::new(SETS, &key.namespace, &name);
            let first = if sets.is_empty() { wanted } else { 0 };
            let mut set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta,
                "spec": {"replicas": first, "selector": selector, "template": template}, "status": {"replicas": 0}});
            world.put(&at, &mut set);
            if first > 0 {
                let message = format!("Scaled up replica set {name} from 0 to {first}");
                world.event(&object, "Deployment", "Normal", "ScalingReplicaSet", &message, "deployment-controller");
            }
            sets.push((at, set));
            Some(sets.len() - 1)
        }
    };
    scale(world, &object, &sets, current, wanted);
    finish(world, key, &uid, current.map(|_| hash), wanted);
}

/// Moves replicas from the old sets to the current one, within what the strategy allows.
fn scale(world: &mut World, object: &Value, sets: &[(Key, Value)], current: Option<usize>, wanted: u64) {
    let recreate = object["spec"]["strategy"]["type"] == "Recreate";
    let rolling = &object["spec"]["strategy"]["rollingUpdate"];
    let surge = share(&rolling["maxSurge"], wanted, true);
    let unavailable = share(&rolling["maxUnavailable"], wanted, false);
    let total: u64 = sets.iter().map(|(_, s)| number(&s["spec"]["replicas"])).sum();
    let available: u64 = sets.iter().map(|(_, s)| number(&s["status"]["availableReplicas"])).sum();
    let olds: Vec<&(Key, Value)> =
        sets.iter().enumerate().filter(|(i, _)| Some(*i) != current).map(|(_, s)| s).collect();
    let old_total: u64 = olds.iter().map(|(_, s)| number(&s["spec"]["replicas"])).sum();
    if let Some((at, set)) = current.and_then(|i| sets.get(i)) {
        let has = number(&set["spec"]["replicas"]);
        let target = if old_total == 0 {
            wanted
        } else if recreate {
            let running: u64 = olds.iter().map(|(_, s)| number(&s["status"]["replicas"])).sum();
            if running == 0 { wanted } else { 0 }
        } else {
            let room = (wanted + surge).saturating_sub(total);
            (has + room).min(wanted).max(has.min(wanted))
        };
        if target != has {
            resize(world, object, at, set, target);
        }
    }
    if current.is_none() {
        return;
    }
    let least = wanted.saturating_sub(unavailable);
    let mut spare = if recreate { old_total } else { available.saturating_sub(least) };
    // Old pods that are not available may go at once.
    for (at, set) in olds {
        let has = number(&set["spec"]["replicas"]);
        let unready = has.saturating_sub(number(&set["status"]["availableReplicas"]));
        let go = (unready + spare).min(has);
        spare = spare.saturating_sub(go.saturating_sub(unready));
        if go > 0 {
            resize(world, object, at, set, has - go);
        }
    }
}

fn resize(world: &mut World, owner: &Value, at: &Key, set: &Value, to: u64) {
    let from = number(&set["spec"]["replicas"]);
    let mut set = set.clone();
    set["spec"]["replicas"] = json!(to);
    set["metadata"]["generation"] = json!(number(&set["metadata"]["generation"]) + 1);
    set["metadata"]["annotations"]["deployment.kubernetes.io/desired-replicas"] =
        json!(owner["spec"]["replicas"].as_u64().unwrap_or(1).to_string());
    world.put(at, &mut set);
    let way = if to > from { "up" } else { "down" };
    let message = format!("Scaled {way} replica set {} from {from} to {to}", at.name);
    world.event(owner, "Deployment", "Normal", "ScalingReplicaSet", &message, "deployment-controller");
}

fn finish(world: &mut World, key: &Key, uid: &str, current: Option<String>, wanted: u64) {
    let Some(mut object) = world.store.value(key) else { return };
    let sets: Vec<Value> =
        world.store.owned(uid).into_iter().filter(|k| &*k.of == SETS).filter_map(|k| world.store.value(&k)).collect();
    let sum = |field: &str| sets.iter().map(|s| number(&s["status"][field])).sum::<u64>();
    let new = current.as_ref().and_then(|hash| sets.iter().find(|s| s["metadata"]["labels"][HASH] == hash.as_str()));
    let updated = new.map_or(0, |s| number(&s["status"]["replicas"]));
    let (replicas, ready, available) = (sum("replicas"), sum("readyReplicas"), sum("availableReplicas"));
    if let Some(revision) = new.map(|s| s["metadata"]["annotations"][REVISION].clone()) {
        object["metadata"]["annotations"][REVISION] = revision;
    }
    let mut status = object["status"].take();
    let missing = wanted.saturating_sub(available);
    for (name, count) in [
        ("replicas", replicas),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", missing),
    ] {
        let value = if count == 0 { Value::Null } else { json!(count) };
        crate::sim::write::set_or_remove(&mut status, name, &value);
    }
    status["observedGeneration"] = object["metadata"]["generation"].clone();
    let unavailable = share(&object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], wanted, false);
    if available >= wanted.saturating_sub(unavailable) {
        condition(
            world,
            &mut status,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        );
    } else {
        condition(
            world,
            &mut status,
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
        );
    }
    let name = new.and_then(|s| s["metadata"]["name"].as_str()).unwrap_or_default();
    if updated == wanted && replicas == wanted && available == wanted {
        condition(
            world,
            &mut status,
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            &format!("ReplicaSet {name:?} has successfully progressed."),
        );
    } else {
        condition(
            world,
            &mut status,
            "Progressing",
            "True",
            "ReplicaSetUpdated",
            &format!("ReplicaSet {name:?} is progressing."),
        );
    }
    let stamp = world.stamp();
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = json!(stamp);
        }
    }
    object["status"] = status;
    world.improve(key, object);
}
