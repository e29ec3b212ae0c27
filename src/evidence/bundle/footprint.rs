//! What quell itself did to the cluster, its nodes and the suspect: every change, whether it was taken back, and what
//! reading left behind. Made out of the custody log, so that whoever has that can make it again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::clock;
use crate::event::{Artifact, Event, Op, OpKind, OpStatus, Record};

/// The document `footprint.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Version of this form: 1.
    pub format: u32,
    /// In the order of their intents.
    pub changes: Vec<Change>,
    /// By object and way.
    pub reads: Vec<Reading>,
}

/// One change that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When its intent was on disk, RFC 3339.
    pub at: String,
    /// The operation's id, as in the custody log.
    pub op: String,
    /// `create`, `patch`, `delete`, `exec`.
    pub verb: String,
    /// What it acted on.
    pub object: String,
    /// Its UID, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// One line for a person.
    pub what: String,
    /// `there`, `taken-back`, `removed`, `was-so-already`, `given-up`, `failed`, or `not-known` for an intent without an outcome.
    pub state: String,
    /// When it was taken back or removed, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What was read out of an object by one way, and what that left there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What was read.
    pub object: String,
    /// The container in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// `node-collector`, `ephemeral-container`, `exec`, …
    pub rung: String,
    /// The traces that this way leaves.
    pub traces: String,
    /// Artifacts that were taken so.
    pub artifacts: usize,
    /// Whether reading may have changed files' access times.
    pub access_times: bool,
}

/// Makes the document, a record at a time.
#[derive(Default)]
pub struct Maker {
    ops: BTreeMap<String, Op>,
    changes: Vec<Change>,
    reads: BTreeMap<(String, Option<String>, String), Reading>,
}

impl Maker {
    /// The next record of the custody log.
    pub fn take(&mut self, record: &Record) {
        match &record.event {
            Event::StepStarted { ops, .. } => {
                let changes = ops.iter().filter(|op| op.kind == OpKind::Change);
                self.ops.extend(changes.map(|op| (op.id.clone(), op.clone())));
            }
            Event::Intent { op, .. } => intent(&mut self.changes, &self.ops, op, record.time),
            Event::Outcome { op, status, .. } => outcome(&mut self.changes, op, *status, record.time),
            Event::Captured { artifact, .. } => self.read(artifact),
            _ => {}
        }
    }

    fn read(&mut self, artifact: &Artifact) {
        let method = &artifact.method;
        if matches!(method.rung.as_str(), "derived" | "command" | "file" | "person") {
            return;
        }
        let (object, container) = (artifact.source.object.to_string(), artifact.source.container.clone());
        let key = (object.clone(), container.clone(), method.rung.clone());
        let reading = self.reads.entry(key).or_insert_with(|| Reading {
            object,
            container,
            rung: method.rung.clone(),
            traces: traces(&method.rung).into(),
            artifacts: 0,
            access_times: false,
        });
        reading.artifacts += 1;
        reading.access_times |=
            artifact.warnings.iter().any(|w| w.starts_with("O_NOATIME was refused")) || method.rung == "exec";
    }

    /// All of it so far.
    pub fn document(&self) -> Footprint {
        Footprint { format: 1, changes: self.changes.clone(), reads: self.reads.values().cloned().collect() }
    }
}

/// What each way leaves where it reads.
fn traces(rung: &str) -> &'static str {
    match rung {
        "api" => "requests in the API server's audit log, with quell's user agent",
        "node-collector" => {
            "processes of quell's own pod on the node, and its image there; nothing is executed in the container or written to it"
        }
        "ephemeral-container" => {
            "an ephemeral container that stays in the pod's spec, its processes in the pod while they run; no file is written"
        }
        "exec" => "processes started in the container by its own programs; what these write is theirs",
        _ => "not known",
    }
}

