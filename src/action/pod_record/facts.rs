//! What the objects that were read amount to.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Seen;
use crate::cluster::{Cx, Problem, raw, selector};

impl Seen {
    /// The step's outputs.
    pub(super) fn outputs(&self) -> Value {
        let (meta, spec, status) = (&self.pod["metadata"], &self.pod["spec"], &self.pod["status"]);
        let owner = meta["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true);
        json!({
            "pod": {
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
                "node": spec["nodeName"],
                "service_account": spec["serviceAccountName"],
                "service_account_uid": self.service_account["metadata"]["uid"],
                "created": meta["creationTimestamp"],
                "labels": meta["labels"],
                "phase": status["phase"],
                "ip": status["podIP"],
                "host_network": spec["hostNetwork"] == true,
            },
            "owner": owner.map(owner_ref),
            "owners": self.owners.iter().map(|o| json!({
                "api_version": o["apiVersion"], "kind": o["kind"], "name": o["metadata"]["name"], "uid": o["metadata"]["uid"],
            })).collect::<Vec<_>>(),
            "containers": containers(&self.pod),
            "images": images(&self.pod),
            "credentials": credentials(&self.pod, &self.service_account),
            "siblings": self.siblings(),
            "selected_by": self.selected_by(),
        })
    }

    fn siblings(&self) -> Vec<Value> {
        let uid = &self.pod["metadata"]["uid"];
        let owner = controller(&self.pod);
        let images: BTreeSet<String> =
            specs(&self.pod).filter_map(|(_, c)| c["image"].as_str().map(str::to_string)).collect();
        let digests: BTreeSet<String> = statuses(&self.pod)
            .filter_map(|s| s["imageID"].as_str().map(str::to_string))
            .filter(|s| !s.is_empty())
            .collect();
        self.pods
            .iter()
            .filter(|p| p["metadata"]["uid"] != *uid)
            .filter_map(|p| {
                let mut by = Vec::new();
                if owner.is_some() && controller(p) == owner {
                    by.push("owner");
                }
                if specs(p).any(|(_, c)| c["image"].as_str().is_some_and(|i| images.contains(i))) {
                    by.push("image");
                }
                if statuses(p).any(|s| s["imageID"].as_str().is_some_and(|i| digests.contains(i))) {
                    by.push("digest");
                }
                (!by.is_empty()).then(|| {
                    json!({"name": p["metadata"]["name"], "uid": p["metadata"]["uid"], "node": p["spec"]["nodeName"],
                           "phase": p["status"]["phase"], "same": by})
                })
            })
            .collect()
    }

    fn selected_by(&self) -> Vec<Value> {
        let labels = selector::labels(&self.pod);
        let policies = self
            .policies
            .iter()
            .filter(|p| selector::matches(&p["spec"]["podSelector"], &labels))
            .map(|p| json!({"kind": "NetworkPolicy", "name": p["metadata"]["name"], "uid": p["metadata"]["uid"]}));
        let services = self
            .services
            .iter()
            .filter(|s| s["spec"]["selector"].as_object().is_some_and(|m| !m.is_empty()) && selector::plain(&s["spec"]["selector"], &labels))
            .map(|s| json!({"kind": "Service", "name": s["metadata"]["name"], "uid": s["metadata"]["uid"], "type": s["spec"]["type"]}));
        policies.chain(services).collect()
    }

    /// What goes on disk: name, title, content.
    pub(super) fn documents(&self, outputs: &Value) -> Vec<(&'static str, &'static str, Value)> {
        vec![
            ("pod", "The pod as the API server sent it, before anything was changed", self.pod.clone()),
            (
                "related",
                "Owners, service account, node, autoscalers, and the policies and services of the namespace",
                json!({"owners": self.owners, "serviceAccount": self.service_account, "node": self.node,
                       "networkPolicies": self.policies, "services": self.services,
                       "horizontalPodAutoscalers": self.autoscalers, "notRead": self.not_read}),
            ),
            ("events", "The pod's events", Value::Array(self.events.clone())),
            ("facts", "What quell made of it: identity, containers, credentials by name, siblings", outputs.clone()),
        ]
    }
}

fn owner_ref(owner: &Value) -> Value {
    json!({"api_version": owner["apiVersion"], "kind": owner["kind"], "name": owner["name"], "uid": owner["uid"]})
}

fn controller(pod: &Value) -> Option<&str> {
    pod["metadata"]["ownerReferences"].as_array()?.iter().find(|o| o["controller"] == true)?["uid"].as_str()
}

const LISTS: [(&str, &str, &str); 3] = [
    ("initContainers", "initContainerStatuses", "init"),
    ("containers", "containerStatuses", "container"),
    ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
];

fn specs(pod: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    LISTS
        .into_iter()
        .flat_map(move |(list, _, kind)| pod["spec"][list].as_array().into_iter().flatten().map(move |c| (kind, c)))
}

fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    LISTS.into_iter().flat_map(move |(_, list, _)| pod["status"][list].as_array().into_iter().flatten())
}

fn containers(pod: &Value) -> Vec<Value> {
    specs(pod)
        .map(|(kind, c)| {
            let none = Value::Null;
            let status = statuses(pod).find(|s| s["name"] == c["name"]).unwrap_or(&none);
            json!({"name": c["name"], "kind": kind, "image": c["image"], "image_id": status["imageID"],
                   "pull_policy": c["imagePullPolicy"], "container_id": status["containerID"],
                   "restarts": status["restartCount"], "running": status["state"]["running"].is_object()})
        })
        .collect()
}

