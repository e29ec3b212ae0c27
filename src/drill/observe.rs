//! What the cluster itself shows while a drill runs: when the suspect was cut off, when it was gone, and who else was hit.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;

use super::stage::is_ready;
use crate::clock::Clock;
use crate::cluster::Problem;

/// How long a watch may lag behind the cluster.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Whom the drill is about.
#[derive(Debug, Clone)]
pub struct Suspect {
    /// `Pod` or `Node`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Suspect {
    /// Whether it is a node.
    pub fn is_node(&self) -> bool {
        self.kind == "Node"
    }
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// A policy without any allowed traffic selects the suspect, both ways; a node that is suspected is cordoned.
    pub cut_off: Option<(OffsetDateTime, String)>,
    /// The suspect is no more.
    pub gone: Option<OffsetDateTime>,
    /// The suspect was replaced before it was contained: not by us.
    pub pods: BTreeMap<String, PodSeen>,
    /// By label selector: how few pods were ready at once, of those that [`Observer::begin`] was told to count.
    pub least: BTreeMap<String, usize>,
    /// The watches were not up with the cluster in the end: what is missing here may have happened.
    pub lagged: bool,
    /// Policies in force.
    policies: BTreeMap<String, NetworkPolicy>,
    pods_known: bool,
    policies_known: bool,
    node_known: bool,
}

/// One pod's life during the drill.
#[derive(Debug, Clone)]
pub struct PodSeen {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub node: String,
    /// As it was last.
    pub labels: BTreeMap<String, String>,
    /// As it was first.
    pub first_labels: BTreeMap<String, String>,
    /// Ready when it was last seen.
    pub ready: bool,
    /// It was there when the drill began.
    pub from_the_start: bool,
    /// When it was deleted.
    pub gone: Option<OffsetDateTime>,
    /// Somebody asked for its deletion.
    pub deleting: bool,
    /// Its containers have ended, though the object may still be there.
    pub ended: bool,
}

/// Watches until it is dropped.
pub struct Observer {
    seen: watch::Sender<Seen>,
    pods: Api<Pod>,
    policies: Api<NetworkPolicy>,
    nodes: Api<Node>,
    target: Suspect,
    clock: Clock,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Observer {
    /// Begins to watch a namespace, and the suspect if it is a node; returns when their present state is known. `counted`
    /// are label selectors whose ready pods are counted, see [`Seen::least`].
    ///
    /// # Errors
    /// The state was not known within [`PATIENCE`].
    pub async fn begin(
        client: &Client,
        namespace: &str,
        target: &Suspect,
        counted: Vec<String>,
        clock: Clock,
    ) -> Result<Observer, Problem> {
        let seen = watch::Sender::new(Seen::default());
        let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
        let (listed_pods, listed_policies) = (pods.clone(), policies.clone());
        let (one, two, suspect) = (seen.clone(), seen.clone(), target.uid.clone());
        let again = suspect.clone();
        let nodes: Api<Node> = Api::all(client.clone());
        let mut tasks = vec![
            tokio::spawn(async move {
                let mut events = std::pin::pin!(watcher(listed_pods, watcher::Config::default()));
                while let Some(event) = events.next().await {
                    let Ok(event) = event else { continue };
                    one.send_modify(|seen| {
                        match event {
                            Event::InitApply(pod) => seen.pod(&pod, !seen.pods_known),
                            Event::Apply(pod) => seen.pod(&pod, false),
                            Event::InitDone => seen.pods_known = true,
                            Event::Delete(pod) => seen.deleted(&pod, &suspect, clock.now()),
                            Event::Init => {}
                        }
                        if seen.pods_known {
                            seen.count(&counted);
                        }
                        seen.judge(&suspect, clock.now());
                    });
                }
            }),
            tokio::spawn(async move {
                let mut events = std::pin::pin!(watcher(listed_policies, watcher::Config::default()));
                while let Some(event) = events.next().await {
                    let Ok(event) = event else { continue };
                    two.send_modify(|seen| {
                        match event {
                            Event::InitApply(policy) | Event::Apply(policy) => {
                                seen.policies.insert(policy.metadata.name.clone().unwrap_or_default(), policy);
                            }
                            Event::Delete(policy) => {
                                seen.policies.remove(policy.metadata.name.as_deref().unwrap_or_default());
                            }
                            Event::InitDone => seen.policies_known = true,
                            Event::Init => {}
                        }
                        seen.judge(&again, clock.now());
                    });
                }
            }),
        ];
        if target.is_node() {
            let (three, uid, watched) = (seen.clone(), target.uid.clone(), nodes.clone());
            let config = watcher::Config::default().fields(&format!("metadata.name={}", target.name));
            tasks.push(tokio::spawn(async move {
                let mut events = std::pin::pin!(watcher(watched, config));
                while let Some(event) = events.next().await {
                    let Ok(event) = event else { continue };
                    three.send_modify(|seen| match event {
                        Event::InitApply(node) | Event::Apply(node) => seen.node(&node, &uid, clock.now()),
                        Event::Delete(_) => drop(seen.gone.get_or_insert(clock.now())),
                        Event::InitDone => seen.node_known = true,
                        Event::Init => {}
                    });
                }
            }));
        } else {
            seen.send_modify(|seen| seen.node_known = true);
        }
        let observer = Observer { seen, pods, policies, nodes, target: target.clone(), clock, tasks };
        if observer.until(|seen| seen.pods_known && seen.policies_known && seen.node_known).await {
            return Ok(observer);
        }
        Err(Problem::failed(format!("the namespace {namespace} could not be watched; its score would be a guess"))
            .hint("look whether its pods and network policies can be listed and watched"))
    }

    /// Waits until what was seen is what the cluster has now. False: it was not within [`PATIENCE`], see [`Seen::lagged`].
    ///
    /// # Errors
    /// The cluster can't be asked.
    pub async fn caught_up(&self) -> Result<bool, Problem> {
        let all = ListParams::default();
        let pods = self.pods.list(&all).await?;
        let policies = self.policies.list(&all).await?;
        let node = match self.target.is_node() {
            true => self.nodes.get_opt(&self.target.name).await?.and_then(|n| n.metadata.uid),
            false => None,
        };
        let node_gone = self.target.is_node() && node.as_deref() != Some(&self.target.uid);
        let there = |uid: &str| pods.items.iter().any(|p| p.metadata.uid.as_deref() == Some(uid));
        let caught_up = self
            .until(|seen| {
                let mut known = seen.pods.iter().filter(|(_, p)| p.gone.is_none());
                known.all(|(uid, _)| there(uid))
                    && (!node_gone || seen.gone.is_some())
                    && pods.items.iter().filter_map(|p| p.metadata.uid.as_ref()).all(|u| seen.pods.contains_key(u))
                    && policies
                        .items
                        .iter()
                        .filter_map(|p| p.metadata.name.as_ref())
                        .all(|n| seen.policies.contains_key(n))
            })
            .await;
        if !caught_up {
            // What is gone is gone, though nobody saw when.
            let now = self.clock.now();
            self.seen.send_modify(|seen| {
                seen.lagged = true;
                for (_, pod) in seen.pods.iter_mut().filter(|(uid, p)| p.gone.is_none() && !there(uid)) {
                    pod.gone = Some(now);
                    pod.ready = false;
                }
                let gone = seen.pods.get(&self.target.uid).and_then(|p| p.gone);
                seen.gone = seen.gone.or(gone).or(node_gone.then_some(now));
            });
        }
        Ok(caught_up)
    }

    async fn until(&self, is: impl Fn(&Seen) -> bool) -> bool {
        let mut seen = self.seen.subscribe();
        tokio::time::timeout(PATIENCE, seen.wait_for(is)).await.is_ok_and(|known| known.is_ok())
    }

    /// What was seen so far.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }
}

impl Seen {
    fn pod(&mut self, pod: &Pod, from_the_start: bool) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let (ready, deleting) = (is_ready(pod), pod.metadata.deletion_timestamp.is_some());
        // A kubelet ends the containers first; the object stays until it has cleaned up.
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
        let ended = matches!(phase, Some("Succeeded" | "Failed"));
        let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
        match self.pods.get_mut(&uid) {
            Some(known) => {
                known.labels = labels;
                known.ready = ready;
                known.deleting = deleting;
                known.ended = ended;
                known.node = node;
            }
            None => {
                let name = pod.metadata.name.clone().unwrap_or_default();
                let first_labels = labels.clone();
                self.pods.insert(
                    uid,
                    PodSeen { name, node, labels, first_labels, ready, from_the_start, gone: None, deleting, ended },
                );
            }
        }
    }

