//! `node.cordon`: no new pods on the node, and no autoscaler takes it away meanwhile.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::runtime::wait::await_condition;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Action, Done, Kind, NODE_LEASE, Rule, Scope, Spec, StepPlan, node};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Landed, Op, OpKind, OpStatus, Proof, Risk, Undo};

/// What keeps autoscalers from taking the node: the cluster autoscaler's FAQ, and Karpenter's documentation of disruption.
const PROTECTION: [(&str, &str); 2] =
    [("cluster-autoscaler.kubernetes.io/scale-down-disabled", "true"), ("karpenter.sh/do-not-disrupt", "true")];
/// How long the node lifecycle controller may take to bring its own taint in line after an undo.
const PATIENCE: Duration = Duration::from_secs(15);

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeCordon {
    /// The node's name.
    node: String,
    /// Whether autoscalers are told to leave the node, by an annotation each for the cluster autoscaler and Karpenter.
    /// Default: true.
    #[serde(default = "yes")]
    protect: bool,
}

fn yes() -> bool {
    true
}

impl Kind for NodeCordon {
    const SPEC: Spec = Spec {
        name: "node.cordon",
        summary: "Mark a node unschedulable, and tell autoscalers to leave it",
        description: "One patch with the node's UID: spec.unschedulable, and the annotations by which the cluster autoscaler and \
            Karpenter leave a node alone, so that the evidence on its disk is not scaled away. What is so already is said and \
            left. Pods that tolerate the cordon (those of DaemonSets) and pods that name the node themselves still start there.",
        risk: Risk::Medium,
        undo: "schedulable and annotations exactly as before; the taints are compared with those before",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "nodes",
                verbs: &["get", "list", "watch", "patch"],
                scope: Scope::Cluster,
                why: "marking it, and reading that back",
                optional: false,
            },
            NODE_LEASE,
        ],
        example: "id: cordon\ntitle: Let no new pods onto the node\nuses: node.cordon\nwith:\n  node: ${{ inputs.node }}\n",
        outputs: &[
            ("node", "name, uid, provider_id, control_plane, ready (True, False or Unknown)"),
            ("already_cordoned", "whether somebody had cordoned it before"),
        ],
    };
}

impl NodeCordon {
    /// The annotations that it lacks, null where they are so already.
    fn wanting(&self, found: &Value) -> Map<String, Value> {
        let all = PROTECTION.iter().filter(|_| self.protect);
        all.filter(|(key, value)| found["metadata"]["annotations"][*key] != *value)
            .map(|(key, value)| ((*key).to_string(), json!(value)))
            .collect()
    }
}

