//! The kinds of RBAC.
use serde_json::{Value, json};

use super::super::field::{Causes, Path, items, same, text};
use super::super::names;

const GROUP: &str = "rbac.authorization.k8s.io";

/// A Role or ClusterRole, but for its metadata.
pub(super) fn role(kind: &str, role: &Value, causes: &mut Causes) {
    let namespaced = kind == "Role";
    for (i, rule) in items(&role["rules"]).iter().enumerate() {
        let at = Path::new("rules").index(i);
        let [verbs, groups, resources, urls] =
            ["verbs", "apiGroups", "resources", "nonResourceURLs"].map(|key| items(&rule[key]));
        if verbs.is_empty() {
            causes.required(&at.child("verbs"), "verbs must contain at least one value");
        }
        if !urls.is_empty() {
            let complaint = if namespaced {
                "namespaced rules cannot apply to non-resource URLs"
            } else if !(groups.is_empty() && resources.is_empty() && items(&rule["resourceNames"]).is_empty()) {
                "rules cannot apply to both regular resources and non-resource URLs"
            } else {
                continue;
            };
            causes.invalid(&at.child("nonResourceURLs"), &rule["nonResourceURLs"], complaint);
            continue;
        }
        if groups.is_empty() {
            causes.required(&at.child("apiGroups"), "resource rules must supply at least one api group");
        }
        if resources.is_empty() {
            causes.required(&at.child("resources"), "resource rules must supply at least one resource");
        }
    }
    let aggregation = &role["aggregationRule"];
    if !namespaced && !aggregation.is_null() {
        let (selectors, at) =
            (items(&aggregation["clusterRoleSelectors"]), Path::new("aggregationRule.clusterRoleSelectors"));
        if selectors.is_empty() {
            causes.required(&at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        for (i, one) in selectors.iter().enumerate() {
            super::super::metadata::selector(one, &at.index(i), causes);
        }
    }
}

/// A RoleBinding or ClusterRoleBinding, but for its metadata.
pub(super) fn binding(kind: &str, binding: &Value, old: Option<&Value>, causes: &mut Causes) {
    let (reference, at) = (&binding["roleRef"], Path::new("roleRef"));
    if text(&reference["apiGroup"]) != GROUP {
        causes.not_supported(&at.child("apiGroup"), &json!(text(&reference["apiGroup"])), &[GROUP]);
    }
    let kinds: &[&str] = if kind == "RoleBinding" { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    causes.one_of(&at.child("kind"), &reference["kind"], kinds);
    let name = text(&reference["name"]);
    if name.is_empty() {
        causes.required(&at.child("name"), "");
    } else {
        causes.invalid_texts(&at.child("name"), name, names::path_segment(name, false));
    }
    for (i, subject) in items(&binding["subjects"]).iter().enumerate() {
        self::subject(kind, subject, &Path::new("subjects").index(i), causes);
    }
    if let Some(old) = old
        && !same(reference, &old["roleRef"])
    {
        let [group, kind, name] = ["apiGroup", "kind", "name"].map(|key| text(&reference[key]));
        let shown = format!(r#"{{"APIGroup":{group:?},"Kind":{kind:?},"Name":{name:?}}}"#);
        causes.invalid_shown(&at, &shown, "cannot change roleRef");
    }
}

fn subject(binding: &str, subject: &Value, path: &Path, causes: &mut Causes) {
    let name = text(&subject["name"]);
    if name.is_empty() {
        causes.required(&path.child("name"), "");
    }
    let group = &subject["apiGroup"];
    match text(&subject["kind"]) {
        "ServiceAccount" => {
            if !name.is_empty() {
                causes.invalid_texts(&path.child("name"), name, names::subdomain(name));
            }
            if !text(group).is_empty() {
                causes.not_supported(&path.child("apiGroup"), group, &[""]);
            }
            // In a RoleBinding it is the binding's own.
            if binding == "ClusterRoleBinding" && text(&subject["namespace"]).is_empty() {
                causes.required(&path.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if text(group) != GROUP {
                causes.not_supported(&path.child("apiGroup"), group, &[GROUP]);
            }
        }
        other => causes.not_supported(&path.child("kind"), &json!(other), &["ServiceAccount", "User", "Group"]),
    }
}
