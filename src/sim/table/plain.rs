//! The cells of nodes, events and the kinds that have little to show.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::age;
use super::fields::{count, int, items, text, text_or, written};

/// The printer's cells; nothing for a kind that has none.
pub fn cells(group: &str, kind: &str, object: &Value, now: i64) -> Option<Vec<Value>> {
    let name = object["metadata"]["name"].clone();
    let aged = age::created(object, now);
    Some(match (group, kind) {
        ("", "Node") => node(object, now),
        ("" | "events.k8s.io", "Event") => event(object, now),
        ("", "ConfigMap") => vec![name, json!(count(&object["data"]) + count(&object["binaryData"])), aged],
        ("", "Secret") => vec![name, json!(text_or(&object["type"], "Opaque")), json!(count(&object["data"])), aged],
        ("", "ServiceAccount") => vec![name, aged],
        ("", "Namespace") => vec![name, json!(text(&object["status"]["phase"])), aged],
        ("", "ResourceQuota") => {
            let [requests, limits] = quota(&object["status"]);
            vec![name, json!(requests), json!(limits), aged]
        }
        ("coordination.k8s.io", "Lease") => vec![name, json!(text(&object["spec"]["holderIdentity"])), aged],
        ("scheduling.k8s.io", "PriorityClass") => vec![
            name,
            json!(int(&object["value"])),
            json!(object["globalDefault"] == true),
            aged,
            json!(text(&object["preemptionPolicy"])),
        ],
        ("node.k8s.io", "RuntimeClass") => vec![name, json!(text(&object["handler"])), aged],
        _ => return None,
    })
}

fn node(object: &Value, now: i64) -> Vec<Value> {
    let (meta, status) = (&object["metadata"], &object["status"]);
    let ready = items(&status["conditions"]).rfind(|condition| condition["type"] == "Ready");
    let mut state = vec![match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if object["spec"]["unschedulable"] == true {
        state.push("SchedulingDisabled");
    }
    let role = |(key, value)| match str::strip_prefix(key, "node-role.kubernetes.io/") {
        None if key == "kubernetes.io/role" => text(value),
        found => found.unwrap_or_default(),
    };
    let labels = meta["labels"].as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), value));
    let roles: BTreeSet<&str> = labels.map(role).filter(|role| !role.is_empty()).collect();
    let roles = roles.into_iter().collect::<Vec<_>>().join(",");
    let address = |kind: &str| {
        let first = items(&status["addresses"]).find(|address| address["type"] == kind);
        json!(first.map_or("<none>", |address| text(&address["address"])))
    };
    let info = |field: &str| json!(text_or(&status["nodeInfo"][field], "<unknown>"));
    vec![
        meta["name"].clone(),
        json!(state.join(",")),
        json!(if roles.is_empty() { "<none>" } else { &roles }),
        age::created(object, now),
        json!(text(&status["nodeInfo"]["kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

/// An event, of the core group or of events.k8s.io, which has other names for the same fields.
fn event(object: &Value, now: i64) -> Vec<Value> {
    let either = |name: &str, other: &str| object.get(name).or(object.get(other)).unwrap_or(&Value::Null);
    let seen_first = match either("firstTimestamp", "deprecatedFirstTimestamp") {
        Value::Null => age::since(&object["eventTime"], now),
        at => age::since(at, now),
    };
    let mut seen_last = match either("lastTimestamp", "deprecatedLastTimestamp") {
        Value::Null => seen_first.clone(),
        at => age::since(at, now),
    };
    let mut times = int(either("count", "deprecatedCount"));
    let series = &object["series"];
    if !series.is_null() {
        seen_last = age::since(&series["lastObservedTime"], now);
        times = int(&series["count"]);
    } else if times == 0 {
        times = 1;
    }
    let about = either("involvedObject", "regarding");
    let (kind, name) = (text(&about["kind"]).to_lowercase(), text(&about["name"]));
    let about_name = if name.is_empty() { kind } else { format!("{kind}/{name}") };
    let source = either("source", "deprecatedSource");
    let component = text_or(&source["component"], text(either("reportingComponent", "reportingController")));
    let instance = text_or(&source["host"], text(&object["reportingInstance"]));
    let from = if instance.is_empty() { component.to_string() } else { format!("{component}, {instance}") };
    vec![
        json!(seen_last),
        json!(text(&object["type"])),
        json!(text(&object["reason"])),
        json!(about_name),
        json!(text(&about["fieldPath"])),
        json!(from),
        json!(text(either("message", "note")).trim()),
        json!(seen_first),
        json!(times),
        object["metadata"]["name"].clone(),
    ]
}

/// A quota's requests and limits, each used/hard.
fn quota(status: &Value) -> [String; 2] {
    let mut names: Vec<&str> =
        status["hard"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let (limits, requests): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.starts_with("limits."));
    [requests, limits].map(|names| {
        let one = |name: &&str| {
            format!("{name}: {}/{}", written(&status["used"][name], "0"), written(&status["hard"][name], "0"))
        };
        names.iter().map(one).collect::<Vec<_>>().join(", ")
    })
}
