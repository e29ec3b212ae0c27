//! The embedded cluster's speed and size: `cargo bench --bench embedded`, or `-- NODES PODS`.
//!
//! Each number stands beside its peer in the same run: the same request to an empty embedded cluster, and, when
//! QUELL_BENCH_KUBECONFIG names one, to a real API server.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that can't go on fails")]

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use quell::sim::{Setup, Sim};
use serde_json::json;

const PER_DEPLOYMENT: usize = 100;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let (nodes, pods) = match numbers.as_slice() {
        [nodes, pods, ..] => (*nodes, *pods),
        _ => (1_000, 20_000),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(bench(nodes, pods));
}

async fn bench(nodes: usize, pods: usize) {
    let mut starts = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let sim = Sim::start(Setup::default()).await.unwrap();
        starts.push(begun.elapsed());
        drop(sim);
    }
    println!("start-up                  {}", spread(&mut starts));

    let empty = Sim::start(Setup::default()).await.unwrap();
    let client = connect(&empty.kubeconfig("empty", &[])).await;
    let small = gets(&client, "kube-root-ca.crt").await;
    println!("get, empty                {small:?}, median of {GETS}");
    if let Some(path) = std::env::var_os("QUELL_BENCH_KUBECONFIG") {
        let client = connect(&std::fs::read_to_string(Path::new(&path)).unwrap()).await;
        let real = gets(&client, "kube-root-ca.crt").await;
        println!(
            "get, real API server      {real:?}, {:.1} times the embedded one's",
            real.as_secs_f64() / small.as_secs_f64()
        );
    }
    drop(empty);

    let before = resident();
    let sim = Sim::start(Setup::default()).await.unwrap();
    sim.with(|world| (1..=nodes).for_each(|i| world.add_node(&format!("node-{i}"))));
    let client = connect(&sim.kubeconfig("large", &[])).await;
    let begun = Instant::now();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), "default");
    for i in 0..pods / PER_DEPLOYMENT {
        let name = format!("app-{i}");
        let deployment = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
            "replicas": PER_DEPLOYMENT, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "busybox"}]}}}}));
        deployments.create(&PostParams::default(), &deployment.unwrap()).await.expect("a Deployment is created");
    }
    println!("{} Deployments created  after {:?}", pods / PER_DEPLOYMENT, begun.elapsed());
    // Counted inside: a client's own copies of 20,000 pods would be measured too.
    let running = || {
        sim.with(|world| {
            let all = world.store.list("pods", "", None);
            all.filter(|(_, pod)| pod.field("status.phase") == "Running").count()
        })
    };
    while running() < pods && begun.elapsed() < Duration::from_secs(600) {
        sim.settled(Duration::from_secs(5)).await;
    }
    let running = running();
    println!("{running} of {pods} pods run     after {:?}, on {nodes} nodes", begun.elapsed());
    println!("resident                  {} MiB, {} MiB before", resident() / 1024, before / 1024);
    let large = gets(&client, "kube-root-ca.crt").await;
    println!(
        "get, at that size         {large:?}, {:.1} times the empty one's",
        large.as_secs_f64() / small.as_secs_f64()
    );
    let begun = Instant::now();
    let all: Api<Pod> = Api::all(client);
    let pages = ListParams::default().limit(500);
    assert!(!all.list(&pages).await.unwrap().items.is_empty());
    println!("list of 500 pods          {:?}", begun.elapsed());
}

const GETS: usize = 1_000;

async fn gets(client: &Client, name: &str) -> Duration {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let mut times = Vec::new();
    for _ in 0..GETS {
        let begun = Instant::now();
        api.get(name).await.unwrap();
        times.push(begun.elapsed());
    }
    times.sort();
    times[GETS / 2]
}

fn spread(times: &mut [Duration]) -> String {
    times.sort();
    format!("{:?} median, {:?} to {:?}", times[times.len() / 2], times[0], times[times.len() - 1])
}

async fn connect(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// KiB, as the kernel counts them.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0)
}
