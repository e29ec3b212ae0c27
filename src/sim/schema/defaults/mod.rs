//! Defaults, after `pkg/apis/*/v1/defaults.go`, and what the storage strategies set before an object is first stored.
mod pod;
mod rest;
mod workload;

use serde_json::{Value, json};

use super::field::{child, each, fill, made, put};
use super::quantity::Quantity;

/// The built-in kinds that are known; what is in others is not for this module to judge.
const KINDS: [&str; 25] = [
    "Pod",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "Service",
    "Endpoints",
    "EndpointSlice",
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "Namespace",
    "Node",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "Lease",
    "Event",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
];
const WEBHOOKS: [&str; 2] = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];

/// See [`super::set_defaults`].
pub(super) fn set_defaults(kind: &str, object: &mut Value) {
    if !KINDS.contains(&kind) && !WEBHOOKS.contains(&kind) {
        return;
    }
    drop_nulls(object);
    if !matches!(kind, "ConfigMap" | "Secret" | "CustomResourceDefinition") {
        canonical_quantities(object);
    }
    match kind {
        "Pod" => pod::pod(object),
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" => {
            workload::workload(kind, object)
        }
        "Service" => rest::service(object),
        "Endpoints" => {
            for subset in each(object, "subsets") {
                each(subset, "ports").for_each(|port| fill(port, "protocol", "TCP"));
            }
        }
        "EndpointSlice" => {
            for port in each(object, "ports") {
                fill(port, "name", "");
                fill(port, "protocol", "TCP");
            }
            each(object, "endpoints").for_each(|endpoint| fill(endpoint, "conditions", json!({})));
        }
        "Secret" => rest::secret(object),
        "Namespace" => rest::namespace(object),
        "Node" => rest::node(object),
        "NetworkPolicy" => rest::network_policy(object),
        "PodDisruptionBudget" => {
            made(object, "spec");
            let status = made(object, "status");
            if let Some(status) = status {
                for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
                    fill(status, key, 0);
                }
            }
        }
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => rest::rbac(kind, object),
        "Lease" => {
            made(object, "spec");
        }
        "Event" => rest::event(object),
        "PersistentVolumeClaim" => rest::claim(object),
        "CustomResourceDefinition" => rest::custom_resource_definition(object),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => rest::webhooks(kind, object),
        _ => {}
    }
}

/// To the server, null is not there. Other people's schemas are left alone.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, v| !v.is_null() || key == "default");
            map.iter_mut().filter(|(key, _)| *key != "openAPIV3Schema").for_each(|(_, v)| drop_nulls(v));
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Quantities are stored in canonical form, and as text: `0.5` becomes `500m`.
fn canonical_quantities(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("limits" | "requests" | "capacity" | "overhead", Value::Object(amounts)) => {
                        amounts.values_mut().for_each(canonical);
                    }
                    ("sizeLimit" | "divisor", value) => canonical(value),
                    ("annotations" | "labels", _) => {}
                    (_, value) => canonical_quantities(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(canonical_quantities),
        _ => {}
    }
}

fn canonical(value: &mut Value) {
    let written = match &*value {
        Value::String(s) => s.clone(),
        Value::Number(n) => n.to_string(),
        _ => return,
    };
    if let Some(quantity) = Quantity::parse(&written) {
        *value = Value::String(quantity.to_string());
    }
}

/// A claim's own defaults; StatefulSets hold claims too.
pub(super) fn claim(claim: &mut Value) {
    if let Some(spec) = made(claim, "spec") {
        fill(spec, "volumeMode", "Filesystem");
        if child(spec, "resources").is_none() {
            put(spec, "resources", json!({}));
        }
    }
    if let Some(status) = made(claim, "status") {
        fill(status, "phase", "Pending");
    }
}
