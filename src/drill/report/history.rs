//! The trend of all drills, for a terminal.

use super::spoken;
use crate::clock::rfc3339;
use crate::drill::outcome::{MilestoneName, Outcome};
use crate::report::escape::escape;

/// A line a drill, oldest first; the arrow compares with the one before of the same name.
pub fn history(all: &[Outcome]) -> String {
    if all.is_empty() {
        return "no drills yet: `quell drill list` shows which there are\n".into();
    }
    let mut out = format!(
        "{:<24} {:<26} {:<6} {:<16} {:>6}   {:>14}  {}\n",
        "BEGAN", "DRILL", "LEVEL", "CLUSTER", "SCORE", "CONTAINED", "MISSED"
    );
    for (n, outcome) in all.iter().enumerate() {
        let percent = outcome.score().percent();
        let before = all.iter().take(n).rev().find(|o| o.drill == outcome.drill).map(|o| o.score().percent());
        let arrow = match before.map(|b| percent.cmp(&b)) {
            Some(std::cmp::Ordering::Greater) => '↑',
            Some(std::cmp::Ordering::Less) => '↓',
            Some(std::cmp::Ordering::Equal) => '=',
            None => ' ',
        };
        let contained = outcome
            .times
            .iter()
            .find(|t| t.name == MilestoneName::Contain)
            .and_then(|t| t.after_ms)
            .map_or("never".into(), spoken);
        let missed: Vec<&str> = outcome.failed().map(|c| c.id.as_str()).collect();
        out.push_str(&format!(
            "{:<24} {:<26} {:<6} {:<16} {percent:>4} % {arrow} {contained:>14}  {}\n",
            rfc3339(outcome.began),
            escape(&outcome.drill),
            escape(&outcome.level),
            escape(&outcome.cluster),
            escape(&missed.join(", "))
        ));
    }
    out
}
