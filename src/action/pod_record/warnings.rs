//! What will interfere, said before anything is done.

use serde_json::Value;

use super::Seen;

/// One line each, for the plan.
pub(super) fn of(seen: &Seen) -> Vec<String> {
    let spec = &seen.pod["spec"];
    let mut all = Vec::new();
    if spec["hostNetwork"] == true {
        all.push(
            "hostNetwork: a NetworkPolicy does not touch this pod; treat the node as reachable (node playbook)".into(),
        );
    }
    for (field, text) in
        [("hostPID", "it sees every process of its node"), ("hostIPC", "it shares memory with its node")]
    {
        if spec[field] == true {
            all.push(format!("{field}: {text}; consider the node compromised"));
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            all.push(format!("hostPath {path}: what it wrote there stays on the node after the pod is gone"));
        }
    }
    for container in spec["containers"].as_array().into_iter().flatten() {
        let name = container["name"].as_str().unwrap_or_default();
        if container["securityContext"]["privileged"] == true {
            all.push(format!(
                "container {name} is privileged: it can leave its container; consider the node compromised"
            ));
        }
        if container["livenessProbe"].is_object() {
            all.push(format!("container {name} has a liveness probe: cut off from what the probe needs, it may be restarted, and its writable layer lost"));
        }
    }
    if let Some(owner) =
        seen.pod["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true)
    {
        let (kind, name) = (owner["kind"].as_str().unwrap_or_default(), owner["name"].as_str().unwrap_or_default());
        all.push(match kind {
            "StatefulSet" => format!("StatefulSet {name} can't start its replacement while this pod has the name: one replica is missing until the pod is terminated"),
            "DaemonSet" => format!("DaemonSet {name} will start a second pod on the same node, from the same image"),
            "Job" => format!("Job {name} will start another pod, from the same image"),
            "ReplicaSet" | "ReplicationController" => format!("{kind} {name} will start a replacement at once, from the same image: what let the attacker in is still there"),
            _ => format!("{kind} {name} owns it: quell does not know how it reacts when the pod is relabelled or deleted"),
        });
    }
    for autoscaler in &seen.autoscalers {
        let to = &autoscaler["spec"]["scaleTargetRef"];
        if seen.owners.iter().any(|o| o["kind"] == to["kind"] && o["metadata"]["name"] == to["name"]) {
            all.push(format!("HorizontalPodAutoscaler {} may scale the workload while you work", name_of(autoscaler)));
        }
    }
    all.extend(gitops(std::iter::once(&seen.pod).chain(&seen.owners)));
    all
}

/// Reconcilers known by the marks they leave on what they manage.
fn gitops<'a>(objects: impl Iterator<Item = &'a Value>) -> Option<String> {
    const MARKS: [(&str, &str); 4] = [
        ("argocd.argoproj.io/instance", "Argo CD"),
        ("argocd.argoproj.io/tracking-id", "Argo CD"),
        ("kustomize.toolkit.fluxcd.io/name", "Flux"),
        ("helm.toolkit.fluxcd.io/name", "Flux"),
    ];
    for object in objects {
        for (mark, who) in MARKS {
            if ["labels", "annotations"].iter().any(|place| object["metadata"][place][mark].is_string()) {
                let kind = object["kind"].as_str().unwrap_or("object");
                return Some(format!(
                    "{who} manages {kind} {}: it may put back what you change there",
                    name_of(object)
                ));
            }
        }
    }
    None
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
