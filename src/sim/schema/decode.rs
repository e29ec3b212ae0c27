//! Decoding: what the API server's JSON decoder says about unknown fields and about values of the wrong type. The types
//! are those of `k8s-openapi`: an object goes through its type and back, and what does not come out was not known.
use serde_json::{Map, Value, json};

use super::go_types::named_type;
use super::quantity::Quantity;
use super::typed::round_trip;

/// One step into an object.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

/// Fields that came with Kubernetes 1.34 and 1.35; the types are older.
const NEWER: [&str; 6] =
    ["hostnameOverride", "restartPolicyRules", "fileKeyRef", "podCertificate", "workloadRef", "allocatedResources"];

/// See [`super::unknown_fields`].
pub(super) fn unknown_fields(api_version: &str, kind: &str, object: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(Ok(known)) = round_trip(api_version, kind, object) {
        let known_here = |path: &[Step]| probe(api_version, kind, path, &json!(true)).is_some();
        compare(object, &known, &mut Vec::new(), &known_here, &mut found);
    }
    found
}

fn compare(
    given: &Value,
    known: &Value,
    path: &mut Vec<Step>,
    known_here: &dyn Fn(&[Step]) -> bool,
    found: &mut Vec<String>,
) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                path.push(Step::Key(key.clone()));
                match known.get(key) {
                    Some(known) => compare(value, known, path, known_here, found),
                    None if NEWER.contains(&key.as_str()) => {}
                    // A known field that is null does not come out either; it would mind a value of the wrong type.
                    None if value.is_null() && known_here(path) => {}
                    None => found.push(format!("unknown field \"{}\"", shown(path))),
                }
                path.pop();
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (i, (value, known)) in given.iter().zip(known).enumerate() {
                path.push(Step::Index(i));
                compare(value, known, path, known_here, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn shown(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => out.extend([".", key]),
            Step::Index(i) => out.push_str(&format!("[{i}]")),
        }
    }
    out
}

/// See [`super::type_error`].
pub(super) fn type_error(api_version: &str, kind: &str, object: &Value) -> Option<String> {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let words = match round_trip(api_version, kind, object)? {
        _ if bad_quantity(object) => {
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'".to_owned()
        }
        Ok(_) => return None,
        Err(error) => match first_wrong(api_version, kind, object, &mut Vec::new()) {
            Some((path, expected)) => explain(api_version, kind, object, &path, &expected),
            None => error.to_string(),
        },
    };
    Some(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {words}"))
}

/// An object in which there is nothing but `leaf` at the path.
fn wrap(path: &[Step], leaf: Value) -> Value {
    path.iter().rev().fold(leaf, |inner, step| match step {
        Step::Key(key) => Value::Object(Map::from_iter([(key.clone(), inner)])),
        Step::Index(_) => Value::Array(vec![inner]),
    })
}

/// What the type expects at the path, if `leaf` is not it.
fn probe(api_version: &str, kind: &str, path: &[Step], leaf: &Value) -> Option<String> {
    let error = round_trip(api_version, kind, &wrap(path, leaf.clone()))?.err()?.to_string();
    Some(error.rsplit_once("expected ").map_or(error.clone(), |(_, expected)| expected.to_owned()))
}

/// The first value that its type does not take, and what the type expects.
fn first_wrong(api_version: &str, kind: &str, value: &Value, path: &mut Vec<Step>) -> Option<(Vec<Step>, String)> {
    let hollow = match value {
        Value::Null => return None,
        Value::Object(_) => json!({}),
        Value::Array(_) => json!([]),
        leaf => leaf.clone(),
    };
    if !path.is_empty()
        && let Some(expected) = probe(api_version, kind, path, &hollow)
    {
        return Some((path.clone(), expected));
    }
    let steps: Vec<(Step, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (Step::Key(k.clone()), v)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (Step::Index(i), v)).collect(),
        _ => Vec::new(),
    };
    steps.into_iter().find_map(|(step, inner)| {
        path.push(step);
        let wrong = first_wrong(api_version, kind, inner, path);
        path.pop();
        wrong
    })
}

