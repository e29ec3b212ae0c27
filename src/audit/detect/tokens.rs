//! Tokens followed: from issuance to use, from address to address, past the end of the pod they are bound to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::fact::{Fact, Out, Outcome, Place, Subject};
use super::look::{Actor, Look, Verbs, scripting};
use super::network::is_public;
use super::session::{Seen, Session, SessionKind};
use super::spec::Severity;
use super::{Around, EventRef};
use crate::audit::event::{Origin, Stage};

/// The detection that tells what is found here.
pub(super) const ID: &str = "token-used-elsewhere";
/// Issuances that are kept.
pub(super) const MAX_ISSUED: usize = 50_000;
/// Marks of its facts: a pod's object is gone, or was asked to go.
const GONE: u8 = 1;
const ASKED: u8 = 2;
/// After the kubelet said that the pod is gone, its requests may still be on their way.
const ON_THE_WAY: Duration = Duration::seconds(5);
/// A pod's grace period where the log does not tell it.
const GRACE: i64 = 30;
/// Pods that share an address, on more than one node, before it counts as a proxy's or a gateway's.
const SHARED_BY: usize = 3;

/// Notes the id of a token that was issued.
pub(super) fn issued(look: &Look, out: &mut Out) {
    if look.verb(Verbs::CREATE)
        && look.sub() == "token"
        && look.resource() == "serviceaccounts"
        && let Some(id) = look.event.issued_credential_id()
    {
        out.note(look, 0, Severity::Info, id, &format!("{}/{}", look.namespace(), look.name()));
    }
}

/// Notes the end of a pod. The last deletion, by its kubelet, is when nothing of it runs any more.
pub(super) fn pod_ends(look: &Look, out: &mut Out) {
    if look.event.name().is_empty() {
        return;
    }
    let object = format!("{}/{}", look.namespace(), look.event.name());
    if look.actor == Actor::Node {
        out.note(look, GONE, Severity::Info, &object, "");
    } else {
        let grace = look.body()["gracePeriodSeconds"]
            .as_i64()
            .or_else(|| look.answer().pointer("/metadata/deletionGracePeriodSeconds")?.as_i64())
            .unwrap_or(GRACE);
        out.note(look, ASKED, Severity::Info, &object, &grace.clamp(0, 86_400).to_string());
    }
}

/// What is odd about tokens. The facts are ends of pods, in order of time.
pub(super) fn judge(facts: &[Fact], around: &Around) -> Vec<Fact> {
    let mut found = Vec::new();
    let ends = ends(facts);
    let shared = shared(around.sessions);
    let mut pods: BTreeMap<(&str, &str), Vec<&Session>> = BTreeMap::new();
    for session in around.sessions {
        match &session.pod {
            Some(pod) if !pod.uid.is_empty() => pods.entry((&session.user, &pod.uid)).or_default().push(session),
            _ => loose(session, around, &mut found),
        }
    }
    for sessions in pods.values() {
        bound(sessions, around, &shared, &ends, &mut found);
    }
    found
}

/// When a pod of that name ended, in order: the time, and the fact.
fn ends(facts: &[Fact]) -> HashMap<&str, Vec<OffsetDateTime>> {
    let mut ends: HashMap<&str, Vec<OffsetDateTime>> = HashMap::new();
    let mut gone: HashMap<&str, Vec<OffsetDateTime>> = HashMap::new();
    let done = |f: &&Fact| f.outcome == Outcome::Done;
    for fact in facts.iter().filter(done).filter(|f| f.mark == GONE) {
        gone.entry(&fact.object).or_default().push(fact.at);
        ends.entry(&fact.object).or_default().push(fact.at + ON_THE_WAY);
    }
    for fact in facts.iter().filter(done).filter(|f| f.mark == ASKED) {
        // The kubelet's word is the better one.
        if gone.get(fact.object.as_ref()).is_none_or(|all| all.iter().all(|at| *at < fact.at)) {
            let grace = fact.note.parse().unwrap_or(GRACE);
            ends.entry(&fact.object).or_default().push(fact.at + Duration::seconds(grace) + ON_THE_WAY * 2);
        }
    }
    for all in ends.values_mut() {
        all.sort();
    }
    ends
}

