//! Who uses the Secret in its namespace: by running pod, and by the templates that make pods.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::{join, join_all};
use k8s_openapi::api::core::v1::PodSpec;
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::secret_use::{Use, uses};
use crate::cluster::{Cx, Fault, Problem, raw};

/// Items of one page. A pod is some KiB.
const PAGE: usize = 1000;

/// The kinds with a template: API path, kind, and where the pod's spec lies in it.
pub const TEMPLATES: &[(&str, &str, &str)] = &[
    ("/apis/apps/v1", "Deployment", "deployments"),
    ("/apis/apps/v1", "StatefulSet", "statefulsets"),
    ("/apis/apps/v1", "DaemonSet", "daemonsets"),
    ("/apis/apps/v1", "ReplicaSet", "replicasets"),
    ("/apis/batch/v1", "CronJob", "cronjobs"),
    ("/apis/batch/v1", "Job", "jobs"),
    ("/api/v1", "ReplicationController", "replicationcontrollers"),
];

/// A template that names the Secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workload {
    pub kind: &'static str,
    pub name: String,
    pub uid: String,
    /// `Deployment/web`, when it is another's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub uses: Vec<Use>,
    /// Pods that it wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
}

/// A pod that names the Secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Holder {
    pub name: String,
    pub uid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The workload that a person would restart: `Deployment/web`, not its ReplicaSet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    pub service_account: String,
    pub phase: String,
    pub created: String,
    pub uses: Vec<Use>,
}

/// What the namespace showed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    pub workloads: Vec<Workload>,
    pub pods: Vec<Holder>,
    /// How many pods were looked at.
    pub pods_seen: usize,
    /// What could not be read.
    #[serde(skip)]
    pub not_read: Vec<String>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: ObjectMeta,
    spec: Option<PodSpec>,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize, Default)]
struct Status {
    phase: Option<String>,
}

#[derive(Deserialize)]
struct Maker {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl Maker {
    /// The template's pod spec.
    fn pod_spec(&mut self) -> Option<PodSpec> {
        let spec = match self.spec.pointer_mut("/jobTemplate/spec/template/spec") {
            Some(spec) => spec.take(),
            None => self.spec.pointer_mut("/template/spec")?.take(),
        };
        serde_json::from_value(spec).ok()
    }
}

fn owner(meta: &ObjectMeta) -> Option<(String, String)> {
    let owner = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))?;
    Some((format!("{}/{}", owner.kind, owner.name), owner.uid.clone()))
}

/// Templates of one kind that name the Secret, and whose each of that kind is, by UID.
#[derive(Default)]
struct Templates {
    workloads: Vec<Workload>,
    parents: BTreeMap<String, String>,
}

/// All that names the Secret, or mounts one of the provider classes that fill it. The kinds are listed side by side.
pub async fn find(cx: &Cx, namespace: &str, secret: &str, classes: &BTreeSet<String>) -> Result<Found, Problem> {
    let all_uses = |spec: &PodSpec| {
        let mut all = uses(spec, secret);
        all.extend(by_class(spec, classes));
        all
    };
    let templates =
        TEMPLATES.iter().map(|(base, kind, plural)| templates(cx, namespace, base, kind, plural, &all_uses));
    let (templates, (listed, seen, pods)) = join(join_all(templates), pods(cx, namespace, &all_uses)).await;
    let mut found = Found { pods_seen: seen, ..Found::default() };
    let mut parents = BTreeMap::new();
    for ((listed, of_kind), (_, _, plural)) in templates.into_iter().zip(TEMPLATES) {
        not_read(cx, listed, plural, &mut found.not_read)?;
        found.workloads.extend(of_kind.workloads);
        parents.extend(of_kind.parents);
    }
    not_read(cx, listed, "pods", &mut found.not_read)?;
    for (mut pod, owner) in pods {
        pod.workload = owner.map(|(name, uid)| parents.get(&uid).cloned().unwrap_or(name));
        found.pods.push(pod);
    }
    found.pods.sort_by(|a, b| a.name.cmp(&b.name));
    found.workloads.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    Ok(found)
}

