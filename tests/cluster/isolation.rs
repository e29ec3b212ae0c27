//! What the verdict is worth: connections that were open, policies that add up, a network that enforces nothing, and
//! controllers that do what the plan said.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::process::Child;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Desk, Namespace, apply, eventually, in_pod, kubectl, script};

/// An echo outside the cluster, as its address.
fn outside() -> String {
    let own = UdpSocket::bind("0.0.0.0:0").unwrap();
    own.connect("10.99.0.1:9").unwrap();
    let listener = TcpListener::bind((own.local_addr().unwrap().ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut byte = [0; 1];
                while stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).is_ok() {}
            });
        }
    });
    address
}

/// A connection that is held, and what its holder says, a line at a time.
struct Held {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Held {
    fn open(namespace: &str, pod: &str, to: &str) -> Held {
        let mut child = in_pod(namespace, pod, &["probe", "hold", to]);
        let (out, lines) = (child.stdout.take().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let kept = lines.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        let held = Held { child, lines };
        eventually("the connection is open", 10, || held.says("alive"));
        held
    }

    fn says(&self, word: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|l| l.contains(word))
    }

    /// The time of the last sign of life, as RFC 3339.
    fn last_alive(&mut self) -> String {
        eventually("the connection ends", 20, || self.says("cut"));
        self.child.wait().unwrap();
        let lines = self.lines.lock().unwrap();
        let last = lines.iter().rev().find(|l| l.contains("alive")).unwrap();
        last.split(' ').next().unwrap().to_string()
    }
}

/// Milliseconds of an RFC 3339 time within its day.
fn of_day(time: &str) -> f64 {
    let clock = &time[time.find('T').unwrap() + 1..time.len() - 1];
    let parts: Vec<f64> = clock.split(':').map(|p| p.parse().unwrap()).collect();
    (parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]) * 1000.0
}

/// When the step was approved.
fn approved(desk: &Desk) -> f64 {
    let journal = std::fs::read_to_string(desk.folder().join("journal.jsonl")).unwrap();
    let record = journal.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let decided = record.into_iter().find(|r| r["event"]["type"] == "decided" && r["event"]["step"] == "isolate");
    of_day(decided.unwrap()["time"].as_str().unwrap())
}

fn verdict(desk: &Desk, pod: &str) -> Value {
    desk.document(&format!("data/isolate/{pod}.verdict.json"))
}

/// What else runs would make it slow: run alone.
#[test]
#[ignore = "needs the real cluster to itself (tests/cluster/README.md)"]
fn alone_open_connections_both_ways_are_cut_within_five_seconds() {
    let ns = Namespace::with_targets("iso-open");
    let address = format!("{}:9090", ns.get("pod", "bare").unwrap()["status"]["podIP"].as_str().unwrap());
    let canary = outside();
    let mut inward = Held::open("iso-open", "client", &address);
    let mut outward = Held::open("iso-open", "bare", &canary);
    let desk = Desk::new(&ns);
    let ran = desk.playbook("bare", &["--only", "record,isolate,tidy", "--set", &format!("canary={canary}")]);
    assert_eq!(desk.steps()["isolate"], "verified", "{}", ran.err);
    let found = verdict(&desk, "bare");
    assert_eq!(found["verdict"], "enforced", "{found:#}");
    let approved = approved(&desk);
    for (name, held) in [("towards it", &mut inward), ("out of it", &mut outward)] {
        let after = of_day(&held.last_alive()) - approved;
        assert!(after < 5000.0, "{name}: alive {after} ms after the approval");
    }
    let before = found["before"]["connections"]["open"].as_array().unwrap();
    let of = |remote: &str| before.iter().find(|c| c["remote"] == remote || c["local"] == remote).cloned();
    let out = of(&canary).expect("the one to the outside is listed");
    assert_eq!(out["process"]["comm"], "probe", "{out}");
    assert!(out["sent"].as_u64().unwrap() > 0, "{out}");
    assert!(of(&address).is_some(), "and the one towards it: {before:?}");
    let tried = |when: &str| {
        let all = found[when]["out"].as_array().unwrap().iter().find(|a| a["address"] == canary.as_str());
        all.unwrap()["outcome"].as_str().unwrap().to_string()
    };
    assert!(tried("before") == "connected" && tried("after") != "connected", "{found:#}");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_policy_for_its_old_labels_opens_nothing() {
    let ns = Namespace::with_targets("iso-allow");
    let allow = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "allow-web", "namespace": "iso-allow"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
    });
    apply(allow.to_string().as_bytes());
    let pod = ns.pod("app=web");
    let desk = Desk::new(&ns);
    let ran = desk.playbook(&pod, &["--only", "record,isolate,tidy"]);
    assert_eq!(desk.steps()["isolate"], "verified", "{}", ran.err);
    let found = verdict(&desk, &pod);
    assert_eq!((found["verdict"].as_str(), &found["still_selected_by"]), (Some("enforced"), &json!([])), "{found:#}");
    assert_eq!(found["served_by"], json!([]), "no Service sends to it any more");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn every_pod_of_the_controller_is_cut_off_at_once() {
    let ns = Namespace::with_targets("iso-all");
    let pods: Vec<String> = ns
        .list("pod")
        .iter()
        .filter(|p| p["metadata"]["labels"]["app"] == "web")
        .map(|p| p["metadata"]["name"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(pods.len(), 2);
    let desk = Desk::new(&ns);
    let arguments = |limit: &str| {
        desk.arguments(&pods[0], &["--only", "record,isolate,tidy", "--set", "spread=owner", "--set", limit])
    };
    let ran = desk.quell(&arguments("watch=1s").iter().map(String::as_str).collect::<Vec<_>>());
    // A policy of the Deployment's own keeps the probes out: the way in has no control.
    assert_eq!(desk.steps()["isolate"], "unproved", "{}", ran.err);
    for pod in &pods {
        let found = verdict(&desk, pod);
        assert_eq!(found["verdict"], "partial", "{pod}: {found:#}");
        assert!(found["why"].as_str().unwrap().contains("the way in has no control"), "{found:#}");
        assert!(ran.err.contains(&format!("label Pod iso-all/{pod}")), "the plan lists it: {}", ran.err);
        let labels = ns.get("pod", pod).unwrap()["metadata"]["labels"].clone();
        assert_eq!(labels["quell.dev/quarantine"], desk.incident().as_str());
    }
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn controllers_do_what_the_plan_said() {
    let ns = Namespace::with_targets("iso-owner");
    let agent = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "iso-owner"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {"metadata": {"labels": {"app": "agent"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "agent", "image": "quell.test/busybox:1", "command": ["probe"]}]}}},
    });
    apply(agent.to_string().as_bytes());
    eventually("the DaemonSet's pods run", 60, || {
        let running = |p: &&Value| p["metadata"]["labels"]["app"] == "agent" && p["status"]["phase"] == "Running";
        ns.list("pod").iter().filter(running).count() == 2
    });
    for (selector, kind, lets_go, replaces) in [
        ("app=db", "StatefulSet", json!(true), json!(false)),
        ("app=agent", "DaemonSet", json!(true), json!(true)),
        ("batch.kubernetes.io/job-name=batch", "Job", json!(true), json!(true)),
        ("app=bare", "", Value::Null, json!(false)),
    ] {
        let pod = ns.pod(selector);
        let desk = Desk::new(&ns);
        let ran = desk.playbook(&pod, &["--only", "record,isolate,tidy"]);
        assert_eq!(desk.steps()["isolate"], "verified", "{selector}: {}", ran.err);
        let controller = verdict(&desk, &pod)["controller"].clone();
        let expected = &controller["expected"];
        assert_eq!(
            (&expected["kind"], &expected["lets_go"], &expected["replaces"]),
            (&json!(kind), &lets_go, &replaces)
        );
        assert!(ran.err.contains(expected["text"].as_str().unwrap()), "the plan says it: {}", ran.err);
        if kind.is_empty() {
            assert!(controller["did"].is_null(), "{controller}");
            continue;
        }
        assert_eq!(controller["did"]["let_go"], lets_go, "{controller}");
        let replaced = !controller["did"]["replacements"].as_array().unwrap().is_empty();
        assert_eq!(json!(replaced), replaces, "{controller}");
    }
}

