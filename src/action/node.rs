//! What the actions on nodes share: finding the one node by UID, what its object says, and the guarded patch of it.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::Value;

use super::{Problem, Rule, Scope};
use crate::cluster::{Fault, raw};
use crate::event::ObjectRef;

/// A right in the whole cluster, as nodes need it.
pub(super) const fn cluster(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
    optional: bool,
) -> Rule {
    Rule { group, resource, verbs, scope: Scope::Cluster, why, optional }
}

/// Finds the one node of that name, as the server has it; with `uid`, only that one.
///
/// # Errors
/// [`Fault::Refused`] when there is none, or it is another one by that name.
pub(super) async fn find(client: &Client, name: &str, uid: Option<&str>) -> Result<Value, Problem> {
    let node = match raw::get(client, &format!("/api/v1/nodes/{name}")).await {
        Ok(node) => node,
        Err(problem) if problem.fault == Fault::NotFound => {
            return Err(Problem::refused(format!("there is no node {name:?}")).hint("`kubectl get nodes` lists them"));
        }
        Err(problem) => return Err(problem),
    };
    let is = node["metadata"]["uid"].as_str().unwrap_or_default();
    match uid {
        Some(wanted) if wanted != is => Err(Problem::refused(format!(
            "Node {name} is not the one that was planned for: its UID is {is}, not {wanted}"
        ))
        .hint("a node of that name registered anew: look at what is there, then plan anew")),
        _ => Ok(node),
    }
}

/// The node as an operation's object.
pub(super) fn object(node: &Value) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "Node".into(),
        namespace: None,
        name: node["metadata"]["name"].as_str().unwrap_or_default().into(),
        uid: node["metadata"]["uid"].as_str().map(Into::into),
    }
}

/// The status of its Ready condition: `True`, `False`, or `Unknown` when its kubelet says nothing more.
pub(super) fn ready(node: &Value) -> &str {
    let mut conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|c| c["type"] == "Ready").and_then(|c| c["status"].as_str()).unwrap_or("Unknown")
}

/// Whether the control plane runs there, by kubeadm's labels (the older one is `master`).
pub(super) fn is_control_plane(node: &Value) -> bool {
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"]
        .iter()
        .any(|label| node["metadata"]["labels"].get(label).is_some())
}

/// The taints of a node, without their times.
pub(super) fn taints(node: &Value) -> Vec<Value> {
    let all = node["spec"]["taints"].as_array().into_iter().flatten();
    let mut all: Vec<Value> = all
        .map(|taint| {
            let mut taint = taint.clone();
            if let Some(map) = taint.as_object_mut() {
                map.remove("timeAdded");
            }
            taint
        })
        .collect();
    all.sort_by_key(ToString::to_string);
    all
}

/// One merge patch of a node. The body must carry the UID: the API server answers 409 when it is another node's.
pub(super) async fn patch(client: &Client, name: &str, body: &Value, dry_run: bool) -> Result<Value, Problem> {
    let api: Api<Node> = Api::all(client.clone());
    let params = PatchParams { dry_run, ..PatchParams::default() };
    let node = api.patch(name, &params, &Patch::Merge(body)).await?;
    serde_json::to_value(node).map_err(|e| Problem::internal(e.to_string()))
}
