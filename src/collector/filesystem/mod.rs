//! A tree as one tar stream, read without following links, without blocking and without running anything.
//!
//! Every step goes from an open directory to one name in it with `O_NOFOLLOW`, so that no link, not even one put there
//! meanwhile, leads out of the tree.

mod header;
mod mounts;
mod sparse;
#[cfg(test)]
mod tests;
mod unlinked;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::output::{Output, shown};
use super::wire::Note;
use header::Entry;
use mounts::Mounts;

pub use mounts::unescape;
pub use unlinked::write as unlinked;

/// Deeper directories are left out: each level is an open file here.
const MAX_DEPTH: usize = 400;
/// Hard links are told from copies for this many files; after that the content is there twice.
const MAX_LINKS: usize = 200_000;
/// Names of one directory that are held and sorted at a time.
const BATCH: usize = 50_000;

/// What not to take.
#[derive(Debug, Default)]
pub struct Limits {
    /// Paths without slashes at their ends, and why.
    pub exclude: Vec<(Vec<u8>, String)>,
    /// Bytes of the whole archive.
    pub bytes: Option<u64>,
    /// Bytes of one file.
    pub file: Option<u64>,
    /// Number of entries.
    pub files: Option<u64>,
}

/// Writes the tree under `root` with the end-of-archive blocks.
///
/// # Errors
/// When the root can't be opened or the output can't be written. What can't be read inside is noted instead.
pub fn write<W: Write>(out: &mut Output<W>, root: &str, limits: &Limits) -> io::Result<()> {
    let fd = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| io::Error::other(format!("can't open the target's root {root}: {e}")))?;
    let mounts = Mounts::below(root);
    let excluded = limits.exclude.iter().filter_map(|(path, why)| Some((behind(&fd, path)?, why.clone()))).collect();
    archive(out, fd, b"", mounts, excluded, limits)
}

fn archive<W: Write>(
    out: &mut Output<W>,
    fd: OwnedFd,
    base: &[u8],
    mounts: Mounts,
    excluded: HashMap<(u64, u64), String>,
    limits: &Limits,
) -> io::Result<()> {
    let mut walk =
        Walk { out, limits, mounts, excluded, links: HashMap::new(), noatime: true, full: false, blocks: Vec::new() };
    let stat = rustix::fs::fstat(&fd)?;
    let name = if base.is_empty() { b"./" } else { base };
    walk.head(&Entry { kind: b'5', name, ..Entry::default() }, &stat)?;
    walk.tree(fd, base)?;
    // Two blocks of zeros end an archive: their absence tells that it was cut. GNU tar fills a record of 20.
    let size = walk.out.size();
    walk.out.zeros((size + 1024).next_multiple_of(10_240) - size)
}

/// The same of one directory in that tree: the path may go through links, which never lead out of it. Where there is
/// none, an empty archive says so.
///
/// # Errors
/// As [`write`]; and when the kernel (before 5.6) can't resolve inside a tree.
pub fn write_below<W: Write>(out: &mut Output<W>, root: &str, below: &str, limits: &Limits) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let opened = rustix::fs::open(root, flags, Mode::empty())
        .and_then(|fd| rustix::fs::openat2(&fd, below, flags, Mode::empty(), inside));
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT) => {
            out.note(&Note::Info { text: format!("there is no {below} in the target") })?;
            return out.zeros(10_240);
        }
        Err(error) => return Err(io::Error::other(format!("can't open {below} in the target: {error}"))),
    };
    // Named as in the target, not from the directory on.
    let base = [below.trim_matches('/').as_bytes(), b"/"].concat();
    archive(out, fd, &base, Mounts::default(), HashMap::new(), limits)
}

