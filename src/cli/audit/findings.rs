//! What the detections make of the log.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{Found, shown};
use crate::audit::detect::rule::{self, Refused};
use crate::audit::detect::{Blindness, Detectors, Finding, Gathered, Report, Severity};
use crate::audit::{Brief, Event, FileFacts, Query, Watch};
use crate::clock::rfc3339;
use crate::cluster::Problem;
use crate::report::escape::escape;

/// Which detections, and how grave.
#[derive(Debug, Clone, Args)]
pub struct FindingArgs {
    /// Look for signs of an attack; without a filter, only findings are shown
    #[arg(long, conflicts_with_all = ["csv", "timeline", "limit"], help_heading = "Findings")]
    pub findings: bool,
    /// Rules of your own, quell's or Sigma's: files or folders of YAML
    #[arg(long, value_name = "PATH", requires = "findings", help_heading = "Findings")]
    rules: Vec<PathBuf>,
    /// Leave out what is less grave: info, low, medium, high, critical
    #[arg(long, value_name = "SEVERITY", default_value = "low", requires = "findings", help_heading = "Findings")]
    severity: String,
}

/// Shows every event to the detections, if any were asked for.
pub(super) struct Detect(Option<Detectors>);

impl Detect {
    /// No detection.
    pub fn none() -> Detect {
        Detect(None)
    }
}

impl Watch for Detect {
    type Seen = Option<Gathered>;
    fn begin(&self) -> Option<Gathered> {
        self.0.as_ref().map(Detectors::gather)
    }
    fn look(&self, seen: &mut Option<Gathered>, event: &Event<'_>) {
        if let (Some(detectors), Some(gathered)) = (&self.0, seen) {
            detectors.map(event, gathered);
        }
    }
    fn glimpse(&self, seen: &mut Option<Gathered>, brief: &Brief<'_>) -> bool {
        match (&self.0, seen) {
            (Some(detectors), Some(gathered)) => detectors.glimpse(brief, gathered),
            _ => true,
        }
    }
    fn end(&self, seen: &mut Option<Gathered>) {
        seen.iter_mut().for_each(Gathered::end);
    }
    fn wants(&self) -> bool {
        self.0.is_some()
    }
}

/// What was asked for, ready.
pub(super) struct Asked {
    pub detect: Detect,
    least: Severity,
    refused: Vec<Refused>,
}

impl FindingArgs {
    /// Loads the rules.
    pub fn asked(&self, query: &Query) -> Result<Asked, Problem> {
        let all = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];
        let least = all.into_iter().find(|s| s.as_str() == self.severity).ok_or_else(|| {
            Problem::usage(format!("--severity: {:?} is none", self.severity))
                .hint("info, low, medium, high or critical")
        })?;
        if !self.findings {
            return Ok(Asked { detect: Detect(None), least, refused: Vec::new() });
        }
        let loaded = rule::load(&self.rules)?;
        for (file, warning) in &loaded.warnings {
            eprintln!("warning: {}:{}:{}: {}", escape(file), warning.line, warning.column, escape(&warning.message));
        }
        let detectors = Detectors::all().with_rules(loaded.rules).trusting(query.trusted_proxies.clone());
        Ok(Asked { detect: Detect(Some(detectors)), least, refused: loaded.refused })
    }
}

impl Asked {
    /// What all workers' parts come to; None if no findings were asked for.
    pub fn report(&self, seen: Vec<Option<Gathered>>) -> Option<Report> {
        let detectors = self.detect.0.as_ref()?;
        let mut whole = detectors.gather();
        seen.into_iter().flatten().for_each(|part| whole.merge(part));
        let mut report = detectors.reduce(whole);
        report.findings.retain(|f| f.severity >= self.least);
        Some(report)
    }

    /// What the findings leave in doubt.
    pub fn doubts(&self, report: &Report) -> Vec<String> {
        let blind = report.unknowable.iter().filter(|u| u.blind == Blindness::Wholly);
        let blind = blind.map(|u| format!("{} ({}): {}", u.title, u.id, u.why));
        let rules = self.refused.iter().map(|r| format!("the rule {} of {} was left out: {}", r.rule, r.source, r.why));
        blind.chain(rules).collect()
    }
}

/// Only what touches one of these requests.
pub(super) fn only(report: &mut Report, ids: &HashSet<String>) {
    report.findings.retain(|f| f.events.iter().any(|e| ids.contains(&e.audit_id)));
    report.sessions.clear();
}

/// As the JSON document has them: with the files by name.
pub(super) fn json(report: &Report, found: &Found) -> Value {
    Value::Array(report.findings.iter().map(|f| one(f, &found.files)).collect())
}

pub(super) fn one(finding: &Finding, files: &[FileFacts]) -> Value {
    let mut value = json!(finding);
    if let Some(events) = value.get_mut("events").and_then(Value::as_array_mut) {
        for event in events {
            let file = event.get("file").and_then(Value::as_u64).and_then(|at| files.get(usize::try_from(at).ok()?));
            event["file"] = file.map(|f| f.file.path.display().to_string()).into();
        }
    }
    value
}

/// For people.
pub(super) fn print(out: &mut dyn Write, report: &Report, found: &Found) -> io::Result<()> {
    if report.findings.is_empty() {
        writeln!(out, "no finding\n")?;
    }
    for finding in &report.findings {
        writeln!(
            out,
            "{:<8}  {} ({}, {})",
            finding.severity.as_str().to_uppercase(),
            shown(&finding.title, 200),
            shown(&finding.id, 80),
            shown(&finding.techniques.join(" "), 80)
        )?;
        writeln!(out, "  {}", shown(&finding.sentence, 1000))?;
        let denied = if finding.denied > 0 { format!(", {} denied", finding.denied) } else { String::new() };
        let from = if finding.addresses.is_empty() {
            String::new()
        } else {
            format!(", from {}", shown(&finding.addresses.join(" "), 200))
        };
        let (first, last) = (rfc3339(finding.first), rfc3339(finding.last));
        writeln!(out, "  when        {first} to {last}: {} requests{denied}{from}", finding.count)?;
        for event in finding.events.iter().take(3) {
            let file =
                found.files.get(event.file as usize).map(|f| f.file.path.display().to_string()).unwrap_or_default();
            writeln!(
                out,
                "  event       {} {}: {} byte {}, {} bytes",
                rfc3339(event.time),
                shown(&event.audit_id, 64),
                escape(&file),
                event.offset,
                event.len
            )?;
        }
        writeln!(out, "  or it is    {}", shown(&finding.false_positives, 1000))?;
        writeln!(out, "  next        {}\n", shown(&finding.step, 1000))?;
    }
    Ok(())
}
