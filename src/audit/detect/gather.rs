//! What every event leaves, whatever the detections say: which session it belongs to, and what kind of request it was.
//!
//! A session is one credential (a token's JTI, a certificate's fingerprint); without its id, one identity from one
//! address, its agents told apart within.

use std::collections::HashMap;
use std::collections::btree_map::{BTreeMap, Entry};
use std::hash::{BuildHasher, RandomState};

use time::OffsetDateTime;

use super::fact::{Outcome, cut, outcome};
use super::look::{Actor, Look, Verbs};
use crate::audit::event::{Origin, Stage};

/// Sessions that are kept; those with a credential's id before the others.
const MAX_SESSIONS: usize = 20_000;
/// Addresses, agents and identities told apart within one session.
const MAX_WITHIN: usize = 48;
/// Kinds of request told apart: those that a detection knows before the others.
const MAX_CLASSES: usize = 4_096;
/// Requests that are remembered one by one, so that a line that is there twice is counted once (24 bytes each).
const MAX_REMEMBERED: usize = 1_500_000;

/// An event, small enough to be copied for every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub at: OffsetDateTime,
    pub origin: Origin,
    id: [u8; 47],
    len: u8,
}

impl Mark {
    fn new(look: &Look) -> Mark {
        let text = &look.event.audit_id;
        let mut len = text.len().min(47);
        while !text.is_char_boundary(len) {
            len -= 1;
        }
        let mut id = [0; 47];
        id[..len].copy_from_slice(&text.as_bytes()[..len]);
        Mark { at: look.event.received, origin: look.event.origin, id, len: u8::try_from(len).unwrap_or(0) }
    }

    pub fn audit_id(&self) -> &str {
        std::str::from_utf8(&self.id[..usize::from(self.len)]).unwrap_or_default()
    }

    fn key(&self) -> (OffsetDateTime, &[u8], Origin) {
        (self.at, &self.id, self.origin)
    }
}

/// The first and the last time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub first: Mark,
    pub last: Mark,
}

impl Span {
    fn add(&mut self, mark: &Mark) {
        if mark.key() < self.first.key() {
            self.first = *mark;
        }
        // Of two lines of one request the one that lies first is named, whichever of the two ends is meant.
        let last = |m: &Mark| (m.at, m.id, std::cmp::Reverse(m.origin));
        if last(mark) > last(&self.last) {
            self.last = *mark;
        }
    }

    fn merge(&mut self, other: &Span) {
        self.add(&other.first);
        self.add(&other.last);
    }
}

/// Different texts with their spans: at most [`MAX_WITHIN`], those of the smallest hashes.
#[derive(Debug, Default)]
pub(super) struct Spans {
    pub kept: BTreeMap<u64, (Box<str>, Span)>,
    /// There were more.
    pub more: bool,
}

impl Spans {
    fn add(&mut self, hasher: &RandomState, text: &str, mark: &Mark) {
        let key = hasher.hash_one(text);
        if let Some((_, span)) = self.kept.get_mut(&key) {
            span.add(mark);
        } else if self.kept.len() < MAX_WITHIN || self.kept.last_key_value().is_some_and(|(last, _)| key < *last) {
            self.insert(key, cut(text).into(), Span { first: *mark, last: *mark });
        } else {
            self.more = true;
        }
    }

    fn insert(&mut self, key: u64, text: Box<str>, span: Span) {
        self.kept.insert(key, (text, span));
        if self.kept.len() > MAX_WITHIN {
            self.kept.pop_last();
            self.more = true;
        }
    }

    fn merge(&mut self, other: Spans) {
        self.more |= other.more;
        for (key, (text, span)) in other.kept {
            match self.kept.get_mut(&key) {
                Some((_, mine)) => mine.merge(&span),
                None => self.insert(key, text, span),
            }
        }
    }

    /// In the order in which they were first seen.
    pub fn in_order(&self) -> Vec<(&str, &Span)> {
        let mut all: Vec<(&str, &Span)> = self.kept.values().map(|(text, span)| (text.as_ref(), span)).collect();
        all.sort_by(|a, b| (a.1.first.at, a.0).cmp(&(b.1.first.at, b.0)));
        all
    }
}

