//! `logs.external`: other systems' access logs, brought into the bundle and searched for addresses.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::issuer::{line, private_file};
use super::program::Program;
use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::cluster::{Cx, fetch};
use crate::event::{Artifact, Estimate, Label, Method, ObjectRef, Op, Proof, Risk, Source};
use crate::evidence::{Writer, segment};

/// Bytes that are taken of one source.
const MAX: u64 = 256 << 20;
/// Bytes of a line that are searched; what is longer is searched by pieces of this size.
const LINE: usize = 64 << 10;
/// Matches that are kept, of all sources.
const MATCHES: usize = 10_000;
/// Characters of a matching line that are kept.
const SHOWN: usize = 2000;

/// Parameters of `logs.external`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExternalLogs {
    /// Files on this machine, and `https://` URLs, each an access log as text. A URL that holds a credential stands in a
    /// file of its own that only you may read (mode 0600), which is named as `@FILE`.
    #[serde(default)]
    sources: Vec<String>,
    /// A program that prints an access log, with its arguments; no shell reads them. Never put a secret here.
    #[serde(default)]
    argv: Vec<String>,
    /// Names of environment variables that the program is given beside PATH.
    #[serde(default)]
    env: Vec<String>,
    /// Seconds that the program may take. Default: 300.
    #[serde(default = "five_minutes")]
    timeout: u64,
    /// The addresses to look for.
    #[serde(default)]
    addresses: Vec<String>,
}

fn five_minutes() -> u64 {
    300
}

impl Kind for ExternalLogs {
    const SPEC: Spec = Spec {
        name: "logs.external",
        summary: "Brings external systems' access logs into the bundle and searches them for addresses",
        description: "Takes each log as it is, from a file, a URL or a program, at most 256 MiB of each, and looks for the \
            addresses that the audit log named: a line counts where an address stands alone, not within another. The logs \
            are not understood beyond that, so what they call times is not checked against a window. They come from \
            elsewhere and may hold anything: they are stored, never unpacked, and escaped where they are shown. Without a \
            log the step says that nothing is known.",
        risk: Risk::Low,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[],
        example: "id: external\ntitle: Who used it elsewhere\nuses: logs.external\nwith:\n  sources: [/var/log/registry/access.log]\n  addresses: [203.0.113.7]\n",
        outputs: &[
            ("matches", "number of lines with one of the addresses; null when no log was given"),
            ("by_address", "the same by address"),
            ("logs", "paths of the artifacts"),
            ("found", "path of the artifact with the matching lines, null when there are none"),
        ],
    };
}

/// One log.
enum From<'a> {
    File(&'a str),
    Url(&'a str),
    /// A file with a URL.
    UrlIn(&'a str),
    Program,
}

/// The URL in a file that nobody else may read.
fn url_in(path: &str) -> Result<zeroize::Zeroizing<String>, Problem> {
    let held = private_file(path, "the URL's file")?;
    let text = std::str::from_utf8(line(&held)).map_err(|_| Problem::usage(format!("{path} holds no URL")))?;
    Ok(zeroize::Zeroizing::new(text.trim().to_owned()))
}

impl From<'_> {
    /// As it may be shown.
    fn name(&self, argv: &[String]) -> String {
        match self {
            From::File(path) => (*path).to_owned(),
            From::Url(url) => fetch::without_query(url),
            From::UrlIn(path) => {
                url_in(path).map_or_else(|_| format!("the URL in {path}"), |url| fetch::without_query(&url))
            }
            From::Program => format!("`{}`", argv.first().map(String::as_str).unwrap_or_default()),
        }
    }
}

/// Finds addresses in lines, over pieces of any size.
struct Search<'a> {
    addresses: Vec<(String, IpAddr)>,
    source: &'a str,
    line: Vec<u8>,
    number: u64,
    found: Vec<Value>,
    counts: BTreeMap<String, u64>,
    room: usize,
}

impl Search<'_> {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LINE {
                self.flush(piece.ends_with(b"\n"));
            }
        }
    }

    fn flush(&mut self, ended: bool) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            for (text, address) in &self.addresses {
                if stands(&line, text, address) {
                    *self.counts.entry(text.clone()).or_default() += 1;
                    if self.found.len() < self.room {
                        let shown: String = String::from_utf8_lossy(&line).trim_end().chars().take(SHOWN).collect();
                        self.found.push(json!({
                            "source": self.source, "line": self.number + 1, "address": text, "text": shown,
                        }));
                    }
                }
            }
        }
        self.number += u64::from(ended);
    }
}

