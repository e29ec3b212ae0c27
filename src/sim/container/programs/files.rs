//! Programs that look at files and change them.

use std::io::{self, Write};

use super::super::files::{Errno, Kind, Node, split};
use super::super::now;
use super::{Call, date_time, month};

/// `-rwsr-xr-x`.
pub fn mode_text(node: &Node) -> String {
    let mut text = String::from(match node.kind {
        Kind::File(_) => '-',
        Kind::Directory(_) => 'd',
        Kind::Link(_) => 'l',
        Kind::Device(..) => 'c',
    });
    for (shift, special, sign) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (node.mode & special != 0, bits & 1 != 0) {
            (true, true) => sign,
            (true, false) => sign.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

pub fn ls(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut paths = call.words();
    if paths.is_empty() {
        paths.push(".".into());
    }
    let (mut code, mut plain, mut directories) = (0, Vec::new(), Vec::new());
    for path in paths {
        // A link that is named is followed, but not with -l.
        let follow = !call.has('l') || path.ends_with('/');
        let stat = |follow| call.shell.view(|v| v.stat(&call.shell.cwd, &path, follow));
        match stat(follow).or_else(|_| stat(false)) {
            Ok(node) if node.is_directory() && !call.has('d') => directories.push(path),
            Ok(node) => plain.push((path, node)),
            Err(why) => {
                call.complain(&format!("{path}: {why}"))?;
                code = 1;
            }
        }
    }
    let several = directories.len() > 1 || call.has('R') || !plain.is_empty();
    let mut empty = plain.is_empty();
    show(call, plain)?;
    directories.reverse();
    while let Some(path) = directories.pop() {
        let listed = call.shell.view(|v| v.list(&call.shell.cwd, &path));
        let mut names = match listed {
            Ok(names) => names,
            Err(why) => {
                call.complain(&format!("can't open '{path}': {why}"))?;
                code = 1;
                continue;
            }
        };
        if call.has('a') {
            names.splice(0..0, [".".to_string(), "..".to_string()]);
        } else if !call.has('A') {
            names.retain(|n| !n.starts_with('.'));
        }
        let base = format!("{}/", path.trim_end_matches('/'));
        let entries: Vec<(String, Node)> = names
            .into_iter()
            .filter_map(|n| {
                call.shell.view(|v| v.stat(&call.shell.cwd, &format!("{base}{n}"), false)).ok().map(|node| (n, node))
            })
            .collect();
        if several {
            writeln!(call.out, "{}{path}:", if std::mem::take(&mut empty) { "" } else { "\n" })?;
        }
        if call.has('R') {
            let below = entries.iter().filter(|(n, node)| node.is_directory() && n != "." && n != "..");
            directories.extend(below.map(|(n, _)| format!("{base}{n}")).rev());
        }
        if call.has('l') {
            writeln!(call.out, "total {}", entries.iter().map(|(_, n)| n.size().div_ceil(4096) * 4).sum::<u64>())?;
        }
        show(call, entries)?;
    }
    Ok(code)
}

fn show(call: &mut Call<'_, '_>, mut entries: Vec<(String, Node)>) -> io::Result<()> {
    if call.has('t') {
        entries.sort_by_key(|(_, node)| std::cmp::Reverse(node.mtime));
    }
    if call.has('r') {
        entries.reverse();
    }
    for (name, node) in entries {
        if !call.has('l') {
            writeln!(call.out, "{name}")?;
            continue;
        }
        let (owner, group) = owners(call, &node);
        let date = date_time(node.mtime);
        let old = now().saturating_sub(node.mtime).saturating_abs() > 180 * 86_400;
        let time = if old {
            format!(" {}", date.get(..4).unwrap_or_default())
        } else {
            date.get(11..16).unwrap_or_default().into()
        };
        let size = match node.kind {
            Kind::Device(major, minor) => format!("{major:>3}, {minor:>3}"),
            _ => node.size().to_string(),
        };
        let arrow = match &node.kind {
            Kind::Link(target) => format!(" -> {target}"),
            _ => String::new(),
        };
        let day = date.get(8..10).unwrap_or_default().trim_start_matches('0');
        writeln!(
            call.out,
            "{}    1 {owner:<8} {group:<8} {size:>9} {} {day:>2} {time} {name}{arrow}",
            mode_text(&node),
            month(&date)
        )?;
    }
    Ok(())
}

/// Names of owner and group, or their numbers.
pub fn owners(call: &Call<'_, '_>, node: &Node) -> (String, String) {
    call.shell.view(|v| {
        let name = |file, id: u32| v.name_of(file, id).unwrap_or_else(|| id.to_string());
        (name("/etc/passwd", node.uid), name("/etc/group", node.gid))
    })
}

pub fn readlink(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut code = 0;
    for path in call.words() {
        let cwd = call.shell.cwd.clone();
        let answer = if call.has('f') {
            call.shell.view(|v| v.resolve(&cwd, &path, true).or_else(|_| v.place(&cwd, &path))).ok()
        } else {
            match call.shell.view(|v| v.stat(&cwd, &path, false)) {
                Ok(Node { kind: Kind::Link(target), .. }) => Some(target),
                _ => None,
            }
        };
        match answer {
            Some(target) => writeln!(call.out, "{}", if target.is_empty() { "/" } else { &target })?,
            None => code = 1,
        }
    }
    Ok(code)
}

/// Does something for each word; what fails is complained about in passing.
fn for_each(
    call: &mut Call<'_, '_>,
    words: &[String],
    what: &str,
    mut act: impl FnMut(&mut Call<'_, '_>, &str) -> Result<(), Errno>,
) -> io::Result<i32> {
    let mut code = 0;
    for word in words {
        if let Err(why) = act(call, word) {
            call.complain(&format!("{what} '{word}': {why}"))?;
            code = 1;
        }
    }
    Ok(code)
}

/// Puts a node at a path whose directory may be changed.
pub fn put(call: &Call<'_, '_>, path: &str, node: Node) -> Result<(), Errno> {
    let real = call.shell.view(|v| v.place(&call.shell.cwd, path))?;
    call.shell.container.state().root.put(&real, node);
    Ok(())
}

pub fn mkdir(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let parents = call.has('p');
    let words = call.words_beside("m");
    let uid = call.shell.container.uid;
    for_each(call, &words, "can't create directory", |call, path| {
        let mut made = if path.starts_with('/') { "/".to_string() } else { String::new() };
        let count = path.split('/').filter(|p| !p.is_empty()).count();
        for (n, part) in (1..).zip(path.split('/').filter(|p| !p.is_empty())) {
            made.push_str(part);
            let there = call.shell.view(|v| v.stat(&call.shell.cwd, &made, true));
            match there {
                Ok(node) if node.is_directory() && (parents || n < count) => {}
                Ok(node) if n < count && !node.is_directory() => return Err(Errno::NotDirectory),
                Ok(_) => return Err(Errno::Exists),
                Err(_) if !parents && n < count => return Err(Errno::NotFound),
                Err(_) => put(call, &made, Node::directory(now()).owned(uid, 0))?,
            }
            made.push('/');
        }
        Ok(())
    })
}

pub fn touch(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words_beside("drt");
    let like =
        call.value("-r").and_then(|r| call.shell.view(|v| v.stat(&call.shell.cwd, r, true)).ok()).map(|n| n.mtime);
    for_each(call, &words, "cannot touch", |call, path| {
        let cwd = call.shell.cwd.clone();
        match call.shell.view(|v| v.stat(&cwd, path, true)) {
            Err(Errno::NotFound) => {
                call.shell.create(path, true)?;
            }
            Err(why) => return Err(why),
            Ok(_) => {}
        }
        let real = call.shell.view(|v| v.resolve(&cwd, path, true))?;
        if let Some(node) = call.shell.container.state().root.at_mut(&real) {
            (node.mtime, node.ctime) = (like.unwrap_or_else(now), now());
        }
        Ok(())
    })
}

pub fn rm(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let all = call.has('r') || call.has('R');
    let force = call.has('f');
    let words = call.words();
    let cwd = call.shell.cwd.clone();
    let (directories, words): (Vec<String>, Vec<String>) = words
        .into_iter()
        .partition(|w| !all && call.shell.view(|v| v.stat(&cwd, w, false)).is_ok_and(|n| n.is_directory()));
    for path in &directories {
        call.complain(&format!("'{path}' is a directory"))?;
    }
    let code = for_each(call, &words, "can't remove", |call, path| {
        let cwd = call.shell.cwd.clone();
        match call.shell.view(|v| v.stat(&cwd, path, false)) {
            Err(Errno::NotFound) if force => return Ok(()),
            Err(why) => return Err(why),
            Ok(_) => {}
        }
        let real = call.shell.view(|v| v.place(&cwd, path))?;
        let mut state = call.shell.container.state();
        // A program that runs goes on without its name.
        let below = format!("{real}/");
        for process in state.processes.values_mut() {
            process.deleted |= process.exe == real || process.exe.starts_with(&below);
        }
        state.root.remove(&real).map(drop).ok_or(Errno::NotFound)
    })?;
    Ok(if directories.is_empty() { code } else { 1 })
}

/// Where a source goes: into the last word, where that is a directory.
fn destination(call: &Call<'_, '_>, source: &str, to: &str) -> String {
    let into = call.shell.view(|v| v.stat(&call.shell.cwd, to, true)).is_ok_and(|n| n.is_directory());
    if into { format!("{}/{}", to.trim_end_matches('/'), split(source).1.trim_matches('/')) } else { to.to_string() }
}

pub fn cp(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    let deep = ['r', 'R', 'a'].iter().any(|o| call.has(*o));
    let keep = call.has('p') || call.has('a');
    let Some((to, sources)) = words.split_last() else { return Ok(1) };
    for_each(call, sources, "can't stat", |call, source| {
        let node = call.shell.view(|v| {
            let node = v.stat(&call.shell.cwd, source, !call.has('a'))?;
            if node.allows(v.uid, 4) { Ok(node) } else { Err(Errno::Denied) }
        })?;
        if node.is_directory() && !deep {
            return Err(Errno::IsDirectory);
        }
        let new = if keep { node } else { Node { mtime: now(), ..node }.owned(call.shell.container.uid, 0) };
        put(call, &destination(call, source, to), Node { ctime: now(), ..new })
    })
}

pub fn mv(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    let Some((to, sources)) = words.split_last() else { return Ok(1) };
    for_each(call, sources, "can't rename", |call, source| {
        let cwd = call.shell.cwd.clone();
        let node = call.shell.view(|v| v.stat(&cwd, source, false))?;
        let from = call.shell.view(|v| v.place(&cwd, source))?;
        let target = destination(call, source, to);
        let real = call.shell.view(|v| v.place(&cwd, &target))?;
        if real == from || real.starts_with(&format!("{from}/")) {
            return Err(Errno::NotEmpty);
        }
        let mut state = call.shell.container.state();
        state.root.remove(&from);
        state.root.put(&real, Node { ctime: now(), ..node });
        state.processes.values_mut().filter(|p| p.exe == from).for_each(|p| p.exe.clone_from(&real));
        Ok(())
    })
}

/// Changes the nodes that are named, with `-R` also those below; only their owner may.
fn change(call: &mut Call<'_, '_>, words: &[String], mut act: impl FnMut(&mut Node)) -> io::Result<i32> {
    let deep = call.has('R');
    for_each(call, words, "", |call, path| {
        let all = if deep { super::find::below(call, path) } else { vec![(path.to_string(), 0)] };
        for (path, _) in all {
            let uid = call.shell.container.uid;
            let real = call.shell.view(|v| v.resolve(&call.shell.cwd, &path, true))?;
            let mut state = call.shell.container.state();
            let node = state.root.at_mut(&real).ok_or(Errno::NotFound)?;
            if uid != 0 && uid != node.uid {
                return Err(Errno::Denied);
            }
            act(node);
            node.ctime = now();
        }
        Ok(())
    })
}

pub fn chmod(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let all: Vec<String> = call.args.iter().filter(|a| *a != "-R").cloned().collect();
    let Some((mode, paths)) = all.split_first() else { return Ok(1) };
    let octal = u32::from_str_radix(mode, 8).ok();
    let Some(at) = mode.find(['+', '-', '=']).or(octal.map(|_| 0)) else {
        call.complain(&format!("invalid mode '{mode}'"))?;
        return Ok(1);
    };
    let (who, rest) = mode.split_at(at);
    let whom = |c: char| who.is_empty() || who.contains(c) || who.contains('a');
    let bits = rest.chars().skip(1).fold(0, |bits, c| {
        let one = match c {
            'r' => 4,
            'w' => 2,
            'x' => 1,
            _ => 0,
        };
        let special = match c {
            's' => (u32::from(whom('u')) * 0o4000) | (u32::from(whom('g')) * 0o2000),
            't' => 0o1000,
            _ => 0,
        };
        bits | special
            | [('u', 6), ('g', 3), ('o', 0)].iter().filter(|(w, _)| whom(*w)).fold(0, |b, (_, s)| b | one << s)
    });
    change(call, paths, |node| {
        node.mode = match (octal, rest.starts_with('-')) {
            (Some(octal), _) => octal & 0o7777,
            (None, true) => node.mode & !bits,
            (None, false) => node.mode | bits,
        };
    })
}
