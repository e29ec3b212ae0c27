//! Strategic merge patch, with its directives and the server's order of list items.

use serde_json::{Map, Value, json};

use super::Refusal;
use super::go::printed;
use super::shape::{Shape, Strategy};

type Object = Map<String, Value>;

const ORDER: &str = "$setElementOrder/";
const DELETED: &str = "$deleteFromPrimitiveList/";

/// Applies a strategic merge patch to an object of a built-in kind, `Pod`. Other kinds have none: the real server
/// answers 415, which is the caller's.
///
/// # Errors
/// 400 for a patch or directive that can't be, with the server's message. (For some of them the real server answers
/// 500 with this message.)
pub fn strategic(kind: &str, live: &Value, patch: &Value) -> Result<Value, Refusal> {
    let empty = Map::new();
    let patch = match patch {
        Value::Object(map) => map,
        Value::Null => &empty,
        other => {
            return Err(refused(format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                super::go::kind(other)
            )));
        }
    };
    let merged = merge(&Shape::of_kind(kind), live.as_object().cloned().unwrap_or_default(), patch)?;
    Ok(super::tidy(Value::Object(merged)))
}

fn refused(message: impl Into<String>) -> Refusal {
    Refusal::BadRequest(message.into())
}

fn unknown(directive: &Value, patch: &Object) -> Refusal {
    let map = printed(&Value::Object(patch.clone()));
    refused(format!("unknown patch type: {} in map: {map}", printed(directive)))
}

fn merge(shape: &Shape, mut live: Object, patch: &Object) -> Result<Object, Refusal> {
    match patch.get("$patch") {
        None => {}
        Some(directive) if directive == "replace" => return Ok(plain(patch)),
        Some(directive) if directive == "delete" => return Ok(Map::new()),
        Some(directive) => return Err(unknown(directive, patch)),
    }
    retain(&mut live, patch)?;
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix(ORDER) {
            let Value::Array(order) = order else {
                return Err(refused(format!("expected a []interface {{}}, but received a {}", super::go::kind(order))));
            };
            in_order(shape, &mut live, patch, field, order)?;
        }
    }
    for (key, value) in patch.iter().filter(|(k, _)| *k != "$retainKeys" && !k.starts_with(ORDER)) {
        if let Some(field) = key.strip_prefix(DELETED) {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (live.get_mut(field), value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if patch.contains_key(&format!("{ORDER}{key}")) && value.is_array() {
            continue;
        }
        let inner = shape.at(key);
        let merged = match (live.remove(key), value) {
            (_, Value::Null) => continue,
            (Some(Value::Object(now)), Value::Object(wanted)) if inner.strategy != Strategy::Replace => {
                Value::Object(merge(&inner, now, wanted)?)
            }
            (Some(Value::Array(now)), Value::Array(wanted)) if inner.strategy != Strategy::Default => {
                Value::Array(merge_list(&inner, now, wanted)?)
            }
            (_, wanted) => bare(wanted),
        };
        live.insert(key.clone(), merged);
    }
    Ok(live)
}

/// `$retainKeys`: of a union, only these stay.
fn retain(live: &mut Object, patch: &Object) -> Result<(), Refusal> {
    let Some(kept) = patch.get("$retainKeys") else { return Ok(()) };
    let bad = || refused("invalid patch format of retainKeys");
    let kept = kept.as_array().ok_or_else(bad)?;
    let named = |key: &str| kept.iter().any(|k| k == key);
    if patch.iter().any(|(k, v)| !v.is_null() && !k.starts_with('$') && !named(k)) {
        return Err(bad());
    }
    live.retain(|key, _| named(key));
    Ok(())
}

/// A list with `$setElementOrder`: merged, and put in that order.
fn in_order(shape: &Shape, live: &mut Object, patch: &Object, field: &str, order: &[Value]) -> Result<(), Refusal> {
    let inner = shape.at(field);
    let now = live.get(field).and_then(Value::as_array).cloned();
    let wanted = patch.get(field).and_then(Value::as_array);
    let ordered = |item: &Value| order.iter().any(|o| same(&inner, o, item));
    if let Some(wanted) = wanted {
        // Deleted items need no place; all else is named, in the same order.
        let listed: Vec<&Value> = wanted.iter().filter(|i| i.get("$patch").is_none()).collect();
        let mut places = order.iter();
        if !listed.iter().all(|item| places.any(|o| same(&inner, o, item))) {
            return Err(refused(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                printed(&json!(wanted)),
                printed(&json!(order))
            )));
        }
    }
    let merged = match (now.clone(), wanted) {
        (None, None) => return Ok(()),
        (Some(now), Some(wanted)) if inner.strategy != Strategy::Default => merge_list(&inner, now, wanted)?,
        (_, Some(wanted)) => bare_list(wanted),
        (Some(now), None) => now,
    };
    let (first, rest) = merged.into_iter().partition(|item| ordered(item));
    let sorted = interleaved(&inner, first, rest, order, &now.unwrap_or_default());
    live.insert(field.into(), Value::Array(sorted));
    Ok(())
}

