//! Environments and mounted credentials: held in memory alone, sealed for the recipients, and written so. What lies in
//! clear beside them are names, and of each value a digest by the incident's own key.

use std::collections::BTreeMap;
use std::io::Read;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::landing::source;
use super::receive::{argv_of, method, refused};
use super::{PodCapture, subject, text};
use crate::action::Done;
use crate::action::collector::Handle;
use crate::action::collector::framed::Framed;
use crate::cluster::exec;
use crate::cluster::{Cx, Fault, Problem};
use crate::collector::processes::environ::Environments;
use crate::collector::wire::{Hello, Item, Note};
use crate::event::{Artifact, Label, LeftOut, Method, Op, Proof};
use crate::evidence::sealed::{DigestKey, Recipients};
use crate::evidence::segment;

/// Bytes of one thing that is sealed: it is held in memory, for in clear it may not reach the disk.
const MAX: usize = 16 << 20;
/// The kinds.
pub(super) const KINDS: [&str; 2] = ["environ", "credentials"];

/// Where they go: the sealed bytes, and the digests.
fn paths(cx: &Cx, op: &Op) -> (String, String) {
    let mut stem = format!("data/{}/{}.{}", segment(&cx.step), segment(text(op, "container")), text(op, "kind"));
    let ending = if text(op, "kind") == "environ" { "json" } else { "tar" };
    if !text(op, "below").is_empty() {
        stem.push_str(&segment(&text(op, "below").replace('/', "-")));
    }
    (format!("{stem}.{ending}.age"), format!("{stem}.digests.json"))
}

/// Takes one of them.
pub(super) async fn take(
    with: &PodCapture,
    cx: &Cx,
    op: &Op,
    handle: &Handle,
    container_id: &str,
) -> Result<Done, Problem> {
    let recipients = Recipients::parse(&with.recipients)
        .map_err(Problem::usage)?
        .ok_or_else(|| Problem::internal("nothing is sealed without recipients"))?;
    let (path, beside) = paths(cx, op);
    if let (Some(found), Some(_)) = (cx.store.finished(&path).filter(|a| a.complete), cx.store.finished(&beside)) {
        cx.store.adopt(&path);
        cx.store.adopt(&beside);
        return Ok(Done::told(Proof::Verified(format!("{path}, taken before the interruption")), taken(&found)));
    }
    let started = cx.clock.now();
    let argv = argv_of(cx, op, handle, container_id);
    let mut held = Held::default();
    let mut stream = Framed::new(|item| held.take(item));
    let ended = exec::exec(&cx.client, handle.place(), &argv, with.limits(), &mut stream).await;
    let trailer = stream.trailer.take();
    if let Err(problem) = &ended
        && matches!(problem.fault, Fault::Refused | Fault::NotFound | Fault::Unreachable)
    {
        return refused(op, problem);
    }
    let unproved = |why: &str| Done::told(Proof::Unproved(format!("the {}: {why}", subject(op))), Value::Null);
    let Some(trailer) = trailer else {
        let why = ended.map_or_else(|problem| problem.message, |ended| format!("the stream was cut: {ended}"));
        if held.over {
            return Ok(unproved(&format!("it is longer than the {MAX} bytes that are sealed at once")));
        }
        return with.again(op, why.clone(), unproved(&why));
    };
    let key = DigestKey::of(cx.store.root())?;
    let digests = digests(text(op, "kind"), &held.clear, &key)?;
    let cut = (!trailer.complete).then(|| trailer.truncated.clone().unwrap_or_else(|| "not complete".into()));
    let label = |title: String, media_type: &str, reason: &str| {
        let mut method = method(argv.clone(), handle, held.hello.as_ref());
        method.reason = format!("{}. {reason}", method.reason);
        Label { title, media_type: media_type.into(), source: source(op, text(op, "kind")), method, started }
    };
    let to = recipients.texts().join(", ");
    let sealed = recipients.seal(&held.clear)?;
    let title = format!("{}, sealed", subject(op));
    let reason = format!("Sealed with age before it reached a disk, for {to}: `age -d -i IDENTITY` opens it");
    let artifact = cx.store.put(&path, &sealed, |path, size, sha256| Artifact {
        size_source: None,
        complete: cut.is_none(),
        truncated: cut.clone(),
        warnings: std::mem::take(&mut held.warnings),
        left_out: std::mem::take(&mut held.left_out),
        ..Artifact::of(label(title, "application/age", &reason), cx.clock.now(), path, size, sha256)
    })?;
    let title = format!("digests of the {}", subject(op));
    let reason = "made here out of what was received: HMAC-SHA256 by the incident's own key; two are equal when their values are";
    let made_here = |title: String, media_type: &str, reason: &str| Label {
        method: Method::responder("derived", reason, Vec::new()),
        ..label(title, media_type, "")
    };
    cx.store.put_json(
        &beside,
        made_here(title, "application/json", reason),
        cx.clock,
        &json!({"format": 1, "of": path, "digests": digests}),
        Vec::new(),
    )?;
    seal_key(cx, &recipients, &key, made_here)?;
    let count = digests.len();
    let detail = format!("{count} value{} sealed for {}", if count == 1 { "" } else { "s" }, who(recipients.count()));
    let proof = match (&artifact.truncated, trailer.unreadable) {
        (Some(why), _) => Proof::Unproved(format!("{path} is not complete: {why}")),
        (None, n) if n > 0 => Proof::Unproved(format!("{path}: {n} of its entries could not be read")),
        _ => Proof::Verified("its hashes at both ends agreed before it was sealed".into()),
    };
    Ok(Done::taken(detail, Some(proof), taken(&artifact)))
}

