//! One pass over the files: whose requests, and what the files can speak for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use super::coverage::{Coverage, Gap};
use super::files::{LogFile, read_problem};
use super::line::{self, Found, Glance, Stage};
use crate::cluster::Problem;

/// Requests of the identity that are kept (about 80 bytes each); further ones are counted and said.
pub const MAX_REQUESTS: usize = 500_000;
/// Damaged lines that are named one by one; all are counted.
const MAX_DAMAGE: usize = 100;

/// Whose requests are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `system:serviceaccount:payments:checkout`: as user or as impersonated user.
    pub username: String,
    /// The pod whose token it was, where known: requests with it are taken whatever their user.
    pub pod_uid: Option<String>,
}

/// Which time is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub start: OffsetDateTime,
    /// Its end.
    pub until: OffsetDateTime,
    /// Silence of everybody for longer than this counts as a gap.
    pub longest_gap: Duration,
}

/// One request of the identity: where its most telling line lies.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Index into [`Review::files`].
    pub file: usize,
    /// Byte in the file where the line begins.
    pub offset: u64,
    /// Its bytes, without the newline.
    pub len: usize,
    /// When the API server received the request.
    pub received: OffsetDateTime,
    /// Begun, with no line that says it ended: a stream that may still be open.
    pub open: bool,
    stage: Stage,
    staged: OffsetDateTime,
}

/// What was seen of one file.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// The file.
    pub file: LogFile,
    /// Bytes read: a live log may have grown since.
    pub bytes: u64,
    /// Events of anybody.
    pub events: u64,
    /// Its first event.
    pub first: Option<OffsetDateTime>,
    /// Its last event.
    pub last: Option<OffsetDateTime>,
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Index into [`Review::files`].
    pub file: usize,
    /// The line's number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What one pass found.
#[derive(Debug)]
pub struct Review {
    /// The identity's requests in the window, in the order in which they were received.
    pub requests: Vec<Request>,
    /// Requests beyond [`MAX_REQUESTS`].
    pub not_kept: u64,
    /// What the files can speak for.
    pub coverage: Coverage,
    /// Its gaps.
    pub gaps: Vec<Gap>,
    /// Events of anybody, by audit level.
    pub levels: BTreeMap<String, u64>,
    /// Events of anybody.
    pub events: u64,
    /// Events of anybody whose verb is get, list or watch: without any, the policy records no reads.
    pub reads: u64,
    /// Lines that could not be read.
    pub damaged: u64,
    /// The first hundred of them.
    pub damage: Vec<Damage>,
    /// The files, in the order of their names.
    pub files: Vec<FileFacts>,
    handles: Vec<File>,
}

impl Review {
    /// The line of a request, byte for byte.
    ///
    /// Errors: the file was cut or became unreadable since it was read first.
    pub fn line(&mut self, request: &Request) -> Result<Vec<u8>, Problem> {
        let path = &self.files[request.file].file.path;
        let handle = &mut self.handles[request.file];
        let mut line = vec![0; request.len];
        handle
            .seek(SeekFrom::Start(request.offset))
            .and_then(|_| handle.read_exact(&mut line))
            .map_err(|e| read_problem(path, &e))?;
        Ok(line)
    }
}

/// Reads the files once. `progress` is told the bytes so far.
///
/// Errors: a file that can't be opened or read. A damaged line is no error; it is counted.
pub fn review(
    files: Vec<LogFile>,
    identity: &Identity,
    window: Window,
    progress: &dyn Fn(u64),
) -> Result<Review, Problem> {
    let mut pass = Pass {
        identity,
        window,
        kept: HashMap::new(),
        closed_before: HashSet::new(),
        not_kept: 0,
        coverage: Coverage::new(window.start, window.until),
        levels: BTreeMap::new(),
        events: 0,
        reads: 0,
    };
    let (mut facts, mut handles, mut damage, mut damaged) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut buffer = Vec::new();
    let mut total = 0;
    for (index, file) in files.into_iter().enumerate() {
        let io = |e: std::io::Error| read_problem(&file.path, &e);
        let handle = File::open(&file.path).map_err(io)?;
        let mut from = BufReader::with_capacity(1024 * 1024, handle.try_clone().map_err(io)?);
        let (mut offset, mut number, mut told) = (0, 0, 0);
        let mut seen = FileFacts { bytes: 0, events: 0, first: None, last: None, file: file.clone() };
        loop {
            let (found, taken) = line::next(&mut from, &mut buffer).map_err(io)?;
            number += 1;
            let what = match found {
                Found::End => break,
                Found::TooLong => Some("longer than 32 MiB"),
                Found::Line { .. } if buffer.iter().all(u8::is_ascii_whitespace) => None,
                Found::Line { ended } => match line::glance(&buffer) {
                    Ok(glance) => {
                        seen.events += 1;
                        seen.first = Some(seen.first.map_or(glance.staged, |t| t.min(glance.staged)));
                        seen.last = Some(seen.last.map_or(glance.staged, |t| t.max(glance.staged)));
                        pass.take(&glance, index, offset, buffer.len());
                        None
                    }
                    Err(_) if !ended => Some("the file ends in the middle of it"),
                    Err(what) => Some(what),
                },
            };
            if let Some(what) = what {
                damaged += 1;
                if damage.len() < MAX_DAMAGE {
                    damage.push(Damage { file: index, line: number, what });
                }
            }
            offset += taken;
            if offset - told >= 4 * 1024 * 1024 {
                told = offset;
                progress(total + offset);
            }
        }
        total += offset;
        progress(total);
        seen.bytes = offset;
        facts.push(seen);
        handles.push(handle);
    }
    let gaps = pass.coverage.gaps(window.longest_gap);
    Ok(Review {
        not_kept: pass.not_kept,
        levels: std::mem::take(&mut pass.levels),
        events: pass.events,
        reads: pass.reads,
        coverage: pass.coverage.clone(),
        requests: pass.requests(),
        gaps,
        damaged,
        damage,
        files: facts,
        handles,
    })
}

