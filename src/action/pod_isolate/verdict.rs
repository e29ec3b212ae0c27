//! From what answered before and after to one word: enforced, partial, not enforced, unknown.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::reach::Attempt;
use crate::collector::network::model::{Connection, Connections};
use crate::event::Proof;

/// What was seen at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Tried out of the pod.
    pub out: Vec<Attempt>,
    /// Tried towards it.
    pub inward: Vec<Attempt>,
    /// Its connections and where it listens; None when they could not be listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// What could not be done, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

impl Seen {
    /// What answered and a policy can stop.
    pub fn countable(&self) -> impl Iterator<Item = &Attempt> {
        self.out.iter().chain(&self.inward).filter(|a| a.answered() && !a.to.own_node)
    }
}

/// What else is known when the verdict is made.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// It uses its node's network.
    pub host_network: bool,
    /// NetworkPolicies with rules that select it all the same.
    pub still_selected_by: Vec<String>,
    /// Services that still send to it.
    pub served_by: Vec<String>,
    /// Its node's addresses: what goes between them no policy stops.
    pub node: Vec<String>,
    /// Why the connections that were open could not be ended; None when they were.
    pub not_cut: Option<String>,
}

/// The word, and the proof with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// `enforced`, `partial`, `not-enforced` or `unknown`.
    pub word: &'static str,
    /// One line.
    pub proof: Proof,
}

fn unproved(word: &'static str, text: String) -> Verdict {
    Verdict { word, proof: Proof::Unproved(text) }
}

/// Judges.
pub fn judge(before: Option<&Seen>, after: Option<&Seen>, known: &Known) -> Verdict {
    if known.host_network {
        let text = "not enforced: the pod uses its node's network, to which NetworkPolicies do not apply; treat its node as \
            compromised and contain the node";
        return Verdict { word: "not-enforced", proof: Proof::Refuted(text.into()) };
    }
    let (Some(before), Some(after)) = (before, after) else {
        let why = after.or(before).map(|s| s.missing.join("; ")).filter(|w| !w.is_empty());
        let why = why.unwrap_or_else(|| "nothing could be tried".into());
        return unproved("unknown", format!("policy accepted, enforcement not proved: {why}"));
    };
    let later: Vec<&Attempt> = after.out.iter().chain(&after.inward).collect();
    let of = |a: &Attempt| later.iter().find(|l| l.way() == a.way()).copied();
    let control: Vec<&Attempt> = before.countable().collect();
    let still: BTreeSet<String> = after.countable().map(Attempt::text).collect();
    let stopped = control.iter().filter(|a| of(a).is_some_and(Attempt::stopped)).count();
    let open = alive(after, known);
    if !still.is_empty() || !open.is_empty() {
        let mut why = Vec::new();
        if !still.is_empty() {
            why.push(format!("{} still answered", listed(&still)));
        }
        if !open.is_empty() {
            let shown: BTreeSet<String> = open.iter().map(|c| format!("{} - {}", c.local, c.remote)).collect();
            why.push(format!(
                "connections are open: {}{}",
                listed(&shown),
                known.not_cut.as_ref().map(|w| format!(" (not cut: {w})")).unwrap_or_default()
            ));
        }
        let why = why.join("; ");
        if stopped == 0 {
            return Verdict { word: "not-enforced", proof: Proof::Refuted(format!("not enforced: {why}")) };
        }
        return unproved(
            "partial",
            format!("partly enforced: {why}; {stopped} of {} other ways are stopped", control.len()),
        );
    }
    let lost: BTreeSet<String> =
        control.iter().filter(|a| of(a).is_none_or(|l| !l.stopped())).map(|a| a.text()).collect();
    if !lost.is_empty() {
        return unproved(
            "unknown",
            format!(
                "what became of {} is not known: it answered before, and the second try says nothing of it",
                listed(&lost)
            ),
        );
    }
    if control.is_empty() {
        let text = "enforcement not proved: nothing that a policy can stop answered before either, so that nothing answers now shows nothing";
        return unproved("unknown", text.into());
    }
    let mut open_questions = Vec::new();
    if !before.out.iter().any(|a| a.answered() && !a.to.own_node) {
        open_questions.push("nothing outside answered before: the way out has no control".to_string());
    }
    let listens = before.connections.as_ref().is_none_or(|c| c.listening.iter().any(|l| !local(&l.address)));
    let tried_in = before.inward.iter().any(|a| a.answered() && !a.to.own_node);
    if listens && !tried_in {
        let why = match (before.inward.iter().filter(|a| !a.to.own_node).count(), before.missing.is_empty()) {
            (0, true) => "nobody tried".to_string(),
            (0, false) => before.missing.join("; "),
            (tries, _) => {
                format!("none of {tries} tries towards it answered before either; a policy may have kept them out")
            }
        };
        open_questions.push(format!("the way in has no control: {why}"));
    }
    match (after.connections.as_ref().and_then(|c| c.watch.as_ref()), &known.not_cut) {
        (None, _) => open_questions.push("open connections could not be watched".into()),
        (Some(_), Some(why)) if before.connections.as_ref().is_some_and(|c| !c.open.is_empty()) => {
            open_questions.push(format!("connections that were open were not cut: {why}"));
        }
        _ => {}
    }
    if !known.still_selected_by.is_empty() {
        open_questions.push(format!("policy {} still allows traffic of this pod", known.still_selected_by.join(", ")));
    }
    if !known.served_by.is_empty() {
        open_questions.push(format!("Service {} still sends to it", known.served_by.join(", ")));
    }
    let mut facts = vec![format!(
        "{stopped} of {} ways that answered before are stopped ({})",
        control.len(),
        listed(&control.iter().map(|a| a.text()).collect())
    )];
    if let Some(watch) = after.connections.as_ref().and_then(|c| c.watch.as_ref()) {
        facts.push(format!("no connection was open in the {:.1} s after", watch.watched_ms as f64 / 1000.0));
    }
    if !listens {
        facts.push("it listens nowhere, so nobody was tried towards it".into());
    }
    let node: BTreeSet<String> = later.iter().filter(|a| a.to.own_node && a.answered()).map(|a| a.text()).collect();
    if !node.is_empty() {
        facts.push(format!("between it and its own node no NetworkPolicy stops anything: {} answered", listed(&node)));
    }
    let facts = facts.join("; ");
    if open_questions.is_empty() {
        return Verdict { word: "enforced", proof: Proof::Verified(format!("enforced: {facts}")) };
    }
    unproved("partial", format!("partly proved: {}; else {facts}", open_questions.join("; ")))
}

