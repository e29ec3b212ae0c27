//! Which part of the window the files can speak for.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

use super::instant;

/// A stretch of the window without any event of anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Its begin: the second of the last event before it, or the window's begin.
    pub from: OffsetDateTime,
    /// Its end: the second of the first event after it, or the window's end.
    pub to: OffsetDateTime,
    /// Whether the log begins only after it: nothing at all was read from before.
    pub before_the_first: bool,
    /// Whether nothing was read from after it.
    pub after_the_last: bool,
}

/// Hours of which the seconds are kept: 366 days of them take 4 MB. Events that lie further apart than that are not told
/// from each other.
const MAX_HOURS: usize = 366 * 24 + 2;
const WORDS: usize = 57;

/// Every second of the window in which some event was written.
#[derive(Debug, Clone)]
pub struct Coverage {
    start: Option<i64>,
    until: Option<i64>,
    hours: HashMap<i64, [u64; WORDS]>,
    /// The hour at hand: lines lie in order, so most belong to it.
    hour: i64,
    bits: [u64; WORDS],
    first: Option<i64>,
    last: Option<i64>,
    /// Some events lie outside the hours kept.
    pub scattered: bool,
}

impl Coverage {
    /// Nothing seen yet. Without a begin or an end, the log's own count.
    pub fn new(start: Option<OffsetDateTime>, until: Option<OffsetDateTime>) -> Coverage {
        Coverage {
            start: start.map(OffsetDateTime::unix_timestamp),
            until: until.map(OffsetDateTime::unix_timestamp),
            hours: HashMap::new(),
            hour: i64::MIN,
            bits: [0; WORDS],
            first: None,
            last: None,
            scattered: false,
        }
    }

    /// An event was written so many microseconds after 1970.
    pub(super) fn saw(&mut self, at: i64) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        let second = at.div_euclid(1_000_000);
        if self.start.is_some_and(|start| second < start) || self.until.is_some_and(|until| second > until) {
            return;
        }
        let hour = second.div_euclid(3600);
        if hour != self.hour {
            self.put_away();
            self.hour = hour;
        }
        let at = usize::try_from(second.rem_euclid(3600)).unwrap_or(0);
        self.bits[at / 64] |= 1 << (at % 64);
    }

    fn put_away(&mut self) {
        let bits = std::mem::replace(&mut self.bits, [0; WORDS]);
        let room = self.hours.len() < MAX_HOURS;
        match self.hours.get_mut(&self.hour) {
            Some(kept) => kept.iter_mut().zip(bits).for_each(|(k, b)| *k |= b),
            None if bits.iter().all(|b| *b == 0) => {}
            None if room => {
                self.hours.insert(self.hour, bits);
            }
            None => self.scattered = true,
        }
        self.hour = i64::MIN;
    }

    /// Adds what another part of the log covers.
    pub(super) fn merge(&mut self, mut other: Coverage) {
        other.put_away();
        self.put_away();
        for (hour, bits) in other.hours {
            self.hour = hour;
            self.bits = bits;
            self.put_away();
        }
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = [self.last, other.last].into_iter().flatten().max();
        self.scattered |= other.scattered;
    }

    /// The earliest event read, in the window or not.
    pub fn first(&self) -> Option<OffsetDateTime> {
        self.first.map(instant::of_micros)
    }

    /// The latest event read, in the window or not.
    pub fn last(&self) -> Option<OffsetDateTime> {
        self.last.map(instant::of_micros)
    }

    /// Stretches longer than `longest` without any event. What lies before the first event read is a gap however short
    /// it is, for there the log itself begins; but not if no begin was asked for.
    pub fn gaps(&self, longest: Duration) -> Vec<Gap> {
        let second = |micros: Option<i64>| micros.map(|m| m.div_euclid(1_000_000));
        let longest = longest.whole_seconds();
        let Some(start) = self.start.or(second(self.first)) else { return Vec::new() };
        let Some(end) = self.until.or(second(self.last)) else { return Vec::new() };
        let mut any = self.first.is_some_and(|first| first <= start * 1_000_000) || self.start.is_none();
        let at = |second: i64| OffsetDateTime::from_unix_timestamp(second).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let mut gaps = Vec::new();
        let mut from = start;
        for second in self.present().into_iter().flat_map(|(hour, bits)| seconds(hour, bits)) {
            let head = !any;
            if (head && second > from) || second - from > longest {
                gaps.push(Gap { from: at(from), to: at(second), before_the_first: head, after_the_last: false });
            }
            any = true;
            from = second;
        }
        if end - from > longest || (!any && end > from) {
            let after = self.last.is_none_or(|last| last <= end * 1_000_000);
            gaps.push(Gap { from: at(from), to: at(end), before_the_first: !any, after_the_last: after });
        }
        gaps
    }

    fn present(&self) -> Vec<(i64, [u64; WORDS])> {
        let mut whole = self.clone();
        whole.put_away();
        let mut hours: Vec<_> = whole.hours.into_iter().collect();
        hours.sort_unstable_by_key(|(hour, _)| *hour);
        hours
    }
}

