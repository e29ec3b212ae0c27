//! From a runbook to a record: plan, approve, intent, apply, outcome; resume and undo from the journal.
//!
//! No journal line, no mutation: [`Session::emit`] returns only once the line is on disk, and the client that an action
//! is handed can write only for the one intent it was made for.

pub mod approve;
mod carry_out;
pub mod guards;
pub mod incident;
mod lease;
mod planner;
pub mod rights;
mod run;
mod session;
mod state;
mod together;
mod undo;

pub use planner::{LEASE, lease_rule};
pub use session::{Selection, Session};
pub use state::{State, StepState};
pub use undo::UndoPlan;

use crate::cluster::{Fault, Problem};
use crate::event::{Event, RunStatus};
use crate::exit;

impl Session {
    /// Ends the process's work in the record: gives Leases back, writes `Finished` (or `Interrupted`), and tells the exit
    /// code. A problem that ended the run is named there too.
    pub async fn close(&self, result: Result<(RunStatus, Vec<String>), Problem>) -> Result<(u8, Vec<String>), Problem> {
        let released = self.release().await;
        let (status, exit_code, open, problem) = match result {
            Ok((status, open)) => (status, exit::of_run(status), open, None),
            Err(problem) => {
                let status = match problem.fault {
                    Fault::Interrupted => RunStatus::Interrupted,
                    Fault::Approval | Fault::Refused | Fault::Locked => RunStatus::Stopped,
                    _ => RunStatus::Failed,
                };
                (status, exit::of_fault(problem.fault), vec![first_line(&problem.message)], Some(problem))
            }
        };
        if status == RunStatus::Interrupted {
            self.emit(Event::Interrupted { why: "by a signal; everything is saved".into() })?;
        }
        self.emit(Event::Finished { status, exit_code, open: open.clone() })?;
        released?;
        match problem {
            Some(problem) => Err(problem),
            None => Ok((exit_code, open)),
        }
    }
}

/// What stands in the way was listed with the plan: in the record's end it is named, not listed again.
fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim_end_matches(':').to_owned()
}
