//! `find`.

use std::io::{self, Write};

use super::super::files::{Kind, Node, split};
use super::super::now;
use super::super::shell::pattern::fits;
use super::Call;

/// A path and all below it, links not followed, with how far below each is.
pub fn below(call: &Call<'_, '_>, base: &str) -> Vec<(String, usize)> {
    let (mut all, mut todo) = (Vec::new(), vec![(base.to_string(), 0)]);
    while let Some((path, depth)) = todo.pop() {
        let node = call.shell.view(|v| v.stat(&call.shell.cwd, &path, false));
        let directory = node.is_ok_and(|n| n.is_directory());
        // Whoever searches everything does not want each process's files.
        if directory && depth < 64 && (path != "/proc" || depth == 0) {
            let names = call.shell.view(|v| v.list(&call.shell.cwd, &path)).unwrap_or_default();
            let slash = if path.ends_with('/') { "" } else { "/" };
            todo.extend(names.iter().rev().map(|n| (format!("{path}{slash}{n}"), depth + 1)));
        }
        all.push((path, depth));
    }
    all
}

pub fn find(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let tests = call.args.iter().position(|a| a.starts_with(['-', '!', '('])).unwrap_or(call.args.len());
    let (bases, tests) = call.args.split_at(tests);
    let (usual, tests) = ([".".to_string()], tests.to_vec());
    let bases = if bases.is_empty() { &usual } else { bases };
    let mut code = 0;
    for base in bases {
        if let Err(why) = call.shell.view(|v| v.stat(&call.shell.cwd, base, false)) {
            call.complain(&format!("{base}: {why}"))?;
            code = 1;
            continue;
        }
        for (path, depth) in below(call, base) {
            let Ok(node) = call.shell.view(|v| v.stat(&call.shell.cwd, &path, false)) else { continue };
            match holds(call, &tests, &path, &node, depth) {
                Ok(true) => writeln!(call.out, "{path}")?,
                Ok(false) => {}
                Err(word) => {
                    call.complain(&format!("unrecognized: {word}"))?;
                    return Ok(1);
                }
            }
        }
    }
    Ok(code)
}

/// Whether all tests hold; the test that is not known.
fn holds(call: &Call<'_, '_>, tests: &[String], path: &str, node: &Node, depth: usize) -> Result<bool, String> {
    let (mut rest, mut not, mut all) = (tests.iter(), false, true);
    while let Some(test) = rest.next() {
        if test == "!" || test == "-not" {
            not = !not;
            continue;
        }
        if matches!(test.as_str(), "-print" | "-xdev" | "-mount" | "-a") {
            continue;
        }
        let value = rest.next().map_or("", |v| v);
        let pattern = |text: &str, fold: bool| {
            let lower = |t: &str| if fold { t.to_lowercase() } else { t.to_string() };
            let marks: Vec<(char, bool)> = lower(value).chars().map(|c| (c, false)).collect();
            fits(&marks, &lower(text).chars().collect::<Vec<_>>())
        };
        let name = split(path).1;
        let age = |unit: i64| compare(value, now().saturating_sub(node.mtime) / unit);
        let holds = match test.as_str() {
            "-name" => pattern(name, false),
            "-iname" => pattern(name, true),
            "-path" => pattern(path, false),
            "-maxdepth" => value.parse().is_ok_and(|most: usize| depth <= most),
            "-mindepth" => value.parse().is_ok_and(|least: usize| depth >= least),
            "-type" => {
                value
                    == match node.kind {
                        Kind::File(_) => "f",
                        Kind::Directory(_) => "d",
                        Kind::Link(_) => "l",
                        Kind::Device(..) => "c",
                    }
            }
            "-newer" => call.shell.view(|v| v.stat(&call.shell.cwd, value, true)).is_ok_and(|n| node.mtime > n.mtime),
            "-mtime" => age(86_400),
            "-mmin" => age(60),
            "-size" => {
                let unit = if value.ends_with('k') {
                    1024
                } else if value.ends_with('M') {
                    1 << 20
                } else if value.ends_with('c') {
                    1
                } else {
                    512
                };
                let blocks = i64::try_from(node.size().div_ceil(unit)).unwrap_or(i64::MAX);
                compare(value.trim_end_matches(['k', 'M', 'c']), blocks)
            }
            "-perm" => {
                let bits = u32::from_str_radix(value.trim_start_matches(['-', '/', '+']), 8).unwrap_or(0);
                match value.chars().next() {
                    Some('-') => node.mode & bits == bits,
                    Some('/' | '+') => node.mode & bits != 0,
                    _ => node.mode == bits,
                }
            }
            "-user" => value.parse() == Ok(node.uid) || super::files::owners(call, node).0 == value,
            other => return Err(other.into()),
        };
        all &= holds != std::mem::take(&mut not);
    }
    Ok(all)
}

/// `+N`: more, `-N`: less, `N`: the same.
fn compare(value: &str, number: i64) -> bool {
    let bound = value.trim_start_matches(['+', '-']).parse::<i64>().unwrap_or(0);
    match value.chars().next() {
        Some('+') => number > bound,
        Some('-') => number < bound,
        _ => number == bound,
    }
}
