//! kubectl says the same to the embedded cluster as to the real one, apart from names and times.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{cluster, eventually, quell};

/// What somebody on call types. `%` stands for the namespace, `POD` for the first pod of app=web.
const TYPED: &[&str] = &[
    "create -f web.yaml",
    "rollout status deployment/web --timeout=60s",
    "get deployment,replicaset,service,poddisruptionbudget,networkpolicy,configmap,secret",
    "get pods",
    "get deployment web -o jsonpath={.spec.replicas}",
    "describe networkpolicy shut",
    "describe poddisruptionbudget web",
    "describe configmap settings",
    "apply -f settings.yaml",
    "apply -f settings.yaml",
    "apply --server-side -f settings.yaml",
    "label POD suspect=yes",
    "annotate POD note=seen",
    "patch deployment web -p {\"metadata\":{\"labels\":{\"tier\":\"front\"}}}",
    "exec POD -- cat /etc/hostname",
    "exec POD -- sh -c exit\u{a0}3",
    "exec POD -- nosuchprogram",
    "exec POD -c nosuchcontainer -- ls",
    "logs POD",
    "logs POD -c nosuchcontainer",
    "debug POD --image=quell.test/busybox:1 --container=debugger --profile=general -- sleep 60",
    "wait --for=condition=Available deployment/web --timeout=60s",
    "wait --for=condition=Ready POD --timeout=60s",
    "auth can-i delete pods",
    "auth can-i delete pods --as=nobody-at-all",
    "get pods --as=nobody-at-all",
    "delete poddisruptionbudget web",
    "scale deployment web --replicas=1",
    "rollout status deployment/web --timeout=60s",
    "delete deployment web",
    "delete deployment web",
    "get deployment web",
    "delete configmap,service,networkpolicy,secret --all",
    "get nosuchkind",
    "cordon nosuchnode",
];

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: app, image: "quell.test/busybox:1", command: [sh, -c, "echo ready; exec sleep 3600"], ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut}
spec: {podSelector: {matchLabels: {app: other}}, policyTypes: [Ingress, Egress]}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {k: v}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {mode: fast}
"#;

const SETTINGS: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, labels: {a: b}}\ndata: {mode: slow}\n";

struct Embedded(Child);

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn kubectl(kubeconfig: &Path, dir: &Path, namespace: &str, args: &[String]) -> String {
    let output = Command::new("kubectl")
        .current_dir(dir)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(["-n", namespace])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("kubectl runs");
    format!(
        "{}{}exit {}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status.code().unwrap_or(-1)
    )
}

/// Without what is of one run alone: names, ages, columns' widths.
fn normal(text: &str, namespace: &str, pods: &[String]) -> String {
    let mut text = text.replace(namespace, "NS");
    for pod in pods {
        text = text.replace(pod, "POD");
    }
    let mut lines: Vec<String> = text
        .lines()
        .filter(|l| {
            !l.starts_with("Waiting for deployment")
                && !l.starts_with("Warning: ")
                && !l.contains("spec update to be observed")
        })
        .map(|line| {
            let words = line.split_whitespace().map(|word| {
                let age = word.ends_with(['s', 'm']) && word.starts_with(|c: char| c.is_ascii_digit());
                let hashed = word.contains("web-") && word.len() > 10 && !word.contains("POD");
                if age {
                    "AGE".to_string()
                } else if hashed {
                    "HASHED".to_string()
                } else {
                    word.to_string()
                }
            });
            words.collect::<Vec<_>>().join(" ")
        })
        .filter(|l| !l.starts_with("Created on:") && !l.is_empty())
        .collect();
    // Events and lists of objects have no order of their own.
    if lines.iter().any(|l| l.starts_with("Events:")) {
        lines.truncate(lines.iter().position(|l| l.starts_with("Events:")).unwrap());
    }
    lines.join("\n")
}

fn typed(kubeconfig: &Path, dir: &Path, namespace: &str) -> Vec<String> {
    let run = |line: &str| {
        kubectl(kubeconfig, dir, namespace, &line.split(' ').map(|w| w.replace('\u{a0}', " ")).collect::<Vec<_>>())
    };
    run(&format!("create namespace {namespace}"));
    eventually("the namespace's account", 30, || run("get serviceaccount default").ends_with("exit 0"));
    TYPED
        .iter()
        .map(|line| {
            let names = run("get pods -l app=web -o jsonpath={.items[*].metadata.name}");
            let pods: Vec<String> = names.trim_end_matches("exit 0").split_whitespace().map(String::from).collect();
            let line = line.replace("POD", &format!("pod/{}", pods.first().map_or("none", |p| p)));
            let line =
                if line.starts_with("exec pod/") || line.starts_with("debug pod/") || line.starts_with("logs pod/") {
                    line.replace("pod/", "")
                } else {
                    line
                };
            let said = normal(&run(&line), namespace, &pods);
            // A runtime's ids are its own.
            let hex =
                |w: &str| w.trim_matches('"').len() == 64 && w.trim_matches('"').chars().all(|c| c.is_ascii_hexdigit());
            said.lines()
                .map(|l| {
                    l.split(' ')
                        .map(|w| if hex(w.trim_end_matches(':')) { "ID" } else { w })
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect::<Vec<_>>()
                .join("\n")
        })
        .collect()
}

#[test]
#[ignore = "needs the real cluster: tests/cluster/README.md"]
fn kubectl_hears_the_same_from_both() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("web.yaml"), WEB).unwrap();
    std::fs::write(dir.path().join("settings.yaml"), SETTINGS).unwrap();
    let kubeconfig = dir.path().join("embedded.kubeconfig");
    let mut child =
        quell().args(["sim", "serve", "--speed", "5", "-o"]).arg(&kubeconfig).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 1];
    child.stdout.as_mut().unwrap().read_exact(&mut said).expect("it says where it serves");
    let _embedded = Embedded(child);
    let (one, other) = std::thread::scope(|scope| {
        let real = scope.spawn(|| typed(&cluster().admin(), dir.path(), "transcript-real"));
        (typed(&kubeconfig, dir.path(), "transcript-sim"), real.join().unwrap())
    });
    crate::support::kubectl(&["delete", "namespace", "transcript-real", "--wait=false"]);
    let mut different = Vec::new();
    for ((line, embedded), real) in TYPED.iter().zip(one).zip(other) {
        if embedded != real {
            different.push(format!("$ kubectl {line}\n--- real\n{real}\n--- embedded\n{embedded}\n"));
        }
    }
    println!("{} commands, {} alike", TYPED.len(), TYPED.len() - different.len());
    assert!(different.is_empty(), "{} of {} differ:\n{}", different.len(), TYPED.len(), different.join("\n"));
}
