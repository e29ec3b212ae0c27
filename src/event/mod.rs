//! The one vocabulary between the engine and everything else.
//!
//! A [`Record`] is the journal's line, the `--json` line and what a reporter is handed: one family, no mirrors. It is
//! versioned by [`FORMAT`]; a reader refuses a newer one. Large bytes are never inside, only their [`Artifact`] record,
//! and never a secret value.

mod artifact;
mod op;
mod record;

pub use artifact::{Artifact, Label, LeftOut, Method, Source, Trust};
pub use op::{Call, Estimate, Guarded, ObjectRef, Op, OpKind, Proof, Risk, Undo};
pub use record::{
    Actor, AlertRef, ClockCheck, ClusterId, Decision, Event, Landed, NoteLevel, OpStatus, Override, Plan, PlannedStep,
    Record, RunKind, RunStatus, RunbookRef, StepStatus, Tool,
};

/// Version of the journal's and `--json`'s lines.
pub const FORMAT: u32 = 1;
