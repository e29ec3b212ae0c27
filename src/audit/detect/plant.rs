//! Audit lines as the API server writes them, for tests: one request, its parts set by name.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::{Detectors, Finding, Report, Rule, Severity};
use crate::audit::brief::Brief;
use crate::audit::event::Origin;
use crate::audit::glance::Glancer;
use crate::audit::parse_event;

/// When planted logs begin, in Unix seconds: 2026-11-23T03:00:00Z.
const BEGIN: i64 = 1_795_402_800;

/// The shipped controller's user agent, a client-go one.
const CONTROLLER_AGENT: &str = "controller/v1.4.0 (linux/amd64) kubernetes/abcdef0";
const KUBECTL: &str = "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0";

/// One request.
#[derive(Clone)]
pub struct Line(pub Value);

/// `verb` on `resource` (`pods`, `pods/exec`, `deployments.apps/scale`) by a person with kubectl, done.
pub fn line(verb: &str, resource: &str) -> Line {
    let (kind, sub) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = kind.split_once('.').unwrap_or((kind, ""));
    let mut object = json!({"resource": resource, "apiVersion": "v1"});
    if !group.is_empty() {
        object["apiGroup"] = group.into();
    }
    if !sub.is_empty() {
        object["subresource"] = sub.into();
    }
    let code = match (verb, sub) {
        (_, "exec" | "attach" | "portforward") => 101,
        ("create", _) => 201,
        _ => 200,
    };
    Line(json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "",
        "stage": "ResponseComplete", "requestURI": "", "verb": verb,
        "user": {"username": "jane@example.org", "groups": ["platform", "system:authenticated"]},
        "sourceIPs": ["10.20.0.7"], "userAgent": KUBECTL, "objectRef": object,
        "responseStatus": {"metadata": {}, "code": code},
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    }))
    .at(0)
}

/// A request for a plain path.
pub fn path(uri: &str) -> Line {
    let mut line = line("get", "x").uri(uri);
    line.0.as_object_mut().unwrap().remove("objectRef");
    line
}

impl Line {
    /// Seconds after the log's begin.
    pub fn at(mut self, seconds: i64) -> Line {
        let at = OffsetDateTime::from_unix_timestamp(BEGIN + seconds).unwrap() + Duration::microseconds(17);
        let text = |t: OffsetDateTime| {
            let format = time::format_description::well_known::Rfc3339;
            t.format(&format).unwrap()
        };
        self.0["requestReceivedTimestamp"] = text(at).into();
        self.0["stageTimestamp"] = text(at + Duration::milliseconds(4)).into();
        self
    }

    pub fn set(mut self, pointer: &str, value: impl Into<Value>) -> Line {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = self.0.pointer_mut(parent).unwrap();
        parent[key.replace("~1", "/")] = value.into();
        self
    }

    pub fn ns(self, namespace: &str) -> Line {
        self.set("/objectRef/namespace", namespace)
    }

    pub fn name(self, name: &str) -> Line {
        self.set("/objectRef/name", name)
    }

    pub fn user(self, name: &str) -> Line {
        self.set("/user/username", name)
    }

    /// A service account with a client-go controller's agent, its token bound to no pod.
    pub fn account(self, namespace: &str, name: &str) -> Line {
        self.user(&format!("system:serviceaccount:{namespace}:{name}"))
            .set(
                "/user/groups",
                json!([
                    "system:serviceaccounts",
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated"
                ]),
            )
            .agent(CONTROLLER_AGENT)
            .ip("10.244.1.9")
    }

    /// With a token bound to a pod on a node.
    pub fn pod(self, jti: &str, pod: &str, node: &str) -> Line {
        self.set(
            "/user/extra",
            json!({
                "authentication.kubernetes.io/credential-id": [format!("JTI={jti}")],
                "authentication.kubernetes.io/pod-name": [pod],
                "authentication.kubernetes.io/pod-uid": [format!("uid-of-{pod}")],
                "authentication.kubernetes.io/node-name": [node],
            }),
        )
    }

    /// A kubelet.
    pub fn node(self, name: &str, ip: &str) -> Line {
        self.user(&format!("system:node:{name}"))
            .set("/user/groups", json!(["system:nodes", "system:authenticated"]))
            .agent("kubelet/v1.33.1 (linux/amd64) kubernetes/8adc0f0")
            .ip(ip)
    }

    /// One of the controller manager's accounts.
    pub fn controller(self, name: &str) -> Line {
        self.account("kube-system", name).agent("kube-controller-manager/v1.33.1 (linux/amd64) kubernetes/8adc0f0")
    }

    pub fn anonymous(self) -> Line {
        self.user("system:anonymous").set("/user/groups", json!(["system:unauthenticated"])).agent("curl/8.5.0")
    }

    pub fn agent(self, agent: &str) -> Line {
        self.set("/userAgent", agent)
    }

    pub fn ip(self, ip: &str) -> Line {
        self.set("/sourceIPs", json!([ip]))
    }

    pub fn uri(self, uri: &str) -> Line {
        self.set("/requestURI", uri)
    }

    pub fn body(self, body: Value) -> Line {
        self.set("/requestObject", body)
    }

    pub fn denied(self) -> Line {
        self.set("/responseStatus/code", 403).set("/annotations/authorization.k8s.io~1decision", "forbid")
    }

    pub fn code(self, code: u16) -> Line {
        self.set("/responseStatus/code", code)
    }

    pub fn impersonating(self, user: &str, groups: &[&str]) -> Line {
        self.set("/impersonatedUser", json!({"username": user, "groups": groups}))
    }