    fn node(&mut self, node: &Node, suspect: &str, now: OffsetDateTime) {
        if node.metadata.uid.as_deref() != Some(suspect) {
            self.gone.get_or_insert(now);
        } else if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
            self.cut_off.get_or_insert((now, "its cordon".into()));
        }
    }

    fn count(&mut self, selectors: &[String]) {
        for selector in selectors {
            let ready = self.pods.values().filter(|p| p.ready && p.gone.is_none() && fits(selector, &p.labels)).count();
            self.least.entry(selector.clone()).and_modify(|l| *l = ready.min(*l)).or_insert(ready);
        }
    }

    fn deleted(&mut self, pod: &Pod, suspect: &str, now: OffsetDateTime) {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if let Some(known) = self.pods.get_mut(uid) {
            known.gone = Some(now);
            known.ready = false;
        }
        if uid == suspect {
            self.gone.get_or_insert(now);
        }
    }

    fn judge(&mut self, suspect: &str, now: OffsetDateTime) {
        if self.cut_off.is_some() {
            return;
        }
        let Some(pod) = self.pods.get(suspect).filter(|p| p.gone.is_none()) else { return };
        let both = |direction: &str| {
            let mut selecting = self.policies.values().filter(|p| selects(p, direction, &pod.labels)).peekable();
            selecting.peek().is_some() && selecting.all(|p| silent(p, direction))
        };
        if both("Ingress") && both("Egress") {
            let names: Vec<String> = self
                .policies
                .values()
                .filter(|p| selects(p, "Ingress", &pod.labels) || selects(p, "Egress", &pod.labels))
                .filter_map(|p| p.metadata.name.clone())
                .collect();
            self.cut_off = Some((now, names.join(", ")));
        }
    }
}

/// Whether labels fit `app=web,tier=db`.
pub fn fits(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    let mut wanted = selector.split(',').filter_map(|term| term.split_once('='));
    wanted.all(|(k, v)| labels.get(k).map(String::as_str) == Some(v))
}

fn selects(policy: &NetworkPolicy, direction: &str, labels: &BTreeMap<String, String>) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let types = spec.policy_types.as_ref();
    let about = types.map_or(direction == "Ingress", |all| all.iter().any(|t| t == direction));
    let selector = serde_json::to_value(&spec.pod_selector).unwrap_or_default();
    let selector = if selector.is_null() { json!({}) } else { selector };
    about && crate::sim::selector::takes(&selector, labels)
}

/// Allows nothing in that direction.
fn silent(policy: &NetworkPolicy, direction: &str) -> bool {
    let spec = serde_json::to_value(&policy.spec).unwrap_or(Value::Null);
    let rules = if direction == "Ingress" { &spec["ingress"] } else { &spec["egress"] };
    rules.as_array().is_none_or(Vec::is_empty)
}
