//! Quell's own pods, in a namespace of their own: a collector on the suspect's node, which reads it from outside and
//! leaves nothing in it, and probe pods elsewhere that try to reach it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Handle, NODE_RUNG, PROBE, State, prefix};
use crate::action::pod_isolate::INCIDENT;
use crate::action::{Done, Rule, Scope};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof, Risk, Undo};

/// Where quell's own pods run. The collector is let in by its label: Pod Security level `privileged`.
pub const NAMESPACE: &str = "quell-forensics";

/// The rights for it. All of them are optional: without them the next rung is taken, and the plan says so.
pub const RULES: [Rule; 4] = [
    Rule {
        group: "",
        resource: "pods",
        verbs: &["get", "list", "watch", "create", "delete"],
        scope: Scope::Collectors,
        why: "quell's own pods: the collector on the node, and probes",
        optional: true,
    },
    Rule {
        group: "",
        resource: "pods/exec",
        verbs: &["get", "create"],
        scope: Scope::Collectors,
        why: "asking the collector on the node",
        optional: true,
    },
    Rule {
        group: "",
        resource: "namespaces",
        verbs: &["get", "create"],
        scope: Scope::Cluster,
        why: "the namespace of quell's own pods",
        optional: true,
    },
    Rule {
        group: "",
        resource: "nodes",
        verbs: &["list"],
        scope: Scope::Cluster,
        why: "another node to probe from",
        optional: true,
    },
];

/// What one of quell's own pods is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads the node's processes and disk.
    Collector,
    /// Tries to reach the suspect from the pod network.
    ProbePod,
    /// The same from a node's own network.
    ProbeNode,
}

impl Role {
    fn name(self, cx: &Cx, node: &str) -> String {
        use sha2::{Digest, Sha256};
        let short = &crate::evidence::hex(&Sha256::digest(node))[..6];
        let role = match self {
            Role::Collector => "node",
            Role::ProbePod => "probe",
            Role::ProbeNode => "reach",
        };
        format!("{}{role}-{short}", prefix(cx))
    }

    fn summary(self, node: &str) -> String {
        match self {
            Role::Collector => {
                format!("start quell's collector on node {node}: host processes, the node's root read-only")
            }
            Role::ProbePod => format!("start a probe in the pod network of node {node}"),
            Role::ProbeNode => format!("start a probe in the network of node {node} itself"),
        }
    }
}

/// The operations that bring such a pod up, or why it can't be had. None when it is there already.
pub async fn offer(
    cx: &Cx,
    role: Role,
    node: &str,
    image: &str,
    ttl: u64,
) -> Result<Result<(Vec<Op>, Handle), String>, Problem> {
    let name = role.name(cx, node);
    let handle = Handle {
        rung: NODE_RUNG.into(),
        namespace: NAMESPACE.into(),
        pod: name.clone(),
        container: if role == Role::Collector { "collector".into() } else { PROBE.into() },
        node: node.into(),
        image: image.into(),
        cuts: role == Role::Collector,
    };
    let api = pods(cx);
    match api.get_opt(&name).await {
        Ok(Some(pod)) if is_ours(cx, &pod, &handle) => {
            let ended = matches!(phase(&pod), "Succeeded" | "Failed").then(|| phase(&pod).to_string());
            return Ok(match waiting(&pod).or(ended) {
                Some(why) => Err(format!("Pod {NAMESPACE}/{name} does not run: {why}")),
                None => Ok((Vec::new(), handle)),
            });
        }
        Ok(Some(_)) => return Ok(Err(format!("Pod {NAMESPACE}/{name} is there and is not this incident's"))),
        Ok(None) => {}
        Err(error) => {
            let problem = Problem::from(error);
            if cx.passes_on(&problem) {
                return Err(problem);
            }
            return Ok(Err(problem.to_string()));
        }
    }
    let mut ops = Vec::new();
    let missing = match raw::get(&cx.client, &format!("/api/v1/namespaces/{NAMESPACE}")).await {
        Ok(_) => false,
        Err(problem) if problem.fault == Fault::NotFound => true,
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        // It may not be read and be there all the same: creating the pod will tell.
        Err(_) => false,
    };
    let manifest = manifest(&cx.incident, role, &name, node, image, ttl);
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let asked = if missing {
        ops.push(namespace_op());
        Api::<k8s_openapi::api::core::v1::Namespace>::all(cx.client.clone())
            .create(&dry, &namespace()?)
            .await
            .map(|_| ())
    } else {
        api.create(&dry, &typed(&manifest)?).await.map(|_| ())
    };
    match asked.map_err(Problem::from) {
        Ok(()) => {}
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => return Ok(Err(problem.to_string())),
    }
    let mut op = Op::change(
        "create",
        reference("v1", "Pod", Some(NAMESPACE), &name),
        role.summary(node),
        Risk::Low,
        Undo::Automatic("delete the pod".into()),
    );
    op.after = json!({"pod": name, "node": node, "image": image, "ends_after_seconds": ttl});
    op.detail = json!({"kind": "collector-pod", "manifest": manifest, "handle": handle});
    ops.push(op);
    Ok(Ok((ops, handle)))
}

