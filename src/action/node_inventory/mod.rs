//! `node.inventory`: what runs on a node, what it could read there, and what the node itself holds.

mod held;
pub(crate) mod own;
mod past;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::audit_reading::{Log, Paths, day};
use super::{Action, Conclusion, Done, Kind, Rule, Scope, Spec, StepPlan, node};
use crate::cluster::{Cx, Fault, Problem, raw};
use crate::event::{Estimate, Label, Method, Op, Proof, Risk, Source};
use crate::evidence::segment;
use held::Holdings;

/// Requests at the same time.
const AT_ONCE: usize = 8;

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeInventory {
    /// The node's name.
    node: String,
    /// Its UID: only this one is looked at.
    uid: Option<String>,
    /// Files or folders of the API server's audit log on this machine, one path or a list: they tell what ran there before
    /// and is gone.
    audit_log: Option<Paths>,
    /// How far to look back from `until`, in seconds, at most 366 days. Default: 24 hours.
    #[serde(default = "day")]
    window: u64,
    /// The window's end, RFC 3339. Default: the time at which the step runs.
    until: Option<String>,
}

const fn rule(
    resource: &'static str,
    verbs: &'static [&'static str],
    scope: Scope,
    why: &'static str,
    optional: bool,
) -> Rule {
    Rule { group: "", resource, verbs, scope, why, optional }
}

impl NodeInventory {
    /// The audit log, where one was given; the error says which parameter is wrong.
    fn log(&self, cx: &Cx) -> Result<Option<Log>, String> {
        let log = Log::new(self.audit_log.as_ref(), self.window, self.until.as_deref(), &[], cx.clock.now())?;
        Ok((!log.paths.is_empty()).then_some(log))
    }

    /// What ran there before. A log that can't be read stops nothing: the pods that are there are in the record, and they
    /// can't wait. What is not known is said, and handed over with the credentials.
    async fn look_back(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let seen = cx.store.adopt_json(&past::path(&cx.step));
        let document = match (seen, self.log(cx).map_err(Problem::usage)?) {
            (Some(document), _) => {
                cx.store.adopt(&format!("data/{}/past.slice.jsonl", segment(&cx.step)));
                Ok(document)
            }
            (None, None) => return Err(Problem::internal("no audit log was given")),
            (None, Some(log)) => {
                let pods = cx.store.read_json(&format!("data/{}/pods.json", segment(&cx.step))).unwrap_or_default();
                let (cx, node) = (cx.clone(), op.object.clone());
                let pods = pods.as_array().cloned().unwrap_or_default();
                // Reading a log takes a processor for as long as the disk gives: not on the runtime's own threads.
                tokio::task::spawn_blocking(move || past::read(&cx, &log, &node, &pods))
                    .await
                    .map_err(|e| Problem::internal(format!("reading the audit log ended early: {e}")))?
            }
        };
        Ok(match document {
            Ok(document) => Done::taken(past::detail(&document), None, past::outputs(&document, &cx.step)),
            Err(problem) => {
                let why = format!("what ran there before is not known: {problem}");
                Done::taken(why.clone(), None, json!({"known": false, "gone": 0, "pods": [], "doubts": [why]}))
            }
        })
    }
}

