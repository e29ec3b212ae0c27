//! What the identity's requests amount to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Different values that are counted one by one; the rest is counted together. An intruder chooses the user agent and
/// any path.
const MAX_KEYS: usize = 500;
/// Calls that are listed of each notable kind; all are counted, and all lie in the slice.
const MAX_LISTED: usize = 200;
/// Characters of a text from the log that a summary takes.
const MAX_TEXT: usize = 300;

/// Counts by value, bounded.
#[derive(Debug, Clone, Default)]
struct Tally {
    counts: BTreeMap<String, u64>,
    others: u64,
}

impl Tally {
    fn add(&mut self, value: &str) {
        let value = cut(value);
        if self.counts.len() < MAX_KEYS || self.counts.contains_key(&value) {
            *self.counts.entry(value).or_default() += 1;
        } else {
            self.others += 1;
        }
    }

    fn json(&self) -> Value {
        let mut map: serde_json::Map<String, Value> =
            self.counts.iter().map(|(k, v)| (k.clone(), Value::from(*v))).collect();
        if self.others > 0 {
            map.insert("(others, not told apart)".into(), self.others.into());
        }
        Value::Object(map)
    }
}

#[derive(Debug, Clone, Default)]
struct Notable {
    count: u64,
    listed: Vec<Value>,
}

/// What the identity's requests amount to; fed one event at a time.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    calls: u64,
    allowed: u64,
    denied: u64,
    failed: u64,
    unknown: u64,
    open_streams: u64,
    with_bodies: u64,
    verbs: Tally,
    resources: Tally,
    namespaces: Tally,
    codes: Tally,
    source_ips: Tally,
    user_agents: Tally,
    levels: Tally,
    credentials: Tally,
    acted_as_others: Tally,
    acted_for_by: Tally,
    from_suspect_pod: u64,
    other_pods: Tally,
    without_pod: u64,
    notable: BTreeMap<&'static str, Notable>,
}

impl Summary {
    /// Counts one request. `open`: begun, with no line that says it ended.
    pub fn add(&mut self, event: &Value, open: bool, username: &str, pod_uid: Option<&str>) {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        self.calls += 1;
        self.open_streams += u64::from(open);
        self.with_bodies += u64::from(event.get("requestObject").or(event.get("responseObject")).is_some());
        self.verbs.add(text("/verb").unwrap_or("unknown"));
        self.resources.add(&resource(event));
        self.namespaces.add(text("/objectRef/namespace").unwrap_or("(none)"));
        self.levels.add(text("/level").unwrap_or("unknown"));
        self.user_agents.add(text("/userAgent").unwrap_or("(none)"));
        self.source_ips.add(last_ip(event).unwrap_or("unknown"));
        let code = event.pointer("/responseStatus/code").and_then(Value::as_i64);
        self.codes.add(&code.map_or("unknown".into(), |c| c.to_string()));
        match outcome(event) {
            "denied" => self.denied += 1,
            "allowed" => self.allowed += 1,
            "failed" => self.failed += 1,
            _ => self.unknown += 1,
        }
        let user = text("/user/username").unwrap_or("unknown");
        match text("/impersonatedUser/username") {
            Some(other) if other == username => self.acted_for_by.add(user),
            Some(other) => self.acted_as_others.add(other),
            None => {}
        }
        let extra = |key: &str| {
            event.pointer("/user/extra").and_then(|e| e.get(key)).and_then(|v| v.get(0)).and_then(Value::as_str)
        };
        if let Some(id) = extra("authentication.kubernetes.io/credential-id") {
            self.credentials.add(id);
        }
        match extra("authentication.kubernetes.io/pod-uid") {
            Some(uid) if Some(uid) == pod_uid => self.from_suspect_pod += 1,
            Some(uid) => {
                let name = extra("authentication.kubernetes.io/pod-name").unwrap_or("unknown");
                self.other_pods.add(&format!("{name} ({uid})"));
            }
            None => self.without_pod += 1,
        }
        for kind in notable(event, username) {
            let notable = self.notable.entry(kind).or_default();
            notable.count += 1;
            if notable.listed.len() < MAX_LISTED {
                notable.listed.push(call(event, open));
            }
        }
    }

