//! Bodies: a JSON patch in the shape of what it changes, and the pod specs of pods and workloads.

use serde_json::{Map, Value};

use super::look::Verbs;
use super::spec::{Need, On};

/// Operations of one JSON patch that are looked at.
const MAX_OPERATIONS: usize = 2_000;
/// Steps of one path that are followed.
const MAX_STEPS: usize = 32;

/// The body as it is, but for a JSON patch (a list of operations, RFC 6902): that becomes an object that has what the
/// operations set at their paths. Merge patches and applied configurations have that shape already.
pub fn shaped(body: Value) -> Value {
    let Value::Array(operations) = body else { return body };
    let mut shape = Value::Object(Map::new());
    for operation in operations.iter().take(MAX_OPERATIONS) {
        let (Some(op), Some(path)) =
            (operation.get("op").and_then(Value::as_str), operation.get("path").and_then(Value::as_str))
        else {
            continue;
        };
        if matches!(op, "add" | "replace")
            && let Some(value) = operation.get("value")
        {
            set(&mut shape, path, value);
        }
    }
    shape
}

/// The paths that a JSON patch removes, a merge patch sets to null.
pub fn removed(raw: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match raw {
        Value::Array(operations) => {
            for operation in operations.iter().take(MAX_OPERATIONS) {
                if operation.get("op").and_then(Value::as_str) == Some("remove")
                    && let Some(path) = operation.get("path").and_then(Value::as_str)
                {
                    found.push(path.replace("~1", "/").replace("~0", "~"));
                }
            }
        }
        other => nulls(other, &mut String::new(), 0, &mut found),
    }
    found
}

fn nulls(value: &Value, path: &mut String, depth: usize, found: &mut Vec<String>) {
    if depth > MAX_STEPS || found.len() > MAX_OPERATIONS {
        return;
    }
    match value {
        Value::Null if depth > 0 => found.push(path.clone()),
        Value::Object(map) => {
            for (key, inner) in map {
                let length = path.len();
                path.push('/');
                path.push_str(key);
                nulls(inner, path, depth + 1, found);
                path.truncate(length);
            }
        }
        _ => {}
    }
}

/// Sets a value at a JSON pointer, making what is missing. A number or `-` is a place in a list: each becomes an item,
/// wherever it stands.
fn set(shape: &mut Value, path: &str, value: &Value) {
    let steps: Vec<String> =
        path.split('/').skip(1).take(MAX_STEPS).map(|s| s.replace("~1", "/").replace("~0", "~")).collect();
    let mut at = shape;
    for (i, step) in steps.iter().enumerate() {
        let in_list = step == "-" || (!step.is_empty() && step.bytes().all(|b| b.is_ascii_digit()));
        // A label or annotation may have digits for a key.
        let keyed = i > 0 && matches!(steps[i - 1].as_str(), "labels" | "annotations" | "matchLabels" | "data");
        if in_list && !keyed {
            if !at.is_array() {
                *at = Value::Array(Vec::new());
            }
            let Value::Array(list) = at else { return };
            // Paths that name one index mean one item; the index is kept beside, under a key that no object has.
            let found =
                list.iter().position(|item| step != "-" && item.get(" at").and_then(Value::as_str) == Some(step));
            let place = found.unwrap_or_else(|| {
                let mut item = Map::new();
                if step != "-" {
                    item.insert(" at".into(), Value::String(step.clone()));
                }
                list.push(Value::Object(item));
                list.len() - 1
            });
            let Some(item) = list.get_mut(place) else { return };
            at = item;
        } else {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let Value::Object(map) = at else { return };
            at = map.entry(step.clone()).or_insert(Value::Null);
        }
    }
    *at = value.clone();
}

/// Pod specs in a body: a Pod's, and that of the template of a Deployment, DaemonSet, StatefulSet, ReplicaSet,
/// ReplicationController, Job, CronJob or PodTemplate.
pub fn pod_specs(body: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    for pointer in ["/spec/template/spec", "/spec/jobTemplate/spec/template/spec", "/template/spec"] {
        if let Some(spec) = body.pointer(pointer).filter(|s| s.is_object()) {
            found.push(spec);
        }
    }
    if found.is_empty()
        && let Some(spec) = body.get("spec").filter(|s| s.is_object())
    {
        found.push(spec);
    }
    found
}

/// Its containers: init and ephemeral ones too.
pub fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers", "ephemeralContainers"]
        .into_iter()
        .filter_map(|key| spec.get(key)?.as_array())
        .flatten()
}

/// Changes of pods and of everything that has a pod template. A controller makes the pods of a template by itself, so who
/// watches pods only sees the controller.
pub const TEMPLATES: On = On::Resources(&[
    ("pods", "", Verbs::WRITE),
    ("deployments", "", Verbs::WRITE),
    ("daemonsets", "", Verbs::WRITE),
    ("statefulsets", "", Verbs::WRITE),
    ("replicasets", "", Verbs::WRITE),
    ("replicationcontrollers", "", Verbs::WRITE),
    ("jobs", "", Verbs::WRITE),
    ("cronjobs", "", Verbs::WRITE),
    ("podtemplates", "", Verbs::WRITE),
]);

/// What a detection needs that looks into them.
pub const TEMPLATE_BODIES: &[Need] =
    &[Need::Bodies(&["pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs"])];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_json_patch_takes_the_shape_of_what_it_changes() {
        let patch = json!([
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "add", "path": "/spec/template/spec/containers/0/securityContext", "value": {"privileged": true}},
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "evil"},
            {"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"hostPath": {"path": "/"}}},
            {"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"hostPath": {"path": "/etc"}}},
            {"op": "add", "path": "/metadata/labels/a~1b", "value": "c"},
            {"op": "add", "path": "/metadata/labels/12", "value": "d"},
        ]);
        let shape = shaped(patch);
        let specs = pod_specs(&shape);
        let container = containers(specs[0]).next().unwrap();
        assert_eq!((&container["securityContext"]["privileged"], &container["image"]), (&json!(true), &json!("evil")));
        assert_eq!(specs[0]["volumes"].as_array().unwrap().len(), 2);
        assert_eq!(shape["metadata"]["labels"], json!({"a/b": "c", "12": "d"}));
        assert_eq!(shape["spec"].get("replicas"), None);
    }

    #[test]
    fn a_hostile_patch_is_bounded() {
        let deep = format!("{}/9999999999", "/a".repeat(10_000));
        let shape = shaped(
            json!([{"op": "add", "path": deep, "value": 1}, {"op": "add"}, 7, {"op": "add", "path": "", "value": {"spec": 1}}]),
        );
        assert!(pod_specs(&shape).is_empty());
    }

    #[test]
    fn what_is_taken_away_is_told_for_both_kinds_of_patch() {
        assert_eq!(
            removed(&json!([{"op": "remove", "path": "/metadata/labels/quell.dev~1quarantine"}])),
            ["/metadata/labels/quell.dev/quarantine"]
        );
        assert_eq!(removed(&json!({"metadata": {"labels": {"a/b": null, "c": "d"}}})), ["/metadata/labels/a/b"]);
    }
}
