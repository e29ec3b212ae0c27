//! Which pods hold a Secret's value, and whether they take up a new one by themselves.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt;
use serde::Serialize;

/// One pod that uses the Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Consumer {
    /// The pod.
    pub pod: String,
    /// `ReplicaSet/checkout-7d9f`, when it has a controller.
    pub owner: Option<String>,
    /// `env`, `envFrom`, `volume`, `subPath`, `imagePullSecret`.
    pub via: Vec<&'static str>,
    /// Whether it keeps the old value until it is restarted. Volumes are refreshed by the kubelet, environment and
    /// subPath mounts never: <https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets>
    pub needs_restart: bool,
}

/// The pods among these that use the Secret, by name.
pub(super) fn consumers(pods: &[Pod], secret: &str) -> Vec<Consumer> {
    let mut found: Vec<Consumer> = pods
        .iter()
        .filter_map(|pod| {
            let via = ways(pod.spec.as_ref()?, secret);
            let owner = pod.owner_references().iter().find(|o| o.controller == Some(true));
            (!via.is_empty()).then(|| Consumer {
                pod: pod.name_any(),
                owner: owner.map(|o| format!("{}/{}", o.kind, o.name)),
                needs_restart: via.iter().any(|w| matches!(*w, "env" | "envFrom" | "subPath")),
                via,
            })
        })
        .collect();
    found.sort_unstable();
    found
}

fn ways(spec: &PodSpec, secret: &str) -> Vec<&'static str> {
    let mut ways = Vec::new();
    let volumes: Vec<&str> = spec
        .volumes
        .iter()
        .flatten()
        .filter(|v| {
            v.secret.as_ref().and_then(|s| s.secret_name.as_deref()) == Some(secret)
                || v.projected
                    .iter()
                    .flat_map(|p| p.sources.iter().flatten())
                    .any(|s| s.secret.as_ref().is_some_and(|s| s.name == secret))
                || v.csi.as_ref().and_then(|c| c.node_publish_secret_ref.as_ref()).is_some_and(|r| r.name == secret)
        })
        .map(|v| v.name.as_str())
        .collect();
    if !volumes.is_empty() {
        ways.push("volume");
    }
    let mut look = |env: &Option<Vec<k8s_openapi::api::core::v1::EnvVar>>,
                    from: &Option<Vec<k8s_openapi::api::core::v1::EnvFromSource>>,
                    mounts: &Option<Vec<k8s_openapi::api::core::v1::VolumeMount>>| {
        let refs = env.iter().flatten().filter_map(|e| e.value_from.as_ref()?.secret_key_ref.as_ref());
        if refs.into_iter().any(|r| r.name == secret) {
            ways.push("env");
        }
        if from.iter().flatten().filter_map(|f| f.secret_ref.as_ref()).any(|r| r.name == secret) {
            ways.push("envFrom");
        }
        let sub = |m: &k8s_openapi::api::core::v1::VolumeMount| m.sub_path.is_some() || m.sub_path_expr.is_some();
        if mounts.iter().flatten().any(|m| volumes.contains(&m.name.as_str()) && sub(m)) {
            ways.push("subPath");
        }
    };
    for c in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        look(&c.env, &c.env_from, &c.volume_mounts);
    }
    for c in spec.ephemeral_containers.iter().flatten() {
        look(&c.env, &c.env_from, &c.volume_mounts);
    }
    if spec.image_pull_secrets.iter().flatten().any(|r| r.name == secret) {
        ways.push("imagePullSecret");
    }
    ways.sort_unstable();
    ways.dedup();
    ways
}

/// The workloads, or the pods without one, that must be restarted: each once.
pub(super) fn to_restart(consumers: &[Consumer]) -> Vec<String> {
    let mut names: Vec<String> = consumers
        .iter()
        .filter(|c| c.needs_restart)
        .map(|c| c.owner.clone().unwrap_or_else(|| format!("Pod/{}", c.pod)))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn every_way_to_a_secret_is_found_and_only_volumes_refresh() {
        let pod = |name: &str, spec: Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
        };
        let volume = json!([{"name": "v", "secret": {"secretName": "db"}}]);
        let pods = [
            pod(
                "env",
                json!({"containers": [{"name": "a", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}}]}]}),
            ),
            pod(
                "init",
                json!({"containers": [], "initContainers": [{"name": "a", "envFrom": [{"secretRef": {"name": "db"}}]}]}),
            ),
            pod(
                "volume",
                json!({"containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}], "volumes": volume}),
            ),
            pod(
                "sub",
                json!({"containers": [{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "p"}]}], "volumes": volume}),
            ),
            pod(
                "projected",
                json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "db"}}]}}]}),
            ),
            pod("pull", json!({"containers": [], "imagePullSecrets": [{"name": "db"}]})),
            pod("none", json!({"containers": [{"name": "a", "envFrom": [{"secretRef": {"name": "other"}}]}]})),
        ];
        let found: Vec<_> = consumers(&pods, "db").into_iter().map(|c| (c.pod, c.needs_restart)).collect();
        let expected =
            [("env", true), ("init", true), ("projected", false), ("pull", false), ("sub", true), ("volume", false)];
        assert_eq!(found, expected.map(|(n, r)| (n.to_owned(), r)));
        assert_eq!(to_restart(&consumers(&pods, "db")), ["Pod/env", "Pod/init", "Pod/sub"]);
    }
}
