//! What the pod held: each credential with its keeper, the way to rotate it, its consumers, and how long it still works.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Api, ListParams};
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::Problem;
use super::secret_consumers::{consumers, to_restart};
use super::secret_keeper::{keepers, keys, writers};
use super::suspect::{Credential, Suspect};
use crate::clock;
use crate::cluster::{Cx, Fault};

/// kubectl's copy of what was applied: for a Secret it holds the values.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Secret's metadata, or why it is not known.
pub(super) enum Looked {
    /// What its metadata says.
    Found(Box<ObjectMeta>),
    /// There is none by that name.
    Missing,
    /// It may not be read.
    Forbidden,
}

/// Reads a Secret's metadata, never its data. RBAC has no right for metadata alone: this needs `get` on secrets.
///
/// An annotation of kubectl's may hold the values all the same: its content is dropped here at once.
pub(super) async fn look(cx: &Cx, namespace: &str, name: &str) -> Result<Looked, Problem> {
    let api: Api<Secret> = Api::namespaced(cx.client.clone(), namespace);
    match api.get_metadata(name).await.map_err(Problem::from) {
        Ok(found) => {
            let mut meta = found.metadata;
            if let Some(copy) = meta.annotations.as_mut().and_then(|a| a.get_mut(LAST_APPLIED)) {
                copy.clear();
            }
            Ok(Looked::Found(Box::new(meta)))
        }
        Err(problem) if problem.fault == Fault::NotFound => Ok(Looked::Missing),
        Err(problem) if problem.fault == Fault::Refused => Ok(Looked::Forbidden),
        Err(problem) => Err(problem),
    }
}

/// Whether kubectl keeps a copy of the values in an annotation.
pub(super) fn has_last_applied(meta: &ObjectMeta) -> bool {
    meta.annotations.as_ref().is_some_and(|a| a.contains_key(LAST_APPLIED))
}

/// The namespace's pods, or None when they may not be listed.
pub(super) async fn pods(cx: &Cx, namespace: &str) -> Result<Option<Vec<Pod>>, Problem> {
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), namespace);
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(500);
    loop {
        match api.list(&params).await.map_err(Problem::from) {
            Ok(page) => {
                found.extend(page.items);
                match page.metadata.continue_ {
                    Some(token) if !token.is_empty() => {
                        params = ListParams::default().limit(500).continue_token(&token)
                    }
                    _ => return Ok(Some(found)),
                }
            }
            Err(problem) if problem.fault == Fault::Refused => return Ok(None),
            Err(problem) => return Err(problem),
        }
    }
}

/// The pod now, by which its bound tokens live or die.
pub(super) enum PodNow {
    /// No pod of that UID is there.
    Gone,
    /// It is there; the time at which it is to be gone, once deleted.
    There(Option<OffsetDateTime>),
    /// Not known: why.
    Unknown(&'static str),
}

/// Looks whether the suspect pod is gone, by its UID.
pub(super) async fn pod_now(cx: &Cx, suspect: &Suspect) -> Result<PodNow, Problem> {
    let (Some(namespace), Some(name), Some(uid)) = (&suspect.pod.namespace, &suspect.pod.name, &suspect.pod.uid) else {
        return Ok(PodNow::Unknown("the record has no UID"));
    };
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), namespace);
    match api.get_metadata(name).await.map_err(Problem::from) {
        Ok(found) if found.metadata.uid.as_ref() == Some(uid) => {
            let deleted = serde_json::to_value(&found.metadata.deletion_timestamp).ok();
            Ok(PodNow::There(deleted.as_ref().and_then(Value::as_str).and_then(|t| clock::parse(t).ok())))
        }
        Ok(_) => Ok(PodNow::Gone),
        Err(problem) if problem.fault == Fault::NotFound => Ok(PodNow::Gone),
        Err(problem) if problem.fault == Fault::Refused => Ok(PodNow::Unknown("pods may not be read")),
        Err(problem) => Err(problem),
    }
}

