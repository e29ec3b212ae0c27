//! ReplicaSets, StatefulSets and DaemonSets: so many pods, no more and no fewer; release and adoption by label.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::scheduler::refused;
use super::{condition, controller, owned_by};
use crate::sim::selector::takes;
use crate::sim::special::is_ready;
use crate::sim::store::Key;
use crate::sim::world::World;

/// A pod from a template, owned by `owner`. The caller names it.
pub fn pod_from(world: &mut World, owner: &Value, template: &Value, name: &str, generate: &str) -> Value {
    let namespace = owner["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
    let mut meta = world.metadata(&namespace, name);
    for part in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][part].is_null() {
            meta[part] = template["metadata"][part].clone();
        }
    }
    if !generate.is_empty() {
        meta["generateName"] = json!(generate);
    }
    meta["generation"] = json!(1);
    meta["ownerReferences"] = json!([owned_by(owner)]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
}

/// Creates a pod as its controller does: admission applies, and may refuse.
///
/// # Errors
/// The refusal's message.
pub fn create_pod(world: &mut World, owner: &Value, mut pod: Value) -> Result<String, String> {
    let Some(resource) = world.resource("pods") else { return Err("no pods here".into()) };
    let user = crate::sim::identity::User::new("system:kube-controller-manager", &["system:masters"]);
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_string();
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
    crate::sim::schema::set_defaults("Pod", &mut pod);
    let kind = owner["kind"].as_str().unwrap_or_default().to_string();
    let admitted = crate::sim::admission::on_create(world, &resource, &mut pod, &user)
        .and_then(|()| crate::sim::admission::validate_create(world, &resource, &pod, &user, &name));
    let by = format!("{}-controller", kind.to_lowercase());
    if let Err(refusal) = admitted {
        world.event(owner, &kind, "Warning", "FailedCreate", &format!("Error creating: {}", refusal.message), &by);
        return Err(refusal.message);
    }
    world.put(&Key::new("pods", &namespace, &name), &mut pod);
    world.event(owner, &kind, "Normal", "SuccessfulCreate", &format!("Created pod: {name}"), &by);
    Ok(name)
}

