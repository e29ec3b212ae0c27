//! A drill's scenario as YAML: the scene, the attack as timed injects, and what must be true in the end.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::cluster::Problem;
use crate::sim::container::Inside;
use crate::sim::fault::Fault;
use crate::sim::network::Network;

/// In manifests, inputs and injects this word stands for the drill's namespace.
pub const NAMESPACE: &str = "$NAMESPACE";

/// A scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// `quell/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Drill`.
    pub kind: String,
    /// Name and what it is about.
    pub metadata: Metadata,
    /// The runbook that is practised.
    pub runbook: String,
    /// Why it can't be played on a real cluster; empty when it can.
    #[serde(default)]
    pub only_embedded: String,
    /// Its inputs. `pod` may be a label selector, `app=web`: the first ready pod that it takes; `node` too: the node of
    /// that pod. Whichever there is, is the suspect.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// The scene's namespace on the embedded cluster; on a real one the drill makes its own.
    pub namespace: String,
    /// What only the embedded cluster needs: a real one has its own.
    #[serde(default)]
    pub cluster: Stage,
    /// Kubernetes manifests, several documents.
    pub manifests: String,
    /// What happens, and when.
    #[serde(default)]
    pub injects: Vec<Inject>,
    /// What a run with nobody at the keyboard may do.
    #[serde(default)]
    pub unattended: Unattended,
    /// What must be true in the end.
    #[serde(default)]
    pub expect: Expect,
    /// Questions for a team at a table.
    #[serde(default)]
    pub discussion: Vec<Question>,
    #[serde(skip)]
    /// The file's text.
    pub text: String,
}

/// Name and what it is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Metadata {
    /// As `quell drill run` takes it.
    pub name: String,
    /// One line.
    pub title: String,
    /// A paragraph.
    pub summary: String,
    /// `basic` or `hard`.
    pub level: String,
}

/// The embedded cluster's part of the scene.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Stage {
    /// How many nodes; 2 when it is not said.
    pub nodes: usize,
    /// What its network does with policies.
    pub network: Network,
    /// What images hold.
    pub images: Vec<Image>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// An audit.k8s.io/v1 Policy; all at Metadata without one.
    pub audit_policy: Value,
    /// What its audit log has of the time before the drill.
    pub audit_past: AuditPast,
}

/// The time before the drill, in the audit log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AuditPast {
    /// How far back it reaches: 25h when it is not said, and 0s for a log that begins with the drill.
    pub reaches: String,
    /// What it lost, before the drill: a gap.
    pub lost: Vec<Lost>,
}

impl Default for AuditPast {
    fn default() -> AuditPast {
        AuditPast { reaches: "25h".into(), lost: Vec::new() }
    }
}

/// A gap in the audit log, told as times before the drill.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lost {
    /// Its beginning: `5h`.
    pub from: String,
    /// Its end: `3h`.
    pub to: String,
}

/// What containers of an image hold.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Image {
    /// The reference begins so.
    pub name: String,
    /// Only in containers of this name.
    pub container: String,
    /// Only in pods with these labels.
    pub labels: BTreeMap<String, String>,
    /// Files, programs, processes.
    pub inside: Inside,
    /// It can't be pulled.
    pub missing: bool,
    /// Bytes, as the node reports them.
    pub size: u64,
    /// Lines of its log.
    pub log: Vec<String>,
    /// SIGTERM does not end it.
    pub ignores_term: bool,
    /// It ends by itself after so many seconds.
    pub ends_after: Option<u64>,
}

