//! What is still to be read, handed out to whoever asks next.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::audit::glance::Micros;

/// How far out of order the lines of one file may lie that lie in order on the whole: the API server's batches go out every
/// 30 seconds at the latest.
///
/// <https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/> (`--audit-log-batch-max-wait`)
const SLACK: Micros = 60 * 1_000_000;

/// A piece of work.
pub(super) enum Unit {
    /// A chunk of a plain file.
    Chunk { file: usize, chunk: u64 },
    /// Whole lines of a stream. `line`: number of the first one.
    Lines { file: usize, offset: u64, line: u64, bytes: Vec<u8>, last: bool },
    /// Records cut out of a document, each with its place.
    Records { file: usize, records: Vec<(u64, Vec<u8>)> },
    /// What the reader saw for itself.
    Damage { file: usize, offset: u64, line: Option<u64>, what: &'static str },
}

/// How far a plain file has been read.
pub(super) struct Cursor {
    file: usize,
    chunks: u64,
    taken: u64,
    /// No event of the chunks that were not taken is later.
    frontier: Micros,
}

impl Cursor {
    /// `last`: its last event, if its lines are known to lie in order.
    pub fn new(file: usize, chunks: u64, last: Option<Micros>) -> Cursor {
        Cursor { file, chunks, taken: 0, frontier: last.map_or(Micros::MAX, |last| last + SLACK) }
    }

    fn left(&self) -> u64 {
        self.chunks - self.taken
    }
}

struct State {
    cursors: Vec<Cursor>,
    queue: VecDeque<Unit>,
    readers: usize,
    workers_gone: bool,
    /// The newest matching requests so far.
    best: BTreeSet<(Micros, u128)>,
}

/// The work, and a queue from the readers to the workers that holds only so much.
pub(super) struct Feed {
    state: Mutex<State>,
    filled: Condvar,
    emptied: Condvar,
    room: usize,
    limit: Option<usize>,
}

impl Feed {
    pub fn new(cursors: Vec<Cursor>, readers: usize, room: usize, limit: Option<usize>) -> Feed {
        let state = State { cursors, queue: VecDeque::new(), readers, workers_gone: false, best: BTreeSet::new() };
        Feed { state: Mutex::new(state), filled: Condvar::new(), emptied: Condvar::new(), room, limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work; None when all is done.
    pub fn take(&self) -> Option<Unit> {
        let mut state = self.lock();
        loop {
            if let Some(unit) = state.queue.pop_front() {
                self.emptied.notify_one();
                return Some(unit);
            }
            if let Some(cursor) = state.next(self.limit) {
                cursor.taken += 1;
                let chunk = match self.limit {
                    Some(_) => cursor.chunks - cursor.taken,
                    None => cursor.taken - 1,
                };
                return Some(Unit::Chunk { file: cursor.file, chunk });
            }
            if state.readers == 0 {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts in what a reader has made; waits while there is no room. False: nobody will take it.
    pub fn put(&self, unit: Unit) -> bool {
        let mut state = self.lock();
        while state.queue.len() >= self.room && !state.workers_gone {
            state = self.emptied.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.queue.push_back(unit);
        self.filled.notify_one();
        !state.workers_gone
    }

    /// A reader has nothing more.
    pub fn reader_ended(&self) {
        self.lock().readers -= 1;
        self.filled.notify_all();
    }

    /// A worker broke off: readers must not wait for it.
    pub fn worker_broke(&self) {
        self.lock().workers_gone = true;
        self.emptied.notify_all();
    }

    /// A chunk was read with a limit in force: its earliest event, and the matching requests.
    pub fn chunk_read(&self, file: usize, earliest: Option<Micros>, found: Vec<(Micros, u128)>) {
        let Some(limit) = self.limit else { return };
        let mut state = self.lock();
        state.best.extend(found);
        while state.best.len() > limit {
            state.best.pop_first();
        }
        if let (Some(cursor), Some(earliest)) = (state.cursors.iter_mut().find(|c| c.file == file), earliest)
            && cursor.frontier != Micros::MAX
        {
            cursor.frontier = cursor.frontier.min(earliest + SLACK);
        }
    }

    /// What was left unread: file, chunks, and a time after which it holds no event.
    pub fn unread(&self) -> Vec<(usize, u64, Micros)> {
        let state = self.lock();
        state.cursors.iter().filter(|c| c.left() > 0).map(|c| (c.file, c.left(), c.frontier)).collect()
    }
}

impl State {
    /// With a limit, the file whose unread part may be the newest; nothing once enough is sure.
    fn next(&mut self, limit: Option<usize>) -> Option<&mut Cursor> {
        let mut open = self.cursors.iter_mut().filter(|c| c.left() > 0);
        let Some(limit) = limit else { return open.next() };
        let newest = open.max_by_key(|c| c.frontier)?;
        let oldest_found = self.best.first().map(|(received, _)| *received);
        let sure = self.best.len() >= limit && oldest_found.is_some_and(|found| newest.frontier < found);
        (!sure).then_some(newest)
    }
}
