//! What actions that read the audit log share: the files, the window, one pass, and the slice of original lines.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{Problem, StepPlan};
use crate::audit::{self, NotRead, Query, Request, Scan, Watch, Window};
use crate::clock;
use crate::cluster::Cx;
use crate::event::{Artifact, Label, LeftOut, Method, ObjectRef, Source};

/// Lines whose bodies were left out that are named one by one.
const MAX_LEFT_OUT: usize = 100;

/// One path or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Paths {
    /// One file or folder.
    One(String),
    /// Several.
    Many(Vec<String>),
}

pub(super) fn day() -> u64 {
    86_400
}

/// Seconds of silence of every user that count as a gap, unless it is asked otherwise.
pub(super) fn five_minutes() -> u64 {
    300
}

/// The paths of a parameter.
pub(super) fn files(paths: Option<&Paths>) -> Vec<PathBuf> {
    let texts = match paths {
        None => &[][..],
        Some(Paths::One(path)) => std::slice::from_ref(path),
        Some(Paths::Many(paths)) => paths,
    };
    texts.iter().filter(|p| !p.is_empty()).map(PathBuf::from).collect()
}

/// The time that is asked about: `seconds` back from `until` (RFC 3339), or from now. The error says which is wrong.
pub(super) fn window(seconds: u64, until: Option<&str>, gap: u64, now: OffsetDateTime) -> Result<Window, String> {
    let until = match until.filter(|t| !t.is_empty()) {
        None => now,
        Some(text) => clock::parse(text)
            .map_err(|e| format!("`until` must be a time as in 2026-11-23T03:12:45Z, not {text:?}: {e}"))?,
    };
    if seconds == 0 || seconds > 366 * 86_400 {
        return Err(format!("`window` must be between a second and 366 days, not {seconds} s"));
    }
    let duration = |s: u64| Duration::seconds(i64::try_from(s).unwrap_or(i64::MAX));
    let start = until.checked_sub(duration(seconds)).ok_or("`window` reaches before the year 0")?;
    Ok(Window { start: Some(start), until: Some(until), longest_gap: duration(gap.clamp(1, 366 * 86_400)) })
}

/// What can be told of the files before they are read; what would stop the step is a blocker. None when they can't be
/// found.
pub(super) fn look(paths: &[PathBuf], plan: &mut StepPlan) -> Option<String> {
    match audit::find(paths) {
        Ok((files, left)) => {
            for left in left {
                let text = format!("{} is not read: {}", left.path.display(), left.why);
                if left.named { plan.blockers.push(text) } else { plan.warnings.push(text) }
            }
            if files.is_empty() {
                plan.blockers.push("`audit-log` holds no file to read".into());
            }
            let bytes: u64 = files.iter().map(|f| f.size).sum();
            let places: BTreeSet<String> = files.iter().filter_map(|f| audit::bucket(&f.path)).collect();
            let from: String = places.iter().map(|place| format!(", from the {place}")).collect();
            Some(format!("{} of audit log ({bytes} bytes{from})", count(files.len() as u64, "file")))
        }
        Err(problem) => {
            let hint = problem.hint.as_deref().map(|h| format!(": {h}")).unwrap_or_default();
            plan.blockers.push(format!("{problem}{hint}"));
            None
        }
    }
}

/// The files and the time that are asked about.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub paths: Vec<PathBuf>,
    pub window: Window,
    pub proxies: Vec<IpNet>,
}

impl Log {
    /// From parameters; the error says which is wrong.
    pub fn new(
        paths: Option<&Paths>,
        window: u64,
        until: Option<&str>,
        proxies: &[String],
        now: OffsetDateTime,
    ) -> Result<Log, String> {
        Ok(Log {
            paths: files(paths),
            window: self::window(window, until, five_minutes(), now)?,
            proxies: proxies.iter().map(|text| net("trusted-proxies", text)).collect::<Result<_, _>>()?,
        })
    }

    /// What can be told of the files before they are read; what would stop the step is a blocker.
    pub fn look(&self, plan: &mut StepPlan) -> String {
        look(&self.paths, plan).unwrap_or_else(|| "the audit log".into())
    }

