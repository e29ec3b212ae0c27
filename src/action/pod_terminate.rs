//! `pod.terminate`: delete one pod by its UID and see it gone.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::{conditions, wait::await_condition};
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Done, Kind, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Fault, Problem, raw, target};
use crate::event::{Landed, ObjectRef, Op, Proof, Risk, Undo};

/// Beyond the grace period, how long the kubelet may take to confirm.
const PATIENCE: Duration = Duration::from_secs(60);

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodTerminate {
    /// The pod's name.
    pod: String,
    /// Its namespace; the namespace in force when absent.
    namespace: Option<String>,
    /// Its UID: only this one is deleted.
    uid: String,
    /// Seconds between SIGTERM and SIGKILL, at least 1; the pod's own when absent. Never 0: that removes the object
    /// without the kubelet's word that the processes ended.
    #[schemars(range(min = 1))]
    grace_seconds: Option<u32>,
    /// The output of pod.record: tells which owner may have replaced it.
    record: Option<Value>,
}

impl Kind for PodTerminate {
    const SPEC: Spec = Spec {
        name: "pod.terminate",
        summary: "Delete a pod by its UID, wait until that UID is gone, and say what replaced it",
        description: "Deletes with the UID as precondition, so that a pod of the same name that came meanwhile is never hit, and \
            with a grace period of at least one second, so that the kubelet confirms the end of its processes. Everything in its \
            memory and writable layer is lost: let it need a verified capture.",
        risk: Risk::Destructive,
        undo: "can't be taken back: memory and writable layer are gone",
        captures: false,
        rules: &[Rule {
            group: "",
            resource: "pods",
            verbs: &["get", "list", "watch", "delete"],
            scope: Scope::Target,
            why: "deleting it and seeing it gone",
            optional: false,
        }],
        example: "id: terminate\ntitle: Delete the pod\nuses: pod.terminate\nneeds: [capture]\nwith:\n  pod: ${{ steps.record.outputs.pod.name }}\n  uid: ${{ steps.record.outputs.pod.uid }}\n",
        outputs: &[
            ("deleted_at", "when the pod was seen gone, RFC 3339; null when it was not"),
            ("replaced_by", "pods of the same owner that were created since"),
        ],
    };
}

impl PodTerminate {
    fn params(&self, uid: &str, dry_run: bool) -> DeleteParams {
        DeleteParams {
            dry_run,
            grace_period_seconds: self.grace_seconds.map(|s| s.max(1)),
            preconditions: Some(Preconditions { uid: Some(uid.into()), ..Preconditions::default() }),
            ..DeleteParams::default()
        }
    }

    async fn gone(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let api = api(cx, &op.object);
        let uid = op.object.uid.clone().unwrap_or_default();
        let grace = op.detail["grace"].as_u64().unwrap_or(30);
        let deadline = Duration::from_secs(grace) + PATIENCE;
        let waited =
            tokio::time::timeout(deadline, await_condition(api.clone(), &op.object.name, conditions::is_deleted(&uid)))
                .await;
        let replaced = self.replacements(cx, op).await?;
        let by = if replaced.is_empty() {
            "nothing has replaced it".to_string()
        } else {
            format!("replaced by {}", replaced.join(", "))
        };
        match waited {
            Ok(Ok(_)) => Ok(Done::applied(
                format!("{} is gone; {by}", op.object),
                Proof::Verified("that UID was seen gone".into()),
                json!({"deleted_at": crate::clock::rfc3339(cx.clock.now()), "replaced_by": replaced}),
            )),
            Ok(Err(error)) => Err(Problem::new(
                Fault::Transient,
                format!("lost sight of {} while waiting for its end: {error}", op.object),
            )),
            Err(_) => {
                // A watch may go silent: what counts is what is there.
                let left = api.get_opt(&op.object.name).await?.filter(|p| p.uid().as_deref() == Some(uid.as_str()));
                let Some(left) = left else {
                    return Ok(Done::applied(
                        format!("{} is gone; {by}", op.object),
                        Proof::Verified("that UID is no more; its end itself was not seen".into()),
                        json!({"deleted_at": crate::clock::rfc3339(cx.clock.now()), "replaced_by": replaced}),
                    ));
                };
                let finalizers = left.finalizers().join(", ");
                let why = if finalizers.is_empty() {
                    "its node may not answer".to_string()
                } else {
                    format!("finalizers hold it: {finalizers}")
                };
                Ok(Done::applied(
                    format!("{} was told to end but is still there after {} s: {why}", op.object, deadline.as_secs()),
                    Proof::Unproved(format!("still terminating: {why}; its tokens stay valid until it is gone")),
                    json!({"deleted_at": null, "replaced_by": replaced}),
                ))
            }
        }
    }

