//! `tar`: makes, lists and unpacks.

use std::io::{self, Cursor, Read, Write};

use super::super::files::{Kind, Node};
use super::super::shell::Stream;
use super::Call;
use super::files::put;

pub fn tar(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut args = call.args.to_vec();
    if let Some(first) = args.first_mut().filter(|a| !a.starts_with('-')) {
        first.insert(0, '-');
    }
    let (mut mode, mut file, mut paths, mut strip) = (' ', "-".to_string(), Vec::new(), false);
    let mut base = String::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            paths.extend(rest.by_ref().cloned());
        } else if let Some(options) = word.strip_prefix('-').filter(|o| !o.is_empty() && !o.starts_with('-')) {
            for option in options.chars() {
                match option {
                    'c' | 'x' | 't' => mode = option,
                    'f' => file = rest.next().cloned().unwrap_or_default(),
                    'C' => base = rest.next().cloned().unwrap_or_default(),
                    'v' | 'm' | 'p' | 'o' => {}
                    'z' | 'j' | 'J' => {
                        call.complain("compression is not supported")?;
                        return Ok(1);
                    }
                    other => {
                        call.complain(&format!("unrecognized option: {other}"))?;
                        return Ok(1);
                    }
                }
            }
        } else if let Some(directory) = word.strip_prefix("--directory=") {
            base = directory.into();
        } else if word.starts_with("--") {
            strip |= word == "--no-same-owner";
        } else {
            paths.push(word.clone());
        }
    }
    let before = call.shell.cwd.clone();
    let code = if base.is_empty() {
        Ok(())
    } else {
        call.shell.view(|v| v.resolve(&before, &base, true)).map(|to| call.shell.cwd = to)
    };
    if let Err(why) = code {
        call.complain(&format!("can't change directory to '{base}': {why}"))?;
        return Ok(1);
    }
    let code = match mode {
        'c' => create(call, &file, &paths),
        'x' | 't' => unpack(call, &file, &paths, mode == 'x', strip),
        _ => {
            call.complain("must specify one of -c, -x, -t")?;
            Ok(1)
        }
    };
    call.shell.cwd = before;
    code
}

/// The header of a node, all but its name.
fn header(node: &Node) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(node.mode);
    header.set_uid(node.uid.into());
    header.set_gid(node.gid.into());
    header.set_mtime(u64::try_from(node.mtime).unwrap_or(0));
    header.set_size(0);
    header
}

fn create(call: &mut Call<'_, '_>, file: &str, paths: &[String]) -> io::Result<i32> {
    if paths.is_empty() {
        call.complain("empty archive")?;
        return Ok(1);
    }
    let out = if file == "-" { call.out.clone() } else { call.shell.create(file, false)? };
    let mut archive = tar::Builder::new(out);
    let (mut code, mut stripped) = (0, false);
    for base in paths {
        for (path, depth) in super::find::below(call, base) {
            if call.shell.cancelled() {
                return Ok(137);
            }
            let looked = call.shell.view(|v| v.stat(&call.shell.cwd, &path, false));
            let node = match looked {
                Ok(node) if node.allows(call.shell.container.uid, 4) || matches!(node.kind, Kind::Link(_)) => node,
                Ok(_) => {
                    call.complain(&format!("can't open '{path}': Permission denied"))?;
                    code = 1;
                    continue;
                }
                Err(why) => {
                    call.complain(&format!("{path}: {why}"))?;
                    code = 1;
                    continue;
                }
            };
            if path.starts_with('/') && depth == 0 && !std::mem::replace(&mut stripped, true) {
                call.complain("removing leading '/' from member names")?;
            }
            let name = path.trim_start_matches('/');
            let name = if name.is_empty() { "./" } else { name };
            let mut head = header(&node);
            let content = node.content();
            let mut name = name.to_string();
            match &node.kind {
                Kind::Directory(_) => {
                    head.set_entry_type(tar::EntryType::Directory);
                    name = format!("{}/", name.trim_end_matches('/'));
                }
                Kind::Link(target) => {
                    head.set_entry_type(tar::EntryType::Symlink);
                    long(&mut archive, b'K', target)?;
                    fill(&mut head, 157, target);
                }
                Kind::Device(major, minor) => {
                    head.set_entry_type(tar::EntryType::Char);
                    head.set_device_major(*major)?;
                    head.set_device_minor(*minor)?;
                }
                Kind::File(content) => head.set_size(content.len() as u64),
            }
            long(&mut archive, b'L', &name)?;
            fill(&mut head, 0, &name);
            head.set_cksum();
            archive.append(&head, content.as_slice())?;
        }
    }
    archive.finish()?;
    archive.into_inner()?.flush()?;
    Ok(code)
}

/// Puts a text of no more than 100 bytes at its place in a header. The library's own way would drop a leading `./`.
fn fill(head: &mut tar::Header, at: usize, text: &str) {
    head.as_mut_bytes().iter_mut().skip(at).take(100).zip(text.bytes()).for_each(|(to, from)| *to = from);
}

/// A longer one in an entry of its own before the one that it belongs to, as GNU tar and BusyBox do.
fn long(archive: &mut tar::Builder<Stream>, kind: u8, text: &str) -> io::Result<()> {
    if text.len() <= 100 {
        return Ok(());
    }
    let mut head = header(&Node::file("", 0).mode(0));
    fill(&mut head, 0, "././@LongLink");
    head.set_entry_type(tar::EntryType::new(kind));
    head.set_size(text.len() as u64 + 1);
    head.set_cksum();
    archive.append(&head, [text.as_bytes(), b"\0"].concat().as_slice())
}

fn unpack(call: &mut Call<'_, '_>, file: &str, wanted: &[String], extract: bool, strip: bool) -> io::Result<i32> {
    let content = match call.content(file) {
        Ok(content) => content,
        Err(why) => {
            call.complain(&format!("can't open '{file}': {why}"))?;
            return Ok(1);
        }
    };
    let mut archive = tar::Archive::new(Cursor::new(content.as_slice()));
    let uid = call.shell.container.uid;
    for entry in archive.entries()? {
        let Ok(mut entry) = entry else {
            call.complain("invalid tar magic")?;
            return Ok(1);
        };
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if !wanted.is_empty() && !wanted.iter().any(|w| name.trim_end_matches('/').starts_with(w.trim_end_matches('/')))
        {
            continue;
        }
        if !extract {
            writeln!(call.out, "{name}")?;
            continue;
        }
        let head = entry.header().clone();
        let number = |n: io::Result<u64>| n.ok().and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let time = i64::try_from(head.mtime().unwrap_or(0)).unwrap_or(0);
        let node = match head.entry_type() {
            tar::EntryType::Directory => Node::directory(time),
            tar::EntryType::Symlink => {
                let target = entry.link_name_bytes().map(|t| String::from_utf8_lossy(&t).into_owned());
                Node::link(target.unwrap_or_default(), time)
            }
            tar::EntryType::Regular => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                Node::file(content, time)
            }
            _ => continue,
        };
        let (owner, group) = if uid == 0 && !strip { (number(head.uid()), number(head.gid())) } else { (uid, 0) };
        let node =
            Node { ctime: super::super::now(), ..node.mode(head.mode().unwrap_or(0o644) & 0o7777).owned(owner, group) };
        let path = name.trim_matches('/').to_string();
        if path == "." || path.split('/').any(|p| p == "..") {
            continue;
        }
        if let Err(why) = put(call, &path, node) {
            call.complain(&format!("can't create '{path}': {why}"))?;
            return Ok(1);
        }
    }
    Ok(0)
}