    /// One pass. Blocks for as long as the disk takes.
    pub fn read<W: Watch>(&self, cx: &Cx, query: &Query, watch: &W) -> Result<(Scan<W::Seen>, Vec<NotRead>), Problem> {
        let (files, left) = audit::find(&self.paths)?;
        let total = files.iter().map(|f| f.size).sum();
        let scan = audit::scan(audit::Task {
            files,
            query,
            window: self.window,
            limit: None,
            watch,
            threads: None,
            progress: &|bytes| (cx.progress)("audit log", bytes, Some(total)),
        })?;
        Ok((scan, left))
    }

    /// What an artifact made out of it is labelled with.
    pub fn label(&self, object: &ObjectRef, title: &str, media: &str, what: &str, started: OffsetDateTime) -> Label {
        Label {
            title: title.into(),
            media_type: media.into(),
            source: Source { object: object.clone(), container: None, what: what.into() },
            method: Method::responder(
                "file",
                if self.paths.iter().any(|path| audit::bucket(path).is_some()) {
                    "audit files in an object store; how they came there was not checked"
                } else {
                    "audit files on the responder's machine; how they came there was not checked"
                },
                self.paths.iter().map(|p| p.display().to_string()).collect(),
            ),
            started,
        }
    }
}

/// Writes the original lines of a scan's requests, in order; bodies that may hold secret values are left out. `take` is
/// shown each event before that and says whether it belongs in the slice.
pub(super) fn slice<S>(
    cx: &Cx,
    path: &str,
    label: Label,
    scan: &mut Scan<S>,
    mut take: impl FnMut(&Value, &Request) -> bool,
) -> Result<Artifact, Problem> {
    let mut out = cx.store.create(path)?;
    let (mut left_out, mut bodies, mut truncated) = (Vec::new(), 0u64, None);
    for request in scan.requests.clone() {
        let (mut line, event) = scan.originals.value(&request)?;
        if !take(&event, &request) {
            continue;
        }
        if let Some(without) = audit::slice_line(&event) {
            line = without;
            bodies += 1;
            if left_out.len() < MAX_LEFT_OUT {
                let file = scan.files[request.origin.file as usize].file.path.display();
                left_out.push(LeftOut {
                    path: format!("{file} at byte {}", request.origin.offset),
                    why: "request and response bodies: they may hold secret values".into(),
                });
            }
        }
        line.push(b'\n');
        if truncated.is_none() && out.size() + line.len() as u64 > cx.store.max_bytes {
            truncated = Some(format!("the slice was cut at the limit of {} bytes", cx.store.max_bytes));
        }
        if truncated.is_none() {
            out.write(&line)?;
        }
    }
    if scan.not_kept > 0 && truncated.is_none() {
        truncated = Some(format!("more than {} requests", audit::MAX_REQUESTS));
    }
    let mut warnings = Vec::new();
    if bodies > 0 {
        warnings.push(format!("the bodies of {} were left out: not byte for byte", count(bodies, "line")));
    }
    cx.store.finish(out, |path, size, sha256| Artifact {
        complete: truncated.is_none(),
        truncated,
        warnings,
        left_out,
        ..Artifact::of(label, cx.clock.now(), path, size, sha256)
    })
}

/// An address or a range.
pub(super) fn net(parameter: &str, text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map(|net| net.trunc())
        .map_err(|_| format!("`{parameter}`: {text:?} is neither an address nor a range like 10.0.0.0/8"))
}

/// A credential's id without what kind it is. A token itself is refused, and not repeated.
pub(super) fn session(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches("JTI=").trim_start_matches("X509SHA256=").trim_start_matches("SHA256:");
    if bare.starts_with("eyJ") {
        return Err("`session` must be a token's id (its `jti`), not the token itself".into());
    }
    let hex: String = bare.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
    Ok(if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) { hex } else { bare.to_owned() })
}

/// `NAMESPACE/NAME`.
pub(super) fn pair(parameter: &str, text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok((namespace.into(), name.into()))
        }
        _ => Err(format!("`{parameter}` must be written NAMESPACE/NAME, not {text:?}")),
    }
}

/// A user name as the log writes it: `NAMESPACE/NAME` is taken for a service account.
pub(super) fn username(text: &str) -> String {
    let dns = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
    };
    match text.split_once('/') {
        Some((namespace, name)) if dns(namespace) && dns(name) => format!("system:serviceaccount:{namespace}:{name}"),
        _ => text.to_owned(),
    }
}

/// `1 line`, `2 lines`.
pub(super) fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
