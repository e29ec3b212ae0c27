//! `layer`, `drift` and `unlinked` in the simulation: what the container's files are now against what its image had.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::json;

use super::super::files::{Kind, Node};
use super::super::programs::sha256;
use super::Run;
use super::frames::Frames;

/// The writable layer as an overlay would hold it: what was added or changed, with its directories, and a character
/// device 0/0 for what was deleted. None when nothing differs.
pub fn layer(image: &Node, now: &Node) -> Option<Node> {
    match (&image.kind, &now.kind) {
        (Kind::Directory(before), Kind::Directory(after)) => {
            let mut all: BTreeMap<String, Node> = BTreeMap::new();
            for (name, node) in after.iter() {
                let found = before.get(name).map_or_else(|| Some(node.clone()), |was| layer(was, node));
                all.extend(found.map(|node| (name.clone(), node)));
            }
            for name in before.keys().filter(|name| !after.contains_key(*name)) {
                all.insert(name.clone(), Node::device(0, 0, now.ctime));
            }
            (!all.is_empty()).then(|| Node { kind: Kind::Directory(Arc::new(all)), ..now.clone() })
        }
        (Kind::File(before), Kind::File(after)) if before == after && image.mode == now.mode => None,
        (Kind::Link(before), Kind::Link(after)) if before == after => None,
        (Kind::Device(..), Kind::Device(..)) => None,
        _ => Some(now.clone()),
    }
}

/// The layer, without what is mounted over it: /dev is a file system of its own.
pub fn writable(image: &Node, now: &Node) -> Node {
    let mut all = match layer(image, now).map(|l| l.kind) {
        Some(Kind::Directory(children)) => children.as_ref().clone(),
        _ => BTreeMap::new(),
    };
    all.remove("dev");
    Node { kind: Kind::Directory(Arc::new(all)), ..now.clone() }
}

/// The drift list.
pub fn drift(run: &Run<'_>, out: &mut Frames) -> io::Result<()> {
    let image = run.target.image.clone();
    let now = run.target.state().root.clone();
    line(
        out,
        &json!({"format": 1, "snapshotter": "overlay", "upper": "/host/var/lib/containerd/simulated/fs", "layers": 1}),
    )?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    walk(out, &mut counts, "", Some(&image), &writable(&image, &now))?;
    line(out, &json!({ "counts": counts }))
}

fn walk(
    out: &mut Frames,
    counts: &mut BTreeMap<String, u64>,
    base: &str,
    image: Option<&Node>,
    layer: &Node,
) -> io::Result<()> {
    let Kind::Directory(children) = &layer.kind else { return Ok(()) };
    for (name, node) in children.iter() {
        let path = format!("{base}/{name}");
        let before = image.and_then(|i| match &i.kind {
            Kind::Directory(all) => all.get(name),
            _ => None,
        });
        let mut flags = Vec::new();
        let (change, mut told) = match &node.kind {
            Kind::Device(0, 0) => ("deleted", json!({})),
            Kind::Directory(_) if before.is_some() => ("", json!({})),
            kind => {
                let (kind, size) = match kind {
                    Kind::File(content) => ("RegularFile", content.len()),
                    Kind::Directory(_) => ("Directory", 4096),
                    Kind::Link(target) => ("Symlink", target.len()),
                    Kind::Device(..) => ("CharacterDevice", 0),
                };
                let told = json!({"kind": kind, "size": size, "mode": format!("{:04o}", node.mode & 0o7777), "uid": node.uid,
                                  "gid": node.gid, "mtime": node.mtime, "ctime": node.ctime});
                (if before.is_some() { "changed" } else { "added" }, told)
            }
        };
        if let Kind::File(content) = &node.kind {
            flags.extend((node.mode & 0o4000 != 0).then_some("setuid"));
            flags.extend(content.starts_with(b"\x7fELF").then_some("elf"));
            flags.extend(content.starts_with(b"#!").then_some("script"));
            flags.extend((node.mode & 0o111 != 0).then_some("executable"));
            if !flags.is_empty() {
                told["sha256"] = json!(sha256(content));
                told["flags"] = json!(flags);
            }
        }
        if !change.is_empty() {
            for what in std::iter::once(change).chain(flags) {
                *counts.entry(what.into()).or_default() += 1;
            }
            told["change"] = json!(change);
            told["path"] = json!(path);
            out.entries += 1;
            line(out, &told)?;
        }
        walk(out, counts, &path, before, node)?;
    }
    Ok(())
}

fn line(out: &mut Frames, value: &serde_json::Value) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    out.put(&text)
}

/// What processes hold that has no name any more, as a tree.
pub fn unlinked(run: &Run<'_>) -> Node {
    let mut root = Node::directory(0);
    for process in run.target.state().processes.values().filter(|p| p.foreign.is_none() && (p.deleted || p.memfd)) {
        let node = Node { kind: Kind::File(process.image.clone()), ..Node::file("", process.started) };
        root.put(&format!("/pid/{}/exe", process.pid), node.mode(0o755));
    }
    root
}
