//! What the audit log means: detections, sessions, and what can't be known from it.
//!
//! ```text
//! each thread:  Event --map--> Gathered      (facts of each detection, sessions, kinds of request; bounded)
//! at the end:   Gathered + Gathered + … --reduce--> findings, sessions, what can't be known
//! ```
//!
//! A detection is one file in `known/`: what it is ([`Spec`]), what it notes of one event (`look`), and, where several
//! events make the matter, how their facts are judged in order of time (`judge`). It stands in one list, [`known::all`].
//! Teams add theirs in YAML, and Sigma rules can be loaded ([`rule`]).
//!
//! The answer is the same however the lines were split over files and threads, in whatever order, and if some are there
//! twice. An event may come once for each of its stages or only once. Text from the log is cut but not escaped: who prints
//! a finding on a terminal escapes it.
//!
//! ```no_run
//! # fn events() -> Vec<quell::audit::Event<'static>> { Vec::new() }
//! use quell::audit::detect::Detectors;
//! let detectors = Detectors::all();
//! let (mut one, mut other) = (detectors.gather(), detectors.gather());
//! for event in &events() {
//!     detectors.map(event, &mut one); // on several threads, each with its own
//! }
//! one.merge(other);
//! let report = detectors.reduce(one);
//! # let _ = report.findings;
//! ```

mod document;
mod fact;
mod finding;
mod follow;
mod gather;
pub mod known;
mod look;
mod looking;
mod needs;
mod network;
#[cfg(test)]
pub(crate) mod plant;
pub mod rule;
mod session;
mod spec;
mod template;
mod tokens;
mod window;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use document::{DOCUMENT, counts, document, headline, told};
pub use fact::{Fact, MAX_TEXT, Out, Outcome, Subject, outcome};
pub use finding::{EventRef, FORMAT, Finding, Who};
pub use follow::{Follow, follow, one as follow_one};
pub use look::{Actor, Look, Verbs};
pub use looking::{Looked, Looking, Ours};
pub use needs::{Blindness, Unknowable};
pub use rule::Rule;
pub use session::{BoundPod, CallCount, Issued, Seen, Session, SessionKind};
pub use spec::{Need, On, Severity, Spec};

use super::event::Event;
use fact::{Facts, Kept};
use gather::Everything;

/// One thing to look for.
pub trait Detection: Send + Sync {
    /// What it is.
    fn spec(&self) -> Spec<'_>;

    /// Notes what it needs of one event. Called for events of [`Spec::on`], at any stage and whatever their outcome: a
    /// line that does not tell the outcome may be followed by one that does.
    fn look(&self, look: &Look, out: &mut Out);

    /// Which facts make the finding, in order of time, each request once. By default all do.
    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        facts
    }
}

/// What a detection may judge by besides its own facts.
pub struct Around<'a> {
    /// All sessions.
    pub sessions: &'a [Session],
    /// Addresses that kubelets asked from, by node.
    pub nodes: &'a HashMap<String, Vec<String>>,
}

/// What all detections found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The gravest first.
    pub findings: Vec<Finding>,
    /// In the order in which they began.
    pub sessions: Vec<Session>,
    /// What the detections could not know here.
    pub unknowable: Vec<Unknowable>,
    /// What of the sessions is not exact, in words; empty if all is.
    pub limits: Vec<String>,
}

/// The detections in force.
pub struct Detectors {
    list: Vec<Box<dyn Detection>>,
    caps: Vec<usize>,
    index: HashMap<&'static str, Vec<(usize, &'static str, Verbs)>>,
    every: Vec<usize>,
    proxies: Vec<IpNet>,
    hasher: RandomState,
}

/// What a thread gathered.
pub struct Gathered {
    facts: Facts,
    everything: Everything,
    caps: std::sync::Arc<[usize]>,
}

impl Gathered {
    /// Takes what another thread gathered.
    pub fn merge(&mut self, other: Gathered) {
        self.everything.merge(other.everything);
        for ((mine, theirs), cap) in
            self.facts.by_detection.iter_mut().zip(other.facts.by_detection).zip(self.caps.iter())
        {
            mine.merge(theirs, *cap);
        }
    }
}

impl Detectors {
    /// Those that quell knows.
    pub fn all() -> Detectors {
        Detectors::of(known::all())
    }

    /// These only.
    pub fn of(list: Vec<Box<dyn Detection>>) -> Detectors {
        let mut detectors = Detectors {
            list: Vec::new(),
            caps: Vec::new(),
            index: HashMap::new(),
            every: Vec::new(),
            proxies: Vec::new(),
            hasher: RandomState::new(),
        };
        for detection in list {
            detectors.add(detection);
        }
        detectors
    }

    fn add(&mut self, detection: Box<dyn Detection>) {
        let at = self.list.len();
        let (on, cap) = {
            let spec = detection.spec();
            (spec.on, spec.cap)
        };
        match on {
            On::Every => self.every.push(at),
            On::Nothing => {}
            On::Resources(resources) => {
                for (resource, sub, verbs) in resources {
                    self.index.entry(resource).or_default().push((at, sub, *verbs));
                }
            }
        }
        self.caps.push(cap);
        self.list.push(detection);
    }

