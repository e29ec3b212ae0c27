//! The sending side of the stream: few and large writes, the hash made on the way.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::hex;
use super::wire::{self, Hello, Kind, Note, PROTOCOL, Trailer};

/// Payload of a Data frame. Larger ones bring nothing; smaller ones cost system calls.
const PIECE: usize = 512 << 10;
/// More notes than this are only counted: whoever holds the pod decides how many there are.
const MAX_NOTES: u64 = 20_000;
/// How long the stream is held open for quell's word that everything arrived.
const PATIENCE: Duration = Duration::from_secs(60);

/// An artifact on its way out.
pub struct Output<W: Write> {
    out: W,
    /// Without frames, for a person at a terminal.
    raw: bool,
    /// Five bytes for the frame's head, then the payload.
    buffer: Vec<u8>,
    filled: usize,
    hash: Sha256,
    size: u64,
    notes: u64,
    /// Files, processes, …
    pub entries: u64,
    /// How many of them could not be read.
    pub unreadable: u64,
    truncated: Option<String>,
}

impl Output<io::Stdout> {
    /// The process's standard output; a pipe is made as large as it may be.
    pub fn stdout(raw: bool) -> Output<io::Stdout> {
        let out = io::stdout();
        // Refused where the user's pipes take too many pages already, and for what is no pipe: then it is only slower.
        let _ = rustix::pipe::fcntl_setpipe_size(out.as_fd(), 1 << 20);
        Output::new(out, raw)
    }
}

impl<W: Write> Output<W> {
    /// On top of any stream. Nothing is written yet.
    pub fn new(out: W, raw: bool) -> Output<W> {
        Output {
            out,
            raw,
            buffer: vec![0; 5 + PIECE],
            filled: 0,
            hash: Sha256::new(),
            size: 0,
            notes: 0,
            entries: 0,
            unreadable: 0,
            truncated: None,
        }
    }

    /// The first frame: who speaks.
    pub fn hello(&mut self) -> io::Result<()> {
        let sha256 = std::fs::File::open("/proc/self/exe").and_then(hash_of).map(|(_, hash)| hash).unwrap_or_default();
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            sha256,
            argv: std::env::args().skip(1).collect(),
            pid: std::process::id(),
        };
        if self.raw {
            return Ok(());
        }
        self.out.write_all(wire::MAGIC)?;
        self.out.write_all(&wire::json(Kind::Hello, &hello)?)?;
        self.out.flush()
    }

    /// Bytes of the artifact so far.
    pub fn size(&self) -> u64 {
        self.size + self.filled as u64
    }

    /// Room for at least `want` bytes (at most half a piece) to read into; [`Output::filled`] says how many were used.
    pub fn room(&mut self, want: usize) -> io::Result<&mut [u8]> {
        if PIECE - self.filled < want.clamp(1, PIECE / 2) {
            self.send()?;
        }
        Ok(&mut self.buffer[5 + self.filled..])
    }

    /// That many bytes of the room belong to the artifact.
    pub fn filled(&mut self, bytes: usize) {
        self.filled = (self.filled + bytes).min(PIECE);
    }

    /// Appends.
    pub fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room(1)?;
            let now = room.len().min(bytes.len());
            room[..now].copy_from_slice(&bytes[..now]);
            self.filled(now);
            bytes = &bytes[now..];
        }
        Ok(())
    }

    /// Appends zeros.
    pub fn zeros(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let room = self.room(1)?;
            let now = usize::try_from(count).unwrap_or(usize::MAX).min(room.len());
            room[..now].fill(0);
            self.filled(now);
            count -= now as u64;
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        let (head, payload) = self.buffer[..5 + self.filled].split_at_mut(5);
        head.copy_from_slice(&wire::head(Kind::Data, payload.len()));
        self.hash.update(&*payload);
        self.size += payload.len() as u64;
        let from = if self.raw { 5 } else { 0 };
        self.out.write_all(&self.buffer[from..5 + self.filled])?;
        self.filled = 0;
        Ok(())
    }

    /// Something to know. Data that was put before it is sent before it only as the buffer fills: notes have no place
    /// in the artifact.
    pub fn note(&mut self, note: &Note) -> io::Result<()> {
        self.notes += 1;
        if self.notes <= MAX_NOTES { self.frame(Kind::Note, note) } else { Ok(()) }
    }

    /// Something went wrong.
    pub fn warn(&mut self, text: String) -> io::Result<()> {
        self.note(&Note::Warning { text })
    }

    /// Something was not taken.
    pub fn left_out(&mut self, path: &[u8], why: impl Into<String>) -> io::Result<()> {
        self.note(&Note::LeftOut { path: format!("/{}", shown(path)), why: why.into() })
    }

    /// Not everything that was asked for is there. The first reason stands.
    pub fn truncate(&mut self, why: String) {
        self.truncated.get_or_insert(why);
    }

    fn frame<T: serde::Serialize>(&mut self, kind: Kind, value: &T) -> io::Result<()> {
        let frame = wire::json(kind, value)?;
        if self.raw {
            eprintln!("{}", String::from_utf8_lossy(&frame[5..]))
        } else {
            self.out.write_all(&frame)?
        }
        Ok(())
    }

    /// What there is goes out now; an empty frame when there is nothing, so that quiet is told from a stall.
    pub fn beat(&mut self) -> io::Result<()> {
        if self.filled == 0 && !self.raw {
            self.out.write_all(&wire::head(Kind::Data, 0))?;
        }
        self.send()?;
        self.out.flush()
    }

    /// The trailer, and everything out of the buffers.
    pub fn finish(mut self) -> io::Result<()> {
        self.send()?;
        if self.notes > MAX_NOTES {
            let text = format!("{} more notes are not shown", self.notes - MAX_NOTES);
            self.frame(Kind::Note, &Note::Warning { text })?;
        }
        let trailer = Trailer {
            size: self.size,
            sha256: hex(&self.hash.clone().finalize()),
            entries: self.entries,
            unreadable: self.unreadable,
            complete: self.truncated.is_none(),
            truncated: self.truncated.take(),
        };
        self.frame(Kind::Trailer, &trailer)?;
        self.out.flush()
    }
}

/// A path in the target as text of bounded length.
pub fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    if text.len() <= 4096 {
        return text.into_owned();
    }
    let cut: String = text.chars().take(4096 / 4).collect();
    format!("{cut}… ({} bytes)", path.len())
}

/// Size and SHA-256 of everything a reader gives.
pub fn hash_of(mut reader: impl io::Read) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((size, hex(&hash.finalize()))),
            Ok(n) => {
                hash.update(&buffer[..n]);
                size += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Holds the process, and with it the exec, until a line arrives on standard input, the other side is gone, or a minute
/// has passed.
pub fn await_acknowledgement() {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::BufRead::read_line(&mut io::Read::take(io::stdin().lock(), 64), &mut line);
        let _ = send.send(());
    });
    let _ = receive.recv_timeout(PATIENCE);
}
