//! `--json`: each record as one line on standard output.

use std::io::Write;

use super::Report;
use crate::event::Record;

/// One JSON event a line.
pub struct JsonLines;

impl Report for JsonLines {
    #[expect(clippy::let_underscore_must_use, reason = "a closed pipe must not stop containment")]
    fn record(&self, record: &Record) {
        if let Ok(line) = serde_json::to_string(record) {
            let _ = writeln!(std::io::stdout().lock(), "{line}");
        }
    }
}
