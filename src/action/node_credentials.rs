//! What a node could read, for `credentials.rotate`: each Secret with its keeper and way to rotate, each token with how long
//! it is taken, and the node's own credentials.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Problem;
use super::credential_inventory::{look, pods, secret};
use super::suspect::Credential;
use crate::clock;
use crate::cluster::Cx;
use crate::event::ObjectRef;

/// Secrets whose metadata is read at most; of more, the rest is handed over by name alone.
const MAX_LOOKED: usize = 2000;

/// Whether the record is a node's inventory.
pub(super) fn is_node(record: &Value) -> bool {
    record["node"]["name"].is_string() && record["credentials"].is_array()
}

/// The node, as the object of the operation that lists its credentials.
pub(super) fn object(record: &Value) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "Node".into(),
        namespace: None,
        name: record["node"]["name"].as_str().unwrap_or_default().into(),
        uid: record["node"]["uid"].as_str().map(Into::into),
    }
}

/// The same document as of a pod's credentials.
pub(super) async fn inventory(
    cx: &Cx,
    record: &Value,
    covered: &BTreeSet<(String, String, String)>,
) -> Result<Value, Problem> {
    let (mut entries, mut handed_over) = (Vec::new(), Vec::new());
    let mut there: BTreeMap<String, Option<Vec<Pod>>> = BTreeMap::new();
    let mut looked = 0;
    for credential in record["credentials"].as_array().into_iter().flatten() {
        let text = |key: &str| credential[key].as_str().unwrap_or_default().to_string();
        let (kind, namespace, name) = (text("kind"), text("namespace"), text("name"));
        if !there.contains_key(&namespace) {
            there.insert(namespace.clone(), pods(cx, &namespace).await?);
        }
        let now = there.get(&namespace).and_then(Option::as_deref);
        match kind.as_str() {
            "configmap" => entries.push(json!({
                "kind": "configmap", "namespace": namespace, "name": name,
                "note": "not a credential by its kind; whether it holds one was not looked at",
            })),
            "service-account-token" => {
                let (entry, left) = token(record, credential, &namespace, now, cx);
                entries.push(entry);
                handed_over.extend(left);
            }
            _ if looked >= MAX_LOOKED => {
                handed_over
                    .push(format!("Secret {namespace}/{name}: not looked at, for there are more than {MAX_LOOKED}"));
            }
            _ => {
                looked += 1;
                let uses: Vec<Credential> = uses(credential);
                let found = look(cx, &namespace, &name).await?;
                let (entry, left) = secret(&namespace, &name, &uses.iter().collect::<Vec<_>>(), &found, now, covered);
                entries.push(entry);
                handed_over.extend(left);
            }
        }
    }
    let (own, left) = own(record);
    entries.extend(own);
    handed_over.extend(left);
    handed_over.extend(of_past(record));
    Ok(json!({
        "known": true,
        "credentials": entries,
        "handed_over": handed_over,
        "consumers_known": there.values().all(Option::is_some),
        "not_looked_at": [
            "credentials in files, images and memory of the node, its cloud's instance role and metadata service",
            "who else may read these Secrets, and who did",
        ],
    }))
}

/// One use for each way, as a pod's record has them.
fn uses(credential: &Value) -> Vec<Credential> {
    let ways = credential["via"].as_array().into_iter().flatten();
    ways.map(|via| Credential {
        kind: credential["kind"].as_str().map(Into::into),
        name: credential["name"].as_str().map(Into::into),
        keys: serde_json::from_value(credential["keys"].clone()).ok(),
        via: via.as_str().map(Into::into),
        ..Credential::default()
    })
    .collect()
}

