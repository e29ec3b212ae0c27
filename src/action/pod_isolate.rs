//! `pod.isolate`: a deny-all policy for a label that only this incident has, then the pod moved under it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Action, Done, Kind, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Fault, Problem, raw, selector, target};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof, Risk, Undo};

/// The label that the policy selects; its value is the incident's id.
pub const QUARANTINE: &str = "quell.dev/quarantine";
/// On every object that quell makes.
pub const INCIDENT: &str = "quell.dev/incident";
/// A ReplicaSet that takes the pod back has one too many: this makes it give up the replacement instead.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// How long a controller may take to let the pod go, or to take it back.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(20);

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodIsolate {
    /// The pod's name.
    pod: String,
    /// Its namespace; the namespace in force when absent.
    namespace: Option<String>,
    /// Its UID, as recorded; a pod of the same name with another UID is refused.
    uid: Option<String>,
}

impl Kind for PodIsolate {
    const SPEC: Spec = Spec {
        name: "pod.isolate",
        summary: "Cut a pod off: deny-all NetworkPolicy, and out of every label that policies, Services and controllers select",
        description: "Creates a NetworkPolicy without any allowed traffic that selects a quarantine label unique to the incident, then \
            moves the pod under it in one patch, and out of the labels that other policies, Services, budgets and its controller \
            select: policies add up, so one left selecting the pod would keep its doors open. The controller lets the pod go and \
            starts a replacement from the same image. An accepted policy is not an enforced one: the outcome says `not proved` \
            unless it was shown, and connections that are already open may go on.",
        risk: Risk::Medium,
        undo: "labels back as they were, policy deleted; a controller that takes the pod back removes its replacement",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "pods",
                verbs: &["get", "list", "watch", "patch"],
                scope: Scope::Target,
                why: "moving the pod under the quarantine label",
                optional: false,
            },
            Rule {
                group: "networking.k8s.io",
                resource: "networkpolicies",
                verbs: &["get", "list", "create", "delete"],
                scope: Scope::Target,
                why: "the deny-all policy, and taking it back",
                optional: false,
            },
            Rule {
                group: "",
                resource: "services",
                verbs: &["list"],
                scope: Scope::Target,
                why: "labels that Services select",
                optional: true,
            },
            Rule {
                group: "policy",
                resource: "poddisruptionbudgets",
                verbs: &["list"],
                scope: Scope::Target,
                why: "labels that budgets select",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "replicasets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "labels that the controller selects",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "statefulsets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "labels that the controller selects",
                optional: true,
            },
            Rule {
                group: "apps",
                resource: "daemonsets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "labels that the controller selects",
                optional: true,
            },
            Rule {
                group: "batch",
                resource: "jobs",
                verbs: &["get"],
                scope: Scope::Target,
                why: "labels that the controller selects",
                optional: true,
            },
        ],
        example: "id: isolate\ntitle: Cut the pod off\nuses: pod.isolate\nwith:\n  pod: ${{ inputs.pod }}\n  namespace: ${{ inputs.namespace }}\n",
        outputs: &[
            ("policy", "the NetworkPolicy's name"),
            ("removed_labels", "labels taken off, with their values"),
            ("still_selected_by", "NetworkPolicies with rules that still select the pod"),
            ("enforcement", "proved, not-proved or refuted"),
        ],
    };
}

impl PodIsolate {
    fn policy_name(cx: &Cx) -> String {
        format!("quell-quarantine-{}", cx.incident)
    }
}