async fn templates(
    cx: &Cx,
    namespace: &str,
    base: &str,
    kind: &'static str,
    plural: &str,
    all_uses: &(impl Fn(&PodSpec) -> Vec<Use> + Sync),
) -> (Result<(), Problem>, Templates) {
    let mut found = Templates::default();
    let listed = raw::each(&cx.client, &format!("{base}/namespaces/{namespace}/{plural}"), PAGE, |mut maker: Maker| {
        let uid = maker.metadata.uid.clone().unwrap_or_default();
        let owner = owner(&maker.metadata);
        if let Some((name, _)) = &owner {
            found.parents.insert(uid.clone(), name.clone());
        }
        let replicas = maker.spec["replicas"].as_i64();
        let Some(spec) = maker.pod_spec() else { return };
        let uses = all_uses(&spec);
        // A ReplicaSet that is scaled to nothing is a Deployment's past.
        if uses.is_empty() || kind == "ReplicaSet" && owner.is_some() {
            return;
        }
        found.workloads.push(Workload {
            kind,
            name: maker.metadata.name.unwrap_or_default(),
            uid,
            owner: owner.map(|(name, _)| name),
            uses,
            replicas,
        });
    })
    .await;
    (listed, found)
}

/// The pods that name it, each with its owner's name and UID; and how many were looked at.
async fn pods(
    cx: &Cx,
    namespace: &str,
    all_uses: &(impl Fn(&PodSpec) -> Vec<Use> + Sync),
) -> (Result<(), Problem>, usize, Vec<(Holder, Option<(String, String)>)>) {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let (mut seen, mut pods) = (0, Vec::new());
    let listed = raw::each(&cx.client, &path, PAGE, |pod: Pod| {
        seen += 1;
        let Some(spec) = pod.spec else { return };
        let uses = all_uses(&spec);
        if uses.is_empty() {
            return;
        }
        let owner = owner(&pod.metadata);
        let holder = Holder {
            created: serde_json::to_value(&pod.metadata.creation_timestamp)
                .ok()
                .and_then(|v| v.as_str().map(Into::into))
                .unwrap_or_default(),
            name: pod.metadata.name.unwrap_or_default(),
            uid: pod.metadata.uid.unwrap_or_default(),
            node: spec.node_name,
            workload: None,
            service_account: spec.service_account_name.unwrap_or_else(|| "default".into()),
            phase: pod.status.phase.unwrap_or_default(),
            uses,
        };
        pods.push((holder, owner));
    })
    .await;
    (listed, seen, pods)
}

/// Pods that mount a class of the Secrets Store CSI driver hold what it brings, the Secret's value among it.
fn by_class(spec: &PodSpec, classes: &BTreeSet<String>) -> Vec<Use> {
    let volumes = spec.volumes.iter().flatten();
    let of_class = volumes.filter_map(|v| {
        let class = v.csi.as_ref()?.volume_attributes.as_ref()?.get("secretProviderClass")?;
        classes.contains(class).then(|| Use { via: "csi", container: None, key: None, at: Some(v.name.clone()) })
    });
    of_class.collect()
}

/// A refusal is said; a kind that this cluster has not is none.
pub fn not_read(cx: &Cx, listed: Result<(), Problem>, what: &str, left: &mut Vec<String>) -> Result<(), Problem> {
    match listed {
        Ok(()) => Ok(()),
        Err(problem) if problem.fault == Fault::NotFound => Ok(()),
        Err(problem) if problem.fault == Fault::Refused => {
            left.push(format!("{what}: you may not list them"));
            Ok(())
        }
        Err(problem) if cx.passes_on(&problem) => Err(problem),
        Err(problem) => {
            left.push(format!("{what}: {problem}"));
            Ok(())
        }
    }
}
