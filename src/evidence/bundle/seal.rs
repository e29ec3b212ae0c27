//! Writing a bundle: streaming, deterministic, into a temporary name first.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{FORMAT, VERIFY_MD, VERIFY_SH, footprint, manifest};
use crate::clock;
use crate::cluster::{Fault, Problem};
use crate::event::{Artifact, Event, Record};
use crate::evidence::store::{hash_file, hex};
use crate::journal;

/// A bundle that was written.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of the whole file.
    pub sha256: String,
    /// It was there already, with the same bytes.
    pub already: bool,
}

/// Where an entry's bytes come from.
enum Content {
    Text(Vec<u8>),
    /// A file with the size and hash that it must have.
    File(PathBuf, u64, String),
}

/// Seals an incident's folder into a bundle in `to`.
///
/// # Errors
/// [`Fault::Verification`] when an artifact is not what the journal says; nothing is left behind then.
pub fn seal(dir: &Path, to: &Path) -> Result<Sealed, Problem> {
    let mut records = journal::read(dir)?;
    // Our own seals are no part of what is sealed: else no incident could be sealed twice to the same bytes.
    while records.last().is_some_and(|r| matches!(r.event, Event::Sealed { .. })) {
        records.pop();
    }
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err(Problem::failed(format!("there is nothing to seal in {}", dir.display())));
    };
    let (incident, at) = (first.incident.clone(), last.time);
    let stem = format!("quell-{incident}-{}", clock::compact(at));
    let path = to.join(format!("{stem}.tar"));
    let entries = entries(dir, &records, at)?;

    let temporary = to.join(format!(".{stem}.tar.{}.partial", std::process::id()));
    let written = write(&temporary, &stem, &entries, at);
    let (size, sha256) = match written {
        Ok(written) => written,
        Err(problem) => {
            // Best effort: an unfinished bundle must not be taken for one.
            let _ = fs::remove_file(&temporary);
            return Err(problem);
        }
    };
    if path.exists() {
        let same = hash_file(&path).is_ok_and(|(n, hash)| n == size && hash == sha256);
        fs::remove_file(&temporary).map_err(|e| Problem::io("can't remove", &temporary, &e))?;
        return if same {
            Ok(Sealed { path, size, sha256, already: true })
        } else {
            Err(Problem::refused(format!("{} is there already, with other bytes", path.display()))
                .hint("it is kept; give another directory"))
        };
    }
    fs::rename(&temporary, &path).map_err(|e| Problem::io("can't finish the bundle", &path, &e))?;
    if let Ok(folder) = File::open(if to.as_os_str().is_empty() { Path::new(".") } else { to }) {
        let _ = folder.sync_all();
    }
    Ok(Sealed { path, size, sha256, already: false })
}

