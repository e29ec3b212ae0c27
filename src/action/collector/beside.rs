//! Quell's collector as an ephemeral container beside a suspect's container: starting it, and whether it runs.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::{BESIDE_RUNG, Handle, State, prefix};
use crate::action::{Done, Rule, Scope};
use crate::cluster::{Cx, Problem, target};
use crate::event::{Landed, ObjectRef, Op, OpKind, OpStatus, Risk, Undo};

/// The right to start it.
pub const START: Rule = Rule {
    group: "",
    resource: "pods/ephemeralcontainers",
    verbs: &["patch"],
    scope: Scope::Target,
    why: "starting the collector",
    optional: false,
};

/// How a container's collector is to be had.
pub(super) enum Offer {
    /// By this operation.
    Start(Box<Op>, Handle),
    /// It runs already: an earlier step started it.
    Runs(Handle),
    /// Not at all, and why.
    Absent(String),
}

/// The collector beside one of the pod's containers, with the greatest rights that the server takes in a dry run. Its
/// name follows from the container's place in the spec, so that every step means the same one.
pub(super) async fn offer(
    cx: &Cx,
    object: &ObjectRef,
    pod: &Value,
    container: &str,
    image: &str,
    ttl_seconds: u64,
) -> Result<Offer, Problem> {
    let place = list(pod, "containers").position(|c| c["name"] == container).unwrap_or_default();
    let name = format!("{}{}", prefix(cx), place + 1);
    let handle = |cuts: bool| Handle {
        rung: BESIDE_RUNG.into(),
        namespace: object.namespace.clone().unwrap_or_default(),
        pod: object.name.clone(),
        container: name.clone(),
        node: pod["spec"]["nodeName"].as_str().unwrap_or_default().into(),
        image: image.into(),
        cuts,
    };
    if list(pod, "ephemeralContainers").any(|c| c["name"] == name.as_str()) {
        let mut states = pod["status"]["ephemeralContainerStatuses"].as_array().into_iter().flatten();
        let state = states.find(|s| s["name"] == name.as_str()).cloned();
        let state: Option<ContainerStatus> = state.and_then(|s| serde_json::from_value(s).ok());
        if state.as_ref().is_some_and(running) {
            return Ok(Offer::Runs(handle(may_cut(
                list(pod, "ephemeralContainers").find(|c| c["name"] == name.as_str()),
            ))));
        }
        if let Some(why) = state.as_ref().and_then(hopeless) {
            return Ok(Offer::Absent(format!("the collector {name} does not run: {why}")));
        }
        // Its image may still be on the way.
        let mut op =
            Op::observe(object.clone(), format!("wait for quell's collector {name} beside container {container}"));
        op.detail =
            json!({"key": format!("collector {container}"), "kind": "collector", "container": container, "name": name});
        let cuts = may_cut(list(pod, "ephemeralContainers").find(|c| c["name"] == name.as_str()));
        return Ok(Offer::Start(Box::new(op), handle(cuts)));
    }
    let mut refused = Vec::new();
    for (profile, context) in profiles(pod, container) {
        let spec = json!({
            "name": name, "image": image, "targetContainerName": container, "imagePullPolicy": "IfNotPresent",
            "command": ["/quell-collector", "serve", "--ttl", ttl_seconds.to_string()],
            "terminationMessagePolicy": "File", "securityContext": context,
        });
        let dry = PatchParams { dry_run: true, ..PatchParams::default() };
        let patch = json!({"metadata": {"uid": object.uid}, "spec": {"ephemeralContainers": [spec]}});
        let sent = pods(cx, object).patch_ephemeral_containers(&object.name, &dry, &Patch::Strategic(&patch)).await;
        match sent.map_err(Problem::from) {
            Ok(_) => {
                let op = collector(object, container, &name, image, profile, &spec, &refused);
                return Ok(Offer::Start(Box::new(op), handle(may_cut(Some(&spec)))));
            }
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => refused.push(format!("{profile}: {problem}")),
        }
    }
    Ok(Offer::Absent(format!("the API server refuses the collector's container: {}", refused.join("; "))))
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
        "root with SYS_PTRACE and NET_ADMIN",
        json!({"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false,
               "capabilities": {"add": ["SYS_PTRACE", "DAC_READ_SEARCH", "NET_ADMIN"]}}),
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

/// How long the node may take to pull the image and start it, unless the operation says `patience_seconds`.
const PATIENCE: Duration = Duration::from_secs(60);

/// Adds the ephemeral container, unless an earlier step did, and waits until it runs, or can't.
pub async fn start(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    if op.kind != OpKind::Change {
        return wait(cx, op).await.map(|done| Done { status: OpStatus::Taken, ..done });
    }
    let patch = json!({"metadata": {"uid": op.object.uid}, "spec": {"ephemeralContainers": [op.detail["spec"]]}});
    let sent = pods(cx, &op.object)
        .patch_ephemeral_containers(&op.object.name, &PatchParams::default(), &Patch::Strategic(&patch))
        .await;
    match sent.map_err(Problem::from) {
        Ok(_) => wait(cx, op).await,
        // The precondition: the API server answers 422 for another UID, as for any change of one.
        Err(problem) if problem.message.contains("metadata.uid") => Err(Problem::refused(format!(
            "{} was replaced: its UID is not {} any more",
            op.object,
            op.object.uid.as_deref().unwrap_or("-")
        ))
        .hint("look at what is there now, then plan anew")),
        Err(problem) => Err(problem),
    }
}

/// A collector that does not start is no failure of the step: the next way is taken, and the record says so.
pub async fn wait(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let name = text(op, "name").to_string();
    let settled = |pod: Option<&Pod>| {
        pod.is_none_or(|pod| status(pod, &name).is_some_and(|s| running(s) || hopeless(s).is_some()))
    };
    let patience = op.detail["patience_seconds"].as_u64().map_or(PATIENCE, Duration::from_secs);
    let waited = tokio::time::timeout(patience, await_condition(pods(cx, &op.object), &op.object.name, settled)).await;
    let why = match waited {
        Ok(Ok(Some(pod))) => match status(&pod, &name) {
            Some(s) if running(s) => return Ok(Done { proof: None, ..started(&name) }),
            Some(s) => hopeless(s).unwrap_or_else(|| "it does not run".into()),
            None => "the kubelet does not show it".into(),
        },
        Ok(Ok(None)) => "the pod is gone".into(),
        Ok(Err(error)) => {
            return Err(Problem::new(
                crate::cluster::Fault::Transient,
                format!("lost sight of the collector: {error}"),
            ));
        }
        Err(_) => format!("the node had not started it after {} s", patience.as_secs()),
    };
    let detail = format!("collector {name} can't be used: {why}");
    Ok(Done { proof: None, observed: json!({"running": false, "why": why}), detail, ..started(&name) })
}

fn started(name: &str) -> Done {
    Done {
        status: OpStatus::Applied,
        detail: format!("collector {name} runs"),
        proof: None,
        observed: json!({"running": true}),
    }
}

/// Whether it runs now.
pub async fn usable(cx: &Cx, handle: &Handle, object: &ObjectRef) -> Result<State, Problem> {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let pod = target::pod(&cx.client, namespace, &object.name, object.uid.as_deref()).await?;
    Ok(match status(&pod, &handle.container) {
        Some(s) if running(s) => State::Running,
        Some(s) => State::Absent(format!(
            "the collector does not run: {}",
            hopeless(s).unwrap_or_else(|| "not started".into())
        )),
        None => State::Absent("the collector does not run: the kubelet has not started it".into()),
    })
}

/// Ending connections takes CAP_NET_ADMIN.
fn may_cut(spec: Option<&Value>) -> bool {
    let added = spec.and_then(|s| s["securityContext"]["capabilities"]["add"].as_array());
    added.is_some_and(|all| all.iter().any(|c| c == "NET_ADMIN"))
}

fn status<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    pod.status.as_ref()?.ephemeral_container_statuses.as_ref()?.iter().find(|s| s.name == name)
}

