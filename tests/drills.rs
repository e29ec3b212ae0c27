//! Every shipped drill, unattended on the embedded cluster; and runbooks made wrong on purpose, each caught by name.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn quell(state: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quell"))
        .env_clear()
        .env("HOME", state)
        .env("USER", "tester")
        .arg("--state-dir")
        .arg(state)
        .args(args)
        .output()
        .expect("quell runs")
}

/// The last JSON document on standard output: the drill's own.
fn outcome(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let document: Value = serde_json::from_str(last).unwrap();
    assert!(document["outcome"].is_object(), "{last}\n{}", String::from_utf8_lossy(&output.stderr));
    document
}

/// What failed: id and fault.
fn failed(document: &Value) -> BTreeMap<String, String> {
    let checks = document["outcome"]["checks"].as_array().unwrap();
    checks
        .iter()
        .filter(|c| c["verdict"] == "failed")
        .map(|c| {
            (
                c["id"].as_str().unwrap().to_string(),
                format!("{} {}", c["found"], c["fault"].as_str().unwrap_or_default()),
            )
        })
        .collect()
}

#[test]
fn every_drill_passes_unattended_and_leaves_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let listed = quell(dir.path(), &["--json", "drill", "list"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names: Vec<&str> = listed["drills"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert!(names.len() >= 2);
    for name in &names {
        let ran = quell(dir.path(), &["--json", "-q", "drill", name, "--auto"]);
        let document = outcome(&ran);
        assert_eq!(
            (ran.status.code(), &document["percent"]),
            (Some(0), &Value::from(100)),
            "{name}: {:?}",
            failed(&document)
        );
    }
    let runbooks: std::collections::BTreeSet<&str> =
        listed["drills"].as_array().unwrap().iter().map(|d| d["runbook"].as_str().unwrap()).collect();
    for runbook in runbooks {
        let of = |level: &str| {
            listed["drills"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|d| d["runbook"] == runbook && d["level"] == level)
                .count()
        };
        assert!(of("basic") >= 1 && of("hard") >= 1, "{runbook} has too few drills");
    }
    let history = quell(dir.path(), &["drill", "history"]);
    assert_eq!(String::from_utf8_lossy(&history.stdout).lines().count(), names.len() + 1);
    let page = dir.path().join("r.html");
    assert!(quell(dir.path(), &["drill", "report", "last", "-o", page.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("Not signed off yet"));
    assert!(quell(dir.path(), &["drill", "sign", "last", "--who", "N. N.", "--role", "CISO"]).status.success());
    let report = quell(dir.path(), &["drill", "report"]);
    assert!(String::from_utf8_lossy(&report.stdout).contains("Signed by N. N. (CISO)"));
    assert!(!quell(dir.path(), &["drill", "sign", "last", "--who", "other"]).status.success(), "signed once");
}

#[test]
fn the_same_seed_gives_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let target = |seed: &str| {
        let ran = quell(dir.path(), &["--json", "-q", "drill", "pod-compromise", "--auto", "--seed", seed]);
        let opened = String::from_utf8_lossy(&ran.stdout).lines().next().map(str::to_string).unwrap();
        let record: Value = serde_json::from_str(&opened).unwrap();
        record["event"]["inputs"]["pod"].as_str().unwrap().to_string()
    };
    let hash = |name: String| name.split('-').nth(1).unwrap().to_string();
    assert_eq!(hash(target("7")), hash(target("7")));
}

#[test]
fn without_a_terminal_only_the_embedded_cluster_is_drilled_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let ran = quell(dir.path(), &["--context", "somewhere", "drill", "pod-compromise"]);
    assert_eq!(ran.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("--auto"));
    assert!(!dir.path().join("drills").exists(), "nothing was begun");
    let ran = quell(dir.path(), &["drill", "pod-compromise"]);
    assert!(ran.status.success());
    assert!(String::from_utf8_lossy(&ran.stderr).contains("no terminal to ask at"));
}

#[test]
fn a_network_that_enforces_nothing_is_told_from_one_that_does() {
    let dir = tempfile::tempdir().unwrap();
    let says = |name: &str| {
        let ran = quell(dir.path(), &["--json", "-q", "drill", name, "--auto"]);
        let out = String::from_utf8_lossy(&ran.stdout).into_owned();
        let ended = |line: &&str| line.contains(r#""step":"isolate""#) && line.contains("step-finished");
        out.lines().find(ended).unwrap_or_else(|| panic!("{out}")).to_string()
    };
    let (enforced, ignored) = (says("pod-compromise"), says("pod-compromise-foothold"));
    assert!(enforced.contains(r#""enforcement":"enforced""#) && enforced.contains("verified"), "{enforced}");
    assert!(ignored.contains(r#""enforcement":"not-enforced""#) && ignored.contains("refuted"), "{ignored}");
}

/// A runbook with one thing wrong.
struct Mutant {
    name: &'static str,
    change: fn(&mut Vec<serde_yaml::Value>),
    /// The check that must fail, and what its finding or fault must name. None: refused before it runs.
    caught: Option<(&'static str, &'static str)>,
}

fn at(steps: &[serde_yaml::Value], id: &str) -> usize {
    steps.iter().position(|s| s["id"] == id).unwrap()
}

fn without(steps: &mut Vec<serde_yaml::Value>, id: &str) {
    let at = at(steps, id);
    steps.remove(at);
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "isolate is missing",
        change: |steps| without(steps, "isolate"),
        caught: Some(("containment.policy", "no step that isolates")),
    },
    Mutant {
        name: "the wrong pod is isolated",
        change: |steps| {
            let i = at(steps, "isolate");
            steps[i]["with"] = serde_yaml::from_str("{pod: orders}").unwrap();
        },
        caught: Some(("containment.policy", "isolate")),
    },
    Mutant {
        name: "the wrong pod is isolated, and that one is healthy",
        change: |steps| {
            let i = at(steps, "isolate");
            steps[i]["with"] = serde_yaml::from_str("{pod: orders}").unwrap();
        },
        caught: Some(("collateral.1", "orders-")),
    },
    Mutant {
        name: "capture comes after terminate",
        change: |steps| {
            let capture = steps.remove(at(steps, "capture"));
            let i = at(steps, "terminate");
            steps.insert(i + 1, capture);
        },
        caught: None,
    },
    Mutant {
        name: "terminate does not need the capture",
        change: |steps| {
            let i = at(steps, "terminate");
            steps[i].as_mapping_mut().unwrap().remove("needs");
        },
        caught: None,
    },
    Mutant {
        name: "capture is isolated after it",
        change: |steps| {
            let isolate = steps.remove(at(steps, "isolate"));
            let i = at(steps, "terminate");
            steps.insert(i + 1, isolate);
        },
        caught: Some(("containment.policy", "")),
    },
    Mutant {
        name: "no files are captured",
        change: |steps| {
            let i = at(steps, "capture");
            steps[i]["with"]["filesystem"] = serde_yaml::from_str("none").unwrap();
        },
        caught: Some(("evidence.filesystem", "none was taken")),
    },
    Mutant {
        name: "no processes are captured",
        change: |steps| {
            let i = at(steps, "capture");
            steps[i]["with"]["processes"] = serde_yaml::from_str("false").unwrap();
        },
        caught: Some(("evidence.processes", "none was taken")),
    },
    Mutant {
        name: "no logs are captured",
        change: |steps| {
            let i = at(steps, "capture");
            steps[i]["with"]["logs"] = serde_yaml::from_str("false").unwrap();
        },
        caught: Some(("evidence.log", "none was taken")),
    },
    Mutant {
        name: "terminate is missing",
        change: |steps| without(steps, "terminate"),
        caught: Some(("containment.eradicated", "still there")),
    },
    Mutant {
        name: "the credentials are forgotten",
        change: |steps| without(steps, "rotate"),
        caught: Some(("evidence.credentials", "none was taken")),
    },
    Mutant {
        name: "the audit log is forgotten",
        change: |steps| steps.retain(|s| s["parallel"].is_null()),
        caught: Some(("evidence.audit", "none was taken")),
    },
];

/// Of the exposed-secret runbook, in the basic drill.
const SECRET_MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nothing is rotated",
        // The steps after it use what it gives.
        change: |steps| without(steps, "rotate"),
        caught: None,
    },
    Mutant {
        name: "the Secret is not updated, and nothing is proved",
        change: |steps| {
            without(steps, "prove");
            without(steps, "update");
        },
        caught: Some(("containment.rotated.1", "the exposed value")),
    },
    Mutant {
        name: "another key is rotated",
        change: |steps| {
            let i = at(steps, "rotate");
            steps[i]["with"]["settings"]["generate"]["keys"] = serde_yaml::from_str("[issuer]").unwrap();
        },
        caught: Some(("containment.rotated.1", "the exposed value")),
    },
    Mutant {
        name: "another Secret is rotated",
        change: |steps| {
            let i = at(steps, "consumers");
            steps[i]["with"] = serde_yaml::from_str("{secret: session-of-last-year}").unwrap();
            let i = at(steps, "rotate");
            steps[i]["with"]["settings"]["generate"]["keys"] = serde_yaml::from_str("[config]").unwrap();
        },
        caught: Some(("containment.rotated.1", "the exposed value")),
    },
    Mutant {
        name: "consumers are not restarted",
        change: |steps| {
            let i = at(steps, "prove");
            steps[i]["with"]["restart"] = serde_yaml::from_str("none").unwrap();
        },
        caught: Some(("containment.replaced.1", "web-")),
    },
    Mutant {
        name: "a consumer is left alone",
        change: |steps| {
            let i = at(steps, "prove");
            steps[i]["with"]["leave"] = serde_yaml::from_str("[Deployment/web]").unwrap();
        },
        caught: Some(("containment.replaced.1", "web-")),
    },
    Mutant {
        name: "nothing is proved",
        change: |steps| without(steps, "prove"),
        caught: Some(("evidence.holders", "none was taken")),
    },
    Mutant {
        name: "more is restarted than has to be",
        change: |steps| {
            let i = at(steps, "prove");
            steps[i]["with"]["restart"] = serde_yaml::from_str("all").unwrap();
        },
        caught: Some(("collateral.2", "login-")),
    },
    Mutant {
        name: "the audit log is not given",
        change: |steps| {
            let i = at(steps, "audit");
            steps[i]["with"].as_mapping_mut().unwrap().remove("audit-log");
        },
        caught: Some(("evidence.audit", "none was taken")),
    },
    Mutant {
        name: "the window is too short",
        change: |steps| {
            let i = at(steps, "audit");
            steps[i]["with"]["window"] = serde_yaml::from_str("1").unwrap();
        },
        caught: Some(("foothold.1", "nowhere")),
    },
];

/// Of the node's playbook.
const NODE_MUTANTS: &[Mutant] = &[
    Mutant { name: "cordon is missing", change: |steps| without(steps, "cordon"), caught: None },
    Mutant {
        name: "the wrong node is cordoned",
        change: |steps| {
            let i = at(steps, "cordon");
            steps[i]["with"]["node"] = serde_yaml::from_str("node-2").unwrap();
        },
        caught: Some(("containment.policy", "never cordoned")),
    },
    Mutant { name: "the inventory is missing", change: |steps| without(steps, "inventory"), caught: None },
    Mutant {
        name: "the drain does not need the inventory",
        change: |steps| {
            let i = at(steps, "drain");
            steps[i].as_mapping_mut().unwrap().remove("needs");
        },
        caught: None,
    },
    Mutant {
        name: "the node is ended without its inventory verified",
        change: |steps| {
            let i = at(steps, "terminate");
            steps[i].as_mapping_mut().unwrap().remove("needs");
        },
        caught: None,
    },
    Mutant {
        name: "nothing is drained",
        change: |steps| without(steps, "drain"),
        caught: Some(("moved.1", "on the node to its end: web-")),
    },
    Mutant {
        name: "the drain comes after the end",
        change: |steps| {
            let drain = steps.remove(at(steps, "drain"));
            let i = at(steps, "terminate");
            steps.insert(i + 1, drain);
        },
        caught: Some(("moved.1", "on the node to its end: web-")),
    },
    Mutant {
        name: "everything is spared",
        change: |steps| {
            let i = at(steps, "drain");
            steps[i]["with"]["spare"] = serde_yaml::from_str("app=web").unwrap();
        },
        caught: Some(("moved.1", "on the node to its end: web-")),
    },
    Mutant {
        name: "the suspect is drained too",
        change: |steps| {
            let i = at(steps, "drain");
            steps[i]["with"]["spare"] = serde_yaml::from_str("app=nobody").unwrap();
        },
        caught: Some(("collateral.1", "builder-")),
    },
    Mutant {
        name: "the node is never ended",
        change: |steps| without(steps, "terminate"),
        caught: Some(("containment.eradicated", "still there")),
    },
    Mutant {
        name: "the request for a certificate is overlooked, for nothing is ended",
        change: |steps| without(steps, "terminate"),
        caught: Some(("foothold.4", "stands nowhere")),
    },
    Mutant {
        name: "the credentials are forgotten",
        change: |steps| without(steps, "rotate"),
        caught: Some(("evidence.credentials", "none was taken")),
    },
];

/// On a node that does not answer.
const LOST_MUTANTS: &[Mutant] = &[
    Mutant {
        name: "a silent machine is taken to be off",
        change: |steps| {
            let i = at(steps, "drain");
            steps[i]["with"]["out-of-service"] = serde_yaml::from_str("true").unwrap();
            steps[i]["with"]["deadline"] = serde_yaml::from_str("0").unwrap();
        },
        caught: Some(("foothold.3", "stands nowhere")),
    },
    Mutant {
        name: "the budget is broken without anybody's word",
        change: |steps| {
            let i = at(steps, "drain");
            steps[i]["with"]["on-deadline"] = serde_yaml::from_str("delete").unwrap();
        },
        caught: Some(("evidence.drain", "none was taken")),
    },
    Mutant {
        name: "somebody says true for the cloud's program",
        change: |steps| {
            let i = at(steps, "terminate");
            steps[i]["with"]["command"] = serde_yaml::from_str("[/bin/true]").unwrap();
        },
        caught: Some(("honesty.3", "verified")),
    },
];

#[test]
fn a_runbook_made_wrong_scores_less_and_the_fault_is_named() {
    caught("pod-compromise", "pod-compromise", MUTANTS, &["--set", "settle=1s"]);
}

#[test]
fn a_node_playbook_made_wrong_scores_less_and_the_fault_is_named() {
    caught("node-compromise", "node-compromise", NODE_MUTANTS, &[]);
}

#[test]
fn an_exposed_secret_runbook_made_wrong_scores_less_and_the_fault_is_named() {
    caught("exposed-secret", "exposed-secret", SECRET_MUTANTS, &["--set", "patience=1m"]);
}

#[test]
fn on_a_silent_node_a_playbook_made_wrong_scores_less_and_the_fault_is_named() {
    caught("node-compromise", "node-compromise-lost", LOST_MUTANTS, &[]);
}

const ACCESS_MUTANTS: &[Mutant] = &[
    Mutant {
        name: "nothing is revoked",
        change: |steps| without(steps, "revoke"),
        caught: Some(("containment.denied.1", "true after")),
    },
    Mutant {
        name: "somebody else is revoked",
        change: |steps| {
            let i = at(steps, "identify");
            steps[i]["with"]["subject"] = "carol@billing".into();
        },
        caught: Some(("collateral.allowed.1", "carol may create")),
    },
    Mutant {
        name: "what it did is not read",
        change: |steps| {
            let i = at(steps, "review");
            steps[i]["with"].as_mapping_mut().unwrap().remove("audit-log");
        },
        caught: Some(("evidence.review", "none was taken")),
    },
    Mutant {
        name: "what it left is not looked up",
        change: |steps| without(steps, "footholds"),
        caught: Some(("evidence.footholds", "none was taken")),
    },
];

const RETURNING_MUTANTS: &[Mutant] = &[
    Mutant {
        name: "the account that the alert names is taken at its word",
        change: |steps| {
            let i = at(steps, "identify");
            steps[i]["with"].as_mapping_mut().unwrap().remove("audit-log");
        },
        caught: Some(("containment.denied.1", "true after")),
    },
    Mutant {
        name: "the account that the alert names loses its rights",
        change: |steps| {
            let i = at(steps, "identify");
            steps[i]["with"].as_mapping_mut().unwrap().remove("audit-log");
        },
        caught: Some(("collateral.1", "")),
    },
    Mutant {
        name: "nothing is revoked",
        change: |steps| without(steps, "revoke"),
        caught: Some(("honesty.1", "no step ran access.revoke")),
    },
];

#[test]
fn an_access_playbook_made_wrong_scores_less_and_the_fault_is_named() {
    caught("api-access", "api-access", ACCESS_MUTANTS, &[]);
}

#[test]
fn where_rights_come_back_a_playbook_made_wrong_scores_less_and_the_fault_is_named() {
    caught("api-access", "api-access-returning", RETURNING_MUTANTS, &[]);
}

#[test]
fn an_audit_review_without_the_log_scores_less_and_the_fault_is_named() {
    let forgets = Mutant {
        name: "the log is not given",
        change: |steps| {
            let i = at(steps, "audit");
            steps[i]["with"].as_mapping_mut().unwrap().remove("audit-log");
        },
        caught: Some(("evidence.audit", "none was taken")),
    };
    caught("audit-review", "audit-review", &[forgets], &[]);
}

fn caught(runbook: &str, drill: &str, mutants: &[Mutant], more: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("runbooks/{runbook}.yaml"));
    let shipped = std::fs::read_to_string(path).unwrap();
    let one = |n: usize, mutant: &Mutant| {
        let mut runbook: serde_yaml::Value = serde_yaml::from_str(&shipped).unwrap();
        let mut steps = runbook["steps"].as_sequence().unwrap().clone();
        (mutant.change)(&mut steps);
        runbook["steps"] = serde_yaml::Value::Sequence(steps);
        let file = dir.path().join(format!("mutant-{n}.yaml"));
        std::fs::write(&file, serde_yaml::to_string(&runbook).unwrap()).unwrap();
        let file = file.to_str().unwrap();
        let args = [&["--json", "-q", "drill", drill, "--auto", "--runbook", file], more].concat();
        let ran = quell(dir.path(), &args);
        let Some((check, names)) = mutant.caught else {
            assert_eq!(ran.status.code(), Some(3), "{}: the check refuses it", mutant.name);
            return;
        };
        let document = outcome(&ran);
        assert!(
            document["percent"].as_u64().unwrap() < 100 && ran.status.code() == Some(6),
            "{}: {}",
            mutant.name,
            document["percent"]
        );
        let all = failed(&document);
        let found = all.get(check).unwrap_or_else(|| panic!("{}: {check} did not fail: {all:?}", mutant.name));
        assert!(found.contains(names), "{}: {check}: {found}", mutant.name);
    };
    // They wait more than they work: three at a time.
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while let Some((n, mutant)) = {
                    let n = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    mutants.get(n).map(|mutant| (n, mutant))
                } {
                    one(n, mutant);
                }
            });
        }
    });
}

#[test]
fn a_scenario_that_is_none_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    let good =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/drills/pod-compromise.yaml"))
            .unwrap();
    for (from, to, says) in [
        ("level: basic", "level: easy", "easy"),
        ("injects:", "injets:", "injets"),
        ("at: 0s", "at: soon", "soon"),
        ("kind: Drill", "kind: Runbook", "Runbook"),
    ] {
        std::fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let ran = quell(dir.path(), &["drill", file.to_str().unwrap(), "--auto"]);
        let err = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(2), "{to}: {err}");
        assert!(err.contains(says), "{to}: {err}");
    }
}
