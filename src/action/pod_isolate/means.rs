//! Stronger means than a NetworkPolicy, where the cluster has them: policies that deny. A NetworkPolicy only allows, and
//! several add up; what these deny stays denied, whatever others allow.

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, PostParams, Preconditions};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use super::{INCIDENT, QUARANTINE, policy_name};
use crate::action::{Done, Rule, Scope, StepPlan};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof, Risk, Undo};

/// One kind of policy that denies.
struct Means {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    namespaced: bool,
    spec: fn(&str, &str) -> Value,
    text: &'static str,
}

/// From the strongest on; the first that the cluster has and takes is used.
const ALL: [Means; 4] = [
    Means {
        group: "policy.networking.k8s.io",
        version: "v1alpha2",
        plural: "clusternetworkpolicies",
        kind: "ClusterNetworkPolicy",
        namespaced: false,
        spec: cluster_network_policy,
        text: "tier Admin, priority 0: its denial comes before every NetworkPolicy",
    },
    Means {
        group: "policy.networking.k8s.io",
        version: "v1alpha1",
        plural: "adminnetworkpolicies",
        kind: "AdminNetworkPolicy",
        namespaced: false,
        spec: admin_network_policy,
        text: "priority 0: its denial comes before every NetworkPolicy",
    },
    Means {
        group: "cilium.io",
        version: "v2",
        plural: "ciliumnetworkpolicies",
        kind: "CiliumNetworkPolicy",
        namespaced: true,
        spec: cilium,
        text: "deny rules, which win over every rule that allows; the pod's own node is spared, for its probes keep the evidence alive",
    },
    Means {
        group: "projectcalico.org",
        version: "v3",
        plural: "globalnetworkpolicies",
        kind: "GlobalNetworkPolicy",
        namespaced: false,
        spec: calico,
        text: "order 0, Deny both ways",
    },
];

const fn rule(group: &'static str, resource: &'static str, scope: Scope) -> Rule {
    let why = "a policy that denies, where the cluster has this kind";
    Rule { group, resource, verbs: &["get", "create", "delete"], scope, why, optional: true }
}

/// The rights for them; without one, its kind is not used and the plan says so.
pub const RULES: [Rule; 4] = [
    rule("policy.networking.k8s.io", "clusternetworkpolicies", Scope::Cluster),
    rule("policy.networking.k8s.io", "adminnetworkpolicies", Scope::Cluster),
    rule("cilium.io", "ciliumnetworkpolicies", Scope::Target),
    rule("projectcalico.org", "globalnetworkpolicies", Scope::Cluster),
];

/// `kubernetes.io/metadata.name` is set on every namespace by the API server.
fn subject(namespace: &str, incident: &str) -> Value {
    json!({"pods": {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {QUARANTINE: incident}},
    }})
}

/// <https://network-policy-api.sigs.k8s.io>, ClusterNetworkPolicy. Peers of ingress are pods alone: what comes from
/// outside the cluster the NetworkPolicy beside it stops.
fn cluster_network_policy(namespace: &str, incident: &str) -> Value {
    json!({
        "tier": "Admin", "priority": 0, "subject": subject(namespace, incident),
        "ingress": [{"name": "deny-all", "action": "Deny", "from": [{"namespaces": {}}]}],
        "egress": [{"name": "deny-all", "action": "Deny", "to": [{"namespaces": {}}, {"networks": ["0.0.0.0/0", "::/0"]}]}],
    })
}

fn admin_network_policy(namespace: &str, incident: &str) -> Value {
    let mut spec = cluster_network_policy(namespace, incident);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("tier");
    }
    spec
}

/// Every endpoint of every namespace, and what is outside; not the local host (Cilium, "Deny Policies").
fn cilium(_: &str, incident: &str) -> Value {
    let endpoints = json!([{"matchExpressions": [{"key": "k8s:io.kubernetes.pod.namespace", "operator": "Exists"}]}]);
    let entities = json!(["world", "remote-node", "kube-apiserver"]);
    json!({
        "endpointSelector": {"matchLabels": {QUARANTINE: incident}},
        "ingressDeny": [{"fromEndpoints": endpoints}, {"fromEntities": entities}],
        "egressDeny": [{"toEndpoints": endpoints}, {"toEntities": entities}],
    })
}

fn calico(_: &str, incident: &str) -> Value {
    json!({
        "order": 0, "selector": format!("{QUARANTINE} == '{incident}'"), "types": ["Ingress", "Egress"],
        "ingress": [{"action": "Deny"}], "egress": [{"action": "Deny"}],
    })
}

impl Means {
    fn object(&self, cx: &Cx, namespace: &str) -> ObjectRef {
        // Of a kind without namespace there may be one for each namespace of the incident's pods.
        let name = policy_name(cx);
        ObjectRef {
            api_version: format!("{}/{}", self.group, self.version),
            kind: self.kind.into(),
            namespace: self.namespaced.then(|| namespace.to_string()),
            name: if self.namespaced || namespace == cx.namespace { name } else { format!("{name}-{namespace}") },
            uid: None,
        }
    }
}