#[async_trait]
impl Action for NodeCordon {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let found = node::find(&cx.client, &self.node, None).await?;
        let object = node::object(&found);
        let cordoned = found["spec"]["unschedulable"] == true;
        let mut plan = StepPlan {
            outputs: json!({
                "node": {
                    "name": object.name, "uid": object.uid, "provider_id": found["spec"]["providerID"],
                    "control_plane": node::is_control_plane(&found), "ready": node::ready(&found),
                },
                "already_cordoned": cordoned,
            }),
            ..StepPlan::default()
        };
        if node::is_control_plane(&found) {
            plan.warnings
                .push(format!("{object} is of the control plane: what runs there may hold the cluster's own keys"));
        }
        match node::ready(&found) {
            "True" => {}
            "False" => plan.warnings.push(format!("{object} says that it is not ready")),
            _ => plan.warnings.push(format!(
                "{object} does not answer: its pods go on as they are, and pods that are asked to go stay Terminating"
            )),
        }
        let annotations = self.wanting(&found);
        if cordoned {
            plan.warnings.push(format!("{object} is cordoned already: undo will leave that"));
        }
        if cordoned && annotations.is_empty() {
            plan.ops.push(Op::observe(object.clone(), format!("see that {object} is cordoned, as it is already")));
            return Ok(plan);
        }
        let mut what = Vec::new();
        if !cordoned {
            what.push("mark it unschedulable");
        }
        if !annotations.is_empty() {
            what.push("tell autoscalers to leave it");
        }
        let undo = Undo::Automatic("schedulable and annotations as before".into());
        let text = format!("{object}: {}", what.join(", and "));
        let mut op = Op::change("patch", object.clone(), text, Risk::Medium, undo);
        let before: Map<String, Value> =
            annotations.keys().map(|k| (k.clone(), found["metadata"]["annotations"][k].clone())).collect();
        op.before = json!({"unschedulable": found["spec"]["unschedulable"], "annotations": before, "taints": node::taints(&found)});
        op.after = json!({"unschedulable": true, "annotations": annotations});
        let answer = node::patch(&cx.client, &object.name, &body(&op, &op.after), true).await.map(|_| ());
        plan.hear(cx, &format!("patch {object}"), answer)?;
        plan.ops.push(op);
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if op.kind == OpKind::Observe {
            let found = node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await?;
            return Ok(Done::told(shown(op, &found), json!({})));
        }
        let after = node::patch(&cx.client, &op.object.name, &body(op, &op.after), false).await?;
        Ok(done(op, &after))
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let found = node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await?;
        let annotations = op.after["annotations"].as_object().into_iter().flatten();
        let so = found["spec"]["unschedulable"] == true
            && annotations.into_iter().all(|(k, v)| found["metadata"]["annotations"][k] == *v);
        Ok(if so { (Landed::Yes, Some(done(op, &found))) } else { (Landed::No, None) })
    }

    async fn undo(&self, cx: &Cx, op: &Op, _done: &Value) -> Result<Done, Problem> {
        let name = &op.object.name;
        match node::find(&cx.client, name, op.object.uid.as_deref()).await {
            Ok(_) => {}
            Err(problem) if problem.fault == Fault::Refused => {
                let text = format!("{} is no more: there is nothing to give back", op.object);
                let proof = Some(Proof::Unproved(text.clone()));
                return Ok(Done { status: OpStatus::AlreadySo, detail: text, proof, observed: Value::Null });
            }
            Err(problem) => return Err(problem),
        }
        node::patch(&cx.client, name, &body(op, &op.before), false).await?;
        // The taint of the cordon is the node controller's: it goes a moment later.
        let wanted = op.before["taints"].clone();
        let same = |n: Option<&Node>| {
            n.and_then(|n| serde_json::to_value(n).ok()).is_some_and(|n| json!(node::taints(&n)) == wanted)
        };
        let api: Api<Node> = Api::all(cx.client.clone());
        let _ = tokio::time::timeout(PATIENCE, await_condition(api, name, same)).await;
        let found = node::find(&cx.client, name, op.object.uid.as_deref()).await?;
        let word = if op.before["unschedulable"] == true { "cordoned, as before" } else { "schedulable again" };
        let detail = format!("{} is {word}, its annotations are as before", op.object);
        let taints = json!(node::taints(&found));
        let proof = if taints == op.before["taints"] {
            Proof::Verified("read back, taints included".into())
        } else {
            Proof::Unproved(format!("its taints are not those of before: now {taints}, then {}", op.before["taints"]))
        };
        Ok(Done::applied(detail, proof, Value::Null))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> super::Conclusion {
        super::Conclusion::of(super::merged(plan_outputs, &[]), done)
    }
}

/// The patch towards `state`; its UID is the precondition. Null takes away what was not there.
fn body(op: &Op, state: &Value) -> Value {
    json!({
        "metadata": {"uid": op.object.uid, "annotations": state["annotations"]},
        "spec": {"unschedulable": state["unschedulable"]},
    })
}

fn shown(op: &Op, found: &Value) -> Proof {
    if found["spec"]["unschedulable"] == true {
        Proof::Verified(format!("{} is unschedulable: read back", op.object))
    } else {
        Proof::Refuted(format!("{} is schedulable: something took the cordon back", op.object))
    }
}

fn done(op: &Op, found: &Value) -> Done {
    Done::applied(format!("{} is cordoned", op.object), shown(op, found), json!({}))
}