/// Whether the address stands in the line, and not as a part of a longer one.
fn stands(line: &[u8], text: &str, address: &IpAddr) -> bool {
    let part = |b: Option<&u8>| {
        b.is_some_and(|b| match address {
            IpAddr::V4(_) => b.is_ascii_digit(),
            IpAddr::V6(_) => b.is_ascii_hexdigit() || *b == b':',
        })
    };
    // `1.2.3.4.5` and `11.2.3.4` are others; `1.2.3.4.` at a sentence's end is it, and so is `1.2.3.4:443`.
    let dotted = |at: usize, step: isize| -> bool {
        address.is_ipv4()
            && line.get(at) == Some(&b'.')
            && at.checked_add_signed(step).and_then(|next| line.get(next)).is_some_and(u8::is_ascii_digit)
    };
    memchr::memmem::find_iter(line, text.as_bytes()).any(|at| {
        let end = at + text.len();
        let before = at.checked_sub(1);
        !part(before.and_then(|b| line.get(b)))
            && !part(line.get(end))
            && !before.is_some_and(|b| dotted(b, -1))
            && !dotted(end, 1)
    })
}

impl ExternalLogs {
    fn all(&self) -> Vec<From<'_>> {
        let mut all: Vec<From<'_>> = self
            .sources
            .iter()
            .filter(|s| !s.is_empty())
            .map(|s| match s.strip_prefix('@') {
                Some(path) => From::UrlIn(path),
                None if s.contains("://") => From::Url(s),
                None => From::File(s),
            })
            .collect();
        if !self.argv.is_empty() {
            all.push(From::Program);
        }
        all
    }

    fn program(&self) -> Program<'_> {
        Program { argv: &self.argv, env: &self.env, cwd: None, timeout: Duration::from_secs(self.timeout) }
    }

    fn addresses(&self) -> Vec<(String, IpAddr)> {
        self.addresses.iter().filter_map(|a| Some((a.clone(), a.parse().ok()?))).collect()
    }

    async fn take(
        &self,
        cx: &Cx,
        op: &Op,
        from: &From<'_>,
        path: &str,
        search: &mut Search<'_>,
    ) -> Result<Artifact, Problem> {
        let started = cx.clock.now();
        let limit = cx.store.max_bytes.min(MAX);
        let mut out: Writer = cx.store.create(path)?;
        let mut truncated = None;
        let mut warnings = Vec::new();
        {
            let mut sink = |bytes: &[u8]| -> Result<(), Problem> {
                let room = usize::try_from(limit.saturating_sub(out.size())).unwrap_or(usize::MAX);
                let bytes = &bytes[..bytes.len().min(room)];
                out.write(bytes)?;
                search.push(bytes);
                (cx.progress)("external log", out.size(), None);
                Ok(())
            };
            match from {
                From::File(name) => {
                    let at = Path::new(name);
                    let io = |e: std::io::Error| Problem::io("can't read", at, &e);
                    // A pipe or a device may never end.
                    let meta = std::fs::metadata(at).map_err(io)?;
                    if !meta.is_file() {
                        return Err(Problem::usage(format!("{name} is no file")));
                    }
                    let mut file = File::open(at).map_err(io)?;
                    let mut piece = vec![0; 256 << 10];
                    let mut taken = 0;
                    while taken < limit {
                        let n = file.read(&mut piece).map_err(io)?;
                        if n == 0 {
                            break;
                        }
                        sink(&piece[..n])?;
                        taken += n as u64;
                    }
                    if meta.len() > limit {
                        truncated = Some(format!("cut at the limit of {limit} bytes"));
                    }
                }
                From::Url(_) | From::UrlIn(_) => {
                    let held = match from {
                        From::UrlIn(path) => url_in(path)?,
                        From::Url(url) => zeroize::Zeroizing::new((*url).to_owned()),
                        _ => return Err(Problem::internal("a log that is no URL")),
                    };
                    let url = held.as_str();
                    if fetch::fetch(url, limit, &mut sink).await?.cut {
                        truncated = Some(format!("cut at the limit of {limit} bytes"));
                    }
                    if url.starts_with("http://") {
                        warnings.push("fetched without TLS: anybody on the way could have changed it".into());
                    }
                }
                From::Program => {
                    let mut said = 0u64;
                    let ended = self
                        .program()
                        .run(
                            &mut |bytes| {
                                said += bytes.len() as u64;
                                sink(bytes)
                            },
                            &mut |_| Ok(()),
                        )
                        .await?;
                    if said > limit {
                        truncated = Some(format!("cut at the limit of {limit} bytes"));
                    }
                    if !ended.success() {
                        truncated = Some(format!("the program ended with {}", ended.text()));
                    }
                }
            }
        }
        search.flush(true);
        let name = from.name(&self.argv);
        let rung = match from {
            From::File(_) => "file",
            From::Url(_) | From::UrlIn(_) => "url",
            From::Program => "command",
        };
        let label = Label {
            title: format!("access log {name}"),
            media_type: "text/plain".into(),
            source: Source { object: op.object.clone(), container: None, what: "external access log".into() },
            method: Method::responder(rung, "as it was given; how it came there was not checked", vec![name]),
            started,
        };
        cx.store.finish(out, |path, size, sha256| Artifact {
            complete: truncated.is_none(),
            truncated,
            warnings,
            ..Artifact::of(label, cx.clock.now(), path, size, sha256)
        })
    }
}

