//! What differs from run to run is taken out of an answer; what is left must be the same.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

/// Fields whose values are of one run alone.
const DROPPED: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "time",
    "managedFields",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "clusterIP",
    "clusterIPs",
    "nodeName",
    "startTime",
    "lastTransitionTime",
    "lastUpdateTime",
    "lastProbeTime",
    "startedAt",
    "finishedAt",
    "containerID",
    "imageID",
    "image",
    "token",
    "expirationTimestamp",
    "continue",
    "deletionTimestamp",
    "controller-revision-hash",
    "pod-template-hash",
    "selfLink",
    "completionTime",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
    "ownerReferences",
    "credential-id",
    "authentication.kubernetes.io/credential-id",
    "ipFamilies",
    "ipFamilyPolicy",
    "internalTrafficPolicy",
];

/// The answer without them; `namespace` becomes $NS.
pub fn normal(value: &Value, namespace: &str) -> Value {
    match value {
        Value::Object(map) => {
            let kept: Map<String, Value> = map
                .iter()
                .filter(|(k, v)| !DROPPED.contains(&k.as_str()) && !v.is_null())
                .map(|(k, v)| (text(k, namespace), normal(v, namespace)))
                .collect();
            Value::Object(kept)
        }
        Value::Array(items) => Value::Array(items.iter().map(|v| normal(v, namespace)).collect()),
        Value::String(plain) => Value::String(text(plain, namespace)),
        other => other.clone(),
    }
}

/// Pattern and what stands for it.
static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UID"),
        (r"kube-api-access-[a-z0-9]{5}", "kube-api-access-X"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        (r"\b(10|172|192)\.\d+\.\d+\.\d+\b", "IP"),
        (r"-[bcdf-hj-np-tv-xz2456789]{8,10}-[bcdf-hj-np-tv-xz2456789]{5}\b", "-H-X"),
        (r"resource version: \d+( \(\d+\))?", "resource version: N"),
        (r"uid=\S+", "uid=U"),
    ]
    .into_iter()
    .map(|(pattern, instead)| (Regex::new(pattern).unwrap(), instead))
    .collect()
});

fn text(plain: &str, namespace: &str) -> String {
    let mut text = plain.replace(namespace, "$NS");
    for (pattern, instead) in PATTERNS.iter() {
        text = pattern.replace_all(&text, *instead).into_owned();
    }
    text
}

/// Only these parts, by JSON pointer.
pub fn shown(value: &Value, pointers: &[String]) -> Value {
    if pointers.is_empty() {
        return value.clone();
    }
    Value::Object(pointers.iter().map(|p| (p.clone(), value.pointer(p).cloned().unwrap_or(Value::Null))).collect())
}