/// Whether two items of a list are one: by the merge key, or as scalars.
fn same(shape: &Shape, a: &Value, b: &Value) -> bool {
    match shape.strategy {
        Strategy::Key(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        _ => a == b,
    }
}

/// The items of the patch in its order, and the others where they were in relation to these: as the server does it, an
/// item that is new comes before those that the patch does not name.
fn interleaved(shape: &Shape, mut first: Vec<Value>, rest: Vec<Value>, order: &[Value], live: &[Value]) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|i| same(shape, i, item));
    first.sort_by_key(|item| place(order, item));
    let mut result = Vec::new();
    let mut first = first.into_iter().peekable();
    for item in rest {
        let at = place(live, &item);
        // An item of the patch goes first unless it was behind this one.
        while let Some(next) = first.next_if(|f| !matches!((at, place(live, f)), (Some(a), Some(b)) if a < b)) {
            result.push(next);
        }
        result.push(item);
    }
    result.extend(first);
    result
}

fn merge_list(shape: &Shape, live: Vec<Value>, patch: &[Value]) -> Result<Vec<Value>, Refusal> {
    let before = live.clone();
    let merged = match shape.strategy {
        Strategy::Key(key) => {
            if live.iter().chain(patch).any(|i| !i.is_object()) {
                let lists = printed(&json!([live, patch]));
                return Err(refused(format!("list element types are not identical: {lists}")));
            }
            let (live, patch, replace) = directives(key, live, patch)?;
            if replace {
                return Ok(patch.into_iter().map(|p| Value::Object(plain(p))).collect());
            }
            by_key(shape, key, live, &patch)?
        }
        _ => {
            let mut all = live;
            all.extend(patch.iter().cloned());
            let mut kept: Vec<Value> = Vec::new();
            for item in all {
                if !kept.contains(&item) {
                    kept.push(item);
                }
            }
            kept
        }
    };
    let (first, rest) = merged.into_iter().partition(|item| patch.iter().any(|p| same(shape, p, item)));
    Ok(interleaved(shape, first, rest, patch, &before))
}

/// What `$patch` in a list's items asks for: the list without the deleted, the patch's other items, and whether they
/// replace the list.
fn directives<'a>(
    key: &str,
    mut live: Vec<Value>,
    patch: &'a [Value],
) -> Result<(Vec<Value>, Vec<&'a Object>, bool), Refusal> {
    let (mut items, mut replace) = (Vec::new(), false);
    for item in patch.iter().filter_map(Value::as_object) {
        match item.get("$patch") {
            None => items.push(item),
            Some(directive) if directive == "delete" => {
                let id = item.get(key).ok_or_else(|| no_key(item, key))?;
                live.retain(|i| i.get(key) != Some(id));
            }
            Some(directive) if directive == "replace" => replace = true,
            Some(directive) if directive == "merge" => {
                return Err(refused("merging lists cannot yet be specified in the patch"));
            }
            Some(directive) => return Err(unknown(directive, item)),
        }
    }
    Ok((live, items, replace))
}

fn by_key(shape: &Shape, key: &str, mut live: Vec<Value>, patch: &[&Object]) -> Result<Vec<Value>, Refusal> {
    for item in patch {
        let id = item.get(key).ok_or_else(|| no_key(item, key))?;
        match live.iter_mut().find(|i| i.get(key) == Some(id)) {
            Some(now) => {
                let before = now.as_object().cloned().unwrap_or_default();
                *now = Value::Object(merge(&shape.item(), before, item)?);
            }
            None => live.push(Value::Object(plain(item))),
        }
    }
    Ok(live)
}

fn no_key(item: &Object, key: &str) -> Refusal {
    let map = printed(&Value::Object(item.clone()));
    refused(format!("map: {map} does not contain declared merge key: {key}"))
}

/// What a patch says about something that is not there yet: without directives and nulls.
fn bare(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(plain(map)),
        Value::Array(items) => Value::Array(bare_list(items)),
        other => other.clone(),
    }
}

fn bare_list(items: &[Value]) -> Vec<Value> {
    items.iter().filter(|i| i.get("$patch").is_none()).map(bare).collect()
}

fn plain(map: &Object) -> Object {
    let fields = map.iter().filter(|(k, v)| !k.starts_with('$') && !v.is_null());
    fields.map(|(k, v)| (k.clone(), bare(v))).collect()
}
