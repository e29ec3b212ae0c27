//! What the record claims, and what people answered.

use super::traces::file_has;
use super::{Facts, check};
use crate::drill::outcome::{Area, Check, Verdict};
use crate::event::{Event, OpKind, OpStatus};
use crate::sim::network::Network;

/// Whether the cluster's network is the scenario's own: only the embedded one can be told to enforce nothing.
fn network_is_its_own(facts: &Facts<'_>) -> bool {
    let embedded = facts
        .records
        .iter()
        .any(|r| matches!(&r.event, Event::Opened { cluster, .. } if cluster.cluster == "embedded"));
    !embedded && facts.scenario.cluster.network != Network::default()
}

pub(super) fn honesty(facts: &Facts<'_>) -> Vec<Check> {
    let mut all: Vec<Check> = facts
        .scenario
        .expect
        .honesty
        .iter()
        .enumerate()
        .map(|(i, honesty)| {
            let step = facts.steps().into_iter().find(|(_, uses, _, _)| *uses == honesty.uses);
            let Some((step, _, status, _)) = step else {
                return check(
                    &format!("honesty.{}", i + 1),
                    Area::Honesty,
                    3,
                    &format!("the record of {} is honest", honesty.uses),
                    false,
                    format!("no step ran {}", honesty.uses),
                    &honesty.why,
                    Some(honesty.uses.clone()),
                );
            };
            let (what, good, found) = match (&honesty.not, &honesty.says) {
                (Some(not), _) => {
                    let is = serde_json::to_value(status)
                        .ok()
                        .and_then(|v| v.as_str().map(str::to_string))
                        .unwrap_or_default();
                    (format!("{} is not called {not}", honesty.uses), is != *not, format!("step {step}: {status}"))
                }
                (None, Some(text)) => {
                    let place = said_of(facts, step, text);
                    let found = place.clone().unwrap_or_else(|| "nothing of it is said".into());
                    (format!("the record of {} says {text:?}", honesty.uses), place.is_some(), found)
                }
                (None, None) => (String::new(), true, String::new()),
            };
            let id = format!("honesty.{}", i + 1);
            let mut checked =
                check(&id, Area::Honesty, 3, &what, good, found, &honesty.why, Some(format!("step {step}")));
            if honesty.uses == "pod.isolate" && network_is_its_own(facts) {
                checked.verdict = Verdict::NotMeasured;
                checked.found = "this cluster's network does what it does, not what the scenario says".into();
                checked.fault = None;
            }
            checked
        })
        .collect();
    // Whatever the scenario: nothing that was applied without an intent before it, and no claim without a proof.
    let bare: Vec<String> = facts
        .carried()
        .iter()
        .filter(|c| c.op.kind == OpKind::Change)
        .filter_map(|c| {
            let (outcome, status, _, _) = c.outcome?;
            (status == OpStatus::Applied && c.intent.is_none_or(|i| i > outcome)).then(|| c.op.id.clone())
        })
        .collect();
    let found = if bare.is_empty() { "every one".to_string() } else { format!("without: {}", bare.join(", ")) };
    all.push(check(
        "honesty.intents",
        Area::Honesty,
        2,
        "every change has its intent in the journal before it",
        bare.is_empty(),
        found,
        "a change that nobody announced can't be told from the attacker's",
        bare.first().cloned(),
    ));
    all
}

fn said_of(facts: &Facts<'_>, step: &str, text: &str) -> Option<String> {
    let record = facts.records.iter().find(|r| {
        let of_step = match &r.event {
            Event::Note { step: of, .. } => of.as_deref() == Some(step),
            Event::Outcome { op, .. } | Event::Captured { op, .. } => op.split('/').next() == Some(step),
            Event::StepFinished { step: of, .. } => of == step,
            _ => false,
        };
        of_step && serde_json::to_string(&r.event).is_ok_and(|line| line.contains(text))
    });
    if let Some(record) = record {
        return Some(format!("journal record {}", record.seq.unwrap_or(0)));
    }
    let artifacts = facts.artifacts();
    let mut own = artifacts.iter().filter(|(_, _, op, _)| op.split('/').next() == Some(step));
    own.find(|(_, _, _, a)| file_has(&facts.dir.join(&a.path), text.as_bytes()).unwrap_or(false))
        .map(|(_, _, _, a)| a.path.clone())
}

pub(super) fn people(facts: &Facts<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    let answer_to = |question: &str| facts.said.iter().find(|(asked, _)| asked == question);
    let answered = |answer: Option<&(String, String)>| match (facts.people, answer) {
        (_, Some(_)) => Verdict::Passed,
        (true, None) => Verdict::Failed,
        (false, None) => Verdict::NotMeasured,
    };
    let calls = facts.scenario.injects.iter().filter_map(|i| i.call.as_ref().map(|who| (who, &i.text)));
    for (who, text) in calls {
        let answer = answer_to(text);
        all.push(Check {
            id: "decision.call".into(),
            area: Area::Decision,
            verdict: answered(answer),
            weight: 2,
            what: format!("the call of {who} is answered, and the answer is recorded"),
            found: answer.map_or("no answer".into(), |(_, a)| a.clone()),
            why: "what is said outside binds; who said what must stand somewhere".into(),
            fault: None,
        });
    }
    if let Some(notification) = &facts.scenario.expect.notification {
        let answer = answer_to(notification);
        let due = facts.began + time::Duration::hours(72);
        all.push(Check {
            id: "notification.decided".into(),
            area: Area::Notification,
            verdict: answered(answer),
            weight: 3,
            what: notification.clone(),
            found: match answer {
                Some((_, a)) => format!("{a}; the 72 hours (GDPR, Article 33) end {}", crate::clock::rfc3339(due)),
                None => format!(
                    "nobody was asked; the 72 hours (GDPR, Article 33) would end {}",
                    crate::clock::rfc3339(due)
                ),
            },
            why: "the clock runs from the moment that one became aware".into(),
            fault: None,
        });
    }
    all
}
