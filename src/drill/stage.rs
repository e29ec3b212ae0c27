//! The scene: an embedded cluster from the scenario, or a namespace of a real one, and the stage hands' own access.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::scenario::{NAMESPACE, Scenario};
use crate::cluster::{Fault, Options, Problem, unguarded};
use crate::runbook::parse_duration;
use crate::sim::identity::User;
use crate::sim::world::Image;
use crate::sim::{Setup, Sim};

/// Marks what a drill made on a real cluster; its value is the drill's id.
pub const LABEL: &str = "quell.dev/drill";
/// On kube-system: this cluster may be used for drills.
pub const ALLOWED: &str = "quell.dev/drills";
/// Who sets the scene. Not the responder.
const MANAGER: &str = "quell-drill";

/// A scene that is set.
pub struct Scene {
    /// The responder's.
    pub kubeconfig: PathBuf,
    /// The responder's context.
    pub context: Option<String>,
    /// Where it plays.
    pub namespace: String,
    /// The embedded cluster, when it is one.
    pub sim: Option<Sim>,
    /// The stage hands' access.
    pub admin: Client,
    /// The embedded cluster's audit log.
    pub audit_log: Option<PathBuf>,
    /// The drill's id.
    pub id: String,
    /// On a real cluster, those who act in the scene with credentials of their own, by name.
    pub(super) others: Mutex<BTreeMap<String, Client>>,
}

impl Scene {
    /// An embedded cluster, with the responder's rights as manifests.
    ///
    /// # Errors
    /// When the cluster does not start, refuses a manifest, or its pods do not get ready.
    pub async fn embedded(
        scenario: &Scenario,
        dir: &Path,
        id: &str,
        seed: u64,
        speed: f64,
        rights: &[Value],
    ) -> Result<Scene, Problem> {
        let audit_log = dir.join("audit.log");
        let setup = Setup {
            seed,
            audit_log: Some(audit_log.clone()),
            audit_policy: scenario.cluster.audit_policy.clone(),
            listen: None,
        };
        let sim = Sim::start(setup)
            .await
            .map_err(|e| Problem::failed(format!("the embedded cluster does not start: {e}")))?;
        let token = uuid::Uuid::new_v4().to_string();
        set_stage(&sim, scenario, speed, &token);
        let kubeconfig = dir.join("kubeconfig");
        let text = sim.kubeconfig("embedded", &[("responder".into(), token)]);
        write_private(&kubeconfig, &text)?;
        let options =
            Options { kubeconfig: Some(kubeconfig.clone()), context: Some("admin@embedded".into()), namespace: None };
        let admin = unguarded(&options).await?;
        let scene = Scene {
            kubeconfig,
            context: Some("responder@embedded".into()),
            namespace: scenario.namespace.clone(),
            sim: Some(sim),
            admin,
            audit_log: Some(audit_log),
            id: id.into(),
            others: Mutex::default(),
        };
        scene.prepare(scenario, rights).await?;
        scene.strike(scenario);
        Ok(scene)
    }

    /// A scene in an embedded cluster that is served to other clients; `kubeconfig` is the administrator's.
    ///
    /// # Errors
    /// As [`Scene::embedded`].
    pub async fn around(
        sim: Sim,
        scenario: &Scenario,
        kubeconfig: &Path,
        audit_log: Option<PathBuf>,
    ) -> Result<Scene, Problem> {
        let options = Options { kubeconfig: Some(kubeconfig.into()), context: None, namespace: None };
        let admin = unguarded(&options).await?;
        let scene = Scene {
            kubeconfig: kubeconfig.into(),
            context: None,
            namespace: scenario.namespace.clone(),
            sim: Some(sim),
            admin,
            audit_log,
            id: "served".into(),
            others: Mutex::default(),
        };
        scene.prepare(scenario, &[]).await?;
        scene.strike(scenario);
        Ok(scene)
    }

