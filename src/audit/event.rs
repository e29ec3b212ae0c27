//! One normalised request, borrowed from the line that told of it.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::uri;

/// How far a request had come when its line was written, least telling first.
///
/// <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The request has arrived; nothing is decided.
    RequestReceived,
    /// The handler panicked.
    Panic,
    /// The response's head has gone out: a long-running request (watch, exec, attach) has begun.
    ResponseStarted,
    /// All of it has gone out.
    ResponseComplete,
}

impl Stage {
    /// From the log's own word.
    pub fn parse(text: &str) -> Option<Stage> {
        Some(match text {
            "RequestReceived" => Stage::RequestReceived,
            "ResponseStarted" => Stage::ResponseStarted,
            "ResponseComplete" => Stage::ResponseComplete,
            "Panic" => Stage::Panic,
            _ => return None,
        })
    }

    /// As the log writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

/// How much the policy lets the log say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Not said, or not one of the three.
    Unknown,
    /// Who did what to which object; no bodies.
    Metadata,
    /// With the request's body.
    Request,
    /// With both bodies.
    RequestResponse,
}

impl Level {
    /// From the log's own word.
    pub fn parse(text: &str) -> Level {
        match text {
            "Metadata" => Level::Metadata,
            "Request" => Level::Request,
            "RequestResponse" => Level::RequestResponse,
            _ => Level::Unknown,
        }
    }

    /// As the log writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Unknown => "unknown",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

/// Which form of log an event came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The API server's own JSON lines, or an EventList of its webhook.
    Kubernetes,
    /// Amazon EKS, by CloudWatch.
    Eks,
    /// Google GKE, by Cloud Logging.
    Gke,
    /// Azure AKS, by Azure Monitor.
    Aks,
    /// Azure AKS, from the table AKSAudit or AKSAuditAdmin, that has no column for impersonation.
    AksTable,
}

impl Provider {
    /// Short lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Kubernetes => "kubernetes",
            Provider::Eks => "eks",
            Provider::Gke => "gke",
            Provider::Aks | Provider::AksTable => "aks",
        }
    }
}

/// Where the original lies, so that it can be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// Index into the list of sources.
    pub file: u32,
    /// Byte at which it begins: in the file, or for a compressed one in its content.
    pub offset: u64,
    /// Its bytes.
    pub len: u32,
}

/// Who asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User<'a> {
    /// `system:serviceaccount:payments:checkout`, `jane@example.org`.
    pub username: Cow<'a, str>,
    /// Empty if not said.
    pub uid: Cow<'a, str>,
    /// In the log's order.
    pub groups: Vec<Cow<'a, str>>,
    /// What the authenticator adds: pod, node and credential of a token.
    pub extra: Vec<(Cow<'a, str>, Vec<Cow<'a, str>>)>,
}

impl User<'_> {
    /// First value of a key of `extra`.
    pub fn extra(&self, key: &str) -> Option<&str> {
        self.extra.iter().find(|(k, _)| k == key)?.1.first().map(AsRef::as_ref)
    }

    /// Namespace and name, if it is a service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.username.strip_prefix("system:serviceaccount:")?.split_once(':')
    }

    /// Whether it is in that group.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// `JTI=…` of a token, `X509SHA256=…` of a certificate.
    pub fn credential_id(&self) -> Option<&str> {
        self.extra("authentication.kubernetes.io/credential-id")
    }

    /// Name and UID of the pod that the token is bound to.
    pub fn pod(&self) -> Option<(&str, &str)> {
        let name = self.extra("authentication.kubernetes.io/pod-name")?;
        Some((name, self.extra("authentication.kubernetes.io/pod-uid").unwrap_or_default()))
    }

    /// Name and UID of the node that the token is bound to, by itself or by its pod.
    pub fn node(&self) -> Option<(&str, &str)> {
        let name = self.extra("authentication.kubernetes.io/node-name")?;
        Some((name, self.extra("authentication.kubernetes.io/node-uid").unwrap_or_default()))
    }
}

