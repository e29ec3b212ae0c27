//! What ran on the node before and is gone: the API keeps nothing of it, the audit log's bindings and the kubelet's own
//! requests do. Where they don't say, that is said.

mod lives;
#[cfg(test)]
mod tests;
mod told;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::held::{self, Holdings};
use crate::action::audit_reading::{self, Log, count};
use crate::audit::{Answer, NotRead, Query, Request, Scan, Wanted};
use crate::clock::{self, rfc3339};
use crate::cluster::{Cx, Problem};
use crate::event::ObjectRef;
use crate::evidence::segment;
use lives::{From, Life, Lives};
use told::{OfNode, Told};

const FORMAT: &str = "quell/node-past/1";
/// Pods that are gone and named in the step's outputs; all are in the document.
const MAX_NAMED: usize = 500;
/// Names in one line.
const NAMED: usize = 5;

/// The document's path.
pub(super) fn path(step: &str) -> String {
    format!("data/{}/past.json", segment(step))
}

/// Reads the log and writes the document, and the lines that it rests on. `pods` are those on the node now, as the API
/// server sent them. Blocks for as long as the disk takes.
pub(super) fn read(cx: &Cx, log: &Log, node: &ObjectRef, pods: &[Value]) -> Result<Value, Problem> {
    let started = cx.clock.now();
    let query = Query {
        objects: ["pods", "bindings"].iter().filter_map(|kind| Wanted::parse(kind).ok()).collect(),
        verbs: ["create", "delete"].map(String::from).to_vec(),
        ..Query::default()
    };
    let (mut scan, left) = log.read(cx, &query, &OfNode { node: &node.name })?;
    let mut told = Told::default();
    std::mem::take(&mut scan.seen).into_iter().for_each(|one| told.merge(one));
    let mut lives = Lives::default();
    for request in scan.requests.clone() {
        scan.originals.event(&request, |event| lives.add(event, &node.name))?;
    }
    lives.join(&told);
    let slice = if lives.origins.is_empty() {
        None
    } else {
        let title = "the requests that made, bound and ended pods of the node";
        let label = log.label(node, title, "application/jsonl", "audit log", started);
        let at = format!("data/{}/past.slice.jsonl", segment(&cx.step));
        let ours = |_: &Value, request: &Request| lives.origins.contains(&request.origin);
        Some(audit_reading::slice(cx, &at, label, &mut scan, ours)?.path)
    };
    let document = document(&lives, &told, pods, &scan, &query, &left, slice.as_deref());
    let label = log.label(node, "what ran on the node before", "application/json", "audit answer", started);
    cx.store.put_json(&path(&cx.step), label, cx.clock, &document, Vec::new())?;
    Ok(document)
}

