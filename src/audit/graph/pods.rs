//! What the body of a pod, or of what makes pods, says: which Secrets it takes in, as whom it runs, and what made it.

use serde_json::Value;

/// Names of the Secrets that a pod spec takes in.
pub fn secrets(spec: &Value) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for volume in list(spec, "/volumes") {
        found.extend(name(volume, "/secret/secretName"));
        found.extend(name(volume, "/csi/nodePublishSecretRef/name"));
        found.extend(list(volume, "/projected/sources").filter_map(|source| name(source, "/secret/name")));
    }
    for kind in ["/containers", "/initContainers", "/ephemeralContainers"] {
        for container in list(spec, kind) {
            found.extend(list(container, "/env").filter_map(|env| name(env, "/valueFrom/secretKeyRef/name")));
            found.extend(list(container, "/envFrom").filter_map(|from| name(from, "/secretRef/name")));
        }
    }
    found.extend(list(spec, "/imagePullSecrets").filter_map(|secret| name(secret, "/name")));
    found.sort_unstable();
    found.dedup();
    found
}

/// Kind and name of what made an object.
pub fn owners(body: &Value) -> impl Iterator<Item = (&str, &str)> {
    list(body, "/metadata/ownerReferences").filter_map(|owner| Some((name(owner, "/kind")?, name(owner, "/name")?)))
}

pub fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

pub fn name<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}
