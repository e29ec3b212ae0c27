//! `pod.isolate`: a deny-all policy for a label that only this incident has, the pod moved under it, what was open cut,
//! and a verdict from what answered before and after.

mod around;
mod change;
mod means;
mod plan;
mod prove;
mod reach;
mod verdict;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::collector::{self, node};
use super::{Action, Conclusion, Done, Kind, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Problem};
use crate::event::{Landed, Op, Risk};

/// The label that the policy selects; its value is the incident's id.
pub const QUARANTINE: &str = "quell.dev/quarantine";
/// On every object that quell makes.
pub const INCIDENT: &str = "quell.dev/incident";
/// Annotations that keep autoscalers from taking the evidence away with its node.
const KEPT_ALIVE: [(&str, &str); 2] =
    [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), ("karpenter.sh/do-not-disrupt", "true")];

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
    /// Which other pods are cut off with it: `pod` for none, `owner` for every pod of its controller, `image` for every
    /// pod of the cluster that runs one of its images by digest.
    #[serde(default)]
    spread: Spread,
    /// Pods that may be cut off at once; more are refused before anything is changed.
    #[serde(default = "ten")]
    limit: usize,
    /// Image of quell's collector, by digest. Without one nothing is tried or cut, and that is said.
    collector_image: Option<String>,
    /// More addresses to try from inside the pod, `IP:PORT`: a canary outside the cluster.
    #[serde(default)]
    canary: Vec<String>,
    /// Milliseconds until a try counts as blocked.
    #[serde(default = "second")]
    timeout_ms: u64,
    /// Seconds that the network may take to carry the policy out, before what still answers counts.
    #[serde(default = "ten_seconds")]
    settle_seconds: u64,
    /// Seconds that are watched after the cut for connections that live or come up.
    #[serde(default = "five")]
    watch_seconds: u64,
    /// Seconds after which quell's own pods end by themselves.
    #[serde(default = "hour")]
    ttl_seconds: u64,
}

/// Which pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spread {
    /// The one.
    #[default]
    Pod,
    /// Every pod of its controller.
    Owner,
    /// Every pod that runs one of its images, by digest.
    Image,
}

fn ten() -> usize {
    10
}

fn second() -> u64 {
    1_000
}

fn ten_seconds() -> u64 {
    10
}

fn five() -> u64 {
    5
}

fn hour() -> u64 {
    3_600
}

const fn read(group: &'static str, resource: &'static str, verb: &'static [&'static str], why: &'static str) -> Rule {
    Rule { group, resource, verbs: verb, scope: Scope::Target, why, optional: true }
}

impl Kind for PodIsolate {
    const SPEC: Spec = Spec {
        name: "pod.isolate",
        summary: "Cut a pod off from the network, end what it has open, and say what was shown of it",
        description: "Tries what the pod reaches and who reaches it; creates a NetworkPolicy without any allowed traffic that selects \
            a quarantine label unique to the incident, and where the cluster has a kind of policy that denies \
            (ClusterNetworkPolicy, AdminNetworkPolicy, Cilium's, Calico's) one of these too; moves the pod under it in one \
            patch, and out of the labels that other policies, Services, budgets and its controller select: policies add up, so \
            one left selecting the pod would keep its doors open. Then ends the connections that were open, which a policy alone leaves alive, tries everything again, \
            watches, and gives a verdict: enforced, partial, not-enforced or unknown. Trying and cutting are done by quell's \
            collector on the pod's node, else beside its container; without a collector image nothing is shown, and the verdict \
            is unknown. The controller lets the pod go and starts a replacement from the same image.",
        risk: Risk::Medium,
        undo: "labels back as they were, policy and quell's own pods deleted; a controller that takes the pod back removes its \
            replacement; connections that were cut stay so",
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
            read("", "services", &["list"], "labels that Services select"),
            read("policy", "poddisruptionbudgets", &["list"], "labels that budgets select"),
            read("apps", "replicasets", &["get"], "labels that the controller selects"),
            read("apps", "statefulsets", &["get"], "labels that the controller selects"),
            read("apps", "daemonsets", &["get"], "labels that the controller selects"),
            read("batch", "jobs", &["get"], "labels that the controller selects"),
            read("discovery.k8s.io", "endpointslices", &["list"], "whether a Service still sends to it"),
            node::RULES[0],
            node::RULES[1],
            node::RULES[2],
            node::RULES[3],
            means::RULES[0],
            means::RULES[1],
            means::RULES[2],
            means::RULES[3],
            Rule { optional: true, ..collector::beside::START },
            read("", "pods/exec", &["get", "create"], "asking the collector beside its container"),
            Rule {
                group: "",
                resource: "services",
                verbs: &["get"],
                scope: Scope::Cluster,
                why: "the addresses of the API server and of DNS",
                optional: true,
            },
        ],
        example: "id: isolate\ntitle: Cut the pod off\nuses: pod.isolate\nwith:\n  pod: ${{ inputs.pod }}\n  namespace: ${{ inputs.namespace }}\n  collector-image: registry.example/quell/collector@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
        outputs: &[
            ("policy", "the NetworkPolicy's name"),
            ("removed_labels", "labels taken off, with their values"),
            ("still_selected_by", "NetworkPolicies with rules that still select the pod"),
            ("enforcement", "the verdict: enforced, partial, not-enforced or unknown"),
            ("controller", "what its controller was expected to do, and what it did"),
        ],
    };
}

