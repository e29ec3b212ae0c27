//! The node's playbook where kubelets and controllers are real; and a drain of 200 pods beside kubectl's, in one run.
//! Whoever loses a node loses what runs there: these tests run alone.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Desk, Namespace, Ran, apply, cluster, eventually, kubectl, quell, script};

/// Exactly what `quell runbook rbac node-compromise` prints, bound to the responder.
fn grant(namespace: &str) {
    let printed =
        quell().args(["runbook", "rbac", "node-compromise", "-n", namespace, "--user", "responder"]).output().unwrap();
    assert!(printed.status.success());
    apply(&printed.stdout);
}

fn run(desk: &Desk, node: &str, more: &[&str]) -> Ran {
    let node = format!("node={node}");
    let all = ["run", "node-compromise", "-n", &desk.namespace, "--set", &node, "--yes", "--max-risk", "destructive"];
    desk.quell(&[&all, more].concat())
}

fn node(name: &str) -> Value {
    serde_json::from_str(&kubectl(&["get", "node", name, "-o", "json"])).unwrap()
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn alone_a_real_node_is_drained_with_the_printed_rights_and_given_back() {
    let ns = Namespace::with_targets("node-drain");
    grant("node-drain");
    let desk = Desk::new(&ns);
    let on = ns.get("pod", &ns.pod("app=web")).unwrap()["spec"]["nodeName"].as_str().unwrap().to_string();
    // Without quell's own, which an unfinished incident of another test has left for its next step.
    let here = || -> Vec<String> {
        let theirs = format!("spec.nodeName={on},metadata.namespace!=quell-forensics");
        let names = "jsonpath={.items[*].metadata.name}";
        let text = kubectl(&["get", "pods", "-A", "--field-selector", &theirs, "-o", names]);
        text.split_whitespace().map(str::to_string).collect()
    };
    eventually("other tests' pods have left the node", 120, || {
        let on = format!("spec.nodeName={on}");
        let text = kubectl(&["get", "pods", "-A", "--field-selector", &on, "-o", "json"]);
        let all: Value = serde_json::from_str(&text).unwrap();
        all["items"].as_array().unwrap().iter().all(|p| p["metadata"]["deletionTimestamp"].is_null())
    });
    let (before, pods) = (node(&on), here());
    let passed = passed_through(&ns, &on);
    let log = format!("audit-log={}", cluster().audit_log().display());
    let part = ["--only", "cordon,inventory,drain", "--set", &log];
    let refused = run(&desk, &on, &part);
    assert_eq!(refused.code, 4, "pods with emptyDir are in the way\n{}", refused.err);
    assert!(refused.err.contains("`delete-emptydir-data: true`"), "{}", refused.err);
    assert!(node(&on)["spec"]["unschedulable"].is_null());

    let flags = ["--set", "force=true", "--set", "delete-emptydir-data=true"];
    let ran = run(&desk, &on, &[&part[..], &flags].concat());
    assert_eq!(ran.code, 7, "a part, and one pod of web may run on no other node\n{}", ran.err);
    assert_eq!(here(), Vec::<String>::new(), "{}", ran.err);
    let steps = desk.steps();
    assert_eq!((steps["cordon"].as_str(), steps["inventory"].as_str()), ("verified", "verified"), "{}", ran.err);
    let report = desk.document("data/drain/drain.json");
    assert_eq!((report["evicted"].as_u64(), report["cordoned"].as_bool()), (Some(pods.len() as u64), Some(true)));
    // What kubectl has no word for: where they came up, and that one did not.
    assert!(ran.err.contains("topology spread constraints"), "{}", ran.err);
    let inventory = desk.document("data/inventory/inventory.json");
    let listed = inventory["pods"].as_array().unwrap().iter().map(|p| p["pod"].as_str().unwrap());
    assert_eq!(listed.filter(|p| !p.starts_with("quell-forensics/")).count(), pods.len(), "{inventory:#}");
    let past = desk.document("data/inventory/past.json");
    for (name, uid) in passed {
        let gone = past["gone"].as_array().unwrap().iter().find(|p| p["uid"] == uid.as_str());
        let gone = gone.unwrap_or_else(|| panic!("{name} is not in {past:#}"));
        assert_eq!((&gone["name"], &gone["account"]), (&Value::from(name), &Value::from("default")), "{gone:#}");
        assert!(gone["images_asked_for"].to_string().contains("quell.test/busybox:1"), "{gone:#}");
        assert!(gone["images_reported"].to_string().contains("sha256:"), "{gone:#}");
        assert!(gone["reads"].to_string().contains("\"passing\""), "{gone:#}");
        assert!(gone["told_to_go"].is_object() && gone["end_confirmed"].is_string(), "{gone:#}");
    }
    assert!(past["credentials"].to_string().contains("\"passing\""), "{past:#}");
    let verified = desk.quell(&["bundle", "verify", desk.bundle().to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);

    let undone = desk.quell(&["undo", "last", "--yes"]);
    let after = node(&on);
    assert_eq!(after["spec"], before["spec"], "{}", undone.err);
    assert_eq!(after["metadata"]["annotations"], before["metadata"]["annotations"]);
}

/// Two pods that read a Secret on the node and are gone again, by name and UID: one that was bound, one that named its node.
fn passed_through(ns: &Namespace, on: &str) -> Vec<(&'static str, String)> {
    apply(
        format!(r#"{{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"passing","namespace":"{}"}}}}"#, ns.name)
            .as_bytes(),
    );
    let names = ["passed-bound", "passed-named"];
    for (name, place) in names
        .iter()
        .zip([format!(r#""nodeSelector":{{"kubernetes.io/hostname":"{on}"}}"#), format!(r#""nodeName":"{on}""#)])
    {
        apply(
            format!(
                r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"{}"}},"spec":{{{place},
                "terminationGracePeriodSeconds":1,"volumes":[{{"name":"v","secret":{{"secretName":"passing"}}}}],
                "containers":[{{"name":"a","image":"quell.test/busybox:1","command":["probe","sleep"],
                "volumeMounts":[{{"name":"v","mountPath":"/v"}}]}}]}}}}"#,
                ns.name
            )
            .as_bytes(),
        );
        kubectl(&["-n", &ns.name, "wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]);
    }
    let uids = names.map(|name| (name, ns.get("pod", name).unwrap()["metadata"]["uid"].as_str().unwrap().to_string()));
    kubectl(&["-n", &ns.name, "delete", "pod", names[0], names[1], "--wait=true"]);
    uids.into()
}

/// So many pods on fake-1, none on fake-2, which takes them.
fn on_fake_1(many: usize) {
    kubectl(&["uncordon", "fake-1", "fake-2"]);
    kubectl(&["cordon", "fake-2"]);
    let scale = |n: &str| kubectl(&["-n", "many", "scale", "deployment/many", &format!("--replicas={n}")]);
    scale("0");
    let pods = || {
        let text = kubectl(&["-n", "many", "get", "pods", "-o", "json"]);
        serde_json::from_str::<Value>(&text).unwrap()["items"].as_array().unwrap().clone()
    };
    eventually("the namespace is empty", 240, || pods().is_empty());
    scale(&many.to_string());
    eventually("the pods run on fake-1", 240, || {
        let pods = pods();
        pods.len() == many
            && pods.iter().all(|p| p["status"]["phase"] == "Running" && p["spec"]["nodeName"] == "fake-1")
    });
    kubectl(&["uncordon", "fake-2"]);
}

/// Requests that were answered since a line of the audit log, by user agent.
fn requests(since: usize, agent: &str) -> usize {
    let log = std::fs::read_to_string(cluster().audit_log()).unwrap();
    let agent = format!("\"userAgent\":\"{agent}");
    log.lines().skip(since).filter(|l| l.contains(&agent) && l.contains("ResponseComplete")).count()
}

fn lines() -> usize {
    std::fs::read_to_string(cluster().audit_log()).unwrap().lines().count()
}

/// Two nodes that pretend, and a Deployment for them.
fn many() -> Namespace {
    script(&["fake-nodes", "2"]);
    kubectl(&["delete", "namespace", "many", "--ignore-not-found", "--wait=true"]);
    let manifest = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"many"}},
        {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"many","namespace":"many"},"spec":{"replicas":0,
          "selector":{"matchLabels":{"app":"many"}},"template":{"metadata":{"labels":{"app":"many"}},"spec":{
            "nodeSelector":{"type":"kwok"},"tolerations":[{"key":"kwok","operator":"Exists"}],
            "containers":[{"name":"a","image":"none","resources":{"requests":{"cpu":"10m"}}}]}}}}]}"#;
    apply(manifest.as_bytes());
    grant("many");
    Namespace { name: "many".into() }
}

