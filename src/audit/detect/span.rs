//! When something was first and last seen, and by which events.

use std::cmp::Reverse;

use time::OffsetDateTime;

use super::fact::cut;
use crate::audit::event::Origin;
use crate::audit::instant;

/// Addresses, agents and identities told apart within one session.
const MAX_WITHIN: usize = 48;

/// An instant: microseconds since 1970, and nanoseconds beyond them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    micros: i64,
    nanos: u16,
}

impl At {
    pub fn of_micros(micros: i64) -> At {
        At { micros, nanos: 0 }
    }

    pub fn of(at: OffsetDateTime) -> At {
        At { micros: instant::micros(at), nanos: u16::try_from(at.nanosecond() % 1000).unwrap_or(0) }
    }

    /// Whole seconds since 1970, and nanoseconds beyond them.
    pub fn parts(self) -> (i64, u32) {
        let micros = u32::try_from(self.micros.rem_euclid(1_000_000)).unwrap_or(0);
        (self.micros.div_euclid(1_000_000), micros * 1000 + u32::from(self.nanos))
    }

    pub fn time(self) -> OffsetDateTime {
        instant::of_micros(self.micros) + time::Duration::nanoseconds(i64::from(self.nanos))
    }
}

/// An event, small enough to be copied for every line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub at: At,
    pub origin: Origin,
    id: [u8; 47],
    len: u8,
}

impl Mark {
    pub fn new(at: At, audit_id: &str, origin: Origin) -> Mark {
        let mut len = audit_id.len().min(47);
        while !audit_id.is_char_boundary(len) {
            len -= 1;
        }
        let mut id = [0; 47];
        id[..len].copy_from_slice(&audit_id.as_bytes()[..len]);
        Mark { at, origin, id, len: u8::try_from(len).unwrap_or(0) }
    }

    pub fn audit_id(&self) -> &str {
        std::str::from_utf8(&self.id[..usize::from(self.len)]).unwrap_or_default()
    }

    fn key(&self) -> (At, &[u8], Origin) {
        (self.at, &self.id, self.origin)
    }

    /// Of two lines of one request the one that lies first is named, whichever of the two ends is meant.
    fn last_key(&self) -> (At, &[u8], Reverse<Origin>) {
        (self.at, &self.id, Reverse(self.origin))
    }
}

/// The first and the last time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub first: Mark,
    pub last: Mark,
}

impl Span {
    pub fn new(mark: &Mark) -> Span {
        Span { first: *mark, last: *mark }
    }

    pub fn add(&mut self, mark: &Mark) {
        if mark.key() < self.first.key() {
            self.first = *mark;
        }
        if mark.last_key() > self.last.last_key() {
            self.last = *mark;
        }
    }

    pub fn merge(&mut self, other: &Span) {
        self.add(&other.first);
        self.add(&other.last);
    }
}

/// Different texts with their spans: at most [`MAX_WITHIN`], those of the smallest hashes.
#[derive(Debug, Default)]
pub(super) struct Spans {
    /// In the order of their hashes. Most sessions have one.
    kept: Vec<(u64, Box<str>, Span)>,
    /// There were more.
    pub more: bool,
}

impl Spans {
    /// `key` is the text's hash.
    pub fn add(&mut self, key: u64, text: &str, mark: &Mark) {
        match self.kept.binary_search_by_key(&key, |(key, ..)| *key) {
            Ok(at) => self.kept[at].2.add(mark),
            Err(MAX_WITHIN) => self.more = true,
            Err(at) => self.insert(at, key, cut(text).into(), Span::new(mark)),
        }
    }

    fn insert(&mut self, at: usize, key: u64, text: Box<str>, span: Span) {
        if self.kept.is_empty() {
            self.kept.reserve_exact(1);
        }
        self.kept.insert(at, (key, text, span));
        if self.kept.len() > MAX_WITHIN {
            self.kept.pop();
            self.more = true;
        }
    }

    pub fn merge(&mut self, other: Spans) {
        self.more |= other.more;
        for (key, text, span) in other.kept {
            match self.kept.binary_search_by_key(&key, |(key, ..)| *key) {
                Ok(at) => self.kept[at].2.merge(&span),
                Err(MAX_WITHIN) => self.more = true,
                Err(at) => self.insert(at, key, text, span),
            }
        }
    }

    /// In the order in which they were first seen.
    pub fn in_order(&self) -> Vec<(&str, &Span)> {
        let mut all: Vec<(&str, &Span)> = self.kept.iter().map(|(_, text, span)| (text.as_ref(), span)).collect();
        all.sort_by(|a, b| (a.1.first.at, a.0).cmp(&(b.1.first.at, b.0)));
        all
    }
}
