//! What the shell does itself.

use std::io::Write;

use super::super::files::{Kind, Node};
use super::super::{Found, given_up};
use super::{Shell, Stop, Variable};

const NAMES: [&str; 29] = [
    ":", "true", "false", "cd", "pwd", "echo", "printf", "test", "[", "read", "set", "shift", "export", "unset",
    "exit", "return", "break", "continue", "command", "type", "eval", "exec", ".", "local", "umask", "wait", "trap",
    "times", "hash",
];

impl Shell<'_> {
    /// Runs a builtin; None when there is none of that name.
    pub(super) fn builtin(&mut self, name: &str, args: &[String]) -> Option<Result<i32, Stop>> {
        let first = args.first().map(String::as_str);
        let number = |usual: i32| first.and_then(|a| a.parse().ok()).unwrap_or(usual);
        let levels = || u32::try_from(number(1)).unwrap_or(1).max(1);
        Some(Ok(match name {
            ":" | "true" | "umask" | "wait" | "trap" | "times" | "hash" => 0,
            "false" => 1,
            "exit" => return Some(Err(Stop::Exit(number(self.last)))),
            "return" => return Some(Err(Stop::Return(number(self.last)))),
            "break" => return Some(Err(Stop::Break(levels()))),
            "continue" => return Some(Err(Stop::Continue(levels()))),
            "cd" => self.cd(args),
            "pwd" => self.say(&format!("{}\n", self.get("PWD").unwrap_or_default())),
            "echo" => self.say(&echo(args)),
            "printf" => match first {
                Some(format) => self.say(&printf(format, args.get(1..).unwrap_or_default())),
                None => 2,
            },
            "test" => i32::from(!self.test(args)),
            "[" => match args.split_last() {
                Some((last, inner)) if last == "]" => i32::from(!self.test(inner)),
                _ => {
                    self.complain(&format!("{}: [: missing ]", self.name));
                    2
                }
            },
            "read" => self.read(args),
            "set" => {
                let rest = match first {
                    Some("--") => args.get(1..),
                    Some(option) if option.starts_with(['-', '+']) => return Some(Ok(0)),
                    Some(_) => Some(args),
                    None => return Some(Ok(self.say(&self.listed()))),
                };
                self.arguments = rest.unwrap_or_default().to_vec();
                0
            }
            "shift" => {
                let count = levels() as usize;
                if count > self.arguments.len() {
                    return Some(Ok(1));
                }
                self.arguments.drain(..count);
                0
            }
            "export" | "local" => {
                let export = name == "export";
                for word in args.iter().filter(|a| !a.starts_with('-')) {
                    let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
                    let value = value.map_or_else(|| self.get(name).unwrap_or_default(), Into::into);
                    let exported = export || self.variables.get(name).is_some_and(|v| v.exported);
                    self.variables.insert(name.into(), Variable { value, exported });
                }
                0
            }
            "unset" => {
                for name in args {
                    self.variables.remove(name);
                    self.functions.remove(name);
                }
                0
            }
            "command" | "type" => return Some(self.command(name, args)),
            "eval" => return Some(self.eval(&args.join(" "))),
            "." => match self.view(|v| v.read(&self.cwd, first.unwrap_or_default())) {
                Ok(text) => return Some(self.eval(&String::from_utf8_lossy(&text))),
                Err(why) => {
                    self.complain(&format!("{}: .: can't open '{}': {why}", self.name, first.unwrap_or_default()));
                    2
                }
            },
            "exec" => return Some(Err(Stop::Exit(self.external(args)))),
            _ => return None,
        }))
    }

    /// Writes to standard output; the exit code.
    fn say(&self, text: &str) -> i32 {
        i32::from(self.stream(1).write_all(text.as_bytes()).is_err())
    }

    fn listed(&self) -> String {
        self.variables.iter().map(|(n, v)| format!("{n}='{}'\n", v.value)).collect()
    }

    fn eval(&mut self, text: &str) -> Result<i32, Stop> {
        match super::parse(text) {
            Ok(command) => self.run(&command),
            Err(super::Flaw::Unfinished(why) | super::Flaw::Wrong(why)) => {
                self.complain(&format!("{}: syntax error: {why}", self.name));
                Ok(2)
            }
        }
    }

    /// `command -v NAME`, `type NAME`, or runs it, functions not regarded.
    fn command(&mut self, word: &str, args: &[String]) -> Result<i32, Stop> {
        let ask = word == "type" || args.first().is_some_and(|a| a == "-v" || a == "-V");
        if !ask {
            let Some(name) = args.first() else { return Ok(0) };
            return self.builtin(name, args.get(1..).unwrap_or_default()).unwrap_or_else(|| Ok(self.external(args)));
        }
        let mut code = 0;
        for name in args.iter().filter(|a| !a.starts_with('-')) {
            let known = NAMES.contains(&name.as_str()) || self.functions.contains_key(name);
            let long = word == "type";
            match (known, self.container.program(name, &self.environment())) {
                (true, _) if long => self.say(&format!("{name} is a shell builtin\n")),
                (true, _) => self.say(&format!("{name}\n")),
                (false, Found::At(_)) => {
                    let path = self.located(name);
                    self.say(&if long { format!("{name} is {path}\n") } else { format!("{path}\n") })
                }
                _ => {
                    if long {
                        self.complain(&format!("{name}: not found"));
                    }
                    code = if long { 1 } else { 127 };
                    continue;
                }
            };
        }
        Ok(code)
    }

    /// The path by which a program is found, links not followed.
    pub(in super::super) fn located(&self, name: &str) -> String {
        if name.contains('/') {
            return name.into();
        }
        let path = self.get("PATH").unwrap_or_else(|| super::super::start::PATH.into());
        let all = path.split(':').map(|dir| format!("{dir}/{name}"));
        all.into_iter().find(|p| self.view(|v| v.stat("", p, true)).is_ok()).unwrap_or_else(|| name.into())
    }

    fn cd(&mut self, args: &[String]) -> i32 {
        let to = args.iter().find(|a| *a != "-P" && *a != "-L" && *a != "--").cloned();
        let back = to.as_deref() == Some("-");
        let to = match to {
            Some(_) if back => self.get("OLDPWD").unwrap_or_else(|| "/".into()),
            Some(to) => to,
            None => self.get("HOME").unwrap_or_else(|| "/".into()),
        };
        // Paths are always real ones here: -P is how it is.
        let found = self.view(|v| {
            let real = v.resolve(&self.cwd, &to, true)?;
            match v.node(&real) {
                Some(node) if !node.is_directory() => Err(super::super::files::Errno::NotDirectory),
                Some(node) if !node.allows(v.uid, 1) => Err(super::super::files::Errno::Denied),
                _ => Ok(real),
            }
        });
        match found {
            Ok(real) => {
                let before = self.get("PWD").unwrap_or_default();
                self.set("OLDPWD", before);
                self.cwd = real;
                if back { self.say(&format!("{to}\n")) } else { 0 }
            }
            Err(why) => {
                self.complain(&format!("{}: cd: can't cd to {to}: {why}", self.name));
                2
            }
        }
    }

    fn read(&mut self, args: &[String]) -> i32 {
        let raw = args.iter().any(|a| a == "-r");
        let mut names: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
        let usual = "REPLY".to_string();
        if names.is_empty() {
            names.push(&usual);
        }
        let mut line = self.line(0).unwrap_or_default();
        while !raw && line.ends_with("\\\n") {
            line.truncate(line.len() - 2);
            line.push_str(&self.line(0).unwrap_or_default());
        }
        let whole = line.ends_with('\n');
        if !raw {
            line = line.replace('\\', "");
        }
        let separators = self.get("IFS").unwrap_or_else(|| " \t\n".into());
        let blank = |c: char| separators.contains(c) && c.is_whitespace();
        let line = line.trim_end_matches('\n').replace('\0', "");
        let mut rest = line.trim_matches(blank).to_string();
        for (n, name) in names.iter().enumerate() {
            let cut = if n + 1 == names.len() { None } else { rest.find(|c| separators.contains(c)) };
            let value = match cut {
                Some(at) => {
                    let value = rest.get(..at).unwrap_or_default().to_string();
                    let after = rest.get(at..).unwrap_or_default();
                    let skip = after.chars().next().map_or(0, char::len_utf8);
                    rest = after.get(skip..).unwrap_or_default().trim_start_matches(blank).to_string();
                    value
                }
                None => std::mem::take(&mut rest),
            };
            self.set(name, value);
        }
        if given_up(&self.cancel) || !whole { 1 } else { 0 }
    }

    /// Whether an expression of `test` holds.
    pub(in super::super) fn test(&self, args: &[String]) -> bool {
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => false,
            [one] => !one.is_empty(),
            ["!", rest] => rest.is_empty(),
            [operator, operand] => self.of_one(operator, operand),
            [left, operator, right] if let Some(holds) = self.of_two(left, operator, right) => holds,
            ["!", ..] => !self.test(args.get(1..).unwrap_or_default()),
            ["(", .., ")"] => self.test(args.get(1..args.len() - 1).unwrap_or_default()),
            _ => {
                let place = |word: &str| words.iter().position(|w| *w == word);
                let Some((at, or)) = place("-o").map(|at| (at, true)).or_else(|| place("-a").map(|at| (at, false)))
                else {
                    return false;
                };
                let left = self.test(args.get(..at).unwrap_or_default());
                let right = self.test(args.get(at + 1..).unwrap_or_default());
                if or { left || right } else { left && right }
            }
        }
    }

    fn of_one(&self, operator: &str, operand: &str) -> bool {
        if operator == "-z" || operator == "-n" {
            return operand.is_empty() == (operator == "-z");
        }
        if operator == "-t" {
            return self.tty;
        }
        if self.own_stream(operand).is_some() {
            return matches!(operator, "-e" | "-r" | "-w");
        }
        let follow = operator != "-L" && operator != "-h";
        let Ok(node) = self.view(|v| v.stat(&self.cwd, operand, follow)) else { return false };
        let may = |bits| node.allows(self.container.uid, bits);
        match operator {
            "-e" => true,
            "-f" => matches!(node.kind, Kind::File(_)),
            "-d" => node.is_directory(),
            "-L" | "-h" => matches!(node.kind, Kind::Link(_)),
            "-c" => matches!(node.kind, Kind::Device(..)),
            "-s" => node.size() > 0,
            "-r" => may(4),
            "-w" => may(2),
            "-x" => may(1),
            "-u" => node.mode & 0o4000 != 0,
            "-g" => node.mode & 0o2000 != 0,
            "-O" => node.uid == self.container.uid,
            _ => false,
        }
    }

    fn of_two(&self, left: &str, operator: &str, right: &str) -> Option<bool> {
        let numbers = || Some((left.trim().parse::<i64>().ok()?, right.trim().parse::<i64>().ok()?));
        let compare = |hold: fn(i64, i64) -> bool| Some(numbers().is_some_and(|(l, r)| hold(l, r)));
        let time = |path: &str| self.view(|v| v.stat(&self.cwd, path, true)).ok().map(|n: Node| n.mtime);
        match operator {
            "=" | "==" => Some(left == right),
            "!=" => Some(left != right),
            "-eq" => compare(|l, r| l == r),
            "-ne" => compare(|l, r| l != r),
            "-lt" => compare(|l, r| l < r),
            "-le" => compare(|l, r| l <= r),
            "-gt" => compare(|l, r| l > r),
            "-ge" => compare(|l, r| l >= r),
            "-nt" => Some(time(left) > time(right)),
            "-ot" => Some(time(left) < time(right)),
            _ => None,
        }
    }
}

