//! Who owns which field: metadata.managedFields, and server-side apply on top of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Refusal;
use super::lists::{List, atomic_map, item_key, list};

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// Field manager.
    pub name: &'a str,
    /// `apps/v1`.
    pub api_version: &'a str,
    /// `status`, `scale`.
    pub subresource: Option<&'a str>,
    /// RFC 3339.
    pub time: &'a str,
}

/// A set of fields: `f:spec` and so on, each a member itself or not.
#[derive(Debug, Clone, Default, PartialEq)]
struct Set {
    member: bool,
    below: BTreeMap<String, Set>,
}

impl Set {
    fn leaf() -> Set {
        Set { member: true, below: BTreeMap::new() }
    }

    fn is_empty(&self) -> bool {
        !self.member && self.below.values().all(Set::is_empty)
    }

    fn read(value: &Value) -> Set {
        let mut set = Set::default();
        for (key, inner) in value.as_object().into_iter().flatten() {
            if key == "." {
                set.member = true;
            } else {
                let mut child = Set::read(inner);
                child.member |= inner.as_object().is_none_or(Map::is_empty);
                set.below.insert(key.clone(), child);
            }
        }
        set
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.below.is_empty() {
            map.insert(".".into(), json!({}));
        }
        for (key, child) in self.below.iter().filter(|(_, c)| !c.is_empty()) {
            map.insert(key.clone(), child.write());
        }
        Value::Object(map)
    }

    fn minus(&self, other: &Set) -> Set {
        let below = self
            .below
            .iter()
            .map(|(k, child)| (k.clone(), other.below.get(k).map_or_else(|| child.clone(), |o| child.minus(o))))
            .filter(|(_, c)| !c.is_empty())
            .collect();
        Set { member: self.member && !other.member, below }
    }

    fn plus(&mut self, other: &Set) {
        self.member |= other.member;
        for (key, child) in &other.below {
            self.below.entry(key.clone()).or_default().plus(child);
        }
    }

    fn and(&self, other: &Set) -> Set {
        let below = self
            .below
            .iter()
            .filter_map(|(k, c)| Some((k.clone(), c.and(other.below.get(k)?))))
            .filter(|(_, c)| !c.is_empty())
            .collect();
        Set { member: self.member && other.member, below }
    }

    /// Every member, as a path in the server's form: `.spec.containers[name="x"].image`.
    fn paths(&self, at: &str, into: &mut Vec<String>) {
        if self.member {
            into.push(at.to_string());
        }
        for (key, child) in &self.below {
            let next = if let Some(field) = key.strip_prefix("f:") {
                format!("{at}.{field}")
            } else if let Some(keys) = key.strip_prefix("k:") {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let all: Vec<String> =
                    keys.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{at}[{}]", all.join(","))
            } else {
                format!("{at}[={}]", key.trim_start_matches("v:"))
            };
            child.paths(&next, into);
        }
    }
}

/// Parts of metadata that nobody owns.
const UNOWNED: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];
/// Structs that are always there in the typed object, and so are never themselves a field that was added.
const ALWAYS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "template",
    "strategy",
    "updateStrategy",
    "jobTemplate",
    "containers",
    "rules",
    "podSelector",
];

/// All fields of an object. `dots`: maps and list items are members themselves, as after an update.
fn fields(kind: &str, object: &Value, dots: bool) -> Set {
    let mut set = of_map(kind, "", object, dots);
    for gone in ["f:apiVersion", "f:kind"] {
        set.below.remove(gone);
    }
    if let Some(meta) = set.below.get_mut("f:metadata") {
        meta.below.retain(|key, _| !UNOWNED.contains(&key.trim_start_matches("f:")));
    }
    set.below.retain(|_, child| !child.is_empty());
    set.member = false;
    set
}

fn of_map(kind: &str, parent: &str, object: &Value, dots: bool) -> Set {
    let mut set = Set::default();
    for (field, value) in object.as_object().into_iter().flatten() {
        if value.is_null() && field != "creationTimestamp" {
            continue;
        }
        set.below.insert(format!("f:{field}"), of_field(kind, parent, field, value, dots));
    }
    set
}

