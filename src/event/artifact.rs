//! One captured thing: where it came from, how, how far it can be trusted, and its hashes at both ends.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::op::ObjectRef;

/// Whose word the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The API server's or the kubelet's answer.
    ApiServer,
    /// quell's own collector, run beside the target by the node's runtime.
    Collector,
    /// Programs out of the suspect container itself: they may lie.
    TargetSupplied,
    /// A program on the responder's machine.
    Responder,
    /// A person's statement or file.
    Person,
}

impl std::fmt::Display for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Trust::ApiServer => "api-server",
            Trust::Collector => "collector",
            Trust::TargetSupplied => "target-supplied",
            Trust::Responder => "responder",
            Trust::Person => "person",
        })
    }
}

/// Where the bytes came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The object, by UID.
    pub object: ObjectRef,
    /// The container in it, where one is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// `filesystem`, `processes`, `log`, `manifest`, …
    pub what: String,
}

/// How the bytes were taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    /// `api`, `ephemeral-container`, `exec`, `command`, `person`.
    pub rung: String,
    /// Whose word the bytes are.
    pub trust: Trust,
    /// Why this way and not a better one.
    pub reason: String,
    /// What was asked, as path or argv; never a secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// Name and version of what took it, with the SHA-256 of the collector where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
}

impl Method {
    /// quell asked the API server; `reason` says why this way, `asked` what for.
    pub fn api(reason: impl Into<String>, asked: Vec<String>) -> Method {
        Method { rung: "api".into(), trust: Trust::ApiServer, reason: reason.into(), argv: asked, tool: Some(tool()) }
    }

    /// Something on the responder's own machine: `rung` is `command` or `file`.
    pub fn responder(rung: &str, reason: impl Into<String>, argv: Vec<String>) -> Method {
        Method { rung: rung.into(), trust: Trust::Responder, reason: reason.into(), argv, tool: Some(tool()) }
    }

    /// A person said or gave it.
    pub fn person(reason: impl Into<String>) -> Method {
        Method {
            rung: "person".into(),
            trust: Trust::Person,
            reason: reason.into(),
            argv: Vec::new(),
            tool: Some(tool()),
        }
    }
}

/// Name and version of this program, as [`Method::tool`] has it.
fn tool() -> String {
    concat!("quell ", env!("CARGO_PKG_VERSION")).into()
}

/// What is known of an artifact before its bytes are: all that the caller chooses but the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// One line for a person.
    pub title: String,
    /// `application/json`, `text/plain`, …
    pub media_type: String,
    /// Where the bytes come from.
    pub source: Source,
    /// How they are taken.
    pub method: Method,
    /// When the capture began.
    pub started: OffsetDateTime,
}

/// Something that was deliberately not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The path in the target.
    pub path: String,
    /// Why.
    pub why: String,
}

/// The record of one artifact. The bytes lie at `path`, in the incident's folder as in the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// `data/03-capture/app.filesystem.tar`: segments of `[A-Za-z0-9._-]` only, chosen by quell.
    pub path: String,
    /// One line for a person.
    pub title: String,
    /// `application/x-tar`, `application/json`, `text/plain`.
    pub media_type: String,
    /// Where the bytes came from.
    pub source: Source,
    /// How the bytes were taken.
    pub method: Method,
    /// When the capture began.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub started: OffsetDateTime,
    /// When its last byte was on disk here.
    #[serde(with = "crate::clock::serde_rfc3339")]
    pub finished: OffsetDateTime,
    /// Bytes on disk here.
    pub size: u64,
    /// SHA-256 of the bytes as received, lower-case hex.
    pub sha256: String,
    /// Bytes at the source, where the source said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_source: Option<u64>,
    /// SHA-256 computed at the source, where it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256_source: Option<String>,
    /// False when the stream was cut short or a limit was met; `truncated` then says why.
    pub complete: bool,
    /// Why it is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncated: Option<String>,
    /// What went wrong beside: unreadable files, files that changed while read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What was deliberately not taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

impl Artifact {
    /// A complete artifact with nothing left out. What is not so is set afterwards:
    /// `Artifact { complete: false, truncated: Some(why), ..Artifact::of(label, now, path, size, sha256) }`.
    pub fn of(label: Label, finished: OffsetDateTime, path: String, size: u64, sha256: String) -> Artifact {
        let Label { title, media_type, source, method, started } = label;
        Artifact {
            path,
            title,
            media_type,
            source,
            method,
            started,
            finished,
            size,
            sha256,
            size_source: None,
            sha256_source: None,
            complete: true,
            truncated: None,
            warnings: Vec::new(),
            left_out: Vec::new(),
        }
    }
}
