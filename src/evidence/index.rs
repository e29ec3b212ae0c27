//! The index of a tar stream, made while it passes by: nothing is unpacked, nothing is held, nothing is believed.

use std::io::Write;

use serde_json::json;

const BLOCK: usize = 512;
/// A long name or a pax header may have this many bytes; more is damage.
const MAX_META: u64 = 1 << 20;

/// What an archive turned out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexSummary {
    /// Entries.
    pub entries: u64,
    /// Bytes of all files' contents, as the headers say.
    pub files_bytes: u64,
    /// The two blocks of zeros were there: it was not cut.
    pub end_of_archive: bool,
    /// Why it is no good archive, if it is none.
    pub damaged: Option<String>,
}

/// Takes an archive in pieces of any size and writes one JSON line an entry. Understands ustar, GNU long names and pax
/// paths and sizes; anything it does not is skipped by its size.
pub struct Indexer<W: Write> {
    out: W,
    block: Vec<u8>,
    /// Bytes of content still to be skipped or collected, padding included.
    left: u64,
    /// Collects a long name or a pax header.
    meta: Option<Meta>,
    next: Next,
    zeros: u8,
    summary: IndexSummary,
}

struct Meta {
    kind: u8,
    size: u64,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Next {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<W: Write> Indexer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Indexer<W> {
        Indexer {
            out,
            block: Vec::with_capacity(BLOCK),
            left: 0,
            meta: None,
            next: Next::default(),
            zeros: 0,
            summary: IndexSummary::default(),
        }
    }

    /// One piece of the archive. Never fails because of the archive; only because of `out`.
    pub fn push(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            if self.summary.damaged.is_some() || self.summary.end_of_archive {
                return Ok(());
            }
            if self.left > 0 {
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                if let Some(meta) = &mut self.meta {
                    let room = usize::try_from(meta.size).unwrap_or(0).saturating_sub(meta.bytes.len());
                    meta.bytes.extend_from_slice(&bytes[..take.min(room)]);
                }
                self.left -= take as u64;
                bytes = &bytes[take..];
                if self.left == 0 {
                    self.take_meta();
                }
                continue;
            }
            let take = (BLOCK - self.block.len()).min(bytes.len());
            self.block.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.block.len() == BLOCK {
                let block = std::mem::take(&mut self.block);
                self.header(&block)?;
                self.block.reserve(BLOCK);
            }
        }
        Ok(())
    }

    /// The end of the stream.
    pub fn finish(mut self) -> std::io::Result<(IndexSummary, W)> {
        self.out.flush()?;
        if !self.summary.end_of_archive && self.summary.damaged.is_none() && (self.left > 0 || !self.block.is_empty()) {
            self.summary.damaged = Some("it ends in the middle of an entry".into());
        }
        Ok((self.summary, self.out))
    }

