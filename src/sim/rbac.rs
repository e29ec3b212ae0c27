//! Roles and bindings: who may do what, and why.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::answer::{Refusal, Result};
use super::identity::User;
use super::resource::Resource;
use super::store::Key;
use super::world::World;

/// What somebody wants to do.
#[derive(Debug, Clone, Default)]
pub struct Attributes {
    /// `get`, `create`, …
    pub verb: String,
    /// API group.
    pub group: String,
    /// Version, for messages alone.
    pub version: String,
    /// Plural.
    pub resource: String,
    /// Below it.
    pub subresource: String,
    /// Empty for all in the cluster.
    pub namespace: String,
    /// Empty for no one object.
    pub name: String,
    /// Set for what is no resource.
    pub path: Option<String>,
}

/// Bindings and the rules they give, parsed once until a role changes.
#[derive(Default)]
pub struct Rbac {
    parsed: Mutex<Option<Arc<Parsed>>>,
}

struct Parsed {
    bindings: Vec<Binding>,
}

struct Binding {
    /// Empty for a ClusterRoleBinding.
    namespace: String,
    name: String,
    role: String,
    subjects: Vec<Value>,
    rules: Vec<Value>,
}

impl Rbac {
    /// A role or binding has changed.
    pub fn forget(&mut self) {
        *self.parsed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn any(list: &Value, wanted: &str) -> bool {
    list.as_array().into_iter().flatten().any(|v| v == "*" || v == wanted)
}

/// Whether a rule allows it.
pub fn allows(rule: &Value, asked: &Attributes) -> bool {
    if !any(&rule["verbs"], &asked.verb) {
        return false;
    }
    if let Some(path) = &asked.path {
        return rule["nonResourceURLs"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|url| {
            url == "*" || url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
        });
    }
    let full = if asked.subresource.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    };
    let resource = rule["resources"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|r| {
        r == "*"
            || r == full
            || !asked.subresource.is_empty() && r.strip_prefix("*/") == Some(asked.subresource.as_str())
    });
    let names = rule["resourceNames"].as_array().filter(|n| !n.is_empty());
    any(&rule["apiGroups"], &asked.group)
        && resource
        && names.is_none_or(|names| names.iter().any(|n| n == asked.name.as_str()))
}

fn is_subject(subject: &Value, user: &User, namespace: &str) -> bool {
    let name = subject["name"].as_str().unwrap_or_default();
    match subject["kind"].as_str().unwrap_or_default() {
        "User" => name == user.name,
        "Group" => user.groups.iter().any(|g| g == name),
        "ServiceAccount" => {
            let of = subject["namespace"].as_str().unwrap_or(namespace);
            user.name == format!("system:serviceaccount:{of}:{name}")
        }
        _ => false,
    }
}

const GROUP: &str = "rbac.authorization.k8s.io";

impl World {
    fn parsed(&self) -> Arc<Parsed> {
        let mut held = self.rbac.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = held.as_ref() {
            return parsed.clone();
        }
        let mut bindings = Vec::new();
        for of in ["clusterrolebindings", "rolebindings"] {
            for ((namespace, name), entry) in self.store.list(&format!("{of}.{GROUP}"), "", None) {
                let value = entry.value();
                let role = &value["roleRef"];
                let rules = self.role_rules(role, namespace).unwrap_or_default();
                let kind = role["kind"].as_str().unwrap_or_default();
                bindings.push(Binding {
                    namespace: namespace.clone(),
                    name: name.clone(),
                    role: format!("{kind} {}", json!(role["name"])),
                    subjects: value["subjects"].as_array().cloned().unwrap_or_default(),
                    rules,
                });
            }
        }
        let parsed = Arc::new(Parsed { bindings });
        *held = Some(parsed.clone());
        parsed
    }

    fn role_rules(&self, role: &Value, namespace: &str) -> Option<Vec<Value>> {
        let (of, namespace) = match role["kind"].as_str() {
            Some("Role") => ("roles", namespace),
            _ => ("clusterroles", ""),
        };
        let key = Key::new(&format!("{of}.{GROUP}"), namespace, role["name"].as_str().unwrap_or_default());
        Some(self.store.value(&key)?["rules"].as_array().cloned().unwrap_or_default())
    }

