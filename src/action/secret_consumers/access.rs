//! Who could read the Secret by RBAC, or get at it through something that can: from the bindings alone.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join4;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::workloads::not_read;
use crate::cluster::{Cx, Problem, raw};

const PAGE: usize = 500;
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A subject, as a binding names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    pub kind: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What a subject could do, and by which binding.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Identity {
    #[serde(flatten)]
    pub subject: Option<Subject>,
    /// `read`, `create pods`, `exec`, `mint tokens`, `impersonate`, `escalate`.
    pub powers: BTreeSet<&'static str>,
    /// `ClusterRoleBinding admins (ClusterRole admin)`.
    pub by: BTreeSet<String>,
}

/// The question.
pub struct Asked<'a> {
    pub secret: &'a str,
    /// The service accounts of pods that hold it.
    pub accounts: &'a BTreeSet<String>,
    /// The pods that hold it.
    pub pods: &'a BTreeSet<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    verbs: Vec<String>,
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

impl Rule {
    /// As the RBAC authorizer matches (pkg/registry/rbac/validation). `names`: any of these will do; None for a request
    /// without a name, which a rule with resourceNames does not allow.
    fn allows(&self, verb: &str, group: &str, resource: &str, names: Option<&BTreeSet<String>>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|l| l == "*" || l == wanted);
        let sub = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let resource = self.resources.iter().any(|r| r == "*" || r == resource || sub.as_deref() == Some(r.as_str()));
        let named = match names {
            _ if self.resource_names.is_empty() => true,
            Some(names) => self.resource_names.iter().any(|n| names.contains(n)),
            None => false,
        };
        has(&self.verbs, verb) && has(&self.api_groups, group) && resource && named
    }
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Deserialize)]
struct Role {
    metadata: Meta,
    #[serde(default)]
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Binding {
    metadata: Meta,
    role_ref: RoleRef,
    #[serde(default)]
    subjects: Option<Vec<Subject>>,
}

#[derive(Deserialize)]
struct RoleRef {
    kind: String,
    name: String,
}

/// What makes pods, and so could mount the Secret: group and resource.
const MAKERS: &[(&str, &str)] = &[
    ("", "pods"),
    ("", "replicationcontrollers"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("apps", "replicasets"),
    ("batch", "jobs"),
    ("batch", "cronjobs"),
];

/// What these rules allow in the Secret's namespace.
fn in_namespace(rules: &[Rule], asked: &Asked<'_>) -> BTreeSet<&'static str> {
    let mut powers = BTreeSet::new();
    let secret = BTreeSet::from([asked.secret.to_owned()]);
    let any = |verbs: &[&str], group: &str, resource: &str, names: Option<&BTreeSet<String>>| {
        rules.iter().any(|r| verbs.iter().any(|v| r.allows(v, group, resource, names)))
    };
    // A list by field selector of one name is allowed by resourceNames too.
    if any(&["get", "list", "watch"], "", "secrets", Some(&secret)) {
        powers.insert("read");
    }
    let makes = MAKERS.iter().any(|(group, resource)| {
        any(&["create"], group, resource, None)
            || *resource != "pods" && rules.iter().any(|r| has_any(r, &["update", "patch"], group, resource))
    });
    if makes {
        powers.insert("create pods");
    }
    let exec = any(&["create", "get"], "", "pods/exec", Some(asked.pods))
        || any(&["create", "get"], "", "pods/attach", Some(asked.pods))
        || any(&["update", "patch"], "", "pods/ephemeralcontainers", Some(asked.pods));
    if exec && !asked.pods.is_empty() {
        powers.insert("exec");
    }
    if any(&["create"], "", "serviceaccounts/token", Some(asked.accounts)) && !asked.accounts.is_empty() {
        powers.insert("mint tokens");
    }
    let rbac = "rbac.authorization.k8s.io";
    let roles = ["roles", "clusterroles"];
    if roles.iter().any(|role| rules.iter().any(|r| has_any(r, &["escalate", "bind"], rbac, role))) {
        powers.insert("escalate");
    }
    powers
}

/// Whether a rule has one of the verbs on a resource, whatever its names.
fn has_any(rule: &Rule, verbs: &[&str], group: &str, resource: &str) -> bool {
    let names = rule.resource_names.iter().cloned().collect();
    verbs.iter().any(|v| rule.allows(v, group, resource, Some(&names)))
}

/// Who may pose as others: without namespace, so only by a ClusterRoleBinding; as service accounts, in one too.
fn impersonates(rules: &[Rule]) -> bool {
    ["users", "groups", "serviceaccounts"]
        .iter()
        .any(|r| rules.iter().any(|rule| has_any(rule, &["impersonate"], "", r)))
}

/// What RBAC says in the Secret's namespace, as it was listed.
#[derive(Default)]
pub struct Rbac {
    cluster_roles: BTreeMap<String, Vec<Rule>>,
    roles: BTreeMap<String, Vec<Rule>>,
    bindings: Vec<(&'static str, Binding)>,
    /// What could not be read.
    pub not_read: Vec<String>,
}

/// Lists roles and bindings, side by side.
pub async fn read(cx: &Cx, namespace: &str) -> Result<Rbac, Problem> {
    let home = format!("{RBAC}/namespaces/{namespace}");
    let wide = RBAC.to_owned();
    let (cluster_roles, roles, wide, near) = join4(
        listed::<Role>(cx, &wide, "clusterroles"),
        listed::<Role>(cx, &home, "roles"),
        listed::<Binding>(cx, &wide, "clusterrolebindings"),
        listed::<Binding>(cx, &home, "rolebindings"),
    )
    .await;
    let mut left = Vec::new();
    for (read, what) in [
        (cluster_roles.0, "cluster roles"),
        (roles.0, "roles"),
        (wide.0, "cluster role bindings"),
        (near.0, "role bindings"),
    ] {
        not_read(cx, read, what, &mut left)?;
    }
    let by_name = |all: Vec<Role>| all.into_iter().map(|r| (r.metadata.name, r.rules.unwrap_or_default())).collect();
    let wide = wide.1.into_iter().map(|b| ("ClusterRoleBinding", b));
    let bindings = wide.chain(near.1.into_iter().map(|b| ("RoleBinding", b))).collect();
    Ok(Rbac { cluster_roles: by_name(cluster_roles.1), roles: by_name(roles.1), bindings, not_read: left })
}

async fn listed<T: DeserializeOwned + 'static>(cx: &Cx, base: &str, plural: &str) -> (Result<(), Problem>, Vec<T>) {
    let mut all = Vec::new();
    let read = raw::each(&cx.client, &format!("{base}/{plural}"), PAGE, |one| all.push(one)).await;
    (read, all)
}

/// Who could do what, by these bindings.
pub fn identities(rbac: Rbac, asked: &Asked<'_>) -> Vec<Identity> {
    let Rbac { cluster_roles, roles, bindings, .. } = rbac;
    let mut all: BTreeMap<Subject, Identity> = BTreeMap::new();
    for (kind, binding) in bindings {
        let source = if binding.role_ref.kind == "Role" { &roles } else { &cluster_roles };
        let Some(rules) = source.get(&binding.role_ref.name) else { continue };
        let mut powers = in_namespace(rules, asked);
        if impersonates(rules) {
            powers.insert("impersonate");
        }
        if powers.is_empty() {
            continue;
        }
        let by = format!("{kind} {} ({} {})", binding.metadata.name, binding.role_ref.kind, binding.role_ref.name);
        for mut subject in binding.subjects.into_iter().flatten() {
            if subject.kind == "ServiceAccount" && subject.namespace.is_none() {
                subject.namespace = Some(binding.metadata.namespace.clone());
            }
            let known = all.entry(subject.clone()).or_default();
            known.subject = Some(subject);
            known.powers.extend(&powers);
            known.by.insert(by.clone());
        }
    }
    // Always, and by no binding that could be taken away: the group's members are past RBAC.
    let masters = Subject { kind: "Group".into(), name: "system:masters".into(), namespace: None };
    let known = all.entry(masters.clone()).or_default();
    known.subject = Some(masters);
    known.powers.insert("read");
    known.by.insert("past RBAC: the API server lets this group do everything".into());
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn powers(rules: Value) -> Vec<&'static str> {
        let rules: Vec<Rule> = serde_json::from_value(rules).unwrap();
        let (accounts, pods) = (BTreeSet::from(["web".to_owned()]), BTreeSet::from(["web-1".to_owned()]));
        let asked = Asked { secret: "db", accounts: &accounts, pods: &pods };
        let mut found = in_namespace(&rules, &asked);
        if impersonates(&rules) {
            found.insert("impersonate");
        }
        found.into_iter().collect()
    }

    #[test]
    fn rules_are_matched_as_the_authorizer_does() {
        let rule = |groups: &[&str], resources: &[&str], verbs: &[&str], names: &[&str]| json!([{"apiGroups": groups, "resources": resources, "verbs": verbs, "resourceNames": names}]);
        for (rules, expected) in [
            (rule(&[""], &["secrets"], &["get"], &[]), vec!["read"]),
            (rule(&[""], &["secrets"], &["get"], &["db"]), vec!["read"]),
            (rule(&[""], &["secrets"], &["get"], &["other"]), vec![]),
            (rule(&[""], &["secrets"], &["watch"], &[]), vec!["read"]),
            (rule(&[""], &["secrets"], &["create", "delete"], &[]), vec![]),
            (rule(&["apps"], &["secrets"], &["get"], &[]), vec![]),
            (rule(&[""], &["pods"], &["create"], &[]), vec!["create pods"]),
            (rule(&[""], &["pods"], &["create"], &["web-1"]), vec![]),
            (rule(&["apps"], &["deployments"], &["patch"], &["web"]), vec!["create pods"]),
            (rule(&[""], &["pods/exec"], &["get"], &[]), vec!["exec"]),
            (rule(&[""], &["*/exec"], &["create"], &[]), vec!["exec"]),
            (rule(&[""], &["pods/exec"], &["create"], &["other"]), vec![]),
            (rule(&[""], &["serviceaccounts/token"], &["create"], &["web"]), vec!["mint tokens"]),
            (rule(&[""], &["serviceaccounts/token"], &["create"], &["batch"]), vec![]),
            (rule(&[""], &["groups"], &["impersonate"], &["system:masters"]), vec!["impersonate"]),
            (rule(&["rbac.authorization.k8s.io"], &["clusterroles"], &["bind"], &["admin"]), vec!["escalate"]),
            (
                rule(&["*"], &["*"], &["*"], &[]),
                vec!["create pods", "escalate", "exec", "impersonate", "mint tokens", "read"],
            ),
            (rule(&[""], &["configmaps"], &["get"], &[]), vec![]),
        ] {
            assert_eq!(powers(rules.clone()), expected, "{rules}");
        }
    }
}
