//! What an identity left behind, as one event tells of it, and the step against it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Something that may let an intruder back in, or that was learnt.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Foothold {
    /// `workload`, `rights`, `token`, `secret-read`, …
    pub kind: String,
    pub group: String,
    pub version: String,
    pub resource: String,
    /// Empty without one.
    pub namespace: String,
    /// `*` for a list.
    pub name: String,
    /// Empty where the log does not tell it.
    pub uid: String,
    /// In order, each once.
    pub verbs: Vec<String>,
    pub requests: u64,
    pub first: String,
    pub last: String,
    /// As whom, where somebody was impersonated.
    pub acted_as: Option<String>,
    /// `yes`, `no`, `replaced`, `unknown`; None before it was looked up.
    pub present: Option<String>,
    /// What that rests on.
    pub why: String,
    /// `remove`, `isolate`, `rotate`, `look`.
    pub step: String,
    /// The command for it; None where the name can't stand on a command line.
    pub command: Option<String>,
}

/// What kind of call it is, in words that group calls.
pub(crate) fn kind(event: &Value) -> &'static str {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (verb, group) = (text("/verb"), text("/objectRef/apiGroup"));
    let (resource, sub) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    let reads = matches!(verb, "get" | "list" | "watch");
    match (group, resource, sub) {
        ("", "secrets", _) if reads => "secret-read",
        ("", "secrets", _) => "secret",
        // Over WebSocket an exec is a GET.
        ("", "pods", "exec" | "attach" | "portforward" | "proxy") | ("", "services" | "nodes", "proxy") => "session",
        ("authorization.k8s.io", ..) => "own-rights",
        _ if reads => "read",
        ("", "events", _) | ("coordination.k8s.io", ..) | ("events.k8s.io", ..) => "other",
        ("", "serviceaccounts", "token") => "token",
        ("", "serviceaccounts", _) => "account",
        ("", "pods" | "replicationcontrollers", _) | ("apps" | "batch", ..) => "workload",
        ("", "configmaps", _) => "configuration",
        ("rbac.authorization.k8s.io", ..) => "rights",
        ("admissionregistration.k8s.io", ..) => "admission",
        ("certificates.k8s.io", ..) => "certificate",
        ("networking.k8s.io", ..) | ("", "services" | "endpoints", _) | ("discovery.k8s.io", ..) => "network",
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", ..) => "extension",
        _ if resource.is_empty() => "path",
        _ => "other",
    }
}

/// Out of one event of the API server's shape; None for what leaves nothing.
pub(crate) fn of(event: &Value) -> Option<Foothold> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = kind(event);
    if matches!(kind, "own-rights" | "read" | "path") {
        return None;
    }
    // What an object's controller writes of it, and the end of a pod, leave nothing behind.
    if matches!(text("/objectRef/subresource"), "status" | "eviction" | "binding" | "finalize") {
        return None;
    }
    let chatter = matches!(
        (text("/objectRef/apiGroup"), text("/objectRef/resource")),
        ("", "events") | ("events.k8s.io", _) | ("coordination.k8s.io", _)
    );
    let verb = text("/verb");
    if chatter || text("/user/username").strip_prefix("system:node:").is_some_and(|node| is_kubelets(event, kind, node))
    {
        return None;
    }
    let writes = matches!(verb, "create" | "update" | "patch");
    if kind != "secret-read" && kind != "session" && !writes {
        return None;
    }
    let ok = event.pointer("/responseStatus/code").and_then(Value::as_u64).is_some_and(|code| code < 400);
    if !ok || text("/requestURI").contains("dryRun=") {
        return None;
    }
    let first_of = |pointers: &[&str]| pointers.iter().map(|p| text(p)).find(|t| !t.is_empty()).unwrap_or_default();
    let name = first_of(&["/objectRef/name", "/responseObject/metadata/name", "/requestObject/metadata/name"]);
    let at = text("/requestReceivedTimestamp");
    let mut found = Foothold {
        kind: kind.into(),
        group: text("/objectRef/apiGroup").into(),
        version: text("/objectRef/apiVersion").into(),
        resource: text("/objectRef/resource").into(),
        namespace: text("/objectRef/namespace").into(),
        name: if name.is_empty() { "*".into() } else { name.chars().take(253).collect() },
        uid: first_of(&["/objectRef/uid", "/responseObject/metadata/uid"]).into(),
        verbs: vec![verb.into()],
        requests: 1,
        first: at.into(),
        last: at.into(),
        acted_as: Some(text("/impersonatedUser/username").to_owned()).filter(|t| !t.is_empty()),
        ..Foothold::default()
    };
    found.offer();
    Some(found)
}

