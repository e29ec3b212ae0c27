//! What the cluster keeps of a node: its pending certificate requests, its object, its lease.

use std::time::Duration;

use http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::{conditions, wait::await_condition};
use serde_json::{Value, json};

use super::{NodeTerminate, SIGNERS, destroy, own};
use crate::action::{Done, StepPlan, node};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof, Risk, Undo};

/// How long a Node with finalizers may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LEASES: &str = "kube-node-lease";

impl NodeTerminate {
    pub(super) async fn plan_forgetting(
        &self,
        cx: &Cx,
        target: &ObjectRef,
        ops: &mut Vec<Op>,
        plan: &mut StepPlan,
    ) -> Result<(), Problem> {
        match own::requests(cx, &self.node).await {
            Ok(all) => {
                let ours = |r: &&Value| SIGNERS.iter().any(|s| r["spec"]["signerName"] == *s);
                for request in all.iter().filter(|r| own::is_pending(r)).filter(ours) {
                    let object = ObjectRef {
                        api_version: "certificates.k8s.io/v1".into(),
                        kind: "CertificateSigningRequest".into(),
                        namespace: None,
                        name: request["metadata"]["name"].as_str().unwrap_or_default().into(),
                        uid: request["metadata"]["uid"].as_str().map(Into::into),
                    };
                    let text = format!(
                        "deny {object}, by {} for {}",
                        request["spec"]["username"].as_str().unwrap_or_default(),
                        request["spec"]["signerName"].as_str().unwrap_or_default()
                    );
                    let why = "a denied request stays denied; whoever needs the certificate asks anew";
                    let op = Op::change("deny", object, text, Risk::Medium, Undo::Impossible(why.into()));
                    plan.hear(cx, &op.summary, send(cx, &op, request, true).await.map(|_| ()))?;
                    ops.push(op);
                }
            }
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => plan.warnings.push(format!("its pending certificate requests are not denied: {problem}")),
        }
        let text = format!("delete {target} (UID {})", self.uid);
        let why = "the object is in the evidence; a machine that lives makes it anew when its kubelet starts";
        ops.push(destroy("delete", target.clone(), text, why));
        let nodes: Api<Node> = Api::all(cx.client.clone());
        let answer = nodes.delete(&target.name, &by_uid(target, true)).await;
        plan.hear(cx, &format!("delete {target}"), answer.map(|_| ()).map_err(Problem::from))?;
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{LEASES}/leases/{}", self.node);
        match raw::get(&cx.client, &path).await {
            Ok(lease) => {
                let object = ObjectRef {
                    api_version: "coordination.k8s.io/v1".into(),
                    kind: "Lease".into(),
                    namespace: Some(LEASES.into()),
                    name: self.node.clone(),
                    uid: lease["metadata"]["uid"].as_str().map(Into::into),
                };
                let text = format!("delete its {object}, if it is still there");
                let mut op = Op::change("delete", object, text, Risk::Low, Undo::NotNeeded);
                op.part_of = Some(target.clone());
                ops.push(op);
            }
            Err(problem) if problem.fault == Fault::NotFound => {}
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => plan.warnings.push(format!("its lease is left to the garbage collector: {problem}")),
        }
        Ok(())
    }

    pub(super) async fn forget_node(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let nodes: Api<Node> = Api::all(cx.client.clone());
        match nodes.delete(&op.object.name, &by_uid(&op.object, false)).await.map_err(Problem::from) {
            Ok(_) => {}
            // Its Machine's controller was quicker.
            Err(problem) if problem.fault == Fault::NotFound => {}
            Err(problem) => return Err(problem),
        }
        self.node_gone(cx, op).await
    }