/// What `echo` prints.
pub(in super::super) fn echo(args: &[String]) -> String {
    let mut rest = args;
    let (mut end, mut escapes) = (true, false);
    while let [first, after @ ..] = rest
        && first.len() > 1
        && first.strip_prefix('-').is_some_and(|o| o.chars().all(|c| "neE".contains(c)))
    {
        end &= !first.contains('n');
        escapes |= first.contains('e');
        rest = after;
    }
    let text = rest.join(" ");
    let text = if escapes { unescape(&text) } else { text };
    if end { text + "\n" } else { text }
}

/// `\n`, `\t`, `\\`, `\0NNN`, `\NNN`, `\xHH`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let Some(next) = chars.next() else {
            out.push('\\');
            break;
        };
        let radix = if next == 'x' { 16 } else { 8 };
        if next == 'x' || next.is_digit(8) {
            let mut value = next.to_digit(8).unwrap_or(0);
            let most = if next == 'x' {
                2
            } else if next == '0' {
                3
            } else {
                2
            };
            for _ in 0..most {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
                value = value * radix + digit;
                chars.next();
            }
            out.push(char::from(u8::try_from(value & 0xff).unwrap_or(0)));
            continue;
        }
        match next {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'e' => out.push('\x1b'),
            '\\' => out.push('\\'),
            other => out.extend(['\\', other]),
        }
    }
    out
}