    /// The scenario's faults begin: once the scene stands, for they are meant for the responder.
    fn strike(&self, scenario: &Scenario) {
        if let Some(sim) = &self.sim {
            sim.with(|world| world.faults.extend(scenario.cluster.faults.iter().cloned()));
        }
    }

    /// A namespace of its own on a real cluster.
    ///
    /// # Errors
    /// A refusal for a cluster that is not marked for drills, unless `known` names it.
    pub async fn real(
        scenario: &Scenario,
        options: &Options,
        id: &str,
        known: Option<&str>,
        images: &[(String, String)],
    ) -> Result<Scene, Problem> {
        if !scenario.only_embedded.is_empty() {
            let what = format!(
                "drill {} is for the embedded cluster alone: {}",
                scenario.metadata.name, scenario.only_embedded
            );
            return Err(Problem::refused(what).hint("leave --context and --kubeconfig out"));
        }
        let admin = unguarded(options).await?;
        may_be_used(&admin, options, known).await?;
        let namespace = format!("quell-drill-{id}");
        let scene = Scene {
            kubeconfig: options.kubeconfig.clone().unwrap_or_default(),
            context: options.context.clone(),
            namespace,
            sim: None,
            admin,
            audit_log: None,
            id: id.into(),
            others: Mutex::default(),
        };
        let mut scenario = scenario.clone();
        for (from, to) in images {
            scenario.manifests = scenario.manifests.replace(&format!("image: {from}"), &format!("image: {to}"));
        }
        if let Err(problem) = scene.prepare(&scenario, &[]).await {
            // What was made so far is not left behind; `quell drill clean` finds it too.
            let _ = scene.clear().await;
            return Err(problem);
        }
        Ok(scene)
    }

    async fn prepare(&self, scenario: &Scenario, rights: &[Value]) -> Result<(), Problem> {
        let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": {LABEL: self.id}}});
        self.apply(&home).await?;
        // The namespace's service account comes a moment later; pods are refused until then.
        self.until("the namespace's service account", |all| !all.is_empty(), "serviceaccounts").await?;
        for object in documents(&self.placed(&scenario.manifests))? {
            self.apply(&object).await?;
        }
        for object in rights {
            self.apply(object).await?;
        }
        self.ready().await
    }

    /// `$NAMESPACE` becomes the drill's.
    pub fn placed(&self, text: &str) -> String {
        text.replace(NAMESPACE, &self.namespace)
    }

    /// Server-side apply of one manifest; one without a namespace goes into the drill's.
    ///
    /// # Errors
    /// As the API server refuses.
    pub async fn apply(&self, object: &Value) -> Result<(), Problem> {
        let path = self.path_of(object).await?;
        let mut object = object.clone();
        if path.contains("/namespaces/") && object["kind"] != "Namespace" && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        if object["kind"] != "Namespace" && !path.contains("/namespaces/") {
            object["metadata"]["labels"][LABEL] = json!(self.id);
        }
        let request = Request::patch(format!("{path}?fieldManager={MANAGER}&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(object.to_string().into_bytes())
            .map_err(|e| Problem::internal(e.to_string()))?;
        let what = format!(
            "{} {}",
            object["kind"].as_str().unwrap_or_default(),
            object["metadata"]["name"].as_str().unwrap_or_default()
        );
        self.admin
            .request::<Value>(request)
            .await
            .map_err(|e| Problem::from(e).about(&format!("the drill's {what}")))?;
        Ok(())
    }

    /// The path of a manifest's object.
    ///
    /// # Errors
    /// When the cluster knows no such kind.
    pub async fn path_of(&self, object: &Value) -> Result<String, Problem> {
        let (api, kind) =
            (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
        let base = if api.contains('/') { format!("/apis/{api}") } else { format!("/api/{api}") };
        let all: Value = self.get(&base).await?;
        let found = all["resources"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|r| r["kind"] == kind && !r["name"].as_str().unwrap_or_default().contains('/'));
        let Some(resource) = found else {
            return Err(Problem::usage(format!(
                "the drill's manifests have a {api} {kind}, which this cluster does not know"
            )));
        };
        let (plural, name) =
            (resource["name"].as_str().unwrap_or_default(), object["metadata"]["name"].as_str().unwrap_or_default());
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&self.namespace);
        Ok(if resource["namespaced"] == true {
            format!("{base}/namespaces/{namespace}/{plural}/{name}")
        } else {
            format!("{base}/{plural}/{name}")
        })
    }

    /// GET as a stage hand.
    ///
    /// # Errors
    /// As the API server refuses.
    pub async fn get(&self, path: &str) -> Result<Value, Problem> {
        let request = Request::get(path).body(Vec::new()).map_err(|e| Problem::internal(e.to_string()))?;
        self.admin.request::<Value>(request).await.map_err(Problem::from)
    }

    /// Pods of the scene.
    ///
    /// # Errors
    /// As the API server refuses.
    pub async fn pods(&self, selector: &str) -> Result<Vec<Pod>, Problem> {
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), &self.namespace);
        Ok(api.list(&ListParams::default().labels(selector)).await.map_err(Problem::from)?.items)
    }

