//! One pass over the files, in parallel: whose requests, and what the files can speak for.
//!
//! ```text
//! plain files:  chunks of 256 KiB, any worker takes any ----------------┐
//! the rest:     a reader each, in order --> blocks or records, queued --┴--> workers
//! worker, for each line:  glance (coverage) --> prefilter --> parse --> query, watch
//!                                           \-> brief --> watch, where that is enough
//! at the end:   all workers' counts and requests merged
//! ```
//!
//! The outcome is the same however the lines lie in files and whichever worker sees which: of the lines of one request the
//! most telling is kept, among equals the one that comes first in the files' order.

mod chunk;
mod feed;
mod kept;
mod original;
mod reader;
mod worker;

use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use time::{Duration, OffsetDateTime};

use super::brief::Brief;
use super::coverage::Coverage;
use super::event::Event;
use super::glance::Micros;
use super::instant;
use super::query::{Needles, Query};
use super::source::{self, Ends, LogFile, Packing, read_problem, series};
use super::tally::{Damage, FileTally, MAX_DAMAGE, Resource, Tally};
use crate::cluster::Problem;

use chunk::CHUNK;
use feed::{Cursor, Feed};
pub use kept::{MAX_REQUESTS, Request, key};
pub use original::Originals;
use worker::Worker;

/// Bytes of the longest line that is taken. An Event with bodies is bounded by etcd's object size (1.5 MiB by default)
/// but for lists, whose response may be larger.
pub const MAX_LINE: usize = 32 * 1024 * 1024;

/// Which time is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its begin; None: as far back as the log goes.
    pub start: Option<OffsetDateTime>,
    /// Its end; None: as far as the log goes.
    pub until: Option<OffsetDateTime>,
    /// Silence of everybody for longer than this counts as a gap.
    pub longest_gap: Duration,
}

/// Someone who is shown every event of the window, whatever the query; each worker has a part of its own.
pub trait Watch: Sync {
    /// What one worker gathers.
    type Seen: Send;
    /// Before the first event.
    fn begin(&self) -> Self::Seen;
    /// An event; those of one request may come several times, and in any order.
    fn look(&self, seen: &mut Self::Seen, event: &Event<'_>);
    /// A line that does not match the query, read but not parsed: whether that is all it needs to know of it. If not, it
    /// is shown the event.
    fn glimpse(&self, _seen: &mut Self::Seen, _brief: &Brief<'_>) -> bool {
        false
    }
    /// After the last event, on the worker's own thread.
    fn end(&self, _seen: &mut Self::Seen) {}
    /// Whether it wants to see any; without, most lines need not be parsed.
    fn wants(&self) -> bool {
        true
    }
}

/// Nobody.
impl Watch for () {
    type Seen = ();
    fn begin(&self) {}
    fn look(&self, (): &mut (), _: &Event<'_>) {}
    fn wants(&self) -> bool {
        false
    }
}

/// What to do.
pub struct Task<'a, W: Watch> {
    /// The files, as [`source::find`] gives them.
    pub files: Vec<LogFile>,
    /// Whose requests.
    pub query: &'a Query,
    /// Of which time.
    pub window: Window,
    /// Only so many requests, the newest; reading ends when they are sure.
    pub limit: Option<usize>,
    /// Who sees every event.
    pub watch: &'a W,
    /// Threads; None: one for each processor.
    pub threads: Option<usize>,
    /// Told the bytes of content so far.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// What was seen of one file.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// The file.
    pub file: LogFile,
    /// Counts.
    pub tally: FileTally,
    /// Index into [`Scan::series`].
    pub series: usize,
    /// Why it was not read to its end, if it was not.
    pub broke: Option<String>,
    /// Its events all lie outside the window, by a look at its ends: first and last.
    pub outside: Option<(OffsetDateTime, OffsetDateTime)>,
    /// Bytes that were left unread, for the newest requests were found before.
    pub unread: u64,
}

/// What one pass found.
#[derive(Debug)]
pub struct Scan<S> {
    /// Matching requests in the window, in the order in which they were received.
    pub requests: Vec<Request>,
    /// Requests beyond [`MAX_REQUESTS`].
    pub not_kept: u64,
    /// The window as it was looked at: begun later than asked if a limit ended the reading.
    pub window: Window,
    /// What all files together can speak for.
    pub coverage: Coverage,
    /// The same for each API server's files: the folder and name, and what they cover.
    pub series: Vec<(String, Coverage)>,
    /// Events by resource; the empty name is a plain path. The last, without a name, is all beyond five hundred.
    pub resources: Vec<(Option<String>, Resource)>,
    /// Events whose bodies the API server cut off for their size.
    pub truncated: u64,
    /// Whether an event was seen that names its credential; looked for only if the query goes by it.
    pub credentials: bool,
    /// Requests that hold an address that was asked for only where the client can write it.
    pub claimed_addresses: u64,
    /// The first hundred lines that could not be read.
    pub damage: Vec<Damage>,
    /// The files.
    pub files: Vec<FileFacts>,
    /// Where the original lines are read.
    pub originals: Originals,
    /// What each worker's watch gathered.
    pub seen: Vec<S>,
}

impl<S> Scan<S> {
    /// The files' names, by the index that an event's place has.
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|f| f.file.path.display().to_string()).collect()
    }

    /// Events of anybody.
    pub fn events(&self) -> u64 {
        self.files.iter().map(|f| f.tally.events).sum()
    }

    /// Events of anybody whose verb is get, list or watch: without any, the policy records no reads.
    pub fn reads(&self) -> u64 {
        self.resources.iter().map(|(_, r)| r.reads).sum()
    }

    /// Lines that could not be read.
    pub fn damaged(&self) -> u64 {
        self.files.iter().map(|f| f.tally.damaged).sum()
    }
}

