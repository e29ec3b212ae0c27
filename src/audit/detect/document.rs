//! The findings as a document: what bundles hold and what `quell audit --findings --json` prints of each.

use serde_json::{Value, json};

use super::follow;
use super::{Finding, Report, Severity};

/// The version of the findings document. Fields are added, never changed in meaning.
pub const DOCUMENT: u32 = 1;

/// All severities, the gravest first.
const SEVERITIES: [Severity; 5] = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info];

/// One finding, with its files by name and what answers it.
pub fn told(finding: &Finding, report: &Report, files: &[String], logs: &[String]) -> Value {
    let mut value = json!(finding);
    if let Some(events) = value.get_mut("events").and_then(Value::as_array_mut) {
        for event in events {
            let at = event.get("file").and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
            event["file"] = at.and_then(|at| files.get(at)).cloned().into();
        }
    }
    value["follow"] = json!(follow::one(finding, &report.sessions, logs));
    value
}

/// How many there are of each severity, by its name.
pub fn counts(findings: &[Finding]) -> Value {
    SEVERITIES
        .iter()
        .map(|s| (s.as_str().to_owned(), Value::from(findings.iter().filter(|f| f.severity == *s).count())))
        .collect()
}

/// `3 findings (1 critical, 2 high)`, `no finding`.
pub fn headline(findings: &[Finding]) -> String {
    let parts: Vec<String> = SEVERITIES
        .iter()
        .map(|s| (s, findings.iter().filter(|f| f.severity == *s).count()))
        .filter(|(_, n)| *n > 0)
        .map(|(s, n)| format!("{n} {}", s.as_str()))
        .collect();
    match findings.len() {
        0 => "no finding".into(),
        n => format!("{n} finding{} ({})", if n == 1 { "" } else { "s" }, parts.join(", ")),
    }
}

/// The document. `asked` is the question, `coverage` what the files can speak for, `logs` the paths as they were given,
/// `files` those that were read, by the index that events name.
pub fn document(report: &Report, asked: &Value, coverage: &Value, files: &[String], logs: &[String]) -> Value {
    json!({
        "v": DOCUMENT,
        "kind": "quell-audit-findings",
        "query": asked,
        "counts": counts(&report.findings),
        "findings": report.findings.iter().map(|f| told(f, report, files, logs)).collect::<Vec<_>>(),
        "follow": follow::follow(&report.findings, &report.sessions, logs),
        "sessions": report.sessions,
        "unknowable": report.unknowable,
        "limits": report.limits,
        "coverage": coverage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{line, report};

    /// The form that others read. `QUELL_BLESS=1` writes it anew; a change of meaning needs a new version.
    #[test]
    fn the_document_has_its_golden_form() {
        let call = |at: i64| {
            line("get", "configmaps").ns("shop").name("c").account("shop", "web").pod("one", "web-1", "n1").at(at)
        };
        let lines = [
            call(0),
            call(5).ip("203.0.113.9"),
            line("get", "pods/exec").ns("shop").name("db-0").command(&["sh", "-c", "cat /etc/shadow"]).at(60),
            line("list", "secrets").user("eve\u{1b}[2J").at(30),
        ];
        let mut found = report(&lines);
        found.unknowable.retain(|u| u.id == "privileged-container");
        let document = document(
            &found,
            &json!({"subjects": ["jane"]}),
            &json!({"cannotBeKnown": []}),
            &["/logs/cp1/audit.log".into()],
            &["/logs".into()],
        );
        let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/audit-findings.json");
        if std::env::var_os("QUELL_BLESS").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap());
        assert_eq!(document["v"], DOCUMENT);
    }

    #[test]
    fn a_headline_counts_by_severity() {
        assert_eq!(headline(&[]), "no finding");
        let exec = |at| line("get", "pods/exec").ns("shop").name("db-0").command(&["cat", "/etc/shadow"]).at(at);
        let found = report(&[exec(0)]);
        assert!(headline(&found.findings).starts_with(&format!("{} finding", found.findings.len())));
        let counted: u64 = counts(&found.findings).as_object().unwrap().values().filter_map(Value::as_u64).sum();
        assert_eq!(counted, found.findings.len() as u64);
    }
}
