//! `quell audit graph` and `quell audit show`, as a user sees them.

use serde_json::{Value, json};

use super::{SA, event, out, quell};

/// Eve, whose name holds what DOT and a terminal would obey, minted a token of the account; the token read the Secret.
const EVE: &str = "eve\"];\u{1b}[2J\\n}";

fn with_log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let secret = json!({"resource": "secrets", "namespace": "payments", "name": "db", "apiVersion": "v1"});
    let token =
        json!({"resource": "serviceaccounts", "subresource": "token", "namespace": "payments", "name": "checkout"});
    let exec = json!({"resource": "pods", "subresource": "exec", "namespace": "payments", "name": "web-0"});
    let of_token = json!({
        "username": SA,
        "extra": {"authentication.kubernetes.io/credential-id": ["JTI=abc-1"], "authentication.kubernetes.io/pod-name": ["web-0"]},
    });
    let lines = [
        event(
            "1",
            "02:00:00",
            EVE,
            "create",
            token,
            json!({
                "annotations": {"authorization.k8s.io/decision": "allow", "authentication.kubernetes.io/issued-credential-id": "JTI=abc-1"},
            }),
        ),
        event("2", "02:01:00", "jane", "create", exec, json!({"responseStatus": {"code": 101}})),
        event("3", "02:02:00", SA, "get", secret.clone(), json!({"user": of_token, "sourceIPs": ["203.0.113.9"]})),
        event(
            "4",
            "02:03:00",
            "mallory",
            "get",
            secret,
            json!({
                "responseStatus": {"code": 403}, "annotations": {"authorization.k8s.io/decision": "forbid"},
            }),
        ),
    ];
    std::fs::write(dir.path().join("audit.log"), lines.join("\n") + "\n").unwrap();
    dir
}

#[test]
fn the_graph_shows_who_reached_the_secret_through_whom() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "graph", "--secret", "payments/db", "audit.log"]);
    let text = out(dir.path(), &output);
    assert_eq!(
        text.split("\nNo audit log shows").next().unwrap(),
        r#"secret payments/db

  identity system:serviceaccount:payments:checkout  read  secret payments/db  (1)
      2026-11-23T02:02:00.000Z  audit.log:1197
  identity mallory  read  secret payments/db  (1, all failed)
      2026-11-23T02:03:00.000Z  audit.log:1872
  credential JTI=abc-1  is  identity system:serviceaccount:payments:checkout  (2)
      2026-11-23T02:00:00.000Z to 2026-11-23T02:02:00.000Z  audit.log:0
  identity eve"];\u{1b}[2J\n}  had issued  credential JTI=abc-1  (1)
      2026-11-23T02:00:00.000Z  audit.log:0
  address 203.0.113.9  used  credential JTI=abc-1  (1)
      2026-11-23T02:02:00.000Z  audit.log:1197
  pod payments/web-0  holds  credential JTI=abc-1  (1)
      2026-11-23T02:02:00.000Z  audit.log:1197
  address 10.0.0.5  came as  identity eve"];\u{1b}[2J\n}  (1)
      2026-11-23T02:00:00.000Z  audit.log:0
  identity jane  ran a command in  pod payments/web-0  (1)
      2026-11-23T02:01:00.000Z  audit.log:653
  address 10.0.0.5  came as  identity jane  (1)
      2026-11-23T02:01:00.000Z  audit.log:653

4 events were looked at
"#
    );
}

#[test]
fn dot_stays_dot_whatever_a_name_holds() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "graph", "--secret", "payments/db", "audit.log", "--dot"]);
    let text = out(dir.path(), &output);
    assert!(text.starts_with("digraph quell {") && text.trim_end().ends_with('}'), "{text}");
    // Each line is whole: what stands between quotes ends none.
    for line in text.lines().filter(|l| l.contains('[') && l.contains("label")) {
        let quotes = line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        assert!(quotes == 2 && line.ends_with("];"), "{line}");
    }
    assert!(text.contains(r#"identity\neve\"];\\u{1b}[2J\\n}"#), "{text}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("No audit log shows"));
}

/// The form that others read. `QUELL_BLESS=1` writes it anew; a change of meaning needs a new version.
#[test]
fn the_graphs_document_has_its_golden_form() {
    let dir = with_log();
    let output = quell(dir.path(), &["audit", "graph", "--subject", EVE, "audit.log", "--json"]);
    let document: Value = serde_json::from_str(&out(dir.path(), &output)).unwrap();
    let text = format!("{}\n", serde_json::to_string_pretty(&document).unwrap());
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/audit-graph.json");
    if std::env::var_os("QUELL_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap());
    assert_eq!(document["v"], 1);
}

#[test]
fn a_graph_is_asked_for_something() {
    let dir = with_log();
    for (arguments, says) in [
        (&["audit", "graph", "audit.log"][..], "required"),
        (&["audit", "graph", "audit.log", "--secret", "a/b", "--subject", "c"], "cannot be used with"),
        (&["audit", "graph", "audit.log", "--secret", "db"], "NAMESPACE/NAME"),
        (&["audit", "graph", "audit.log", "--secret", "a/b", "--dot", "--json"], "is one form of output"),
        (&["audit", "show"], "required"),
        (&["audit", "show", "audit.log"], "FILE:OFFSET"),
        (&["audit", "show", "audit.log:7"], "no event begins at byte 7"),
        (&["audit", "show", "nothing.log:0"], "nothing.log"),
    ] {
        let output = quell(dir.path(), arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
}

#[test]
fn the_original_is_given_back_byte_for_byte() {
    let dir = with_log();
    let lines = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    let third: usize = lines.lines().take(2).map(|l| l.len() + 1).sum();
    let output = quell(dir.path(), &["audit", "show", &format!("audit.log:{third}"), "audit.log:0"]);
    let expected: Vec<&str> = [2, 0].iter().map(|n| lines.lines().nth(*n).unwrap()).collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected.join("\n") + "\n");
    assert_eq!(output.status.code(), Some(0));
}
