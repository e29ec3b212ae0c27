//! What a drill scores: by the journal's records, the artifacts' bytes and the cluster's own state, never by a summary.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;

use super::observe::Seen;
use super::outcome::{Area, Check, Milestone, MilestoneName, Verdict};
use super::scenario::Scenario;
use crate::event::{Artifact, Event, Op, OpKind, OpStatus, Proof, Record, RunStatus, StepStatus};
use crate::runbook::parse_duration;

/// All that is judged.
pub struct Facts<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The incident's journal.
    pub records: &'a [Record],
    /// Its folder.
    pub dir: &'a Path,
    /// What the cluster showed.
    pub seen: &'a Seen,
    /// The suspect: name and UID.
    pub target: (&'a str, &'a str),
    /// The first inject.
    pub began: OffsetDateTime,
    /// Objects that must be unharmed, before and after: by their path.
    pub objects: &'a [(String, Value, Value)],
    /// Whether the bundle verified; None: there is none.
    pub verified: Option<bool>,
    /// What people said when they were asked.
    pub said: &'a [(String, String)],
    /// Whether anybody was there to ask.
    pub people: bool,
    /// Whether the suspect was meant to die by the scenario's own hand.
    pub replaced: bool,
}

/// An operation with its intent and outcome.
struct Carried<'a> {
    op: &'a Op,
    step: &'a str,
    intent: Option<u64>,
    outcome: Option<(u64, OpStatus, Option<&'a Proof>, OffsetDateTime)>,
}

impl Facts<'_> {
    fn carried(&self) -> Vec<Carried<'_>> {
        let mut all: Vec<Carried<'_>> = Vec::new();
        for record in self.records {
            let seq = record.seq.unwrap_or(0);
            match &record.event {
                Event::StepStarted { step, ops, .. } => {
                    for op in ops {
                        match all.iter_mut().find(|c| c.op.id == op.id) {
                            Some(known) => known.op = op,
                            None => all.push(Carried { op, step, intent: None, outcome: None }),
                        }
                    }
                }
                Event::Intent { op, .. } => {
                    if let Some(carried) = all.iter_mut().find(|c| c.op.id == *op) {
                        carried.intent.get_or_insert(seq);
                    }
                }
                Event::Outcome { op, status, proof, .. } => {
                    if let Some(carried) = all.iter_mut().find(|c| c.op.id == *op) {
                        carried.outcome = Some((seq, *status, proof.as_ref(), record.time));
                    }
                }
                _ => {}
            }
        }
        all
    }

    fn artifacts(&self) -> Vec<(u64, OffsetDateTime, &str, &Artifact)> {
        self.records
            .iter()
            .filter_map(|r| match &r.event {
                Event::Captured { op, artifact } => Some((r.seq.unwrap_or(0), r.time, op.as_str(), artifact)),
                _ => None,
            })
            .collect()
    }

    fn steps(&self) -> Vec<(&str, &str, StepStatus, &str)> {
        let mut uses: BTreeMap<&str, &str> = BTreeMap::new();
        let mut all = Vec::new();
        for record in self.records {
            match &record.event {
                Event::StepStarted { step, uses: of, .. } => {
                    uses.insert(step, of);
                }
                Event::StepFinished { step, status, summary, .. } => {
                    all.push((
                        step.as_str(),
                        uses.get(step.as_str()).copied().unwrap_or_default(),
                        *status,
                        summary.as_str(),
                    ));
                }
                _ => {}
            }
        }
        all
    }

    /// Record of the first deletion of the suspect that was asked for.
    fn deletion(&self) -> Option<(u64, String)> {
        let carried = self.carried();
        let by = carried.iter().find(|c| {
            c.op.verb == "delete" && c.op.object.kind == "Pod" && c.op.object.uid.as_deref() == Some(self.target.1)
        })?;
        Some((by.intent?, by.step.to_string()))
    }
}

