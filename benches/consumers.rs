//! "Who can read this Secret" in a large cluster: `cargo bench --bench consumers`, with a test cluster of its own up
//! (tests/cluster/README.md, QUELL_CLUSTER_NETNS) and from inside its network:
//!
//! ```sh
//! tests/cluster/cluster.sh fake-nodes 1000
//! eval "$(tests/cluster/cluster.sh env)"
//! tests/cluster/cluster.sh in cargo bench --offline --bench consumers -- 20000
//! ```
//!
//! Plants pods on the nodes that pretend, templates of four kinds, roles and bindings, from a seed, all in the Secret's own
//! namespace, which is the worst case. Then `quell run exposed-secret --only consumers` must name what was planted, no
//! more and no less; of identities the judge is the API server itself, by an access review for each. The peer is
//! `kubectl get -o json` of the same kinds: what a person would fetch before the first thought about it.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark that can't go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use futures::StreamExt;
use http::Request;
use kube::Client;
use serde_json::{Value, json};

const NAMESPACE: &str = "bench-consumers";
const SECRET: &str = "db";
const TEMPLATES: u64 = 1000;
const BINDINGS: u64 = 300;
/// Requests in flight while planting.
const HANDS: usize = 24;

fn main() {
    let pods = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(20_000);
    let run = PathBuf::from(std::env::var("QUELL_TEST_CLUSTER").expect("QUELL_TEST_CLUSTER names the test cluster"));
    let admin = run.join("admin.kubeconfig");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(pods, &admin));
}

async fn measure(pods: u64, admin: &Path) {
    let config = kube::config::Kubeconfig::read_from(admin).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let mut random = Random(20_261_125);
    let truth = plant(&client, pods, &mut random).await;
    println!(
        "{pods} pods on {} nodes; {} hold the Secret, {} of {TEMPLATES} templates name it",
        truth.nodes,
        truth.pods.len(),
        truth.workloads.len()
    );
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..3 {
        let kinds =
            "pods,deployments,statefulsets,daemonsets,replicasets,jobs,cronjobs,secrets,configmaps,roles,rolebindings";
        let (took, size) = kubectl(admin, &["get", kinds, "-o", "json", "-n", NAMESPACE]);
        theirs.push(took);
        println!("  kubectl get -o json   {took:6.2} s  {:6.0} MiB", size as f64 / f64::from(1 << 20));
        let (took, peak, found) = quell(admin, &folder.path().join(round.to_string()));
        ours.push(took);
        println!("  quell, the whole run  {took:6.2} s  {peak:6} MiB resident at most");
        truth.compare(&client, &found).await;
    }
    let best = |of: &[f64]| of.iter().copied().fold(f64::INFINITY, f64::min);
    println!("answers as planted; {:.2} of kubectl's time", best(&ours) / best(&theirs));
}

/// splitmix64: the same plant from the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What was planted.
struct Truth {
    nodes: usize,
    pods: BTreeSet<String>,
    workloads: BTreeSet<String>,
    users: Vec<String>,
}

impl Truth {
    async fn compare(&self, client: &Client, found: &Value) {
        let names = |of: &str, name: &dyn Fn(&Value) -> String| -> BTreeSet<String> {
            found[of].as_array().unwrap().iter().map(name).collect()
        };
        let text = |v: &Value| v.as_str().unwrap().to_owned();
        assert_eq!(names("pods", &|p| text(&p["name"])), self.pods);
        let workload = |w: &Value| format!("{} {}", text(&w["kind"]), text(&w["name"]));
        assert_eq!(names("workloads", &workload), self.workloads);
        assert_eq!(found["not_read"], json!([]));
        let readers: BTreeSet<&str> = found["identities"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|i| i["kind"] == "User" && i["powers"].as_array().unwrap().contains(&json!("read")))
            .map(|i| i["name"].as_str().unwrap())
            .collect();
        let judged: Vec<(&str, bool)> = futures::stream::iter(&self.users)
            .map(|user| async move { (user.as_str(), may_read(client, user).await) })
            .buffer_unordered(HANDS)
            .collect()
            .await;
        for (user, may) in judged {
            assert_eq!(readers.contains(user), may, "{user}");
        }
    }
}