fn reference(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectRef {
    ObjectRef {
        api_version: api_version.into(),
        kind: kind.into(),
        namespace: namespace.map(Into::into),
        name: name.into(),
        uid: None,
    }
}

fn namespace_op() -> Op {
    let mut op = Op::change(
        "create",
        reference("v1", "Namespace", None, NAMESPACE),
        format!("create the namespace {NAMESPACE} for quell's own pods, at Pod Security level privileged"),
        Risk::Low,
        Undo::NotNeeded,
    );
    op.detail = json!({"kind": "collector-namespace"});
    op
}

fn namespace() -> Result<k8s_openapi::api::core::v1::Namespace, Problem> {
    typed(&namespace_manifest())
}

/// The namespace of quell's own pods: whoever prepares a cluster makes it, else the first run that may.
pub fn namespace_manifest() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {
        "app.kubernetes.io/managed-by": "quell", "pod-security.kubernetes.io/enforce": "privileged"}}})
}

fn typed<T: serde::de::DeserializeOwned>(manifest: &Value) -> Result<T, Problem> {
    serde_json::from_value(manifest.clone()).map_err(|e| Problem::internal(e.to_string()))
}

/// The pod: no token, no service links, nothing writable, and an end of its own.
pub fn manifest(incident: &str, role: Role, name: &str, node: &str, image: &str, ttl: u64) -> Value {
    let mut container = json!({
        "name": if role == Role::Collector { "collector" } else { PROBE }, "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["/quell-collector", "serve", "--ttl", ttl.to_string()],
    });
    let mut spec = json!({
        "nodeName": node, "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 1, "activeDeadlineSeconds": ttl + 60, "tolerations": [{"operator": "Exists"}],
        "hostNetwork": role != Role::ProbePod,
        // Else the collector is process 1 of its own, which SIGTERM does not end.
        "shareProcessNamespace": role != Role::Collector,
    });
    if role == Role::Collector {
        // To read other users' processes and files, to enter the pod's network namespace, to end its connections, and
        // to see its packets.
        container["securityContext"] = json!({
            "runAsUser": 0, "runAsGroup": 0, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE", "SYS_ADMIN", "NET_ADMIN", "NET_RAW", "DAC_READ_SEARCH"]},
            "seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Unconfined"},
        });
        container["volumeMounts"] =
            json!([{"name": "host", "mountPath": "/host", "readOnly": true, "mountPropagation": "HostToContainer"}]);
        spec["hostPID"] = json!(true);
        spec["volumes"] = json!([{"name": "host", "hostPath": {"path": "/"}}]);
    } else {
        container["securityContext"] = json!({
            "runAsUser": 65534, "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
    }
    spec["containers"] = json!([container]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "quell", INCIDENT: incident}},
        "spec": spec,
    })
}

/// Creates what the operation says. It is not waited for: who needs it waits.
pub async fn start(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    if op.object.kind == "Namespace" {
        let api: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(cx.client.clone());
        return match api.create(&PostParams::default(), &namespace()?).await.map_err(Problem::from) {
            Ok(made) => Ok(created(op, made.uid())),
            Err(problem) if problem.fault == Fault::Conflict => Ok(there(op, None)),
            Err(problem) => refusal(op, problem),
        };
    }
    match pods(cx).create(&PostParams::default(), &typed(&op.detail["manifest"])?).await.map_err(Problem::from) {
        Ok(pod) => Ok(created(op, pod.uid())),
        Err(problem) if problem.fault == Fault::Conflict => match landed(cx, op).await? {
            (Landed::Yes, Some(done)) => Ok(done),
            _ => refusal(op, problem),
        },
        Err(problem) => refusal(op, problem),
    }
}

/// The incident goes on without: what needs it will say so.
fn refusal(op: &Op, problem: Problem) -> Result<Done, Problem> {
    if problem.is_transient() || problem.fault == Fault::Unreachable {
        return Err(problem);
    }
    let detail = format!("{} was refused: {problem}", op.object);
    Ok(Done {
        status: OpStatus::AlreadySo,
        detail: detail.clone(),
        proof: Some(Proof::Unproved(detail)),
        observed: Value::Null,
    })
}

fn created(op: &Op, uid: Option<String>) -> Done {
    Done::applied(
        format!("{} created", op.object),
        Proof::Verified("the API server has it".into()),
        json!({ "uid": uid }),
    )
}

fn there(op: &Op, uid: Option<String>) -> Done {
    Done {
        status: OpStatus::AlreadySo,
        detail: format!("{} is there", op.object),
        proof: None,
        observed: json!({ "uid": uid }),
    }
}

