//! The cells of the other kinds.

use serde_json::{Value, json};

use super::{age, human_duration, pod};

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn number(value: &Value) -> Value {
    json!(value.as_i64().unwrap_or(0))
}

fn labels(map: &Value) -> String {
    let all: Vec<String> = map.as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", text(v))).collect();
    all.join(",")
}

/// A LabelSelector as `-l` takes it.
fn selector(value: &Value) -> String {
    let mut all: Vec<String> =
        value["matchLabels"].as_object().into_iter().flatten().map(|(k, v)| format!("{k}={}", text(v))).collect();
    for e in value["matchExpressions"].as_array().into_iter().flatten() {
        let values: Vec<String> = e["values"].as_array().into_iter().flatten().map(text).collect();
        let key = text(&e["key"]);
        all.push(match e["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key,
            _ => format!("!{key}"),
        });
    }
    if all.is_empty() { "<none>".into() } else { all.join(",") }
}

/// Names and images of a template's containers.
fn containers(template: &Value) -> (Value, Value) {
    let of = |key: &str| {
        let all: Vec<String> =
            template["spec"]["containers"].as_array().into_iter().flatten().map(|c| text(&c[key])).collect();
        json!(all.join(","))
    };
    (of("name"), of("image"))
}

fn subjects(binding: &Value, kind: &str) -> Value {
    let all: Vec<String> = binding["subjects"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|s| s["kind"] == kind)
        .map(|s| {
            if kind == "ServiceAccount" {
                format!("{}/{}", text(&s["namespace"]), text(&s["name"]))
            } else {
                text(&s["name"])
            }
        })
        .collect();
    json!(all.join(", "))
}

fn ports(service: &Value) -> String {
    let all: Vec<String> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| match p["nodePort"].as_i64() {
            Some(node) if node > 0 => format!("{}:{node}/{}", p["port"], text(&p["protocol"])),
            _ => format!("{}/{}", p["port"], text(&p["protocol"])),
        })
        .collect();
    if all.is_empty() { "<none>".into() } else { all.join(",") }
}

fn node(object: &Value, now: i64) -> Vec<Value> {
    let status = &object["status"];
    let ready = status["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Ready");
    let mut state = vec![match ready.map(|c| text(&c["status"])) {
        Some(s) if s == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if object["spec"]["unschedulable"] == true {
        state.push("SchedulingDisabled");
    }
    let mut roles: Vec<String> = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| match k.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role.to_string()),
            _ if k == "kubernetes.io/role" => Some(text(v)),
            _ => None,
        })
        .collect();
    roles.sort();
    let address = |kind: &str| {
        let found = status["addresses"].as_array().into_iter().flatten().find(|a| a["type"] == kind);
        or_none(&found.map(|a| text(&a["address"])).unwrap_or_default())
    };
    let info = &status["nodeInfo"];
    let or_unknown = |v: &Value| json!(if text(v).is_empty() { "<unknown>".into() } else { text(v) });
    vec![
        object["metadata"]["name"].clone(),
        json!(state.join(",")),
        or_none(&roles.join(",")),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        json!(text(&info["kubeletVersion"])),
        address("InternalIP"),
        address("ExternalIP"),
        or_unknown(&info["osImage"]),
        or_unknown(&info["kernelVersion"]),
        or_unknown(&info["containerRuntimeVersion"]),
    ]
}

fn event(object: &Value, now: i64) -> Vec<Value> {
    let seen = |at: &Value| if at.is_null() { json!("<unknown>") } else { json!(age(at, now)) };
    let involved = &object["involvedObject"];
    let source = &object["source"];
    let by = match (text(&source["component"]), text(&source["host"])) {
        (component, host) if host.is_empty() => component,
        (component, host) => format!("{component}, {host}"),
    };
    vec![
        seen(&object["lastTimestamp"]),
        object["type"].clone(),
        object["reason"].clone(),
        json!(format!("{}/{}", text(&involved["kind"]).to_lowercase(), text(&involved["name"]))),
        json!(text(&involved["fieldPath"])),
        json!(by),
        json!(text(&object["message"]).trim()),
        seen(&object["firstTimestamp"]),
        json!(object["count"].as_i64().unwrap_or(1)),
        object["metadata"]["name"].clone(),
    ]
}

