//! How the values of Kubernetes objects are made, as far as patches and ownership ask: which lists are maps and by which
//! keys, which objects are owned as a whole, what is always there.

use serde_json::{Map, Value, json};

use super::schema::{PLAIN, TYPES};

/// How strategic merge treats a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    /// Objects are merged, lists replaced.
    Default,
    /// Replaced, though it is an object.
    Replace,
    /// A list of objects, merged by this key.
    Key(&'static str),
    /// A list of scalars: a set.
    Scalars,
}

/// How a list is owned and applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// As a whole.
    Atomic,
    /// Of scalars, each on its own.
    Set,
    /// Of objects told apart by these keys.
    Map(&'static [&'static str]),
}

/// What a field without a value looks like in the server's JSON. Being there before, it is not added by the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// It is left out.
    Absent,
    /// `null`.
    Null,
    /// `{}`.
    Object,
    /// `0`.
    Zero,
    /// `""`.
    Text,
}

/// A line of the table.
pub(super) struct Field {
    pub(super) name: &'static str,
    /// An object that is owned as a whole.
    pub(super) atomic: bool,
    pub(super) list: List,
    /// A list whose items are owned as a whole, though each on its own.
    pub(super) whole_items: bool,
    pub(super) strategy: Strategy,
    pub(super) empty: Empty,
    /// The name of its type in the table, or nothing.
    pub(super) of: &'static str,
}

/// The fields of an object.
#[derive(Clone, Copy)]
pub(super) struct Type(&'static [Field]);

/// What a field holds.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// An object here is owned as a whole.
    pub(super) atomic: bool,
    /// A list here.
    pub(super) list: List,
    /// Items of a list here are owned as a whole.
    whole_items: bool,
    /// Strategic merge here.
    pub(super) strategy: Strategy,
    /// The type of the object, or of the list's items.
    pub(super) of: Type,
}

impl Shape {
    const UNKNOWN: Shape =
        Shape { atomic: false, list: List::Atomic, whole_items: false, strategy: Strategy::Default, of: Type(&[]) };

    /// Of a whole object of a kind. A kind that the table does not name has only the metadata that all have.
    pub(super) fn of_kind(kind: &str) -> Shape {
        Shape { of: named(kind).unwrap_or(Type(PLAIN)), ..Shape::UNKNOWN }
    }

    /// Of a field of the object.
    pub(super) fn at(&self, field: &str) -> Shape {
        self.of.field(field).map_or(Shape::UNKNOWN, |f| Shape {
            atomic: f.atomic,
            list: f.list,
            whole_items: f.whole_items,
            strategy: f.strategy,
            of: named(f.of).unwrap_or(Type(&[])),
        })
    }

    /// Of an item of the list.
    pub(super) fn item(&self) -> Shape {
        Shape { atomic: self.whole_items, of: self.of, ..Shape::UNKNOWN }
    }

    /// The value with all that the server's JSON always has, and without other nulls.
    pub(super) fn filled(&self, value: &Value) -> Value {
        self.normal(value, true)
    }

    /// The value without nulls, but for those that the server's JSON has.
    pub(super) fn cleaned(&self, value: &Value) -> Value {
        self.normal(value, false)
    }

    fn normal(&self, value: &Value, fill: bool) -> Value {
        match value {
            Value::Object(map) if !self.atomic => {
                let nullable = |name: &str| self.of.field(name).is_some_and(|f| f.empty == Empty::Null);
                let there = map.iter().filter(|(k, v)| !v.is_null() || nullable(k));
                let mut all: Map<String, Value> = there.map(|(k, v)| (k.clone(), self.at(k).normal(v, fill))).collect();
                for field in self.of.0.iter().filter(|_| fill) {
                    let empty = match field.empty {
                        _ if all.contains_key(field.name) => continue,
                        Empty::Absent => continue,
                        Empty::Null => Value::Null,
                        Empty::Zero => json!(0),
                        Empty::Text => json!(""),
                        Empty::Object => self.at(field.name).filled(&json!({})),
                    };
                    all.insert(field.name.into(), empty);
                }
                Value::Object(all)
            }
            Value::Array(items) if matches!(self.list, List::Map(_)) => {
                items.iter().map(|i| self.item().normal(i, fill)).collect()
            }
            other => other.clone(),
        }
    }
}

impl Type {
    fn field(&self, name: &str) -> Option<&'static Field> {
        self.0.iter().find(|f| f.name == name)
    }
}

pub(super) fn named(name: &str) -> Option<Type> {
    let at = TYPES.binary_search_by(|(n, _)| (*n).cmp(name)).ok()?;
    TYPES.get(at).map(|(_, fields)| Type(fields))
}

/// The value of a list-map's key that an item leaves out.
pub(super) fn default_key(key: &str) -> Value {
    match key {
        "protocol" => json!("TCP"),
        "port" | "containerPort" => json!(0),
        _ => json!(""),
    }
}
