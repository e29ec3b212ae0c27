//! After the evictions: what is left on the node, where its pods came up again, and whether it is cordoned still.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use serde_json::{Value, json};

use super::NodeDrain;
use super::budget::unready;
use crate::action::{Done, node};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Label, Method, Op, Proof, Source};
use crate::evidence::segment;

/// Namespaces that are watched at the same time; of more, each is read once.
const WATCHED: usize = 25;

/// A pod elsewhere, of an owner that lost one here.
#[derive(Debug, Clone)]
struct Elsewhere {
    name: String,
    owner: String,
    node: Option<String>,
    /// Why it is not ready; None when it is.
    unready: Option<String>,
}

/// What left, from the plan.
struct Left {
    pod: String,
    uid: String,
    owner: Option<String>,
}

impl NodeDrain {
    pub(super) async fn aftermath(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let sight = self.sight(cx).await?;
        let list = |key: &str| op.detail[key].as_array().cloned().unwrap_or_default();
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let now = sight.pods();
        let gone = |uid: &str| now.gone(uid);
        let left: Vec<Left> = list("left")
            .iter()
            .map(|l| Left {
                pod: text(&l["pod"]),
                uid: text(&l["uid"]),
                owner: l["owner"]["uid"].as_str().map(Into::into),
            })
            .filter(|l| now.there.get(&l.uid).is_none_or(|t| t.deleting))
            .collect();
        let waited_for = list("waited_for");
        let there = |deleting: bool| -> Vec<String> {
            let of = |w: &&Value| now.there.get(&text(&w["uid"])).is_some_and(|t| t.deleting == deleting);
            waited_for.iter().filter(of).map(|w| text(&w["pod"])).collect()
        };
        let (ending, left_out) = (there(true), there(false));
        let planned: BTreeSet<String> =
            list("staying_uids").iter().chain(waited_for.iter().map(|w| &w["uid"])).map(text).collect();
        let unplanned: Vec<String> = now
            .there
            .iter()
            .filter(|(uid, _)| !planned.contains(*uid))
            .map(|(_, t)| format!("{}/{}", t.namespace, t.name))
            .collect();
        let came_up = self.came_up(cx, op, &left).await?;
        // None: somebody deleted it meanwhile. What was seen is told all the same.
        let found = match node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await {
            Ok(found) => Some(found),
            Err(problem) if problem.fault == Fault::Refused => None,
            Err(problem) => return Err(problem),
        };
        let cordoned = found.as_ref().map(|found| found["spec"]["unschedulable"] == true);

        let evicted = waited_for.iter().filter(|w| gone(&text(&w["uid"]))).count();
        let not_up: Vec<String> = came_up
            .iter()
            .filter(|c| c["ready"] != true)
            .map(|c| match c["replaced_by"].as_str() {
                Some(by) => format!("{by} ({})", c["why"].as_str().unwrap_or("not ready")),
                None => format!("nothing for {} yet", c["pod"].as_str().unwrap_or_default()),
            })
            .collect();
        let up = came_up.len() - not_up.len();
        let mut summary = format!("{evicted} of {} pods are gone, {up} came up ready elsewhere", waited_for.len());
        if !op.detail["stays"].as_array().is_none_or(Vec::is_empty) {
            summary.push_str(&format!("; {} were to stay", list("stays").len()));
        }
        let mut wrong = Vec::new();
        if !not_up.is_empty() {
            wrong.push(format!("not up after {} s: {}", self.settle, some(&not_up)));
        }
        if !ending.is_empty() {
            let answers = found.as_ref().is_some_and(|found| node::ready(found) == "True");
            let why = if answers { "" } else { ", for the node does not answer" };
            wrong.push(format!("still ending{why}: {}", some(&ending)));
        }
        if !left_out.is_empty() {
            wrong.push(format!("not gone: {}", some(&left_out)));
        }
        if !unplanned.is_empty() {
            wrong.push(format!("came onto the node since the plan: {}", some(&unplanned)));
        }
        let document = json!({
            "format": "quell/node-drain/1",
            "node": op.object,
            "cordoned": cordoned,
            "evicted": evicted,
            "left_out": left_out,
            "ending": ending,
            "stayed": op.detail["stays"],
            "came_since_the_plan": unplanned,
            "came_up": came_up,
            "taken": crate::clock::rfc3339(cx.clock.now()),
        });
        let path = format!("data/{}/drain.json", segment(&cx.step));
        if cx.store.adopt(&path).is_none() {
            let label = Label {
                title: "What left the node, what stayed and why, and where pods came up again".into(),
                media_type: "application/json".into(),
                source: Source { object: op.object.clone(), container: None, what: "drain".into() },
                method: Method::api("watched and read from the API server", vec!["pods".into(), "nodes".into()]),
                started: cx.clock.now(),
            };
            cx.store.put_json(&path, label, cx.clock, &document, Vec::new())?;
        }
        if found.is_none() {
            wrong.push(format!(
                "{} is no more: somebody deleted it, and whether its machine runs is not known",
                op.object
            ));
        }
        let proof = if cordoned == Some(false) {
            Proof::Refuted(format!("{} is schedulable: somebody took the cordon back", op.object))
        } else if wrong.is_empty() {
            Proof::Verified("the UIDs are gone, the node is cordoned".into())
        } else {
            Proof::Unproved(wrong.join("; "))
        };
        let stayed: Vec<String> =
            list("stays").iter().map(|s| format!("{}: {}", text(&s["pod"]), text(&s["why"]))).collect();
        let observed = json!({
            "evicted": evicted, "left_out": left_out, "ending": ending, "stayed": stayed, "came_up": came_up,
            "report": path, "summary": summary,
        });
        Ok(Done::taken(summary, Some(proof), observed))
    }

