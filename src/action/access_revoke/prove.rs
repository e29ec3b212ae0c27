//! Whether the rights are gone and stay so: every binding watched for a while, then access reviews.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use serde::Serialize;
use serde_json::{Value, json};

use super::AccessRevoke;
use crate::action::Done;
use crate::action::access::identity::Used;
use crate::action::access::{Identity, binding, may};
use crate::action::audit_reading::count;
use crate::cluster::{Cx, Problem};
use crate::event::{NoteLevel, Op, Proof};

/// How long the API server's own caches may take to see what was removed.
const SETTLES: Duration = Duration::from_secs(5);
/// Between two questions.
const PAUSE: Duration = Duration::from_millis(500);
/// Rights that a sentence names.
const NAMED: usize = 5;

impl AccessRevoke {
    pub(super) async fn prove(&self, cx: &Cx, op: &Op, identity: &Identity) -> Result<Done, Problem> {
        let (back, watched) = self.came_back(cx, identity).await;
        let questions: Vec<Used> = serde_json::from_value(op.detail["questions"].clone()).unwrap_or_default();
        let deadline = tokio::time::Instant::now() + SETTLES;
        let left = loop {
            let left = may::allowed(cx, identity, &questions).await?;
            let everybody = may::of_everybody(cx, left.iter().map(|(used, _)| used.clone()).collect()).await?;
            let left: Vec<_> = left.into_iter().filter(|(used, _)| !everybody.contains(used)).collect();
            // Group rights and what was bound again do not go by waiting.
            let stays = |(_, why): &(_, String)| why.contains("Group") || why.is_empty() && identity.node.is_some();
            let lags = !left.is_empty() && back.is_empty() && !left.iter().all(stays);
            if !lags || tokio::time::Instant::now() >= deadline {
                break left;
            }
            tokio::time::sleep(PAUSE).await;
        };
        let username = identity.username.as_deref().unwrap_or_default();
        let after: Vec<Value> =
            left.iter().map(|(used, why)| json!({"right": may::text(used), "reason": why})).collect();
        let observed = json!({"allowed_after": after, "came_back": back});
        let texts = |key: &str| -> Vec<&str> {
            op.detail[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let by_group = texts("left");
        for text in texts("elsewhere").iter().chain(&texts("remaining")).chain(&by_group) {
            cx.note(NoteLevel::Warning, *text);
        }
        // What the Node authorizer answers has no reason; it asks no binding, and none can be taken.
        let (of_node, left): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, why)| identity.node.is_some() && why.is_empty());
        let mut against = Vec::new();
        for (object, writer) in &back {
            against.push(format!(
                "{object} names {username} again, written by {writer}: stop that writer, then remove it again"
            ));
        }
        if !left.is_empty() {
            let some: Vec<String> = left
                .iter()
                .take(NAMED)
                .map(|(used, why)| {
                    format!("{} ({})", may::text(used), if why.is_empty() { "no reason given" } else { why })
                })
                .collect();
            against.push(format!(
                "{username} still may {} of {} telling rights: {}",
                left.len(),
                questions.len(),
                some.join("; ")
            ));
        }
        let proof = if !against.is_empty() {
            Proof::Refuted(against.join("; "))
        } else if identity.is_master() {
            Proof::Unproved(format!("{username} is in system:masters: no authorizer is asked about it"))
        } else if let Err(why) = watched {
            Proof::Unproved(format!("the bindings could not be watched, so one that came back may be missed: {why}"))
        } else if !identity.groups_known && identity.service_account.is_none() {
            Proof::Unproved(format!(
                "no telling right is left to {username} by its name; its groups are not known, and may give it some"
            ))
        } else if let Some(node) = identity.node.as_ref().filter(|_| !of_node.is_empty()) {
            Proof::Unproved(format!(
                "no binding names {username}; {} of {} telling rights are a node's own, which need none: end node {node} \
                 (node-compromise)",
                of_node.len(),
                questions.len()
            ))
        } else if !by_group.is_empty() {
            Proof::Unproved(format!(
                "no binding named {username} for {} s, and none of {} telling rights is left, but {} by its groups gives it \
                 rights and was left",
                self.watch_seconds,
                questions.len(),
                count(by_group.len() as u64, "binding"),
            ))
        } else {
            Proof::Verified(format!(
                "no binding named {username} for {} s, and none of {} telling rights is left, asked with its groups and extras",
                self.watch_seconds,
                questions.len()
            ))
        };
        Ok(Done::told(proof, observed))
    }

    /// Bindings that name it now or within the time, with who wrote them; and whether they could be watched.
    async fn came_back(&self, cx: &Cx, identity: &Identity) -> (BTreeMap<String, String>, Result<(), String>) {
        let mut back = BTreeMap::new();
        let (of_cluster, of_namespaces): (Api<ClusterRoleBinding>, Api<RoleBinding>) =
            (Api::all(cx.client.clone()), Api::all(cx.client.clone()));
        let one = watcher(of_cluster, watcher::Config::default()).map(|e| e.map(|e| told(e, "ClusterRoleBinding")));
        let two = watcher(of_namespaces, watcher::Config::default()).map(|e| e.map(|e| told(e, "RoleBinding")));
        let mut events = std::pin::pin!(futures::stream::select(one, two));
        let mut known = 0;
        let mut failed = None;
        let until = tokio::time::Instant::now() + Duration::from_secs(self.watch_seconds);
        // The lists at the begin are waited for even where nothing is to be watched.
        let first = tokio::time::Instant::now() + SETTLES;
        loop {
            let deadline = if known < 2 { until.max(first) } else { until };
            match tokio::time::timeout_at(deadline, events.next()).await {
                Ok(Some(Ok(Told::Binding(found)))) => {
                    if !binding::going(&found, identity, &self.remove_groups).is_empty() {
                        back.insert(binding::object(&found).to_string(), binding::last_writer(&found));
                    }
                }
                Ok(Some(Ok(Told::Listed))) => known += 1,
                Ok(Some(Ok(Told::Nothing))) => {}
                Ok(Some(Err(error))) => failed = Some(error.to_string()),
                Ok(None) | Err(_) => break,
            }
        }
        let watched = match failed {
            Some(why) => Err(why),
            None if known < 2 => Err("they were not listed in time".into()),
            None => Ok(()),
        };
        (back, watched)
    }
}

/// What a watch told.
enum Told {
    Binding(Value),
    Listed,
    Nothing,
}

fn told<K: Serialize>(event: Event<K>, kind: &str) -> Told {
    match event {
        Event::InitApply(found) | Event::Apply(found) => {
            let mut found = serde_json::to_value(found).unwrap_or_default();
            found["kind"] = json!(kind);
            Told::Binding(found)
        }
        Event::InitDone => Told::Listed,
        Event::Init | Event::Delete(_) => Told::Nothing,
    }
}
