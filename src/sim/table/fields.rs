//! Reading an object's fields for its cells, absent ones as Go's zero values.

use serde_json::{Value, json};

/// A string; empty where there is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A string, or this where it is absent or empty.
pub fn text_or<'v>(value: &'v Value, otherwise: &'v str) -> &'v str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or(otherwise)
}

/// A whole number; 0 where there is none.
pub fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// A quantity or an IntOrString as it is written; `otherwise` where there is none.
pub fn written(value: &Value, otherwise: &str) -> String {
    match value {
        Value::Null => otherwise.into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A list's items.
pub fn items(value: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// How many items a list or keys a map has.
pub fn count(value: &Value) -> usize {
    value.as_array().map_or_else(|| value.as_object().map_or(0, serde_json::Map::len), Vec::len)
}

/// Names and images of a pod template's containers.
pub fn containers(template: &Value) -> [Value; 2] {
    ["name", "image"].map(|key| {
        let all: Vec<&str> = items(&template["spec"]["containers"]).map(|container| text(&container[key])).collect();
        json!(all.join(","))
    })
}

/// The first three, and how many more there are.
pub fn first_three(all: &[String]) -> String {
    let first = all.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(",");
    match all.len().checked_sub(3) {
        Some(more @ 1..) => format!("{first} + {more} more..."),
        _ => first,
    }
}
