//! `kill -9` at journal records, every one with QUELL_TEST_CRASH_STRIDE=1, before it is written and after it is on disk;
//! then resume. The end state and the set of artifacts equal those of an undisturbed run, and no change is made twice.
//!
//! Needs the feature `failpoints`: `cargo test --features failpoints --test cluster`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::{Desk, Namespace, apply, eventually, kubectl};

/// Side by side: each mostly waits for the cluster.
const WORKERS: usize = 6;

/// A pod of its own for each crash.
fn victim(ns: &Namespace, name: &str) {
    apply(
        format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","namespace":"{}","labels":{{"app":"{name}"}}}},
                "spec":{{"terminationGracePeriodSeconds":1,"containers":[{{"name":"shell","image":"quell.test/busybox:1",
                "command":["sh","-c","echo started; exec probe sleep"]}}]}}}}"#,
            ns.name
        )
        .as_bytes(),
    );
    kubectl(&["-n", &ns.name, "wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"]);
}

/// What a run left: artifacts, step statuses, and how often each change was made.
#[derive(Debug, PartialEq)]
struct Left {
    artifacts: Vec<String>,
    steps: BTreeMap<String, String>,
    gone: bool,
    policies: usize,
}

fn left(ns: &Namespace, desk: &Desk, pod: &str) -> Left {
    let incident = desk.incident();
    let ours = |o: &Value| o["metadata"]["labels"]["quell.dev/incident"] == incident.as_str();
    Left {
        artifacts: desk.artifacts().iter().map(|path| path.replace(pod, "POD")).collect(),
        steps: desk.steps(),
        gone: ns.get("pod", pod).is_none(),
        policies: ns.list("networkpolicy").iter().filter(|p| ours(p)).count(),
    }
}

fn records(desk: &Desk) -> Vec<Value> {
    let text = std::fs::read_to_string(desk.folder().join("journal.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// From the API server's own audit log: writes with our Audit-IDs that it accepted, by object and verb. None may be
/// there twice.
fn made_twice(desk: &Desk, pod: &str) -> Vec<String> {
    let ids: BTreeSet<String> = records(desk)
        .iter()
        .filter(|r| {
            r["event"]["type"] == "intent" && !r["event"]["op"].as_str().unwrap_or_default().starts_with("lease")
        })
        .map(|r| r["event"]["audit_id"].as_str().unwrap().to_string())
        .collect();
    let log = std::fs::read_to_string(crate::support::cluster().audit_log()).unwrap();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in log.lines().filter(|l| l.contains(pod) || l.contains("quell-quarantine")) {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let verb = event["verb"].as_str().unwrap_or_default();
        let accepted = event["responseStatus"]["code"].as_u64().is_some_and(|c| c < 300);
        if accepted
            && ["create", "patch", "delete", "update"].contains(&verb)
            && ids.contains(event["auditID"].as_str().unwrap_or_default())
        {
            let object = &event["objectRef"];
            *seen
                .entry(format!("{verb} {} {} {}", object["resource"], object["name"], object["subresource"]))
                .or_default() += 1;
        }
    }
    seen.into_iter().filter(|(_, n)| *n > 1).map(|(what, _)| what).collect()
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn killed_at_every_record() {
    if !cfg!(feature = "failpoints") {
        panic!("build with --features failpoints");
    }
    let ns = Namespace::with_targets("crash");
    victim(&ns, "undisturbed");
    let desk = Desk::new(&ns);
    let ran = desk.playbook("undisturbed", &["--set", "watch=1s"]);
    assert_eq!(ran.code, 7, "{}", ran.err);
    let expected = left(&ns, &desk, "undisturbed");
    let total = records(&desk).len();
    assert!(total > 20, "{total} records");

    // An odd one meets `before` and `after` in turn. 1 takes every record, and an hour.
    let stride = std::env::var("QUELL_TEST_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(5);

    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= total * 2 {
                        return;
                    }
                    if !i.is_multiple_of(stride) {
                        continue;
                    }
                    // Record 0 is the incident's beginning: before it there is nothing to resume.
                    let (when, seq) = (if i.is_multiple_of(2) { "after" } else { "before" }, i / 2);
                    if (when, seq) == ("before", 0) {
                        continue;
                    }
                    if let Err(problem) = std::panic::catch_unwind(|| one(&ns, when, seq, &expected)) {
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

fn one(ns: &Namespace, when: &str, seq: usize, expected: &Left) {
    let pod = format!("victim-{when}-{seq}");
    victim(ns, &pod);
    let desk = Desk::new(ns);
    let arguments = desk.arguments(&pod, &["--set", "watch=1s"]);
    let mut command = desk.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let killed = command.env("QUELL_FAILPOINT", format!("{when}:{seq}")).output().unwrap();
    if killed.status.code().is_some() {
        // The run was shorter this time (fewer retries): there was no such record.
        assert!(records(&desk).len() <= seq, "not killed {when} {seq}: {}", String::from_utf8_lossy(&killed.stderr));
        return;
    }
    let ended = records(&desk).iter().any(|r| r["event"]["type"] == "finished");
    let resumed = desk.quell(&["resume", "last", "--yes", "--max-risk", "destructive"]);
    assert_eq!(resumed.code, 7, "resume after a kill {when} {seq} (ended before: {ended}):\n{}", resumed.err);
    eventually("the pod is gone", 20, || ns.get("pod", &pod).is_none());
    assert_eq!(&left(ns, &desk, &pod), expected, "{when} {seq}\n{}", resumed.err);
    let twice = made_twice(&desk, &pod);
    assert!(twice.is_empty(), "made twice: {twice:?}\n{}", resumed.err);
    let verified = desk.quell(&["bundle", "verify", desk.bundle().to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
    kubectl(&["-n", &ns.name, "delete", "networkpolicy", "-l", &format!("quell.dev/incident={}", desk.incident())]);
}
