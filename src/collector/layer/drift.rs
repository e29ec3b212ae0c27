//! The drift list: each path that the writable layer adds, changes or deletes, as JSON lines, with what makes it stand
//! out. Names are the target's own: escape them before they are printed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;
use serde_json::json;

use super::Layers;
use crate::collector::output::{Output, hash_of, shown};

/// Directories deeper than this are left out: each level is an open file here.
const MAX_DEPTH: usize = 400;
/// Entries; a layer with more is cut, and said to be.
const MAX_ENTRIES: u64 = 1_000_000;
/// Larger programs are not hashed.
const MAX_HASH: u64 = 256 << 20;

/// Writes the list: a line about the layers, one for each path, and the counts.
///
/// # Errors
/// When the layers can't be opened or the output can't be written.
pub fn write<W: Write>(out: &mut Output<W>, layers: &Layers) -> io::Result<()> {
    let upper = directory(&layers.upper)?;
    let lower: Vec<OwnedFd> = layers.lower.iter().map(|path| directory(path)).collect::<io::Result<_>>()?;
    let mut walk = Walk { out, lower, mounted: &layers.mounted, counts: BTreeMap::new(), full: false };
    walk.line(&json!({"format": 1, "snapshotter": "overlay", "upper": layers.upper.to_string_lossy(), "layers": layers.lower.len()}))?;
    walk.tree(&upper, &mut Vec::new(), 0, true)?;
    let counts = std::mem::take(&mut walk.counts);
    walk.line(&json!({ "counts": counts }))
}

fn directory(path: &Path) -> io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| io::Error::other(format!("can't open the layer {}: {e}", path.display())))
}

struct Walk<'a, W: Write> {
    out: &'a mut Output<W>,
    lower: Vec<OwnedFd>,
    mounted: &'a BTreeSet<Vec<u8>>,
    counts: BTreeMap<String, u64>,
    full: bool,
}

