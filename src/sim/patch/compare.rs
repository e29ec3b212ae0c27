//! Walks over values by their shape: the fields of an object, and what two objects differ in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::fieldset::{FieldSet, Step};
use super::shape::{List, Shape, default_key};

/// The step to an item of a list that is not atomic.
pub(super) fn item_step(list: List, item: &Value) -> Step {
    let List::Map(keys) = list else { return Step::Item(item.clone()) };
    let mut all: Vec<(String, Value)> = keys
        .iter()
        .map(|key| {
            let value = item.get(key).filter(|v| !v.is_null()).cloned();
            ((*key).to_string(), value.unwrap_or_else(|| default_key(key)))
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Step::Key(all)
}

/// The list's items by their steps, the first of each.
pub(super) fn by_step(list: List, items: &[Value]) -> BTreeMap<Step, &Value> {
    let mut all = BTreeMap::new();
    for item in items {
        all.entry(item_step(list, item)).or_insert(item);
    }
    all
}

/// All fields of an object as one that applies it owns them: leaves and the items of lists, not what holds them.
pub(super) fn fields(shape: &Shape, value: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match value {
        Value::Object(map) if !shape.atomic => {
            for (name, inner) in map {
                let mut child = fields(&shape.at(name), inner);
                child.member |= inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                set.put(Step::Field(name.clone()), child);
            }
            set
        }
        Value::Array(items) if shape.list != List::Atomic => {
            for (step, item) in by_step(shape.list, items) {
                let mut child = if shape.list == List::Set { FieldSet::default() } else { fields(&shape.item(), item) };
                child.member = true;
                set.put(step, child);
            }
            set
        }
        _ => FieldSet::leaf(),
    }
}

/// What one object has more than another, less, or otherwise.
#[derive(Default)]
pub(super) struct Difference {
    /// Only the new one has these.
    pub(super) added: FieldSet,
    /// Only the old one has these.
    pub(super) removed: FieldSet,
    /// Both have these, with another value.
    pub(super) modified: FieldSet,
}

impl Difference {
    /// The fields that the writer of the new object makes its own.
    pub(super) fn taken(&self) -> FieldSet {
        self.added.or(&self.modified)
    }

    /// Without some fields and all below them.
    pub(super) fn without(&self, ignored: &FieldSet) -> Difference {
        Difference {
            added: self.added.without(ignored),
            removed: self.removed.without(ignored),
            modified: self.modified.without(ignored),
        }
    }

    fn put(&mut self, step: &Step, child: Difference) {
        self.added.put(step.clone(), child.added);
        self.removed.put(step.clone(), child.removed);
        self.modified.put(step.clone(), child.modified);
    }
}

/// Compares an old value with a new one; None is a field that is not there (null is one that is, empty).
pub(super) fn compare(shape: &Shape, old: Option<&Value>, new: Option<&Value>) -> Difference {
    let mut result = Difference::default();
    let some = |v: Option<&Value>| v.is_some_and(|v| !v.is_null());
    let (old_map, new_map) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let (old_list, new_list) = (old.and_then(Value::as_array), new.and_then(Value::as_array));
    let maps = (old_map.is_some() || !some(old)) && (new_map.is_some() || !some(new));
    let lists = (old_list.is_some() || !some(old)) && (new_list.is_some() || !some(new));
    let full = old_map.is_some_and(|m| !m.is_empty()) || new_map.is_some_and(|m| !m.is_empty());
    if maps && full && !shape.atomic {
        let names = old_map.into_iter().chain(new_map).flat_map(|m| m.keys());
        for name in names.collect::<BTreeSet<_>>() {
            let inner = |m: Option<&Map<String, Value>>| m.and_then(|m| m.get(name)).cloned();
            let child = compare(&shape.at(name), inner(old_map).as_ref(), inner(new_map).as_ref());
            result.put(&Step::Field(name.clone()), child);
        }
    } else if lists
        && shape.list != List::Atomic
        && (old_list.is_some_and(|l| !l.is_empty()) || new_list.is_some_and(|l| !l.is_empty()))
    {
        let old_items = by_step(shape.list, old_list.map_or(&[], Vec::as_slice));
        let new_items = by_step(shape.list, new_list.map_or(&[], Vec::as_slice));
        for step in old_items.keys().chain(new_items.keys()).collect::<BTreeSet<_>>() {
            let child = compare(&shape.item(), old_items.get(step).copied(), new_items.get(step).copied());
            result.put(step, child);
        }
    } else if old.is_some() && new.is_some() {
        result.modified.member = old != new;
        return result;
    }
    result.added.member = old.is_none() && new.is_some();
    result.removed.member = new.is_none() && old.is_some();
    result
}