/// A session as it grows.
#[derive(Debug)]
pub(super) struct Growing {
    pub credential: Option<Box<str>>,
    pub user: Box<str>,
    pub actor: Actor,
    /// Name and UID of the pod that the token is bound to.
    pub pod: Option<(Box<str>, Box<str>)>,
    pub node: Option<Box<str>>,
    pub span: Span,
    pub addresses: Spans,
    pub agents: Spans,
    pub acted_as: Spans,
    /// By class; only filled when counted.
    pub calls: HashMap<u32, Calls>,
}

/// Requests by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Done.
    pub done: u64,
    /// Let through, and failed.
    pub failed: u64,
    /// Denied.
    pub denied: u64,
    /// Not said.
    pub unknown: u64,
}

impl Calls {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Denied => self.denied += 1,
            Outcome::Unknown => self.unknown += 1,
        }
    }

    /// Both together.
    pub fn plus(&mut self, other: Calls) {
        self.done += other.done;
        self.failed += other.failed;
        self.denied += other.denied;
        self.unknown += other.unknown;
    }

    /// All.
    pub fn total(&self) -> u64 {
        self.done + self.failed + self.denied + self.unknown
    }
}

/// A kind of request: verb and resource; each request counts once, when all is counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Class {
    pub verb: Box<str>,
    pub resource: Box<str>,
    pub kind: Box<str>,
    /// Past RequestReceived, where no body is written yet.
    pub lines: u64,
    /// Of them, done: what is denied is denied before its body is read.
    pub done: u64,
    /// Of those, with the request's body.
    pub with_body: u64,
    pub truncated: u64,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    request: u64,
    session: u64,
    class: u32,
    outcome: Outcome,
    stage: Stage,
    body: bool,
    truncated: bool,
}

/// What all events of a thread left.
#[derive(Debug, Default)]
pub(super) struct Everything {
    pub sessions: BTreeMap<u64, Growing>,
    pub classes: BTreeMap<u32, Class>,
    remembered: Vec<Remembered>,
    pub lines: u64,
    pub with_credential: u64,
    pub with_outcome: u64,
    /// More sessions than are kept.
    pub more_sessions: bool,
    /// More requests than are remembered: a line that is there twice may be counted twice.
    pub inexact: bool,
}

impl Everything {
    /// Takes one line. `known`: a detection asks for its resource.
    pub fn add(&mut self, hasher: &RandomState, look: &Look, request: u64, known: bool) {
        let event = look.event;
        let outcome = outcome(event);
        self.lines += 1;
        self.with_outcome += u64::from(outcome != Outcome::Unknown);
        let credential = event.credential_id();
        self.with_credential += u64::from(credential.is_some() || event.pod().is_some());
        let class = self.class(hasher, look, known);
        let mark = Mark::new(look);
        let address = look.address.unwrap_or("unknown");
        let key = match credential {
            Some(id) => hasher.hash_one((id, &event.user.username)) >> 1,
            None => {
                let pod = event.pod().map_or("", |(_, uid)| uid);
                hasher.hash_one((&event.user.username, pod, address)) >> 1 | 1 << 63
            }
        };
        if let Entry::Vacant(room) = self.sessions.entry(key) {
            room.insert(Growing {
                credential: credential.map(|c| cut(c).into()),
                user: cut(&event.user.username).into(),
                actor: look.actor,
                pod: event.pod().map(|(name, uid)| (cut(name).into(), cut(uid).into())),
                node: event.node().map(|(name, _)| cut(name).into()),
                span: Span { first: mark, last: mark },
                addresses: Spans::default(),
                agents: Spans::default(),
                acted_as: Spans::default(),
                calls: HashMap::new(),
            });
            if self.sessions.len() > MAX_SESSIONS {
                self.sessions.pop_last();
                self.more_sessions = true;
            }
        }
        if let Some(session) = self.sessions.get_mut(&key) {
            session.span.add(&mark);
            session.addresses.add(hasher, address, &mark);
            session.agents.add(hasher, &event.user_agent, &mark);
            if let Some(other) = &event.impersonated {
                session.acted_as.add(hasher, &other.username, &mark);
            }
        }
        self.remembered.push(Remembered {
            request,
            session: key,
            class,
            outcome,
            stage: event.stage,
            body: event.request_object.is_some(),
            truncated: event.truncated(),
        });
        if self.remembered.len() >= MAX_REMEMBERED {
            self.settle(false);
        }
    }

