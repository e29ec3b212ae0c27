//! The few fields of a line that its coverage needs, read without parsing it, where it has the API server's own shape.
//!
//! The API server writes an Event's keys in one order, without spaces. What precedes `objectRef` holds strings only, and in
//! a string every quote is escaped: so `"objectRef":{"` before any body is the event's own. What does not have that shape
//! is parsed as any JSON would be.

use memchr::memmem::{self, Finder};
use memchr::{memchr, memchr2};

use super::event::{Level, Stage};
use super::format::HEAD;
use super::instant;

/// Microseconds since 1970.
pub(super) type Micros = i64;

const RECEIVED: &[u8] = br#""requestReceivedTimestamp":""#;

const LEVELS: [(&str, Level); 3] =
    [("Metadata", Level::Metadata), ("RequestResponse", Level::RequestResponse), ("Request", Level::Request)];
const STAGES: [(&str, Stage); 4] = [
    ("ResponseComplete", Stage::ResponseComplete),
    ("ResponseStarted", Stage::ResponseStarted),
    ("RequestReceived", Stage::RequestReceived),
    ("Panic", Stage::Panic),
];

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance<'a> {
    pub level: Level,
    pub stage: Stage,
    pub verb: &'a [u8],
    pub uri: &'a [u8],
    /// Plural; empty for a plain path.
    pub resource: &'a [u8],
    pub received: Micros,
    pub staged: Micros,
    /// Its bodies were cut off for their size.
    pub truncated: bool,
    pub audit_id: &'a [u8],
    pub places: Places,
}

/// Where parts of a line begin, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Places {
    /// What follows the verb.
    pub caller: usize,
    /// The key `objectRef`.
    pub object: Option<usize>,
    /// The key `requestReceivedTimestamp`.
    pub times: usize,
    /// What follows the last of the times.
    pub tail: usize,
}

impl Places {
    /// Who asks, as whom, from where and with what.
    pub fn callers(&self) -> std::ops::Range<usize> {
        self.caller..self.object.unwrap_or(self.times)
    }
}

/// Reads lines; keeps what it need not make again.
#[derive(Debug, Clone)]
pub(super) struct Glancer {
    object: Finder<'static>,
    staged: Finder<'static>,
    head: Finder<'static>,
    truncated: Finder<'static>,
    minute: ([u8; 17], Micros),
}

