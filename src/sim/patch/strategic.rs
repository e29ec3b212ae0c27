//! Strategic merge patch, with its directives.

use serde_json::{Map, Value};

use super::Refusal;
use super::lists::{List, list};

/// Applies a strategic merge patch to an object of a built-in kind.
///
/// # Errors
/// 400 for directives that can't be.
pub fn strategic(kind: &str, live: &Value, patch: &Value) -> Result<Value, Refusal> {
    let (Some(live), Some(patch)) = (live.as_object(), patch.as_object()) else {
        return Err(Refusal::BadRequest("the patch is no object".into()));
    };
    Ok(Value::Object(merge(kind, "", live, patch)?))
}

fn merge(
    kind: &str,
    parent: &str,
    live: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, Refusal> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => return Ok(plain(patch)),
        Some("delete") => return Ok(Map::new()),
        None | Some("merge") => {}
        Some(other) => return Err(Refusal::BadRequest(format!("Unknown patch type found: {other}"))),
    }
    let mut result = live.clone();
    if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
        result.retain(|key, _| kept.iter().any(|k| k == key));
    }
    for (key, value) in patch.iter().filter(|(k, _)| k.starts_with("$deleteFromPrimitiveList/")) {
        let field = key.split('/').nth(1).unwrap_or_default();
        let gone = value.as_array().cloned().unwrap_or_default();
        if let Some(list) = result.get_mut(field).and_then(Value::as_array_mut) {
            list.retain(|v| !gone.contains(v));
        }
    }
    for (key, value) in patch.iter().filter(|(k, _)| !k.starts_with('$')) {
        match value {
            Value::Null => {
                result.remove(key);
            }
            Value::Object(inner) => {
                if inner.get("$patch").is_some_and(|p| p == "delete") {
                    result.remove(key);
                    continue;
                }
                let empty = Map::new();
                let now = live.get(key).and_then(Value::as_object).unwrap_or(&empty);
                result.insert(key.clone(), Value::Object(merge(kind, key, now, inner)?));
            }
            Value::Array(items) => {
                let empty = Vec::new();
                let now = result.get(key).and_then(Value::as_array).unwrap_or(&empty);
                let mut merged = merge_list(kind, parent, key, now, items)?;
                if let Some(order) = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array) {
                    ordered(&mut merged, order, list(kind, parent, key));
                }
                result.insert(key.clone(), Value::Array(merged));
            }
            scalar => {
                result.insert(key.clone(), scalar.clone());
            }
        }
    }
    Ok(result)
}

fn merge_list(kind: &str, parent: &str, field: &str, live: &[Value], patch: &[Value]) -> Result<Vec<Value>, Refusal> {
    let bare = || {
        patch
            .iter()
            .filter(|i| i["$patch"].is_null())
            .map(|i| i.as_object().map_or_else(|| i.clone(), |m| Value::Object(plain(m))))
            .collect()
    };
    let key = match list(kind, parent, field) {
        List::Atomic => return Ok(bare()),
        List::Set => {
            let mut all = live.to_vec();
            all.extend(patch.iter().filter(|v| !live.contains(v)).cloned());
            return Ok(all);
        }
        List::Map(key, _) => key,
    };
    if patch.iter().any(|i| i["$patch"] == "replace") {
        return Ok(bare());
    }
    let mut all = live.to_vec();
    for item in patch {
        let Some(map) = item.as_object() else {
            return Err(Refusal::BadRequest(format!("the list {field} holds maps")));
        };
        let id = &item[key];
        if id.is_null() {
            return Err(Refusal::BadRequest(format!("map: {item} does not contain declared merge key: {key}")));
        }
        if item["$patch"] == "delete" {
            all.retain(|i| i[key] != *id);
            continue;
        }
        match all.iter_mut().find(|i| i[key] == *id) {
            Some(now) => {
                let before = now.as_object().cloned().unwrap_or_default();
                *now = Value::Object(merge(kind, field, &before, map)?);
            }
            None => all.push(Value::Object(plain(map))),
        }
    }
    Ok(all)
}

/// Those that the order names in its order, the rest after them.
fn ordered(items: &mut [Value], order: &[Value], how: List) {
    let place = |item: &Value| {
        let is = |o: &Value| match how {
            List::Map(key, _) => o[key] == item[key],
            _ => o == item,
        };
        order.iter().position(is).unwrap_or(usize::MAX)
    };
    items.sort_by_key(place);
}

/// Without directives.
fn plain(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter()
        .filter(|(k, v)| !k.starts_with('$') && !v.is_null())
        .map(|(k, v)| {
            let value = match v {
                Value::Object(inner) => Value::Object(plain(inner)),
                Value::Array(items) => Value::Array(
                    items
                        .iter()
                        .filter(|i| i["$patch"].is_null())
                        .map(|i| i.as_object().map_or_else(|| i.clone(), |m| Value::Object(plain(m))))
                        .collect(),
                ),
                other => other.clone(),
            };
            (k.clone(), value)
        })
        .collect()
}