/// Stops the enforcer of the whole cluster: run alone, after all others.
#[test]
#[ignore = "needs the real cluster to itself (tests/cluster/README.md)"]
fn alone_a_network_that_enforces_nothing_is_found_out() {
    let ns = Namespace::with_targets("iso-none");
    script(&["router-stop"]);
    let desk = Desk::new(&ns);
    let ran = desk.playbook("bare", &["--only", "record,isolate,tidy", "--set", "settle=3s"]);
    script(&["router-start"]);
    assert_eq!((ran.code, desk.steps()["isolate"].as_str()), (7, "refuted"), "{}", ran.err);
    let found = verdict(&desk, "bare");
    assert_eq!(found["verdict"], "not-enforced", "{found:#}");
    assert!(ran.err.contains("not enforced: "), "{}", ran.err);
}

/// Changes what kinds the whole cluster has: run alone.
#[test]
#[ignore = "needs the real cluster to itself (tests/cluster/README.md)"]
fn alone_a_policy_that_denies_is_used_where_there_is_such_a_kind() {
    let ns = Namespace::with_targets("iso-deny");
    // The kind's name and place; who enforces it is not here, so its fields are not looked at.
    let kind = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusternetworkpolicies.policy.networking.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"}},
        "spec": {"group": "policy.networking.k8s.io", "scope": "Cluster",
            "names": {"plural": "clusternetworkpolicies", "singular": "clusternetworkpolicy", "kind": "ClusterNetworkPolicy", "listKind": "ClusterNetworkPolicyList"},
            "versions": [{"name": "v1alpha2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    apply(kind.to_string().as_bytes());
    let name = "clusternetworkpolicies.policy.networking.k8s.io";
    kubectl(&["wait", "--for=condition=Established", "crd", name, "--timeout=30s"]);
    let desk = Desk::new(&ns);
    let ran = desk.playbook("bare", &["--only", "record,isolate,tidy", "--set", "watch=1s"]);
    let all = |what: &str| kubectl(&["get", what, "-o", "json"]);
    let made: Value = serde_json::from_str(&all("clusternetworkpolicies")).unwrap();
    let undone = desk.quell(&["undo", "last", "--yes"]);
    let left: Value = serde_json::from_str(&all("clusternetworkpolicies")).unwrap();
    kubectl(&["delete", "crd", name]);
    assert_eq!(desk.steps()["isolate"], "verified", "{}", ran.err);
    assert!(ran.err.contains("create a ClusterNetworkPolicy that denies everything"), "the plan shows it: {}", ran.err);
    let spec = &made["items"][0]["spec"];
    assert_eq!((&spec["tier"], &spec["egress"][0]["action"]), (&json!("Admin"), &json!("Deny")), "{made:#}");
    assert_eq!(left["items"], json!([]), "taken back: {}", undone.err);
}