/// What was asked for. Empty text: not said; a list has no name, a cluster-wide one no namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object<'a> {
    /// `apps`; empty for the core group.
    pub group: Cow<'a, str>,
    /// `v1`.
    pub version: Cow<'a, str>,
    /// Plural, lower case: `deployments`.
    pub resource: Cow<'a, str>,
    /// `exec`, `token`, `status`.
    pub subresource: Cow<'a, str>,
    /// Its namespace.
    pub namespace: Cow<'a, str>,
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its UID, where the request named it.
    pub uid: Cow<'a, str>,
}

impl Object<'_> {
    /// `secrets`, `pods/exec`, `deployments.apps/scale`.
    pub fn kind(&self) -> String {
        let mut text = self.resource.to_string();
        if !self.group.is_empty() {
            text.push('.');
            text.push_str(&self.group);
        }
        if !self.subresource.is_empty() {
            text.push('/');
            text.push_str(&self.subresource);
        }
        text
    }
}

/// One request as one line of the log tells of it. Text is borrowed from the line but where that holds escapes.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Not unique: a client may choose it.
    pub audit_id: Cow<'a, str>,
    /// How far it had come.
    pub stage: Stage,
    /// How much is said.
    pub level: Level,
    /// When the API server received it.
    pub received: OffsetDateTime,
    /// When this stage was reached.
    pub staged: OffsetDateTime,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for a plain path the HTTP
    /// method in lower case.
    pub verb: Cow<'a, str>,
    /// Path and query, as sent.
    pub uri: Cow<'a, str>,
    /// Who authenticated.
    pub user: User<'a>,
    /// As whom they asked to act.
    pub impersonated: Option<User<'a>>,
    /// As in the log: all but the last can be set by the client.
    pub source_ips: Vec<Cow<'a, str>>,
    /// What the client says that it is; anything.
    pub user_agent: Cow<'a, str>,
    /// None for a plain path (`/healthz`, `/api`).
    pub object: Option<Object<'a>>,
    /// The HTTP status.
    pub code: Option<u16>,
    /// The response's `reason`: `Forbidden`, `AlreadyExists`.
    pub reason: Cow<'a, str>,
    /// The response's `message`.
    pub message: Cow<'a, str>,
    /// In the log's order.
    pub annotations: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The request's body, unparsed; see [`Event::request`].
    pub request_object: Option<&'a RawValue>,
    /// The response's body, unparsed; see [`Event::response`].
    pub response_object: Option<&'a RawValue>,
    /// Where the original lies.
    pub origin: Origin,
    /// Which form it came in.
    pub provider: Provider,
}

/// See [`Event::allowed`].
pub(super) fn allowed(decision: Option<&str>, code: Option<u16>) -> Option<bool> {
    match (decision, code) {
        (Some("forbid"), _) => Some(false),
        (Some("allow"), _) => Some(true),
        (_, Some(code)) => Some(!matches!(code, 401 | 403)),
        _ => None,
    }
}

