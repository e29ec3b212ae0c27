//! Plain files in chunks: each holds the lines that begin in it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use memchr::{memchr, memrchr};

use super::MAX_LINE;

/// Bytes of a chunk: small enough for a processor's cache, large enough for a disk.
pub(super) const CHUNK: u64 = 256 * 1024;
/// Bytes read beyond it at a time, for its last line.
const BEYOND: usize = 8 * 1024;

/// The lines of one chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Lines {
    /// Where the first of them begins, in the file.
    pub offset: u64,
    /// The range of the buffer that holds them.
    pub range: std::ops::Range<usize>,
    /// Where a last line begins that is longer than [`MAX_LINE`]; it is not in the range.
    pub too_long: Option<u64>,
}

/// Reads the lines that begin in a chunk into the buffer. `size` is the file's, when it was opened: lines that are added
/// later are not looked for, but a last one that was being written is taken whole if it is by now.
pub(super) fn read(file: &File, chunk: u64, size: u64, buffer: &mut Vec<u8>) -> io::Result<Lines> {
    let begin = chunk * CHUNK;
    let end = (begin + CHUNK).min(size);
    // The byte before tells whether a line begins right here.
    let from = begin.saturating_sub(1);
    let wanted = usize::try_from(end - from).unwrap_or(0);
    let mut filled = fill(file, from, buffer, 0, wanted + BEYOND)?;
    let none = |at| Lines { offset: at, range: 0..0, too_long: None };
    let first = if begin == 0 {
        0
    } else {
        match memchr(b'\n', &buffer[..filled.min(wanted)]) {
            Some(at) if at + 1 < wanted => at + 1,
            _ => return Ok(none(end)),
        }
    };
    if first >= filled.min(wanted) {
        return Ok(none(end));
    }
    // The last line ends at the first newline at or after the chunk's last byte.
    let mut searched = wanted - 1;
    let last = loop {
        let end = match buffer.get(searched..filled).and_then(|rest| memchr(b'\n', rest)) {
            Some(at) => searched + at + 1,
            None => filled,
        };
        let start = memrchr(b'\n', &buffer[first..filled.min(wanted - 1)]).map_or(first, |at| first + at + 1);
        if end - start <= MAX_LINE && end > searched && buffer[end - 1] == b'\n' {
            break end;
        }
        if end - start > MAX_LINE {
            return Ok(Lines { offset: from + first as u64, range: first..start, too_long: Some(from + start as u64) });
        }
        searched = searched.max(filled);
        let more = fill(file, from, buffer, filled, filled + BEYOND.max(filled / 2))?;
        if more == filled {
            break filled;
        }
        filled = more;
    };
    Ok(Lines { offset: from + first as u64, range: first..last, too_long: None })
}

/// Reads on until so many bytes are there or the file ends; how many are there.
fn fill(file: &File, from: u64, buffer: &mut Vec<u8>, mut filled: usize, wanted: usize) -> io::Result<usize> {
    if buffer.len() < wanted {
        buffer.resize(wanted, 0);
    }
    while filled < wanted {
        match file.read_at(&mut buffer[filled..wanted], from + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn every_line_is_in_one_chunk_wherever_it_lies() {
        let chunk = usize::try_from(CHUNK).unwrap();
        for lengths in [
            vec![10, chunk - 1, chunk, chunk + 1, 3 * chunk, 0, 0, 5],
            vec![chunk - 1, chunk - 1, 1],
            vec![chunk, 0, 2],
            vec![],
            vec![0; 10],
            vec![2 * chunk + 7],
        ] {
            for ended in [true, false] {
                let mut text = Vec::new();
                for (n, length) in lengths.iter().enumerate() {
                    text.extend(std::iter::repeat_n(b'a' + u8::try_from(n).unwrap(), *length));
                    text.push(b'\n');
                }
                if !ended {
                    text.pop();
                }
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&text).unwrap();
                let (mut buffer, mut together) = (Vec::new(), Vec::new());
                for n in 0..(text.len() as u64).div_ceil(CHUNK) {
                    let lines = read(&file, n, text.len() as u64, &mut buffer).unwrap();
                    assert!(lines.range.is_empty() || lines.offset == together.len() as u64, "{lengths:?}");
                    together.extend_from_slice(&buffer[lines.range]);
                }
                assert!(together == text, "{lengths:?} {ended}");
            }
        }
    }

    #[test]
    fn a_line_without_end_is_not_taken_into_memory() {
        let mut file = tempfile::tempfile().unwrap();
        let long = MAX_LINE + 3 * usize::try_from(CHUNK).unwrap();
        file.write_all(b"one\n").unwrap();
        file.write_all(&vec![b'x'; long]).unwrap();
        file.write_all(b"\ntwo\n").unwrap();
        let size = file.metadata().unwrap().len();
        let (mut buffer, mut found, mut too_long) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..size.div_ceil(CHUNK) {
            let lines = read(&file, n, size, &mut buffer).unwrap();
            too_long.extend(lines.too_long);
            found.extend_from_slice(&buffer[lines.range]);
        }
        assert!(found == b"one\ntwo\n" && too_long == [4], "{} bytes, {too_long:?}", found.len());
        assert!(buffer.len() < 2 * MAX_LINE);
    }
}
