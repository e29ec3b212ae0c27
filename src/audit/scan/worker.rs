//! What is done with each line.

use std::ops::Range;
use std::sync::atomic::Ordering;

use memchr::{memchr, memmem};

use super::chunk;
use super::feed::Unit;
use super::kept::Kept;
use super::{MAX_LINE, Shared, Watch};
use crate::audit::brief::Brief;
use crate::audit::event::{Event, Origin, Stage};
use crate::audit::format::{self, Record, kubernetes};
use crate::audit::glance::{Glance, Glancer, Micros, long_running};
use crate::audit::instant;
use crate::audit::tally::Tally;

/// The key of `extra` under which an event names its credential.
const CREDENTIAL: &[u8] = br#""authentication.kubernetes.io/credential-id""#;

/// One thread's part.
pub(super) struct Worker<'a, W: Watch> {
    shared: &'a Shared<'a, W>,
    glancer: Glancer,
    tally: Tally,
    kept: Kept,
    seen: W::Seen,
    claimed: u64,
    lines: Vec<(usize, u64, u64)>,
    /// Of the chunk at hand.
    earliest: Option<Micros>,
    found: Vec<(Micros, u128)>,
}

/// What a worker leaves behind.
pub(super) struct Ended<S> {
    pub tally: Tally,
    pub kept: Kept,
    pub seen: S,
    pub claimed: u64,
    /// File, chunk, number of lines.
    pub lines: Vec<(usize, u64, u64)>,
}

/// Tells the readers if the worker goes down.
struct Alarm<'a>(&'a super::Feed);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.worker_broke();
        }
    }
}

