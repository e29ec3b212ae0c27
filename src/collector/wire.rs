//! The stream between the collector and quell: frames with a trailer, because the end of an exec's output proves
//! nothing (kubernetes#60140: it can be cut while the API reports success).
//!
//! ```text
//! MAGIC  frame*            frame: kind u8, length u32 big-endian, payload
//! Hello  (Data | Note)*  Trailer
//! ```
//!
//! After the trailer the collector waits until one line arrives on its standard input, so that the stream is held open
//! until quell has everything.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex;

/// The first bytes of every stream.
pub const MAGIC: &[u8; 8] = b"QUELL1\r\n";
/// Version of the frames and of what is in them.
pub const PROTOCOL: u32 = 1;
/// What quell sends once the trailer agrees with what arrived.
pub const ACKNOWLEDGED: &[u8] = b"ok\n";
/// No frame is larger; one that says so is damage.
pub const MAX_FRAME: usize = 4 << 20;
/// Notes and the other JSON frames are no larger.
pub const MAX_JSON: usize = 64 << 10;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`Hello`]: the first frame.
    Hello = 1,
    /// A piece of the artifact.
    Data = 2,
    /// [`Note`].
    Note = 3,
    /// [`Trailer`]: the last frame.
    Trailer = 4,
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The collector's version.
    pub version: String,
    /// SHA-256 of the collector's own executable, lower-case hex.
    pub sha256: String,
    /// What it was asked for: its arguments.
    pub argv: Vec<String>,
    /// Its process, as numbered where it runs.
    pub pid: u32,
}

/// What a reader of the artifact must know beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum Note {
    /// Something went wrong: an unreadable file, a file that changed while it was read.
    Warning {
        /// What, to what.
        text: String,
    },
    /// Something was not taken.
    LeftOut {
        /// The path in the target, lossily as text.
        path: String,
        /// Why.
        why: String,
    },
    /// How far it is, for a progress display.
    Info {
        /// A fact about how it was taken.
        text: String,
    },
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// Bytes in all Data frames.
    pub size: u64,
    /// SHA-256 of them, one after another, lower-case hex.
    pub sha256: String,
    /// Files, or processes, or whatever the artifact consists of.
    pub entries: u64,
    /// How many could not be read.
    pub unreadable: u64,
    /// Whether everything that was asked for is there; what was left out on purpose counts as there.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<String>,
}

/// The five bytes before a payload.
pub fn head(kind: Kind, length: usize) -> [u8; 5] {
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [kind as u8, length[0], length[1], length[2], length[3]]
}

