//! Server-side apply.

use serde_json::{Map, Value, json};

use super::Refusal;
use super::compare::{compare, fields, item_step};
use super::fieldset::FieldSet;
use super::managed::{Entry, Manager, Operation, ignored, read, stripped, take, write};
use super::merge::{merged, removed};
use super::shape::{List, Shape};

/// Where client-side apply keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Server-side apply of an object: merged by the keys of lists, what its manager applied before and does not any more
/// is gone unless someone else owns it, and metadata.managedFields is set. `live` is None to create it.
///
/// As for an update, the result is without the defaults of new fields, which nobody owns then.
///
/// # Errors
/// [`Refusal::Conflict`] for fields of others with another value, unless `force`. 400 for managedFields in what is
/// applied and for a list with one item twice (where the real server answers 500 with this message).
pub fn apply(
    kind: &str,
    live: Option<&Value>,
    applied: &Value,
    who: &Manager<'_>,
    force: bool,
) -> Result<Value, Refusal> {
    let shape = Shape::of_kind(kind);
    if applied.pointer("/metadata/managedFields").is_some_and(|m| !m.is_null()) {
        return Err(Refusal::BadRequest("metadata.managedFields must be nil".into()));
    }
    if let Some(problem) = duplicate(&shape, "", applied) {
        let text = |pointer: &str| applied.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{}/{}", text("/metadata/namespace"), text("/metadata/name"));
        // The core group's version is written /v1.
        let slash = if who.api_version.contains('/') { "" } else { "/" };
        return Err(Refusal::BadRequest(format!(
            "failed to create typed patch object ({name}; {slash}{}, Kind={kind}): {problem}",
            who.api_version
        )));
    }
    let mut entries = live.map(read).unwrap_or_default();
    let mut bare = live.cloned().unwrap_or_else(|| json!({}));
    if let Some(meta) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    if live.is_some() && entries.is_empty() {
        // Nobody kept track so far: all that is there is a manager's of that name.
        let first = Manager { name: "before-first-apply", ..*who };
        take(kind, &json!({}), &bare, &first, &mut entries);
    }
    let allowed = if who.name == "kubectl" { last_applied(&shape, &bare) } else { FieldSet::default() };
    let mut object = merge(&shape, &bare, applied, who, force, &allowed, &mut entries)?;
    write(&mut object, entries);
    if who.name == "kubectl" {
        note_last_applied(&mut object, applied);
    }
    Ok(object)
}

fn merge(
    shape: &Shape,
    live: &Value,
    applied: &Value,
    who: &Manager<'_>,
    force: bool,
    allowed: &FieldSet,
    entries: &mut Vec<Entry>,
) -> Result<Value, Refusal> {
    let ignored = ignored(who.subresource);
    let mut mine = Entry::of(who, Operation::Apply, fields(shape, applied).without(&ignored));
    let last = entries.iter().position(|e| e.same(&mine)).map(|at| entries.remove(at));
    let mut object = merged(shape, live, applied);
    if let Some(last) = &last {
        let mut owned = mine.set.clone();
        entries.iter().for_each(|e| owned.add(&e.set));
        object = pruned(shape, &object, &last.set, &owned);
    }
    let difference = compare(shape, Some(live), Some(&object)).without(&ignored);
    let taken = difference.taken();
    let conflicts: Vec<(&Entry, FieldSet)> =
        entries.iter().map(|e| (e, e.set.and(&taken))).filter(|(_, set)| !set.is_empty()).collect();
    // kubectl may take back what it applied itself before it used server-side apply: all of it or nothing.
    let barred: Vec<(&Entry, FieldSet)> =
        conflicts.into_iter().map(|(e, set)| (e, set.minus(allowed))).filter(|(_, set)| !set.is_empty()).collect();
    if !force && !barred.is_empty() {
        return Err(conflict(barred));
    }
    for entry in entries.iter_mut() {
        entry.set = stripped(&entry.set.minus(&taken).minus(&difference.removed));
    }
    mine.set = stripped(&mine.set);
    let object = super::tidy(shape.cleaned(&object));
    if object == shape.cleaned(live) {
        // As the real server has it: the time of the last change to the object, if there was one.
        mine.time = last.map(|last| last.time).unwrap_or_default();
    }
    entries.push(mine);
    Ok(object)
}

