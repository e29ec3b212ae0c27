//! What expressions and `needs` refer to: it must be there, earlier, and declared.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::check::{Check, Known, Place};
use super::diagnostic::did_you_mean;
use super::expression::{self, Part, identifier};
use super::model::Runbook;
use super::yaml::{Kind, Node};

pub(super) fn check(check: &mut Check<'_>, runbook: &Runbook, places: &[Place<'_>], known: &[Known]) {
    let mut used = BTreeSet::new();
    let order: BTreeMap<String, (usize, &Place<'_>)> =
        places.iter().enumerate().map(|(i, p)| (identifier(&p.step.id), (i, p))).collect();
    for (i, place) in places.iter().enumerate() {
        let mut strings = Vec::new();
        if let Some(with) = place.node.get("with") {
            texts(with, &mut strings);
        }
        for (text, node) in strings {
            match expression::parts(text) {
                Ok(parts) => {
                    for part in parts {
                        if let Part::Expression(expression, offset) = part {
                            let span = within(check.text, node, offset, expression.len());
                            names(check, &expression, &span, i, place, runbook, &order, known, &mut used);
                        }
                    }
                }
                Err(why) => check.error(&node.span, why),
            }
        }
        for key in ["when", "foreach"] {
            if let Some(node) = place.node.get(key)
                && let Kind::Text(text) = &node.kind
            {
                names(check, expression::bare(text), &node.span, i, place, runbook, &order, known, &mut used);
            }
        }
        needs(check, i, place, places, known);
    }
    for input in &runbook.inputs {
        // `namespace` is the namespace in force even when no expression names it.
        if !used.contains(&identifier(&input.name)) && input.name != "namespace" {
            let at = check.text.find(&format!("\n  {}:", input.name)).map_or(0..0, |i| i + 3..i + 3 + input.name.len());
            check.warn(&at, format!("input {} is never used", input.name));
        }
    }
}

/// Every text in a node, with its node.
fn texts<'n>(node: &'n Node, out: &mut Vec<(&'n str, &'n Node)>) {
    match &node.kind {
        Kind::Text(text) => out.push((text, node)),
        Kind::List(items) => items.iter().for_each(|item| texts(item, out)),
        Kind::Map(entries) => entries.iter().for_each(|(_, _, value)| texts(value, out)),
        _ => {}
    }
}

/// The place of an expression in a text that stands on one line; else of the whole text.
fn within(text: &str, node: &Node, offset: usize, len: usize) -> Range<usize> {
    let begin = node.span.start;
    let quoted = usize::from(text[begin..].starts_with(['"', '\'']));
    let span = begin + quoted + offset..begin + quoted + offset + len;
    let fits = text.get(span.clone()).is_some_and(|s| !s.contains('\n')) && span.end <= node.span.end;
    if fits { span } else { node.span.clone() }
}

#[expect(clippy::too_many_arguments, reason = "one call site's worth of context, used once")]
fn names(
    check: &mut Check<'_>,
    text: &str,
    span: &Range<usize>,
    at: usize,
    place: &Place<'_>,
    runbook: &Runbook,
    order: &BTreeMap<String, (usize, &Place<'_>)>,
    known: &[Known],
    used: &mut BTreeSet<String>,
) {
    let found = match expression::names(text) {
        Ok(found) => found,
        Err(why) => return check.error(span, format!("not an expression: {why}")),
    };
    for name in found {
        let parts: Vec<&str> = name.split('.').collect();
        match parts.as_slice() {
            ["inputs", input, ..] => {
                used.insert((*input).to_string());
                if !runbook.inputs.iter().any(|i| identifier(&i.name) == *input) {
                    let help = did_you_mean(input, runbook.inputs.iter().map(|i| i.name.as_str()));
                    check.error_with(span, format!("there is no input `{input}`"), help);
                }
            }
            ["steps", step, rest @ ..] => match order.get(*step) {
                None => {
                    let help = did_you_mean(step, order.keys().map(String::as_str));
                    check.error_with(span, format!("there is no step `{step}`"), help);
                }
                Some((i, other)) if *i >= at || other.group.is_some() && other.group == place.group => {
                    check.error(span, format!("step {step} does not run before {}", place.step.id));
                }
                Some((_, other)) => outputs(check, span, other, rest, known),
            },
            ["item", ..] => {
                if place.step.foreach.is_none() {
                    check.error(span, "`item` is only there in a step with `foreach`");
                }
            }
            [first, ..] => check.error_with(
                span,
                format!("there is no `{first}`"),
                Some("expressions see inputs, steps and item".into()),
            ),
            [] => {}
        }
    }
}

fn outputs(check: &mut Check<'_>, span: &Range<usize>, step: &Place<'_>, rest: &[&str], known: &[Known]) {
    match rest {
        [] | ["status"] => {}
        ["outputs"] => {}
        ["outputs", name, ..] => {
            if let Some(action) = known.iter().find(|k| k.name == step.step.uses)
                && !action.outputs.iter().any(|o| o == name)
            {
                let help = did_you_mean(name, action.outputs.iter().map(String::as_str))
                    .unwrap_or_else(|| format!("{} gives {}", action.name, action.outputs.join(", ")));
                check.error_with(span, format!("step {} has no output `{name}`", step.step.id), Some(help));
            }
        }
        [other, ..] => check.error_with(
            span,
            format!("a step has no `{other}`"),
            Some("write `steps.ID.outputs.NAME` or `steps.ID.status`".into()),
        ),
    }
}

fn needs(check: &mut Check<'_>, at: usize, place: &Place<'_>, places: &[Place<'_>], known: &[Known]) {
    let nodes: Vec<&Node> = match place.node.get("needs").map(|n| &n.kind) {
        Some(Kind::List(items)) => items.iter().collect(),
        _ => Vec::new(),
    };
    let mut captures = false;
    for (need, node) in place.step.needs.iter().zip(nodes) {
        match places.iter().position(|p| p.step.id == *need) {
            None => {
                let help = did_you_mean(need, places.iter().map(|p| p.step.id.as_str()));
                check.error_with(&node.span, format!("there is no step `{need}`"), help);
            }
            Some(i) if i == at => check.error(&node.span, format!("step {need} needs itself")),
            Some(i) if cycle(places, i, at) => {
                check
                    .error(&node.span, format!("{need} and {} need each other: neither could ever run", place.step.id));
            }
            Some(i) if i > at || places[i].group.is_some() && places[i].group == place.group => {
                check.error(&node.span, format!("step {need} does not run before {}", place.step.id));
            }
            Some(i) => captures |= known.iter().any(|k| k.name == places[i].step.uses && k.captures),
        }
    }
    let destructive = known.iter().any(|k| k.name == place.step.uses && k.destructive);
    if destructive && !captures {
        let at = place.node.get("uses").map_or(&place.node.span, |n| &n.span).clone();
        check.error_with(
            &at,
            format!("step {} destroys evidence and needs no capture", place.step.id),
            Some("let it need a step that captures: `needs: [capture]`".into()),
        );
    }
}

/// Whether step `from` needs step `to`, directly or through others.
fn cycle(places: &[Place<'_>], from: usize, to: usize) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(i) = next.pop() {
        if i == to {
            return true;
        }
        if seen.insert(i) {
            next.extend(places[i].step.needs.iter().filter_map(|n| places.iter().position(|p| p.step.id == *n)));
        }
    }
    false
}
