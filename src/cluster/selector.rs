//! Label selectors as the API server evaluates them, on objects as it sent them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// `metadata.labels` of an object.
pub fn labels(object: &Value) -> Labels {
    object["metadata"]["labels"]
        .as_object()
        .map(|map| map.iter().map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_string())).collect())
        .unwrap_or_default()
}

/// Whether a LabelSelector (`matchLabels`, `matchExpressions`) selects these labels. An empty one selects everything.
pub fn matches(selector: &Value, labels: &Labels) -> bool {
    plain(&selector["matchLabels"], labels)
        && selector["matchExpressions"].as_array().into_iter().flatten().all(|e| {
            let key = e["key"].as_str().unwrap_or_default();
            let value = labels.get(key);
            let listed =
                || e["values"].as_array().into_iter().flatten().any(|v| v.as_str() == value.map(String::as_str));
            match e["operator"].as_str().unwrap_or_default() {
                "In" => value.is_some() && listed(),
                "NotIn" => value.is_none() || !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether a plain map of labels (a Service's or ReplicationController's selector) selects these labels.
pub fn plain(selector: &Value, labels: &Labels) -> bool {
    selector.as_object().into_iter().flatten().all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str())
}

/// The keys whose removal makes the selector miss: what must be there for it to match. None of them for a selector that
/// matches by absence or matches everything.
pub fn positive_keys(selector: &Value) -> BTreeSet<String> {
    let plain = selector["matchLabels"].as_object().into_iter().flatten().map(|(k, _)| k.clone());
    let expressions = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| matches!(e["operator"].as_str(), Some("In" | "Exists")))
        .filter_map(|e| e["key"].as_str().map(str::to_string));
    plain.chain(expressions).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_select_as_the_server_does() {
        let pod: Labels = [("app".to_string(), "web".to_string())].into();
        assert!(matches(&json!({}), &pod));
        assert!(matches(&json!({"matchLabels": {"app": "web"}}), &pod));
        assert!(!matches(&json!({"matchLabels": {"app": "web", "tier": "x"}}), &pod));
        assert!(matches(&json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}), &pod));
        assert!(!matches(&json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), &pod));
        assert!(!matches(&json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["x"]}]}), &pod));
        assert_eq!(
            positive_keys(
                &json!({"matchExpressions": [{"key": "a", "operator": "NotIn"}, {"key": "b", "operator": "Exists"}]})
            )
            .len(),
            1
        );
    }
}
