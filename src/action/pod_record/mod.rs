//! `pod.record`: everything the API says about the suspect, before anything is changed.

mod facts;
mod warnings;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Done, Kind, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Problem, raw, target};
use crate::event::{Label, Method, ObjectRef, Op, Proof, Risk, Source, Trust};

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodRecord {
    /// The pod's name, or the beginning of it when only one pod's name begins so.
    pod: String,
    /// Its namespace; the namespace in force when absent.
    namespace: Option<String>,
}

impl Kind for PodRecord {
    const SPEC: Spec = Spec {
        name: "pod.record",
        summary: "Record what the API says about a pod: manifest, owners, credentials, siblings, events, policies",
        description: "Reads only. Resolves the pod to exactly one UID and writes down, as the API server sent them, the pod, its \
            chain of owners, service account, node, the NetworkPolicies and Services that select it, its events and its siblings \
            by owner and by image. Mounted credentials are listed by name, never by value. Warns of what will interfere: \
            hostNetwork, hostPID, privileged containers, hostPath, liveness probes, autoscalers, GitOps, an owner that will \
            replace the pod.",
        risk: Risk::Read,
        undo: "nothing is changed",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "pods",
                verbs: &["get", "list"],
                scope: Scope::Target,
                why: "the pod and its siblings",
                optional: false,
            },
            Rule {
                group: "",
                resource: "events",
                verbs: &["list"],
                scope: Scope::Target,
                why: "events expire within hours",
                optional: true,
            },
            Rule {
                group: "",
                resource: "services",
                verbs: &["list"],
                scope: Scope::Target,
                why: "what sends traffic to it",
                optional: true,
            },
            Rule {
                group: "",
                resource: "serviceaccounts",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the identity it has",
                optional: true,
            },
            Rule {
                group: "networking.k8s.io",
                resource: "networkpolicies",
                verbs: &["list"],
                scope: Scope::Target,
                why: "what it may reach now",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "replicasets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the chain of owners",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "deployments",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the chain of owners",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "statefulsets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the chain of owners",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "daemonsets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the chain of owners",
                optional: true,
            },
            Rule {
                group: "batch",
                resource: "jobs",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the chain of owners",
                optional: true,
            },
            Rule {
                group: "batch",
                resource: "cronjobs",
                verbs: &["get"],
                scope: Scope::Target,
                why: "the chain of owners",
                optional: true,
            },
            Rule {
                group: "autoscaling",
                resource: "horizontalpodautoscalers",
                verbs: &["list"],
                scope: Scope::Target,
                why: "what may scale it away",
                optional: true,
            },
            Rule {
                group: "",
                resource: "nodes",
                verbs: &["get"],
                scope: Scope::Cluster,
                why: "the node it runs on",
                optional: true,
            },
        ],
        example: "id: record\ntitle: Record what the API says about the pod\nuses: pod.record\nwith:\n  pod: ${{ inputs.pod }}\n  namespace: ${{ inputs.namespace }}\n",
        outputs: &[
            ("pod", "name, namespace, uid, node, service_account, created, labels, phase, ip, host_network"),
            ("owner", "the controller: api_version, kind, name, uid; null for a bare pod"),
            ("owners", "the chain of owners, nearest first"),
            (
                "containers",
                "name, kind (container, init, ephemeral), image, image_id, pull_policy, container_id, running",
            ),
            ("images", "image and running digest, each once"),
            ("credentials", "Secrets, tokens and pull secrets that are mounted or referenced, by name"),
            ("siblings", "pods of the same owner or the same image"),
            ("selected_by", "NetworkPolicies and Services that select it"),
        ],
    };
}

