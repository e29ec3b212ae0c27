//! The collector's ephemeral container: starting it, and whether it runs.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;

use super::{pods, text};
use crate::action::Done;
use crate::cluster::{Cx, Problem};
use crate::event::Op;

/// How long the node may take to pull the image and start it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the collector can be used.
pub(super) enum State {
    /// It runs; with the id of the target's container.
    Running(String),
    /// It does not, and why.
    Absent(String),
}

/// Adds the ephemeral container and waits until it runs, or can't.
pub(super) async fn start(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let patch = json!({"metadata": {"uid": op.object.uid}, "spec": {"ephemeralContainers": [op.detail["spec"]]}});
    let sent = pods(cx, op)
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
pub(super) async fn wait(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let name = text(op, "name").to_string();
    let settled = |pod: Option<&Pod>| {
        pod.is_none_or(|pod| status(pod, &name).is_some_and(|s| running(s) || hopeless(s).is_some()))
    };
    let waited = tokio::time::timeout(PATIENCE, await_condition(pods(cx, op), &op.object.name, settled)).await;
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
        Err(_) => format!("the node had not started it after {} s", PATIENCE.as_secs()),
    };
    let detail = format!("collector {name} can't be used: {why}; the container's own programs are used instead");
    Ok(Done { proof: None, observed: json!({"running": false, "why": why}), detail, ..started(&name) })
}

fn started(name: &str) -> Done {
    Done {
        status: crate::event::OpStatus::Applied,
        detail: format!("collector {name} runs"),
        proof: None,
        observed: json!({"running": true}),
    }
}

/// Whether this operation's collector runs now.
pub(super) async fn usable(cx: &Cx, op: &Op) -> Result<State, Problem> {
    let name = text(op, "name");
    if name.is_empty() {
        return Ok(State::Absent(text(op, "why").into()));
    }
    let pod = crate::cluster::target::pod(
        &cx.client,
        op.object.namespace.as_deref().unwrap_or_default(),
        &op.object.name,
        op.object.uid.as_deref(),
    )
    .await?;
    Ok(match status(&pod, name) {
        Some(s) if running(s) => match container_id(&pod, text(op, "container")) {
            Some(id) => State::Running(id),
            None => State::Absent("the API does not show the container's id any more: it is not running".into()),
        },
        Some(s) => State::Absent(format!(
            "the collector does not run: {}",
            hopeless(s).unwrap_or_else(|| "not started".into())
        )),
        None => State::Absent("the collector does not run: the kubelet has not started it".into()),
    })
}

/// The id of a running container: `containerd://…`.
fn container_id(pod: &Pod, name: &str) -> Option<String> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|s| s.name == name)?;
    status.container_id.clone().filter(|id| running(status) && !id.is_empty())
}

fn status<'p>(pod: &'p Pod, name: &str) -> Option<&'p ContainerStatus> {
    pod.status.as_ref()?.ephemeral_container_statuses.as_ref()?.iter().find(|s| s.name == name)
}

fn running(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|s| s.running.is_some())
}

/// Why it will not run; None while it still may.
fn hopeless(status: &ContainerStatus) -> Option<String> {
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
