//! The out-of-service taint: the way to let go of the pods and volumes of a machine that is off
//! (<https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#non-graceful-node-shutdown>).

use std::time::Duration;

use serde_json::{Value, json};

use super::NodeDrain;
use crate::action::{Done, node};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Landed, Op, OpStatus, Proof};

const KEY: &str = "node.kubernetes.io/out-of-service";
/// The pod garbage collector looks every 20 s (kubernetes pkg/controller/podgc, gcCheckPeriod).
const PATIENCE: Duration = Duration::from_secs(90);

/// The taint.
pub(super) fn out_of_service() -> Value {
    json!({"key": KEY, "value": "nodeshutdown", "effect": "NoExecute"})
}

fn is_ours(taint: &Value) -> bool {
    taint["key"] == KEY && taint["effect"] == "NoExecute"
}

/// Whether a node has it.
pub(super) fn has(found: &Value) -> bool {
    found["spec"]["taints"].as_array().into_iter().flatten().any(is_ours)
}

impl NodeDrain {
    /// Puts the taint onto the node, beside those it has, and waits for its pods to go.
    pub(super) async fn taint(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let found = node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await?;
        if !has(&found) {
            let mut taints = found["spec"]["taints"].as_array().cloned().unwrap_or_default();
            taints.push(out_of_service());
            replace(cx, op, &found, &taints).await?;
        }
        self.tainted(cx, op).await
    }

    async fn tainted(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let sight = self.sight(cx).await?;
        let waited: Vec<String> =
            op.detail["pods"].as_array().into_iter().flatten().filter_map(|u| u.as_str().map(Into::into)).collect();
        let all = sight.until(PATIENCE, |pods| waited.iter().all(|uid| pods.gone(uid))).await;
        let observed = json!({"tainted": true});
        let text = format!("{} is out of service", op.object);
        Ok(if all {
            Done::applied(
                format!("{text}, and its pods are gone from the API"),
                Proof::Verified("read back, and their UIDs are gone; that they run no longer is the word of whoever said that the machine is off".into()),
                observed,
            )
        } else {
            let left = sight.look(|pods| waited.iter().filter(|uid| !pods.gone(uid)).count());
            let why = format!("{left} of its pods were there still after {} s", PATIENCE.as_secs());
            Done::applied(format!("{text}; {why}"), Proof::Unproved(why), observed)
        })
    }

    pub(super) async fn taint_landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let found = node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await?;
        Ok(if has(&found) { (Landed::Yes, Some(self.tainted(cx, op).await?)) } else { (Landed::No, None) })
    }

    /// Takes the taint off again, and no other.
    pub(super) async fn untaint(&self, cx: &Cx, op: &Op, _done: &Value) -> Result<Done, Problem> {
        let gone = |text: String| Done {
            status: OpStatus::AlreadySo,
            proof: Some(Proof::Unproved(text.clone())),
            detail: text,
            observed: Value::Null,
        };
        let found = match node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await {
            Ok(found) => found,
            Err(problem) if problem.fault == Fault::Refused => {
                return Ok(gone(format!("{} is no more: there is no taint to take back", op.object)));
            }
            Err(problem) => return Err(problem),
        };
        let left: Vec<Value> =
            found["spec"]["taints"].as_array().into_iter().flatten().filter(|t| !is_ours(t)).cloned().collect();
        let after = replace(cx, op, &found, &left).await?;
        let text = format!("{} is in service again", op.object);
        Ok(if has(&after) {
            Done::applied(text.clone(), Proof::Refuted(format!("{} has the taint still", op.object)), Value::Null)
        } else {
            Done::applied(
                text,
                Proof::Verified("read back: the taint is gone, the others are as they were".into()),
                Value::Null,
            )
        })
    }
}

/// The list of taints is written whole: its precondition is the node as it was read.
async fn replace(cx: &Cx, op: &Op, found: &Value, taints: &[Value]) -> Result<Value, Problem> {
    let taints = if taints.is_empty() { Value::Null } else { json!(taints) };
    let body = json!({
        "metadata": {"uid": op.object.uid, "resourceVersion": found["metadata"]["resourceVersion"]},
        "spec": {"taints": taints},
    });
    match node::patch(&cx.client, &op.object.name, &body, false).await {
        // Its kubelet was quicker: look again.
        Err(problem) if problem.fault == Fault::Conflict => Err(Problem::new(Fault::Transient, problem.message)),
        other => other,
    }
}
