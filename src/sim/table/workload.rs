//! The cells of what makes pods.

use serde_json::{Value, json};

use super::age;
use super::fields::{containers, count, int, items, text};
use super::selector::{labels, selector, selector_or_none};

/// The printer's cells; nothing for a kind that has none.
pub fn cells(kind: &str, object: &Value, now: i64) -> Option<Vec<Value>> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let name = object["metadata"]["name"].clone();
    let aged = age::created(object, now);
    // The server's default.
    let replicas = spec["replicas"].as_i64().unwrap_or(1);
    let [names, images] = containers(&spec["template"]);
    let of = |field: &str| json!(int(&status[field]));
    Some(match kind {
        "Deployment" => vec![
            name,
            json!(format!("{}/{replicas}", int(&status["readyReplicas"]))),
            of("updatedReplicas"),
            of("availableReplicas"),
            aged,
            names,
            images,
            json!(selector(&spec["selector"])),
        ],
        "ReplicaSet" | "ReplicationController" => {
            let selected = match kind {
                "ReplicaSet" => selector_or_none(&spec["selector"]),
                _ => labels(&spec["selector"]),
            };
            vec![name, json!(replicas), of("replicas"), of("readyReplicas"), aged, names, images, json!(selected)]
        }
        "StatefulSet" => {
            vec![name, json!(format!("{}/{replicas}", int(&status["readyReplicas"]))), aged, names, images]
        }
        "DaemonSet" => vec![
            name,
            of("desiredNumberScheduled"),
            of("currentNumberScheduled"),
            of("numberReady"),
            of("updatedNumberScheduled"),
            of("numberAvailable"),
            json!(labels(&spec["template"]["spec"]["nodeSelector"])),
            aged,
            names,
            images,
            json!(selector_or_none(&spec["selector"])),
        ],
        "Job" => vec![
            name,
            json!(job_status(object)),
            json!(completions(object)),
            json!(job_duration(status, now)),
            aged,
            names,
            images,
            json!(selector_or_none(&spec["selector"])),
        ],
        "CronJob" => {
            let job = &spec["jobTemplate"]["spec"];
            let [names, images] = containers(&job["template"]);
            let last = &status["lastScheduleTime"];
            vec![
                name,
                json!(text(&spec["schedule"])),
                json!(spec["timeZone"].as_str().unwrap_or("<none>")),
                json!(if spec["suspend"] == true { "True" } else { "False" }),
                json!(count(&status["active"])),
                json!(if last.is_null() { "<none>".into() } else { age::since(last, now) }),
                aged,
                names,
                images,
                json!(selector_or_none(&job["selector"])),
            ]
        }
        "ControllerRevision" => vec![name, json!(controller(object)), json!(int(&object["revision"])), aged],
        "PodTemplate" => {
            let [names, images] = containers(&object["template"]);
            vec![name, names, images, json!(labels(&object["template"]["metadata"]["labels"]))]
        }
        _ => return None,
    })
}

fn job_status(job: &Value) -> &'static str {
    let is = |kind: &str| {
        items(&job["status"]["conditions"]).find(|c| c["type"] == kind).is_some_and(|c| c["status"] == "True")
    };
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if !job["metadata"]["deletionTimestamp"].is_null() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () if is("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn completions(job: &Value) -> String {
    let (spec, succeeded) = (&job["spec"], int(&job["status"]["succeeded"]));
    match (spec["completions"].as_i64(), int(&spec["parallelism"])) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism @ 2..) => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn job_duration(status: &Value, now: i64) -> String {
    match (age::at(&status["startTime"]), age::at(&status["completionTime"])) {
        (Some(start), Some(end)) => age::between(start, end),
        (Some(start), None) => age::until(start, now),
        (None, _) => String::new(),
    }
}

/// The owner that controls the object, as `kind.group/name`.
fn controller(object: &Value) -> String {
    let Some(owner) = items(&object["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true) else {
        return "<none>".into();
    };
    let kind = text(&owner["kind"]).to_lowercase();
    match text(&owner["apiVersion"]).split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(&owner["name"])),
        None => format!("{kind}/{}", text(&owner["name"])),
    }
}
