//! What happens by itself: controllers, the scheduler, the kubelets.
//!
//! Every change marks what must look at it ([`interested`]); [`settle`] takes the marked objects one by one. What takes
//! time is marked again when it is due. Nothing here runs on a fixed beat.

mod budget;
mod garbage;
mod job;
mod kubelet;
mod node;
mod replica;
mod rollout;
mod scheduler;
mod service;

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Inner;
use super::rbac;
use super::selector::{map_takes, takes};
use super::store::{Entry, Key};
use super::world::World;

pub use node::set_ready;

/// Objects that every cluster has before anybody does anything.
pub fn bootstrap(world: &mut World, ca: &str) {
    for name in ["kube-system", "kube-public", "kube-node-lease", "default"] {
        namespace(world, name, ca);
    }
    rbac::bootstrap(world);
    let mut meta = world.metadata("", "system-node-critical");
    meta["generation"] = json!(1);
    for (name, value) in [("system-node-critical", 2_000_001_000_i64), ("system-cluster-critical", 2_000_000_000)] {
        let meta = world.metadata("", name);
        let mut class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": meta, "value": value, "preemptionPolicy": "PreemptLowerPriority"});
        world.put(&Key::new("priorityclasses.scheduling.k8s.io", "", name), &mut class);
    }
    let meta = world.metadata("default", "kubernetes");
    let mut service = json!({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}], "type": "ClusterIP", "sessionAffinity": "None"}, "status": {"loadBalancer": {}}});
    service["metadata"]["labels"] = json!({"component": "apiserver", "provider": "kubernetes"});
    world.put(&Key::new("services", "default", "kubernetes"), &mut service);
}

fn namespace(world: &mut World, name: &str, ca: &str) {
    let mut meta = world.metadata("", name);
    meta["labels"] = json!({"kubernetes.io/metadata.name": name});
    let mut object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
    world.put(&Key::new("namespaces", "", name), &mut object);
    let meta = world.metadata(name, "kube-root-ca.crt");
    let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"ca.crt": ca}});
    world.put(&Key::new("configmaps", name, "kube-root-ca.crt"), &mut config);
}

/// Marks what must look at a change beside the object itself and its owners.
pub fn interested(world: &mut World, key: &Key, entry: &Arc<Entry>) {
    let mut marked: Vec<Key> = Vec::new();
    if ["secrets", "configmaps"].contains(&&*key.of) {
        kubelet::mounted(world, key);
    }
    match &*key.of {
        "pods" => {
            let of_kind = |of: &str, selects: &dyn Fn(&Value) -> bool| -> Vec<Key> {
                world
                    .store
                    .list(of, &key.namespace, None)
                    .filter(|(_, e)| selects(&e.value()["spec"]["selector"]))
                    .map(|((ns, name), _)| Key::new(of, ns, name))
                    .collect()
            };
            marked.extend(of_kind("services", &|s| map_takes(s, &entry.labels)));
            marked.extend(of_kind("poddisruptionbudgets.policy", &|s| takes(s, &entry.labels)));
            if entry.owners.is_empty() {
                for of in ["replicasets.apps", "statefulsets.apps", "daemonsets.apps", "jobs.batch"] {
                    marked.extend(of_kind(of, &|s| takes(s, &entry.labels)));
                }
            }
        }
        "nodes" => {
            marked.extend(world.store.keys("daemonsets.apps", ""));
            marked.extend(world.store.on_node(&key.name));
            let waiting = world.store.list("pods", "", None).filter(|(_, e)| e.field("spec.nodeName").is_empty());
            marked.extend(waiting.map(|((ns, name), _)| Key::new("pods", ns, name)));
        }
        "clusterroles.rbac.authorization.k8s.io" => {
            let gathering = world
                .store
                .list(&key.of, "", None)
                .filter(|(_, e)| e.text.windows(15).any(|w| w == b"aggregationRule"));
            marked.extend(gathering.map(|((ns, name), _)| Key::new(&key.of, ns, name)));
        }
        "serviceaccounts" => {
            // Pods may wait for theirs; a Secret's token dies with it.
            let of_type = world
                .store
                .list("secrets", &key.namespace, None)
                .filter(|(_, e)| e.field("type").ends_with("service-account-token"));
            marked.extend(of_type.map(|((ns, name), _)| Key::new("secrets", ns, name)));
            marked.push(Key::new("namespaces", "", &key.namespace));
        }
        _ if !key.namespace.is_empty() => {
            let home = Key::new("namespaces", "", &key.namespace);
            if world.store.get(&home).is_some_and(|ns| ns.field("status.phase") == "Terminating") {
                marked.push(home);
            }
        }
        _ => {}
    }
    world.dirty.extend(marked);
}

