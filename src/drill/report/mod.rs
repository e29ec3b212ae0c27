//! The after-action report: what shows an auditor that preparedness is tested.

mod history;
mod html;
mod markdown;
mod timeline;

use crate::drill::outcome::{Area, Check, Milestone, MilestoneName, Mode, Outcome, Verdict};

pub use history::history;
pub use html::html;
pub use markdown::markdown;

/// `1 min 05 s`, `12.3 s`, `640 ms`.
fn spoken(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms % 60_000 / 1000),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

fn milestone_name(name: MilestoneName) -> &'static str {
    match name {
        MilestoneName::Acknowledge => "Acknowledged",
        MilestoneName::FirstEvidence => "First evidence",
        MilestoneName::Contain => "Contained",
        MilestoneName::Eradicate => "Eradicated",
    }
}

fn area_name(area: Area) -> &'static str {
    match area {
        Area::Evidence => "Evidence",
        Area::Order => "Order",
        Area::Containment => "Containment",
        Area::Foothold => "Footholds",
        Area::Collateral => "Collateral damage",
        Area::Decision => "Decisions",
        Area::Notification => "Notification",
        Area::Honesty => "Honesty of the record",
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Auto => "unattended",
        Mode::Interactive => "with people at the keyboard",
        Mode::Facilitated => "at a table, led by a facilitator",
    }
}

/// How a milestone stands against its target.
fn standing(milestone: &Milestone) -> &'static str {
    match (milestone.after_ms, milestone.target_ms) {
        (None, _) => "never reached",
        (Some(_), None) => "no target set",
        (Some(after), Some(target)) if after <= target => "within the target",
        _ => "too late",
    }
}

fn of_verdict(outcome: &Outcome, verdict: Verdict) -> Vec<&Check> {
    outcome.checks.iter().filter(|c| c.verdict == verdict).collect()
}

/// Earlier drills of the same name, oldest first.
fn same<'o>(outcome: &Outcome, earlier: &'o [Outcome]) -> Vec<&'o Outcome> {
    earlier.iter().filter(|o| o.drill == outcome.drill).collect()
}

/// What is to be done about a failed check.
fn improvement(check: &Check) -> String {
    let at = check.fault.as_deref().filter(|f| !f.is_empty()).map(|f| format!(" ({f})")).unwrap_or_default();
    format!("{}: found {}{at}", check.what, check.found)
}

/// How the score comes about.
const HOW: &str = "Each check counts with its weight when it passed. Each milestone with a target counts 5 points, half when it was reached too late, nothing when it was never reached. What could not be measured counts neither way. Checks are made from the journal's records, the artifacts' bytes and the cluster's own state, never from what the runbook says of itself.";

#[cfg(test)]
mod tests;