#[async_trait]
impl Action for PodIsolate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let namespace = self.namespace.as_deref().unwrap_or(&cx.namespace);
        let found = target::pod(&cx.client, namespace, &self.pod, self.uid.as_deref()).await?;
        let object = target::object(&found);
        let pod = raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{}", object.name)).await?;
        let around = Around::read(cx, &pod).await?;
        let labels = selector::labels(&pod);
        let mut plan = StepPlan::default();
        if let Some(other) = labels.get(QUARANTINE).filter(|v| **v != cx.incident) {
            plan.blockers.push(format!("{object} is already in the quarantine of incident {other}: `quell status {other}`, or undo that one first"));
        }
        let keys = around.keys_to_leave(&labels);
        let removed: BTreeMap<&String, &String> = labels.iter().filter(|(k, _)| keys.contains(*k)).collect();
        let mut after = labels.clone();
        after.retain(|k, _| !keys.contains(k));
        after.insert(QUARANTINE.into(), cx.incident.clone());
        let still = around.policies_on(&after, cx);
        for policy in &still {
            plan.warnings.push(format!("NetworkPolicy {policy} selects the pod whatever its labels: what it allows stays allowed, for policies add up"));
        }
        if pod["spec"]["hostNetwork"] == true {
            plan.warnings.push(
                "hostNetwork: NetworkPolicies do not apply to this pod; isolating it this way will have no effect"
                    .into(),
            );
        }
        plan.warnings.push("connections that are already open may stay open: what a new policy does to them is up to the network plug-in".into());
        plan.warnings.extend(around.not_read.clone());

        let name = Self::policy_name(cx);
        let policy = ObjectRef {
            api_version: "networking.k8s.io/v1".into(),
            kind: "NetworkPolicy".into(),
            namespace: Some(namespace.into()),
            name: name.clone(),
            uid: None,
        };
        let mut create = Op::change(
            "create",
            policy,
            format!(
                "create a NetworkPolicy that allows nothing in or out of pods labelled {QUARANTINE}={}",
                cx.incident
            ),
            Risk::Low,
            Undo::Automatic("delete the policy".into()),
        );
        create.after =
            json!({"podSelector": {"matchLabels": {QUARANTINE: cx.incident}}, "policyTypes": ["Ingress", "Egress"]});

        let mut patch = Op::change(
            "patch",
            object.clone(),
            format!("label {object} {QUARANTINE}={} and take off {}", cx.incident, spoken(&removed)),
            Risk::Medium,
            Undo::Automatic("put the labels back; the controller takes the pod back and drops its replacement (a ReplicaSet is told which by the annotation pod-deletion-cost, which stays on the pod)".into()),
        );
        patch.before = json!({ "labels": labels });
        patch.after = json!({ "labels": after });
        patch.detail = json!({"remove": removed, "owner": around.owner, "enforcement_unknowable": pod["spec"]["hostNetwork"] == true});

        let mut verdict = Op::observe(object, "say what is known of the policy's effect".to_string());
        verdict.detail = json!({"policy": name, "hostNetwork": pod["spec"]["hostNetwork"] == true});
        dry_run(cx, &create, &patch, &mut plan).await?;
        plan.outputs =
            json!({"policy": name, "removed_labels": removed, "still_selected_by": still, "enforcement": "not-proved"});
        plan.ops = vec![create, patch, verdict];
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let namespace = op.object.namespace.clone().unwrap_or_default();
        match op.verb.as_str() {
            "create" => {
                let api: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
                let made = api.create(&PostParams::default(), &policy_object(cx, op)?).await?;
                Ok(policy_done(&made))
            }
            "patch" => {
                let api: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
                let patched =
                    api.patch(&op.object.name, &PatchParams::default(), &Patch::Merge(label_patch(cx, op))).await?;
                settled(cx, op, &patched).await
            }
            _ => verdict(cx, op).await,
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let namespace = op.object.namespace.clone().unwrap_or_default();
        match op.verb.as_str() {
            "create" => {
                let api: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
                match api.get_opt(&op.object.name).await? {
                    Some(policy) if policy.labels().get(INCIDENT) == Some(&cx.incident) => {
                        Ok((Landed::Yes, Some(policy_done(&policy))))
                    }
                    Some(_) => Ok((Landed::Unknown, None)),
                    None => Ok((Landed::No, None)),
                }
            }
            "patch" => {
                let pod = target::pod(&cx.client, &namespace, &op.object.name, op.object.uid.as_deref()).await?;
                if pod.labels().get(QUARANTINE) == Some(&cx.incident) {
                    let done = settled(cx, op, &pod).await?;
                    Ok((Landed::Yes, Some(done)))
                } else {
                    Ok((Landed::No, None))
                }
            }
            _ => Ok((Landed::No, None)),
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        let namespace = op.object.namespace.clone().unwrap_or_default();
        if op.verb == "create" {
            let api: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
            let uid = done["uid"].as_str().map(str::to_string);
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
                ..DeleteParams::default()
            };
            return match api.delete(&op.object.name, &params).await.map_err(Problem::from) {
                Ok(_) => Ok(Done::applied(
                    format!("{} deleted", op.object),
                    Proof::Verified("the API server deleted that UID".into()),
                    Value::Null,
                )),
                Err(problem) if problem.fault == Fault::NotFound => {
                    Ok(already(format!("{} was gone already", op.object)))
                }
                Err(problem) => Err(problem),
            };
        }
        let api: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
        match api.get_opt(&op.object.name).await? {
            Some(pod) if pod.uid() == op.object.uid => {}
            Some(_) => {
                return Ok(already(format!(
                    "{} was replaced by another pod of that name: there is nothing to give back",
                    op.object
                )));
            }
            None => return Ok(already(format!("{} is gone: its labels can't be given back", op.object))),
        }
        let mut labels: Map<String, Value> = op.detail["remove"].as_object().cloned().unwrap_or_default();
        labels.insert(QUARANTINE.into(), Value::Null);
        let mut metadata = json!({"uid": op.object.uid, "labels": labels});
        if op.detail["owner"]["kind"] == "ReplicaSet" {
            metadata["annotations"] = json!({ DELETION_COST: "2147483647" });
        }
        api.patch(&op.object.name, &PatchParams::default(), &Patch::Merge(json!({ "metadata": metadata }))).await?;
        taken_back(op, &api).await
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> super::Conclusion {
        let mut outputs = plan_outputs.clone();
        if let Some((_, last)) = done.last().filter(|(op, _)| op.verb == "read") {
            outputs["enforcement"] = last.observed["enforcement"].clone();
            outputs["still_selected_by"] = last.observed["still_selected_by"].clone();
        }
        super::Conclusion::of(outputs, done)
    }
}

