//! `quell audit`, as a user sees it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

#[path = "audit/graph.rs"]
mod graph;
#[path = "audit/store.rs"]
mod store;

const SA: &str = "system:serviceaccount:payments:checkout";

fn event(id: &str, time: &str, user: &str, verb: &str, object: Value, more: Value) -> String {
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id,
        "stage": "ResponseComplete", "requestURI": "/api/v1/x", "verb": verb,
        "user": {"username": user, "groups": ["system:authenticated"]},
        "sourceIPs": ["10.0.0.5"], "userAgent": "kubectl/v1.33", "objectRef": object,
        "responseStatus": {"metadata": {}, "code": 200},
        "requestReceivedTimestamp": format!("2026-11-23T{time}.000001Z"),
        "stageTimestamp": format!("2026-11-23T{time}.000002Z"),
        "annotations": {"authorization.k8s.io/decision": "allow"},
    });
    for (key, value) in more.as_object().unwrap() {
        event[key] = value.clone();
    }
    event.to_string()
}

/// Two hours with a gap in the second, hostile user agents, and a damaged line.
fn log() -> Vec<String> {
    let secret = |name: &str| json!({"resource": "secrets", "namespace": "payments", "name": name, "apiVersion": "v1"});
    let settings = json!({"resource": "configmaps", "namespace": "kube-system", "name": "x", "apiVersion": "v1"});
    let mut lines: Vec<String> = (0..60)
        .step_by(4)
        .map(|m| {
            event(&format!("k{m}"), &format!("02:{m:02}:00"), "system:node:w1", "get", settings.clone(), json!({}))
        })
        .collect();
    lines.push(event(
        "a1",
        "02:05:10",
        SA,
        "get",
        secret("db"),
        json!({
            "sourceIPs": ["1.2.3.4", "203.0.113.9"],
            "userAgent": "curl/8.1 \u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\u{9b}31m",
            "user": {"username": SA, "extra": {"authentication.kubernetes.io/credential-id": ["JTI=abc-1"]}},
        }),
    ));
    lines.push(event(
        "a2",
        "02:06:10",
        SA,
        "list",
        json!({"resource": "secrets", "apiVersion": "v1"}),
        json!({
            "userAgent": "=HYPERLINK(\"http://evil\")", "responseStatus": {"code": 403},
            "annotations": {"authorization.k8s.io/decision": "forbid"},
        }),
    ));
    lines.push(event(
        "a3",
        "02:07:10",
        "jane@example.org",
        "list",
        json!({"resource": "secrets", "namespace": "payments"}),
        json!({
            "impersonatedUser": {"username": SA, "groups": ["g"]},
        }),
    ));
    lines.push(event("a4", "02:08:10", SA, "get",
        json!({"resource": "pods", "subresource": "exec", "namespace": "payments", "name": "web-0"}), json!({
        "stage": "ResponseStarted", "responseStatus": {"code": 101},
        "requestURI": "/api/v1/namespaces/payments/pods/web-0/exec?command=sh&command=-c&command=cat+%2Fetc%2Fshadow%1b%5B2J",
    })));
    lines.push("not an event".into());
    lines.extend((30..60).step_by(4).map(|m| {
        event(&format!("l{m}"), &format!("03:{m:02}:00"), "system:node:w1", "get", settings.clone(), json!({}))
    }));
    lines
}

fn quell(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(arguments)
        .env_clear()
        .env("HOME", dir)
        .current_dir(dir)
        .output()
        .unwrap()
}

fn with_log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("audit.log"), log().join("\n") + "\n").unwrap();
    dir
}

/// The text, the folder's name out of it; nothing in it moves a cursor.
fn out(dir: &Path, output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let odd = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r') || *c == '\u{202e}');
    assert_eq!(odd, None, "{text}");
    let real = std::fs::canonicalize(dir).unwrap();
    text.replace(&format!("{}/", real.display()), "")
}

