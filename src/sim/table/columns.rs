//! Which columns a kind has: recorded from a real server, in `columns.json`. A column that several kinds share is
//! there once, and named by them.

use std::sync::OnceLock;

use serde_json::Value;

/// The kinds that the real server has no printer for: their second column is the time of creation itself.
pub fn default_converted(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "LimitRange")
            | ("rbac.authorization.k8s.io", "Role" | "ClusterRole")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}

/// The columnDefinitions of a kind; those of a custom resource for a kind that is not built in.
pub fn definitions(group: &str, kind: &str) -> Vec<Value> {
    let all = recorded();
    let key = if group.is_empty() { kind.to_string() } else { format!("{group}/{kind}") };
    let kinds = &all["kinds"];
    let columns = kinds.get(&key).unwrap_or(&kinds["custom"]);
    let whole = |column: &Value| match column {
        Value::String(name) => all["shared"][name].clone(),
        other => other.clone(),
    };
    columns.as_array().into_iter().flatten().map(whole).collect()
}

fn recorded() -> &'static Value {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| serde_json::from_str(include_str!("columns.json")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_column_is_whole() {
        let kinds = recorded()["kinds"].as_object().unwrap();
        assert!(kinds.len() > 40, "{}", kinds.len());
        for key in kinds.keys() {
            let (group, kind) = key.split_once('/').unwrap_or(("", key));
            for column in definitions(group, kind) {
                assert!(column["name"].is_string() && column["priority"].is_u64(), "{key}: {column}");
            }
        }
    }
}