/// Without what the manager applied before and nobody owns now; what nobody ever owned stays as long as something
/// around it does.
fn pruned(shape: &Shape, object: &Value, last: &FieldSet, owned: &FieldSet) -> Value {
    let all = fields(shape, object).with_objects();
    let last = last.with_objects();
    let left = |value: &Value| fields(shape, value).with_objects();
    let without_last = removed(shape, object, &last);
    let gone = all.minus(&left(&without_last).or(&owned.with_objects()));
    let with_owned = removed(shape, object, &gone);
    let gone = all.minus(&left(&with_owned)).and(&last);
    removed(shape, object, &gone)
}

/// The refusal for conflicts, in the server's words.
fn conflict(mut conflicts: Vec<(&Entry, FieldSet)>) -> Refusal {
    conflicts.sort_by(|(a, _), (b, _)| {
        let key = |e: &Entry| (e.manager.clone(), e.operation == Operation::Update, e.api_version.clone());
        key(a).cmp(&key(b)).then_with(|| a.subresource.cmp(&b.subresource))
    });
    let (mut causes, mut lines) = (Vec::new(), Vec::new());
    for (entry, set) in conflicts {
        let with = entry.described();
        lines.push(format!("conflicts with {with}:"));
        for path in set.paths() {
            lines.push(format!("- {path}"));
            causes.push((path, format!("conflict with {with}")));
        }
    }
    let message = match causes.as_slice() {
        [(path, with)] => format!("Apply failed with 1 conflict: {with}: {path}"),
        all => format!("Apply failed with {} conflicts: {}", all.len(), lines.join("\n")),
    };
    Refusal::Conflict { message, causes }
}

/// The first list that has an item twice, as the server says it.
fn duplicate(shape: &Shape, at: &str, value: &Value) -> Option<String> {
    match value {
        Value::Object(map) if !shape.atomic => {
            map.iter().find_map(|(name, inner)| duplicate(&shape.at(name), &format!("{at}.{name}"), inner))
        }
        Value::Array(items) if shape.list != List::Atomic => {
            let mut seen = Vec::new();
            for item in items {
                let step = item_step(shape.list, item);
                let inner =
                    if shape.list == List::Set { None } else { duplicate(&shape.item(), &format!("{at}{step}"), item) };
                if inner.is_some() {
                    return inner;
                }
                if seen.contains(&step) {
                    return Some(format!("{at}: duplicate entries for key {step}"));
                }
                seen.push(step);
            }
            None
        }
        _ => None,
    }
}

/// The fields that client-side apply set and that still have its values.
fn last_applied(shape: &Shape, live: &Value) -> FieldSet {
    let text = live.get("metadata").and_then(|m| m.get("annotations")).and_then(|a| a.get(LAST_APPLIED));
    let Some(last) = text.and_then(Value::as_str).and_then(|t| serde_json::from_str::<Value>(t).ok()) else {
        return FieldSet::default();
    };
    let difference = compare(shape, Some(&last), Some(live));
    fields(shape, &last).minus(&difference.taken()).minus(&difference.removed)
}

/// kubectl's annotation follows what kubectl applies, where it is there already.
fn note_last_applied(object: &mut Value, applied: &Value) {
    let annotations = object.get_mut("metadata").and_then(|m| m.get_mut("annotations"));
    let Some(annotation) = annotations.and_then(|a| a.get_mut(LAST_APPLIED)) else { return };
    let mut applied = sorted(applied);
    if let Some(all) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        all.remove(LAST_APPLIED);
    }
    *annotation = json!(format!("{applied}\n"));
}

/// With the keys of all objects in order, whatever order the map keeps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut all: Vec<(String, Value)> = map.iter().map(|(k, v)| (k.clone(), sorted(v))).collect();
            all.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(all.into_iter().collect::<Map<String, Value>>())
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