    /// And these, a team's own.
    #[must_use]
    pub fn with_rules(mut self, rules: Vec<Rule>) -> Detectors {
        for rule in rules {
            self.add(Box::new(rule));
        }
        self
    }

    /// Addresses of proxies whose word about the caller's address is taken.
    #[must_use]
    pub fn trusting(mut self, proxies: Vec<IpNet>) -> Detectors {
        self.proxies = proxies;
        self
    }

    /// Ids and titles of those in force.
    pub fn specs(&self) -> impl Iterator<Item = Spec<'_>> {
        self.list.iter().map(|d| d.spec())
    }

    /// An empty one, for one thread.
    pub fn gather(&self) -> Gathered {
        Gathered {
            // One more: the tokens that were issued.
            facts: Facts::new(self.list.len() + 1),
            everything: Everything::default(),
            caps: self.caps.iter().copied().chain([tokens::MAX_ISSUED]).collect(),
        }
    }

    /// Takes one event.
    pub fn map(&self, event: &Event, into: &mut Gathered) {
        let look = Look::new(event, event.trusted_ip(&self.proxies));
        let received = event.received;
        let request = self.hasher.hash_one((
            &event.audit_id,
            received.unix_timestamp(),
            received.nanosecond(),
            &event.verb,
            &event.uri,
        ));
        let interested = self.index.get(look.resource());
        into.everything.add(&self.hasher, &look, request, interested.is_some());
        let mut out = Out {
            facts: &mut into.facts,
            detection: self.list.len(),
            cap: tokens::MAX_ISSUED,
            request,
            hasher: &self.hasher,
        };
        tokens::issued(&look, &mut out);
        for (at, sub, verbs) in interested.into_iter().flatten() {
            if look.verb(*verbs) && (*sub == "*" || *sub == look.sub()) {
                out.detection = *at;
                out.cap = self.caps[*at];
                self.list[*at].look(&look, &mut out);
            }
        }
        for at in &self.every {
            out.detection = *at;
            out.cap = self.caps[*at];
            self.list[*at].look(&look, &mut out);
        }
    }

    /// What all of it comes to.
    pub fn reduce(&self, gathered: Gathered) -> Report {
        self.reduce_to(gathered, None)
    }

    /// What all of it comes to, as far as it touches what is asked about.
    fn reduce_to(&self, mut gathered: Gathered, asked: Option<&looking::Asked>) -> Report {
        let everything = &mut gathered.everything;
        everything.finish();
        let mut facts = gathered.facts.by_detection;
        let issued = facts.pop().map(Kept::sorted).unwrap_or_default();
        let mut sessions = session::sessions(everything, &issued);
        let nodes = network::nodes(everything);
        let mut unknowable = Vec::new();
        let mut findings = Vec::new();
        let mut remarks = Vec::new();
        for (detection, kept) in self.list.iter().zip(facts) {
            let spec = detection.spec();
            unknowable.extend(needs::of(&spec, everything));
            if kept.beyond > 0 {
                unknowable.push(needs::beyond(&spec, kept.beyond));
            }
            let around = Around { sessions: &sessions, nodes: &nodes };
            let mut judged = detection.judge(kept.sorted(), &around);
            fact::sort(&mut judged);
            let mut found = finding::findings(&spec, &judged);
            if let Some(asked) = asked {
                let ours =
                    |f: &&Fact| asked.origin(&f.place.origin) || spec.id == tokens::ID && asked.session(&f.object);
                let subjects: HashSet<_> = judged
                    .iter()
                    .filter(ours)
                    .map(|f| (f.subject.user.as_str(), f.subject.impersonated.as_deref()))
                    .collect();
                found.retain(|f| subjects.contains(&(f.subject.user.as_str(), f.subject.impersonated_user.as_deref())));
            }
            if matches!(spec.on, On::Every | On::Resources(_)) && spec.id == tokens::ID {
                remarks = judged.iter().map(|f| (f.object.clone(), f.note.clone())).collect();
            }
            findings.extend(found);
        }
        for (session, remark) in remarks {
            if let Some(session) = sessions.iter_mut().find(|s| *session == *s.id) {
                session.remarks.push(remark.to_string());
            }
        }
        if let Some(asked) = asked {
            sessions.retain(|s| match s.kind {
                SessionKind::Identity => asked.session(&s.user),
                _ => asked.session(&s.id),
            });
        }
        findings.sort_by(|a, b| {
            (b.severity, a.first, &a.id, &a.subject.user, &a.subject.impersonated_user).cmp(&(
                a.severity,
                b.first,
                &b.id,
                &b.subject.user,
                &b.subject.impersonated_user,
            ))
        });
        unknowable.sort_by(|a, b| (a.blind, &a.id, &a.why).cmp(&(b.blind, &b.id, &b.why)));
        Report { format: FORMAT, findings, sessions, unknowable, limits: limits(everything) }
    }
}

fn limits(everything: &Everything) -> Vec<String> {
    let mut said = Vec::new();
    if everything.more_sessions {
        said.push("There were more sessions than are kept; those without a credential's id are left out first.".into());
    }
    if everything.inexact {
        said.push("There were more requests than are remembered: in the sessions' counts, a line that is in the log twice may count twice.".into());
    }
    said
}

#[cfg(test)]
mod tests;