/// One regular file of a directory, as it is.
///
/// # Errors
/// When it is none, can't be opened, or the output can't be written.
pub fn write_file<W: Write>(out: &mut Output<W>, root: &str, name: &str, most: Option<u64>) -> io::Result<()> {
    let refused = |e: Errno| io::Error::other(format!("can't open {name:?} in {root}: {e}"));
    let dir = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let fd = dir.and_then(|dir| rustix::fs::openat2(&dir, name, flags, Mode::empty(), inside)).map_err(refused)?;
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other(format!("{name:?} in {root} is no regular file")));
    }
    let most = most.unwrap_or(u64::MAX);
    let mut done = 0;
    while done < most {
        let room = out.room(1)?;
        let want = room.len().min(usize::try_from(most - done).unwrap_or(usize::MAX));
        match rustix::io::pread(&fd, &mut room[..want], done) {
            Ok(0) => break,
            Ok(read) => {
                out.filled(read);
                done += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(io::Error::other(format!("{name:?} can't be read to its end: {error}"))),
        }
    }
    if done == most && u64::try_from(stat.st_size).unwrap_or(0) > most {
        out.truncate(format!("the limit of {most} bytes was met"));
    }
    out.entries = 1;
    Ok(())
}

/// Device and inode of what an excluded path leads to inside the tree: it may go through links, and the walk meets it
/// under its real name. None where it is not there, or the kernel (before 5.6) can't resolve inside a tree.
fn behind(root: &OwnedFd, path: &[u8]) -> Option<(u64, u64)> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let fd = rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside).ok()?;
    let stat = rustix::fs::fstat(&fd).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

/// One directory that is being read.
struct Level {
    dir: Dir,
    fd: OwnedFd,
    /// Length of the path with the slash.
    path: usize,
    /// Sorted backwards.
    names: Vec<(CString, FileType)>,
    ended: bool,
}

struct Walk<'a, W: Write> {
    out: &'a mut Output<W>,
    limits: &'a Limits,
    mounts: Mounts,
    /// What the excluded paths lead to, and why.
    excluded: HashMap<(u64, u64), String>,
    links: HashMap<(u64, u64), Vec<u8>>,
    /// Whether O_NOATIME was never refused.
    noatime: bool,
    full: bool,
    blocks: Vec<u8>,
}