fn check(
    id: &str,
    area: Area,
    weight: u32,
    what: &str,
    verdict: bool,
    found: String,
    why: &str,
    fault: Option<String>,
) -> Check {
    Check {
        id: id.into(),
        area,
        verdict: if verdict { Verdict::Passed } else { Verdict::Failed },
        weight,
        what: what.into(),
        found,
        why: why.into(),
        fault: if verdict { None } else { fault },
    }
}

/// The milestones.
pub fn milestones(facts: &Facts<'_>) -> Vec<Milestone> {
    let after = |at: OffsetDateTime| u64::try_from((at - facts.began).whole_milliseconds()).unwrap_or(0);
    let target = |name: &str| {
        let text = facts.scenario.expect.within.get(name)?;
        parse_duration(text).ok().and_then(|d| u64::try_from(d.as_millis()).ok())
    };
    let opened = facts.records.first().map(|r| r.time);
    let evidence = facts.artifacts().into_iter().find(|(_, _, _, a)| a.complete);
    let wanted = |is: Option<bool>| is != Some(false);
    let mut all = vec![
        Milestone {
            name: MilestoneName::Acknowledge,
            after_ms: opened.map(after),
            target_ms: target("acknowledge"),
            by: opened.map_or("no run was begun".into(), |_| "the journal's first record".into()),
        },
        Milestone {
            name: MilestoneName::FirstEvidence,
            after_ms: evidence.map(|(_, at, _, _)| after(at)),
            target_ms: target("first-evidence"),
            by: evidence.map_or("no artifact is complete".into(), |(seq, _, _, a)| {
                format!("journal record {seq}: {} is complete", a.title)
            }),
        },
    ];
    if wanted(facts.scenario.expect.contained) {
        let cut = facts.seen.cut_off.as_ref();
        all.push(Milestone {
            name: MilestoneName::Contain,
            after_ms: cut.map(|(at, _)| after(*at)),
            target_ms: target("contain"),
            by: cut.map_or("no policy cut the suspect off while it lived".into(), |(_, by)| {
                format!("the cluster's own state: {by} selects the suspect and allows nothing; whether the network enforces it is another matter")
            }),
        });
    }
    if wanted(facts.scenario.expect.eradicated) {
        all.push(Milestone {
            name: MilestoneName::Eradicate,
            after_ms: facts.seen.gone.map(after),
            target_ms: target("eradicate"),
            by: facts.seen.gone.map_or("the suspect is still there".into(), |_| {
                "the cluster's own state: the suspect's UID is gone".into()
            }),
        });
    }
    all
}

/// Everything that had to be true.
pub fn checks(facts: &Facts<'_>) -> Vec<Check> {
    let mut all = evidence(facts);
    all.extend(order(facts));
    all.extend(containment(facts));
    all.extend(footholds(facts));
    all.extend(collateral(facts));
    all.extend(honesty(facts));
    all.extend(people(facts));
    all
}

/// What tells an artifact's kind: the action that took it, and what its source says.
fn is_kind(kind: &str, uses: &str, artifact: &Artifact) -> bool {
    let what = artifact.source.what.as_str();
    match kind {
        "record" => uses == "pod.record",
        "processes" => what.contains("process"),
        "filesystem" => what.contains("filesystem"),
        "log" => what.contains("log") && uses == "pod.capture",
        "audit" => uses == "audit.review",
        "provenance" => uses == "image.provenance",
        "credentials" => uses == "credentials.rotate",
        _ => false,
    }
}