/// Does what is due now; at most so many objects. The time until the next thing is due comes back.
pub fn settle(world: &mut World, most: usize) -> Option<Duration> {
    let now = world.now();
    while world.timers.peek().is_some_and(|Reverse((at, _))| *at <= now) {
        if let Some(Reverse((_, key))) = world.timers.pop() {
            world.dirty.insert(key);
        }
    }
    for _ in 0..most {
        let Some(key) = world.dirty.pop_first() else { break };
        reconcile(world, &key);
    }
    if !world.dirty.is_empty() {
        return Some(Duration::ZERO);
    }
    world.timers.peek().map(|Reverse((at, _))| (*at - world.now()).try_into().unwrap_or_default())
}

fn reconcile(world: &mut World, key: &Key) {
    if garbage::collected(world, key) {
        return;
    }
    match &*key.of {
        "pods" => kubelet::pod(world, key),
        "deployments.apps" => rollout::deployment(world, key),
        "replicasets.apps" => replica::replica_set(world, key),
        "statefulsets.apps" => replica::stateful_set(world, key),
        "daemonsets.apps" => replica::daemon_set(world, key),
        "jobs.batch" => job::job(world, key),
        "cronjobs.batch" => job::cron_job(world, key),
        "services" => service::slices(world, key),
        "poddisruptionbudgets.policy" => budget::budget(world, key),
        "namespaces" => garbage::namespace(world, key),
        "nodes" => node::node(world, key),
        "secrets" => service::account_token(world, key),
        "clusterroles.rbac.authorization.k8s.io" => rbac::aggregate(world, key),
        "customresourcedefinitions.apiextensions.k8s.io" => definition(world, key),
        _ => {}
    }
}

/// A CustomResourceDefinition's names are accepted and it is served.
fn definition(world: &mut World, key: &Key) {
    let Some(mut object) = world.store.value(key).filter(|o| !o["status"]["conditions"].is_array()) else { return };
    let now = world.stamp();
    let names = object["spec"]["names"].clone();
    let stored: Vec<Value> = object["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|v| v["storage"] == true)
        .map(|v| v["name"].clone())
        .collect();
    object["status"] = json!({"acceptedNames": names, "storedVersions": stored, "conditions": [
        {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found", "lastTransitionTime": now},
        {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted", "lastTransitionTime": now}]});
    world.put(key, &mut object);
    world.refresh_custom();
}

/// Lives until its task is aborted.
pub async fn live(inner: Arc<Inner>) {
    loop {
        let wait = {
            let (wait, version) = {
                let mut world = super::stream::lock(&inner.world);
                // Few at a time: requests wait for the lock meanwhile.
                let wait = settle(&mut world, 20);
                (wait, world.store.version())
            };
            inner.changed.send_if_modified(|last| std::mem::replace(last, version) != version);
            wait
        };
        match wait {
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            wait => {
                tokio::select! {
                    () = inner.work.notified() => {}
                    () = tokio::time::sleep(wait.unwrap_or(Duration::from_secs(3600))) => {}
                }
            }
        }
    }
}

impl World {
    /// Whether nothing is left to do now, or within the next start of a container.
    pub fn quiet(&self) -> bool {
        let soon = self.now() + self.scaled(time::Duration::seconds(3));
        self.dirty.is_empty() && self.timers.peek().is_none_or(|Reverse((at, _))| *at > soon)
    }

    /// Stores it when it differs from what is there.
    fn improve(&mut self, key: &Key, mut object: Value) {
        if self.store.value(key).is_some_and(|now| now != object) {
            self.put(key, &mut object);
        }
    }
}

/// The controlling owner's UID.
fn controller(object: &Value) -> Option<&str> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|o| o["controller"] == true)?["uid"].as_str()
}

/// An ownerReference to a controller.
fn owned_by(owner: &Value) -> Value {
    json!({"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true})
}

/// Makes a condition true or false; its transition time moves only when it changes.
fn condition(world: &World, status: &mut Value, kind: &str, is: &str, reason: &str, message: &str) {
    let now = world.stamp();
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let mut fresh = json!({"type": kind, "status": is, "lastTransitionTime": now});
    if !reason.is_empty() {
        fresh["reason"] = json!(reason);
    }
    if !message.is_empty() {
        fresh["message"] = json!(message);
    }
    let Some(list) = status["conditions"].as_array_mut() else { return };
    match list.iter_mut().find(|c| c["type"] == kind) {
        Some(old) => {
            if old["status"] == is {
                fresh["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            for kept in ["lastProbeTime", "lastUpdateTime", "observedGeneration"] {
                if !old[kept].is_null() || kept == "lastProbeTime" && old.get(kept).is_some() {
                    fresh[kept] = old[kept].clone();
                }
            }
            *old = fresh;
        }
        None => list.push(fresh),
    }
}
