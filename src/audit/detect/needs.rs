//! What can't be known from this log, for each detection: silence of a detection that was blind is no good news.

use serde::{Deserialize, Serialize};

use super::finding::FORMAT;
use super::gather::Everything;
use super::look::Verbs;
use super::spec::{Need, Spec};

/// Something that a detection could not know here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknowable {
    /// [`FORMAT`].
    pub format: u32,
    /// Which detection.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Whether it saw nothing of what it needs, or only a part.
    pub blind: Blindness,
    /// Why, in words.
    pub why: String,
}

/// How much a detection can't see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blindness {
    /// What it needs is left out: its silence says nothing.
    Wholly,
    /// Some of it is left out.
    Partly,
    /// Nothing of the kind is in the log: there was none, or the audit policy leaves it out.
    Unclear,
}

/// What this log keeps from a detection.
pub(super) fn of(spec: &Spec<'_>, everything: &Everything) -> Vec<Unknowable> {
    if everything.lines == 0 {
        return Vec::new();
    }
    let told = |(blind, why): (Blindness, String)| Unknowable {
        format: FORMAT,
        id: spec.id.into(),
        title: spec.title.into(),
        blind,
        why,
    };
    spec.needs.iter().filter_map(|need| check(*need, everything)).map(told).collect()
}

/// Facts that were counted and not kept.
pub(super) fn beyond(spec: &Spec<'_>, lines: u64) -> Unknowable {
    Unknowable {
        format: FORMAT,
        id: spec.id.into(),
        title: spec.title.into(),
        blind: Blindness::Partly,
        why: format!(
            "More happened of what this looks at than is kept: {} are judged, {lines} lines beyond them are not. Ask for a shorter time or for one identity.",
            spec.cap
        ),
    }
}

fn check(need: Need, everything: &Everything) -> Option<(Blindness, String)> {
    match need {
        Need::Bodies(resources) => {
            let (mut lines, mut done, mut bodies, mut truncated) = (0, 0, 0, 0);
            for class in everything.classes_of(resources, Verbs::WRITE) {
                lines += class.lines;
                done += class.done;
                bodies += class.with_body;
                truncated += class.truncated;
            }
            let names = resources.join(", ");
            let cut = if truncated > 0 { format!(" {truncated} lines were cut for their size.") } else { String::new() };
            match (lines, done, bodies) {
                (0, _, _) => Some((Blindness::Unclear, unseen("change", &names))),
                (_, 0, _) => None,
                (_, _, 0) => Some((
                    Blindness::Wholly,
                    format!("{done} changes of {names} are in the log without their bodies: what they changed can't be known here.{cut} The audit policy needs level Request for them."),
                )),
                (_, done, bodies) if bodies < done => Some((
                    Blindness::Partly,
                    format!("{} of {done} changes of {names} are in the log without their bodies: what those changed can't be known here.{cut}", done - bodies),
                )),
                _ => None,
            }
        }
        Need::Writes(resources) => {
            let any = everything.classes_of(resources, Verbs::WRITE.or(Verbs::REMOVE)).any(|c| c.lines > 0);
            (!any).then(|| (Blindness::Unclear, unseen("change", &resources.join(", "))))
        }
        Need::Reads(resources) => {
            let any = everything.classes_of(resources, Verbs::READ).any(|c| c.lines > 0);
            (!any).then(|| (Blindness::Unclear, unseen("read", &resources.join(", "))))
        }
        Need::AnyBodies => (!everything.classes.values().any(|c| c.with_body > 0)).then(|| {
            (Blindness::Wholly, "No line holds a request's body: what was asked for can't be known here.".into())
        }),
        Need::Credentials if everything.with_credential == 0 => Some((
            Blindness::Wholly,
            "No line names the credential or the pod behind a request (Kubernetes before 1.32, or a log of another form): tokens can't be told apart here.".into(),
        )),
        Need::Outcomes if everything.with_outcome == 0 => Some((
            Blindness::Wholly,
            "No line holds a decision or a status code: what was denied can't be known here.".into(),
        )),
        Need::Credentials | Need::Outcomes => None,
    }
}

fn unseen(what: &str, names: &str) -> String {
    format!("The log holds no {what} of {names}: there was none, or the audit policy leaves it out.")
}