/// The whole inventory, and what of it is left to people.
///
/// `covered` are the Secrets (namespace, name, key) that this step's own operations rotate.
pub(super) async fn inventory(
    cx: &Cx,
    suspect: &Suspect,
    covered: &BTreeSet<(String, String, String)>,
) -> Result<Value, Problem> {
    let Some(credentials) = &suspect.credentials else {
        return Ok(json!({
            "known": false, "credentials": [],
            "handed_over": ["the record does not say which credentials were mounted: look at the pod's manifest"],
        }));
    };
    let namespace = suspect.pod.namespace.clone().unwrap_or_else(|| cx.namespace.clone());
    let pods = pods(cx, &namespace).await?;
    let now = pod_now(cx, suspect).await?;
    let mut entries = Vec::new();
    let mut handed_over = Vec::new();
    let mut secrets: BTreeMap<&str, Vec<&Credential>> = BTreeMap::new();
    let mut tokens: BTreeMap<(&Option<String>, Option<i64>), Vec<&Credential>> = BTreeMap::new();
    for credential in credentials {
        match (credential.kind.as_deref(), credential.name.as_deref()) {
            (Some("secret" | "image-pull-secret"), Some(name)) if !name.is_empty() => {
                secrets.entry(name).or_default().push(credential);
            }
            // Each container's mount is recorded; the token is one for all that ask for the same.
            (Some("service-account-token"), _) => {
                tokens.entry((&credential.audience, credential.expiration_seconds)).or_default().push(credential);
            }
            (Some("configmap"), name) => entries.push(json!({
                "kind": "configmap", "name": name,
                "note": "not a credential by its kind; whether it holds one was not looked at",
            })),
            (kind, name) => {
                let text = format!(
                    "{} {} reached the pod and quell does not know how to rotate it",
                    kind.unwrap_or("something"),
                    name.unwrap_or("without a name")
                );
                entries.push(json!({ "kind": kind, "name": name, "note": text }));
                handed_over.push(text);
            }
        }
    }
    for uses in tokens.values() {
        let (entry, left) = token(suspect, uses, &now, cx.clock.now());
        entries.push(entry);
        handed_over.extend(left);
    }
    for (name, uses) in secrets {
        let looked = look(cx, &namespace, name).await?;
        let (entry, left) = secret(&namespace, name, &uses, &looked, pods.as_deref(), covered);
        entries.push(entry);
        handed_over.extend(left);
    }
    Ok(json!({
        "known": true,
        "credentials": entries,
        "handed_over": handed_over,
        "consumers_known": pods.is_some(),
        "not_looked_at": [
            "consumers other than pods of the namespace: Ingress and Gateway TLS, custom resources, service accounts",
            "who else may read these Secrets, and who did",
            "credentials inside the image, its files or memory, and cloud credentials from the node",
        ],
    }))
}

