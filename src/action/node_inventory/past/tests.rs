//! A planted truth, told by logs of several shapes: what is told must be found, and what is not told must be said.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::*;
use crate::action::test_cx;

const NODE: &str = "node-2";

/// One request as the API server writes it.
#[derive(Clone)]
struct Line {
    at: u32,
    user: &'static str,
    verb: &'static str,
    resource: &'static str,
    sub: &'static str,
    namespace: &'static str,
    name: String,
    uid: String,
    body: Value,
    answer: Value,
    extra: Value,
    code: u16,
}

fn line(at: u32, user: &'static str, verb: &'static str, what: &'static str, name: &str, body: Value) -> Line {
    let (resource, sub) = what.split_once('/').unwrap_or((what, ""));
    Line {
        at,
        user,
        verb,
        resource,
        sub,
        namespace: "shop",
        name: name.into(),
        uid: String::new(),
        body,
        answer: Value::Null,
        extra: Value::Null,
        code: 200,
    }
}

impl Line {
    fn json(&self, level: &str) -> Value {
        let at = format!("2026-11-23T01:{:02}:{:02}.000000Z", self.at / 60, self.at % 60);
        let mut all = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": level, "stage": "ResponseComplete",
            "auditID": format!("{:08}-{}-{}", self.at, self.verb, self.name), "verb": self.verb,
            "requestURI": format!("/api/v1/namespaces/{}/{}/{}", self.namespace, self.resource, self.name),
            "user": {"username": self.user, "groups": ["system:authenticated"], "extra": self.extra},
            "sourceIPs": ["192.0.2.7"], "userAgent": "test", "requestReceivedTimestamp": at, "stageTimestamp": at,
            "objectRef": {"resource": self.resource, "namespace": self.namespace, "name": self.name, "uid": self.uid,
                "subresource": self.sub, "apiVersion": "v1"},
            "responseStatus": {"code": self.code},
        });
        if level != "Metadata" && !self.body.is_null() {
            all["requestObject"] = self.body.clone();
        }
        if level == "RequestResponse" && !self.answer.is_null() {
            all["responseObject"] = self.answer.clone();
        }
        all
    }
}

const SCHEDULER: &str = "system:kube-scheduler";
const CONTROLLER: &str = "system:serviceaccount:kube-system:replicaset-controller";
const KUBELET: &str = "system:node:node-2";

fn bind(at: u32, name: &str, uid: &str, node: &str) -> Line {
    let body =
        json!({"kind": "Binding", "metadata": {"name": name, "uid": uid}, "target": {"kind": "Node", "name": node}});
    Line { uid: uid.into(), code: 201, ..line(at, SCHEDULER, "create", "pods/binding", name, body) }
}

fn status(at: u32, name: &str, uid: &str) -> Line {
    let body = json!({"metadata": {"uid": uid}, "status": {"containerStatuses": [
        {"name": "app", "image": "registry.example/app:1", "imageID": "sha256:aa"}]}});
    line(at, KUBELET, "patch", "pods/status", name, body)
}

fn web(secret: &str) -> Value {
    json!({"kind": "Pod", "metadata": {"generateName": "web-6f7d8-"}, "spec": {
        "serviceAccountName": "web", "imagePullSecrets": [{"name": "registry"}],
        "containers": [{"name": "app", "image": "registry.example/app:1", "env": [
            {"name": "PLAIN", "value": "hunter2-do-not-keep"},
            {"name": "DB", "valueFrom": {"secretKeyRef": {"name": secret, "key": "password"}}}]}]}})
}

