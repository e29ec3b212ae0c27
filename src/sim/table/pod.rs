//! A pod's cells: what state it is in is told by its containers.

use serde_json::{Value, json};

use super::age;

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value[name].as_array().into_iter().flatten()
}

/// The printer's cells.
pub fn cells(pod: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let total = list(spec, "containers").count()
        + list(spec, "initContainers").filter(|c| c["restartPolicy"] == "Always").count();
    let mut reason = status["reason"].as_str().or(status["phase"].as_str()).unwrap_or_default().to_string();
    let scheduling =
        list(status, "conditions").find(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    if scheduling.is_some() {
        reason = "SchedulingGated".into();
    }
    let (mut restarts, mut ready, mut last) = (0, 0, String::new());
    let mut initializing = false;
    let inits = list(spec, "initContainers").count();
    for (n, container) in list(status, "initContainerStatuses").enumerate() {
        restarts += container["restartCount"].as_u64().unwrap_or(0);
        let state = &container["state"];
        let lasting = list(spec, "initContainers")
            .find(|c| c["name"] == container["name"])
            .is_some_and(|c| c["restartPolicy"] == "Always");
        if state["terminated"]["exitCode"] == 0 {
            continue;
        }
        if lasting && container["started"] == true {
            ready += usize::from(container["ready"] == true);
            continue;
        }
        let why = state["waiting"]["reason"].as_str().unwrap_or_default();
        reason = if state["terminated"].is_object() {
            match state["terminated"]["reason"].as_str() {
                Some(reason) => format!("Init:{reason}"),
                None => format!("Init:ExitCode:{}", state["terminated"]["exitCode"]),
            }
        } else if !why.is_empty() && why != "PodInitializing" {
            format!("Init:{why}")
        } else {
            format!("Init:{n}/{inits}")
        };
        initializing = true;
        break;
    }
    if !initializing {
        let mut running = false;
        let all: Vec<&Value> = list(status, "containerStatuses").collect();
        for container in all.iter().rev() {
            restarts += container["restartCount"].as_u64().unwrap_or(0);
            let finished = container["lastState"]["terminated"]["finishedAt"].as_str().unwrap_or_default();
            if finished > last.as_str() {
                last = finished.to_string();
            }
            let state = &container["state"];
            if let Some(why) = state["waiting"]["reason"].as_str().filter(|w| !w.is_empty()) {
                reason = why.into();
            } else if state["terminated"].is_object() {
                reason = match (state["terminated"]["reason"].as_str(), state["terminated"]["signal"].as_i64()) {
                    (Some(why), _) if !why.is_empty() => why.into(),
                    (_, Some(signal)) if signal != 0 => format!("Signal:{signal}"),
                    _ => format!("ExitCode:{}", state["terminated"]["exitCode"]),
                };
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            let is = list(status, "conditions").any(|c| c["type"] == "Ready" && c["status"] == "True");
            reason = if is { "Running".into() } else { "NotReady".into() };
        }
    }
    let phase = status["phase"].as_str().unwrap_or_default();
    if !pod["metadata"]["deletionTimestamp"].is_null() && status["reason"] == "NodeLost" {
        reason = "Unknown".into();
    } else if !pod["metadata"]["deletionTimestamp"].is_null() && !["Succeeded", "Failed"].contains(&phase) {
        reason = "Terminating".into();
    }
    let restarts = if restarts > 0 && !last.is_empty() {
        format!("{restarts} ({} ago)", age(&json!(last), now))
    } else {
        restarts.to_string()
    };
    let or_none = |v: &Value| json!(v.as_str().filter(|t| !t.is_empty()).unwrap_or("<none>"));
    let gates: Vec<&Value> = list(spec, "readinessGates").collect();
    let gates = if gates.is_empty() {
        "<none>".to_string()
    } else {
        let open = gates
            .iter()
            .filter(|g| list(status, "conditions").any(|c| c["type"] == g["conditionType"] && c["status"] == "True"))
            .count();
        format!("{open}/{}", gates.len())
    };
    vec![
        pod["metadata"]["name"].clone(),
        json!(format!("{ready}/{total}")),
        json!(reason),
        json!(restarts),
        json!(age(&pod["metadata"]["creationTimestamp"], now)),
        or_none(&status["podIP"]),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        json!(gates),
    ]
}
