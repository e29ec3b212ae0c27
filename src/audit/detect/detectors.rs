//! The detections in force: which event each is shown, what a thread gathers, and what all of it comes to.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use ipnet::IpNet;

use super::caller::{Caller, Callers};
use super::fact::{self, Fact, Facts, Kept, MAX_TEXT, Out, plain_outcome};
use super::gather::{Counted, Everything};
use super::kind::{self, Kinds, Parts};
use super::span::{At, Mark};
use super::{
    Actors, Around, Detection, FORMAT, Look, On, Report, Rule, SessionKind, Spec, Verbs, finding, known, looking,
    needs, network, session, tokens,
};
use crate::audit::brief::Brief;
use crate::audit::event::{Event, Object};

/// The detections in force.
pub struct Detectors {
    list: Vec<Box<dyn Detection>>,
    caps: Vec<usize>,
    index: HashMap<&'static str, Vec<Asked>>,
    denied: Vec<(usize, Actors)>,
    impersonated: Vec<(usize, Actors)>,
    every: Vec<(usize, Actors)>,
    proxies: Vec<IpNet>,
    hasher: RandomState,
    /// How many gather at once, as far as is known.
    threads: usize,
}

/// A detection that asks for a resource.
#[derive(Debug, Clone, Copy)]
struct Asked {
    detection: usize,
    sub: &'static str,
    verbs: Verbs,
    by: Actors,
    /// It is shown what is denied in any case.
    unless_denied: bool,
}

impl Asked {
    fn meets(&self, verb: Verbs, sub: &str) -> bool {
        self.verbs.meets(verb) && (self.sub == "*" || self.sub == sub)
    }
}

/// What a thread gathered.
pub struct Gathered {
    facts: Facts,
    everything: Everything,
    callers: Callers,
    kinds: Kinds,
    caps: std::sync::Arc<[usize]>,
}