/// Connections that were open while it was watched, but for those with its own node.
fn alive<'s>(after: &'s Seen, known: &Known) -> Vec<&'s Connection> {
    let watch = after.connections.as_ref().and_then(|c| c.watch.as_ref());
    let all = watch.into_iter().flat_map(|w| w.left.iter().chain(&w.came));
    all.filter(|c| {
        let peer = c.remote.parse::<std::net::SocketAddr>().ok();
        !c.own_node && peer.is_none_or(|p| !known.node.contains(&p.ip().to_string()))
    })
    .collect()
}

fn local(address: &str) -> bool {
    address.parse::<std::net::SocketAddr>().is_ok_and(|a| a.ip().is_loopback())
}

/// At most eight, and how many more.
fn listed(all: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = all.iter().take(8).map(String::as_str).collect();
    match all.len().saturating_sub(8) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::pod_isolate::reach::Address;
    use crate::collector::network::model::{Listening, Watch};

    fn attempt(address: &str, from: &str, outcome: &str) -> Attempt {
        let to = Address { address: address.into(), what: String::new(), own_node: address.starts_with("192.0.2.1:") };
        Attempt { to, from: from.into(), outcome: outcome.into(), ms: 1, error: None }
    }

    fn seen(out: &[(&str, &str)], inward: &[(&str, &str)], watch: Option<Watch>) -> Seen {
        let listening = vec![Listening { address: "0.0.0.0:80".into(), process: None }];
        Seen {
            out: out.iter().map(|(address, outcome)| attempt(address, "", outcome)).collect(),
            inward: inward.iter().map(|(address, outcome)| attempt(address, "a probe", outcome)).collect(),
            connections: Some(Connections { listening, watch, ..Connections::default() }),
            missing: Vec::new(),
        }
    }

    fn watched(remote: Option<&str>) -> Option<Watch> {
        let left = remote.map(|remote| Connection {
            protocol: "tcp".into(),
            local: "10.0.0.7:80".into(),
            remote: remote.into(),
            state: "ESTABLISHED".into(),
            uid: 0,
            inode: 1,
            own_node: false,
            sent: None,
            received: None,
            process: None,
        });
        Some(Watch { watched_ms: 5000, left: left.into_iter().collect(), ..Watch::default() })
    }

    #[test]
    fn each_word_has_its_reasons() {
        let (open, shut) = ([("10.0.0.1:443", "connected")], [("10.0.0.1:443", "timeout")]);
        let (reached, cut) = ([("10.0.0.7:80", "connected")], [("10.0.0.7:80", "refused")]);
        let node = [("192.0.2.1:10250", "connected")];
        let quiet = || watched(None);
        let known = || Known { node: vec!["192.0.2.1".into()], ..Known::default() };
        let word = |before: Seen, after: Seen, known: &Known| judge(Some(&before), Some(&after), known).word;
        let before = || seen(&open, &reached, None);
        for (after, expected) in [
            (seen(&shut, &cut, quiet()), "enforced"),
            (seen(&open, &reached, quiet()), "not-enforced"),
            (seen(&shut, &reached, quiet()), "partial"),
            (seen(&shut, &cut, watched(Some("10.0.0.9:5000"))), "partial"),
            (seen(&open, &reached, watched(Some("10.0.0.9:5000"))), "not-enforced"),
            // Its own node's connections no policy stops.
            (seen(&shut, &cut, watched(Some("192.0.2.1:5000"))), "enforced"),
            // An answer that leaves out what mattered, or failed for a reason of its own.
            (seen(&[], &cut, quiet()), "unknown"),
            (seen(&[("10.0.0.1:443", "failed")], &cut, quiet()), "unknown"),
            (seen(&shut, &[("10.0.0.7:80", "not-tried")], quiet()), "unknown"),
            (seen(&shut, &cut, None), "partial"),
        ] {
            assert_eq!(word(before(), after.clone(), &known()), expected, "{after:?}");
        }
        let nothing = || seen(&node, &[], None);
        assert_eq!(word(nothing(), seen(&node, &[], quiet()), &known()), "unknown", "no control");
        assert_eq!(
            word(seen(&open, &[], None), seen(&shut, &[], quiet()), &known()),
            "partial",
            "the way in was not tried"
        );
        assert_eq!(word(seen(&[], &reached, None), seen(&[], &cut, quiet()), &known()), "partial", "nor the way out");
        for flawed in [
            Known { still_selected_by: vec!["leak".into()], ..known() },
            Known { served_by: vec!["web".into()], ..known() },
        ] {
            assert_eq!(word(before(), seen(&shut, &cut, quiet()), &flawed), "partial");
        }
        let mut busy = before();
        busy.connections.as_mut().unwrap().open = watched(Some("10.0.0.9:5000")).unwrap().left;
        let not_cut = Known { not_cut: Some("no rights".into()), ..known() };
        assert_eq!(word(busy, seen(&shut, &cut, quiet()), &not_cut), "partial");
        assert_eq!(
            word(before(), seen(&shut, &cut, quiet()), &Known { host_network: true, ..known() }),
            "not-enforced"
        );
        assert_eq!(judge(None, None, &known()).word, "unknown");
    }

    #[test]
    fn a_pod_that_listens_nowhere_needs_no_try_towards_it() {
        let mut before = seen(&[("10.0.0.1:443", "connected")], &[], None);
        before.connections.as_mut().unwrap().listening.clear();
        let after = seen(&[("10.0.0.1:443", "timeout")], &[], watched(None));
        let verdict = judge(Some(&before), Some(&after), &Known::default());
        assert_eq!(verdict.word, "enforced");
        assert!(verdict.proof.text().contains("listens nowhere"), "{:?}", verdict.proof);
    }
}