fn document(
    lives: &Lives,
    told: &Told,
    pods: &[Value],
    scan: &Scan<Told>,
    query: &Query,
    left: &[NotRead],
    slice: Option<&str>,
) -> Value {
    let answer = Answer::of(scan, query, left);
    let mut doubts = answer.doubts();
    let mut gone: Vec<&Life> = lives.lives.iter().filter(|life| !is_there(life, pods)).collect();
    gone.sort_by_key(|l| (l.span().map(|s| s.first), l.namespace.clone(), l.name.clone()));
    let mut holdings = Holdings::default();
    let mut without = Vec::new();
    for life in &gone {
        match (&life.manifest, &life.account) {
            (Some((manifest, _)), _) => holdings.add(manifest, &Value::Null),
            (None, account) => {
                without.push(format!("{}/{}", life.namespace, life.name));
                if let Some(account) = account {
                    holdings.add(&only_account(life, account), &Value::Null);
                }
            }
        }
    }
    for (kind, namespace, name) in told.read.keys() {
        holdings.add_read(kind, namespace, name);
    }
    if lives.bindings == 0 {
        doubts.push(
            "the log holds no binding of any pod (pods/binding): its policy leaves the scheduler out, and only what the \
             node itself asked tells what ran there"
                .into(),
        );
    }
    if lives.untold > 0 {
        doubts.push(format!(
            "{} do not say to which node (the policy records no bodies of them), and nothing else does",
            count(lives.untold, "binding")
        ));
    }
    if told.own == 0 {
        doubts.push(
            "the log holds no request of the node itself: what its kubelet reported and read is not known".into(),
        );
    } else if told.read.is_empty() {
        doubts
            .push("the log holds no read of a Secret or ConfigMap by the node: its policy may not record them".into());
    }
    if !without.is_empty() {
        doubts.push(format!(
            "of the pods that are gone, what {} could read is not told by any request's body: {}",
            without.len(),
            some(&without)
        ));
    }
    let missed = not_shown(lives, pods, scan);
    if !missed.is_empty() {
        doubts.push(format!(
            "of the pods that are there now, {} came within this time and the log does not show it, so others may be missing: {}",
            missed.len(),
            some(&missed)
        ));
    }
    if told.more || lives.more {
        doubts.push("there were more pods than are told apart: ask about a shorter time".into());
    }
    let (credentials, accounts) = holdings.json();
    let span = |span: &told::Span| json!({"first": rfc3339(span.first), "last": rfc3339(span.last)});
    json!({
        "format": FORMAT,
        "gone": gone.iter().map(|life| described(life)).collect::<Vec<_>>(),
        "there_still": lives.lives.len() - gone.len(),
        "credentials": credentials,
        "service_accounts": accounts,
        "read_by_kubelet": told.read.iter().map(|((kind, namespace, name), at)| {
            json!({"kind": kind, "namespace": namespace, "name": name, "read": span(at)})
        }).collect::<Vec<_>>(),
        "tokens_asked_for": told.tokens.iter().map(|((namespace, account), at)| {
            json!({"namespace": namespace, "account": account, "asked": span(at)})
        }).collect::<Vec<_>>(),
        "doubts": doubts,
        "rests_on": [
            "a binding is the scheduler's word that the pod was given to the node; that it ran is its kubelet's",
            "a kubelet may report and remove only pods of its own node where the NodeRestriction admission is on, as it is by \
             default with kubeadm; that was not checked",
            "static pods that were not announced, and what a process started beside Kubernetes, are in no log of the API server",
        ],
        "coverage": answer.json(),
        "slice": slice,
    })
}

/// What later steps and people are told; of the whole document the first so many.
pub(super) fn outputs(document: &Value, step: &str) -> Value {
    let gone = document["gone"].as_array().map_or(&[][..], Vec::as_slice);
    let named: Vec<Value> = gone
        .iter()
        .take(MAX_NAMED)
        .map(|p| {
            json!({"namespace": p["namespace"], "name": p["name"], "uid": p["uid"], "account": p["account"],
                   "from": p["from"], "until": p["until"]})
        })
        .collect();
    json!({
        "known": true, "gone": gone.len(), "pods": named, "doubts": document["doubts"], "document": path(step),
        "credentials": document["credentials"], "service_accounts": document["service_accounts"],
    })
}

/// One line for a person.
pub(super) fn detail(document: &Value) -> String {
    let gone = document["gone"].as_array().map_or(&[][..], Vec::as_slice);
    let asked = &document["coverage"]["asked"];
    let from = asked["from"].as_str().unwrap_or("the log's begin");
    let mut text = match gone.len() {
        0 => format!("no pod that ran there since {from} and is gone is in the audit log"),
        1 => format!("1 pod ran there since {from} and is gone"),
        n => format!("{n} pods ran there since {from} and are gone"),
    };
    if !gone.is_empty() {
        let names: Vec<String> = gone
            .iter()
            .map(|p| {
                format!("{}/{}", p["namespace"].as_str().unwrap_or_default(), p["name"].as_str().unwrap_or_default())
            })
            .collect();
        text.push_str(&format!(": {}", some(&names)));
    }
    let doubts: Vec<&str> = document["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !doubts.is_empty() {
        text.push_str(&format!("; not all can be known: {}", doubts.join("; ")));
    }
    text
}

