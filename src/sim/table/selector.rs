//! Labels and label selectors as text.

use serde_json::Value;

use super::fields::{items, text};

/// Labels as `a=b,c=d`; `<none>` where there are none.
pub fn labels(map: &Value) -> String {
    let mut all: Vec<String> =
        map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", text(value))).collect();
    all.sort();
    if all.is_empty() { "<none>".into() } else { all.join(",") }
}

/// A LabelSelector as `-l` takes it; empty where it selects everything.
pub fn selector(value: &Value) -> String {
    let mut all: Vec<(&str, String)> = value["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), format!("{key}={}", text(value))))
        .collect();
    for expression in items(&value["matchExpressions"]) {
        let mut values: Vec<&str> = items(&expression["values"]).map(text).collect();
        values.sort_unstable();
        let (key, values) = (text(&expression["key"]), values.join(","));
        let requirement = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_string(),
            _ => format!("!{key}"),
        };
        all.push((key, requirement));
    }
    // The real server sorts by key alone.
    all.sort_by_key(|(key, _)| *key);
    all.into_iter().map(|(_, requirement)| requirement).collect::<Vec<_>>().join(",")
}

/// A LabelSelector as text; `<none>` where it selects everything.
pub fn selector_or_none(value: &Value) -> String {
    match selector(value) {
        all if all.is_empty() => "<none>".into(),
        some => some,
    }
}