fn images(pod: &Value) -> Vec<Value> {
    let all: BTreeMap<(String, String), ()> = containers(pod)
        .iter()
        .map(|c| {
            ((c["image"].as_str().unwrap_or_default().into(), c["image_id"].as_str().unwrap_or_default().into()), ())
        })
        .collect();
    all.into_keys().map(|(image, digest)| json!({"image": image, "digest": digest})).collect()
}

/// Every credential that the pod's spec refers to, by name: the places are those of the pod API's SecretRef fields.
fn credentials(pod: &Value, account: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    let mounts = |volume: &Value| -> Vec<(String, String, bool)> {
        specs(pod)
            .flat_map(|(_, c)| {
                let name = c["name"].as_str().unwrap_or_default().to_string();
                c["volumeMounts"].as_array().into_iter().flatten().filter(|m| m["name"] == volume["name"]).map(
                    move |m| {
                        (
                            name.clone(),
                            m["mountPath"].as_str().unwrap_or_default().to_string(),
                            m["subPath"].is_string(),
                        )
                    },
                )
            })
            .collect()
    };
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        for (container, path, sub_path) in mounts(volume) {
            if let Some(name) = volume["secret"]["secretName"].as_str() {
                let keys: Option<Vec<_>> =
                    volume["secret"]["items"].as_array().map(|i| i.iter().map(|k| k["key"].clone()).collect());
                found.push(json!({"kind": "secret", "name": name, "keys": keys, "via": "volume", "container": container, "path": path, "sub_path": sub_path}));
            }
            for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
                if let Some(name) = source["secret"]["name"].as_str() {
                    found.push(json!({"kind": "secret", "name": name, "via": "projected", "container": container, "path": path, "sub_path": sub_path}));
                }
                if source["serviceAccountToken"].is_object() {
                    let token = &source["serviceAccountToken"];
                    found.push(json!({"kind": "service-account-token", "name": pod["spec"]["serviceAccountName"], "via": "projected",
                        "container": container, "path": path, "audience": token["audience"], "expiration_seconds": token["expirationSeconds"]}));
                }
            }
            if let Some(name) = volume["csi"]["nodePublishSecretRef"]["name"].as_str() {
                found.push(json!({"kind": "secret", "name": name, "via": "csi", "container": container, "path": path}));
            }
        }
    }
    for (_, c) in specs(pod) {
        for env in c["env"].as_array().into_iter().flatten() {
            let reference = &env["valueFrom"]["secretKeyRef"];
            if let Some(name) = reference["name"].as_str() {
                found.push(json!({"kind": "secret", "name": name, "keys": [reference["key"]], "via": "env", "container": c["name"], "variable": env["name"]}));
            }
        }
        for from in c["envFrom"].as_array().into_iter().flatten() {
            if let Some(name) = from["secretRef"]["name"].as_str() {
                found.push(json!({"kind": "secret", "name": name, "via": "envFrom", "container": c["name"]}));
            }
        }
    }
    let pulls = pod["spec"]["imagePullSecrets"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(account["imagePullSecrets"].as_array().into_iter().flatten());
    let names: BTreeSet<&str> = pulls.filter_map(|p| p["name"].as_str()).collect();
    found.extend(
        names.into_iter().map(|name| json!({"kind": "image-pull-secret", "name": name, "via": "imagePullSecret"})),
    );
    for secret in account["secrets"].as_array().into_iter().flatten() {
        found.push(json!({"kind": "secret", "name": secret["name"], "via": "serviceAccount.secrets"}));
    }
    found
}

/// The chain of controllers, nearest first; what may not be read ends it, with a note.
pub(super) async fn owners(cx: &Cx, pod: &Value, not_read: &mut Vec<String>) -> Result<Vec<Value>, Problem> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
    let mut chain: Vec<Value> = Vec::new();
    let mut at = pod.clone();
    // Deployment, ReplicaSet, pod: real chains have three links; a cycle must end too.
    for _ in 0..8 {
        let Some(owner) = at["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|o| o["controller"] == true)
            .cloned()
        else {
            break;
        };
        let (kind, name) = (owner["kind"].as_str().unwrap_or_default(), owner["name"].as_str().unwrap_or_default());
        let Some(path) = path_of(owner["apiVersion"].as_str().unwrap_or_default(), kind, &namespace, name) else {
            not_read.push(format!("the owner {kind} {name} is of a kind that quell does not read"));
            break;
        };
        match raw::get(&cx.client, &path).await {
            Ok(object) if object["metadata"]["uid"] == owner["uid"] => {
                chain.push(object.clone());
                at = object;
            }
            Ok(_) => {
                not_read.push(format!("the owner {kind} {name} was replaced by another of that name"));
                break;
            }
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                not_read.push(format!("the owner {kind} {name} not read: {problem}"));
                break;
            }
        }
    }
    Ok(chain)
}

/// Where an object of a known workload kind is read.
fn path_of(api_version: &str, kind: &str, namespace: &str, name: &str) -> Option<String> {
    let plural = match kind {
        "ReplicaSet" => "replicasets",
        "Deployment" => "deployments",
        "StatefulSet" => "statefulsets",
        "DaemonSet" => "daemonsets",
        "Job" => "jobs",
        "CronJob" => "cronjobs",
        _ => return None,
    };
    (api_version == "apps/v1" || api_version == "batch/v1")
        .then(|| format!("/apis/{api_version}/namespaces/{namespace}/{plural}/{name}"))
}
