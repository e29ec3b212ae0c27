//! The original bytes at a place that an answer named.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use memchr::memchr;
use serde_json::value::RawValue;

use super::{Blocks, Packing, Stream, read_problem, remote};
use crate::audit::MAX_LINE;
use crate::cluster::Problem;

/// The record that begins at byte `offset` of a file, of a compressed one of its content, byte for byte: a JSON object, or
/// what is left of a damaged line. `-` is standard input.
///
/// Errors: the file can't be read so far, or nothing begins there.
pub fn original(path: &Path, offset: u64) -> Result<Vec<u8>, Problem> {
    let io = |e: std::io::Error| read_problem(path, &e);
    let shown = path.display();
    let (mut blocks, mut at) = if path == Path::new("-") {
        (Blocks::of(Stream::stdin().map_err(io)?), 0)
    } else if remote::is(path) {
        let mut found = Vec::new();
        remote::find(path, &mut found)?;
        let file = found.iter().find(|f| f.path == path).ok_or_else(|| {
            Problem::usage(format!("{shown} is no object")).hint("name the object that an answer names")
        })?;
        (Blocks::of(Stream::remote(path, file.packing).map_err(io)?), 0)
    } else {
        let mut file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(Problem::usage(format!("{shown} is a folder")).hint("name the file that an answer names"));
        }
        let mut start = Vec::new();
        (&file).take(4).read_to_end(&mut start).map_err(io)?;
        let packing = Packing::of(&start);
        // A plain file need not be read up to there; the byte before tells whether a line begins.
        let from = if packing == Packing::Plain { offset.saturating_sub(1) } else { 0 };
        file.seek(SeekFrom::Start(from)).map_err(io)?;
        (Blocks::of(Stream::of(file, packing).map_err(io)?), from)
    };
    let (mut before, mut bytes, mut whole) = (None, Vec::new(), false);
    while let Some(block) = blocks.next() {
        let end = at + block.bytes.len() as u64;
        if end > offset {
            let from = usize::try_from(offset.saturating_sub(at)).unwrap_or(usize::MAX);
            if let Some(byte) = from.checked_sub(1).and_then(|at| block.bytes.get(at)) {
                before = Some(*byte);
            }
            bytes.extend_from_slice(block.bytes.get(from..).unwrap_or_default());
            if let Some(text) = first(&bytes) {
                bytes = text;
                whole = true;
                break;
            }
            if bytes.len() > MAX_LINE {
                break;
            }
        } else {
            before = block.bytes.last().copied();
        }
        at = end;
    }
    if whole {
        return Ok(bytes);
    }
    let broke = blocks.broke.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    if bytes.is_empty() {
        return Err(Problem::usage(format!("{shown} has no byte {offset}{broke}"))
            .hint("give FILE:OFFSET as an answer names it; the file may have been rotated since"));
    }
    if offset > 0 && before != Some(b'\n') {
        return Err(Problem::usage(format!("no event begins at byte {offset} of {shown}"))
            .hint("give FILE:OFFSET as an answer names it; the file may have been rotated since"));
    }
    bytes.truncate(memchr(b'\n', &bytes).unwrap_or(bytes.len()).min(MAX_LINE));
    Ok(bytes)
}

/// The object that the bytes begin with, if all of it is there.
fn first(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut values =
        serde_json::Deserializer::from_slice(bytes.starts_with(b"{").then_some(bytes)?).into_iter::<&RawValue>();
    values.next()?.ok().map(|value| value.get().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_record_is_given_back_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        let lines = "{\"a\": \"\u{1b}[2J\" }\nnot an event \u{9b}31m\n{\"items\":[{\"b\":1}, {\"c\":2}]}\n{\"cut\":";
        let plain = dir.path().join("a:b.log");
        std::fs::write(&plain, lines).unwrap();
        let packed = dir.path().join("packed.gz");
        let mut gzip = flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        gzip.write_all(lines.as_bytes()).unwrap();
        gzip.finish().unwrap();
        let at = |text: &str| lines.find(text).unwrap() as u64;
        for file in [&plain, &packed] {
            let text = |offset| String::from_utf8(original(file, offset).unwrap()).unwrap();
            assert_eq!(text(0), "{\"a\": \"\u{1b}[2J\" }");
            assert_eq!(text(at("not")), "not an event \u{9b}31m");
            assert_eq!(text(at("{\"c\"")), "{\"c\":2}");
            assert_eq!(text(at("{\"cut")), "{\"cut\":");
            assert!(original(file, 3).unwrap_err().message.contains("no event begins at byte 3"));
            assert!(original(file, 9999).unwrap_err().message.contains("has no byte 9999"));
        }
        assert!(original(dir.path(), 0).unwrap_err().message.contains("is a folder"));
    }
}
