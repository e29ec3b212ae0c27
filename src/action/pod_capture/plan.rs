//! Which containers, by which way, leaving out what.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::PodCapture;
use crate::action::StepPlan;
use crate::cluster::{Cx, Problem, raw, target};
use crate::event::{Estimate, ObjectRef, Op, Risk, Undo};
use crate::evidence::hex;

pub(super) async fn plan(with: &PodCapture, cx: &Cx) -> Result<StepPlan, Problem> {
    let namespace = with.namespace.as_deref().unwrap_or(&cx.namespace);
    let found = target::pod(&cx.client, namespace, &with.pod, with.uid.as_deref()).await?;
    let object = target::object(&found);
    let pod = raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{}", object.name)).await?;
    let mut plan = StepPlan::default();
    let targets: Vec<String> = list(&pod, "containers")
        .filter_map(|c| c["name"].as_str())
        .filter(|name| with.containers.as_ref().is_none_or(|only| only.iter().any(|o| o == name)))
        .filter(|name| {
            let running = status(&pod, "containerStatuses", name)["state"]["running"].is_object();
            if !running {
                plan.warnings.push(format!(
                    "container {name} is not running: its processes and filesystem can't be reached, only its logs"
                ));
            }
            running
        })
        .map(str::to_string)
        .collect();
    for only in with.containers.iter().flatten() {
        if !list(&pod, "containers").any(|c| c["name"] == only.as_str()) {
            plan.blockers.push(format!("{object} has no container {only:?}"));
        }
    }
    let sizes = image_sizes(cx, &pod).await?;
    let mut names = Vec::new();
    for (i, container) in targets.iter().enumerate() {
        let rung = rung(with, cx, &object, &pod, container, i).await?;
        match rung {
            Ok(op) => {
                names.push((op.detail["name"].clone(), op.summary.clone()));
                plan.ops.push(op);
            }
            Err(why) => {
                plan.warnings
                    .push(format!("container {container}: its own sh and tar will be used, which may lie: {why}"));
                names.push((Value::Null, why));
            }
        }
    }
    let capture = |kind: &str, container: &str, name: &(Value, String), estimate: Estimate| {
        let by = if name.0.is_null() { "the container's own programs" } else { "quell's collector" };
        let mut op = Op::capture(
            "exec",
            object.clone(),
            format!("capture the {kind} of container {container}, with {by}"),
            Risk::Low,
            estimate,
        );
        let why = if name.0.is_null() { name.1.clone() } else { String::new() };
        op.detail = json!({"key": format!("{kind} {container}"), "kind": kind, "container": container, "name": name.0, "why": why,
                           "exclude": excluded(with, &pod, container), "max_bytes": with.max_bytes,
                           // Else the first process is the pod's or the node's: only its cgroup tells which is the container's.
                           "own_processes": pod["spec"]["shareProcessNamespace"] != true && pod["spec"]["hostPID"] != true});
        op
    };
    if with.processes {
        for (container, name) in targets.iter().zip(&names) {
            let estimate = Estimate { bytes: Some(256 * 1024), basis: "a few KiB a process".into() };
            plan.ops.push(capture("processes", container, name, estimate));
        }
    }
    if with.logs {
        logs(&pod, &object, &mut plan);
    }
    if with.filesystem {
        for (container, name) in targets.iter().zip(&names) {
            let bytes = image_size(&sizes, status(&pod, "containerStatuses", container));
            let basis = if bytes.is_some() {
                "its image's size on the node; what it wrote comes on top"
            } else {
                "the node does not tell its image's size"
            };
            plan.ops.push(capture("filesystem", container, name, Estimate { bytes, basis: basis.into() }));
        }
    }
    plan.outputs = json!({"captured": [], "incomplete": []});
    Ok(plan)
}

fn list<'p>(pod: &'p Value, name: &str) -> impl Iterator<Item = &'p Value> + use<'p> {
    pod["spec"][name].as_array().into_iter().flatten()
}

fn status<'p>(pod: &'p Value, name: &str, container: &str) -> &'p Value {
    static NONE: Value = Value::Null;
    pod["status"][name].as_array().into_iter().flatten().find(|s| s["name"] == container).unwrap_or(&NONE)
}

/// The logs that the API can give: every container's, and the former life of each that was restarted.
fn logs(pod: &Value, object: &ObjectRef, plan: &mut StepPlan) {
    let lists = [
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ];
    for (specs, statuses) in lists {
        for container in list(pod, specs).filter_map(|c| c["name"].as_str()) {
            let state = status(pod, statuses, container);
            let began = ["running", "terminated"].iter().any(|s| state["state"][s].is_object());
            let former = state["lastState"]["terminated"].is_object();
            for previous in [false, true] {
                if previous && !former || !previous && !began {
                    continue;
                }
                let which = if previous { "the previous instance of " } else { "" };
                let estimate = Estimate {
                    bytes: None,
                    basis: "the kubelet keeps 10 MiB a file unless it is set otherwise, and gives the newest".into(),
                };
                let mut op = Op::capture(
                    "get",
                    object.clone(),
                    format!("capture the log of {which}container {container}"),
                    Risk::Read,
                    estimate,
                );
                let kind = if previous { "previous log" } else { "log" };
                op.detail = json!({"key": format!("{kind} {container}"), "kind": "log", "container": container, "previous": previous});
                plan.ops.push(op);
            }
        }
    }
}

