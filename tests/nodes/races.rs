//! What happens to the pods and the node while they are drained: a name that is taken by another pod, a pod that is gone
//! when it is asked, a namespace that ends, a node that somebody else deletes, a budget that lets go late.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::stage::{Ran, Stage, budget, pod, web_on_node_1, workload};

const BUDGET: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/keep";

/// Three pods that nothing makes again, under a budget that never allows; they wait for it.
fn held(stage: &Stage, more: &[&str]) -> Child {
    let force = ["--only", "cordon,inventory,drain", "--set", "force=true", "--set", "on-deadline=wait"];
    let arguments = stage.arguments(&[&force, more].concat());
    let mut child = stage.command(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    stage.until_said(&mut child, "has to stay for now");
    child
}

fn trio() -> String {
    let label = ", labels: {app: trio}";
    ["one", "two", "three"].map(|name| pod(name, label, "")).concat() + &budget("keep", "trio", "maxUnavailable: 0")
}

fn uid(stage: &Stage, name: &str) -> Option<Value> {
    stage.get("pods", "default", name).map(|p| p["metadata"]["uid"].clone())
}

/// Deletes it as somebody else would, and waits until it is no more.
fn removed(stage: &Stage, name: &str) {
    let path = format!("/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0");
    stage.request("DELETE", &path, &json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}));
    stage.settle();
    assert_eq!(uid(stage, name), None);
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran { code: output.status.code(), err: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// As kubectl's wait has it: another UID by that name is another pod, and the one that was asked is gone.
#[test]
fn a_pod_whose_name_another_took_is_gone_and_the_other_is_left_alone() {
    let stage = Stage::new(&trio());
    let child = held(&stage, &[]);
    removed(&stage, "one");
    stage.apply(&pod("one", ", labels: {app: trio}", ""));
    let other = uid(&stage, "one");
    stage.request("PATCH", BUDGET, &json!({"spec": {"maxUnavailable": 3}}));
    let ran = ended(child);
    assert_eq!(stage.on("node-1"), ["one"], "{}", ran.err);
    assert_eq!(uid(&stage, "one"), other, "{}", ran.err);
    assert!(stage.evictions().keys().all(|name| name != "one"), "{:?}", stage.evictions());
    // kubectl says nothing of it: it came after its list was made.
    assert!(ran.err.contains("came onto the node since the plan: default/one"), "{}", ran.err);
    assert_eq!(stage.step("drain").0, "unproved");
}

/// The same, and a pod that is simply gone, while the watch says nothing: the API server's 409 and 404 tell.
#[test]
fn with_a_watch_that_fell_silent_a_refusal_for_the_uid_tells_that_the_pod_is_gone() {
    let stage = Stage::new(&trio());
    let silent = json!({"effect": "silent", "verb": "watch", "resource": "pods"});
    stage.sim().with(|world| world.faults.push(serde_json::from_value(silent).unwrap()));
    let child = held(&stage, &[]);
    removed(&stage, "one");
    removed(&stage, "two");
    stage.apply(&pod("one", ", labels: {app: trio}", ""));
    let other = uid(&stage, "one");
    stage.request("PATCH", BUDGET, &json!({"spec": {"maxUnavailable": 3}}));
    let ran = ended(child);
    assert_eq!(uid(&stage, "one"), other, "{}", ran.err);
    assert!(ran.err.contains("one was gone when it was asked, another pod has its name"), "{}", ran.err);
    assert!(ran.err.contains("two was gone when it was asked"), "{}", ran.err);
    assert!(stage.evictions().keys().all(|name| name == "three"), "{:?}", stage.evictions());
}

/// An answer of 404 alone is not believed: the pod is looked for.
#[test]
fn a_404_for_a_pod_that_is_there_is_tried_again() {
    let stage = Stage::new(&workload("Deployment", "web", 6, ""));
    let fault = json!({"effect": {"status": 404}, "verb": "create", "resource": "pods/eviction", "times": 1});
    stage.sim().with(|world| world.faults.push(serde_json::from_value(fault).unwrap()));
    let ran = stage.drain(&[]);
    assert_eq!(stage.step("drain").0, "verified", "{}", ran.err);
    assert_eq!(web_on_node_1(&stage), Vec::<String>::new());
}

#[test]
fn a_pod_whose_budget_lets_go_after_the_deadline_goes_where_waiting_was_decided() {
    let stage = Stage::new(&trio());
    let mut child = held(&stage, &["--set", "deadline=1s"]);
    stage.until_said(&mut child, "waited for on, as was decided");
    stage.request("PATCH", BUDGET, &json!({"spec": {"maxUnavailable": 3}}));
    let ran = ended(child);
    assert_eq!(stage.step("drain").0, "verified", "{}", ran.err);
    assert_eq!(stage.on("node-1"), Vec::<String>::new());
}

#[test]
fn a_node_that_somebody_deletes_meanwhile_is_said_to_be_gone_and_what_was_seen_is_kept() {
    let stage = Stage::new(&trio());
    let child = held(&stage, &[]);
    stage.request("DELETE", "/api/v1/nodes/node-1", &Value::Null);
    stage.request("PATCH", BUDGET, &json!({"spec": {"maxUnavailable": 3}}));
    let ran = ended(child);
    let (status, outputs) = stage.step("drain");
    assert_eq!(status, "unproved", "{}", ran.err);
    assert!(ran.err.contains("Node node-1 is no more"), "{}", ran.err);
    assert_eq!(outputs["report"], "data/drain/drain.json");
}

#[test]
fn a_namespace_that_ends_takes_its_pods_along_and_they_are_waited_for() {
    let namespace = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ending}\n";
    let stage = Stage::new("");
    stage.request("POST", "/api/v1/namespaces", &serde_yaml::from_str(namespace).unwrap());
    stage.apply(&pod("last", ", namespace: ending, finalizers: [example.org/keep]", ""));
    stage.request("DELETE", "/api/v1/namespaces/ending", &Value::Null);
    stage.settle();
    let ran = stage.drain(&["--set", "force=true"]);
    assert!(ran.err.contains("it is ending already"), "{}", ran.err);
    assert!(ran.err.contains("finalizers hold it: example.org/keep"), "{}", ran.err);
    assert_eq!(stage.step("drain").0, "unproved", "{}", ran.err);
    assert!(stage.evictions().is_empty(), "{:?}", stage.evictions());
}
