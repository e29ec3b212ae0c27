//! What is there now, by watches and not by asking again: the node's pods, and the disruption budgets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::cluster::{Fault, Problem};

/// How long the watches may take to know what is there.
const READY: Duration = Duration::from_secs(30);
/// A held pod is tried again after this even when the watch says nothing: a watch may go silent.
const SILENCE: Duration = Duration::from_secs(30);
/// As kubectl drain does, where budgets can't be watched.
const BLIND: Duration = Duration::from_secs(5);

/// One pod of the node.
#[derive(Debug, Clone)]
pub(super) struct There {
    pub namespace: String,
    pub name: String,
    pub deleting: bool,
}

/// The node's pods, by UID.
#[derive(Debug, Clone, Default)]
pub(super) struct Pods {
    known: bool,
    pub there: BTreeMap<String, There>,
    listing: BTreeSet<String>,
}

impl Pods {
    /// Whether that UID is no more.
    pub fn gone(&self, uid: &str) -> bool {
        self.known && !self.there.contains_key(uid)
    }

    fn take(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => self.listing.clear(),
            Event::InitApply(pod) => {
                self.listing.insert(pod.uid().unwrap_or_default());
                self.add(&pod);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listing);
                self.there.retain(|uid, _| listed.contains(uid));
                self.known = true;
            }
            Event::Apply(pod) => self.add(&pod),
            Event::Delete(pod) => {
                self.there.remove(&pod.uid().unwrap_or_default());
            }
        }
    }

    fn add(&mut self, pod: &Pod) {
        let there = There {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            deleting: pod.metadata.deletion_timestamp.is_some(),
        };
        self.there.insert(pod.uid().unwrap_or_default(), there);
    }
}

/// One budget.
#[derive(Debug, Clone, Default)]
struct Budget {
    allowed: i64,
    /// Pods that were let try since the last change.
    granted: i64,
}

/// The budgets, by `namespace/name`. None: they can't be watched.
type Budgets = Option<BTreeMap<String, Budget>>;

