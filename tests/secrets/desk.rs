//! An embedded cluster with a shop in it, and what a person would do there.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use quell::sim::{Setup, Sim};
use serde_json::{Value, json};

use crate::postgres::Postgres;

pub const OLD: &str = "old-password-of-the-shop";

/// An embedded cluster with a namespace, and a state directory.
pub struct Desk {
    /// It serves as long as it is here.
    _sim: Sim,
    client: Client,
    pub home: tempfile::TempDir,
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    pub async fn new() -> Desk {
        let home = tempfile::tempdir().unwrap();
        let setup = Setup { audit_log: Some(home.path().join("audit.log")), ..Setup::default() };
        let sim = Sim::start(setup).await.unwrap();
        sim.with(|world| {
            world.speed = 30.0;
            let now = world.now();
            world.audit.past(now - Duration::from_secs(25 * 3600), now, &[]);
            world.add_node("node-1");
            world.add_node("node-2");
        });
        let text = sim.kubeconfig("embedded", &[]);
        let file = home.path().join("kubeconfig");
        std::fs::write(&file, &text).unwrap();
        let (kubeconfig, options) = (Kubeconfig::from_yaml(&text).unwrap(), KubeConfigOptions::default());
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let desk = Desk { _sim: sim, client, home };
        desk.apply(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
            "/api/v1/namespaces/shop",
        )
        .await;
        desk.until("the service account", async || {
            !desk.get("/api/v1/namespaces/shop/serviceaccounts/default").await.is_null()
        })
        .await;
        desk
    }

    pub async fn request(&self, method: &str, path: &str, kind: &str, body: Value) -> Value {
        let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
        let request = request.body(body.to_string().into_bytes()).unwrap();
        self.client.request::<Value>(request).await.unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    pub async fn apply(&self, object: Value, path: &str) -> Value {
        self.request("PATCH", &format!("{path}?fieldManager=test&force=true"), "application/apply-patch+yaml", object)
            .await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Value {
        self.request("PATCH", &format!("{path}?fieldManager=somebody"), "application/merge-patch+json", body).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request::<Value>(request).await.unwrap_or_default()
    }

    pub async fn until(&self, what: &str, so: impl AsyncFn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !so().await {
            assert!(Instant::now() < deadline, "not within 30 s: {what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn secret(&self, name: &str, data: Value, more: Value) {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"}});
        let encoded: serde_json::Map<String, Value> = data
            .as_object()
            .unwrap()
            .iter()
            .map(|(k, v)| (k.clone(), json!(STANDARD.encode(v.as_str().unwrap()))))
            .collect();
        object["data"] = Value::Object(encoded);
        for (key, value) in more.as_object().into_iter().flatten() {
            if key == "metadata" {
                for (k, v) in value.as_object().unwrap() {
                    object["metadata"][k] = v.clone();
                }
            } else {
                object[key] = value.clone();
            }
        }
        self.apply(object, &format!("/api/v1/namespaces/shop/secrets/{name}")).await;
    }

    /// A Secret's values now.
    pub async fn values(&self, name: &str) -> std::collections::BTreeMap<String, String> {
        let secret = self.get(&format!("/api/v1/namespaces/shop/secrets/{name}")).await;
        let data = secret["data"].as_object().cloned().unwrap_or_default();
        data.into_iter()
            .map(|(k, v)| (k, String::from_utf8(STANDARD.decode(v.as_str().unwrap()).unwrap()).unwrap()))
            .collect()
    }

    /// A Deployment whose container is given so, with its pods ready.
    pub async fn deployment(&self, name: &str, replicas: u32, container: Value, volumes: Value) {
        let mut container = container;
        container["name"] = json!("app");
        container["image"] = json!("busybox");
        container["command"] = json!(["sh", "-c", "exec httpd -f -p 8080"]);
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "shop"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}}}});
        let path = format!("/apis/apps/v1/namespaces/shop/deployments/{name}");
        self.apply(object, &path).await;
        self.until(name, async || self.get(&path).await["status"]["availableReplicas"] == replicas).await;
    }

    pub async fn bare_pod(&self, name: &str) {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "spec": {
            "terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "busybox", "command": ["sh", "-c", "exec httpd -f"], "env": [by_env()]}]}});
        let path = format!("/api/v1/namespaces/shop/pods/{name}");
        self.apply(object, &path).await;
        self.until(name, async || self.get(&path).await["status"]["phase"] == "Running").await;
    }

    pub async fn pods(&self, app: &str) -> Vec<String> {
        let list = self.get(&format!("/api/v1/namespaces/shop/pods?labelSelector=app%3D{app}")).await;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|p| p["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "oncall")
            .env("QUELL_STATE_DIR", self.home.path().join("state"))
            .env("KUBECONFIG", self.home.path().join("kubeconfig"))
            .current_dir(self.home.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs it away from the runtime, which serves the cluster meanwhile.
    pub async fn quell(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub async fn playbook(&self, more: &[&str]) -> Ran {
        let audit = format!("audit-log={}", self.home.path().join("audit.log").display());
        let mut all =
            vec!["run", "exposed-secret", "-n", "shop", "--set", "secret=db", "--set", "watch=1s", "--set", &audit];
        all.extend(["--yes", "--max-risk", "destructive"]);
        all.extend(more);
        self.quell(&all).await
    }

    pub async fn steps(&self) -> std::collections::BTreeMap<String, String> {
        let status: Value = serde_json::from_str(&self.quell(&["status", "last", "--json"]).await.out).unwrap();
        let steps = status["steps"].as_array().unwrap().iter();
        steps.map(|s| (s["step"].as_str().unwrap().into(), s["status"].as_str().unwrap_or("-").into())).collect()
    }

    pub fn incident(&self) -> PathBuf {
        let mut all: Vec<PathBuf> =
            std::fs::read_dir(self.home.path().join("state/incidents")).unwrap().map(|e| e.unwrap().path()).collect();
        // By time: two incidents of one second sort by chance.
        all.sort_by_key(|dir| std::fs::metadata(dir.join("lock")).and_then(|m| m.modified()).ok());
        all.pop().unwrap()
    }

    pub fn document(&self, path: &str) -> Value {
        let path = self.incident().join(path);
        serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
    }

    /// Files under the home that hold a text, but for those that the test itself made.
    pub fn holding(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.home.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if !name.starts_with("test-") {
                    let bytes = std::fs::read(&path).unwrap();
                    let forms = [text.as_bytes().to_vec(), STANDARD.encode(text).into_bytes()];
                    if forms.iter().any(|f| bytes.windows(f.len()).any(|w| w == f)) {
                        found.push(path.display().to_string());
                    }
                }
            }
        }
        found
    }
}

pub fn by_env() -> Value {
    json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}})
}

