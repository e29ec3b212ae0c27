//! Reading a journal, with its chain checked line by line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{FILE, GENESIS, LOCK, digest};
use crate::cluster::{Fault, Problem};
use crate::event::{FORMAT, Record};

/// No record is longer; a longer line is damage, not a record.
const MAX_LINE: u64 = 64 << 20;

/// Why reading ended early.
#[derive(Debug)]
pub enum ChainError {
    /// The last line has no newline: a crash in the middle of a write. Its bytes.
    Torn(Vec<u8>),
    /// Anything else.
    Broken(Problem),
}

/// Reads records one after the other, with bounded memory.
pub struct Reader<R> {
    input: BufReader<R>,
    name: String,
    seq: u64,
    prev: String,
    len: u64,
}

impl Reader<File> {
    /// The journal of an incident's folder.
    pub fn open(dir: &Path) -> Result<Reader<File>, Problem> {
        let path = dir.join(FILE);
        let file = File::open(&path).map_err(|e| Problem::io("can't read the journal", &path, &e))?;
        Ok(Reader::new(file, path.display().to_string()))
    }
}

impl<R: Read> Reader<R> {
    /// A journal from anywhere; `name` is for messages.
    pub fn new(input: R, name: impl Into<String>) -> Reader<R> {
        Reader {
            input: BufReader::with_capacity(64 * 1024, input),
            name: name.into(),
            seq: 0,
            prev: GENESIS.into(),
            len: 0,
        }
    }

    /// Sequence number and `prev` of the next record, and the length of the good part.
    pub fn end(&self) -> (u64, String, u64) {
        (self.seq, self.prev.clone(), self.len)
    }

    /// The next record; None at the end.
    pub fn next_record(&mut self) -> Result<Option<Record>, ChainError> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(MAX_LINE).read_until(b'\n', &mut line);
        read.map_err(|e| ChainError::Broken(Problem::failed(format!("can't read {}: {e}", self.name))))?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop_if(|b| *b == b'\n').is_none() {
            return Err(if line.len() as u64 == MAX_LINE {
                self.broken("a line of over 64 MiB")
            } else {
                ChainError::Torn(line)
            });
        }
        let version = serde_json::from_slice::<serde_json::Value>(&line).ok().and_then(|v| v["v"].as_u64());
        if version.is_some_and(|v| v > u64::from(FORMAT)) {
            return Err(
                self.broken(&format!("it has format {}, newer than this quell knows ({FORMAT})", version.unwrap_or(0)))
            );
        }
        let record: Record = serde_json::from_slice(&line).map_err(|e| self.broken(&format!("not a record: {e}")))?;
        if record.seq != Some(self.seq) {
            return Err(self.broken(&format!("its number is {:?}: a record was removed, added or moved", record.seq)));
        }
        if record.prev.as_deref() != Some(&self.prev) {
            return Err(self.broken("it does not follow from the line before: one of the two was changed"));
        }
        self.seq += 1;
        self.prev = digest(&line);
        self.len += line.len() as u64 + 1;
        Ok(Some(record))
    }

    fn broken(&self, why: &str) -> ChainError {
        ChainError::Broken(
            Problem::new(Fault::Verification, format!("{} line {}: {why}", self.name, self.seq + 1))
                .hint("the journal is evidence: keep it as it is, and work on a copy"),
        )
    }
}

/// Every record of an incident's folder, without the lock. A torn last line is left out: its writer may still be at it.
pub fn read(dir: &Path) -> Result<Vec<Record>, Problem> {
    let mut reader = Reader::open(dir)?;
    let mut all = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => all.push(record),
            Ok(None) | Err(ChainError::Torn(_)) => return Ok(all),
            Err(ChainError::Broken(problem)) => return Err(problem),
        }
    }
}

/// Who holds the incident's lock; None when nobody does.
pub fn holder(dir: &Path) -> Option<String> {
    let mut file = File::open(dir.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(_) => {
            let mut text = String::new();
            file.by_ref().take(256).read_to_string(&mut text).ok()?;
            Some(if text.is_empty() { "another process".into() } else { text })
        }
    }
}
