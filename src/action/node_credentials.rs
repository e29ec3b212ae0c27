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
    let (mut entries, mut lefts): (Vec<Value>, Vec<Left>) = (Vec::new(), Vec::new());
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
                let short = format!("tokens of {namespace}/{name}");
                lefts.extend(left.map(|text| Left { short, text, entry: Some(entries.len()) }));
                entries.push(entry);
            }
            _ if looked >= MAX_LOOKED => {
                let text = format!("Secret {namespace}/{name}: not looked at, for there are more than {MAX_LOOKED}");
                lefts.push(Left { short: format!("Secret {namespace}/{name}"), text, entry: None });
            }
            _ => {
                looked += 1;
                let uses: Vec<Credential> = uses(credential);
                let found = look(cx, &namespace, &name).await?;
                let (mut entry, left) =
                    secret(&namespace, &name, &uses.iter().collect::<Vec<_>>(), &found, now, covered);
                entry["pods"] = credential["pods"].clone();
                let short = format!("Secret {namespace}/{name}");
                lefts.extend(left.map(|text| Left { short, text, entry: Some(entries.len()) }));
                entries.push(entry);
            }
        }
    }
    for (entry, left) in own(record) {
        lefts.extend(left.map(|(short, text)| Left { short, text, entry: entry.as_ref().map(|_| entries.len()) }));
        entries.extend(entry);
    }
    lefts.extend(of_past(record).map(|(short, text)| Left { short: short.into(), text, entry: None }));
    Ok(json!({
        "known": true,
        "credentials": entries,
        "handed_over": lefts.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(),
        "hand_over": lefts.iter().map(|l| json!({"short": l.short, "text": l.text, "entry": l.entry})).collect::<Vec<_>>(),
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

/// What of the pods that ran there before is not known: in a few words, and in all.
fn of_past(record: &Value) -> Option<(&'static str, String)> {
    let past = &record["past"];
    let doubts: Vec<&str> = past["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match (past["known"] == true, doubts.is_empty()) {
        (true, true) => None,
        (true, false) => Some((
            "what ran there before is known in part",
            format!("pods that ran there before may have read more: {}", doubts.join("; ")),
        )),
        (false, false) => Some(("what ran there before is not known", doubts.join("; "))),
        (false, true) => Some((
            "what ran there before is not known",
            "what pods could read that ran there before and are gone is not known: no audit log was given \
             (--set audit-log=PATH); ask it who was bound to the node"
                .into(),
        )),
    }
}

/// What is left to people: in a few words, in all, and which entry it is about.
struct Left {
    short: String,
    text: String,
    entry: Option<usize>,
}

/// An entry, and what is left of it to people: in a few words, and in all.
type Own = (Option<Value>, Option<(String, String)>);

/// What the node itself holds.
fn own(record: &Value) -> Vec<Own> {
    let own = &record["node_credentials"];
    let user = own["user"].as_str().unwrap_or("the node");
    let issued = own["certificate_requests"].as_array().into_iter().flatten().filter(|r| r["state"] == "issued");
    let until: Vec<&str> = issued.filter_map(|r| r["valid_until"].as_str()).collect();
    let valid = match until.iter().max() {
        Some(until) => format!("valid until {until}"),
        None => "until when is not known".into(),
    };
    let entry = json!({
        "kind": "kubelet-client-certificate", "name": user, "valid": valid, "owner": "the cluster's certificate authority",
        "way_to_rotate": "it can't be revoked: end the machine, and replace the authority if its key may have been copied",
    });
    let text = format!(
        "client certificate of {user}: {valid}; it can't be revoked: if its key may have been copied, replace the authority that \
         signed it, or block the machine's addresses at the API server until then"
    );
    let mut all =
        vec![(Some(entry), Some((format!("client certificate of {user}, which can't be revoked, {valid}"), text)))];
    match own["bootstrap_tokens"].as_array() {
        Some(tokens) => {
            for name in tokens.iter().filter_map(Value::as_str) {
                let entry = json!({
                    "kind": "bootstrap-token", "namespace": "kube-system", "name": name, "owner": "kubeadm or the installer",
                    "way_to_rotate": "delete the Secret, make another where nodes are to join",
                });
                let text = format!("bootstrap token kube-system/{name}: delete it if the node may have kept it");
                all.push((Some(entry), Some((format!("bootstrap token kube-system/{name}"), text))));
            }
        }
        None => {
            let text = "bootstrap tokens were not read: `kubectl -n kube-system get secrets --field-selector \
                        type=bootstrap.kubernetes.io/token`, and delete those that the node may have kept";
            all.push((None, Some(("bootstrap tokens, which were not read".into(), text.into()))));
        }
    }
    if let Some(provider) = record["node"]["provider_id"].as_str() {
        let text = format!("the cloud's credentials of {provider}: end the sessions of its instance role");
        all.push((None, Some(("the instance's role in its cloud".into(), text))));
    }
    all
}

/// Names in one line.
const NAMED: usize = 8;

/// What is left to people, in a few words.
pub(super) fn named(document: &Value) -> String {
    let all: Vec<&str> =
        document["hand_over"].as_array().into_iter().flatten().filter_map(|l| l["short"].as_str()).collect();
    let (secrets, others): (Vec<&str>, Vec<&str>) = all.into_iter().partition(|l| l.starts_with("Secret "));
    let more = secrets.len().saturating_sub(NAMED);
    let mut parts: Vec<String> = secrets.iter().take(NAMED).map(ToString::to_string).collect();
    if more > 0 {
        parts.push(format!("{more} more Secrets"));
    }
    // The node's own come last and are few.
    let skip = others.len().saturating_sub(NAMED);
    if skip > 0 {
        parts.push(format!("{skip} accounts' tokens"));
    }
    parts.extend(others.into_iter().skip(skip).map(ToString::to_string));
    parts.join(", ")
}

/// The list to hand over: one box for each credential, with owner, way, and who has to be restarted after.
pub(super) fn list(document: &Value, node: &ObjectRef, at: &str) -> String {
    let strings = |v: &Value| -> Vec<String> {
        v.as_array().into_iter().flatten().filter_map(|s| s.as_str().map(str::to_owned)).collect()
    };
    let mut out = format!(
        "What {node} (UID {}) could read, and has to be rotated by hand. As of {at}.\nValues are in none of this.\n\
         `quell run exposed-secret -n NAMESPACE --set secret=NAME --set provider=…` leads through one Secret.\n",
        node.uid.as_deref().unwrap_or("unknown")
    );
    let lefts = document["hand_over"].as_array().map_or(&[][..], Vec::as_slice);
    if lefts.is_empty() {
        out.push_str("\nNothing.\n");
    }
    for left in lefts {
        let entry = left["entry"].as_u64().and_then(|at| document["credentials"].get(usize::try_from(at).ok()?));
        out.push_str(&format!("\n[ ] {}\n", left["short"].as_str().unwrap_or_default()));
        let Some(entry) = entry else {
            out.push_str(&format!("      {}\n", left["text"].as_str().unwrap_or_default()));
            continue;
        };
        let mut row = |name: &str, text: &str| {
            if !text.is_empty() {
                out.push_str(&format!("      {:<12}{text}\n", format!("{name}:")));
            }
        };
        row("keys", &strings(&entry["exposed_keys"]).join(", "));
        row("owner", entry["owner"].as_str().unwrap_or_default());
        row("way", entry["way_to_rotate"].as_str().unwrap_or_default());
        row("valid", entry["valid"].as_str().unwrap_or_default());
        let ways: BTreeSet<&str> =
            entry["reached_by"].as_array().into_iter().flatten().filter_map(|r| r["via"].as_str()).collect();
        row("reached by", &ways.into_iter().collect::<Vec<_>>().join(", "));
        row("for pods", &some(&strings(&entry["pods"])));
        row("restart", &strings(&entry["to_restart"]).join(", "));
    }
    // Names of keepers and pods are strangers' texts, and this is read on a terminal.
    out.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

fn some(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let shown = all[..all.len().min(NAMED)].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_a_box_for_each_with_owner_and_way_and_no_terminal_codes() {
        let document = json!({
            "credentials": [
                {"kind": "secret", "exposed_keys": ["password"], "owner": "External Secrets \u{1b}[31m(es)",
                 "way_to_rotate": "change it in the store", "reached_by": [{"via": "env"}, {"via": "env"}],
                 "pods": ["a", "b"], "to_restart": ["deployment/web"]},
            ],
            "hand_over": [
                {"short": "Secret shop/db", "text": "…", "entry": 0},
                {"short": "tokens of shop/web", "text": "taken until then", "entry": null},
            ],
        });
        let node = ObjectRef { kind: "Node".into(), name: "n".into(), uid: Some("u".into()), ..ObjectRef::default() };
        assert_eq!(
            list(&document, &node, "NOW"),
            "What Node n (UID u) could read, and has to be rotated by hand. As of NOW.\nValues are in none of this.\n`quell run \
             exposed-secret -n NAMESPACE --set secret=NAME --set provider=…` leads through one Secret.\n\n\
             [ ] Secret shop/db\n      keys:       password\n      owner:      External Secrets [31m(es)\n      \
             way:        change it in the store\n      reached by: env\n      for pods:   a, b\n      \
             restart:    deployment/web\n\n[ ] tokens of shop/web\n      taken until then\n"
        );
        assert_eq!(named(&document), "Secret shop/db, tokens of shop/web");
    }
}
