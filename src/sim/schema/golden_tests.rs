//! Cases with a real server's answers, recorded in `golden/`.
use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

fn cases(file: &str) -> Vec<Value> {
    serde_json::from_str(file).unwrap()
}

#[test]
fn decoding() {
    let mut wrong = Vec::new();
    for case in cases(include_str!("golden/decode.json")) {
        let object = &case["object"];
        let (api_version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
        let unknown = unknown_fields(api_version, kind, object);
        let version = api_version.rsplit('/').next().unwrap();
        let expected = case["expect"]["message"].as_str().unwrap_or_default();
        let mine = type_error(api_version, kind, object).unwrap_or_else(|| match unknown.as_slice() {
            [] => String::new(),
            all => format!(
                "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
                all.join(", ")
            ),
        });
        // Which comes first depends on the order of the object's keys.
        let words = |s: &str| s.split(": ").flat_map(|s| s.split(", ")).map(str::to_owned).collect::<BTreeSet<_>>();
        if words(&mine) != words(expected) {
            wrong.push(format!("{}\n  here   {mine}\n  server {expected}", case["name"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Without what only the server knows, and without what means the same as nothing.
fn comparable(kind: &str, value: &Value) -> Value {
    let mut value = value.clone();
    let Some(object) = value.as_object_mut() else { return value };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "uid",
            "creationTimestamp",
            "resourceVersion",
            "generation",
            "managedFields",
            "finalizers",
            "name",
            "namespace",
        ] {
            metadata.remove(key);
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let admission: &[&str] = match kind {
            "Pod" => &["tolerations", "priority", "preemptionPolicy", "serviceAccount", "serviceAccountName"],
            "Service" => &["clusterIP", "clusterIPs"],
            "Node" => &["taints"],
            _ => &[],
        };
        admission.iter().for_each(|key| drop(spec.remove(*key)));
        if let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) {
            ports.iter_mut().filter_map(Value::as_object_mut).for_each(|port| drop(port.remove("nodePort")));
        }
    }
    without_tokens(&mut value);
    value
}

/// Drops the volumes of service account tokens, nulls and empty lists.
fn without_tokens(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(without_tokens);
            map.retain(|_, v| !v.is_null() && v.as_array().is_none_or(|a| !a.is_empty()));
        }
        Value::Array(list) => {
            list.retain(|v| !v["name"].as_str().unwrap_or_default().starts_with("kube-api-access-"));
            list.iter_mut().for_each(without_tokens);
        }
        _ => {}
    }
}

#[test]
fn defaults() {
    let mut wrong = Vec::new();
    for file in FILES {
        for case in cases(file) {
            let stored = &case["expect"]["stored"];
            if stored.is_null() || case["subresource"].is_string() {
                continue;
            }
            let mut object = case["object"].clone();
            let kind = object["kind"].as_str().unwrap().to_owned();
            // A Job is found by its uid.
            object["metadata"]["uid"] = stored["metadata"]["uid"].clone();
            set_defaults(&kind, &mut object);
            let once = object.clone();
            set_defaults(&kind, &mut object);
            assert_eq!(once, object, "not idempotent: {}", case["name"]);
            let (mine, server) = (comparable(&kind, &object), comparable(&kind, stored));
            if mine != server {
                wrong.push(format!("{}\n  here   {mine}\n  server {server}", case["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pod_security_levels() {
    let mut wrong = Vec::new();
    for (level, file) in [
        ("baseline", include_str!("golden/psa_baseline.json")),
        ("restricted", include_str!("golden/psa_restricted.json")),
    ] {
        for case in cases(file) {
            let mut object = case["object"].clone();
            set_defaults("Pod", &mut object);
            let expected =
                case["expect"]["message"].as_str().and_then(|m| m.split_once(":latest\": ")).map_or("", |(_, m)| m);
            let mine = pod_security(level, &object).join(", ");
            if mine != expected {
                wrong.push(format!("{level} {}\n  here   {mine}\n  server {expected}", case["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const FILES: [&str; 4] = [
    include_str!("golden/pod.json"),
    include_str!("golden/workload.json"),
    include_str!("golden/network.json"),
    include_str!("golden/rest.json"),
];

/// A struct's value as Go prints it, and a difference between two, are near but not the same here.
fn loose(message: &str) -> String {
    let message = message.split('\n').next().unwrap_or_default();
    match (message.find('{'), message.rfind("}: ").or(message.rfind("}]: "))) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &message[..start], &message[end..]),
        _ => message.to_owned(),
    }
}

#[test]
fn validation() {
    let mut wrong = Vec::new();
    for file in FILES {
        for case in cases(file) {
            let expect = &case["expect"];
            if expect["status"].is_number() {
                continue;
            }
            let mut object = case["object"].clone();
            let kind = object["kind"].as_str().unwrap().to_owned();
            object["metadata"]["uid"] = "4cf4fce6-9cd3-4a4e-8c39-b9f0a4a0a0a0".into();
            if case["old"].is_object() {
                object["metadata"]["uid"] = case["old"]["metadata"]["uid"].clone();
            }
            set_defaults(&kind, &mut object);
            let causes = match (&case["old"], case["subresource"].is_string()) {
                (Value::Null, _) => validate(&kind, &object, None),
                (old, false) => validate(&kind, &object, Some(old)),
                (old, true) => validate_ephemeral(&object, old),
            };
            let line = |reason: &str, field: &str, message: &str| format!("{reason} {field}: {}", loose(message));
            let mut mine: Vec<String> = causes.iter().map(|c| line(c.reason, &c.field, &c.message)).collect();
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            let mut server: Vec<String> = expect["causes"]
                .as_array()
                .into_iter()
                .flatten()
                // The name that the server made up is the caller's to make up here.
                .filter(|c| case["object"]["metadata"]["generateName"].is_null() || c["field"] != "metadata.name")
                .map(|c| line(&text(&c["reason"]), &text(&c["field"]), &text(&c["message"])))
                .collect();
            mine.sort();
            server.sort();
            for line in mine.iter().filter(|line| !server.contains(line)) {
                wrong.push(format!("{}\n  here   {line}", case["name"]));
            }
            for line in server.iter().filter(|line| !mine.contains(line)) {
                wrong.push(format!("{}\n  server {line}", case["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
