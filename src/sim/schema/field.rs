//! Reading a JSON value the way Go reads a decoded object (what is missing is the zero value), and saying what is wrong
//! with a field in the words of `k8s.io/apimachinery/pkg/util/validation/field`.
use std::fmt;

use serde_json::{Map, Value};

use super::Cause;

/// Where a field is: `spec.containers[0].name`.
#[derive(Clone, Debug, Default)]
pub(super) struct Path(String);

impl Path {
    /// The path of a field of the object itself; of several, with dots.
    pub(super) fn new(name: &str) -> Self {
        Path(name.to_owned())
    }

    /// The field `name` of what is here.
    pub(super) fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Path::new(name) } else { Path(format!("{}.{name}", self.0)) }
    }

    /// The element with this number.
    pub(super) fn index(&self, index: usize) -> Self {
        Path(format!("{}[{index}]", self.0))
    }

    /// The entry of a map.
    pub(super) fn key(&self, key: &str) -> Self {
        Path(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What was found wrong so far, in the order of finding.
#[derive(Debug, Default)]
pub(super) struct Causes(pub(super) Vec<Cause>);

impl Causes {
    fn push(&mut self, reason: &'static str, path: &Path, message: String) {
        self.0.push(Cause { reason, field: path.to_string(), message });
    }

    /// The value is there but wrong; `value` is shown as JSON.
    pub(super) fn invalid(&mut self, path: &Path, value: &Value, detail: &str) {
        self.push("FieldValueInvalid", path, format!("Invalid value: {value}: {detail}"));
    }

    /// As [`Self::invalid`], with the value as the server shows it: Go's structs keep the order of their fields.
    pub(super) fn invalid_shown(&mut self, path: &Path, shown: &str, detail: &str) {
        self.push("FieldValueInvalid", path, format!("Invalid value: {shown}: {detail}"));
    }

    /// A wrong text.
    pub(super) fn invalid_text(&mut self, path: &Path, value: &str, detail: &str) {
        self.push("FieldValueInvalid", path, format!("Invalid value: {value:?}: {detail}"));
    }

    /// Every complaint about the same text.
    pub(super) fn invalid_texts(&mut self, path: &Path, value: &str, details: Vec<String>) {
        for detail in details {
            self.invalid_text(path, value, &detail);
        }
    }

    /// Missing; `detail` may be empty.
    pub(super) fn required(&mut self, path: &Path, detail: &str) {
        self.push("FieldValueRequired", path, with_detail("Required value", detail));
    }

    /// Not one of the values that there are.
    pub(super) fn not_supported(&mut self, path: &Path, value: &Value, supported: &[&str]) {
        self.not_supported_shown(path, &value.to_string(), supported);
    }

    /// As [`Self::not_supported`], with the value as the server shows it.
    pub(super) fn not_supported_shown(&mut self, path: &Path, value: &str, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        self.push("FieldValueNotSupported", path, message);
    }

    /// May not be there, or not like this.
    pub(super) fn forbidden(&mut self, path: &Path, detail: &str) {
        self.push("FieldValueForbidden", path, with_detail("Forbidden", detail));
    }

    /// Was there before.
    pub(super) fn duplicate(&mut self, path: &Path, value: &Value) {
        self.duplicate_shown(path, &value.to_string());
    }

    /// As [`Self::duplicate`], with the value as the server shows it, and perhaps a detail.
    pub(super) fn duplicate_shown(&mut self, path: &Path, shown: &str) {
        self.push("FieldValueDuplicate", path, format!("Duplicate value: {shown}"));
    }

    /// Names something that is not there.
    pub(super) fn not_found(&mut self, path: &Path, value: &Value) {
        self.push("FieldValueNotFound", path, format!("Not found: {value}"));
    }

    /// Larger than allowed.
    pub(super) fn too_long(&mut self, path: &Path, limit: usize) {
        self.push("FieldValueTooLong", path, format!("Too long: may not be more than {limit} bytes"));
    }

    /// One of these values, or (if `empty` allows it) none.
    pub(super) fn one_of(&mut self, path: &Path, value: &Value, supported: &[&str]) {
        if !supported.contains(&text(value)) {
            self.not_supported(path, &Value::from(text(value)), supported);
        }
    }

    /// A number that may not be negative; a missing one is 0.
    pub(super) fn not_negative(&mut self, path: &Path, value: &Value) {
        if int(value) < 0 {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// A field that an update may not change.
    pub(super) fn immutable(&mut self, path: &Path, new: &Value, old: &Value) {
        if !same(new, old) {
            self.invalid(path, new, "field is immutable");
        }
    }
}

fn with_detail(start: &str, detail: &str) -> String {
    if detail.is_empty() { start.to_owned() } else { format!("{start}: {detail}") }
}

/// Text; what is not there is empty.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A whole number; what is not there is 0.
pub(super) fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// A truth value; what is not there is false.
pub(super) fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

/// A list's elements; what is not there has none.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A map's entries; what is not there has none.
pub(super) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Whether Go would hold nothing here: missing, null, or an empty text, list or map.
pub(super) fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Equality as `apiequality.Semantic.DeepEqual` has it: missing, null and empty are one, and so are missing, 0 and false.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(&Value::Null)))
                && y.iter().all(|(k, v)| x.contains_key(k) || same(&Value::Null, v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(v, w)| same(v, w)),
        _ => a == b || (nothing(a) && nothing(b)),
    }
}

fn nothing(value: &Value) -> bool {
    match value {
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_i64() == Some(0),
        Value::Object(o) => o.values().all(nothing),
        other => empty(other),
    }
}

/// Whether the two keys hold the same, in the sense of [`same`].
pub(super) fn same_keys(a: &Value, b: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| same(&a[*key], &b[*key]))
}

/// The value of a field that is there and not null.
pub(super) fn child<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    object.get_mut(key).filter(|v| !v.is_null())
}

/// A field's value, made an empty object if it is not there. None if `object` is none.
pub(super) fn made<'a>(object: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    let slot = object.as_object_mut()?.entry(key).or_insert(Value::Null);
    if slot.is_null() {
        *slot = Value::Object(Map::new());
    }
    Some(slot)
}

/// A list's elements, to be changed; nothing if there is no list.
pub(super) fn each<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Sets a field that is not there, null or an empty text.
pub(super) fn fill(object: &mut Value, key: &str, value: impl Into<Value>) {
    let Some(map) = object.as_object_mut() else { return };
    if map.get(key).is_none_or(|v| v.is_null() || v.as_str() == Some("")) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets a field whatever it was.
pub(super) fn put(object: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = object.as_object_mut() {
        map.insert(key.to_owned(), value.into());
    }
}

/// Removes a field.
pub(super) fn take(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut()?.remove(key)
}
