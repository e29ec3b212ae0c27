//! What the map phase leaves of an event, and how it is kept in bounds.
//!
//! All that is kept is chosen by a total order that has nothing to do with where a line stood, so that the answer is the
//! same however the files were split, shuffled or repeated. The hash has a key of its own in every run: whoever writes
//! into the log can't choose what is kept.

use std::collections::HashSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use super::look::{Actor, Look};
use super::spec::Severity;
use crate::audit::event::{Event, Origin, Stage};

/// Characters of a text from the log that a finding takes.
pub const MAX_TEXT: usize = 256;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The log does not say.
    Unknown,
    /// The authorizer or authenticator said no.
    Denied,
    /// Let through, but it failed: not found, a conflict, refused by admission.
    Failed,
    /// Done; or, of a stream, begun.
    Done,
}

/// Who did it: two requests with an equal subject fall into one finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// Who authenticated.
    pub user: String,
    /// As whom they acted.
    pub impersonated: Option<String>,
}

impl Subject {
    /// As a sentence names it.
    pub fn text(&self) -> String {
        match &self.impersonated {
            Some(other) => format!("{} as {other}", self.user),
            None => self.user.clone(),
        }
    }
}

/// The event behind a fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its audit id, which the client may have chosen.
    pub audit_id: String,
    /// Where its line lies.
    pub origin: Origin,
}

/// One thing that a detection noted of one request.
#[derive(Debug, Clone)]
pub struct Fact {
    /// When the API server received the request.
    pub at: OffsetDateTime,
    /// Which request: what its id, time, verb and URI hash to in this run.
    pub request: u64,
    /// A detection's own distinction.
    pub mark: u8,
    /// How bad.
    pub severity: Severity,
    /// What became of it.
    pub outcome: Outcome,
    /// Who the caller is.
    pub actor: Actor,
    /// The stage that told.
    pub stage: Stage,
    /// From where.
    pub address: Option<IpAddr>,
    /// Who.
    pub subject: Arc<Subject>,
    /// What it was done to.
    pub object: Arc<str>,
    /// What is to be said of it.
    pub note: Arc<str>,
    /// The event.
    pub place: Arc<Place>,
}

impl Fact {
    /// The order in which one of two tellings of the same request is kept: the later stage, then the graver.
    fn better(&self, other: &Fact) -> bool {
        let key = |f: &Fact| (f.stage, f.outcome, f.severity);
        match key(self).cmp(&key(other)) {
            std::cmp::Ordering::Equal => {
                (&self.note, &self.object, self.at, self.place.origin)
                    < (&other.note, &other.object, other.at, other.place.origin)
            }
            order => order.is_gt(),
        }
    }
}

/// Texts that are stored once.
#[derive(Debug, Default)]
struct Texts {
    known: HashSet<Arc<str>>,
    subjects: HashSet<Arc<Subject>>,
}

/// Different texts that are shared; beyond them each fact has its own.
const MAX_SHARED: usize = 50_000;

impl Texts {
    fn text(&mut self, text: &str) -> Arc<str> {
        let text = cut(text);
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let made: Arc<str> = text.into();
        if self.known.len() < MAX_SHARED {
            self.known.insert(made.clone());
        }
        made
    }

    fn subject(&mut self, event: &Event) -> Arc<Subject> {
        let made = Arc::new(Subject {
            user: cut(&event.user.username).to_owned(),
            impersonated: event.impersonated.as_ref().map(|u| cut(&u.username).to_owned()),
        });
        if let Some(known) = self.subjects.get(&made) {
            return known.clone();
        }
        if self.subjects.len() < MAX_SHARED {
            self.subjects.insert(made.clone());
        }
        made
    }
}

/// Cut to [`MAX_TEXT`] bytes at a character's end.
pub fn cut(text: &str) -> &str {
    if text.len() <= MAX_TEXT {
        return text;
    }
    let mut end = MAX_TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The facts of one detection.
#[derive(Debug, Default)]
pub(super) struct Kept {
    facts: BTreeMap<(u64, u8), Fact>,
    /// Lines with facts that were not kept.
    pub beyond: u64,
}

impl Kept {
    fn put(&mut self, key: (u64, u8), fact: Fact, cap: usize) {
        match self.facts.entry(key) {
            Entry::Occupied(mut kept) => {
                if fact.better(kept.get()) {
                    kept.insert(fact);
                }
            }
            Entry::Vacant(room) => {
                room.insert(fact);
                if self.facts.len() > cap {
                    self.facts.pop_last();
                    self.beyond += 1;
                }
            }
        }
    }

    pub(super) fn merge(&mut self, other: Kept, cap: usize) {
        self.beyond += other.beyond;
        for (key, fact) in other.facts {
            self.put(key, fact, cap);
        }
    }

    /// In the order in which the requests were received.
    pub(super) fn sorted(self) -> Vec<Fact> {
        let mut facts: Vec<Fact> = self.facts.into_values().collect();
        facts.sort_by(|a, b| order(a).cmp(&order(b)));
        facts
    }
}

/// Time, then what a request is by its own words; the run's hash comes last.
fn order(fact: &Fact) -> (OffsetDateTime, &str, &str, &str, u8, u64) {
    (fact.at, &fact.place.audit_id, &fact.object, &fact.note, fact.mark, fact.request)
}

/// Sorts facts that a detection made itself.
pub fn sort(facts: &mut [Fact]) {
    facts.sort_by(|a, b| order(a).cmp(&order(b)));
}

/// All facts of a thread.
#[derive(Debug)]
pub(super) struct Facts {
    pub by_detection: Vec<Kept>,
    texts: Texts,
}

impl Facts {
    pub(super) fn new(detections: usize) -> Facts {
        Facts { by_detection: (0..detections).map(|_| Kept::default()).collect(), texts: Texts::default() }
    }
}

/// What a detection hands its facts to.
pub struct Out<'o> {
    pub(super) facts: &'o mut Facts,
    pub(super) detection: usize,
    pub(super) cap: usize,
    pub(super) request: u64,
    pub(super) hasher: &'o RandomState,
}

