//! What the server says when it says no: a `Status`, worded as the real API server words it.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::resource::Resource;

/// An answer that is complete when it is given.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub code: StatusCode,
    /// The body.
    pub body: Bytes,
    /// Content type of the body.
    pub content_type: &'static str,
    /// Texts for the `Warning` header.
    pub warnings: Vec<String>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u64>,
}

impl Answer {
    /// JSON with that status.
    pub fn json(code: StatusCode, value: &Value) -> Answer {
        Answer::bytes(code, Bytes::from(value.to_string()))
    }

    /// JSON that is text already.
    pub fn bytes(code: StatusCode, body: Bytes) -> Answer {
        Answer { code, body, content_type: "application/json", warnings: Vec::new(), retry_after: None }
    }

    /// Plain text.
    pub fn text(code: StatusCode, text: &str) -> Answer {
        let body = Bytes::from(text.to_string());
        Answer { code, body, content_type: "text/plain; charset=utf-8", warnings: Vec::new(), retry_after: None }
    }
}

/// A refusal: the `Status` object.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub code: u16,
    /// `NotFound`; empty where the server gives none.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// `details`, null when there are none.
    pub details: Value,
}

/// Nearly everything may be refused.
pub type Result<T> = std::result::Result<T, Box<Refusal>>;

impl From<Box<Refusal>> for Answer {
    fn from(refusal: Box<Refusal>) -> Answer {
        let code = StatusCode::from_u16(refusal.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Answer::json(code, &refusal.status());
        answer.retry_after = refusal.details["retryAfterSeconds"].as_u64();
        answer
    }
}

impl Refusal {
    /// Any.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Box<Refusal> {
        Box::new(Refusal { code, reason, message: message.into(), details: Value::Null })
    }

    /// With its details.
    pub fn with(mut self: Box<Self>, details: Value) -> Box<Refusal> {
        self.details = details;
        self
    }

    /// The object.
    pub fn status(&self) -> Value {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message, "code": self.code});
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }

    /// 404 for one object.
    pub fn not_found(resource: &Resource, name: &str) -> Box<Refusal> {
        Refusal::new(404, "NotFound", format!("{} {name:?} not found", resource.id())).with(details(resource, name))
    }

    /// 404 for a path that is no resource.
    pub fn no_such_resource() -> Box<Refusal> {
        Refusal::new(404, "NotFound", "the server could not find the requested resource").with(json!({}))
    }

    /// 405.
    pub fn no_such_method() -> Box<Refusal> {
        Refusal::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with(json!({}))
    }

    /// 409 on create.
    pub fn already_exists(resource: &Resource, name: &str) -> Box<Refusal> {
        Refusal::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource.id()))
            .with(details(resource, name))
    }

    /// 409 of optimistic locking or a precondition.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Box<Refusal> {
        Refusal::new(409, "Conflict", format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.id()))
            .with(details(resource, name))
    }

    /// 409: somebody else was faster.
    pub fn modified(resource: &Resource, name: &str) -> Box<Refusal> {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Refusal::conflict(resource, name, why)
    }

    /// 403 by an admission plugin or a rule of the object.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Box<Refusal> {
        let of = if name.is_empty() { resource.id() } else { format!("{} {name:?}", resource.id()) };
        Refusal::new(403, "Forbidden", format!("{of} is forbidden: {why}")).with(details(resource, name))
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Box<Refusal> {
        Refusal::new(400, "BadRequest", message)
    }

    /// 410: the version is no longer kept.
    pub fn expired(message: impl Into<String>) -> Box<Refusal> {
        Refusal::new(410, "Expired", message)
    }

    /// 500.
    pub fn internal(message: impl std::fmt::Display) -> Box<Refusal> {
        let message = format!("Internal error occurred: {message}");
        let cause = message.trim_start_matches("Internal error occurred: ").to_string();
        Refusal::new(500, "InternalError", message).with(json!({"causes": [{"message": cause}]}))
    }

    /// 422 with its causes: reason, message, field.
    pub fn invalid(resource: &Resource, name: &str, causes: &[(String, String, String)]) -> Box<Refusal> {
        let mut all: Vec<String> = Vec::new();
        for (_, message, field) in causes {
            let line = if field.is_empty() { message.clone() } else { format!("{field}: {message}") };
            if !all.contains(&line) {
                all.push(line);
            }
        }
        let list = if all.len() == 1 { all.concat() } else { format!("[{}]", all.join(", ")) };
        let qualified = if resource.group.is_empty() {
            resource.kind.clone()
        } else {
            format!("{}.{}", resource.kind, resource.group)
        };
        let mut details = json!({"kind": resource.kind, "causes": causes.iter().map(|(reason, message, field)| json!({"reason": reason, "message": message, "field": field})).collect::<Vec<_>>()});
        if !name.is_empty() {
            details["name"] = json!(name);
        }
        if !resource.group.is_empty() {
            details["group"] = json!(resource.group);
        }
        Refusal::new(422, "Invalid", format!("{qualified} {name:?} is invalid: {list}")).with(details)
    }
}

/// `details` of an object.
pub fn details(resource: &Resource, name: &str) -> Value {
    let mut details = json!({"kind": resource.plural});
    if !name.is_empty() {
        details["name"] = json!(name);
    }
    if !resource.group.is_empty() {
        details["group"] = json!(resource.group);
    }
    details
}