    async fn replacements(&self, cx: &Cx, op: &Op) -> Result<Vec<String>, Problem> {
        let Some(owner) = op.detail["owner"].as_str() else { return Ok(Vec::new()) };
        let namespace = op.object.namespace.as_deref().unwrap_or_default();
        let (pods, _) = raw::list(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods")).await?;
        let known: Vec<&str> =
            op.detail["siblings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        Ok(pods
            .iter()
            .filter(|p| p["metadata"]["ownerReferences"].as_array().into_iter().flatten().any(|o| o["uid"] == owner))
            .filter(|p| p["metadata"]["uid"].as_str() != op.object.uid.as_deref())
            .filter(|p| !p["metadata"]["uid"].as_str().is_some_and(|uid| known.contains(&uid)))
            .filter_map(|p| p["metadata"]["name"].as_str().map(str::to_string))
            .collect())
    }
}

#[async_trait]
impl Action for PodTerminate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let namespace = self.namespace.as_deref().unwrap_or(&cx.namespace);
        let pod = target::pod(&cx.client, namespace, &self.pod, Some(&self.uid)).await?;
        let object = target::object(&pod);
        let grace = self
            .grace_seconds
            .map(i64::from)
            .or(pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds))
            .unwrap_or(30)
            .max(1);
        let mut op = Op::change(
            "delete",
            object.clone(),
            format!("delete {object} (UID {}), {grace} s of grace", self.uid),
            Risk::Destructive,
            Undo::Impossible("the pod's memory and writable layer are gone".into()),
        );
        let record = self.record.clone().unwrap_or_default();
        let siblings: Vec<&Value> = record["siblings"].as_array().into_iter().flatten().map(|s| &s["uid"]).collect();
        op.detail = json!({"grace": grace, "owner": record["owner"]["uid"], "siblings": siblings});
        op.before = json!({"phase": pod.status.as_ref().and_then(|s| s.phase.clone()), "node": pod.spec.as_ref().and_then(|s| s.node_name.clone())});
        let mut plan = StepPlan { outputs: json!({"deleted_at": null, "replaced_by": []}), ..StepPlan::default() };
        let held = pod.finalizers();
        if !held.is_empty() {
            plan.warnings.push(format!("finalizers may hold the pod back: {}", held.join(", ")));
        }
        let answer = api(cx, &object).delete(&object.name, &self.params(&self.uid, true)).await;
        plan.hear(cx, &format!("delete {object}"), answer.map(|_| ()).map_err(Problem::from))?;
        plan.ops = vec![op];
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match api(cx, &op.object).delete(&op.object.name, &self.params(&self.uid, false)).await.map_err(Problem::from) {
            Ok(_) => self.gone(cx, op).await,
            Err(problem) if problem.fault == Fault::NotFound => self.gone(cx, op).await,
            Err(problem) => Err(problem),
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        match api(cx, &op.object).get_opt(&op.object.name).await? {
            Some(pod) if pod.uid() == op.object.uid && pod.metadata.deletion_timestamp.is_none() => {
                Ok((Landed::No, None))
            }
            _ => Ok((Landed::Yes, Some(self.gone(cx, op).await?))),
        }
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> super::Conclusion {
        let outputs = done.last().map_or_else(|| plan_outputs.clone(), |(_, d)| d.observed.clone());
        super::Conclusion::of(outputs, done)
    }
}

fn api(cx: &Cx, object: &ObjectRef) -> Api<Pod> {
    Api::namespaced(cx.client.clone(), object.namespace.as_deref().unwrap_or_default())
}