/// What a kubelet does by itself: its own Node and CSINode, and tokens for its pods' accounts.
fn is_kubelets(event: &Value, kind: &str, node: &str) -> bool {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let own = matches!(text("/objectRef/resource"), "nodes" | "csinodes");
    let name = match text("/objectRef/name") {
        "" => text("/requestObject/metadata/name"),
        name => name,
    };
    kind == "token" || own && name == node
}

impl Foothold {
    /// What makes two the same.
    pub fn key(&self) -> (String, String, String, String, String) {
        (self.kind.clone(), self.group.clone(), self.resource.clone(), self.namespace.clone(), self.name.clone())
    }

    /// One line for a person: what, whether it is still there, and what to do.
    pub fn words(&self) -> String {
        let of =
            if self.group.is_empty() { self.resource.clone() } else { format!("{}.{}", self.resource, self.group) };
        let place = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        let uid = if self.uid.is_empty() { String::new() } else { format!(" (UID {})", self.uid) };
        let name = format!("{place}{}", self.name);
        let (what, thing) = match (self.kind.as_str(), self.name.as_str(), self.namespace.as_str()) {
            ("secret-read", "*", "") => return "every Secret of the cluster was read; rotate each".into(),
            ("secret-read", "*", namespace) => return format!("every Secret in {namespace} was read; rotate each"),
            ("secret-read", ..) => (format!("Secret {name} was read"), ""),
            ("token", ..) => (format!("a token was issued for serviceaccount {name}{uid}"), "the account is "),
            ("session", ..) => (format!("session into {of} {name}{uid}"), ""),
            _ => (format!("{} of {of} {name}{uid}", self.verbs.join(", ")), ""),
        };
        let present = match (self.kind.as_str(), self.present.as_deref()) {
            ("secret-read", _) => String::new(),
            (_, Some("yes")) => format!(": {thing}still there"),
            (_, Some("no")) => return format!("{what}: {thing}not there any more"),
            (_, Some("replaced")) => format!(": {thing}another one by now"),
            _ => ": not known whether it is there".into(),
        };
        match &self.command {
            Some(command) => format!("{what}{present}; {}: {command}", self.step),
            None => format!("{what}{present}; {}", self.step),
        }
    }

    /// Another request to the same.
    pub fn and(&mut self, other: Foothold) {
        self.requests += other.requests;
        self.last = other.last;
        for verb in other.verbs {
            if !self.verbs.contains(&verb) {
                self.verbs.push(verb);
            }
        }
        // What was created last is what may still be there.
        if !other.uid.is_empty() {
            self.uid = other.uid;
        }
        self.acted_as = other.acted_as.or(self.acted_as.take());
    }

    /// Whether it is still there, and what that rests on.
    pub fn say(&mut self, present: &str, why: &str) {
        self.present = Some(present.into());
        self.why = why.into();
    }

