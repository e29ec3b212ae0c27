//! `quell action`.

use clap::Subcommand;
use serde_json::json;

use super::{Ended, Global, print_json, print_text};
use crate::action::{self, Scope};
use crate::cluster::Problem;

/// What steps can do.
#[derive(Debug, Subcommand)]
pub enum ActionCommand {
    /// List all actions
    List,
    /// One action: parameters, rights, outputs, undo, an example
    Explain {
        /// Its name
        name: String,
    },
}

pub(super) fn action(global: &Global, command: ActionCommand) -> Ended {
    match command {
        ActionCommand::List => {
            let all = action::all();
            if global.json {
                let rows: Vec<_> = all
                    .iter()
                    .map(|e| json!({"name": e.spec.name, "summary": e.spec.summary, "risk": e.spec.risk}))
                    .collect();
                print_json(&json!({"v": 1, "actions": rows}));
            } else {
                for entry in all {
                    print_text(&format!("{:<20} {:<12} {}", entry.spec.name, entry.spec.risk, entry.spec.summary));
                }
            }
            Ok(0)
        }
        ActionCommand::Explain { name } => {
            let entry = action::find(&name).ok_or_else(|| {
                let all = action::all();
                let near = all.iter().max_by(|a, b| {
                    strsim::jaro_winkler(a.spec.name, &name).total_cmp(&strsim::jaro_winkler(b.spec.name, &name))
                });
                Problem::usage(format!("there is no action {name:?}")).hint(format!(
                    "did you mean {}? `quell action list` shows all",
                    near.map(|e| e.spec.name).unwrap_or_default()
                ))
            })?;
            if global.json {
                print_json(&document(&entry));
            } else {
                print_text(&text(&entry));
            }
            Ok(0)
        }
    }
}

fn document(entry: &action::Entry) -> serde_json::Value {
    let spec = &entry.spec;
    let rules: Vec<_> = spec
        .rules
        .iter()
        .map(|r| {
            json!({"apiGroup": r.group, "resource": r.resource, "verbs": r.verbs, "why": r.why, "optional": r.optional,
            "scope": match r.scope {
                Scope::Target => json!("namespace"),
                Scope::Collectors => json!("collectors"),
                Scope::In(namespace) => json!({"namespace": namespace}),
                Scope::Cluster => json!("cluster"),
            }})
        })
        .collect();
    let outputs: serde_json::Map<_, _> =
        spec.outputs.iter().map(|(name, text)| ((*name).to_string(), json!(text))).collect();
    json!({"v": 1, "name": spec.name, "summary": spec.summary, "description": spec.description, "risk": spec.risk, "undo": spec.undo,
           "rules": rules, "outputs": outputs, "parameters": (entry.schema)(), "example": spec.example})
}

fn text(entry: &action::Entry) -> String {
    use std::fmt::Write;
    let spec = &entry.spec;
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}\n\n{}\n", spec.name, spec.summary, textwrap(spec.description));
    let _ = writeln!(out, "Risk: {}\nUndo: {}\n\nParameters:", spec.risk, spec.undo);
    let schema = serde_json::to_value((entry.schema)()).unwrap_or_default();
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(|v| v.as_str()).collect();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let needed = if required.contains(&name.as_str()) { " (required)" } else { "" };
        let about = property["description"].as_str().unwrap_or_default().replace('\n', " ");
        let _ = writeln!(out, "  {name}{needed}\n      {about}");
    }
    let _ = writeln!(out, "\nRights:");
    for rule in spec.rules {
        let group = if rule.group.is_empty() { String::new() } else { format!(".{}", rule.group) };
        let place = match rule.scope {
            Scope::Target => "in the target's namespace".to_string(),
            Scope::Collectors => format!("in {}", action::COLLECTORS),
            Scope::In(namespace) => format!("in {namespace}"),
            Scope::Cluster => "in the whole cluster".into(),
        };
        let optional = if rule.optional { " (can do without)" } else { "" };
        let _ = writeln!(out, "  {} {}{group} {place}: {}{optional}", rule.verbs.join(","), rule.resource, rule.why);
    }
    let _ = writeln!(out, "\nOutputs:");
    for (name, about) in spec.outputs {
        let _ = writeln!(out, "  {name:<20} {about}");
    }
    let _ = writeln!(out, "\nExample:\n{}", spec.example.lines().map(|l| format!("  {l}\n")).collect::<String>());
    out
}

/// Lines of at most 100 characters, broken at spaces.
fn textwrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if lines[last].len() + word.len() + 1 > 100 {
            lines.push(word.into());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines.join("\n")
}
