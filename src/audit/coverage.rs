//! Which part of the window the files can speak for.

use time::{Duration, OffsetDateTime};

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

/// Every second of the window in which some event was written, over all events of all files.
#[derive(Debug, Clone)]
pub struct Coverage {
    start: OffsetDateTime,
    seconds: i64,
    seen: Vec<u64>,
    /// The earliest event read, in the window or not.
    pub first: Option<OffsetDateTime>,
    /// The latest event read, in the window or not.
    pub last: Option<OffsetDateTime>,
}

/// Longest window, in seconds: 366 days, for which the seconds take 4 MB.
pub(super) const MAX_WINDOW: i64 = 366 * 86_400;

impl Coverage {
    /// Nothing seen yet. A longer window than 366 days is cut at its old end.
    pub fn new(start: OffsetDateTime, until: OffsetDateTime) -> Coverage {
        let seconds = (until - start).whole_seconds().clamp(0, MAX_WINDOW);
        let start = until - Duration::seconds(seconds);
        let words = usize::try_from(seconds / 64 + 1).unwrap_or(0);
        Coverage { start, seconds, seen: vec![0; words], first: None, last: None }
    }

    /// An event was written at that instant.
    pub fn saw(&mut self, at: OffsetDateTime) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.last = Some(self.last.map_or(at, |last| last.max(at)));
        let second = (at - self.start).whole_seconds();
        if at >= self.start && second <= self.seconds {
            let second = usize::try_from(second).unwrap_or(0);
            if let Some(word) = self.seen.get_mut(second / 64) {
                *word |= 1 << (second % 64);
            }
        }
    }

    /// Stretches longer than `longest` without any event. What lies before the first event read is a gap however short
    /// it is, for there the log itself begins.
    pub fn gaps(&self, longest: Duration) -> Vec<Gap> {
        let end = self.start + Duration::seconds(self.seconds);
        let began_before = self.first.is_some_and(|first| first <= self.start);
        let mut gaps = Vec::new();
        let mut from = self.start;
        let mut any = began_before;
        for second in self.present() {
            let at = self.start + Duration::seconds(second);
            let head = !any;
            if (head && at > from) || at - from > longest {
                gaps.push(Gap { from, to: at, before_the_first: head, after_the_last: false });
            }
            any = true;
            from = at;
        }
        if end - from > longest || !any {
            let after = self.last.is_none_or(|last| last <= end);
            gaps.push(Gap { from, to: end, before_the_first: !any, after_the_last: after });
        }
        gaps
    }

    fn present(&self) -> impl Iterator<Item = i64> + '_ {
        self.seen.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let bit = bits.trailing_zeros();
                    bits &= bits - 1;
                    (word * 64) as i64 + i64::from(bit)
                })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{parse, rfc3339};

    fn at(text: &str) -> OffsetDateTime {
        parse(&format!("2026-11-23T{text}Z")).unwrap()
    }

    fn gaps(events: &[&str]) -> Vec<String> {
        let mut coverage = Coverage::new(at("01:00:00"), at("02:00:00"));
        events.iter().for_each(|e| coverage.saw(at(e)));
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
}