/// How long KWOK takes for all of them at once, by one request: nothing can see them gone sooner.
fn floor() -> Duration {
    kubectl(&["cordon", "fake-1"]);
    let begun = Instant::now();
    let all = "/api/v1/namespaces/many/pods?fieldSelector=spec.nodeName%3Dfake-1";
    kubectl(&["delete", "--raw", all]);
    eventually("KWOK has removed them", 240, || {
        kubectl(&["-n", "many", "get", "pods", "--field-selector", "spec.nodeName=fake-1", "-o", "name"])
            .trim()
            .is_empty()
    });
    begun.elapsed()
}

#[test]
#[ignore = "needs the real cluster with KWOK (tests/cluster/README.md)"]
fn alone_a_drain_that_is_killed_anywhere_ends_as_an_undisturbed_one() {
    let ns = many();
    let stride = std::env::var("QUELL_TEST_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(9);
    // 5: the first change's Lease. 0 is an undisturbed run.
    let places = (5..60).flat_map(|seq| ["before", "after"].map(|when| (when, seq))).step_by(stride);
    for (when, seq) in [("undisturbed", 0)].into_iter().chain(places) {
        on_fake_1(12);
        let here = kubectl(&["-n", "many", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]);
        let desk = Desk::new(&ns);
        let since = lines();
        let part = ["--only", "cordon,inventory,drain", "--yes", "--max-risk", "destructive"];
        let begin = ["run", "node-compromise", "-n", "many", "--set", "node=fake-1"];
        let place = format!("{when}:{seq}");
        let first = desk.command(&[&begin[..], &part].concat()).env("QUELL_FAILPOINT", &place).output().unwrap();
        let err = if first.status.code().is_some() {
            String::from_utf8_lossy(&first.stderr).into_owned()
        } else {
            desk.quell(&[&["resume", "last"], &part[..]].concat()).err
        };
        let steps = desk.steps();
        let of = |step: &str| steps[step].clone();
        assert_eq!([of("cordon"), of("inventory"), of("drain")], ["verified"; 3], "{place}\n{err}");
        let found: Vec<String> = desk.artifacts();
        for artifact in ["data/inventory/inventory.json", "data/drain/drain.json"] {
            assert!(found.iter().any(|a| a == artifact), "{place}: {artifact} is not in {found:?}");
        }
        let log = std::fs::read_to_string(cluster().audit_log()).unwrap();
        let ours = log
            .lines()
            .skip(since)
            .filter(|l| l.contains("\"subresource\":\"eviction\"") && l.contains("\"code\":201"));
        let mut asked: Vec<String> = ours
            .filter_map(|l| serde_json::from_str::<Value>(l).ok()?["objectRef"]["name"].as_str().map(str::to_string))
            .collect();
        asked.sort();
        let mut expected: Vec<&str> = here.split_whitespace().collect();
        expected.sort_unstable();
        assert_eq!(asked, expected, "{place}: each is evicted once\n{err}");
    }
    kubectl(&["delete", "namespace", "many", "--wait=false"]);
    kubectl(&["delete", "node", "fake-1", "fake-2"]);
}

#[test]
#[ignore = "needs the real cluster with KWOK (tests/cluster/README.md)"]
fn alone_a_drain_of_200_pods_beside_kubectls_and_the_end_of_the_node() {
    let ns = many();
    on_fake_1(200);
    let floor = floor();

    on_fake_1(200);
    let (since, begun) = (lines(), Instant::now());
    let theirs = Command::new("kubectl")
        .args(["--kubeconfig", cluster().admin().to_str().unwrap(), "drain", "fake-1"])
        .output()
        .unwrap();
    let theirs_took = begun.elapsed();
    assert!(theirs.status.success(), "{}", String::from_utf8_lossy(&theirs.stderr));
    let theirs_asked = requests(since, "kubectl");

    on_fake_1(200);
    let desk = Desk::new(&ns);
    let since = lines();
    let begun = Instant::now();
    let ran = run(&desk, "fake-1", &["--only", "cordon,inventory,drain"]);
    let whole = begun.elapsed();
    assert_eq!(desk.steps()["drain"], "verified", "{}", ran.err);
    let ours_asked = requests(since, "quell");
    let took = drained_after(&desk);
    let ratio = |ours: Duration| ours.as_secs_f64() / theirs_took.as_secs_f64();
    println!(
        "drain of 200 pods: kubectl {theirs_took:.1?} with {theirs_asked} requests; quell {took:.1?} until all were gone \
         ({:.2} of kubectl's), {whole:.1?} with plan, inventory, 200 replacements ready and a sealed bundle ({:.2}), with \
         {ours_asked} requests; KWOK alone took {floor:.1?} for them, which on a busy machine is nearly all of it, while \
         kubectl waits for its own limit of requests a second",
        ratio(took),
        ratio(whole)
    );
    assert!(ours_asked <= theirs_asked, "{ours_asked} requests, kubectl {theirs_asked}");

    // And its end: the Node, its lease, and what the record says of both.
    let ended = run(&desk, "fake-1", &["--set", "terminate-command=true"]);
    assert_eq!(ended.code, 7, "the credentials are handed over\n{}", ended.err);
    assert_eq!(desk.steps()["terminate"], "verified", "{}", ended.err);
    assert!(ended.err.contains("can't be revoked"), "{}", ended.err);
    let gone = kubectl(&["get", "node", "fake-1", "--ignore-not-found", "-o", "name"]);
    assert!(gone.trim().is_empty(), "{gone}");
    kubectl(&["delete", "namespace", "many", "--wait=false"]);
    kubectl(&["delete", "node", "fake-2"]);
}

/// From the step's begin to the last pod seen gone, by the journal.
fn drained_after(desk: &Desk) -> Duration {
    let text = std::fs::read_to_string(desk.folder().join("journal.jsonl")).unwrap();
    let records: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let at = |r: &Value| quell::clock::parse(r["time"].as_str().unwrap()).unwrap();
    let begun = records.iter().find(|r| r["event"]["type"] == "step-started" && r["event"]["step"] == "drain").unwrap();
    let gone = records
        .iter()
        .filter(|r| {
            r["event"]["type"] == "outcome" && r["event"]["detail"].as_str().is_some_and(|d| d.ends_with("is gone"))
        })
        .map(at)
        .max()
        .unwrap();
    (gone - at(begun)).try_into().unwrap()
}