/// Something that happens.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Inject {
    /// When: a duration from the beginning (`0s`, `90s`, `10m`), or `after: STEP` below.
    pub at: String,
    /// Instead of a time: when that step of the runbook has begun.
    pub when_step: String,
    /// One line, for the timeline and for the facilitator.
    pub text: String,
    /// A file is dropped in a container.
    pub file: Option<DroppedFile>,
    /// A process starts in a container.
    pub process: Option<StartedProcess>,
    /// A request to the API server.
    pub request: Option<ApiRequest>,
    /// Manifests are applied.
    pub apply: Option<String>,
    /// Manifests that a controller of the scene puts back from now on, whenever they are gone or others.
    pub keep: Option<String>,
    /// A pod is deleted or replaced behind the responder's back: a label selector, or `target`.
    pub kill_pod: Option<String>,
    /// A node changes: `NAME: True|False|Unknown`. Embedded cluster only.
    pub node: BTreeMap<String, String>,
    /// The audit log loses everything for so long. Embedded cluster only.
    pub audit_gap: Option<String>,
    /// The cluster's faults from now on. Embedded cluster only.
    pub faults: Vec<Fault>,
    /// An alert arrives: the document that starts the run.
    pub alert: Option<Value>,
    /// Someone calls: who. The text is what they say; an answer is asked for and recorded.
    pub call: Option<String>,
}

/// A file that an attacker leaves.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DroppedFile {
    /// In which pod: a label selector, or `target`.
    pub pod: String,
    /// In which container; the first when it is not said.
    #[serde(default)]
    pub container: String,
    /// Where.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// Mode; 0644 when it is not said.
    #[serde(default)]
    pub mode: Option<u32>,
}

/// A process that an attacker starts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StartedProcess {
    /// In which pod: a label selector, or `target`.
    pub pod: String,
    /// In which container; the first when it is not said.
    #[serde(default)]
    pub container: String,
    /// Arguments. On a real cluster the first is made as a copy of a harmless program, so that it really runs.
    pub cmdline: Vec<String>,
    /// A connection that it holds, `ADDRESS:PORT`. Embedded cluster only.
    #[serde(default)]
    pub remote: Option<String>,
    /// Its executable is unlinked once it runs.
    #[serde(default)]
    pub deleted: bool,
}

/// A request that an attacker, or anybody else, makes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApiRequest {
    /// As whom: `serviceaccount:NAME` of the drill's namespace, or a user's name. `jane@$NAMESPACE` is nobody but the
    /// drill's on a real cluster, where a bare name may be somebody's.
    #[serde(rename = "as")]
    pub as_user: String,
    /// As whom they ask to act, by impersonation: written in the same way.
    #[serde(default)]
    pub acting_as: String,
    /// From which address. On a real cluster it comes from where the drill runs.
    #[serde(default)]
    pub from: String,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with query.
    pub path: String,
    /// Body.
    #[serde(default)]
    pub body: Value,
    /// User-Agent.
    #[serde(default)]
    pub agent: String,
}

/// What a run with nobody at the keyboard may do.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Unattended {
    /// Up to this risk steps are approved; all without it. What is above waits for a person.
    pub max_risk: Option<crate::event::Risk>,
}

/// What must be true in the end.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// Within which time: `acknowledge`, `first-evidence`, `contain`, `eradicate`.
    pub within: BTreeMap<String, String>,
    /// Which artifacts there must be: `record`, `processes`, `filesystem`, `log`, `audit`, `provenance`, `credentials`,
    /// `inventory`, `drain`, `consumers`, `holders`, `identity`, `review`, `footholds`.
    pub evidence: Vec<String>,
    /// The suspect must be cut off: a pod by a policy, a node by its cordon; false for a decoy.
    pub contained: Option<bool>,
    /// The suspect must be gone; false for a decoy.
    pub eradicated: Option<bool>,
    /// Secrets whose exposed value must be out of use.
    pub rotated: Vec<Rotated>,
    /// Rights that must be gone in the end.
    pub denied: Vec<Right>,
    /// Rights that must be left.
    pub allowed: Vec<Right>,
    /// What the attacker left behind, and how one sees that it was found.
    pub footholds: Vec<Foothold>,
    /// What must be as it was.
    pub unharmed: Vec<Unharmed>,
    /// Pods that must have left the suspect node before it was ended.
    pub moved: Vec<Moved>,
    /// What the record must not claim.
    pub honesty: Vec<Honesty>,
    /// Somebody must be told within 72 hours.
    pub notification: Option<String>,
}

/// A Secret whose exposed value must be out of use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rotated {
    /// Its name.
    pub secret: String,
    /// The key whose value must be another one in the end; None for a Secret that can't be changed.
    #[serde(default)]
    pub key: Option<String>,
    /// Pods by label selector that held the value where it stays until they end: all of them replaced, and ready.
    #[serde(default)]
    pub replaced: Vec<String>,
}