impl Kind for NodeInventory {
    const SPEC: Spec = Spec {
        name: "node.inventory",
        summary: "Record what runs on a node, what it could read there, and the node's own credentials",
        description: "Reads only. Writes down, as the API server has them, the node and every pod on it; and works out, by name and \
            never by value, each Secret, ConfigMap and token that reached the node by volume, environment, projection, pull \
            secret or a volume's driver; service accounts; pods that reach beyond their containers (hostPath, privileged, host \
            namespaces); static pods, which the API can't remove; the volumes behind claims; the node's certificate requests with \
            their expiry, bootstrap tokens and its lease. What ran there before is not known to the API: with `audit-log`, the \
            bindings in it, pods that were made, and what the kubelet itself asked tell which pods ran there and are gone, with \
            account, images and what they could read, as far as bodies are recorded; where the log doesn't say, that is said, and \
            handed over by `credentials.rotate`. The node's disk and memory are not captured.",
        risk: Risk::Read,
        undo: "nothing is changed",
        captures: true,
        rules: &[
            rule("nodes", &["get"], Scope::Cluster, "the node", false),
            rule("pods", &["list"], Scope::Cluster, "what runs on it", false),
            rule("serviceaccounts", &["get"], Scope::Cluster, "their pull secrets and old token Secrets", true),
            rule("persistentvolumeclaims", &["get"], Scope::Cluster, "the volumes behind claims", true),
            rule("persistentvolumes", &["get"], Scope::Cluster, "their drivers, and the Secrets that those read", true),
            Rule {
                group: "certificates.k8s.io",
                resource: "certificatesigningrequests",
                verbs: &["list"],
                scope: Scope::Cluster,
                why: "the node's certificates",
                optional: true,
            },
            Rule {
                group: "coordination.k8s.io",
                resource: "leases",
                verbs: &["get"],
                scope: Scope::In("kube-node-lease"),
                why: "when the node last said that it lives",
                optional: true,
            },
        ],
        example: "id: inventory\ntitle: List what the node could read\nuses: node.inventory\nwith:\n  node: ${{ steps.cordon.outputs.node.name }}\n  uid: ${{ steps.cordon.outputs.node.uid }}\n",
        outputs: &[
            ("node", "name, uid, provider_id, control_plane, ready"),
            ("pods", "namespace, name and uid of each pod on it"),
            ("static_pods", "those that the API can't remove, as namespace/name"),
            ("beyond", "pods that reach beyond their containers, each with how"),
            ("credentials", "Secrets, ConfigMaps and tokens that reached it: kind, namespace, name, keys, via, pods"),
            ("service_accounts", "namespace, name and pods of each identity on it"),
            (
                "node_credentials",
                "user, certificate_requests, lease, bootstrap_tokens; null where it could not be read",
            ),
            ("inventory", "path of the artifact with all of it"),
            (
                "past",
                "known, gone (a number), pods, doubts, document: what ran there before, by the audit log; known is false without one",
            ),
        ],
    };
}

#[async_trait]
impl Action for NodeInventory {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let found = node::find(&cx.client, &self.node, self.uid.as_deref()).await?;
        let target = node::object(&found);
        let seen = look(cx, &found).await?;
        let outputs = seen.outputs(&cx.step);
        let estimate = Estimate { bytes: None, basis: format!("{} pods' manifests", seen.pods.len()) };
        let mut plan = StepPlan { outputs, ..StepPlan::default() };
        let fixed = seen.statics();
        if !fixed.is_empty() {
            plan.warnings.push(format!("static pods, which the API can't remove: {}", fixed.join(", ")));
        }
        for (pod, how) in seen.beyond() {
            plan.warnings.push(format!("{pod} reaches beyond its containers: {how}"));
        }
        plan.warnings.extend(seen.not_read.iter().map(|what| format!("not read: {what}")));
        let text =
            format!("read {target}, its {} pods and what they could read, its certificates and lease", seen.pods.len());
        plan.ops.push(Op::capture("read", target.clone(), text, Risk::Read, estimate));
        match self.log(cx) {
            Err(blocker) => plan.blockers.push(blocker),
            Ok(None) => plan.warnings.push(
                "what ran there before and is gone will not be known: no audit log was given (--set audit-log=PATH)"
                    .into(),
            ),
            Ok(Some(log)) => {
                let estimate = Estimate { bytes: None, basis: "the requests about its pods".into() };
                let text = format!("find what ran on {target} before and is gone, in {}", log.look(&mut plan));
                plan.ops.push(Op::capture("look-back", target, text, Risk::Read, estimate));
            }
        }
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if op.verb == "look-back" {
            return self.look_back(cx, op).await;
        }
        let path = |name: &str| format!("data/{}/{name}.json", segment(&cx.step));
        if let Some(document) = cx.store.adopt_json(&path("inventory")) {
            cx.store.adopt(&path("node"));
            cx.store.adopt(&path("pods"));
            return Ok(done(op, &document["outputs"]));
        }
        let found = node::find(&cx.client, &op.object.name, op.object.uid.as_deref()).await?;
        let seen = look(cx, &found).await?;
        let outputs = seen.outputs(&cx.step);
        let document = seen.document(&outputs, &crate::clock::rfc3339(cx.clock.now()));
        for (name, title, what, value) in [
            ("node", "The node as the API server sent it", "node", &found),
            ("pods", "The pods on the node as the API server sent them", "pods", &Value::Array(seen.pods.clone())),
            (
                "inventory",
                "What reached the node: credentials by name, volumes, the node's own; no values",
                "inventory",
                &document,
            ),
        ] {
            let label = Label {
                title: title.into(),
                media_type: "application/json".into(),
                source: Source { object: op.object.clone(), container: None, what: what.into() },
                method: Method::api("the API server's own objects", vec![what.into()]),
                started: cx.clock.now(),
            };
            cx.store.put_json(&path(name), label, cx.clock, value, seen.not_read.clone())?;
        }
        Ok(done(op, &outputs))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = done.first().map_or_else(|| plan_outputs.clone(), |(_, d)| d.observed.clone());
        let mut conclusion = Conclusion::of(Value::Null, done);
        if let Some((_, before)) = done.get(1) {
            for list in ["credentials", "service_accounts"] {
                outputs[list] = json!(past::together(&outputs[list], &before.observed[list]));
            }
            outputs["past"] = before.observed.clone();
            if let Some(past) = outputs["past"].as_object_mut() {
                past.retain(|key, _| key != "credentials" && key != "service_accounts");
            }
            let now = done.first().map(|(_, d)| d.detail.as_str()).unwrap_or_default();
            conclusion.summary = format!("{now}; {}", before.detail);
        }
        Conclusion { outputs, ..conclusion }
    }
}

