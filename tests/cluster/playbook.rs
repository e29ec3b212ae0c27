//! The whole playbook on every kind of pod: a bundle that verifies, a policy in place, the pod gone by its UID, and an
//! honest account of the rest.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::support::{Desk, Namespace};

/// Runs all of it and checks what holds for every kind of pod. What is returned lives until the test's end.
fn whole(namespace: &str, selector: &str) -> (Namespace, Desk, String) {
    judged(namespace, selector, "enforced", "verified")
}

fn judged(namespace: &str, selector: &str, word: &str, isolated: &str) -> (Namespace, Desk, String) {
    let ns = Namespace::with_targets(namespace);
    let pod = ns.pod(selector);
    let before = ns.get("pod", &pod).unwrap();
    let uid = before["metadata"]["uid"].as_str().unwrap().to_string();
    let desk = Desk::new(&ns);
    let ran = desk.playbook(&pod, &[]);
    assert_eq!(ran.code, 7, "isolation is not proved and credentials are handed over: never 0\n{}", ran.err);

    let gone = ns.get("pod", &pod).is_none_or(|now| now["metadata"]["uid"] != uid.as_str());
    assert!(gone, "{pod} is still there\n{}", ran.err);
    let incident = desk.incident();
    let policy = ns.get("networkpolicy", &format!("quell-quarantine-{incident}")).expect("the policy stands");
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"]["quell.dev/quarantine"], incident.as_str());
    assert!(
        ns.list("lease").iter().all(|l| l["metadata"]["labels"]["quell.dev/incident"] != incident.as_str()),
        "the lease is given back"
    );

    let steps = desk.steps();
    for (step, expected) in [
        ("record", "verified"),
        ("isolate", isolated),
        ("capture", "verified"),
        ("tidy", "verified"),
        ("terminate", "verified"),
    ] {
        assert_eq!(steps[step], expected, "{step}\n{}", ran.err);
    }
    bundle_is_good(&desk);
    // The network here enforces policies, but for the pod's own node.
    let verdict: Value = serde_json::from_slice(&shown(&desk, &format!("data/isolate/{pod}.verdict.json"))).unwrap();
    assert_eq!(verdict["verdict"], word, "{verdict:#}");
    assert!(connected(&verdict["before"]["out"]).contains("the API server"), "{verdict:#}");
    assert_eq!(connected(&verdict["after"]["out"]), BTreeSet::from(["its node's kubelet".to_string()]), "{verdict:#}");
    let inward = verdict["after"]["inward"].as_array().unwrap().iter().filter(|a| a["outcome"] == "connected");
    assert!(inward.into_iter().all(|a| a["own_node"] == true), "{verdict:#}");
    assert!(quells_own(&incident).is_empty(), "its own pods are gone");
    (ns, desk, uid)
}

/// Quell's own pods of an incident.
fn quells_own(incident: &str) -> Vec<Value> {
    let label = format!("quell.dev/incident={incident}");
    let text = crate::support::kubectl(&["-n", "quell-forensics", "get", "pods", "-l", &label, "-o", "json"]);
    serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
}

/// What took a connection from inside the pod.
fn connected(attempts: &Value) -> BTreeSet<String> {
    let attempts = attempts.as_array().unwrap().iter().filter(|a| a["outcome"] == "connected");
    attempts.map(|a| a["what"].as_str().unwrap().to_string()).collect()
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_policy_that_lets_the_pod_out_is_found_out() {
    let ns = Namespace::with_targets("pb-leak");
    let leak = serde_json::json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "leak", "namespace": "pb-leak"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    });
    crate::support::apply(leak.to_string().as_bytes());
    let desk = Desk::new(&ns);
    let ran = desk.playbook(&ns.pod("app=bare"), &[]);
    let steps = desk.steps();
    assert_eq!((ran.code, steps["isolate"].as_str()), (7, "unproved"), "{}", ran.err);
    assert!(ran.err.contains("partly enforced") && ran.err.contains("still answered"), "{}", ran.err);
    assert!(
        ran.err.contains("NetworkPolicy leak selects Pod pb-leak/bare whatever its labels"),
        "the plan says so before"
    );
}

