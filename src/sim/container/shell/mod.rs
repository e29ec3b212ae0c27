//! A small POSIX shell.
//!
//! The stages of a pipeline run one after another, what they write is held in between: enough for whoever looks around,
//! and every read of standard input by the first stage is still as it comes.

mod arithmetic;
mod builtins;
mod expand;
mod grammar;
pub(super) mod pattern;
mod run;
mod streams;
mod syntax;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use super::files::{Errno, Kind};
use super::state::View;
use super::{Container, Io, Net, given_up, programs};
pub(super) use builtins::{echo, printf};
use grammar::{Flaw, parse};
pub(super) use streams::Stream;
use streams::{Keyboard, Screen};
use syntax::Command;

/// Why commands are not gone on with.
pub(super) enum Stop {
    /// So many loops are left.
    Break(u32),
    /// The loop so far outside goes on.
    Continue(u32),
    /// The function is left.
    Return(i32),
    /// The shell is left.
    Exit(i32),
}

/// A shell's variable.
#[derive(Clone)]
struct Variable {
    value: String,
    exported: bool,
}

/// A shell; or what a program runs in that was executed without one. A clone is a subshell.
#[derive(Clone)]
pub struct Shell<'c> {
    pub(super) container: &'c Container,
    pub(super) net: &'c dyn Net,
    cancel: Arc<AtomicBool>,
    /// The exec's process.
    pub(super) pid: u32,
    variables: BTreeMap<String, Variable>,
    functions: HashMap<String, Arc<Command>>,
    /// `$0`.
    name: String,
    arguments: Vec<String>,
    /// Working directory; the root is the empty text.
    pub(super) cwd: String,
    streams: BTreeMap<u32, Stream>,
    /// `$?`.
    last: i32,
    /// Exit code of the last command substitution.
    last_substitution: i32,
    /// Calls within calls.
    depth: u32,
    pub(super) tty: bool,
}

