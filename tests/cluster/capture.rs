//! What is taken from the node: deletions, what has no name any more, volumes, and hostile trees.

use serde_json::Value;

use crate::support::{Desk, Namespace, apply, eventually, in_pod, kubectl};

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

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn environment_and_token_are_sealed_and_packets_are_seen() {
    let ns = Namespace::with_targets("cap-sealed");
    let manifest = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "keeper", "namespace": "cap-sealed"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "quell.test/busybox:1",
            "command": ["probe", "beacon", "10.99.0.9:9"], "env": [{"name": "API_KEY", "value": "sesame-open-up"}]}]},
    });
    apply(manifest.to_string().as_bytes());
    kubectl(&["-n", "cap-sealed", "wait", "--for=condition=Ready", "pod", "keeper", "--timeout=60s"]);
    let (key, desk) = (age::x25519::Identity::generate(), Desk::new(&ns));
    let recipients = format!("recipients={}", key.to_public());
    let ran = desk.playbook(
        "keeper",
        &["--only", "record,capture,tidy", "--set", &recipients, "--set", "packets=3s", "--set", "memory=try"],
    );
    assert_eq!(desk.steps()["capture"], "verified", "{}", ran.err);
    assert!(ran.err.contains("the right to create nodes/proxy"), "without it no checkpoint is asked for: {}", ran.err);
    assert!(ran.err.contains("has 1 recipient"), "a second one is suggested: {}", ran.err);
    let opened = |name: &str| {
        let sealed = std::fs::read(desk.folder().join("data/capture").join(name)).unwrap();
        age::decrypt(&key, &sealed).unwrap()
    };
    let environ: Value = serde_json::from_slice(&opened("app.environ.json.age")).unwrap();
    let variables = environ["processes"][0]["variables"].as_array().unwrap();
    assert!(variables.iter().any(|v| v[0] == "API_KEY" && v[1] == "sesame-open-up"), "{variables:?}");
    let archive = opened("app.credentials-var-run-secrets-kubernetes.io-serviceaccount.tar.age");
    let token = b"eyJ";
    assert!(archive.windows(token.len()).any(|w| w == token), "the token is in it");
    for artifact in desk.artifacts() {
        // The manifest is recorded as it is, with what stands in it.
        if artifact.starts_with("data/record/") {
            continue;
        }
        let bytes = std::fs::read(desk.folder().join(&artifact)).unwrap();
        assert!(!bytes.windows(14).any(|w| w == b"sesame-open-up"), "{artifact} holds the value in clear");
    }
    let packets = std::fs::read(desk.folder().join("data/capture/packets.pcap")).unwrap();
    assert_eq!(&packets[..4], 0xa1b2_3c4d_u32.to_le_bytes());
    // Three seconds of packets hold nobody up: the disk was read meanwhile.
    let journal = std::fs::read_to_string(desk.folder().join("journal.jsonl")).unwrap();
    let events: Vec<Value> =
        journal.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["event"].take()).collect();
    let begun = events.iter().find(|e| e["type"] == "step-started" && e["step"] == "capture").unwrap();
    let place = |event: &str, what: &str| {
        let op = begun["ops"].as_array().unwrap().iter().find(|op| op["summary"].as_str().unwrap().contains(what));
        let id = &op.unwrap_or_else(|| panic!("no operation takes the {what}"))["id"];
        events.iter().position(|e| e["type"] == event && e["op"] == *id).unwrap()
    };
    assert!(place("intent", "packets on") < place("intent", "drift list"), "the order of volatility");
    assert!(place("outcome", "drift list") < place("outcome", "packets on"), "at the same time");
    // A SYN to 10.99.0.9 every second.
    assert!(packets.windows(4).any(|w| w == [10, 99, 0, 9]), "{} bytes", packets.len());
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_hostile_tree_neither_blocks_nor_lies() {
    let ns = Namespace::with_targets("cap-hostile");
    let pod = ns.pod("app=bare");
    let script = "mkdir -p /h/deep && cd /h && mkfifo fifo && mknod null c 1 3 && mknod disk b 8 0 && truncate -s 1099511627776 sparse \
                  && ln -s / root && ln -s /proc/1/root/etc/shadow shadow && ln -s loop loop && printf x >\"$(printf 'a\\n\\033[31mb')\" \
                  && i=0 && d=. && while [ $i -lt 450 ]; do d=$d/d; mkdir $d || break; i=$((i+1)); done; \
                  (while :; do echo more >>/h/grows; done >/dev/null 2>&1 &); (while :; do : >/h/flips; rm -f /h/flips; done >/dev/null 2>&1 &)";
    kubectl(&["-n", "cap-hostile", "exec", &pod, "--", "sh", "-c", script]);
    let desk = Desk::new(&ns);
    let begun = std::time::Instant::now();
    let ran = desk.playbook(&pod, &["--only", "record,capture,tidy"]);
    assert!(begun.elapsed().as_secs() < 60, "nothing blocks: {:?}\n{}", begun.elapsed(), ran.err);
    // Directories deeper than the collector goes are not there, and that is said.
    assert_eq!(desk.steps()["capture"], "unproved", "{}", ran.err);
    assert!(ran.err.contains("directories deeper than 400"), "{}", ran.err);
    let listed = std::process::Command::new("tar")
        .args(["--quoting-style=escape", "-tvf"])
        .arg(desk.folder().join("data/capture/shell.changes.tar"))
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for (kind, name) in
        [("p", "h/fifo"), ("c", "h/null"), ("b", "h/disk"), ("l", "h/root -> /"), ("l", "h/loop"), ("-", "h/sparse")]
    {
        assert!(listed.lines().any(|l| l.starts_with(kind) && l.contains(name)), "{kind} {name}: {listed}");
    }
    let size = std::fs::metadata(desk.folder().join("data/capture/shell.changes.tar")).unwrap().len();
    assert!(size < 1 << 30, "a sparse file is taken by what it holds: {size} bytes");
    assert!(!ran.err.contains('\u{1b}'), "nothing of it reaches a terminal unescaped");
}
