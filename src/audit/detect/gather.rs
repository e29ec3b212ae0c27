//! What every event leaves, whatever the detections say: which session it belongs to, and what kind of request it was.
//!
//! A session is one credential (a token's JTI, a certificate's fingerprint); without its id, one identity from one
//! address, its agents told apart within.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use super::caller::Caller;
use super::fact::{Outcome, cut};
use super::look::{Actor, Verbs};
use super::span::{Mark, Span, Spans};
use crate::audit::event::Stage;
use crate::audit::quick::Quick;

/// Sessions that are kept; those with a credential's id before the others.
const MAX_SESSIONS: usize = 20_000;
/// Kinds of request told apart: those that a detection knows before the others.
const MAX_CLASSES: usize = 4_096;
/// Requests that are remembered one by one by all threads, so that a line that is there twice is counted once (24 bytes
/// each).
const MAX_REMEMBERED: usize = 1_500_000;

/// Keys that are hashes already.
type ByHash<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;

/// A session as it grows.
#[derive(Debug)]
pub(super) struct Growing {
    key: u64,
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
    /// By class, in their order; only filled when counted.
    pub calls: Vec<(u32, Calls)>,
}

impl Growing {
    fn new(caller: &Caller, mark: &Mark) -> Growing {
        Growing {
            key: caller.session,
            credential: caller.credential.clone(),
            user: caller.user.clone(),
            actor: caller.actor,
            pod: caller.pod.clone(),
            node: caller.node.clone(),
            span: Span::new(mark),
            addresses: Spans::default(),
            agents: Spans::default(),
            acted_as: Spans::default(),
            calls: Vec::new(),
        }
    }

    fn add(&mut self, caller: &Caller, mark: &Mark) {
        self.span.add(mark);
        self.addresses.add(caller.address.0, &caller.address.1, mark);
        self.agents.add(caller.agent.0, &caller.agent.1, mark);
        if let Some((key, other)) = &caller.acted_as {
            self.acted_as.add(*key, other, mark);
        }
    }

    fn count(&mut self, class: u32, calls: Calls) {
        match self.calls.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(at) => self.calls[at].1.plus(calls),
            Err(at) => self.calls.insert(at, (class, calls)),
        }
    }

    fn merge(&mut self, other: Growing) {
        self.span.merge(&other.span);
        self.addresses.merge(other.addresses);
        self.agents.merge(other.agents);
        self.acted_as.merge(other.acted_as);
        for (class, calls) in other.calls {
            self.count(class, calls);
        }
    }
}

/// The sessions of the smallest keys, at most [`MAX_SESSIONS`].
#[derive(Debug, Default)]
struct Sessions {
    kept: Vec<Growing>,
    places: ByHash<u64, u32>,
    /// Those that would go first.
    largest: BinaryHeap<(u64, u32)>,
    /// More than are kept.
    more: bool,
}

impl Sessions {
    /// Its place, if it is kept. `seen`: where it was last.
    fn find(&self, key: u64, seen: usize) -> Option<usize> {
        if self.kept.get(seen).is_some_and(|s| s.key == key) {
            return Some(seen);
        }
        self.places.get(&key).map(|at| *at as usize)
    }

    /// The place for one that is not there; None if there are enough of smaller keys.
    fn put(&mut self, session: Growing) -> Option<usize> {
        let key = session.key;
        let at = if self.kept.len() < MAX_SESSIONS {
            self.kept.push(session);
            self.kept.len() - 1
        } else {
            self.more = true;
            let (largest, at) = self.largest.peek().copied().filter(|(largest, _)| key < *largest)?;
            self.largest.pop();
            self.places.remove(&largest);
            self.kept[at as usize] = session;
            at as usize
        };
        let place = u32::try_from(at).unwrap_or(u32::MAX);
        self.places.insert(key, place);
        self.largest.push((key, place));
        Some(at)
    }
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
    fn one(outcome: Outcome) -> Calls {
        let mut calls = Calls::default();
        match outcome {
            Outcome::Done => calls.done = 1,
            Outcome::Failed => calls.failed = 1,
            Outcome::Denied => calls.denied = 1,
            Outcome::Unknown => calls.unknown = 1,
        }
        calls
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

/// What is counted of one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub request: u64,
    pub class: u32,
    pub outcome: Outcome,
    pub stage: Stage,
    pub body: bool,
    pub truncated: bool,
}

#[derive(Debug, Clone, Copy)]
struct Remembered {
    session: u64,
    line: Counted,
}

/// What all events of a thread left.
#[derive(Debug)]
pub(super) struct Everything {
    sessions: Sessions,
    pub classes: BTreeMap<u32, Class>,
    remembered: Vec<Remembered>,
    /// How many this thread may remember.
    room: usize,
    pub lines: u64,
    pub with_credential: u64,
    pub with_outcome: u64,
    /// More requests than are remembered: a line that is there twice may be counted twice.
    pub inexact: bool,
}

impl Everything {
    /// Nothing yet, for one of so many threads.
    pub fn new(threads: usize) -> Everything {
        Everything {
            sessions: Sessions::default(),
            classes: BTreeMap::new(),
            remembered: Vec::new(),
            room: MAX_REMEMBERED / threads.clamp(1, 32),
            lines: 0,
            with_credential: 0,
            with_outcome: 0,
            inexact: false,
        }
    }