fn job(object: &Value, now: i64) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let is = |kind: &str| {
        status["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
    };
    let state = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if !object["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else {
        "Running"
    };
    let done = status["succeeded"].as_i64().unwrap_or(0);
    let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64().unwrap_or(0)) {
        (Some(all), _) => format!("{done}/{all}"),
        (None, n) if n > 1 => format!("{done}/1 of {n}"),
        (None, _) => format!("{done}/1"),
    };
    let at = |v: &Value| v.as_str().and_then(|t| crate::clock::parse(t).ok()).map(time::OffsetDateTime::unix_timestamp);
    let duration = match (at(&status["startTime"]), at(&status["completionTime"])) {
        (Some(start), Some(end)) => human_duration(end - start),
        (Some(start), None) => human_duration(now - start),
        (None, _) => String::new(),
    };
    let (names, images) = containers(&spec["template"]);
    vec![
        object["metadata"]["name"].clone(),
        json!(state),
        json!(completions),
        json!(duration),
        json!(age(&object["metadata"]["creationTimestamp"], now)),
        names,
        images,
        json!(selector(&spec["selector"])),
    ]
}

/// One object's cells; `columns` is how many its kind has.
pub fn cells(kind: &str, object: &Value, now: i64, columns: usize) -> Vec<Value> {
    let (meta, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let name = meta["name"].clone();
    let aged = json!(age(&meta["creationTimestamp"], now));
    let count = |v: &Value| json!(v.as_object().map_or(0, serde_json::Map::len));
    match kind {
        "Pod" => pod::cells(object, now),
        "Node" => node(object, now),
        "Event" => event(object, now),
        "Job" => job(object, now),
        "Deployment" => {
            let (names, images) = containers(&spec["template"]);
            let ready = format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]));
            vec![
                name,
                json!(ready),
                number(&status["updatedReplicas"]),
                number(&status["availableReplicas"]),
                aged,
                names,
                images,
                json!(selector(&spec["selector"])),
            ]
        }
        "ReplicaSet" => {
            let (names, images) = containers(&spec["template"]);
            vec![
                name,
                number(&spec["replicas"]),
                number(&status["replicas"]),
                number(&status["readyReplicas"]),
                aged,
                names,
                images,
                json!(selector(&spec["selector"])),
            ]
        }
        "StatefulSet" => {
            let (names, images) = containers(&spec["template"]);
            vec![
                name,
                json!(format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]))),
                aged,
                names,
                images,
            ]
        }
        "DaemonSet" => {
            let (names, images) = containers(&spec["template"]);
            let on = labels(&spec["template"]["spec"]["nodeSelector"]);
            vec![
                name,
                number(&status["desiredNumberScheduled"]),
                number(&status["currentNumberScheduled"]),
                number(&status["numberReady"]),
                number(&status["updatedNumberScheduled"]),
                number(&status["numberAvailable"]),
                or_none(&on),
                aged,
                names,
                images,
                json!(selector(&spec["selector"])),
            ]
        }
        "CronJob" => {
            let (names, images) = containers(&spec["jobTemplate"]["spec"]["template"]);
            let last = if status["lastScheduleTime"].is_null() {
                "<none>".to_string()
            } else {
                age(&status["lastScheduleTime"], now)
            };
            let zone = or_none(&text(&spec["timeZone"]));
            let suspend = if spec["suspend"] == true { "True" } else { "False" };
            vec![
                name,
                spec["schedule"].clone(),
                zone,
                json!(suspend),
                json!(status["active"].as_array().map_or(0, Vec::len)),
                json!(last),
                aged,
                names,
                images,
                or_none(""),
            ]
        }
        "Service" => {
            let external =
                if spec["type"] == "LoadBalancer" { json!("<pending>") } else { or_none(&text(&spec["externalName"])) };
            vec![
                name,
                spec["type"].clone(),
                or_none(&text(&spec["clusterIP"])),
                external,
                json!(ports(object)),
                aged,
                or_none(&labels(&spec["selector"])),
            ]
        }
        "ConfigMap" => {
            let all = object["data"].as_object().map_or(0, serde_json::Map::len)
                + object["binaryData"].as_object().map_or(0, serde_json::Map::len);
            vec![name, json!(all), aged]
        }
        "Secret" => vec![name, object["type"].clone(), count(&object["data"]), aged],
        "ServiceAccount" => vec![name, aged],
        "Namespace" => vec![name, status["phase"].clone(), aged],
        "NetworkPolicy" => vec![name, json!(selector(&spec["podSelector"])), aged],
        "PodDisruptionBudget" => {
            let bound = |v: &Value| json!(if v.is_null() { "N/A".into() } else { text(v) });
            vec![
                name,
                bound(&spec["minAvailable"]),
                bound(&spec["maxUnavailable"]),
                number(&status["disruptionsAllowed"]),
                aged,
            ]
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = format!("{}/{}", text(&object["roleRef"]["kind"]), text(&object["roleRef"]["name"]));
            vec![
                name,
                json!(role),
                aged,
                subjects(object, "User"),
                subjects(object, "Group"),
                subjects(object, "ServiceAccount"),
            ]
        }
        "Lease" => vec![name, json!(text(&spec["holderIdentity"])), aged],
        "PriorityClass" => vec![
            name,
            object["value"].clone(),
            json!(object["globalDefault"] == true),
            aged,
            object["preemptionPolicy"].clone(),
        ],
        "EndpointSlice" => {
            let all: Vec<String> = object["ports"].as_array().into_iter().flatten().map(|p| text(&p["port"])).collect();
            let ends: Vec<String> = object["endpoints"]
                .as_array()
                .into_iter()
                .flatten()
                .flat_map(|e| e["addresses"].as_array().into_iter().flatten())
                .map(text)
                .collect();
            vec![
                name,
                object["addressType"].clone(),
                json!(if all.is_empty() { "<unset>".into() } else { all.join(",") }),
                json!(if ends.is_empty() { "<unset>".into() } else { few(&ends) }),
                aged,
            ]
        }
        "Endpoints" => {
            let mut all = Vec::new();
            for subset in object["subsets"].as_array().into_iter().flatten() {
                for port in subset["ports"].as_array().into_iter().flatten() {
                    all.extend(
                        subset["addresses"]
                            .as_array()
                            .into_iter()
                            .flatten()
                            .map(|a| format!("{}:{}", text(&a["ip"]), port["port"])),
                    );
                }
            }
            vec![name, json!(if all.is_empty() { "<none>".into() } else { few(&all) }), aged]
        }
        "PersistentVolumeClaim" => {
            let modes = modes(&spec["accessModes"]);
            vec![
                name,
                status["phase"].clone(),
                json!(text(&spec["volumeName"])),
                json!(text(&status["capacity"]["storage"])),
                json!(modes),
                json!(text(&spec["storageClassName"])),
                json!("<unset>"),
                aged,
                json!(text(&spec["volumeMode"])),
            ]
        }
        _ => {
            let mut row = vec![name];
            while row.len() + 1 < columns {
                row.push(json!("<unknown>"));
            }
            row.push(if ["Role", "ClusterRole", "CustomResourceDefinition"].contains(&kind) || columns == 2 {
                json!(text(&meta["creationTimestamp"]))
            } else {
                aged
            });
            row.truncate(columns);
            row
        }
    }
}

/// The first three, and how many more.
fn few(all: &[String]) -> String {
    let first = all.iter().take(3).cloned().collect::<Vec<_>>().join(",");
    if all.len() > 3 { format!("{first} + {} more...", all.len() - 3) } else { first }
}

fn modes(value: &Value) -> String {
    let short = value.as_array().into_iter().flatten().map(|m| match m.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        _ => "RWOP",
    });
    short.collect::<Vec<_>>().join(",")
}
