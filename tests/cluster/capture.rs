//! What is taken from the node: deletions, what has no name any more, volumes, and hostile trees.

use serde_json::Value;

use crate::support::{Desk, Namespace, eventually, in_pod, kubectl};

/// The drift list, a line each.
fn drift(desk: &Desk, container: &str) -> Vec<Value> {
    let path = desk.folder().join(format!("data/capture/{container}.drift.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

fn of<'d>(drift: &'d [Value], path: &str) -> &'d Value {
    drift.iter().find(|l| l["path"] == path).unwrap_or_else(|| panic!("{path} is not in the drift list: {drift:#?}"))
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn deletions_nameless_programs_and_volumes_are_taken() {
    let ns = Namespace::with_targets("cap-node");
    let pod = ns.pod("app=db");
    let script = "rm /bin/probe.gone 2>/dev/null; cp /bin/probe /tmp/x && (/tmp/x sleep >/dev/null 2>&1 &) && sleep 0.2 && rm /tmp/x; \
                  echo planted >/data/loot; echo changed >>/etc/passwd; rm -f /bin/ftpget; \
                  printf '#!/bin/sh\\n' >/usr/persist; chmod 4755 /usr/persist";
    kubectl(&["-n", "cap-node", "exec", &pod, "--", "sh", "-c", script]);
    let mut memfd = in_pod("cap-node", &pod, &["probe", "memfd"]);
    eventually("the memfd runs", 10, || {
        let listed =
            kubectl(&["-n", "cap-node", "exec", &pod, "--", "sh", "-c", "ls -l /proc/[0-9]*/exe 2>/dev/null || true"]);
        listed.contains("memfd:")
    });
    let desk = Desk::new(&ns);
    let ran = desk.playbook(&pod, &["--only", "record,capture,tidy"]);
    memfd.kill().unwrap();
    memfd.wait().unwrap();
    assert_eq!(desk.steps()["capture"], "verified", "{}", ran.err);
    let all = drift(&desk, "db");
    assert_eq!(all[0]["snapshotter"], "overlay");
    assert_eq!(of(&all, "/etc/passwd")["change"], "changed");
    assert_eq!(of(&all, "/bin/ftpget")["change"], "deleted");
    assert_eq!(of(&all, "/usr/persist")["change"], "added");
    let flags = of(&all, "/usr/persist")["flags"].to_string();
    assert!(flags.contains("setuid") && flags.contains("script"), "{flags}");
    let changes = desk.names_in_tar("data/capture/db.changes.tar");
    for name in ["bin/ftpget", "etc/passwd", "usr/persist"] {
        assert!(changes.iter().any(|n| n == name), "{name} of {changes:?}");
    }
    let processes = desk.document("data/capture/db.processes.json");
    let held = desk.names_in_tar("data/capture/db.unlinked.tar");
    for (what, key) in [("a deleted executable", "deleted"), ("a memfd", "memfd")] {
        let process = processes["processes"].as_array().unwrap().iter().find(|p| p["exe"][key] == true);
        let pid = &process.unwrap_or_else(|| panic!("{what} is not among the processes"))["pid"];
        assert!(held.contains(&format!("pid/{pid}/exe")), "{what}: {held:?}");
    }
    let volumes = desk.names_in_tar("data/capture/volumes.tar");
    assert!(volumes.contains(&"data/loot".to_string()), "{volumes:?}");
    let pod = ns.get("pod", &pod).unwrap();
    assert!(pod["spec"]["ephemeralContainers"].is_null(), "nothing is left in the pod: {}", pod["spec"]);
}
