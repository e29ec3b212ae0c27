//! A stream's way to disk: hashed where it lands, a tar indexed as it passes, never unpacked.

use std::io::{BufWriter, Write};

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{subject, text};
use crate::action::Done;
use crate::cluster::{Cx, Problem};
use crate::event::{Artifact, Label, LeftOut, Method, Op, Proof, Source, Trust};
use crate::evidence::{IndexSummary, Indexer, Writer, segment};

/// Progress is shown at most once for this many bytes.
const STEP: u64 = 1 << 20;
/// Warnings and left-out paths that an artifact's record has; whoever holds the pod decides how many there are.
const MAX_NOTES: usize = 2000;

/// A stream being written down, with its index when it is a tar.
pub(super) struct Landing {
    writer: Writer,
    index: Option<Indexer<BufWriter<Lines>>>,
    shown: u64,
    limit: u64,
    over: bool,
    started: OffsetDateTime,
    paths: Paths,
    label: String,
    total: Option<u64>,
    notes: Notes,
}

/// What the stream says beside its bytes, bounded.
#[derive(Default)]
pub(super) struct Notes {
    pub warnings: Vec<String>,
    pub left_out: Vec<LeftOut>,
    more: usize,
}

impl Notes {
    pub fn warn(&mut self, text: &str) {
        if self.warnings.len() < MAX_NOTES {
            self.warnings.push(text.chars().take(1000).collect());
        } else {
            self.more += 1;
        }
    }

    pub fn leave_out(&mut self, path: &str, why: &str) {
        if self.left_out.len() < MAX_NOTES {
            let cut = |text: &str| text.chars().take(1000).collect();
            self.left_out.push(LeftOut { path: cut(path), why: cut(why) });
        } else {
            self.more += 1;
        }
    }
}

/// What is known of a stream when it has ended.
pub(super) struct Facts {
    pub method: Method,
    pub size_source: Option<u64>,
    pub sha256_source: Option<String>,
    /// Why it is not complete.
    pub cut: Option<String>,
}

/// Where the artifacts of an operation lie.
pub(super) struct Paths {
    pub data: String,
    pub index: Option<String>,
    pub media_type: &'static str,
}

impl Paths {
    pub fn of(cx: &Cx, op: &Op, trusted: bool) -> Paths {
        let (folder, container) = (segment(&cx.step), segment(text(op, "container")));
        let (stem, kind) = match text(op, "kind") {
            kind @ ("volumes" | "node-logs" | "packets") => (format!("data/{folder}/{kind}"), kind),
            kind => (format!("data/{folder}/{container}.{kind}"), kind),
        };
        let plain = |suffix: &str, media_type| Paths { data: format!("{stem}.{suffix}"), index: None, media_type };
        match kind {
            "processes" if trusted => plain("json", "application/json"),
            "processes" => plain("txt", "text/plain"),
            "packets" => plain("pcap", "application/vnd.tcpdump.pcap"),
            "drift" => plain("jsonl", "application/jsonl"),
            _ => Paths {
                data: format!("{stem}.tar"),
                index: Some(format!("{stem}.index.jsonl")),
                media_type: "application/x-tar",
            },
        }
    }
}

/// What an earlier try had already taken whole: it is not taken again.
pub(super) fn earlier(cx: &Cx, paths: &Paths) -> Option<Done> {
    let found = cx.store.finished(&paths.data).filter(|a| a.complete)?;
    let index = match &paths.index {
        Some(index) => Some(cx.store.finished(index)?),
        None => None,
    };
    let mut done = told(&found, None, 0);
    done.detail = format!("{}, taken before the interruption", done.detail);
    cx.store.took(found);
    if let Some(index) = index {
        cx.store.took(index);
    }
    Some(done)
}

impl Landing {
    pub fn new(cx: &Cx, op: &Op, paths: Paths) -> Result<Landing, Problem> {
        let index = match &paths.index {
            Some(path) => Some(Indexer::new(BufWriter::with_capacity(64 << 10, Lines(cx.store.create(path)?)))),
            None => None,
        };
        let most = op.detail["max_bytes"].as_u64().unwrap_or(u64::MAX);
        Ok(Landing {
            writer: cx.store.create(&paths.data)?,
            index,
            shown: 0,
            limit: cx.store.max_bytes.min(most),
            over: false,
            started: cx.clock.now(),
            paths,
            label: format!("{} {}", text(op, "container"), text(op, "kind")).trim().to_string(),
            total: op.estimate.as_ref().and_then(|e| e.bytes),
            notes: Notes::default(),
        })
    }

    /// Bytes and SHA-256 so far.
    pub fn received(&self) -> (u64, String) {
        (self.writer.size(), self.writer.sha256())
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.writer.size()
    }

    /// Whether the limit was met.
    pub fn over(&self) -> bool {
        self.over
    }

    pub fn notes(&mut self) -> &mut Notes {
        &mut self.notes
    }

    /// One piece.
    ///
    /// # Errors
    /// Past the limit nothing more is written, [`Landing::over`] then says so; and when the disk is full.
    pub fn data(&mut self, cx: &Cx, bytes: &[u8]) -> Result<(), Problem> {
        if self.writer.size() + bytes.len() as u64 > self.limit {
            self.over = true;
            return Err(Problem::failed(format!("the limit of {} bytes was met", self.limit)));
        }
        self.writer.write(bytes)?;
        if let Some(index) = &mut self.index {
            index.push(bytes).map_err(|e| Problem::failed(format!("can't write the index: {e}")))?;
        }
        if self.writer.size() - self.shown >= STEP {
            self.shown = self.writer.size();
            (cx.progress)(&self.label, self.shown, self.total);
        }
        Ok(())
    }

