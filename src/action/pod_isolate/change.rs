//! The two writes: the policy, and the pod's move under it; what shows that each landed, and the way back.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use super::{INCIDENT, KEPT_ALIVE, QUARANTINE};
use crate::action::{Done, StepPlan};
use crate::cluster::{Cx, Fault, Problem, target};
use crate::event::{Landed, Op, OpStatus, Proof};

/// A ReplicaSet that takes the pod back has one too many: this makes it give up the replacement instead.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// How long a controller may take to let the pod go, or to take it back.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(20);

/// Carries out one of the two.
pub async fn apply(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let namespace = op.object.namespace.clone().unwrap_or_default();
    if op.verb == "create" {
        let api: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
        let made = api.create(&PostParams::default(), &policy_object(cx, op)?).await?;
        return Ok(policy_done(&made));
    }
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
    let patched = api.patch(&op.object.name, &PatchParams::default(), &Patch::Merge(label_patch(cx, op))).await?;
    settled(cx, op, &patched).await
}

/// Whether one of them took effect.
pub async fn landed(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    let namespace = op.object.namespace.clone().unwrap_or_default();
    match op.verb.as_str() {
        "create" => {
            let api: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
            match api.get_opt(&op.object.name).await? {
                Some(policy) if policy.labels().get(INCIDENT) == Some(&cx.incident) => {
                    Ok((Landed::Yes, Some(policy_done(&policy))))
                }
                Some(_) => Ok((Landed::Unknown, None)),
                None => Ok((Landed::No, None)),
            }
        }
        "patch" => {
            let pod = target::pod(&cx.client, &namespace, &op.object.name, op.object.uid.as_deref()).await?;
            if pod.labels().get(QUARANTINE) == Some(&cx.incident) {
                let done = settled(cx, op, &pod).await?;
                Ok((Landed::Yes, Some(done)))
            } else {
                Ok((Landed::No, None))
            }
        }
        _ => Ok((Landed::No, None)),
    }
}

/// Takes one of them back.
pub async fn undo(cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
    let namespace = op.object.namespace.clone().unwrap_or_default();
    if op.verb == "create" {
        let api: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
        let uid = done["uid"].as_str().map(str::to_string);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
            ..DeleteParams::default()
        };
        return match api.delete(&op.object.name, &params).await.map_err(Problem::from) {
            Ok(_) => Ok(Done::applied(
                format!("{} deleted", op.object),
                Proof::Verified("the API server deleted that UID".into()),
                Value::Null,
            )),
            Err(problem) if problem.fault == Fault::NotFound => Ok(already(format!("{} was gone already", op.object))),
            Err(problem) => Err(problem),
        };
    }
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
    match api.get_opt(&op.object.name).await? {
        Some(pod) if pod.uid() == op.object.uid => {}
        Some(_) => {
            return Ok(already(format!(
                "{} was replaced by another pod of that name: there is nothing to give back",
                op.object
            )));
        }
        None => return Ok(already(format!("{} is gone: its labels can't be given back", op.object))),
    }
    let mut labels: Map<String, Value> = op.detail["remove"].as_object().cloned().unwrap_or_default();
    labels.insert(QUARANTINE.into(), Value::Null);
    let mut annotations: Map<String, Value> =
        KEPT_ALIVE.iter().map(|(k, _)| ((*k).into(), op.before["annotations"][*k].clone())).collect();
    if op.detail["owner"]["kind"] == "ReplicaSet" {
        annotations.insert(DELETION_COST.into(), json!("2147483647"));
    }
    let metadata = json!({"uid": op.object.uid, "labels": labels, "annotations": annotations});
    api.patch(&op.object.name, &PatchParams::default(), &Patch::Merge(json!({ "metadata": metadata }))).await?;
    taken_back(op, &api).await
}

/// Asks the server whether it would take both writes; its no is a blocker.
pub async fn dry_run(cx: &Cx, create: &Op, patch: &Op, plan: &mut StepPlan) -> Result<(), Problem> {
    let namespace = create.object.namespace.clone().unwrap_or_default();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let policies: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
    let made = policies.create(&dry, &policy_object(cx, create)?).await.map(|_| ()).map_err(Problem::from);
    let pods: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let patched = pods
        .patch(&patch.object.name, &dry, &Patch::Merge(label_patch(cx, patch)))
        .await
        .map(|_| ())
        .map_err(Problem::from);
    for (op, answer) in [(create, made), (patch, patched)] {
        match answer {
            // Planned again on resume: the policy is there, and it is ours.
            Err(problem) if problem.fault == Fault::Conflict && op.verb == "create" => {}
            answer => plan.hear(cx, &format!("{} {}", op.verb, op.object), answer)?,
        }
    }
    Ok(())
}