impl Default for Glancer {
    fn default() -> Glancer {
        Glancer {
            object: Finder::new(r#""objectRef":{"resource":""#),
            staged: Finder::new(r#""stageTimestamp":""#),
            // As much of a line's head as is found quickly.
            head: Finder::new(r#""apiVersion":"audit.k8s.io/v1","#),
            truncated: Finder::new(r#""audit.k8s.io/truncated":"true""#),
            minute: ([0; 17], 0),
        }
    }
}

impl Glancer {
    /// None: not of the API server's own shape.
    pub fn glance<'a>(&mut self, line: &'a [u8]) -> Option<Glance<'a>> {
        let rest = line.strip_prefix(HEAD.as_bytes())?.strip_prefix(br#""level":""#)?;
        let (level, rest) = one_of(rest, &LEVELS)?;
        let (audit_id, rest) = usual(rest.strip_prefix(br#"","auditID":""#)?, 36)?;
        let (stage, rest) = one_of(rest.strip_prefix(br#","stage":""#)?, &STAGES)?;
        let (uri, rest) = string(rest.strip_prefix(br#"","requestURI":""#)?)?;
        let (verb, rest) = short(rest.strip_prefix(br#","verb":""#)?)?;
        let caller = line.len() - rest.len();
        let at = self.last_staged(line)?;
        // "requestReceivedTimestamp":"…Z", stands right before it.
        let before = line.get(..at)?.strip_suffix(b"\",")?;
        let times = self.received(before)?;
        let rest = before.get(caller..times)?;
        // A line that was cut, with another right behind it: the strings before have no such quotes.
        if self.head.find(rest).is_some() {
            return None;
        }
        let (object, resource) = match self.object.find(rest) {
            Some(at) => (Some(caller + at), short(&rest[at + self.object.needle().len()..])?.0),
            None => (None, &b""[..]),
        };
        let received = &before[times + RECEIVED.len()..];
        let (staged, tail) = usual(&line[at + self.staged.needle().len()..], 27)?;
        let truncated = match tail {
            b"}" => false,
            [b',', b'"', b'a', .., b'}', b'}'] if tail.starts_with(br#","annotations":{"#) => {
                self.truncated.find(tail).is_some()
            }
            _ => return None,
        };
        Some(Glance {
            level,
            stage,
            verb,
            uri,
            resource,
            received: self.micros(received)?,
            staged: self.micros(staged)?,
            truncated,
            audit_id,
            places: Places { caller, object, times, tail: line.len() - tail.len() },
        })
    }

    /// Where the key stands that comes last before the other's; most times have 27 letters.
    fn received(&self, before: &[u8]) -> Option<usize> {
        let usual = before.len().checked_sub(RECEIVED.len() + 27);
        if let Some(at) = usual.filter(|at| before[*at..].starts_with(RECEIVED)) {
            return Some(at);
        }
        let near = before.len().saturating_sub(64);
        Some(near + memmem::rfind(&before[near..], RECEIVED)?)
    }

    /// The last occurrence: one in a body comes before it. Annotations, which follow it, are short.
    fn last_staged(&self, line: &[u8]) -> Option<usize> {
        for near in [640, 8192, usize::MAX] {
            let from = line.len().saturating_sub(near);
            let mut last = None;
            let mut at = from;
            while let Some(found) = self.staged.find(&line[at..]) {
                last = Some(at + found);
                at += found + 1;
            }
            if last.is_some() || from == 0 {
                return last;
            }
        }
        None
    }

    /// `2026-11-23T03:12:45.123456Z`; most lines have the minute of the one before.
    fn micros(&mut self, text: &[u8]) -> Option<Micros> {
        if text.len() == 27 && text[..17] == self.minute.0 && text[19] == b'.' && text[26] == b'Z' {
            let digits = |range: std::ops::Range<usize>| {
                text[range].iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
            };
            let second = digits(17..19).filter(|s| *s < 60)?;
            return Some(self.minute.1 + second * 1_000_000 + digits(20..26)?);
        }
        let at = instant::parse(std::str::from_utf8(text).ok()?)?;
        if text.len() == 27 {
            self.minute.0.copy_from_slice(&text[..17]);
            self.minute.1 =
                instant::micros(at - time::Duration::seconds(i64::from(at.second()))) / 1_000_000 * 1_000_000;
        }
        Some(instant::micros(at))
    }
}

/// Up to the quote; None if the text holds an escape.
pub(super) fn plain(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr2(b'"', b'\\', text)?;
    (text[end] == b'"').then(|| (&text[..end], &text[end + 1..]))
}

/// The same for a text of a few bytes.
fn short(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|b| matches!(b, b'"' | b'\\'))?;
    (text[end] == b'"').then(|| (&text[..end], &text[end + 1..]))
}

/// The same for a text that usually has so many bytes.
fn usual(text: &[u8], bytes: usize) -> Option<(&[u8], &[u8])> {
    match text.split_at_checked(bytes) {
        Some((all, [b'"', rest @ ..])) if all.iter().fold(true, |plain, b| plain & (*b != b'"') & (*b != b'\\')) => {
            Some((all, rest))
        }
        _ => plain(text),
    }
}

/// Which of these the text begins with; of two of which one begins the other, the longer stands first.
fn one_of<'a, T: Copy>(text: &'a [u8], all: &[(&str, T)]) -> Option<(T, &'a [u8])> {
    all.iter().find_map(|(name, value)| Some((*value, text.strip_prefix(name.as_bytes())?)))
}

/// Up to the quote that ends the string, escapes and all.
pub(super) fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let end = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text[end] == b'"' {
            return Some((&text[..end], &text[end + 1..]));
        }
        from = end + 2;
    }
}

/// Whether a request runs long, so that its begin has a line of its own.
pub(super) fn long_running(verb: &[u8], uri: &[u8]) -> bool {
    verb == b"watch"
        || memchr(b'/', uri).is_some_and(|_| {
            ["/exec", "/attach", "/portforward", "/log", "/proxy", "watch="]
                .iter()
                .any(|part| memmem::find(uri, part.as_bytes()).is_some())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(uri: &str, more: &str, tail: &str) -> String {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a","stage":"ResponseComplete","requestURI":"{uri}","verb":"get","user":{{"username":"u"}},{more}"requestReceivedTimestamp":"2026-11-23T03:00:00.000001Z","stageTimestamp":"2026-11-23T03:00:01.000002Z"{tail}}}"#
        )
    }

    #[test]
    fn the_events_own_fields_are_read_whatever_its_bodies_hold() {
        let body = r#""objectRef":{"resource":"pods","name":"x"},"requestObject":{"objectRef":{"resource":"other"},"requestReceivedTimestamp":"1999-01-01T00:00:00.000000Z","stageTimestamp":"1999-01-01T00:00:00.000000Z"},"#;
        let mut glancer = Glancer::default();
        for tail in ["", r#","annotations":{"a":"b","audit.k8s.io/truncated":"true"}"#] {
            let text = line(r#"/api?a=\"b"#, body, tail);
            let glance = glancer.glance(text.as_bytes()).unwrap();
            assert_eq!(glance.resource, b"pods");
            assert_eq!(glance.staged - glance.received, 1_000_001);
            assert_eq!(glance.truncated, !tail.is_empty());
            assert_eq!(glance.staged, instant::micros(instant::parse("2026-11-23T03:00:01.000002Z").unwrap()));
        }
        assert_eq!(glancer.glance(line("/healthz", "", "").as_bytes()).unwrap().resource, b"");
    }

    #[test]
    fn what_is_cut_or_of_another_shape_is_left_to_the_parser() {
        let good = line("/api", "", "");
        let mut glancer = Glancer::default();
        for text in [
            good[..good.len() - 1].to_owned(),
            good[..120].to_owned(),
            format!("{}{good}", &good[..150]),
            good.replace("ResponseComplete", "Later"),
            good.replace(r#""level":"Request","auditID":"a""#, r#""auditID":"a","level":"Request""#),
            good.replace("03:00:01", "03:61:01"),
            String::new(),
        ] {
            assert_eq!(glancer.glance(text.as_bytes()), None, "{text}");
        }
    }
}
