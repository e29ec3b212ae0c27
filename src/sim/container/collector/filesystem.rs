//! The target's files as one tar stream, in the order and with the limits of the real collector.

use std::io;

use super::super::files::{Kind, Node};
use super::super::procfs;
use super::frames::Frames;
use super::{Failure, Given, Run, header};

/// Mounts of these types are not read.
const PSEUDO: [&str; 4] = ["proc", "sysfs", "devpts", "mqueue"];

/// What not to take.
pub struct Limits {
    /// Paths without slashes at their ends, what they really are, and why.
    exclude: Vec<(String, Option<String>, String)>,
    bytes: Option<u64>,
    file: Option<u64>,
    files: Option<u64>,
}

/// Reads the options; whether the container that is named is the one that is seen.
pub fn limits(run: &Run<'_>, given: &Given) -> Result<Limits, Failure> {
    seen(run, given)?;
    bounds(run, given)
}

fn seen(run: &Run<'_>, given: &Given) -> Result<(), Failure> {
    match (given.all("--root").next_back(), given.all("--container").next_back()) {
        (Some(root), None) => {
            let here = run.view(|v| v.resolve("", root, true)).is_ok_and(|real| real.is_empty());
            if !here {
                return Err(Failure::Other(format!(
                    "can't open the target's root {root}: No such file or directory (os error 2)"
                )));
            }
        }
        (None, Some(text)) => {
            let id = text.rsplit('/').next().unwrap_or_default();
            if id.len() < 12 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(Failure::Other(format!("{text:?} is no container id")));
            }
            let init = given.has("--or-init") && run.target.runs();
            let seen = run
                .view(|v| v.state.processes.values().any(|p| p.foreign.is_none()) && v.facts.container_id.contains(id));
            if !seen && !init {
                return Err(Failure::Other(format!(
                    "no process of container {id} is visible from here: the runtime does not share its processes"
                )));
            }
        }
        _ => return Err(Failure::Usage("filesystem takes either --root or --container".into())),
    }
    Ok(())
}

/// The options that bound what is taken.
pub fn bounds(run: &Run<'_>, given: &Given) -> Result<Limits, Failure> {
    let exclude = given.all("--exclude").map(|text| {
        let (path, why) = text.split_once(':').unwrap_or((text, "excluded"));
        let path = path.trim_matches('/').to_string();
        // It may go through links: the walk meets it under its real name.
        let real = run.view(|v| v.resolve("", &format!("/{path}"), true)).ok();
        (path, real.map(|r| r.trim_matches('/').to_string()), why.to_string())
    });
    Ok(Limits {
        exclude: exclude.collect(),
        bytes: given.number("--max-bytes")?,
        file: given.number("--max-file")?,
        files: given.number("--max-files")?,
    })
}

/// Writes the archive. It is of one moment: what changes meanwhile does not change it.
pub fn write(run: &Run<'_>, out: &mut Frames, limits: &Limits) -> io::Result<()> {
    let (root, mounts) = run.view(|v| {
        let mounts: Vec<String> = procfs::mounts(v)
            .into_iter()
            .filter(|m| PSEUDO.contains(&m.kind))
            .map(|m| format!("{}\n{}", m.point.trim_start_matches('/'), m.kind))
            .collect();
        (v.state.root.clone(), mounts)
    });
    tree(run, out, limits, &root, "", &mounts)
}

/// Writes a tree as an archive; `base` is what names in it begin with, with a slash behind.
pub fn tree(
    run: &Run<'_>,
    out: &mut Frames,
    limits: &Limits,
    root: &Node,
    base: &str,
    mounts: &[String],
) -> io::Result<()> {
    head(out, if base.is_empty() { "./" } else { base }, root)?;
    let mut todo: Vec<(String, Node)> = children(base, root);
    while let Some((path, node)) = todo.pop() {
        if limits.files.is_some_and(|most| out.entries >= most) {
            out.truncate(format!("the limit of {} entries was met", out.entries));
            break;
        }
        let link = matches!(node.kind, Kind::Link(_) | Kind::Device(..));
        let excluded =
            limits.exclude.iter().find(|(given, real, _)| *given == path || !link && real.as_ref() == Some(&path));
        if let Some((_, _, why)) = excluded {
            out.left_out(&path, why.as_str())?;
            continue;
        }
        if !link && !node.allows(run.own.uid, 4) {
            out.unreadable += 1;
            out.left_out(&path, "can't be opened: Permission denied (os error 13)")?;
            continue;
        }
        match &node.kind {
            Kind::Directory(_) => {
                head(out, &format!("{path}/"), &node)?;
                let mounted = mounts.iter().filter_map(|m| m.split_once('\n')).find(|(point, _)| *point == path);
                match mounted {
                    Some((_, kind)) => {
                        out.left_out(&path, format!("a mount of {kind}: the kernel's own, not the container's files"))?;
                    }
                    None => todo.extend(children(&format!("{path}/"), &node)),
                }
            }
            Kind::File(content) => file(out, limits, &path, &node, content)?,
            _ => head(out, &path, &node)?,
        }
    }
    // Two blocks of zeros end an archive; GNU tar fills a record of 20.
    let size = out.size();
    out.zeros((size + 1024).next_multiple_of(10_240) - size)
}

fn file(out: &mut Frames, limits: &Limits, path: &str, node: &Node, content: &[u8]) -> io::Result<()> {
    let size = content.len() as u64;
    let over = |limit: Option<u64>, already: u64| limit.filter(|most| already.saturating_add(size) > *most);
    let reached = over(limits.file, 0)
        .map(|most| format!("larger than the limit of {most} bytes for one file"))
        .or_else(|| over(limits.bytes, out.size()).map(|most| format!("the limit of {most} bytes in all")));
    if let Some(why) = reached {
        out.left_out(path, format!("{why}: {size} bytes, {size} to store"))?;
        out.truncate(why);
        return Ok(());
    }
    head(out, path, node)?;
    out.put(content)?;
    out.zeros(size.next_multiple_of(512) - size)
}

fn head(out: &mut Frames, name: &str, node: &Node) -> io::Result<()> {
    out.entries += 1;
    out.put(&header::blocks(name, node))
}

/// What is in a directory, sorted backwards.
fn children(base: &str, node: &Node) -> Vec<(String, Node)> {
    match &node.kind {
        Kind::Directory(children) => {
            children.iter().rev().map(|(n, node)| (format!("{base}{n}"), node.clone())).collect()
        }
        _ => Vec::new(),
    }
}
