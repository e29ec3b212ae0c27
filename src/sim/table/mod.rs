//! What `kubectl get` prints: the `meta.k8s.io/v1` Table that the API server makes of objects. Columns are as a real
//! server sends them, cells as its printers fill them, always with the wide ones: which are shown is kubectl's choice.

mod age;
mod columns;
mod fields;
mod network;
mod plain;
mod pod;
mod policy;
mod selector;
mod storage;
mod workload;

#[cfg(test)]
mod golden_tests;

pub use age::human_duration;

use serde_json::{Value, json};

/// The Table (apiVersion meta.k8s.io/v1) of these objects, in their order.
///
/// `metadata` is the Table's own, as the caller has it: `{resourceVersion, continue?, remainingItemCount?}`. `include`
/// is the query parameter includeObject: `None` leaves the objects out, `Object` puts them into the rows whole, anything
/// else is `Metadata`, the default: a PartialObjectMetadata each. `now` is in Unix seconds, for ages.
///
/// A kind that is not built in has the columns of a custom resource without additionalPrinterColumns, Name and Age.
pub fn table(group: &str, kind: &str, objects: &[&Value], metadata: Value, include: &str, now: i64) -> Value {
    let rows: Vec<Value> = objects.iter().map(|object| row(group, kind, object, include, now)).collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": columns::definitions(group, kind),
        "rows": rows,
    })
}

fn row(group: &str, kind: &str, object: &Value, include: &str, now: i64) -> Value {
    let shown = match include {
        "None" => Value::Null,
        "Object" => object.clone(),
        _ => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        }),
    };
    let mut row = json!({"cells": cells(group, kind, object, now), "object": shown});
    if let ("", "Pod", Some(conditions)) = (group, kind, pod::conditions(object)) {
        row["conditions"] = conditions;
    }
    row
}

/// An object's cells, one for each of its kind's columns.
fn cells(group: &str, kind: &str, object: &Value, now: i64) -> Vec<Value> {
    match (group, kind) {
        ("", "Pod") => pod::cells(object, now),
        ("apps" | "batch", _) | ("", "PodTemplate" | "ReplicationController") => workload::cells(kind, object, now),
        ("discovery.k8s.io" | "networking.k8s.io", _) | ("", "Service" | "Endpoints") => {
            network::cells(kind, object, now)
        }
        ("storage.k8s.io", _) | ("", "PersistentVolume" | "PersistentVolumeClaim") => storage::cells(kind, object, now),
        ("policy" | "rbac.authorization.k8s.io" | "admissionregistration.k8s.io", _) => {
            policy::cells(kind, object, now)
        }
        _ => plain::cells(group, kind, object, now),
    }
    .unwrap_or_else(|| match columns::default_converted(group, kind) {
        true => vec![object["metadata"]["name"].clone(), json!(fields::text(&object["metadata"]["creationTimestamp"]))],
        false => vec![object["metadata"]["name"].clone(), age::created(object, now)],
    })
}
