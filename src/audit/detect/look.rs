//! One event as detections look at it: what they all ask is worked out once, bodies only when somebody asks.

use std::cell::OnceCell;

use serde_json::Value;

use super::template;
use crate::audit::event::{Event, Object, User};

/// A set of verbs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verbs(pub u16);

#[expect(missing_docs, reason = "each is the verb of its name")]
impl Verbs {
    pub const GET: Verbs = Verbs(1);
    pub const LIST: Verbs = Verbs(1 << 1);
    pub const WATCH: Verbs = Verbs(1 << 2);
    pub const CREATE: Verbs = Verbs(1 << 3);
    pub const UPDATE: Verbs = Verbs(1 << 4);
    pub const PATCH: Verbs = Verbs(1 << 5);
    pub const DELETE: Verbs = Verbs(1 << 6);
    pub const DELETE_ALL: Verbs = Verbs(1 << 7);
    pub const OTHER: Verbs = Verbs(1 << 8);
    /// get, list, watch.
    pub const READ: Verbs = Verbs(0b111);
    /// create, update, patch.
    pub const WRITE: Verbs = Verbs(0b11_1000);
    /// delete, deletecollection.
    pub const REMOVE: Verbs = Verbs(0b1100_0000);
    pub const ANY: Verbs = Verbs(0x1ff);

    /// Both.
    pub const fn or(self, other: Verbs) -> Verbs {
        Verbs(self.0 | other.0)
    }

    /// Whether they share one.
    pub const fn meets(self, other: Verbs) -> bool {
        self.0 & other.0 != 0
    }

    /// The set of one verb of the log.
    pub fn one(verb: &str) -> Verbs {
        match verb {
            "get" => Verbs::GET,
            "list" => Verbs::LIST,
            "watch" => Verbs::WATCH,
            "create" => Verbs::CREATE,
            "update" => Verbs::UPDATE,
            "patch" => Verbs::PATCH,
            "delete" => Verbs::DELETE,
            "deletecollection" => Verbs::DELETE_ALL,
            _ => Verbs::OTHER,
        }
    }
}

/// Who asks, as far as names and groups tell. What is impersonated is not looked at: it is the one who impersonates who
/// asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// Nobody who authenticated.
    Anonymous,
    /// The API server, the controller manager, the scheduler, or one of the controller manager's service accounts.
    ControlPlane,
    /// A kubelet: by name and group, for a name alone is no more than a certificate's text.
    Node,
    /// Another service account of kube-system.
    SystemAccount,
    /// A service account.
    ServiceAccount,
    /// Everybody else: people, pipelines, cloud identities.
    Person,
}

impl Actor {
    /// Whether it is part of Kubernetes itself.
    pub fn is_own(self) -> bool {
        matches!(self, Actor::ControlPlane | Actor::Node)
    }

    /// Whether it is a service account of any kind.
    pub fn is_account(self) -> bool {
        matches!(self, Actor::SystemAccount | Actor::ServiceAccount)
    }
}

/// A set of those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actors(u8);

impl Actors {
    /// Nobody who authenticated.
    pub const ANONYMOUS: Actors = Actors(1);
    /// See [`Actor::ControlPlane`].
    pub const CONTROL_PLANE: Actors = Actors(1 << 1);
    /// A kubelet, about anything but the Node of its own name.
    pub const NODE: Actors = Actors(1 << 2);
    /// A kubelet that reads or changes the Node of its own name, which it does several times a minute.
    pub const NODE_ITSELF: Actors = Actors(1 << 3);
    /// Service accounts of kube-system, other than the controller manager's.
    pub const SYSTEM_ACCOUNT: Actors = Actors(1 << 4);
    /// Other service accounts.
    pub const SERVICE_ACCOUNT: Actors = Actors(1 << 5);
    /// Everybody else.
    pub const PERSON: Actors = Actors(1 << 6);
    /// Service accounts of any kind.
    pub const ACCOUNTS: Actors = Actors::SYSTEM_ACCOUNT.or(Actors::SERVICE_ACCOUNT);
    /// All that are no part of Kubernetes itself.
    pub const OTHERS: Actors = Actors::ACCOUNTS.or(Actors::PERSON).or(Actors::ANONYMOUS);
    /// Everybody.
    pub const ANY: Actors = Actors(0x7f);
    /// Nobody.
    pub const NONE: Actors = Actors(0);