    /// The rules that a user has in a namespace (empty: in the whole cluster), with what gives them.
    pub fn rules_of(&self, user: &User, namespace: &str) -> Vec<(Value, String)> {
        let mut all = Vec::new();
        for binding in &self.parsed().bindings {
            if !binding.namespace.is_empty() && binding.namespace != namespace {
                continue;
            }
            let Some(subject) = binding.subjects.iter().find(|s| is_subject(s, user, &binding.namespace)) else {
                continue;
            };
            let kind = if binding.namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
            let full = if binding.namespace.is_empty() {
                binding.name.clone()
            } else {
                format!("{}/{}", binding.name, binding.namespace)
            };
            let who = match subject["kind"].as_str().unwrap_or_default() {
                "ServiceAccount" => format!(
                    "ServiceAccount \"{}/{}\"",
                    subject["name"].as_str().unwrap_or_default(),
                    subject["namespace"].as_str().unwrap_or_default()
                ),
                kind => format!("{kind} {}", json!(subject["name"])),
            };
            let why = format!("RBAC: allowed by {kind} {full:?} of {} to {who}", binding.role);
            all.extend(binding.rules.iter().map(|rule| (rule.clone(), why.clone())));
        }
        all
    }

    /// Why it is allowed; None when it is not.
    pub fn allowed(&self, user: &User, asked: &Attributes) -> Option<String> {
        if user.groups.iter().any(|g| g == "system:masters") {
            return Some(String::new());
        }
        self.rules_of(user, &asked.namespace).into_iter().find(|(rule, _)| allows(rule, asked)).map(|(_, why)| why)
    }

    /// Refuses in the server's words.
    ///
    /// # Errors
    /// 403.
    pub fn authorize(&self, user: &User, asked: &Attributes) -> Result<String> {
        self.allowed(user, asked).ok_or_else(|| forbidden(user, asked))
    }

    /// Nobody may grant what he does not have, unless he may `escalate` (or `bind`).
    ///
    /// # Errors
    /// 403 with the rules that are missing.
    pub fn may_grant(&self, user: &User, resource: &Resource, object: &Value, name: &str) -> Result<()> {
        if resource.group != GROUP || user.groups.iter().any(|g| g == "system:masters") {
            return Ok(());
        }
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let binding = resource.plural.ends_with("bindings");
        let (verb, of, what) = if binding {
            let role = &object["roleRef"];
            let of = if role["kind"] == "Role" { "roles" } else { "clusterroles" };
            ("bind", of.to_string(), role["name"].as_str().unwrap_or_default().to_string())
        } else {
            ("escalate", resource.plural.clone(), name.to_string())
        };
        let asked = Attributes {
            verb: verb.into(),
            group: GROUP.into(),
            resource: of,
            namespace: namespace.into(),
            name: what,
            ..Attributes::default()
        };
        if self.allowed(user, &asked).is_some() {
            return Ok(());
        }
        let granted = if binding {
            match self.role_rules(&object["roleRef"], namespace) {
                Some(rules) => rules,
                None => {
                    let role = &object["roleRef"];
                    let of = if role["kind"] == "Role" { "roles" } else { "clusterroles" };
                    let name = role["name"].as_str().unwrap_or_default();
                    return match self.resource(&format!("{of}.{GROUP}")) {
                        Some(resource) => Err(Refusal::not_found(&resource, name)),
                        None => Ok(()),
                    };
                }
            }
        } else {
            object["rules"].as_array().cloned().unwrap_or_default()
        };
        let own: Vec<Value> = self.rules_of(user, namespace).into_iter().map(|(rule, _)| rule).collect();
        let missing: Vec<String> = granted.iter().filter_map(|rule| uncovered(rule, &own)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let groups = user.groups.iter().map(|g| format!("{g:?}")).collect::<Vec<_>>().join(" ");
        let why = format!(
            "user {:?} (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            missing.join("\n")
        );
        Err(Refusal::forbidden(resource, name, &why))
    }
}

/// A rule's part that no own rule covers, written as the server writes it.
fn uncovered(rule: &Value, own: &[Value]) -> Option<String> {
    let texts = |key: &str| -> Vec<String> {
        rule[key].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(Into::into)).collect()
    };
    let (groups, resources, names, urls) =
        (texts("apiGroups"), texts("resources"), texts("resourceNames"), texts("nonResourceURLs"));
    let mut missing: Vec<String> = Vec::new();
    let quoted = |all: &[String]| all.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ");
    let covered = |verb: &str, group: &str, resource: &str, name: &str, url: Option<&str>| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let asked = Attributes {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            name: name.into(),
            path: url.map(Into::into),
            ..Attributes::default()
        };
        own.iter().any(|rule| {
            let star = |key: &str, value: &str| {
                value != "*" || rule[key].as_array().is_some_and(|l| l.iter().any(|v| v == "*"))
            };
            star("verbs", verb) && star("apiGroups", group) && star("resources", resource) && allows(rule, &asked)
        })
    };
    for url in &urls {
        let verbs: Vec<String> = texts("verbs").into_iter().filter(|v| !covered(v, "", "", "", Some(url))).collect();
        if !verbs.is_empty() {
            missing.push(format!("{{NonResourceURLs:[{url:?}], Verbs:[{}]}}", quoted(&verbs)));
        }
    }
    for group in &groups {
        for resource in &resources {
            for name in if names.is_empty() { vec![String::new()] } else { names.clone() } {
                let verbs: Vec<String> =
                    texts("verbs").into_iter().filter(|v| !covered(v, group, resource, &name, None)).collect();
                if verbs.is_empty() {
                    continue;
                }
                let named = if name.is_empty() { String::new() } else { format!(", ResourceNames:[{name:?}]") };
                missing.push(format!(
                    "{{APIGroups:[{group:?}], Resources:[{resource:?}]{named}, Verbs:[{}]}}",
                    quoted(&verbs)
                ));
            }
        }
    }
    (!missing.is_empty()).then(|| missing.join("\n"))
}

