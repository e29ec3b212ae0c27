//! Which files to read, and which were left and why.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cluster::Problem;

/// Files that are read at most; more than that is not an audit log's folder.
const MAX_FILES: usize = 1000;
/// How deep folders are looked into: one folder a control-plane node, and one more.
const MAX_DEPTH: usize = 3;

/// A file that will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes, when it was looked at; a live log grows.
    pub size: u64,
}

/// A file that was found and will not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRead {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub why: String,
    /// Whether it was named itself, not found in a folder.
    pub named: bool,
    /// Whether it may hold events: a compressed log does, a socket does not.
    pub may_hold_events: bool,
}

/// The files of these paths, folders looked into, each once and in the order of their names.
///
/// Errors: a path that is not there or may not be read, and more than 1000 files.
pub fn find(paths: &[PathBuf]) -> Result<(Vec<LogFile>, Vec<NotRead>), Problem> {
    let (mut files, mut left) = (Vec::new(), Vec::new());
    for path in paths {
        let io = |e: std::io::Error| read_problem(path, &e);
        // A path that a person named may be a link; links inside a folder are not followed.
        let meta = fs::metadata(path).map_err(io)?;
        if meta.is_dir() {
            walk(path, 1, &mut files, &mut left)?;
        } else {
            look(&fs::canonicalize(path).map_err(io)?, true, &mut files, &mut left)?;
        }
    }
    files.sort_by(|a: &LogFile, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    if files.len() > MAX_FILES {
        return Err(Problem::usage(format!("{} audit files: at most {MAX_FILES} are read at once", files.len()))
            .hint("name the folder or the files of the time that matters"));
    }
    Ok((files, left))
}

fn walk(dir: &Path, depth: usize, files: &mut Vec<LogFile>, left: &mut Vec<NotRead>) -> Result<(), Problem> {
    let io = |e: std::io::Error| read_problem(dir, &e);
    let dir = fs::canonicalize(dir).map_err(io)?;
    for entry in fs::read_dir(&dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|e| read_problem(&path, &e))?;
        let leave =
            |why: &str, may_hold_events| NotRead { path: path.clone(), why: why.into(), named: false, may_hold_events };
        if kind.is_symlink() {
            left.push(leave("a link in a folder is not followed: name its target", true));
        } else if kind.is_dir() {
            if depth < MAX_DEPTH {
                walk(&path, depth + 1, files, left)?;
            } else {
                left.push(leave("a folder too deep down: name it", true));
            }
        } else {
            look(&path, false, files, left)?;
        }
        if files.len() > 4 * MAX_FILES {
            break;
        }
    }
    Ok(())
}

fn look(path: &Path, named: bool, files: &mut Vec<LogFile>, left: &mut Vec<NotRead>) -> Result<(), Problem> {
    let mut leave = |why: &str, may_hold_events| {
        left.push(NotRead { path: path.into(), why: why.into(), named, may_hold_events });
        Ok(())
    };
    let meta = fs::metadata(path).map_err(|e| read_problem(path, &e))?;
    if !meta.is_file() {
        return leave("not a regular file", false);
    }
    let mut start = [0; 4];
    let mut got = 0;
    let mut file = fs::File::open(path).map_err(|e| read_problem(path, &e))?;
    while got < start.len() {
        match file.read(&mut start[got..]).map_err(|e| read_problem(path, &e))? {
            0 => break,
            n => got += n,
        }
    }
    match start {
        [0x1f, 0x8b, ..] => leave("compressed by gzip, which this version does not read: unpack it first", true),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            leave("compressed by zstd, which this version does not read: unpack it first", true)
        }
        _ => {
            files.push(LogFile { path: path.into(), size: meta.len() });
            Ok(())
        }
    }
}

/// A file of the responder's that can't be read; the general text would speak of the state directory.
pub(super) fn read_problem(path: &Path, error: &std::io::Error) -> Problem {
    Problem::usage(format!("can't read the audit log {}: {error}", path.display()))
        .hint("give `audit-log` a file or folder of the API server's audit log that you may read")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_looked_into_and_what_is_left_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("cp1")).unwrap();
        fs::write(at("cp1/audit.log"), "{}\n").unwrap();
        fs::write(at("audit-2.log"), "{}\n").unwrap();
        fs::write(at("old.log.gz"), [0x1f, 0x8b, 8, 0, 0]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("endless")).unwrap();
        let (files, left) = find(&[dir.path().into(), at("audit-2.log")]).unwrap();
        let names: Vec<_> = files.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["audit-2.log", "audit.log"], "each once");
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(left.iter().all(|l| l.may_hold_events && !l.named));
        let problem = find(&[at("missing")]).unwrap_err();
        assert!(problem.message.contains("missing"), "{problem}");
    }
}
