//! What was found of the attacker, and who else was hit.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Facts, check};
use crate::drill::outcome::{Area, Check, Verdict};
use crate::event::Event;

/// Whether a text stands in any artifact or in what the record says. Archives are searched as bytes.
fn stands(facts: &Facts<'_>, text: &str) -> Option<String> {
    for (_, _, _, artifact) in facts.artifacts() {
        let path = facts.dir.join(&artifact.path);
        if file_has(&path, text.as_bytes()).unwrap_or(false) {
            return Some(artifact.path.clone());
        }
    }
    let said = facts.records.iter().find(|r| {
        matches!(&r.event, Event::Note { .. } | Event::StepFinished { .. } | Event::Outcome { .. })
            && serde_json::to_string(&r.event).is_ok_and(|line| line.contains(text))
    });
    said.map(|r| format!("journal record {}", r.seq.unwrap_or(0)))
}

pub(super) fn file_has(path: &Path, needle: &[u8]) -> std::io::Result<bool> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let (mut held, mut piece) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(false);
        }
        held.extend_from_slice(piece.get(..read).unwrap_or_default());
        if held.windows(needle.len().max(1)).any(|w| w == needle) {
            return Ok(true);
        }
        let keep = held.len().saturating_sub(needle.len());
        held.drain(..keep);
    }
}

pub(super) fn footholds(facts: &Facts<'_>) -> Vec<Check> {
    let all = facts.scenario.expect.footholds.iter().enumerate();
    all.map(|(i, foothold)| {
        let place = stands(facts, &foothold.seen_as);
        let found = place.as_ref().map_or_else(
            || format!("{:?} stands nowhere in the evidence", foothold.seen_as),
            |p| format!("seen in {p}"),
        );
        let mut checked = check(
            &format!("foothold.{}", i + 1),
            Area::Foothold,
            4,
            &foothold.what,
            place.is_some(),
            found,
            &foothold.why,
            Some("it was missed".into()),
        );
        // On a real cluster every request comes from where the drill runs, which is no trace of anybody.
        let requests = || facts.scenario.injects.iter().filter_map(|inject| inject.request.as_ref());
        if facts.real && place.is_none() && requests().any(|request| request.from == foothold.seen_as) {
            checked.verdict = Verdict::NotMeasured;
            checked.found = "the requests came from where the drill runs".into();
            checked.fault = None;
        }
        checked
    })
    .collect()
}

pub(super) fn collateral(facts: &Facts<'_>) -> Vec<Check> {
    let mut all = Vec::new();
    for (i, unharmed) in facts.scenario.expect.unharmed.iter().enumerate() {
        let id = format!("collateral.{}", i + 1);
        if let Some(selector) = &unharmed.pods {
            let wanted: BTreeMap<&str, &str> = selector.split(',').filter_map(|t| t.split_once('=')).collect();
            let fits = |labels: &BTreeMap<String, String>| {
                wanted.iter().all(|(k, v)| labels.get(*k).map(String::as_str) == Some(*v))
            };
            let others =
                || {
                    facts.seen.pods.iter().filter(|(uid, p)| {
                        uid.as_str() != facts.target.uid && p.from_the_start && fits(&p.first_labels)
                    })
                };
            let count = others().count();
            let hit: Vec<String> = others()
                .filter(|(_, p)| p.gone.is_some() || p.deleting || !p.ready || !fits(&p.labels))
                .map(|(_, p)| p.name.clone())
                .collect();
            let found = if hit.is_empty() {
                format!("{count} of {count} as before")
            } else {
                format!("hit: {}", hit.join(", "))
            };
            all.push(check(
                &id,
                Area::Collateral,
                4,
                &unharmed.what,
                hit.is_empty() && count > 0,
                found,
                "an answer that harms what is healthy does the attacker's work",
                Some(hit.join(", ")),
            ));
        }
        if let Some(selector) = &unharmed.spared {
            let hit: Vec<String> = facts
                .seen
                .pods
                .values()
                .filter(|p| p.from_the_start && crate::drill::observe::fits(selector, &p.first_labels))
                .filter(|p| p.gone.is_some_and(|at| facts.seen.gone.is_none_or(|node| at < node)))
                .map(|p| p.name.clone())
                .collect();
            let found =
                if hit.is_empty() { "none was asked to go".into() } else { format!("deleted: {}", hit.join(", ")) };
            all.push(check(
                &id,
                Area::Collateral,
                4,
                &unharmed.what,
                hit.is_empty(),
                found,
                "a suspect that is drained takes its memory and disk along",
                Some(hit.join(", ")),
            ));
        }
        if let Some(object) = &unharmed.object {
            let known = facts.objects.iter().find(|(name, _, _)| name == object);
            let (good, found) = match known {
                Some((_, before, after)) if after.is_null() && !before.is_null() => (false, "it is gone".to_string()),
                Some((_, before, _)) if before.is_null() => (false, "it was not there in the first place".to_string()),
                Some((_, before, after)) => {
                    let same = content(before) == content(after);
                    (same, if same { "as before".to_string() } else { "it was changed".into() })
                }
                None => (false, "it was not looked at".into()),
            };
            all.push(check(
                &id,
                Area::Collateral,
                4,
                &unharmed.what,
                good,
                found,
                "an answer that harms what is healthy does the attacker's work",
                Some(object.clone()),
            ));
        }
    }
    all
}

/// An object without what the API server keeps of it.
fn content(object: &Value) -> Value {
    let mut bare = object.clone();
    for part in ["resourceVersion", "managedFields", "generation"] {
        if let Some(meta) = bare["metadata"].as_object_mut() {
            meta.remove(part);
        }
    }
    if let Some(map) = bare.as_object_mut() {
        map.remove("status");
    }
    bare
}
