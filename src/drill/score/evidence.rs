//! Evidence: taken, complete, in the order of volatility.

use std::collections::BTreeMap;

use super::{Facts, check};
use crate::drill::outcome::{Area, Check, Verdict};
use crate::event::{Artifact, Event, OpKind, RunStatus};

/// What tells an artifact's kind: the action that took it, and what its source says.
fn is_kind(kind: &str, uses: &str, artifact: &Artifact) -> bool {
    let what = artifact.source.what.as_str();
    match kind {
        "record" => uses == "pod.record",
        "processes" => what.contains("process"),
        "filesystem" => what.contains("filesystem"),
        "log" => what.contains("log") && uses == "pod.capture",
        "audit" => ["audit.review", "audit.query", "secret.readers"].contains(&uses),
        "consumers" => uses == "secret.consumers",
        "holders" => uses == "secret.prove",
        "identity" => uses == "access.identify",
        "review" => uses == "access.review",
        "footholds" => uses == "access.footholds",
        "provenance" => uses == "image.provenance",
        "credentials" => uses == "credentials.rotate",
        "inventory" => uses == "node.inventory",
        "drain" => uses == "node.drain",
        _ => false,
    }
}

pub(super) fn evidence(facts: &Facts<'_>) -> Vec<Check> {
    let uses: BTreeMap<String, &str> = facts
        .records
        .iter()
        .filter_map(|r| match &r.event {
            Event::StepStarted { step, uses, .. } => Some((step.clone(), uses.as_str())),
            _ => None,
        })
        .collect();
    let artifacts = facts.artifacts();
    let of = |op: &str| uses.get(op.split('/').next().unwrap_or_default()).copied().unwrap_or_default();
    let mut all: Vec<Check> = facts
        .scenario
        .expect
        .evidence
        .iter()
        .map(|kind| {
            let taken: Vec<_> = artifacts.iter().filter(|(_, _, op, a)| is_kind(kind, of(op), a)).collect();
            let partial: Vec<&str> = taken
                .iter()
                .filter(|(_, _, _, a)| !a.complete || a.size == 0)
                .map(|(_, _, _, a)| a.title.as_str())
                .collect();
            let found = match (taken.len(), partial.len()) {
                (0, _) => "none was taken".to_string(),
                (n, 0) => format!("{n} taken, complete"),
                (n, _) => format!("{n} taken, not complete: {}", partial.join(", ")),
            };
            let good = !taken.is_empty() && partial.is_empty();
            let what = format!("evidence of kind {kind} is taken, and complete");
            let why = "what was not taken before the suspect was gone is gone with it";
            check(
                &format!("evidence.{kind}"),
                Area::Evidence,
                4,
                &what,
                good,
                found,
                why,
                Some(format!("no complete {kind}")),
            )
        })
        .collect();
    // A run that waits for a person is not sealed yet, and should not be.
    let waits = facts.records.iter().rev().find_map(|r| match &r.event {
        Event::Finished { status, .. } => Some(matches!(status, RunStatus::Stopped | RunStatus::Interrupted)),
        _ => None,
    });
    let found = match facts.verified {
        Some(true) => "it does",
        Some(false) => "it does not verify",
        None if waits == Some(true) => "not sealed: the run waits for a person",
        None => "no bundle was sealed",
    };
    let mut bundle = check(
        "evidence.bundle",
        Area::Evidence,
        4,
        "the sealed bundle verifies",
        facts.verified == Some(true),
        found.into(),
        "evidence that can't be shown to be whole is none",
        Some("the bundle".into()),
    );
    if facts.verified.is_none() && waits == Some(true) {
        bundle.verdict = Verdict::NotMeasured;
    }
    all.push(bundle);
    all
}

/// A node is closed first; what it could read is written down before its pods leave it.
fn node_order(facts: &Facts<'_>) -> Vec<Check> {
    let carried = facts.carried();
    let taken =
        facts.artifacts().iter().filter(|(_, _, _, a)| a.source.what == "inventory").map(|(seq, ..)| *seq).min();
    let leaves = |c: &&super::Carried<'_>| c.op.verb == "evict" || c.op.verb == "delete" && c.op.object.kind == "Node";
    let Some((first, step)) = carried.iter().filter(leaves).filter_map(|c| c.intent.map(|i| (i, c.step))).min() else {
        return Vec::new();
    };
    let found = match taken {
        Some(taken) => format!("inventory in record {taken}, the first eviction or deletion in record {first}"),
        None => format!("the first eviction or deletion in record {first}, no inventory before it"),
    };
    vec![check(
        "order.inventory-first",
        Area::Order,
        6,
        "what the node could read is written down before its pods leave it",
        taken.is_some_and(|taken| taken < first),
        found,
        "the API forgets a pod, and which Secrets it named, as soon as it is gone",
        Some(format!("step {step} came before the inventory")),
    )]
}

pub(super) fn order(facts: &Facts<'_>) -> Vec<Check> {
    let carried = facts.carried();
    let artifacts = facts.artifacts();
    let mut all = Vec::new();
    if facts.target.is_node() {
        return node_order(facts);
    }
    let first_change = carried
        .iter()
        .filter(|c| c.op.kind == OpKind::Change && c.op.object.uid.as_deref() == Some(facts.target.uid.as_str()))
        .filter_map(|c| c.intent.map(|i| (i, c.step)))
        .min();
    let record = artifacts.iter().map(|(seq, _, _, _)| *seq).min();
    if let Some((change, step)) = first_change {
        let good = record.is_some_and(|r| r < change);
        let found = match record {
            Some(r) => format!("first artifact in record {r}, first change to the suspect in record {change}"),
            None => format!("first change to the suspect in record {change}, no artifact before it"),
        };
        all.push(check(
            "order.record-first",
            Area::Order,
            3,
            "the suspect is recorded before it is changed",
            good,
            found,
            "a change to the suspect alters what it shows",
            Some(format!("step {step} changed it before anything was recorded")),
        ));
    }
    let seq_of = |word: &str| -> Vec<u64> {
        artifacts.iter().filter(|(_, _, _, a)| a.source.what.contains(word)).map(|(seq, _, _, _)| *seq).collect()
    };
    if let Some((deletion, step)) = facts.deletion() {
        let captured = ["process", "filesystem"].iter().flat_map(|w| seq_of(w)).collect::<Vec<_>>();
        let late = captured.iter().any(|c| *c > deletion);
        let good = !captured.is_empty() && !late;
        let found = if captured.is_empty() {
            format!("the suspect was deleted in record {deletion} and nothing of its inside was captured before")
        } else if late {
            format!("the suspect was deleted in record {deletion}, a capture came after it")
        } else {
            format!("captures in records {captured:?}, deletion in record {deletion}")
        };
        all.push(check(
            "order.capture-before-delete",
            Area::Order,
            6,
            "the suspect's inside is captured before it is deleted",
            good,
            found,
            "deleting a pod destroys its memory, processes and writable layer",
            Some(format!("step {step} deletes the suspect before its capture")),
        ));
    }
    let (processes, files) = (seq_of("process").into_iter().min(), seq_of("filesystem").into_iter().min());
    if let (Some(processes), Some(files)) = (processes, files) {
        let found = format!("processes in record {processes}, files in record {files}");
        all.push(check(
            "order.volatility",
            Area::Order,
            3,
            "processes are captured before files (RFC 3227, order of volatility)",
            processes < files,
            found,
            "processes and connections change while files are read",
            Some("the capture's order".into()),
        ));
    }
    all
}
