//! Google GKE: log entries of Cloud Logging, whose `protoPayload` tells of the request in Google's own words.
//!
//! <https://cloud.google.com/kubernetes-engine/docs/how-to/audit-logging>,
//! <https://cloud.google.com/logging/docs/reference/audit/auditlog/rest/Shared.Types/AuditLog>

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Record;
use super::kubernetes::{Pairs, Text, fault, or_empty};
use crate::audit::event::{Event, Level, Object, Origin, Provider, Stage, User};
use crate::audit::instant;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(borrow)]
    insert_id: Option<Text<'a>>,
    #[serde(borrow)]
    timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    labels: Option<Pairs<'a, Text<'a>>>,
    #[serde(borrow)]
    operation: Option<Operation<'a>>,
}

#[derive(Deserialize)]
struct Operation<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(default)]
    first: bool,
    #[serde(default)]
    last: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow)]
    service_name: Option<Text<'a>>,
    #[serde(borrow)]
    method_name: Option<Text<'a>>,
    #[serde(borrow)]
    resource_name: Option<Text<'a>>,
    #[serde(borrow)]
    authentication_info: Option<Authentication<'a>>,
    #[serde(borrow)]
    request_metadata: Option<Metadata<'a>>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication<'a> {
    #[serde(borrow)]
    principal_email: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    caller_ip: Option<Text<'a>>,
    #[serde(borrow)]
    caller_supplied_user_agent: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    code: Option<i32>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Exec {
    #[serde(default)]
    command: Vec<String>,
}

/// The event of a log entry.
pub(super) fn event<'a>(entry: &'a str, payload: &'a str, here: Origin) -> Record<'a> {
    match read(entry, payload, here) {
        Ok(Some(event)) => Record::Event(Box::new(event)),
        Ok(None) => Record::Other,
        Err(what) => Record::Damaged(what),
    }
}

fn read<'a>(entry: &'a str, payload: &'a str, here: Origin) -> Result<Option<Event<'a>>, &'static str> {
    let entry: Entry = serde_json::from_str(entry).map_err(|e| fault(&e))?;
    let payload: Payload = serde_json::from_str(payload).map_err(|e| fault(&e))?;
    if payload.service_name.as_ref().is_none_or(|s| s.0 != "k8s.io") {
        return Ok(None);
    }
    let method = or_empty(payload.method_name);
    let verb = method.rsplit('.').next().unwrap_or_default().to_owned();
    let name = or_empty(payload.resource_name);
    let object = object(&name);
    let time = entry.timestamp.as_ref().and_then(|t| instant::parse(&t.0)).ok_or("with a time that is none")?;
    let (operation, first, last) = entry.operation.map_or((None, false, true), |o| (o.id, o.first, o.last));
    let audit_id = operation.or(entry.insert_id).ok_or("without auditID or times")?.0;
    let (caller, agent) =
        payload.request_metadata.map_or((None, None), |m| (m.caller_ip, m.caller_supplied_user_agent));
    let (code, message) = payload.status.map_or((None, None), |s| (s.code, s.message));
    Ok(Some(Event {
        audit_id,
        stage: if first && !last { Stage::ResponseStarted } else { Stage::ResponseComplete },
        level: match (payload.request, payload.response) {
            (_, Some(_)) => Level::RequestResponse,
            (Some(_), _) => Level::Request,
            _ => Level::Metadata,
        },
        received: time,
        staged: time,
        verb: verb.into(),
        uri: uri(&name, object.as_ref(), payload.request).into(),
        user: User {
            username: payload.authentication_info.and_then(|a| a.principal_email).map_or(Cow::Borrowed(""), |t| t.0),
            ..User::default()
        },
        impersonated: None,
        source_ips: caller.into_iter().map(|t| t.0).collect(),
        user_agent: or_empty(agent),
        object,
        code: Some(http(code.unwrap_or(0))),
        reason: Cow::Borrowed(""),
        message: or_empty(message),
        annotations: entry.labels.map_or_else(Vec::new, |l| l.0.into_iter().map(|(k, v)| (k, v.0)).collect()),
        request_object: payload.request,
        response_object: payload.response,
        origin: here,
        provider: Provider::Gke,
    }))
}

/// From `core/v1/namespaces/N/pods/P/exec`; None for a plain path.
fn object(name: &str) -> Option<Object<'static>> {
    let mut parts = name.split('/');
    let (group, version) = (parts.next()?, parts.next()?);
    let rest: Vec<&str> = parts.collect();
    let (namespace, rest) = match rest.as_slice() {
        ["namespaces", namespace, sub @ ("status" | "finalize")] => (*namespace, vec!["namespaces", namespace, sub]),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest.to_vec()),
        ["namespaces", namespace] => (*namespace, rest.clone()),
        _ => ("", rest.clone()),
    };
    let resource = rest.first().filter(|r| !r.is_empty())?;
    let own = |text: &str| Cow::Owned(text.to_owned());
    Some(Object {
        group: own(if group == "core" { "" } else { group }),
        version: own(version),
        resource: own(resource),
        subresource: own(rest.get(2).unwrap_or(&"")),
        namespace: own(namespace),
        name: own(rest.get(1).unwrap_or(&"")),
        uid: Cow::Borrowed(""),
    })
}

/// The path, and the parameters of an exec, which here stand in the body.
fn uri(name: &str, object: Option<&Object<'_>>, request: Option<&RawValue>) -> String {
    let mut uri = match (object, name.strip_prefix("core/")) {
        (None, _) => format!("/{}", name.trim_start_matches('/')),
        (_, Some(core)) => format!("/api/{core}"),
        _ => format!("/apis/{name}"),
    };
    let exec = object.is_some_and(|o| o.subresource == "exec");
    if let Some(Exec { command }) = request.filter(|_| exec).and_then(|r| serde_json::from_str(r.get()).ok()) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        command.iter().for_each(|word| {
            query.append_pair("command", word);
        });
        uri.push('?');
        uri.push_str(&query.finish());
    }
    uri
}

/// The HTTP status that a gRPC code stands for.
///
/// <https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto>
fn http(grpc: i32) -> u16 {
    match grpc {
        0 => 200,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        1 => 499,
        _ => 500,
    }
}