fn described(life: &Life) -> Value {
    let span = life.span();
    let manifest = life.manifest.as_ref().map(|(m, _)| m);
    let account = match (&life.account, manifest.and_then(|m| m["spec"]["serviceAccountName"].as_str())) {
        (Some(account), _) => Some(account.as_str()),
        (None, named) => named,
    };
    let reported: Vec<Value> =
        life.images.iter().map(|(image, digest)| json!({"image": image, "digest": digest})).collect();
    let wanted: BTreeSet<&str> =
        manifest.into_iter().flat_map(held::containers).filter_map(|c| c["image"].as_str()).collect();
    let mut mounts = Holdings::default();
    if let Some(manifest) = manifest {
        mounts.add(manifest, &Value::Null);
    }
    json!({
        "namespace": life.namespace, "name": life.name, "uid": life.uid,
        "from": span.map(|s| rfc3339(s.first)), "until": span.map(|s| rfc3339(s.last)),
        "bound": life.bound.as_ref().map(|(at, by)| json!({"at": rfc3339(*at), "by": by})),
        "told_to_go": life.told_to_go.as_ref().map(|(at, by, how)| json!({"at": rfc3339(*at), "by": by, "how": how})),
        "end_confirmed": life.ended.map(rfc3339),
        "known_by": life.by,
        "account": account,
        "images_reported": reported,
        "images_asked_for": wanted,
        "reads": manifest.map(|_| mounts.json().0),
        "beyond": manifest.map(held::reach),
        "manifest": match life.manifest.as_ref().map(|(_, from)| *from) {
            Some(From::Answer) => "the API server's answer when it was made",
            Some(From::Asked) => "what was asked for when it was made; what admission added is not in it",
            Some(From::Sibling) => "what its owner asked for, for it or for a sibling; what admission added is not in it",
            None => "the log doesn't say: no request's body holds it",
        },
    })
}

/// By its UID; without one, a pod of its name that was there by the time it was seen.
fn is_there(life: &Life, pods: &[Value]) -> bool {
    pods.iter().any(|pod| {
        let meta = &pod["metadata"];
        let same = meta["namespace"] == life.namespace.as_str() && meta["name"] == life.name.as_str();
        match (life.uid.is_empty(), meta["uid"].as_str()) {
            (false, Some(uid)) if !mirror(pod) => uid == life.uid,
            _ => same && (mirror(pod) || made(pod).is_none_or(|made| life.span().is_none_or(|s| made <= s.last))),
        }
    })
}

fn mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
}

fn made(pod: &Value) -> Option<OffsetDateTime> {
    clock::parse(pod["metadata"]["creationTimestamp"].as_str()?).ok()
}

/// Pods that are there now and must be in the log if it shows all: they were made after its first event in the window.
fn not_shown<S>(lives: &Lives, pods: &[Value], scan: &Scan<S>) -> Vec<String> {
    let Some(since) = scan.coverage.first() else { return Vec::new() };
    let since = scan.window.start.map_or(since, |start| start.max(since));
    let until = scan.coverage.last().unwrap_or(since);
    // A pod's time is cut to the second.
    let within = |at: OffsetDateTime| at > since && at < until - time::Duration::seconds(1);
    let shown = |pod: &Value| lives.lives.iter().any(|life| is_there(life, std::slice::from_ref(pod)));
    pods.iter().filter(|p| !mirror(p) && made(p).is_some_and(within) && !shown(p)).map(super::name).collect()
}

fn only_account(life: &Life, account: &str) -> Value {
    json!({
        "metadata": {"namespace": life.namespace, "name": life.name},
        "spec": {"serviceAccountName": account, "volumes": [{"projected": {"sources": [{"serviceAccountToken": {}}]}}]},
    })
}

fn some(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let shown = all[..all.len().min(NAMED)].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// The credentials of two lists, each once, with the pods and ways of both.
pub(super) fn together(now: &Value, past: &Value) -> Vec<Value> {
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    for credential in [now, past].iter().flat_map(|list| list.as_array().into_iter().flatten()) {
        let part = |key: &str| credential[key].as_str().unwrap_or_default();
        // The image pull secret of one pod is the same object as the Secret that another mounts, and is told apart as before.
        let key = format!("{} {} {} {}", part("kind"), part("namespace"), part("name"), part("audience"));
        match all.get_mut(&key) {
            None => drop(all.insert(key, credential.clone())),
            Some(known) => {
                for list in ["pods", "via"] {
                    let both: BTreeSet<&str> = [&known[list], &credential[list]]
                        .iter()
                        .flat_map(|l| l.as_array().into_iter().flatten())
                        .filter_map(Value::as_str)
                        .collect();
                    if !both.is_empty() || known[list].is_array() {
                        known[list] = json!(both);
                    }
                }
                let keys: Option<BTreeSet<&str>> = known["keys"]
                    .as_array()
                    .zip(credential["keys"].as_array())
                    .map(|(a, b)| a.iter().chain(b).filter_map(Value::as_str).collect());
                // Null: all of them.
                if !known["keys"].is_null() {
                    known["keys"] = json!(keys);
                }
            }
        }
    }
    all.into_values().collect()
}