    /// How many requests of a notable kind there were.
    pub fn count(&self, kind: &str) -> u64 {
        self.notable.get(kind).map_or(0, |n| n.count)
    }

    /// Requests in all, and how many of them were denied.
    pub fn calls(&self) -> (u64, u64) {
        (self.calls, self.denied)
    }

    /// Requests with a token of the suspect pod.
    pub fn from_suspect_pod(&self) -> u64 {
        self.from_suspect_pod
    }

    /// Number of each notable kind, for outputs.
    pub fn notable(&self) -> Value {
        KINDS.iter().map(|kind| (kind.replace('-', "_"), Value::from(self.count(kind)))).collect()
    }

    /// The whole, as the artifact has it.
    pub fn json(&self) -> Value {
        json!({
            "calls": self.calls,
            "allowed": self.allowed,
            "denied": self.denied,
            "failed_otherwise": self.failed,
            "outcome_not_in_the_log": self.unknown,
            "open_streams": self.open_streams,
            "with_bodies": self.with_bodies,
            "by_verb": self.verbs.json(),
            "by_resource": self.resources.json(),
            "by_namespace": self.namespaces.json(),
            "by_code": self.codes.json(),
            "by_level": self.levels.json(),
            "by_user_agent": self.user_agents.json(),
            "by_last_source_ip": self.source_ips.json(),
            "source_ip_note": "the last address only: a client can set all others as it likes, and behind a load \
                               balancer the last may be that one's",
            "by_credential_id": self.credentials.json(),
            "impersonated_others": self.acted_as_others.json(),
            "impersonated_by": self.acted_for_by.json(),
            "from_the_suspect_pod": self.from_suspect_pod,
            "from_other_pods": self.other_pods.json(),
            "without_a_pod_in_the_token": self.without_pod,
            "notable": self.notable.iter().map(|(kind, n)| ((*kind).to_owned(), json!({
                "count": n.count,
                "listed": n.listed.len(),
                "calls": n.listed,
            }))).collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// The kinds of notable requests.
const KINDS: [&str; 12] = [
    "secret-reads",
    "secret-writes",
    "exec",
    "proxy",
    "rbac-writes",
    "token-creates",
    "certificate-requests",
    "workload-writes",
    "webhook-writes",
    "network-policy-writes",
    "impersonation",
    "self-reviews",
];

fn notable(event: &Value, username: &str) -> Vec<&'static str> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let (verb, group) = (text("/verb"), text("/objectRef/apiGroup"));
    let (kind, sub) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    let reads = matches!(verb, "get" | "list" | "watch");
    let writes = matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection");
    let mut found = Vec::new();
    match (group, kind, sub) {
        ("", "secrets", _) if reads => found.push("secret-reads"),
        ("", "secrets", _) if writes => found.push("secret-writes"),
        // exec over WebSocket is a GET: the verb alone tells nothing.
        ("", "pods", "exec" | "attach" | "portforward") => found.push("exec"),
        ("", "pods", "ephemeralcontainers") if writes => found.push("exec"),
        ("", "nodes" | "pods" | "services", "proxy") => found.push("proxy"),
        ("", "serviceaccounts", "token") if writes => found.push("token-creates"),
        ("rbac.authorization.k8s.io", ..) if writes => found.push("rbac-writes"),
        ("certificates.k8s.io", ..) if writes => found.push("certificate-requests"),
        ("admissionregistration.k8s.io", ..) if writes => found.push("webhook-writes"),
        ("networking.k8s.io", "networkpolicies", _) if writes => found.push("network-policy-writes"),
        ("authorization.k8s.io", "selfsubjectaccessreviews" | "selfsubjectrulesreviews", _) => {
            found.push("self-reviews")
        }
        ("", "pods" | "replicationcontrollers", "" | "eviction" | "binding") if writes => found.push("workload-writes"),
        ("apps", "deployments" | "daemonsets" | "statefulsets" | "replicasets", _) if writes => {
            found.push("workload-writes");
        }
        ("batch", "jobs" | "cronjobs", _) if writes => found.push("workload-writes"),
        _ => {}
    }
    if text("/user/username") == username && !text("/impersonatedUser/username").is_empty() {
        found.push("impersonation");
    }
    found
}

fn call(event: &Value, open: bool) -> Value {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(cut);
    json!({
        "received": text("/requestReceivedTimestamp"),
        "audit_id": text("/auditID"),
        "verb": text("/verb"),
        "resource": resource(event),
        "namespace": text("/objectRef/namespace"),
        "name": text("/objectRef/name"),
        "outcome": outcome(event),
        "code": event.pointer("/responseStatus/code").and_then(Value::as_i64),
        "user": text("/user/username"),
        "impersonated": text("/impersonatedUser/username"),
        "last_source_ip": last_ip(event),
        "user_agent": text("/userAgent"),
        "perhaps_still_open": open,
    })
}

/// Allowed, denied or failed. The authorizer's own word comes first: a request that was allowed and then failed has
/// code 4xx or 5xx too.
fn outcome(event: &Value) -> &'static str {
    let decision =
        event.get("annotations").and_then(|a| a.get("authorization.k8s.io/decision")).and_then(Value::as_str);
    let code = event.pointer("/responseStatus/code").and_then(Value::as_i64);
    match (decision, code) {
        (Some("forbid"), _) | (_, Some(401 | 403)) => "denied",
        (_, Some(code)) if code >= 400 => "failed",
        (Some("allow"), _) | (_, Some(_)) => "allowed",
        _ => "unknown",
    }
}

/// `secrets`, `pods/exec`, `deployments.apps`, or the path of what is no resource.
fn resource(event: &Value) -> String {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty());
    let Some(kind) = text("/objectRef/resource") else {
        let path = text("/requestURI").unwrap_or("unknown");
        return cut(path.split('?').next().unwrap_or(path));
    };
    let sub = text("/objectRef/subresource").map(|s| format!("/{s}")).unwrap_or_default();
    let group = text("/objectRef/apiGroup").map(|g| format!(".{g}")).unwrap_or_default();
    cut(&format!("{kind}{sub}{group}"))
}

/// All but the last address can be set by the client.
///
/// <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/> (sourceIPs)
fn last_ip(event: &Value) -> Option<&str> {
    event.get("sourceIPs")?.as_array()?.last()?.as_str()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// The line as the slice has it: None for byte for byte, else without the bodies, which may hold secret values.
///
/// At level Metadata there are none; policies that log bodies of Secrets are bad ones, and exist.
pub fn slice_line(event: &Value) -> Option<Vec<u8>> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("");
    let by_resource = matches!(
        (text("/objectRef/resource"), text("/objectRef/subresource")),
        ("secrets" | "tokenreviews", _) | ("serviceaccounts", "token")
    );
    let bodies = ["requestObject", "responseObject"];
    let secret = bodies.iter().filter_map(|b| event.get(*b)).any(|body| by_resource || holds_secrets(body));
    if !secret {
        return None;
    }
    let mut event = event.clone();
    for body in bodies {
        if let Some(body) = event.get_mut(body) {
            *body = Value::from("left out by quell: may hold a secret value");
        }
    }
    serde_json::to_vec(&event).ok()
}

fn holds_secrets(body: &Value) -> bool {
    let kind = body.get("kind").and_then(Value::as_str).unwrap_or("");
    matches!(kind, "Secret" | "SecretList" | "TokenRequest" | "TokenReview")
        || body.get("items").and_then(Value::as_array).is_some_and(|items| items.iter().any(holds_secrets))
}

#[cfg(test)]
#[path = "summary_tests.rs"]
mod tests;
