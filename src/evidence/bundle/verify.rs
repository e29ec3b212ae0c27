//! Checking a bundle: what was changed, added, removed, reordered or truncated, by name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::extract::into_memory;
use super::footprint::{self, Footprint};
use super::manifest;
use super::read::{Member, walk};
use crate::clock;
use crate::cluster::{Fault, Problem};
use crate::event::{Artifact, Event, StepStatus};
use crate::evidence::store::hex;
use crate::journal::{ChainError, Reader};
use crate::report::escape::escape;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `changed`, `added`, `removed`, `reordered`, `truncated`.
    pub kind: String,
    /// Which file, what was expected, what was found.
    pub text: String,
}

/// What a check came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub valid: bool,
    /// Everything that is.
    pub findings: Vec<Finding>,
    /// The incident.
    pub incident: String,
    /// The runbook.
    pub runbook: String,
    /// First and last record.
    pub from: String,
    /// First and last record.
    pub to: String,
    /// Records of the custody log.
    pub records: usize,
    /// Artifacts.
    pub artifacts: usize,
    /// Artifacts that are not complete, and why.
    pub incomplete: Vec<String>,
    /// Steps that are not verified, and why.
    pub unproved: Vec<String>,
}

impl Report {
    /// Nothing is wrong.
    pub fn ok(&self) -> bool {
        self.findings.is_empty()
    }

    /// For people; everything from the bundle is escaped.
    pub fn text(&self) -> String {
        let mut out = String::new();
        if self.ok() {
            out.push_str(&format!(
                "whole and unchanged: incident {}, runbook {}, {} artifacts, {} custody records, {} to {}\n",
                escape(&self.incident),
                escape(&self.runbook),
                self.artifacts,
                self.records,
                escape(&self.from),
                escape(&self.to)
            ));
        } else {
            out.push_str(&format!("DOES NOT VERIFY: {} findings\n", self.findings.len()));
            for finding in &self.findings {
                out.push_str(&format!("  {}: {}\n", finding.kind, escape(&finding.text)));
            }
        }
        for line in &self.incomplete {
            out.push_str(&format!("  not complete: {}\n", escape(line)));
        }
        for line in &self.unproved {
            out.push_str(&format!("  not verified: {}\n", escape(line)));
        }
        out.push_str("this shows that it is whole, not who sealed it: compare its SHA-256 with one kept elsewhere\n");
        out
    }

    fn find(&mut self, kind: &str, text: impl Into<String>) {
        // A bundle of a million bad names must not become a report of a million lines.
        if self.findings.len() < 200 {
            self.findings.push(Finding { kind: kind.into(), text: text.into() });
        }
    }
}

/// What was read of a bundle.
#[derive(Default)]
struct Seen {
    /// Path to size and SHA-256 of every member.
    hashes: BTreeMap<String, (u64, String)>,
    tags: BTreeMap<String, Vec<u8>>,
    custody: Option<Result<Custody, String>>,
}

#[derive(Default)]
struct Custody {
    records: usize,
    from: String,
    to: String,
    incident: String,
    runbook: String,
    artifacts: BTreeMap<String, Artifact>,
    unproved: BTreeMap<String, String>,
    footprint: footprint::Maker,
}

