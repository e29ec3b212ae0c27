//! A node as a pod with the node's processes and disk sees it: the other containers, their logs and emptyDir volumes.

use std::sync::Arc;

use super::container::Container;
use super::store::Key;
use super::world::{World, micros};

impl World {
    /// The container with that id on the node of a pod that sees its processes, and the pod that it belongs to.
    pub fn on_node_of(&self, pod: &Key, id: &str) -> Option<(Key, Arc<Container>)> {
        let own = self.store.value(pod).filter(|p| p["spec"]["hostPID"] == true)?;
        for ((namespace, name), entry) in self.store.list("pods", "", None) {
            let other = entry.value();
            if other["spec"]["nodeName"] != own["spec"]["nodeName"] {
                continue;
            }
            let statuses = other["status"]["containerStatuses"].as_array().into_iter().flatten();
            let found = statuses.into_iter().find(|s| {
                s["containerID"].as_str().is_some_and(|c| c.ends_with(id)) && s["state"]["running"].is_object()
            });
            if let Some(container) = found.and_then(|s| s["name"].as_str()) {
                let running = self.containers.get(&(entry.uid.clone(), container.to_string()))?;
                return Some((Key::new("pods", namespace, name), running.container.get()));
            }
        }
        None
    }

    /// Files below a directory of the node that a pod has mounted at `/host`: what the kubelet keeps of another pod.
    pub fn host_files(&self, pod: &Key, path: &str) -> Option<Vec<(String, Vec<u8>)>> {
        let own = self.store.value(pod)?;
        let mounted = own["spec"]["volumes"].as_array().into_iter().flatten().any(|v| v["hostPath"]["path"] == "/");
        let inside = path.strip_prefix("/host/").filter(|_| mounted)?;
        self.store.list("pods", "", None).find_map(|((namespace, name), entry)| {
            let uid = &entry.uid;
            if entry.value()["spec"]["nodeName"] != own["spec"]["nodeName"] {
                return None;
            }
            if inside == format!("var/log/pods/{namespace}_{name}_{uid}") {
                return Some(self.log_files(uid));
            }
            let volumes = format!("var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~empty-dir");
            (inside == volumes).then(|| self.volume_files(uid, &entry.value()))
        })
    }

    /// `app/0.log`, in the form of the container runtime: time, stream, whether the line is whole, and the line.
    fn log_files(&self, uid: &str) -> Vec<(String, Vec<u8>)> {
        let own = self.containers.iter().filter(|((owner, _), _)| owner == uid);
        own.map(|((_, container), running)| {
            let lines = running.log.iter().map(|(at, line)| format!("{} stdout F {line}\n", micros(*at)));
            (format!("/{container}/0.log"), lines.collect::<String>().into_bytes())
        })
        .collect()
    }

    fn volume_files(&self, uid: &str, pod: &serde_json::Value) -> Vec<(String, Vec<u8>)> {
        let list = |of: &serde_json::Value| of.as_array().cloned().unwrap_or_default();
        let mut all = Vec::new();
        for volume in list(&pod["spec"]["volumes"]).iter().filter(|v| v["emptyDir"].is_object()) {
            let name = volume["name"].as_str().unwrap_or_default();
            for container in list(&pod["spec"]["containers"]) {
                let key = (uid.to_string(), container["name"].as_str().unwrap_or_default().to_string());
                let mounts = list(&container["volumeMounts"]);
                let mount = mounts.iter().find(|m| m["name"] == name).and_then(|m| m["mountPath"].as_str());
                let (Some(mount), Some(running)) = (mount, self.containers.get(&key)) else { continue };
                let files = running.container.get().files_below(mount);
                all.extend(files.into_iter().map(|(path, content)| (format!("/{name}{path}"), content)));
            }
        }
        all
    }
}
