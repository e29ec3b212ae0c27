//! What a real API server answered to the same requests: golden.json, with a line for each.

use serde_json::{Value, json};

use super::*;

/// The cases. An object that was in an earlier one already is its name: `cm create/after`.
fn golden() -> Vec<Value> {
    let mut cases: Vec<Value> = serde_json::from_str(include_str!("golden.json")).unwrap();
    for at in 0..cases.len() {
        for end in ["before", "after"] {
            if let Some((name, end_there)) = cases[at][end].as_str().and_then(|n| n.split_once('/')) {
                let known = cases[..=at].iter().find(|c| c["name"] == name).unwrap()[end_there].clone();
                cases[at][end] = known;
            }
        }
    }
    cases
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_default()
}

/// What admission and the server itself filled in is removed: nobody owns it.
fn remove(object: &mut Value, pointer: &str) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        map.remove(name);
    }
}

/// Without what the server counts up.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    let meta = object["metadata"].as_object_mut().unwrap();
    for name in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "namespace"] {
        meta.remove(name);
    }
    full(&object)
}

/// Without empty lists and objects, most of which the server leaves out.
fn full(value: &Value) -> Value {
    let empty = |v: &Value| *v == json!({}) || *v == json!([]) || v.is_null();
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(k, v)| (k.clone(), full(v))).filter(|(_, v)| !empty(v)).collect())
        }
        Value::Array(items) => items.iter().map(full).collect(),
        other => other.clone(),
    }
}

/// Whether the server's answer has all that we have, and lists of the same length: it has defaults besides.
fn within(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => a.iter().all(|(k, v)| b.get(k).is_some_and(|w| within(v, w))),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(v, w)| within(v, w)),
        _ => ours == theirs,
    }
}

fn run(case: &Value) -> Result<(), String> {
    let kind = text(case, "kind");
    let before = Some(&case["before"]).filter(|b| b.is_object());
    let who = Manager {
        name: text(case, "manager"),
        api_version: text(case, "apiVersion"),
        subresource: case["subresource"].as_str(),
        time: case["time"].as_str().unwrap_or("2100-01-01T00:00:00Z"),
    };
    let body = &case["body"];
    let live = before.unwrap_or(&Value::Null);
    let patched = match text(case, "how") {
        "json" => json_patch(live, body),
        "merge" => Ok(merge_patch(live, body)),
        "strategic" => strategic(kind, live, body),
        "apply" => apply(kind, before, body, &who, case["force"] == true),
        _ => Ok(case["after"].clone()),
    };
    let error = &case["error"];
    if error.is_object() {
        let (message, causes) = match &patched {
            Ok(object) => return Err(format!("no {error:?}: {object}")),
            Err(Refusal::BadRequest(message) | Refusal::Invalid(message)) => (message.clone(), Vec::new()),
            Err(Refusal::Conflict { message, causes }) => (message.clone(), causes.clone()),
        };
        if error["message"] != json!(message) {
            return Err(format!("{message:?}, not {}", error["message"]));
        }
        // The real server has them in no order.
        let known = error["details"]["causes"].as_array().cloned().unwrap_or_default();
        let mut known: Vec<(String, String)> =
            known.iter().map(|c| (text(c, "field").into(), text(c, "message").into())).collect();
        let mut causes = causes;
        known.sort();
        causes.sort();
        return if known == causes { Ok(()) } else { Err(format!("{causes:?}, not {known:?}")) };
    }
    let patched = patched.map_err(|refusal| format!("{refusal:?}"))?;
    let after = &case["after"];
    let (ours, theirs) = (content(&patched), content(after));
    if !within(&ours, &theirs)
        || case["defaults"] != true && text(case, "how") != "create" && before.is_some() && ours != theirs
    {
        return Err(format!("{ours}\n, not {theirs}"));
    }
    let owned = if text(case, "how") == "apply" {
        patched
    } else {
        let mut after = after.clone();
        let meta = after["metadata"].as_object_mut().unwrap();
        meta.remove("managedFields");
        if let Some(given) = patched["metadata"].get("managedFields").filter(|_| before.is_some()) {
            meta.insert("managedFields".into(), given.clone());
        }
        for pointer in case["unowned"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            remove(&mut after, pointer);
        }
        update_managed(kind, before, &mut after, &who);
        after
    };
    let (ours, theirs) = (&owned["metadata"]["managedFields"], &after["metadata"]["managedFields"]);
    if ours != theirs {
        return Err(format!("{}\n, not {}", ours, theirs));
    }
    Ok(())
}

#[test]
fn the_answers_are_the_real_servers() {
    let mut failures = 0;
    let cases = golden();
    for case in &cases {
        if let Err(problem) = run(case) {
            failures += 1;
            eprintln!("{}: {problem}\n", text(case, "name"));
        }
    }
    assert_eq!(failures, 0, "of {}", cases.len());
}
