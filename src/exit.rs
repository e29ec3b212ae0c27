//! Exit codes: documented in the README, stable, and nowhere else.

use crate::cluster::Fault;
use crate::event::RunStatus;

/// All done, and shown to be so.
pub const DONE: u8 = 0;
/// A fault in quell, or in the machine under it.
pub const INTERNAL: u8 = 1;
/// Bad usage.
pub const USAGE: u8 = 2;
/// The runbook does not check.
pub const RUNBOOK: u8 = 3;
/// A guard refused: protected namespace, wrong cluster, missing rights, no such target, two matches, target replaced.
pub const REFUSED: u8 = 4;
/// Somebody has to approve first, or declined.
pub const APPROVAL: u8 = 5;
/// A step failed.
pub const FAILED: u8 = 6;
/// Finished, with steps skipped or not proved.
pub const UNPROVED: u8 = 7;
/// Evidence does not verify.
pub const VERIFICATION: u8 = 8;
/// Somebody else works on the incident or its target.
pub const LOCKED: u8 = 9;
/// The cluster can't be reached, or does not accept us.
pub const UNREACHABLE: u8 = 10;
/// Interrupted; everything is saved.
pub const INTERRUPTED: u8 = 130;

/// Every code with its meaning, for `--help` and the README.
pub const ALL: &[(u8, &str)] = &[
    (DONE, "all done, and shown to be so"),
    (INTERNAL, "a fault in quell or the machine under it"),
    (USAGE, "bad usage"),
    (RUNBOOK, "the runbook does not check"),
    (
        REFUSED,
        "refused by a guard: wrong cluster, protected namespace, missing rights, no such target, two matches, target replaced",
    ),
    (APPROVAL, "approval needed, or declined"),
    (FAILED, "a step failed"),
    (UNPROVED, "finished, with steps skipped or not proved"),
    (VERIFICATION, "evidence does not verify"),
    (LOCKED, "somebody else works on the incident or its target"),
    (UNREACHABLE, "the cluster can't be reached, or does not accept the credentials"),
    (INTERRUPTED, "interrupted; everything is saved"),
];

/// The code for a fault.
pub fn of_fault(fault: Fault) -> u8 {
    match fault {
        Fault::Usage => USAGE,
        Fault::Runbook => RUNBOOK,
        Fault::Refused | Fault::NotFound | Fault::Conflict => REFUSED,
        Fault::Approval => APPROVAL,
        Fault::Failed | Fault::Held => FAILED,
        Fault::Verification => VERIFICATION,
        Fault::Locked => LOCKED,
        Fault::Unreachable | Fault::Transient => UNREACHABLE,
        Fault::Interrupted => INTERRUPTED,
        Fault::Internal => INTERNAL,
    }
}

/// The code for a run that ended.
pub fn of_run(status: RunStatus) -> u8 {
    match status {
        RunStatus::Done => DONE,
        RunStatus::Unproved => UNPROVED,
        RunStatus::Failed => FAILED,
        RunStatus::Stopped => APPROVAL,
        RunStatus::Interrupted => INTERRUPTED,
    }
}
