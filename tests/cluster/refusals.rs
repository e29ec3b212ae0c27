//! Bad input and bad circumstances: the exit code, a message worth reading, and nothing changed.

use std::process::Command;

use crate::support::{Desk, Namespace, Ran, apply, cluster, kubectl, ran};

fn refused(ran: &Ran, code: i32, says: &[&str]) {
    assert_eq!(ran.code, code, "{}", ran.err);
    for text in says {
        assert!(ran.err.contains(text), "{text:?} is not in:\n{}", ran.err);
    }
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn targets_that_are_not_exactly_one_pod() {
    let ns = Namespace::with_targets("no-target");
    let desk = Desk::new(&ns);
    refused(&desk.playbook("webb", &[]), 4, &["there is no pod \"webb\" in namespace no-target"]);
    refused(
        &desk.playbook("web", &[]),
        4,
        &["2 pods in no-target have names that begin with \"web\"", "name exactly one"],
    );
    refused(&desk.quell(&["run", "pod-compromise", "--set", "pod=web", "-n", "NO_SUCH"]), 2, &["namespace"]);
    refused(&desk.quell(&["run", "pod-compromis"]), 2, &["pod-compromise"]);
    assert!(ns.list("networkpolicy").iter().all(|p| !p["metadata"]["name"].as_str().unwrap().starts_with("quell-")));
    assert!(ns.list("lease").is_empty());
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_plan_changes_nothing_at_all() {
    let ns = Namespace::with_targets("plan-only");
    let desk = Desk::new(&ns);
    let before = (ns.list("pod"), ns.list("networkpolicy"), ns.list("lease"));
    let pod = ns.pod("app=web");
    let mut arguments = desk.arguments(&pod, &["--dry-run"]);
    arguments.retain(|a| !a.is_empty());
    let planned = desk.quell(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(planned.code, 0, "{}", planned.err);
    for text in ["isolate", "delete Pod plan-only/", "no undo", "UID", "before:", "quell.dev/quarantine"] {
        assert!(planned.out.contains(text), "{text:?} is not in:\n{}", planned.out);
    }
    let versions =
        |list: &[serde_json::Value]| list.iter().map(|o| o["metadata"]["resourceVersion"].clone()).collect::<Vec<_>>();
    let after = (ns.list("pod"), ns.list("networkpolicy"), ns.list("lease"));
    assert_eq!(versions(&before.0), versions(&after.0));
    assert_eq!((before.1, before.2), (after.1, after.2));
    assert!(!desk.home.path().join("state").exists(), "a plan leaves no incident");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn without_rights_it_says_which_verb_on_what() {
    let ns = Namespace::with_targets("no-rights");
    let desk = Desk::new(&ns);
    kubectl(&["-n", &ns.name, "delete", "role", "quell-pod-compromise"]);
    apply(
        br#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"quell-pod-compromise","namespace":"no-rights"},
             "rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list","watch"]},
                      {"apiGroups":["networking.k8s.io"],"resources":["networkpolicies"],"verbs":["get","list"]}]}"#,
    );
    let ran = desk.playbook(&ns.pod("app=web"), &[]);
    refused(
        &ran,
        4,
        &[
            "delete pods in namespace no-rights",
            "patch pods in namespace no-rights",
            "quell runbook rbac pod-compromise",
        ],
    );
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn clusters_that_are_not_the_one() {
    let ns = Namespace::with_targets("wrong-place");
    let desk = Desk::new(&ns);
    refused(
        &desk.playbook("bare", &["--expect-cluster", "production"]),
        4,
        &["not the expected cluster \"production\""],
    );

    let nowhere = |kubeconfig: &str| {
        let file = desk.home.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig).unwrap();
        let mut command = desk.command(&["plan", "pod-compromise", "--set", "pod=bare", "-n", &ns.name]);
        crate::support::ran(command.env("KUBECONFIG", &file).output().unwrap())
    };
    let text = std::fs::read_to_string(cluster().kubeconfig()).unwrap();
    refused(&nowhere(&text.replace(":6443", ":6444")), 10, &["can't reach the API server"]);
    let expired = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server(&text), "certificate-authority": cluster().admin().parent().unwrap().join("pki/ca.crt")}}],
        "users": [{"name": "u", "user": {"token": "expired"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    refused(&nowhere(&expired.to_string()), 10, &["does not accept", "credentials"]);
    refused(&nowhere("not: [a kubeconfig"), 10, &["kubeconfig"]);
}

fn server(kubeconfig: &str) -> String {
    let line = kubeconfig.lines().find(|l| l.contains("server:")).unwrap();
    line.split("server:").nth(1).unwrap().split([',', '}']).next().unwrap().trim().trim_matches('"').to_string()
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn without_a_terminal_nothing_is_asked_and_nothing_is_assumed() {
    let ns = Namespace::with_targets("no-terminal");
    let desk = Desk::new(&ns);
    let pod = ns.pod("app=web");
    let plain = desk.quell(&["run", "pod-compromise", "-n", &ns.name, "--set", &format!("pod={pod}")]);
    refused(&plain, 5, &["step isolate needs an approval", "--approve isolate"]);
    assert!(ns.list("networkpolicy").iter().all(|p| !p["metadata"]["name"].as_str().unwrap().starts_with("quell-")));

    // Approved up to "high", it stops before the pod is deleted, and goes on when that is approved by name.
    let image = format!("collector-image={}", cluster().collector);
    let part = desk.quell(&[
        "run",
        "pod-compromise",
        "-n",
        &ns.name,
        "--set",
        &format!("pod={pod}"),
        "--set",
        &image,
        "--yes",
    ]);
    refused(&part, 5, &["step terminate needs an approval (risk destructive)"]);
    assert!(ns.get("pod", &pod).is_some());
    let on = desk.quell(&["resume", "last", "--yes", "--approve", "terminate"]);
    assert_eq!(on.code, 7, "{}", on.err);
    assert!(ns.get("pod", &pod).is_none());
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn two_responders_do_not_act_on_one_pod_unknowingly() {
    let ns = Namespace::with_targets("two-of-us");
    let (one, two) = (Desk::new(&ns), Desk::new(&ns));
    let pod = ns.pod("app=web");
    assert_eq!(one.playbook(&pod, &["--only", "record,isolate"]).code, 7);
    refused(
        &two.playbook(&pod, &["--only", "record,isolate"]),
        4,
        &["already in the quarantine of incident", &one.incident()],
    );
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn protected_namespaces_need_a_reason() {
    let ns = Namespace::with_targets("precious");
    let desk = Desk::new(&ns);
    let guarded = desk.playbook("bare", &["--protect", "precious", "--only", "record,isolate"]);
    refused(&guarded, 4, &["protected namespace precious", "--override protected-namespace"]);
    let overridden = desk.playbook(
        "bare",
        &[
            "--protect",
            "precious",
            "--only",
            "record,isolate",
            "--override",
            "protected-namespace",
            "--reason",
            "drill",
        ],
    );
    assert_eq!(overridden.code, 7, "{}", overridden.err);
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn state_that_cannot_be_written() {
    let ns = Namespace::with_targets("no-disk");
    let desk = Desk::new(&ns);
    // /proc takes no directories, whoever asks: root is not stopped by a mode.
    let mut command = desk.command(&["run", "pod-compromise", "-n", &ns.name, "--set", "pod=bare", "--yes"]);
    let ran = ran(command.env("QUELL_STATE_DIR", "/proc/quell").output().unwrap());
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("/proc/quell"), "{}", ran.err);
    assert!(ns.list("networkpolicy").iter().all(|p| !p["metadata"]["name"].as_str().unwrap().starts_with("quell-")));
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_full_disk_stops_before_the_change_and_resumes_after() {
    let ns = Namespace::with_targets("full-disk");
    let desk = Desk::new(&ns);
    let small = desk.home.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=96k", "tmpfs"]).arg(&small).status().unwrap();
    assert!(mounted.success());
    let arguments = desk.arguments("bare", &["--only", "record,isolate,capture,terminate"]);
    let mut command = desk.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let ran = ran(command.env("QUELL_STATE_DIR", &small).output().unwrap());
    Command::new("umount").arg("-l").arg(&small).status().unwrap();
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("free some space"), "{}", ran.err);
    assert!(ns.get("pod", "bare").is_some(), "nothing is destroyed that was not captured\n{}", ran.err);
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn the_same_alert_joins_its_incident() {
    let ns = Namespace::with_targets("alerted");
    let desk = Desk::new(&ns);
    let pod = ns.pod("app=web");
    let alert = desk.home.path().join("alert.json");
    let document = serde_json::json!({
        "version": "4", "groupKey": "g", "truncatedAlerts": 0, "status": "firing", "receiver": "quell", "groupLabels": {}, "commonLabels": {},
        "commonAnnotations": {}, "externalURL": "http://alerts",
        "alerts": [{"status": "firing", "labels": {"alertname": "Shell", "namespace": ns.name, "pod": pod}, "annotations": {},
                    "startsAt": "2026-11-23T03:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "c0ffee"}],
    });
    std::fs::write(&alert, document.to_string()).unwrap();
    let arguments =
        ["run", "pod-compromise", "--from-alert", alert.to_str().unwrap(), "--yes", "--only", "record,isolate"];
    let first = desk.quell(&arguments);
    assert_eq!(first.code, 7, "{}", first.err);
    let incident = desk.incident();
    let again = desk.quell(&arguments);
    assert!(again.err.contains(&format!("already has incident {incident}")), "{}", again.err);
    assert_eq!(std::fs::read_dir(desk.home.path().join("state/incidents")).unwrap().count(), 1);
}
