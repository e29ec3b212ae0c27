//! What the detections make of the log.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::{Found, Seen, shown};
use crate::audit::Query;
use crate::audit::detect::rule::{self, Refused};
use crate::audit::detect::{Blindness, Detectors, Looking, Ours, Report, Severity, follow_one, headline, told};
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

/// What was asked for, ready.
pub(super) struct Asked {
    detectors: Option<Detectors>,
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
            return Ok(Asked { detectors: None, least, refused: Vec::new() });
        }
        let loaded = rule::load(&self.rules)?;
        for (file, warning) in &loaded.warnings {
            eprintln!("warning: {}:{}:{}: {}", escape(file), warning.line, warning.column, escape(&warning.message));
        }
        let detectors = Detectors::all().with_rules(loaded.rules).trusting(query.trusted_proxies.clone());
        Ok(Asked { detectors: Some(detectors), least, refused: loaded.refused })
    }
}

impl Asked {
    /// Who looks at the events; None if no findings were asked for.
    pub fn looking<'a>(&'a self, ours: Option<Ours<'a>>) -> Option<Looking<'a>> {
        self.detectors.as_ref().map(|detectors| Looking::of(detectors, ours))
    }

    /// What all workers' parts come to.
    pub fn report(&self, looking: Option<&Looking<'_>>, seen: Vec<Seen>) -> Option<Report> {
        let mut report = looking?.report(seen.into_iter().flatten());
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

/// As the JSON document has them: with the files by name, and with what answers them.
pub(super) fn json(report: &Report, found: &Found, logs: &[String]) -> Value {
    let files = found.names();
    Value::Array(report.findings.iter().map(|f| told(f, report, &files, logs)).collect())
}

/// For people.
pub(super) fn print(out: &mut dyn Write, report: &Report, found: &Found, logs: &[String]) -> io::Result<()> {
    writeln!(out, "{}\n", headline(&report.findings))?;
    // What answers several findings is offered once.
    let mut offered = HashSet::new();
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
                "  event       {} {}  {}:{}",
                rfc3339(event.time),
                shown(&event.audit_id, 64),
                escape(&file),
                event.offset
            )?;
        }
        writeln!(out, "  or it is    {}", shown(&finding.false_positives, 1000))?;
        writeln!(out, "  next        {}", shown(&finding.step, 1000))?;
        if finding.severity > Severity::Low {
            let follows = follow_one(finding, &report.sessions, logs);
            for follow in follows.into_iter().filter(|f| offered.insert((f.runbook.clone(), f.inputs.clone()))) {
                match &follow.command {
                    Some(command) => {
                        writeln!(out, "  answer      {}\n              {command}", shown(&follow.why, 300))?
                    }
                    None => writeln!(
                        out,
                        "  answer      {} ({}, by hand: the name is no name of the cluster's)",
                        shown(&follow.why, 300),
                        follow.runbook
                    )?,
                }
            }
        }
        writeln!(out)?;
    }
    Ok(())
}
