//! The programs of a small Linux, as far as somebody who looks around needs them.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::files::{Node, absolute, sha256};
use super::shell::Shell;
use super::{cancelled, procfs};

/// What a small Linux has.
pub const USUAL: &[&str] = &[
    "sh",
    "ls",
    "cat",
    "ps",
    "env",
    "id",
    "whoami",
    "hostname",
    "uname",
    "date",
    "echo",
    "sleep",
    "tar",
    "sha256sum",
    "readlink",
    "tee",
    "head",
    "tail",
    "wc",
    "grep",
    "find",
    "mkdir",
    "touch",
    "rm",
    "cp",
    "chmod",
    "kill",
    "netstat",
    "wget",
    "nc",
    "true",
    "false",
    "tr",
    "test",
    "busybox",
    "printf",
];

/// Whether the shell may run it where there is a shell.
pub fn usual(name: &str) -> bool {
    ["echo", "printf", "test"].contains(&name)
}

/// One run of a program.
pub struct Call<'a, 'c> {
    pub(super) shell: &'a mut Shell<'c>,
    pub(super) args: &'a [String],
    pub(super) stdin: &'a mut dyn Read,
    pub(super) out: &'a mut dyn Write,
    pub(super) err: &'a mut dyn Write,
}

impl Call<'_, '_> {
    /// Arguments that are no options.
    fn words(&self) -> Vec<String> {
        self.args.iter().filter(|a| !a.starts_with('-') || *a == "-").cloned().collect()
    }

    fn has(&self, option: char) -> bool {
        self.args.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains(option))
    }

    fn input(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.stdin.read_to_end(&mut all);
        all
    }
}

/// The content of a file, `/proc` too.
pub fn content(shell: &Shell<'_>, path: &str) -> io::Result<Vec<u8>> {
    let path = absolute(&shell.cwd, path);
    if path.starts_with("/proc/") {
        return shell.container.proc_file(&path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound));
    }
    if path == "/dev/null" {
        return Ok(Vec::new());
    }
    let state = shell.container.state();
    let real = state.files.resolve(&path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    match state.files.get(&real) {
        Some(node) if !node.directory => Ok(node.content.to_vec()),
        _ => Err(io::Error::other("Is a directory")),
    }
}

fn why(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound { "No such file or directory".into() } else { error.to_string() }
}

