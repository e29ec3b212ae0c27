//! Where a pod's spec, a template's or a running one's, names a Secret, and whether it takes up a new value by itself.

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, Pod, PodSpec, Volume, VolumeMount};
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

/// One place in a pod's spec that names the Secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Use {
    /// `env`, `envFrom`, `volume`, `subPath`, `imagePullSecret`, `driver` (a volume's plug-in reads it itself).
    pub via: &'static str,
    /// The container; None for what is the pod's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The key that it takes; None for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The variable, or the file or folder in the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

impl Use {
    fn of(via: &'static str) -> Use {
        Use { via, container: None, key: None, at: None }
    }

    /// Whether the value stays as it was when the container started:
    /// <https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets>
    pub fn stays(&self) -> bool {
        matches!(self.via, "env" | "envFrom" | "subPath")
    }
}

/// The keys of a volume's source as files: key and path below the mount; none for all keys by their own names.
type Items = Vec<(String, String)>;

/// Every place of a pod's spec that names the Secret.
pub(super) fn uses(spec: &PodSpec, secret: &str) -> Vec<Use> {
    let mut found = Vec::new();
    let mut volumes: Vec<(&str, Items)> = Vec::new();
    for volume in spec.volumes.iter().flatten() {
        if let Some(source) = volume.secret.as_ref().filter(|s| s.secret_name.as_deref() == Some(secret)) {
            let items = source.items.iter().flatten().map(|i| (i.key.clone(), i.path.clone())).collect();
            volumes.push((&volume.name, items));
        }
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            if let Some(source) = source.secret.as_ref().filter(|s| s.name == secret) {
                let items = source.items.iter().flatten().map(|i| (i.key.clone(), i.path.clone())).collect();
                volumes.push((&volume.name, items));
            }
        }
        if driver_secrets(volume).contains(&secret) {
            found.push(Use { at: Some(volume.name.clone()), ..Use::of("driver") });
        }
    }
    let mut mounted: Vec<&str> = Vec::new();
    let mut look = |name: &str,
                    env: &Option<Vec<EnvVar>>,
                    from: &Option<Vec<EnvFromSource>>,
                    mounts: &Option<Vec<VolumeMount>>| {
        for variable in env.iter().flatten() {
            let reference = variable.value_from.as_ref().and_then(|v| v.secret_key_ref.as_ref());
            if let Some(reference) = reference.filter(|r| r.name == secret) {
                found.push(Use {
                    via: "env",
                    container: Some(name.into()),
                    key: Some(reference.key.clone()),
                    at: Some(variable.name.clone()),
                });
            }
        }
        if from.iter().flatten().filter_map(|f| f.secret_ref.as_ref()).any(|r| r.name == secret) {
            found.push(Use { container: Some(name.into()), ..Use::of("envFrom") });
        }
        for mount in mounts.iter().flatten() {
            for (volume, items) in volumes.iter().filter(|(v, _)| *v == mount.name) {
                mounted.push(volume);
                let container = Some(name.to_owned());
                let root = mount.mount_path.trim_end_matches('/');
                let sub = mount.sub_path.as_deref().or(mount.sub_path_expr.as_deref());
                if let Some(sub) = sub.filter(|s| !s.is_empty()) {
                    let key = items.iter().find(|(_, path)| path == sub).map_or(sub, |(key, _)| key);
                    let at = Some(mount.mount_path.clone());
                    found.push(Use { via: "subPath", container, key: Some(key.into()), at });
                } else if items.is_empty() {
                    found.push(Use { via: "volume", container, key: None, at: Some(root.into()) });
                } else {
                    found.extend(items.iter().map(|(key, path)| Use {
                        via: "volume",
                        container: container.clone(),
                        key: Some(key.clone()),
                        at: Some(format!("{root}/{path}")),
                    }));
                }
            }
        }
    };
    for c in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        look(&c.name, &c.env, &c.env_from, &c.volume_mounts);
    }
    for c in spec.ephemeral_containers.iter().flatten() {
        look(&c.name, &c.env, &c.env_from, &c.volume_mounts);
    }
    // A volume that no container mounts is on the node all the same.
    let loose = volumes.iter().filter(|(v, _)| !mounted.contains(v)).map(|_| Use::of("volume"));
    let loose: Vec<Use> = loose.collect();
    found.extend(loose);
    if spec.image_pull_secrets.iter().flatten().any(|r| r.name == secret) {
        found.push(Use::of("imagePullSecret"));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Secrets that a volume's own plug-in reads: CSI's node publish secret and the older drivers'.
fn driver_secrets(volume: &Volume) -> Vec<&str> {
    fn local(reference: &Option<LocalObjectReference>) -> Option<&str> {
        reference.as_ref().map(|r| r.name.as_str())
    }
    let named = [
        volume.csi.as_ref().map(|c| local(&c.node_publish_secret_ref)),
        volume.flex_volume.as_ref().map(|v| local(&v.secret_ref)),
        volume.rbd.as_ref().map(|v| local(&v.secret_ref)),
        volume.cephfs.as_ref().map(|v| local(&v.secret_ref)),
        volume.iscsi.as_ref().map(|v| local(&v.secret_ref)),
        volume.scale_io.as_ref().map(|v| Some(v.secret_ref.name.as_str())),
        volume.storageos.as_ref().map(|v| local(&v.secret_ref)),
        volume.azure_file.as_ref().map(|v| Some(v.secret_name.as_str())),
    ];
    named.into_iter().flatten().flatten().collect()
}

fn ways(spec: &PodSpec, secret: &str) -> Vec<&'static str> {
    let mut ways: Vec<&'static str> = uses(spec, secret).iter().map(|u| u.via).collect();
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