impl Gathered {
    /// Puts in order what was gathered: on each thread, when it has seen all.
    pub fn end(&mut self) {
        self.everything.end();
        (self.callers, self.kinds) = (Callers::default(), Kinds::default());
    }

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
            denied: Vec::new(),
            impersonated: Vec::new(),
            every: Vec::new(),
            proxies: Vec::new(),
            hasher: RandomState::new(),
            threads: std::thread::available_parallelism().map_or(2, usize::from),
        };
        for detection in list {
            detectors.add(detection);
        }
        detectors
    }

    fn add(&mut self, detection: Box<dyn Detection>) {
        let at = self.list.len();
        let (on, by, cap) = {
            let spec = detection.spec();
            (spec.on, spec.by, spec.cap)
        };
        let (resources, unless_denied): (&[(&str, &str, Verbs)], bool) = match on {
            On::Resources(resources) => (resources, false),
            On::Denied(resources) => (resources, true),
            On::Impersonated | On::Every | On::Nothing => (&[], false),
        };
        for (resource, sub, verbs) in resources {
            let asked = Asked { detection: at, sub, verbs: *verbs, by, unless_denied };
            self.index.entry(resource).or_default().push(asked);
        }
        match on {
            On::Denied(_) => self.denied.push((at, by)),
            On::Impersonated => self.impersonated.push((at, by)),
            On::Every => self.every.push((at, by)),
            On::Resources(_) | On::Nothing => {}
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
            everything: Everything::new(self.threads),
            callers: Callers::default(),
            kinds: Kinds::default(),
            caps: self.caps.iter().copied().chain([tokens::MAX_ISSUED]).collect(),
        }
    }

    fn request(&self, audit_id: &str, at: At, verb: &str, uri: &str) -> u64 {
        self.hasher.hash_one((audit_id, at.parts(), verb, uri))
    }

    /// Takes one event by what can be seen of it without parsing it. False, and nothing is taken: somebody asks for more.
    pub fn glimpse(&self, brief: &Brief<'_>, into: &mut Gathered) -> bool {
        let object = brief.object.unwrap_or_default();
        let (verb, sub) = (brief.verb, object.subresource);
        let parts = Parts { verb, group: object.group, resource: object.resource, sub, path: brief.object.is_none() };
        if brief.issued || [verb, object.group, object.resource, sub].iter().any(|text| text.len() > MAX_TEXT) {
            return false;
        }
        let Gathered { callers, kinds, everything, .. } = into;
        let Some(caller) = callers.of(&self.hasher, &self.proxies, brief.caller) else { return false };
        let kind = kinds.of(parts, |verbs| {
            let asked = self.index.get(object.resource);
            let class = kind::class(&self.hasher, asked.is_some(), verb, object.group, object.resource, sub);
            everything.class(class, verb, object.resource, || match brief.object {
                Some(_) => format_kind(object.group, object.resource, sub),
                None => PATHS.into(),
            });
            let by = asked.into_iter().flatten().filter(|asked| asked.meets(verbs, sub)).map(|asked| asked.by);
            (class, by.chain(self.every.iter().map(|(_, by)| *by)).fold(Actors::NONE, Actors::or))
        });
        let by = Actors::one(caller.actor, &caller.user, kind.verbs, object.resource, object.name);
        let asks = |list: &[(usize, Actors)]| list.iter().any(|(_, of)| of.meets(by));
        // A dry run came to something else than it seems; there are few.
        if kind.wanted.meets(by)
            || (brief.allowed == Some(false) && asks(&self.denied))
            || (caller.acted_as.is_some() && asks(&self.impersonated))
            || (!kind.verbs.meets(Verbs::READ) && brief.uri.contains("dryRun"))
        {
            return false;
        }
        let at = At::of_micros(brief.received);
        let line = Counted {
            request: self.request(brief.audit_id, at, verb, &brief.uri),
            class: kind.class,
            outcome: plain_outcome(brief.allowed, brief.code, brief.stage),
            stage: brief.stage,
            body: brief.body,
            truncated: brief.truncated,
        };
        everything.add(caller, &Mark::new(at, brief.audit_id, brief.origin), line);
        true
    }

    /// Takes one event.
    pub fn map(&self, event: &Event, into: &mut Gathered) {
        let look = Look::new(event, event.trusted_ip(&self.proxies));
        let at = At::of(event.received);
        let request = self.request(&event.audit_id, at, &event.verb, &event.uri);
        let asked = self.index.get(look.resource());
        let class = kind::class(&self.hasher, asked.is_some(), &event.verb, look.group(), look.resource(), look.sub());
        into.everything.class(class, &event.verb, look.resource(), || {
            event
                .object
                .as_ref()
                .map_or_else(|| PATHS.into(), |_| format_kind(look.group(), look.resource(), look.sub()))
        });
        let line = Counted {
            request,
            class,
            outcome: fact::outcome(event),
            stage: event.stage,
            body: event.request_object.is_some(),
            truncated: event.truncated(),
        };
        let mark = Mark::new(at, &event.audit_id, event.origin);
        into.everything.add(&mut Caller::of(&self.hasher, &look), &mark, line);
        let mut out = Out {
            facts: &mut into.facts,
            detection: self.list.len(),
            cap: tokens::MAX_ISSUED,
            request,
            hasher: &self.hasher,
        };
        tokens::issued(&look, &mut out);
        let mut show = |detection: usize| {
            out.detection = detection;
            out.cap = self.caps[detection];
            self.list[detection].look(&look, &mut out);
        };
        let denied = event.allowed() == Some(false);
        for asked in asked.into_iter().flatten() {
            if asked.by.meets(look.by) && asked.meets(look.verb, look.sub()) && !(denied && asked.unless_denied) {
                show(asked.detection);
            }
        }
        let lists = [(true, &self.every), (denied, &self.denied), (event.impersonated.is_some(), &self.impersonated)];
        for (_, list) in lists.into_iter().filter(|(is, _)| *is) {
            list.iter().filter(|(_, by)| by.meets(look.by)).for_each(|(detection, _)| show(*detection));
        }
    }

    /// What all of it comes to.
    pub fn reduce(&self, gathered: Gathered) -> Report {
        self.reduce_to(gathered, None)
    }

    /// What all of it comes to, as far as it touches what is asked about.
    pub(super) fn reduce_to(&self, mut gathered: Gathered, asked: Option<&looking::Asked>) -> Report {
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
            if matches!(spec.on, On::Resources(_)) && spec.id == tokens::ID {
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

/// What stands for the resource of a plain path.
const PATHS: &str = "(paths)";

fn format_kind(group: &str, resource: &str, sub: &str) -> String {
    let object =
        Object { group: group.into(), resource: resource.into(), subresource: sub.into(), ..Object::default() };
    object.kind()
}

fn limits(everything: &Everything) -> Vec<String> {
    let mut said = Vec::new();
    if everything.more_sessions() {
        said.push("There were more sessions than are kept; those without a credential's id are left out first.".into());
    }
    if everything.inexact {
        said.push("There were more requests than are remembered: in the sessions' counts, a line that is in the log twice may count twice.".into());
    }
    said
}
