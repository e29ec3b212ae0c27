//! Runs commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Found, ProcessSpec};
use super::pattern::fits;
use super::streams::Stream;
use super::syntax::{Command, Redirection, To, Word};
use super::{Shell, Stop, Variable};

/// Calls within calls: each is a call here.
const MAX_DEPTH: u32 = 150;

type Ran = Result<i32, Stop>;

impl Shell<'_> {
    /// Runs a command; its exit code.
    pub(super) fn run(&mut self, command: &Command) -> Ran {
        if self.cancelled() {
            return Err(Stop::Exit(137));
        }
        if self.depth >= MAX_DEPTH {
            self.complain(&format!("{}: nested too deeply", self.name));
            return Err(Stop::Exit(2));
        }
        self.depth += 1;
        let ran = self.run_inner(command);
        self.depth -= 1;
        if let Ok(code) = ran {
            self.last = code;
        }
        ran
    }

    fn run_inner(&mut self, command: &Command) -> Ran {
        match command {
            Command::Simple(assignments, words, around) => self.simple(assignments, words, around),
            Command::Redirected(inner, around) => {
                let before = self.streams.clone();
                let ran = match self.redirect(around)? {
                    true => self.run(inner),
                    false => Ok(1),
                };
                self.streams = before;
                ran
            }
            Command::Pipeline(stages, not) => {
                let code = if let [only] = stages.as_slice() { self.run(only)? } else { self.pipeline(stages) };
                Ok(if *not { i32::from(code == 0) } else { code })
            }
            Command::Both(left, both, right) => {
                let code = self.run(left)?;
                if (code == 0) == *both { self.run(right) } else { Ok(code) }
            }
            Command::List(all) => {
                let mut code = 0;
                for one in all {
                    code = self.run(one)?;
                }
                Ok(code)
            }
            Command::Background(inner) => self.background(inner),
            Command::If(arms, otherwise) => {
                for (condition, then) in arms {
                    if self.run(condition)? == 0 {
                        return self.run(then);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |list| self.run(list))
            }
            Command::For(name, words, body) => {
                let values = match words {
                    Some(words) => self.fields(words)?,
                    None => self.arguments.clone(),
                };
                let mut code = 0;
                for value in values {
                    self.set(name, value);
                    if !self.once(body, &mut code)? {
                        break;
                    }
                }
                Ok(code)
            }
            Command::Loop(until, condition, body) => {
                let mut code = 0;
                while (self.run(condition)? == 0) != *until {
                    if !self.once(body, &mut code)? {
                        break;
                    }
                }
                Ok(code)
            }
            Command::Case(word, arms) => {
                let text: Vec<char> = self.text(word)?.chars().collect();
                for (patterns, list) in arms {
                    for pattern in patterns {
                        if fits(&self.marks(pattern)?, &text) {
                            return self.run(list);
                        }
                    }
                }
                Ok(0)
            }
            Command::Function(name, body) => {
                self.functions.insert(name.clone(), body.clone());
                Ok(0)
            }
            Command::Subshell(inner) => Ok(self.sub(inner, BTreeMap::new())),
        }
    }

    /// One turn of a loop; whether another may follow.
    fn once(&mut self, body: &Command, code: &mut i32) -> Result<bool, Stop> {
        match self.run(body) {
            Ok(ran) => {
                *code = ran;
                Ok(true)
            }
            Err(Stop::Break(1)) => Ok(false),
            Err(Stop::Continue(1)) => Ok(true),
            Err(Stop::Break(n)) => Err(Stop::Break(n - 1)),
            Err(Stop::Continue(n)) => Err(Stop::Continue(n - 1)),
            Err(other) => Err(other),
        }
    }

    /// Runs in a subshell, with these streams in place of its own.
    pub(super) fn sub(&self, command: &Command, streams: BTreeMap<u32, Stream>) -> i32 {
        let mut inner = self.clone();
        inner.streams.extend(streams);
        match inner.run(command) {
            Ok(code) | Err(Stop::Exit(code) | Stop::Return(code)) => code,
            Err(_) => inner.last,
        }
    }

    fn pipeline(&mut self, stages: &[Command]) -> i32 {
        let (mut code, mut before) = (0, None);
        for (n, stage) in stages.iter().enumerate() {
            let mut streams: BTreeMap<u32, Stream> = before.take().map(|input| (0, input)).into_iter().collect();
            if n + 1 == stages.len() {
                code = self.sub(stage, streams);
            } else {
                let (writing, held) = Stream::pipe();
                streams.insert(1, writing);
                self.sub(stage, streams);
                before = Some(Stream::bytes(Arc::new(Stream::written(&held))));
            }
        }
        code
    }

    /// What a command in the background does is over at once, but a program that waits stays as a process.
    fn background(&mut self, command: &Command) -> Ran {
        if let Command::Simple(_, words, _) = command {
            let argv = self.fields(words)?;
            let argv: Vec<String> = argv.into_iter().skip_while(|w| w == "nohup" || w == "exec").collect();
            let name = argv.first().map(|n| n.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
            let tool = super::super::programs::is_known(name) && name != "sleep" && name != "nc";
            if !tool && !name.is_empty() && !self.functions.contains_key(name) {
                if let Found::At(_) = self.container.program(argv.first().map_or("", |n| n), &self.environment()) {
                    let spec =
                        ProcessSpec { ppid: self.pid, cmdline: argv, cwd: self.cwd.clone(), ..ProcessSpec::default() };
                    let pid = self.container.start(&spec, super::super::now());
                    self.set("!", pid.to_string());
                    return Ok(0);
                }
                self.complain(&format!("{}: {name}: not found", self.name));
                return Ok(0);
            }
        }
        self.sub(command, BTreeMap::from([(0, Stream::Null)]));
        Ok(0)
    }

    /// Leads streams elsewhere; whether all of it could be done.
    fn redirect(&mut self, all: &[Redirection]) -> Result<bool, Stop> {
        for Redirection { stream, to } in all {
            let word = match to {
                To::From(word) | To::Into(word) | To::Append(word) | To::Copy(word) | To::Text(word) => {
                    self.text(word)?
                }
            };
            let opened = match to {
                To::From(_) => self.open(&word).map_err(|why| format!("can't open {word}: {why}")),
                To::Into(_) | To::Append(_) => {
                    self.create(&word, matches!(to, To::Append(_))).map_err(|why| format!("can't create {word}: {why}"))
                }
                To::Text(_) => Ok(Stream::bytes(Arc::new(word.into_bytes()))),
                To::Copy(_) if word == "-" => {
                    self.streams.remove(stream);
                    continue;
                }
                To::Copy(_) => word
                    .parse()
                    .ok()
                    .and_then(|n: u32| self.streams.get(&n).cloned())
                    .ok_or_else(|| format!("{word}: Bad file descriptor")),
            };
            match opened {
                Ok(opened) => {
                    self.streams.insert(*stream, opened);
                }
                Err(why) => {
                    self.complain(&format!("{}: {why}", self.name));
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn simple(&mut self, assignments: &[(String, Word)], words: &[Word], around: &[Redirection]) -> Ran {
        self.last_substitution = 0;
        let argv = self.fields(words)?;
        let mut values = Vec::new();
        for (name, word) in assignments {
            values.push((name.clone(), self.text(word)?));
        }
        let before = self.streams.clone();
        if !self.redirect(around)? {
            self.streams = before;
            return Ok(1);
        }
        let Some(name) = argv.first() else {
            self.streams = before;
            for (name, value) in values {
                self.set(&name, value);
            }
            return Ok(self.last_substitution);
        };
        if name == "exec" && argv.len() == 1 {
            return Ok(0);
        }
        let held: Vec<(String, Option<Variable>)> =
            values.iter().map(|(n, _)| (n.clone(), self.variables.get(n).cloned())).collect();
        for (name, value) in values {
            self.variables.insert(name, Variable { value, exported: true });
        }
        let ran = self.call(name, &argv);
        for (name, value) in held {
            match value {
                Some(value) => self.variables.insert(name, value),
                None => self.variables.remove(&name),
            };
        }
        self.streams = before;
        ran
    }

    fn call(&mut self, name: &str, argv: &[String]) -> Ran {
        if let Some(body) = self.functions.get(name).cloned() {
            let outer = std::mem::replace(&mut self.arguments, argv.get(1..).unwrap_or_default().to_vec());
            let ran = self.run(&body);
            self.arguments = outer;
            return match ran {
                Err(Stop::Return(code)) => Ok(code),
                other => other,
            };
        }
        match self.builtin(name, argv.get(1..).unwrap_or_default()) {
            Some(ran) => ran,
            None => Ok(self.external(argv)),
        }
    }

    /// Runs a program from the files.
    pub(in super::super) fn external(&mut self, argv: &[String]) -> i32 {
        let name = argv.first().map(String::as_str).unwrap_or_default();
        let asked =
            if name.contains('/') && !name.starts_with('/') { format!("{}/{name}", self.cwd) } else { name.into() };
        match self.container.program(&asked, &self.environment()) {
            Found::At(path) => {
                let mut inner = self.clone();
                // A program may run another one: `env env env …`.
                inner.depth += 4;
                if inner.depth >= MAX_DEPTH {
                    self.complain(&format!("{}: nested too deeply", self.name));
                    return 126;
                }
                let code = inner.program(argv, &path);
                if inner.cancelled() { 137 } else { code }
            }
            Found::Denied => {
                self.complain(&format!("{}: {name}: Permission denied", self.name));
                126
            }
            Found::Nowhere => {
                self.complain(&format!("{}: {name}: not found", self.name));
                127
            }
        }
    }
}
