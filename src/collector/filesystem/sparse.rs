//! Files with holes, in GNU tar's pax form 1.0: a terabyte of nothing is a few bytes, and stock tools unpack it.
//!
//! <https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>

use std::os::fd::OwnedFd;

use rustix::fs::{SeekFrom, Stat};

/// Holes that save less than this are written as the zeros that they read as.
const WORTH: u64 = 1 << 20;
/// A file in more pieces than this is written with its smaller holes filled.
const MAX_SEGMENTS: usize = 20_000;

/// Where the data is.
pub struct Map {
    size: u64,
    segments: Vec<(u64, u64)>,
    block: Vec<u8>,
}

/// The map of a file whose holes are worth it.
pub fn map(fd: &OwnedFd, stat: &Stat) -> Option<Map> {
    let size = u64::try_from(stat.st_size).ok()?;
    let on_disk = u64::try_from(stat.st_blocks).ok()?.saturating_mul(512);
    if size.saturating_sub(on_disk) < WORTH {
        return None;
    }
    let mut segments = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(begin) if begin < size => begin,
            Ok(_) | Err(rustix::io::Errno::NXIO) => break,
            // A file system that does not tell.
            Err(_) => return None,
        };
        let end = if segments.len() + 1 < MAX_SEGMENTS {
            rustix::fs::seek(fd, SeekFrom::Hole(begin)).ok()?.min(size)
        } else {
            size
        };
        if end <= begin {
            break;
        }
        segments.push((begin, end - begin));
        at = end;
    }
    // The end is a piece of no bytes, so that the size is known whatever comes before.
    segments.push((size, 0));
    let mut block = format!("{}\n", segments.len());
    for (offset, length) in &segments {
        block.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut block = block.into_bytes();
    block.resize(block.len().next_multiple_of(512), 0);
    Some(Map { size, segments, block })
}

impl Map {
    /// Bytes in the archive: the map and the data.
    pub fn stored(&self) -> u64 {
        self.block.len() as u64 + self.segments.iter().map(|(_, length)| length).sum::<u64>()
    }

    /// What stands before the data.
    pub fn block(&self) -> &[u8] {
        &self.block
    }

    /// Offset and length of each piece.
    pub fn segments(&self) -> &[(u64, u64)] {
        &self.segments
    }

    /// What tells a reader that this is such a file.
    pub fn records(&self, path: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("GNU.sparse.major", b"1".to_vec()),
            ("GNU.sparse.minor", b"0".to_vec()),
            ("GNU.sparse.name", path.to_vec()),
            ("GNU.sparse.realsize", self.size.to_string().into_bytes()),
        ]
    }

    /// The name that a reader without this form sees: not the file's own, for it would not be the file.
    pub fn name(path: &[u8]) -> Vec<u8> {
        let at = path.iter().rposition(|b| *b == b'/').map_or(0, |i| i + 1);
        [&path[..at], b"GNUSparseFile.0/", &path[at..]].concat()
    }
}