fn evidence(facts: &Facts<'_>) -> Vec<Check> {
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

fn order(facts: &Facts<'_>) -> Vec<Check> {
    let carried = facts.carried();
    let artifacts = facts.artifacts();
    let mut all = Vec::new();
    let first_change = carried
        .iter()
        .filter(|c| c.op.kind == OpKind::Change && c.op.object.uid.as_deref() == Some(facts.target.1))
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

fn containment(facts: &Facts<'_>) -> Vec<Check> {
    let expect = &facts.scenario.expect;
    let mut all = Vec::new();
    let cut = facts.seen.cut_off.as_ref();
    match expect.contained {
        Some(true) => {
            let found = match cut {
                Some((_, by)) => format!("policy {by} selected it"),
                None if facts.seen.gone.is_some() => "it was gone before any policy selected it".into(),
                None => "no policy ever selected it with all traffic denied".into(),
            };
            let fault = facts
                .steps()
                .iter()
                .find(|(_, uses, _, _)| *uses == "pod.isolate")
                .map_or("the runbook has no step that isolates".to_string(), |(step, _, status, _)| {
                    format!("step {step}: {status}")
                });
            all.push(check(
                "containment.policy",
                Area::Containment,
                6,
                "a policy that allows nothing selects the suspect while it lives",
                cut.is_some(),
                found,
                "until then the attacker can reach others and be reached",
                Some(fault),
            ));
            if let (Some((at, _)), Some(gone)) = (cut, facts.seen.gone) {
                all.push(check(
                    "containment.before-delete",
                    Area::Containment,
                    2,
                    "containment comes before deletion",
                    *at <= gone,
                    format!("{} ms before", (gone - *at).whole_milliseconds()),
                    "a suspect that is only deleted is replaced by its controller, unseen",
                    None,
                ));
            }
        }
        Some(false) => {
            let found = cut.map_or("it was left alone".to_string(), |(_, by)| format!("policy {by} cut it off"));
            all.push(check(
                "containment.none",
                Area::Containment,
                4,
                "a benign pod is not cut off",
                cut.is_none(),
                found,
                "a wrong containment is an outage of one's own making",
                Some("the suspect was benign".into()),
            ));
        }
        None => {}
    }
    match expect.eradicated {
        Some(true) => {
            let gone = facts.seen.gone.is_some();
            let found = if gone { "its UID is gone".to_string() } else { "it is still there".into() };
            all.push(check(
                "containment.eradicated",
                Area::Containment,
                4,
                "the suspect is gone in the end",
                gone,
                found,
                "what still runs can still act",
                Some("no step deleted the suspect".into()),
            ));
        }
        Some(false) => {
            let gone = facts.seen.gone.is_some() && !facts.replaced;
            let found = if gone { "it was deleted".to_string() } else { "it lives".into() };
            all.push(check(
                "containment.kept",
                Area::Containment,
                4,
                "a benign pod is not deleted",
                !gone,
                found,
                "a wrong deletion is an outage of one's own making",
                Some("the suspect was benign".into()),
            ));
        }
        None => {}
    }
    all
}

/// Whether a text stands in any artifact or in what the record says. Archives are searched as bytes.
fn stands(facts: &Facts<'_>, text: &str) -> Option<String> {
    for (_, _, _, artifact) in facts.artifacts() {
        let path = facts.dir.join(&artifact.path);
        if file_has(&path, text.as_bytes()).unwrap_or(false) {
            return Some(artifact.path.clone());
        }
    }
    let said = facts.records.iter().find(|r| {
        matches!(&r.event, Event::Note { .. } | Event::StepFinished { .. } | Event::Outcome { .. })
            && serde_json::to_string(&r.event).is_ok_and(|line| line.contains(text))
    });
    said.map(|r| format!("journal record {}", r.seq.unwrap_or(0)))
}

fn file_has(path: &Path, needle: &[u8]) -> std::io::Result<bool> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let (mut held, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(false);
        }
        held.extend_from_slice(piece.get(..read).unwrap_or_default());
        if held.windows(needle.len().max(1)).any(|w| w == needle) {
            return Ok(true);
        }
        let keep = held.len().saturating_sub(needle.len());
        held.drain(..keep);
    }
}

fn footholds(facts: &Facts<'_>) -> Vec<Check> {
    let all = facts.scenario.expect.footholds.iter().enumerate();
    all.map(|(i, foothold)| {
        let place = stands(facts, &foothold.seen_as);
        let found = place.as_ref().map_or_else(
            || format!("{:?} stands nowhere in the evidence", foothold.seen_as),
            |p| format!("seen in {p}"),
        );
        check(
            &format!("foothold.{}", i + 1),
            Area::Foothold,
            4,
            &foothold.what,
            place.is_some(),
            found,
            &foothold.why,
            Some("it was missed".into()),
        )
    })
    .collect()
}

