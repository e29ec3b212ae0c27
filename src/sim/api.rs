//! One request's way: who, as whom, may they, what goes wrong, what is done, what the audit log says of it.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Result};
use super::audit::Line;
use super::fault::{Effect, struck};
use super::identity::User;
use super::rbac::{Attributes, forbidden};
use super::resource::Resource;
use super::route::{Query, attributes};
use super::store::Key;
use super::stream::Streaming;
use super::watch::Watching;
use super::world::World;
use super::{discovery, patching, read, review, special, write};

/// A request, read whole.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, …
    pub method: String,
    /// Path.
    pub path: String,
    /// What follows the question mark.
    pub query_text: String,
    /// The same, taken apart.
    pub query: Query,
    /// `Accept`.
    pub accept: String,
    /// `Content-Type`.
    pub content_type: String,
    /// `User-Agent`.
    pub agent: String,
    /// `Impersonate-*`, lower-case name and value.
    pub impersonate: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// Who asks; None when the credentials are not good.
    pub user: Option<User>,
    /// From where.
    pub source: String,
    /// The caller's `Audit-ID`.
    pub audit_id: String,
    /// The caller wants to speak another protocol: exec, attach.
    pub upgrade: bool,
}

/// What comes back.
pub enum Reply {
    /// A whole answer.
    Now(Answer),
    /// Changes as they come.
    Watch(Box<Watching>),
    /// exec, attach, or a log that is followed.
    Stream(Box<Streaming>),
}

/// What the reply meets on its way, and its audit line when that is to be written at its end.
pub struct Handled {
    /// The reply.
    pub reply: Reply,
    /// Faults that strike it.
    pub effects: Vec<Effect>,
    /// The Audit-ID.
    pub audit_id: String,
    /// For a stream: what to write when it has ended.
    pub ending: Option<Line>,
}

/// An object or list on its way out, and what the audit log notes beside.
pub struct Outcome {
    /// The reply.
    pub reply: Reply,
    /// Annotations for the audit log.
    pub notes: Vec<(String, String)>,
    /// The name of a created object, which the request did not have.
    pub name: String,
}

impl Outcome {
    /// A whole answer.
    pub fn now(answer: Answer) -> Outcome {
        Outcome { reply: Reply::Now(answer), notes: Vec::new(), name: String::new() }
    }

    /// An object.
    pub fn object(code: u16, value: &Value) -> Outcome {
        let code = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
        Outcome::now(Answer::json(code, value))
    }
}

impl World {
    /// Handles a request.
    pub fn handle(&mut self, mut request: Request) -> Handled {
        let received = self.now();
        if request.audit_id.is_empty() {
            request.audit_id = self.random.uuid();
        }
        let asked = attributes(&request.method, &request.path, &request.query);
        let uri = if request.query_text.is_empty() {
            request.path.clone()
        } else {
            format!("{}?{}", request.path, request.query_text)
        };
        let mut line = Line {
            id: request.audit_id.clone(),
            uri,
            user: request.user.clone().unwrap_or_default(),
            source: request.source.clone(),
            agent: request.agent.clone(),
            asked: asked.clone(),
            received: Some(received),
            ..Line::default()
        };
        let effects = struck(&mut self.faults, &asked);
        let outcome = self.judge(&mut request, &asked, &mut line, &effects);
        let (reply, name) = match outcome {
            Ok(outcome) => {
                line.annotations.extend(outcome.notes);
                (outcome.reply, outcome.name)
            }
            Err(refusal) => {
                line.code = refusal.code;
                let status = refusal.status();
                line.status = json!({"status": "Failure", "message": status["message"], "reason": status["reason"], "details": status["details"]});
                (Reply::Now(refusal.into()), String::new())
            }
        };
        if line.asked.name.is_empty() {
            line.asked.name = name;
        }
        let now = self.now();
        let ending = match &reply {
            Reply::Now(answer) => {
                if line.code == 0 {
                    line.code = answer.code.as_u16();
                }
                if asked.verb != "get"
                    && asked.verb != "list"
                    && self.audit.level(&line.user, &asked) > super::audit::Level::Metadata
                {
                    line.request = serde_json::from_slice(&request.body).unwrap_or_default();
                    line.response = serde_json::from_slice(&answer.body).unwrap_or_default();
                }
                self.audit.write(&line, "ResponseComplete", now);
                None
            }
            Reply::Watch(_) | Reply::Stream(_) => {
                line.code = if matches!(reply, Reply::Stream(_)) && request.upgrade { 101 } else { 200 };
                self.audit.write(&line, "ResponseStarted", now);
                Some(line)
            }
        };
        Handled { reply, effects, audit_id: request.audit_id, ending }
    }