fn of_field(kind: &str, parent: &str, field: &str, value: &Value, dots: bool) -> Set {
    match value {
        Value::Object(map) if !map.is_empty() && !atomic_map(kind, parent, field) => {
            let mut set = of_map(kind, field, value, dots);
            set.member = dots && !ALWAYS.contains(&field);
            set
        }
        Value::Array(items) => match list(kind, parent, field) {
            List::Map(_, keys) if !keys.is_empty() && !items.is_empty() => {
                let mut set = Set { member: dots && !ALWAYS.contains(&field), below: BTreeMap::new() };
                for item in items {
                    let Some(key) = item_key(item, keys) else { return Set::leaf() };
                    let mut child = of_map(kind, field, item, dots);
                    child.member = dots;
                    set.below.insert(key, child);
                }
                set
            }
            List::Set if !items.is_empty() => {
                let below = items.iter().map(|v| (format!("v:{v}"), Set::leaf())).collect();
                Set { member: dots, below }
            }
            _ => Set::leaf(),
        },
        _ => Set::leaf(),
    }
}

/// The members of `set` whose value differs between two objects, or that only one has.
fn changed(before: &Value, after: &Value, set: &Set) -> Set {
    let mut result = Set::default();
    for (key, child) in &set.below {
        let (old, new) = match key.split_once(':') {
            Some(("f", field)) => (before[field].clone(), after[field].clone()),
            Some(("k", keys)) => {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let find = |list: &Value| {
                    list.as_array().into_iter().flatten().find(|i| fits(i, &keys)).cloned().unwrap_or_default()
                };
                (find(before), find(after))
            }
            Some((_, value)) => {
                let value: Value = serde_json::from_str(value).unwrap_or_default();
                let has = |list: &Value| json!(list.as_array().is_some_and(|l| l.contains(&value)));
                (has(before), has(after))
            }
            None => continue,
        };
        let mut inner = changed(&old, &new, child);
        inner.member = child.member && if child.below.is_empty() { old != new } else { old.is_null() != new.is_null() };
        if !inner.is_empty() {
            result.below.insert(key.clone(), inner);
        }
    }
    result
}

fn fits(item: &Value, keys: &Value) -> bool {
    keys.as_object()
        .into_iter()
        .flatten()
        .all(|(k, v)| item[k] == *v || k == "protocol" && item[k].is_null() && v == "TCP")
}

/// One entry of managedFields.
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    set: Set,
}

impl Entry {
    fn of(who: &Manager<'_>, operation: &str, set: Set) -> Entry {
        Entry {
            manager: who.name.into(),
            operation: operation.into(),
            api_version: who.api_version.into(),
            subresource: who.subresource.unwrap_or_default().into(),
            time: who.time.into(),
            set,
        }
    }

    fn is(&self, who: &Manager<'_>, operation: &str) -> bool {
        self.manager == who.name
            && self.operation == operation
            && self.subresource == who.subresource.unwrap_or_default()
    }
}

fn read(object: &Value) -> Vec<Entry> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    let all = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    all.map(|e| Entry {
        manager: text(&e["manager"]),
        operation: text(&e["operation"]),
        api_version: text(&e["apiVersion"]),
        subresource: text(&e["subresource"]),
        time: text(&e["time"]),
        set: Set::read(&e["fieldsV1"]),
    })
    .collect()
}

