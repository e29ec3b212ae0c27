//! Which lists are maps, and by which keys: one table for strategic merge and for server-side apply (the API's
//! `patchMergeKey` and `x-kubernetes-list-map-keys`).

use serde_json::Value;

/// How a list is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// By a key for strategic merge, by keys for apply (none: atomic there).
    Map(&'static str, &'static [&'static str]),
    /// Of scalars.
    Set,
    /// As a whole.
    Atomic,
}

/// The list at a field of a kind; `parent` is the field that holds the object with it.
pub fn list(kind: &str, parent: &str, field: &str) -> List {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "imagePullSecrets"
        | "env"
        | "resourceClaims" => List::Map("name", &["name"]),
        "secrets" if kind == "ServiceAccount" => List::Map("name", &["name"]),
        "volumeMounts" => List::Map("mountPath", &["mountPath"]),
        "volumeDevices" => List::Map("devicePath", &["devicePath"]),
        "hostAliases" => List::Map("ip", &["ip"]),
        "topologySpreadConstraints" => List::Map("topologyKey", &["topologyKey", "whenUnsatisfiable"]),
        "conditions" => List::Map("type", &["type"]),
        "ownerReferences" => List::Map("uid", &["uid"]),
        "addresses" if kind == "Node" => List::Map("type", &["type"]),
        "podIPs" | "hostIPs" => List::Map("ip", &["ip"]),
        "taints" => List::Map("key", &[]),
        "ports" if kind == "Service" && parent == "spec" => List::Map("port", &["port", "protocol"]),
        "ports"
            if parent.starts_with("containers")
                || parent.starts_with("initContainers")
                || parent.starts_with("ephemeralContainers") =>
        {
            List::Map("containerPort", &["containerPort", "protocol"])
        }
        "finalizers" if parent == "metadata" => List::Set,
        _ => List::Atomic,
    }
}

/// Maps that are owned and replaced as a whole.
pub fn atomic_map(kind: &str, parent: &str, field: &str) -> bool {
    match field {
        "matchLabels" | "podSelector" | "namespaceSelector" | "nodeSelector" | "secretKeyRef" | "configMapKeyRef"
        | "fieldRef" | "resourceFieldRef" | "roleRef" | "involvedObject" | "targetRef" | "claimRef"
        | "labelSelector" => true,
        "selector" => parent == "spec" && !["ReplicationController"].contains(&kind) || kind == "Service",
        _ => false,
    }
}

/// The key of a list's item, in the form of managedFields: `k:{"name":"x"}`. None when a key is missing.
pub fn item_key(item: &Value, keys: &[&str]) -> Option<String> {
    let mut map = serde_json::Map::new();
    for key in keys {
        let value = match (&item[*key], *key) {
            (Value::Null, "protocol") => Value::String("TCP".into()),
            (Value::Null, _) => return None,
            (value, _) => value.clone(),
        };
        map.insert((*key).into(), value);
    }
    Some(format!("k:{}", Value::Object(map)))
}