    /// An exec of this command, as kubectl sends it.
    pub fn command(self, argv: &[&str]) -> Line {
        let encode = |t: &&str| form_urlencoded::byte_serialize(t.as_bytes()).collect::<String>();
        let query: Vec<String> = argv.iter().map(|a| format!("command={}", encode(a))).collect();
        let object = self.0["objectRef"].clone();
        let of = |key: &str| object[key].as_str().unwrap_or("x").to_owned();
        let uri = format!(
            "/api/v1/namespaces/{}/pods/{}/exec?container=app&{}&stdout=true",
            of("namespace"),
            of("name"),
            query.join("&")
        );
        self.uri(&uri)
    }

    fn text(&self, id: usize) -> String {
        let mut value = self.0.clone();
        if value["auditID"] == "" {
            value["auditID"] = format!("00000000-0000-4000-8000-{id:012}").into();
        }
        if value["requestURI"] == "" {
            let object = &value["objectRef"];
            let of = |key: &str| object[key].as_str().map(|t| format!("/{t}")).unwrap_or_default();
            value["requestURI"] =
                format!("/api/v1{}{}{}{}", of("namespace"), of("resource"), of("name"), of("subresource")).into();
        }
        value.to_string()
    }
}

/// The lines as text, ids given by their places.
pub fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().enumerate().map(|(i, l)| l.text(i)).collect()
}

/// What the detectors make of lines of text, each with its place. The same must come out where the lines have the API
/// server's own shape and are parsed only if somebody asks for more.
pub fn report_of(detectors: &Detectors, lines: &[(usize, &str)]) -> Report {
    let (mut parsed, mut glimpsed) = (detectors.gather(), detectors.gather());
    let mut glancer = Glancer::default();
    for (i, text) in lines {
        let origin = Origin { file: 0, offset: *i as u64 * 1000, len: u32::try_from(text.len()).unwrap() };
        let event = parse_event(text, origin).unwrap();
        detectors.map(&event, &mut parsed);
        let own = own_shape(text);
        let brief = glancer.glance(own.as_bytes()).and_then(|glance| Brief::read(&own, &glance, origin));
        if !brief.is_some_and(|brief| detectors.glimpse(&brief, &mut glimpsed)) {
            detectors.map(&event, &mut glimpsed);
        }
    }
    let report = detectors.reduce(parsed);
    assert_eq!(detectors.reduce(glimpsed), report);
    report
}

/// The same event with its keys in the order in which the API server writes them.
///
/// <https://pkg.go.dev/k8s.io/apiserver/pkg/apis/audit/v1#Event>
pub fn own_shape(text: &str) -> String {
    const EVENT: &[&str] = &[
        "kind",
        "apiVersion",
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "impersonatedUser",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "responseStatus",
        "requestObject",
        "responseObject",
        "requestReceivedTimestamp",
        "stageTimestamp",
        "annotations",
    ];
    const USER: &[&str] = &["username", "uid", "groups", "extra"];
    const OBJECT: &[&str] =
        &["resource", "namespace", "name", "uid", "apiGroup", "apiVersion", "resourceVersion", "subresource"];
    const STATUS: &[&str] = &["metadata", "status", "message", "reason", "details", "code"];
    fn write(value: &Value, keys: &[&str]) -> String {
        let map = value.as_object().unwrap();
        let others = map.keys().map(String::as_str).filter(|key| !keys.contains(key));
        let written: Vec<String> = keys
            .iter()
            .copied()
            .chain(others)
            .filter_map(|key| Some((key, map.get(key)?)))
            .map(|(key, value)| {
                let inner = match (keys.len(), key, value.is_object()) {
                    (18, "user" | "impersonatedUser", true) => write(value, USER),
                    (18, "objectRef", true) => write(value, OBJECT),
                    (18, "responseStatus", true) => write(value, STATUS),
                    _ => value.to_string(),
                };
                // What the API server writes has six digits, whatever they are.
                let inner = match (key, inner.strip_suffix("Z\"")) {
                    ("requestReceivedTimestamp" | "stageTimestamp", Some(time)) if !time.contains('.') => {
                        format!("{time}.000000Z\"")
                    }
                    _ => inner,
                };
                format!("{key:?}:{inner}")
            })
            .collect();
        format!("{{{}}}", written.join(","))
    }
    assert_eq!(EVENT.len(), 18);
    write(&serde_json::from_str(text).unwrap(), EVENT)
}

/// What all shipped detections make of the lines.
pub fn report(lines: &[Line]) -> Report {
    report_with(lines, Vec::new())
}

/// And these rules.
pub fn report_with(lines: &[Line], rules: Vec<Rule>) -> Report {
    let texts = texts(lines);
    let numbered: Vec<(usize, &str)> = texts.iter().map(String::as_str).enumerate().collect();
    report_of(&Detectors::all().with_rules(rules), &numbered)
}

/// The findings of one detection.
pub fn findings(id: &str, lines: &[Line]) -> Vec<Finding> {
    let report = report(lines);
    report.findings.into_iter().filter(|f| f.id == id).collect()
}

/// How grave the gravest finding of one detection is.
pub fn severity(id: &str, lines: &[Line]) -> Option<Severity> {
    findings(id, lines).iter().map(|f| f.severity).max()
}

/// Asserts that none of the lines alone makes a finding of that detection.
pub fn none(id: &str, lines: &[Line]) {
    for one in lines {
        let found = findings(id, std::slice::from_ref(one));
        assert!(found.is_empty(), "{id}: {}\n{}", found[0].sentence, one.0);
    }
}

/// Asserts that each of the lines alone makes a finding of that detection with that severity.
pub fn each(id: &str, severity: Severity, lines: &[Line]) {
    for one in lines {
        let found = findings(id, std::slice::from_ref(one));
        assert_eq!(found.iter().map(|f| f.severity).max(), Some(severity), "{id}\n{}", one.0);
    }
}
