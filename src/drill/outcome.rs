//! The record of one drill: what happened when, what was found, what it scores.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Version of this form.
pub const FORMAT: u32 = 1;

/// One drill. Newer fields are ignored by older readers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// [`FORMAT`].
    pub format: u32,
    /// The drill's name.
    pub drill: String,
    /// Its title.
    pub title: String,
    /// The runbook's name.
    pub runbook: String,
    /// SHA-256 of the runbook's file.
    pub runbook_sha256: String,
    /// SHA-256 of the scenario's file.
    pub scenario_sha256: String,
    /// `basic` or `hard`.
    pub level: String,
    /// What names and addresses followed from.
    pub seed: u64,
    /// `embedded`, or the context's name.
    pub cluster: String,
    /// Who was at the keyboard.
    pub mode: Mode,
    /// The first inject.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub began: OffsetDateTime,
    /// The end of the run.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub ended: OffsetDateTime,
    /// Who took part.
    pub participants: Vec<String>,
    /// The incident's id; empty when none was opened.
    pub incident: String,
    /// The sealed bundle.
    pub bundle: Option<BundleRef>,
    /// Times against their targets.
    pub times: Vec<Milestone>,
    /// What had to be true.
    pub checks: Vec<Check>,
    /// In order of time.
    pub timeline: Vec<Moment>,
    /// Taken during the drill.
    pub notes: Vec<Note>,
    /// Of a table-top's questions.
    pub answers: Vec<Answer>,
    /// Who signed it.
    pub sign_off: Option<SignOff>,
    /// `quell 0.1.0`.
    pub tool: String,
}

/// Who was at the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nobody.
    Auto,
    /// A person or a team.
    Interactive,
    /// A team at a table, led by a facilitator.
    Facilitated,
}

/// The bundle's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleRef {
    /// Its name.
    pub file: String,
    /// SHA-256.
    pub sha256: String,
    /// Whether it verified after the drill.
    pub verified: bool,
}

/// A point that a response reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MilestoneName {
    /// The run was begun.
    Acknowledge,
    /// The first evidence was complete.
    FirstEvidence,
    /// A policy cuts the suspect off.
    Contain,
    /// The suspect is gone.
    Eradicate,
}

/// When it was reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Milestone {
    /// Which.
    pub name: MilestoneName,
    /// Milliseconds from the first inject; None: never.
    pub after_ms: Option<u64>,
    /// The target in milliseconds; None: none was set.
    pub target_ms: Option<u64>,
    /// What shows it.
    pub by: String,
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Area {
    /// What was taken.
    Evidence,
    /// In which order.
    Order,
    /// Whether the suspect was cut off, and gone.
    Containment,
    /// What the attacker left.
    Foothold,
    /// What else was hit.
    Collateral,
    /// What people decided.
    Decision,
    /// Who was told.
    Notification,
    /// What the record claims.
    Honesty,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was so.
    Passed,
    /// It was not.
    Failed,
    /// It could not be told, and counts neither way.
    NotMeasured,
}

/// What had to be true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `evidence.processes`.
    pub id: String,
    /// What it is about.
    pub area: Area,
    /// How it ended.
    pub verdict: Verdict,
    /// Points.
    pub weight: u32,
    /// What must be true.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: String,
    /// The step or artifact at fault.
    pub fault: Option<String>,
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// The attacker.
    Attacker,
    /// Another inject: an alert, a call.
    Inject,
    /// The run.
    Responder,
    /// The cluster.
    Cluster,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Moment {
    /// When.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub at: OffsetDateTime,
    /// Milliseconds from the first inject.
    pub after_ms: u64,
    /// Who.
    pub who: Who,
    /// What.
    pub text: String,
    /// The runbook's step, where it belongs to one.
    pub step: Option<String>,
}

/// Something that was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub at: OffsetDateTime,
    /// By whom.
    pub who: String,
    /// What.
    pub text: String,
}

/// A question and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question.
    pub question: String,
    /// What a good answer names.
    pub expected: Vec<String>,
    /// None: not asked, or not answered.
    pub answer: Option<String>,
}

/// Who signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignOff {
    /// Name.
    pub who: String,
    /// Role.
    pub role: String,
    /// When.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub at: OffsetDateTime,
}

/// Points of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Score {
    /// Reached, in halves: a target that was missed gives half.
    pub half_points: u32,
    /// Possible.
    pub of: u32,
}

impl Score {
    /// Whole percent, rounded down: 100 is all of it.
    pub fn percent(&self) -> u32 {
        (self.half_points * 50).checked_div(self.of).unwrap_or(0)
    }
}

/// What a milestone with a target counts.
const MILESTONE: u32 = 5;

impl Outcome {
    /// What was not measured counts neither way; a target that was missed counts half, one never reached nothing.
    pub fn score(&self) -> Score {
        let (mut half_points, mut of) = (0, 0);
        for check in self.checks.iter().filter(|c| c.verdict != Verdict::NotMeasured) {
            of += check.weight;
            half_points += if check.verdict == Verdict::Passed { 2 * check.weight } else { 0 };
        }
        for time in &self.times {
            let Some(target) = time.target_ms else { continue };
            of += MILESTONE;
            half_points += match time.after_ms {
                Some(after) if after <= target => 2 * MILESTONE,
                Some(_) => MILESTONE,
                None => 0,
            };
        }
        Score { half_points, of }
    }

    /// Whether nothing failed and every target was reached.
    pub fn passed(&self) -> bool {
        let score = self.score();
        score.of > 0 && score.half_points == 2 * score.of
    }

    /// What failed.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|c| c.verdict == Verdict::Failed)
    }
}
