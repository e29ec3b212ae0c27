//! One problem of a runbook, with its place and what to do.

use std::ops::Range;

use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report};
use serde::Serialize;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The runbook can't be used.
    Error,
    /// It can, but is probably not what was meant.
    Warning,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What to do.
    pub suggestion: Option<String>,
}

impl Diagnostic {
    /// An error at these bytes of the text.
    pub fn error(text: &str, span: Range<usize>, message: impl Into<String>) -> Diagnostic {
        let span = clamp(text, span);
        let before = &text[..span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Diagnostic { severity: Severity::Error, message: message.into(), line, column, span, suggestion: None }
    }

    /// The same as a warning.
    #[must_use]
    pub fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// With what to do.
    #[must_use]
    pub fn suggest(mut self, text: impl Into<String>) -> Diagnostic {
        self.suggestion = Some(text.into());
        self
    }
}

fn clamp(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    start..end
}

/// All of them with snippets, in the order of their places.
pub fn render(all: &[Diagnostic], text: &str, source: &str, color: bool, width: usize) -> String {
    let theme = if color { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
    let mut sorted: Vec<&Diagnostic> = all.iter().collect();
    sorted.sort_by_key(|d| (d.span.start, d.span.end));
    let mut out = String::new();
    for diagnostic in sorted {
        let severity =
            if diagnostic.severity == Severity::Error { miette::Severity::Error } else { miette::Severity::Warning };
        let label = LabeledSpan::at(diagnostic.span.clone(), "here");
        let mut shown = MietteDiagnostic::new(escaped(&diagnostic.message)).with_severity(severity).with_label(label);
        if let Some(help) = &diagnostic.suggestion {
            shown = shown.with_help(escaped(help));
        }
        // What stands in the file is shown as it stands there, but never as codes for the terminal.
        let clean: String =
            text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c }).collect();
        let report = Report::new(shown)
            .with_source_code(NamedSource::new(source, if clean.len() == text.len() { clean } else { text.into() }));
        if handler.render_report(&mut out, report.as_ref()).is_err() {
            out.push_str(&format!("{source}:{}:{}: {}\n", diagnostic.line, diagnostic.column, diagnostic.message));
        }
    }
    out
}

fn escaped(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// `did you mean X?`, when there is something near.
pub fn did_you_mean<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    known
        .into_iter()
        .map(|k| (strsim::jaro_winkler(given, k), k))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, near)| format!("did you mean `{near}`?"))
}