    async fn until(&self, what: &str, so: impl Fn(&[Value]) -> bool, plural: &str) -> Result<(), Problem> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let all = self.get(&format!("/api/v1/namespaces/{}/{plural}", self.namespace)).await?;
            if so(all["items"].as_array().map(Vec::as_slice).unwrap_or_default()) {
                return Ok(());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Problem::failed(format!(
                    "the drill's scene is not ready: {what} did not come within 60 s"
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Until every pod of the scene runs (or has ended), by a watch.
    async fn ready(&self) -> Result<(), Problem> {
        use futures::TryStreamExt;
        let api: Api<Pod> = Api::namespaced(self.admin.clone(), &self.namespace);
        let wait = async {
            let mut changes = std::pin::pin!(watcher(api.clone(), watcher::Config::default()));
            loop {
                // The workloads' own status comes after the last change of a pod: look again soon without one.
                if let Ok(change) = tokio::time::timeout(Duration::from_millis(250), changes.try_next()).await {
                    change.map_err(|e| Problem::failed(format!("watching the drill's pods: {e}")))?;
                }
                if self.complete().await? {
                    return Ok(());
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(120), wait).await {
            Ok(ended) => ended,
            Err(_) => Err(Problem::failed("the drill's pods did not get ready within 120 s")
                .hint(format!("look at the namespace {}: kubectl get pods,events", self.namespace))),
        }
    }

    async fn complete(&self) -> Result<bool, Problem> {
        let pods = self.pods("").await?;
        for kind in ["deployments", "statefulsets", "daemonsets"] {
            let all = self.get(&format!("/apis/apps/v1/namespaces/{}/{kind}", self.namespace)).await?;
            for workload in all["items"].as_array().into_iter().flatten() {
                let wanted = if kind == "daemonsets" {
                    workload["status"]["desiredNumberScheduled"].as_u64()
                } else {
                    Some(workload["spec"]["replicas"].as_u64().unwrap_or(1))
                };
                let ready = if kind == "daemonsets" {
                    &workload["status"]["numberReady"]
                } else {
                    &workload["status"]["readyReplicas"]
                };
                if wanted.is_none() || ready.as_u64().unwrap_or(0) < wanted.unwrap_or(1) {
                    return Ok(false);
                }
            }
        }
        Ok(pods.iter().all(|p| {
            is_ready(p)
                || p.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed")
        }))
    }

    /// Removes what the drill made on a real cluster.
    ///
    /// # Errors
    /// As the API server refuses.
    pub async fn clear(&self) -> Result<Vec<String>, Problem> {
        if self.sim.is_some() {
            return Ok(Vec::new());
        }
        clean(&self.admin, Some(&self.id)).await
    }
}

/// Whether a pod's Ready condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// Removes what drills left on a cluster: of one, or of all. What was removed comes back.
///
/// # Errors
/// As the API server refuses.
pub async fn clean(admin: &Client, id: Option<&str>) -> Result<Vec<String>, Problem> {
    let selector = id.map_or_else(|| LABEL.to_string(), |id| format!("{LABEL}%3D{id}"));
    let mut gone = Vec::new();
    for path in [
        "/api/v1/namespaces",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    ] {
        let request = Request::get(format!("{path}?labelSelector={selector}"))
            .body(Vec::new())
            .map_err(|e| Problem::internal(e.to_string()))?;
        let all: Value = admin.request(request).await.map_err(Problem::from)?;
        for object in all["items"].as_array().into_iter().flatten() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let body = json!({"preconditions": {"uid": object["metadata"]["uid"]}, "propagationPolicy": "Background"});
            let request = Request::delete(format!("{path}/{name}"))
                .header("content-type", "application/json")
                .body(body.to_string().into_bytes())
                .map_err(|e| Problem::internal(e.to_string()))?;
            match admin.request::<Value>(request).await.map_err(Problem::from) {
                Ok(_) => gone.push(format!("{} {name}", path.rsplit('/').next().unwrap_or_default())),
                Err(problem) if problem.fault == Fault::NotFound => {}
                Err(problem) => return Err(problem),
            }
        }
    }
    Ok(gone)
}

async fn may_be_used(admin: &Client, options: &Options, known: Option<&str>) -> Result<(), Problem> {
    let request = Request::get("/api/v1/namespaces/kube-system")
        .body(Vec::new())
        .map_err(|e| Problem::internal(e.to_string()))?;
    let home: Value = admin.request(request).await.map_err(Problem::from)?;
    let context = options.context.clone().unwrap_or_default();
    if home["metadata"]["labels"][ALLOWED] == "allowed" || known.is_some_and(|typed| typed == context) {
        return Ok(());
    }
    Err(Problem::refused(format!("cluster of context {context:?} is not marked for drills; nothing was touched")).hint(format!(
        "mark one that may be used: kubectl label namespace kube-system {ALLOWED}=allowed; or say --i-know-this-is-not-production {context}"
    )))
}

/// The documents of a YAML text.
///
/// # Errors
/// With the parser's words.
pub fn documents(text: &str) -> Result<Vec<Value>, Problem> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(text)
        .map(|one| Value::deserialize(one).map_err(|e| Problem::usage(format!("the drill's manifests: {e}"))))
        .filter(|one| !matches!(one, Ok(Value::Null)))
        .collect()
}

/// Writes a file that only its owner may read: it holds credentials.
///
/// # Errors
/// When it can't be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), Problem> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| Problem::io("can't write", path, &e))?;
    file.write_all(text.as_bytes()).map_err(|e| Problem::io("can't write", path, &e))
}

/// Nodes, images, network and the responder's identity.
pub fn set_stage(sim: &Sim, scenario: &Scenario, speed: f64, token: &str) {
    sim.with(|world| {
        world.speed = speed;
        world.network = scenario.cluster.network;
        let (now, past) = (world.now(), &scenario.cluster.audit_past);
        let ago = |text: &str| now - parse_duration(text).unwrap_or_default();
        let lost: Vec<_> = past.lost.iter().map(|l| (ago(&l.from), ago(&l.to))).collect();
        world.audit.past(ago(&past.reaches), now, &lost);
        world.identities.add_token(token, User::new("responder", &["responders"]));
        world.images = scenario
            .cluster
            .images
            .iter()
            .map(|image| Image {
                name: image.name.clone(),
                container: image.container.clone(),
                labels: image.labels.clone(),
                inside: image.inside.clone().into(),
                digest: String::new(),
                size: image.size,
                missing: image.missing,
                log: image.log.clone(),
                ends: image.ends_after.map(|s| (time::Duration::seconds(i64::try_from(s).unwrap_or(i64::MAX)), 0)),
                ignores_term: image.ignores_term,
            })
            .collect();
        for i in 1..=scenario.cluster.nodes {
            world.add_node(&format!("node-{i}"));
        }
    });
}
