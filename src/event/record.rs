//! The journal's line and what it can say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use super::{Artifact, Call, Op, Proof, Risk};

/// One line of the journal and of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`super::FORMAT`].
    pub v: u32,
    /// Place in the journal, from 0; absent for what is only shown (progress).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// SHA-256 of the line before (its bytes without the newline), 64 zeros for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    /// When it was written.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub time: OffsetDateTime,
    /// The incident's id.
    pub incident: String,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Event {
    /// The first record of every journal.
    Opened {
        /// Which playbook, by name and content.
        runbook: RunbookRef,
        /// The inputs after their checks and defaults.
        inputs: BTreeMap<String, Value>,
        /// Where it runs.
        cluster: ClusterId,
        /// Who started it.
        actor: Actor,
        /// With which program.
        tool: Tool,
        /// This machine's clock against the API server's.
        clock: ClockCheck,
        /// The alert it came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alert: Option<AlertRef>,
    },
    /// A process began to work on the incident.
    RunStarted {
        /// What it set out to do.
        kind: RunKind,
        /// Who.
        actor: Actor,
        /// With which program.
        tool: Tool,
        /// `--only`, `--skip` and `--start-at`, when only a part was asked for.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        selection: Vec<String>,
    },
    /// The plan that was shown.
    Planned {
        /// The whole plan.
        plan: Plan,
        /// The reads that made it.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Call>,
    },
    /// A guard was overridden.
    Overridden {
        /// Which, why and by whom.
        by: Override,
    },
    /// A person or a flag decided about a step.
    Decided {
        /// The step.
        step: String,
        /// What was decided.
        decision: Decision,
        /// Who decided.
        who: String,
        /// `terminal`, or the flag.
        how: String,
        /// Required for skip and by-hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A step begins; these are its operations, as resume will find them.
    StepStarted {
        /// The step.
        step: String,
        /// The action.
        uses: String,
        /// Its operations, in order.
        ops: Vec<Op>,
        /// What the plan already knew of its outputs.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        outputs: Value,
    },
    /// On disk before the request leaves.
    Intent {
        /// The operation (`undo:` before it when it is being taken back).
        op: String,
        /// What the API server's audit log will carry as auditID for the write.
        audit_id: String,
        /// 1 for the first try.
        attempt: u32,
    },
    /// A transient failure; the engine waits and tries again.
    Retrying {
        /// The operation or step.
        op: String,
        /// The try that failed.
        attempt: u32,
        /// What failed.
        cause: String,
        /// Milliseconds until the next try; 0 when the step waits for something to change.
        wait_ms: u64,
    },
    /// An artifact is complete on disk, or as complete as it will be.
    Captured {
        /// The operation.
        op: String,
        /// Its record.
        artifact: Artifact,
    },
    /// What an intent led to.
    Outcome {
        /// The operation.
        op: String,
        /// What became of it.
        status: OpStatus,
        /// One line for a person.
        detail: String,
        /// How far it was shown to be so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        proof: Option<Proof>,
        /// What undo, resume and outputs need of the answer.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        observed: Value,
        /// The requests made.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        calls: Vec<Call>,
    },
    /// Resume found out what became of an intent without an outcome.
    FoundOut {
        /// The operation.
        op: String,
        /// Whether it had landed.
        landed: Landed,
        /// How that was found out.
        how: String,
    },
    /// A step ended.
    StepFinished {
        /// The step.
        step: String,
        /// How.
        status: StepStatus,
        /// One line for a person.
        summary: String,
        /// What expressions of later steps may use.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        outputs: Value,
    },
    /// Something a reader must know.
    Note {
        /// The step, where it belongs to one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<String>,
        /// How loud.
        level: NoteLevel,
        /// The text, as it was found: escape before printing.
        text: String,
    },
    /// The process stopped before the end, with everything saved.
    Interrupted {
        /// Why.
        why: String,
    },
    /// The process's work ended.
    Finished {
        /// How.
        status: RunStatus,
        /// The process's exit code.
        exit_code: u8,
        /// One line for each thing that keeps it from being "all done".
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        open: Vec<String>,
    },
    /// The bundle was written.
    Sealed {
        /// Its file name.
        bundle: String,
        /// Its bytes.
        size: u64,
        /// SHA-256 of the whole file.
        sha256: String,
    },
    /// Only shown, never in the journal.
    Progress {
        /// The operation.
        op: String,
        /// What is being counted: `app filesystem`.
        label: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes expected, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
}

/// Which playbook, by name and content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunbookRef {
    /// `metadata.name`.
    pub name: String,
    /// SHA-256 of the file's bytes; a copy lies in the incident's folder.
    pub sha256: String,
    /// `embedded`, or the file's path.
    pub source: String,
}

/// Which cluster, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct ClusterId {
    /// The kubeconfig's context.
    pub context: String,
    /// The kubeconfig's cluster name.
    pub cluster: String,
    /// The API server's URL, without user info.
    pub server: String,
    /// UID of the namespace kube-system: the cluster's identity. None when it may not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `v1.35.4`.
    pub version: String,
    /// The user as the API server knows it (SelfSubjectReview).
    pub user: String,
    /// Its groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The namespace in force.
    pub namespace: String,
}

