//! What can only be read from begin to end: compressed files and standard input, in blocks that end at a line's end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use memchr::memrchr;

use super::{Packing, remote};
use crate::audit::MAX_LINE;

/// Bytes of a block, unless one line is longer.
const BLOCK: usize = 1024 * 1024;

/// A frame may ask for so much memory, 128 MiB: what `zstd` itself takes without being told to, and all that `--long` and
/// `--ultra` make without a number.
const MAX_WINDOW_LOG: u32 = 27;

/// A file's content.
pub struct Stream(Box<dyn Read + Send>);

impl Stream {
    /// Of a file that was looked at.
    pub fn of(file: File, packing: Packing) -> io::Result<Stream> {
        unpacked(BufReader::with_capacity(256 * 1024, file), packing)
    }

    /// Of an object in a store that was looked at.
    pub fn remote(path: &Path, packing: Packing) -> io::Result<Stream> {
        unpacked(BufReader::with_capacity(256 * 1024, remote::read(path)?), packing)
    }

    /// Of standard input, packed or not.
    pub fn stdin() -> io::Result<Stream> {
        let mut input = BufReader::with_capacity(256 * 1024, io::stdin());
        let packing = Packing::of(input.fill_buf()?);
        unpacked(input, packing)
    }
}

fn unpacked<R: BufRead + Send + 'static>(input: R, packing: Packing) -> io::Result<Stream> {
    Ok(Stream(match packing {
        Packing::Plain => Box::new(input),
        Packing::Gzip => Box::new(MultiGzDecoder::new(input)),
        Packing::Zstd => zstd(input)?,
    }))
}

/// Zstandard frames one after another, as `zstd` appends them and parallel writers make them; one that is cut short or
/// does not match its checksum is an error after what came before.
///
/// <https://www.rfc-editor.org/rfc/rfc8878> (3.1)
fn zstd<R: BufRead + Send + 'static>(input: R) -> io::Result<Box<dyn Read + Send>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    Ok(Box::new(decoder))
}

/// The stream's blocks: whole lines, but for the last and for lines longer than [`MAX_LINE`], which come in parts.
pub struct Blocks {
    stream: Stream,
    offset: u64,
    rest: Vec<u8>,
    ended: bool,
    /// Why the stream broke off, if it did.
    pub broke: Option<String>,
}

/// One block.
pub struct Block {
    /// Where it begins, in the content.
    pub offset: u64,
    /// Whole lines.
    pub bytes: Vec<u8>,
}

impl Blocks {
    /// Of a stream.
    pub fn of(stream: Stream) -> Blocks {
        Blocks { stream, offset: 0, rest: Vec::new(), ended: false, broke: None }
    }

    /// Whether all was read: no block follows.
    pub fn ended(&self) -> bool {
        self.ended && self.rest.is_empty()
    }

    /// The next block, until there is none. An error of the stream (a cut gzip, a file that went away) ends it: what came
    /// before is taken, and [`Blocks::broke`] says why.
    pub fn next(&mut self) -> Option<Block> {
        let mut bytes = std::mem::take(&mut self.rest);
        let mut searched = 0;
        while !self.ended {
            let old = bytes.len();
            bytes.resize(old.max(BLOCK) + BLOCK / 4, 0);
            let mut filled = old;
            while filled < bytes.len() {
                match self.stream.0.read(&mut bytes[filled..]) {
                    Ok(0) => {
                        self.ended = true;
                        break;
                    }
                    Ok(n) => filled += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        self.broke = Some(e.to_string());
                        self.ended = true;
                        break;
                    }
                }
            }
            bytes.truncate(filled);
            if self.ended {
                break;
            }
            if let Some(end) = memrchr(b'\n', &bytes[searched..]) {
                self.rest = bytes.split_off(searched + end + 1);
                break;
            }
            searched = bytes.len();
            if searched > MAX_LINE {
                break;
            }
        }
        if bytes.is_empty() {
            return None;
        }
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Some(Block { offset, bytes })
    }
}
