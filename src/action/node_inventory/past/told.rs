//! What single requests tell of a node, in whatever order they come: which pods its kubelet spoke of, whose tokens it
//! asked for, which Secrets it read, and which pods called with a token that names the node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use time::OffsetDateTime;

use crate::action::node_inventory::own;
use crate::audit::{Event, Watch};

/// Pods, and objects that were read, that are told apart.
const MAX: usize = 20_000;
/// Images that are kept of one pod.
const MAX_IMAGES: usize = 50;

/// Namespace, name, UID (empty where the request did not name it).
pub(super) type Key = (String, String, String);

/// First and last time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub first: OffsetDateTime,
    pub last: OffsetDateTime,
}

impl Span {
    pub fn at(at: OffsetDateTime) -> Span {
        Span { first: at, last: at }
    }

    pub fn add(&mut self, other: Span) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// What was told of one pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub span: Span,
    pub account: Option<String>,
    /// As its kubelet reported them: image and digest.
    pub images: BTreeSet<(String, String)>,
    /// In which ways.
    pub by: BTreeSet<&'static str>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub pods: BTreeMap<Key, Pod>,
    /// `secret` or `configmap`, namespace, name.
    pub read: BTreeMap<(&'static str, String, String), Span>,
    /// Namespace and account of tokens that the node asked for.
    pub tokens: BTreeMap<(String, String), Span>,
    /// The node's own requests.
    pub own: u64,
    /// There were more than are told apart.
    pub more: bool,
}

impl Told {
    fn pod(&mut self, key: Key, at: OffsetDateTime, by: &'static str) -> Option<&mut Pod> {
        if key.1.is_empty() {
            return None;
        }
        if self.pods.len() >= MAX && !self.pods.contains_key(&key) {
            self.more = true;
            return None;
        }
        let pod = self.pods.entry(key).or_insert_with(|| Pod {
            span: Span::at(at),
            account: None,
            images: BTreeSet::new(),
            by: BTreeSet::new(),
        });
        pod.span.add(Span::at(at));
        pod.by.insert(by);
        Some(pod)
    }

    pub fn merge(&mut self, other: Told) {
        self.own += other.own;
        self.more |= other.more;
        for (key, pod) in other.pods {
            match self.pods.get_mut(&key) {
                Some(known) => {
                    known.span.add(pod.span);
                    known.account = known.account.take().or(pod.account);
                    known.images.extend(pod.images);
                    known.by.extend(pod.by);
                }
                None => drop(self.pods.insert(key, pod)),
            }
        }
        for (key, span) in other.read {
            self.read.entry(key).and_modify(|known| known.add(span)).or_insert(span);
        }
        for (key, span) in other.tokens {
            self.tokens.entry(key).and_modify(|known| known.add(span)).or_insert(span);
        }
    }
}

/// Who looks.
pub(super) struct OfNode<'a> {
    pub node: &'a str,
}

impl Watch for OfNode<'_> {
    type Seen = Told;

    fn begin(&self) -> Told {
        Told::default()
    }

    fn look(&self, told: &mut Told, event: &Event<'_>) {
        if event.succeeded() != Some(true) || event.dry_run() {
            return;
        }
        // The kubelet itself, and nobody who acts as it: what an impersonator says of a pod is no word of its node.
        if event.user.username == own::user(self.node) && event.impersonated.is_none() {
            told.own += 1;
            of_kubelet(told, event);
        } else if event.node().is_some_and(|(node, _)| node == self.node)
            && let (Some((name, uid)), Some((namespace, account))) = (event.pod(), event.user.service_account())
        {
            let key = (namespace.to_owned(), name.to_owned(), uid.to_owned());
            let account = account.to_owned();
            if let Some(pod) = told.pod(key, event.received, "a token bound to it and to the node was used") {
                pod.account = Some(account);
            }
        }
    }
}

fn of_kubelet(told: &mut Told, event: &Event<'_>) {
    let at = event.received;
    let (namespace, name) = (event.namespace().to_owned(), event.name().to_owned());
    let resource = event.object.as_ref().filter(|o| o.group.is_empty() || o.group == "events.k8s.io");
    let resource = resource.map_or("", |o| o.resource.as_ref());
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    match (resource, event.subresource(), event.verb.as_ref()) {
        ("pods", "status", "patch" | "update") => {
            let body = event.request().unwrap_or_default();
            let key = (namespace, name, text(&body["metadata"]["uid"]));
            if let Some(pod) = told.pod(key, at, "its kubelet reported its state") {
                for status in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"]
                    .iter()
                    .flat_map(|list| body["status"][*list].as_array().into_iter().flatten())
                    .filter(|s| s["image"].is_string())
                {
                    if pod.images.len() < MAX_IMAGES {
                        pod.images.insert((text(&status["image"]), text(&status["imageID"])));
                    }
                }
            }
        }
        ("pods", "", "create") => {
            let uid = event.response().map(|r| text(&r["metadata"]["uid"])).unwrap_or_default();
            told.pod((namespace, name, uid), at, "its kubelet announced it: a static pod");
        }
        ("pods", "", "delete") => {
            let body = event.request().unwrap_or_default();
            told.pod((namespace, name, text(&body["preconditions"]["uid"])), at, "its kubelet removed it");
        }
        ("events", "", "create" | "patch") => {
            let body = event.request().unwrap_or_default();
            let of = if body["involvedObject"].is_object() { &body["involvedObject"] } else { &body["regarding"] };
            if of["kind"] == "Pod" {
                let key = (text(&of["namespace"]), text(&of["name"]), text(&of["uid"]));
                told.pod(key, at, "its kubelet wrote an event about it");
            }
        }
        ("serviceaccounts", "token", "create") => {
            let body = event.request().unwrap_or_default();
            let of = &body["spec"]["boundObjectRef"];
            if of["kind"] == "Pod" {
                let key = (namespace.clone(), text(&of["name"]), text(&of["uid"]));
                if let Some(pod) = told.pod(key, at, "its kubelet asked for a token for it") {
                    pod.account = Some(name.clone());
                }
            }
            note(&mut told.tokens, &mut told.more, (namespace, name), at);
        }
        ("secrets" | "configmaps", "", "get" | "list" | "watch") if !name.is_empty() => {
            let kind = if resource == "secrets" { "secret" } else { "configmap" };
            note(&mut told.read, &mut told.more, (kind, namespace, name), at);
        }
        _ => {}
    }
}

fn note<K: Ord>(all: &mut BTreeMap<K, Span>, more: &mut bool, key: K, at: OffsetDateTime) {
    if all.len() >= MAX && !all.contains_key(&key) {
        *more = true;
        return;
    }
    all.entry(key).and_modify(|span| span.add(Span::at(at))).or_insert(Span::at(at));
}
