//! What a capture costs, beside `kubectl exec … tar` of the same in the same run: `cargo bench --bench capture`, with
//! the test cluster up (tests/cluster/README.md) and from inside its network:
//!
//! ```sh
//! eval "$(tests/cluster/cluster.sh env)"
//! tests/cluster/cluster.sh in cargo bench --offline --bench capture
//! ```
//!
//! Three pods: 1 GiB of random data, 200,000 small files, and a sparse file of 1 TiB. Rates are of the stream of the
//! writable layer alone; memory is the peak of resident memory, of quell and of the collector's processes on the nodes.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that can't go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const NAMESPACE: &str = "bench-capture";
const CASES: [(&str, &str, &str); 3] = [
    ("random", "1 GiB of random data", "dd if=/dev/urandom of=/taken bs=1M count=1024 2>/dev/null"),
    (
        "many",
        "200,000 small files",
        "mkdir /taken; d=0; while [ $d -lt 200 ]; do mkdir /taken/$d; i=0; while [ $i -lt 1000 ]; do \
         echo \"file $i of folder $d\" >/taken/$d/$i; i=$((i+1)); done; d=$((d+1)); done",
    ),
    ("sparse", "a sparse file of 1 TiB", "truncate -s 1099511627776 /taken"),
];

fn main() {
    let run = PathBuf::from(std::env::var("QUELL_TEST_CLUSTER").expect("QUELL_TEST_CLUSTER names the test cluster"));
    let admin = run.join("admin.kubeconfig");
    let collector = std::fs::read_to_string(run.join("collector.image")).expect("the collector is loaded");
    kubectl(&admin, &["delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true"]);
    kubectl(&admin, &["create", "namespace", NAMESPACE]);
    let folder = tempfile::tempdir().unwrap();
    for (name, title, fill) in CASES {
        pod(&admin, name);
        kubectl(&admin, &["-n", NAMESPACE, "exec", name, "--", "sh", "-c", fill]);
        println!("{title}");
        // A sparse file of this size takes tar days.
        let peer = (name != "sparse").then(|| peer(&admin, name, folder.path()));
        ours(&admin, name, collector.trim(), folder.path(), peer);
        kubectl(&admin, &["-n", NAMESPACE, "delete", "pod", name, "--now"]);
    }
    kubectl(&admin, &["delete", "namespace", NAMESPACE, "--wait=false"]);
}

fn kubectl(admin: &Path, arguments: &[&str]) {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(admin).args(arguments).output().expect("kubectl");
    assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A new namespace has no service account for a moment: until then its pods are refused.
fn pod(admin: &Path, name: &str) {
    let arguments = ["run", name, "--image=quell.test/busybox:1", "--restart=Never", "--command", "--", "probe"];
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let output =
            Command::new("kubectl").arg("--kubeconfig").arg(admin).args(["-n", NAMESPACE]).args(arguments).output();
        let output = output.unwrap();
        if output.status.success() {
            break;
        }
        assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&output.stderr));
        std::thread::sleep(Duration::from_millis(200));
    }
    kubectl(admin, &["-n", NAMESPACE, "wait", "--for=condition=Ready", "pod", name, "--timeout=60s"]);
}

/// `kubectl exec … tar` into a file: seconds.
fn peer(admin: &Path, name: &str, folder: &Path) -> f64 {
    let file = std::fs::File::create(folder.join("peer.tar")).unwrap();
    let begun = Instant::now();
    let status = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(admin)
        .args(["-n", NAMESPACE, "exec", name, "--", "tar", "-cf", "-", "/taken"])
        .stdout(file)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let took = begun.elapsed().as_secs_f64();
    assert!(status.success());
    let size = std::fs::metadata(folder.join("peer.tar")).unwrap().len();
    println!("  kubectl exec tar    {took:6.2} s  {:6.0} MiB", size as f64 / f64::from(1 << 20));
    took
}

fn ours(admin: &Path, name: &str, collector: &str, folder: &Path, peer: Option<f64>) {
    let state = folder.join(name);
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quell"))
        .env("KUBECONFIG", admin)
        .env("QUELL_STATE_DIR", &state)
        .args(["run", "pod-compromise", "-n", NAMESPACE, "--only", "record,capture,tidy"])
        .args(["--set", &format!("pod={name}"), "--set", &format!("collector-image={collector}")])
        .args(["--yes", "--max-risk", "destructive", "-q", "--bundle-dir"])
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (ended, remote) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let watcher = {
        let (ended, remote) = (ended.clone(), remote.clone());
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                remote.fetch_max(collectors().into_iter().filter_map(peak).max().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let mut local = 0;
    let status = loop {
        local = local.max(peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let whole = begun.elapsed().as_secs_f64();
    ended.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    assert!([0, 7].contains(&status.code().unwrap()), "{status}");
    let artifact = artifact(&state);
    let time = |key: &str| quell::clock::parse(artifact[key].as_str().unwrap()).unwrap();
    let took = (time("finished") - time("started")).as_seconds_f64();
    assert_eq!((&artifact["complete"], &artifact["sha256"]), (&Value::Bool(true), &artifact["sha256_source"]));
    let size = artifact["size"].as_u64().unwrap() as f64 / f64::from(1 << 20);
    let ratio = peer.map_or(String::new(), |peer| format!("  {:.1} times as fast", peer / took));
    println!("  quell's stream      {took:6.2} s  {size:6.0} MiB  the same hash at both ends{ratio}");
    println!(
        "  the whole run       {whole:6.2} s; quell {local} MiB, collector {} MiB",
        remote.load(Ordering::Relaxed)
    );
}

/// The record of the writable layer in the one incident of a state directory.
fn artifact(state: &Path) -> Value {
    let incident = std::fs::read_dir(state.join("incidents")).unwrap().next().unwrap().unwrap().path();
    let folder = std::fs::read_dir(incident.join("data/capture")).unwrap();
    let record = folder.map(|e| e.unwrap().path()).find(|p| p.to_string_lossy().ends_with(".changes.tar.meta.json"));
    serde_json::from_slice(&std::fs::read(record.expect("the layer was taken")).unwrap()).unwrap()
}

/// Processes of collectors on this machine: the test cluster's nodes are part of it.
fn collectors() -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    let is =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "quell-collector");
    all.filter(is).collect()
}

/// Peak resident memory of a process, MiB.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib.div_ceil(1024))
}