/// 403 in the server's words.
pub fn forbidden(user: &User, asked: &Attributes) -> Box<Refusal> {
    if let Some(path) = &asked.path {
        return Refusal::new(
            403,
            "Forbidden",
            format!("forbidden: User {:?} cannot {} path {path:?}", user.name, asked.verb),
        )
        .with(json!({}));
    }
    let of =
        if asked.group.is_empty() { asked.resource.clone() } else { format!("{}.{}", asked.resource, asked.group) };
    let named = if asked.name.is_empty() { of } else { format!("{of} {:?}", asked.name) };
    let full = if asked.subresource.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    };
    let place = if asked.namespace.is_empty() {
        "at the cluster scope".to_string()
    } else {
        format!("in the namespace {:?}", asked.namespace)
    };
    let message = format!(
        "{named} is forbidden: User {:?} cannot {} resource {full:?} in API group {:?} {place}",
        user.name, asked.verb, asked.group
    );
    let mut details = json!({"kind": asked.resource});
    if !asked.name.is_empty() {
        details["name"] = json!(asked.name);
    }
    if !asked.group.is_empty() {
        details["group"] = json!(asked.group);
    }
    Refusal::new(403, "Forbidden", message).with(details)
}

/// The roles that every cluster has: recorded from a real one.
pub fn bootstrap(world: &mut World) {
    let all: Vec<Value> = serde_json::from_str(include_str!("data/bootstrap-rbac.json")).unwrap_or_default();
    for mut object in all {
        let kind = object["kind"].as_str().unwrap_or_default().to_string();
        let name = object["name"].as_str().unwrap_or_default().to_string();
        let mut meta = world.metadata("", &name);
        meta["labels"] = object["labels"].take();
        meta["annotations"] = json!({"rbac.authorization.kubernetes.io/autoupdate": "true"});
        let mut whole = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": meta});
        for part in ["rules", "aggregationRule", "subjects", "roleRef"] {
            if !object[part].is_null() {
                whole[part] = object[part].take();
            }
        }
        let of = if kind == "ClusterRole" { "clusterroles" } else { "clusterrolebindings" };
        world.put(&Key::new(&format!("{of}.{GROUP}"), "", &name), &mut whole);
    }
}

/// A ClusterRole that gathers the rules of others by label.
pub fn aggregate(world: &mut World, key: &Key) {
    let Some(mut role) = world.store.value(key).filter(|r| r["aggregationRule"].is_object()) else { return };
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array().cloned().unwrap_or_default();
    let mut rules: Vec<Value> = Vec::new();
    for selector in &selectors {
        for (_, entry) in world.store.list(&key.of, "", None) {
            if super::selector::takes(selector, &entry.labels) {
                for rule in entry.value()["rules"].as_array().into_iter().flatten() {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
    }
    if role["rules"].as_array().map_or(&[][..], Vec::as_slice) != rules {
        role["rules"] = if rules.is_empty() { Value::Null } else { json!(rules) };
        world.put(key, &mut role);
    }
}
