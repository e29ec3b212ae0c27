//! What people and programs see of a run. A reporter's failure is never the run's.

pub mod escape;
mod json;
mod plan_text;
mod terminal;

use crate::event::Record;

pub use json::JsonLines;
pub use plan_text::{plan_text, step_text};
pub use terminal::Terminal;

/// Is told every record after it is on disk, and progress besides. Must not fail, block for long, or panic.
pub trait Report: Send + Sync {
    /// One record.
    fn record(&self, record: &Record);
}

/// Both of two.
pub struct Both<A, B>(pub A, pub B);

impl<A: Report, B: Report> Report for Both<A, B> {
    fn record(&self, record: &Record) {
        self.0.record(record);
        self.1.record(record);
    }
}
