//! Azure AKS: records of Azure Monitor, whose `properties.log` holds the Event as text; and rows of the tables AKSAudit and
//! AKSAuditAdmin, that hold its fields as columns.
//!
//! Category `kube-audit` has all, `kube-audit-admin` leaves get and list out, others are other components' text.
//!
//! <https://learn.microsoft.com/azure/aks/monitor-aks-reference>,
//! <https://learn.microsoft.com/azure/azure-monitor/reference/tables/aksaudit>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Record, kubernetes, unwrapped};
use crate::audit::event::{Event, Origin, Provider};

/// What stands in place of an event that was too large.
const TOO_BIG: &str = "skipped-too-big-size-object";

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    log: Option<&'a RawValue>,
}

/// A row of AKSAudit. Columns of type `dynamic` come as JSON, or as text that holds it: the query API writes that.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    #[serde(borrow)]
    audit_id: Option<&'a RawValue>,
    #[serde(borrow)]
    level: Option<&'a RawValue>,
    #[serde(borrow)]
    stage: Option<&'a RawValue>,
    #[serde(borrow)]
    request_uri: Option<&'a RawValue>,
    #[serde(borrow)]
    verb: Option<&'a RawValue>,
    #[serde(borrow)]
    user_agent: Option<&'a RawValue>,
    #[serde(borrow)]
    request_received_time: Option<&'a RawValue>,
    #[serde(borrow)]
    stage_received_time: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    source_ips: Option<&'a RawValue>,
    #[serde(borrow)]
    object_ref: Option<&'a RawValue>,
    #[serde(borrow)]
    response_status: Option<&'a RawValue>,
    #[serde(borrow)]
    request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    response_object: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

/// The event of a table's row. What the table has no column for is not known: as whom somebody asked to act.
pub(super) fn row(text: &str, here: Origin, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    let row: Row = match serde_json::from_str(text) {
        Ok(row) => row,
        Err(e) => return tell(Record::Damaged(kubernetes::fault(&e)), here),
    };
    let mut event = String::with_capacity(text.len());
    event.push_str(r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1""#);
    let plain = [
        ("level", row.level),
        ("auditID", row.audit_id),
        ("stage", row.stage),
        ("requestURI", row.request_uri),
        ("verb", row.verb),
        ("userAgent", row.user_agent),
        ("requestReceivedTimestamp", row.request_received_time),
        ("stageTimestamp", row.stage_received_time),
    ];
    let dynamic = [
        ("user", row.user),
        ("sourceIPs", row.source_ips),
        ("objectRef", row.object_ref),
        ("responseStatus", row.response_status),
        ("requestObject", row.request_object),
        ("responseObject", row.response_object),
        ("annotations", row.annotations),
    ];
    let mut put = |key: &str, json: &str| {
        event.extend([",\"", key, "\":", json]);
    };
    for (key, value) in plain {
        value.iter().for_each(|value| put(key, value.get()));
    }
    for (key, value) in dynamic {
        let Some(json) = value.and_then(|value| content(value.get())) else { continue };
        // An empty column is no object; a body that was too large is left out by the provider.
        if json.trim_start().starts_with(['{', '[']) {
            put(key, &json);
        }
    }
    event.push('}');
    match kubernetes::event(&event, here) {
        Ok(event) => tell(Record::Event(Box::new(Event { provider: Provider::AksTable, ..event })), here),
        Err(what) => tell(Record::Damaged(what), here),
    }
}

/// JSON as it is, or what a string holds.
fn content(json: &str) -> Option<std::borrow::Cow<'_, str>> {
    if json.starts_with('"') {
        return serde_json::from_str::<kubernetes::Text<'_>>(json).ok().map(|t| t.0);
    }
    Some(json.into())
}

/// The event of a record's `properties`, an object or one more text.
pub(super) fn event(properties: &str, category: Option<&str>, here: Origin, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    if category.is_some_and(|c| !c.trim_matches('"').starts_with("kube-audit")) {
        return tell(Record::Other, here);
    }
    let Some(properties) = unwrapped(properties) else {
        return tell(Record::Damaged("with properties that hold no log"), here);
    };
    let log = match serde_json::from_str::<Properties>(&properties) {
        // Text that is no JSON at all is another component's.
        Ok(Properties { log: Some(log) }) => unwrapped(log.get()),
        _ => None,
    };
    let Some(log) = log else { return tell(Record::Damaged("with properties that hold no log"), here) };
    if log.trim() == TOO_BIG {
        return tell(Record::Damaged("left out by the provider for its size"), here);
    }
    match kubernetes::event(log.trim(), here) {
        Ok(event) => tell(Record::Event(Box::new(Event { provider: Provider::Aks, ..event })), here),
        Err(_) if category.is_none() && !log.contains("audit.k8s.io") => tell(Record::Other, here),
        Err(what) => tell(Record::Damaged(what), here),
    }
}
