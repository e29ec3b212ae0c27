//! Every shipped drill on the real cluster, by the same scenario file as on the embedded one.

use serde_json::Value;

use crate::support::{cluster, kubectl, quell, ran};

#[test]
#[ignore = "needs the real cluster: tests/cluster/README.md"]
fn every_drill_passes_here_too_and_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let drill = |args: &[&str]| {
        let output = quell()
            .env("QUELL_STATE_DIR", dir.path())
            .env("QUELL_COLLECTOR_IMAGE", &cluster().collector)
            .args(["--json", "-q", "--context", "quell-test", "--kubeconfig"])
            .arg(cluster().admin())
            .arg("drill")
            .args(args)
            .output()
            .unwrap();
        ran(output)
    };
    let audit = format!("audit-log={}", cluster().audit_log().display());
    let more = [
        "--auto",
        "--image",
        "busybox=quell.test/busybox:1",
        "--image",
        "distroless=quell.test/distroless:1",
        "--set",
        &audit,
    ];
    kubectl(&["label", "namespace", "kube-system", "quell.dev/drills-"]);
    let refused = drill(&[&["pod-compromise"], &more[..]].concat());
    assert_eq!(refused.code, 4, "a cluster that is not marked is refused\n{}", refused.err);
    assert!(refused.err.contains("not marked for drills"), "{}", refused.err);
    kubectl(&["label", "namespace", "kube-system", "quell.dev/drills=allowed", "--overwrite"]);

    let listed: Value = serde_json::from_str(&drill(&["list"]).out).unwrap();
    for row in listed["drills"].as_array().unwrap().iter().filter(|r| r["only-embedded"] == "") {
        let name = row["name"].as_str().unwrap();
        let ended = drill(&[&[name], &more[..]].concat());
        let last: Value = serde_json::from_str(ended.out.lines().last().unwrap_or_default()).unwrap_or_default();
        let failed: Vec<String> = last["outcome"]["checks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|c| c["verdict"] == "failed")
            .map(|c| format!("{} {}: {}", c["id"], c["what"], c["found"]))
            .collect();
        assert_eq!((ended.code, last["percent"].as_u64()), (0, Some(100)), "{name}: {failed:?}\n{}", ended.err);
        println!("{name}: 100 %, contained after {} ms", last["outcome"]["times"][2]["after-ms"]);
    }
    let cleaned = drill(&["clean"]);
    assert_eq!(cleaned.code, 0, "{}", cleaned.err);
    let left = kubectl(&["get", "clusterroles,clusterrolebindings,csr", "-l", "quell.dev/drill", "-o", "name"]);
    assert!(left.trim().is_empty(), "{left}");
    let left = kubectl(&["get", "namespaces", "-l", "quell.dev/drill", "-o", "jsonpath={.items[*].status.phase}"]);
    assert!(left.split_whitespace().all(|phase| phase == "Terminating"), "{left}");
}