    /// Takes one line.
    pub fn add(&mut self, caller: &mut Caller, mark: &Mark, line: Counted) {
        self.lines += 1;
        self.with_outcome += u64::from(line.outcome != Outcome::Unknown);
        self.with_credential += u64::from(caller.named());
        let found = self.sessions.find(caller.session, caller.slot);
        if let Some(at) = found.or_else(|| self.sessions.put(Growing::new(caller, mark))) {
            caller.slot = at;
            self.sessions.kept[at].add(caller, mark);
        }
        self.remembered.push(Remembered { session: caller.session, line });
        if self.remembered.len() >= self.room {
            self.settle(self.room);
        }
    }

    /// A kind of request is there.
    pub fn class(&mut self, key: u32, verb: &str, resource: &str, kind: impl FnOnce() -> String) {
        if let Entry::Vacant(room) = self.classes.entry(key) {
            room.insert(Class {
                verb: cut(verb).into(),
                resource: cut(resource).into(),
                kind: cut(&kind()).into(),
                ..Class::default()
            });
            if self.classes.len() > MAX_CLASSES {
                self.classes.pop_last();
            }
        }
    }

    /// Leaves one of each request, the most telling.
    fn dedup(&mut self) {
        // Of what several threads have sorted, this makes one.
        self.remembered.sort_by(|Remembered { session: s, line: a }, Remembered { session: t, line: b }| {
            (a.request, b.stage, b.outcome, b.body, a.class, s)
                .cmp(&(b.request, a.stage, a.outcome, a.body, b.class, t))
        });
        self.remembered.dedup_by_key(|r| r.line.request);
    }

    /// Leaves one of each request. If they still take three quarters of the room, or there is none because this is the
    /// end, counts them and forgets them.
    fn settle(&mut self, room: usize) {
        self.dedup();
        if self.remembered.len() < room / 4 * 3 {
            return;
        }
        self.inexact |= room > 0;
        let mut classes: ByHash<u32, Class> = ByHash::default();
        for Remembered { session, line: r } in self.remembered.drain(..) {
            let class = classes.entry(r.class).or_default();
            let done = r.outcome == Outcome::Done;
            class.lines += u64::from(r.stage != Stage::RequestReceived);
            class.done += u64::from(done);
            class.with_body += u64::from(done && r.body);
            class.truncated += u64::from(r.truncated);
            if let Some(at) = self.sessions.find(session, usize::MAX) {
                self.sessions.kept[at].count(r.class, Calls::one(r.outcome));
            }
        }
        for (key, counted) in classes {
            if let Some(class) = self.classes.get_mut(&key) {
                class.plus(&counted);
            }
        }
    }

    /// Takes what another thread gathered.
    pub fn merge(&mut self, other: Everything) {
        self.lines += other.lines;
        self.with_credential += other.with_credential;
        self.with_outcome += other.with_outcome;
        self.sessions.more |= other.sessions.more;
        self.inexact |= other.inexact;
        for (key, class) in other.classes {
            match self.classes.entry(key) {
                Entry::Vacant(room) => {
                    room.insert(class);
                }
                Entry::Occupied(mut mine) => mine.get_mut().plus(&class),
            }
        }
        while self.classes.len() > MAX_CLASSES {
            self.classes.pop_last();
        }
        for session in other.sessions.kept {
            match self.sessions.find(session.key, usize::MAX) {
                Some(at) => self.sessions.kept[at].merge(session),
                None => {
                    self.sessions.put(session);
                }
            }
        }
        if self.remembered.is_empty() {
            self.remembered = other.remembered;
        } else {
            self.remembered.extend(other.remembered);
        }
        if self.remembered.len() >= MAX_REMEMBERED {
            self.settle(MAX_REMEMBERED);
        }
    }

    /// Puts in order what this thread remembers, so that to merge it takes little.
    pub fn end(&mut self) {
        self.dedup();
    }

    /// Counts what is still remembered.
    pub fn finish(&mut self) {
        self.settle(0);
        self.remembered = Vec::new();
    }

    /// All sessions that are kept, in no order.
    pub fn sessions(&self) -> impl Iterator<Item = &Growing> {
        self.sessions.kept.iter()
    }

    /// Whether there were more sessions than are kept.
    pub fn more_sessions(&self) -> bool {
        self.sessions.more
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

impl Class {
    fn plus(&mut self, other: &Class) {
        self.lines += other.lines;
        self.done += other.done;
        self.with_body += other.with_body;
        self.truncated += other.truncated;
    }
}
