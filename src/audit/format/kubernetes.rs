//! An Event of `audit.k8s.io/v1` from its JSON, keys in any order, text borrowed.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::event::{Event, Level, Object, Origin, Provider, Stage, User};
use super::super::instant;

/// Text that is borrowed from the line unless it holds escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

/// The text, or an empty one.
pub(super) fn or_empty(text: Option<Text<'_>>) -> Cow<'_, str> {
    text.map_or(Cow::Borrowed(""), |t| t.0)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    level: Option<Text<'a>>,
    #[serde(borrow, rename = "auditID")]
    audit_id: Option<Text<'a>>,
    #[serde(borrow)]
    stage: Option<Text<'a>>,
    #[serde(borrow)]
    verb: Option<Text<'a>>,
    #[serde(borrow, rename = "requestURI")]
    request_uri: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<RawUser<'a>>,
    #[serde(borrow)]
    impersonated_user: Option<RawUser<'a>>,
    #[serde(borrow, rename = "sourceIPs")]
    source_ips: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    user_agent: Option<Text<'a>>,
    #[serde(borrow)]
    object_ref: Option<RawObject<'a>>,
    #[serde(borrow)]
    response_status: Option<RawStatus<'a>>,
    #[serde(borrow)]
    request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    response_object: Option<&'a RawValue>,
    #[serde(borrow)]
    request_received_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    stage_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    annotations: Option<Pairs<'a, Text<'a>>>,
}

/// The part of an Event that says who asks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawCaller<'a> {
    #[serde(borrow)]
    user: Option<RawUser<'a>>,
    #[serde(borrow)]
    impersonated_user: Option<RawUser<'a>>,
    #[serde(borrow, rename = "sourceIPs")]
    source_ips: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    user_agent: Option<Text<'a>>,
    #[serde(rename = "authenticationMetadata")]
    _authentication_metadata: Option<IgnoredAny>,
}

/// Who asks, from where, with what.
pub struct Asking<'a> {
    /// Who authenticated.
    pub user: User<'a>,
    /// As whom they asked to act.
    pub impersonated: Option<User<'a>>,
    /// As in the log.
    pub source_ips: Vec<Cow<'a, str>>,
    /// The client's own word.
    pub user_agent: Cow<'a, str>,
}

/// Of an object that holds nothing but the keys of an Event that say who asks; None if it holds others.
pub fn asking(text: &str) -> Option<Asking<'_>> {
    let raw: RawCaller = serde_json::from_str(text).ok()?;
    Some(Asking {
        user: raw.user.map_or_else(User::default, RawUser::user),
        impersonated: raw.impersonated_user.map(RawUser::user),
        source_ips: raw.source_ips.unwrap_or_default().into_iter().map(|t| t.0).collect(),
        user_agent: or_empty(raw.user_agent),
    })
}

#[derive(Deserialize)]
struct RawUser<'a> {
    #[serde(borrow)]
    username: Option<Text<'a>>,
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    groups: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    extra: Option<Pairs<'a, Option<Vec<Text<'a>>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawObject<'a> {
    #[serde(borrow)]
    resource: Option<Text<'a>>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow)]
    api_group: Option<Text<'a>>,
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    subresource: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct RawStatus<'a> {
    code: Option<i32>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

/// A JSON object as its pairs, in order.
pub(super) struct Pairs<'a, V>(pub Vec<(Cow<'a, str>, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Pairs<'a, V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Of<'a, V>(std::marker::PhantomData<(&'a (), V)>);
        impl<'de: 'a, 'a, V: Deserialize<'de>> Visitor<'de> for Of<'a, V> {
            type Value = Pairs<'a, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<Text<'a>, V>()? {
                    pairs.push((key.0, value));
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Of(std::marker::PhantomData))
    }
}

impl<'a> RawUser<'a> {
    fn user(self) -> User<'a> {
        let texts = |all: Option<Vec<Text<'a>>>| all.unwrap_or_default().into_iter().map(|t| t.0).collect();
        User {
            username: or_empty(self.username),
            uid: or_empty(self.uid),
            groups: texts(self.groups),
            extra: self.extra.map_or_else(Vec::new, |e| e.0.into_iter().map(|(k, v)| (k, texts(v))).collect()),
        }
    }
}

impl<'a> RawObject<'a> {
    fn object(self) -> Object<'a> {
        Object {
            group: or_empty(self.api_group),
            version: or_empty(self.api_version),
            resource: or_empty(self.resource),
            subresource: or_empty(self.subresource),
            namespace: or_empty(self.namespace),
            name: or_empty(self.name),
            uid: or_empty(self.uid),
        }
    }
}

/// What is wrong with JSON that can't be read.
pub(super) fn fault(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "cut short",
        serde_json::error::Category::Data => "not of an Event's shape",
        _ => "not JSON",
    }
}

