//! What every action must be, whoever wrote it: its example binds, its parameters are described, its rules say why.

use quell::action::{self, Entry};
use serde_json::{Value, json};

/// Puts plausible values where an example has expressions, as the engine would before it binds.
fn evaluate(value: &mut Value, key: &str) {
    match value {
        Value::String(text) if text.contains("${{") => {
            let whole = text.trim().starts_with("${{") && text.trim().ends_with("}}");
            *value = match (whole, key) {
                (true, "record" | "of") => json!({"pod": {"name": "p", "namespace": "n", "uid": "u"}}),
                (true, key) if is_number(key) => json!(3600),
                _ => json!("value"),
            };
        }
        Value::Array(items) => items.iter_mut().for_each(|v| evaluate(v, key)),
        Value::Object(map) => map.iter_mut().for_each(|(k, v)| evaluate(v, k)),
        _ => {}
    }
}

fn is_number(key: &str) -> bool {
    ["window", "timeout", "within", "since", "grace", "limit", "seconds", "tail", "gap", "max"]
        .iter()
        .any(|w| key.contains(w))
}

fn example(entry: &Entry) -> Value {
    let value: Value = serde_yaml::from_str(entry.spec.example).unwrap_or_else(|e| panic!("{}: {e}", entry.spec.name));
    // An example is one step, or a list of one.
    match value {
        Value::Array(mut steps) if steps.len() == 1 => steps.remove(0),
        other => other,
    }
}

#[test]
fn names_are_unique_and_findable() {
    let entries = action::all();
    let mut names: Vec<_> = entries.iter().map(|e| e.spec.name).collect();
    assert!(names.iter().all(|n| action::find(n).is_some()));
    assert!(names.iter().all(|n| n.chars().all(|c| c.is_ascii_lowercase() || ".-".contains(c))), "{names:?}");
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
}

#[test]
fn every_example_is_a_step_that_binds() {
    for entry in action::all() {
        let name = entry.spec.name;
        let step = example(&entry);
        assert_eq!(step["uses"], name, "{name}: its example is of another action");
        for key in ["id", "title"] {
            assert!(step[key].as_str().is_some_and(|t| !t.is_empty()), "{name}: its example has no {key}");
        }
        let mut with = step.get("with").cloned().unwrap_or_else(|| json!({}));
        evaluate(&mut with, "with");
        if let Err(why) = (entry.bind)(with.clone()) {
            panic!("{name}: its example does not bind: {why}\n{with:#}");
        }
        let schema = serde_json::to_value((entry.schema)()).unwrap();
        if let Some(error) = jsonschema::validator_for(&schema).unwrap().iter_errors(&with).next() {
            panic!("{name}: its example is not of its schema: {error}");
        }
        let mut unknown = with;
        unknown["no-such-parameter"] = json!(1);
        let why = (entry.bind)(unknown).err().unwrap_or_else(|| panic!("{name} takes unknown parameters"));
        assert!(why.contains("no-such-parameter"), "{name}: {why}");
    }
}

#[test]
fn every_parameter_is_described() {
    for entry in action::all() {
        let schema = serde_json::to_value((entry.schema)()).unwrap();
        described(entry.spec.name, &schema);
    }
}

fn described(at: &str, schema: &Value) {
    if let Some(properties) = schema["properties"].as_object() {
        for (name, property) in properties {
            let at = format!("{at}.{name}");
            assert!(property["description"].as_str().is_some_and(|d| d.len() > 10), "{at} is not described");
            assert!(!name.contains('_'), "{at}: parameters are written with `-`");
            described(&at, property);
        }
    }
    for part in ["items", "anyOf", "oneOf", "allOf"] {
        match &schema[part] {
            Value::Array(all) => all.iter().for_each(|s| described(at, s)),
            Value::Object(_) => described(at, &schema[part]),
            _ => {}
        }
    }
}

#[test]
fn every_spec_says_what_it_needs_and_gives() {
    for entry in action::all() {
        let spec = entry.spec;
        let name = spec.name;
        assert!(
            !spec.summary.is_empty() && spec.summary.len() <= 120 && !spec.summary.ends_with('.'),
            "{name}: summary"
        );
        assert!(spec.description.len() > 80, "{name}: description");
        assert!(!spec.undo.is_empty(), "{name}: undo");
        for rule in spec.rules {
            assert!(!rule.why.is_empty(), "{name}: {} without a why", rule.resource);
            assert!(!rule.verbs.is_empty() && !rule.verbs.contains(&"*") && rule.resource != "*", "{name}: too wide");
        }
        for (output, meaning) in spec.outputs {
            assert!(!meaning.is_empty(), "{name}.{output}");
            assert!(
                output.chars().all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()),
                "{name}.{output}: expressions write outputs with `_`"
            );
        }
    }
}