/// Checks a bundle, or the directory that one was unpacked to.
///
/// # Errors
/// Only when it can't be read at all; everything else is a finding.
pub fn verify(path: &Path) -> Result<Report, Problem> {
    let mut seen = Seen::default();
    let mut report = Report::default();
    if path.is_dir() {
        directory(path, &mut seen, &mut report)?;
    } else {
        let archive = walk(path, &mut |member: Member<'_>| seen.member(member))?;
        for (kind, text) in archive.problems {
            report.find(kind, text);
        }
    }
    judge(&seen, &mut report);
    report.valid = report.ok();
    Ok(report)
}

impl Seen {
    fn member(&mut self, mut member: Member<'_>) -> Result<(), Problem> {
        let (path, size) = (member.path.clone(), member.size);
        if path == "custody.jsonl" {
            let mut hashing = Hashing { from: member.content, hash: Sha256::new(), read: 0 };
            self.custody = Some(custody(&mut hashing));
            // What the reader left after a broken line belongs to the hash too.
            std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|_| cut(&path))?;
            return self.add(path, size, hashing.read, hex(&hashing.hash.finalize()));
        }
        if !path.starts_with("data/") {
            let bytes = into_memory(&mut member)?;
            let hash = hex(&Sha256::digest(&bytes));
            self.tags.insert(path.clone(), bytes);
            return self.add(path, size, size, hash);
        }
        let mut hashing = Hashing { from: member.content, hash: Sha256::new(), read: 0 };
        std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|_| cut(&path))?;
        let (read, hash) = (hashing.read, hex(&hashing.hash.finalize()));
        self.add(path, size, read, hash)
    }

    fn add(&mut self, path: String, size: u64, read: u64, hash: String) -> Result<(), Problem> {
        if read != size {
            return Err(cut(&path));
        }
        self.hashes.insert(path, (size, hash));
        Ok(())
    }
}

fn cut(path: &str) -> Problem {
    Problem::new(Fault::Transient, format!("{path} is cut short"))
}

struct Hashing<'a> {
    from: &'a mut dyn Read,
    hash: Sha256,
    read: u64,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.read += n as u64;
        Ok(n)
    }
}

fn custody(from: &mut dyn Read) -> Result<Custody, String> {
    let mut reader = Reader::new(from, "custody.jsonl");
    let mut custody = Custody::default();
    loop {
        let record = match reader.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(custody),
            Err(ChainError::Torn(_)) => return Err("custody.jsonl ends in the middle of a line".into()),
            Err(ChainError::Broken(problem)) => return Err(problem.message),
        };
        if custody.records == 0 {
            custody.incident.clone_from(&record.incident);
            custody.from = clock::rfc3339(record.time);
            if let Event::Opened { runbook, .. } = &record.event {
                custody.runbook.clone_from(&runbook.name);
            }
        } else if record.incident != custody.incident {
            return Err(format!("custody.jsonl line {} is of another incident", custody.records + 1));
        }
        custody.records += 1;
        custody.footprint.take(&record);
        custody.to = clock::rfc3339(record.time);
        match record.event {
            Event::Captured { artifact, .. } => {
                custody.artifacts.insert(artifact.path.clone(), artifact);
            }
            Event::StepFinished { step, status: StepStatus::Verified | StepStatus::NotNeeded, .. } => {
                custody.unproved.remove(&step);
            }
            Event::StepFinished { step, status, summary, .. } => {
                custody.unproved.insert(step, format!("{status}: {summary}"));
            }
            _ => {}
        }
    }
}

/// Everything against everything.
fn judge(seen: &Seen, report: &mut Report) {
    for name in [
        "bagit.txt",
        "bag-info.txt",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
        "artifacts.json",
        "verify.sh",
        "tool.json",
    ] {
        if !seen.tags.contains_key(name) {
            report.find("removed", format!("{name} is missing"));
        }
    }
    let payload = listed(seen, report, "manifest-sha256.txt");
    let tags = listed(seen, report, "tagmanifest-sha256.txt");
    for (path, hash) in payload.iter().chain(&tags) {
        match seen.hashes.get(path) {
            None => report.find("removed", format!("{path} is missing")),
            Some((_, found)) if found != hash => {
                report.find("changed", format!("{path}: SHA-256 is {found}, not {hash}"))
            }
            Some(_) => {}
        }
    }
    for path in seen.hashes.keys() {
        let known = if path.starts_with("data/") {
            payload.contains_key(path)
        } else {
            tags.contains_key(path) || path == "tagmanifest-sha256.txt"
        };
        if !known {
            report.find("added", format!("{path} is in no manifest"));
        }
    }
    info(seen, report, &payload);
    match &seen.custody {
        None => report.find("removed", "custody.jsonl is missing"),
        Some(Err(why)) => report.find("changed", why.clone()),
        Some(Ok(custody)) => against_custody(seen, report, custody, &payload),
    }
}