/// One Secret by all its uses, and what is left of it to people.
pub(super) fn secret(
    namespace: &str,
    name: &str,
    uses: &[&Credential],
    looked: &Looked,
    pods: Option<&[Pod]>,
    covered: &BTreeSet<(String, String, String)>,
) -> (Value, Option<String>) {
    let meta = match looked {
        Looked::Found(meta) => Some(meta.as_ref()),
        Looked::Missing | Looked::Forbidden => None,
    };
    // All keys when any use takes all of them; those of the record's otherwise.
    let used: Option<BTreeSet<String>> = uses
        .iter()
        .map(|u| u.keys.clone().filter(|k| !k.is_empty()))
        .collect::<Option<Vec<_>>>()
        .map(|keys| keys.into_iter().flatten().collect());
    let (exposed, from) = match (used, meta.map(keys).unwrap_or_default()) {
        (Some(keys), _) => (Some(keys), "the record"),
        (None, keys) if !keys.is_empty() => (Some(keys.into_iter().collect()), "the Secret's managed fields"),
        _ => (None, "not known"),
    };
    let of = |key: &str| (namespace.to_owned(), name.to_owned(), key.to_owned());
    let rotating: Vec<&String> =
        covered.iter().filter(|(ns, n, _)| ns == namespace && n == name).map(|(.., k)| k).collect();
    let left: Option<String> = match &exposed {
        Some(keys) => {
            let left: Vec<&str> = keys.iter().filter(|k| !covered.contains(&of(k))).map(String::as_str).collect();
            (!left.is_empty()).then(|| left.join(", "))
        }
        None if rotating.is_empty() => Some("all its keys".into()),
        None => Some("its other keys, if it has any".into()),
    };
    let keepers = meta.map(keepers).unwrap_or_default();
    let consumers = pods.map(|pods| consumers(pods, name));
    let restart = consumers.as_deref().map(to_restart);
    let how = match (looked, keepers.first()) {
        (Looked::Missing, _) => "the Secret is gone: rotate its values at their issuers".to_owned(),
        (Looked::Forbidden, _) => "its keeper is not known, for it may not be read: rotate at the issuer first".into(),
        (_, Some(keeper)) => keeper.how.clone(),
        (_, None) => "change it at its issuer, then put the new value into the Secret (`rotate` does this part)".into(),
    };
    let who = match (looked, keepers.is_empty()) {
        (Looked::Missing | Looked::Forbidden, _) => "not known".to_owned(),
        (_, true) => "nobody recognised".into(),
        (_, false) => keepers.iter().map(|k| k.who.as_str()).collect::<Vec<_>>().join(", "),
    };
    let entry = json!({
        "kind": uses.first().and_then(|u| u.kind.as_deref()),
        "namespace": namespace,
        "name": name,
        "uid": meta.and_then(|m| m.uid.as_deref()),
        "resource_version": meta.and_then(|m| m.resource_version.as_deref()),
        "state": match looked {
            Looked::Found(_) => "there",
            Looked::Missing => "not there now",
            Looked::Forbidden => "may not be read",
        },
        "exposed_keys": exposed,
        "exposed_keys_from": from,
        "reached_by": uses.iter().map(|u| json!({
            "via": u.via, "container": u.container, "path": u.path, "keys": u.keys,
        })).collect::<Vec<_>>(),
        "owner": who,
        "keepers": keepers,
        "last_writers": meta.map(writers),
        "kubectl_keeps_a_copy": meta.map(has_last_applied),
        "way_to_rotate": how,
        "to_be_rotated_by_this_step": rotating,
        "consumers": consumers,
        "to_restart": restart,
        "consumers_note": match &restart {
            None => "pods may not be listed: its consumers are not known",
            Some(_) => "pods with it in their environment or by subPath keep the old value until restarted; volumes are \
                        refreshed by the kubelet, after a delay",
        },
    });
    let text = left.map(|keys| format!("Secret {namespace}/{name} ({keys}; kept by {who}): {how}"));
    (entry, text)
}