/// The person or program at the keyboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The operating system's user.
    pub os_user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Whether a terminal was there to ask at.
    pub terminal: bool,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `quell`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the executable; None when it can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// This machine's clock against the API server's `Date`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockCheck {
    /// Milliseconds that this clock is ahead; a whole second's uncertainty, for `Date` has no fraction.
    pub ahead_ms: Option<i64>,
    /// How it was found, or why not.
    pub basis: String,
}

/// The alert that an incident came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRef {
    /// `alertmanager` or `falco`.
    pub kind: String,
    /// What makes a repetition the same alert.
    pub fingerprint: String,
    /// SHA-256 of the document; a copy lies in the incident's folder.
    pub sha256: String,
}

/// The whole plan: what would happen, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Plan {
    /// In order.
    pub steps: Vec<PlannedStep>,
    /// What would stop it: missing rights, refused dry runs, guards. Each names the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<String>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// The step.
    pub step: String,
    /// Its title.
    pub title: String,
    /// The action.
    pub uses: String,
    /// The greatest risk among its operations.
    pub risk: Risk,
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ops: Vec<Op>,
    /// What the approver should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What would stop this step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<String>,
    /// Why it can't be planned yet, or won't run (`when` is false, not selected).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deferred: Option<String>,
}

/// A guard, overridden by name and with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// `protected-namespace`, `max-changes`, `lease`, …
    pub guard: String,
    /// Why.
    pub reason: String,
    /// Who.
    pub who: String,
}

/// What a process set out to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// From the start.
    Run,
    /// Going on.
    Resume,
    /// Taking back.
    Undo,
}

/// What was decided about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// Do it.
    Approve,
    /// Leave it.
    Skip,
    /// A person did it another way.
    ByHand,
    /// End the run here.
    Stop,
}

/// What became of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpStatus {
    /// The change was made.
    Applied,
    /// The object was already so; nothing was sent.
    AlreadySo,
    /// Evidence was taken or something was read.
    Taken,
    /// It was given up, by a rule of the step; the object is as it was.
    LeftOut,
    /// It failed; nothing is known to have changed.
    Failed,
}

/// Whether an intent without an outcome had reached the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Landed {
    /// It had.
    Yes,
    /// It had not.
    No,
    /// It can't be told; the step stops for a person.
    Unknown,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// Done, and shown to be so.
    Verified,
    /// Done as far as the API says; the effect was not shown.
    Unproved,
    /// Shown to be without effect.
    Refuted,
    /// Not done: `when` was false.
    NotNeeded,
    /// Not done, with a person's or a flag's reason.
    Skipped,
    /// A person did it another way, and said so.
    ByHand,
    /// It failed.
    Failed,
}

impl std::fmt::Display for StepStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            StepStatus::Verified => "verified",
            StepStatus::Unproved => "not proved",
            StepStatus::Refuted => "refuted",
            StepStatus::NotNeeded => "not needed",
            StepStatus::Skipped => "skipped",
            StepStatus::ByHand => "done by hand",
            StepStatus::Failed => "failed",
        })
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunStatus {
    /// Every step verified.
    Done,
    /// Finished, with steps skipped or not proved.
    Unproved,
    /// A step failed.
    Failed,
    /// Stopped by a person, a guard or for want of an approval.
    Stopped,
    /// Interrupted.
    Interrupted,
}

/// How loud a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoteLevel {
    /// For the record.
    Info,
    /// Must be read.
    Warning,
}