impl<W: Write> Walk<'_, W> {
    fn tree(&mut self, root: OwnedFd, base: &[u8]) -> io::Result<()> {
        let mut path = base.to_vec();
        let mut levels = Vec::new();
        self.enter(&mut levels, root, &path)?;
        while let Some(level) = levels.last_mut() {
            if self.full {
                break;
            }
            path.truncate(level.path);
            let Some((name, kind)) = level.names.pop() else {
                if level.ended {
                    levels.pop();
                } else {
                    self.more(&mut levels, &path)?;
                }
                continue;
            };
            path.extend_from_slice(name.to_bytes());
            if let Some(inside) = self.entry(level.fd.as_fd(), &name, kind, &path)? {
                if levels.len() >= MAX_DEPTH {
                    self.out.left_out(&path, format!("deeper than {MAX_DEPTH} directories"))?;
                    self.out.truncate(format!("directories deeper than {MAX_DEPTH}"));
                    continue;
                }
                path.push(b'/');
                self.enter(&mut levels, inside, &path)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, levels: &mut Vec<Level>, fd: OwnedFd, path: &[u8]) -> io::Result<()> {
        match Dir::read_from(&fd) {
            Ok(dir) => levels.push(Level { dir, fd, path: path.len(), names: Vec::new(), ended: false }),
            Err(error) => self.unreadable(path, "can't be listed", error)?,
        }
        Ok(())
    }

    /// The next names of the innermost directory.
    fn more(&mut self, levels: &mut [Level], path: &[u8]) -> io::Result<()> {
        let Some(level) = levels.last_mut() else { return Ok(()) };
        while level.names.len() < BATCH {
            match level.dir.read() {
                Some(Ok(entry)) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Some(Ok(entry)) => level.names.push((entry.file_name().to_owned(), entry.file_type())),
                Some(Err(error)) => {
                    level.ended = true;
                    self.unreadable(path, "its list was cut", error)?;
                    break;
                }
                None => {
                    level.ended = true;
                    break;
                }
            }
        }
        level.names.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        Ok(())
    }

    /// Writes one entry; a directory to go into comes back open.
    fn entry(&mut self, at: BorrowedFd<'_>, name: &CStr, kind: FileType, path: &[u8]) -> io::Result<Option<OwnedFd>> {
        if self.limits.files.is_some_and(|most| self.out.entries >= most) {
            self.full = true;
            self.out.truncate(format!("the limit of {} entries was met", self.out.entries));
            return Ok(None);
        }
        if let Some((_, why)) = self.limits.exclude.iter().find(|(excluded, _)| excluded == path) {
            let why = why.clone();
            self.out.left_out(path, why)?;
            return Ok(None);
        }
        let base = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match kind {
            FileType::RegularFile => self.open(at, name, base),
            FileType::Directory => self.open(at, name, base | OFlags::DIRECTORY),
            _ => return self.unopened(at, name, path).map(|()| None),
        };
        let fd = match opened {
            Ok(fd) => fd,
            // Replaced since it was listed.
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return self.unopened(at, name, path).map(|()| None),
            Err(error) => {
                self.unreadable(path, "can't be opened", error)?;
                return Ok(None);
            }
        };
        let stat = rustix::fs::fstat(&fd)?;
        if let Some(why) = self.excluded.get(&(stat.st_dev, stat.st_ino)) {
            let why = why.clone();
            self.out.left_out(path, why)?;
            return Ok(None);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(&fd, path, &stat).map(|()| None),
            FileType::Directory => {
                let name = [path, b"/"].concat();
                self.head(&Entry { kind: b'5', name: &name, ..Entry::default() }, &stat)?;
                match self.mounts.why_not(path) {
                    Some(why) => self.out.left_out(path, why).map(|()| None),
                    None => Ok(Some(fd)),
                }
            }
            _ => self.unopened(at, name, path).map(|()| None),
        }
    }

    /// Reading leaves no trace in the access time where we may ask for that.
    fn open(&mut self, at: BorrowedFd<'_>, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        if self.noatime {
            match rustix::fs::openat(at, name, flags | OFlags::NOATIME, Mode::empty()) {
                Err(Errno::PERM) => {
                    self.noatime = false;
                    let _ = self.out.warn("O_NOATIME was refused: access times of files may have changed".into());
                }
                other => return other,
            }
        }
        rustix::fs::openat(at, name, flags, Mode::empty())
    }

    /// Links, devices and FIFOs are described, never opened.
    fn unopened(&mut self, at: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> io::Result<()> {
        let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return self.out.warn(format!("{}: was gone before it was read", shown(path))),
            Err(error) => return self.unreadable(path, "can't be described", error),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        match (kind, header::kind_of(kind)) {
            (FileType::RegularFile | FileType::Directory, _) => {
                self.out.unreadable += 1;
                self.out.left_out(path, "it was replaced by something else while it was read")
            }
            (FileType::Symlink, _) => match rustix::fs::readlinkat(at, name, Vec::new()) {
                Ok(target) => {
                    let target = target.as_bytes();
                    self.head(&Entry { kind: b'2', name: path, target, ..Entry::default() }, &stat)
                }
                Err(error) => self.unreadable(path, "can't be read", error),
            },
            (_, Some(kind)) => self.head(&Entry { kind, name: path, ..Entry::default() }, &stat),
            (_, None) => self.out.left_out(path, "a socket: tar has no form for it"),
        }
    }

    fn file(&mut self, fd: &OwnedFd, path: &[u8], stat: &Stat) -> io::Result<()> {
        let key = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1
            && let Some(first) = self.links.get(&key)
        {
            let first = first.clone();
            return self.head(&Entry { kind: b'1', name: path, target: &first, ..Entry::default() }, stat);
        }
        let apparent = u64::try_from(stat.st_size).unwrap_or(0);
        let map = sparse::map(fd, stat);
        let size = map.as_ref().map_or(apparent, sparse::Map::stored);
        let over = |limit: Option<u64>, already: u64| limit.filter(|most| already.saturating_add(size) > *most);
        let reached = over(self.limits.file, 0)
            .map(|most| format!("larger than the limit of {most} bytes for one file"))
            .or_else(|| {
                over(self.limits.bytes, self.out.size()).map(|most| format!("the limit of {most} bytes in all"))
            });
        if let Some(why) = reached {
            self.out.left_out(path, format!("{why}: {apparent} bytes, {size} to store"))?;
            self.out.truncate(why);
            return Ok(());
        }
        if stat.st_nlink > 1 && self.links.len() < MAX_LINKS {
            self.links.insert(key, path.to_vec());
        }
        let mut more = Vec::new();
        if stat.st_mode & 0o111 != 0 {
            // File capabilities are as good as setuid, and show only here.
            let mut value = [0; 64];
            if let Ok(length) = rustix::fs::fgetxattr(fd, "security.capability", &mut value) {
                more.push(("SCHILY.xattr.security.capability", value[..length].to_vec()));
            }
        }
        match map {
            Some(map) => {
                more.extend(map.records(path));
                let name = sparse::Map::name(path);
                self.head(&Entry { kind: b'0', name: &name, size, more, ..Entry::default() }, stat)?;
                self.out.put(map.block())?;
                for (offset, length) in map.segments() {
                    self.content(fd, path, *offset, *length, false)?;
                }
            }
            None => {
                self.head(&Entry { kind: b'0', name: path, size, more, ..Entry::default() }, stat)?;
                self.content(fd, path, 0, size, true)?;
            }
        }
        self.out.zeros(size.next_multiple_of(512) - size)
    }

    /// Exactly `size` bytes from `offset`: a file that shrank is filled with zeros, one that grew is cut. `whole` when
    /// the file should end there.
    fn content(&mut self, fd: &OwnedFd, path: &[u8], offset: u64, size: u64, whole: bool) -> io::Result<()> {
        let mut done = 0;
        while done < size {
            let left = size - done;
            // One byte more than is left shows a file that grew, at no further call.
            let want = usize::try_from(left).unwrap_or(usize::MAX).saturating_add(usize::from(whole));
            let room = self.out.room(want)?;
            let most = room.len().min(want);
            match rustix::io::pread(fd, &mut room[..most], offset + done) {
                Ok(0) => break,
                Ok(read) => {
                    let read = read as u64;
                    self.out.filled(usize::try_from(read.min(left)).unwrap_or(0));
                    done += read.min(left);
                    if read > left {
                        self.out.warn(format!("{}: grew while it was read, cut at {size} bytes", shown(path)))?;
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.out.unreadable += 1;
                    self.out.warn(format!("{}: could not be read to its end: {error}", shown(path)))?;
                    break;
                }
            }
        }
        if done < size {
            self.out.warn(format!("{}: {} of its bytes were missing and are zeros here", shown(path), size - done))?;
            self.out.zeros(size - done)?;
        }
        Ok(())
    }

    fn head(&mut self, entry: &Entry<'_>, stat: &Stat) -> io::Result<()> {
        self.out.entries += 1;
        self.blocks.clear();
        header::write(&mut self.blocks, entry, stat);
        self.out.put(&self.blocks)
    }

    fn unreadable(&mut self, path: &[u8], what: &str, error: Errno) -> io::Result<()> {
        if error == Errno::NOENT {
            return self.out.warn(format!("{}: was gone before it was read", shown(path)));
        }
        self.out.unreadable += 1;
        self.out.left_out(path, format!("{what}: {error}"))
    }
}
