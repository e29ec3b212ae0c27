//! `kubectl get`'s tables: columns recorded from a real server, cells as its printers fill them.

mod cells;
mod pod;

use std::sync::OnceLock;

use serde_json::{Value, json};

/// Column definitions by `group/Kind`, as a real server sends them.
fn columns(group: &str, kind: &str) -> Vec<Value> {
    static ALL: OnceLock<Value> = OnceLock::new();
    let all = ALL.get_or_init(|| serde_json::from_str(include_str!("columns.json")).unwrap_or_default());
    let key = if group.is_empty() { kind.to_string() } else { format!("{group}/{kind}") };
    let known = all[&key].as_array().cloned().unwrap_or_else(|| {
        let name = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
        vec![json!(["Name", "string", "name", name, 0]), json!(["Created At", "date", "", "CreationTimestamp", 0])]
    });
    known
        .iter()
        .map(|c| json!({"name": c[0], "type": c[1], "format": c[2], "description": c[3], "priority": c[4]}))
        .collect()
}

/// The Table of these objects. `metadata` is the caller's; `include` is `None`, `Metadata` or `Object`; `now` in Unix
/// seconds, for ages.
pub fn table(group: &str, kind: &str, objects: &[&Value], metadata: Value, include: &str, now: i64) -> Value {
    let definitions = columns(group, kind);
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let shown = match include {
                "None" => Value::Null,
                "Object" => (*object).clone(),
                _ => super::read::metadata_only(object),
            };
            let mut row = json!({"cells": cells::cells(kind, object, now, definitions.len()), "object": shown});
            if kind == "Pod" {
                let phase = object["status"]["phase"].as_str().unwrap_or_default();
                if ["Succeeded", "Failed"].contains(&phase) {
                    row["conditions"] = json!([{"type": "Completed", "status": "True", "reason": phase, "message": if phase == "Failed" { "The pod failed." } else { "The pod has completed successfully." }}]);
                }
            }
            row
        })
        .collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": definitions, "rows": rows})
}

/// apimachinery's duration.HumanDuration.
pub fn human_duration(seconds: i64) -> String {
    let (s, m, h, d) = (seconds, seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |whole: i64, unit: char, rest: i64, small: char| {
        if rest == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{rest}{small}") }
    };
    match () {
        () if s < -1 => "<invalid>".into(),
        () if s < 0 => "0s".into(),
        () if s < 120 => format!("{s}s"),
        () if m < 10 => two(m, 'm', s % 60, 's'),
        () if m < 180 => format!("{m}m"),
        () if h < 8 => two(h, 'h', m % 60, 'm'),
        () if h < 48 => format!("{h}h"),
        () if h < 192 => two(d, 'd', h % 24, 'h'),
        () if h < 24 * 365 * 2 => format!("{d}d"),
        () if h < 24 * 365 * 8 => two(d / 365, 'y', d % 365, 'd'),
        () => format!("{}y", d / 365),
    }
}

/// How long ago a time of the API was.
fn age(at: &Value, now: i64) -> String {
    match at.as_str().and_then(|t| crate::clock::parse(t).ok()) {
        Some(at) => human_duration(now - at.unix_timestamp()),
        None => "<unknown>".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_kubectl_shows_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (66_000_000, "2y33d"),
            (-1, "0s"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        let all: Value = serde_json::from_str(include_str!("columns.json")).unwrap();
        for (key, columns) in all.as_object().unwrap() {
            let (group, kind) = key.split_once('/').unwrap_or(("", key));
            let object = json!({"kind": kind, "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}, "status": {}});
            let table = table(group, kind, &[&object], json!({}), "None", 1_800_000_000);
            assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns.as_array().unwrap().len(), "{key}");
        }
    }
}
