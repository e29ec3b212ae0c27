//! A pod's cells. Its status column tells the state of the container that is most in the way.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::age;
use super::fields::{count, int, items, text, text_or};

/// The printer's cells.
pub fn cells(pod: &Value, now: i64) -> Option<Vec<Value>> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let mut told = Told::of(pod);
    let initializing = told.init_containers(pod);
    if !initializing || has_condition(status, "Initialized") {
        told.containers(pod);
    }
    if !pod["metadata"]["deletionTimestamp"].is_null() {
        if status["reason"] == "NodeLost" {
            told.reason = "Unknown".into();
        } else if !["Succeeded", "Failed"].contains(&text(&status["phase"])) {
            told.reason = "Terminating".into();
        }
    }
    let total = count(&spec["containers"]) + items(&spec["initContainers"]).filter(|c| restartable(c)).count();
    let restarts = match told.all.last {
        Some(last) if told.all.count != 0 => format!("{} ({} ago)", told.all.count, age::until(last, now)),
        _ => told.all.count.to_string(),
    };
    let ip = status["podIPs"].get(0).map_or(&status["podIP"], |first| &first["ip"]);
    Some(vec![
        pod["metadata"]["name"].clone(),
        json!(format!("{}/{total}", told.ready)),
        json!(told.reason),
        json!(restarts),
        age::created(pod, now),
        json!(text_or(ip, "<none>")),
        json!(text_or(&spec["nodeName"], "<none>")),
        json!(text_or(&status["nominatedNodeName"], "<none>")),
        json!(readiness_gates(pod)),
    ])
}

/// The row's conditions: a pod that has ended is Completed, so that kubectl may leave it out.
pub fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(&pod["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

/// Restarts, and when the last run before one ended.
#[derive(Clone, Default)]
struct Restarts {
    count: i64,
    last: Option<OffsetDateTime>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += int(&container["restartCount"]);
        self.last = self.last.max(age::at(&container["lastState"]["terminated"]["finishedAt"]));
    }
}

/// What a pod's containers tell about it.
struct Told {
    reason: String,
    ready: usize,
    all: Restarts,
    /// Those of init containers that run along with the others.
    of_sidecars: Restarts,
}

impl Told {
    fn of(pod: &Value) -> Self {
        let status = &pod["status"];
        let gated =
            items(&status["conditions"]).any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
        let reason = match gated {
            true => "SchedulingGated",
            false => text_or(&status["reason"], text(&status["phase"])),
        };
        Self { reason: reason.into(), ready: 0, all: Restarts::default(), of_sidecars: Restarts::default() }
    }

    /// Takes in the init containers; whether one of them is still to finish.
    fn init_containers(&mut self, pod: &Value) -> bool {
        let specs = &pod["spec"]["initContainers"];
        for (index, container) in items(&pod["status"]["initContainerStatuses"]).enumerate() {
            let sidecar = items(specs).any(|spec| spec["name"] == container["name"] && restartable(spec));
            self.all.add(container);
            if sidecar {
                self.of_sidecars.add(container);
            }
            let terminated = &container["state"]["terminated"];
            if terminated.is_object() && int(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            let waiting = text(&container["state"]["waiting"]["reason"]);
            self.reason = if terminated.is_object() {
                format!("Init:{}", ended(terminated))
            } else if !["", "PodInitializing"].contains(&waiting) {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", count(specs))
            };
            return true;
        }
        false
    }

    /// Takes in the containers, the last first: the first one's reason stands. Init containers' restarts are over.
    fn containers(&mut self, pod: &Value) {
        let status = &pod["status"];
        self.all = self.of_sidecars.clone();
        let (mut running, mut error) = (false, None);
        for container in items(&status["containerStatuses"]).rev() {
            self.all.add(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.into();
            } else if state["terminated"].is_object() {
                self.reason = ended(&state["terminated"]);
                if int(&state["terminated"]["exitCode"]) != 0 {
                    error = Some(self.reason.clone());
                }
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason != "Completed" {
            return;
        }
        if running && has_condition(status, "Ready") {
            self.reason = "Running".into();
        } else if let Some(error) = error {
            self.reason = error;
        } else if running {
            self.reason = "NotReady".into();
        }
    }
}

/// How a container ended.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), int(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", int(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.into(),
    }
}

/// Whether an init container runs along with the others.
fn restartable(spec: &Value) -> bool {
    spec["restartPolicy"] == "Always"
}

/// The first condition of the type counts.
fn has_condition(status: &Value, kind: &str) -> bool {
    items(&status["conditions"]).find(|c| c["type"] == kind).is_some_and(|c| c["status"] == "True")
}

fn readiness_gates(pod: &Value) -> String {
    let gates = &pod["spec"]["readinessGates"];
    if count(gates) == 0 {
        return "<none>".into();
    }
    let open = items(gates).filter(|gate| has_condition(&pod["status"], text(&gate["conditionType"]))).count();
    format!("{open}/{}", count(gates))
}
