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
use super::pod_isolate::INCIDENT;
use super::{Action, Done, Kind, Spec, StepPlan};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof, Risk, Undo};

/// How long the kubelet may take to end one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CollectorRemove {
    /// Their names, as `pod.isolate` and `pod.capture` gave them.
    #[serde(default)]
    collectors: Vec<String>,
}

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
        example: "id: tidy\ntitle: Take quell's own pods away\nuses: collector.remove\nwith:\n  collectors: ${{ steps.isolate.outputs.collectors }}\n",
        outputs: &[("removed", "the pods that were deleted")],
    };
}

#[async_trait]
impl Action for CollectorRemove {
    async fn plan(&self, _: &Cx) -> Result<StepPlan, Problem> {
        let ops = self.collectors.iter().map(|name| {
            let object = ObjectRef {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: Some(NAMESPACE.into()),
                name: name.clone(),
                uid: None,
            };
            Op::change("delete", object.clone(), format!("delete quell's own {object}"), Risk::Low, Undo::NotNeeded)
        });
        Ok(StepPlan { ops: ops.collect(), outputs: json!({"removed": self.collectors}), ..StepPlan::default() })
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let pods: Api<Pod> = Api::namespaced(cx.client.clone(), NAMESPACE);
        let pod = match pods.get_opt(&op.object.name).await.map_err(Problem::from) {
            Ok(Some(pod)) => pod,
            Ok(None) => return Ok(absent(op)),
            // Where the collector could not be started, its namespace may not be read either.
            Err(problem) if problem.fault == Fault::Refused => {
                return Ok(Done::told(Proof::Unproved(format!("{}: {problem}", op.object)), Value::Null));
            }
            Err(problem) => return Err(problem),
        };
        if pod.labels().get(INCIDENT) != Some(&cx.incident) {
            return Ok(Done::told(
                Proof::Unproved(format!("{} is not this incident's: left alone", op.object)),
                Value::Null,
            ));
        }
        let uid = pod.uid().unwrap_or_default();
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
            None => (Landed::Yes, Some(absent(op))),
            Some(_) => (Landed::No, None),
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
