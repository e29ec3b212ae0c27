//! Whether the other nodes have room for what leaves this one: requests against allocatable, as the scheduler counts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::filter::controller;
use crate::action::node;
use crate::cluster::selector;

/// What a pod asks for, or a node has left: milli-CPU, bytes, pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Room {
    pub cpu: i64,
    pub memory: i64,
    pub pods: i64,
}

impl Room {
    fn holds(&self, other: Room) -> bool {
        self.cpu >= other.cpu && self.memory >= other.memory && self.pods >= other.pods
    }

    fn take(&mut self, other: Room) {
        self.cpu -= other.cpu;
        self.memory -= other.memory;
        self.pods -= other.pods;
    }
}

/// A quantity in thousandths of its unit; None when it is none. The suffixes are those of the API's resource.Quantity.
pub(super) fn milli(quantity: &str) -> Option<i64> {
    let at = quantity.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '-' && c != '+').unwrap_or(quantity.len());
    let (number, suffix) = quantity.split_at(at);
    let factor: f64 = match suffix {
        "" => 1e3,
        "n" => 1e-6,
        "u" => 1e-3,
        "m" => 1.0,
        "k" => 1e6,
        "M" => 1e9,
        "G" => 1e12,
        "T" => 1e15,
        "Ki" => 1024e3,
        "Mi" => 1_048_576e3,
        "Gi" => 1_073_741_824e3,
        "Ti" => 1_099_511_627_776e3,
        exponent => 1e3 * 10f64.powi(exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    #[expect(clippy::cast_possible_truncation, reason = "a node has less than 9 PB of memory")]
    Some((number.parse::<f64>().ok()? * factor).ceil() as i64)
}

fn of(map: &Value) -> Room {
    let get = |key: &str| map[key].as_str().and_then(milli).unwrap_or(0);
    Room { cpu: get("cpu"), memory: get("memory") / 1000, pods: get("pods") / 1000 }
}

/// What a pod's containers request: the sum of those that run side by side, or the largest of those that run before.
pub(super) fn requests(pod: &Value) -> Room {
    let list =
        |key: &str| pod["spec"][key].as_array().into_iter().flatten().map(|c| (c, of(&c["resources"]["requests"])));
    let (mut cpu, mut memory) = (0, 0);
    for (_, room) in list("containers").chain(list("initContainers").filter(|(c, _)| c["restartPolicy"] == "Always")) {
        cpu += room.cpu;
        memory += room.memory;
    }
    for (_, room) in list("initContainers").filter(|(c, _)| c["restartPolicy"] != "Always") {
        cpu = cpu.max(room.cpu);
        memory = memory.max(room.memory);
    }
    let overhead = of(&pod["spec"]["overhead"]);
    Room { cpu: cpu + overhead.cpu, memory: memory + overhead.memory, pods: 1 }
}

/// The other nodes that take pods, with what is left on each.
pub(super) struct Others {
    rooms: BTreeMap<String, (Value, Room)>,
    /// Nodes that take none now, and why.
    pub closed: Vec<String>,
}

impl Others {
    /// The nodes but the one that is drained, still without their pods.
    pub fn new(nodes: Vec<Value>, drained: &str) -> Others {
        let (mut rooms, mut closed) = (BTreeMap::new(), Vec::new());
        for found in nodes {
            let name = found["metadata"]["name"].as_str().unwrap_or_default().to_string();
            if name == drained {
                continue;
            }
            if found["spec"]["unschedulable"] == true {
                closed.push(format!("{name} is cordoned"));
            } else if node::ready(&found) != "True" {
                closed.push(format!("{name} is not ready"));
            } else {
                let room = of(&found["status"]["allocatable"]);
                rooms.insert(name, (found, room));
            }
        }
        Others { rooms, closed }
    }

    /// A pod that runs somewhere takes its requests there.
    pub fn add(&mut self, pod: &Value) {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if let Some((_, room)) = self.rooms.get_mut(pod["spec"]["nodeName"].as_str().unwrap_or_default())
            && !["Succeeded", "Failed"].contains(&phase)
        {
            room.take(requests(pod));
        }
    }

    /// What does not fit, one line for the plan each; the largest pods are placed first. Pods that nothing makes again need
    /// no room.
    pub fn lacking(mut self, pods: &[&Value]) -> Vec<String> {
        let mut leaving: Vec<(&Value, Room)> = pods
            .iter()
            .filter(|p| controller(p).is_some())
            .filter(|p| !["Succeeded", "Failed"].contains(&p["status"]["phase"].as_str().unwrap_or_default()))
            .map(|p| (*p, requests(p)))
            .collect();
        leaving.sort_by_key(|(_, room)| std::cmp::Reverse((room.cpu, room.memory)));
        let mut left: Vec<(&Value, Room, bool)> = Vec::new();
        for (pod, wants) in leaving {
            let may: Vec<String> =
                self.rooms.iter().filter(|(_, (node, _))| takes(node, pod)).map(|(name, _)| name.clone()).collect();
            // The roomiest takes it, as the scheduler spreads by default.
            let best = may.iter().filter(|n| self.rooms[*n].1.holds(wants)).max_by_key(|n| self.rooms[*n].1.cpu);
            match best.and_then(|n| self.rooms.get_mut(n)) {
                Some((_, room)) => room.take(wants),
                None => left.push((pod, wants, may.is_empty())),
            }
        }
        if left.is_empty() {
            return Vec::new();
        }
        let name = |p: &Value| {
            let part = |key: &str| p["metadata"][key].as_str().unwrap_or_default().to_string();
            format!("{}/{}", part("namespace"), part("name"))
        };
        let mut lines = Vec::new();
        for (pod, wants, nowhere) in left.iter().take(10) {
            lines.push(if *nowhere {
                format!(
                    "no other node may take {}, by selectors and taints: its replacement will stay Pending",
                    name(pod)
                )
            } else {
                format!(
                    "no room for {}, which requests {}m CPU and {} MiB: its replacement will stay Pending",
                    name(pod),
                    wants.cpu,
                    wants.memory / 1_048_576
                )
            });
        }
        if left.len() > 10 {
            lines.push(format!("and for {} more pods there is no room either", left.len() - 10));
        }
        if !self.closed.is_empty() {
            lines.push(format!("not counted: {}", self.closed.join(", ")));
        }
        lines
    }
}

/// Whether a node takes a pod by node selector, required node affinity and taints.
fn takes(node: &Value, pod: &Value) -> bool {
    let labels = selector::labels(node);
    let affinity =
        &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let affine = affinity.as_array().is_none_or(|terms| {
        terms.iter().any(|term| {
            let fields = term["matchFields"].as_array().is_none_or(|all| {
                all.iter().all(|f| f["values"].as_array().is_some_and(|v| v.contains(&node["metadata"]["name"])))
            });
            fields && selector::matches(term, &labels)
        })
    });
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut hard = taints.filter(|t| t["effect"] != "PreferNoSchedule");
    affine && selector::plain(&pod["spec"]["nodeSelector"], &labels) && hard.all(|t| tolerated(pod, t))
}

/// Whether one of a pod's tolerations covers a taint.
fn tolerated(pod: &Value, taint: &Value) -> bool {
    pod["spec"]["tolerations"].as_array().into_iter().flatten().any(|t| {
        let key = t["key"].as_str().unwrap_or_default();
        let exists = t["operator"] == "Exists";
        let effect = t["effect"].as_str().unwrap_or_default();
        (key.is_empty() && exists || taint["key"] == key)
            && (exists || t["value"].as_str().unwrap_or_default() == taint["value"].as_str().unwrap_or_default())
            && (effect.is_empty() || taint["effect"] == effect)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_read_as_the_api_writes_them() {
        for (text, expected) in [
            ("100m", 100),
            ("2", 2000),
            ("0.5", 500),
            ("1Ki", 1_024_000),
            ("128Mi", 134_217_728_000),
            ("1e3", 1_000_000),
        ] {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        assert_eq!(milli("a lot"), None);
    }

    #[test]
    fn what_does_not_fit_is_named_and_what_fits_is_not() {
        let node = |name: &str, cpu: &str| {
            json!({"metadata": {"name": name}, "spec": {}, "status": {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"},
                "conditions": [{"type": "Ready", "status": "True"}]}})
        };
        let pod = |name: &str, on: &str, cpu: &str| {
            json!({"metadata": {"name": name, "namespace": "n", "ownerReferences": [{"controller": true, "kind": "ReplicaSet"}]},
                "spec": {"nodeName": on, "containers": [{"resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}]},
                "status": {"phase": "Running"}})
        };
        let mut cordoned = node("c", "64");
        cordoned["spec"]["unschedulable"] = json!(true);
        let others = || {
            let mut others = Others::new(vec![node("gone", "8"), node("b", "2"), cordoned.clone()], "gone");
            others.add(&pod("there", "b", "1"));
            others
        };
        let (small, large) = (pod("small", "gone", "500m"), pod("large", "gone", "800m"));
        assert_eq!(others().lacking(&[&large]), Vec::<String>::new());
        let lines = others().lacking(&[&small, &large]);
        assert!(lines[0].contains("no room for n/small") && lines[0].contains("500m CPU and 64 MiB"), "{lines:?}");
        assert_eq!(lines[1], "not counted: c is cordoned");
        let mut bound = pod("bound", "gone", "1m");
        bound["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        assert!(others().lacking(&[&bound])[0].contains("no other node may take n/bound"));
    }
}