#[async_trait]
impl Action for PodRecord {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let namespace = self.namespace.as_deref().unwrap_or(&cx.namespace);
        let pod = target::pod(&cx.client, namespace, &self.pod, None).await?;
        let object = target::object(&pod);
        let seen = look(cx, &object).await?;
        let outputs = seen.outputs();
        let mut op = Op::observe(
            object.clone(),
            format!("read {object}, its owners, node, policies, services, siblings and events"),
        );
        op.detail = json!({"pod": object});
        let mut warnings = warnings::of(&seen);
        if object.name != self.pod {
            warnings.insert(
                0,
                format!("{:?} was taken to mean {}, the only pod whose name begins so", self.pod, object.name),
            );
        }
        Ok(StepPlan { ops: vec![op], outputs, warnings, blockers: Vec::new() })
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let seen = look(cx, &op.object).await?;
        let outputs = seen.outputs();
        let mut written = Vec::new();
        for (name, title, value) in seen.documents(&outputs) {
            let path = format!("data/{}/{name}.json", cx.step);
            written.push(name);
            if cx.store.adopt(&path).is_some() {
                continue;
            }
            let label = Label {
                title: title.into(),
                media_type: "application/json".into(),
                source: Source { object: op.object.clone(), container: None, what: name.into() },
                method: Method {
                    rung: "api".into(),
                    trust: Trust::ApiServer,
                    reason: "read from the API server".into(),
                    argv: Vec::new(),
                    tool: None,
                },
                started: cx.clock.now(),
            };
            cx.store.put_json(&path, label, cx.clock, &value, seen.not_read.clone())?;
        }
        let detail = format!("{} recorded in {} documents", op.object, written.len());
        Ok(Done::taken(detail, Some(Proof::Verified("written and hashed".into())), outputs))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> super::Conclusion {
        let outputs = done.last().map_or_else(|| plan_outputs.clone(), |(_, d)| d.observed.clone());
        super::Conclusion::of(outputs, done)
    }
}

/// What was read.
struct Seen {
    pod: Value,
    owners: Vec<Value>,
    service_account: Value,
    node: Value,
    policies: Vec<Value>,
    services: Vec<Value>,
    events: Vec<Value>,
    pods: Vec<Value>,
    autoscalers: Vec<Value>,
    /// What could not be read, and why.
    not_read: Vec<String>,
}

async fn look(cx: &Cx, object: &ObjectRef) -> Result<Seen, Problem> {
    let namespace = object.namespace.clone().unwrap_or_default();
    let core = format!("/api/v1/namespaces/{namespace}");
    let pod = raw::get(&cx.client, &format!("{core}/pods/{}", object.name)).await?;
    if pod["metadata"]["uid"].as_str() != object.uid.as_deref() {
        return Err(
            Problem::refused(format!("{object} was replaced by another pod of the same name")).hint("plan anew")
        );
    }
    let mut not_read = Vec::new();
    let uid = object.uid.clone().unwrap_or_default();
    let (events, policies, services, pods, autoscalers) = futures::join!(
        raw::list(&cx.client, format!("{core}/events?fieldSelector=involvedObject.uid%3D{uid}")),
        raw::list(&cx.client, format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")),
        raw::list(&cx.client, format!("{core}/services")),
        raw::list(&cx.client, format!("{core}/pods")),
        raw::list(&cx.client, format!("/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")),
    );
    let mut optional = |what: &str, answer: Result<(Vec<Value>, bool), Problem>| -> Result<Vec<Value>, Problem> {
        match answer {
            Ok((items, more)) => {
                if more {
                    not_read.push(format!("{what}: only the first {} were read", items.len()));
                }
                Ok(items)
            }
            Err(problem) if cx.passes_on(&problem) => Err(problem),
            Err(problem) => {
                not_read.push(format!("{what} not read: {problem}"));
                Ok(Vec::new())
            }
        }
    };
    let (events, policies) = (optional("events", events)?, optional("NetworkPolicies", policies)?);
    let (services, pods) = (optional("Services", services)?, optional("pods", pods)?);
    let autoscalers = optional("HorizontalPodAutoscalers", autoscalers)?;
    let owners = facts::owners(cx, &pod, &mut not_read).await?;
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
    let service_account =
        one(cx, &format!("{core}/serviceaccounts/{account}"), "the service account", &mut not_read).await?;
    let node = match pod["spec"]["nodeName"].as_str() {
        Some(node) => one(cx, &format!("/api/v1/nodes/{node}"), "the node", &mut not_read).await?,
        None => Value::Null,
    };
    Ok(Seen { pod, owners, service_account, node, policies, services, events, pods, autoscalers, not_read })
}

async fn one(cx: &Cx, path: &str, what: &str, not_read: &mut Vec<String>) -> Result<Value, Problem> {
    match raw::get(&cx.client, path).await {
        Ok(value) => Ok(value),
        Err(problem) if cx.passes_on(&problem) => Err(problem),
        Err(problem) => {
            not_read.push(format!("{what} not read: {problem}"));
            Ok(Value::Null)
        }
    }
}
