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
        Packing::Zstd => Box::new(Frames { input, decoder: ruzstd::decoding::FrameDecoder::new(), open: false }),
    }))
}

/// Zstandard frames one after another, as `zstd` appends them and parallel writers make them.
///
/// <https://www.rfc-editor.org/rfc/rfc8878> (3.1)
struct Frames<R> {
    input: R,
    decoder: ruzstd::decoding::FrameDecoder,
    open: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        use ruzstd::decoding::BlockDecodingStrategy;
        use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
        let bad = |e: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
        loop {
            if !self.open {
                if self.input.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                match self.decoder.reset(&mut self.input) {
                    Ok(()) => self.open = true,
                    Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        length, ..
                    })) => {
                        io::copy(&mut (&mut self.input).take(u64::from(length)), &mut io::sink())?;
                        continue;
                    }
                    Err(e) => return Err(bad(&e)),
                }
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBytes(BLOCK))
                    .map_err(|e| bad(&e))?;
            }
            let got = self.decoder.read(into)?;
            if got > 0 {
                return Ok(got);
            }
            if self.decoder.is_finished() {
                self.open = false;
                let (told, made) = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
                if told.is_some() && told != made {
                    return Err(bad(&"its checksum does not match its content"));
                }
            }
        }
    }
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