struct Pass<'a> {
    identity: &'a Identity,
    window: Window,
    kept: HashMap<u128, Request>,
    /// Long-running requests that ended before the window: their begin must not count as still open.
    closed_before: HashSet<u128>,
    not_kept: u64,
    coverage: Coverage,
    levels: BTreeMap<String, u64>,
    events: u64,
    reads: u64,
}

impl Pass<'_> {
    fn take(&mut self, glance: &Glance, file: usize, offset: u64, len: usize) {
        self.events += 1;
        self.coverage.saw(glance.staged);
        self.reads += u64::from(matches!(glance.verb.as_ref(), "get" | "list" | "watch"));
        if let Some(count) = self.levels.get_mut(glance.level.as_ref()) {
            *count += 1;
        } else if self.levels.len() < 16 {
            // There are four levels; more keys than that are not kept.
            self.levels.insert(glance.level.chars().take(40).collect(), 1);
        }
        if !self.theirs(glance) || glance.received > self.window.until {
            return;
        }
        let key = key(glance);
        if glance.staged < self.window.start {
            match glance.stage {
                // Only what runs long has a begin that could be taken for open.
                Stage::Complete | Stage::Panic if long_running(glance) => {
                    if self.closed_before.len() < MAX_REQUESTS {
                        self.closed_before.insert(key);
                    }
                    return;
                }
                Stage::Started => {}
                _ => return,
            }
        }
        let request = Request {
            file,
            offset,
            len,
            received: glance.received,
            open: glance.stage == Stage::Started,
            stage: glance.stage,
            staged: glance.staged,
        };
        let room = self.kept.len() < MAX_REQUESTS;
        match self.kept.get_mut(&key) {
            Some(kept) if kept.stage < request.stage => *kept = request,
            Some(_) => {}
            None if room => {
                self.kept.insert(key, request);
            }
            None => self.not_kept += 1,
        }
    }

    fn theirs(&self, glance: &Glance) -> bool {
        glance.user == self.identity.username
            || glance.impersonated.as_ref().is_some_and(|name| *name == self.identity.username)
            || self.identity.pod_uid.as_ref().is_some_and(|uid| glance.pod_uids.iter().any(|u| u == uid))
    }

    fn requests(self) -> Vec<Request> {
        let mut requests: Vec<Request> = self
            .kept
            .into_iter()
            .filter(|(key, r)| r.staged >= self.window.start || !self.closed_before.contains(key))
            .map(|(_, r)| r)
            .collect();
        requests.sort_by_key(|r| (r.received, r.file, r.offset));
        requests
    }
}

/// auditID and requestReceivedTimestamp, as the API server keys them, and verb and URI beside: two lines of different
/// requests never fall together, even if a client repeats its auditID within a microsecond.
fn key(glance: &Glance) -> u128 {
    let mut hash = Sha256::new();
    for part in [&glance.audit_id, &glance.received_text, &glance.verb, &glance.uri] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_le_bytes(bytes)
}

/// Requests whose begin has a line of its own.
fn long_running(glance: &Glance) -> bool {
    glance.verb == "watch"
        || ["/exec", "/attach", "/portforward", "/log", "/proxy", "watch="].iter().any(|p| glance.uri.contains(p))
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
