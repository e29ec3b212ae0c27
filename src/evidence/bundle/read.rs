//! Reading a bundle as a stranger's file: every entry checked before a byte of it is used.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use super::manifest;
use crate::cluster::{Fault, Problem};

/// An entry that has passed.
pub(super) struct Member<'a> {
    /// Path in the bag.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Its content.
    pub content: &'a mut dyn Read,
}

/// What the archive itself showed.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// The bag's folder.
    pub stem: String,
    /// Problems of the archive: kind and text.
    pub problems: Vec<(&'static str, String)>,
}

/// Hands over each regular file of the bag, in order. Links, devices, unsafe names, a second folder, a second entry of
/// the same name, an order that is not sorted and a missing end are recorded, and never handed over.
pub(super) fn walk(path: &Path, each: &mut dyn FnMut(Member<'_>) -> Result<(), Problem>) -> Result<Walk, Problem> {
    let file = File::open(path).map_err(|e| Problem::io("can't read the bundle", path, &e))?;
    let mut walk = Walk::default();
    let mut end = EndOf { from: BufReader::with_capacity(256 * 1024, file), zeros: 0, read: 0 };
    let mut seen = std::collections::BTreeSet::new();
    let mut last = String::new();
    {
        let mut archive = tar::Archive::new(&mut end);
        archive.set_ignore_zeros(false);
        let entries = archive.entries().map_err(|e| unreadable(path, &e))?;
        for entry in entries {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    walk.problems.push(("truncated", format!("the archive can't be read to its end: {error}")));
                    return Ok(walk);
                }
            };
            let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let kind = entry.header().entry_type();
            let name = raw.trim_end_matches('/').to_string();
            if !kind.is_file() && !kind.is_dir() {
                walk.problems.push(("added", format!("{raw:?} is neither a file nor a directory")));
                continue;
            }
            if !manifest::safe(&name) {
                walk.problems.push(("added", format!("{raw:?} is no safe name")));
                continue;
            }
            let (stem, rest) = name.split_once('/').unwrap_or((&name, ""));
            if walk.stem.is_empty() {
                walk.stem = stem.into();
            } else if walk.stem != stem {
                walk.problems.push(("added", format!("{raw:?} is outside of the bag {}", walk.stem)));
                continue;
            }
            if !seen.insert(name.clone()) {
                walk.problems.push(("added", format!("{raw:?} is there a second time")));
                continue;
            }
            if name < last {
                walk.problems
                    .push(("reordered", format!("{raw:?} stands after {last:?}: the entries are not in their order")));
            }
            last.clone_from(&name);
            if kind.is_dir() || rest.is_empty() {
                continue;
            }
            let (path, size) = (rest.to_string(), entry.size());
            let result = each(Member { path, size, content: &mut entry });
            match result {
                Ok(()) => {}
                Err(problem) if problem.fault == Fault::Transient => {
                    walk.problems.push(("truncated", problem.message));
                    return Ok(walk);
                }
                Err(problem) => return Err(problem),
            }
        }
    }
    // The crate stops at the first block of zeros: what follows must be the second, and nothing else.
    let before = end.read;
    let mut rest = Vec::new();
    end.from.by_ref().take(64 * 1024).read_to_end(&mut rest).map_err(|e| unreadable(path, &e))?;
    if end.zeros < 512 && rest.len() < 512 || before == 0 {
        walk.problems.push(("truncated", "the archive's end is missing".into()));
    }
    if rest.iter().any(|b| *b != 0) {
        walk.problems.push(("added", "there are bytes after the archive's end".into()));
    } else if rest.len() > 64 * 1024 - 1 {
        walk.problems.push(("added", "there is more than an archive's end after its last entry".into()));
    }
    Ok(walk)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(Fault::Verification, format!("{} is no tar archive that can be read: {error}", path.display()))
}

/// Counts zeros at the end of what was read.
struct EndOf<R> {
    from: R,
    zeros: usize,
    read: u64,
}

impl<R: Read> Read for EndOf<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(buffer)?;
        let tail = buffer[..n].iter().rev().take_while(|b| **b == 0).count();
        self.zeros = if tail == n { self.zeros + n } else { tail };
        self.read += n as u64;
        Ok(n)
    }
}
