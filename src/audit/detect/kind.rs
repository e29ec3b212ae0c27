//! Kinds of request: verb, group, resource and subresource; and who may make one that a detection asks for.

use std::hash::{BuildHasher, RandomState};

use super::look::{Actors, Verbs};
use crate::audit::quick::mix;

/// Which class that is: those that a detection knows come first.
pub(super) fn class(hasher: &RandomState, known: bool, verb: &str, group: &str, resource: &str, sub: &str) -> u32 {
    let hash = hasher.hash_one((verb, group, resource, sub));
    (hash & 0x7fff_ffff) as u32 | u32::from(!known) << 31
}

/// A kind of request, looked up once.
#[derive(Debug)]
pub(super) struct Kind {
    verb: Box<str>,
    group: Box<str>,
    resource: Box<str>,
    sub: Box<str>,
    /// A path of no resource.
    path: bool,
    pub verbs: Verbs,
    pub class: u32,
    /// Whose requests some detection wants to see, whatever came of them.
    pub wanted: Actors,
}

/// What makes a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub sub: &'a str,
    pub path: bool,
}

impl Parts<'_> {
    fn place(&self) -> usize {
        let first = |text: &str| text.as_bytes().first().copied().map_or(0, usize::from);
        let rest = first(self.verb) * 5 + self.verb.len() * 31 + first(self.sub) * 11 + self.sub.len() * 131;
        (mix(self.resource.as_bytes()) >> 40) as usize ^ rest ^ (self.group.len() * 257)
    }

    fn is(&self, kind: &Kind) -> bool {
        *self.resource == *kind.resource
            && *self.verb == *kind.verb
            && *self.sub == *kind.sub
            && *self.group == *kind.group
            && self.path == kind.path
    }
}

/// Places in the table.
const PLACES: usize = 1024;

/// Kinds that were met last.
#[derive(Debug, Default)]
pub(super) struct Kinds(Vec<Option<Box<Kind>>>);

impl Kinds {
    /// The kind of these parts; `make` is asked for the class and who is wanted, if it was not met lately.
    pub fn of(&mut self, parts: Parts<'_>, make: impl FnOnce(Verbs) -> (u32, Actors)) -> &Kind {
        if self.0.is_empty() {
            self.0.resize_with(PLACES, || None);
        }
        let place = &mut self.0[parts.place() % PLACES];
        if !place.as_ref().is_some_and(|kind| parts.is(kind)) {
            *place = None;
        }
        place.get_or_insert_with(|| {
            let verbs = Verbs::one(parts.verb);
            let (class, wanted) = make(verbs);
            Box::new(Kind {
                verb: parts.verb.into(),
                group: parts.group.into(),
                resource: parts.resource.into(),
                sub: parts.sub.into(),
                path: parts.path,
                verbs,
                class,
                wanted,
            })
        })
    }
}