/// The pods that an owner controls, after releasing those whose labels no longer fit and adopting those that do.
pub fn claimed(world: &mut World, owner: &Value) -> Vec<(Key, Value)> {
    let uid = owner["metadata"]["uid"].as_str().unwrap_or_default().to_string();
    let namespace = owner["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
    let selector = &owner["spec"]["selector"];
    let mut mine = Vec::new();
    let mut release = Vec::new();
    let mut adopt = Vec::new();
    for ((ns, name), entry) in world.store.list("pods", &namespace, None) {
        let owned = entry.owners.contains(&uid);
        let fits = takes(selector, &entry.labels);
        let free = entry.owners.is_empty();
        if !owned && (!fits || !free) {
            continue;
        }
        let (key, pod) = (Key::new("pods", ns, name), entry.value());
        match (owned && controller(&pod) == Some(uid.as_str()), fits) {
            (true, true) => mine.push((key, pod)),
            (true, false) => release.push((key, pod)),
            (false, true) if pod["metadata"]["deletionTimestamp"].is_null() && !owned => adopt.push((key, pod)),
            _ => {}
        }
    }
    let deleted = !owner["metadata"]["deletionTimestamp"].is_null();
    for (key, mut pod) in release {
        if let Some(owners) = pod["metadata"]["ownerReferences"].as_array_mut() {
            owners.retain(|o| o["uid"] != uid.as_str());
            if owners.is_empty()
                && let Some(meta) = pod["metadata"].as_object_mut()
            {
                meta.remove("ownerReferences");
            }
        }
        world.put(&key, &mut pod);
    }
    for (key, mut pod) in adopt {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if deleted || ["Succeeded", "Failed"].contains(&phase) {
            continue;
        }
        pod["metadata"]["ownerReferences"] = json!([owned_by(owner)]);
        world.put(&key, &mut pod);
        mine.push((key, pod));
    }
    mine
}

fn active(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_null()
        && !["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

/// One ReplicaSet.
pub fn replica_set(world: &mut World, key: &Key) {
    let Some(set) = world.store.value(key) else { return };
    let pods: Vec<(Key, Value)> = claimed(world, &set).into_iter().filter(|(_, p)| active(p)).collect();
    let wanted = set["spec"]["replicas"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let mut failed = None;
    if set["metadata"]["deletionTimestamp"].is_null() {
        for _ in pods.len()..wanted {
            let generate = format!("{}-", key.name);
            let name = format!("{generate}{}", world.random.suffix(5));
            let pod = pod_from(world, &set, &set["spec"]["template"], &name, &generate);
            if let Err(why) = create_pod(world, &set, pod) {
                failed = Some(why);
                world.later(world.scaled(time::Duration::seconds(30)), key);
                break;
            }
        }
        if pods.len() > wanted {
            let mut order: Vec<&(Key, Value)> = pods.iter().collect();
            // As the real one: without a node first, then not ready, then the cheaper by annotation, then the younger.
            order.sort_by_key(|(_, p)| {
                let cost = p["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"]
                    .as_str()
                    .and_then(|c| c.parse::<i64>().ok());
                let age = p["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_string();
                (!p["spec"]["nodeName"].is_null(), is_ready(p), cost.unwrap_or(0), std::cmp::Reverse(age))
            });
            for (at, pod) in order.into_iter().take(pods.len() - wanted) {
                world.end_pod(at, pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30));
                let message = format!("Deleted pod: {}", at.name);
                world.event(&set, "ReplicaSet", "Normal", "SuccessfulDelete", &message, "replicaset-controller");
            }
        }
    }
    let Some(mut set) = world.store.value(key) else { return };
    let (now, leaving): (Vec<Value>, Vec<Value>) = claimed(world, &set).into_iter().map(|(_, p)| p).partition(active);
    let leaving = leaving.iter().filter(|p| !p["metadata"]["deletionTimestamp"].is_null()).count();
    let ready = now.iter().filter(|p| is_ready(p)).count();
    let labels = set["spec"]["template"]["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    let labelled = now.iter().filter(|p| labels.iter().all(|(k, v)| p["metadata"]["labels"][k] == *v)).count();
    let mut status = set["status"].take();
    status["replicas"] = json!(now.len());
    for (name, count) in [("fullyLabeledReplicas", labelled), ("readyReplicas", ready), ("availableReplicas", ready)] {
        let value = if count == 0 { Value::Null } else { json!(count) };
        crate::sim::write::set_or_remove(&mut status, name, &value);
    }
    status["terminatingReplicas"] = json!(leaving);
    status["observedGeneration"] = set["metadata"]["generation"].clone();
    match failed {
        Some(why) => condition(world, &mut status, "ReplicaFailure", "True", "FailedCreate", &why),
        None => {
            if let Some(map) = status.as_object_mut() {
                map.remove("conditions");
            }
        }
    }
    set["status"] = status;
    world.improve(key, set);
}

/// One StatefulSet: in order, one after another, each under its own name.
pub fn stateful_set(world: &mut World, key: &Key) {
    let Some(mut set) = world.store.value(key) else { return };
    let wanted = set["spec"]["replicas"].as_u64().unwrap_or(1);
    let hash = revision(&key.name, &set["spec"]["template"]);
    let pods = claimed(world, &set);
    let parallel = set["spec"]["podManagementPolicy"] == "Parallel";
    if set["metadata"]["deletionTimestamp"].is_null() {
        for i in 0..wanted {
            let name = format!("{}-{i}", key.name);
            match pods.iter().find(|(k, _)| k.name == name) {
                Some((_, pod)) if active(pod) && (is_ready(pod) || parallel) => {}
                Some((at, pod)) => {
                    if ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default()) {
                        world.remove(at);
                    }
                    if !parallel {
                        break;
                    }
                }
                None => {
                    // Someone else's pod of that name is in the way until it is gone.
                    if world.store.get(&Key::new("pods", &key.namespace, &name)).is_some() {
                        world.later(world.scaled(time::Duration::seconds(2)), key);
                        break;
                    }
                    let mut pod =
                        pod_from(world, &set, &set["spec"]["template"].clone(), &name, &format!("{}-", key.name));
                    for (label, value) in [
                        ("apps.kubernetes.io/pod-index", i.to_string()),
                        ("statefulset.kubernetes.io/pod-name", name.clone()),
                        ("controller-revision-hash", hash.clone()),
                    ] {
                        pod["metadata"]["labels"][label] = json!(value);
                    }
                    pod["spec"]["hostname"] = json!(name);
                    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
                    let made = create_pod(world, &set, pod);
                    if made.is_err() || !parallel {
                        break;
                    }
                }
            }
        }
        for (at, pod) in &pods {
            let ordinal = at.name.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
            if ordinal.is_some_and(|n| n >= wanted) && active(pod) {
                world.end_pod(at, pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30));
            }
        }
    }
    let now: Vec<Value> = claimed(world, &set)
        .into_iter()
        .map(|(_, p)| p)
        .filter(|p| !["Succeeded", "Failed"].contains(&p["status"]["phase"].as_str().unwrap_or_default()))
        .collect();
    let ready = now.iter().filter(|p| is_ready(p)).count();
    let mut status = set["status"].take();
    status["replicas"] = json!(now.len());
    status["availableReplicas"] = json!(ready);
    for (name, count) in [("readyReplicas", ready), ("currentReplicas", now.len()), ("updatedReplicas", now.len())] {
        let value = if count == 0 { Value::Null } else { json!(count) };
        crate::sim::write::set_or_remove(&mut status, name, &value);
    }
    status["currentRevision"] = json!(format!("{}-{hash}", key.name));
    status["updateRevision"] = status["currentRevision"].clone();
    status["collisionCount"] = json!(0);
    status["observedGeneration"] = set["metadata"]["generation"].clone();
    set["status"] = status;
    world.improve(key, set);
}

/// A short name for a template's content.
pub fn revision(salt: &str, template: &Value) -> String {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let hash = Sha256::digest(format!("{salt}{template}"));
    hash.iter()
        .take(10)
        .map(|b| char::from(ALPHABET.get(usize::from(*b) % ALPHABET.len()).copied().unwrap_or(b'x')))
        .collect()
}

/// One DaemonSet: one pod on each node that takes it.
pub fn daemon_set(world: &mut World, key: &Key) {
    let Some(mut set) = world.store.value(key) else { return };
    let hash = revision(&key.name, &set["spec"]["template"]);
    let pods = claimed(world, &set);
    let mut template = set["spec"]["template"].clone();
    let mut tolerations: Vec<Value> = template["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    for (taint, effect) in [
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    ] {
        tolerations.push(json!({"key": format!("node.kubernetes.io/{taint}"), "operator": "Exists", "effect": effect}));
    }
    template["spec"]["tolerations"] = json!(tolerations);
    let probe = json!({"spec": template["spec"]});
    let mut by_node: BTreeMap<String, Vec<(Key, Value)>> = BTreeMap::new();
    for (at, pod) in pods {
        let node = pod["spec"]["nodeName"].as_str().map(str::to_string).unwrap_or_else(|| {
            pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
                .as_str()
                .unwrap_or_default()
                .to_string()
        });
        by_node.entry(node).or_default().push((at, pod));
    }
    let nodes: Vec<(String, Value)> =
        world.store.list("nodes", "", None).map(|((_, n), e)| (n.clone(), e.value())).collect();
    let (mut desired, mut scheduled, mut ready) = (0, 0, 0);
    for (name, node) in &nodes {
        let fits = refused(&probe, node).is_none();
        let here = by_node.remove(name).unwrap_or_default();
        if !fits {
            continue;
        }
        desired += 1;
        if here.iter().any(|(_, p)| active(p)) {
            scheduled += 1;
            ready += usize::from(here.iter().any(|(_, p)| is_ready(p)));
        } else if here.is_empty() && set["metadata"]["deletionTimestamp"].is_null() {
            let generate = format!("{}-", key.name);
            let pod_name = format!("{generate}{}", world.random.suffix(5));
            let mut pod = pod_from(world, &set, &template, &pod_name, &generate);
            pod["metadata"]["labels"]["controller-revision-hash"] = json!(hash);
            pod["metadata"]["labels"]["pod-template-generation"] =
                json!(set["metadata"]["generation"].as_u64().unwrap_or(1).to_string());
            pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]});
            if create_pod(world, &set, pod).is_ok() {
                scheduled += 1;
            }
        }
    }
    let mut status = set["status"].take();
    status["desiredNumberScheduled"] = json!(desired);
    status["currentNumberScheduled"] = json!(scheduled);
    status["numberReady"] = json!(ready);
    status["numberMisscheduled"] = json!(0);
    for (name, count) in [
        ("numberAvailable", ready),
        ("updatedNumberScheduled", scheduled),
        ("numberUnavailable", desired - ready.min(desired)),
    ] {
        let value = if count == 0 { Value::Null } else { json!(count) };
        crate::sim::write::set_or_remove(&mut status, name, &value);
    }
    status["observedGeneration"] = set["metadata"]["generation"].clone();
    set["status"] = status;
    world.improve(key, set);
}
