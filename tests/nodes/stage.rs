//! A cluster of three nodes, and the desk of a responder who has lost one of them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quell::sim::store::Key;
use quell::sim::{Setup, Sim};
use serde_json::Value;

/// The playbook as it is shipped, but for waits that are a minute there.
pub fn runbook(dir: &Path) -> PathBuf {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/node-compromise.yaml");
    let text = std::fs::read_to_string(shipped).unwrap();
    let patient = "      on-deadline: ${{ inputs.on_deadline }}\n";
    assert!(text.contains(patient));
    let text = text.replace(patient, &format!("{patient}      patience: 1\n      settle: 5\n"));
    let text = text.replace(
        "      method: ${{ inputs.terminate_by }}\n",
        "      method: ${{ inputs.terminate_by }}\n      watch: 1\n",
    );
    let file = dir.join("node-compromise.yaml");
    std::fs::write(&file, text).unwrap();
    file
}

/// A cluster of three nodes, and a responder's desk.
pub struct Stage {
    // Before the runtime that it lives in.
    sim: Option<Sim>,
    runtime: tokio::runtime::Runtime,
    pub dir: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.sim.take();
    }
}

pub struct Ran {
    pub code: Option<i32>,
    pub err: String,
}

impl Stage {
    pub fn new(manifests: &str) -> Stage {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let setup = Setup { seed: 1, audit_log: Some(dir.path().join("audit.log")), ..Setup::default() };
        let sim = runtime.block_on(Sim::start(setup)).unwrap();
        sim.with(|world| {
            world.speed = 20.0;
            (1..=3).for_each(|i| world.add_node(&format!("node-{i}")));
        });
        std::fs::write(dir.path().join("kubeconfig"), sim.kubeconfig("embedded", &[])).unwrap();
        runbook(dir.path());
        let stage = Stage { sim: Some(sim), runtime, dir };
        stage.settle();
        stage.apply(manifests);
        stage
    }

    pub fn sim(&self) -> &Sim {
        self.sim.as_ref().unwrap()
    }

    pub fn settle(&self) {
        self.runtime.block_on(self.sim().settled(Duration::from_secs(10)));
    }

    /// Creates objects in the namespace `default` or their own, and waits until the cluster is quiet.
    pub fn apply(&self, manifests: &str) {
        use serde::Deserialize;
        for one in serde_yaml::Deserializer::from_str(manifests) {
            let object = Value::deserialize(one).unwrap();
            if object.is_null() {
                continue;
            }
            let api = object["apiVersion"].as_str().unwrap();
            let base = if api.contains('/') { format!("/apis/{api}") } else { format!("/api/{api}") };
            let kind = object["kind"].as_str().unwrap().to_lowercase();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            self.request("POST", &format!("{base}/namespaces/{namespace}/{kind}s"), &object);
        }
        self.settle();
    }

    pub fn request(&self, method: &str, path: &str, body: &Value) -> Value {
        let text = std::fs::read_to_string(self.dir.path().join("kubeconfig")).unwrap();
        self.runtime.block_on(async {
            let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
            let options = kube::config::KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(config, &options).await.unwrap();
            let client = kube::Client::try_from(config).unwrap();
            let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
            let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
            let request = http::Request::builder().method(method).uri(path).header("content-type", content);
            client
                .request::<Value>(request.body(body).unwrap())
                .await
                .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
        })
    }

    pub fn get(&self, of: &str, namespace: &str, name: &str) -> Option<Value> {
        self.sim().with(|world| world.store.value(&Key::new(of, namespace, name)))
    }

    /// Names of the pods on a node, sorted.
    pub fn on(&self, node: &str) -> Vec<String> {
        let keys = self.sim().with(|world| world.store.on_node(node));
        let mut names: Vec<String> = keys.iter().map(|k| k.name.to_string()).collect();
        names.sort();
        names
    }

    pub fn node(&self) -> Value {
        self.get("nodes", "", "node-1").unwrap()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir.path())
            .env("USER", "tester")
            .env("KUBECONFIG", self.dir.path().join("kubeconfig"))
            .arg("--state-dir")
            .arg(self.dir.path().join("state"))
            .args(arguments)
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        command
    }

    pub fn quell(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().unwrap();
        Ran { code: output.status.code(), err: String::from_utf8_lossy(&output.stderr).into_owned() }
    }

    pub fn arguments<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        let all = ["run", "./node-compromise.yaml", "--set", "node=node-1", "--yes", "--max-risk", "destructive"];
        [&all, more].concat()
    }

    /// Cordon, inventory and drain of node-1, everything approved.
    pub fn drain(&self, more: &[&str]) -> Ran {
        self.quell(&self.arguments(&[&["--only", "cordon,inventory,drain"], more].concat()))
    }

    pub fn records(&self) -> Vec<Value> {
        let incidents = self.dir.path().join("state/incidents");
        let mut all: Vec<PathBuf> = std::fs::read_dir(incidents).unwrap().map(|e| e.unwrap().path()).collect();
        // By time: two incidents of one second sort by chance.
        all.sort_by_key(|dir| std::fs::metadata(dir.join("lock")).and_then(|m| m.modified()).ok());
        // A run that has just begun has none yet.
        let last = all.last().map(|dir| dir.join("journal.jsonl"));
        let text = last.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// How a step ended, and its outputs.
    pub fn step(&self, step: &str) -> (String, Value) {
        let records = self.records();
        let ended = records.iter().rev().find(|r| r["event"]["type"] == "step-finished" && r["event"]["step"] == step);
        let ended = &ended.unwrap_or_else(|| panic!("{step} did not end"))["event"];
        (ended["status"].as_str().unwrap().into(), ended["outputs"].clone())
    }

    /// Waits until the journal has such a line.
    pub fn until_said(&self, child: &mut Child, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let there = self.dir.path().join("state/incidents").exists();
            if there && self.records().iter().any(|r| r.to_string().contains(text)) {
                return;
            }
            assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{text} was never said");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Evictions that were accepted, by pod.
    pub fn evictions(&self) -> std::collections::BTreeMap<String, usize> {
        let log = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        let mut all = std::collections::BTreeMap::new();
        for event in log.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok()) {
            if event["objectRef"]["subresource"] == "eviction" && event["responseStatus"]["code"] == 201 {
                *all.entry(event["objectRef"]["name"].as_str().unwrap().to_string()).or_default() += 1;
            }
        }
        all
    }
}

/// A workload whose pods are on node-1 alone as long as that takes any.
pub fn workload(kind: &str, name: &str, replicas: usize, spec: &str) -> String {
    let service = if kind == "StatefulSet" { "serviceName: none, " } else { "" };
    format!(
        "---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{service}replicas: {replicas}, \
         selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, spec: {{{spec}\
         terminationGracePeriodSeconds: 1, containers: [{{name: a, image: busybox, command: [httpd, -f]}}]}}}}}}\n"
    )
}

pub fn pod(name: &str, meta: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}{meta}}}\nspec: {{nodeName: node-1, {spec}\
         terminationGracePeriodSeconds: 1, containers: [{{name: a, image: busybox, command: [httpd, -f]}}]}}\n"
    )
}

pub fn budget(name: &str, app: &str, rule: &str) -> String {
    format!(
        "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {{name: {name}}}\nspec: {{{rule}, selector: {{matchLabels: {{app: {app}}}}}}}\n"
    )
}

/// Those of the Deployment `web` that are on node-1.
pub fn web_on_node_1(stage: &Stage) -> Vec<String> {
    stage.on("node-1").into_iter().filter(|n| n.starts_with("web-")).collect()
}