/// The truth: on node-2 ran web-6f7d8-aaaaa (gone), db-0 twice (the first gone, the second on another node), loose (gone,
/// it named its node), and web-6f7d8-ccccc, which is there still. All others ran elsewhere.
fn truth() -> Vec<Line> {
    let made = |at, uid: &str, name: &str| Line {
        code: 201,
        answer: {
            let mut answer = web("db");
            answer["metadata"] = json!({"name": name, "uid": uid});
            answer["spec"]["volumes"] = json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {}}]}}]);
            answer
        },
        ..line(at, CONTROLLER, "create", "pods", "", web("db"))
    };
    let db = |at, secret: &str| Line {
        code: 201,
        ..line(
            at,
            "system:serviceaccount:kube-system:statefulset-controller",
            "create",
            "pods",
            "db-0",
            json!({"kind": "Pod", "metadata": {"name": "db-0"}, "spec": {"automountServiceAccountToken": false,
                "volumes": [{"name": "v", "secret": {"secretName": secret}}, {"name": "h", "hostPath": {"path": "/var/lib/db"}}],
                "containers": [{"name": "db", "image": "registry.example/db:9", "securityContext": {"privileged": true}}]}}),
        )
    };
    let loose = json!({"kind": "Pod", "metadata": {"name": "loose"}, "spec": {"nodeName": NODE, "serviceAccountName": "ops",
        "containers": [{"name": "sh", "image": "busybox"}]}});
    let gone = |uid: &str| json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uid}});
    vec![
        made(10, "u-a", "web-6f7d8-aaaaa"),
        bind(11, "web-6f7d8-aaaaa", "u-a", NODE),
        status(13, "web-6f7d8-aaaaa", "u-a"),
        made(14, "u-b", "web-6f7d8-bbbbb"),
        bind(15, "web-6f7d8-bbbbb", "u-b", "node-1"),
        db(20, "old-db"),
        bind(21, "db-0", "u-db1", NODE),
        status(22, "db-0", "u-db1"),
        line(23, KUBELET, "watch", "secrets", "old-db", Value::Null),
        Line { code: 201, ..line(30, "mallory", "create", "pods", "loose", loose) },
        status(31, "loose", "u-l"),
        line(40, "alice", "delete", "pods", "db-0", json!({"kind": "DeleteOptions"})),
        line(41, KUBELET, "delete", "pods", "db-0", gone("u-db1")),
        db(42, "new-db"),
        bind(43, "db-0", "u-db2", "node-3"),
        line(
            50,
            "bob",
            "create",
            "pods/eviction",
            "web-6f7d8-aaaaa",
            json!({"deleteOptions": {"preconditions": {"uid": "u-a"}}}),
        ),
        line(52, KUBELET, "delete", "pods", "web-6f7d8-aaaaa", gone("u-a")),
        made(53, "u-c", "web-6f7d8-ccccc"),
        bind(54, "web-6f7d8-ccccc", "u-c", NODE),
        status(56, "web-6f7d8-ccccc", "u-c"),
        // Refused, tried dry, and of another node's name: none of it happened here.
        Line { code: 409, ..bind(57, "web-6f7d8-bbbbb", "u-b", NODE) },
        Line { code: 403, ..line(58, KUBELET, "delete", "pods", "elsewhere", gone("u-x")) },
        bind(59, "other", "u-o", "node-20"),
        Line {
            code: 201,
            ..line(
                60,
                KUBELET,
                "create",
                "serviceaccounts/token",
                "web",
                json!({"spec": {"boundObjectRef":
            {"kind": "Pod", "name": "web-6f7d8-ccccc", "uid": "u-c"}}}),
            )
        },
    ]
}

fn plain(dir: &Path, lines: &[Line], level: impl Fn(&Line) -> &'static str) -> PathBuf {
    let path = dir.join("audit.log");
    let text: String = lines.iter().map(|l| format!("{}\n", l.json(level(l)))).collect();
    std::fs::write(&path, text).unwrap();
    path
}

fn now() -> Vec<Value> {
    vec![json!({"metadata": {"namespace": "shop", "name": "web-6f7d8-ccccc", "uid": "u-c",
        "creationTimestamp": "2026-11-23T01:00:53Z"}})]
}

fn asked(path: &Path, pods: &[Value]) -> Value {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let cx = test_cx::cx(home.path(), |_| panic!("nothing is asked of the cluster"));
    let at = |text: &str| clock::parse(text).ok();
    let window = crate::audit::Window {
        start: at("2026-11-23T01:00:10Z"),
        until: at("2026-11-23T01:01:00Z"),
        longest_gap: time::Duration::minutes(5),
    };
    let log = Log { paths: vec![path.into()], window, proxies: Vec::new() };
    let node = ObjectRef { api_version: "v1".into(), kind: "Node".into(), name: NODE.into(), ..ObjectRef::default() };
    let document = read(&cx, &log, &node, pods).unwrap();
    let kept = std::fs::read_to_string(home.path().join("data/step/past.json")).unwrap();
    assert!(!kept.contains("hunter2"), "values of variables are not kept: {kept}");
    document
}

fn names(document: &Value) -> Vec<String> {
    let gone = document["gone"].as_array().unwrap();
    gone.iter().map(|p| format!("{} {}", p["name"].as_str().unwrap(), p["uid"].as_str().unwrap())).collect()
}

fn doubts(document: &Value) -> String {
    document["doubts"].as_array().unwrap().iter().map(|d| format!("{}\n", d.as_str().unwrap())).collect()
}

fn credentials(document: &Value) -> Vec<String> {
    let all = document["credentials"].as_array().unwrap();
    all.iter().map(|c| format!("{} {}", c["kind"].as_str().unwrap(), c["name"].as_str().unwrap())).collect()
}

const ALL: [&str; 3] = ["web-6f7d8-aaaaa u-a", "db-0 u-db1", "loose u-l"];

#[test]
fn with_bodies_all_that_ran_there_is_found_with_what_it_could_read() {
    let dir = tempfile::tempdir().unwrap();
    let document = asked(&plain(dir.path(), &truth(), |_| "Request"), &now());
    assert_eq!(names(&document), ALL);
    assert_eq!(doubts(&document), "");
    assert_eq!(document["there_still"], 1);
    let gone = document["gone"].as_array().unwrap();
    let web = &gone[0];
    assert_eq!(web["account"], "web");
    assert_eq!(web["images_reported"], json!([{"image": "registry.example/app:1", "digest": "sha256:aa"}]));
    assert_eq!(web["told_to_go"], json!({"at": "2026-11-23T01:00:50.000Z", "by": "bob", "how": "evicted"}));
    assert_eq!(web["end_confirmed"], "2026-11-23T01:00:52.000Z");
    assert_eq!(web["bound"]["by"], SCHEDULER);
    assert_eq!(web["manifest"], "what its owner asked for, for it or for a sibling; what admission added is not in it");
    let db = &gone[1];
    assert_eq!(db["told_to_go"]["by"], "alice");
    assert_eq!(db["beyond"], json!(["db privileged", "hostPath /var/lib/db"]));
    assert_eq!(gone[2]["bound"]["by"], "mallory");
    // The Secret of db-0 is that of its first life: the second ran elsewhere.
    assert_eq!(
        credentials(&document),
        [
            "image-pull-secret registry",
            "secret db",
            "secret old-db",
            "service-account-token ops",
            "service-account-token web"
        ]
    );
}

