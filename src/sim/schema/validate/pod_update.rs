//! What an update may change of a Pod.
use serde_json::Value;

use super::super::field::{Causes, Path, entries, int, items, put, same, take, text};
use super::{container, pod};

const ALLOWED: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A Pod on update, but for its metadata.
pub(super) fn update(new: &Value, old: &Value, causes: &mut Causes) {
    let path = Path::new("spec");
    let (spec, before) = (&new["spec"], &old["spec"]);
    pod::spec(spec, &path, causes);
    for key in ["containers", "initContainers"] {
        if items(&spec[key]).len() != items(&before[key]).len() {
            causes.forbidden(&path.child(key), "pod updates may not add or remove containers");
            return;
        }
    }
    for key in ["containers", "initContainers"] {
        for (i, one) in items(&spec[key]).iter().enumerate() {
            container::image(one, &path.child(key).index(i), causes);
        }
    }
    deadline(spec, before, &path, causes);
    tolerations(spec, before, &path, causes);
    let munged = munged(spec, before);
    if !same(&munged, before) {
        causes.forbidden(&path, &format!("{ALLOWED}\n{}", difference(before, &munged)));
    }
}

fn deadline(new: &Value, old: &Value, path: &Path, causes: &mut Causes) {
    let at = path.child("activeDeadlineSeconds");
    let (new, old) = (&new["activeDeadlineSeconds"], &old["activeDeadlineSeconds"]);
    match (new.as_i64(), old.as_i64()) {
        (None, Some(_)) => causes.invalid(&at, &Value::Null, "must not update from a positive integer to nil value"),
        (Some(new), Some(old)) if new > old => {
            causes.invalid(&at, &new.into(), "must be less than or equal to previous value");
        }
        _ => {}
    }
}

fn tolerations(new: &Value, old: &Value, path: &Path, causes: &mut Causes) {
    let kept = |old: &Value| {
        items(&new["tolerations"]).iter().any(|new| {
            let mut new = new.clone();
            let mut old = old.clone();
            take(&mut new, "tolerationSeconds");
            take(&mut old, "tolerationSeconds");
            same(&new, &old)
        })
    };
    if !items(&old["tolerations"]).iter().all(kept) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        causes.forbidden(&path.child("tolerations"), detail);
    }
}

/// The new spec with everything that may change put back.
fn munged(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    for key in ["containers", "initContainers"] {
        let olds = items(&old[key]);
        if let Some(list) = munged.get_mut(key).and_then(Value::as_array_mut) {
            for (new, old) in list.iter_mut().zip(olds) {
                put(new, "image", old["image"].clone());
            }
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations"] {
        put(&mut munged, key, old[key].clone());
    }
    if int(&old["terminationGracePeriodSeconds"]) < 0 && int(&new["terminationGracePeriodSeconds"]) == 1 {
        put(&mut munged, "terminationGracePeriodSeconds", old["terminationGracePeriodSeconds"].clone());
    }
    // Scheduling gates may be taken away, and while one holds the Pod its nodes may be narrowed.
    let gates = items(&old["schedulingGates"]);
    if items(&new["schedulingGates"]).iter().all(|gate| gates.contains(gate)) {
        put(&mut munged, "schedulingGates", old["schedulingGates"].clone());
    }
    if !gates.is_empty() && entries(&old["nodeSelector"]).all(|(key, v)| new["nodeSelector"][key.as_str()] == *v) {
        put(&mut munged, "nodeSelector", old["nodeSelector"].clone());
    }
    munged
}

/// The fields that differ, before and after.
fn difference(old: &Value, new: &Value) -> String {
    let keys = entries(old).chain(entries(new)).map(|(key, _)| key);
    let keys: std::collections::BTreeSet<&String> = keys.collect();
    let mut lines = String::new();
    for key in keys {
        let (old, new) = (&old[key.as_str()], &new[key.as_str()]);
        if !same(old, new) {
            lines.push_str(&format!("- {key:?}: {old}\n+ {key:?}: {new}\n"));
        }
    }
    lines
}

/// The names of a list's elements.
pub(super) fn named(list: &Value) -> impl Iterator<Item = &str> {
    items(list).iter().map(|one| text(&one["name"]))
}