/// Runs a program by its name.
///
/// # Errors
/// When its output can't be written.
pub fn run(name: &str, call: &mut Call<'_, '_>) -> io::Result<i32> {
    match name {
        "busybox" => {
            let args = call.args.to_vec();
            let inner = args.first().cloned().unwrap_or_default();
            let mut next = Call {
                shell: call.shell,
                args: args.get(1..).unwrap_or_default(),
                stdin: call.stdin,
                out: call.out,
                err: call.err,
            };
            run(&inner, &mut next)
        }
        "true" => Ok(0),
        "false" => Ok(1),
        "echo" => {
            let args: Vec<&String> = call.args.iter().skip_while(|a| *a == "-n" || *a == "-e").collect();
            let text = args.iter().map(|a| a.as_str()).collect::<Vec<_>>().join(" ");
            if call.args.first().is_some_and(|a| a == "-n") {
                write!(call.out, "{text}")?
            } else {
                writeln!(call.out, "{text}")?
            }
            Ok(0)
        }
        "printf" => {
            let mut text = call.args.first().cloned().unwrap_or_default().replace("\\n", "\n").replace("\\t", "\t");
            for arg in call.args.iter().skip(1) {
                text = text.replacen("%s", arg, 1).replacen("%d", arg, 1);
            }
            write!(call.out, "{text}")?;
            Ok(0)
        }
        "cat" => {
            let words = call.words();
            if words.is_empty() {
                let all = call.input();
                call.out.write_all(&all)?;
            }
            each_file(call, &words, |call, _, bytes| call.out.write_all(&bytes))
        }
        "sha256sum" => {
            let words = call.words();
            if words.is_empty() {
                let all = call.input();
                writeln!(call.out, "{}  -", sha256(&all))?;
            }
            each_file(call, &words, |call, path, bytes| writeln!(call.out, "{}  {path}", sha256(&bytes)))
        }
        "head" | "tail" => {
            let count = call
                .args
                .iter()
                .find_map(|a| a.trim_start_matches("-n").trim_start_matches('-').parse::<usize>().ok())
                .unwrap_or(10);
            let words: Vec<String> = call.words().into_iter().filter(|w| w.parse::<usize>().is_err()).collect();
            let bytes = match words.first() {
                Some(path) => content(call.shell, path)?,
                None => call.input(),
            };
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let skip = if name == "tail" { lines.len().saturating_sub(count) } else { 0 };
            for line in lines.iter().skip(skip).take(count) {
                writeln!(call.out, "{line}")?;
            }
            Ok(0)
        }
        "wc" => {
            let bytes = match call.words().first() {
                Some(path) => content(call.shell, path)?,
                None => call.input(),
            };
            let lines = bytes.iter().filter(|b| **b == b'\n').count();
            if call.has('l') {
                writeln!(call.out, "{lines}")?
            } else {
                writeln!(call.out, "{lines} {}", bytes.len())?
            }
            Ok(0)
        }
        "grep" => grep(call),
        "tee" => {
            let all = call.input();
            for path in call.words() {
                let path = absolute(&call.shell.cwd, &path);
                call.shell.container.state().files.put(&path, Node::file(&all, now()));
            }
            call.out.write_all(&all)?;
            Ok(0)
        }
        "tr" => {
            let all = call.input();
            let text: Vec<u8> = all.into_iter().map(|b| if b == 0 { b'\n' } else { b }).collect();
            call.out.write_all(&text)?;
            Ok(0)
        }
        "env" => {
            for (name, value) in call.shell.env.clone() {
                writeln!(call.out, "{name}={value}")?;
            }
            Ok(0)
        }
        "id" => {
            let uid = call.shell.container.user;
            let name = if uid == 0 { "root" } else { "app" };
            writeln!(call.out, "uid={uid}({name}) gid={uid}({name})")?;
            Ok(0)
        }
        "whoami" => {
            writeln!(call.out, "{}", if call.shell.container.user == 0 { "root" } else { "app" })?;
            Ok(0)
        }
        "hostname" => {
            writeln!(call.out, "{}", call.shell.container.facts().hostname)?;
            Ok(0)
        }
        "uname" => {
            let host = call.shell.container.facts().hostname.clone();
            if call.has('a') {
                writeln!(call.out, "Linux {host} 6.1.0 #1 SMP x86_64 GNU/Linux")?
            } else {
                writeln!(call.out, "Linux")?
            }
            Ok(0)
        }
        "date" => {
            writeln!(call.out, "{}", crate::sim::world::seconds(crate::clock::Clock::System.now()))?;
            Ok(0)
        }
        "sleep" => {
            let seconds: f64 = call.args.first().and_then(|a| a.parse().ok()).unwrap_or(0.0);
            let until = std::time::Instant::now() + Duration::from_secs_f64(seconds.clamp(0.0, 1e6));
            while std::time::Instant::now() < until {
                if cancelled(&call.shell.cancel) {
                    return Ok(137);
                }
                std::thread::sleep(
                    Duration::from_millis(20).min(until.saturating_duration_since(std::time::Instant::now())),
                );
            }
            Ok(0)
        }
        "ls" => ls(call),
        "ps" => ps(call),
        "netstat" => netstat(call),
        "readlink" => {
            let path = absolute(&call.shell.cwd, call.words().first().map_or("", |w| w));
            let proc = call.shell.container.proc_link(&path);
            let target = proc.or_else(|| call.shell.container.state().files.get(&path).and_then(|n| n.target.clone()));
            match target {
                Some(target) => {
                    writeln!(call.out, "{target}")?;
                    Ok(0)
                }
                None => Ok(1),
            }
        }
        "find" => {
            let start = absolute(&call.shell.cwd, call.words().first().map_or(".", |w| w));
            let name = call.args.iter().position(|a| a == "-name").and_then(|i| call.args.get(i + 1)).cloned();
            let paths: Vec<String> =
                call.shell.container.state().files.walk(&start).map(|(p, _)| p.to_string()).collect();
            for path in paths {
                let last = path.rsplit('/').next().unwrap_or_default();
                let fits = name.as_ref().is_none_or(|n| match n.split_once('*') {
                    Some((head, tail)) => last.starts_with(head) && last.ends_with(tail),
                    None => last == n,
                });
                if fits {
                    writeln!(call.out, "{path}")?;
                }
            }
            Ok(0)
        }
        "mkdir" | "touch" | "rm" | "cp" | "chmod" => change(name, call),
        "kill" => {
            for pid in call.words().iter().filter_map(|p| p.parse::<u32>().ok()) {
                call.shell.container.state().processes.remove(&pid);
            }
            Ok(0)
        }
        "wget" | "nc" => dial(name, call),
        "tar" => tar(call),
        "test" => Ok(0),
        other => {
            writeln!(call.err, "{other}: not in the embedded cluster")?;
            Ok(127)
        }
    }
}