/// What workers share.
struct Shared<'a, W: Watch> {
    files: &'a [Opened],
    query: &'a Query,
    needles: Needles,
    window: Window,
    start: Option<Micros>,
    until: Option<Micros>,
    watch: &'a W,
    every: bool,
    by_credential: bool,
    newest: bool,
    feed: Feed,
    kept: AtomicUsize,
    spool: original::Spool,
    bytes: AtomicU64,
    progress: &'a (dyn Fn(u64) + Sync),
}

/// A file with what a first look at it told.
struct Opened {
    file: LogFile,
    handle: Option<File>,
    size: u64,
    series: usize,
    ends: Ends,
    outside: bool,
}

impl Opened {
    /// Whether it is read in chunks, by any worker.
    fn chunked(&self) -> bool {
        self.handle.is_some() && self.file.packing == Packing::Plain && !self.ends.document
    }
}

/// Reads the files once.
///
/// Errors: a file that can't be opened or looked at. What fails later (a damaged line, a gzip cut short) is no error; it is
/// counted and told.
pub fn scan<W: Watch>(task: Task<'_, W>) -> Result<Scan<W::Seen>, Problem> {
    let window = task.window;
    let (start, until) = (window.start.map(instant::micros), window.until.map(instant::micros));
    let (files, names) = open(task.files, start, until)?;
    let threads = task.threads.or(std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(2).clamp(1, 32);
    let streams: Vec<usize> = (0..files.len()).filter(|i| !files[*i].chunked() && !files[*i].outside).collect();
    let readers = streams.len().min(threads);
    let cursors = files.iter().enumerate().filter(|(_, f)| f.chunked() && !f.outside && f.size > 0);
    let cursors = cursors.map(|(i, f)| Cursor::new(i, f.size.div_ceil(CHUNK), f.ends.span.map(|(_, last)| last)));
    let shared = Shared {
        needles: task.query.needles(),
        query: task.query,
        window,
        start,
        until,
        watch: task.watch,
        every: task.watch.wants(),
        by_credential: task.query.by_credential(),
        newest: task.limit.is_some(),
        feed: Feed::new(cursors.collect(), readers, threads * 2, task.limit),
        kept: AtomicUsize::new(0),
        spool: original::Spool::default(),
        bytes: AtomicU64::new(0),
        progress: task.progress,
        files: &files,
    };
    let empty = Coverage::new(window.start, window.until);
    let next_stream = AtomicUsize::new(0);
    let (mut workers, mut broke) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..readers).map(|_| scope.spawn(|| reader::run(&shared, &streams, &next_stream))).collect();
        let others: Vec<_> = (1..threads)
            .map(|_| scope.spawn(|| Worker::new(&shared, Tally::new(files.len(), names.len(), &empty)).run()))
            .collect();
        workers.push(Worker::new(&shared, Tally::new(files.len(), names.len(), &empty)).run());
        for other in others {
            workers.push(other.join().map_err(|_| Problem::internal("reading the audit log ended early"))?);
        }
        for reader in readers {
            broke.extend(reader.join().map_err(|_| Problem::internal("reading the audit log ended early"))?);
        }
        Ok::<_, Problem>(())
    })?;
    let Shared { feed, spool, .. } = shared;
    finish(files, names, window, task.limit, feed, spool, workers, broke)
}

