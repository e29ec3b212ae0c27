//! What running processes hold that has no name any more: deleted executables, memfds, deleted files still open or
//! mapped. It is gone with the process.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};

use rustix::fs::{FileType, Mode, OFlags};

use super::header::Entry;
use super::mounts::Mounts;
use super::{Limits, Output, Walk};

/// Open files of one process that are looked at.
const MAX_FDS: usize = 65_536;
/// Bytes of a memory map that are read.
const MAX_MAPS: u64 = 16 << 20;

/// Writes them as a tar: `pid/PID/exe`, `pid/PID/fd/N`, `pid/PID/map/RANGE`; the list of processes says what each was
/// called. One that several hold is there once, and then as hard links.
///
/// # Errors
/// When the output can't be written. What can't be read is noted instead.
pub fn write<W: Write>(out: &mut Output<W>, pids: &[u32], limits: &Limits) -> io::Result<()> {
    let mut walk = Walk {
        out,
        limits,
        mounts: Mounts::default(),
        excluded: HashMap::new(),
        links: HashMap::new(),
        noatime: false,
        full: false,
        blocks: Vec::new(),
    };
    let mut seen: HashMap<(u64, u64), String> = HashMap::new();
    for pid in pids {
        for (from, name) in candidates(*pid) {
            walk.nameless(&from, name, &mut seen)?;
        }
    }
    let size = walk.out.size();
    walk.out.zeros((size + 1024).next_multiple_of(10_240) - size)
}

/// Links under `/proc/PID` to what has no name, and what each is called in the archive.
fn candidates(pid: u32) -> Vec<(String, String)> {
    let process = format!("/proc/{pid}");
    let nameless = |link: &str| {
        fs::read_link(link).is_ok_and(|target| {
            let target = target.to_string_lossy();
            target.ends_with(" (deleted)") || target.starts_with("/memfd:")
        })
    };
    let mut all = vec![(format!("{process}/exe"), format!("pid/{pid}/exe"))];
    for entry in fs::read_dir(format!("{process}/fd")).into_iter().flatten().flatten().take(MAX_FDS) {
        let number = entry.file_name().to_string_lossy().into_owned();
        all.push((format!("{process}/fd/{number}"), format!("pid/{pid}/fd/{number}")));
    }
    let mut maps = Vec::new();
    if let Ok(file) = fs::File::open(format!("{process}/maps")) {
        let _ = io::Read::read_to_end(&mut io::Read::take(file, MAX_MAPS), &mut maps);
    }
    for line in String::from_utf8_lossy(&maps).lines().filter(|l| l.ends_with(" (deleted)") || l.contains(" /memfd:")) {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if rights.contains('x') && range.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            all.push((format!("{process}/map_files/{range}"), format!("pid/{pid}/map/{range}")));
        }
    }
    all.retain(|(link, _)| nameless(link));
    all
}

impl<W: Write> Walk<'_, W> {
    fn nameless(&mut self, from: &str, name: String, seen: &mut HashMap<(u64, u64), String>) -> io::Result<()> {
        // The link is the kernel's own and leads to the file itself, which has no name that could be swapped.
        let fd = match rustix::fs::open(from, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => fd,
            Err(error) => return self.unreadable(name.as_bytes(), "can't be opened", error),
        };
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        if let Some(first) = seen.get(&(stat.st_dev, stat.st_ino)) {
            let entry = Entry { kind: b'1', name: name.as_bytes(), target: first.as_bytes(), ..Entry::default() };
            return self.head(&entry, &stat);
        }
        self.file(&fd, name.as_bytes(), &stat)?;
        seen.insert((stat.st_dev, stat.st_ino), name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_executable_is_there_by_its_content() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("implant");
        fs::copy("/bin/sleep", &program).unwrap();
        let mut child = std::process::Command::new(&program).arg("30").spawn().unwrap();
        fs::remove_file(&program).unwrap();
        let mut stream = Vec::new();
        let mut out = Output::new(&mut stream, true);
        write(&mut out, &[child.id()], &Limits::default()).unwrap();
        out.finish().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let mut archive = tar::Archive::new(stream.as_slice());
        let mut taken = HashMap::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            io::Read::read_to_end(&mut entry, &mut content).unwrap();
            taken.insert(name, content);
        }
        assert_eq!(taken[&format!("pid/{}/exe", child.id())], fs::read("/bin/sleep").unwrap());
        assert!(taken.keys().all(|name| name.starts_with("pid/")), "{:?}", taken.keys());
    }
}