    fn judge(
        &mut self,
        request: &mut Request,
        asked: &Attributes,
        line: &mut Line,
        effects: &[Effect],
    ) -> Result<Outcome> {
        let Some(mut user) = request.user.clone() else {
            return Err(Refusal::new(401, "Unauthorized", "Unauthorized"));
        };
        if !request.impersonate.is_empty() {
            let other = self.impersonated(&user, &request.impersonate)?;
            line.impersonated = Some(other.clone());
            user = other;
            request.user = Some(user.clone());
        }
        let mut decisions = vec![asked.clone()];
        // Since 1.35 a WebSocket's GET needs the right to create the stream too.
        if ["exec", "attach", "portforward"].contains(&asked.subresource.as_str()) && asked.verb == "get" {
            decisions.push(Attributes { verb: "create".into(), ..asked.clone() });
        }
        let mut reason = String::new();
        for decision in &decisions {
            match self.allowed(&user, decision) {
                Some(why) => reason = why,
                None => {
                    line.annotations.push(("authorization.k8s.io/decision".into(), "forbid".into()));
                    line.annotations.push(("authorization.k8s.io/reason".into(), String::new()));
                    return Err(forbidden(&user, decision));
                }
            }
        }
        line.annotations.push(("authorization.k8s.io/decision".into(), "allow".into()));
        line.annotations.push(("authorization.k8s.io/reason".into(), reason));
        for effect in effects {
            if let Effect::Status(code) = effect {
                return Err(injected(*code));
            }
        }
        if asked.path.is_some() {
            return discovery::serve(self, request).map(Outcome::now);
        }
        let group_known = self.resources.iter().any(|r| r.group == asked.group);
        if !group_known {
            return Ok(Outcome::now(Answer::text(StatusCode::NOT_FOUND, "404 page not found\n")));
        }
        let resource = self
            .served(&asked.group, &asked.version, &asked.resource)
            .filter(|r| r.namespaced || asked.namespace.is_empty() || asked.resource == "namespaces")
            .ok_or_else(Refusal::no_such_resource)?;
        self.dispatch(request, asked, &resource, &user)
    }

    fn dispatch(&mut self, request: &Request, asked: &Attributes, resource: &Resource, user: &User) -> Result<Outcome> {
        let below = asked.subresource.as_str();
        if !below.is_empty() && !resource.subresources.iter().any(|s| s.name == below) {
            return Err(Refusal::no_such_resource());
        }
        // The name that a field selector gives a list is for authorization alone.
        let named = request.path.trim_matches('/').ends_with(&format!("{}/{}", asked.resource, asked.name));
        if resource.namespaced
            && asked.namespace.is_empty()
            && (["create", "update", "patch", "delete"].contains(&asked.verb.as_str()) || asked.verb == "get")
        {
            return Err(if asked.verb == "get" || !asked.name.is_empty() {
                Refusal::no_such_resource()
            } else {
                Refusal::no_such_method()
            });
        }
        if asked.verb == "create" && below.is_empty() && !asked.name.is_empty()
            || asked.verb == "update" && asked.name.is_empty()
        {
            return Err(Refusal::no_such_method());
        }
        let verb = match (asked.verb.as_str(), named) {
            ("watch", true) => "watch",
            (verb, _) => verb,
        };
        if !resource.takes(below, verb) {
            return Err(Refusal::no_such_method());
        }
        let namespace = if resource.namespaced { asked.namespace.as_str() } else { "" };
        let key = Key::new(&resource.id(), namespace, &asked.name);
        if review::is_review(resource) {
            return review::create(self, request, resource, user, namespace).map(|v| Outcome::object(201, &v));
        }
        if !below.is_empty() && special::is_special(below) {
            return special::serve(self, request, asked, resource, &key);
        }
        match verb {
            "get" => read::get(self, request, resource, &key).map(Outcome::now),
            "list" => read::list(self, request, resource, namespace).map(Outcome::now),
            "watch" => {
                let mut watching = Watching::begin(self, request, resource, namespace)?;
                if named && !asked.name.is_empty() {
                    watching.only = Some(asked.name.clone());
                }
                Ok(Outcome { reply: Reply::Watch(Box::new(watching)), notes: Vec::new(), name: String::new() })
            }
            "create" => write::create(self, request, resource, namespace, user),
            "update" => write::update(self, request, resource, &key, below, user),
            "patch" => patching::patch(self, request, resource, &key, below, user),
            "delete" => super::delete::one(self, request, resource, &key).map(Outcome::now),
            "deletecollection" => super::delete::collection(self, request, resource, namespace).map(Outcome::now),
            _ => Err(Refusal::no_such_method()),
        }
    }

    fn impersonated(&self, user: &User, headers: &[(String, String)]) -> Result<User> {
        let all = |name: &str| headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.clone()).collect::<Vec<_>>();
        let name = all("impersonate-user").pop().unwrap_or_default();
        let mut groups = all("impersonate-group");
        let may = |resource: &str, group: &str, namespace: &str, name: &str| {
            self.authorize(
                user,
                &Attributes {
                    verb: "impersonate".into(),
                    group: group.into(),
                    resource: resource.into(),
                    namespace: namespace.into(),
                    name: name.into(),
                    ..Attributes::default()
                },
            )
        };
        if name.is_empty() {
            return Err(Refusal::bad_request(format!(
                "requested [{}] without impersonating a user",
                groups.iter().map(|g| format!("{{Group  {g}    }}")).collect::<Vec<_>>().join(" ")
            )));
        }
        let mut uid = all("impersonate-uid").pop().unwrap_or_default();
        match name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, account)) => {
                may("serviceaccounts", "", namespace, account)?;
                if groups.is_empty() {
                    groups = vec!["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")];
                }
                if uid.is_empty()
                    && let Some(entry) = self.store.get(&Key::new("serviceaccounts", namespace, account))
                {
                    uid = entry.uid.clone();
                    uid.clear();
                }
            }
            None => {
                may("users", "", "", &name)?;
            }
        }
        for group in all("impersonate-group") {
            may("groups", "", "", &group)?;
        }
        if name != "system:anonymous" && !groups.iter().any(|g| g == "system:authenticated") {
            groups.push("system:authenticated".into());
        }
        Ok(User { name, uid, groups, ..User::default() })
    }
}

fn injected(code: u16) -> Box<Refusal> {
    match code {
        429 => Refusal::new(
            429,
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later",
        )
        .with(json!({"retryAfterSeconds": 1})),
        503 => Refusal::new(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => Refusal::new(
            504,
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request",
        ),
        code => Refusal::new(code, "InternalError", "Internal error occurred: etcdserver: leader changed"),
    }
}