#[test]
fn with_answers_too_a_pods_own_manifest_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let document = asked(&plain(dir.path(), &truth(), |_| "RequestResponse"), &now());
    assert_eq!(names(&document), ALL);
    assert_eq!(document["gone"][0]["manifest"], "the API server's answer when it was made");
    assert_eq!(doubts(&document), "");
}

#[test]
fn without_bodies_the_kubelets_own_requests_tell_who_ran_and_what_is_not_told_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let document = asked(&plain(dir.path(), &truth(), |_| "Metadata"), &now());
    // The name of loose is in its status; UIDs only where the binding's line names them.
    assert_eq!(names(&document), ["web-6f7d8-aaaaa u-a", "db-0 u-db1", "loose "], "{}", doubts(&document));
    let said = doubts(&document);
    assert!(said.contains("3 bindings do not say to which node"), "{said}");
    assert!(said.contains("what 3 could read is not told by any request's body"), "{said}");
    assert_eq!(document["gone"][0]["manifest"], "the log doesn't say: no request's body holds it");
    assert_eq!(document["gone"][0]["account"], Value::Null);
    assert_eq!(credentials(&document), ["secret old-db"], "the kubelet's own read needs no body");
}

#[test]
fn a_policy_that_leaves_the_scheduler_out_is_noticed_and_the_kubelet_tells() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<Line> = truth().into_iter().filter(|l| l.user != SCHEDULER).collect();
    let document = asked(&plain(dir.path(), &lines, |_| "Request"), &now());
    assert_eq!(names(&document), ALL);
    assert!(doubts(&document).contains("holds no binding of any pod"), "{}", doubts(&document));
}

#[test]
fn a_log_that_misses_a_pod_that_is_there_is_not_believed_to_show_all() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<Line> = truth().into_iter().filter(|l| l.user == CONTROLLER || l.name == "other").collect();
    let document = asked(&plain(dir.path(), &lines, |_| "Request"), &now());
    let said = doubts(&document);
    assert!(said.contains("came within this time and the log does not show it"), "{said}");
    assert!(said.contains("shop/web-6f7d8-ccccc"), "{said}");
    assert!(said.contains("holds no request of the node itself"), "{said}");
}

#[test]
fn a_token_of_a_pod_on_the_node_tells_of_the_pod_though_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut call = line(33, "system:serviceaccount:shop:batch", "list", "configmaps", "", Value::Null);
    call.extra = json!({"authentication.kubernetes.io/node-name": [NODE],
        "authentication.kubernetes.io/pod-name": ["job-1"], "authentication.kubernetes.io/pod-uid": ["u-j"]});
    let document = asked(&plain(dir.path(), &[truth(), vec![call]].concat(), |_| "Request"), &now());
    let gone = document["gone"].as_array().unwrap();
    let job = gone.iter().find(|p| p["name"] == "job-1").unwrap();
    assert_eq!((&job["account"], &job["uid"], &job["bound"]), (&json!("batch"), &json!("u-j"), &Value::Null));
    assert!(credentials(&document).contains(&"service-account-token batch".into()));
}

#[test]
fn event_lists_and_packed_logs_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let events: Vec<Value> = truth().iter().map(|l| l.json("Request")).collect();
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events});
    let path = dir.path().join("events.jsonl.gz");
    let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::fast());
    writeln!(packed, "{list}").unwrap();
    packed.finish().unwrap();
    let document = asked(&path, &now());
    assert_eq!(names(&document), ALL);
    assert_eq!(doubts(&document), "");
}

/// Many pods by a fixed rule, of which the log tells in an order of its own; the node's are found, and no other.
#[test]
fn of_two_thousand_pods_exactly_the_nodes_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = truth();
    let mut expected: Vec<String> = ALL.map(String::from).to_vec();
    for n in 0..2000_u32 {
        let (name, uid, node) = (format!("job-{n}"), format!("u-{n}"), n % 7);
        let node = ["node-1", NODE, "node-3", "node-20", "node-21", "node-", "ode-2"][node as usize];
        if node == NODE {
            expected.push(format!("{name} {uid}"));
        }
        lines.push(bind(10 + n % 50, &name, &uid, node));
    }
    // A log's lines stand by when a request ended, not by when it came.
    lines.sort_by_key(|l| (l.at / 5, l.name.clone()));
    let document = asked(&plain(dir.path(), &lines, |_| "Request"), &now());
    let mut found = names(&document);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}
