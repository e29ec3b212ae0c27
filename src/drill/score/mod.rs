//! What a drill scores: by the journal's records, the artifacts' bytes and the cluster's own state, never by a summary.

mod claims;
mod containment;
mod evidence;
mod moved;
mod rights;
mod traces;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use time::OffsetDateTime;

use super::observe::{Seen, Suspect};
use super::outcome::{Area, Check, Milestone, MilestoneName, Verdict};
use super::scenario::Scenario;
use crate::event::{Artifact, Event, Op, OpStatus, Proof, Record, StepStatus};
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
    /// The suspect.
    pub target: &'a Suspect,
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
    /// The scene was on a real cluster.
    pub real: bool,
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
            c.op.verb == "delete"
                && c.op.object.kind == self.target.kind
                && c.op.object.uid.as_deref() == Some(self.target.uid.as_str())
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
    // Without a word in the scenario there is no suspect to be cut off or to be gone, unless it has a time for it.
    let wanted = |is: Option<bool>, name: &str| is == Some(true) || is.is_none() && target(name).is_some();
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
    if wanted(facts.scenario.expect.contained, "contain") {
        let cut = facts.seen.cut_off.as_ref();
        all.push(Milestone {
            name: MilestoneName::Contain,
            after_ms: cut.map(|(at, _)| after(*at)),
            target_ms: target("contain"),
            by: cut.map_or("nothing cut the suspect off while it lived".into(), |(_, by)| {
                if facts.target.is_node() {
                    return "the cluster's own state: the node takes no new pods; what runs on it is not cut off by that".into();
                }
                format!("the cluster's own state: {by} selects the suspect and allows nothing; whether the network enforces it is another matter")
            }),
        });
    }
    if wanted(facts.scenario.expect.eradicated, "eradicate") {
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
    let mut all = evidence::evidence(facts);
    all.extend(evidence::order(facts));
    all.extend(containment::containment(facts));
    all.extend(rights::rights(facts));
    all.extend(traces::footholds(facts));
    all.extend(traces::collateral(facts));
    all.extend(moved::moved(facts));
    all.extend(claims::honesty(facts));
    all.extend(claims::people(facts));
    all
}
