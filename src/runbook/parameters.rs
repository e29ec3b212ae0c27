//! `uses` and `with` against the actions' own schemas.

use std::ops::Range;

use serde_json::Value;

use super::check::{Check, Known, Place};
use super::diagnostic::did_you_mean;
use super::yaml::{Kind, Node};

pub(super) fn check(check: &mut Check<'_>, places: &[Place<'_>], known: &[Known]) {
    for place in places {
        let Some(uses) = place.node.get("uses") else { continue };
        let Some(action) = known.iter().find(|k| k.name == place.step.uses) else {
            let help = did_you_mean(&place.step.uses, known.iter().map(|k| k.name.as_str()))
                .unwrap_or_else(|| "`quell action list` shows all actions".into());
            check.error_with(&uses.span, format!("there is no action `{}`", place.step.uses), Some(help));
            continue;
        };
        let at = place.node.get("with").map_or(&uses.span, |w| &w.span);
        object(check, place.node.get("with"), at, &action.schema, &action.name);
    }
}

/// A mapping against `properties`, `required` and `additionalProperties: false`.
fn object(check: &mut Check<'_>, node: Option<&Node>, at: &Range<usize>, schema: &Value, what: &str) {
    let empty = Vec::new();
    let entries = match node.map(|n| &n.kind) {
        Some(Kind::Map(entries)) => entries,
        _ => &empty,
    };
    let properties = schema["properties"].as_object();
    for (key, span, value) in entries {
        match properties.and_then(|p| p.get(key)) {
            Some(property) => any(check, value, property, &format!("`{key}`")),
            None if schema["additionalProperties"] == false => {
                let names: Vec<&str> = properties.into_iter().flatten().map(|(k, _)| k.as_str()).collect();
                let help =
                    did_you_mean(key, names.iter().copied()).unwrap_or_else(|| format!("it has {}", names.join(", ")));
                check.error_with(span, format!("{what} has no parameter `{key}`"), Some(help));
            }
            None => {}
        }
    }
    for key in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !entries.iter().any(|(k, _, _)| k == key) {
            let about = schema["properties"][key]["description"].as_str().unwrap_or_default();
            check.error_with(
                at,
                format!("{what} needs the parameter `{key}`"),
                (!about.is_empty()).then(|| about.replace('\n', " ")),
            );
        }
    }
}

fn any(check: &mut Check<'_>, node: &Node, schema: &Value, what: &str) {
    // An expression has its type only when it is evaluated; binding checks it then.
    if matches!(&node.kind, Kind::Text(text) if text.contains("${{")) {
        return;
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let fits = choices.iter().any(|choice| {
                let mut trial = Check { text: check.text, found: Vec::new() };
                any(&mut trial, node, choice, what);
                trial.found.is_empty()
            });
            if !fits {
                // The first choice is the real type; what comes after it is `null` or a variant.
                match choices.iter().find(|c| c["type"] != "null") {
                    Some(choice) if choices.len() <= 2 => any(check, node, choice, what),
                    _ => check.error(&node.span, format!("{what} fits none of its forms")),
                }
            }
            return;
        }
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(&node.json())
    {
        let words: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        check.error_with(
            &node.span,
            format!("{what} can't be {}", node.json()),
            Some(format!("one of {}", words.join(", "))),
        );
        return;
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let fits = |t: &str| match &node.kind {
        Kind::Null => t == "null",
        Kind::Bool(_) => t == "boolean",
        Kind::Number(n) => t == "number" || t == "integer" && (n.is_i64() || n.is_u64()),
        Kind::Text(_) => t == "string",
        Kind::List(_) => t == "array",
        Kind::Map(_) => t == "object",
    };
    if !types.iter().any(|t| fits(t)) {
        let wanted: Vec<&str> = types.iter().copied().filter(|t| *t != "null").collect();
        check.error(&node.span, format!("{what} must be {}, and is {}", wanted.join(" or "), node.type_name()));
        return;
    }
    match &node.kind {
        Kind::Map(_) => object(check, Some(node), &node.span, schema, what),
        Kind::List(items) => {
            for item in items {
                any(check, item, &schema["items"], &format!("an item of {what}"));
            }
        }
        Kind::Number(n) => {
            let n = n.as_f64().unwrap_or(0.0);
            if schema["minimum"].as_f64().is_some_and(|min| n < min)
                || schema["maximum"].as_f64().is_some_and(|max| n > max)
            {
                check.error(
                    &node.span,
                    format!("{what} is out of range: {} to {}", schema["minimum"], schema["maximum"]),
                );
            }
        }
        _ => {}
    }
}