fn done(op: &Op, outputs: &Value) -> Done {
    let count = |key: &str| outputs[key].as_array().map_or(0, Vec::len);
    let secrets = outputs["credentials"].as_array().into_iter().flatten().filter(|c| c["kind"] != "configmap").count();
    let detail = format!(
        "{}: {} pods, {secrets} credentials of {} service accounts within reach; its disk and its memory are not in it",
        op.object,
        count("pods"),
        count("service_accounts")
    );
    Done::taken(
        detail,
        Some(Proof::Verified("every pod of the node at that time, written and hashed".into())),
        outputs.clone(),
    )
}

/// What was read.
struct Seen {
    node: Value,
    pods: Vec<Value>,
    holdings: Holdings,
    volumes: Vec<Value>,
    own: Value,
    not_read: Vec<String>,
}

fn name(object: &Value) -> String {
    let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

impl Seen {
    fn statics(&self) -> Vec<String> {
        let fixed = |p: &&Value| p["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
        self.pods.iter().filter(fixed).map(name).collect()
    }

    fn beyond(&self) -> Vec<(String, String)> {
        let each = self.pods.iter().map(|p| (name(p), held::reach(p).join(", ")));
        each.filter(|(_, how)| !how.is_empty()).collect()
    }

    fn outputs(&self, step: &str) -> Value {
        let object = node::object(&self.node);
        let (credentials, accounts) = self.holdings.json();
        json!({
            "node": {
                "name": object.name, "uid": object.uid, "provider_id": self.node["spec"]["providerID"],
                "control_plane": node::is_control_plane(&self.node), "ready": node::ready(&self.node),
            },
            "pods": self.pods.iter().map(|p| json!({
                "namespace": p["metadata"]["namespace"], "name": p["metadata"]["name"], "uid": p["metadata"]["uid"],
            })).collect::<Vec<_>>(),
            "static_pods": self.statics(),
            "beyond": self.beyond().into_iter().map(|(pod, how)| format!("{pod}: {how}")).collect::<Vec<_>>(),
            "credentials": credentials,
            "service_accounts": accounts,
            "node_credentials": self.own,
            "inventory": format!("data/{}/inventory.json", segment(step)),
            "past": {"known": false, "gone": 0, "pods": [], "doubts": []},
        })
    }

    fn document(&self, outputs: &Value, taken: &str) -> Value {
        json!({
            "format": "quell/node-inventory/1",
            "taken": taken,
            "outputs": outputs,
            "pods": self.pods.iter().map(|p| json!({
                "pod": name(p), "uid": p["metadata"]["uid"], "phase": p["status"]["phase"],
                "service_account": p["spec"]["serviceAccountName"], "started": p["status"]["startTime"],
                "owner": p["metadata"]["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true)
                    .map(|o| format!("{} {}", o["kind"].as_str().unwrap_or_default(), o["name"].as_str().unwrap_or_default())),
                "images": p["status"]["containerStatuses"].as_array().into_iter().flatten()
                    .map(|s| json!({"image": s["image"], "digest": s["imageID"]})).collect::<Vec<_>>(),
                "beyond": held::reach(p),
            })).collect::<Vec<_>>(),
            "volumes": self.volumes,
            "volumes_attached": self.node["status"]["volumesAttached"],
            "not_read": self.not_read,
            "not_looked_at": [
                "pods that ran there before and are gone: the API does not keep them; with an audit log, past.json names them",
                "the node's disk, memory, images and logs: take a snapshot of the instance before it is ended",
                "credentials that the machine has of its cloud: its metadata service, its instance role",
                "what the kubelet may read for its node by the node authorizer is what its pods name; it is in here",
            ],
        })
    }
}

async fn look(cx: &Cx, found: &Value) -> Result<Seen, Problem> {
    let target = node::object(found);
    let (pods, more) =
        raw::list(&cx.client, format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", target.name)).await?;
    let mut not_read = Vec::new();
    if more {
        not_read.push(format!("pods: only the first {}", pods.len()));
    }
    let accounts = accounts(cx, &pods, &mut not_read).await?;
    let mut holdings = Holdings::default();
    for pod in &pods {
        let key = account_of(pod);
        holdings.add(pod, accounts.get(&key).unwrap_or(&Value::Null));
    }
    let volumes = volumes(cx, &pods, &mut holdings, &mut not_read).await?;
    let own = own::credentials(cx, &target.name, &mut not_read).await?;
    Ok(Seen { node: found.clone(), pods, holdings, volumes, own, not_read })
}

fn account_of(pod: &Value) -> (String, String) {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    (text(&pod["metadata"]["namespace"]), text(&pod["spec"]["serviceAccountName"]))
}

/// The service accounts of the pods, each read once.
async fn accounts(
    cx: &Cx,
    pods: &[Value],
    not_read: &mut Vec<String>,
) -> Result<BTreeMap<(String, String), Value>, Problem> {
    let wanted: BTreeSet<(String, String)> = pods.iter().map(account_of).filter(|(_, name)| !name.is_empty()).collect();
    let paths = wanted
        .into_iter()
        .map(|key| (format!("/api/v1/namespaces/{}/serviceaccounts/{}", key.0, key.1), key))
        .collect();
    several(cx, paths, "service account", not_read).await
}

/// GETs several objects side by side; what is not there or may not be read is said once for each kind.
async fn several<K: Ord + Send + std::fmt::Debug>(
    cx: &Cx,
    paths: Vec<(String, K)>,
    what: &str,
    not_read: &mut Vec<String>,
) -> Result<BTreeMap<K, Value>, Problem> {
    let answers: Vec<(String, K, Result<Value, Problem>)> = stream::iter(paths)
        .map(|(path, key)| async move {
            let answer = raw::get(&cx.client, &path).await;
            (path, key, answer)
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let (mut found, mut failed) = (BTreeMap::new(), Vec::new());
    for (path, key, answer) in answers {
        match answer {
            Ok(value) => drop(found.insert(key, value)),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) if problem.fault == Fault::NotFound => failed.push(format!("{path} is gone")),
            Err(problem) => failed.push(problem.message),
        }
    }
    if let Some(first) = failed.first() {
        let more = if failed.len() > 1 { format!(", and {} more", failed.len() - 1) } else { String::new() };
        not_read.push(format!("{what}: {first}{more}"));
    }
    Ok(found)
}

/// The volumes behind the pods' claims: driver, handle, and the Secrets that the driver reads on the node.
async fn volumes(
    cx: &Cx,
    pods: &[Value],
    holdings: &mut Holdings,
    not_read: &mut Vec<String>,
) -> Result<Vec<Value>, Problem> {
    let mut claims: BTreeSet<(String, String)> = BTreeSet::new();
    for pod in pods {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        for volume in held::volumes(pod) {
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_string).or_else(|| {
                // A generic ephemeral volume's claim is named after its pod.
                let own = format!("{}-{}", pod["metadata"]["name"].as_str()?, volume["name"].as_str()?);
                volume["ephemeral"].is_object().then_some(own)
            });
            claims.extend(claim.map(|claim| (namespace.to_string(), claim)));
        }
    }
    let paths = claims
        .into_iter()
        .map(|key| (format!("/api/v1/namespaces/{}/persistentvolumeclaims/{}", key.0, key.1), key))
        .collect();
    let claims = several(cx, paths, "claim", not_read).await?;
    let paths = claims
        .iter()
        .filter_map(|(key, claim)| {
            let volume = claim["spec"]["volumeName"].as_str()?;
            Some((format!("/api/v1/persistentvolumes/{volume}"), key.clone()))
        })
        .collect();
    let found = several(cx, paths, "volume", not_read).await?;
    Ok(claims
        .into_iter()
        .map(|((namespace, claim), _)| {
            let volume = found.get(&(namespace.clone(), claim.clone())).cloned().unwrap_or_default();
            let csi = &volume["spec"]["csi"];
            for key in ["nodeStageSecretRef", "nodePublishSecretRef"] {
                holdings.add_of_volume(&csi[key], key, &format!("{namespace}/{claim}"));
            }
            json!({"claim": format!("{namespace}/{claim}"), "volume": volume["metadata"]["name"], "driver": csi["driver"],
                   "handle": csi["volumeHandle"], "modes": volume["spec"]["accessModes"]})
        })
        .collect())
}