/// The collector beside this container, with the greatest rights that the server takes in a dry run; or why not.
async fn rung(
    with: &PodCapture,
    cx: &Cx,
    object: &ObjectRef,
    pod: &Value,
    container: &str,
    i: usize,
) -> Result<Result<Op, String>, Problem> {
    let image = with.collector_image.as_deref().unwrap_or_default();
    if image.is_empty() {
        return Ok(Err("no collector image was given".into()));
    }
    let name = format!("quell-{}-{}", &hex(&Sha256::digest(&cx.incident))[..8], i + 1);
    let mut refused = Vec::new();
    for (profile, context) in profiles(pod, container) {
        let spec = json!({
            "name": name, "image": image, "targetContainerName": container, "imagePullPolicy": "IfNotPresent",
            "command": ["/quell-collector", "serve", "--ttl", with.ttl_seconds.to_string()],
            "terminationMessagePolicy": "File", "securityContext": context,
        });
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let api: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(cx.client.clone(), object.namespace.as_deref().unwrap_or_default());
        let patch = json!({"metadata": {"uid": object.uid}, "spec": {"ephemeralContainers": [spec]}});
        match api.patch_ephemeral_containers(&object.name, &dry, &Patch::Strategic(&patch)).await.map_err(Problem::from)
        {
            Ok(_) => return Ok(Ok(collector(object, container, &name, image, profile, &spec, &refused))),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => refused.push(format!("{profile}: {problem}")),
        }
    }
    Ok(Err(format!("the API server refuses the collector's container: {}", refused.join("; "))))
}

fn collector(
    object: &ObjectRef,
    container: &str,
    name: &str,
    image: &str,
    profile: &str,
    spec: &Value,
    refused: &[String],
) -> Op {
    let mut op = Op::change(
        "patch",
        object.clone(),
        format!("start quell's collector beside container {container}, as ephemeral container {name} ({profile})"),
        Risk::Low,
        Undo::Impossible("an ephemeral container stays in the pod's spec; its process ends by itself".into()),
    );
    op.after = json!({"ephemeralContainer": name, "image": image, "profile": profile, "refused": refused});
    op.detail = json!({"key": format!("collector {container}"), "kind": "collector", "container": container, "name": name, "spec": spec, "refused": refused});
    op
}

/// From the most to the least that is asked for. Reading another user's `/proc/PID/root` takes CAP_SYS_PTRACE.
fn profiles(pod: &Value, container: &str) -> Vec<(&'static str, Value)> {
    let of = |key: &str| {
        let own = list(pod, "containers")
            .find(|c| c["name"] == container)
            .map(|c| c["securityContext"][key].clone())
            .unwrap_or_default();
        if own.is_null() { pod["spec"]["securityContext"][key].clone() } else { own }
    };
    let (user, group) = (of("runAsUser"), of("runAsGroup"));
    let mut all = vec![(
        "root with SYS_PTRACE",
        json!({"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false, "capabilities": {"add": ["SYS_PTRACE", "DAC_READ_SEARCH"]}}),
    )];
    // Without SYS_PTRACE the kernel compares users, root's too (ptrace(2), "Ptrace access mode checking").
    if user.is_null() || user == 0 {
        all.push(("root", json!({"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false})));
    }
    if user != 0 {
        let mut context = json!({
            "runAsUser": if user.is_null() { json!(65534) } else { user }, "runAsNonRoot": true,
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
        });
        if !group.is_null() {
            context["runAsGroup"] = group;
        }
        all.push(("the container's user, restricted", context));
    }
    all
}

/// Path and reason of what is not taken: asked for, mounted credentials, and volumes that outlive the pod.
fn excluded(with: &PodCapture, pod: &Value, container: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        with.exclude.iter().map(|p| (p.clone(), "left out as asked".to_string())).collect();
    let spec = list(pod, "containers").find(|c| c["name"] == container);
    for mount in spec.into_iter().flat_map(|c| c["volumeMounts"].as_array().into_iter().flatten()) {
        let Some(volume) = list(pod, "volumes").find(|v| v["name"] == mount["name"]) else { continue };
        let sources = volume["projected"]["sources"].as_array();
        let credential = volume["secret"].is_object()
            || volume["csi"].is_object()
            || sources
                .is_some_and(|s| s.iter().any(|s| s["secret"].is_object() || s["serviceAccountToken"].is_object()));
        let why = if credential {
            "mounted credentials are not taken in clear"
        } else if volume["persistentVolumeClaim"].is_object() {
            "a persistent volume: it outlives the pod; take it with a volume snapshot"
        } else if volume["hostPath"].is_object() {
            "a directory of the node: it outlives the pod"
        } else {
            continue;
        };
        let path = mount["mountPath"].as_str().unwrap_or_default();
        all.push((path.trim_end_matches('/').to_string(), why.into()));
    }
    all
}

/// The size of a container's image, found by its digest or by its name.
fn image_size(sizes: &[(Vec<Value>, u64)], status: &Value) -> Option<u64> {
    let wanted = [&status["imageID"], &status["image"]];
    let is_it = |name: &Value| name.as_str().is_some_and(|n| !n.is_empty()) && wanted.contains(&name);
    sizes.iter().find(|(names, _)| names.iter().any(is_it)).map(|(_, bytes)| *bytes)
}

/// Names and bytes of the images on the pod's node; empty when the node may not be read.
async fn image_sizes(cx: &Cx, pod: &Value) -> Result<Vec<(Vec<Value>, u64)>, Problem> {
    let Some(node) = pod["spec"]["nodeName"].as_str() else { return Ok(Vec::new()) };
    match raw::get(&cx.client, &format!("/api/v1/nodes/{node}")).await {
        Ok(node) => Ok(node["status"]["images"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|i| (i["names"].as_array().cloned().unwrap_or_default(), i["sizeBytes"].as_u64().unwrap_or(0)))
            .collect()),
        Err(problem) if cx.passes_on(&problem) => Err(problem),
        Err(_) => Ok(Vec::new()),
    }
}