pub(super) fn running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

/// Why it will not run; None while it still may.
pub(super) fn hopeless(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    if let Some(ended) = &state.terminated {
        return Some(format!("it ended with exit code {}", ended.exit_code));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_default();
    let fatal = [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerError",
        "CreateContainerConfigError",
        "RunContainerError",
    ];
    fatal.contains(&reason.as_str()).then(|| format!("{reason}: {}", waiting.message.clone().unwrap_or_default()))
}

/// Whether an operation that starts it took effect.
pub async fn landed(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    let namespace = op.object.namespace.as_deref().unwrap_or_default();
    let pod = target::pod(&cx.client, namespace, &op.object.name, op.object.uid.as_deref()).await?;
    let name = text(op, "name");
    let there = pod.spec.iter().flat_map(|s| s.ephemeral_containers.iter().flatten()).any(|c| c.name == name);
    if there { Ok((Landed::Yes, Some(wait(cx, op).await?))) } else { Ok((Landed::No, None)) }
}

/// A text of an operation's detail.
fn text<'a>(op: &'a Op, key: &str) -> &'a str {
    op.detail[key].as_str().unwrap_or_default()
}

fn pods(cx: &Cx, object: &ObjectRef) -> Api<Pod> {
    Api::namespaced(cx.client.clone(), object.namespace.as_deref().unwrap_or_default())
}

