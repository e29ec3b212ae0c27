//! Undo gives back labels, ownership and reachability, or says what it can't.

use crate::support::{Desk, Namespace, eventually};

fn isolate_then_undo(namespace: &str, selector: &str) {
    let ns = Namespace::with_targets(namespace);
    let pod = ns.pod(selector);
    let before = ns.get("pod", &pod).unwrap();
    let address = format!("{}:9090", before["status"]["podIP"].as_str().unwrap());
    assert!(ns.dials(&address), "the control: it can be reached before");
    let desk = Desk::new(&ns);
    let ran = desk.playbook(&pod, &["--only", "record,isolate"]);
    assert_eq!(ran.code, 7, "{}", ran.err);
    eventually("new connections are refused", 20, || !ns.dials(&address));

    let undone = desk.quell(&["undo", "last", "--yes"]);
    let after = ns.get("pod", &pod);
    assert!(
        undone.code == 0 || undone.err.contains("not given back") || undone.err.contains("removed the pod"),
        "{}",
        undone.err
    );
    let after = after.unwrap_or_else(|| panic!("the pod is there\n{}", undone.err));
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"], "{}", undone.err);
    assert_eq!(after["metadata"]["ownerReferences"], before["metadata"]["ownerReferences"], "{}", undone.err);
    assert_eq!(undone.code, 0, "{}", undone.err);
    eventually("it can be reached again", 20, || ns.dials(&address));
    assert!(ns.list("networkpolicy").iter().all(|p| !p["metadata"]["name"].as_str().unwrap().starts_with("quell-")));

    let again = desk.quell(&["undo", "last", "--yes"]);
    assert_eq!(again.code, 0, "a second undo has nothing to do: {}", again.err);
    assert!(again.err.contains("Nothing of incident"), "{}", again.err);
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn of_a_deployments_pod() {
    isolate_then_undo("undo-web", "app=web");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn of_a_stateful_sets_pod() {
    isolate_then_undo("undo-db", "app=db");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn of_a_bare_pod() {
    isolate_then_undo("undo-bare", "app=bare");
}
