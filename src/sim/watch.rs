//! Watches: from a version on, with selectors that objects enter and leave, bookmarks, and expiry.

use bytes::Bytes;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::answer::{Refusal, Result};
use super::api::Request;
use super::read::{Form, form, include, metadata_only};
use super::resource::Resource;
use super::selector::Selector;
use super::store::{Entry, What};
use super::world::World;

/// How often a watch that asked for them gets a bookmark.
const BOOKMARKS: Duration = Duration::seconds(60);

/// A watch that is open.
pub struct Watching {
    resource: Resource,
    namespace: String,
    selector: Selector,
    form: Form,
    include: String,
    /// Told up to here.
    version: u64,
    bookmarks: bool,
    next_bookmark: OffsetDateTime,
    /// When it ends.
    pub until: OffsetDateTime,
    /// Only the object of this name.
    pub only: Option<String>,
    first: Vec<Bytes>,
    ended: bool,
    /// A Table's columns are told once.
    columns_told: std::cell::Cell<bool>,
}

impl Watching {
    /// Begins one.
    ///
    /// # Errors
    /// 400 for selectors and versions that can't be.
    pub fn begin(world: &mut World, request: &Request, resource: &Resource, namespace: &str) -> Result<Watching> {
        let query = &request.query;
        let of = resource.id();
        let selector = Selector::parse(&of, query.get("labelSelector"), query.get("fieldSelector"))?;
        let form = form(&request.accept)?;
        let wanted = query.get("resourceVersion");
        let now = world.now();
        let seconds = query.get("timeoutSeconds").parse::<i64>().unwrap_or(0);
        let seconds =
            if seconds > 0 { seconds } else { 1800 + i64::try_from(world.random.number() % 1800).unwrap_or(0) };
        let mut watching = Watching {
            resource: resource.clone(),
            namespace: namespace.into(),
            selector,
            form,
            include: if form == Form::Table { include(request)?.to_string() } else { String::new() },
            version: world.store.version(),
            bookmarks: query.is("allowWatchBookmarks"),
            next_bookmark: now + BOOKMARKS,
            until: now + Duration::seconds(seconds),
            only: None,
            first: Vec::new(),
            ended: false,
            columns_told: std::cell::Cell::new(false),
        };
        let initial = query.is("sendInitialEvents");
        if wanted.is_empty() || wanted == "0" || initial {
            let all: Vec<Bytes> = world
                .store
                .list(&of, namespace, None)
                .filter(|(key, entry)| watching.selector.matches(&key.0, &key.1, entry))
                .map(|(_, entry)| watching.event("ADDED", entry, now))
                .collect();
            watching.first = all;
            if initial && watching.bookmarks {
                let mark = watching.bookmark(json!({"k8s.io/initial-events-end": "true"}));
                watching.first.push(mark);
            }
        } else {
            watching.version = wanted.parse().map_err(|_| {
                let message = format!(
                    "resourceVersion: Invalid value: {wanted:?}: strconv.ParseUint: parsing {wanted:?}: invalid syntax"
                );
                Refusal::new(500, "InternalError", message)
            })?;
            if watching.version > world.store.version() + 1_000_000 {
                return Err(Refusal::new(504, "Timeout", format!("Too large resource version: {wanted}, current: {}", world.store.version()))
                    .with(json!({"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1})));
            }
        }
        Ok(watching)
    }

    /// What has happened since the last call, a line each. None when the watch is over.
    pub fn next(&mut self, world: &World) -> Option<Vec<Bytes>> {
        if self.ended {
            return None;
        }
        let mut lines = std::mem::take(&mut self.first);
        let now = world.now();
        let Some(changes) = world.store.since(self.version) else {
            let message = format!("too old resource version: {} ({})", self.version, world.store.forgotten() + 1);
            lines.push(line(&json!({"type": "ERROR", "object": Refusal::expired(message).status()})));
            self.ended = true;
            return Some(lines);
        };
        let of = self.resource.id();
        for change in changes {
            self.version = change.version;
            let key = &change.key;
            if *key.of != *of || !(self.namespace.is_empty() || self.namespace == key.namespace) {
                continue;
            }
            if self.only.as_ref().is_some_and(|only| *only != key.name) {
                continue;
            }
            let fits = |entry: &Entry| self.selector.matches(&key.namespace, &key.name, entry);
            let (was, is) = (change.before.as_ref().is_some_and(|b| fits(b)), fits(&change.now));
            match (change.what, was, is) {
                (What::Deleted, true, _) | (What::Modified, true, false) => {
                    // What leaves the selector is shown as it last was in it, with the change's version.
                    let mut last = change.before.as_ref().map(|b| b.value()).unwrap_or_default();
                    if change.what == What::Deleted {
                        last = change.now.value();
                    }
                    last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                    lines.push(self.event_of("DELETED", last, now));
                }
                (What::Added, _, true) | (What::Modified, false, true) => {
                    lines.push(self.event("ADDED", &change.now, now))
                }
                (What::Modified, true, true) => lines.push(self.event("MODIFIED", &change.now, now)),
                _ => {}
            }
        }
        self.version = self.version.max(world.store.version());
        if self.bookmarks && now >= self.next_bookmark {
            self.next_bookmark = now + BOOKMARKS;
            lines.push(self.bookmark(Value::Null));
        }
        if now >= self.until {
            self.ended = true;
        }
        Some(lines)
    }

    fn bookmark(&self, annotations: Value) -> Bytes {
        let mut meta = json!({"resourceVersion": self.version.to_string(), "creationTimestamp": null});
        if !annotations.is_null() {
            meta["annotations"] = annotations;
        }
        let object = json!({"kind": self.resource.kind, "apiVersion": self.resource.api_version(), "metadata": meta});
        line(&json!({"type": "BOOKMARK", "object": object}))
    }

    fn event(&self, kind: &str, entry: &Entry, now: OffsetDateTime) -> Bytes {
        if self.form == Form::Whole && !self.resource.custom {
            let mut text = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
            text.extend_from_slice(&entry.text);
            text.extend_from_slice(b"}\n");
            return Bytes::from(text);
        }
        self.event_of(kind, entry.value(), now)
    }

    fn event_of(&self, kind: &str, mut object: Value, now: OffsetDateTime) -> Bytes {
        if self.resource.custom {
            object["apiVersion"] = json!(self.resource.api_version());
        }
        let shown = match self.form {
            Form::Whole => object,
            Form::Metadata => metadata_only(&object),
            Form::Table => {
                let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
                let (group, kind, now) = (&self.resource.group, &self.resource.kind, now.unix_timestamp());
                let mut table = super::table::table(group, kind, &[&object], meta, &self.include, now);
                if self.columns_told.replace(true) {
                    table["columnDefinitions"] = Value::Null;
                }
                table
            }
        };
        line(&json!({"type": kind, "object": shown}))
    }
}

fn line(value: &Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}
