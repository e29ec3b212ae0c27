//! Reads cases, sends their requests, compares the answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use http::Request;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::normal::{normal, shown};

/// One request and what is looked at.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Step {
    name: String,
    get: String,
    post: String,
    put: String,
    patch: String,
    delete: String,
    /// A watch: this path, until so many events came.
    watch: String,
    events: usize,
    body: Value,
    /// Instead of a body: this text.
    raw: Option<String>,
    /// Content-Type.
    r#type: String,
    accept: String,
    /// Impersonated user, with groups after commas.
    r#as: String,
    /// Repeat the request until these pointers have these values.
    until: BTreeMap<String, Value>,
    /// Until it is gone.
    gone: bool,
    /// Compare only these pointers.
    show: Vec<String>,
    /// Compare the fields that their managers own.
    managed: bool,
    /// Keep a part of the answer under a name, for `${NAME}` in later steps.
    keep: BTreeMap<String, String>,
    /// Don't compare: it only sets up.
    setup: bool,
}

impl Step {
    fn waited_for(&self, value: &Value) -> bool {
        self.until.iter().all(|(pointer, wanted)| value.pointer(pointer).unwrap_or(&Value::Null) == wanted)
    }
}

/// A server under test.
pub struct Server {
    client: Client,
}

/// The pods' image: one that the real cluster has.
const IMAGE: &str = "quell.test/busybox:1";

impl Server {
    pub async fn connect(kubeconfig: &Path) -> Server {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.default_retry = false;
        Server { client: Client::try_from(config).unwrap() }
    }