/// Opens the files, looks at the ends of the plain ones, and tells which lie outside the window.
fn open(
    files: Vec<LogFile>,
    start: Option<Micros>,
    until: Option<Micros>,
) -> Result<(Vec<Opened>, Vec<String>), Problem> {
    let (mut opened, mut names) = (Vec::new(), Vec::<String>::new());
    for file in files {
        let name = series(&file.path);
        let series = names.iter().position(|n| *n == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        if file.is_stdin() || file.is_remote() {
            opened.push(Opened { file, handle: None, size: 0, series, ends: Ends::default(), outside: false });
            continue;
        }
        let io = |e: std::io::Error| read_problem(&file.path, &e);
        let handle = File::open(&file.path).map_err(io)?;
        let size = handle.metadata().map_err(io)?.len();
        let ends = match file.packing {
            Packing::Plain => source::ends(&handle, size).map_err(io)?,
            _ => Ends::default(),
        };
        let outside = ends.span.is_some_and(|(first, last)| {
            start.is_some_and(|start| last < start - source::DISORDER)
                || until.is_some_and(|until| first > until + source::DISORDER)
        });
        opened.push(Opened { file, handle: Some(handle), size, series, ends, outside });
    }
    Ok((opened, names))
}

fn finish<S>(
    files: Vec<Opened>,
    names: Vec<String>,
    mut window: Window,
    limit: Option<usize>,
    feed: Feed,
    spool: original::Spool,
    workers: Vec<worker::Ended<S>>,
    broke: Vec<(usize, String)>,
) -> Result<Scan<S>, Problem> {
    let empty = Coverage::new(window.start, window.until);
    let mut tally = Tally::new(files.len(), names.len(), &empty);
    let mut kept = kept::Kept::default();
    let (mut seen, mut lines, mut claimed) = (Vec::new(), vec![Vec::new(); files.len()], 0);
    for worker in workers {
        tally.merge(worker.tally);
        kept.merge(worker.kept);
        seen.push(worker.seen);
        claimed += worker.claimed;
        for (file, chunk, count) in worker.lines {
            lines[file].push((chunk, count));
        }
    }
    let unread = feed.unread();
    let stopped = unread.iter().map(|(_, _, frontier)| *frontier).max();
    let mut requests = kept.requests(window.start.map(instant::micros));
    if let Some(limit) = limit.filter(|limit| requests.len() > *limit) {
        requests.drain(..requests.len() - limit);
    }
    if let Some(stopped) = stopped {
        let from = instant::of_micros(stopped);
        window.start = Some(window.start.map_or(from, |start| start.max(from)));
    }
    let mut coverage = Coverage::new(window.start, window.until);
    tally.series.iter().for_each(|series| coverage.merge(series.clone()));
    let mut resources: Vec<_> = tally
        .resources
        .into_iter()
        .map(|(name, counts)| (Some(String::from_utf8_lossy(&name).into_owned()), counts))
        .collect();
    resources.sort_by(|(a, _), (b, _)| a.cmp(b));
    if tally.other_resources != Resource::default() {
        resources.push((None, tally.other_resources));
    }
    let mut damage = tally.damage;
    damage.sort();
    damage.truncate(MAX_DAMAGE);
    for damage in damage.iter_mut().filter(|d| files[d.file].chunked()) {
        let chunk = damage.offset / CHUNK;
        let before = lines[damage.file].iter().filter(|(c, _)| *c < chunk).map(|(_, count)| count).sum::<u64>();
        let whole = unread.iter().all(|(file, ..)| *file != damage.file);
        damage.line = damage.line.filter(|_| whole).map(|line| line + before);
    }
    let (mut facts, mut handles) = (Vec::new(), Vec::new());
    for (index, opened) in files.into_iter().enumerate() {
        let span = opened.ends.span.filter(|_| opened.outside);
        facts.push(FileFacts {
            tally: tally.files[index],
            series: opened.series,
            broke: broke.iter().find(|(file, _)| *file == index).map(|(_, why)| why.clone()),
            outside: span.map(|(first, last)| (instant::of_micros(first), instant::of_micros(last))),
            unread: unread.iter().filter(|(file, ..)| *file == index).map(|(_, chunks, _)| chunks * CHUNK).sum(),
            file: opened.file,
        });
        handles.push(opened.handle);
    }
    Ok(Scan {
        not_kept: kept.not_kept,
        requests,
        window,
        coverage,
        series: names.into_iter().zip(tally.series).collect(),
        resources,
        truncated: tally.truncated,
        credentials: tally.credentials,
        claimed_addresses: claimed,
        damage,
        files: facts,
        originals: Originals::of(handles, spool)?,
        seen,
    })
}
