//! metadata.managedFields: who owns which fields, after a create, an update or a patch.

use serde_json::{Value, json};

use super::compare::compare;
use super::fieldset::FieldSet;
use super::shape::Shape;

/// Past this many entries of updates, the oldest are put together.
const MAX_UPDATERS: usize = 10;

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// The field manager: `fieldManager` of the request, or the start of its User-Agent.
    pub name: &'a str,
    /// Of the object as it is written, `apps/v1`; also when a subresource such as `scale` has another.
    pub api_version: &'a str,
    /// `status`, `scale`, `ephemeralcontainers`; None for the object itself.
    pub subresource: Option<&'a str>,
    /// When, in RFC 3339 with seconds, UTC.
    pub time: &'a str,
}

/// `Apply` or `Update`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// Server-side apply.
    Apply,
    /// All else.
    Update,
}

/// One entry of managedFields.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) set: FieldSet,
}

impl Entry {
    /// Of who writes now.
    pub(super) fn of(who: &Manager<'_>, operation: Operation, set: FieldSet) -> Entry {
        Entry {
            manager: who.name.into(),
            operation,
            api_version: who.api_version.into(),
            subresource: who.subresource.unwrap_or_default().into(),
            time: who.time.into(),
            set,
        }
    }

    /// Whether both are the same manager's. An applier stays the same when it moves to another version of the API.
    pub(super) fn same(&self, other: &Entry) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// `"kubectl" with subresource "status" using apps/v1`, as conflicts name it.
    pub(super) fn described(&self) -> String {
        let mut text = json!(self.manager).to_string();
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {}", json!(self.subresource));
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }

    fn parse(value: &Value) -> Option<Entry> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let set = value.get("fieldsV1").map_or(Some(FieldSet::default()), FieldSet::parse)?;
        Some(Entry {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            set,
        })
    }

    fn to_value(&self) -> Value {
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        let mut entry = json!({
            "manager": self.manager,
            "operation": operation,
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.to_value(),
        });
        for (name, value) in [("time", &self.time), ("subresource", &self.subresource)] {
            if let (false, Some(map)) = (value.is_empty(), entry.as_object_mut()) {
                map.insert(name.into(), json!(value));
            }
        }
        entry
    }
}

/// What nobody owns.
pub(super) fn stripped(set: &FieldSet) -> FieldSet {
    set.minus(&FieldSet::of_paths(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ]))
}

/// What a write to the object, or to a subresource, can't change and so never owns.
pub(super) fn ignored(subresource: Option<&str>) -> FieldSet {
    match subresource {
        None => FieldSet::of_paths(&[&["status"]]),
        Some("status") => FieldSet::of_paths(&[&["spec"]]),
        Some(_) => FieldSet::default(),
    }
}

/// The entries of an object: none if it has none or they can't be read.
pub(super) fn read(object: &Value) -> Vec<Entry> {
    let all = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    all.and_then(|all| all.iter().map(Entry::parse).collect()).unwrap_or_default()
}

/// Sets an object's entries, in the server's order, without the empty ones.
pub(super) fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.set.is_empty());
    entries.sort_by(|a, b| {
        let key =
            |e: &Entry| (e.operation == Operation::Update, e.time.clone(), e.manager.clone(), e.api_version.clone());
        key(a).cmp(&key(b)).then_with(|| a.subresource.cmp(&b.subresource))
    });
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if entries.is_empty() {
        meta.remove("managedFields");
    } else {
        meta.insert("managedFields".into(), entries.iter().map(Entry::to_value).collect());
    }
}

/// After a create (`before` is None), an update or a patch: sets `after`'s metadata.managedFields from `before`'s. The
/// fields that were added or changed belong to the manager now, those that are gone to nobody.
///
/// `after` is the object with its defaults but without what admission and the server itself then fill in (clusterIP,
/// the token's volume): nobody owns that. Entries that the client sent count, as they do for the real server, and
/// `[{}]` drops all of them; an object without any stays so until it is applied to.
pub fn update_managed(kind: &str, before: Option<&Value>, after: &mut Value, who: &Manager<'_>) {
    *after = super::tidy(after.take());
    let empty = json!([{}]);
    let given = after.pointer("/metadata/managedFields").cloned().unwrap_or_default();
    let mut entries = if given == empty && who.subresource.is_none() {
        Vec::new()
    } else {
        let given = if who.subresource.is_none() { read(after) } else { Vec::new() };
        if given.is_empty() { before.map(read).unwrap_or_default() } else { given }
    };
    if let Some(meta) = after.get_mut("metadata").and_then(Value::as_object_mut) {
        meta.remove("managedFields");
    }
    if before.is_some() && entries.is_empty() {
        return;
    }
    take(kind, before.unwrap_or(&json!({})), after, who, &mut entries);
    write(after, capped(entries));
}

/// Gives what changed from one object to another to the manager.
pub(super) fn take(kind: &str, old: &Value, new: &Value, who: &Manager<'_>, entries: &mut Vec<Entry>) {
    let shape = Shape::of_kind(kind);
    let difference =
        compare(&shape, Some(&shape.filled(old)), Some(&shape.filled(new))).without(&ignored(who.subresource));
    let taken = difference.taken();
    for entry in entries.iter_mut() {
        entry.set = stripped(&entry.set.minus(&taken).minus(&difference.removed));
    }
    let mut taken = Entry::of(who, Operation::Update, stripped(&taken));
    if who.subresource == Some("scale") {
        // The real server loses the time between the scale and the object.
        taken.time = String::new();
    }
    // A write that takes nothing leaves the manager's entry and its time as they are.
    if !taken.set.is_empty() {
        match entries.iter_mut().find(|e| e.same(&taken)) {
            Some(entry) => {
                entry.set.add(&taken.set);
                entry.time = taken.time;
            }
            None => entries.push(taken),
        }
    }
    entries.retain(|e| !e.set.is_empty());
}

/// At most [`MAX_UPDATERS`] of them: the oldest updates are one entry, `ancient-changes`, for each version.
fn capped(mut entries: Vec<Entry>) -> Vec<Entry> {
    let mut updaters: Vec<Entry> = Vec::new();
    entries.retain(|e| {
        let update = e.operation == Operation::Update;
        if update {
            updaters.push(e.clone());
        }
        !update
    });
    updaters.sort_by(|a, b| (&a.time, &a.manager).cmp(&(&b.time, &b.manager)));
    let (mut kept, mut ancient): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
    let mut count = updaters.len();
    for entry in updaters {
        match ancient.iter_mut().find(|a| a.api_version == entry.api_version) {
            Some(bucket) if count > MAX_UPDATERS => {
                bucket.manager = "ancient-changes".into();
                bucket.subresource = String::new();
                bucket.set.add(&entry.set);
                bucket.time = entry.time;
                count -= 1;
            }
            // The first of its version: it is put together with the next, if there is one too many.
            None if count > MAX_UPDATERS => ancient.push(entry),
            _ => kept.push(entry),
        }
    }
    entries.extend(ancient);
    entries.extend(kept);
    entries
}