fn policy_object(cx: &Cx, op: &Op) -> Result<NetworkPolicy, Problem> {
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": op.object.name,
            "labels": {"app.kubernetes.io/managed-by": "quell", INCIDENT: cx.incident},
        },
        "spec": op.after,
    }))
    .map_err(|e| Problem::internal(e.to_string()))
}

fn policy_done(policy: &NetworkPolicy) -> Done {
    Done::applied(
        format!("NetworkPolicy {} accepted", policy.name_any()),
        Proof::Verified("the API server has it".into()),
        json!({"uid": policy.uid(), "resourceVersion": policy.resource_version()}),
    )
}

/// The UID in the patch is the precondition: the API server answers 409 when it is another pod's.
fn label_patch(cx: &Cx, op: &Op) -> Value {
    let mut labels: Map<String, Value> =
        op.detail["remove"].as_object().into_iter().flatten().map(|(k, _)| (k.clone(), Value::Null)).collect();
    labels.insert(QUARANTINE.into(), json!(cx.incident));
    let annotations: Map<String, Value> = KEPT_ALIVE.iter().map(|(k, v)| ((*k).into(), json!(v))).collect();
    json!({"metadata": {"uid": op.object.uid, "labels": labels, "annotations": annotations}})
}

/// After the patch: what the pod's labels are, and whether its controller has let go.
async fn settled(cx: &Cx, op: &Op, patched: &Pod) -> Result<Done, Problem> {
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), op.object.namespace.as_deref().unwrap_or_default());
    let quarantined = patched.labels().get(QUARANTINE) == Some(&cx.incident);
    let mut detail = format!("{} is under the quarantine label", op.object);
    let owner = op.detail["owner"]["uid"].as_str().map(str::to_string);
    let mut released = Value::Null;
    if let Some(owner) = owner {
        let let_go = |pod: Option<&Pod>| pod.is_none_or(|p| !p.owner_references().iter().any(|o| o.uid == owner));
        let waited = tokio::time::timeout(
            CONTROLLER_PATIENCE,
            kube::runtime::wait::await_condition(api, &op.object.name, let_go),
        )
        .await;
        let who = format!(
            "{} {}",
            op.detail["owner"]["kind"].as_str().unwrap_or_default(),
            op.detail["owner"]["name"].as_str().unwrap_or_default()
        );
        released = json!(matches!(waited, Ok(Ok(_))));
        detail.push_str(&match waited {
            Ok(Ok(_)) => format!("; {who} has let it go"),
            _ => format!("; {who} had not let it go after {} s", CONTROLLER_PATIENCE.as_secs()),
        });
    }
    let proof = if quarantined {
        Proof::Verified("the label was read back".into())
    } else {
        Proof::Refuted("the pod does not carry the quarantine label after the patch".into())
    };
    Ok(Done::applied(detail, proof, json!({ "released": released })))
}

/// After undo: whether the controller has taken the pod back, or what can't be given back.
async fn taken_back(op: &Op, api: &Api<Pod>) -> Result<Done, Problem> {
    let Some(owner) = op.detail["owner"]["uid"].as_str().map(str::to_string) else {
        return Ok(Done::applied(
            format!("labels of {} are as they were", op.object),
            Proof::Verified("patched with its UID".into()),
            Value::Null,
        ));
    };
    let who = format!(
        "{} {}",
        op.detail["owner"]["kind"].as_str().unwrap_or_default(),
        op.detail["owner"]["name"].as_str().unwrap_or_default()
    );
    let adopted = |pod: Option<&Pod>| pod.is_none_or(|p| p.owner_references().iter().any(|o| o.uid == owner));
    let waited = tokio::time::timeout(
        CONTROLLER_PATIENCE,
        kube::runtime::wait::await_condition(api.clone(), &op.object.name, adopted),
    )
    .await;
    Ok(match waited {
        Ok(Ok(Some(_))) => Done::applied(
            format!("labels of {} are as they were, and {who} owns it again", op.object),
            Proof::Verified("the owner reference was read back".into()),
            json!({"adopted": true}),
        ),
        Ok(Ok(None)) => Done::applied(
            format!("labels were given back, then {who} removed the pod: it had a replacement too many"),
            Proof::Refuted("the pod is gone".into()),
            json!({"adopted": false}),
        ),
        _ => Done::applied(
            format!(
                "labels of {} are as they were, but {who} had not taken it back after {} s",
                op.object,
                CONTROLLER_PATIENCE.as_secs()
            ),
            Proof::Unproved(format!("ownership by {who} was not given back: it may have all the pods it wants")),
            json!({"adopted": false}),
        ),
    })
}

fn already(detail: String) -> Done {
    Done { status: OpStatus::AlreadySo, proof: Some(Proof::Unproved(detail.clone())), detail, observed: Value::Null }
}
