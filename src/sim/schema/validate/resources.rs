//! What containers request and are limited to.
use serde_json::{Value, json};

use super::super::field::{Causes, Path, entries, text};
use super::super::names;
use super::super::quantity::Quantity;

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(text(value))
}

/// A resource that Kubernetes itself knows.
fn standard(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// More of it may be given out than there is.
fn overcommit(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !name.starts_with("hugepages-")
}

fn amount(name: &str, value: &Value, path: &Path, causes: &mut Causes) {
    let complaints = names::qualified(name);
    let fits = complaints.is_empty();
    causes.invalid_texts(path, name, complaints);
    if !name.contains('/') && !standard(name) {
        if fits {
            causes.invalid_text(path, name, "must be a standard resource type or fully qualified");
        }
        causes.invalid_text(path, name, "must be a standard resource for containers");
    }
    let Some(amount) = quantity(value) else { return };
    if amount.is_negative() {
        causes.invalid(path, value, "must be greater than or equal to 0");
    }
    if name.contains('/') && !amount.is_integer() {
        causes.invalid(path, value, "must be an integer");
    }
}

/// `resources` of a container.
pub(super) fn requirements(resources: &Value, path: &Path, causes: &mut Causes) {
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    for (name, value) in entries(limits) {
        amount(name, value, &path.child("limits").key(name), causes);
    }
    for (name, value) in entries(requests) {
        amount(name, value, &path.child("requests").key(name), causes);
        let limit = &limits[name.as_str()];
        match (quantity(value), quantity(limit)) {
            (Some(asked), Some(most)) if overcommit(name) && asked.amount() > most.amount() => {
                let detail = format!("must be less than or equal to {name} limit of {}", text(limit));
                causes.invalid(&path.child("requests"), value, &detail);
            }
            (Some(asked), Some(most)) if !overcommit(name) && asked.amount() != most.amount() => {
                let detail = format!("must be equal to {name} limit of {}", text(limit));
                causes.invalid(&path.child("requests"), value, &detail);
            }
            (_, None) if !overcommit(name) => {
                causes.required(&path.child("limits"), "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
}

/// `resourceFieldRef` of an environment variable.
pub(super) fn field_reference(reference: &Value, path: &Path, causes: &mut Causes) {
    let resource = text(&reference["resource"]);
    let known = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let huge = resource.starts_with("limits.hugepages-") || resource.starts_with("requests.hugepages-");
    if resource.is_empty() {
        causes.required(&path.child("resource"), "");
    } else if !known.contains(&resource) && !huge {
        causes.not_supported(&path.child("resource"), &json!(resource), &known);
    }
}
