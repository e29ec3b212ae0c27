//! RFC 6902 the way the server's library has it: `replace` may add, an index may count from the end.

use serde_json::{Map, Value};

use super::Refusal;
use super::go::kind;

/// Applies a JSON patch.
///
/// # Errors
/// 400 for what is no patch; 422 for one that does not fit, of which the real server names neither operation nor path.
pub fn json_patch(live: &Value, patch: &Value) -> Result<Value, Refusal> {
    let mut object = live.clone();
    for operation in decoded(patch)? {
        step(&mut object, operation)
            .ok_or_else(|| Refusal::Invalid("the server rejected our request due to an error in our request".into()))?;
    }
    Ok(super::tidy(object))
}

fn decoded(patch: &Value) -> Result<Vec<&Map<String, Value>>, Refusal> {
    let wrong = |value: &Value, target: &str| {
        Refusal::BadRequest(format!("error decoding patch: json: cannot unmarshal {} into Go {target}", kind(value)))
    };
    let items = match patch {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        other => return Err(wrong(other, "value of type []handlers.jsonPatchOp")),
    };
    let mut operations = Vec::new();
    for item in items {
        let operation = item.as_object().ok_or_else(|| wrong(item, "value of type handlers.jsonPatchOp"))?;
        for name in ["op", "from", "path"] {
            if let Some(odd) = operation.get(name).filter(|v| !v.is_string() && !v.is_null()) {
                return Err(wrong(odd, &format!("struct field jsonPatchOp.{name} of type string")));
            }
        }
        operations.push(operation);
    }
    Ok(operations)
}

/// One operation; None if it does not fit.
fn step(object: &mut Value, operation: &Map<String, Value>) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    let value = operation.get("value").cloned().unwrap_or_default();
    match operation.get("op")?.as_str()? {
        "add" => add(object, path, value),
        "remove" => remove(object, path).map(|_| ()),
        "replace" => replace(object, path, value),
        "test" => (find(object, path)?.unwrap_or(&Value::Null) == &value).then_some(()),
        "copy" => {
            let from = find(object, operation.get("from")?.as_str()?)??.clone();
            add(object, path, from)
        }
        "move" => {
            let from = remove(object, operation.get("from")?.as_str()?)?;
            add(object, path, from)
        }
        _ => None,
    }
}

/// The parts of a pointer: what holds the place, and the place's name.
fn split(path: &str) -> Option<(Vec<String>, String)> {
    let mut parts: Vec<String> = path.split('/').skip(1).map(|p| p.replace("~1", "/").replace("~0", "~")).collect();
    let last = parts.pop()?;
    Some((parts, last))
}

fn index(part: &str, length: usize) -> Option<usize> {
    let index: i64 = part.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

fn holder<'a>(object: &'a mut Value, parts: &[String]) -> Option<&'a mut Value> {
    parts.iter().try_fold(object, |at, part| match at {
        Value::Object(map) => map.get_mut(part),
        Value::Array(items) => index(part, items.len()).and_then(|i| items.get_mut(i)),
        _ => None,
    })
}

/// The value at a path: None if what would hold it is not there, or its index is too large.
fn find<'a>(object: &'a mut Value, path: &str) -> Option<Option<&'a Value>> {
    if path.is_empty() {
        return Some(Some(object));
    }
    let (parts, last) = split(path)?;
    match holder(object, &parts)? {
        Value::Object(map) => Some(map.get(&last)),
        Value::Array(items) => index(&last, items.len()).and_then(|i| items.get(i)).map(Some),
        _ => None,
    }
}

fn add(object: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parts, last) = split(path)?;
    match holder(object, &parts)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            // Here the end is an index too: -1 adds behind the last.
            let at = index(&last, items.len() + 1).filter(|i| *i <= items.len())?;
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(object: &mut Value, path: &str) -> Option<Value> {
    let (parts, last) = split(path)?;
    match holder(object, &parts)? {
        Value::Object(map) => map.remove(&last),
        Value::Array(items) => index(&last, items.len()).filter(|i| *i < items.len()).map(|i| items.remove(i)),
        _ => None,
    }
}

fn replace(object: &mut Value, path: &str, value: Value) -> Option<()> {
    let (parts, last) = split(path)?;
    match holder(object, &parts)? {
        Value::Object(map) => {
            map.insert(last, value);
        }
        Value::Array(items) => {
            let at = index(&last, items.len())?;
            *items.get_mut(at)? = value;
        }
        _ => return None,
    }
    Some(())
}