    /// Both.
    pub const fn or(self, other: Actors) -> Actors {
        Actors(self.0 | other.0)
    }

    /// These, but not those.
    pub const fn without(self, other: Actors) -> Actors {
        Actors(self.0 & !other.0)
    }

    /// Whether they share one.
    pub const fn meets(self, other: Actors) -> bool {
        self.0 & other.0 != 0
    }

    /// The set of one who asks. `name` is the object's by its URL.
    pub(super) fn one(actor: Actor, user: &str, verb: Verbs, resource: &str, name: &str) -> Actors {
        match actor {
            Actor::Anonymous => Actors::ANONYMOUS,
            Actor::ControlPlane => Actors::CONTROL_PLANE,
            Actor::Node => {
                let own = resource == "nodes" && user.strip_prefix("system:node:") == Some(name);
                if own && !verb.meets(Verbs::CREATE) { Actors::NODE_ITSELF } else { Actors::NODE }
            }
            Actor::SystemAccount => Actors::SYSTEM_ACCOUNT,
            Actor::ServiceAccount => Actors::SERVICE_ACCOUNT,
            Actor::Person => Actors::PERSON,
        }
    }
}

/// The controller manager's own accounts, with `--use-service-account-credentials`.
///
/// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#controller-roles>
const CONTROLLERS: &[&str] = &[
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "pod-garbage-collector",
    "node-controller",
    "bootstrap-signer",
    "token-cleaner",
    "root-ca-cert-publisher",
    "ca-publisher",
];

/// One event and what is asked of it.
pub struct Look<'e> {
    /// The event.
    pub event: &'e Event<'e>,
    /// Its verb, as a set of one.
    pub verb: Verbs,
    /// Who asks.
    pub actor: Actor,
    /// The same as a set of one, by which detections are chosen.
    pub by: Actors,
    /// The last address that is not a trusted proxy's.
    pub address: Option<&'e str>,
    body: OnceCell<Value>,
    answer: OnceCell<Value>,
}

impl<'e> Look<'e> {
    /// Works out what all ask.
    pub fn new(event: &'e Event<'e>, address: Option<&'e str>) -> Look<'e> {
        let (verb, actor) = (Verbs::one(&event.verb), actor(&event.user));
        let object = event.object.as_ref();
        let (resource, name) = object.map_or(("", ""), |o| (o.resource.as_ref(), o.name.as_ref()));
        Look {
            event,
            verb,
            actor,
            by: Actors::one(actor, &event.user.username, verb, resource, name),
            address,
            body: OnceCell::new(),
            answer: OnceCell::new(),
        }
    }

    /// The verb is one of these.
    pub fn verb(&self, verbs: Verbs) -> bool {
        self.verb.meets(verbs)
    }

    fn object(&self) -> Option<&'e Object<'e>> {
        self.event.object.as_ref()
    }

    /// The group, empty for the core group and for plain paths.
    pub fn group(&self) -> &'e str {
        self.object().map_or("", |o| o.group.as_ref())
    }

