//! An event in the API server's own shape, for what came in another.

use serde_json::{Map, Value, json};

use super::event::{Event, User};
use crate::clock;

/// An Event of `audit.k8s.io/v1`: what the log said in other words, and no more.
pub fn shape(event: &Event<'_>) -> Value {
    let mut map = Map::new();
    let mut set = |key: &str, value: Value| {
        let empty = value.is_null() || value == "" || value == json!([]) || value == json!({});
        if !empty {
            map.insert(key.into(), value);
        }
    };
    set("kind", "Event".into());
    set("apiVersion", "audit.k8s.io/v1".into());
    set("level", event.level.as_str().into());
    set("auditID", event.audit_id.as_ref().into());
    set("stage", event.stage.as_str().into());
    set("requestURI", event.uri.as_ref().into());
    set("verb", event.verb.as_ref().into());
    set("user", user(&event.user));
    set("impersonatedUser", event.impersonated.as_ref().map_or(Value::Null, user));
    set("sourceIPs", json!(event.source_ips));
    set("userAgent", event.user_agent.as_ref().into());
    if let Some(object) = &event.object {
        let mut of = Map::new();
        for (key, text) in [
            ("resource", &object.resource),
            ("namespace", &object.namespace),
            ("name", &object.name),
            ("uid", &object.uid),
            ("apiGroup", &object.group),
            ("apiVersion", &object.version),
            ("subresource", &object.subresource),
        ] {
            if !text.is_empty() {
                of.insert(key.into(), text.as_ref().into());
            }
        }
        set("objectRef", Value::Object(of));
    }
    let mut status = Map::new();
    for (key, text) in [("reason", &event.reason), ("message", &event.message)] {
        if !text.is_empty() {
            status.insert(key.into(), text.as_ref().into());
        }
    }
    status.extend(event.code.map(|code| ("code".to_owned(), Value::from(code))));
    set("responseStatus", Value::Object(status));
    set("requestObject", event.request().unwrap_or_default());
    set("responseObject", event.response().unwrap_or_default());
    set("requestReceivedTimestamp", micros(event.received).into());
    set("stageTimestamp", micros(event.staged).into());
    set("annotations", event.annotations.iter().map(|(k, v)| (k.to_string(), json!(v))).collect());
    Value::Object(map)
}

fn user(user: &User<'_>) -> Value {
    let mut map = Map::new();
    for (key, value) in [
        ("username", json!(user.username)),
        ("uid", json!(user.uid)),
        ("groups", json!(user.groups)),
        ("extra", user.extra.iter().map(|(k, v)| (k.to_string(), json!(v))).collect()),
    ] {
        if value != "" && value != json!([]) && value != json!({}) {
            map.insert(key.into(), value);
        }
    }
    Value::Object(map)
}

/// With microseconds, as the API server writes its times.
fn micros(at: time::OffsetDateTime) -> String {
    let text = clock::rfc3339(at);
    format!("{}{:03}Z", text.trim_end_matches('Z'), at.microsecond() % 1000)
}