impl Out<'_> {
    /// Something that is a finding by itself. The object is the request's.
    pub fn hit(&mut self, look: &Look, severity: Severity, note: &str) {
        self.note(look, 0, severity, &look.what(), note);
    }

    /// Something of the detection's own kind `mark`, about an object.
    pub fn note(&mut self, look: &Look, mark: u8, severity: Severity, object: &str, note: &str) {
        let key = (self.request, mark);
        let fact = self.fact(look, mark, severity, object, note);
        self.facts.by_detection[self.detection].put(key, fact, self.cap);
    }

    /// As [`Out::note`], but of the same done to the same object by the same subject within the same minute only one is
    /// kept, the earliest: for what happens so often that only how many different ones matters.
    pub fn note_once(&mut self, look: &Look, mark: u8, severity: Severity, object: &str, note: &str) {
        let minute = look.event.received.unix_timestamp() / 60;
        let mut fact = self.fact(look, mark, severity, object, note);
        let key = self.hasher.hash_one((&fact.subject, &fact.object, minute, fact.outcome));
        let kept = &mut self.facts.by_detection[self.detection];
        // `better` prefers the graver; here the earlier comes first.
        if let Some(before) = kept.facts.get(&(key, mark)) {
            let earlier =
                (fact.at, &fact.place.audit_id, fact.request) < (before.at, &before.place.audit_id, before.request);
            if !earlier {
                return;
            }
            fact.stage = Stage::ResponseComplete;
            kept.facts.insert((key, mark), fact);
            return;
        }
        fact.stage = Stage::ResponseComplete;
        kept.put((key, mark), fact, self.cap);
    }

    /// As [`Out::note`], about somebody else than who asked.
    pub fn note_about(&mut self, look: &Look, mark: u8, severity: Severity, who: &str, object: &str, note: &str) {
        let mut fact = self.fact(look, mark, severity, object, note);
        fact.subject = Arc::new(Subject { user: cut(who).to_owned(), impersonated: None });
        self.facts.by_detection[self.detection].put((self.request, mark), fact, self.cap);
    }

    fn fact(&mut self, look: &Look, mark: u8, severity: Severity, object: &str, note: &str) -> Fact {
        let event = look.event;
        Fact {
            at: event.received,
            request: self.request,
            mark,
            severity,
            outcome: outcome(event),
            actor: look.actor,
            stage: event.stage,
            address: look.address.and_then(|a| a.parse().ok()),
            subject: self.facts.texts.subject(event),
            object: self.facts.texts.text(object),
            note: self.facts.texts.text(note),
            place: Arc::new(Place { audit_id: cut(&event.audit_id).to_owned(), origin: event.origin }),
        }
    }
}

/// What became of the request.
pub fn outcome(event: &Event) -> Outcome {
    match (event.allowed(), event.code) {
        (Some(false), _) | (_, Some(401)) => Outcome::Denied,
        (_, code) if event.writes() && event.dry_run() => match code {
            Some(403) => Outcome::Denied,
            _ => Outcome::Failed,
        },
        (allowed, code) => plain_outcome(allowed, code, event.stage),
    }
}

/// The same of a request that was no `dryRun`.
pub(super) fn plain_outcome(allowed: Option<bool>, code: Option<u16>, stage: Stage) -> Outcome {
    match (allowed, code) {
        (Some(false), _) | (_, Some(401)) => Outcome::Denied,
        (_, Some(code)) if code >= 400 => Outcome::Failed,
        (_, Some(_)) => Outcome::Done,
        // Let through, and the line tells no more: a stream that has begun, or a panic.
        (Some(true), None) if stage == Stage::ResponseStarted => Outcome::Done,
        _ => Outcome::Unknown,
    }
}