fn list<'p>(pod: &'p Value, name: &str) -> impl Iterator<Item = &'p Value> + use<'p> {
    pod["spec"][name].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::test_cx;

    /// What is offered for a container of a pod whose first container's collector is in that state.
    async fn offered(container: &str, state: Value) -> Offer {
        let folder = tempfile::tempdir().unwrap();
        let cx = test_cx::cx(folder.path(), {
            let container = container.to_string();
            move |(method, ..)| {
                assert_eq!((method, container.as_str()), ("PATCH", "sidecar"), "nothing is to be asked for app");
                (200, json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}))
            }
        });
        let name = format!("{}1", prefix(&cx));
        let containers = [json!({"name": "app"}), json!({"name": "sidecar"})];
        let pod = json!({"spec": {"containers": containers, "ephemeralContainers": [{"name": name}]},
                         "status": {"ephemeralContainerStatuses": [{"name": name, "state": state}]}});
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: Some("payments".into()),
            name: "web".into(),
            uid: Some("u".into()),
        };
        offer(&cx, &object, &pod, container, "quell.dev/collector@sha256:0", 60).await.unwrap()
    }

    #[tokio::test]
    async fn a_collector_that_an_earlier_step_started_is_not_started_again() {
        assert!(matches!(offered("app", json!({"running": {}})).await, Offer::Runs(_)));
        assert!(
            matches!(offered("app", json!({"terminated": {"exitCode": 3}})).await, Offer::Absent(why) if why.contains('3'))
        );
        for waiting in [json!({"waiting": {"reason": "ContainerCreating"}}), Value::Null] {
            let Offer::Start(op, _) = offered("app", waiting).await else { panic!("it is waited for") };
            assert_eq!((op.kind, &op.detail["kind"]), (OpKind::Observe, &json!("collector")));
        }
    }

    #[tokio::test]
    async fn another_containers_collector_is_not_taken_for_ones_own() {
        let Offer::Start(op, handle) = offered("sidecar", json!({"running": {}})).await else {
            panic!("it has none yet")
        };
        assert!(op.kind == OpKind::Change && text(&op, "name").ends_with("-2") && handle.cuts, "{}", op.detail);
    }
}
