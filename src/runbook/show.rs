//! A runbook for people, as JSON, and the skeleton of a new one.

use std::fmt::Write;

use serde_json::{Value, json};

use super::duration::spoken;
use super::model::{Approve, Input, InputKind, Item, Runbook, Step};
use crate::cluster::Problem;

/// When to use it, inputs, steps.
pub fn show(runbook: &Runbook) -> String {
    let mut out = format!("{}: {}\n", runbook.name, runbook.title);
    for text in [&runbook.summary, &runbook.when_to_use] {
        if !text.is_empty() {
            let _ = writeln!(out, "\n{}", text.trim());
        }
    }
    if !runbook.references.is_empty() {
        let _ = writeln!(out, "\nReferences:");
        for reference in &runbook.references {
            let rest: Vec<&str> = reference.title.iter().chain(&reference.url).map(String::as_str).collect();
            let _ = writeln!(out, "  {:<12} {}", reference.id, rest.join("  "));
        }
    }
    let _ = writeln!(out, "\nInputs:");
    for input in &runbook.inputs {
        let need = match (&input.default, input.required) {
            (_, true) => "required".into(),
            (Some(default), _) => format!("default {}", default_text(input, default)),
            (None, false) => "optional".into(),
        };
        let _ =
            writeln!(out, "  {:<16} {:<14} {need}\n  {:16} {}", input.name, kind(&input.kind), "", input.help.trim());
    }
    let _ = writeln!(out, "\nSteps:");
    let mut number = 0;
    for item in &runbook.steps {
        let (steps, side_by_side) = match item {
            Item::Step(step) => (std::slice::from_ref(step), false),
            Item::Parallel(steps) => (steps.as_slice(), true),
        };
        for step in steps {
            number += 1;
            let _ = writeln!(
                out,
                "  {number:>2}. {:<12} {}  ({}{})",
                step.id,
                step.title,
                step.uses,
                if side_by_side { ", side by side" } else { "" }
            );
            for line in conditions(step) {
                let _ = writeln!(out, "      {line}");
            }
        }
    }
    out
}

fn conditions(step: &Step) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(step.when.iter().map(|w| format!("when {w}")));
    lines.extend(step.foreach.iter().map(|f| format!("for each of {f}")));
    if !step.needs.is_empty() {
        lines.push(format!("needs {} verified", step.needs.join(", ")));
    }
    match step.approve {
        Approve::Ask => {}
        Approve::Never => lines.push("never asks".into()),
        Approve::Always => lines.push("always asks".into()),
    }
    lines
}

fn default_text(input: &Input, default: &Value) -> String {
    match (&input.kind, default) {
        (InputKind::Duration, Value::Number(n)) => spoken(n.as_u64().unwrap_or(0)),
        (_, Value::String(s)) if s.is_empty() => "empty".into(),
        (_, Value::String(s)) => s.clone(),
        (_, Value::Array(a)) if a.is_empty() => "none".into(),
        (_, other) => other.to_string(),
    }
}

fn kind(kind: &InputKind) -> String {
    match kind {
        InputKind::Name => "name".into(),
        InputKind::Namespace => "namespace".into(),
        InputKind::Duration => "duration".into(),
        InputKind::Integer => "integer".into(),
        InputKind::Boolean => "boolean".into(),
        InputKind::Choice(choices) => choices.join("|"),
        InputKind::List => "list".into(),
        InputKind::LabelSelector => "label-selector".into(),
        InputKind::Path => "path".into(),
        InputKind::Text => "text".into(),
    }
}

/// For `--json`.
pub fn document(runbook: &Runbook) -> Value {
    let inputs: Vec<Value> = runbook
        .inputs
        .iter()
        .map(|i| json!({"name": i.name, "type": kind(&i.kind), "required": i.required, "default": i.default, "help": i.help, "pattern": i.pattern}))
        .collect();
    let steps: Vec<Value> = runbook
        .all_steps()
        .map(|s| json!({"id": s.id, "title": s.title, "uses": s.uses, "with": s.with, "when": s.when, "foreach": s.foreach, "needs": s.needs}))
        .collect();
    json!({"name": runbook.name, "title": runbook.title, "summary": runbook.summary, "when": runbook.when_to_use, "source": runbook.source,
           "inputs": inputs, "steps": steps})
}

/// A skeleton that checks clean.
pub fn new(name: &str) -> Result<String, Problem> {
    let good = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-');
    if !good {
        return Err(Problem::usage(format!("{name:?} is no name for a runbook"))
            .hint("lower-case letters, digits and `-`, at most 63"));
    }
    Ok(include_str!("skeleton.yaml").replace("NAME", name))
}
