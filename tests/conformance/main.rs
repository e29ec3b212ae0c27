//! The same requests to the embedded cluster and to a real one: both must answer alike.
//!
//! What is expected was not written by hand: `QUELL_CONFORMANCE_RECORD=1` on the `real` test records it from a real API
//! server. Where the embedded one knowingly differs, `known-differences.yaml` says so, and an entry that no longer
//! differs fails the test.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod normal;
mod runner;

use std::path::{Path, PathBuf};

use runner::Server;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// The embedded cluster, with two nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let sim = quell::sim::Sim::start(quell::sim::Setup { seed: 1, ..Default::default() }).await.unwrap();
    sim.with(|world| {
        world.speed = 20.0;
        world.add_node("node-1");
        world.add_node("node-2");
    });
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, sim.kubeconfig("embedded", &[])).unwrap();
    let server = Server::connect(&kubeconfig).await;
    runner::all(&server, &folder(), false, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the real cluster: tests/cluster/README.md"]
async fn real() {
    let run = std::env::var("QUELL_TEST_CLUSTER").expect("QUELL_TEST_CLUSTER, as `cluster.sh env` prints it");
    let server = Server::connect(&Path::new(&run).join("admin.kubeconfig")).await;
    let record = std::env::var_os("QUELL_CONFORMANCE_RECORD").is_some();
    runner::all(&server, &folder(), record, false).await;
}
