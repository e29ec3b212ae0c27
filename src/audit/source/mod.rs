//! Which files to read, in which order, and which were left and why.

mod ends;
mod place;
mod remote;
mod stream;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cluster::Problem;

pub(super) use ends::{DISORDER, Ends, document, look as ends};
pub use place::original;
pub use remote::place as bucket;
pub(super) use stream::{Block, Blocks, Stream};

/// Files that are read at most; more than that is not an audit log's folder.
const MAX_FILES: usize = 1000;
/// How deep folders are looked into: one folder a control-plane node, and one more.
const MAX_DEPTH: usize = 3;

/// How a file is packed, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
}

impl Packing {
    /// From the first bytes.
    pub(super) fn of(start: &[u8]) -> Packing {
        match start {
            [0x1f, 0x8b, ..] => Packing::Gzip,
            // A skippable frame may stand first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstd,
            _ => Packing::Plain,
        }
    }

    /// Short name.
    pub fn as_str(self) -> &'static str {
        match self {
            Packing::Plain => "plain",
            Packing::Gzip => "gzip",
            Packing::Zstd => "zstd",
        }
    }
}

/// A file that will be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is; `-` is standard input, `s3://`, `gs://` and `az://` are object stores.
    pub path: PathBuf,
    /// Bytes, when it was looked at; a live log grows. 0 for standard input.
    pub size: u64,
    /// How it is packed.
    pub packing: Packing,
}

impl LogFile {
    /// Whether it comes over the network.
    pub(super) fn is_remote(&self) -> bool {
        remote::is(&self.path)
    }

    /// Whether it is read from standard input.
    pub fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }
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
    /// Whether it may hold events: a link does, a socket does not.
    pub may_hold_events: bool,
}