    /// Where each pod that left came up again: the first pod of its owner that was not known before, each once.
    async fn came_up(&self, cx: &Cx, op: &Op, left: &[Left]) -> Result<Vec<Value>, Problem> {
        let owners: BTreeSet<&str> = left.iter().filter_map(|l| l.owner.as_deref()).collect();
        if owners.is_empty() {
            return Ok(Vec::new());
        }
        let mut known: BTreeSet<String> =
            op.detail["known"].as_array().into_iter().flatten().filter_map(|u| u.as_str().map(Into::into)).collect();
        known.extend(left.iter().map(|l| l.uid.clone()));
        let namespaces: BTreeSet<&str> =
            left.iter().filter(|l| l.owner.is_some()).filter_map(|l| l.pod.split('/').next()).collect();
        let mut seen: BTreeMap<String, Elsewhere> = BTreeMap::new();
        let node = self.node.as_str();
        let one = |pod: &Value| -> Option<(String, Elsewhere)> {
            let owner = super::filter::controller(pod)?["uid"].as_str().filter(|uid| owners.contains(uid))?;
            let uid = pod["metadata"]["uid"].as_str().filter(|uid| !known.contains(*uid))?;
            let on = pod["spec"]["nodeName"].as_str().map(str::to_string);
            // One that came onto this very node again has not left it.
            let unready = if on.as_deref() == Some(node) { Some("on the same node".into()) } else { unready(pod) };
            let name = super::plan::name(pod);
            Some((uid.into(), Elsewhere { name, owner: owner.into(), node: on, unready }))
        };
        if namespaces.len() > WATCHED {
            for namespace in &namespaces {
                raw::pages(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods"), |page| {
                    seen.extend(page.iter().filter_map(&one));
                })
                .await?;
            }
            return Ok(matched(left, &seen));
        }
        let mut watches = futures::stream::select_all(namespaces.iter().map(|namespace| {
            let api: Api<Pod> = Api::namespaced(cx.client.clone(), namespace);
            watcher(api, Config::default()).default_backoff().boxed()
        }));
        let mut listed = 0;
        let settled = async {
            while let Some(event) = watches.next().await {
                let Ok(event) = event else { continue };
                match event {
                    Event::InitApply(pod) | Event::Apply(pod) => {
                        let pod = serde_json::to_value(pod).unwrap_or_default();
                        seen.extend(one(&pod));
                    }
                    Event::Delete(pod) => drop(seen.remove(pod.metadata.uid.as_deref().unwrap_or_default())),
                    Event::InitDone => listed += 1,
                    Event::Init => {}
                }
                let all_up = || matched(left, &seen).iter().all(|c| c["ready"] == true);
                if listed >= namespaces.len() && all_up() {
                    break;
                }
            }
        };
        // Not all up in time: what was seen by then is told.
        let _ = tokio::time::timeout(Duration::from_secs(self.settle), settled).await;
        Ok(matched(left, &seen))
    }
}

/// One entry for each pod that left and has an owner. A ready one counts before one that is not.
fn matched(left: &[Left], seen: &BTreeMap<String, Elsewhere>) -> Vec<Value> {
    let mut free: Vec<&Elsewhere> = seen.values().collect();
    free.sort_by_key(|e| (e.unready.is_some(), e.name.clone()));
    left.iter()
        .filter_map(|l| {
            let owner = l.owner.as_deref()?;
            let at = free.iter().position(|e| e.owner == owner);
            Some(match at.map(|at| free.remove(at)) {
                Some(e) => json!({"pod": l.pod, "replaced_by": e.name, "node": e.node, "ready": e.unready.is_none(), "why": e.unready}),
                None => json!({"pod": l.pod, "replaced_by": null, "node": null, "ready": false, "why": null}),
            })
        })
        .collect()
}

fn some(all: &[String]) -> String {
    let more = all.len().saturating_sub(8);
    let shown = all[..all.len().min(8)].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}
