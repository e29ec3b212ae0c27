//! `collector.remove`: quell's own pods of this incident go when nobody needs them any more.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::collector::node::{self, NAMESPACE, RULES};
use super::{Action, Done, Kind, Spec, StepPlan};
use crate::cluster::{Cx, Problem, target};
use crate::event::{Landed, ObjectRef, Op, OpKind, OpStatus, Proof, Risk, Undo};

/// How long the kubelet may take to end one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Parameters: none. What is removed is found by the incident's label.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CollectorRemove {}

impl Kind for CollectorRemove {
    const SPEC: Spec = Spec {
        name: "collector.remove",
        summary: "Delete quell's own pods of this incident",
        description: "Deletes, by UID, the collectors and probes that earlier steps started in quell's own namespace, and waits until \
            they are gone. Only pods that carry this incident's label are touched. What is not removed ends by itself. The \
            namespace and the image on the nodes stay; an ephemeral container can't be removed from a pod.",
        risk: Risk::Low,
        undo: "not needed",
        captures: false,
        rules: &[RULES[0]],
        example: "id: tidy\ntitle: Take quell's own pods away\nuses: collector.remove\n",
        outputs: &[("removed", "the pods that were deleted")],
    };
}

#[async_trait]
impl Action for CollectorRemove {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let found = match node::left(cx).await {
            Ok(found) => found,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                plan.warnings.push(format!("whether any of quell's own pods are left is not known: {problem}"));
                Vec::new()
            }
        };
        for pod in &found {
            let object = target::object(pod);
            let text = format!("delete quell's own {object}");
            plan.ops.push(Op::change("delete", object, text, Risk::Low, Undo::NotNeeded));
        }
        if found.is_empty() {
            let namespace = ObjectRef { kind: "Namespace".into(), name: NAMESPACE.into(), ..ObjectRef::default() };
            let text = "delete what is there of quell's own pods by then, by this incident's label";
            plan.ops.push(Op::observe(ObjectRef { api_version: "v1".into(), ..namespace }, text));
        }
        plan.outputs = json!({"removed": found.iter().map(ResourceExt::name_any).collect::<Vec<_>>()});
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if op.kind == OpKind::Observe {
            return Ok(Done::taken("none of quell's own pods is left", None, Value::Null));
        }
        let pods: Api<Pod> = Api::namespaced(cx.client.clone(), NAMESPACE);
        let uid = op.object.uid.clone().unwrap_or_default();
        let mut done = node::remove(cx, op, Some(uid.clone())).await?;
        let gone = await_condition(pods, &op.object.name, conditions::is_deleted(&uid));
        if !matches!(tokio::time::timeout(PATIENCE, gone).await, Ok(Ok(_))) {
            let text = format!("{} is asked to go, and was there after {} s", op.object, PATIENCE.as_secs());
            done.proof = Some(Proof::Unproved(text));
        } else if done.proof.is_some() {
            done.proof = Some(Proof::Verified("that UID is gone".into()));
        }
        Ok(done)
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let pods: Api<Pod> = Api::namespaced(cx.client.clone(), NAMESPACE);
        Ok(match pods.get_opt(&op.object.name).await? {
            Some(pod) if pod.uid() == op.object.uid => (Landed::No, None),
            _ => (Landed::Yes, Some(absent(op))),
        })
    }
}

fn absent(op: &Op) -> Done {
    Done {
        status: OpStatus::AlreadySo,
        detail: format!("{} is not there", op.object),
        proof: None,
        observed: Value::Null,
    }
}