/// Whether the operation took effect.
pub async fn landed(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    if op.object.kind == "Namespace" {
        // Its creation can be asked for twice.
        return Ok((Landed::No, None));
    }
    let handle: Handle = typed(&op.detail["handle"])?;
    Ok(match pods(cx).get_opt(&op.object.name).await? {
        Some(pod) if is_ours(cx, &pod, &handle) => (Landed::Yes, Some(there(op, pod.uid()))),
        Some(_) => (Landed::Unknown, None),
        None => (Landed::No, None),
    })
}

/// Deletes one of quell's own pods.
pub async fn remove(cx: &Cx, op: &Op, uid: Option<String>) -> Result<Done, Problem> {
    let Some(uid) = uid else {
        return Ok(Done::taken(format!("{} was not created", op.object), None, Value::Null));
    };
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid), ..Preconditions::default() }),
        ..DeleteParams::default()
    };
    match pods(cx).delete(&op.object.name, &params).await.map_err(Problem::from) {
        Ok(_) => {
            let proof = Proof::Verified("the API server deletes that UID".into());
            Ok(Done::applied(format!("{} deleted", op.object), proof, Value::Null))
        }
        Err(problem) if matches!(problem.fault, Fault::NotFound | Fault::Conflict) => {
            let detail = format!("{} was gone already", op.object);
            Ok(Done { status: OpStatus::AlreadySo, detail, proof: None, observed: Value::Null })
        }
        Err(problem) => Err(problem),
    }
}

/// This incident's pods that are still there.
///
/// # Errors
/// When they can't be listed; where there is no such namespace, there are none.
pub async fn left(cx: &Cx) -> Result<Vec<Pod>, Problem> {
    let wanted = kube::api::ListParams::default().labels(&format!("{INCIDENT}={}", cx.incident));
    let mut all = pods(cx).list(&wanted).await?.items;
    all.retain(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(all)
}

/// Waits until it runs, or can't.
pub async fn ready(cx: &Cx, handle: &Handle, patience: Duration) -> Result<State, Problem> {
    let settled = |pod: Option<&Pod>| pod.is_none_or(|p| phase(p) != "Pending" || waiting(p).is_some());
    let waited = tokio::time::timeout(patience, await_condition(pods(cx), &handle.pod, settled)).await;
    let place = format!("{NAMESPACE}/{}", handle.pod);
    Ok(State::Absent(match waited {
        Ok(Ok(Some(pod))) if !is_ours(cx, &pod, handle) => format!("Pod {place} is not this incident's"),
        Ok(Ok(Some(pod))) if phase(&pod) == "Running" && started(&pod) => return Ok(State::Running),
        Ok(Ok(Some(pod))) => match waiting(&pod) {
            Some(why) => format!("Pod {place} does not start: {why}"),
            None => format!("Pod {place} does not run: {}", phase(&pod)),
        },
        Ok(Ok(None)) => format!("there is no Pod {place}"),
        Ok(Err(error)) => {
            return Err(Problem::new(Fault::Transient, format!("lost sight of Pod {place}: {error}")));
        }
        Err(_) => format!("node {} had not started Pod {place} after {} s", handle.node, patience.as_secs()),
    }))
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

fn started(pod: &Pod) -> bool {
    let states = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    states.clone().count() > 0 && states.into_iter().all(super::beside::running)
}

fn waiting(pod: &Pod) -> Option<String> {
    pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).find_map(super::beside::hopeless)
}

/// A pod of that name which others made is not trusted.
fn is_ours(cx: &Cx, pod: &Pod, handle: &Handle) -> bool {
    let spec = pod.spec.as_ref();
    pod.labels().get(INCIDENT) == Some(&cx.incident)
        && spec.and_then(|s| s.node_name.as_deref()) == Some(&handle.node)
        && spec.is_some_and(|s| s.containers.len() == 1 && s.containers[0].image.as_deref() == Some(&handle.image))
        && pod.metadata.deletion_timestamp.is_none()
}

fn pods(cx: &Cx) -> Api<Pod> {
    Api::namespaced(cx.client.clone(), NAMESPACE)
}

/// A node to probe from: ready, not the suspect's own, the least tainted first. None when there is none, or it can't be
/// known.
pub async fn another(cx: &Cx, own: &str) -> Result<Option<String>, Problem> {
    let nodes = match raw::list(&cx.client, "/api/v1/nodes").await {
        Ok((nodes, _)) => nodes,
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(_) => return Ok(None),
    };
    let ready = |node: &&Value| {
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
    };
    let others = nodes.iter().filter(|n| n["metadata"]["name"] != own).filter(ready);
    let rank = |node: &Value| {
        let taints = node["spec"]["taints"].as_array().map_or(0, Vec::len);
        (
            node["metadata"]["annotations"]["kwok.x-k8s.io/node"].is_string(),
            taints,
            node["metadata"]["name"].to_string(),
        )
    };
    Ok(others.min_by_key(|n| rank(n)).and_then(|n| n["metadata"]["name"].as_str()).map(str::to_string))
}