/// The policy's name, the same in every namespace.
fn policy_name(cx: &Cx) -> String {
    format!("quell-quarantine-{}", cx.incident)
}

#[async_trait]
impl Action for PodIsolate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        plan::plan(self, cx).await
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if collector::starts(op) {
            return collector::start(cx, op).await;
        }
        match op.detail["kind"].as_str().unwrap_or_default() {
            "control" => prove::control(self, cx, op).await,
            "cut" => prove::cut(self, cx, op).await,
            "verdict" => prove::verdict(self, cx, op).await,
            _ if means::is(op) => means::apply(cx, op).await,
            _ => change::apply(cx, op).await,
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        if collector::starts(op) {
            return collector::landed(cx, op).await;
        }
        match op.detail["kind"].as_str() {
            // What was tried is tried again, and what is open by then is cut.
            Some("control" | "cut" | "verdict") => Ok((Landed::No, None)),
            _ if means::is(op) => means::landed(cx, op).await,
            _ => change::landed(cx, op).await,
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        if op.detail["kind"] == "collector-pod" {
            return node::remove(cx, op, done["uid"].as_str().map(Into::into)).await;
        }
        if means::is(op) {
            return means::undo(cx, op, done).await;
        }
        change::undo(cx, op, done).await
    }

    /// The verdict decides: what was not shown on the way there is part of it.
    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = plan_outputs.clone();
        let verdicts: Vec<(Op, Done)> = done.iter().filter(|(op, _)| op.detail["kind"] == "verdict").cloned().collect();
        let words = verdicts.iter().filter_map(|(_, d)| d.observed["enforcement"].as_str());
        let rank = |word: &&str| ["enforced", "partial", "unknown", "not-enforced"].iter().position(|w| w == word);
        if let Some(word) = words.max_by_key(rank) {
            outputs["enforcement"] = json!(word);
        }
        if let Some((_, first)) = verdicts.first() {
            for key in ["still_selected_by", "controller"] {
                outputs[key] = first.observed[key].clone();
            }
        }
        // The two writes and the verdict; a collector that did not start shows in the verdict.
        let telling =
            |op: &Op| !collector::starts(op) && !matches!(op.detail["kind"].as_str(), Some("control" | "cut"));
        let telling: Vec<(Op, Done)> = done.iter().filter(|(op, _)| telling(op)).cloned().collect();
        let mut end = Conclusion::of(outputs, &telling);
        if let ([(_, only)], crate::event::StepStatus::Verified) = (verdicts.as_slice(), end.status) {
            end.summary.clone_from(&only.detail);
        }
        end
    }
}
