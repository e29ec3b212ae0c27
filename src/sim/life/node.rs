//! Nodes: their conditions, the taints that follow, and the pods that must leave.

use serde_json::{Value, json};
use time::Duration;

use super::condition;
use super::scheduler::tolerated;
use crate::sim::store::Key;
use crate::sim::world::World;

impl World {
    /// Whether the node's kubelet can be reached.
    pub fn node_answers(&self, name: &str) -> bool {
        self.store.value(&Key::new("nodes", "", name)).is_some_and(|node| ready(&node) != "Unknown")
    }
}

impl World {
    /// Whether it has the taint of a machine that is said to be off.
    pub fn out_of_service(&self, name: &str) -> bool {
        self.store.value(&Key::new("nodes", "", name)).is_some_and(|node| {
            let taints = node["spec"]["taints"].as_array().into_iter().flatten();
            taints.into_iter().any(|t| t["key"] == "node.kubernetes.io/out-of-service")
        })
    }
}

/// The status of the Ready condition.
fn ready(node: &Value) -> String {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let mut ready = conditions.filter(|c| c["type"] == "Ready").map(|c| c["status"].as_str().unwrap_or_default());
    ready.next_back().unwrap_or("True").to_string()
}

/// Makes a node Ready (`True`), not ready (`False`: its kubelet says so) or lost (`Unknown`: it says nothing more).
pub fn set_ready(world: &mut World, name: &str, is: &str) -> bool {
    let key = Key::new("nodes", "", name);
    let Some(mut node) = world.store.value(&key) else { return false };
    let mut status = node["status"].take();
    let (reason, message) = match is {
        "True" => ("KubeletReady", "kubelet is posting ready status"),
        "False" => ("KubeletNotReady", "container runtime network not ready"),
        _ => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
    };
    condition(world, &mut status, "Ready", is, reason, message);
    if is == "Unknown" {
        for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
            condition(world, &mut status, kind, "Unknown", reason, message);
        }
    }
    node["status"] = status;
    world.put(&key, &mut node);
    true
}

/// Taints by condition, then evictions by NoExecute taints.
pub fn node(world: &mut World, key: &Key) {
    let Some(mut node) = world.store.value(key) else {
        // Pods of a node that is no more are collected.
        for pod in world.store.on_node(&key.name) {
            world.remove(&pod);
        }
        return;
    };
    let is = ready(&node);
    let wanted: &[(&str, &str)] = match is.as_str() {
        "True" => &[],
        "False" => &[("node.kubernetes.io/not-ready", "NoSchedule"), ("node.kubernetes.io/not-ready", "NoExecute")],
        _ => &[("node.kubernetes.io/unreachable", "NoSchedule"), ("node.kubernetes.io/unreachable", "NoExecute")],
    };
    let mut taints: Vec<Value> = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    taints.retain(|t| {
        let own =
            ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"]
                .iter()
                .any(|k| t["key"] == *k);
        !own || wanted.iter().any(|(k, e)| t["key"] == *k && t["effect"] == *e)
            || t["key"] == "node.kubernetes.io/unschedulable" && node["spec"]["unschedulable"] == true
    });
    for (taint, effect) in wanted {
        if !taints.iter().any(|t| t["key"] == *taint && t["effect"] == *effect) {
            let mut taint = json!({"key": taint, "effect": effect});
            if *effect == "NoExecute" {
                taint["timeAdded"] = json!(world.stamp());
            }
            taints.push(taint);
        }
    }
    if node["spec"]["unschedulable"] == true && !taints.iter().any(|t| t["key"] == "node.kubernetes.io/unschedulable") {
        taints.push(
            json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": world.stamp()}),
        );
    }
    let taints_value = if taints.is_empty() { Value::Null } else { json!(taints) };
    let before = node.clone();
    crate::sim::write::set_or_remove(&mut node["spec"], "taints", &taints_value);
    if node != before {
        world.put(key, &mut node);
        if is != "True" {
            let message = format!("Node {} status is now: NodeNotReady", key.name);
            world.event(&node, "Node", "Normal", "NodeNotReady", &message, "node-controller");
        }
    }
    for pod in world.store.on_node(&key.name) {
        pod_of(world, &pod, &taints, &is);
    }
}