#[async_trait]
impl Action for ExternalLogs {
    async fn plan(&self, _cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        for (index, from) in self.all().into_iter().enumerate() {
            match from {
                From::File(path) if !Path::new(path).is_file() => {
                    plan.blockers.push(format!("there is no file {path} on this machine"));
                }
                From::Url(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                    plan.blockers.push(format!("{} is neither a file nor an https URL", fetch::without_query(url)));
                }
                From::Url(url) if url.starts_with("http://") => {
                    plan.warnings.push(format!("{} is fetched without TLS", fetch::without_query(url)));
                }
                From::UrlIn(path) => match url_in(path) {
                    Err(problem) => plan.blockers.push(problem.message),
                    Ok(url) if !url.starts_with("https://") => {
                        plan.blockers.push(format!("{path} holds no https URL, and a credential needs one"));
                    }
                    Ok(_) => {}
                },
                From::Program => plan.blockers.extend(self.program().blockers()),
                _ => {}
            }
            let name = from.name(&self.argv);
            let object = ObjectRef { kind: "Log".into(), name: name.clone(), ..ObjectRef::default() };
            let summary = format!("bring the access log {name} into the bundle and search it");
            let estimate = match from {
                From::File(path) => Estimate {
                    bytes: std::fs::metadata(path).ok().map(|m| m.len().min(MAX)),
                    basis: "the file's size".into(),
                },
                _ => Estimate { bytes: None, basis: "it does not tell before".into() },
            };
            let risk = if matches!(from, From::Program) { Risk::Low } else { Risk::Read };
            let mut op = Op::capture("read", object, summary, risk, estimate);
            op.detail = json!({ "key": name, "index": index });
            plan.ops.push(op);
        }
        if plan.ops.is_empty() {
            plan.warnings
                .push("no access log of an external system was given: what happened there will not be known".into());
            let object = ObjectRef { kind: "Log".into(), name: "none".into(), ..ObjectRef::default() };
            plan.ops.push(Op::observe(object, "say that external systems' logs are not known: none was given"));
        }
        plan.outputs = json!({ "matches": null, "by_address": {}, "logs": [], "found": null });
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let all = self.all();
        let index = op.detail["index"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let Some(from) = all.get(index) else {
            let why = "no access log of an external system was given: what happened there is not known".to_owned();
            return Ok(Done::taken(why.clone(), Some(Proof::Unproved(why)), json!({ "matches": null })));
        };
        let name = from.name(&self.argv);
        let last = name.trim_matches('`').rsplit('/').find(|p| !p.is_empty()).unwrap_or("log");
        let path = format!("data/{}/{:02}-{}", segment(&cx.step), index + 1, segment(last));
        let addresses = self.addresses();
        let mut search = Search {
            addresses: addresses.clone(),
            source: &name,
            line: Vec::new(),
            number: 0,
            found: Vec::new(),
            counts: BTreeMap::new(),
            room: MATCHES,
        };
        let artifact = match cx.store.adopt(&path) {
            // An earlier try had it whole: what is kept is searched.
            Some(artifact) => {
                let at = cx.store.root().join(&path);
                let mut file = File::open(&at).map_err(|e| Problem::io("can't read", &at, &e))?;
                let mut piece = vec![0; 256 << 10];
                loop {
                    let n = file.read(&mut piece).map_err(|e| Problem::io("can't read", &at, &e))?;
                    if n == 0 {
                        break;
                    }
                    search.push(&piece[..n]);
                }
                search.flush(true);
                artifact
            }
            None => self.take(cx, op, from, &path, &mut search).await?,
        };
        let matches: u64 = search.counts.values().sum();
        let found_path = format!("data/{}/{:02}-matches.json", segment(&cx.step), index + 1);
        if matches > 0 && cx.store.adopt(&found_path).is_none() {
            let label = Label {
                title: format!("lines of {name} with one of the addresses"),
                media_type: "application/json".into(),
                source: Source {
                    object: op.object.clone(),
                    container: None,
                    what: "external access log, matches".into(),
                },
                method: Method::responder("search", "addresses that the audit log named", Vec::new()),
                started: cx.clock.now(),
            };
            let document = json!({
                "source": name, "addresses": search.counts, "lines": search.found, "more": matches > search.found.len() as u64,
            });
            cx.store.put_json(&found_path, label, cx.clock, &document, Vec::new())?;
        }
        let counts: Vec<String> = search.counts.iter().map(|(a, n)| format!("{a} {n}")).collect();
        let said = match (addresses.len(), matches) {
            (0, _) => format!("{name} is kept; no address was given to look for"),
            (n, 0) => format!("{name}: none of {n} address{} stands in it", if n == 1 { "" } else { "es" }),
            (_, n) => format!("{name}: {n} line{} with {}", if n == 1 { "" } else { "s" }, counts.join(", ")),
        };
        let proof = match (&artifact.truncated, addresses.is_empty()) {
            (Some(why), _) => Proof::Unproved(format!("{said}; it is not whole: {why}")),
            (None, true) => Proof::Unproved(said.clone()),
            (None, false) => Proof::Verified(said.clone()),
        };
        let observed = json!({
            "matches": matches, "by_address": search.counts, "log": path,
            "found": (matches > 0).then_some(found_path),
        });
        Ok(Done::taken(said, Some(proof), observed))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = plan_outputs.clone();
        let mut by: BTreeMap<String, u64> = BTreeMap::new();
        for (_, done) in done {
            for (address, n) in done.observed["by_address"].as_object().into_iter().flatten() {
                *by.entry(address.clone()).or_default() += n.as_u64().unwrap_or(0);
            }
        }
        let known: Vec<&Value> = done.iter().map(|(_, d)| &d.observed["matches"]).filter(|m| !m.is_null()).collect();
        outputs["matches"] =
            if known.is_empty() { Value::Null } else { known.iter().filter_map(|m| m.as_u64()).sum::<u64>().into() };
        outputs["by_address"] = json!(by);
        outputs["logs"] = done.iter().map(|(_, d)| d.observed["log"].clone()).filter(|l| !l.is_null()).collect();
        outputs["found"] =
            done.iter().map(|(_, d)| d.observed["found"].clone()).find(|f| !f.is_null()).unwrap_or_default();
        let mut conclusion = Conclusion::of(outputs, done);
        if conclusion.status == crate::event::StepStatus::Verified {
            conclusion.summary = done.iter().map(|(_, d)| d.detail.clone()).collect::<Vec<_>>().join("; ");
        }
        conclusion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_where_it_stands_alone() {
        let v4 = "10.0.0.1".parse().unwrap();
        for (line, is) in [
            ("10.0.0.1 - - GET /", true),
            ("from=10.0.0.1:4432", true),
            ("It came from 10.0.0.1.", true),
            ("[10.0.0.1]", true),
            ("110.0.0.1", false),
            ("10.0.0.12", false),
            ("10.0.0.1.5", false),
            ("1.10.0.0.1", false),
        ] {
            assert_eq!(stands(line.as_bytes(), "10.0.0.1", &v4), is, "{line}");
        }
        let v6 = "fd00::1".parse().unwrap();
        assert!(stands(b"peer [fd00::1]:443", "fd00::1", &v6));
        assert!(!stands(b"fd00::12", "fd00::1", &v6) && !stands(b"afd00::1", "fd00::1", &v6));
    }

    #[test]
    fn lines_are_found_across_pieces_and_long_ones_do_not_fill_memory() {
        let mut search = Search {
            addresses: vec![("10.0.0.1".into(), "10.0.0.1".parse().unwrap())],
            source: "x",
            line: Vec::new(),
            number: 0,
            found: Vec::new(),
            counts: BTreeMap::new(),
            room: 1,
        };
        search.push(b"first\nsecond 10.0.");
        search.push(b"0.1 \x1b[31m end\n");
        search.push(&vec![b'x'; 1 << 20]);
        assert!(search.line.len() <= LINE);
        search.push(b" 10.0.0.1");
        search.flush(true);
        assert_eq!(search.counts["10.0.0.1"], 2);
        assert_eq!(search.found.len(), 1, "no more than there is room for");
        assert_eq!(search.found[0]["line"], 2);
    }
}