/// What selects pods in the namespace.
struct Around {
    policies: Vec<Value>,
    services: Vec<Value>,
    budgets: Vec<Value>,
    owner: Value,
    owner_selector: Option<Value>,
    not_read: Vec<String>,
}

impl Around {
    async fn read(cx: &Cx, pod: &Value) -> Result<Around, Problem> {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let mut not_read = Vec::new();
        let (policies, _) =
            raw::list(&cx.client, &format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"))
                .await?;
        let mut lists = Vec::new();
        for (what, path) in [
            ("Services", format!("/api/v1/namespaces/{namespace}/services")),
            ("PodDisruptionBudgets", format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")),
        ] {
            lists.push(match raw::list(&cx.client, &path).await {
                Ok((items, _)) => items,
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => {
                    not_read.push(format!(
                        "{what} could not be read ({problem}): labels that they select may stay on the pod"
                    ));
                    Vec::new()
                }
            });
        }
        let budgets = lists.pop().unwrap_or_default();
        let services = lists.pop().unwrap_or_default();
        let owner = pod["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|o| o["controller"] == true)
            .cloned()
            .unwrap_or_default();
        let kind = owner["kind"].as_str().unwrap_or_default();
        let plural = match kind {
            "ReplicaSet" => "apis/apps/v1/namespaces/{}/replicasets",
            "StatefulSet" => "apis/apps/v1/namespaces/{}/statefulsets",
            "DaemonSet" => "apis/apps/v1/namespaces/{}/daemonsets",
            "Job" => "apis/batch/v1/namespaces/{}/jobs",
            _ => "",
        };
        let mut owner_selector = None;
        if !plural.is_empty() {
            let path = format!("/{}/{}", plural.replace("{}", namespace), owner["name"].as_str().unwrap_or_default());
            match raw::get(&cx.client, &path).await {
                Ok(object) => owner_selector = Some(object["spec"]["selector"].clone()),
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => {
                    not_read.push(format!("{kind} could not be read ({problem}): every label is taken off instead"))
                }
            }
        }
        Ok(Around { policies, services, budgets, owner, owner_selector, not_read })
    }

    /// The labels that keep the pod in somebody's selection. All of them, when the controller's selector is not known.
    fn keys_to_leave(&self, labels: &selector::Labels) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        match (&self.owner, &self.owner_selector) {
            (Value::Null, _) => {}
            (_, Some(found)) => keys.extend(selector::positive_keys(found)),
            (_, None) => keys.extend(labels.keys().cloned()),
        }
        for policy in &self.policies {
            if selector::matches(&policy["spec"]["podSelector"], labels) {
                keys.extend(selector::positive_keys(&policy["spec"]["podSelector"]));
            }
        }
        for budget in &self.budgets {
            if selector::matches(&budget["spec"]["selector"], labels) {
                keys.extend(selector::positive_keys(&budget["spec"]["selector"]));
            }
        }
        for service in &self.services {
            let plain = &service["spec"]["selector"];
            if plain.as_object().is_some_and(|m| !m.is_empty()) && selector::plain(plain, labels) {
                keys.extend(plain.as_object().into_iter().flatten().map(|(k, _)| k.clone()));
            }
        }
        keys.remove(QUARANTINE);
        keys
    }

    /// Policies, not our own, that select these labels and allow something.
    fn policies_on(&self, labels: &selector::Labels, cx: &Cx) -> Vec<String> {
        self.policies
            .iter()
            .filter(|p| p["metadata"]["name"].as_str() != Some(&PodIsolate::policy_name(cx)))
            .filter(|p| selector::matches(&p["spec"]["podSelector"], labels))
            .filter(|p| {
                ["ingress", "egress"].iter().any(|way| p["spec"][way].as_array().is_some_and(|rules| !rules.is_empty()))
            })
            .filter_map(|p| p["metadata"]["name"].as_str().map(str::to_string))
            .collect()
    }
}

/// Asks the server whether it would take both writes; its no is a blocker.
async fn dry_run(cx: &Cx, create: &Op, patch: &Op, plan: &mut StepPlan) -> Result<(), Problem> {
    let namespace = create.object.namespace.clone().unwrap_or_default();
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let policies: Api<NetworkPolicy> = Api::namespaced(cx.client.clone(), &namespace);
    let made = policies.create(&dry, &policy_object(cx, create)?).await.map(|_| ()).map_err(Problem::from);
    let pods: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let patched = pods
        .patch(&patch.object.name, &dry, &Patch::Merge(label_patch(cx, patch)))
        .await
        .map(|_| ())
        .map_err(Problem::from);
    for (op, answer) in [(create, made), (patch, patched)] {
        match answer {
            // Planned again on resume: the policy is there, and it is ours.
            Err(problem) if problem.fault == Fault::Conflict && op.verb == "create" => {}
            answer => plan.hear(cx, &format!("{} {}", op.verb, op.object), answer)?,
        }
    }
    Ok(())
}

fn policy_object(cx: &Cx, op: &Op) -> Result<NetworkPolicy, Problem> {
    serde_json::from_value(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": op.object.name,
            "labels": {"app.kubernetes.io/managed-by": "quell", INCIDENT: cx.incident},
        },
        "spec": op.after,
    }))
    .map_err(|e| Problem::internal(e.to_string()))
}