/// Somebody's right in the drill's namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Right {
    /// `serviceaccount:NAME` of the drill's namespace, or a user's name.
    pub who: String,
    /// `get`.
    pub verb: String,
    /// `secrets`, `rolebindings.rbac.authorization.k8s.io`.
    pub resource: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The namespace makes a name the drill's own; for people it says nothing.
        let who = self.who.replace(&format!("@{NAMESPACE}"), "");
        write!(f, "{who} may {} {}", self.verb, self.resource)
    }
}

/// What an attacker left behind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Foothold {
    /// What it is.
    pub what: String,
    /// Found when this text stands in the evidence or the record.
    pub seen_as: String,
    /// Why it matters.
    pub why: String,
}

/// Pods that must have left the suspect node before it was ended, and be as many and ready again elsewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Moved {
    /// What it is.
    pub what: String,
    /// Pods by label selector, `app=web`.
    pub pods: String,
    /// So many must have been ready at every moment; 0 when it is not said.
    #[serde(default)]
    pub never_below: usize,
}

/// What must be as it was.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Unharmed {
    /// What it is.
    pub what: String,
    /// Pods by label selector, without the suspect: none may be deleted, and as many as before must be ready.
    #[serde(default)]
    pub pods: Option<String>,
    /// An object, `apiVersion Kind name`: there, and its content the same.
    #[serde(default)]
    pub object: Option<String>,
    /// Pods by label selector: none of those that were there may be deleted before the suspect node is.
    #[serde(default)]
    pub spared: Option<String>,
}

/// What the record must not claim.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Honesty {
    /// The step by its action, `pod.isolate`.
    pub uses: String,
    /// The status that it must not have: `verified`.
    #[serde(default)]
    pub not: Option<String>,
    /// A text that the record of the step must have.
    #[serde(default)]
    pub says: Option<String>,
    /// Why it matters.
    pub why: String,
}

/// A question for a team at a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Question {
    /// The question.
    pub question: String,
    /// What a good answer names.
    #[serde(default)]
    pub expected: Vec<String>,
}

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// With line and column where it is not one.
    pub fn parse(text: &str, source: &str) -> Result<Scenario, Problem> {
        let mut scenario: Scenario = serde_saphyr::from_str(text).map_err(|e| {
            Problem::usage(format!("{source}: {e}")).hint("see `quell drill show` of a drill that is shipped")
        })?;
        scenario.text = text.into();
        let wrong = |what: String| Err(Problem::usage(format!("{source}: {what}")));
        if scenario.api_version != "quell/v1" || scenario.kind != "Drill" {
            return wrong(format!("this is {} {}, not a Drill of quell/v1", scenario.api_version, scenario.kind));
        }
        if !["basic", "hard"].contains(&scenario.metadata.level.as_str()) {
            return wrong(format!("level {:?}: basic or hard", scenario.metadata.level));
        }
        let past = &scenario.cluster.audit_past;
        let times = scenario.injects.iter().map(|i| &i.at).filter(|t| !t.is_empty());
        let times = times
            .chain(scenario.expect.within.values())
            .chain([&past.reaches])
            .chain(past.lost.iter().flat_map(|l| [&l.from, &l.to]));
        for time in times {
            if crate::runbook::parse_duration(time).is_err() {
                return wrong(format!("{time:?} is no duration: 0s, 90s, 10m"));
            }
        }
        for inject in &scenario.injects {
            if inject.text.is_empty() || inject.at.is_empty() == inject.when_step.is_empty() {
                return wrong(format!("inject {:?} needs a text, and either at or when-step", inject.text));
            }
        }
        for name in scenario.expect.within.keys() {
            if !["acknowledge", "first-evidence", "contain", "eradicate"].contains(&name.as_str()) {
                return wrong(format!("within: {name:?} is none of acknowledge, first-evidence, contain, eradicate"));
            }
        }
        if scenario.cluster.nodes == 0 {
            scenario.cluster.nodes = 2;
        }
        Ok(scenario)
    }
}
