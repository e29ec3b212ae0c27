//! What else names the Secret: service accounts, Ingresses, Gateways, volumes, and operators' own objects, which are
//! searched for it by their shape: no list of operators is ever whole.

use std::collections::BTreeSet;

use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;

use super::workloads::not_read;
use crate::cluster::{Cx, Problem, raw};

/// Custom resources may be large: a page of these at most.
const PAGE: usize = 250;
/// References of one kind that are told.
const MAX: usize = 1000;
/// Kinds that are searched at once.
const AT_ONCE: usize = 8;

/// One object that names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reference {
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    /// Where in it: `spec.tls[0].secretName`.
    pub at: String,
}

/// API groups of Kubernetes itself: what of them can name a Secret is looked at by name.
fn built_in(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io") && !PROJECTS.contains(&group)
}

/// Groups under k8s.io that are installed as custom resources.
const PROJECTS: &[&str] = &["gateway.networking.k8s.io", "secrets-store.csi.x-k8s.io", "snapshot.storage.k8s.io"];

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub references: Vec<Reference>,
    /// Classes of the Secrets Store CSI driver that fill the Secret.
    pub classes: BTreeSet<String>,
    /// Kinds that were searched.
    pub searched: usize,
    pub not_read: Vec<String>,
}

/// Searches everything but pods and their templates, several kinds at a time.
pub async fn find(cx: &Cx, namespace: &str, secret: &str) -> Result<Found, Problem> {
    let mut found = Found::default();
    let at_home = |base: &str, plural: &str| format!("{base}/namespaces/{namespace}/{plural}");
    let mut kinds: Vec<Searched> = [
        (at_home("/api/v1", "serviceaccounts"), "ServiceAccount"),
        (at_home("/apis/networking.k8s.io/v1", "ingresses"), "Ingress"),
        ("/api/v1/persistentvolumes".into(), "PersistentVolume"),
        ("/apis/storage.k8s.io/v1/storageclasses".into(), "StorageClass"),
    ]
    .into_iter()
    .map(|(path, kind)| Searched { path, kind: kind.into(), what: kind.into(), at_home: None })
    .collect();
    for (path, group, kind, namespaced) in custom(cx, &mut found.not_read).await? {
        let home = path.rsplit_once('/').filter(|_| namespaced).map(|(base, plural)| at_home(base, plural));
        kinds.push(Searched { what: format!("{kind} ({group})"), path, kind, at_home: home });
    }
    let searches = kinds.into_iter().map(|searched| search(cx, searched, namespace, secret));
    let mut searches = futures::stream::iter(searches).buffered(AT_ONCE);
    while let Some(one) = searches.next().await {
        let one = one?;
        found.searched += one.searched;
        found.references.extend(one.references);
        found.classes.extend(one.classes);
        found.not_read.extend(one.not_read);
    }
    found.references.sort();
    found.references.dedup();
    Ok(found)
}

/// A kind to be searched.
struct Searched {
    path: String,
    kind: String,
    /// How it is told.
    what: String,
    /// Its path in the Secret's own namespace, for one that was to be searched in the whole cluster.
    at_home: Option<String>,
}

/// The whole cluster where that is allowed, for an object elsewhere may name the Secret too; else its own namespace.
async fn search(cx: &Cx, searched: Searched, namespace: &str, secret: &str) -> Result<Found, Problem> {
    let found = search_in(cx, &searched.path, &searched, namespace, secret).await?;
    let Some(home) = searched.at_home.as_ref().filter(|_| !found.not_read.is_empty()) else { return Ok(found) };
    let mut found = search_in(cx, home, &searched, namespace, secret).await?;
    if found.not_read.is_empty() {
        found.not_read.push(format!("{} of other namespaces: you may not list them", searched.what));
    }
    Ok(found)
}