fn policy_done(policy: &NetworkPolicy) -> Done {
    Done::applied(
        format!("NetworkPolicy {} accepted", policy.name_any()),
        Proof::Verified("the API server has it".into()),
        json!({"uid": policy.uid(), "resourceVersion": policy.resource_version()}),
    )
}

/// The UID in the patch is the precondition: the API server answers 409 when it is another pod's.
fn label_patch(cx: &Cx, op: &Op) -> Value {
    let mut labels: Map<String, Value> =
        op.detail["remove"].as_object().into_iter().flatten().map(|(k, _)| (k.clone(), Value::Null)).collect();
    labels.insert(QUARANTINE.into(), json!(cx.incident));
    json!({"metadata": {"uid": op.object.uid, "labels": labels}})
}

/// After the patch: what the pod's labels are, and whether its controller has let go.
async fn settled(cx: &Cx, op: &Op, patched: &Pod) -> Result<Done, Problem> {
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), op.object.namespace.as_deref().unwrap_or_default());
    let quarantined = patched.labels().get(QUARANTINE) == Some(&cx.incident);
    let mut detail = format!("{} is under the quarantine label", op.object);
    let owner = op.detail["owner"]["uid"].as_str().map(str::to_string);
    let mut released = Value::Null;
    if let Some(owner) = owner {
        let let_go = |pod: Option<&Pod>| pod.is_none_or(|p| !p.owner_references().iter().any(|o| o.uid == owner));
        let waited = tokio::time::timeout(
            CONTROLLER_PATIENCE,
            kube::runtime::wait::await_condition(api, &op.object.name, let_go),
        )
        .await;
        let who = format!(
            "{} {}",
            op.detail["owner"]["kind"].as_str().unwrap_or_default(),
            op.detail["owner"]["name"].as_str().unwrap_or_default()
        );
        released = json!(matches!(waited, Ok(Ok(_))));
        detail.push_str(&match waited {
            Ok(Ok(_)) => format!("; {who} has let it go"),
            _ => format!("; {who} had not let it go after {} s", CONTROLLER_PATIENCE.as_secs()),
        });
    }
    let proof = if quarantined {
        Proof::Verified("the label was read back".into())
    } else {
        Proof::Refuted("the pod does not carry the quarantine label after the patch".into())
    };
    Ok(Done::applied(detail, proof, json!({ "released": released })))
}

