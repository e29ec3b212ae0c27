//! The smallest ClusterRole and Role that a runbook needs, from its actions' own specs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::planner::LEASE;
use crate::action::{self, Rule, Scope};
use crate::event::Risk;
use crate::runbook::Runbook;

/// Whom the roles are bound to.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A user's name.
    User(String),
    /// A group's name.
    Group(String),
    /// Namespace and name.
    ServiceAccount(String, String),
}

/// The manifests: a ClusterRole for what has no namespace, a Role for the target's and one for quell's own pods, and
/// bindings when there is a subject.
pub fn manifests(runbook: &Runbook, namespace: &str, subject: Option<&Subject>) -> Vec<Value> {
    let mut rules: BTreeSet<Rule> = BTreeSet::new();
    for step in runbook.all_steps() {
        if let Some(entry) = action::find(&step.uses) {
            rules.extend(entry.spec.rules.iter().copied());
            if entry.spec.risk > Risk::Read && !entry.spec.rules.contains(&action::NODE_LEASE) {
                rules.insert(LEASE);
            }
        }
    }
    let name = format!("quell-{}", runbook.name);
    let labels = json!({"app.kubernetes.io/managed-by": "quell"});
    let mut cluster = policy_rules(&rules, Scope::Cluster);
    // The UID of kube-system is the cluster's identity: what tells this cluster from another in the record.
    cluster.push(
        json!({"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"], "resourceNames": ["kube-system"]}),
    );
    let mut all = vec![
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name, "labels": labels}, "rules": cluster}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": namespace, "labels": labels},
               "rules": policy_rules(&rules, Scope::Target)}),
    ];
    let fixed: BTreeSet<&str> =
        rules.iter().filter_map(|r| if let Scope::In(namespace) = r.scope { Some(namespace) } else { None }).collect();
    for place in &fixed {
        // The target's namespace may be one of these: two Roles then, of two names.
        all.push(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": policy_rules(&rules, Scope::In(place)),
                        "metadata": {"name": format!("{name}-nodes"), "namespace": place, "labels": labels}}));
    }
    let own = policy_rules(&rules, Scope::Collectors);
    if !own.is_empty() {
        all.push(action::collectors_namespace());
        all.push(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "rules": own,
                        "metadata": {"name": name, "namespace": action::COLLECTORS, "labels": labels}}));
    }
    let own = (!own.is_empty()).then_some(("RoleBinding", "Role", Some(action::COLLECTORS)));
    if let Some(subject) = subject {
        let subject = match subject {
            Subject::User(user) => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}),
            Subject::Group(group) => json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}),
            Subject::ServiceAccount(namespace, name) => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
        };
        let fixed = fixed.into_iter().map(|place| ("RoleBinding", "Role", Some(place), format!("{name}-nodes")));
        for (kind, role, place, name) in
            [("ClusterRoleBinding", "ClusterRole", None), ("RoleBinding", "Role", Some(namespace))]
                .into_iter()
                .chain(own)
                .map(|(kind, role, place)| (kind, role, place, name.clone()))
                .chain(fixed)
        {
            let mut metadata = json!({"name": name, "labels": labels});
            if let Some(place) = place {
                metadata["namespace"] = json!(place);
            }
            all.push(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "subjects": [subject],
                            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name}}));
        }
    }
    all
}

/// Rules of one scope, merged: one entry for each group and set of verbs.
fn policy_rules(rules: &BTreeSet<Rule>, scope: Scope) -> Vec<Value> {
    let mut verbs: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for rule in rules.iter().filter(|r| r.scope == scope) {
        verbs.entry((rule.group, rule.resource)).or_default().extend(rule.verbs.iter().copied());
    }
    let mut merged: BTreeMap<(&str, BTreeSet<&str>), Vec<&str>> = BTreeMap::new();
    for ((group, resource), verbs) in verbs {
        merged.entry((group, verbs)).or_default().push(resource);
    }
    let mut all = Vec::new();
    for ((group, verbs), resources) in merged {
        let (named, whole): (Vec<&str>, Vec<&str>) = resources.into_iter().partition(|r| r.contains(':'));
        if !whole.is_empty() {
            all.push(json!({"apiGroups": [group], "resources": whole, "verbs": verbs}));
        }
        let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (resource, object) in named.into_iter().filter_map(|r| r.split_once(':')) {
            names.entry(resource).or_default().push(object);
        }
        all.extend(names.into_iter().map(|(resource, objects)| {
            json!({"apiGroups": [group], "resources": [resource], "resourceNames": objects, "verbs": verbs})
        }));
    }
    all
}