/// A frame with its payload as JSON.
///
/// # Errors
/// Only when the value can't be written as JSON.
pub fn json<T: Serialize>(kind: Kind, value: &T) -> serde_json::Result<Vec<u8>> {
    let payload = serde_json::to_vec(value)?;
    let mut frame = head(kind, payload.len()).to_vec();
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// What the reader found next.
#[derive(Debug, PartialEq)]
pub enum Item<'a> {
    /// The first of all.
    Hello(Hello),
    /// A piece of the artifact, as soon as it arrived: a frame may come in several.
    Data(&'a [u8]),
    /// Something to know.
    Note(Note),
    /// The last of all, already compared with what arrived.
    Trailer(Trailer),
}

/// Takes the stream apart, in whatever pieces it arrives. Holds no more than one JSON frame.
#[derive(Default)]
pub struct Reader {
    begun: bool,
    hello: bool,
    held: Vec<u8>,
    /// Bytes still to come of the Data frame that is being read.
    data_left: usize,
    ended: bool,
    size: u64,
    hash: Sha256,
}

impl Reader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Whether the trailer has come, and agreed.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Data bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes; `sink` is called for each item in order.
    ///
    /// # Errors
    /// What is wrong with the stream, or what the sink says. Nothing more may be pushed after one.
    pub fn push<E: From<String>>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.data_left > 0 {
                let (now, rest) = bytes.split_at(bytes.len().min(self.data_left));
                self.data_left -= now.len();
                self.size += now.len() as u64;
                self.hash.update(now);
                sink(Item::Data(now))?;
                bytes = rest;
                continue;
            }
            if self.ended {
                return Err(E::from("bytes after the trailer".into()));
            }
            let want = self.want()?;
            let (now, rest) = bytes.split_at(bytes.len().min(want - self.held.len()));
            self.held.extend_from_slice(now);
            bytes = rest;
            if self.held.len() == want {
                self.take(sink)?;
            }
        }
        Ok(())
    }

    /// How many bytes must be held before the next decision.
    fn want(&self) -> Result<usize, String> {
        if !self.begun {
            return Ok(MAGIC.len());
        }
        let Some(length) = self.held.get(1..5) else { return Ok(5) };
        let length = length.iter().fold(0, |sum, byte| sum << 8 | *byte as usize);
        if self.held[0] == Kind::Data as u8 { Ok(5) } else { Ok(5 + length.min(MAX_JSON + 1)) }
    }

    fn take<E: From<String>>(&mut self, sink: &mut dyn FnMut(Item<'_>) -> Result<(), E>) -> Result<(), E> {
        if !self.begun {
            if self.held != MAGIC {
                return Err(E::from("this is not the collector's stream: it does not begin as one".into()));
            }
            self.begun = true;
            self.held.clear();
            return Ok(());
        }
        let length = self.held[1..5].iter().fold(0, |sum, byte| sum << 8 | *byte as usize);
        let kind = self.held[0];
        if length > if kind == Kind::Data as u8 { MAX_FRAME } else { MAX_JSON } {
            return Err(E::from(format!("damaged: a frame of kind {kind} with {length} bytes")));
        }
        if !self.hello && kind != Kind::Hello as u8 {
            return Err(E::from(format!("damaged: a frame of kind {kind} before the first")));
        }
        if kind == Kind::Data as u8 {
            self.data_left = length;
            self.held.clear();
            return Ok(());
        }
        if self.held.len() < 5 + length {
            return Ok(());
        }
        let frame = std::mem::take(&mut self.held);
        let payload = &frame[5..];
        let damaged = |e: serde_json::Error| format!("damaged: a frame of kind {kind}: {e}");
        match kind {
            1 if !self.hello => {
                let hello: Hello = serde_json::from_slice(payload).map_err(damaged)?;
                if hello.protocol != PROTOCOL {
                    return Err(E::from(format!(
                        "the collector (version {}) speaks protocol {}, this quell {PROTOCOL}: use images of one version",
                        hello.version, hello.protocol
                    )));
                }
                self.hello = true;
                sink(Item::Hello(hello))
            }
            3 => sink(Item::Note(serde_json::from_slice(payload).map_err(damaged)?)),
            4 => {
                let trailer: Trailer = serde_json::from_slice(payload).map_err(damaged)?;
                let sha256 = hex(&self.hash.clone().finalize());
                if trailer.size != self.size || trailer.sha256 != sha256 {
                    return Err(E::from(format!(
                        "{} bytes with SHA-256 {sha256} arrived, {} with {} were sent",
                        self.size, trailer.size, trailer.sha256
                    )));
                }
                self.ended = true;
                sink(Item::Trailer(trailer))
            }
            _ => Err(E::from(format!("damaged: a frame of kind {kind}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> (Vec<u8>, Vec<usize>, Vec<u8>) {
        let data = b"the quick brown fox".repeat(50);
        let hello = Hello { protocol: PROTOCOL, version: "0".into(), sha256: String::new(), argv: vec![], pid: 1 };
        let mut out = MAGIC.to_vec();
        let mut edges = vec![0, out.len()];
        out.extend(json(Kind::Hello, &hello).unwrap());
        edges.push(out.len());
        for piece in data.chunks(400) {
            out.extend(head(Kind::Data, piece.len()));
            out.extend(piece);
            edges.push(out.len());
        }
        out.extend(json(Kind::Note, &Note::Warning { text: "w".into() }).unwrap());
        edges.push(out.len());
        let trailer = Trailer {
            size: data.len() as u64,
            sha256: hex(&Sha256::digest(&data)),
            entries: 1,
            unreadable: 0,
            complete: true,
            truncated: None,
        };
        out.extend(json(Kind::Trailer, &trailer).unwrap());
        (out, edges, data)
    }

    fn read(bytes: &[u8], piece: usize) -> Result<(bool, Vec<u8>, usize), String> {
        let mut reader = Reader::new();
        let (mut data, mut notes) = (Vec::new(), 0);
        for part in bytes.chunks(piece) {
            reader.push::<String>(part, &mut |item| {
                match item {
                    Item::Data(bytes) => data.extend_from_slice(bytes),
                    Item::Note(_) => notes += 1,
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok((reader.ended(), data, notes))
    }

    #[test]
    fn arrives_in_pieces_of_any_size() {
        let (stream, _, data) = sample();
        for piece in [1, 2, 3, 5, 7, 64, 399, 4096, 100_000] {
            assert_eq!(read(&stream, piece).unwrap(), (true, data.clone(), 1), "pieces of {piece}");
        }
    }

    #[test]
    fn an_empty_frame_is_a_sign_of_life_and_no_data() {
        let (stream, edges, data) = sample();
        let (before, after) = stream.split_at(edges[2]);
        let beaten = [before, &head(Kind::Data, 0)[..], &head(Kind::Data, 0)[..], after].concat();
        assert_eq!(read(&beaten, 7).unwrap(), (true, data, 1));
    }

    #[test]
    fn a_stream_cut_anywhere_never_ended() {
        let (stream, edges, _) = sample();
        for at in edges.into_iter().chain(0..stream.len()) {
            assert!(!read(&stream[..at], 64).unwrap().0, "cut at {at}");
        }
    }

    #[test]
    fn one_flipped_bit_is_seen() {
        let (stream, _, data) = sample();
        for at in 0..stream.len() {
            let mut other = stream.clone();
            other[at] ^= 4;
            if let Ok((true, got, _)) = read(&other, 64) {
                assert_eq!(got, data, "byte {at}: only what is not the artifact may differ unseen");
            }
        }
    }

    #[test]
    fn what_follows_the_trailer_is_an_error() {
        let (mut stream, _, _) = sample();
        stream.push(0);
        assert!(read(&stream, 64).is_err());
    }

    #[test]
    fn a_huge_frame_is_refused_before_it_is_held() {
        let mut stream = MAGIC.to_vec();
        stream.extend(head(Kind::Hello, u32::MAX as usize));
        stream.extend(vec![b' '; 2 * MAX_JSON]);
        assert!(read(&stream, 4096).unwrap_err().contains("damaged"));
    }
}