async fn search_in(cx: &Cx, path: &str, searched: &Searched, namespace: &str, secret: &str) -> Result<Found, Problem> {
    let mut found = Found { searched: 1, ..Found::default() };
    let kind = &searched.kind;
    let listed = raw::each(&cx.client, path, PAGE, |object: Value| {
        let own = object["metadata"]["namespace"].as_str();
        let mut places = Vec::new();
        for (part, value) in object.as_object().into_iter().flatten() {
            if !["metadata", "status", "apiVersion", "kind"].contains(&part.as_str()) {
                mentions(
                    value,
                    part,
                    own.is_none_or(|n| n == namespace) && own.is_some(),
                    namespace,
                    secret,
                    &mut places,
                );
            }
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if kind == "SecretProviderClass" && places.iter().any(|p| p.contains("secretObjects")) {
            found.classes.insert(name.into());
        }
        let of = |at: String| Reference { kind: kind.clone(), namespace: own.map(Into::into), name: name.into(), at };
        found.references.extend(places.into_iter().map(of));
        found.references.truncate(MAX);
    })
    .await;
    not_read(cx, listed, &searched.what, &mut found.not_read)?;
    Ok(found)
}

/// Kinds of custom resources that can be listed: path, group, kind, whether it has a namespace.
async fn custom(cx: &Cx, left: &mut Vec<String>) -> Result<Vec<(String, String, String, bool)>, Problem> {
    let groups = raw::get(&cx.client, "/apis").await?;
    let mut all = Vec::new();
    for group in groups["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        let version = group["preferredVersion"]["groupVersion"].as_str().unwrap_or_default();
        if built_in(name) || version.is_empty() {
            continue;
        }
        // An aggregated API whose server is down answers 503: the rest goes on.
        let resources = match raw::get(&cx.client, &format!("/apis/{version}")).await {
            Ok(resources) => resources,
            Err(problem) if problem.fault == crate::cluster::Fault::Unreachable => return Err(problem),
            Err(problem) => {
                left.push(format!("the API group {name}: {problem}"));
                continue;
            }
        };
        for resource in resources["resources"].as_array().into_iter().flatten() {
            let plural = resource["name"].as_str().unwrap_or_default();
            let lists = resource["verbs"].as_array().is_some_and(|v| v.iter().any(|v| v == "list"));
            if lists && !plural.contains('/') {
                let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
                let path = format!("/apis/{version}/{plural}");
                all.push((path, name.to_owned(), kind, resource["namespaced"] == true));
            }
        }
    }
    Ok(all)
}

/// Words of a field's name that tell that it names a Secret.
const TELLING: &[&str] = &["secret", "credential", "certificateref", "tls", "password", "token", "auth", "pull"];

/// Places below `value` where the Secret is named: a text that is its name, in a field that tells so (or beside
/// `kind: Secret`), and no other namespace beside it. `at_home`: the object is of the Secret's own namespace.
fn mentions(value: &Value, at: &str, at_home: bool, namespace: &str, secret: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let other = map.iter().find(|(k, _)| k.ends_with("amespace")).and_then(|(_, v)| v.as_str());
            let here = other.map_or(at_home, |n| n == namespace);
            let is_secret = map.get("kind").and_then(Value::as_str) == Some("Secret");
            for (key, inner) in map {
                let place = format!("{at}.{key}");
                match inner {
                    Value::String(text) if text == secret && here => {
                        let path = place.to_lowercase();
                        let parents = path.rsplit('.').take(3);
                        if is_secret || parents.into_iter().any(|p| TELLING.iter().any(|t| p.contains(t))) {
                            out.push(place);
                        }
                    }
                    Value::String(_) => {}
                    _ => mentions(inner, &place, at_home || other == Some(namespace), namespace, secret, out),
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                let place = format!("{at}[{i}]");
                match item {
                    Value::String(text) if text == secret && at_home => {
                        if TELLING.iter().any(|t| at.to_lowercase().rsplit('.').take(2).any(|p| p.contains(t))) {
                            out.push(place);
                        }
                    }
                    _ => mentions(item, &place, at_home, namespace, secret, out),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(value: Value, at_home: bool) -> Vec<String> {
        let mut out = Vec::new();
        mentions(&value, "spec", at_home, "shop", "db", &mut out);
        out
    }

    #[test]
    fn a_name_counts_where_the_field_says_that_it_is_a_secrets() {
        for (value, home, expected) in [
            (
                json!({"tls": [{"hosts": ["db"], "secretName": "db"}]}),
                true,
                vec!["spec.tls[0].hosts[0]", "spec.tls[0].secretName"],
            ),
            (json!({"rules": [{"host": "db"}], "backend": {"service": {"name": "db"}}}), true, vec![]),
            (
                json!({"listeners": [{"tls": {"certificateRefs": [{"kind": "Secret", "name": "db"}]}}]}),
                true,
                vec!["spec.listeners[0].tls.certificateRefs[0].name"],
            ),
            (
                json!({"provider": {"vault": {"auth": {"tokenSecretRef": {"name": "db", "key": "token"}}}}}),
                true,
                vec!["spec.provider.vault.auth.tokenSecretRef.name"],
            ),
            (json!({"secretRef": {"name": "db", "namespace": "other"}}), true, vec![]),
            (json!({"secretRef": {"name": "db", "namespace": "shop"}}), false, vec!["spec.secretRef.name"]),
            (json!({"secretRef": {"name": "db"}}), false, vec![]),
            (
                json!({"csi": {"nodePublishSecretRef": {"name": "db", "namespace": "shop"}}}),
                false,
                vec!["spec.csi.nodePublishSecretRef.name"],
            ),
            (
                json!({"parameters": {"csi.storage.k8s.io/node-stage-secret-name": "db", "csi.storage.k8s.io/node-stage-secret-namespace": "shop"}}),
                false,
                vec!["spec.parameters.csi.storage.k8s.io/node-stage-secret-name"],
            ),
        ] {
            // A host of the Secret's name under tls is told too: better once too often.
            let mut seen = found(value.clone(), home);
            seen.sort();
            assert_eq!(seen, expected, "{value}");
        }
    }
}