async fn verdict(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let namespace = op.object.namespace.clone().unwrap_or_default();
    let pod = raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{}", op.object.name)).await?;
    let around = Around::read(cx, &pod).await?;
    let still = around.policies_on(&selector::labels(&pod), cx);
    let (enforcement, proof) = if op.detail["hostNetwork"] == true {
        (
            "refuted",
            Proof::Refuted(
                "not isolated: the pod uses its node's network, to which NetworkPolicies do not apply".into(),
            ),
        )
    } else if still.is_empty() {
        (
            "not-proved",
            Proof::Unproved("policy accepted, enforcement not proved: what it stops only a probe can show, and open connections may go on".into()),
        )
    } else {
        (
            "not-proved",
            Proof::Unproved(format!("partly isolated at best: {} still allow traffic of this pod", still.join(", "))),
        )
    };
    Ok(Done::told(proof, json!({"enforcement": enforcement, "still_selected_by": still})))
}

/// After undo: whether the controller has taken the pod back, or what can't be given back.
async fn taken_back(op: &Op, api: &Api<Pod>) -> Result<Done, Problem> {
    let Some(owner) = op.detail["owner"]["uid"].as_str().map(str::to_string) else {
        return Ok(Done::applied(
            format!("labels of {} are as they were", op.object),
            Proof::Verified("patched with its UID".into()),
            Value::Null,
        ));
    };
    let who = format!(
        "{} {}",
        op.detail["owner"]["kind"].as_str().unwrap_or_default(),
        op.detail["owner"]["name"].as_str().unwrap_or_default()
    );
    let adopted = |pod: Option<&Pod>| pod.is_none_or(|p| p.owner_references().iter().any(|o| o.uid == owner));
    let waited = tokio::time::timeout(
        CONTROLLER_PATIENCE,
        kube::runtime::wait::await_condition(api.clone(), &op.object.name, adopted),
    )
    .await;
    Ok(match waited {
        Ok(Ok(Some(_))) => Done::applied(
            format!("labels of {} are as they were, and {who} owns it again", op.object),
            Proof::Verified("the owner reference was read back".into()),
            json!({"adopted": true}),
        ),
        Ok(Ok(None)) => Done::applied(
            format!("labels were given back, then {who} removed the pod: it had a replacement too many"),
            Proof::Refuted("the pod is gone".into()),
            json!({"adopted": false}),
        ),
        _ => Done::applied(
            format!(
                "labels of {} are as they were, but {who} had not taken it back after {} s",
                op.object,
                CONTROLLER_PATIENCE.as_secs()
            ),
            Proof::Unproved(format!("ownership by {who} was not given back: it may have all the pods it wants")),
            json!({"adopted": false}),
        ),
    })
}

fn already(detail: String) -> Done {
    Done { status: OpStatus::AlreadySo, proof: Some(Proof::Unproved(detail.clone())), detail, observed: Value::Null }
}

fn spoken(removed: &BTreeMap<&String, &String>) -> String {
    if removed.is_empty() {
        return "no label (none is selected by anything)".into();
    }
    removed.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", ")
}
