//! Containment and eradication, as the cluster itself showed them.

use super::{Facts, check};
use crate::drill::outcome::{Area, Check, Verdict};

pub(super) fn containment(facts: &Facts<'_>) -> Vec<Check> {
    let expect = &facts.scenario.expect;
    let mut all = Vec::new();
    let cut = facts.seen.cut_off.as_ref();
    match expect.contained {
        Some(true) => {
            let found = match cut {
                Some((_, by)) if facts.target.is_node() => format!("{by} closed it to new pods"),
                Some((_, by)) => format!("policy {by} selected it"),
                None if facts.target.is_node() => "it was never cordoned".into(),
                None if facts.seen.gone.is_some() => "it was gone before any policy selected it".into(),
                None => "no policy ever selected it with all traffic denied".into(),
            };
            let fault = facts
                .steps()
                .iter()
                .find(|(_, uses, _, _)| ["pod.isolate", "node.cordon"].contains(uses))
                .map_or("the runbook has no step that isolates".to_string(), |(step, _, status, _)| {
                    format!("step {step}: {status}")
                });
            let mut policy = check(
                "containment.policy",
                Area::Containment,
                6,
                if facts.target.is_node() {
                    "the node takes no new pods while it lives"
                } else {
                    "a policy that allows nothing selects the suspect while it lives"
                },
                cut.is_some(),
                found,
                if facts.target.is_node() {
                    "until then the scheduler hands the attacker more Secrets with every pod"
                } else {
                    "until then the attacker can reach others and be reached"
                },
                Some(fault),
            );
            if cut.is_none() && facts.seen.lagged {
                policy.verdict = Verdict::NotMeasured;
                policy.found = "the watch of the cluster told nothing of it: it may have happened".into();
                policy.fault = None;
            }
            all.push(policy);
            if let (Some((at, _)), Some(gone)) = (cut, facts.seen.gone) {
                all.push(check(
                    "containment.before-delete",
                    Area::Containment,
                    2,
                    "containment comes before deletion",
                    *at <= gone,
                    format!("{} ms before", (gone - *at).whole_milliseconds()),
                    "a suspect that is only deleted is replaced by its controller, unseen",
                    None,
                ));
            }
        }
        Some(false) => {
            let found = cut.map_or("it was left alone".to_string(), |(_, by)| format!("policy {by} cut it off"));
            all.push(check(
                "containment.none",
                Area::Containment,
                4,
                "a benign pod is not cut off",
                cut.is_none(),
                found,
                "a wrong containment is an outage of one's own making",
                Some("the suspect was benign".into()),
            ));
        }
        None => {}
    }
    match expect.eradicated {
        Some(true) => {
            let gone = facts.seen.gone.is_some();
            let found = if gone { "its UID is gone".to_string() } else { "it is still there".into() };
            all.push(check(
                "containment.eradicated",
                Area::Containment,
                4,
                "the suspect is gone in the end",
                gone,
                found,
                "what still runs can still act",
                Some(facts.deletion().map_or("no step deleted the suspect".to_string(), |(_, step)| {
                    format!("step {step} asked for its deletion")
                })),
            ));
        }
        Some(false) => {
            let gone = facts.seen.gone.is_some() && !facts.replaced;
            let found = if gone { "it was deleted".to_string() } else { "it lives".into() };
            all.push(check(
                "containment.kept",
                Area::Containment,
                4,
                "a benign pod is not deleted",
                !gone,
                found,
                "a wrong deletion is an outage of one's own making",
                Some("the suspect was benign".into()),
            ));
        }
        None => {}
    }
    all.extend(rotation(facts));
    all
}

/// Exposed values that are out of use: by the Secret itself, and by the pods that had them in their environment.
fn rotation(facts: &Facts<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    for (i, rotated) in facts.scenario.expect.rotated.iter().enumerate() {
        if let Some(key) = &rotated.key {
            let name = format!("v1 Secret {}", rotated.secret);
            let value = |of: &serde_json::Value| of["data"][key.as_str()].clone();
            let known = facts.objects.iter().find(|(object, _, _)| *object == name);
            let (good, found) = match known {
                Some((_, before, after)) if !value(after).is_null() => {
                    let other = value(before) != value(after);
                    (other, if other { "another value" } else { "the exposed value" }.to_string())
                }
                Some(_) => (false, "the key is gone".into()),
                None => (false, "it was not looked at".into()),
            };
            all.push(check(
                &format!("containment.rotated.{}", i + 1),
                Area::Containment,
                6,
                &format!("the key {key} of Secret {} has another value in the end", rotated.secret),
                good,
                found,
                "until then whoever has the old one is let in",
                Some(format!("Secret {}", rotated.secret)),
            ));
        }
        for (n, selector) in rotated.replaced.iter().enumerate() {
            let wanted: Vec<(&str, &str)> = selector.split(',').filter_map(|t| t.split_once('=')).collect();
            let mut pods: Vec<_> = facts.seen.pods.values().collect();
            pods.retain(|p| wanted.iter().all(|(k, v)| p.first_labels.get(*k).map(String::as_str) == Some(*v)));
            let old: Vec<&str> = pods
                .iter()
                .filter(|p| p.from_the_start && p.gone.is_none() && !p.ended)
                .map(|p| p.name.as_str())
                .collect();
            let ready = pods.iter().filter(|p| !p.from_the_start && p.gone.is_none() && p.ready).count();
            let found = match (old.is_empty(), ready) {
                (false, _) => format!("still running since before: {}", old.join(", ")),
                (true, 0) => "the old ones are gone, and no new one is ready".into(),
                (true, n) => format!("{n} new, ready"),
            };
            all.push(check(
                &format!("containment.replaced.{}", n + 1),
                Area::Containment,
                4,
                &format!("the pods {selector}, which had the value in their environment, are replaced"),
                old.is_empty() && ready > 0,
                found,
                "an environment keeps what it was started with: the old value lives in it",
                Some(format!("pods {selector}")),
            ));
        }
    }
    all
}
