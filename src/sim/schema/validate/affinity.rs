//! Where a Pod may run: tolerations, affinity, spread.
use serde_json::{Value, json};

use super::super::field::{Causes, Path, int, items, text};
use super::super::metadata::selector;
use super::super::names;

/// A Pod's tolerations.
pub(super) fn tolerations(tolerations: &Value, path: &Path, causes: &mut Causes) {
    for (i, toleration) in items(tolerations).iter().enumerate() {
        let at = path.index(i);
        let [key, operator, value, effect] = ["key", "operator", "value", "effect"].map(|key| text(&toleration[key]));
        if !key.is_empty() {
            causes.invalid_texts(&at.child("key"), key, names::qualified(key));
        }
        if key.is_empty() && operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            causes.invalid_text(&at.child("operator"), operator, detail);
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            causes.invalid_text(&at.child("effect"), effect, detail);
        }
        match operator {
            "" | "Equal" => causes.invalid_texts(&at.child("operator"), value, names::label_value(value)),
            "Exists" if !value.is_empty() => {
                causes.invalid_text(&at.child("operator"), value, "value must be empty when `operator` is 'Exists'");
            }
            "Exists" => {}
            _ => causes.not_supported(&at.child("operator"), &json!(operator), &["Equal", "Exists"]),
        }
        if !effect.is_empty() {
            causes.one_of(&at.child("effect"), &toleration["effect"], &EFFECTS);
        }
    }
}

/// What a taint may do.
pub(super) const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// A Pod's affinity to nodes and other Pods.
pub(super) fn affinity(affinity: &Value, path: &Path, causes: &mut Causes) {
    let (required, preferred) =
        ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution");
    let (node, at) = (&affinity["nodeAffinity"], path.child("nodeAffinity"));
    if !node[required].is_null() {
        let at = at.child(required).child("nodeSelectorTerms");
        let terms = items(&node[required]["nodeSelectorTerms"]);
        if terms.is_empty() {
            causes.required(&at, "must have at least one node selector term");
        }
        terms.iter().enumerate().for_each(|(i, term)| node_term(term, &at.index(i), causes));
    }
    for (i, term) in items(&node[preferred]).iter().enumerate() {
        let at = at.child(preferred).index(i);
        weight(term, &at, causes);
        node_term(&term["preference"], &at.child("preference"), causes);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let (pods, at) = (&affinity[key], path.child(key));
        for (i, term) in items(&pods[required]).iter().enumerate() {
            pod_term(term, &at.child(required).index(i), causes);
        }
        for (i, term) in items(&pods[preferred]).iter().enumerate() {
            let at = at.child(preferred).index(i);
            weight(term, &at, causes);
            pod_term(&term["podAffinityTerm"], &at.child("podAffinityTerm"), causes);
        }
    }
}

fn weight(term: &Value, path: &Path, causes: &mut Causes) {
    if !(1..=100).contains(&int(&term["weight"])) {
        causes.invalid(&path.child("weight"), &int(&term["weight"]).into(), "must be in the range 1-100");
    }
}

fn pod_term(term: &Value, path: &Path, causes: &mut Causes) {
    selector(&term["labelSelector"], &path.child("labelSelector"), causes);
    selector(&term["namespaceSelector"], &path.child("namespaceSelector"), causes);
    for (i, namespace) in items(&term["namespaces"]).iter().map(text).enumerate() {
        causes.invalid_texts(&path.child("namespaces").index(i), namespace, names::label(namespace));
    }
    let key = text(&term["topologyKey"]);
    if key.is_empty() {
        causes.required(&path.child("topologyKey"), "can not be empty");
    }
    causes.invalid_texts(&path.child("topologyKey"), key, names::qualified(key));
}

fn node_term(term: &Value, path: &Path, causes: &mut Causes) {
    for (i, requirement) in items(&term["matchExpressions"]).iter().enumerate() {
        let at = path.child("matchExpressions").index(i);
        let values = items(&requirement["values"]);
        let (key, operator, list) = (text(&requirement["key"]), text(&requirement["operator"]), at.child("values"));
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                causes.required(&list, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                causes.forbidden(&list, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if values.len() != 1 => {
                causes.required(&list, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => causes.invalid_text(&at.child("operator"), operator, "not a valid selector operator"),
        }
        causes.invalid_texts(&at.child("key"), key, names::qualified(key));
    }
    for (i, requirement) in items(&term["matchFields"]).iter().enumerate() {
        let at = path.child("matchFields").index(i);
        let (key, operator) = (text(&requirement["key"]), text(&requirement["operator"]));
        if !matches!(operator, "In" | "NotIn") {
            causes.invalid_text(&at.child("operator"), operator, "not a valid selector operator");
        } else if items(&requirement["values"]).len() != 1 {
            let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            causes.required(&at.child("values"), detail);
        }
        if key != "metadata.name" {
            causes.invalid_text(&at.child("key"), key, "not a valid field selector key");
        }
    }
}

/// A Pod's topology spread constraints.
pub(super) fn spread(constraints: &Value, path: &Path, causes: &mut Causes) {
    for (i, constraint) in items(constraints).iter().enumerate() {
        let at = path.index(i);
        if int(&constraint["maxSkew"]) <= 0 {
            causes.invalid(&at.child("maxSkew"), &int(&constraint["maxSkew"]).into(), "must be greater than zero");
        }
        if text(&constraint["topologyKey"]).is_empty() {
            causes.required(&at.child("topologyKey"), "can not be empty");
        }
        causes.one_of(
            &at.child("whenUnsatisfiable"),
            &constraint["whenUnsatisfiable"],
            &["DoNotSchedule", "ScheduleAnyway"],
        );
        selector(&constraint["labelSelector"], &at.child("labelSelector"), causes);
    }
}