/// Addresses from which several pods of several nodes speak: a proxy or gateway before the API server.
fn shared(sessions: &[Session]) -> HashSet<&str> {
    let mut users: HashMap<&str, (HashSet<&str>, HashSet<&str>)> = HashMap::new();
    for session in sessions {
        let (Some(pod), Some(node)) = (&session.pod, &session.node) else { continue };
        for seen in &session.addresses {
            let (pods, nodes) = users.entry(&seen.value).or_default();
            pods.insert(&pod.uid);
            nodes.insert(node);
        }
    }
    users.into_iter().filter(|(_, (p, n))| p.len() >= SHARED_BY && n.len() > 1).map(|(a, _)| a).collect()
}

fn is_nodes(around: &Around, address: &str) -> bool {
    around.nodes.values().flatten().any(|a| a == address)
}

/// A token that is bound to no pod, or a log that does not tell.
fn loose(session: &Session, around: &Around, found: &mut Vec<Fact>) {
    let Some(account) = session.user.strip_prefix("system:serviceaccount:") else { return };
    let public = |s: &&Seen| s.value.parse::<IpAddr>().is_ok_and(is_public) && !is_nodes(around, &s.value);
    let Some(outside) = session.addresses.iter().find(public) else { return };
    let at = |seen: &Seen, severity, note: String| fact(session, &seen.first_event, severity, note, Some(&seen.value));
    if account.starts_with("kube-system:") {
        let note = format!("an account of kube-system from the public address {}", outside.value);
        found.push(at(outside, Severity::High, note));
    } else if let Some(inside) = session.addresses.iter().find(|s| !public(s))
        && session.kind == SessionKind::Token
    {
        let note = format!("one token both from {} and from the public address {}", inside.value, outside.value);
        found.push(at(outside, Severity::Medium, note));
    }
}

/// The tokens of one pod, in the order in which they were first used.
fn bound(
    sessions: &[&Session],
    around: &Around,
    shared: &HashSet<&str>,
    ends: &HashMap<&str, Vec<OffsetDateTime>>,
    found: &mut Vec<Fact>,
) {
    let Some(pod) = sessions.first().and_then(|s| s.pod.as_ref()) else { return };
    let node = sessions.iter().find_map(|s| s.node.as_deref());
    let of_node: &[String] = node.and_then(|n| around.nodes.get(n)).map_or(&[], Vec::as_slice);
    // Every address of the pod, over all of its tokens.
    let mut spans: Vec<(&str, OffsetDateTime, OffsetDateTime, &Session, &Seen)> = Vec::new();
    for session in sessions {
        for seen in &session.addresses {
            match spans.iter_mut().find(|(a, ..)| *a == seen.value) {
                Some((_, first, last, of, event)) => {
                    if seen.first < *first {
                        (*first, *of, *event) = (seen.first, session, seen);
                    }
                    *last = seen.last.max(*last);
                }
                None => spans.push((&seen.value, seen.first, seen.last, session, seen)),
            }
        }
    }
    spans.sort_by_key(|(address, first, ..)| (*first, *address));
    let is_v6 = |a: &str| a.contains(':');
    let alone = around.nodes.keys().all(|n| Some(n.as_str()) == node);
    let usual = |a: &str| of_node.iter().any(|n| n == a) || shared.contains(a);
    let mut own: Vec<(&str, OffsetDateTime)> = Vec::new();
    for (address, first, last, session, seen) in &spans {
        if usual(address) {
            continue;
        }
        let ip = address.parse::<IpAddr>().ok();
        let public = ip.is_some_and(is_public);
        let other_node =
            around.nodes.iter().find(|(n, all)| Some(n.as_str()) != node && all.iter().any(|a| a == address));
        let before = own.iter().copied().find(|(a, _)| is_v6(a) == is_v6(address));
        let (severity, note) = match (before, other_node) {
            _ if public && ip.is_some() => {
                (Severity::High, format!("the token of pod {} from the public address {address}", pod.name))
            }
            (_, Some((other, _))) => (
                Severity::High,
                format!("the token of pod {} on node {} from node {other}", pod.name, node.unwrap_or("unknown")),
            ),
            // The first address of its kind is the pod's own.
            (None, None) => {
                own.push((address, *last));
                continue;
            }
            // Where the log has no other node's kubelet, the address may be another node's as well.
            (Some((old, until)), None) if until < *first && alone && !neighbours(old, address) => (
                Severity::Medium,
                format!(
                    "the token of pod {} from {address} after {old} fell silent; whether that is another node can't be \
                     told, for the log has no other node's address",
                    pod.name
                ),
            ),
            // A pod whose sandbox is made anew keeps its UID and gets another address; the old one falls silent.
            (Some((old, until)), None) if until < *first => {
                let note = format!("pod {} changed its address from {old} to {address}", pod.name);
                own.retain(|(a, _)| *a != old);
                own.push((address, *last));
                (Severity::Low, note)
            }
            (Some((old, _)), None) => (
                Severity::Medium,
                format!("the token of pod {} from {address} while it is in use from {old}", pod.name),
            ),
        };
        found.push(fact(session, &seen.first_event, severity, note, Some(address)));
    }
    agents(sessions, &pod.name, found);
    after_end(sessions, &format!("{}/{}", pod.namespace, pod.name), ends, found);
}