/// Adds the strongest of them that is to be had for pods of that namespace; says which, or why none.
///
/// # Errors
/// A failure that the engine should see, see [`Cx::passes_on`].
pub(super) async fn offer(cx: &Cx, namespace: &str, plan: &mut StepPlan) -> Result<Option<Op>, Problem> {
    let groups = match raw::get(&cx.client, "/apis").await {
        Ok(groups) => groups,
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(_) => return Ok(None),
    };
    let served = |means: &Means| {
        groups["groups"].as_array().into_iter().flatten().any(|g| {
            g["name"] == means.group
                && g["versions"].as_array().into_iter().flatten().any(|v| v["version"] == means.version)
        })
    };
    for means in ALL.iter().filter(|m| served(m)) {
        let kinds = match raw::get(&cx.client, &format!("/apis/{}/{}", means.group, means.version)).await {
            Ok(kinds) => kinds,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(_) => continue,
        };
        if !kinds["resources"].as_array().into_iter().flatten().any(|r| r["name"] == means.plural) {
            continue;
        }
        let object = means.object(cx, namespace);
        let mut op = Op::change(
            "create",
            object.clone(),
            format!("create a {} that denies everything in and out: {}", means.kind, means.text),
            Risk::Low,
            Undo::Automatic("delete it".into()),
        );
        op.after = (means.spec)(namespace, &cx.incident);
        op.detail = json!({"kind": "deny-policy", "plural": means.plural});
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        match api(cx, &op)?.create(&dry, &manifest(cx, &op)?).await.map_err(Problem::from) {
            Ok(_) => return Ok(Some(op)),
            // Planned again on resume: it is there, and it is ours.
            Err(problem) if problem.fault == Fault::Conflict => return Ok(Some(op)),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => plan.warnings.push(format!(
                "the cluster has {}, which would deny whatever others allow, but it would be refused: {problem}",
                means.kind
            )),
        }
    }
    Ok(None)
}

/// Whether an operation is one of these.
pub(super) fn is(op: &Op) -> bool {
    op.detail["kind"] == "deny-policy"
}

fn api(cx: &Cx, op: &Op) -> Result<Api<DynamicObject>, Problem> {
    let (group, version) = op
        .object
        .api_version
        .split_once('/')
        .ok_or_else(|| Problem::internal(format!("no group in {}", op.object.api_version)))?;
    let kind = GroupVersionKind::gvk(group, version, &op.object.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, op.detail["plural"].as_str().unwrap_or_default());
    Ok(match &op.object.namespace {
        Some(namespace) => Api::namespaced_with(cx.client.clone(), namespace, &resource),
        None => Api::all_with(cx.client.clone(), &resource),
    })
}

fn manifest(cx: &Cx, op: &Op) -> Result<DynamicObject, Problem> {
    serde_json::from_value(json!({
        "apiVersion": op.object.api_version, "kind": op.object.kind,
        "metadata": {"name": op.object.name, "labels": {"app.kubernetes.io/managed-by": "quell", INCIDENT: cx.incident}},
        "spec": op.after,
    }))
    .map_err(|e| Problem::internal(e.to_string()))
}

fn made(op: &Op, object: &DynamicObject) -> Done {
    Done::applied(
        format!("{} accepted", op.object),
        Proof::Verified("the API server has it".into()),
        json!({"uid": object.metadata.uid}),
    )
}

/// Creates it.
pub(super) async fn apply(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    Ok(made(op, &api(cx, op)?.create(&PostParams::default(), &manifest(cx, op)?).await?))
}

/// Whether it was created.
pub(super) async fn landed(cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    let label = |o: &DynamicObject| o.metadata.labels.as_ref().and_then(|l| l.get(INCIDENT).cloned());
    Ok(match api(cx, op)?.get_opt(&op.object.name).await? {
        Some(found) if label(&found).as_ref() == Some(&cx.incident) => (Landed::Yes, Some(made(op, &found))),
        Some(_) => (Landed::Unknown, None),
        None => (Landed::No, None),
    })
}

/// Deletes it, by its UID.
pub(super) async fn undo(cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
    let uid = done["uid"].as_str().map(str::to_string);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
        ..DeleteParams::default()
    };
    match api(cx, op)?.delete(&op.object.name, &params).await.map_err(Problem::from) {
        Ok(_) => {
            let proof = Proof::Verified("the API server deleted that UID".into());
            Ok(Done::applied(format!("{} deleted", op.object), proof, Value::Null))
        }
        Err(problem) if problem.fault == Fault::NotFound => {
            let detail = format!("{} was gone already", op.object);
            let proof = Some(Proof::Unproved(detail.clone()));
            Ok(Done { status: OpStatus::AlreadySo, detail, proof, observed: Value::Null })
        }
        Err(problem) => Err(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_denies_both_ways_for_the_incidents_pods_alone() {
        for means in &ALL {
            let spec = (means.spec)("shop", "20261123t031245z-x");
            let text = spec.to_string();
            assert!(text.contains(QUARANTINE) && text.contains("20261123t031245z-x"), "{}: {text}", means.kind);
            assert!(text.to_lowercase().contains("deny"), "{}: {text}", means.kind);
            let has = |way: &str| spec.as_object().unwrap().keys().any(|k| k.starts_with(way));
            assert!(has("ingress") && has("egress"), "{}: {text}", means.kind);
            if !means.namespaced && means.group.starts_with("policy.") {
                assert!(text.contains("\"kubernetes.io/metadata.name\":\"shop\""), "{text}");
            }
        }
        assert!(admin_network_policy("a", "b")["tier"].is_null());
    }
}