/// Whether the API server would let this user read the Secret.
async fn may_read(client: &Client, user: &str) -> bool {
    for verb in ["get", "list", "watch"] {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": user,
            "resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": NAMESPACE, "name": SECRET}}});
        let answer = post(client, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await;
        if answer["status"]["allowed"] == true {
            return true;
        }
    }
    false
}

async fn post(client: &Client, path: &str, body: &Value) -> Value {
    let request = Request::post(path).header("content-type", "application/json").body(body.to_string().into_bytes());
    client.request(request.unwrap()).await.unwrap_or_else(|e| panic!("{path}: {e}"))
}

async fn get(client: &Client, path: &str) -> Value {
    client.request(Request::get(path).body(Vec::new()).unwrap()).await.unwrap_or_else(|e| panic!("{path}: {e}"))
}

async fn plant(client: &Client, pods: u64, random: &mut Random) -> Truth {
    let nodes = get(client, "/api/v1/nodes?labelSelector=type%3Dkwok&limit=5000").await;
    let nodes: Vec<String> =
        nodes["items"].as_array().unwrap().iter().map(|n| n["metadata"]["name"].as_str().unwrap().to_owned()).collect();
    assert!(!nodes.is_empty(), "`cluster.sh fake-nodes 1000` makes the nodes");
    let home = format!("/api/v1/namespaces/{NAMESPACE}");
    post(client, "/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}})).await;
    while get(client, &format!("{home}/serviceaccounts")).await["items"] == json!([]) {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    post(
        client,
        &format!("{home}/secrets"),
        &json!({"metadata": {"name": SECRET}, "stringData": {"password": "planted-and-long"}}),
    )
    .await;
    let mut truth = Truth { nodes: nodes.len(), pods: BTreeSet::new(), workloads: BTreeSet::new(), users: Vec::new() };
    let mut objects: Vec<(String, Value)> = Vec::new();
    for n in 0..pods {
        let name = format!("pod-{n:05}");
        let (mut spec, names_it) = pod_spec(random);
        spec["nodeName"] = json!(nodes[n as usize % nodes.len()]);
        spec["tolerations"] = json!([{"operator": "Exists"}]);
        if names_it {
            truth.pods.insert(name.clone());
        }
        objects.push((
            format!("{home}/pods"),
            json!({"metadata": {"name": name, "labels": {"app": "planted"}}, "spec": spec}),
        ));
    }
    for n in 0..TEMPLATES {
        let (kind, path) = random.of(&[
            ("Deployment", "apps/v1/namespaces/NS/deployments"),
            ("StatefulSet", "apps/v1/namespaces/NS/statefulsets"),
            ("CronJob", "batch/v1/namespaces/NS/cronjobs"),
            ("Job", "batch/v1/namespaces/NS/jobs"),
        ]);
        let name = format!("made-{n:04}");
        let (mut spec, names_it) = pod_spec(random);
        if names_it {
            truth.workloads.insert(format!("{kind} {name}"));
        }
        let batch = matches!(kind, "Job" | "CronJob");
        if batch {
            spec["restartPolicy"] = json!("Never");
        }
        let template = json!({"metadata": {"labels": {"made": name}}, "spec": spec});
        let spec = match kind {
            "Job" => json!({"suspend": true, "template": template}),
            "CronJob" => {
                json!({"suspend": true, "schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": template}}})
            }
            _ => {
                json!({"replicas": 0, "selector": {"matchLabels": {"made": name}}, "template": template, "serviceName": name})
            }
        };
        let mut object = json!({"metadata": {"name": name}, "spec": spec});
        if kind == "Deployment" {
            object["spec"].as_object_mut().unwrap().remove("serviceName");
        }
        objects.push((format!("/apis/{}", path.replace("NS", NAMESPACE)), object));
    }
    objects.extend(rights(random, &mut truth));
    let planted = futures::stream::iter(&objects).map(|(path, object)| post(client, path, object));
    planted.buffer_unordered(HANDS).for_each(|_| async {}).await;
    // What starts the pods would be measured with it.
    while get(client, &format!("{home}/pods?fieldSelector=status.phase%21%3DRunning&limit=1")).await["items"]
        != json!([])
    {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    truth
}

/// A pod that names the Secret in one of the ways, or another in the same ways; and whether it does.
fn pod_spec(random: &mut Random) -> (Value, bool) {
    let names_it = random.below(20) == 0;
    let secret = if names_it { SECRET } else { random.of(&["db2", "d", "db-old", "other"]) };
    let mut container = json!({"name": "c", "image": "quell.test/busybox:1", "env": [{"name": "MODE", "value": SECRET}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}});
    let mut spec = json!({"automountServiceAccountToken": random.below(2) == 0, "terminationGracePeriodSeconds": 0});
    match random.below(6) {
        0 => {
            container["env"] =
                json!([{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}])
        }
        1 => container["envFrom"] = json!([{"secretRef": {"name": secret}}]),
        2 => spec["volumes"] = json!([{"name": "v", "secret": {"secretName": secret}}]),
        3 => spec["volumes"] = json!([{"name": "v", "projected": {"sources": [{"secret": {"name": secret}}]}}]),
        4 => spec["imagePullSecrets"] = json!([{"name": secret}]),
        _ => {
            let mut first = container.clone();
            first["name"] = json!("first");
            first["envFrom"] = json!([{"secretRef": {"name": secret, "optional": true}}]);
            spec["initContainers"] = json!([first]);
        }
    }
    if spec["volumes"].is_array() {
        container["volumeMounts"] = json!([{"name": "v", "mountPath": "/v"}]);
    }
    spec["containers"] = json!([container]);
    (spec, names_it)
}

/// Roles and bindings of a user each, whose rules are now near, now far from reading the Secret.
fn rights(random: &mut Random, truth: &mut Truth) -> Vec<(String, Value)> {
    let mut objects = Vec::new();
    let base = "/apis/rbac.authorization.k8s.io/v1";
    for n in 0..BINDINGS {
        let name = format!("user-{n:03}");
        let mut rule = json!({
            "apiGroups": [random.of(&["", "", "", "*", "apps"])],
            "resources": [random.of(&["secrets", "secrets", "*", "configmaps", "secrets/status", "*/secrets"])],
            "verbs": [random.of(&["get", "list", "watch", "*", "create", "delete"])],
        });
        let verb = random.of(&["create", "patch"]);
        if random.below(3) == 0 {
            rule["resourceNames"] = json!([random.of(&[SECRET, "other"])]);
        }
        if random.below(4) == 0 {
            rule["verbs"].as_array_mut().unwrap().push(json!(verb));
        }
        let wide = random.below(4) == 0;
        let kind = if wide { "ClusterRole" } else { "Role" };
        let metadata = json!({"name": format!("bench-{name}")});
        let role = json!({"metadata": metadata, "rules": [rule]});
        // A cluster role may be bound in the namespace alone.
        let far = wide && random.below(2) == 0;
        let binding = json!({"metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": format!("bench-{name}")},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
        let home = format!("{base}/namespaces/{NAMESPACE}");
        objects.push((if wide { format!("{base}/clusterroles") } else { format!("{home}/roles") }, role));
        objects
            .push((if far { format!("{base}/clusterrolebindings") } else { format!("{home}/rolebindings") }, binding));
        truth.users.push(name);
    }
    objects
}

/// Seconds, and bytes of its output.
fn kubectl(admin: &Path, arguments: &[&str]) -> (f64, u64) {
    let begun = Instant::now();
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(admin)
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl");
    let size = std::io::copy(&mut child.stdout.take().unwrap(), &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
    (begun.elapsed().as_secs_f64(), size)
}

/// Seconds, MiB resident at most, and the inventory.
fn quell(admin: &Path, state: &Path) -> (f64, u64, Value) {
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quell"))
        .env("KUBECONFIG", admin)
        .env("QUELL_STATE_DIR", state)
        .args(["run", "exposed-secret", "-n", NAMESPACE, "--only", "consumers", "--set", &format!("secret={SECRET}")])
        .args(["--yes", "-q", "--bundle-dir"])
        .arg(state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(resident(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let took = begun.elapsed().as_secs_f64();
    assert!([0, 7].contains(&status.code().unwrap()), "{status}");
    let incident = std::fs::read_dir(state.join("incidents")).unwrap().next().unwrap().unwrap().path();
    let found = std::fs::read(incident.join("data/consumers/consumers.json")).unwrap();
    (took, peak, serde_json::from_slice(&found).unwrap())
}

/// Peak resident memory of a process, MiB.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib.div_ceil(1024))
}