impl<W: Write> Walk<'_, W> {
    /// `known` when the image has the directory too, and it is not hidden.
    fn tree(&mut self, dir: &OwnedFd, path: &mut Vec<u8>, depth: usize, known: bool) -> io::Result<()> {
        if depth > MAX_DEPTH {
            self.out.truncate(format!("directories deeper than {MAX_DEPTH}"));
            return self.out.left_out(path, format!("deeper than {MAX_DEPTH} directories"));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => names.push(entry.file_name().to_owned()),
                Err(error) => self.unreadable(path, &format!("its list was cut: {error}"))?,
            }
        }
        names.sort_unstable();
        for name in names {
            if self.full {
                return Ok(());
            }
            let length = path.len();
            path.extend_from_slice(name.to_bytes());
            if let Some((inside, known)) = self.entry(dir.as_fd(), &name, path, known)? {
                path.push(b'/');
                self.tree(&inside, path, depth + 1, known)?;
            }
            path.truncate(length);
        }
        Ok(())
    }

    /// Tells of one path; a directory to go into comes back open.
    fn entry(
        &mut self,
        at: BorrowedFd<'_>,
        name: &CStr,
        path: &[u8],
        known: bool,
    ) -> io::Result<Option<(OwnedFd, bool)>> {
        if self.out.entries >= MAX_ENTRIES {
            self.full = true;
            self.out.truncate(format!("the limit of {MAX_ENTRIES} entries was met"));
            return Ok(None);
        }
        let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return self.unreadable(path, &format!("can't be described: {error}")).map(|()| None),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let before = known.then(|| self.before(path)).flatten();
        // A deleted file is a character device 0/0 (Linux, Documentation/filesystems/overlayfs.rst).
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return self.tell("deleted", path, None, before.as_ref()).map(|()| None);
        }
        if kind != FileType::Directory {
            let change = if before.is_some() { "changed" } else { "added" };
            let facts = self.facts(at, name, kind, &stat);
            return self.tell(change, path, Some(facts), before.as_ref()).map(|()| None);
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(at, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) => return self.unreadable(path, &format!("can't be opened: {error}")).map(|()| None),
        };
        let mut value = [0; 8];
        let opaque =
            rustix::fs::fgetxattr(&fd, "trusted.overlay.opaque", &mut value).is_ok_and(|n| value[..n] == *b"y");
        let is_directory = before.as_ref().is_some_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
        if !is_directory || opaque {
            let change = match (before.is_some(), opaque) {
                (true, _) => "replaced",
                (false, _) => "added",
            };
            let facts = self.facts(at, name, kind, &stat);
            self.tell(change, path, Some(facts), before.as_ref())?;
        } else if before.as_ref().is_some_and(|s| s.st_mode != stat.st_mode || s.st_uid != stat.st_uid) {
            let facts = self.facts(at, name, kind, &stat);
            self.tell("changed", path, Some(facts), before.as_ref())?;
        }
        Ok(Some((fd, is_directory && !opaque)))
    }

    /// What the image has there: the topmost layer decides.
    fn before(&self, path: &[u8]) -> Option<Stat> {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        for layer in &self.lower {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let Ok(fd) = rustix::fs::openat2(layer, path, flags, Mode::empty(), inside) else { continue };
            let stat = rustix::fs::fstat(&fd).ok()?;
            let gone = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0;
            return (!gone).then_some(stat);
        }
        None
    }

    fn facts(&self, at: BorrowedFd<'_>, name: &CStr, kind: FileType, stat: &Stat) -> serde_json::Value {
        let mut flags = Vec::new();
        let (mut sha256, mut target) = (None, None);
        if stat.st_mode & 0o4000 != 0 {
            flags.push("setuid");
        }
        if stat.st_mode & 0o2000 != 0 && kind == FileType::RegularFile {
            flags.push("setgid");
        }
        match kind {
            FileType::Symlink => {
                target = rustix::fs::readlinkat(at, name, Vec::new()).ok().map(|t| shown(t.as_bytes()));
            }
            FileType::RegularFile => {
                let base = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(at, name, base | OFlags::NOATIME, Mode::empty())
                    .or_else(|_| rustix::fs::openat(at, name, base, Mode::empty()));
                let mut head = [0; 4];
                if let Ok(fd) = opened
                    && rustix::fs::fstat(&fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
                {
                    let read = rustix::io::pread(&fd, &mut head, 0).unwrap_or(0);
                    let elf = head[..read] == *b"\x7fELF";
                    if elf {
                        flags.push("elf");
                    } else if head[..read].starts_with(b"#!") {
                        flags.push("script");
                    }
                    if stat.st_mode & 0o111 != 0 {
                        flags.push("executable");
                    }
                    if rustix::fs::fgetxattr(&fd, "security.capability", &mut [0; 64]).is_ok() {
                        flags.push("capabilities");
                    }
                    let worth = elf || !flags.is_empty();
                    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                    if worth && size <= MAX_HASH {
                        let whole = io::Read::take(File::from(fd), MAX_HASH);
                        sha256 = hash_of(whole).ok().map(|(_, hash)| hash);
                    }
                }
            }
            _ => {}
        }
        let mut facts = json!({
            "kind": format!("{kind:?}"), "size": stat.st_size, "mode": format!("{:04o}", stat.st_mode & 0o7777),
            "uid": stat.st_uid, "gid": stat.st_gid, "mtime": stat.st_mtime, "ctime": stat.st_ctime,
        });
        for (key, value) in [("sha256", sha256), ("target", target)] {
            if let Some(value) = value {
                facts[key] = json!(value);
            }
        }
        if !flags.is_empty() {
            facts["flags"] = json!(flags);
        }
        facts
    }

    fn tell(
        &mut self,
        change: &str,
        path: &[u8],
        facts: Option<serde_json::Value>,
        before: Option<&Stat>,
    ) -> io::Result<()> {
        *self.counts.entry(change.into()).or_default() += 1;
        for flag in facts
            .iter()
            .filter(|_| !self.mounted.contains(path))
            .flat_map(|f| f["flags"].as_array().into_iter().flatten())
            .filter_map(|f| f.as_str())
        {
            *self.counts.entry(flag.into()).or_default() += 1;
        }
        let mut line = facts.unwrap_or_else(|| json!({}));
        if self.mounted.contains(path) {
            line["mount_point"] = json!(true);
        }
        line["change"] = json!(change);
        line["path"] = json!(format!("/{}", shown(path)));
        if let Some(stat) = before {
            line["before"] = json!({"size": stat.st_size, "mode": format!("{:04o}", stat.st_mode & 0o7777), "uid": stat.st_uid, "mtime": stat.st_mtime});
        }
        self.out.entries += 1;
        self.line(&line)
    }

    fn line(&mut self, value: &serde_json::Value) -> io::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        self.out.put(&text)
    }

    fn unreadable(&mut self, path: &[u8], why: &str) -> io::Result<()> {
        self.out.unreadable += 1;
        self.out.left_out(path, why)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use serde_json::Value;

    use super::*;

    /// Every path with what became of it. A deletion takes mknod(2), which the real cluster's tests try.
    #[test]
    fn each_change_is_told_and_what_stands_out() {
        let dir = tempfile::tempdir().unwrap();
        let (upper, top, base) = (dir.path().join("8"), dir.path().join("2"), dir.path().join("1"));
        for tree in [&upper, &top, &base] {
            fs::create_dir_all(tree.join("etc")).unwrap();
        }
        fs::write(base.join("etc/passwd"), "old").unwrap();
        fs::write(upper.join("etc/passwd"), "new").unwrap();
        fs::write(upper.join("etc/cron"), "#!/bin/sh\n").unwrap();
        fs::write(upper.join("implant"), b"\x7fELF....").unwrap();
        fs::set_permissions(upper.join("implant"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("/etc/shadow", upper.join("away")).unwrap();
        fs::create_dir(upper.join("new")).unwrap();
        fs::write(upper.join("new/a\n\u{1b}b"), "x").unwrap();
        let mut stream = Vec::new();
        let mut out = Output::new(&mut stream, true);
        write(&mut out, &Layers { upper, lower: vec![top, base], mounted: [b"etc/cron".to_vec()].into() }).unwrap();
        out.finish().unwrap();
        let lines: Vec<serde_json::Value> = stream
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .map(|l| serde_json::from_slice(l).unwrap())
            .collect();
        let told: Vec<(&str, &str)> = lines[1..lines.len() - 1]
            .iter()
            .map(|l| (l["change"].as_str().unwrap(), l["path"].as_str().unwrap()))
            .collect();
        let expected = [
            ("added", "/away"),
            ("added", "/etc/cron"),
            ("changed", "/etc/passwd"),
            ("added", "/implant"),
            ("added", "/new"),
            ("added", "/new/a\n\u{1b}b"),
        ];
        assert_eq!(told, expected);
        assert_eq!(lines[4]["flags"], json!(["setuid", "elf", "executable"]));
        assert_eq!(lines[4]["sha256"].as_str().map(str::len), Some(64));
        let counts = &lines.last().unwrap()["counts"];
        assert_eq!(
            (&counts["added"], &counts["changed"], &counts["script"]),
            (&json!(5), &json!(1), &Value::Null),
            "what is mounted on stands out by nothing"
        );
        assert_eq!(lines[2]["mount_point"], true);
    }
}