fn collateral(facts: &Facts<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    for (i, unharmed) in facts.scenario.expect.unharmed.iter().enumerate() {
        let id = format!("collateral.{}", i + 1);
        if let Some(selector) = &unharmed.pods {
            let wanted: BTreeMap<&str, &str> = selector.split(',').filter_map(|t| t.split_once('=')).collect();
            let fits = |labels: &BTreeMap<String, String>| {
                wanted.iter().all(|(k, v)| labels.get(*k).map(String::as_str) == Some(*v))
            };
            let others = || {
                facts
                    .seen
                    .pods
                    .iter()
                    .filter(|(uid, p)| uid.as_str() != facts.target.1 && p.from_the_start && fits(&p.first_labels))
            };
            let count = others().count();
            let hit: Vec<String> = others()
                .filter(|(_, p)| p.gone.is_some() || p.deleting || !p.ready || !fits(&p.labels))
                .map(|(_, p)| p.name.clone())
                .collect();
            let found = if hit.is_empty() {
                format!("{count} of {count} as before")
            } else {
                format!("hit: {}", hit.join(", "))
            };
            all.push(check(
                &id,
                Area::Collateral,
                4,
                &unharmed.what,
                hit.is_empty() && count > 0,
                found,
                "an answer that harms what is healthy does the attacker's work",
                Some(hit.join(", ")),
            ));
        }
        if let Some(object) = &unharmed.object {
            let known = facts.objects.iter().find(|(name, _, _)| name == object);
            let (good, found) = match known {
                Some((_, before, after)) if after.is_null() && !before.is_null() => (false, "it is gone".to_string()),
                Some((_, before, _)) if before.is_null() => (false, "it was not there in the first place".to_string()),
                Some((_, before, after)) => {
                    let same = content(before) == content(after);
                    (same, if same { "as before".to_string() } else { "it was changed".into() })
                }
                None => (false, "it was not looked at".into()),
            };
            all.push(check(
                &id,
                Area::Collateral,
                4,
                &unharmed.what,
                good,
                found,
                "an answer that harms what is healthy does the attacker's work",
                Some(object.clone()),
            ));
        }
    }
    all
}

/// An object without what the API server keeps of it.
fn content(object: &Value) -> Value {
    let mut bare = object.clone();
    for part in ["resourceVersion", "managedFields", "generation"] {
        if let Some(meta) = bare["metadata"].as_object_mut() {
            meta.remove(part);
        }
    }
    if let Some(map) = bare.as_object_mut() {
        map.remove("status");
    }
    bare
}