    /// Its path in the API; None for what has no name or no known version.
    pub fn path(&self) -> Option<String> {
        let plain = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b));
        let all = [&self.group, &self.version, &self.resource, &self.namespace, &self.name];
        if self.name == "*" || self.version.is_empty() || !all.iter().all(|t| plain(t)) || self.name.contains("..") {
            return None;
        }
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        let place = if self.namespace.is_empty() { String::new() } else { format!("/namespaces/{}", self.namespace) };
        Some(format!("{root}{place}/{}/{}", self.resource, self.name))
    }

    fn offer(&mut self) {
        let (resource, namespace, name) = (&self.resource, &self.namespace, &self.name);
        // What a shell might read otherwise stands on no command line.
        let plain =
            |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b)) && !t.starts_with('-');
        let usable = name != "*" && [resource, namespace, name].iter().all(|t| plain(t));
        let of = if self.group.is_empty() { resource.clone() } else { format!("{resource}.{}", self.group) };
        let place = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
        let (step, command) = match self.kind.as_str() {
            "secret-read" => ("rotate", format!("quell run exposed-secret{place} --set secret={name}")),
            "session" | "workload" if resource == "pods" => {
                ("isolate", format!("quell run pod-compromise{place} --set pod={name}"))
            }
            "session" => ("look", format!("kubectl get {of} {name}{place}")),
            "token" => (
                "rotate",
                format!("quell run api-access{place} --set subject={namespace}/{name} --set recreate-account=true"),
            ),
            "configuration" | "secret" if !self.verbs.iter().any(|v| v == "create") => {
                ("look", format!("kubectl get {of} {name}{place} -o yaml --show-managed-fields"))
            }
            _ if self.verbs.iter().any(|v| v == "create") => ("remove", format!("kubectl delete {of} {name}{place}")),
            _ => ("look", format!("kubectl get {of} {name}{place} -o yaml --show-managed-fields")),
        };
        self.step = step.into();
        self.command = usable.then_some(command);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(verb: &str, group: &str, resource: &str, name: &str, code: u64) -> Value {
        json!({"verb": verb, "requestURI": "/x", "responseStatus": {"code": code}, "requestReceivedTimestamp": "t",
               "objectRef": {"apiGroup": group, "apiVersion": "v1", "resource": resource, "namespace": "shop", "name": name}})
    }

    #[test]
    fn what_a_kubelet_does_by_itself_is_told_from_what_somebody_does_with_its_credential() {
        let by = |node: &str, mut event: Value| {
            event["user"]["username"] = format!("system:node:{node}").into();
            of(&event)
        };
        let mut token = event("create", "", "serviceaccounts", "robot", 201);
        token["objectRef"]["subresource"] = "token".into();
        assert_eq!(by("n1", token.clone()), None);
        assert_eq!(of(&token).unwrap().kind, "token");
        assert_eq!(by("n1", event("patch", "", "nodes", "n1", 200)), None);
        assert_eq!(by("n1", event("patch", "", "nodes", "n2", 200)).unwrap().name, "n2");
        assert_eq!(by("n1", event("create", "", "pods", "p", 201)).unwrap().kind, "workload");
    }

    #[test]
    fn one_line_says_what_is_there_and_what_to_do() {
        let mut found = of(&event("create", "apps", "deployments", "miner", 201)).unwrap();
        found.uid = "u".into();
        found.say("yes", "");
        let command = "kubectl delete deployments.apps miner -n shop";
        assert_eq!(
            found.words(),
            format!("create of deployments.apps shop/miner (UID u): still there; remove: {command}")
        );
        found.say("no", "");
        assert!(found.words().ends_with("not there any more"), "{}", found.words());
        let read = of(&event("list", "", "secrets", "", 200)).unwrap();
        assert_eq!(read.words(), "every Secret in shop was read; rotate each");
    }

    #[test]
    fn what_was_left_is_told_from_what_was_only_tried_or_read() {
        let found = of(&event("create", "rbac.authorization.k8s.io", "rolebindings", "back", 201)).unwrap();
        assert_eq!((found.kind.as_str(), found.step.as_str()), ("rights", "remove"));
        assert_eq!(
            found.command.as_deref(),
            Some("kubectl delete rolebindings.rbac.authorization.k8s.io back -n shop")
        );
        assert_eq!(
            found.path().as_deref(),
            Some("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/back")
        );
        assert_eq!(of(&event("create", "", "pods", "p", 403)), None);
        assert_eq!(of(&event("get", "", "configmaps", "p", 200)), None);
        let read = of(&event("list", "", "secrets", "", 200)).unwrap();
        assert_eq!((read.name.as_str(), read.command, read.step.as_str()), ("*", None, "rotate"));
        for (resource, sub) in [("pods", "status"), ("pods", "eviction"), ("events", "")] {
            let mut none = event("create", "", resource, "p", 201);
            none["objectRef"]["subresource"] = sub.into();
            assert_eq!(of(&none), None, "{resource} {sub}");
        }
        let odd = of(&event("create", "", "pods", "a;rm -rf", 201)).unwrap();
        assert_eq!((odd.command.clone(), odd.path()), (None, None));
    }
}