/// The files of these paths, folders looked into, patterns (`audit*.log`) that no file is named like spread out, each file
/// once and in the order of their names. `-` is standard input; of an object store, what lies below a prefix.
///
/// Errors: a path that is not there or may not be read, an address that is no object store's, and more than 1000 files.
pub fn find(paths: &[PathBuf]) -> Result<(Vec<LogFile>, Vec<NotRead>), Problem> {
    let (mut files, mut left) = (Vec::new(), Vec::new());
    for path in paths {
        if path == Path::new("-") {
            files.push(LogFile { path: path.clone(), size: 0, packing: Packing::Plain });
            continue;
        }
        if remote::is(path) {
            remote::find(path, &mut files)?;
            continue;
        }
        if let Some(problem) = elsewhere(path) {
            return Err(problem);
        }
        for path in spread(path)? {
            let io = |e: std::io::Error| read_problem(&path, &e);
            // A path that a person named may be a link; links inside a folder are not followed.
            let meta = fs::metadata(&path).map_err(io)?;
            if meta.is_dir() {
                walk(&path, 1, &mut files, &mut left)?;
            } else {
                look(&fs::canonicalize(&path).map_err(io)?, true, &mut files, &mut left)?;
            }
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

/// An address that is not read.
fn elsewhere(path: &Path) -> Option<Problem> {
    let text = path.to_string_lossy();
    let (scheme, _) = text.split_once("://")?;
    let how = match scheme {
        "abfs" | "abfss" | "azblob" | "wasb" | "wasbs" => {
            "write it as az://CONTAINER/PREFIX, with AZURE_STORAGE_ACCOUNT_NAME set".into()
        }
        "http" | "https" if text.contains(".blob.core.windows.net") => {
            "write it as az://CONTAINER/PREFIX, with AZURE_STORAGE_ACCOUNT_NAME set".into()
        }
        "http" | "https" => format!("`curl --fail '{text}' | quell audit -` reads it as it comes"),
        "gcs" => "write it as gs://BUCKET/PREFIX".into(),
        _ => return None,
    };
    Some(Problem::usage(format!("{text} is neither on this machine nor an object store's address")).hint(how))
}

/// The paths that a pattern stands for; a path without one, or that is there under its very name, is itself.
fn spread(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let text = path.to_string_lossy();
    if !text.contains(['*', '?', '[']) || fs::symlink_metadata(path).is_ok() {
        return Ok(vec![path.into()]);
    }
    let bad = |e: &dyn std::fmt::Display| Problem::usage(format!("{text} is no pattern of paths: {e}"));
    let mut found = Vec::new();
    for entry in glob::glob(&text).map_err(|e| bad(&e))? {
        found.push(entry.map_err(|e| read_problem(e.path(), e.error()))?);
    }
    if found.is_empty() {
        return Err(Problem::usage(format!("no file is named like {text}")).hint("`*` stands for any part of one name"));
    }
    Ok(found)
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
    let meta = fs::metadata(path).map_err(|e| read_problem(path, &e))?;
    if !meta.is_file() {
        left.push(NotRead { path: path.into(), why: "not a regular file".into(), named, may_hold_events: false });
        return Ok(());
    }
    let mut start = Vec::new();
    let file = fs::File::open(path).map_err(|e| read_problem(path, &e))?;
    file.take(4).read_to_end(&mut start).map_err(|e| read_problem(path, &e))?;
    files.push(LogFile { path: path.into(), size: meta.len(), packing: Packing::of(&start) });
    Ok(())
}

/// The log of one API server: the folder, and the name without what rotation puts into it.
///
/// lumberjack names a rotated file `audit-2026-11-23T02-00-00.000.log`, logrotate `audit.log.1`.
/// <https://github.com/natefinch/lumberjack>
pub fn series(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name = [".gz", ".zst", ".zstd"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    let name = match name.rsplit_once('.') {
        Some((stem, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => stem,
        _ => name,
    };
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    // "-2026-11-23T02-00-00" and ".000", which the split above may have taken for the end.
    let stem = match stem.len().checked_sub(24).filter(|at| stem.is_char_boundary(*at)) {
        Some(at) if stem[at..].starts_with('-') && rotation(&stem[at + 1..]) => &stem[..at],
        _ => stem,
    };
    let folder = path.parent().map(|p| p.display().to_string()).unwrap_or_default();
    let dot = if end.is_empty() { "" } else { "." };
    format!("{folder}/{stem}{dot}{end}")
}

/// `2026-11-23T02-00-00.000`.
fn rotation(text: &str) -> bool {
    text.len() == 23
        && text.bytes().zip(b"0000-00-00T00-00-00.000").all(|(b, form)| match form {
            b'0' => b.is_ascii_digit(),
            other => b == *other,
        })
}

/// A file of the responder's that can't be read; the general text would speak of the state directory.
pub(super) fn read_problem(path: &Path, error: &std::io::Error) -> Problem {
    Problem::usage(format!("can't read the audit log {}: {error}", path.display()))
        .hint("give a file or folder of the API server's audit log that you may read")
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
        assert_eq!(names, ["audit-2.log", "audit.log", "old.log.gz"], "each once");
        assert_eq!(files[2].packing, Packing::Gzip);
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left.iter().all(|l| l.may_hold_events && !l.named));
        let problem = find(&[at("missing")]).unwrap_err();
        assert!(problem.message.contains("missing"), "{problem}");
        let (files, _) = find(&[at("*.log")]).unwrap();
        assert_eq!(files.len(), 1);
        assert!(find(&[at("*.txt")]).unwrap_err().message.contains("no file is named like"));
        let problem = find(&["https://example.org/audit.log".into()]).unwrap_err();
        assert!(problem.hint.unwrap().contains("| quell audit -"));
    }

    #[test]
    fn rotated_files_are_one_series() {
        for name in [
            "audit.log",
            "audit.log.1",
            "audit.log.12.gz",
            "audit-2026-11-23T02-00-00.000.log",
            "audit-2026-11-23T02-00-00.000.log.gz",
        ] {
            assert_eq!(series(&Path::new("/var/log/cp1").join(name)), "/var/log/cp1/audit.log", "{name}");
        }
        assert_eq!(series(Path::new("/v/kube-apiserver-a")), "/v/kube-apiserver-a");
    }
}
