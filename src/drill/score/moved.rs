//! Pods that had to leave a node before it was ended, without an outage.

use super::{Facts, check};
use crate::drill::observe::fits;
use crate::drill::outcome::{Area, Check};

pub(super) fn moved(facts: &Facts<'_>) -> Vec<Check> {
    let pods = || facts.seen.pods.values();
    let mut all = Vec::new();
    for (i, moved) in facts.scenario.expect.moved.iter().enumerate() {
        let of = |labels| fits(&moved.pods, labels);
        let before = pods().filter(|p| p.from_the_start && of(&p.first_labels)).count();
        let here: Vec<_> =
            pods().filter(|p| p.from_the_start && of(&p.first_labels) && p.node == facts.target.name).collect();
        // What ended with its node did not leave it.
        let stayed: Vec<&str> = here
            .iter()
            .filter(|p| match (p.gone, facts.seen.gone) {
                (None, _) => true,
                (Some(at), Some(node)) => at >= node,
                (Some(_), None) => false,
            })
            .map(|p| p.name.as_str())
            .collect();
        let ready = pods().filter(|p| p.ready && p.gone.is_none() && of(&p.labels)).count();
        let found = if stayed.is_empty() {
            format!("{} left it, {ready} of {before} are ready in the end", here.len())
        } else {
            format!("on the node to its end: {}", stayed.join(", "))
        };
        all.push(check(
            &format!("moved.{}", i + 1),
            Area::Collateral,
            4,
            &moved.what,
            stayed.is_empty() && !here.is_empty() && ready >= before,
            found,
            "what ends with its node ends without warning, and is made anew late",
            Some("the drain".into()),
        ));
        if moved.never_below > 0 {
            let least = facts.seen.least.get(&moved.pods).copied().unwrap_or(0);
            all.push(check(
                &format!("moved.{}.budget", i + 1),
                Area::Collateral,
                4,
                &format!("{}: at least {} of {} serve at every moment", moved.what, moved.never_below, moved.pods),
                least >= moved.never_below,
                format!("{least} at the least"),
                "an answer that harms what is healthy does the attacker's work",
                Some("the drain".into()),
            ));
        }
    }
    all
}
