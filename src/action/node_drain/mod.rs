//! `node.drain`: every pod that can leave the node leaves it, by the Eviction API and within its budget, and is seen gone.

mod aftermath;
mod budget;
mod capacity;
mod evict;
mod filter;
mod plan;
mod sight;
mod taint;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};

use super::node::cluster;
use super::{Action, Conclusion, Done, Kind, NODE_LEASE, Spec, StepPlan};
use crate::cluster::{Cx, Problem};
use crate::event::{Landed, Op, OpStatus, Risk, StepStatus};
use sight::Sight;

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeDrain {
    /// The node's name.
    node: String,
    /// Its UID: only this one is drained.
    uid: Option<String>,
    /// Pods that stay, by label selector: the suspects, whose memory and disk are evidence.
    #[serde(default)]
    spare: String,
    /// Whether pods of DaemonSets may stay, as kubectl's flag: nothing is drained while there are any without it.
    #[serde(default)]
    ignore_daemonsets: bool,
    /// Whether pods may go that keep data in an emptyDir, as kubectl's flag: the data goes with them.
    #[serde(default)]
    delete_emptydir_data: bool,
    /// Whether pods may go that nothing makes again, as kubectl's flag.
    #[serde(default)]
    force: bool,
    /// Seconds between SIGTERM and SIGKILL; each pod's own when absent.
    #[schemars(range(min = 1))]
    grace_seconds: Option<u32>,
    /// Seconds for which pods wait for their budget, before `on-deadline` decides. Default: 300.
    #[serde(default = "five_minutes")]
    deadline: u64,
    /// What becomes of pods that their budget did not let go by then: `skip` leaves them, `wait` waits on, and `delete`
    /// deletes them past the budget, which needs `--override disruption-budget --reason TEXT`. Default: `skip`.
    #[serde(default)]
    on_deadline: OnDeadline,
    /// Evictions that are asked for at the same time. Default: 50.
    #[serde(default = "fifty")]
    #[schemars(range(min = 1, max = 500))]
    in_flight: usize,
    /// The machine of a node that does not answer is known to be off: it gets the taint
    /// `node.kubernetes.io/out-of-service`, so that its pods are removed without its word and their volumes are let go.
    #[serde(default)]
    out_of_service: bool,
    /// Seconds for which pods that came up elsewhere are watched until they are ready. Default: 60.
    #[serde(default = "minute")]
    settle: u64,
    /// Seconds beyond its grace period in which a pod's end must be seen. Default: 60.
    #[serde(default = "minute")]
    patience: u64,
    /// Whether the plan counts what room the other nodes have; reads all pods of the cluster. Default: true.
    #[serde(default = "yes")]
    capacity: bool,
    #[serde(skip)]
    sight: OnceCell<Sight>,
    #[serde(skip)]
    permits: std::sync::OnceLock<Semaphore>,
    #[serde(skip)]
    holders: budget::Holders,
    /// By operation: the budget that held it back, and the seconds that the server asked for.
    #[serde(skip)]
    held: Mutex<BTreeMap<String, (String, u64)>>,
}

/// What becomes of pods that a budget does not let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum OnDeadline {
    /// They are left where they are.
    #[default]
    Skip,
    /// They are waited for on.
    Wait,
    /// They are deleted past their budget.
    Delete,
}

fn five_minutes() -> u64 {
    300
}

fn fifty() -> usize {
    50
}

fn minute() -> u64 {
    60
}

fn yes() -> bool {
    true
}

impl Kind for NodeDrain {
    const SPEC: Spec = Spec {
        name: "node.drain",
        summary: "Evict every pod that can leave a node, within its disruption budget, and see each gone by its UID",
        description: "Decides about each pod as kubectl drain does, and lists each that stays with the reason and each that stands \
            in the way with the parameter it asks for; nothing is evicted while one does. Then all evictions are asked for at \
            once, each with its UID. A pod that its budget holds back is shown with the budget's name and who holds that up, and \
            is tried again when the budget changes, not on a beat; at the deadline `on-deadline` decides. Gone means that the UID \
            is gone. In the end it tells what is left on the node and where each pod came up again. The node stays cordoned \
            whatever happens. Pods of a node that does not answer stay Terminating until `out-of-service` says that the machine \
            is off.",
        risk: Risk::Destructive,
        undo: "the out-of-service taint is taken back; pods are not: their controllers made others, and what was in memory and \
            emptyDir is gone",
        captures: false,
        rules: &[
            cluster("", "pods", &["get", "list", "watch"], "the node's pods, and where they come up again", false),
            cluster("", "pods/eviction", &["create"], "asking them to go", false),
            cluster("", "pods", &["delete"], "past a budget, with `on-deadline: delete` alone", true),
            cluster("", "nodes", &["get", "list", "patch"], "the node, and the room on others", false),
            cluster("apps", "daemonsets", &["get"], "whether the DaemonSet of a pod is there", true),
            cluster(
                "policy",
                "poddisruptionbudgets",
                &["get", "list", "watch"],
                "who holds pods back, and until when",
                true,
            ),
            NODE_LEASE,
        ],
        example: "id: drain\ntitle: Let everything leave the node but the suspects\nuses: node.drain\nneeds: [inventory]\nwith:\n  node: ${{ steps.cordon.outputs.node.name }}\n  uid: ${{ steps.cordon.outputs.node.uid }}\n  spare: quell.dev/quarantine\n  ignore-daemonsets: true\n",
        outputs: &[
            ("evicted", "number of pods that were seen gone"),
            ("left_out", "pods that their budget did not let go, as namespace/name"),
            ("ending", "pods that were told to go and are still there"),
            ("stayed", "pods that stay on the node, each with the reason"),
            ("came_up", "where pods came up again: pod, replaced_by, node, ready"),
            ("report", "path of the artifact with all of it"),
        ],
    };
}

