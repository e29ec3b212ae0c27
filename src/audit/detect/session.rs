//! Sessions as they are told: one credential, or one identity from one address, and all that it did.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fact::Fact;
use super::finding::{EventRef, FORMAT};
use super::gather::{Calls, Everything, Growing};
use super::span::{Mark, Spans};
use crate::clock;

/// Kinds of call that are listed of one session, the most frequent first.
const MAX_CALLS: usize = 40;

/// What tells a session from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionKind {
    /// A token, by its JTI.
    Token,
    /// A client certificate, by its fingerprint.
    Certificate,
    /// The log names no credential: an identity from an address.
    Identity,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// [`FORMAT`].
    pub format: u32,
    /// `JTI=…`, `X509SHA256=…`, or `USER from ADDRESS`.
    pub id: String,
    /// What it is told by.
    pub kind: SessionKind,
    /// Who authenticated.
    pub user: String,
    /// The pod that the token is bound to.
    pub pod: Option<BoundPod>,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// How the token was issued, if the log shows it.
    pub issued: Option<Issued>,
    /// First request.
    #[serde(with = "clock::serde_rfc3339")]
    pub first: OffsetDateTime,
    /// Last request.
    #[serde(with = "clock::serde_rfc3339")]
    pub last: OffsetDateTime,
    /// Requests.
    pub requests: u64,
    /// Denied ones.
    pub denied: u64,
    /// Let through, and failed.
    pub failed: u64,
    /// Addresses in the order in which they appeared; at most 48.
    pub addresses: Vec<Seen>,
    /// User agents, in the same way.
    pub agents: Vec<Seen>,
    /// Identities that were impersonated, in the same way.
    pub acted_as: Vec<Seen>,
    /// There were more of one of these.
    pub more: bool,
    /// By verb and resource, the most frequent first.
    pub calls: Vec<CallCount>,
    /// What is odd about it, in words.
    pub remarks: Vec<String>,
}

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundPod {
    /// Its namespace: the service account's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// How a token came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    /// Who asked for it.
    pub by: String,
    /// From where.
    pub from: Option<String>,
    /// The request.
    pub event: EventRef,
}

/// A text and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The address, agent or name.
    pub value: String,
    /// First.
    #[serde(with = "clock::serde_rfc3339")]
    pub first: OffsetDateTime,
    /// Last.
    #[serde(with = "clock::serde_rfc3339")]
    pub last: OffsetDateTime,
    /// The first event with it.
    pub first_event: EventRef,
    /// The last.
    pub last_event: EventRef,
}

/// How often one kind of request was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallCount {
    /// `get`.
    pub verb: String,
    /// `secrets`, `deployments.apps/scale`.
    pub resource: String,
    /// By outcome: all.
    pub requests: u64,
    /// Denied.
    pub denied: u64,
}

/// All sessions, in the order in which they began.
pub(super) fn sessions(everything: &Everything, issued: &[Fact]) -> Vec<Session> {
    let mut issues: HashMap<&str, &Fact> = HashMap::new();
    for fact in issued {
        issues.entry(&fact.object).or_insert(fact);
    }
    let mut all: Vec<Session> = everything.sessions().map(|s| session(everything, s, &issues)).collect();
    all.sort_by(|a, b| (a.first, &a.id).cmp(&(b.first, &b.id)));
    all
}

fn session(everything: &Everything, from: &Growing, issues: &HashMap<&str, &Fact>) -> Session {
    let addresses = seen(&from.addresses);
    let id = match &from.credential {
        Some(id) => id.to_string(),
        None => {
            let pod = from.pod.as_ref().map_or(String::new(), |(name, _)| format!(" in pod {name}"));
            format!("{}{pod} from {}", from.user, addresses.first().map_or("unknown", |a| &a.value))
        }
    };
    let kind = match &from.credential {
        Some(id) if id.starts_with("X509") => SessionKind::Certificate,
        Some(_) => SessionKind::Token,
        None => SessionKind::Identity,
    };
    let mut total = Calls::default();
    let mut by_kind: HashMap<(&str, &str), Calls> = HashMap::new();
    for (class, calls) in &from.calls {
        total.plus(*calls);
        let named = everything.classes.get(class).map_or(("(others)", "(others)"), |c| (&c.verb, &c.kind));
        by_kind.entry(named).or_default().plus(*calls);
    }
    let mut calls: Vec<CallCount> = by_kind
        .into_iter()
        .map(|((verb, resource), c)| CallCount {
            verb: verb.into(),
            resource: resource.into(),
            requests: c.total(),
            denied: c.denied,
        })
        .collect();
    calls.sort_by(|a, b| (b.requests, &a.verb, &a.resource).cmp(&(a.requests, &b.verb, &b.resource)));
    calls.truncate(MAX_CALLS);
    let namespace = from.user.strip_prefix("system:serviceaccount:").and_then(|r| r.split(':').next());
    let issued = issues.get(id.as_str()).map(|fact| Issued {
        by: fact.subject.text(),
        from: fact.address.map(|a| a.to_string()),
        event: EventRef {
            audit_id: fact.place.audit_id.clone(),
            file: fact.place.origin.file,
            offset: fact.place.origin.offset,
            len: fact.place.origin.len,
            time: fact.at,
        },
    });
    Session {
        format: FORMAT,
        id,
        kind,
        user: from.user.to_string(),
        pod: from.pod.as_ref().map(|(name, uid)| BoundPod {
            namespace: namespace.unwrap_or_default().into(),
            name: name.to_string(),
            uid: uid.to_string(),
        }),
        node: from.node.as_ref().map(|n| n.to_string()),
        issued,
        first: from.span.first.at.time(),
        last: from.span.last.at.time(),
        requests: total.total(),
        denied: total.denied,
        failed: total.failed,
        agents: seen(&from.agents),
        acted_as: seen(&from.acted_as),
        more: from.addresses.more || from.agents.more || from.acted_as.more,
        addresses,
        calls,
        remarks: Vec::new(),
    }
}

fn seen(spans: &Spans) -> Vec<Seen> {
    spans
        .in_order()
        .into_iter()
        .map(|(text, span)| Seen {
            value: text.into(),
            first: span.first.at.time(),
            last: span.last.at.time(),
            first_event: event(&span.first),
            last_event: event(&span.last),
        })
        .collect()
}

fn event(mark: &Mark) -> EventRef {
    EventRef {
        audit_id: mark.audit_id().to_owned(),
        file: mark.origin.file,
        offset: mark.origin.offset,
        len: mark.origin.len,
        time: mark.at.time(),
    }
}
