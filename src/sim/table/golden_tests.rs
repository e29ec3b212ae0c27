//! The tables that a real API server (Kubernetes 1.35) made of the same objects.

use serde_json::{Value, json};

use super::{columns, table};

/// `[{group, kind, now, include?, objects?, table}]`: with includeObject=Object, the rows have the objects.
const RECORDED: [(&str, &str); 7] = [
    ("pod", include_str!("golden/pod.json")),
    ("workload", include_str!("golden/workload.json")),
    ("network", include_str!("golden/network.json")),
    ("storage", include_str!("golden/storage.json")),
    ("core", include_str!("golden/core.json")),
    ("rbac", include_str!("golden/rbac.json")),
    ("rest", include_str!("golden/rest.json")),
];

#[test]
fn tables_are_the_real_servers() {
    let mut wrong = Vec::new();
    for (file, text) in RECORDED {
        let cases: Vec<Value> = serde_json::from_str(text).unwrap();
        for (index, case) in cases.iter().enumerate() {
            let (group, kind) = (case["group"].as_str().unwrap(), case["kind"].as_str().unwrap());
            let real = &case["table"];
            let rows = real["rows"].as_array().unwrap();
            let objects: Vec<&Value> = match case["objects"].as_array() {
                Some(objects) => objects.iter().collect(),
                None => rows.iter().map(|row| &row["object"]).collect(),
            };
            let include = case["include"].as_str().unwrap_or("Object");
            let now = case["now"].as_i64().unwrap();
            let mut ours = table(group, kind, &objects, real["metadata"].clone(), include, now);
            let columns = ours.as_object_mut().unwrap().remove("columnDefinitions").unwrap();
            for row in ours["rows"].as_array().unwrap() {
                assert_eq!(row["cells"].as_array().unwrap().len(), columns.as_array().unwrap().len(), "{kind}");
            }
            if &ours != real {
                let cells = |table: &Value| -> String {
                    table["rows"].as_array().unwrap().iter().map(|row| format!("\n    {}", row["cells"])).collect()
                };
                wrong.push(format!("{file} {index} {kind}\n  ours {}\n  real {}", cells(&ours), cells(real)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn columns_go_with_a_table_and_unknown_kinds_have_name_and_age() {
    let columns = |group: &str, kind: &str| -> Vec<String> {
        let made = table(group, kind, &[], json!({"resourceVersion": "1"}), "Metadata", 0);
        assert_eq!(made["rows"], json!([]));
        made["columnDefinitions"].as_array().unwrap().iter().map(|c| format!("{}:{}", c["name"], c["type"])).collect()
    };
    for (group, kind, names) in [
        ("", "ConfigMap", r#""Name":"string" "Data":"string" "Age":"string""#),
        ("rbac.authorization.k8s.io", "Role", r#""Name":"string" "Created At":"date""#),
        // A custom Job is not batch's.
        ("batch.example.com", "Job", r#""Name":"string" "Age":"date""#),
    ] {
        assert_eq!(columns(group, kind).join(" "), names, "{group}/{kind}");
    }
}

#[test]
fn an_object_without_fields_has_all_cells() {
    for (group, kind) in [
        ("", "Pod"),
        ("", "Node"),
        ("", "Event"),
        ("", "Service"),
        ("", "Endpoints"),
        ("", "PersistentVolume"),
        ("apps", "DaemonSet"),
        ("apps", "ControllerRevision"),
        ("batch", "CronJob"),
        ("policy", "PodDisruptionBudget"),
        ("", "HorizontalPodAutoscaler"),
    ] {
        let cells = super::cells(group, kind, &json!({"metadata": {"name": "x"}}), 0);
        assert_eq!(cells.len(), columns::definitions(group, kind).len(), "{group}/{kind}");
    }
}