/// The event of one JSON text. The whole of it is parsed, so that damage anywhere is seen; the error says what is wrong.
pub fn event(text: &str, origin: Origin) -> Result<Event<'_>, &'static str> {
    let raw: Raw = serde_json::from_str(text).map_err(|e| fault(&e))?;
    match (raw.kind.as_ref().map(|t| t.0.as_ref()), raw.api_version.as_ref().map(|t| t.0.as_ref())) {
        (Some("Event"), Some("audit.k8s.io/v1")) => {}
        // The items of an EventList need not repeat their kind.
        (None, None) if raw.audit_id.is_some() && raw.stage.is_some() => {}
        _ => return Err("not an Event of audit.k8s.io/v1"),
    }
    let stage = raw.stage.as_ref().and_then(|t| Stage::parse(&t.0)).ok_or("without a known stage")?;
    let (Some(audit_id), Some(received), Some(staged)) =
        (raw.audit_id, raw.request_received_timestamp, raw.stage_timestamp)
    else {
        return Err("without auditID or times");
    };
    let time = |text: &str| instant::parse(text).ok_or("with a time that is none");
    let status = raw.response_status;
    let code = status.as_ref().and_then(|s| s.code).and_then(|c| u16::try_from(c).ok()).filter(|c| *c != 0);
    let (reason, message) = status.map_or((None, None), |s| (s.reason, s.message));
    Ok(Event {
        received: time(&received.0)?,
        staged: time(&staged.0)?,
        audit_id: audit_id.0,
        stage,
        level: raw.level.map_or(Level::Unknown, |t| Level::parse(&t.0)),
        verb: or_empty(raw.verb),
        uri: or_empty(raw.request_uri),
        user: raw.user.map_or_else(User::default, RawUser::user),
        impersonated: raw.impersonated_user.map(RawUser::user),
        source_ips: raw.source_ips.unwrap_or_default().into_iter().map(|t| t.0).collect(),
        user_agent: or_empty(raw.user_agent),
        object: raw.object_ref.map(RawObject::object),
        code,
        reason: or_empty(reason),
        message: or_empty(message),
        annotations: raw
            .annotations
            .map_or_else(Vec::new, |pairs| pairs.0.into_iter().map(|(key, value)| (key, value.0)).collect()),
        request_object: raw.request_object,
        response_object: raw.response_object,
        origin,
        provider: Provider::Kubernetes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HERE: Origin = Origin { file: 0, offset: 0, len: 0 };

    #[test]
    fn a_planted_key_inside_a_body_is_not_the_events_own() {
        let line = r#"{"level":"Request","requestObject":{"stageTimestamp":"1999-01-01T00:00:00Z","user":{"username":"other"}},
            "user":{"username":"system:serviceaccount:ns:n\u0061me","groups":["a"],"extra":{"authentication.kubernetes.io/pod-name":["p"]}},
            "auditID":"a","stage":"ResponseComplete","requestReceivedTimestamp":"2026-11-23T03:00:00.000001Z",
            "responseStatus":{"metadata":{},"code":101},"annotations":{"k":"v"},"unknown":[1,{}],
            "kind":"Event","apiVersion":"audit.k8s.io/v1","stageTimestamp":"2026-11-23T03:00:01.000000Z"}"#;
        let event = event(line, HERE).unwrap();
        assert_eq!(event.user.username, "system:serviceaccount:ns:name");
        assert_eq!(event.user.service_account(), Some(("ns", "name")));
        assert_eq!(event.pod(), Some(("p", "")));
        assert_eq!(clock::rfc3339(event.staged), "2026-11-23T03:00:01.000Z");
        assert_eq!((event.code, event.allowed(), event.succeeded()), (Some(101), Some(true), Some(true)));
        assert_eq!(event.request().unwrap()["user"]["username"], "other");
        assert!(event.object.is_none() && event.decided());
    }

    #[test]
    fn what_is_no_event_is_told() {
        let shape = |text: &str| event(text, HERE).err().unwrap();
        assert_eq!(shape("{"), "cut short");
        assert_eq!(shape("x"), "not JSON");
        assert_eq!(shape(r#"{"kind":1}"#), "not of an Event's shape");
        assert_eq!(shape(r#"{"kind":"Event","apiVersion":"v1"}"#), "not an Event of audit.k8s.io/v1");
        let deep = format!(r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","user":{}"#, "[".repeat(100_000));
        assert!(["not JSON", "not of an Event's shape"].contains(&shape(&deep)));
    }

    #[test]
    fn a_body_nested_too_deeply_is_kept_unread() {
        let body = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let line = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","stage":"Panic","auditID":"a","requestObject":{body},
            "requestReceivedTimestamp":"2026-11-23T03:00:00Z","stageTimestamp":"2026-11-23T03:00:01Z"}}"#
        );
        let event = event(&line, HERE).unwrap();
        assert_eq!(event.request_object.unwrap().get().len(), body.len());
        assert!(event.request().is_none());
    }
}