fn now() -> i64 {
    crate::clock::Clock::System.now().unix_timestamp()
}

fn each_file(
    call: &mut Call<'_, '_>,
    paths: &[String],
    mut f: impl FnMut(&mut Call<'_, '_>, &str, Vec<u8>) -> io::Result<()>,
) -> io::Result<i32> {
    let mut code = 0;
    for path in paths {
        match content(call.shell, path) {
            Ok(bytes) => f(call, path, bytes)?,
            Err(error) => {
                writeln!(call.err, "can't open '{path}': {}", why(&error))?;
                code = 1;
            }
        }
    }
    Ok(code)
}

fn grep(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    let Some(pattern) = words.first().cloned() else { return Ok(2) };
    let inputs: Vec<Vec<u8>> = if words.len() > 1 {
        words.iter().skip(1).filter_map(|p| content(call.shell, p).ok()).collect()
    } else {
        vec![call.input()]
    };
    let (inverse, mut found) = (call.has('v'), false);
    for bytes in inputs {
        for line in String::from_utf8_lossy(&bytes).lines() {
            let fits = if call.has('i') {
                line.to_lowercase().contains(&pattern.to_lowercase())
            } else {
                line.contains(&pattern)
            };
            if fits != inverse {
                found = true;
                if !call.has('q') {
                    writeln!(call.out, "{line}")?;
                }
            }
        }
    }
    Ok(i32::from(!found))
}

fn ls(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut paths = call.words();
    if paths.is_empty() {
        paths.push(".".into());
    }
    let mut code = 0;
    for path in &paths {
        let at = absolute(&call.shell.cwd, path);
        if let Some(names) = call.shell.container.proc_list(&at) {
            for name in names {
                writeln!(call.out, "{name}")?;
            }
            continue;
        }
        let real = call.shell.container.state().files.resolve(&at);
        let Some(real) = real else {
            writeln!(call.err, "ls: {path}: No such file or directory")?;
            code = 1;
            continue;
        };
        let node = call.shell.container.state().files.get(&real).cloned();
        let entries: Vec<(String, Node)> = match node {
            Some(node) if !node.directory => vec![(path.clone(), node)],
            _ => call
                .shell
                .container
                .state()
                .files
                .list(&real)
                .into_iter()
                .map(|(n, node)| (n.to_string(), node.clone()))
                .collect(),
        };
        for (name, node) in entries {
            if name.starts_with('.') && !call.has('a') && entries_hidden(path, &name) {
                continue;
            }
            if call.has('l') {
                writeln!(
                    call.out,
                    "{} {:>8} {:>9} {} {name}",
                    mode(&node),
                    node.uid,
                    node.content.len(),
                    crate::sim::world::seconds(
                        time::OffsetDateTime::from_unix_timestamp(node.mtime)
                            .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
                    )
                )?;
            } else {
                writeln!(call.out, "{name}")?;
            }
        }
    }
    Ok(code)
}

fn entries_hidden(asked: &str, name: &str) -> bool {
    asked != name
}

fn mode(node: &Node) -> String {
    let kind = if node.directory {
        'd'
    } else if node.target.is_some() {
        'l'
    } else {
        '-'
    };
    let bits: String =
        (0..9).map(|i| if node.mode >> (8 - i) & 1 == 1 { ['r', 'w', 'x'][i % 3] } else { '-' }).collect();
    format!("{kind}{bits}")
}

fn ps(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let rows: Vec<(u32, u32, String)> = call
        .shell
        .container
        .state()
        .processes
        .values()
        .map(|p| (p.spec.pid, p.spec.uid, p.spec.cmdline.join(" ")))
        .collect();
    writeln!(call.out, "PID   USER     TIME  COMMAND")?;
    for (pid, uid, command) in rows {
        let user = if uid == 0 { "root".to_string() } else { uid.to_string() };
        writeln!(call.out, "{pid:>5} {user:<8} 0:00 {command}")?;
    }
    Ok(0)
}

