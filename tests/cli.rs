//! What a user sees without a cluster: help, exit codes, errors.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::process::{Command, Output};

fn quell(arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_quell"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_readme_lists_every_exit_code() {
    let readme = include_str!("../README.md");
    for (code, meaning) in quell::exit::ALL {
        assert!(readme.contains(&format!("| {code} | {meaning} |")), "{code} {meaning}");
    }
}

#[test]
fn a_plan_without_a_kubeconfig_says_what_to_give() {
    let output = quell(&["plan", "pod-compromise", "--set", "pod=web", "-n", "shop"]);
    assert_eq!(output.status.code(), Some(10), "{}", err(&output));
    assert!(err(&output).contains("no kubeconfig") && err(&output).contains("--kubeconfig"), "{}", err(&output));
}

#[test]
fn bad_input_is_refused_before_anything_is_touched() {
    for (arguments, code, says) in [
        (&["run", "pod-compromis"][..], 2, "did you mean `pod-compromise`?"),
        (&["run", "pod-compromise"], 2, "input pod is missing"),
        (&["run", "pod-compromise", "--set", "pod=WEB", "-n", "shop"], 2, "can't be the name of an object"),
        (&["run", "pod-compromise", "--set", "pod=a", "--set", "podd=b", "-n", "shop"], 2, "has no input \"podd\""),
        (&["run", "pod-compromise", "--set", "pod=a", "-n", "shop", "--only", "isolat"], 2, "has no step \"isolat\""),
        (&["run", "pod-compromise", "--set", "pod=a", "-n", "shop", "--override", "needs"], 2, "--reason"),
        (&["status", "last"], 2, "there is no incident"),
        (&["bundle", "verify", "nothing.tar"], 6, "nothing.tar"),
        (&["runbook", "check", "nothing.yaml"], 2, "nothing.yaml"),
        (&["action", "explain", "pod.isolat"], 2, "did you mean pod.isolate?"),
        (&["nonsense"], 2, "unrecognized subcommand"),
    ] {
        let output = quell(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn nothing_is_coloured_in_a_pipe_and_json_stays_json() {
    for arguments in [
        &["runbook", "list", "--json"][..],
        &["action", "list", "--json"],
        &["incidents", "--json"],
        &["runbook", "schema"],
    ] {
        let output = quell(arguments);
        assert!(output.status.success(), "{arguments:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
    }
    for arguments in
        [&["--help"][..], &["runbook", "show", "pod-compromise"], &["action", "explain", "pod.isolate"], &["run"]]
    {
        let output = quell(arguments);
        assert!(!output.stdout.contains(&0x1b) && !output.stderr.contains(&0x1b), "{arguments:?}");
    }
    let failed = quell(&["run", "nope", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(document["error"]["exit_code"], 2);
}

#[test]
fn a_new_runbook_checks_clean_and_its_rights_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.yaml");
    assert!(quell(&["runbook", "new", "mine", "-o", path.to_str().unwrap()]).status.success());
    let again = quell(&["runbook", "new", "mine", "-o", path.to_str().unwrap()]);
    assert!(!again.status.success(), "an existing file is kept");
    assert!(quell(&["runbook", "check", path.to_str().unwrap()]).status.success());
    let rights = String::from_utf8(quell(&["runbook", "rbac", path.to_str().unwrap(), "-n", "shop"]).stdout).unwrap();
    for text in [
        "kind: ClusterRole",
        "kind: Role",
        "namespace: shop",
        "networkpolicies",
        "leases",
        "namespace: quell-forensics",
    ] {
        assert!(rights.contains(text), "{text} not in {rights}");
    }
    assert!(!rights.contains("secrets"), "it touches no Secret, so it needs no right to: {rights}");
}