pub fn mounted() -> (Value, Value) {
    (
        json!({"volumeMounts": [{"name": "db", "mountPath": "/etc/db"}]}),
        json!([{"name": "db", "secret": {"secretName": "db"}}]),
    )
}

/// A shop with its database: web has the password by env, worker by a volume.
pub async fn shop() -> (Desk, Postgres) {
    let database = Postgres::start();
    database
        .admin(&format!(
            "CREATE ROLE shop LOGIN PASSWORD '{OLD}'; CREATE TABLE orders (n int); ALTER TABLE orders OWNER TO shop"
        ))
        .await;
    let desk = Desk::new().await;
    let url = format!("postgres://shop:{OLD}@db/shop");
    desk.secret("db", json!({"username": "shop", "password": OLD, "url": url}), Value::Null).await;
    desk.deployment("web", 2, json!({"env": [by_env()]}), json!([])).await;
    let (container, volumes) = mounted();
    desk.deployment("worker", 1, container, volumes).await;
    (desk, database)
}

pub fn database(desk: &Desk, server: &Postgres) -> Vec<String> {
    let file = server.password_file(desk.home.path());
    // Not one of quell's own files.
    let file = {
        let to = desk.home.path().join("test-admin-password");
        std::fs::rename(file, &to).unwrap();
        to
    };
    let sets = [
        "provider=postgres".to_owned(),
        format!("database={}", server.url()),
        format!("database-password-file={}", file.display()),
    ];
    sets.into_iter().flat_map(|s| ["--set".to_owned(), s]).collect()
}

pub fn words(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}

/// A program for the provider `command`: its first argument is where it keeps its account of itself.
pub fn issuer(desk: &Desk, script: &str) -> Vec<String> {
    let path = desk.home.path().join("test-issuer.sh");
    let account = desk.home.path().join("test-account");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    ["provider=command".to_owned(), format!("program={},{}", path.display(), account.display())]
        .into_iter()
        .flat_map(|s| ["--set".to_owned(), s])
        .collect()
}
