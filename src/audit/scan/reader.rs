//! Reads what can only be read in order: compressed files, standard input, documents.

use std::sync::atomic::{AtomicUsize, Ordering};

use memchr::{memchr, memchr_iter};

use super::feed::Unit;
use super::{MAX_LINE, Opened, Shared, Watch};
use crate::audit::format::split::{Part, Splitter};
use crate::audit::source::{Blocks, Stream, document};

/// Bytes of records that are handed on together.
const BATCH: usize = 256 * 1024;

/// Reads streams until none is left. Which broke off, and why.
pub(super) fn run<W: Watch>(shared: &Shared<'_, W>, streams: &[usize], next: &AtomicUsize) -> Vec<(usize, String)> {
    let mut broke = Vec::new();
    while let Some(file) = streams.get(next.fetch_add(1, Ordering::Relaxed)) {
        let opened = &shared.files[*file];
        match stream(opened) {
            Ok(stream) => {
                let mut blocks = Blocks::of(stream);
                if !read(shared, *file, &mut blocks) {
                    break;
                }
                broke.extend(blocks.broke.map(|why| (*file, why)));
            }
            Err(e) => broke.push((*file, e.to_string())),
        }
    }
    shared.feed.reader_ended();
    broke
}

fn stream(opened: &Opened) -> std::io::Result<Stream> {
    match &opened.handle {
        None if opened.file.is_remote() => Stream::remote(&opened.file.path, opened.file.packing),
        None => Stream::stdin(),
        Some(handle) => Stream::of(handle.try_clone()?, opened.file.packing),
    }
}

/// False: nobody takes it any more.
fn read<W: Watch>(shared: &Shared<'_, W>, file: usize, blocks: &mut Blocks) -> bool {
    let feed = &shared.feed;
    let mut block = blocks.next();
    let head = block.as_ref().map_or(&[][..], |b| b.bytes.as_slice());
    if shared.files[file].ends.document || document(head, blocks.ended()) {
        return documents(shared, file, block, blocks);
    }
    let (mut line, mut skipping) = (1, false);
    while let Some(mut now) = block {
        block = blocks.next();
        let newlines = memchr_iter(b'\n', &now.bytes).count() as u64;
        let first = line;
        line += newlines;
        if skipping {
            // The rest of a line that is too long.
            let Some(end) = memchr(b'\n', &now.bytes) else { continue };
            now.bytes.drain(..=end);
            now.offset += end as u64 + 1;
            skipping = false;
            if now.bytes.is_empty() {
                continue;
            }
        }
        if newlines == 0 && now.bytes.len() > MAX_LINE {
            skipping = true;
            let what = "longer than 32 MiB";
            if !feed.put(Unit::Damage { file, offset: now.offset, line: Some(first), what }) {
                return false;
            }
            continue;
        }
        let first = line - memchr_iter(b'\n', &now.bytes).count() as u64;
        let last = block.is_none();
        if !feed.put(Unit::Lines { file, offset: now.offset, line: first, bytes: now.bytes, last }) {
            return false;
        }
    }
    true
}

fn documents<W: Watch>(
    shared: &Shared<'_, W>,
    file: usize,
    mut block: Option<crate::audit::source::Block>,
    blocks: &mut Blocks,
) -> bool {
    let feed = &shared.feed;
    let mut splitter = Splitter::default();
    let (mut records, mut bytes, mut damage) = (Vec::new(), 0, Vec::new());
    loop {
        let mut take = |part: Part<'_>| match part {
            Part::Whole { offset, bytes: text } => {
                bytes += text.len();
                records.push((offset, text.to_vec()));
            }
            Part::Broken { offset, what } => damage.push((offset, what)),
        };
        let ended = block.is_none();
        match block {
            Some(block) => splitter.feed(block.offset, &block.bytes, &mut take),
            None => splitter.finish(&mut take),
        }
        for (offset, what) in damage.drain(..) {
            feed.put(Unit::Damage { file, offset, line: None, what });
        }
        if bytes >= BATCH || ended {
            bytes = 0;
            if !feed.put(Unit::Records { file, records: std::mem::take(&mut records) }) {
                return false;
            }
        }
        if ended {
            return true;
        }
        block = blocks.next();
    }
}
