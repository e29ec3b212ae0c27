//! The JSON document, and JSON lines.

use std::borrow::Cow;
use std::io::Write;

use serde_json::{Value, json};

use super::{Gone, Rows, Seen, findings};
use crate::audit::Answer;
use crate::audit::detect::{Report, told};
use crate::report::escape::escape;

/// One document; its events are written as they are read.
pub(super) fn document(
    out: &mut dyn Write,
    rows: &mut Rows<'_>,
    answer: &Answer<'_, Seen>,
    report: Option<&Report>,
    logs: &[String],
    more: &[String],
) -> Result<(), Gone> {
    let query = rows.query.json();
    let mut coverage = answer.json();
    if let Some(doubts) = coverage.get_mut("cannotBeKnown").and_then(Value::as_array_mut) {
        doubts.extend(more.iter().map(|text| Value::from(text.as_str())));
    }
    write!(out, "{{\"v\":1,\"query\":{},\"coverage\":{},\"events\":[", safe(&query), safe(&coverage))?;
    let mut first = true;
    rows.each(|row| {
        let comma = if std::mem::take(&mut first) { "" } else { "," };
        Ok(write!(out, "{comma}{}", safe(&json!(row)))?)
    })?;
    let Some(report) = report else { return Ok(writeln!(out, "],\"findings\":null}}")?) };
    Ok(writeln!(
        out,
        "],\"findings\":{},\"sessions\":{},\"unknowable\":{},\"limits\":{}}}",
        safe(&findings::json(report, rows.scan, logs)),
        safe(&json!(report.sessions)),
        safe(&json!(report.unknowable)),
        safe(&json!(report.limits))
    )?)
}

/// One request a line; then one finding a line, if they were asked for.
pub(super) fn lines(
    out: &mut dyn Write,
    rows: &mut Rows<'_>,
    report: Option<&Report>,
    logs: &[String],
) -> Result<(), Gone> {
    rows.each(|row| Ok(writeln!(out, "{}", safe(&json!(row)))?))?;
    let Some(report) = report else { return Ok(()) };
    let files = rows.scan.names();
    for finding in &report.findings {
        writeln!(out, "{}", safe(&json!({"finding": told(finding, report, &files, logs)})))?;
    }
    Ok(())
}

/// JSON in which what could move a terminal's cursor or reorder its text is written as an escape: the same value.
pub(super) fn safe(value: &Value) -> String {
    let text = value.to_string();
    if matches!(escape(&text), Cow::Borrowed(_)) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if matches!(escape(c.encode_utf8(&mut [0; 4])), Cow::Borrowed(_)) {
            out.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value_and_moves_no_cursor() {
        let value = json!({"agent": "a\u{1b}[2J\u{9b}31m\u{202e}b\u{e0001}ø"});
        let text = safe(&value);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        assert!(text.contains("ø") && matches!(escape(&text), Cow::Borrowed(_)), "{text}");
    }
}
