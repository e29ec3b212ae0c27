//! The sending side of the collector's stream.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use sha2::{Digest, Sha256};

use super::super::given_up;
use crate::collector::wire::{self, Hello, Kind, Note, PROTOCOL, Trailer};

/// Payload of a Data frame, as the real program makes them.
const PIECE: usize = 512 << 10;
/// More notes than this are only counted.
const MAX_NOTES: u64 = 20_000;

/// An artifact on its way out.
pub struct Frames {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    raw: bool,
    cancel: Arc<AtomicBool>,
    held: Vec<u8>,
    hash: Sha256,
    sent: u64,
    notes: u64,
    /// Files, processes, …
    pub entries: u64,
    /// How many of them could not be read.
    pub unreadable: u64,
    truncated: Option<String>,
}

impl Frames {
    /// On top of two streams; `raw` writes the data alone.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, raw: bool, cancel: Arc<AtomicBool>) -> Frames {
        let (held, hash) = (Vec::with_capacity(PIECE), Sha256::new());
        Frames { out, err, raw, cancel, held, hash, sent: 0, notes: 0, entries: 0, unreadable: 0, truncated: None }
    }

    /// The first frame.
    pub fn hello(&mut self, argv: &[String], pid: u32) -> io::Result<()> {
        if self.raw {
            return Ok(());
        }
        let sha256 = hex(&Sha256::digest(b"\x7fELF quell-collector"));
        let hello =
            Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into(), sha256, argv: argv.to_vec(), pid };
        self.out.write_all(wire::MAGIC)?;
        self.out.write_all(&wire::json(Kind::Hello, &hello)?)?;
        self.out.flush()
    }

    /// Bytes of the artifact so far.
    pub fn size(&self) -> u64 {
        self.sent + self.held.len() as u64
    }

    /// Appends.
    pub fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PIECE - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = rest;
            if self.held.len() == PIECE {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Appends zeros.
    pub fn zeros(&mut self, count: u64) -> io::Result<()> {
        self.put(&vec![0; usize::try_from(count).unwrap_or(0)])
    }

    fn send(&mut self) -> io::Result<()> {
        if given_up(&self.cancel) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.held.is_empty() {
            return Ok(());
        }
        self.hash.update(&self.held);
        self.sent += self.held.len() as u64;
        if !self.raw {
            self.out.write_all(&wire::head(Kind::Data, self.held.len()))?;
        }
        self.out.write_all(&self.held)?;
        self.held.clear();
        Ok(())
    }

    /// A fact about how it was taken.
    pub fn info(&mut self, text: String) -> io::Result<()> {
        self.frame(Kind::Note, &Note::Info { text })
    }

    /// Something was not taken.
    pub fn left_out(&mut self, path: &str, why: impl Into<String>) -> io::Result<()> {
        self.notes += 1;
        let note = Note::LeftOut { path: format!("/{path}"), why: why.into() };
        if self.notes <= MAX_NOTES { self.frame(Kind::Note, &note) } else { Ok(()) }
    }

    /// Not everything that was asked for is there. The first reason stands.
    pub fn truncate(&mut self, why: String) {
        self.truncated.get_or_insert(why);
    }

    fn frame<T: serde::Serialize>(&mut self, kind: Kind, value: &T) -> io::Result<()> {
        if self.raw {
            return writeln!(self.err, "{}", serde_json::to_string(value)?);
        }
        self.out.write_all(&wire::json(kind, value)?)
    }

    /// The trailer.
    pub fn finish(&mut self) -> io::Result<()> {
        self.send()?;
        if self.notes > MAX_NOTES {
            let text = format!("{} more notes are not shown", self.notes - MAX_NOTES);
            self.frame(Kind::Note, &Note::Warning { text })?;
        }
        let trailer = Trailer {
            size: self.sent,
            sha256: hex(&self.hash.clone().finalize()),
            entries: self.entries,
            unreadable: self.unreadable,
            complete: self.truncated.is_none(),
            truncated: self.truncated.take(),
        };
        self.frame(Kind::Trailer, &trailer)?;
        self.out.flush()
    }

    /// The second stream back, for what is said at the end.
    pub fn into_error(self) -> Box<dyn Write + Send> {
        self.err
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