/// quell, tar and sha256sum agree on the bundle.
fn bundle_is_good(desk: &Desk) {
    let bundle = desk.bundle();
    let verified = desk.quell(&["bundle", "verify", bundle.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    let unpacked = desk.home.path().join("unpacked");
    std::fs::create_dir_all(&unpacked).unwrap();
    assert!(Command::new("tar").arg("-xf").arg(&bundle).arg("-C").arg(&unpacked).status().unwrap().success());
    let bag = std::fs::read_dir(&unpacked).unwrap().next().unwrap().unwrap().path();
    for manifest in ["tagmanifest-sha256.txt", "manifest-sha256.txt"] {
        let checked =
            Command::new("sha256sum").args(["-c", "--strict", "--quiet", manifest]).current_dir(&bag).status().unwrap();
        assert!(checked.success(), "{manifest}");
    }
    assert!(Command::new("sh").arg("verify.sh").current_dir(&bag).status().unwrap().success(), "verify.sh");
}

/// One artifact's bytes, through `bundle show`.
fn shown(desk: &Desk, path: &str) -> Vec<u8> {
    let bundle = desk.bundle();
    let output = desk.command(&["bundle", "show", bundle.to_str().unwrap(), path]).output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn names_in_tar(desk: &Desk, path: &str) -> Vec<String> {
    let file = desk.home.path().join("artifact.tar");
    std::fs::write(&file, shown(desk, path)).unwrap();
    let listed = Command::new("tar").arg("-tf").arg(&file).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8_lossy(&listed.stdout).lines().map(|l| l.trim_start_matches("./").to_string()).collect()
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_deployments_pod_with_a_shell() {
    // A policy of its own keeps the probes out before already: the way in has no control.
    let (ns, desk, uid) = judged("pb-web", "app=web", "partial", "unproved");
    let replaced = ns.list("pod").iter().filter(|p| p["metadata"]["labels"]["app"] == "web").count();
    assert_eq!(replaced, 2, "the Deployment has its replicas");
    assert!(
        names_in_tar(&desk, "data/capture/node-logs.tar").iter().any(|n| n.starts_with("web/") && n.ends_with(".log"))
    );
    assert!(String::from_utf8_lossy(&shown(&desk, "data/capture/web.log")).contains("web started"));
    let record: serde_json::Value = serde_json::from_slice(&shown(&desk, "data/record/pod.json")).unwrap();
    assert_eq!(record["metadata"]["uid"], uid.as_str());
    assert!(
        record["metadata"]["labels"]["quell.dev/quarantine"].is_null(),
        "the manifest is from before the first change"
    );

    // Neither of the Secrets that it mounted is anywhere in what quell wrote.
    for value in ["env-secret-of-web", "volume-secret-of-web"] {
        let found = Command::new("grep").args(["-rlF", value]).arg(desk.home.path()).output().unwrap();
        assert!(found.stdout.is_empty(), "{value} in {}", String::from_utf8_lossy(&found.stdout));
    }
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_pod_without_shell_or_tar() {
    let (_ns, desk, _) = whole("pb-distroless", "app=distroless");
    let names = names_in_tar(&desk, "data/capture/server.changes.tar");
    assert!(names.iter().any(|n| n.starts_with("tmp/")), "what the implant left in /tmp: {names:?}");
    let processes: serde_json::Value =
        serde_json::from_slice(&shown(&desk, "data/capture/server.processes.json")).unwrap();
    let deleted = processes["processes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["exe"]["deleted"] == true)
        .expect("the deleted executable is seen");
    assert_eq!(deleted["exe"]["sha256"].as_str().map(str::len), Some(64), "{deleted}");
    let held = names_in_tar(&desk, "data/capture/server.unlinked.tar");
    assert!(held.contains(&format!("pid/{}/exe", deleted["pid"])), "its content is there: {held:?}");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_pod_with_two_containers_and_an_init_container() {
    let (_ns, desk, _) = whole("pb-many", "app=many");
    assert!(String::from_utf8_lossy(&shown(&desk, "data/capture/setup.log")).contains("setup was here"));
    assert!(String::from_utf8_lossy(&shown(&desk, "data/capture/flaky.previous.log")).contains("first life"));
    assert!(String::from_utf8_lossy(&shown(&desk, "data/capture/flaky.log")).contains("second life"));
    for container in ["steady", "flaky"] {
        assert!(desk.artifacts().contains(&format!("data/capture/{container}.changes.tar")), "{container}");
    }
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_bare_pod() {
    let (ns, _desk, _) = whole("pb-bare", "app=bare");
    assert!(ns.get("pod", "bare").is_none(), "nothing creates it again");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_stateful_sets_pod() {
    let (ns, _desk, uid) = whole("pb-db", "app=db");
    crate::support::eventually("the ordinal is back", 60, || {
        let pods = ns.list("pod");
        let db: Vec<_> = pods.iter().filter(|p| p["metadata"]["labels"]["app"] == "db").collect();
        db.len() == 2 && db.iter().all(|p| p["metadata"]["uid"] != uid.as_str())
    });
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_jobs_pod() {
    whole("pb-batch", "batch.kubernetes.io/job-name=batch");
}
