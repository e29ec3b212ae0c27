//! What a step is going to do, one operation at a time.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How much harm an operation can do, least first; `--max-risk` compares these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    /// Changes nothing in the cluster.
    #[default]
    Read,
    /// Leaves a trace (a process, an ephemeral container, a Lease), takes nothing away.
    Low,
    /// Changes how a workload is reached or managed; can be taken back.
    Medium,
    /// May interrupt service, or can be taken back only in part.
    High,
    /// Destroys something that can't be brought back.
    Destructive,
}

impl std::fmt::Display for Risk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Risk::Read => "read",
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
            Risk::Destructive => "destructive",
        })
    }
}

/// One object in a cluster. `uid` is absent only for what does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Default)]
pub struct ObjectRef {
    /// `v1`, `networking.k8s.io/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// None for what has no namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The precondition of every write to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl std::fmt::Display for ObjectRef {
    /// `Pod payments/checkout-7d9f`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {}/{}", self.kind, namespace, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// What an operation does to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// Reads only.
    Observe,
    /// Brings evidence here; may leave a trace in the target (a process), which its summary says.
    Capture,
    /// One write to one object.
    Change,
}

/// How an operation is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "how")]
pub enum Undo {
    /// Nothing was changed.
    NotNeeded,
    /// `quell undo` does it; the text says how.
    Automatic(String),
    /// It can't be taken back; the text says why.
    Impossible(String),
}

/// How large a capture is expected to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// Bytes, where something in the API tells; None when nothing does.
    pub bytes: Option<u64>,
    /// Where the number comes from, or why there is none.
    pub basis: String,
}

/// One operation of a step: what the plan shows, the approver approves, the intent names, and resume looks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// `isolate/2`: the step and the operation's place in it. Set by the engine.
    #[serde(default)]
    pub id: String,
    /// What it does to the world.
    pub kind: OpKind,
    /// `create`, `patch`, `delete`, `exec`, `read`, …
    pub verb: String,
    /// What it acts on.
    pub object: ObjectRef,
    /// One line for a person: what will happen and to what.
    pub summary: String,
    /// The parts of the object that will change, as they are now; Null when nothing changes.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before: Value,
    /// The parts of the object as they will be; Null when nothing changes.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub after: Value,
    /// How much harm it can do.
    pub risk: Risk,
    /// How it is taken back.
    pub undo: Undo,
    /// For captures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// What the action needs to carry it out, to find out later whether it landed, and to undo it. Never a secret.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
    /// The target that it is a part of, a node for its pods: that one's Lease covers it, it counts with it as one object,
    /// and those of one target that stand beside each other are carried out at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<ObjectRef>,
    /// Operations of one stage that stand beside each other are begun in their order, and a few at a time are carried out
    /// at once; absent: alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<u8>,
    /// Guards of its own that must be overridden first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guarded>,
}

/// A guard that an operation stands behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// As `--override` names it.
    pub guard: String,
    /// What it would do, as the end of `it …`.
    pub why: String,
}

impl Op {
    /// An operation that only reads.
    pub fn observe(object: ObjectRef, summary: impl Into<String>) -> Op {
        Op {
            id: String::new(),
            kind: OpKind::Observe,
            verb: "read".into(),
            object,
            summary: summary.into(),
            before: Value::Null,
            after: Value::Null,
            risk: Risk::Read,
            undo: Undo::NotNeeded,
            estimate: None,
            detail: Value::Null,
            part_of: None,
            stage: None,
            guards: Vec::new(),
        }
    }

    /// An operation that brings evidence here.
    pub fn capture(verb: &str, object: ObjectRef, summary: impl Into<String>, risk: Risk, estimate: Estimate) -> Op {
        Op { kind: OpKind::Capture, verb: verb.into(), risk, estimate: Some(estimate), ..Op::observe(object, summary) }
    }

    /// One write to one object.
    pub fn change(verb: &str, object: ObjectRef, summary: impl Into<String>, risk: Risk, undo: Undo) -> Op {
        Op { kind: OpKind::Change, verb: verb.into(), risk, undo, ..Op::observe(object, summary) }
    }

    /// What makes two operations the same one to an approver: what is done, to which object, by UID.
    pub fn key(&self) -> String {
        format!(
            "{} {} {} {}",
            self.verb,
            self.object,
            self.object.uid.as_deref().unwrap_or("-"),
            self.detail.get("key").and_then(Value::as_str).unwrap_or("")
        )
    }
}

/// One HTTP request to the API server, as the tape saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// `PATCH`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// HTTP status; None when no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The `Audit-ID` sent; the API server keeps it as the event's auditID.
    pub audit_id: String,
    /// Milliseconds until the answer's head.
    pub ms: u64,
}

/// How far an outcome was shown to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "why")]
pub enum Proof {
    /// Read back or checked independently; the text says what was checked.
    Verified(String),
    /// The request was accepted; its effect was not shown. The text says why not.
    Unproved(String),
    /// Shown to be not so.
    Refuted(String),
}

impl Proof {
    /// Only [`Proof::Verified`] satisfies another step's `needs`.
    pub fn is_verified(&self) -> bool {
        matches!(self, Proof::Verified(_))
    }

    /// Its words.
    pub fn text(&self) -> &str {
        match self {
            Proof::Verified(text) | Proof::Unproved(text) | Proof::Refuted(text) => text,
        }
    }
}
