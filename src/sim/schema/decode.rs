//! Decoding: what the API server's JSON decoder says about unknown fields and about values of the wrong type.
//!
//! The fields are those of Go's own types (`types/types.json`, written by `types/main.go`), and so are the words.
use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use super::quantity::Quantity;

/// What the decoder knows.
#[derive(Deserialize)]
struct Types<'a> {
    /// `apps/v1 Deployment` and the name of its type.
    #[serde(borrow)]
    kinds: HashMap<&'a str, &'a str>,
    /// A type's fields: how they are written stands in `types/main.go`.
    #[serde(borrow)]
    types: HashMap<&'a str, HashMap<&'a str, &'a str>>,
}

fn types() -> &'static Types<'static> {
    static TYPES: OnceLock<Types<'static>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let read = serde_json::from_str(include_str!("types/types.json"));
        debug_assert!(read.is_ok(), "types.json can't be read");
        read.unwrap_or_else(|_| Types { kinds: HashMap::new(), types: HashMap::new() })
    })
}

/// One decoding.
#[derive(Default)]
struct Decoding {
    /// Where it is, as unknown fields are told.
    path: Vec<String>,
    /// Names of the struct fields on the way, as wrong values are told.
    fields: Vec<&'static str>,
    unknown: Vec<String>,
    /// The first value of a wrong type; the decoder goes on after it.
    wrong: Option<String>,
    /// The first value that its own type refused; the decoder stops at it.
    refused: Option<String>,
}

fn decode(api_version: &str, kind: &str, object: &Value) -> Option<Decoding> {
    let name = types().kinds.get(format!("{api_version} {kind}").as_str())?;
    let mut decoding = Decoding::default();
    decoding.structure(name, object);
    Some(decoding)
}

/// See [`super::unknown_fields`].
pub(super) fn unknown_fields(api_version: &str, kind: &str, object: &Value) -> Vec<String> {
    let decoding = decode(api_version, kind, object);
    decoding.filter(|d| d.wrong.is_none() && d.refused.is_none()).map(|d| d.unknown).unwrap_or_default()
}

/// See [`super::type_error`].
pub(super) fn type_error(api_version: &str, kind: &str, object: &Value) -> Option<String> {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    let decoding = decode(api_version, kind, object)?;
    let words = decoding.refused.or(decoding.wrong)?;
    Some(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {words}"))
}

impl Decoding {
    fn structure(&mut self, name: &'static str, value: &Value) {
        let (Some(known), Some(given)) = (types().types.get(name), value.as_object()) else { return };
        for (key, value) in given {
            let dot = if self.path.is_empty() { "" } else { "." };
            self.path.push(format!("{dot}{key}"));
            match known.get_key_value(key.as_str()) {
                Some((field, written)) => {
                    self.fields.push(field);
                    self.value(name, written, value);
                    self.fields.pop();
                }
                None => self.unknown.push(format!("unknown field \"{}\"", self.path.concat())),
            }
            self.path.pop();
        }
    }

    /// A value of the type that is written so, in a struct's field.
    fn value(&mut self, owner: &'static str, written: &'static str, value: &Value) {
        if value.is_null() || self.refused.is_some() {
            return;
        }
        let bare = written.split(' ').next().unwrap_or_default();
        if let Some(structure) = bare.strip_prefix('@') {
            match value {
                Value::Object(_) => self.structure(structure, value),
                _ => self.mismatch(owner, written, value),
            }
        } else if let Some(item) = written.strip_prefix("[]") {
            let item = item.split(" !").next().unwrap_or_default();
            let Some(list) = value.as_array() else { return self.mismatch(owner, written, value) };
            for (i, value) in list.iter().enumerate() {
                self.path.push(format!("[{i}]"));
                self.value(owner, item, value);
                self.path.pop();
            }
        } else if let Some(item) = written.strip_prefix("{}") {
            let item = item.split(" !").next().unwrap_or_default();
            let Some(map) = value.as_object() else { return self.mismatch(owner, written, value) };
            for (key, value) in map {
                self.path.push(format!(".{key}"));
                self.value(owner, item, value);
                self.path.pop();
            }
        } else {
            self.scalar(owner, written, bare, value);
        }
    }

    fn scalar(&mut self, owner: &'static str, written: &'static str, bare: &str, value: &Value) {
        let fits = match bare {
            "string" => value.is_string(),
            "bool" => value.is_boolean(),
            "int32" | "uint32" => value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            "int64" => value.is_i64(),
            "float64" => value.is_number(),
            "bytes" => match value.as_str() {
                Some(text) => match bad_base64_at(text) {
                    Some(at) => {
                        self.wrong.get_or_insert(format!("illegal base64 data at input byte {at}"));
                        return;
                    }
                    None => true,
                },
                None => false,
            },
            "quantity" => {
                if !value.as_str().map_or(value.is_number(), |text| Quantity::parse(text).is_some()) {
                    self.refused = Some(
                        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                            .into(),
                    );
                }
                return;
            }
            "time" | "microtime" => match value.as_str() {
                Some(text) => {
                    self.refused = bad_time(text, bare == "microtime");
                    return;
                }
                None => false,
            },
            "intorstring" => value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
            _ => true,
        };
        if !fits {
            self.mismatch(owner, written, value);
            if matches!(bare, "time" | "microtime" | "intorstring") {
                self.refused = self.wrong.clone();
            }
        }
    }

    /// The decoder's words for a value of the wrong type: the innermost struct, and the struct fields down to it.
    fn mismatch(&mut self, owner: &'static str, written: &str, value: &Value) {
        let go_type = go_type(written);
        let json_type = match value {
            Value::Object(_) => "object".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(n) if go_type.starts_with("int") => format!("number {n}"),
            Value::Number(_) => "number".to_owned(),
            _ => "string".to_owned(),
        };
        let owner = owner.rsplit('.').next().unwrap_or_default();
        let fields = self.fields.join(".");
        self.wrong.get_or_insert(format!(
            "json: cannot unmarshal {json_type} into Go struct field {owner}.{fields} of type {go_type}"
        ));
    }
}

/// The Go type for how it is written in `types.json`.
fn go_type(written: &str) -> String {
    let (bare, name) = written.split_once(' ').unwrap_or((written, ""));
    if let Some(whole) = name.strip_prefix('!') {
        return whole.to_owned();
    }
    if let Some(item) = written.strip_prefix("[]") {
        return format!("[]{}", go_type(item));
    }
    if let Some(item) = written.strip_prefix("{}") {
        return format!("map[string]{}", go_type(item));
    }
    match bare {
        _ if !name.is_empty() => name.to_owned(),
        "bytes" => "[]uint8".to_owned(),
        "time" | "microtime" => "string".to_owned(),
        "intorstring" => "int32".to_owned(),
        "quantity" => "resource.Quantity".to_owned(),
        structure => structure.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

fn bad_time(text: &str, micro: bool) -> Option<String> {
    use time::format_description::well_known::Rfc3339;
    if text.is_empty() || time::OffsetDateTime::parse(text, &Rfc3339).is_ok() {
        return None;
    }
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    Some(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
}

fn bad_base64_at(text: &str) -> Option<usize> {
    use base64::Engine;
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    if base64::engine::general_purpose::STANDARD.decode(&text).is_ok() {
        return None;
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '+' || c == '/';
    Some(text.find(|c| !fits(c)).unwrap_or(text.len() - text.len() % 4))
}
