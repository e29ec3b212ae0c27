//! What a pod makes its node read: Secrets, ConfigMaps, tokens, and the volumes behind its claims.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Kind, namespace, name.
type Key = (&'static str, String, String);

/// One Secret or ConfigMap that reached the node.
#[derive(Debug, Default)]
struct Held {
    /// None: all of them.
    keys: Option<BTreeSet<String>>,
    via: BTreeSet<String>,
    pods: BTreeSet<String>,
}

/// All that reached the node, each once.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    held: BTreeMap<Key, Held>,
    tokens: BTreeMap<Token, BTreeSet<String>>,
}

/// Namespace, account, audience, seconds.
type Token = (String, String, Option<String>, Option<i64>);

/// In-tree volume kinds that name a Secret of the pod's namespace: kind, then the way to the name.
const OLD_VOLUMES: [(&str, &str); 9] = [
    ("rbd", "/secretRef/name"),
    ("cephfs", "/secretRef/name"),
    ("iscsi", "/secretRef/name"),
    ("flexVolume", "/secretRef/name"),
    ("scaleIO", "/secretRef/name"),
    ("storageos", "/secretRef/name"),
    ("cinder", "/secretRef/name"),
    ("azureFile", "/secretName"),
    ("csi", "/nodePublishSecretRef/name"),
];

pub(super) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

pub(super) fn volumes(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["volumes"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

impl Holdings {
    /// What one pod's spec and its service account name. A volume counts though no container mounts it: the kubelet writes
    /// it to the node all the same.
    pub fn add(&mut self, pod: &Value, account: &Value) {
        let (namespace, name) = (text(&pod["metadata"]["namespace"]), text(&pod["metadata"]["name"]));
        let mut hold = |kind: &'static str, of: &Value, keys: Option<Vec<String>>, via: &str| {
            let Some(of) = of.as_str().filter(|n| !n.is_empty()) else { return };
            let key = (kind, namespace.clone(), of.to_string());
            let new = !self.held.contains_key(&key);
            let held = self.held.entry(key).or_default();
            held.keys = match (std::mem::take(&mut held.keys), keys) {
                (None, Some(keys)) if new => Some(keys.into_iter().collect()),
                (Some(mut known), Some(keys)) => {
                    known.extend(keys);
                    Some(known)
                }
                _ => None,
            };
            held.via.insert(via.into());
            held.pods.insert(name.clone());
        };
        let items = |source: &Value| -> Option<Vec<String>> {
            Some(source["items"].as_array()?.iter().map(|i| text(&i["key"])).collect())
        };
        for volume in volumes(pod) {
            hold("secret", &volume["secret"]["secretName"], items(&volume["secret"]), "volume");
            hold("configmap", &volume["configMap"]["name"], items(&volume["configMap"]), "volume");
            for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
                hold("secret", &source["secret"]["name"], items(&source["secret"]), "projected");
                hold("configmap", &source["configMap"]["name"], items(&source["configMap"]), "projected");
            }
            for (kind, way) in OLD_VOLUMES {
                if let Some(of) = volume[kind].pointer(way) {
                    hold("secret", of, None, kind);
                }
            }
        }
        for container in containers(pod) {
            for env in container["env"].as_array().into_iter().flatten() {
                let from = &env["valueFrom"];
                let key = |of: &str| Some(vec![text(&from[of]["key"])]);
                hold("secret", &from["secretKeyRef"]["name"], key("secretKeyRef"), "env");
                hold("configmap", &from["configMapKeyRef"]["name"], key("configMapKeyRef"), "env");
            }
            for from in container["envFrom"].as_array().into_iter().flatten() {
                hold("secret", &from["secretRef"]["name"], None, "envFrom");
                hold("configmap", &from["configMapRef"]["name"], None, "envFrom");
            }
        }
        for pulls in [&pod["spec"]["imagePullSecrets"], &account["imagePullSecrets"]] {
            for secret in pulls.as_array().into_iter().flatten() {
                hold("image-pull-secret", &secret["name"], None, "imagePullSecret");
            }
        }
        for secret in account["secrets"].as_array().into_iter().flatten() {
            hold("secret", &secret["name"], None, "serviceAccount.secrets");
        }
        for source in volumes(pod).flat_map(|v| v["projected"]["sources"].as_array().into_iter().flatten()) {
            let token = &source["serviceAccountToken"];
            if token.is_object() {
                let audience = token["audience"].as_str().filter(|a| !a.is_empty()).map(Into::into);
                let key = (
                    namespace.clone(),
                    text(&pod["spec"]["serviceAccountName"]),
                    audience,
                    token["expirationSeconds"].as_i64(),
                );
                self.tokens.entry(key).or_default().insert(name.clone());
            }
        }
    }

    /// A Secret that a volume's own object names: of its driver, for the node.
    pub fn add_of_volume(&mut self, reference: &Value, via: &str, claim: &str) {
        if let (Some(namespace), Some(name)) = (reference["namespace"].as_str(), reference["name"].as_str()) {
            let held = self.held.entry(("secret", namespace.into(), name.into())).or_default();
            held.keys = None;
            held.via.insert(via.into());
            held.pods.insert(claim.into());
        }
    }

    /// What the kubelet asked for by name, for whichever pod: `secret` or `configmap`.
    pub fn add_read(&mut self, kind: &'static str, namespace: &str, name: &str) {
        let pulled = ("image-pull-secret", namespace.to_owned(), name.to_owned());
        let key = if self.held.contains_key(&pulled) { pulled } else { (kind, namespace.into(), name.into()) };
        let held = self.held.entry(key).or_default();
        held.keys = None;
        held.via.insert("read by the kubelet".into());
    }

    /// Everything, as the record and later steps have it.
    pub fn json(&self) -> (Vec<Value>, Vec<Value>) {
        let mut credentials: Vec<Value> = self
            .held
            .iter()
            .map(|((kind, namespace, name), held)| {
                json!({"kind": kind, "namespace": namespace, "name": name, "keys": held.keys, "via": held.via, "pods": held.pods})
            })
            .collect();
        credentials.extend(self.tokens.iter().map(|((namespace, account, audience, seconds), pods)| {
            json!({"kind": "service-account-token", "namespace": namespace, "name": account, "audience": audience,
                   "expiration_seconds": seconds, "pods": pods})
        }));
        let mut accounts: BTreeMap<(&str, &str), BTreeSet<&String>> = BTreeMap::new();
        for ((namespace, account, _, _), pods) in &self.tokens {
            accounts.entry((namespace, account)).or_default().extend(pods);
        }
        let accounts = accounts
            .into_iter()
            .map(|((namespace, name), pods)| json!({"namespace": namespace, "name": name, "pods": pods}))
            .collect();
        (credentials, accounts)
    }
}