    /// The resource, empty for plain paths.
    pub fn resource(&self) -> &'e str {
        self.object().map_or("", |o| o.resource.as_ref())
    }

    /// The subresource, or empty.
    pub fn sub(&self) -> &'e str {
        self.object().map_or("", |o| o.subresource.as_ref())
    }

    /// The namespace, or empty.
    pub fn namespace(&self) -> &'e str {
        self.object().map_or("", |o| o.namespace.as_ref())
    }

    /// The name; of a create without one in the URL, the one in a body.
    pub fn name(&self) -> &str {
        let name = self.object().map_or("", |o| o.name.as_ref());
        if name.is_empty() && self.verb(Verbs::CREATE) {
            let of = |v: &'_ Value| v.pointer("/metadata/name").and_then(Value::as_str).is_some();
            if of(self.body()) {
                return text(self.body(), "/metadata/name");
            }
            return text(self.answer(), "/metadata/name");
        }
        name
    }

    /// Who authenticated.
    pub fn user(&self) -> &'e str {
        &self.event.user.username
    }

    /// Namespace of the service account that asks, if it is one.
    pub fn home(&self) -> Option<&'e str> {
        self.event.user.service_account().map(|(namespace, _)| namespace)
    }

    /// Whether the caller's token is bound to a pod: what asks runs in a pod, or has its token.
    pub fn in_pod(&self) -> bool {
        self.event.pod().is_some()
    }

    /// The request's body, Null without one. A JSON patch is given the shape of what it changes; parsed once.
    pub fn body(&self) -> &Value {
        self.body.get_or_init(|| template::shaped(self.event.request().unwrap_or(Value::Null)))
    }

    /// The response's body, Null without one.
    pub fn answer(&self) -> &Value {
        self.answer.get_or_init(|| self.event.response().unwrap_or(Value::Null))
    }

    /// The pod specs that the body holds: a pod's own, a workload's template's.
    pub fn pod_specs(&self) -> Vec<&Value> {
        template::pod_specs(self.body())
    }

    /// How the object is written in a sentence: `Secret payments/db`, `secrets in payments`, `/api/v1`.
    pub fn what(&self) -> String {
        let Some(object) = self.object() else {
            return self.event.uri.split('?').next().unwrap_or_default().to_owned();
        };
        let kind = object.kind();
        let name = self.name();
        match (object.namespace.as_ref(), name) {
            ("", "") if self.verb(Verbs::LIST.or(Verbs::WATCH)) => format!("{kind} of all namespaces"),
            ("", "") => kind,
            (namespace, "") => format!("{kind} in {namespace}"),
            ("", name) => format!("{kind} {name}"),
            (namespace, name) => format!("{kind} {namespace}/{name}"),
        }
    }
}

/// Text at a JSON pointer, or empty.
pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list at a JSON pointer.
pub fn items<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// Who that is.
pub(super) fn actor(user: &User) -> Actor {
    match user.username.as_ref() {
        "system:anonymous" => return Actor::Anonymous,
        "system:apiserver" | "system:kube-controller-manager" | "system:kube-scheduler" => return Actor::ControlPlane,
        "system:cloud-controller-manager" => return Actor::ControlPlane,
        name if name.starts_with("system:node:") && user.in_group("system:nodes") => return Actor::Node,
        _ => {}
    }
    match user.service_account() {
        Some(("kube-system", name)) if name.ends_with("-controller") || CONTROLLERS.contains(&name) => {
            // The controller manager's tokens are bound to no pod. A pod that runs under such a name is somebody's.
            if user.pod().is_none() { Actor::ControlPlane } else { Actor::SystemAccount }
        }
        Some(("kube-system", _)) => Actor::SystemAccount,
        Some(_) => Actor::ServiceAccount,
        None if user.in_group("system:unauthenticated") => Actor::Anonymous,
        None => Actor::Person,
    }
}

/// Tools for scripts and attacks rather than clients of Kubernetes, by their user agent. It proves nothing: a client may
/// say what it likes.
pub fn scripting(agent: &str) -> bool {
    const TOOLS: &[&str] = &[
        "curl",
        "wget",
        "python",
        "go-http-client",
        "perl",
        "php",
        "node-fetch",
        "axios",
        "undici",
        "ruby",
        "java/",
        "okhttp",
        "powershell",
        "libwww",
        "nmap",
        "nikto",
        "sqlmap",
        "kali",
        "httpie",
        "aiohttp",
        "peirates",
        "kubeletctl",
        "kube-hunter",
        "nuclei",
    ];
    let lower: String = agent.chars().take(120).collect::<String>().to_ascii_lowercase();
    lower.is_empty() || lower == "node" || TOOLS.iter().any(|t| lower.contains(t))
}