    fn class(&mut self, hasher: &RandomState, look: &Look, known: bool) -> u32 {
        let event = look.event;
        let (group, resource, sub) = (look.group(), look.resource(), look.sub());
        let hash = hasher.hash_one((&event.verb, group, resource, sub));
        let key = (hash & 0x7fff_ffff) as u32 | u32::from(!known) << 31;
        if let Entry::Vacant(room) = self.classes.entry(key) {
            room.insert(Class {
                verb: cut(&event.verb).into(),
                resource: cut(resource).into(),
                kind: event.object.as_ref().map_or("(paths)".into(), |o| cut(&o.kind()).into()),
                ..Class::default()
            });
            if self.classes.len() > MAX_CLASSES {
                self.classes.pop_last();
            }
        }
        key
    }

    /// Leaves one of each request; at the end, or if that makes too little room, counts them and forgets them.
    fn settle(&mut self, end: bool) {
        self.remembered.sort_unstable_by(|a, b| {
            (a.request, b.stage, b.outcome, b.body, a.class).cmp(&(b.request, a.stage, a.outcome, a.body, b.class))
        });
        self.remembered.dedup_by_key(|r| r.request);
        if !end && self.remembered.len() < MAX_REMEMBERED / 4 * 3 {
            return;
        }
        self.inexact |= !end;
        for r in self.remembered.drain(..) {
            if let Some(class) = self.classes.get_mut(&r.class) {
                let done = r.outcome == Outcome::Done;
                class.lines += u64::from(r.stage != Stage::RequestReceived);
                class.done += u64::from(done);
                class.with_body += u64::from(done && r.body);
                class.truncated += u64::from(r.truncated);
            }
            if let Some(session) = self.sessions.get_mut(&r.session) {
                session.calls.entry(r.class).or_default().add(r.outcome);
            }
        }
    }

    /// Takes what another thread gathered.
    pub fn merge(&mut self, other: Everything) {
        self.lines += other.lines;
        self.with_credential += other.with_credential;
        self.with_outcome += other.with_outcome;
        self.more_sessions |= other.more_sessions;
        self.inexact |= other.inexact;
        for (key, class) in other.classes {
            match self.classes.entry(key) {
                Entry::Vacant(room) => {
                    room.insert(class);
                }
                Entry::Occupied(mut mine) => {
                    let mine = mine.get_mut();
                    mine.lines += class.lines;
                    mine.done += class.done;
                    mine.with_body += class.with_body;
                    mine.truncated += class.truncated;
                }
            }
        }
        while self.classes.len() > MAX_CLASSES {
            self.classes.pop_last();
        }
        for (key, session) in other.sessions {
            match self.sessions.entry(key) {
                Entry::Vacant(room) => {
                    room.insert(session);
                }
                Entry::Occupied(mut mine) => mine.get_mut().merge(session),
            }
        }
        while self.sessions.len() > MAX_SESSIONS {
            self.sessions.pop_last();
            self.more_sessions = true;
        }
        self.remembered.extend(other.remembered);
        if self.remembered.len() >= MAX_REMEMBERED {
            self.settle(false);
        }
    }

    /// Counts what is still remembered.
    pub fn finish(&mut self) {
        self.settle(true);
        self.remembered = Vec::new();
    }

    /// Kinds of request whose resource is one of these (`pods/exec` with its subresource, `pods` without) and whose verb
    /// is in the set.
    pub fn classes_of<'c>(&'c self, resources: &'c [&str], verbs: Verbs) -> impl Iterator<Item = &'c Class> {
        self.classes.values().filter(move |c| {
            verbs.meets(Verbs::one(&c.verb))
                && resources.iter().any(|r| match r.split_once('/') {
                    Some((resource, sub)) => {
                        *c.resource == *resource && c.kind.split_once('/').is_some_and(|(_, s)| s == sub)
                    }
                    None => *c.resource == **r && !c.kind.contains('/'),
                })
        })
    }
}

impl Growing {
    fn merge(&mut self, other: Growing) {
        self.span.merge(&other.span);
        self.addresses.merge(other.addresses);
        self.agents.merge(other.agents);
        self.acted_as.merge(other.acted_as);
        for (class, calls) in other.calls {
            self.calls.entry(class).or_default().plus(calls);
        }
    }
}
