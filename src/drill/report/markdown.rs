//! The report as Markdown.

use super::{HOW, area_name, improvement, milestone_name, mode_name, of_verdict, same, spoken, standing};
use crate::clock::rfc3339;
use crate::drill::outcome::{Outcome, Verdict};

/// Text from anywhere, in a paragraph or a table's cell: nothing of it is markup, and it stays on its line.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.push_str(&format!("\\\\u{{{:x}}}", c as u32)),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '!' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// The whole report; `earlier` are drills before it, of any name.
pub fn markdown(outcome: &Outcome, earlier: &[Outcome]) -> String {
    let score = outcome.score();
    let mut out = format!("# After-action report: {}\n\n", cell(&outcome.title));
    let facts = [
        ("Drill", format!("{} ({})", outcome.drill, outcome.level)),
        ("When", format!("{} to {} (UTC)", rfc3339(outcome.began), rfc3339(outcome.ended))),
        ("Cluster", outcome.cluster.clone()),
        ("How", mode_name(outcome.mode).into()),
        (
            "Who",
            if outcome.participants.is_empty() {
                "nobody at the keyboard".into()
            } else {
                outcome.participants.join(", ")
            },
        ),
        ("Runbook", format!("{}, SHA-256 {}", outcome.runbook, outcome.runbook_sha256)),
        ("Scenario", format!("SHA-256 {}", outcome.scenario_sha256)),
        ("Incident", if outcome.incident.is_empty() { "none was opened".into() } else { outcome.incident.clone() }),
        ("Tool", outcome.tool.clone()),
        ("Score", format!("{} % ({} of {} points)", score.percent(), f64::from(score.half_points) / 2.0, score.of)),
    ];
    out.push_str("| | |\n|---|---|\n");
    for (name, value) in facts {
        out.push_str(&format!("| {name} | {} |\n", cell(&value)));
    }
    out.push_str("\n## Times\n\n| Milestone | After | Target | | Shown by |\n|---|---|---|---|---|\n");
    for time in &outcome.times {
        let after = time.after_ms.map_or("never".into(), spoken);
        let target = time.target_ms.map_or("none".into(), spoken);
        out.push_str(&format!(
            "| {} | {after} | {target} | {} | {} |\n",
            milestone_name(time.name),
            standing(time),
            cell(&time.by)
        ));
    }
    let failed = of_verdict(outcome, Verdict::Failed);
    out.push_str("\n## What was missed, and why it matters\n\n");
    if failed.is_empty() {
        out.push_str("Nothing that was checked.\n");
    }
    for check in &failed {
        out.push_str(&format!("- **{}**: {}. {}.\n", cell(&check.what), cell(&check.found), cell(&check.why)));
        if let Some(fault) = &check.fault {
            out.push_str(&format!("  At fault: {}\n", cell(fault)));
        }
    }
    out.push_str("\n## What went well\n\n");
    for check in of_verdict(outcome, Verdict::Passed) {
        out.push_str(&format!("- {}: {} ({})\n", area_name(check.area), cell(&check.what), cell(&check.found)));
    }
    let unmeasured = of_verdict(outcome, Verdict::NotMeasured);
    if !unmeasured.is_empty() {
        out.push_str("\n## What was not measured\n\n");
        for check in unmeasured {
            out.push_str(&format!("- {}: {}\n", cell(&check.what), cell(&check.found)));
        }
    }
    out.push_str("\n## Evidence\n\n");
    match &outcome.bundle {
        Some(bundle) => {
            let verified = if bundle.verified { "verifies" } else { "DOES NOT VERIFY" };
            out.push_str(&format!("{} {verified}; SHA-256 {}\n", cell(&bundle.file), bundle.sha256));
        }
        None => out.push_str("No bundle was sealed.\n"),
    }
    out.push_str("\n## Timeline\n\n| After | Who | What |\n|---|---|---|\n");
    for moment in &outcome.timeline {
        let who = format!("{:?}", moment.who).to_lowercase();
        out.push_str(&format!("| {} | {who} | {} |\n", spoken(moment.after_ms), cell(&moment.text)));
    }
    if !outcome.answers.is_empty() {
        out.push_str("\n## Discussion\n\n");
        for answer in &outcome.answers {
            out.push_str(&format!(
                "- {}\n  Answer: {}\n",
                cell(&answer.question),
                answer.answer.as_deref().map_or("not asked or not answered".into(), cell)
            ));
            if !answer.expected.is_empty() {
                out.push_str(&format!("  A good answer names: {}\n", cell(&answer.expected.join("; "))));
            }
        }
    }
    if !outcome.notes.is_empty() {
        out.push_str("\n## Notes\n\n");
        for note in &outcome.notes {
            out.push_str(&format!("- {} {}: {}\n", rfc3339(note.at), cell(&note.who), cell(&note.text)));
        }
    }
    let before = same(outcome, earlier);
    out.push_str("\n## Compared with earlier drills\n\n");
    match before.last() {
        None => out.push_str("This is the first of its name.\n"),
        Some(last) => {
            let (was, is) = (last.score().percent(), score.percent());
            let word = match is.cmp(&was) {
                std::cmp::Ordering::Greater => "better",
                std::cmp::Ordering::Less => "worse",
                std::cmp::Ordering::Equal => "the same",
            };
            out.push_str(&format!(
                "{} before; the last, {}, scored {was} %: this one is {word}.\n",
                before.len(),
                rfc3339(last.began)
            ));
        }
    }
    if !failed.is_empty() {
        out.push_str("\n## To improve\n\n");
        for check in &failed {
            out.push_str(&format!("- [ ] {}\n", cell(&improvement(check))));
        }
    }
    out.push_str(&format!("\n## How the score is computed\n\n{HOW}\n\n## Sign-off\n\n"));
    match &outcome.sign_off {
        Some(sign) => {
            out.push_str(&format!("Signed by {} ({}), {}\n", cell(&sign.who), cell(&sign.role), rfc3339(sign.at)))
        }
        None => out.push_str("Not signed off yet: `quell drill sign`.\n"),
    }
    out
}