fn seconds(hour: i64, bits: [u64; WORDS]) -> impl Iterator<Item = i64> {
    bits.into_iter().enumerate().flat_map(move |(word, mut bits)| {
        std::iter::from_fn(move || {
            (bits != 0).then(|| {
                let bit = bits.trailing_zeros();
                bits &= bits - 1;
                hour * 3600 + (word * 64) as i64 + i64::from(bit)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{parse, rfc3339};

    fn at(text: &str) -> OffsetDateTime {
        parse(&format!("2026-11-23T{text}Z")).unwrap()
    }

    fn told(coverage: &Coverage) -> Vec<String> {
        coverage
            .gaps(Duration::minutes(20))
            .iter()
            .map(|g| {
                let (from, to) = (rfc3339(g.from), rfc3339(g.to));
                let tag = match (g.before_the_first, g.after_the_last) {
                    (true, _) => " head",
                    (_, true) => " tail",
                    _ => "",
                };
                format!("{}-{}{tag}", &from[11..16], &to[11..16])
            })
            .collect()
    }

    fn gaps(events: &[&str]) -> Vec<String> {
        let mut coverage = Coverage::new(Some(at("01:00:00")), Some(at("02:00:00")));
        events.iter().for_each(|e| coverage.saw(instant::micros(at(e))));
        // The same in two parts.
        let mut parts = [coverage.clone(), Coverage::new(Some(at("01:00:00")), Some(at("02:00:00")))];
        let [a, b] = &mut parts;
        events.iter().step_by(2).for_each(|e| a.saw(instant::micros(at(e))));
        events.iter().skip(1).step_by(2).for_each(|e| b.saw(instant::micros(at(e))));
        let [mut a, b] = parts;
        a.merge(b);
        assert_eq!(told(&a), told(&coverage));
        told(&coverage)
    }

    #[test]
    fn gaps_are_named_and_silence_before_the_log_begins_is_one() {
        assert_eq!(gaps(&["00:59:00", "01:15:00", "01:30:00", "01:45:00", "02:00:01"]), Vec::<String>::new());
        assert_eq!(gaps(&["01:01:00", "01:15:00", "01:30:00", "01:45:00"]), ["01:00-01:01 head"]);
        assert_eq!(gaps(&["00:59:00", "01:10:00", "01:40:00", "01:55:00"]), ["01:10-01:40"]);
        assert_eq!(gaps(&["00:59:00", "01:19:00", "01:25:00"]), ["01:25-02:00 tail"]);
        assert_eq!(gaps(&["00:30:00", "02:30:00"]), ["01:00-02:00"]);
        assert_eq!(gaps(&[]), ["01:00-02:00 head"]);
        assert_eq!(gaps(&["03:00:00"]), ["01:00-02:00 head"]);
    }

    #[test]
    fn without_a_window_the_log_is_its_own() {
        let mut coverage = Coverage::new(None, None);
        assert!(told(&coverage).is_empty());
        ["05:10:00", "01:00:00", "01:10:00", "05:00:00"].iter().for_each(|e| coverage.saw(instant::micros(at(e))));
        assert_eq!(told(&coverage), ["01:10-05:00"]);
        assert_eq!(coverage.last(), Some(at("05:10:00")));
    }
}