/// The decoder's words for one value of the wrong type.
fn explain(api_version: &str, kind: &str, object: &Value, path: &[Step], expected: &str) -> String {
    let value = path.iter().fold(object, |value, step| match step {
        Step::Key(key) => &value[key.as_str()],
        Step::Index(i) => &value[*i],
    });
    if let Value::String(text) = value {
        if is_time(path) {
            return bad_time(text, path);
        }
        // Where another text is accepted, this one is the wrong bytes.
        if probe(api_version, kind, path, &json!("")).is_none() {
            return format!("illegal base64 data at input byte {}", bad_base64_at(text));
        }
    }
    let (owner, field) = owner(api_version, kind, path);
    let go_type = go_type(api_version, kind, path, expected, &owner, field.rsplit('.').next().unwrap_or_default());
    let json_type = match value {
        Value::Object(_) => "object".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(n) if go_type.starts_with("int") => format!("number {n}"),
        Value::Number(_) => "number".to_owned(),
        _ => "string".to_owned(),
    };
    format!("json: cannot unmarshal {json_type} into Go struct field {owner}.{field} of type {go_type}")
}

/// The innermost Go struct around the value, and the path of the struct's field without numbers and map keys.
fn owner(api_version: &str, kind: &str, path: &[Step]) -> (String, String) {
    let mut end = path.len();
    while end > 0 {
        let Some((last, before)) = path.get(..end).and_then(<[Step]>::split_last) else { break };
        let expected =
            if before.is_empty() { Some(kind.to_owned()) } else { probe(api_version, kind, before, &json!(true)) };
        match (last, expected) {
            (Step::Key(_), Some(struct_name)) if is_struct(&struct_name) => {
                let key = |step: &'_ Step| match step {
                    Step::Key(key) => Some(key.clone()),
                    Step::Index(_) => None,
                };
                let keys: Vec<String> = path.iter().take(end).filter_map(key).collect();
                return (struct_name, keys.join("."));
            }
            _ => end -= 1,
        }
    }
    (kind.to_owned(), shown(path))
}

fn is_struct(expected: &str) -> bool {
    expected.starts_with(|c: char| c.is_ascii_uppercase()) && !matches!(expected, "Quantity" | "IntOrString" | "Time")
}

/// The Go type for what the Rust type expects.
fn go_type(api_version: &str, kind: &str, path: &[Step], expected: &str, owner: &str, field: &str) -> String {
    if let Some(named) = named_type(owner, field)
        && last_key(path) == field
        && matches!(expected, "a string" | "a sequence" | "a map")
    {
        return named.to_owned();
    }
    let inner = |step: Step| {
        let path: Vec<Step> = path.iter().cloned().chain([step]).collect();
        [json!(true), json!([])].into_iter().find_map(|leaf| {
            let expected = probe(api_version, kind, &path, &leaf)?;
            Some(go_type(api_version, kind, &path, &expected, owner, ""))
        })
    };
    match expected {
        "a string" => "string".to_owned(),
        "a boolean" => "bool".to_owned(),
        "i32" => "int32".to_owned(),
        "i64" => "int64".to_owned(),
        "f64" => "float64".to_owned(),
        "IntOrString" => "int32".to_owned(),
        "a sequence" => format!("[]{}", inner(Step::Index(0)).unwrap_or_else(|| "string".to_owned())),
        "a map" => format!("map[string]{}", inner(Step::Key("a".to_owned())).unwrap_or_else(|| "string".to_owned())),
        name if is_struct(name) => format!("v1.{}", name),
        other if other.contains("byte") || other.contains("base64") => "[]uint8".to_owned(),
        _ => "string".to_owned(),
    }
}

fn last_key(path: &[Step]) -> &str {
    match path.last() {
        Some(Step::Key(key)) => key,
        _ => "",
    }
}

fn is_time(path: &[Step]) -> bool {
    last_key(path).ends_with("Time") || last_key(path).ends_with("Timestamp")
}

fn bad_time(text: &str, path: &[Step]) -> String {
    let micro = matches!(last_key(path), "renewTime" | "acquireTime" | "eventTime");
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"")
}

fn bad_base64_at(text: &str) -> usize {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    text.find(|c| !fits(c)).unwrap_or(text.len() - text.len() % 4)
}

/// Whether a resource's amount anywhere in the object is no quantity.
fn bad_quantity(value: &Value) -> bool {
    let bad = |v: &Value| match v {
        Value::String(s) => Quantity::parse(s).is_none(),
        Value::Null | Value::Number(_) => false,
        _ => true,
    };
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| match (key.as_str(), value) {
            ("limits" | "requests" | "capacity" | "overhead", Value::Object(amounts)) => amounts.values().any(bad),
            ("sizeLimit" | "divisor", value) => bad(value),
            // Free text and other people's schemas.
            ("data" | "stringData" | "annotations" | "labels" | "schema" | "args" | "command", _) => false,
            (_, value) => bad_quantity(value),
        }),
        Value::Array(list) => list.iter().any(bad_quantity),
        _ => false,
    }
}