/// A pod on a node: not ready with it, and gone when it does not tolerate a NoExecute taint any longer.
fn pod_of(world: &mut World, key: &Key, taints: &[Value], is: &str) {
    let Some(mut pod) = world.store.value(key) else { return };
    if is != "True" && pod["status"]["phase"] == "Running" {
        let mut status = pod["status"].take();
        condition(world, &mut status, "Ready", "False", "NodeNotReady", "");
        pod["status"] = status;
        world.improve(key, pod.clone());
    }
    let mut due: Option<Duration> = None;
    for taint in taints.iter().filter(|t| t["effect"] == "NoExecute") {
        if !tolerated(&pod, taint) {
            due = Some(Duration::ZERO);
            break;
        }
        let limits = pod["spec"]["tolerations"].as_array().into_iter().flatten().filter(|t| {
            let one = json!({"spec": {"tolerations": [t]}});
            tolerated(&one, taint)
        });
        let mut least: Option<i64> = None;
        let mut forever = false;
        for limit in limits {
            match limit["tolerationSeconds"].as_i64() {
                Some(seconds) => least = Some(least.map_or(seconds, |l| l.min(seconds))),
                None => forever = true,
            }
        }
        if let Some(seconds) = least.filter(|_| !forever) {
            let since =
                taint["timeAdded"].as_str().and_then(|t| crate::clock::parse(t).ok()).unwrap_or_else(|| world.now());
            let at = since + world.scaled(Duration::seconds(seconds));
            let left = (at - world.now()).max(Duration::ZERO);
            due = Some(due.map_or(left, |d| d.min(left)));
        }
    }
    match due {
        Some(left) if left.is_zero() && !pod["metadata"]["deletionTimestamp"].is_null() => {}
        Some(left) if left.is_zero() => {
            world.event(
                &pod,
                "Pod",
                "Normal",
                "TaintManagerEviction",
                &format!("Marking for deletion Pod {}/{}", key.namespace, key.name),
                "taint-eviction-controller",
            );
            world.end_pod(key, pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30));
        }
        Some(left) => {
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_string();
            world.later(left, &Key::new("nodes", "", &node));
        }
        None => {}
    }
}

impl World {
    /// A node that is ready, with what its kubelet reports.
    pub fn add_node(&mut self, name: &str) {
        let key = Key::new("nodes", "", name);
        let mut meta = self.metadata("", name);
        meta["labels"] = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64"});
        let number = self.store.count("nodes") + 10;
        let images: Vec<Value> = self
            .images
            .iter()
            .filter(|i| i.size > 0)
            .map(|i| json!({"names": [i.name], "sizeBytes": i.size}))
            .collect();
        let quantity = json!({"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "100Gi"});
        let mut status = json!({"capacity": quantity, "allocatable": quantity, "images": images,
            "addresses": [{"type": "InternalIP", "address": format!("192.0.2.{number}")}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {"architecture": "amd64", "bootID": "", "containerRuntimeVersion": "containerd://2.1.0", "kernelVersion": "6.1.0", "kubeProxyVersion": "", "kubeletVersion": crate::sim::discovery::VERSION, "machineID": "", "operatingSystem": "linux", "osImage": "Linux", "systemUUID": ""}});
        for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
            let reason = format!("KubeletHasSufficient{}", kind.trim_end_matches("Pressure"));
            condition(self, &mut status, kind, "False", &reason, "kubelet has sufficient resources available");
        }
        condition(self, &mut status, "Ready", "True", "KubeletReady", "kubelet is posting ready status");
        let stamp = self.stamp();
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastHeartbeatTime"] = json!(stamp);
        }
        let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": {}, "status": status});
        self.put(&key, &mut node);
        let lease = Key::new("leases.coordination.k8s.io", "kube-node-lease", name);
        let mut meta = self.metadata("kube-node-lease", name);
        // As the kubelet makes it: it goes with its Node.
        meta["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}]);
        let renewed = crate::sim::world::micros(self.now());
        let mut object = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed}});
        self.put(&lease, &mut object);
    }
}
