//! What actions that read the audit log make of it with the detections: the document, the outputs, what the record says.

use serde_json::{Value, json};

use super::Problem;
use super::audit_reading::Log;
use crate::audit::Scan;
use crate::audit::detect::{Blindness, Finding, Follow, Report, document, follow, headline};
use crate::cluster::Cx;
use crate::event::{NoteLevel, ObjectRef};

/// Findings that a step's outputs name; all are in the document.
const MAX_NAMED: usize = 50;
/// Findings that the record tells one by one.
const MAX_TOLD: usize = 10;

/// Every action's outputs that [`put`] gives, for its spec.
pub(super) const OUTPUTS: [(&str, &str); 5] = [
    ("findings", "id, severity, user, sentence and step of each finding, the gravest fifty"),
    ("findings_by_severity", "how many there are of each severity"),
    (
        "findings_document",
        "path of the artifact with findings, events, sessions and what the detections can't see; null without a log",
    ),
    ("follow_ups", "what answers the findings: why, the runbook, its inputs and the command"),
    ("blind", "ids of the detections that can see nothing in this log"),
];

/// The outputs of a step that was given no log.
pub(super) fn none() -> Value {
    json!({
        "findings": [], "findings_by_severity": {}, "findings_document": null, "follow_ups": [], "blind": [],
    })
}

/// What a step's own runbook answers already: the runbook, and what one of its inputs is.
pub(super) struct Answered<'a> {
    pub runbook: &'static str,
    pub inputs: Vec<(&'static str, &'a str)>,
}

impl Answered<'_> {
    fn is(&self, follow: &Follow) -> bool {
        self.runbook == follow.runbook
            && self.inputs.iter().all(|(name, value)| follow.inputs.get(*name).is_some_and(|v| v == value))
    }
}

/// What findings stand in.
pub(super) struct Around<'a> {
    /// The question.
    pub asked: &'a Value,
    /// What the files can speak for.
    pub coverage: &'a Value,
    /// What need not be offered.
    pub answered: Option<Answered<'a>>,
}

/// Writes the findings into the evidence; what the outputs take of them.
pub(super) fn put<S>(
    cx: &Cx,
    path: &str,
    log: &Log,
    object: &ObjectRef,
    scan: &Scan<S>,
    report: &Report,
    around: &Around<'_>,
) -> Result<Value, Problem> {
    let logs: Vec<String> = log.paths.iter().map(|path| path.display().to_string()).collect();
    let document = document(report, around.asked, around.coverage, &scan.names(), &logs);
    let label = log.label(
        object,
        "what the detections find, and what answers it",
        "application/json",
        "audit findings",
        cx.clock.now(),
    );
    cx.store.put_json(path, label, cx.clock, &document, Vec::new())?;
    let mut follows = follow(&report.findings, &report.sessions, &logs);
    follows.retain(|follow| !around.answered.as_ref().is_some_and(|a| a.is(follow)));
    let blind = report.unknowable.iter().filter(|u| u.blind == Blindness::Wholly);
    Ok(json!({
        "findings": report.findings.iter().take(MAX_NAMED).map(named).collect::<Vec<_>>(),
        "findings_by_severity": document["counts"],
        "findings_document": path,
        "follow_ups": follows,
        "blind": blind.map(|u| u.id.as_str()).collect::<Vec<_>>(),
        "headline": headline(&report.findings),
    }))
}

fn named(finding: &Finding) -> Value {
    json!({
        "id": finding.id, "severity": finding.severity, "user": finding.subject.user, "sentence": finding.sentence,
        "step": finding.step,
    })
}

/// Takes what [`put`] gave into a step's own document.
pub(super) fn into(document: &mut Value, found: Value) {
    if let (Some(document), Value::Object(found)) = (document.as_object_mut(), found) {
        document.extend(found);
    }
}

/// Takes it out again, into what a step observed.
pub(super) fn observed(document: &Value, observed: &mut Value) {
    for (key, _) in OUTPUTS {
        observed[key] = document[key].clone();
    }
}

/// `3 findings (1 critical, 2 high)`.
pub(super) fn summary(document: &Value) -> &str {
    document["headline"].as_str().unwrap_or("no finding")
}

/// What the record says of the findings in a step's outputs: each with what to do next, then what answers them.
pub(super) fn notes(outputs: &Value) -> Vec<(NoteLevel, String)> {
    let items = |key: &str| outputs[key].as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let path = text(outputs, "findings_document");
    // Low and info are ordinary life: counted, and told in the document.
    let grave = |f: &&Value| !matches!(f["severity"].as_str(), Some("low" | "info"));
    let (told, rest): (Vec<_>, Vec<_>) =
        items("findings").iter().filter(grave).enumerate().partition(|(n, _)| *n < MAX_TOLD);
    let mut notes: Vec<_> = told
        .iter()
        .map(|(_, f)| {
            let severity = text(f, "severity").to_uppercase();
            let said = format!("{severity} {}: {} Next: {}", text(f, "id"), text(f, "sentence"), text(f, "step"));
            (NoteLevel::Warning, said)
        })
        .collect();
    if !rest.is_empty() {
        notes.push((NoteLevel::Warning, format!("{} more findings in {path}", rest.len())));
    }
    for step in items("follow_ups") {
        let said = match step["command"].as_str() {
            Some(command) => format!("answer: {}: {command}", text(step, "why")),
            None => format!("answer by hand: {} ({})", text(step, "why"), text(step, "runbook")),
        };
        notes.push((NoteLevel::Info, said));
    }
    let blind: Vec<&str> = items("blind").iter().filter_map(Value::as_str).collect();
    if !blind.is_empty() {
        notes.push((NoteLevel::Info, format!("this log can't show {}: why is in {path}", blind.join(", "))));
    }
    notes
}