fn honesty(facts: &Facts<'_>) -> Vec<Check> {
    let mut all: Vec<Check> = facts
        .scenario
        .expect
        .honesty
        .iter()
        .enumerate()
        .map(|(i, honesty)| {
            let step = facts.steps().into_iter().find(|(_, uses, _, _)| *uses == honesty.uses);
            let Some((step, _, status, _)) = step else {
                return check(
                    &format!("honesty.{}", i + 1),
                    Area::Honesty,
                    3,
                    &format!("the record of {} is honest", honesty.uses),
                    false,
                    format!("no step ran {}", honesty.uses),
                    &honesty.why,
                    Some(honesty.uses.clone()),
                );
            };
            let (what, good, found) = match (&honesty.not, &honesty.says) {
                (Some(not), _) => {
                    let is = serde_json::to_value(status)
                        .ok()
                        .and_then(|v| v.as_str().map(str::to_string))
                        .unwrap_or_default();
                    (format!("{} is not called {not}", honesty.uses), is != *not, format!("step {step}: {status}"))
                }
                (None, Some(text)) => {
                    let place = said_of(facts, step, text);
                    let found = place.clone().unwrap_or_else(|| "nothing of it is said".into());
                    (format!("the record of {} says {text:?}", honesty.uses), place.is_some(), found)
                }
                (None, None) => (String::new(), true, String::new()),
            };
            check(
                &format!("honesty.{}", i + 1),
                Area::Honesty,
                3,
                &what,
                good,
                found,
                &honesty.why,
                Some(format!("step {step}")),
            )
        })
        .collect();
    // Whatever the scenario: nothing that was applied without an intent before it, and no claim without a proof.
    let bare: Vec<String> = facts
        .carried()
        .iter()
        .filter(|c| c.op.kind == OpKind::Change)
        .filter_map(|c| {
            let (outcome, status, _, _) = c.outcome?;
            (status == OpStatus::Applied && c.intent.is_none_or(|i| i > outcome)).then(|| c.op.id.clone())
        })
        .collect();
    let found = if bare.is_empty() { "every one".to_string() } else { format!("without: {}", bare.join(", ")) };
    all.push(check(
        "honesty.intents",
        Area::Honesty,
        2,
        "every change has its intent in the journal before it",
        bare.is_empty(),
        found,
        "a change that nobody announced can't be told from the attacker's",
        bare.first().cloned(),
    ));
    all
}

fn said_of(facts: &Facts<'_>, step: &str, text: &str) -> Option<String> {
    let record = facts.records.iter().find(|r| {
        let of_step = match &r.event {
            Event::Note { step: of, .. } => of.as_deref() == Some(step),
            Event::Outcome { op, .. } | Event::Captured { op, .. } => op.split('/').next() == Some(step),
            Event::StepFinished { step: of, .. } => of == step,
            _ => false,
        };
        of_step && serde_json::to_string(&r.event).is_ok_and(|line| line.contains(text))
    });
    if let Some(record) = record {
        return Some(format!("journal record {}", record.seq.unwrap_or(0)));
    }
    let artifacts = facts.artifacts();
    let mut own = artifacts.iter().filter(|(_, _, op, _)| op.split('/').next() == Some(step));
    own.find(|(_, _, _, a)| file_has(&facts.dir.join(&a.path), text.as_bytes()).unwrap_or(false))
        .map(|(_, _, _, a)| a.path.clone())
}

fn people(facts: &Facts<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    let calls = facts.scenario.injects.iter().filter_map(|i| i.call.as_ref().map(|who| (who, &i.text)));
    for (who, text) in calls {
        let answer = facts.said.iter().find(|(question, _)| question == text);
        all.push(Check {
            id: "decision.call".into(),
            area: Area::Decision,
            verdict: match (facts.people, answer) {
                (_, Some(_)) => Verdict::Passed,
                (true, None) => Verdict::Failed,
                (false, None) => Verdict::NotMeasured,
            },
            weight: 2,
            what: format!("the call of {who} is answered, and the answer is recorded"),
            found: answer.map_or("no answer".into(), |(_, a)| a.clone()),
            why: "what is said outside binds; who said what must stand somewhere".into(),
            fault: None,
        });
    }
    if let Some(notification) = &facts.scenario.expect.notification {
        let answer = facts.said.iter().find(|(question, _)| question == notification);
        let due = facts.began + time::Duration::hours(72);
        all.push(Check {
            id: "notification.decided".into(),
            area: Area::Notification,
            verdict: match (facts.people, answer) {
                (_, Some(_)) => Verdict::Passed,
                (true, None) => Verdict::Failed,
                (false, None) => Verdict::NotMeasured,
            },
            weight: 3,
            what: notification.clone(),
            found: match answer {
                Some((_, a)) => format!("{a}; the 72 hours (GDPR, Article 33) end {}", crate::clock::rfc3339(due)),
                None => format!(
                    "nobody was asked; the 72 hours (GDPR, Article 33) would end {}",
                    crate::clock::rfc3339(due)
                ),
            },
            why: "the clock runs from the moment that one became aware".into(),
            fault: None,
        });
    }
    all
}