impl<'a, W: Watch> Worker<'a, W> {
    pub fn new(shared: &'a Shared<'a, W>, tally: Tally) -> Worker<'a, W> {
        Worker {
            shared,
            glancer: Glancer::default(),
            tally,
            kept: Kept::default(),
            seen: shared.watch.begin(),
            claimed: 0,
            lines: Vec::new(),
            earliest: None,
            found: Vec::new(),
        }
    }

    /// Works until nothing is left.
    pub fn run(mut self) -> Ended<W::Seen> {
        let _alarm = Alarm(&self.shared.feed);
        let mut buffer = Vec::new();
        while let Some(unit) = self.shared.feed.take() {
            match unit {
                Unit::Chunk { file, chunk } => self.chunk(file, chunk, &mut buffer),
                Unit::Lines { file, offset, line, bytes, last } => {
                    self.read(file, bytes.len());
                    self.block(file, offset, line, &bytes, !last);
                }
                Unit::Records { file, records } => {
                    for (offset, text) in records {
                        self.read(file, text.len());
                        self.record(Origin { file: index(file), offset, len: 0 }, &text, true, None);
                    }
                }
                Unit::Damage { file, offset, line, what } => self.tally.damaged(file, offset, line, what),
            }
        }
        self.shared.watch.end(&mut self.seen);
        Ended { tally: self.tally, kept: self.kept, seen: self.seen, claimed: self.claimed, lines: self.lines }
    }

    fn read(&mut self, file: usize, bytes: usize) {
        self.tally.files[file].bytes += bytes as u64;
        let before = self.shared.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        (self.shared.progress)(before + bytes as u64);
    }

    fn chunk(&mut self, file: usize, number: u64, buffer: &mut Vec<u8>) {
        let opened = &self.shared.files[file];
        let Some(handle) = &opened.handle else { return };
        (self.earliest, self.found) = (None, Vec::new());
        match chunk::read(handle, number, opened.size, buffer) {
            Ok(lines) => {
                self.read(file, lines.range.len());
                let count = self.block(file, lines.offset, 1, &buffer[lines.range], false);
                self.lines.push((file, number, count + u64::from(lines.too_long.is_some())));
                if let Some(offset) = lines.too_long {
                    self.tally.damaged(file, offset, Some(count + 1), "longer than 32 MiB");
                }
                if buffer.capacity() > 4 * 1024 * 1024 {
                    *buffer = Vec::new();
                }
            }
            Err(e) => {
                let offset = number * chunk::CHUNK;
                self.tally.damaged(file, offset, None, &format!("the file can't be read from here on: {e}"));
            }
        }
        self.shared.feed.chunk_read(file, self.earliest, std::mem::take(&mut self.found));
    }

    /// The lines of a block; how many there are. `more`: the block is not the file's last, so that its last line is whole.
    fn block(&mut self, file: usize, offset: u64, first: u64, bytes: &[u8], more: bool) -> u64 {
        let (mut at, mut number) = (0, first);
        let shared = self.shared;
        let mut ahead = shared.needles.ahead(bytes);
        while at < bytes.len() {
            let (end, ended) = match memchr(b'\n', &bytes[at..]) {
                Some(length) => (at + length, true),
                None => (bytes.len(), more),
            };
            let line = &bytes[at..end];
            if line.len() > MAX_LINE {
                self.tally.damaged(file, offset + at as u64, Some(number), "longer than 32 MiB");
            } else {
                let may = |line: &[u8], caller| shared.needles.may_match_own(line, caller, &mut ahead, at..end);
                self.line(Origin { file: index(file), offset: offset + at as u64, len: 0 }, line, ended, number, may);
            }
            at = end + 1;
            number += 1;
        }
        number - first
    }

    /// `may_match`: whether the prefilter lets a line of the API server's own through.
    fn line(
        &mut self,
        at: Origin,
        line: &[u8],
        ended: bool,
        number: u64,
        may_match: impl FnOnce(&[u8], Range<usize>) -> bool,
    ) {
        let Some(glance) = self.glancer.glance(line) else {
            return self.record(at, line, ended, Some(number));
        };
        let file = at.file as usize;
        self.tally.glanced(file, self.shared.files[file].series, &glance);
        self.earliest = Some(self.earliest.map_or(glance.staged, |e| e.min(glance.staged)));
        if self.shared.by_credential && !self.tally.credentials {
            self.tally.credentials = memmem::find(line, CREDENTIAL).is_some();
        }
        let asked =
            !self.shared.query.nothing && self.may_be_in_window(&glance) && may_match(line, glance.places.callers());
        if !asked && !self.shared.every {
            return;
        }
        let origin = Origin { len: u32::try_from(line.len()).unwrap_or(u32::MAX), ..at };
        let Ok(text) = std::str::from_utf8(line) else {
            return self.tally.damaged(file, at.offset, Some(number), "not UTF-8");
        };
        if !asked && let Some(brief) = Brief::read(text, &glance, origin) {
            let window = self.shared.window;
            let before =
                |at: Micros, end: Option<time::OffsetDateTime>| end.is_none_or(|end| instant::of_micros(at) <= end);
            let within = before(glance.received, window.until)
                && window.start.is_none_or(|start| instant::of_micros(glance.staged) >= start);
            if !within || self.shared.watch.glimpse(&mut self.seen, &brief) {
                return;
            }
        }
        match kubernetes::event(text, origin) {
            Ok(event) => self.event(&event, text, asked),
            Err(what) => self.tally.damaged(file, at.offset, Some(number), what),
        }
    }

    /// What is not of the usual shape: another form, blank, or damaged.
    fn record(&mut self, at: Origin, text: &[u8], ended: bool, number: Option<u64>) {
        if text.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let file = at.file as usize;
        let cut = "the file ends in the middle of it";
        let Ok(text) = std::str::from_utf8(text) else {
            return self.tally.damaged(file, at.offset, number, if ended { "not UTF-8" } else { cut });
        };
        let asked = self.shared.needles.may_match(text.as_bytes());
        format::records(text, at, &mut |record, origin| match record {
            Record::Event(event) => {
                self.tally.event(file, self.shared.files[file].series, &event);
                let staged = instant::micros(event.staged);
                self.earliest = Some(self.earliest.map_or(staged, |e| e.min(staged)));
                let from = usize::try_from(origin.offset - at.offset).unwrap_or(0);
                let own = text.get(from..from + origin.len as usize).unwrap_or(text);
                self.event(&event, own, asked);
            }
            Record::Other => self.tally.files[file].others += 1,
            Record::Damaged(what) => {
                let whole = ended || !matches!(what, "cut short" | "not JSON");
                self.tally.damaged(file, origin.offset, number, if whole { what } else { cut });
            }
        });
    }

    /// Whether a line may be of use: it was received before the window's end, and written after its begin or by a request
    /// that may run into it.
    fn may_be_in_window(&self, glance: &Glance<'_>) -> bool {
        if self.shared.until.is_some_and(|until| glance.received > until) {
            return false;
        }
        self.shared.start.is_none_or(|start| glance.staged >= start)
            || match glance.stage {
                Stage::ResponseStarted => true,
                Stage::RequestReceived => false,
                Stage::ResponseComplete | Stage::Panic => long_running(glance.verb, glance.uri),
            }
    }

    fn event(&mut self, event: &Event<'_>, text: &str, asked: bool) {
        self.tally.credentials |= event.credential_id().is_some();
        let window = self.shared.window;
        if window.until.is_some_and(|until| event.received > until) {
            return;
        }
        if self.shared.every && window.start.is_none_or(|start| event.staged >= start) {
            self.shared.watch.look(&mut self.seen, event);
        }
        if !asked {
            return;
        }
        if !self.shared.query.matches(event) {
            self.claimed += u64::from(self.shared.query.claimed_address(event));
            return;
        }
        let chunked = self.shared.files[event.origin.file as usize].chunked();
        let spool = &self.shared.spool;
        let copy = || if chunked { u64::MAX } else { spool.copy(text.as_bytes()) };
        let key = self.kept.take(event, self.shared.start, &self.shared.kept, copy);
        if let Some(key) = key.filter(|_| self.shared.newest) {
            self.found.push((instant::micros(event.received), key));
        }
    }
}

fn index(file: usize) -> u32 {
    u32::try_from(file).unwrap_or(u32::MAX)
}
