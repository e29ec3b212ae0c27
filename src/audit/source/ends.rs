//! A look at both ends of a plain file, and at some places between: when it begins, when it ends, what shape it has.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::audit::event::Origin;
use crate::audit::format::{self, Record};
use crate::audit::glance::{Glancer, Micros};
use crate::audit::instant;

/// Bytes read at each place.
const PIECE: u64 = 64 * 1024;
/// Places looked at. A file whose lines lie in any order has them in order by chance once in 16 factorial.
const PLACES: u64 = 16;
/// How far out of order a log's lines may lie: the API server writes them in batches.
pub(in crate::audit) const DISORDER: Micros = 600 * 1_000_000;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// Times of the first and the last event seen, if all places had one and they lie in order.
    pub span: Option<(Micros, Micros)>,
    /// Not one record a line, but JSON over several lines, or one line that holds it all.
    pub document: bool,
}

/// Looks at a plain file.
pub fn look(file: &File, size: u64) -> io::Result<Ends> {
    let head = read(file, 0, 1024 * 1024)?;
    let document = document(&head, size <= head.len() as u64);
    if document {
        return Ok(Ends { span: None, document });
    }
    let mut glancer = Glancer::default();
    let mut times = Vec::new();
    for place in 0..PLACES {
        let at = size.saturating_sub(PIECE) / (PLACES - 1) * place;
        let piece = read(file, at, PIECE)?;
        // The first line is cut, but at the begin; the last one perhaps too.
        let mut lines = piece.split(|b| *b == b'\n').skip(usize::from(at > 0));
        let time = if place + 1 == PLACES {
            lines.filter_map(|line| time(&mut glancer, line)).max()
        } else {
            lines.find_map(|line| time(&mut glancer, line))
        };
        match time {
            Some(time) => times.push(time),
            None => return Ok(Ends { span: None, document }),
        }
    }
    let ordered = times.windows(2).all(|pair| pair[0] <= pair[1] + DISORDER);
    let span = times.iter().min().zip(times.iter().max()).filter(|_| ordered);
    Ok(Ends { span: span.map(|(first, last)| (*first, *last)), document })
}

fn read(file: &File, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], at + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

fn time(glancer: &mut Glancer, line: &[u8]) -> Option<Micros> {
    if let Some(glance) = glancer.glance(line) {
        return Some(glance.staged);
    }
    let text = std::str::from_utf8(line).ok()?;
    let mut time = None;
    format::records(text, Origin { file: 0, offset: 0, len: 0 }, &mut |record, _| {
        if let Record::Event(event) = record {
            time.get_or_insert(instant::micros(event.staged));
        }
    });
    time
}

/// Whether the content is not one record a line: its first line is no whole JSON and neither is the second (a line that was
/// cut by rotation is followed by whole ones), or it is one line far longer than a record. `whole`: there is no more.
pub(in crate::audit) fn document(head: &[u8], whole: bool) -> bool {
    let begins = |line: &[u8]| line.first().is_some_and(|b| matches!(b, b'{' | b'['));
    let complete = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    let mut lines = head.split(|b| *b == b'\n').map(|l| l.trim_ascii()).filter(|l| !l.is_empty());
    let Some(first) = lines.next() else { return false };
    if !begins(first) || complete(first) {
        return false;
    }
    match lines.next() {
        // One line, and more of it than was read, or several objects on it.
        None => !whole || first.windows(2).any(|pair| pair == b"}{"),
        Some(second) => !complete(second) && !second.starts_with(format::HEAD.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_documents_are_told_apart() {
        for lines in
            ["{}\n{}", "", "{\"a\":1}", "{\"a\":\n{}\n", "2026-11-23T03:12:45.123Z {}\n", "a\"}\n{}", "{\"cut\":"]
        {
            assert!(!document(lines.as_bytes(), true), "{lines}");
        }
        for doc in ["[\n {\n", "{\n \"kind\": \"EventList\",\n", "[{\"a\":1},\n{\"b\":2}]", "{\"a\":1}{\"b\":2}"] {
            assert!(document(doc.as_bytes(), true), "{doc}");
        }
        assert!(document(b"{\"kind\":\"EventList\",\"items\":[", false));
    }
}