    /// The UID is gone; then whether the machine registers anew.
    pub(super) async fn node_gone(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let uid = op.object.uid.clone().unwrap_or_default();
        let nodes: Api<Node> = Api::all(cx.client.clone());
        let gone = await_condition(nodes.clone(), &op.object.name, conditions::is_deleted(&uid));
        if !matches!(tokio::time::timeout(PATIENCE, gone).await, Ok(Ok(_))) {
            let found = node::find(&cx.client, &op.object.name, Some(&uid)).await;
            if let Ok(found) = found {
                let held: Vec<&str> = found["metadata"]["finalizers"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                let why = format!("{} is being deleted; finalizers hold it: {}", op.object, held.join(", "));
                return Ok(Done::applied(why.clone(), Proof::Unproved(why), json!({})));
            }
        }
        let there = |n: Option<&Node>| n.is_some();
        let again = await_condition(nodes, &op.object.name, there);
        let back = tokio::time::timeout(Duration::from_secs(self.watch), again).await;
        Ok(match back {
            Ok(Ok(Some(found))) => {
                let why = format!(
                    "{} is gone, and a node of that name registered anew (UID {}): its machine lives and has its key",
                    op.object,
                    found.metadata.uid.unwrap_or_default()
                );
                Done::applied(why.clone(), Proof::Refuted(why), json!({"registered_again": true}))
            }
            _ => Done::applied(
                format!("{} is gone; nothing registered by that name in {} s", op.object, self.watch),
                Proof::Verified("that UID is gone".into()),
                json!({"registered_again": false}),
            ),
        })
    }
}

fn by_uid(object: &ObjectRef, dry_run: bool) -> DeleteParams {
    DeleteParams {
        dry_run,
        preconditions: Some(Preconditions { uid: object.uid.clone(), ..Preconditions::default() }),
        ..DeleteParams::default()
    }
}

/// Denies a request: one write to its approval. The UID and version in the body are the precondition.
pub(super) async fn deny(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{}", op.object.name);
    let request = match raw::get(&cx.client, &path).await {
        Ok(request) if request["metadata"]["uid"].as_str() == op.object.uid.as_deref() => request,
        Ok(_) => return Ok(already(op, "was replaced by another of that name")),
        Err(problem) if problem.fault == Fault::NotFound => return Ok(already(op, "is gone")),
        Err(problem) => return Err(problem),
    };
    if !own::is_pending(&request) {
        let denied = is_denied(&request);
        let word =
            if denied { "is denied already" } else { "was approved meanwhile: its certificate can't be revoked" };
        let mut done = already(op, word);
        if !denied {
            done.proof = Some(Proof::Refuted(done.detail.clone()));
        }
        return Ok(done);
    }
    match send(cx, op, &request, false).await {
        Ok(after) => Ok(deny_done(op, &after)),
        // Somebody decided meanwhile: look again.
        Err(problem) if problem.fault == Fault::Conflict => Err(Problem::new(Fault::Transient, problem.message)),
        Err(problem) => Err(problem),
    }
}

async fn send(cx: &Cx, op: &Op, request: &Value, dry_run: bool) -> Result<Value, Problem> {
    let mut body = request.clone();
    let now = crate::clock::rfc3339(cx.clock.now());
    let condition = json!({"type": "Denied", "status": "True", "reason": "NodeCompromised", "lastUpdateTime": now,
        "message": format!("denied by quell, incident {}", cx.incident)});
    match body["status"]["conditions"].as_array_mut() {
        Some(all) => all.push(condition),
        None => body["status"]["conditions"] = json!([condition]),
    }
    let dry = if dry_run { "?dryRun=All" } else { "" };
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{}/approval{dry}", op.object.name);
    let request = Request::put(&path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|e| Problem::internal(format!("{path}: {e}")))?;
    Ok(cx.client.request::<Value>(request).await?)
}

fn is_denied(request: &Value) -> bool {
    request["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Denied")
}

fn deny_done(op: &Op, after: &Value) -> Done {
    let proof = if is_denied(after) {
        Proof::Verified("read back: denied".into())
    } else {
        Proof::Refuted(format!("{} is not denied after the change", op.object))
    };
    Done::applied(format!("{} is denied", op.object), proof, json!({}))
}

pub(super) async fn denied(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    let path = format!("/apis/certificates.k8s.io/v1/certificatesigningrequests/{}", op.object.name);
    match raw::get(&cx.client, &path).await {
        Ok(request) if is_denied(&request) => Ok((Landed::Yes, Some(deny_done(op, &request)))),
        Ok(_) => Ok((Landed::No, None)),
        Err(problem) if problem.fault == Fault::NotFound => Ok((Landed::Yes, Some(already(op, "is gone")))),
        Err(problem) => Err(problem),
    }
}

/// The lease belongs to the Node: the garbage collector may have been quicker.
pub(super) async fn lease(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let api: Api<Lease> = Api::namespaced(cx.client.clone(), LEASES);
    match api.delete(&op.object.name, &by_uid(&op.object, false)).await.map_err(Problem::from) {
        Ok(_) => Ok(Done::applied(
            format!("{} is deleted", op.object),
            Proof::Verified("the API server deleted that UID".into()),
            json!({}),
        )),
        Err(problem) if problem.fault == Fault::NotFound => Ok(already(op, "is gone, with its Node")),
        Err(problem) if problem.fault == Fault::Conflict => {
            let mut done = already(op, "was made anew by a kubelet that lives");
            done.proof = Some(Proof::Refuted(done.detail.clone()));
            Ok(done)
        }
        Err(problem) => Err(problem),
    }
}

pub(super) async fn lease_landed(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    let api: Api<Lease> = Api::namespaced(cx.client.clone(), LEASES);
    Ok(match api.get_opt(&op.object.name).await? {
        Some(lease) if lease.metadata.uid == op.object.uid => (Landed::No, None),
        _ => (Landed::Yes, Some(already(op, "is gone"))),
    })
}

fn already(op: &Op, how: &str) -> Done {
    Done { status: OpStatus::AlreadySo, detail: format!("{} {how}", op.object), proof: None, observed: json!({}) }
}
