//! Listing, showing and unpacking: offline, and only what was checked.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::read::{Member, walk};
use super::{MAX_TAG, verify};
use crate::cluster::{Fault, Problem};
use crate::event::Artifact;

/// The artifacts' records, as the bundle tells them.
pub fn list(path: &Path) -> Result<Vec<Artifact>, Problem> {
    let mut bytes = Vec::new();
    show(path, "artifacts.json", &mut bytes)?;
    #[derive(serde::Deserialize)]
    struct Document {
        artifacts: Vec<Artifact>,
    }
    let document: Document = serde_json::from_slice(&bytes)
        .map_err(|e| Problem::new(Fault::Verification, format!("artifacts.json can't be read: {e}")))?;
    Ok(document.artifacts)
}

/// One member's bytes.
pub fn show(path: &Path, member: &str, out: &mut dyn Write) -> Result<(), Problem> {
    let mut found = false;
    let mut names = Vec::new();
    walk(path, &mut |m: Member<'_>| {
        if m.path == member && !found {
            found = true;
            let copied =
                std::io::copy(m.content, out).map_err(|e| Problem::failed(format!("can't write {member}: {e}")))?;
            if copied != m.size {
                return Err(Problem::new(
                    Fault::Verification,
                    format!("{member} ends after {copied} of {} bytes", m.size),
                ));
            }
        } else if names.len() < 10_000 {
            names.push(m.path);
        }
        Ok(())
    })?;
    if found {
        return Ok(());
    }
    let near = names.iter().max_by(|a, b| strsim::jaro_winkler(a, member).total_cmp(&strsim::jaro_winkler(b, member)));
    let problem = Problem::usage(format!("the bundle has no {member:?}"));
    Err(match near {
        Some(near) => problem.hint(format!("did you mean {near}? `quell bundle list` shows all")),
        None => problem,
    })
}

/// Unpacks into a directory that is new or empty; the number of files. Never writes outside of it, follows no link, makes
/// no link or device, sets no special bits. A bundle that does not verify is refused unless `force`.
pub fn extract(path: &Path, target: &Path, force: bool) -> Result<usize, Problem> {
    let report = verify(path)?;
    if !report.ok() && !force {
        return Err(Problem::new(
            Fault::Verification,
            format!("{} does not verify:\n{}", path.display(), report.text()),
        )
        .hint("--force unpacks it all the same"));
    }
    match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_dir() => {
            let empty = fs::read_dir(target).map_err(|e| Problem::io("can't read", target, &e))?.next().is_none();
            if !empty {
                return Err(Problem::refused(format!("{} is not empty", target.display()))
                    .hint("give a directory that is new or empty"));
            }
        }
        Ok(_) => return Err(Problem::refused(format!("{} is no directory", target.display()))),
        Err(_) => fs::create_dir(target).map_err(|e| Problem::io("can't create", target, &e))?,
    }
    let root = rustix::fs::open(target, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Problem::io("can't open", target, &e.into()))?;
    let mut count = 0;
    walk(path, &mut |member: Member<'_>| {
        let io = |e: std::io::Error| Problem::failed(format!("can't write {}: {e}", member.path));
        let parts: Vec<&str> = member.path.split('/').collect();
        let (name, folders) = parts.split_last().unwrap_or((&"", &[]));
        // Step by step with NOFOLLOW: whatever appears there meanwhile, nothing leads out.
        let mut at = root.try_clone().map_err(io)?;
        for folder in folders {
            match rustix::fs::mkdirat(&at, *folder, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(io(error.into())),
            }
            at =
                rustix::fs::openat(&at, *folder, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
                    .map_err(|e| io(e.into()))?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = if member.path == "verify.sh" { 0o755 } else { 0o644 };
        let fd = rustix::fs::openat(&at, *name, flags, Mode::from_raw_mode(mode)).map_err(|e| io(e.into()))?;
        std::io::copy(member.content, &mut fs::File::from(fd)).map_err(io)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// A member into memory, capped.
pub(super) fn into_memory(member: &mut Member<'_>) -> Result<Vec<u8>, Problem> {
    if member.size > MAX_TAG {
        return Err(Problem::new(
            Fault::Verification,
            format!("{} has {} bytes: too many for a tag file", member.path, member.size),
        ));
    }
    let mut bytes = Vec::new();
    let read = member.content.take(MAX_TAG).read_to_end(&mut bytes);
    match read {
        Ok(n) if n as u64 == member.size => Ok(bytes),
        _ => Err(Problem::new(Fault::Transient, format!("{} is cut short", member.path))),
    }
}