/// The tokens of one account for one audience, by the pods of the node that had one. The rules are those of a pod's token.
fn token(record: &Value, credential: &Value, namespace: &str, now: Option<&[Pod]>, cx: &Cx) -> (Value, Option<String>) {
    let account = format!("{namespace}/{}", credential["name"].as_str().unwrap_or_default());
    let audience = credential["audience"].as_str();
    let names: BTreeSet<&str> = credential["pods"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let uids: BTreeSet<&str> = record["pods"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|p| p["namespace"] == namespace && p["name"].as_str().is_some_and(|n| names.contains(n)))
        .filter_map(|p| p["uid"].as_str())
        .collect();
    let alive: Option<Vec<String>> = now.map(|pods| {
        let of_node = pods.iter().filter(|p| p.uid().is_some_and(|uid| uids.contains(uid.as_str())));
        of_node.map(ResourceExt::name_any).collect()
    });
    let valid = match alive.as_deref() {
        Some([]) => format!(
            "its {} pods are gone: the API server refuses their tokens, from its cache at latest {} on (its rule; not tried)",
            names.len(),
            clock::rfc3339(cx.clock.now() + time::Duration::seconds(10))
        ),
        Some(alive) => format!(
            "{} of its {} pods are there still: their tokens are taken until 60 s after each is deleted: {}",
            alive.len(),
            names.len(),
            alive.join(", ")
        ),
        None => "pods may not be listed: taken until 60 s after each pod is deleted".into(),
    };
    let dead = alive.as_deref() == Some(&[]);
    let left = match (audience, dead) {
        (Some(audience), _) => Some(format!(
            "tokens of {account} for the audience {audience}: whoever checks them offline takes them until they expire: revoke \
             them, and sessions issued for them, at that party"
        )),
        (None, true) => None,
        (None, false) => Some(format!("tokens of the service account {account}: {valid}")),
    };
    let entry = json!({
        "kind": "service-account-token", "account": account, "audience": audience, "pods": names,
        "expiration_seconds": credential["expiration_seconds"], "valid": valid, "owner": "the API server",
        "way_to_rotate": "delete the pods: a bound token dies with its pod",
    });
    (entry, left)
}

/// What of the pods that ran there before is not known.
fn of_past(record: &Value) -> Option<String> {
    let past = &record["past"];
    let doubts: Vec<&str> = past["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (past["known"] == true, doubts.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("pods that ran there before may have read more: {}", doubts.join("; "))),
        (false, false) => Some(doubts.join("; ")),
        (false, true) => Some(
            "what pods could read that ran there before and are gone is not known: no audit log was given \
             (--set audit-log=PATH); ask it who was bound to the node"
                .into(),
        ),
    }
}

/// What the node itself holds.
fn own(record: &Value) -> (Vec<Value>, Vec<String>) {
    let own = &record["node_credentials"];
    let user = own["user"].as_str().unwrap_or("the node");
    let issued = own["certificate_requests"].as_array().into_iter().flatten().filter(|r| r["state"] == "issued");
    let until: Vec<&str> = issued.filter_map(|r| r["valid_until"].as_str()).collect();
    let valid = match until.iter().max() {
        Some(until) => format!("valid until {until}"),
        None => "until when is not known".into(),
    };
    let mut entries = vec![json!({
        "kind": "kubelet-client-certificate", "name": user, "valid": valid, "owner": "the cluster's certificate authority",
        "way_to_rotate": "it can't be revoked: end the machine, and replace the authority if its key may have been copied",
    })];
    let mut left = vec![format!(
        "client certificate of {user}: {valid}; it can't be revoked: if its key may have been copied, replace the authority that \
         signed it, or block the machine's addresses at the API server until then"
    )];
    match own["bootstrap_tokens"].as_array() {
        Some(all) => {
            for name in all.iter().filter_map(Value::as_str) {
                entries.push(json!({
                    "kind": "bootstrap-token", "namespace": "kube-system", "name": name, "owner": "kubeadm or the installer",
                    "way_to_rotate": "delete the Secret, make another where nodes are to join",
                }));
                left.push(format!("bootstrap token kube-system/{name}: delete it if the node may have kept it"));
            }
        }
        None => left.push(
            "bootstrap tokens were not read: `kubectl -n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token`, \
             and delete those that the node may have kept"
                .into(),
        ),
    }
    if let Some(provider) = record["node"]["provider_id"].as_str() {
        left.push(format!("the cloud's credentials of {provider}: end the sessions of its instance role"));
    }
    (entries, left)
}