impl NodeDrain {
    /// The watches, begun with the first operation that needs them.
    async fn sight(&self, cx: &Cx) -> Result<&Sight, Problem> {
        self.sight.get_or_try_init(|| Sight::open(&cx.client, &self.node)).await
    }

    fn in_flight(&self) -> &Semaphore {
        self.permits.get_or_init(|| Semaphore::new(self.in_flight.max(1)))
    }

    fn is_late(&self, sight: &Sight) -> bool {
        sight.age() >= Duration::from_secs(self.deadline)
    }

    fn hold(&self, op: &str, budget: &str, retry_after: u32) {
        if let Ok(mut held) = self.held.lock() {
            held.insert(op.into(), (budget.into(), retry_after.into()));
        }
    }

    fn was_held(&self, op: &str) -> bool {
        self.held.lock().is_ok_and(|held| held.contains_key(op))
    }
}

#[async_trait]
impl Action for NodeDrain {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        self.draft(cx).await
    }

    async fn begin(&self, cx: &Cx, _ops: &[Op]) -> Result<(), Problem> {
        self.sight(cx).await.map(|_| ())
    }

    async fn until(&self, cx: &Cx, op: &Op) -> Result<(), Problem> {
        let sight = self.sight(cx).await?;
        let (budget, after) =
            self.held.lock().ok().and_then(|held| held.get(&op.id).cloned()).unwrap_or_else(|| (String::new(), 5));
        let left = Duration::from_secs(self.deadline).saturating_sub(sight.age());
        // Past the deadline only `wait` comes here.
        let left = if left.is_zero() { Duration::MAX } else { left };
        if budget.is_empty() || after > 0 {
            // The server said when, or nothing can be watched for.
            let uid = op.object.uid.clone().unwrap_or_default();
            let wait = Duration::from_secs(after.max(1)).min(left);
            sight.until(wait, |pods| pods.gone(&uid)).await;
        } else {
            sight.turn(op.object.uid.as_deref().unwrap_or_default(), &budget, left).await;
        }
        Ok(())
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match op.verb.as_str() {
            "evict" | "await" => self.evict(cx, op).await,
            "patch" => self.taint(cx, op).await,
            _ => self.aftermath(cx, op).await,
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        match op.verb.as_str() {
            "evict" | "await" => {
                let sight = self.sight(cx).await?;
                let uid = op.object.uid.as_deref().unwrap_or_default();
                match sight.look(|pods| pods.there.get(uid).map(|t| t.deleting)) {
                    None => Ok((Landed::Yes, Some(self.over(op, "is gone")))),
                    Some(true) => Ok((Landed::Yes, Some(self.gone(cx, op, sight).await?))),
                    Some(false) => Ok((Landed::No, None)),
                }
            }
            "patch" => self.taint_landed(cx, op).await,
            _ => Ok((Landed::No, None)),
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        self.untaint(cx, op, done).await
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let end = done.last().map(|(_, d)| d.observed.clone()).unwrap_or_default();
        let outputs = super::merged(plan_outputs, done.last().map(std::slice::from_ref).unwrap_or_default());
        let mut conclusion = Conclusion::of(outputs, done);
        // The look at the end counts what one operation could not show: the pods of a node that does not answer are gone once
        // it is tainted, and those that are not are named there.
        let open: Vec<(Op, Done)> =
            done.iter().filter(|(op, d)| op.part_of.is_none() || d.status == OpStatus::LeftOut).cloned().collect();
        let judged = Conclusion::of(Value::Null, &open);
        conclusion.status = judged.status;
        conclusion.summary = match judged.status {
            StepStatus::Verified => end["summary"].as_str().unwrap_or_default().to_string(),
            _ => format!("{}: {}", end["summary"].as_str().unwrap_or_default(), judged.summary),
        };
        conclusion
    }
}