impl<'c> Shell<'c> {
    /// At the root, with the container's environment, for an exec whose process has that number.
    pub fn new(container: &'c Container, net: &'c dyn Net, io: Io, pid: u32) -> Shell<'c> {
        let out = |w: Box<dyn Write + Send>| Stream::Out(Arc::new(Mutex::new(w)));
        let input = |r: Box<dyn Read + Send>| Stream::In(Arc::new(Mutex::new(r)));
        let all = if io.tty {
            let screen = out(Box::new(Screen(io.stdout)));
            let keyboard = Keyboard { from: io.stdin, echo: screen.clone(), ready: Vec::new() };
            [input(Box::new(keyboard)), screen.clone(), screen]
        } else {
            [input(io.stdin), out(io.stdout), out(io.stderr)]
        };
        let mut variables = BTreeMap::new();
        for (name, value) in &container.facts.env {
            variables.insert(name.clone(), Variable { value: value.clone(), exported: true });
        }
        if !variables.contains_key("HOME") {
            let home = if container.uid == 0 { "/root" } else { "/" };
            variables.insert("HOME".into(), Variable { value: home.into(), exported: true });
        }
        Shell {
            container,
            net,
            cancel: io.cancel,
            pid,
            variables,
            functions: HashMap::new(),
            name: "sh".into(),
            arguments: Vec::new(),
            cwd: String::new(),
            streams: (0..).zip(all).collect(),
            last: 0,
            last_substitution: 0,
            depth: 0,
            tty: io.tty,
        }
    }

    /// Whether the caller is gone or the exec's process was ended.
    pub fn cancelled(&self) -> bool {
        given_up(&self.cancel) || !self.container.state().processes.contains_key(&self.pid)
    }

    /// Looks at the files.
    pub(super) fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let state = self.container.state();
        look(&View { state: &state, facts: &self.container.facts, pid: self.pid, uid: self.container.uid })
    }

    /// An open file, by its number.
    pub(super) fn stream(&self, number: u32) -> Stream {
        self.streams.get(&number).cloned().unwrap_or(Stream::Null)
    }

    /// Says something on standard error.
    pub(super) fn complain(&self, text: &str) {
        let _ = writeln!(self.stream(2), "{text}");
    }

    /// What is exported.
    pub(super) fn environment(&self) -> Vec<(String, String)> {
        self.variables.iter().filter(|(_, v)| v.exported).map(|(n, v)| (n.clone(), v.value.clone())).collect()
    }

    /// The number of an own open file that a path names.
    pub(super) fn own_stream(&self, path: &str) -> Option<u32> {
        let number = match path {
            "/dev/stdin" => 0,
            "/dev/stdout" => 1,
            "/dev/stderr" => 2,
            _ => path.strip_prefix("/dev/fd/").or_else(|| path.strip_prefix("/proc/self/fd/"))?.parse().ok()?,
        };
        self.streams.contains_key(&number).then_some(number)
    }

    /// Opens a file to be read.
    pub(super) fn open(&self, path: &str) -> Result<Stream, Errno> {
        match self.own_stream(path) {
            Some(number) => Ok(self.stream(number)),
            None => self.view(|v| v.read(&self.cwd, path)).map(Stream::bytes),
        }
    }

    /// Opens a file to be written.
    pub(super) fn create(&self, path: &str, append: bool) -> Result<Stream, Errno> {
        if let Some(number) = self.own_stream(path) {
            return Ok(self.stream(number));
        }
        let real = self.view(|v| v.writable(&self.cwd, path))?;
        let now = super::now();
        let mut state = self.container.state();
        match state.root.at_mut(&real) {
            Some(node) => match &mut node.kind {
                Kind::Device(..) => return Ok(Stream::Null),
                Kind::File(content) if !append => {
                    *content = Arc::default();
                    (node.mtime, node.ctime) = (now, now);
                }
                _ => {}
            },
            None => state.root.put(&real, super::files::Node::file("", now).owned(self.container.uid, 0)),
        }
        Ok(Stream::File(self.container.state.clone(), real))
    }

    /// Runs a program by the real path of its file; its exit code.
    pub fn program(&mut self, argv: &[String], path: &str) -> i32 {
        let content = self.container.state().root.at(path).map(super::files::Node::content).unwrap_or_default();
        let name = argv.first().map(|n| n.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
        let (name, args) = match (name, argv.split_first()) {
            ("busybox", Some((_, [applet, args @ ..]))) => (applet.as_str(), args),
            (name, Some((_, args))) => (name, args),
            (name, None) => (name, argv),
        };
        if content.starts_with(b"#!") {
            let text = String::from_utf8_lossy(&content).into_owned();
            return self.fresh(argv, args, &text);
        }
        if **content != *programs::BUSYBOX.as_bytes() {
            // Somebody's own program: it is there, and does nothing that can be seen.
            return 0;
        }
        match name {
            "sh" | "ash" | "bash" => self.sh(name, args),
            _ => programs::run(self, name, args),
        }
    }

    /// A shell that was started by one has its variables only where they are exported.
    fn fresh(&self, argv: &[String], args: &[String], text: &str) -> i32 {
        let mut inner = self.clone();
        inner.variables.retain(|_, v| v.exported);
        inner.functions.clear();
        inner.name = argv.first().cloned().unwrap_or_default();
        inner.arguments = args.to_vec();
        inner.script(text)
    }

    fn sh(&mut self, name: &str, args: &[String]) -> i32 {
        let mut rest = args;
        let mut command = false;
        while let [first, after @ ..] = rest
            && first.len() > 1
            && first.starts_with(['-', '+'])
        {
            rest = after;
            if first == "--" {
                break;
            }
            command |= first.starts_with('-') && first.ends_with('c');
        }
        match rest {
            [] if command => {
                self.complain(&format!("{name}: -c requires an argument"));
                2
            }
            [text, after @ ..] if command => {
                let usual = [name.to_string()];
                let argv = if after.is_empty() { &usual } else { after };
                self.fresh(argv, argv.get(1..).unwrap_or_default(), text)
            }
            [path, after @ ..] => match self.view(|v| v.read(&self.cwd, path)) {
                Ok(text) => self.fresh(rest, after, &String::from_utf8_lossy(&text)),
                Err(why) => {
                    self.complain(&format!("{name}: can't open '{path}': {why}"));
                    2
                }
            },
            [] => {
                let mut inner = self.clone();
                inner.variables.retain(|_, v| v.exported);
                inner.functions.clear();
                inner.name = name.into();
                inner.interactive()
            }
        }
    }

    /// Lines from standard input; on a terminal with a prompt.
    fn interactive(&mut self) -> i32 {
        let mut text = String::new();
        let sign = if self.container.uid == 0 { '#' } else { '$' };
        loop {
            if self.cancelled() {
                return 137;
            }
            if self.tty {
                let cwd = if self.cwd.is_empty() { "/" } else { &self.cwd };
                let prompt = if text.is_empty() { format!("{cwd} {sign} ") } else { "> ".into() };
                let _ = self.stream(1).write_all(prompt.as_bytes());
            }
            let Some(line) = self.line(0) else {
                return if text.is_empty() { self.last } else { self.script(&text) };
            };
            text.push_str(&line);
            match parse(&text) {
                Err(Flaw::Unfinished(_)) => continue,
                Err(Flaw::Wrong(why)) => {
                    self.complain(&format!("sh: syntax error: {why}"));
                    self.last = 2;
                }
                Ok(command) => match self.run(&command) {
                    Ok(code) => self.last = code,
                    Err(Stop::Exit(code)) => return code,
                    Err(_) => {}
                },
            }
            text.clear();
        }
    }

    /// Runs a text; the exit code.
    fn script(&mut self, text: &str) -> i32 {
        match parse(text) {
            Ok(command) => match self.run(&command) {
                Ok(code) | Err(Stop::Exit(code) | Stop::Return(code)) => code,
                Err(Stop::Break(_) | Stop::Continue(_)) => self.last,
            },
            Err(Flaw::Unfinished(why) | Flaw::Wrong(why)) => {
                self.complain(&format!("{}: syntax error: {why}", self.name));
                2
            }
        }
    }

    /// A line with its end, byte by byte so that no more is taken; None at the end.
    fn line(&self, number: u32) -> Option<String> {
        let (mut stream, mut line, mut byte) = (self.stream(number), Vec::new(), [0; 1]);
        while !line.ends_with(b"\n") {
            match stream.read(&mut byte) {
                Ok(1) => line.extend_from_slice(&byte),
                _ => break,
            }
        }
        (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned())
    }
}