/// Whether two addresses lie in what is usually one node's network of pods: a /24, or a /64.
fn neighbours(one: &str, other: &str) -> bool {
    match (one.parse(), other.parse()) {
        (Ok(IpAddr::V4(a)), Ok(IpAddr::V4(b))) => a.octets()[..3] == b.octets()[..3],
        (Ok(IpAddr::V6(a)), Ok(IpAddr::V6(b))) => a.octets()[..8] == b.octets()[..8],
        _ => false,
    }
}

/// A tool for scripts, or kubectl, with the token of a pod that had other agents.
fn agents(sessions: &[&Session], pod: &str, found: &mut Vec<Fact>) {
    let by_hand = |a: &str| scripting(a) || a.starts_with("kubectl/");
    let mut all: Vec<(&Session, &Seen)> = sessions.iter().flat_map(|s| s.agents.iter().map(move |a| (*s, a))).collect();
    all.sort_by(|a, b| (a.1.first, &a.1.value).cmp(&(b.1.first, &b.1.value)));
    let Some((_, first)) = all.first() else { return };
    if by_hand(&first.value) {
        return;
    }
    if let Some((session, seen)) = all.iter().find(|(_, s)| by_hand(&s.value)) {
        let agent: String = seen.value.chars().take(60).collect();
        let note = format!("the token of pod {pod} by {agent:?}, which this pod had not used before");
        found.push(fact(session, &seen.first_event, Severity::Medium, note, None));
    }
}

fn after_end(sessions: &[&Session], name: &str, ends: &HashMap<&str, Vec<OffsetDateTime>>, found: &mut Vec<Fact>) {
    let Some(first) = sessions.iter().map(|s| s.first).min() else { return };
    // A later pod of the same name was first seen after this end.
    let Some(end) = ends.get(name).into_iter().flatten().find(|end| **end > first) else { return };
    for session in sessions {
        if let Some(seen) = session.addresses.iter().filter(|a| a.last > *end).max_by_key(|a| a.last) {
            let note = format!("the token of pod {name} after the pod had ended");
            found.push(fact(session, &seen.last_event, Severity::High, note, Some(&seen.value)));
        }
    }
}

fn fact(session: &Session, event: &EventRef, severity: Severity, note: String, address: Option<&str>) -> Fact {
    Fact {
        at: event.time,
        request: 0,
        mark: 0,
        severity,
        outcome: Outcome::Done,
        actor: Actor::ServiceAccount,
        stage: Stage::ResponseComplete,
        address: address.and_then(|a| a.parse().ok()),
        subject: Arc::new(Subject { user: session.user.clone(), impersonated: None }),
        object: session.id.as_str().into(),
        note: note.into(),
        place: Arc::new(Place {
            audit_id: event.audit_id.clone(),
            origin: Origin { file: event.file, offset: event.offset, len: event.len },
        }),
    }
}
