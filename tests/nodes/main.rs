//! The node's playbook on an embedded cluster, by the built binary: kubectl drain's own cases, budgets that do not allow,
//! pods that do not go, nodes that do not answer, and what a second process finds.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[cfg(feature = "failpoints")]
mod killed;
mod races;
mod stage;

use std::process::Stdio;

use serde_json::json;

use stage::{Stage, budget, pod, web_on_node_1, workload};

#[test]
fn each_of_kubectls_cases_is_decided_listed_and_carried_out() {
    let daemon_set = workload("DaemonSet", "agent", 1, "").replace("replicas: 1, ", "");
    let stage =
        Stage::new(&[workload("Deployment", "web", 6, ""), workload("StatefulSet", "db", 3, ""), daemon_set].concat());
    let bare = [
        pod("static", ", annotations: {kubernetes.io/config.mirror: x}", ""),
        pod("bare", "", ""),
        pod("scratch", "", "volumes: [{name: tmp, emptyDir: {}}], "),
        pod("suspect", ", labels: {quell.dev/quarantine: i}", ""),
        pod("held", ", finalizers: [example.org/keep]", ""),
    ];
    stage.apply(&bare.concat());
    // What needs a decision stands in the way of everything, and the plan names the parameter.
    let ran = stage.drain(&["--set", "ignore-daemonsets=false"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    for says in [
        "default/bare: it has no controller",
        "`force: true`",
        "default/scratch: what it keeps in emptyDir tmp goes with it",
        "`delete-emptydir-data: true`",
        "it is of DaemonSet agent",
        "`ignore-daemonsets: true`",
        "nothing was changed",
    ] {
        assert!(ran.err.contains(says), "{says}\n{}", ran.err);
    }
    assert!(stage.node()["spec"]["unschedulable"].is_null(), "not even cordoned");

    let (web, db) = (web_on_node_1(&stage), stage.on("node-1").into_iter().find(|n| n.starts_with("db-")).unwrap());
    let before = stage.get("pods", "default", &db).unwrap();
    let ran = stage.drain(&["--set", "force=true", "--set", "delete-emptydir-data=true"]);
    assert_eq!(ran.code, Some(7), "{}", ran.err);
    for says in [
        "stays: default/static: it is a static pod",
        "stays: default/suspect: spared by quell.dev/quarantine",
        "DaemonSet agent would start it again",
        "held was told to go and is there still",
        "finalizers hold it: example.org/keep",
    ] {
        assert!(ran.err.contains(says), "{says}\n{}", ran.err);
    }
    let left: Vec<String> = stage.on("node-1").into_iter().filter(|n| !n.starts_with("agent-")).collect();
    assert_eq!(left, ["held", "static", "suspect"]);
    // A pod of the same name is another one: gone is gone by UID.
    let after = stage.get("pods", "default", &db).expect("the StatefulSet made it again");
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_ne!(after["spec"]["nodeName"], "node-1");
    let (status, outputs) = stage.step("drain");
    assert_eq!(status, "unproved", "one was told to go and is there");
    assert_eq!(outputs["ending"], json!(["default/held"]));
    let came_up = outputs["came_up"].as_array().unwrap();
    assert_eq!(came_up.len(), web.len() + 1);
    assert!(came_up.iter().all(|c| c["ready"] == true && c["node"] != "node-1"), "{came_up:?}");
    assert_eq!(stage.node()["spec"]["unschedulable"], true);

    // Already cordoned, already ending: said, and not done again.
    let again = stage.drain(&["--set", "force=true"]);
    assert!(again.err.contains("is cordoned already") && again.err.contains("it is ending already"), "{}", again.err);
    assert!(stage.evictions().values().all(|n| *n == 1), "{:?}", stage.evictions());
}

#[test]
fn a_budget_that_never_allows_is_named_and_decided_about() {
    let manifests = workload("Deployment", "web", 3, "") + &budget("keep", "web", "minAvailable: 3");
    let stage = Stage::new(&manifests);
    let web = web_on_node_1(&stage);
    assert_eq!(web.len(), 1);
    let ran = stage.drain(&["--set", "deadline=1s"]);
    assert_eq!(ran.code, Some(7), "{}", ran.err);
    for says in [
        "PodDisruptionBudget default/keep allows 0 now",
        "it never lets any go, for it wants all of its pods",
        "has to stay for now: the disruption budget keep needs 3 healthy pods and has 3 currently",
        "all of its pods are healthy",
        "its budget default/keep did not let it go within 1 s",
    ] {
        assert!(ran.err.contains(says), "{says}\n{}", ran.err);
    }
    assert_eq!(web_on_node_1(&stage), web);
    assert_eq!(stage.step("drain").1["left_out"], json!([format!("default/{}", web[0])]));
    assert_eq!(stage.node()["spec"]["unschedulable"], true, "cordoned whatever happens");

    // Past the budget only with somebody's reason.
    let past = ["--set", "deadline=1s", "--set", "on-deadline=delete"];
    let ran = stage.drain(&past);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("--override disruption-budget --reason TEXT"), "{}", ran.err);
    assert_eq!(web_on_node_1(&stage), web);
    let ran = stage.drain(&[&past[..], &["--override", "disruption-budget", "--reason", "the CISO says so"]].concat());
    assert_eq!(web_on_node_1(&stage), Vec::<String>::new(), "{}", ran.err);
    assert_eq!(stage.step("drain").0, "verified", "{}", ran.err);
    let records = stage.records();
    let overridden = records.iter().find(|r| r["event"]["type"] == "overridden").unwrap();
    assert_eq!(overridden["event"]["by"]["reason"], "the CISO says so");
    assert!(stage.evictions().is_empty(), "it was deleted, not evicted");
}

#[test]
fn under_two_budgets_no_eviction_is_ever_taken_and_that_is_said() {
    let manifests = workload("Deployment", "web", 3, "")
        + &budget("one", "web", "maxUnavailable: 1")
        + &budget("two", "web", "maxUnavailable: 1");
    let stage = Stage::new(&manifests);
    let web = web_on_node_1(&stage);
    let ran = stage.drain(&[]);
    assert_eq!(ran.code, Some(7), "{}", ran.err);
    assert!(ran.err.contains("stands under 2 budgets (default/one, default/two)"), "{}", ran.err);
    assert!(ran.err.contains("more than one PodDisruptionBudget"), "{}", ran.err);
    assert_eq!(web_on_node_1(&stage), web);
}

#[test]
fn pods_under_one_budget_go_one_after_the_other_and_are_asked_no_more_than_needed() {
    let pinned = "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: []}}, ";
    let manifests = workload("Deployment", "web", 12, pinned) + &budget("slow", "web", "maxUnavailable: 1");
    let stage = Stage::new(&manifests);
    let here = web_on_node_1(&stage).len();
    assert!(here >= 3);
    let ran = stage.drain(&[]);
    assert_eq!(stage.step("drain").0, "verified", "{}", ran.err);
    let log = std::fs::read_to_string(stage.dir.path().join("audit.log")).unwrap();
    let asked =
        log.lines().filter(|l| l.contains(r#""subresource":"eviction""#) && l.contains("ResponseComplete")).count();
    // Once each, once more when the budget allows one more; a watch that lags costs a few.
    assert!(asked <= here * 4, "{asked} evictions asked for {here} pods");
}

#[test]
fn a_killed_drain_goes_on_where_it_was_and_evicts_nobody_twice() {
    let manifests = workload("Deployment", "free", 6, "")
        + &workload("Deployment", "web", 3, "")
        + &budget("keep", "web", "minAvailable: 3");
    let stage = Stage::new(&manifests);
    let arguments = stage.arguments(&["--only", "cordon,inventory,drain", "--set", "on-deadline=wait"]);
    let mut child = stage.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    stage.until_said(&mut child, "has to stay for now");
    child.kill().unwrap();
    child.wait().unwrap();
    let incident = {
        let dir = std::fs::read_dir(stage.dir.path().join("state/incidents")).unwrap();
        let all: Vec<String> = dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(all.len(), 1);
        all[0].clone()
    };
    // Its Lease tells others; the incident itself goes on.
    let other = stage.drain(&[]);
    assert_eq!(other.code, Some(9), "{}", other.err);
    assert!(other.err.contains("another responder works on Node node-1"), "{}", other.err);
    stage.request(
        "PATCH",
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets/keep",
        &json!({"spec": {"minAvailable": 2}}),
    );
    let ran =
        stage.quell(&["resume", &incident, "--only", "cordon,inventory,drain", "--yes", "--max-risk", "destructive"]);
    assert_eq!(ran.code, Some(7), "the rest was left out\n{}", ran.err);
    assert!(ran.err.contains("drain verified"), "{}", ran.err);
    assert_eq!(stage.on("node-1"), Vec::<String>::new());
    assert!(stage.evictions().values().all(|n| *n == 1), "{:?}", stage.evictions());
}

#[test]
fn ctrl_c_ends_a_wait_for_a_budget_and_resume_goes_on() {
    let manifests = workload("Deployment", "web", 3, "") + &budget("keep", "web", "minAvailable: 3");
    let stage = Stage::new(&manifests);
    let arguments = stage.arguments(&["--only", "cordon,inventory,drain", "--set", "deadline=8s"]);
    let mut child = stage.command(&arguments).stderr(Stdio::null()).spawn().unwrap();
    stage.until_said(&mut child, "has to stay for now");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let ran = stage.quell(&[
        "resume",
        "last",
        "--only",
        "cordon,inventory,drain",
        "--yes",
        "--override",
        "needs",
        "--reason",
        "x",
    ]);
    assert!(ran.err.contains("had not landed") && ran.err.contains("did not let it go within 8 s"), "{}", ran.err);
}

#[test]
fn a_silent_nodes_pods_go_only_once_it_is_said_to_be_off_and_the_taint_is_taken_back() {
    let stage = Stage::new(&workload("Deployment", "web", 6, ""));
    let web = web_on_node_1(&stage);
    let refused = stage.drain(&["--set", "out-of-service=true"]);
    assert_eq!(refused.code, Some(4), "a node that answers is in service\n{}", refused.err);
    stage.sim().with(|world| quell::sim::life::set_ready(world, "node-1", "Unknown"));
    stage.settle();
    let ran = stage.drain(&[]);
    assert_eq!(stage.step("drain").0, "unproved", "{}", ran.err);
    assert!(ran.err.contains("still ending, for the node does not answer"), "{}", ran.err);
    assert_eq!(web_on_node_1(&stage), web);
    let ran = stage.drain(&["--set", "out-of-service=true"]);
    assert_eq!(stage.step("drain").0, "verified", "{}", ran.err);
    assert!(
        ran.err.contains("the word of whoever said that the machine is off") || ran.err.contains("its pods are gone"),
        "{}",
        ran.err
    );
    assert_eq!(web_on_node_1(&stage), Vec::<String>::new());
    let tainted = |stage: &Stage| stage.node()["spec"]["taints"].to_string().contains("out-of-service");
    assert!(tainted(&stage));
    let undone = stage.quell(&["undo", "last", "--yes"]);
    assert!(!tainted(&stage), "{}", undone.err);
    assert!(stage.node()["spec"]["taints"].to_string().contains("unreachable"), "the others stay");
}

#[test]
fn undo_gives_back_exactly_what_was_before() {
    let stage = Stage::new("");
    let own = json!([{"key": "team", "value": "a", "effect": "NoSchedule"}]);
    let note = json!({"metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "false"}}, "spec": {"taints": own}});
    stage.request("PATCH", "/api/v1/nodes/node-1", &note);
    stage.settle();
    let before = stage.node();
    let ran = stage.quell(&stage.arguments(&["--only", "cordon"]));
    assert_eq!(stage.step("cordon").0, "verified", "{}", ran.err);
    let cordoned = stage.node();
    assert_eq!(cordoned["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"], "true");
    assert_eq!(cordoned["spec"]["unschedulable"], true);
    let undone = stage.quell(&["undo", "last", "--yes"]);
    assert_eq!(undone.code, Some(0), "{}", undone.err);
    let after = stage.node();
    assert_eq!(after["spec"], before["spec"]);
    assert_eq!(after["metadata"]["annotations"], before["metadata"]["annotations"]);

    // Somebody else's cordon is theirs.
    stage.request("PATCH", "/api/v1/nodes/node-1", &json!({"spec": {"unschedulable": true}}));
    stage.settle();
    let ran = stage.quell(&stage.arguments(&["--only", "cordon"]));
    assert!(ran.err.contains("is cordoned already"), "{}", ran.err);
    let undone = stage.quell(&["undo", "last", "--yes"]);
    assert_eq!((undone.code, &stage.node()["spec"]["unschedulable"]), (Some(0), &json!(true)), "{}", undone.err);
}

#[test]
fn a_node_is_ended_by_a_program_and_one_of_the_control_plane_only_with_a_reason() {
    let stage = Stage::new("");
    let marked = json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"providerID": "aws:///eu-north-1a/i-0abc"}});
    stage.request("PATCH", "/api/v1/nodes/node-1", &marked);
    let ended = stage.dir.path().join("ended-i-0abc");
    let program = format!("terminate-command=touch,{}/ended-{{instance}}", stage.dir.path().display());
    let ran = stage.quell(&stage.arguments(&["--set", &program]));
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("--override control-plane --reason TEXT"), "{}", ran.err);
    assert!(!ended.exists() && stage.node()["spec"]["unschedulable"].is_null(), "nothing was changed");
    let ran =
        stage.quell(&stage.arguments(&["--set", &program, "--override", "control-plane", "--reason", "it is lost"]));
    assert!(ended.exists(), "{}", ran.err);
    assert!(stage.get("nodes", "", "node-1").is_none());
    stage.settle();
    assert!(stage.get("leases.coordination.k8s.io", "kube-node-lease", "node-1").is_none());
    let (status, outputs) = stage.step("terminate");
    assert_eq!(
        (status.as_str(), &outputs["method"], &outputs["instance_ended"]),
        ("verified", &json!("command"), &json!(true))
    );
    assert!(
        ran.err.contains("can't be revoked") && ran.err.contains("that the instance is gone is its own word")
            || ran.err.contains("exit status 0"),
        "{}",
        ran.err
    );
    let undone = stage.quell(&["undo", "last", "--yes"]);
    assert!(undone.err.contains("is no more: there is nothing to give back"), "{}", undone.err);
}

#[test]
fn a_program_that_fails_ends_nothing_and_says_so() {
    let stage = Stage::new("");
    let ran = stage.quell(&stage.arguments(&["--set", "terminate-command=false"]));
    assert_eq!(ran.code, Some(6), "{}", ran.err);
    assert!(
        ran.err.contains("ended with exit status 1") && ran.err.contains("look whether the instance runs"),
        "{}",
        ran.err
    );
    assert!(stage.get("nodes", "", "node-1").is_some(), "the cluster forgets no node whose instance may run");
}

#[test]
fn a_node_that_is_not_there_is_refused_before_anything() {
    let stage = Stage::new("");
    let ran = stage.quell(&["run", "./node-compromise.yaml", "--set", "node=node-9", "--yes"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(ran.err.contains("there is no node \"node-9\""), "{}", ran.err);
}

#[test]
fn lost_answers_and_races_evict_nobody_twice_and_claim_nothing() {
    let stage = Stage::new(&workload("Deployment", "web", 6, ""));
    let faults = [
        json!({"effect": "reset", "verb": "create", "resource": "pods/eviction", "times": 1, "after": 1}),
        json!({"effect": {"status": 503}, "verb": "create", "resource": "pods/eviction", "times": 1}),
    ];
    stage.sim().with(|world| world.faults.extend(faults.iter().map(|f| serde_json::from_value(f.clone()).unwrap())));
    let ran = stage.drain(&[]);
    assert_eq!(stage.step("drain").0, "verified", "{}", ran.err);
    assert_eq!(web_on_node_1(&stage), Vec::<String>::new());
    assert!(stage.evictions().values().all(|n| *n <= 1), "{:?}", stage.evictions());
}