fn listed(seen: &Seen, report: &mut Report, name: &str) -> BTreeMap<String, String> {
    let text = seen.tags.get(name).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
    manifest::parse(&text).unwrap_or_else(|why| {
        report.find("changed", format!("{name}: {why}"));
        BTreeMap::new()
    })
}

fn info(seen: &Seen, report: &mut Report, payload: &BTreeMap<String, String>) {
    let text = seen.tags.get("bag-info.txt").map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": "));
    match field("Bundle-Format") {
        Some(super::FORMAT) => {}
        other => report
            .find("changed", format!("bag-info.txt: Bundle-Format is {other:?}; this quell knows {}", super::FORMAT)),
    }
    let octets: u64 = payload.keys().filter_map(|p| seen.hashes.get(p)).map(|(size, _)| size).sum();
    let oxum = format!("{octets}.{}", payload.len());
    if field("Payload-Oxum") != Some(&oxum) {
        report.find(
            "changed",
            format!("bag-info.txt: Payload-Oxum is {:?}, and the payload comes to {oxum}", field("Payload-Oxum")),
        );
    }
}

fn against_custody(seen: &Seen, report: &mut Report, custody: &Custody, payload: &BTreeMap<String, String>) {
    report.incident.clone_from(&custody.incident);
    report.runbook.clone_from(&custody.runbook);
    (report.from, report.to) = (custody.from.clone(), custody.to.clone());
    report.records = custody.records;
    report.artifacts = custody.artifacts.len();
    for (path, artifact) in &custody.artifacts {
        match payload.get(path) {
            None => report.find("removed", format!("{path} was captured, and is not in the manifest")),
            Some(hash) if *hash != artifact.sha256 => {
                report.find(
                    "changed",
                    format!("{path}: the manifest says SHA-256 {hash}, the custody log {}", artifact.sha256),
                );
            }
            Some(_) => {}
        }
        if !artifact.complete {
            report.incomplete.push(format!("{path}: {}", artifact.truncated.as_deref().unwrap_or("cut short")));
        }
    }
    let known: BTreeSet<&String> = custody.artifacts.keys().collect();
    for path in payload.keys() {
        if !known.contains(path) && !path.starts_with("data/partial/") && path != "data/README" {
            report.find("added", format!("{path} is in the manifest, and the custody log knows nothing of it"));
        }
    }
    // Bundles of the first versions have none.
    if let Some(bytes) = seen.tags.get("footprint.json")
        && serde_json::from_slice::<Footprint>(bytes).ok().as_ref() != Some(&custody.footprint.document())
    {
        report.find("changed", "footprint.json does not say what the custody log says");
    }
    report.unproved = custody.unproved.iter().map(|(step, why)| format!("{step}: {why}")).collect();
    #[derive(serde::Deserialize)]
    struct Document {
        artifacts: Vec<Artifact>,
    }
    let told: Option<Document> = seen.tags.get("artifacts.json").and_then(|b| serde_json::from_slice(b).ok());
    match told {
        None => report.find("changed", "artifacts.json can't be read"),
        Some(told) => {
            if told.artifacts.iter().map(|a| (&a.path, a)).collect::<BTreeMap<_, _>>()
                != custody.artifacts.iter().collect()
            {
                report.find("changed", "artifacts.json does not say what the custody log says");
            }
        }
    }
}

/// An unpacked bag: the same checks but for the archive's own.
fn directory(root: &Path, seen: &mut Seen, report: &mut Report) -> Result<(), Problem> {
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| Problem::io("can't read", &folder, &e))?;
        for entry in entries {
            let path = entry.map_err(|e| Problem::io("can't read", &folder, &e))?.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let meta = std::fs::symlink_metadata(&path).map_err(|e| Problem::io("can't read", &path, &e))?;
            if meta.is_dir() {
                folders.push(path);
            } else if !meta.is_file() {
                report.find("added", format!("{name:?} is neither a file nor a directory"));
            } else {
                let mut file = std::fs::File::open(&path).map_err(|e| Problem::io("can't read", &path, &e))?;
                seen.member(Member { path: name, size: meta.len(), content: &mut file })?;
            }
        }
    }
    Ok(())
}
