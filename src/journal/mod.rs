//! The journal: append-only JSON lines, hash-chained, on disk before anything else happens.
//!
//! Each line is a [`Record`]; `prev` is the SHA-256 of the line before (its bytes without the newline), 64 zeros for the
//! first. A [`Journal`] holds the incident's lock for as long as it lives: writing without it does not compile.

mod read;

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::cluster::{Fault, Problem};
use crate::event::{Event, FORMAT, Record};

pub use read::{ChainError, Reader, holder, read};

/// The journal's file name in an incident's folder.
pub const FILE: &str = "journal.jsonl";
/// The lock's file name.
const LOCK: &str = "lock";
/// The first record's `prev`.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// An incident's journal, locked for writing.
pub struct Journal {
    file: File,
    path: PathBuf,
    /// Held until this value is dropped; the kernel gives it back when the process dies.
    _lock: File,
    incident: String,
    clock: Clock,
    seq: u64,
    prev: String,
    /// Length of the good part: a failed write is cut back to here.
    len: u64,
}

impl Journal {
    /// A new journal in an incident's folder, which exists and has none.
    pub fn create(dir: &Path, incident: &str, clock: Clock) -> Result<Journal, Problem> {
        let lock = lock(dir)?;
        let path = dir.join(FILE);
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| Problem::io("can't create the journal", &path, &e))?;
        if let Ok(folder) = File::open(dir) {
            folder.sync_all().map_err(|e| Problem::io("can't sync", dir, &e))?;
        }
        Ok(Journal { file, path, _lock: lock, incident: incident.into(), clock, seq: 0, prev: GENESIS.into(), len: 0 })
    }

    /// Opens one for going on. A last line that a crash tore is cut off and kept beside it; the text says so.
    ///
    /// # Errors
    /// [`Fault::Locked`] when another process holds it, [`Fault::Verification`] when the chain is broken anywhere else.
    pub fn open(dir: &Path, clock: Clock) -> Result<(Journal, Option<String>), Problem> {
        let lock = lock(dir)?;
        let path = dir.join(FILE);
        let mut reader = Reader::open(dir)?;
        let mut incident = String::new();
        let torn = loop {
            match reader.next_record() {
                Ok(Some(record)) => incident = record.incident,
                Ok(None) => break None,
                Err(ChainError::Torn(bytes)) => break Some(bytes),
                Err(ChainError::Broken(problem)) => return Err(problem),
            }
        };
        let (seq, prev, len) = reader.end();
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(|e| Problem::io("can't open the journal", &path, &e))?;
        let said = torn.map(|bytes| keep_torn(dir, &mut file, len, seq, &bytes)).transpose()?;
        Ok((Journal { file, path, _lock: lock, incident, clock, seq, prev, len }, said))
    }

    /// Appends one record and syncs it; only then returns it. When the write fails the file is cut back, so that the
    /// chain never holds half a line.
    pub fn append(&mut self, event: Event) -> Result<Record, Problem> {
        let record = self.write(event)?;
        self.sync()?;
        failpoint("after", self.seq - 1);
        Ok(record)
    }

    /// Appends several records, and syncs them once; only then returns them.
    pub fn append_all(&mut self, events: Vec<Event>) -> Result<Vec<Record>, Problem> {
        let first = self.seq;
        let records = events.into_iter().map(|event| self.write(event)).collect::<Result<Vec<_>, _>>()?;
        self.sync()?;
        (first..self.seq).for_each(|seq| failpoint("after", seq));
        Ok(records)
    }

    /// Appends one record, which the next sync brings to the disk. For what may be lost in a crash, because resume finds it
    /// out: the outcome of one of many operations. No intent that comes later is acted on before it is there.
    pub fn append_unsynced(&mut self, event: Event) -> Result<Record, Problem> {
        let record = self.write(event)?;
        failpoint("after", self.seq - 1);
        Ok(record)
    }

    fn sync(&mut self) -> Result<(), Problem> {
        self.file.sync_data().map_err(|e| Problem::io("can't write the journal", &self.path, &e))
    }

    fn write(&mut self, event: Event) -> Result<Record, Problem> {
        let record = Record {
            v: FORMAT,
            seq: Some(self.seq),
            prev: Some(self.prev.clone()),
            time: self.clock.now(),
            incident: self.incident.clone(),
            event,
        };
        let mut line =
            serde_json::to_vec(&record).map_err(|e| Problem::internal(format!("can't write a record: {e}")))?;
        let hash = digest(&line);
        line.push(b'\n');
        failpoint("before", self.seq);
        let written = self.file.write_all(&line);
        if let Err(error) = written {
            // Nothing more can be done when even this fails; the next open cuts the torn line off.
            let _ = self.file.set_len(self.len).and_then(|()| self.file.sync_data());
            return Err(Problem::io("can't write the journal", &self.path, &error));
        }
        self.seq += 1;
        self.prev = hash;
        self.len += line.len() as u64;
        Ok(record)
    }
}

/// SHA-256 of a line without its newline, lower-case hex.
pub(crate) fn digest(line: &[u8]) -> String {
    Sha256::digest(line).iter().map(|b| format!("{b:02x}")).collect()
}

fn lock(dir: &Path) -> Result<File, Problem> {
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| Problem::io("can't open the incident's lock", &path, &e))?;
    match file.try_lock() {
        Ok(()) => {
            let holder = format!("process {}", std::process::id());
            let io = |e: std::io::Error| Problem::io("can't write the incident's lock", &path, &e);
            file.set_len(0).map_err(io)?;
            file.seek(SeekFrom::Start(0)).map_err(io)?;
            file.write_all(holder.as_bytes()).map_err(io)?;
            Ok(file)
        }
        Err(std::fs::TryLockError::WouldBlock) => {
            let who = holder(dir).unwrap_or_else(|| "another process".into());
            Err(Problem::new(Fault::Locked, format!("{who} is at work on this incident"))
                .hint("`quell status INCIDENT --watch` shows what it does"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(Problem::io("can't lock", &path, &error)),
    }
}

fn keep_torn(dir: &Path, file: &mut File, len: u64, seq: u64, bytes: &[u8]) -> Result<String, Problem> {
    let kept = dir.join(format!("journal.torn-{seq}"));
    std::fs::write(&kept, bytes).map_err(|e| Problem::io("can't keep the torn line", &kept, &e))?;
    let path = dir.join(FILE);
    file.set_len(len)
        .and_then(|()| file.sync_all())
        .map_err(|e| Problem::io("can't cut the torn line off", &path, &e))?;
    Ok(format!(
        "the journal's last line was torn by a crash ({} bytes); it was cut off and is kept in journal.torn-{seq}",
        bytes.len()
    ))
}

/// Kills this process where the crash tests ask for it: `QUELL_FAILPOINT=before:17`.
#[cfg(feature = "failpoints")]
fn failpoint(when: &str, seq: u64) {
    if std::env::var("QUELL_FAILPOINT").is_ok_and(|at| at == format!("{when}:{seq}")) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(feature = "failpoints"))]
fn failpoint(_: &str, _: u64) {}

#[cfg(test)]
mod tests;
