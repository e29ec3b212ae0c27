//! Bursts: many different things by one subject within a time.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use time::Duration;

use super::{Fact, Subject};

/// The facts of one subject that lie in some window with at least so many different objects.
pub struct Burst {
    /// In order of time.
    pub facts: Vec<Fact>,
    /// The most different objects in one window.
    pub distinct: usize,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Different objects.
    Objects,
    /// Requests.
    Requests,
}

/// Bursts of different objects, by subject. The facts are in order of time.
pub fn bursts(facts: Vec<Fact>, within: Duration, least: usize) -> Vec<Burst> {
    bursts_of(Count::Objects, facts, within, least)
}

/// Bursts by subject. The facts are in order of time.
pub fn bursts_of(count: Count, facts: Vec<Fact>, within: Duration, least: usize) -> Vec<Burst> {
    let mut by_subject: BTreeMap<Subject, Vec<Fact>> = BTreeMap::new();
    for fact in facts {
        by_subject.entry(fact.subject.as_ref().clone()).or_default().push(fact);
    }
    by_subject.into_values().filter_map(|facts| burst(count, facts, within, least)).collect()
}

fn burst(count: Count, facts: Vec<Fact>, within: Duration, least: usize) -> Option<Burst> {
    let keys: Vec<u64> = facts
        .iter()
        .map(|fact| match count {
            Count::Requests => fact.request,
            Count::Objects => {
                let mut hasher = DefaultHasher::new();
                fact.object.hash(&mut hasher);
                hasher.finish()
            }
        })
        .collect();
    let mut inside: HashMap<u64, usize> = HashMap::new();
    let mut part = vec![false; facts.len()];
    let (mut begin, mut most, mut marked) = (0, 0, 0);
    for (end, fact) in facts.iter().enumerate() {
        *inside.entry(keys[end]).or_default() += 1;
        while fact.at - facts[begin].at > within {
            if let Some(count) = inside.get_mut(&keys[begin]) {
                *count -= 1;
                if *count == 0 {
                    inside.remove(&keys[begin]);
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
    let facts: Vec<Fact> = facts.into_iter().zip(part).filter(|(_, p)| *p).map(|(f, _)| f).collect();
    (most > 0).then_some(Burst { facts, distinct: most })
}
