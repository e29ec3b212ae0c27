//! Server-side apply on values: what is applied over what is there, and fields taken out of it.

use serde_json::{Map, Value};

use super::compare::{by_step, item_step};
use super::fieldset::{FieldSet, Step};
use super::shape::{List, Shape};

/// Puts the applied value over the live one.
pub(super) fn merged(shape: &Shape, live: &Value, applied: &Value) -> Value {
    match (live, applied) {
        (Value::Object(now), Value::Object(wanted)) if !shape.atomic => {
            let mut all = now.clone();
            for (name, value) in wanted {
                let value = now.get(name).map_or_else(|| value.clone(), |old| merged(&shape.at(name), old, value));
                all.insert(name.clone(), value);
            }
            Value::Object(all)
        }
        (Value::Array(now), Value::Array(wanted)) if shape.list != List::Atomic => {
            Value::Array(merged_list(shape, now, wanted))
        }
        // Null for something that is a whole of parts says nothing of these.
        (Value::Object(now), Value::Null) if !shape.atomic && !now.is_empty() => live.clone(),
        (Value::Array(now), Value::Null) if shape.list != List::Atomic && !now.is_empty() => live.clone(),
        _ => applied.clone(),
    }
}

/// The server's order: the applied items in theirs, those only in the live list where they were between the others.
fn merged_list(shape: &Shape, live: &[Value], applied: &[Value]) -> Vec<Value> {
    let steps = |items: &[Value]| -> Vec<(Step, Value)> {
        let all = items.iter().map(|i| (item_step(shape.list, i), i.clone()));
        all.collect()
    };
    let (left, right) = (steps(live), steps(applied));
    let (known, wanted) = (by_step(shape.list, live), by_step(shape.list, applied));
    let mut shared = right.iter().map(|(step, _)| step).filter(|step| known.contains_key(step)).peekable();
    let item = |step: &Step, value: &Value| match known.get(step) {
        Some(old) if shape.list != List::Set => merged(&shape.item(), old, value),
        _ => value.clone(),
    };
    let mut done: Vec<&Step> = Vec::new();
    let mut all = Vec::new();
    let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
    while lefts.peek().is_some() || rights.peek().is_some() {
        if let (Some((old, _)), Some((new, value))) = (lefts.peek(), rights.peek()) {
            if old == new {
                done.push(new);
                all.push(item(new, value));
                lefts.next();
                rights.next();
                shared.next();
                continue;
            }
            if wanted.contains_key(old) && shared.peek().is_some_and(|next| *next != old) {
                lefts.next();
                continue;
            }
        }
        if let Some((old, value)) = lefts.peek() {
            if !wanted.contains_key(old) {
                all.push(value.clone());
                lefts.next();
                continue;
            }
            if done.contains(&old) {
                lefts.next();
            }
        }
        if let Some((new, value)) = rights.next() {
            done.push(new);
            all.push(item(new, value));
            if shared.peek().is_some_and(|next| *next == new) {
                shared.next();
            }
        }
    }
    all
}

/// The value without the set's members. What loses all of its parts is null.
pub(super) fn removed(shape: &Shape, value: &Value, gone: &FieldSet) -> Value {
    match value {
        Value::Object(map) if !shape.atomic => {
            let mut all = Map::new();
            for (name, inner) in map {
                match gone.below.get(&Step::Field(name.clone())) {
                    Some(set) if set.member => {}
                    Some(set) => {
                        all.insert(name.clone(), removed(&shape.at(name), inner, set));
                    }
                    None => {
                        all.insert(name.clone(), inner.clone());
                    }
                }
            }
            if all.is_empty() { Value::Null } else { Value::Object(all) }
        }
        Value::Array(items) if shape.list != List::Atomic => {
            let mut all = Vec::new();
            for item in items {
                let set = gone.below.get(&item_step(shape.list, item));
                match set {
                    Some(set) if set.member => {}
                    Some(set) => all.push(removed(&shape.item(), item, set)),
                    None => all.push(item.clone()),
                }
            }
            if all.is_empty() { Value::Null } else { Value::Array(all) }
        }
        other => other.clone(),
    }
}
