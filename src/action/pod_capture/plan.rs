//! Which containers, by which way, leaving out what.

use serde_json::{Value, json};

use super::{Files, Memory, PodCapture, subject};
use crate::action::StepPlan;
use crate::action::collector::{self, Handle, Wanted};
use crate::cluster::{Cx, Problem, raw, target};
use crate::event::{Estimate, ObjectRef, Op, Risk};
use crate::evidence::sealed::Recipients;

/// What is gone soonest, of every container.
const FIRST: u8 = 1;
/// All else, begun in the order of volatility.
const SECOND: u8 = 2;

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
    let image = with.collector_image.as_deref().unwrap_or_default();
    let wanted = Wanted { image, ttl: with.ttl_seconds, node: true };
    let mut means: Vec<(Option<Handle>, String)> = Vec::new();
    for container in &targets {
        let offer = collector::offer(cx, &object, &pod, container, wanted).await?;
        let why = offer.why();
        plan.ops.extend(offer.ops);
        match &offer.handle {
            None => plan
                .warnings
                .push(format!("container {container}: its own sh and tar will be used, which may lie: {why}")),
            Some(handle) if !handle.on_node() => {
                plan.warnings.push(format!(
                    "container {container}: the collector runs beside it, and stays in the pod's spec: {why}"
                ));
            }
            Some(_) => {}
        }
        means.push((offer.handle, why));
    }
    let mut seen = std::collections::BTreeSet::new();
    plan.ops.retain(|op| seen.insert(op.key()));
    let capture = |kind: &str, container: &str, (handle, why): &(Option<Handle>, String), estimate: Estimate| {
        let by = match handle {
            None => "the container's own programs".to_string(),
            Some(handle) if handle.on_node() => format!("quell's collector on node {}", handle.node),
            Some(_) => "quell's collector beside it".into(),
        };
        let mut op = Op::capture("exec", object.clone(), String::new(), Risk::Low, estimate);
        op.detail = json!({"key": format!("{kind} {container}").trim(), "kind": kind, "container": container, "handle": handle, "why": why,
                           "exclude": excluded(with, &pod, container), "max_bytes": with.max_bytes,
                           // Else the first process is the pod's or the node's: only its cgroup tells which is the container's.
                           "own_processes": pod["spec"]["shareProcessNamespace"] != true && pod["spec"]["hostPID"] != true});
        op.summary = format!("capture the {}, with {by}", subject(&op));
        // In the container each would see the others' processes, and disturb more.
        op.stage = handle.as_ref().filter(|h| h.on_node()).map(|_| if kind == "processes" { FIRST } else { SECOND });
        op
    };
    let small = |basis: &str| Estimate { bytes: Some(256 * 1024), basis: basis.into() };
    let unknown = |basis: &str| Estimate { bytes: None, basis: basis.into() };
    let on_node = |means: &(Option<Handle>, String)| means.0.as_ref().is_some_and(Handle::on_node);
    if with.processes {
        for (container, means) in targets.iter().zip(&means) {
            plan.ops.push(capture("processes", container, means, small("a few KiB a process")));
            if on_node(means) {
                let basis = "executables and files without a name that its processes hold";
                plan.ops.push(capture("unlinked", container, means, unknown(basis)));
            }
        }
    }
    let on_its_node = targets.iter().zip(&means).find(|(_, means)| on_node(means));
    if with.memory == Memory::Try && (on_its_node.is_none() || with.recipients.is_empty()) {
        plan.warnings.push("memory is not taken: that takes a collector on the pod's node, and recipients".into());
    }
    match on_its_node.filter(|_| with.packets_seconds > 0) {
        Some((container, any)) => {
            let seconds = with.packets_seconds.min(3600);
            let mut op = capture("packets", "", any, unknown("what goes over the network is not known before"));
            op.detail["of"] = json!(container);
            op.detail["seconds"] = json!(seconds);
            op.summary.push_str(&format!(", for {seconds} s"));
            plan.ops.push(op);
        }
        None if with.packets_seconds > 0 => {
            plan.warnings.push("packets are not taken: that takes a collector on the pod's node".into());
        }
        None => {}
    }
    match Recipients::parse(&with.recipients) {
        Err(why) => plan.blockers.push(why),
        Ok(None) => plan.warnings.push(
            "no recipients are given: environment variables and mounted credentials are left out, for in clear they are \
             not taken (`age-keygen` makes a key; give its public part, `age1…`)"
                .into(),
        ),
        Ok(Some(to)) => {
            if to.count() == 1 {
                plan.warnings.push(
                    "what is sealed has 1 recipient: with that key lost it is lost; add a second one that is kept offline".into(),
                );
            }
            for (container, means) in targets.iter().zip(&means).filter(|(_, means)| means.0.is_some()) {
                if with.memory == Memory::Try && on_node(means) {
                    let mut op = capture("memory", container, means, unknown("as large as the container's memory"));
                    op.summary.push_str(&format!(", sealed for {}", super::sealed::who(to.count())));
                    // It reads what the operation before it asked for.
                    op.stage = None;
                    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
                    super::memory::offer(cx, op, node, &mut plan).await?;
                }
                let estimate = || small("values are short");
                let mut ops = vec![capture("environ", container, means, estimate())];
                for path in credentials(&pod, container) {
                    let mut op = capture("credentials", container, means, estimate());
                    op.detail["below"] = json!(path);
                    op.detail["key"] = json!(format!("credentials {container} {path}"));
                    op.summary = format!("capture the {}", subject(&op));
                    ops.push(op);
                }
                for op in &mut ops {
                    op.summary.push_str(&format!(", sealed for {}", super::sealed::who(to.count())));
                }
                plan.ops.extend(ops);
            }
        }
    }
    if with.logs {
        logs(&pod, &object, &collector::prefix(cx), &mut plan);
    }
    for (container, means) in targets.iter().zip(&means) {
        let image = image_size(&sizes, status(&pod, "containerStatuses", container));
        let full = || Estimate {
            bytes: image,
            basis: if image.is_some() {
                "its image's size on the node; what it wrote comes on top"
            } else {
                "the node does not tell its image's size"
            }
            .into(),
        };
        match with.filesystem {
            Files::None => {}
            Files::Changes if on_node(means) => {
                plan.ops.push(capture("drift", container, means, small("a line for each path that it changed")));
                plan.ops.push(capture("changes", container, means, unknown("what it wrote is not known before")));
                // In memory, and so in no layer: a usual place for what is to leave no trace.
                plan.ops.push(capture("shm", container, means, unknown("what lies in /dev/shm is not known before")));
            }
            Files::Changes | Files::Full => plan.ops.push(capture("filesystem", container, means, full())),
        }
    }
    if let Some(any) = means.iter().find(|m| with.volumes && on_node(m)) {
        let name = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
        if list(&pod, "volumes").any(|v| v["emptyDir"].is_object()) {
            let mut op = capture("volumes", "", any, unknown("what lies in its emptyDir volumes is not known before"));
            op.detail["root"] =
                json!(format!("/host/var/lib/kubelet/pods/{}/volumes/kubernetes.io~empty-dir", name("uid")));
            plan.ops.push(op);
        }
        if with.logs {
            let mut op =
                capture("node-logs", "", any, unknown("every file that the kubelet keeps, the rotated ones too"));
            op.detail["root"] =
                json!(format!("/host/var/log/pods/{}_{}_{}", name("namespace"), name("name"), name("uid")));
            plan.ops.push(op);
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

/// The logs that the API can give: every container's but our own, and the former life of each that was restarted.
fn logs(pod: &Value, object: &ObjectRef, own: &str, plan: &mut StepPlan) {
    let lists = [
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ];
    for (specs, statuses) in lists {
        for container in list(pod, specs).filter_map(|c| c["name"].as_str()) {
            if container.starts_with(own) {
                continue;
            }
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
                op.stage = Some(SECOND);
                plan.ops.push(op);
            }
        }
    }
}

/// Path and reason of what is not taken: asked for, mounted credentials, and volumes that outlive the pod.
fn excluded(with: &PodCapture, pod: &Value, container: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> =
        with.exclude.iter().map(|p| (p.clone(), "left out as asked".to_string())).collect();
    let spec = list(pod, "containers").find(|c| c["name"] == container);
    for mount in spec.into_iter().flat_map(|c| c["volumeMounts"].as_array().into_iter().flatten()) {
        let Some(volume) = list(pod, "volumes").find(|v| v["name"] == mount["name"]) else { continue };
        let why = if is_credential(volume) {
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

fn is_credential(volume: &Value) -> bool {
    let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
    volume["secret"].is_object()
        || volume["csi"].is_object()
        || sources.into_iter().any(|s| s["secret"].is_object() || s["serviceAccountToken"].is_object())
}

/// Where a container has credentials mounted, in order and each once.
fn credentials(pod: &Value, container: &str) -> Vec<String> {
    let spec = list(pod, "containers").find(|c| c["name"] == container);
    let mounts = spec.into_iter().flat_map(|c| c["volumeMounts"].as_array().into_iter().flatten());
    let secret = mounts.filter(|m| list(pod, "volumes").any(|v| v["name"] == m["name"] && is_credential(v)));
    let mut all: Vec<String> = secret
        // A single key of a Secret, mounted as a file, is no directory: its directory is the container's own.
        .filter(|m| m["subPath"].is_null() && m["subPathExpr"].is_null())
        .filter_map(|m| Some(m["mountPath"].as_str()?.trim_end_matches('/').to_string()))
        .filter(|path| path.starts_with('/'))
        .collect();
    all.sort();
    all.dedup();
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
