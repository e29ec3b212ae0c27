//! A drill on a cluster where things go wrong: what can still be done is done, and what was not is said.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// A fault, and which checks fail for it; none: the run copes.
const FAULTS: &[(&str, &str, &[&str])] = &[
    ("answers are slow", "{effect: {latency: 40}, resource: pods}", &[]),
    ("reads are throttled", "{effect: {status: 429}, verb: get, resource: pods, times: 2}", &[]),
    ("a write fails once", "{effect: {status: 503}, verb: create, resource: networkpolicies, times: 1}", &[]),
    ("a write's answer is lost", "{effect: reset, verb: create, resource: networkpolicies, times: 1, after: 1}", &[]),
    ("a deletion's answer is lost", "{effect: reset, verb: delete, resource: pods, times: 1, after: 1}", &[]),
    // Not to have the events must not keep anybody from the rest.
    ("events can't be read", "{effect: {status: 500}, resource: events}", &[]),
    // Contained by deletion alone, and the score says so.
    (
        "policies can't be made",
        "{effect: {status: 500}, verb: create, resource: networkpolicies}",
        &["containment.policy", "honesty.1"],
    ),
    ("pods can't be deleted", "{effect: {status: 503}, verb: delete, resource: pods}", &["containment.eradicated"]),
    // The files are taken all the same, the logs' own among them; without a whole capture the suspect stays.
    ("logs can't be read", "{effect: {status: 500}, resource: pods/log}", &["containment.eradicated"]),
    (
        "streams break",
        "{effect: {cut: 2000}, resource: pods/exec}",
        &["containment.eradicated", "evidence.filesystem", "evidence.log", "evidence.processes", "foothold.2"],
    ),
    // Taken again, and whole then.
    ("the first streams break", "{effect: {cut: 2000}, resource: pods/exec, times: 12}", &[]),
    ("the first streams stall", "{effect: {stall: 2000}, resource: pods/exec, times: 12}", &[]),
    ("the first streams end early with success", "{effect: {short: 2000}, resource: pods/exec, times: 12}", &[]),
    ("a log stalls once", "{effect: {stall: 10}, resource: pods/log, times: 1}", &[]),
    (
        "streams stall",
        "{effect: {stall: 2000}, resource: pods/exec}",
        &["containment.eradicated", "evidence.filesystem", "evidence.log", "evidence.processes", "foothold.2"],
    ),
    (
        "streams end early with success",
        "{effect: {short: 2000}, resource: pods/exec}",
        &["containment.eradicated", "evidence.filesystem", "evidence.log", "evidence.processes", "foothold.2"],
    ),
    // Nothing can be tried, cut or captured: the policy stands, and nothing more is claimed.
    (
        "streams end at once with success",
        "{effect: {short: 0}, resource: pods/exec}",
        &[
            "containment.eradicated",
            "evidence.filesystem",
            "evidence.log",
            "evidence.processes",
            "foothold.1",
            "foothold.2",
            "honesty.1",
        ],
    ),
];

fn drilled(name: &str, fault: &str) -> (Option<i32>, Value, String) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/drills/pod-compromise.yaml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let struck = text.replacen("\ncluster:\n", &format!("\ncluster:\n  faults: [{fault}]\n"), 1);
    assert_ne!(text, struck, "the scenario has no cluster");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("struck.yaml");
    std::fs::write(&file, struck).unwrap();
    // The same runbook, with less patience.
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/pod-compromise.yaml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let hasty = text.replacen("      exclude: ", "      stall-seconds: 2\n      exclude: ", 1);
    assert_ne!(text, hasty);
    let runbook = dir.path().join("hasty.yaml");
    std::fs::write(&runbook, hasty).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_quell"))
        .env_clear()
        .env("HOME", dir.path())
        .env("USER", "tester")
        .arg("--state-dir")
        .arg(dir.path())
        .args(["--json", "-q", "drill", "--auto", "--runbook"])
        .arg(&runbook)
        .arg(&file)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr).into_owned());
    let last = out.lines().last().unwrap_or_else(|| panic!("{name}: {err}"));
    let document: Value = serde_json::from_str(last).unwrap();
    assert!(document["outcome"].is_object(), "{name}: {last}\n{err}");
    (ran.status.code(), document, err)
}

#[test]
fn what_can_still_be_done_is_done_and_what_was_not_is_said() {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = FAULTS
            .iter()
            .map(|(name, fault, expected)| {
                scope.spawn(move || {
                    let (code, document, err) = drilled(name, fault);
                    let mut failed: Vec<&str> = document["outcome"]["checks"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|c| c["verdict"] == "failed")
                        .map(|c| c["id"].as_str().unwrap())
                        .collect();
                    failed.sort_unstable();
                    let good = failed == *expected && code == Some(if expected.is_empty() { 0 } else { 6 });
                    (!good).then(|| format!("{name}: exit {code:?}, failed: {failed:?}\n{err}"))
                })
            })
            .collect();
        all.into_iter().filter_map(|t| t.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