/// Everything in the bag, by path.
fn entries(dir: &Path, records: &[Record], at: OffsetDateTime) -> Result<BTreeMap<String, Content>, Problem> {
    let mut all = BTreeMap::new();
    let mut payload = BTreeMap::new();
    let mut octets = 0;
    let mut artifacts: BTreeMap<&str, &Artifact> = BTreeMap::new();
    for record in records {
        if let Event::Captured { artifact, .. } = &record.event {
            artifacts.insert(&artifact.path, artifact);
        }
    }
    for (path, artifact) in &artifacts {
        if !manifest::safe(path) || !path.starts_with("data/") {
            return Err(Problem::new(Fault::Verification, format!("the journal names an unsafe path {path:?}")));
        }
        add(&mut all, &mut payload, &mut octets, path, dir.join(path), artifact.size, &artifact.sha256);
    }
    let partials = partials(dir, &artifacts)?;
    for (path, file, size, hash) in &partials {
        add(&mut all, &mut payload, &mut octets, path, file.clone(), *size, hash);
    }
    if payload.is_empty() {
        let text = b"Nothing was captured in this incident.\n".to_vec();
        payload.insert("data/README".to_string(), hex(&Sha256::digest(&text)));
        octets = text.len() as u64;
        all.insert("data/README".into(), Content::Text(text));
    }
    let custody = custody(dir, records.len())?;
    let head = custody
        .strip_suffix(b"\n")
        .and_then(|c| c.rsplit(|b| *b == b'\n').next())
        .map(|l| hex(&Sha256::digest(l)))
        .unwrap_or_default();
    let mut tags: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let listed: Vec<&&Artifact> = artifacts.values().collect();
    let partial_list: Vec<_> = partials
        .iter()
        .map(|(path, _, size, hash)| {
            json!({"path": path, "size": size, "sha256": hash,
        "why": "an interrupted capture that was not taken again whole"})
        })
        .collect();
    tags.insert("artifacts.json".into(), pretty(&json!({"format": 1, "artifacts": listed, "partials": partial_list}))?);
    let mut maker = footprint::Maker::default();
    records.iter().for_each(|record| maker.take(record));
    let footprint = maker.document();
    tags.insert("footprint.json".into(), pretty(&json!(footprint))?);
    tags.insert("bag-info.txt".into(), bag_info(records, at, octets, payload.len(), &head).into_bytes());
    tags.insert("bagit.txt".into(), b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n".to_vec());
    tags.insert("manifest-sha256.txt".into(), manifest::write(&payload).into_bytes());
    tags.insert("tool.json".into(), tool(records)?);
    tags.insert("VERIFY.md".into(), VERIFY_MD.into());
    tags.insert("verify.sh".into(), VERIFY_SH.into());
    for name in ["runbook.yaml", "alert.json"] {
        if let Ok(bytes) = fs::read(dir.join(name)) {
            tags.insert(name.into(), bytes);
        }
    }
    tags.insert("custody.jsonl".into(), custody);
    let hashes: BTreeMap<String, String> =
        tags.iter().map(|(name, bytes)| (name.clone(), hex(&Sha256::digest(bytes)))).collect();
    tags.insert("tagmanifest-sha256.txt".into(), manifest::write(&hashes).into_bytes());
    all.extend(tags.into_iter().map(|(name, bytes)| (name, Content::Text(bytes))));
    Ok(all)
}

fn add(
    all: &mut BTreeMap<String, Content>,
    payload: &mut BTreeMap<String, String>,
    octets: &mut u64,
    path: &str,
    file: PathBuf,
    size: u64,
    hash: &str,
) {
    payload.insert(path.into(), hash.into());
    *octets += size;
    all.insert(path.into(), Content::File(file, size, hash.into()));
}

/// What an interrupted capture left and no later one replaced: nothing captured is lost.
fn partials(dir: &Path, artifacts: &BTreeMap<&str, &Artifact>) -> Result<Vec<(String, PathBuf, u64, String)>, Problem> {
    let mut found = Vec::new();
    for step in fs::read_dir(dir.join("data")).into_iter().flatten().filter_map(Result::ok) {
        for file in fs::read_dir(step.path()).into_iter().flatten().filter_map(Result::ok) {
            let name = file.file_name().to_string_lossy().into_owned();
            let Some(original) = name.strip_prefix('.').and_then(|n| n.strip_suffix(".partial")) else { continue };
            let step_name = step.file_name().to_string_lossy().into_owned();
            let path = format!("data/partial/{step_name}/{original}");
            let whole = format!("data/{step_name}/{original}");
            if artifacts.contains_key(whole.as_str()) || !manifest::safe(&path) {
                continue;
            }
            let (size, hash) = hash_file(&file.path()).map_err(|e| Problem::io("can't read", &file.path(), &e))?;
            if size > 0 {
                found.push((path, file.path(), size, hash));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The journal's first `records` lines, byte for byte.
fn custody(dir: &Path, records: usize) -> Result<Vec<u8>, Problem> {
    let path = dir.join(journal::FILE);
    let bytes = fs::read(&path).map_err(|e| Problem::io("can't read the journal", &path, &e))?;
    let end =
        bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(records - 1).map_or(bytes.len(), |(i, _)| i + 1);
    Ok(bytes[..end].to_vec())
}

fn bag_info(records: &[Record], at: OffsetDateTime, octets: u64, streams: usize, head: &str) -> String {
    let mut lines = vec![
        format!("Bagging-Date: {}", at.date()),
        format!("External-Identifier: {}", records[0].incident),
        format!("Payload-Oxum: {octets}.{streams}"),
        format!("Bundle-Format: {FORMAT}"),
        format!("Quell-Sealed-Up-To: {}", clock::rfc3339(at)),
        format!("Quell-Custody-Records: {}", records.len()),
        format!("Quell-Custody-Head-SHA256: {head}"),
    ];
    if let Event::Opened { runbook, cluster, .. } = &records[0].event {
        lines.push(format!("Quell-Runbook: {} sha256:{}", runbook.name, runbook.sha256));
        lines.push(format!(
            "Quell-Cluster: {} {}",
            one_line(&cluster.server),
            cluster.uid.as_deref().map(one_line).unwrap_or_default()
        ));
    }
    lines.iter().map(|l| format!("{}\n", l.trim_end())).collect()
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn tool(records: &[Record]) -> Result<Vec<u8>, Problem> {
    let Event::Opened { tool, clock, cluster, actor, .. } = &records[0].event else {
        return Err(Problem::new(Fault::Verification, "the journal does not begin with the incident's opening"));
    };
    pretty(&json!({"tool": tool, "clock": clock, "cluster": cluster, "actor": actor}))
}

fn pretty(value: &serde_json::Value) -> Result<Vec<u8>, Problem> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| Problem::internal(e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Hashes what it writes.
struct Hashing<W> {
    out: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn write(
    path: &Path,
    stem: &str,
    entries: &BTreeMap<String, Content>,
    at: OffsetDateTime,
) -> Result<(u64, String), Problem> {
    let io = |e: std::io::Error| Problem::io("can't write the bundle", path, &e);
    let file = File::create_new(path).map_err(io)?;
    let out = Hashing { out: BufWriter::with_capacity(256 * 1024, file), hash: Sha256::new(), size: 0 };
    let mut tar = tar::Builder::new(out);
    let header = |kind: tar::EntryType, size: u64, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(at.unix_timestamp()).unwrap_or(0));
        header
    };
    let mut folders = std::collections::BTreeSet::from([stem.to_string()]);
    for name in entries.keys() {
        let parts: Vec<&str> = name.split('/').collect();
        folders.extend((1..parts.len()).map(|n| format!("{stem}/{}", parts[..n].join("/"))));
    }
    // One sorted list of folders and files, so that the order itself can be checked.
    let mut order: Vec<(String, Option<&Content>)> = folders.into_iter().map(|f| (f, None)).collect();
    order.extend(entries.iter().map(|(name, content)| (format!("{stem}/{name}"), Some(content))));
    order.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, content) in order {
        match content {
            None => tar
                .append_data(&mut header(tar::EntryType::Directory, 0, 0o755), format!("{name}/"), std::io::empty())
                .map_err(io)?,
            Some(Content::Text(bytes)) => {
                let mode = if name.ends_with("/verify.sh") { 0o755 } else { 0o644 };
                tar.append_data(
                    &mut header(tar::EntryType::Regular, bytes.len() as u64, mode),
                    &name,
                    bytes.as_slice(),
                )
                .map_err(io)?;
            }
            Some(Content::File(from, size, expected)) => {
                let source = File::open(from).map_err(|e| Problem::io("can't read the artifact", from, &e))?;
                let length = source.metadata().map_err(|e| Problem::io("can't read the artifact", from, &e))?.len();
                if length != *size {
                    return Err(changed(from, &format!("it has {length} bytes, not {size}")));
                }
                let mut reader = HashingReader { from: source.take(*size), hash: Sha256::new() };
                tar.append_data(&mut header(tar::EntryType::Regular, *size, 0o644), &name, &mut reader).map_err(io)?;
                let found = hex(&reader.hash.finalize());
                if found != *expected {
                    return Err(changed(from, &format!("its SHA-256 is {found}, not {expected}")));
                }
            }
        }
    }
    let mut out = tar.into_inner().map_err(io)?;
    out.flush().map_err(io)?;
    let file = out.out.into_inner().map_err(|e| Problem::failed(format!("can't write the bundle: {e}")))?;
    file.sync_all().map_err(io)?;
    Ok((out.size, hex(&out.hash.finalize())))
}

fn changed(file: &Path, how: &str) -> Problem {
    Problem::new(Fault::Verification, format!("{} is not what the journal says: {how}", file.display()))
        .hint("somebody changed the evidence, or the disk did: keep the folder as it is")
}

struct HashingReader<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}
