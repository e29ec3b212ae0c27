//! `metadata`, labels and label selectors, after `k8s.io/apimachinery/pkg/api/validation`.
use serde_json::{Value, json};

use super::field::{Causes, Path, entries, flag, items, same, text};
use super::names::{self, NameRule};

/// All annotations together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// `metadata` on create.
pub(super) fn validate(kind: &str, metadata: &Value, causes: &mut Causes) {
    let path = Path::new("metadata");
    let (name, prefix, rule) = (text(&metadata["name"]), text(&metadata["generateName"]), NameRule::of(kind));
    if !prefix.is_empty() {
        causes.invalid_texts(&path.child("generateName"), prefix, rule.check(prefix, true));
    }
    if !name.is_empty() {
        causes.invalid_texts(&path.child("name"), name, rule.check(name, false));
    } else if prefix.is_empty() {
        causes.required(&path.child("name"), "name or generateName is required");
    }
    always(metadata, &path, causes);
}

/// `metadata` on update.
pub(super) fn validate_update(new: &Value, old: &Value, causes: &mut Causes) {
    let path = Path::new("metadata");
    always(new, &path, causes);
    // A client need not send what the server has set.
    for key in ["name", "namespace", "uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if !new[key].is_null() {
            causes.immutable(&path.child(key), &new[key], &old[key]);
        }
    }
}

fn always(metadata: &Value, path: &Path, causes: &mut Causes) {
    if let Some(generation) = metadata["generation"].as_i64().filter(|n| *n < 0) {
        causes.invalid(&path.child("generation"), &generation.into(), "must be greater than or equal to 0");
    }
    labels(&metadata["labels"], &path.child("labels"), causes);
    annotations(&metadata["annotations"], &path.child("annotations"), causes);
    owners(&metadata["ownerReferences"], &path.child("ownerReferences"), causes);
    finalizers(&metadata["finalizers"], &path.child("finalizers"), causes);
}

/// Labels: keys and values.
pub(super) fn labels(labels: &Value, path: &Path, causes: &mut Causes) {
    for (key, value) in entries(labels) {
        causes.invalid_texts(path, key, names::qualified(key));
        causes.invalid_texts(path, text(value), names::label_value(text(value)));
    }
}

/// Annotations: keys, and the size of all.
pub(super) fn annotations(annotations: &Value, path: &Path, causes: &mut Causes) {
    let mut size = 0;
    for (key, value) in entries(annotations) {
        // The server folds the case of keys here, and only here.
        causes.invalid_texts(path, key, names::qualified(&key.to_lowercase()));
        size += key.len() + text(value).len();
    }
    if size > ANNOTATIONS_LIMIT {
        causes.too_long(path, ANNOTATIONS_LIMIT);
    }
}

fn owners(owners: &Value, path: &Path, causes: &mut Causes) {
    let mut controller: Option<String> = None;
    for owner in items(owners) {
        let version = text(&owner["apiVersion"]);
        let (group, named) = match version.matches('/').count() {
            0 => ("", version),
            1 => version.split_once('/').unwrap_or_default(),
            _ => ("", ""),
        };
        if named.is_empty() {
            causes.invalid_text(&path.child("apiVersion"), version, "version must not be empty");
        }
        for key in ["kind", "name", "uid"] {
            if text(&owner[key]).is_empty() {
                causes.invalid_text(&path.child(key), "", "must not be empty");
            }
        }
        let kind = text(&owner["kind"]);
        if kind == "Event" && matches!(group, "" | "events.k8s.io") {
            let detail = format!("{group}/{named}, Kind={kind} is disallowed from being an owner");
            causes.invalid(path, owner, &detail);
        }
        if flag(&owner["controller"]) {
            let this = format!("{kind}/{}", text(&owner["name"]));
            match &controller {
                Some(other) => {
                    let only = "Only one reference can have Controller set to true.";
                    let detail = format!("{only} Found \"true\" in references for {other} and {this}");
                    causes.invalid(path, owners, &detail);
                }
                None => controller = Some(this),
            }
        }
    }
}

fn finalizers(finalizers: &Value, path: &Path, causes: &mut Causes) {
    for (i, name) in items(finalizers).iter().map(text).enumerate() {
        causes.invalid_texts(path, name, names::qualified(name));
        if !name.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            causes.invalid_text(&path.index(i), name, detail);
        }
    }
}

/// A label selector.
pub(super) fn selector(selector: &Value, path: &Path, causes: &mut Causes) {
    labels(&selector["matchLabels"], &path.child("matchLabels"), causes);
    for (i, requirement) in items(&selector["matchExpressions"]).iter().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = items(&requirement["values"]);
        match text(&requirement["operator"]) {
            "In" | "NotIn" if values.is_empty() => {
                causes.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                    causes.forbidden(&path.child("values"), detail);
                }
            }
            other => causes.invalid_text(&path.child("operator"), other, "not a valid selector operator"),
        }
        let key = text(&requirement["key"]);
        causes.invalid_texts(&path.child("key"), key, names::qualified(key));
        for (j, value) in values.iter().map(text).enumerate() {
            causes.invalid_texts(&path.child("values").index(j), value, names::label_value(value));
        }
    }
}

/// Whether a selector holds nothing, and so selects all.
pub(super) fn selects_all(selector: &Value) -> bool {
    items(&selector["matchExpressions"]).is_empty() && entries(&selector["matchLabels"]).next().is_none()
}

/// Whether a valid selector matches these labels; a missing selector matches none, an invalid one is taken for none.
pub(super) fn matches(selector: &Value, labels: &Value) -> bool {
    let matched = |requirement: &Value| {
        let value = &labels[text(&requirement["key"])];
        let listed = items(&requirement["values"]).iter().any(|v| same(v, value) && !value.is_null());
        match text(&requirement["operator"]) {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => !value.is_null(),
            _ => value.is_null(),
        }
    };
    !selector.is_null()
        && entries(&selector["matchLabels"]).all(|(key, value)| labels[key.as_str()] == *value)
        && items(&selector["matchExpressions"]).iter().all(matched)
}

/// Labels as the server shows them in a message: null if there are none.
pub(super) fn shown_labels(labels: &Value) -> Value {
    if entries(labels).next().is_none() { json!(null) } else { labels.clone() }
}
