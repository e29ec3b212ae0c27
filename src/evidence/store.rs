//! The incident's folder: where artifacts are written once, synced, and never changed.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::cluster::Problem;
use crate::event::Artifact;

/// Writes artifacts under `<incident>/data/…`. A finished one has its record beside it (`.<name>.meta.json`), so that
/// after a crash it is found again without being captured twice.
pub struct Store {
    root: PathBuf,
    /// Bytes a single artifact may have; longer streams are cut and say so.
    pub max_bytes: u64,
    taken: std::sync::Mutex<Vec<Artifact>>,
    written: AtomicU64,
}

impl Store {
    /// A store in an incident's folder, which must exist.
    pub fn new(root: impl Into<PathBuf>, max_bytes: u64) -> Store {
        Store { root: root.into(), max_bytes, taken: std::sync::Mutex::new(Vec::new()), written: AtomicU64::new(0) }
    }

    /// The incident's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The finished artifact at that path, when an earlier try left it whole: its record is there and its hash agrees.
    pub fn finished(&self, path: &str) -> Option<Artifact> {
        let text = fs::read(meta_path(&self.root, path)).ok()?;
        let artifact: Artifact = serde_json::from_slice(&text).ok()?;
        let (size, sha256) = hash_file(&self.root.join(path)).ok()?;
        (artifact.path == path && artifact.size == size && artifact.sha256 == sha256).then_some(artifact)
    }

    /// Opens an artifact for writing; what an interrupted try left there is replaced.
    pub fn create(&self, path: &str) -> Result<Writer, Problem> {
        check_path(path)?;
        let full = self.root.join(path);
        let parent = full.parent().map(Path::to_path_buf).unwrap_or_default();
        fs::create_dir_all(&parent).map_err(|e| Problem::io("can't create the folder", &parent, &e))?;
        let partial = full.with_file_name(format!(".{}.partial", file_name(path)));
        let file = File::create(&partial).map_err(|e| Problem::io("can't write the artifact", &partial, &e))?;
        Ok(Writer { file, partial, full, path: path.into(), hash: Sha256::new(), size: 0 })
    }

    /// Finishes an artifact: synced, renamed into place, its record beside it. `record` is given path, size and hash.
    pub fn finish(
        &self,
        writer: Writer,
        record: impl FnOnce(String, u64, String) -> Artifact,
    ) -> Result<Artifact, Problem> {
        let Writer { file, partial, full, path, hash, size } = writer;
        file.sync_all().map_err(|e| Problem::io("can't sync the artifact", &partial, &e))?;
        let artifact = record(path.clone(), size, hex(&hash.finalize()));
        let meta = meta_path(&self.root, &path);
        let text = serde_json::to_vec(&artifact).map_err(|e| Problem::internal(e.to_string()))?;
        fs::rename(&partial, &full).map_err(|e| Problem::io("can't finish the artifact", &full, &e))?;
        let temporary = meta.with_extension("tmp");
        let io = |e: std::io::Error| Problem::io("can't write the artifact's record", &meta, &e);
        let mut out = File::create(&temporary).map_err(io)?;
        out.write_all(&text).and_then(|()| out.sync_all()).map_err(io)?;
        fs::rename(&temporary, &meta).map_err(io)?;
        sync_dir(&full);
        self.written.fetch_add(size, Ordering::Relaxed);
        self.took(artifact.clone());
        Ok(artifact)
    }

    /// A whole artifact from memory.
    pub fn put(
        &self,
        path: &str,
        bytes: &[u8],
        record: impl FnOnce(String, u64, String) -> Artifact,
    ) -> Result<Artifact, Problem> {
        let mut writer = self.create(path)?;
        writer.write(bytes)?;
        self.finish(writer, record)
    }

    /// Counts an artifact that an earlier try had finished as taken by this operation.
    pub fn took(&self, artifact: Artifact) {
        if let Ok(mut taken) = self.taken.lock() {
            taken.push(artifact);
        }
    }

    /// The artifacts finished since the last call: the engine journals them after each operation.
    pub fn drain(&self) -> Vec<Artifact> {
        self.taken.lock().map(|mut taken| std::mem::take(&mut *taken)).unwrap_or_default()
    }
}

/// An artifact being written. Dropped without [`Store::finish`], its bytes stay in `.<name>.partial`.
pub struct Writer {
    file: File,
    partial: PathBuf,
    full: PathBuf,
    path: String,
    hash: Sha256,
    size: u64,
}

impl Writer {
    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        self.file.write_all(bytes).map_err(|e| Problem::io("can't write the artifact", &self.partial, &e))?;
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Hash so far, lower-case hex.
    pub fn sha256(&self) -> String {
        hex(&self.hash.clone().finalize())
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Size and SHA-256 of a file, read in pieces.
pub fn hash_file(path: &Path) -> std::io::Result<(u64, String)> {
    use std::io::Read;
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut size = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((size, hex(&hash.finalize())));
        }
        hash.update(&buffer[..n]);
        size += n as u64;
    }
}

/// Turns a name from a cluster into a segment of an artifact's path.
pub fn segment(name: &str) -> String {
    let safe: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).take(100).collect();
    if safe.is_empty() || safe.starts_with('.') { format!("_{safe}") } else { safe }
}

fn check_path(path: &str) -> Result<(), Problem> {
    let good = path.starts_with("data/") && path.split('/').all(|s| !s.is_empty() && segment(s) == s);
    if good { Ok(()) } else { Err(Problem::internal(format!("unsafe artifact path {path:?}"))) }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn meta_path(root: &Path, path: &str) -> PathBuf {
    root.join(path).with_file_name(format!(".{}.meta.json", file_name(path)))
}

fn sync_dir(file: &Path) {
    if let Some(dir) = file.parent().and_then(|dir| File::open(dir).ok()) {
        let _ = dir.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_cluster_become_safe_segments() {
        assert_eq!(segment("../../etc\n\u{1b}[31m"), "_.._.._etc__[31m".replace('[', "_"));
        assert_eq!(segment(""), "_");
        assert_eq!(segment("app"), "app");
    }
}
