//! Sets of fields, and their form in managedFields (fieldsV1).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

/// One step of a field's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// `f:name`.
    Field(String),
    /// `k:{"name":"x"}`: the item of a list with these keys, in order of their names.
    Key(Vec<(String, Value)>),
    /// `v:"x"`: the item of a set.
    Item(Value),
    /// `i:0`.
    Index(u64),
}

impl Step {
    fn parse(text: &str) -> Option<Step> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Step::Field(rest.into())),
            "k" => {
                let Value::Object(map) = serde_json::from_str(rest).ok()? else { return None };
                let mut keys: Vec<(String, Value)> = map.into_iter().collect();
                keys.sort_by(|a, b| a.0.cmp(&b.0));
                Some(Step::Key(keys))
            }
            "v" => Some(Step::Item(serde_json::from_str(rest).ok()?)),
            "i" => Some(Step::Index(rest.parse().ok()?)),
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Step::Field(name) => format!("f:{name}"),
            Step::Key(keys) => {
                let all: Vec<String> = keys.iter().map(|(k, v)| format!("{}:{v}", json!(k))).collect();
                format!("k:{{{}}}", all.join(","))
            }
            Step::Item(value) => format!("v:{value}"),
            Step::Index(index) => format!("i:{index}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Step::Field(_) => 0,
            Step::Key(_) => 1,
            Step::Item(_) => 2,
            Step::Index(_) => 3,
        }
    }
}

/// `.spec`, `[name="x"]`, `[="x"]`: as in the messages of conflicts.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(keys) => {
                let all: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(f, "[{}]", all.join(","))
            }
            Step::Item(value) => write!(f, "[={value}]"),
            Step::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl PartialOrd for Step {
    fn partial_cmp(&self, other: &Step) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Step {
    fn cmp(&self, other: &Step) -> Ordering {
        match (self, other) {
            (Step::Field(a), Step::Field(b)) => a.cmp(b),
            (Step::Index(a), Step::Index(b)) => a.cmp(b),
            (Step::Item(a), Step::Item(b)) => by_value(a, b),
            (Step::Key(a), Step::Key(b)) => a
                .iter()
                .zip(b)
                .map(|((k, v), (l, w))| k.cmp(l).then_with(|| by_value(v, w)))
                .find(|o| o.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len())),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// Numbers by their size (port 80 before 443), all else by its text.
fn by_value(a: &Value, b: &Value) -> Ordering {
    let sizes = a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)).filter(|o| o.is_ne());
    sizes.unwrap_or_else(|| a.to_string().cmp(&b.to_string()))
}

/// A set of fields: each node a member itself or not, with the set below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct FieldSet {
    /// Whether the field at this place is in the set.
    pub(super) member: bool,
    /// What is in the set below it.
    pub(super) below: BTreeMap<Step, FieldSet>,
}

impl FieldSet {
    /// Only the field itself.
    pub(super) fn leaf() -> FieldSet {
        FieldSet { member: true, below: BTreeMap::new() }
    }

    /// Of these paths of field names.
    pub(super) fn of_paths(paths: &[&[&str]]) -> FieldSet {
        let mut set = FieldSet::default();
        for path in paths {
            let mut at = &mut set;
            for name in *path {
                at = at.below.entry(Step::Field((*name).into())).or_default();
            }
            at.member = true;
        }
        set
    }

    /// From fieldsV1. None if it is no such thing.
    pub(super) fn parse(value: &Value) -> Option<FieldSet> {
        let mut set = FieldSet::default();
        for (key, inner) in value.as_object()? {
            if key == "." {
                set.member = true;
                continue;
            }
            let mut child = FieldSet::parse(inner)?;
            child.member |= child.below.is_empty();
            set.below.insert(Step::parse(key)?, child);
        }
        Some(set)
    }

    /// As fieldsV1.
    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.below.is_empty() {
            map.insert(".".into(), json!({}));
        }
        map.extend(self.below.iter().map(|(step, child)| (step.text(), child.to_value())));
        Value::Object(map)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }

    /// Puts a set below a step, unless it is empty.
    pub(super) fn put(&mut self, step: Step, child: FieldSet) {
        if !child.is_empty() {
            self.below.insert(step, child);
        }
    }

    /// In this one and not in the other.
    pub(super) fn minus(&self, other: &FieldSet) -> FieldSet {
        let mut set = FieldSet { member: self.member && !other.member, below: BTreeMap::new() };
        for (step, child) in &self.below {
            set.put(step.clone(), other.below.get(step).map_or_else(|| child.clone(), |o| child.minus(o)));
        }
        set
    }

    /// Without the other's members and all that is below them.
    pub(super) fn without(&self, other: &FieldSet) -> FieldSet {
        let mut set = FieldSet { member: self.member && !other.member, below: BTreeMap::new() };
        for (step, child) in &self.below {
            match other.below.get(step) {
                Some(gone) if gone.member => {}
                Some(gone) => set.put(step.clone(), child.without(gone)),
                None => set.put(step.clone(), child.clone()),
            }
        }
        set
    }

    /// In both.
    pub(super) fn and(&self, other: &FieldSet) -> FieldSet {
        let mut set = FieldSet { member: self.member && other.member, below: BTreeMap::new() };
        for (step, child) in &self.below {
            if let Some(theirs) = other.below.get(step) {
                set.put(step.clone(), child.and(theirs));
            }
        }
        set
    }

    /// In either.
    pub(super) fn or(&self, other: &FieldSet) -> FieldSet {
        let mut set = self.clone();
        set.add(other);
        set
    }

    /// Adds the other's members.
    pub(super) fn add(&mut self, other: &FieldSet) {
        self.member |= other.member;
        for (step, child) in &other.below {
            self.below.entry(step.clone()).or_default().add(child);
        }
    }

    /// With the objects that hold a member as members too: so that removing all of an object's fields removes it.
    pub(super) fn with_objects(&self) -> FieldSet {
        let deep = self.below.iter().map(|(step, child)| {
            let mut child = child.with_objects();
            child.member |= matches!(step, Step::Field(_)) && !child.below.is_empty();
            (step.clone(), child)
        });
        FieldSet { member: self.member, below: deep.collect() }
    }

    /// The paths of all members, `.spec.replicas`, in the server's order: at each place first its members.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.list("", &mut all);
        all
    }

    fn list(&self, at: &str, all: &mut Vec<String>) {
        all.extend(self.below.iter().filter(|(_, c)| c.member).map(|(step, _)| format!("{at}{step}")));
        for (step, child) in &self.below {
            child.list(&format!("{at}{step}"), all);
        }
    }
}