    fn header(&mut self, block: &[u8]) -> std::io::Result<()> {
        if block.iter().all(|b| *b == 0) {
            self.zeros += 1;
            self.summary.end_of_archive = self.zeros == 2;
            return Ok(());
        }
        self.zeros = 0;
        let sum: u64 =
            block.iter().enumerate().map(|(i, b)| u64::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
        if number(&block[148..156]) != Some(sum) {
            self.summary.damaged =
                Some(format!("entry {} has a header with a wrong checksum", self.summary.entries + 1));
            return Ok(());
        }
        let kind = block[156];
        let Some(size) = self.next.size.take().or_else(|| number(&block[124..136])).filter(|s| *s < 1 << 60) else {
            self.summary.damaged = Some(format!("entry {} has no usable size", self.summary.entries + 1));
            return Ok(());
        };
        if matches!(kind, b'L' | b'K' | b'x' | b'g') {
            if size > MAX_META {
                self.summary.damaged =
                    Some(format!("entry {} has a name or extended header of {size} bytes", self.summary.entries + 1));
                return Ok(());
            }
            self.meta = Some(Meta { kind, size, bytes: Vec::new() });
            self.left = size.div_ceil(512) * 512;
            return Ok(());
        }
        // Links and devices have no content, whatever their size field claims.
        let content = if matches!(kind, b'1'..=b'6') { 0 } else { size };
        self.entry(block, kind, content)?;
        self.left = content.div_ceil(512) * 512;
        Ok(())
    }

    fn entry(&mut self, block: &[u8], kind: u8, size: u64) -> std::io::Result<()> {
        let next = std::mem::take(&mut self.next);
        let path = next.path.unwrap_or_else(|| {
            let name = text(&block[..100]).to_vec();
            let prefix = text(&block[345..500]);
            if &block[257..263] == b"ustar\0" && !prefix.is_empty() { [prefix, b"/", &name].concat() } else { name }
        });
        let link = next.link.unwrap_or_else(|| text(&block[157..257]).to_vec());
        let name = match kind {
            b'0' | 0 | b'7' => "file",
            b'1' => "hard-link",
            b'2' => "symlink",
            b'3' => "char-device",
            b'4' => "block-device",
            b'5' => "directory",
            b'6' => "fifo",
            b'S' => "sparse-file",
            _ => "other",
        };
        self.summary.entries += 1;
        self.summary.files_bytes = self.summary.files_bytes.saturating_add(size);
        let mut line = json!({
            "path": String::from_utf8_lossy(&path), "type": name, "size": size, "mode": format!("{:04o}", number(&block[100..108]).unwrap_or(0) & 0o7777),
            "uid": number(&block[108..116]), "gid": number(&block[116..124]), "mtime": number(&block[136..148]),
        });
        if !link.is_empty() {
            line["link"] = String::from_utf8_lossy(&link).into();
        }
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }

    fn take_meta(&mut self) {
        let Some(meta) = self.meta.take() else { return };
        match meta.kind {
            b'L' => self.next.path = Some(text(&meta.bytes).to_vec()),
            b'K' => self.next.link = Some(text(&meta.bytes).to_vec()),
            b'x' => self.pax(&meta.bytes),
            _ => {}
        }
    }

    /// `LENGTH KEY=VALUE\n`, again and again.
    fn pax(&mut self, mut bytes: &[u8]) {
        while let Some(space) = bytes.iter().position(|b| *b == b' ') {
            let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|t| t.parse::<usize>().ok());
            let Some(length) = length.filter(|l| *l > space + 1 && *l <= bytes.len()) else { return };
            let record = &bytes[space + 1..length - 1];
            if let Some(equals) = record.iter().position(|b| *b == b'=') {
                let value = record[equals + 1..].to_vec();
                match &record[..equals] {
                    b"path" => self.next.path = Some(value),
                    b"linkpath" => self.next.link = Some(value),
                    b"size" => self.next.size = String::from_utf8_lossy(&value).parse().ok(),
                    _ => {}
                }
            }
            bytes = &bytes[length..];
        }
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// Octal, or GNU's base 256 when the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let digits = &field[1..];
        let (high, low) = digits.split_at(digits.len().saturating_sub(8));
        if high.iter().any(|b| *b != 0) || field[0] != 0x80 {
            return None;
        }
        return Some(low.iter().fold(0, |n, b| n << 8 | u64::from(*b)));
    }
    let digits: Vec<u8> =
        field.iter().copied().skip_while(|b| *b == b' ').take_while(|b| *b != 0 && *b != b' ').collect();
    if digits.is_empty() {
        return Some(0);
    }
    digits.iter().try_fold(0u64, |n, b| {
        if (b'0'..=b'7').contains(b) { n.checked_mul(8)?.checked_add(u64::from(b - b'0')) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(bytes: &[u8], piece: usize) -> (IndexSummary, Vec<serde_json::Value>) {
        let mut indexer = Indexer::new(Vec::new());
        for part in bytes.chunks(piece) {
            indexer.push(part).unwrap();
        }
        let (summary, out) = indexer.finish().unwrap();
        (summary, String::from_utf8(out).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect())
    }

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let long = "d/".repeat(80) + "evil\n\u{1b}[31m";
        for (path, size) in [("a", 10), (long.as_str(), 700), ("../../etc/shadow", 0)] {
            let mut header = tar::Header::new_gnu();
            header.set_size(size);
            header.set_mode(0o4755);
            if path.starts_with("..") {
                header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
                header.set_cksum();
                builder.append(&header, std::io::empty()).unwrap();
            } else {
                builder.append_data(&mut header, path, &vec![1; size as usize][..]).unwrap();
            }
        }
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        builder.append_link(&mut link, "l", "/etc/passwd").unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn pieces_do_not_matter_and_hostile_names_stay_data() {
        let bytes = archive();
        let whole = index(&bytes, bytes.len());
        for piece in [1, 7, 511, 512, 513] {
            assert_eq!(index(&bytes, piece), whole);
        }
        let (summary, lines) = whole;
        assert_eq!(
            (summary.entries, summary.files_bytes, summary.end_of_archive, summary.damaged),
            (4, 710, true, None)
        );
        assert!(lines[1]["path"].as_str().unwrap().ends_with("evil\n\u{1b}[31m"));
        assert_eq!(lines[2]["path"], "../../etc/shadow");
        assert_eq!((lines[3]["type"].as_str(), lines[3]["link"].as_str()), (Some("symlink"), Some("/etc/passwd")));
        assert_eq!(lines[0]["mode"], "4755");
    }

    #[test]
    fn every_cut_and_every_flipped_header_is_seen() {
        let bytes = archive();
        for cut in 1..bytes.len() - 1024 {
            let (summary, _) = index(&bytes[..cut], 512);
            assert!(!summary.end_of_archive, "cut at {cut}");
        }
        let mut flipped = bytes.clone();
        flipped[0] ^= 1;
        assert!(index(&flipped, 512).0.damaged.is_some());
        let mut huge = bytes;
        huge[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(index(&huge, 512).0.damaged.is_some(), "the checksum no longer fits");
        assert!(index(&[0xff; 4096], 512).0.damaged.is_some());
    }
}