fn taken(artifact: &Artifact) -> Value {
    json!({"artifact": artifact.path, "rung": artifact.method.rung, "trust": artifact.method.trust})
}

/// How many can open it.
pub(super) fn who(count: usize) -> String {
    if count == 1 { "1 recipient".into() } else { format!("{count} recipients") }
}

/// The key goes with what it made digests of, sealed too: whoever opens the values can check the digests.
fn seal_key(
    cx: &Cx,
    recipients: &Recipients,
    key: &DigestKey,
    label: impl Fn(String, &str, &str) -> Label,
) -> Result<(), Problem> {
    let path = format!("data/{}/digest.key.age", segment(&cx.step));
    if cx.store.finished(&path).is_some() {
        cx.store.adopt(&path);
        return Ok(());
    }
    let sealed = recipients.seal(key.bytes())?;
    let reason = "made here, once for the incident; in clear it lies in the incident's folder alone";
    let label = label("key of this incident's digests, sealed".into(), "application/age", reason);
    cx.store
        .put(&path, &sealed, |path, size, sha256| Artifact::of(label, cx.clock.now(), path, size, sha256))
        .map(|_| ())
}

/// A digest a variable (`PID/NAME`, the newest of a name) or file.
fn digests(kind: &str, clear: &[u8], key: &DigestKey) -> Result<BTreeMap<String, String>, Problem> {
    let mut all = BTreeMap::new();
    if kind == "environ" {
        // What the parser says of a document that is none would repeat a part of it.
        let found: Environments = serde_json::from_slice(clear)
            .map_err(|_| Problem::failed("the collector's list of environments is not what it should be"))?;
        for process in found.processes {
            for (name, value) in process.variables {
                let value = Zeroizing::new(value);
                all.insert(format!("{}/{name}", process.pid), key.digest(value.as_bytes()));
            }
        }
        return Ok(all);
    }
    let mut archive = tar::Archive::new(clear);
    let damaged = |e: std::io::Error| Problem::failed(format!("the archive of credentials is damaged: {e}"));
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Zeroizing::new(Vec::new());
        entry.read_to_end(&mut content).map_err(damaged)?;
        all.insert(name, key.digest(&content));
    }
    Ok(all)
}

/// What arrived, in memory.
#[derive(Default)]
struct Held {
    clear: Zeroizing<Vec<u8>>,
    hello: Option<Hello>,
    warnings: Vec<String>,
    left_out: Vec<LeftOut>,
    over: bool,
}

impl Held {
    fn take(&mut self, item: Item<'_>) -> Result<(), Problem> {
        if self.clear.capacity() == 0 {
            // Never moved: a copy that a growing vector leaves behind would not be wiped.
            self.clear.reserve_exact(MAX);
        }
        match item {
            Item::Data(more) if self.clear.len() + more.len() > MAX => {
                self.over = true;
                return Err(Problem::new(Fault::Transient, "it is too long"));
            }
            Item::Data(more) => self.clear.extend_from_slice(more),
            Item::Hello(said) => self.hello = Some(said),
            Item::Note(Note::LeftOut { path, why }) if self.left_out.len() < 200 => {
                self.left_out.push(LeftOut { path, why });
            }
            Item::Note(Note::Warning { text } | Note::Info { text }) if self.warnings.len() < 200 => {
                self.warnings.push(text);
            }
            Item::Note(_) | Item::Trailer(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_digest_and_none_stands_in_clear() {
        let dir = tempfile::tempdir().unwrap();
        let key = DigestKey::of(dir.path()).unwrap();
        let environ = br#"{"format":1,"processes":[{"pid":7,"variables":[["DB","hunter2"],["EMPTY",""]]}]}"#;
        let found = digests("environ", environ, &key).unwrap();
        assert_eq!(found["7/DB"], key.digest(b"hunter2"));
        assert!(found.contains_key("7/EMPTY") && !format!("{found:?}").contains("hunter2"));
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(7);
        header.set_mode(0o400);
        archive.append_data(&mut header, "token", &b"hunter2"[..]).unwrap();
        let found = digests("credentials", &archive.into_inner().unwrap(), &key).unwrap();
        assert_eq!(found["token"], key.digest(b"hunter2"), "the same value, wherever it lies");
        let wrong = digests("environ", br#"{"format":"hunter2"}"#, &key).unwrap_err();
        assert!(!wrong.to_string().contains("hunter2"), "{wrong}");
    }
}