fn netstat(call: &mut Call<'_, '_>) -> io::Result<i32> {
    writeln!(
        call.out,
        "Proto Recv-Q Send-Q Local Address           Foreign Address         State       PID/Program name"
    )?;
    let rows: Vec<(String, u32, String)> = call
        .shell
        .container
        .state()
        .processes
        .values()
        .flat_map(|p| {
            p.spec.sockets.iter().map(|s| (s.clone(), p.spec.pid, p.spec.cmdline.first().cloned().unwrap_or_default()))
        })
        .collect();
    for (socket, pid, program) in rows {
        let (local, remote, established) = procfs::ends(&socket);
        writeln!(
            call.out,
            "tcp        0      0 {local:<23} {remote:<23} {:<11} {pid}/{program}",
            if established { "ESTABLISHED" } else { "LISTEN" }
        )?;
    }
    Ok(0)
}

fn change(name: &str, call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words: Vec<String> = call.words().iter().map(|w| absolute(&call.shell.cwd, w)).collect();
    let mut state = call.shell.container.state();
    match name {
        "mkdir" => words.iter().for_each(|w| state.files.put(w, Node::directory(now()))),
        "touch" => {
            for word in &words {
                if state.files.get(word).is_none() {
                    state.files.put(word, Node::file(b"", now()));
                }
            }
        }
        "rm" => {
            let gone: Vec<bool> = words.iter().map(|w| state.files.remove(w)).collect();
            if gone.contains(&false) && !call.has('f') {
                drop(state);
                writeln!(call.err, "rm: can't remove: No such file or directory")?;
                return Ok(1);
            }
        }
        "chmod" => {
            let bits = call.words().first().and_then(|m| u32::from_str_radix(m, 8).ok());
            if let (Some(bits), Some(path)) = (bits, words.get(1))
                && let Some(node) = state.files.get(path).cloned()
            {
                state.files.put(path, Node { mode: bits, ..node });
            }
        }
        _ => {
            if let [from, to] = words.as_slice() {
                let real = state.files.resolve(from);
                if let Some(node) = real.and_then(|r| state.files.get(&r).cloned()) {
                    state.files.put(to, Node { mtime: now(), ..node });
                }
            }
        }
    }
    Ok(0)
}

fn dial(name: &str, call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words();
    let address = if name == "nc" {
        words.join(":")
    } else {
        let url = words.iter().find(|w| w.contains("://") || w.contains('.')).cloned().unwrap_or_default();
        let host = url.split("://").last().unwrap_or_default().split('/').next().unwrap_or_default().to_string();
        if host.contains(':') { host } else { format!("{host}:80") }
    };
    match call.shell.net.dial(&address, Duration::from_secs(2)) {
        Ok(()) => {
            writeln!(call.out, "connected to {address}")?;
            Ok(0)
        }
        Err(reason) => {
            writeln!(call.err, "{name}: can't connect to {address}: {reason}")?;
            Ok(1)
        }
    }
}

/// `tar -c` of paths, to standard output.
fn tar(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut code = 0;
    for word in call.words().iter().filter(|w| *w != "-" && !w.starts_with("cf") && *w != "c") {
        let at = absolute(&call.shell.cwd, word);
        let state = call.shell.container.state();
        let own: Vec<(String, Node)> = state.files.get(&at).map(|n| (at.clone(), n.clone())).into_iter().collect();
        let below: Vec<(String, Node)> = state.files.walk(&at).map(|(p, n)| (p.to_string(), n.clone())).collect();
        drop(state);
        if own.is_empty() && below.is_empty() {
            writeln!(call.err, "tar: {word}: No such file or directory")?;
            code = 1;
        }
        for (path, node) in own.into_iter().chain(below) {
            let mut header = tar::Header::new_ustar();
            header.set_mode(node.mode);
            header.set_mtime(u64::try_from(node.mtime).unwrap_or(0));
            header.set_size(if node.directory || node.target.is_some() { 0 } else { node.content.len() as u64 });
            let name = path.trim_start_matches('/');
            if node.directory {
                header.set_entry_type(tar::EntryType::Directory);
                archive.append_data(&mut header, format!("{name}/"), io::empty())?;
            } else if let Some(to) = &node.target {
                header.set_entry_type(tar::EntryType::Symlink);
                archive.append_link(&mut header, name, to)?;
            } else {
                archive.append_data(&mut header, name, &*node.content)?;
            }
        }
    }
    call.out.write_all(&archive.into_inner()?)?;
    Ok(code)
}
