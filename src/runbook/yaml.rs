//! YAML as a tree that knows where each part stands.

use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

use super::diagnostic::Diagnostic;

/// No runbook, scenario or rule is larger.
const MAX_BYTES: usize = 1 << 20;

/// One node.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its bytes in the text; of a mapping or list only the beginning.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Nothing was written, `~` or `null`.
    Null,
    /// true or false.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Key, its place, value; in the file's order.
    Map(Vec<(String, Range<usize>, Node)>),
}

impl Node {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _, _)| k == key).map(|(_, _, node)| node),
            _ => None,
        }
    }

    /// What it is, for messages.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "true or false",
            Kind::Number(_) => "a number",
            Kind::Text(_) => "text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Number(n) => Value::Number(n.clone()),
            Kind::Text(t) => Value::String(t.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::json).collect()),
            Kind::Map(entries) => Value::Object(entries.iter().map(|(k, _, v)| (k.clone(), v.json())).collect()),
        }
    }
}

/// Parses one document. Duplicate keys, anchors, deep nesting and large input are refused.
pub fn parse(text: &str) -> Result<Node, Diagnostic> {
    if text.len() > MAX_BYTES {
        return Err(Diagnostic::error(text, 0..0, format!("{} bytes are too much: at most 1 MiB", text.len())));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 64,
            max_nodes: 50_000,
        },
        with_snippet: false,
    };
    let parsed: Result<Spanned<Raw>, _> = serde_saphyr::from_str_with_options(text, options);
    match parsed {
        Ok(raw) => Ok(node(text, raw)),
        Err(error) => {
            let at = error.location().map_or(0..0, |l| place(text, &l, 1));
            let message = error.to_string();
            let message = message.lines().next().unwrap_or("not YAML").to_string();
            Err(Diagnostic::error(text, at, message))
        }
    }
}

/// The tree as serde-saphyr gives it.
enum Raw {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Raw, E> {
        Ok(Raw::Number(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Raw, E> {
        Ok(Raw::Number(n.into()))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Raw, E> {
        Ok(serde_json::Number::from_f64(n).map_or_else(|| Raw::Text(n.to_string()), Raw::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn node(text: &str, raw: Spanned<Raw>) -> Node {
    let at = raw.referenced;
    let (kind, len) = match raw.value {
        Raw::Null => (Kind::Null, 1),
        Raw::Bool(b) => (Kind::Bool(b), b.to_string().len()),
        Raw::Number(n) => (Kind::Number(n.clone()), n.to_string().len()),
        Raw::Text(t) => {
            let len = t.lines().next().map_or(1, str::len).max(1);
            (Kind::Text(t), len)
        }
        Raw::List(items) => (Kind::List(items.into_iter().map(|i| node(text, i)).collect()), 1),
        Raw::Map(entries) => {
            let entries = entries
                .into_iter()
                .map(|(key, value)| {
                    let span = place(text, &key.referenced, key.value.len());
                    (key.value, span, node(text, value))
                })
                .collect();
            (Kind::Map(entries), 1)
        }
    };
    Node { span: place(text, &at, len), kind }
}

/// Line and column (from 1, in characters) to bytes; at most to the end of the line.
fn place(text: &str, at: &Location, len: usize) -> Range<usize> {
    let line_no = usize::try_from(at.line()).unwrap_or(1).max(1);
    let column = usize::try_from(at.column()).unwrap_or(1).max(1);
    let start_of_line: usize = text.split_inclusive('\n').take(line_no - 1).map(str::len).sum();
    let line = text[start_of_line.min(text.len())..].split('\n').next().unwrap_or_default();
    let start = line.char_indices().nth(column - 1).map_or(line.len(), |(i, _)| i);
    let quoted = usize::from(line[start..].starts_with(['"', '\'']));
    let end = (start + len + 2 * quoted).min(line.trim_end().len()).max(start);
    start_of_line + start..start_of_line + end
}