    async fn send(&self, method: &str, path: &str, step: &Step, body: Vec<u8>) -> (u16, Value) {
        let mut request = Request::builder().method(method).uri(path);
        let kind = if step.r#type.is_empty() { "application/json" } else { &step.r#type };
        if method != "GET" {
            request = request.header("content-type", kind);
        }
        request = request.header("accept", if step.accept.is_empty() { "application/json" } else { &step.accept });
        request = request.header("user-agent", "conformance/1");
        if !step.r#as.is_empty() {
            let mut parts = step.r#as.split(',');
            request = request.header("impersonate-user", parts.next().unwrap());
            for group in parts {
                request = request.header("impersonate-group", group);
            }
        }
        let answer = self.client.send(request.body(Body::from(body)).unwrap()).await.expect("an answer");
        let code = answer.status().as_u16();
        let bytes = answer.into_body().collect_bytes().await.unwrap_or_default();
        let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        (code, value)
    }

    async fn watch(&self, path: &str, step: &Step) -> (u16, Value) {
        let mut request = Request::get(path);
        if !step.accept.is_empty() {
            request = request.header("accept", &step.accept);
        }
        let request = request.body(Vec::new()).unwrap();
        let stream = match self.client.request_stream(request).await {
            Ok(stream) => stream,
            Err(kube::Error::Api(status)) => return (status.code, serde_json::to_value(status).unwrap_or_default()),
            Err(error) => panic!("{path}: {error}"),
        };
        let mut lines = Box::pin(stream.lines().take(step.events));
        let mut events = Vec::new();
        let read = async {
            while let Ok(Some(line)) = lines.try_next().await {
                events.push(serde_json::from_str::<Value>(&line).unwrap());
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(5), read).await;
        (200, json!(events))
    }

    async fn step(
        &self,
        step: &Step,
        namespace: &str,
        kept: &BTreeMap<String, String>,
        patience: Duration,
    ) -> (u16, Value) {
        let placed = |text: &str| {
            let mut text = text.replace("$NS", namespace).replace("$IMAGE", IMAGE);
            for (name, value) in kept {
                text = text.replace(&format!("${{{name}}}"), value);
            }
            text
        };
        if !step.watch.is_empty() {
            return self.watch(&placed(&step.watch), step).await;
        }
        let (method, path) = [
            ("GET", &step.get),
            ("POST", &step.post),
            ("PUT", &step.put),
            ("PATCH", &step.patch),
            ("DELETE", &step.delete),
        ]
        .into_iter()
        .find(|(_, p)| !p.is_empty())
        .unwrap_or_else(|| panic!("step {} asks nothing", step.name));
        let body = match &step.raw {
            Some(text) => placed(text),
            None if step.body.is_null() => String::new(),
            None => placed(&step.body.to_string()),
        };
        let path = placed(path);
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let (code, value) = self.send(method, &path, step, body.clone().into_bytes()).await;
            let waits = if step.gone { code != 404 } else { !step.waited_for(&value) };
            if !waits || tokio::time::Instant::now() > deadline {
                return (code, value);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn compared(step: &Step, code: u16, value: &Value, namespace: &str) -> Value {
    let parts = shown(value, &step.show);
    let mut answer = json!({"code": code, "body": normal(&parts, namespace)});
    if step.managed {
        let mut all: Vec<Value> = value["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        all.iter_mut().for_each(|e| {
            e.as_object_mut().unwrap().remove("time");
        });
        all.sort_by_key(|e| format!("{} {} {}", e["operation"], e["manager"], e["subresource"]));
        answer["managed"] = json!(all);
    }
    answer
}

/// Runs every case; reports all that differ at once.
pub async fn all(server: &Server, folder: &Path, record: bool, embedded: bool) {
    let only = std::env::var("QUELL_CONFORMANCE_ONLY").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir(folder.join("cases"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let known: BTreeMap<String, String> =
        serde_yaml::from_str(&std::fs::read_to_string(folder.join("known-differences.yaml")).unwrap()).unwrap();
    let cases =
        files.iter().filter(|f| f.to_string_lossy().contains(&only)).map(|file| one(server, file, record, embedded));
    let results: Vec<Vec<(String, Option<String>)>> = futures::stream::iter(cases).buffer_unordered(6).collect().await;
    let results: Vec<(String, Option<String>)> = results.into_iter().flatten().collect();
    let mut wrong = Vec::new();
    for (name, difference) in &results {
        let allowed = embedded && known.contains_key(name);
        match difference {
            Some(text) if !allowed => wrong.push(format!("--- {name}\n{text}")),
            None if allowed => {
                wrong.push(format!("--- {name}\nit no longer differs: take it out of known-differences.yaml"))
            }
            _ => {}
        }
    }
    println!(
        "{} steps compared, {} alike, {} known to differ",
        results.len(),
        results.iter().filter(|(_, d)| d.is_none()).count(),
        known.len()
    );
    if embedded && only.is_empty() {
        for name in known.keys().filter(|k| !results.iter().any(|(n, _)| n == *k)) {
            wrong.push(format!("--- {name}\nno such step: take it out of known-differences.yaml"));
        }
    }
    assert!(wrong.is_empty(), "{} steps differ:\n{}", wrong.len(), wrong.join("\n"));
}

async fn one(server: &Server, file: &Path, record: bool, embedded: bool) -> Vec<(String, Option<String>)> {
    let case = file.file_stem().unwrap().to_str().unwrap().to_string();
    let steps: Vec<Step> =
        serde_yaml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap_or_else(|e| panic!("{case}: {e}"));
    let expected_file = file.parent().unwrap().parent().unwrap().join("expected").join(format!("{case}.json"));
    let expected: BTreeMap<String, Value> =
        std::fs::read(&expected_file).ok().map(|t| serde_json::from_slice(&t).unwrap()).unwrap_or_default();
    let namespace = format!("conf-{}-{}", case.replace('_', "-"), std::process::id());
    let plain = Step::default();
    let home = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let (code, answer) = server.send("POST", "/api/v1/namespaces", &plain, home.to_string().into_bytes()).await;
    assert_eq!(code, 201, "{answer}");
    let account = Step {
        get: "/api/v1/namespaces/$NS/serviceaccounts/default".into(),
        until: [("/metadata/name".to_string(), json!("default"))].into(),
        ..Step::default()
    };
    server.step(&account, &namespace, &BTreeMap::new(), Duration::from_secs(60)).await;
    // What the embedded cluster lacks will not come by waiting.
    let patience = Duration::from_secs(if embedded && case == "lacks" { 5 } else { 60 });
    let (mut results, mut kept, mut recorded) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for (n, step) in steps.iter().enumerate() {
        let (code, value) = server.step(step, &namespace, &kept, patience).await;
        for (name, pointer) in &step.keep {
            let found =
                value.pointer(pointer).unwrap_or_else(|| panic!("{case} step {n}: {pointer} is not in {value}"));
            kept.insert(name.clone(), found.as_str().map_or_else(|| found.to_string(), Into::into));
        }
        if step.setup {
            let refused = code >= 300 && !step.until.contains_key("/code");
            assert!(!refused && step.waited_for(&value), "{case} step {n} sets up: {code} {value}");
            continue;
        }
        let name = if step.name.is_empty() { format!("{case}/{n}") } else { format!("{case}/{}", step.name) };
        let got = compared(step, code, &value, &namespace);
        if record {
            assert!(recorded.insert(name.clone(), got).is_none(), "two steps are named {name}");
            results.push((name, None));
            continue;
        }
        let difference = match expected.get(&name) {
            Some(wanted) if *wanted == got => None,
            Some(wanted) => Some(differences("", wanted, &got).join("\n")),
            None => Some(format!("nothing is recorded for it; got {got}")),
        };
        results.push((name, difference));
    }
    let _ = server.send("DELETE", &format!("/api/v1/namespaces/{namespace}"), &plain, Vec::new()).await;
    if record {
        std::fs::create_dir_all(expected_file.parent().unwrap()).unwrap();
        std::fs::write(&expected_file, serde_json::to_string_pretty(&recorded).unwrap() + "\n").unwrap();
    }
    results
}

/// Where two values differ, a line each.
fn differences(at: &str, wanted: &Value, got: &Value) -> Vec<String> {
    match (wanted, got) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            keys.into_iter().flat_map(|k| differences(&format!("{at}/{k}"), &wanted[k], &got[k])).collect()
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().flat_map(|(i, (x, y))| differences(&format!("{at}/{i}"), x, y)).collect()
        }
        (a, b) if a == b => Vec::new(),
        (a, b) => vec![format!("  {at}\n    real     {a}\n    embedded {b}")],
    }
}