#[test]
fn the_table_shows_who_did_what_and_what_can_not_be_known() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "audit.log", "--service-account", "payments/checkout"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(
        out(dir.path(), &output),
        r#"TIME                      OUTCOME      VERB  RESOURCE   OBJECT                                            USER                                                         FROM         AGENT
2026-11-23T02:05:10.000Z  allowed 200  get   secrets    payments/db                                       system:serviceaccount:payments:checkout                      203.0.113.9  curl/8.1 \u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\u{9b}31m
2026-11-23T02:06:10.000Z  denied 403   list  secrets    *                                                 system:serviceaccount:payments:checkout                      10.0.0.5     =HYPERLINK("http://evil")
2026-11-23T02:07:10.000Z  allowed 200  list  secrets    payments/*                                        jane@example.org as system:serviceaccount:payments:checkout  10.0.0.5     kubectl/v1.33
2026-11-23T02:08:10.000Z  open 101     get   pods/exec  payments/web-0 -- sh -c cat /etc/shadow\u{1b}[2J  system:serviceaccount:payments:checkout                      10.0.0.5     kubectl/v1.33

4 requests match, of 27 events
  asked    the log's begin to its end
  log      2026-11-23T02:00:00.000Z to 2026-11-23T03:58:00.000Z
  file     audit.log: 27 events, 2026-11-23T02:00:00.000Z to 2026-11-23T03:58:00.000Z
  level    configmaps: 23 Metadata; 23 reads, 0 others
  level    secrets: 3 Metadata; 3 reads, 0 others
  level    pods: 1 Metadata; 1 reads, 0 others
  damaged  audit.log: line 20, byte 11049: not JSON

Can't be known from this log, so the answer may lack something:
  - the audit log has a gap from 2026-11-23T02:56:00.000Z to 2026-11-23T03:30:00.000Z
  - 1 line could not be read and may be what was asked for

No audit log shows:
  - what the audit policy leaves out, and events that the API server dropped (apiserver_audit_error_total counts them)
  - an API server whose files were not given: whether there is one can't be told from the files
  - a kubelet's own API (port 10250), static pods, and what a process does inside its pod
  - etcd, read or written directly
  - the cloud's own API
"#
    );
}

#[test]
fn the_timeline_has_gaps_in_their_place() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "audit.log", "--secret", "payments/db", "--timeline"]);
    let text = out(dir.path(), &output);
    assert_eq!(
        text.split("\n\n").next().unwrap(),
        r#"2026-11-23
  02:05:10.000Z  allowed 200  system:serviceaccount:payments:checkout get secrets payments/db from 203.0.113.9 (curl/8.1 \u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\u{9b}31m)
  02:06:10.000Z  denied 403   system:serviceaccount:payments:checkout list secrets * from 10.0.0.5 (=HYPERLINK("http://evil"))
  02:07:10.000Z  allowed 200  jane@example.org as system:serviceaccount:payments:checkout list secrets payments/* from 10.0.0.5 (kubectl/v1.33)
  ~~~~ the audit log has a gap from 2026-11-23T02:56:00.000Z to 2026-11-23T03:30:00.000Z"#
    );
}

#[test]
fn json_is_one_document_with_the_originals_to_be_found() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "audit.log", "--session", "JTI=abc-1", "--json"]);
    assert_eq!(output.status.code(), Some(7));
    let document: Value = serde_json::from_str(&out(dir.path(), &output)).unwrap();
    let event = &document["events"][0];
    for (key, value) in [
        ("auditID", json!("a1")),
        ("time", json!("2026-11-23T02:05:10.000Z")),
        ("verb", json!("get")),
        ("user", json!(SA)),
        ("impersonatedUser", Value::Null),
        ("sourceIPs", json!(["1.2.3.4", "203.0.113.9"])),
        ("trustedSourceIP", json!("203.0.113.9")),
        ("userAgent", json!("curl/8.1 \u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\u{9b}31m")),
        ("resource", json!("secrets")),
        ("namespace", json!("payments")),
        ("name", json!("db")),
        ("subresource", json!("")),
        ("code", json!(200)),
        ("allowed", json!(true)),
        ("matched", json!("itself")),
    ] {
        assert_eq!(event[key], value, "{key}");
    }
    let text = std::fs::read(dir.path().join("audit.log")).unwrap();
    let number = |key: &str| usize::try_from(event["origin"][key].as_u64().unwrap()).unwrap();
    let original = &text[number("offset")..number("offset") + number("length")];
    assert_eq!(String::from_utf8_lossy(original), log()[15]);
    assert_eq!(document["coverage"]["damagedLines"], 1);
    assert_eq!(document["coverage"]["cannotBeKnown"].as_array().unwrap().len(), 2);
    assert_eq!(document["query"]["sessions"], json!(["abc-1"]));
    assert!(document["findings"].is_null());
}

#[test]
fn csv_calculates_nothing_and_lines_stream() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "audit.log", "--verb", "list", "--csv"]);
    let text = out(dir.path(), &output);
    assert!(text.contains(r#""'=HYPERLINK(""http://evil"")""#), "{text}");
    assert_eq!(text.lines().count(), 3);
    assert!(String::from_utf8_lossy(&output.stderr).contains("has a gap"));
    let output = quell(dir.path(), &["audit", "audit.log", "--subject", SA, "--jsonl", "--limit", "2", "-q"]);
    let ids: Vec<Value> =
        out(dir.path(), &output).lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["auditID"].take()).collect();
    assert_eq!(ids, ["a3", "a4"]);
    assert!(output.stderr.is_empty());
}

#[test]
fn a_log_without_a_gap_ends_with_0_and_standard_input_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = log().into_iter().take(19).collect();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(["audit", "-", "--source-ip", "203.0.113.0/24", "--json"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let document: Value = serde_json::from_str(&out(dir.path(), &output)).unwrap();
    assert_eq!(document["coverage"]["cannotBeKnown"], json!([]));
    assert_eq!((document["events"].as_array().unwrap().len(), output.status.code()), (1, Some(0)));
}

#[test]
fn a_question_that_the_log_can_not_answer_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let write = json!({"resource": "configmaps", "namespace": "a", "name": "b"});
    std::fs::write(dir.path().join("a.log"), event("w", "02:00:00", "u", "create", write, json!({}))).unwrap();
    for (filter, says) in [
        (["--secret", "a/b"], "its policy does not record reads"),
        (["--pod", "a/b"], "no event names the token or certificate"),
    ] {
        let output = quell(dir.path(), &["audit", "a.log", filter[0], filter[1]]);
        assert_eq!(output.status.code(), Some(7));
        assert!(out(dir.path(), &output).contains(says), "{}", out(dir.path(), &output));
    }
    let output = quell(
        dir.path(),
        &["audit", "a.log", "--verb", "create", "--from", "2026-11-23T01:00:00Z", "--until", "2026-11-23T02:30:00Z"],
    );
    let text = out(dir.path(), &output);
    assert!(text.contains("the log begins only at 2026-11-23T02:00:00.000Z"), "{text}");
    assert!(text.contains("the log ends at 2026-11-23T02:00:00.000Z"), "{text}");
}

#[test]
fn bad_questions_are_refused_before_anything_is_read() {
    let dir = with_log();
    for (arguments, says) in [
        (&["audit"][..], "required"),
        (&["audit", "nothing.log"], "nothing.log"),
        (&["audit", "no*.log"], "no file is named like"),
        (&["audit", "audit.log", "--secret", "db"], "NAMESPACE/NAME"),
        (&["audit", "audit.log", "--source-ip", "10.0.0.0/33"], "neither an address nor a range"),
        (&["audit", "audit.log", "--since", "1 day"], "--since"),
        (&["audit", "audit.log", "--from", "yesterday"], "is no time"),
        (&["audit", "audit.log", "--json", "--csv"], "--json is one form of output"),
        (&["audit", "audit.log", "--session", "eyJhbGciOiJ"], "that is a token, not its id"),
        (&["audit", "audit.log", "--limit", "1", "--findings"], "cannot be used with"),
        (&["audit", "diff", "7d", "24h", "audit.log"], "a comparison is of one identity"),
        (&["audit", "diff", "7 d", "24h", "audit.log", "--node", "w1"], "BASELINE"),
    ] {
        let output = quell(dir.path(), arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
}

#[test]
fn findings_name_the_events_behind_them() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "audit.log", "--findings", "--json"]);
    let document: Value = serde_json::from_str(&out(dir.path(), &output)).unwrap();
    let all = document["findings"].as_array().unwrap();
    let exec = all.iter().find(|f| f["events"].as_array().unwrap().iter().any(|e| e["auditID"] == "a4")).unwrap();
    assert!(exec["events"][0]["file"].as_str().unwrap().ends_with("audit.log"));
    assert_eq!(document["events"], json!([]));
    // A filter keeps the findings that touch what it finds.
    let output = quell(dir.path(), &["audit", "audit.log", "--findings", "--node", "w1", "--json"]);
    let of_node: Value = serde_json::from_str(&out(dir.path(), &output)).unwrap();
    assert!(of_node["findings"].as_array().unwrap().iter().all(|f| f["events"][0]["auditID"] != "a4"));
    let output = quell(dir.path(), &["audit", "audit.log", "--findings"]);
    let text = out(dir.path(), &output);
    assert!(text.contains(exec["title"].as_str().unwrap()) && text.contains("27 events were looked at"), "{text}");
}

#[test]
fn a_comparison_tells_what_is_new() {
    let dir = with_log();
    let [baseline, window] =
        ["2026-11-23T02:00:00Z..2026-11-23T02:06:00Z", "2026-11-23T02:06:00Z..2026-11-23T02:30:00Z"];
    let output = quell(dir.path(), &["audit", "diff", baseline, window, "audit.log", "--subject", SA, "--json"]);
    let document: Value = serde_json::from_str(&out(dir.path(), &output)).unwrap();
    let new: Vec<String> = document["new"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| format!("{}: {}", n["kind"].as_str().unwrap(), n["value"].as_str().unwrap()))
        .collect();
    for says in
        ["call: list secrets", "call: get pods/exec in payments", "address: 10.0.0.5", "acted-for-by: jane@example.org"]
    {
        assert!(new.iter().any(|n| n == says), "{says}: {new:?}");
    }
    assert!(!new.iter().any(|n| n.contains("203.0.113.9") || n == "call: get secrets in payments"), "{new:?}");
    assert_eq!(
        (document["baseline"]["requests"].as_u64(), document["window"]["requests"].as_u64()),
        (Some(1), Some(3))
    );
}