fn write(object: &mut Value, entries: Vec<Entry>) {
    let mut entries: Vec<Entry> = entries.into_iter().filter(|e| !e.set.is_empty()).collect();
    // Appliers first, then by time, then by name.
    entries.sort_by(|a, b| {
        (a.operation != "Apply", &a.time, &a.manager).cmp(&(b.operation != "Apply", &b.time, &b.manager))
    });
    let all: Vec<Value> = entries
        .iter()
        .map(|e| {
            let mut entry = json!({"manager": e.manager, "operation": e.operation, "apiVersion": e.api_version, "time": e.time, "fieldsType": "FieldsV1", "fieldsV1": e.set.write()});
            if !e.subresource.is_empty() {
                entry["subresource"] = json!(e.subresource);
            }
            entry
        })
        .collect();
    if all.is_empty() {
        if let Some(meta) = object["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
    } else {
        object["metadata"]["managedFields"] = json!(all);
    }
}

/// After a create (before = None), an update or a patch: the fields that changed belong to the manager now.
pub fn update_managed(kind: &str, before: Option<&Value>, after: &mut Value, who: &Manager<'_>) {
    // A client that sends an empty list wants to start anew.
    let reset = after["metadata"]["managedFields"].as_array().is_some_and(Vec::is_empty) && before.is_some();
    let mut entries = if reset { Vec::new() } else { before.map(read).unwrap_or_default() };
    let nothing = json!({});
    let old = before.unwrap_or(&nothing);
    let new_fields = fields(kind, after, true);
    let mut both = new_fields.clone();
    both.plus(&fields(kind, old, true));
    let touched = changed(old, after, &both);
    if !touched.is_empty() {
        for entry in entries.iter_mut() {
            entry.set = entry.set.minus(&touched);
        }
    }
    // What is gone from the object is owned by nobody.
    for entry in entries.iter_mut() {
        entry.set = kept(&entry.set, &new_fields);
    }
    let mine = touched.and(&new_fields);
    if !mine.is_empty() {
        match entries.iter_mut().find(|e| e.is(who, "Update")) {
            Some(entry) => {
                entry.set.plus(&mine);
                entry.time = who.time.into();
                entry.api_version = who.api_version.into();
            }
            None => entries.push(Entry::of(who, "Update", mine)),
        }
    }
    write(after, entries);
}

/// The part of a set that an object still has.
fn kept(set: &Set, there: &Set) -> Set {
    let below = set
        .below
        .iter()
        .filter_map(|(k, child)| {
            let there = there.below.get(k)?;
            Some((k.clone(), if there.below.is_empty() { child.clone() } else { kept(child, there) }))
        })
        .collect();
    Set { member: set.member, below }
}

/// Server-side apply: what the applier leaves out and nobody else owns goes, what others own and it changes conflicts.
///
/// # Errors
/// [`Refusal::Conflict`], unless `force`.
pub fn apply(
    kind: &str,
    live: Option<&Value>,
    applied: &Value,
    who: &Manager<'_>,
    force: bool,
) -> Result<Value, Refusal> {
    let mut applied = applied.clone();
    if let Some(meta) = applied["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    let mine = fields(kind, &applied, false);
    let Some(live) = live else {
        let mut object = applied;
        write(&mut object, vec![Entry::of(who, "Apply", mine)]);
        return Ok(object);
    };
    let mut entries = read(live);
    let mut merged = merge(kind, "", live, &applied);
    let before =
        entries.iter().position(|e| e.is(who, "Apply")).map(|i| entries.swap_remove(i).set).unwrap_or_default();
    // Conflicts: fields of others whose value this would change.
    let different = changed(live, &merged, &mine);
    let (mut causes, mut lines) = (Vec::new(), Vec::new());
    for entry in &entries {
        let clash = entry.set.and(&different);
        let mut paths = Vec::new();
        clash.paths("", &mut paths);
        paths.retain(|p| !p.is_empty());
        if paths.is_empty() {
            continue;
        }
        let below = if entry.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {:?}", entry.subresource)
        };
        let how = if entry.operation == "Apply" { String::new() } else { format!(" using {}", entry.api_version) };
        let with = format!("conflict with {:?}{below}{how}", entry.manager);
        let head =
            if paths.len() == 1 { with.clone() } else { format!("conflicts with {:?}{below}{how}", entry.manager) };
        lines.push((head, paths.clone()));
        causes.extend(paths.into_iter().map(|p| (p, with.clone())));
    }
    if !causes.is_empty() && !force {
        let count = causes.len();
        let message = match lines.as_slice() {
            [(head, paths)] if count == 1 => format!("Apply failed with 1 conflict: {head}: {}", paths.concat()),
            lines => {
                let all: Vec<String> = lines
                    .iter()
                    .map(|(head, paths)| {
                        format!("{head}:\n{}", paths.iter().map(|p| format!("- {p}")).collect::<Vec<_>>().join("\n"))
                    })
                    .collect();
                format!("Apply failed with {count} conflicts: {}", all.join("\n"))
            }
        };
        return Err(Refusal::Conflict { message, causes });
    }
    for entry in entries.iter_mut() {
        entry.set = entry.set.minus(&different.and(&entry.set));
    }
    // What it applied before and no longer does goes, where nobody else owns it.
    let mut others = Set::default();
    entries.iter().for_each(|e| others.plus(&e.set));
    let gone = before.minus(&mine).minus(&others);
    remove(&mut merged, &gone, &others, &mine);
    entries.push(Entry::of(who, "Apply", mine));
    let there = fields(kind, &merged, true);
    for entry in entries.iter_mut().filter(|e| e.operation != "Apply" || e.manager != who.name) {
        entry.set = kept(&entry.set, &there);
    }
    write(&mut merged, entries);
    Ok(merged)
}

fn remove(object: &mut Value, gone: &Set, others: &Set, mine: &Set) {
    let none = Set::default();
    for (key, child) in &gone.below {
        let (other, own) = (others.below.get(key).unwrap_or(&none), mine.below.get(key).unwrap_or(&none));
        let whole = other.is_empty() && own.is_empty();
        match key.split_once(':') {
            Some(("f", field)) => {
                let Some(map) = object.as_object_mut() else { continue };
                if whole && (child.member || child.below.keys().all(|k| !k.starts_with("f:"))) || child.below.is_empty()
                {
                    map.remove(field);
                } else if let Some(inner) = map.get_mut(field) {
                    remove(inner, child, other, own);
                }
            }
            Some(("k", keys)) => {
                let keys: Value = serde_json::from_str(keys).unwrap_or_default();
                let Some(items) = object.as_array_mut() else { continue };
                if whole {
                    items.retain(|i| !fits(i, &keys));
                } else if let Some(item) = items.iter_mut().find(|i| fits(i, &keys)) {
                    remove(item, child, other, own);
                }
            }
            Some((_, value)) => {
                let value: Value = serde_json::from_str(value).unwrap_or_default();
                if let Some(items) = object.as_array_mut() {
                    items.retain(|v| *v != value);
                }
            }
            None => {}
        }
    }
}

fn merge(kind: &str, parent: &str, live: &Value, applied: &Value) -> Value {
    let (Some(now), Some(wanted)) = (live.as_object(), applied.as_object()) else { return applied.clone() };
    let mut result = now.clone();
    for (field, value) in wanted {
        if value.is_null() {
            continue;
        }
        let merged = match (now.get(field), value) {
            (Some(Value::Object(_)), Value::Object(_)) if !atomic_map(kind, parent, field) => {
                merge(kind, field, &now[field], value)
            }
            (Some(Value::Array(old)), Value::Array(new)) => match list(kind, parent, field) {
                List::Map(_, keys) if !keys.is_empty() => {
                    let mut all = old.clone();
                    for item in new {
                        let id = item_key(item, keys);
                        match all.iter_mut().find(|i| item_key(i, keys) == id) {
                            Some(known) => *known = merge(kind, field, known, item),
                            None => all.push(item.clone()),
                        }
                    }
                    Value::Array(all)
                }
                List::Set => {
                    let mut all = old.clone();
                    all.extend(new.iter().filter(|v| !old.contains(v)).cloned());
                    Value::Array(all)
                }
                _ => value.clone(),
            },
            _ => value.clone(),
        };
        result.insert(field.clone(), merged);
    }
    Value::Object(result)
}
