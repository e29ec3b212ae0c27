//! The plan as text.

use std::fmt::Write;

use console::Style;

use super::escape::escape;
use crate::event::{Estimate, Op, OpKind, Plan, PlannedStep, Risk, Undo};

/// The whole plan. `color` only on a terminal.
pub fn plan_text(plan: &Plan, color: bool) -> String {
    let mut out = String::new();
    for (i, step) in plan.steps.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        out.push_str(&step_text(step, color));
    }
    if !plan.blockers.is_empty() {
        let red = style(color).red().bold();
        let _ = writeln!(out, "\n{}", red.apply_to("What stands in the way:"));
        for blocker in &plan.blockers {
            let _ = writeln!(out, "  ✗ {}", escape(blocker));
        }
    }
    out
}

/// One step: its operations, what should be known, what is in the way.
pub fn step_text(step: &PlannedStep, color: bool) -> String {
    let mut out = String::new();
    let bold = style(color).bold();
    let dim = style(color).dim();
    let _ =
        writeln!(out, "{}  {}  [{}]", bold.apply_to(escape(&step.step)), escape(&step.title), risk(step.risk, color));
    if let Some(why) = &step.deferred {
        let _ = writeln!(out, "  {}", dim.apply_to(escape(why)));
    }
    for op in &step.ops {
        let mark = match op.kind {
            OpKind::Observe => "·",
            OpKind::Capture => "↓",
            OpKind::Change => "!",
        };
        let _ = writeln!(out, "  {mark} {}", escape(&op.summary));
        // A part of a target is one of many: its line says what is particular to it.
        for line in details(op).into_iter().filter(|_| op.part_of.is_none()) {
            let _ = writeln!(out, "      {}", dim.apply_to(escape(&line)));
        }
    }
    for warning in &step.warnings {
        let _ = writeln!(out, "  {} {}", style(color).yellow().apply_to("▲"), escape(warning));
    }
    for blocker in &step.blockers {
        let _ = writeln!(out, "  {} {}", style(color).red().apply_to("✗"), escape(blocker));
    }
    out
}

fn details(op: &Op) -> Vec<String> {
    let mut lines = Vec::new();
    if op.kind == OpKind::Change {
        let uid = op.object.uid.as_deref().map(|u| format!(" (UID {u})")).unwrap_or_default();
        lines.push(format!("{} {}{uid}, risk {}", op.verb, op.object, op.risk));
        if !op.before.is_null() {
            lines.push(format!("before: {}", op.before));
        }
        if !op.after.is_null() {
            lines.push(format!("after:  {}", op.after));
        }
        lines.push(match &op.undo {
            Undo::Automatic(how) => format!("undo: {how}"),
            Undo::Impossible(why) => format!("no undo: {why}"),
            Undo::NotNeeded => "undo: nothing to take back".into(),
        });
    }
    if let Some(estimate) = &op.estimate {
        lines.push(sized(estimate));
    }
    lines
}

fn sized(estimate: &Estimate) -> String {
    match estimate.bytes {
        Some(bytes) => format!("about {} ({})", indicatif::HumanBytes(bytes), estimate.basis),
        None => format!("size not known: {}", estimate.basis),
    }
}

fn risk(risk: Risk, color: bool) -> String {
    let style = style(color);
    let style = match risk {
        Risk::Read => style.dim(),
        Risk::Low => style.green(),
        Risk::Medium => style.yellow(),
        Risk::High => style.red(),
        Risk::Destructive => style.red().bold(),
    };
    style.apply_to(format!("risk: {risk}")).to_string()
}

fn style(color: bool) -> Style {
    Style::new().force_styling(color)
}