/// The watches. They end when it is dropped.
#[derive(Debug)]
pub(super) struct Sight {
    pods: watch::Sender<Pods>,
    budgets: watch::Sender<Budgets>,
    /// One queue a budget: first come, first served.
    queues: Mutex<BTreeMap<String, std::sync::Arc<Mutex<()>>>>,
    /// When the watches began.
    began: Instant,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Sight {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Sight {
    /// Begins to watch, and returns when what is there is known.
    ///
    /// # Errors
    /// [`Fault::Transient`] when the pods were not known in time. Budgets are done without.
    pub async fn open(client: &Client, node: &str) -> Result<Sight, Problem> {
        let pods = watch::Sender::new(Pods::default());
        let budgets = watch::Sender::new(None);
        let config = Config::default().fields(&format!("spec.nodeName={node}"));
        let mut on_node = watcher(Api::<Pod>::all(client.clone()), config).default_backoff().boxed();
        let mut rules =
            watcher(Api::<PodDisruptionBudget>::all(client.clone()), Config::default()).default_backoff().boxed();
        let (seen, known) = (pods.clone(), budgets.clone());
        let (first, failed) = tokio::sync::oneshot::channel();
        let tasks = vec![
            tokio::spawn(async move {
                let mut first = Some(first);
                while let Some(event) = on_node.next().await {
                    match event {
                        Ok(event) => seen.send_modify(|pods| pods.take(event)),
                        Err(error) => {
                            if let Some(first) = first.take() {
                                let _ = first.send(error.to_string());
                            }
                        }
                    }
                }
            }),
            tokio::spawn(async move {
                let mut listing = BTreeMap::new();
                while let Some(event) = rules.next().await {
                    let Ok(event) = event else { continue };
                    match event {
                        Event::Init => listing.clear(),
                        Event::InitApply(budget) => {
                            let (name, budget) = read(&budget);
                            listing.insert(name, budget);
                        }
                        Event::InitDone => {
                            let listed = std::mem::take(&mut listing);
                            known.send_modify(|all| *all = Some(listed));
                        }
                        Event::Apply(budget) => {
                            let (name, budget) = read(&budget);
                            known.send_modify(|all| {
                                if let Some(all) = all {
                                    all.insert(name, budget);
                                }
                            });
                        }
                        Event::Delete(budget) => known.send_modify(|all| {
                            if let Some(all) = all {
                                all.remove(&read(&budget).0);
                            }
                        }),
                    }
                }
            }),
        ];
        let sight = Sight { pods, budgets, queues: Mutex::default(), began: Instant::now(), tasks };
        let mut pods = sight.pods.subscribe();
        let ready = async {
            tokio::select! {
                known = pods.wait_for(|p| p.known) => known.map(|_| ()).map_err(|e| e.to_string()),
                Ok(error) = failed => Err(error),
            }
        };
        let why = match tokio::time::timeout(READY, ready).await {
            Ok(Ok(())) => {
                // A moment more for the budgets: without them the API server's refusals tell.
                let mut budgets = sight.budgets.subscribe();
                let _ = tokio::time::timeout(Duration::from_secs(5), budgets.wait_for(Option::is_some)).await;
                return Ok(sight);
            }
            Ok(Err(error)) => error,
            Err(_) => format!("not known after {} s", READY.as_secs()),
        };
        Err(Problem::new(Fault::Transient, format!("the pods on Node {node} can't be watched: {why}")))
    }

    /// Since the watches began.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The pods as they are now.
    pub fn pods(&self) -> Pods {
        self.pods.borrow().clone()
    }

    /// Looks at the pods without copying them.
    pub fn look<T>(&self, at: impl FnOnce(&Pods) -> T) -> T {
        at(&self.pods.borrow())
    }

    /// Until it is so with the pods, or the time is over. Whether it is so.
    pub async fn until(&self, within: Duration, so: impl FnMut(&Pods) -> bool) -> bool {
        let mut pods = self.pods.subscribe();
        matches!(tokio::time::timeout(within, pods.wait_for(so)).await, Ok(Ok(_)))
    }

    /// Waits for a pod's turn under its budget: the budget allows one more, or has changed and there is none any more; the
    /// pod is gone; `at_most` is over; or nothing was heard for so long that it is asked again.
    pub async fn turn(&self, uid: &str, budget: &str, at_most: Duration) {
        let queue = {
            let mut queues = self.queues.lock().await;
            queues.entry(budget.to_string()).or_default().clone()
        };
        let mut pods = self.pods.subscribe();
        let went = pods.wait_for(|p| p.known && p.there.get(uid).is_none_or(|t| t.deleting));
        let turn = async {
            let _first = queue.lock().await;
            let mut budgets = self.budgets.subscribe();
            if budgets.borrow().is_none() {
                return tokio::time::sleep(BLIND).await;
            }
            let free = |all: &Budgets| {
                let budget = all.as_ref().map(|all| all.get(budget));
                budget.is_none_or(|b| b.is_none_or(|b| b.allowed > b.granted))
            };
            let _ = tokio::time::timeout(SILENCE, budgets.wait_for(free)).await;
            self.budgets.send_if_modified(|all| {
                if let Some(budget) = all.as_mut().and_then(|all| all.get_mut(budget)) {
                    budget.granted += 1;
                }
                false
            });
        };
        tokio::select! {
            () = turn => {}
            _ = went => {}
            () = tokio::time::sleep(at_most) => {}
        }
    }
}

fn read(budget: &PodDisruptionBudget) -> (String, Budget) {
    let status = budget.status.clone().unwrap_or_default();
    let name = format!("{}/{}", budget.namespace().unwrap_or_default(), budget.name_any());
    (name, Budget { allowed: i64::from(status.disruptions_allowed), granted: 0 })
}