    /// Closes both files; what is missing for a whole archive counts as cut. Of two tries that were cut the longer one
    /// is kept.
    pub fn finish(self, cx: &Cx, op: &Op, mut facts: Facts) -> Result<(Artifact, Option<IndexSummary>), Problem> {
        let Landing { writer, index, started, paths, mut notes, .. } = self;
        let indexed = index
            .map(Indexer::finish)
            .transpose()
            .map_err(|e| Problem::failed(format!("can't write the index: {e}")))?;
        if let Some((summary, _)) = &indexed
            && facts.cut.is_none()
        {
            let open = (!summary.end_of_archive).then(|| "the archive's end is missing".to_string());
            facts.cut = summary.damaged.clone().or(open);
        }
        if facts.cut.is_some()
            && let Some(better) = cx.store.finished(&paths.data).filter(|kept| kept.size >= writer.size())
        {
            return Ok((better, None));
        }
        if notes.more > 0 {
            notes.warnings.push(format!("{} more warnings and left-out paths are not listed", notes.more));
        }
        let what = if text(op, "kind") == "changes" { "filesystem changes" } else { text(op, "kind") };
        let (source, method, finished) = (source(op, what), facts.method.clone(), cx.clock.now());
        let artifact = cx.store.finish(writer, |path, size, sha256| Artifact {
            path,
            title: subject(op),
            media_type: paths.media_type.into(),
            source,
            method: facts.method,
            started,
            finished,
            size,
            sha256,
            size_source: facts.size_source,
            sha256_source: facts.sha256_source,
            complete: facts.cut.is_none(),
            truncated: facts.cut.clone(),
            warnings: notes.warnings,
            left_out: notes.left_out,
        })?;
        let Some((summary, lines)) = indexed else { return Ok((artifact, None)) };
        let Lines(lines) =
            lines.into_inner().map_err(|e| Problem::failed(format!("can't write the index: {}", e.error())))?;
        let title = format!("index of {}", artifact.path);
        let cut = facts.cut;
        cx.store.finish(lines, |path, size, sha256| {
            derived(op, "index", title, "application/jsonl", &method, (started, finished), (path, size, sha256), cut)
        })?;
        Ok((artifact, Some(summary)))
    }
}

/// The record of what was made here out of what was received.
pub(super) fn derived(
    op: &Op,
    what: &str,
    title: String,
    media_type: &str,
    method: &Method,
    (started, finished): (OffsetDateTime, OffsetDateTime),
    (path, size, sha256): (String, u64, String),
    cut: Option<String>,
) -> Artifact {
    let reason = "made here out of what was received".to_string();
    let method = Method { rung: "derived".into(), reason, ..method.clone() };
    let label = Label { title, media_type: media_type.into(), source: source(op, what), method, started };
    Artifact { complete: cut.is_none(), truncated: cut, ..Artifact::of(label, finished, path, size, sha256) }
}

pub(super) fn source(op: &Op, what: &str) -> Source {
    let container = Some(text(op, "container").to_string()).filter(|name| !name.is_empty());
    Source { object: op.object.clone(), container, what: what.into() }
}

/// An artifact's writer as a `Write`.
pub(super) struct Lines(pub Writer);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).map_err(|e| std::io::Error::other(e.message))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a capture came to, in a line. Verified takes: whole, the same hash at both ends, and nothing that could not be
/// read.
pub(super) fn told(artifact: &Artifact, summary: Option<&IndexSummary>, unreadable: u64) -> Done {
    let entries = summary.map(|s| format!(", {} entries", s.entries)).unwrap_or_default();
    let left = match artifact.left_out.len() {
        0 => String::new(),
        n => format!(", {n} left out"),
    };
    let by = if artifact.method.trust == Trust::TargetSupplied { ", by the container's own programs" } else { "" };
    let detail = format!("{}{entries}{left}{by}", indicatif::HumanBytes(artifact.size));
    let path = &artifact.path;
    let proof = match (&artifact.truncated, &artifact.sha256_source) {
        (Some(why), _) => Proof::Unproved(format!("{path} is not complete: {why}")),
        (None, None) => Proof::Unproved(format!("{path}: its source gave no hash to compare with")),
        (None, Some(_)) if unreadable > 0 => {
            Proof::Unproved(format!("{path}: {unreadable} of its entries could not be read"))
        }
        (None, Some(hash)) if *hash != artifact.sha256 => {
            Proof::Refuted(format!("{path}: the hashes at both ends differ"))
        }
        (None, Some(_)) if artifact.method.trust == Trust::TargetSupplied => {
            Proof::Verified("its hashes at both ends agree, as far as the container's own programs tell".into())
        }
        (None, Some(_)) => Proof::Verified("its hashes at both ends agree".into()),
    };
    let observed: Value = json!({"artifact": path, "rung": artifact.method.rung, "trust": artifact.method.trust});
    Done::taken(detail, Some(proof), observed)
}