/// What `printf` prints: the format again and again until the arguments are used up.
pub(in super::super) fn printf(format: &str, args: &[String]) -> String {
    let (mut out, mut args) = (String::new(), args.iter().peekable());
    loop {
        let (mut chars, mut used) = (format.chars().peekable(), false);
        while let Some(c) = chars.next() {
            if c == '\\' {
                let mut escape = String::from(c);
                while let Some(next) =
                    chars.peek().filter(|n| escape.len() == 1 || n.is_ascii_digit() && escape.len() < 4)
                {
                    escape.push(*next);
                    chars.next();
                    if !escape.ends_with(|c: char| c.is_ascii_digit()) {
                        break;
                    }
                }
                out.push_str(&unescape(&escape));
                continue;
            }
            if c != '%' || chars.next_if_eq(&'%').is_some() {
                out.push(c);
                continue;
            }
            let mut flags = String::new();
            while let Some(flag) = chars.next_if(|c| "-0123456789.".contains(*c)) {
                flags.push(flag);
            }
            let Some(kind) = chars.next() else { break };
            let value = args.next().cloned().unwrap_or_default();
            used = true;
            let number = || value.trim().parse::<i64>().unwrap_or(0);
            let text = match kind {
                'd' | 'i' | 'u' => number().to_string(),
                'x' => format!("{:x}", number()),
                'o' => format!("{:o}", number()),
                'c' => value.chars().take(1).collect(),
                'b' => unescape(&value),
                _ => value,
            };
            let width = flags
                .trim_start_matches(['-', '0'])
                .split('.')
                .next()
                .and_then(|w| w.parse().ok())
                .unwrap_or(0_usize)
                .min(4096);
            let pad = width.saturating_sub(text.chars().count());
            match (flags.starts_with('-'), flags.starts_with('0')) {
                (true, _) => out.extend([text.as_str(), &" ".repeat(pad)]),
                (_, zero) => out.extend([if zero { "0" } else { " " }.repeat(pad).as_str(), &text]),
            }
        }
        if !used || args.peek().is_none() {
            return out;
        }
    }
}