/// One token of the pod, by all its mounts, and what is left to do about it.
///
/// The rules: a bound token is refused once its pod is gone, or 60 s after the pod's deletionTimestamp
/// (kubernetes pkg/serviceaccount/claims.go); an injected token of 3607 s is really issued for a year
/// (`--service-account-extend-token-expiration`, on by default); the API server may answer from a cache for 10 s; others
/// who check a token by its signature alone do not learn of the deletion.
fn token(suspect: &Suspect, uses: &[&Credential], now: &PodNow, at: OffsetDateTime) -> (Value, Option<String>) {
    let unknown = Credential::default();
    let credential = uses.first().copied().unwrap_or(&unknown);
    let account = match (&suspect.pod.namespace, &suspect.pod.service_account) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => credential.name.clone().unwrap_or_else(|| "an unknown account".into()),
    };
    let audience = credential.audience.as_deref().filter(|a| !a.is_empty());
    let issued = match credential.expiration_seconds {
        Some(3607) => "asked for 3607 s; the API server by default issues such a token for a year".to_owned(),
        Some(seconds) => format!("asked for {seconds} s"),
        None => "its life time is not recorded".into(),
    };
    let (valid, dead) = match now {
        PodNow::Gone => (
            format!(
                "the pod is gone: the API server refuses it, from its cache at latest {} on (its rule; not tried)",
                clock::rfc3339(at + Duration::seconds(10))
            ),
            true,
        ),
        PodNow::There(Some(deleted)) => {
            let until = clock::rfc3339(*deleted + Duration::seconds(60));
            (format!("valid until {until} (the pod's deletionTimestamp and 60 s) or until the pod is gone"), false)
        }
        PodNow::There(None) => {
            ("valid until the pod is deleted: then until its deletionTimestamp and 60 s".into(), false)
        }
        PodNow::Unknown(why) => (
            format!(
                "valid until the pod is gone, at most its deletionTimestamp and 60 s; whether it is gone is not known: {why}"
            ),
            false,
        ),
    };
    let left = match (audience, dead) {
        (Some(audience), _) => Some(format!(
            "token of {account} for the audience {audience}: whoever checks it offline takes it until it expires ({issued}); \
             deleting the pod does not revoke it there: revoke it, and sessions issued for it, at that party"
        )),
        (None, true) => None,
        (None, false) => Some(format!("token of the service account {account}: {valid}")),
    };
    let entry = json!({
        "kind": "service-account-token",
        "account": account,
        "audience": audience,
        "reached_by": uses.iter().map(|u| json!({ "container": u.container, "path": u.path })).collect::<Vec<_>>(),
        "expiration_seconds": credential.expiration_seconds,
        "issued": issued,
        "valid": valid,
        "owner": "the API server",
        "way_to_rotate": match audience {
            None => "delete the pod: a bound token dies with it",
            Some(_) => "delete the pod for the API server; revoke at the audience for the rest",
        },
    });
    (entry, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect() -> Suspect {
        Suspect::read(&json!({"pod": {"name": "p", "namespace": "ns", "uid": "u", "service_account": "sa"}}))
    }

    fn credential(value: Value) -> Credential {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_token_is_called_dead_only_when_its_pod_is_gone() {
        let at = clock::parse("2026-11-23T03:00:00Z").unwrap();
        let default = credential(json!({"kind": "service-account-token", "expiration_seconds": 3607}));
        let (entry, left) = token(&suspect(), &[&default], &PodNow::There(Some(at)), at);
        assert!(left.unwrap().contains("valid until 2026-11-23T03:01:00.000Z"));
        assert!(entry["issued"].as_str().unwrap().contains("a year"));
        assert!(token(&suspect(), &[&default], &PodNow::There(None), at).1.is_some());
        assert!(token(&suspect(), &[&default], &PodNow::Unknown("x"), at).1.is_some());
        assert_eq!(token(&suspect(), &[&default], &PodNow::Gone, at).1, None);
        let outside = credential(json!({"kind": "service-account-token", "audience": "sts.example.org"}));
        assert!(token(&suspect(), &[&outside], &PodNow::Gone, at).1.unwrap().contains("does not revoke"));
    }

    #[test]
    fn what_is_not_rotated_is_handed_over_by_name() {
        let meta: ObjectMeta = serde_json::from_value(json!({"managedFields": [
            {"manager": "kubectl", "fieldsV1": {"f:data": {"f:password": {}, "f:user": {}}}}]}))
        .unwrap();
        let found = Looked::Found(Box::new(meta));
        let all = credential(json!({"kind": "secret", "name": "db", "via": "envFrom"}));
        let covered = BTreeSet::from([("ns".to_owned(), "db".to_owned(), "password".to_owned())]);
        let (_, left) = secret("ns", "db", &[&all], &found, Some(&[]), &covered);
        assert!(left.unwrap().contains("ns/db (user;"));
        let one = credential(json!({"kind": "secret", "name": "db", "via": "env", "keys": ["password"]}));
        assert_eq!(secret("ns", "db", &[&one], &found, Some(&[]), &covered).1, None);
        let (entry, left) = secret("ns", "db", &[&all], &Looked::Forbidden, None, &covered);
        assert!(left.unwrap().contains("its other keys, if it has any"));
        assert_eq!(entry["owner"], "not known");
    }
}
