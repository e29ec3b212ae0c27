//! `kill -9` at every record of the journal, before it is written and after it is on disk, then resume: the end is that of
//! an undisturbed run, and nothing is done twice. Needs the feature `failpoints`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::stage::{Ran, Stage, budget, workload};

/// Side by side: each mostly waits.
const WORKERS: usize = 4;

/// What a run left.
#[derive(Debug, PartialEq)]
struct Left {
    code: Option<i32>,
    steps: BTreeMap<String, String>,
    artifacts: BTreeSet<String>,
    node: bool,
    lease: bool,
    denied: bool,
    web: usize,
}

fn stage() -> Stage {
    let manifests = workload("Deployment", "web", 6, "") + &budget("slow", "web", "maxUnavailable: 1");
    let daemon_set = workload("DaemonSet", "agent", 1, "").replace("replicas: 1, ", "");
    let stage = Stage::new(&(manifests + &daemon_set));
    let asked = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "csr-1"}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        "usages": ["client auth"], "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg=="}});
    stage.request("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", &asked);
    stage
}

fn arguments(stage: &Stage) -> Vec<String> {
    let log = format!("audit-log={}", stage.dir.path().join("audit.log").display());
    stage.arguments(&["--set", &log]).into_iter().map(String::from).collect()
}

fn left(stage: &Stage, ran: &Ran) -> Left {
    let records = stage.records();
    let of = |kind: &'static str| records.iter().map(|r| &r["event"]).filter(move |e| e["type"] == kind);
    let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
    stage.settle();
    let pods = |node: &str| stage.on(node).iter().filter(|n| n.starts_with("web-")).count();
    Left {
        code: ran.code,
        steps: of("step-finished").map(|e| (text(&e["step"]), text(&e["status"]))).collect(),
        artifacts: of("captured").map(|e| text(&e["artifact"]["path"])).collect(),
        node: stage.get("nodes", "", "node-1").is_some(),
        lease: stage.get("leases.coordination.k8s.io", "kube-node-lease", "node-1").is_some(),
        denied: stage
            .get("certificatesigningrequests.certificates.k8s.io", "", "csr-1")
            .is_some_and(|csr| csr["status"].to_string().contains("Denied")),
        web: pods("node-2") + pods("node-3"),
    }
}

#[test]
fn killed_at_every_record_it_ends_as_an_undisturbed_run() {
    let undisturbed = stage();
    let all = arguments(&undisturbed);
    let ran = undisturbed.quell(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let expected = left(&undisturbed, &ran);
    assert!(!expected.node && !expected.lease && expected.web == 6, "{expected:?}\n{}", ran.err);
    let total = undisturbed.records().len();
    assert!(total > 40, "{total} records");
    drop(undisturbed);

    // 1 takes every record.
    let stride = std::env::var("QUELL_TEST_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(stride, Ordering::Relaxed);
                    // Before the first record there is nothing to resume.
                    let (when, seq) = (if i.is_multiple_of(2) { "after" } else { "before" }, i / 2);
                    if i >= total * 2 {
                        return;
                    }
                    if seq == 0 {
                        continue;
                    }
                    if let Err(problem) = std::panic::catch_unwind(|| one(when, seq, &expected)) {
                        let text = problem.downcast_ref::<String>().cloned().unwrap_or_else(|| "panicked".into());
                        wrong.lock().unwrap().push(format!("{when} {seq}: {text}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), total * 2 - 1, wrong.join("\n"));
}

fn one(when: &str, seq: usize, expected: &Left) {
    let stage = stage();
    let all = arguments(&stage);
    let mut command = stage.command(&all.iter().map(String::as_str).collect::<Vec<_>>());
    let killed = command.env("QUELL_FAILPOINT", format!("{when}:{seq}")).output().unwrap();
    if killed.status.code().is_some() {
        // It had fewer refusals by the budget this time: there was no such record.
        assert!(stage.records().len() <= seq, "not killed: {}", String::from_utf8_lossy(&killed.stderr));
        return;
    }
    let resumed = stage.quell(&["resume", "last", "--yes", "--max-risk", "destructive"]);
    assert_eq!(&left(&stage, &resumed), expected, "\n{}", resumed.err);
    assert!(stage.evictions().values().all(|n| *n == 1), "{:?}", stage.evictions());
    let log = std::fs::read_to_string(stage.dir.path().join("audit.log")).unwrap();
    for event in log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
        let object = &event["objectRef"];
        let ours = event["userAgent"].as_str().is_some_and(|a| a.starts_with("quell/"));
        let deleted = event["verb"] == "delete" && object["resource"] == "nodes";
        assert!(!(ours && deleted && event["responseStatus"]["code"] == 409), "the node was deleted twice: {event}");
    }
}