fn intent(changes: &mut Vec<Change>, ops: &BTreeMap<String, Op>, id: &str, at: OffsetDateTime) {
    // A second try of the same is the same change; taking back, and giving a Lease back, is told of by its outcome.
    if id.starts_with("undo:") || id.starts_with("lease-release:") || changes.iter().any(|c| c.op == id) {
        return;
    }
    let base = Change {
        at: clock::rfc3339(at),
        op: id.into(),
        verb: "create".into(),
        object: String::new(),
        uid: None,
        what: String::new(),
        state: "not-known".into(),
        until: None,
    };
    if let Some(name) = id.strip_prefix("lease:") {
        let what = "a Lease, so that no two responders act on one target unknowingly".to_string();
        changes.push(Change { object: format!("Lease {name}"), what, ..base });
    } else if let Some(op) = ops.get(id) {
        let (object, uid) = (op.object.to_string(), op.object.uid.clone());
        changes.push(Change { verb: op.verb.clone(), object, uid, what: op.summary.clone(), ..base });
    }
}

fn outcome(changes: &mut [Change], id: &str, status: OpStatus, at: OffsetDateTime) {
    let until = Some(clock::rfc3339(at));
    let done = matches!(status, OpStatus::Applied | OpStatus::AlreadySo);
    let back = id.strip_prefix("undo:");
    let released = id.strip_prefix("lease-release:").map(|target| format!("lease:{target}"));
    if let Some(of) = back.or(released.as_deref()) {
        if let Some(change) = changes.iter_mut().find(|c| c.op == of).filter(|_| done) {
            change.state = if back.is_some() { "taken-back" } else { "removed" }.into();
            change.until = until;
        }
        return;
    }
    let Some(at) = changes.iter().position(|c| c.op == id) else { return };
    changes[at].state = match status {
        OpStatus::Applied => "there",
        OpStatus::AlreadySo | OpStatus::Taken => "was-so-already",
        OpStatus::LeftOut => "given-up",
        OpStatus::Failed => "failed",
    }
    .into();
    // What quell made and took away again itself.
    if changes[at].verb == "delete" && done {
        let object = changes[at].object.clone();
        for made in changes[..at].iter_mut().filter(|c| c.verb == "create" && c.object == object && c.state == "there")
        {
            (made.state, made.until) = ("removed".into(), until.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::event::{ObjectRef, Risk, Undo};

    fn record(seq: u64, event: Event) -> Record {
        let time = clock::parse(&format!("2026-11-23T03:00:{seq:02}Z")).unwrap();
        serde_json::from_value(serde_json::json!({
            "v": crate::event::FORMAT, "seq": seq, "prev": "", "time": clock::rfc3339(time), "incident": "i", "event": event,
        }))
        .unwrap()
    }

    fn change(id: &str, verb: &str, kind: &str, name: &str) -> Op {
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: kind.into(),
            namespace: Some("n".into()),
            name: name.into(),
            uid: None,
        };
        Op { id: id.into(), ..Op::change(verb, object, "s", Risk::Low, Undo::NotNeeded) }
    }

    #[test]
    fn each_change_has_the_state_that_it_was_left_in() {
        let ops = vec![
            change("a/1", "create", "Pod", "own"),
            change("a/2", "patch", "Pod", "suspect"),
            change("a/3", "create", "NetworkPolicy", "q"),
            change("b/1", "delete", "Pod", "own"),
            change("b/2", "delete", "Pod", "other"),
        ];
        let begin = |op: &str| Event::Intent { op: op.into(), audit_id: "x".into(), attempt: 1 };
        let end = |op: &str, status| Event::Outcome {
            op: op.into(),
            status,
            detail: String::new(),
            proof: None,
            observed: Value::Null,
            calls: vec![],
        };
        let started = Event::StepStarted { step: "a".into(), uses: "x".into(), ops, outputs: Value::Null };
        let mut events = vec![started];
        for id in ["lease:n/l", "a/1", "a/2", "a/2", "a/3", "b/1", "lease-release:n/l", "undo:a/3"] {
            events.extend([begin(id), end(id, OpStatus::Applied)]);
        }
        events.push(begin("b/2"));
        let mut maker = Maker::default();
        for (i, event) in events.into_iter().enumerate() {
            maker.take(&record(i as u64, event));
        }
        let told = maker.document();
        let states: Vec<(&str, &str)> = told.changes.iter().map(|c| (c.op.as_str(), c.state.as_str())).collect();
        let expected = [
            ("lease:n/l", "removed"),
            ("a/1", "removed"),
            ("a/2", "there"),
            ("a/3", "taken-back"),
            ("b/1", "there"),
            ("b/2", "not-known"),
        ];
        assert_eq!(states, expected);
        assert!(told.changes[1].until.is_some() && told.changes[2].until.is_none());
    }
}