/// See [`Event::trusted_ip`].
pub(super) fn trusted<'a>(source_ips: &'a [Cow<'_, str>], trusted_proxies: &[IpNet]) -> Option<&'a str> {
    let proxy = |text: &str| match text.parse::<IpAddr>() {
        Ok(ip) => trusted_proxies.iter().any(|net| net.contains(&ip.to_canonical())),
        Err(_) => false,
    };
    let mut ips = source_ips.iter().rev();
    ips.find(|ip| !proxy(ip)).or(source_ips.first()).map(AsRef::as_ref)
}

impl Event<'_> {
    /// The caller's address: the last one that is not a trusted proxy. All before it can be set by the client.
    ///
    /// If all are trusted proxies, the first of them. What is no address ends the search: a proxy that passes that on
    /// proves nothing of what stands before it.
    pub fn trusted_ip(&self, trusted_proxies: &[IpNet]) -> Option<&str> {
        trusted(&self.source_ips, trusted_proxies)
    }

    /// As whom the API server acted: the impersonated user, else the user.
    pub fn effective_user(&self) -> &User<'_> {
        self.impersonated.as_ref().unwrap_or(&self.user)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_ref())
    }

    /// Whether the request was let through; None if the line does not tell. The authorizer's own word comes first: what
    /// it let through may still fail (404, 409, an admission's 403): see [`Event::succeeded`]. Without that word, 401 and
    /// 403 are denials.
    pub fn allowed(&self) -> Option<bool> {
        allowed(self.annotation("authorization.k8s.io/decision"), self.code)
    }

    /// Whether it was let through and also done: no error code. 101 (exec and its like) is a success.
    pub fn succeeded(&self) -> Option<bool> {
        match self.code {
            Some(code) => Some(code < 400 && self.allowed() != Some(false)),
            None if self.allowed() == Some(false) => Some(false),
            None => None,
        }
    }

    /// Whether the line tells an outcome at all: it is past RequestReceived, or has a decision or a code.
    pub fn decided(&self) -> bool {
        self.stage != Stage::RequestReceived && (self.code.is_some() || self.allowed().is_some())
    }

    /// `JTI=…` of a token, `X509SHA256=…` of a certificate.
    pub fn credential_id(&self) -> Option<&str> {
        self.user.credential_id()
    }

    /// The credential that this request had issued (`serviceaccounts/token`).
    pub fn issued_credential_id(&self) -> Option<&str> {
        self.annotation("authentication.kubernetes.io/issued-credential-id")
    }

    /// Name and UID of the pod that the caller's token is bound to.
    pub fn pod(&self) -> Option<(&str, &str)> {
        self.user.pod()
    }

    /// Name and UID of the node that the caller's token is bound to, by itself or by its pod.
    pub fn node(&self) -> Option<(&str, &str)> {
        self.user.node()
    }

    /// The object's resource is this, of this group.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.object.as_ref().is_some_and(|o| o.group == group && o.resource == resource)
    }

    /// The object's subresource, empty without one.
    pub fn subresource(&self) -> &str {
        self.object.as_ref().map_or("", |o| o.subresource.as_ref())
    }

    /// The object's namespace, empty without one.
    pub fn namespace(&self) -> &str {
        self.object.as_ref().map_or("", |o| o.namespace.as_ref())
    }

    /// The object's name, empty without one.
    pub fn name(&self) -> &str {
        self.object.as_ref().map_or("", |o| o.name.as_ref())
    }

    /// get, list or watch.
    pub fn reads(&self) -> bool {
        matches!(self.verb.as_ref(), "get" | "list" | "watch")
    }

    /// create, update, patch, delete or deletecollection.
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_ref(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Asked with `dryRun`: nothing was changed.
    pub fn dry_run(&self) -> bool {
        self.uri.contains("dryRun") && self.query().iter().any(|(k, v)| k == "dryRun" && !v.is_empty())
    }

    /// The URL's parameters in order, decoded. A name may come several times.
    pub fn query(&self) -> Vec<(String, String)> {
        uri::query(&self.uri)
    }

    /// The command of an exec, from the URL: one text an argument. Empty if there is none.
    pub fn command(&self) -> Vec<String> {
        if self.subresource() != "exec" {
            return Vec::new();
        }
        self.query().into_iter().filter(|(k, _)| k == "command").map(|(_, v)| v).collect()
    }

    /// The request's body; None without one, or if it is nested too deeply to be read.
    pub fn request(&self) -> Option<Value> {
        serde_json::from_str(self.request_object?.get()).ok()
    }

    /// The response's body, in the same way.
    pub fn response(&self) -> Option<Value> {
        serde_json::from_str(self.response_object?.get()).ok()
    }

    /// The bodies were left out or the event cut for its size (`audit.k8s.io/truncated`).
    pub fn truncated(&self) -> bool {
        self.annotation("audit.k8s.io/truncated") == Some("true")
    }
}
