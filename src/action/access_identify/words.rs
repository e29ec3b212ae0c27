//! What was found, one line each: it is read before anything is decided.

use crate::action::access::Identity;
use crate::action::access::identity::{Counted, Other};
use crate::action::audit_reading::count;

/// Of credentials, others and streams so many are said; all are in the artifact.
const SAID: usize = 8;

/// The lines: who, with what, by which program, who else, what is still open.
pub(super) fn lines(identity: &Identity) -> Vec<String> {
    let mut all = Vec::new();
    let uid = if identity.uid.is_empty() { String::new() } else { format!(" (UID {})", identity.uid) };
    let known = if identity.groups_known { "" } else { ", as far as its name tells" };
    let name = identity.username.as_deref().unwrap_or_default();
    all.push(format!("{name}{uid}; groups: {}{known}", identity.groups.join(", ")));
    if !identity.first.is_empty() {
        all.push(format!("first seen {}, last {}", identity.first, identity.last));
    }
    let mut credentials = identity.credentials.iter();
    for credential in credentials.by_ref().take(SAID) {
        let issued = match (&credential.issued_by, &credential.issued) {
            (Some(by), Some(at)) => format!("; issued to {by} at {at}"),
            _ => String::new(),
        };
        let from = credential.addresses.join(", ");
        all.push(format!("{}: {} from {from}{issued}", credential.words(), count(credential.requests, "request")));
    }
    more(&mut all, credentials.count(), "more credentials");
    all.extend(counted("by", &identity.agents));
    all.extend(counted("it acted as", &identity.acted_as));
    all.extend(counted("acted as it:", &identity.acted_by));
    let (agents, addresses): (Vec<&Other>, Vec<&Other>) =
        identity.others.iter().partition(|other| other.shares.starts_with("agent"));
    let mut addresses = addresses.into_iter();
    for other in addresses.by_ref().take(SAID) {
        let Other { user, shares, requests, first, last } = other;
        all.push(format!("from {shares} came also {user}: {}, {first} to {last}", count(*requests, "request")));
    }
    more(&mut all, addresses.count(), "others from its addresses");
    if !agents.is_empty() {
        let users: std::collections::BTreeSet<&str> = agents.iter().map(|other| other.user.as_str()).collect();
        let some: Vec<&str> = users.iter().take(SAID).copied().collect();
        let rest = users.len() - some.len();
        let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
        all.push(format!("with the same user agent, which alone proves little: {}{rest}", some.join(", ")));
    }
    let mut streams = identity.streams.iter();
    for stream in streams.by_ref().take(SAID) {
        all.push(format!("{} is not seen to end", stream.words()));
    }
    more(&mut all, streams.count(), "more streams");
    all
}

fn more(all: &mut Vec<String>, n: usize, what: &str) {
    if n > 0 {
        all.push(format!("and {n} {what}"));
    }
}

fn counted(word: &str, counts: &[Counted]) -> Option<String> {
    let some: Vec<String> = counts.iter().take(SAID).map(|c| format!("{} ({})", c.value, c.requests)).collect();
    let rest = counts.len().saturating_sub(SAID);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    (!some.is_empty()).then(|| format!("{word} {}{rest}", some.join(", ")))
}
