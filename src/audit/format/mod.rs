//! The forms an audit log comes in, told by content, each normalised to [`Event`]s: one file a form.
//!
//! A *record* is what holds one event: a line, an item of an EventList, a log event of CloudWatch, a log entry of Cloud
//! Logging, a record of Azure Monitor. Its place in the file is the event's [`Origin`], and its text read again gives the
//! event again.

mod aks;
mod cloudwatch;
mod gke;
pub(super) mod kubernetes;
pub(super) mod split;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{Event, Origin};
use kubernetes::{Text, fault};

/// What a record turned out to be.
#[derive(Debug)]
pub enum Record<'a> {
    /// An event.
    Event(Box<Event<'a>>),
    /// Of the same log, and no request to the API server: another component's text.
    Other,
    /// Damaged, and why.
    Damaged(&'static str),
}

/// The keys under which whole lists of records come: EventList, CloudWatch's subscriptions and its API, Azure Monitor.
pub(super) const LISTS: [&str; 4] = ["items", "logEvents", "events", "records"];

/// A row there does not hold its columns' names, so that no row could be shown by itself.
const TABLES: &str = "an answer of Log Analytics' own API, with columns apart from rows; `az monitor log-analytics query` prints rows that can be read";

/// How deep lists in lists are followed.
const MAX_DEPTH: u8 = 3;

/// How every line of an API server's own log begins.
pub(super) const HEAD: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "auditID")]
    audit_id: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
    #[serde(borrow)]
    log_events: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    log: Option<&'a RawValue>,
    #[serde(borrow)]
    proto_payload: Option<&'a RawValue>,
    #[serde(borrow)]
    properties: Option<&'a RawValue>,
    #[serde(borrow)]
    category: Option<&'a RawValue>,
    /// The column of Azure's tables.
    #[serde(borrow, rename = "AuditId")]
    table_audit_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "Type")]
    table: Option<&'a RawValue>,
    #[serde(borrow)]
    tables: Option<&'a RawValue>,
}

/// Every record of a line or of a piece of a document. `at` is where the text begins.
pub fn records(text: &str, at: Origin, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    within(text, at, 0, tell);
}

fn within(text: &str, at: Origin, depth: u8, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    let text = text.trim_end();
    if text.starts_with(HEAD) {
        return tell_one(kubernetes::event(text, here(at, text)), text, at, tell);
    }
    let begin = text.len() - text.trim_start().len();
    let begin = begin + cloudwatch::stamp(&text[begin..]);
    let (text, at) = (&text[begin..], shift(at, begin));
    let here = here(at, text);
    if text.starts_with('[') {
        return match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(_) if depth >= MAX_DEPTH => tell(Record::Damaged("lists nested too deeply"), here),
            Ok(items) => items.iter().for_each(|item| within(item.get(), inner(text, item, at), depth + 1, tell)),
            Err(e) => tell(Record::Damaged(fault(&e)), here),
        };
    }
    let envelope: Envelope = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        Err(e) if e.is_syntax() && depth == 0 && text.starts_with('{') && concatenated(text) => {
            return one_after_another(text, at, tell);
        }
        Err(e) => return tell(Record::Damaged(fault(&e)), here),
    };
    let list = [envelope.items, envelope.log_events, envelope.events, envelope.records].into_iter().flatten().next();
    if envelope.audit_id.is_some() {
        tell_one(kubernetes::event(text, here), text, at, tell);
    } else if let Some(list) = list.filter(|list| list.get().starts_with('[')) {
        within(list.get(), inner(text, list, at), depth + 1, tell);
    } else if let Some(payload) = envelope.proto_payload {
        tell(gke::event(text, payload.get(), here), here);
    } else if let Some(properties) = envelope.properties {
        aks::event(properties.get(), envelope.category.map(|c| c.get()), here, tell);
    } else if envelope.table_audit_id.is_some() {
        aks::row(text, here, tell);
    } else if envelope.table.is_some_and(|table| table.get() == r#""AKSControlPlane""#) {
        tell(Record::Other, here);
    } else if let Some(message) = envelope.message.or(envelope.log).filter(|_| envelope.kind.is_none()) {
        cloudwatch::event(message.get(), here, tell);
    } else if envelope.tables.is_some() {
        tell(Record::Damaged(TABLES), here);
    } else {
        tell(Record::Damaged("not an Event of audit.k8s.io/v1"), here);
    }
}

fn tell_one<'a>(
    event: Result<Event<'a>, &'static str>,
    text: &'a str,
    at: Origin,
    tell: &mut dyn FnMut(Record<'_>, Origin),
) {
    match event {
        Ok(event) => tell(Record::Event(Box::new(event)), here(at, text)),
        Err(_) if concatenated(text) => one_after_another(text, at, tell),
        Err(what) => tell(Record::Damaged(what), here(at, text)),
    }
}

/// Whether one object may stand right after another, or inside it where it was cut.
fn concatenated(text: &str) -> bool {
    text.contains("}{") || text.contains("} {")
}

/// Objects without a newline between them, as Firehose writes them.
fn one_after_another(text: &str, at: Origin, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    let mut splitter = split::Splitter::default();
    let mut pieces = Vec::new();
    let mut take = |part: split::Part<'_>| match part {
        split::Part::Whole { offset, bytes } => pieces.push((offset, Some(bytes.len()))),
        split::Part::Broken { offset, .. } => pieces.push((offset, None)),
    };
    splitter.feed(0, text.as_bytes(), &mut take);
    splitter.finish(&mut take);
    // A single piece is what was handed in: damaged, and not several.
    let alone = pieces.len() < 2;
    for (offset, len) in pieces {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let piece = len.and_then(|len| text.get(from..from.saturating_add(len)));
        match piece {
            Some(piece) if !alone => within(piece, shift(at, from), MAX_DEPTH - 1, tell),
            _ => tell(Record::Damaged("not JSON"), here(shift(at, from), text.get(from..).unwrap_or(""))),
        }
    }
}

/// The origin of a text that begins at `at`.
fn here(at: Origin, text: &str) -> Origin {
    Origin { len: u32::try_from(text.len()).unwrap_or(u32::MAX), ..at }
}

fn shift(at: Origin, by: usize) -> Origin {
    Origin { offset: at.offset + by as u64, ..at }
}

/// Where a part that was borrowed from the whole begins.
fn inner(whole: &str, part: &RawValue, at: Origin) -> Origin {
    shift(at, (part.get().as_ptr() as usize).saturating_sub(whole.as_ptr() as usize))
}

/// The content of a JSON string that holds JSON, or the JSON itself if it is none; None for what is neither.
fn unwrapped(json: &str) -> Option<std::borrow::Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str::<Text<'_>>(json).ok().map(|t| t.0),
        b'{' => Some(json.into()),
        _ => None,
    }
}
