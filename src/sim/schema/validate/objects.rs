//! The kinds that need little.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::field::{Causes, Path, empty, items, same, same_keys, text};
use super::super::metadata::selector;
use super::super::names;
use super::super::quantity::Quantity;
use super::affinity::EFFECTS;

/// A PodDisruptionBudget.
pub(super) fn budget(budget: &Value, causes: &mut Causes) {
    let (spec, path) = (&budget["spec"], Path::new("spec"));
    let [least, most] = ["minAvailable", "maxUnavailable"].map(|key| &spec[key]);
    if !least.is_null() && !most.is_null() {
        let shown = format!(
            r#"{{"MinAvailable":{least},"Selector":{},"MaxUnavailable":{most},"UnhealthyPodEvictionPolicy":{}}}"#,
            spec["selector"], spec["unhealthyPodEvictionPolicy"]
        );
        causes.invalid_shown(&path, &shown, "minAvailable and maxUnavailable cannot be both set");
    }
    for (key, value) in [("minAvailable", least), ("maxUnavailable", most)] {
        let at = path.child(key);
        match value {
            Value::String(s) => {
                if let Some(complaint) = names::percent(s) {
                    causes.invalid_text(&at, s, complaint);
                } else if s.trim_end_matches('%').parse::<u64>().is_ok_and(|n| n > 100) {
                    causes.invalid_text(&at, s, "must not be greater than 100%");
                }
            }
            other => causes.not_negative(&at, other),
        }
    }
    selector(&spec["selector"], &path.child("selector"), causes);
    if !spec["unhealthyPodEvictionPolicy"].is_null() {
        let at = path.child("unhealthyPodEvictionPolicy");
        causes.one_of(&at, &spec["unhealthyPodEvictionPolicy"], &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

/// A Node. The server says that taints are metadata.
pub(super) fn node(node: &Value, old: Option<&Value>, causes: &mut Causes) {
    let (path, mut seen) = (Path::new("metadata.taints"), BTreeSet::new());
    for (i, taint) in items(&node["spec"]["taints"]).iter().enumerate() {
        let at = path.index(i);
        let [key, value, effect] = ["key", "value", "effect"].map(|key| text(&taint[key]));
        causes.invalid_texts(&at.child("key"), key, names::qualified(key));
        causes.invalid_texts(&at.child("value"), value, names::label_value(value));
        if effect.is_empty() {
            causes.required(&at.child("effect"), "");
        } else {
            causes.one_of(&at.child("effect"), &taint["effect"], &EFFECTS);
        }
        if !seen.insert((key, effect)) {
            let added = &taint["timeAdded"];
            let shown = format!(r#"{{"Key":{key:?},"Value":{value:?},"Effect":{effect:?},"TimeAdded":{added}}}"#);
            causes.duplicate_shown(&at, &format!("{shown}: taints must be unique by key and effect pair"));
        }
    }
    let Some(old) = old else { return };
    for (shown, keys) in [("podCIDRs", ["podCIDRs", "podCIDR"]), ("providerID", ["providerID", "providerID"])] {
        let name = if shown == "podCIDRs" { "podCIDR" } else { shown };
        let unset = empty(&old["spec"][keys[0]]) && empty(&old["spec"][keys[1]]);
        if !unset && !same_keys(&node["spec"], &old["spec"], &keys) {
            let detail = format!("node updates may not change {name} except from \"\" to valid");
            causes.forbidden(&Path::new("spec").child(shown), &detail);
        }
    }
}

/// A Lease.
pub(super) fn lease(lease: &Value, causes: &mut Causes) {
    let (spec, path) = (&lease["spec"], Path::new("spec"));
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|n| n <= 0) {
        causes.invalid(&path.child("leaseDurationSeconds"), &spec["leaseDurationSeconds"], "must be greater than 0");
    }
    causes.not_negative(&path.child("leaseTransitions"), &spec["leaseTransitions"]);
}

/// An Event: it lives in the namespace of what it is about.
pub(super) fn event(event: &Value, causes: &mut Causes) {
    let key = if event["regarding"].is_null() { "involvedObject" } else { "regarding" };
    let (own, about) = (text(&event["metadata"]["namespace"]), text(&event[key]["namespace"]));
    let fits = own == about || (about.is_empty() && matches!(own, "default" | "kube-system"));
    if !fits {
        let at = Path::new("involvedObject").child("namespace");
        causes.invalid_text(&at, about, "does not match event.namespace");
    }
}

const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// A PersistentVolumeClaim.
pub(super) fn claim(claim: &Value, old: Option<&Value>, causes: &mut Causes) {
    let (spec, path) = (&claim["spec"], Path::new("spec"));
    let modes = items(&spec["accessModes"]);
    if modes.is_empty() {
        causes.required(&path.child("accessModes"), "at least 1 access mode is required");
    }
    for mode in modes {
        causes.one_of(&path.child("accessModes"), mode, &MODES);
    }
    let (storage, at) = (&spec["resources"]["requests"]["storage"], path.child("resources").key("storage"));
    match Quantity::parse(text(storage)) {
        None => causes.required(&at, ""),
        Some(size) if size.is_zero() || size.is_negative() => causes.invalid(&at, storage, "must be greater than zero"),
        Some(_) => {}
    }
    let class = text(&spec["storageClassName"]);
    if !class.is_empty() {
        causes.invalid_texts(&path.child("storageClassName"), class, names::subdomain(class));
    }
    if !spec["volumeMode"].is_null() {
        causes.one_of(&path.child("volumeMode"), &spec["volumeMode"], &["Block", "Filesystem"]);
    }
    let Some(old) = old else { return };
    let kept = ["accessModes", "selector", "volumeMode", "dataSource", "dataSourceRef"];
    let set_once = ["volumeName", "storageClassName"];
    let moved = |key: &&str| !empty(&old["spec"][*key]) && !same(&spec[*key], &old["spec"][*key]);
    if !same_keys(spec, &old["spec"], &kept) || set_once.iter().any(moved) {
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        causes.forbidden(&path, detail);
    }
}

/// A CustomResourceDefinition.
pub(super) fn custom_resource_definition(definition: &Value, causes: &mut Causes) {
    let (spec, path) = (&definition["spec"], Path::new("spec"));
    let (name, group) = (text(&definition["metadata"]["name"]), text(&spec["group"]));
    if name != format!("{}.{group}", text(&spec["names"]["plural"])) {
        causes.invalid_text(&Path::new("metadata.name"), name, "must be spec.names.plural+\".\"+spec.group");
    }
    match text(&spec["scope"]) {
        "" => causes.required(&path.child("scope"), ""),
        _ => causes.one_of(&path.child("scope"), &spec["scope"], &["Cluster", "Namespaced"]),
    }
    let versions = items(&spec["versions"]);
    for (i, version) in versions.iter().enumerate() {
        if version["schema"]["openAPIV3Schema"].is_null() {
            causes.required(&path.child("versions").index(i).child("schema").child("openAPIV3Schema"), "");
        }
    }
    let stored = versions.iter().filter(|v| v["storage"] == json!(true)).count();
    if stored != 1 {
        let detail = "must have exactly one version marked as storage version";
        causes.invalid(&path.child("versions"), &super::security_context::go(&spec["versions"]), detail);
    }
    if stored == 0 && items(&definition["status"]["storedVersions"]).is_empty() {
        let at = Path::new("status").child("storedVersions");
        causes.invalid(&at, &Value::Null, "must have at least one stored version");
    }
}
