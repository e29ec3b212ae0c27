//! Who says yes: a person at the terminal, or flags.

use std::collections::BTreeSet;

use crate::event::{Decision, Op, PlannedStep, Risk};
use crate::runbook::Approve;

/// What flags allow without asking.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// `--approve STEP,…`
    pub approve: BTreeSet<String>,
    /// `--yes`
    pub yes: bool,
    /// `--max-risk`: what `--yes` goes up to.
    pub max_risk: Risk,
}

/// An answer, for the journal.
#[derive(Debug, Clone)]
pub struct Answer {
    /// What was decided.
    pub decision: Decision,
    /// `terminal`, or the flag.
    pub how: String,
    /// Required for skip and by-hand.
    pub reason: Option<String>,
}

/// What a person is asked about the plan as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholePlan {
    /// Everything in it, but for steps with `approve: always`.
    ApproveAll,
    /// Step by step.
    EachStep,
    /// Nothing.
    Stop,
}

/// A person at a terminal; absent when there is none.
pub trait Prompt: Send + Sync {
    /// The plan was shown: how to go on?
    fn plan(&self) -> WholePlan;
    /// One step, with its operations in view.
    fn step(&self, step: &PlannedStep) -> Answer;
    /// A step failed: go on (true) or stop?
    fn go_on(&self, step: &str, why: &str) -> bool;
}

/// The greatest risk among operations.
pub fn risk_of(ops: &[Op]) -> Risk {
    ops.iter().map(|op| op.risk).max().unwrap_or_default()
}

/// Decides without asking, where that can be done. None: somebody has to be asked.
///
/// What only reads needs no approval. `approve: always` is covered by `--approve STEP` alone.
pub fn by_policy(step: &str, approve: Approve, risk: Risk, policy: &Policy, whole_plan: bool) -> Option<Answer> {
    let yes = |how: &str| Some(Answer { decision: Decision::Approve, how: how.into(), reason: None });
    if policy.approve.contains(step) {
        return yes("--approve");
    }
    match approve {
        Approve::Never => yes("approve: never"),
        Approve::Ask if risk == Risk::Read => yes("reads only"),
        Approve::Ask if whole_plan => yes("terminal, with the whole plan"),
        Approve::Ask if policy.yes && risk <= policy.max_risk => yes("--yes"),
        Approve::Ask | Approve::Always => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yes_stops_at_the_risk_it_was_given_and_never_covers_always() {
        let policy = Policy { yes: true, max_risk: Risk::High, ..Policy::default() };
        assert!(by_policy("a", Approve::Ask, Risk::High, &policy, false).is_some());
        assert!(by_policy("a", Approve::Ask, Risk::Destructive, &policy, false).is_none());
        assert!(by_policy("a", Approve::Always, Risk::Low, &policy, true).is_none());
        let named = Policy { approve: ["a".to_string()].into(), ..Policy::default() };
        assert!(by_policy("a", Approve::Always, Risk::Destructive, &named, false).is_some());
        assert!(by_policy("b", Approve::Ask, Risk::Low, &named, false).is_none());
        assert!(by_policy("b", Approve::Ask, Risk::Read, &named, false).is_some());
    }
}
