//! Findings: facts of one subject brought together, and the sentence that says so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fact::{Fact, Outcome};
use super::spec::{Severity, Spec};
use crate::clock;

/// The version of a finding's, a session's and an unknowable's form. Fields are added, never changed in meaning.
pub const FORMAT: u32 = 1;
/// Events that are listed of one finding; all are counted.
const MAX_EVENTS: usize = 50;
/// Objects that are listed of one finding.
const MAX_OBJECTS: usize = 50;
/// Objects and notes that a sentence names.
const IN_SENTENCE: usize = 3;

/// What the log shows, what it means, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// [`FORMAT`].
    pub format: u32,
    /// Which detection.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How much it matters.
    pub severity: Severity,
    /// ATT&CK techniques.
    pub techniques: Vec<String>,
    /// Who.
    pub subject: Who,
    /// The first of its requests, as the API server received it.
    #[serde(with = "clock::serde_rfc3339")]
    pub first: OffsetDateTime,
    /// The last of them.
    #[serde(with = "clock::serde_rfc3339")]
    pub last: OffsetDateTime,
    /// Its requests.
    pub count: u64,
    /// How many of them were denied.
    pub denied: u64,
    /// How many were let through and failed, or were dry runs.
    pub failed: u64,
    /// The first fifty of them.
    pub events: Vec<EventRef>,
    /// What it was done to, the first fifty in order.
    pub objects: Vec<String>,
    /// From which addresses, the first fifty in order.
    pub addresses: Vec<String>,
    /// What happened, in words.
    pub sentence: String,
    /// What else it may be.
    pub false_positives: String,
    /// What to do next.
    pub step: String,
}

/// Whose requests they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// Who authenticated.
    pub user: String,
    /// As whom they acted, if as somebody else.
    pub impersonated_user: Option<String>,
    /// Whose rights counted.
    pub effective_user: String,
}

/// One event behind a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRef {
    /// Its audit id; the client may have chosen it.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// Index into the list of sources.
    pub file: u32,
    /// Byte in it.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
    /// When the request was received.
    #[serde(with = "clock::serde_rfc3339")]
    pub time: OffsetDateTime,
}

/// One finding for each subject. The facts are in order of time.
pub(super) fn findings(spec: &Spec<'_>, facts: &[Fact]) -> Vec<Finding> {
    let mut groups: Vec<(&super::fact::Subject, Vec<&Fact>)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for fact in facts {
        let at = *index.entry(fact.subject.as_ref()).or_insert_with(|| {
            groups.push((fact.subject.as_ref(), Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(fact);
    }
    groups.into_iter().filter_map(|(subject, facts)| finding(spec, subject, &facts)).collect()
}

fn finding(spec: &Spec<'_>, subject: &super::fact::Subject, facts: &[&Fact]) -> Option<Finding> {
    let (first, last) = (facts.first()?, facts.last()?);
    let effect = |f: &Fact| match f.outcome {
        Outcome::Denied | Outcome::Failed => f.severity.lower(),
        _ => f.severity,
    };
    let severity = facts.iter().map(|f| effect(f)).max()?;
    // What is named in the sentence is what made it grave.
    let gravest: Vec<&Fact> = facts.iter().copied().filter(|f| effect(f) == severity).collect();
    let count = |o: Outcome| facts.iter().filter(|f| f.outcome == o).count() as u64;
    let events = facts
        .iter()
        .take(MAX_EVENTS)
        .map(|f| EventRef {
            audit_id: f.place.audit_id.clone(),
            file: f.place.origin.file,
            offset: f.place.origin.offset,
            len: f.place.origin.len,
            time: f.at,
        })
        .collect();
    let objects: BTreeSet<&str> = facts.iter().map(|f| f.object.as_ref()).collect();
    let addresses: BTreeSet<String> = facts.iter().filter_map(|f| f.address).map(|a| a.to_string()).collect();
    Some(Finding {
        format: FORMAT,
        id: spec.id.into(),
        title: spec.title.into(),
        severity,
        techniques: spec.techniques.split_whitespace().map(str::to_owned).collect(),
        subject: Who {
            user: subject.user.clone(),
            impersonated_user: subject.impersonated.clone(),
            effective_user: subject.impersonated.clone().unwrap_or_else(|| subject.user.clone()),
        },
        first: first.at,
        last: last.at,
        count: facts.len() as u64,
        denied: count(Outcome::Denied),
        failed: count(Outcome::Failed),
        events,
        objects: objects.iter().take(MAX_OBJECTS).map(|o| (*o).to_owned()).collect(),
        addresses: addresses.into_iter().take(MAX_OBJECTS).collect(),
        sentence: sentence(spec.says, &subject.text(), &gravest, facts),
        false_positives: spec.false_positives.into(),
        step: spec.step.into(),
    })
}

fn sentence(says: &str, who: &str, gravest: &[&Fact], all: &[&Fact]) -> String {
    let done = gravest.iter().any(|f| !matches!(f.outcome, Outcome::Denied | Outcome::Failed));
    let mut out = String::with_capacity(says.len() + 200);
    let mut rest = says;
    while let Some(at) = rest.find(['{', '[']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let (close, hole) = if rest.starts_with('{') { ('}', true) } else { (']', false) };
        let Some(end) = rest.find(close) else { break };
        let inside = &rest[1..end];
        match (hole, inside) {
            (true, "who") => out.push_str(who),
            (true, "what") => out.push_str(&named(gravest.iter().map(|f| f.object.as_ref()))),
            (true, "notes") => {
                let notes = named(gravest.iter().map(|f| f.note.as_ref()).filter(|n| !n.is_empty()));
                if !notes.is_empty() {
                    out.push_str(": ");
                    out.push_str(&notes);
                }
            }
            (true, other) => out.push_str(other),
            (false, choice) => {
                let (did, tried) = choice.split_once('|').unwrap_or((choice, choice));
                out.push_str(if done { did } else { tried });
            }
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    if all.len() > 1 {
        out.push_str(&format!(" {} requests from {} to {}.", all.len(), time(all[0].at), time(all[all.len() - 1].at)));
    }
    let count = |o: Outcome| all.iter().filter(|f| f.outcome == o).count();
    let (denied, failed, unknown) = (count(Outcome::Denied), count(Outcome::Failed), count(Outcome::Unknown));
    let part = |n: usize| {
        if n == all.len() { if n == 1 { "It was".into() } else { "All were".into() } } else { format!("{n} were") }
    };
    if denied > 0 {
        out.push_str(&format!(" {} denied.", part(denied)));
    }
    if failed > 0 {
        out.push_str(&format!(" {} let through but changed nothing (an error or a dry run).", part(failed)));
    }
    if unknown > 0 {
        let of = if unknown == all.len() { String::new() } else { format!(" of {unknown} of them") };
        out.push_str(&format!(" Whether it was allowed can't be known here{of}: the log holds no answer."));
    }
    out
}

fn time(at: OffsetDateTime) -> String {
    let text = clock::rfc3339(at);
    format!("{}Z", text.split('.').next().unwrap_or_default().trim_end_matches('Z'))
}

/// `a, b, c and 4 more`, each once.
fn named<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let distinct: BTreeSet<&str> = texts.collect();
    let mut text = distinct.iter().take(IN_SENTENCE).copied().collect::<Vec<_>>().join(", ");
    if distinct.len() > IN_SENTENCE {
        text.push_str(&format!(" and {} more", distinct.len() - IN_SENTENCE));
    }
    text
}
