//! Bursts: many different things by one subject within a time.

use std::collections::{BTreeMap, HashMap};

use time::Duration;

use crate::audit::detect::{Fact, Subject};

/// The facts of one subject that lie in some window with at least so many different objects.
pub struct Burst {
    /// In order of time.
    pub facts: Vec<Fact>,
    /// The most different objects in one window.
    pub distinct: usize,
}

/// Bursts by subject. The facts are in order of time.
pub fn bursts(facts: Vec<Fact>, within: Duration, least: usize) -> Vec<Burst> {
    let mut by_subject: BTreeMap<Subject, Vec<Fact>> = BTreeMap::new();
    for fact in facts {
        by_subject.entry(fact.subject.as_ref().clone()).or_default().push(fact);
    }
    by_subject.into_values().filter_map(|facts| burst(facts, within, least)).collect()
}

fn burst(facts: Vec<Fact>, within: Duration, least: usize) -> Option<Burst> {
    let mut inside: HashMap<&str, usize> = HashMap::new();
    let mut part = vec![false; facts.len()];
    let (mut begin, mut most, mut marked) = (0, 0, 0);
    for (end, fact) in facts.iter().enumerate() {
        *inside.entry(&fact.object).or_default() += 1;
        while fact.at - facts[begin].at > within {
            if let Some(count) = inside.get_mut(facts[begin].object.as_ref()) {
                *count -= 1;
                if *count == 0 {
                    inside.remove(facts[begin].object.as_ref());
                }
            }
            begin += 1;
        }
        if inside.len() >= least {
            most = most.max(inside.len());
            for flag in &mut part[begin.max(marked)..=end] {
                *flag = true;
            }
            marked = end + 1;
        }
    }
    drop(inside);
    let facts: Vec<Fact> = facts.into_iter().zip(part).filter(|(_, p)| *p).map(|(f, _)| f).collect();
    (most > 0).then_some(Burst { facts, distinct: most })
}