/// What of a pod reaches beyond its containers; empty for a pod that does not.
pub(super) fn reach(pod: &Value) -> Vec<String> {
    let mut all: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|key| pod["spec"][**key] == true)
        .map(|key| (*key).to_string())
        .collect();
    for container in containers(pod) {
        let name = container["name"].as_str().unwrap_or_default();
        let security = &container["securityContext"];
        if security["privileged"] == true {
            all.push(format!("{name} privileged"));
        }
        let added: Vec<&str> =
            security["capabilities"]["add"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !added.is_empty() {
            all.push(format!("{name} +{}", added.join(",")));
        }
    }
    for volume in volumes(pod) {
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            all.push(format!("hostPath {path}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_a_secret_or_a_configmap_counts_and_each_once() {
        let pod = json!({
            "metadata": {"namespace": "n", "name": "p"},
            "spec": {
                "serviceAccountName": "sa", "hostPID": true, "imagePullSecrets": [{"name": "pull"}],
                "volumes": [
                    {"name": "a", "secret": {"secretName": "vol", "items": [{"key": "k"}]}},
                    {"name": "b", "projected": {"sources": [{"secret": {"name": "proj"}}, {"configMap": {"name": "cm"}},
                        {"serviceAccountToken": {"audience": "vault", "expirationSeconds": 600}}]}},
                    {"name": "c", "azureFile": {"secretName": "share"}}, {"name": "d", "rbd": {"secretRef": {"name": "ceph"}}},
                    {"name": "e", "csi": {"driver": "x", "nodePublishSecretRef": {"name": "publish"}}},
                    {"name": "h", "hostPath": {"path": "/etc"}}],
                "containers": [{"name": "app", "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN"]}},
                    "env": [{"valueFrom": {"secretKeyRef": {"name": "vol", "key": "other"}}}, {"valueFrom": {"configMapKeyRef": {"name": "cm2", "key": "x"}}}]}],
                "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "all"}}]}]},
        });
        let account = json!({"imagePullSecrets": [{"name": "of-account"}], "secrets": [{"name": "legacy"}]});
        let mut holdings = Holdings::default();
        holdings.add(&pod, &account);
        holdings.add_of_volume(&json!({"namespace": "csi", "name": "stage"}), "nodeStageSecretRef", "n/claim");
        let (credentials, accounts) = holdings.json();
        let names = |kind: &str| -> Vec<&str> {
            credentials.iter().filter(|c| c["kind"] == kind).map(|c| c["name"].as_str().unwrap()).collect()
        };
        assert_eq!(names("secret"), ["stage", "all", "ceph", "legacy", "proj", "publish", "share", "vol"]);
        assert_eq!(names("image-pull-secret"), ["of-account", "pull"]);
        assert_eq!(names("configmap"), ["cm", "cm2"]);
        assert_eq!(names("service-account-token"), ["sa"]);
        let vol = credentials.iter().find(|c| c["name"] == "vol").unwrap();
        assert_eq!((&vol["keys"], &vol["via"]), (&json!(["k", "other"]), &json!(["env", "volume"])));
        assert_eq!(accounts, [json!({"namespace": "n", "name": "sa", "pods": ["p"]})]);
        assert_eq!(reach(&pod), ["hostPID", "app privileged", "app +SYS_ADMIN", "hostPath /etc"]);
    }
}
