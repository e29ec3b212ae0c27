//! A small shell: simple commands, quotes, variables, `$?`, pipes, `&&`, `||`, `;`, redirections, `cd`, `exit`. What it
//! does not know (loops, functions, substitution) it says, with exit code 2, rather than doing something else.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::files::absolute;
use super::programs::{self, Call};
use super::{Container, Net, Node};

/// One shell, or one program that was executed without.
pub struct Shell<'c> {
    pub(super) container: &'c Container,
    pub(super) net: &'c dyn Net,
    pub(super) cancel: Arc<AtomicBool>,
    pub(super) env: Vec<(String, String)>,
    pub(super) cwd: String,
    last: i32,
    arguments: Vec<String>,
    leaving: bool,
}

/// A word of a line, or what stands between words.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Operator(&'static str),
}

const OPERATORS: &[&str] = &["&&", "||", "2>&1", "2>>", "2>", ">>", ">", "<", ";", "|", "&", "\n"];
const UNKNOWN: &[&str] = &["if", "for", "while", "until", "case", "{", "(", "function", "select"];

impl<'c> Shell<'c> {
    /// At `/`, with that environment.
    pub fn new(
        container: &'c Container,
        net: &'c dyn Net,
        cancel: Arc<AtomicBool>,
        env: Vec<(String, String)>,
    ) -> Shell<'c> {
        Shell { container, net, cancel, env, cwd: String::new(), last: 0, arguments: Vec::new(), leaving: false }
    }

    /// Runs one program; its exit code.
    pub fn program(
        &mut self,
        argv: &[String],
        stdin: &mut dyn Read,
        out: &mut dyn Write,
        err: &mut dyn Write,
        tty: bool,
    ) -> i32 {
        let name = argv.first().map(|n| n.rsplit('/').next().unwrap_or_default()).unwrap_or_default();
        if ["sh", "bash", "ash"].contains(&name) {
            return self.sh(argv, stdin, out, err, tty);
        }
        let mut call = Call { shell: self, args: argv.get(1..).unwrap_or_default(), stdin, out, err };
        programs::run(name, &mut call).unwrap_or(1)
    }

    fn sh(
        &mut self,
        argv: &[String],
        stdin: &mut dyn Read,
        out: &mut dyn Write,
        err: &mut dyn Write,
        tty: bool,
    ) -> i32 {
        if let Some(at) = argv.iter().position(|a| a.starts_with('-') && a.ends_with('c')) {
            let script = argv.get(at + 1).cloned().unwrap_or_default();
            self.arguments = argv.get(at + 2..).unwrap_or_default().to_vec();
            return self.script(&script, stdin, out, err);
        }
        // Lines from standard input, with a prompt on a terminal.
        loop {
            if tty {
                let _ =
                    write!(out, "{} # ", if self.cwd.is_empty() { "/" } else { &self.cwd }).and_then(|()| out.flush());
            }
            let Some(line) = read_line(stdin, out, tty) else { return self.last };
            self.last = self.script(&line, &mut io::empty(), out, err);
            if self.leaving {
                return self.last;
            }
        }
    }

    fn script(&mut self, text: &str, stdin: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
        let tokens = match self.tokens(text) {
            Ok(tokens) => tokens,
            Err(why) => {
                let _ = writeln!(err, "sh: {why}");
                return 2;
            }
        };
        let mut run = true;
        let mut from = 0;
        for at in 0..=tokens.len() {
            let end = match tokens.get(at) {
                Some(Token::Operator(op @ ("&&" | "||" | ";" | "\n" | "&"))) => *op,
                None => ";",
                _ => continue,
            };
            let list = tokens.get(from..at).unwrap_or_default();
            from = at + 1;
            if run && !list.is_empty() {
                self.last = self.pipeline(list, stdin, out, err);
                if self.leaving {
                    return self.last;
                }
            }
            run = match end {
                "&&" => run && self.last == 0,
                "||" => !run || self.last != 0,
                _ => true,
            };
        }
        self.last
    }

    fn pipeline(&mut self, tokens: &[Token], stdin: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
        let stages: Vec<&[Token]> = tokens.split(|t| *t == Token::Operator("|")).collect();
        let mut held: Option<Vec<u8>> = None;
        let mut code = 0;
        for (n, stage) in stages.iter().enumerate() {
            let last = n + 1 == stages.len();
            let mut piped = Vec::new();
            let mut before = held.take().map(io::Cursor::new);
            let input: &mut dyn Read = match &mut before {
                Some(bytes) => bytes,
                None => &mut *stdin,
            };
            code =
                if last { self.command(stage, input, out, err) } else { self.command(stage, input, &mut piped, err) };
            held = Some(piped);
        }
        code
    }

    fn command(&mut self, tokens: &[Token], stdin: &mut dyn Read, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
        let (mut words, mut to, mut to_err, mut from, mut merged) = (Vec::new(), None, None, None, false);
        let mut rest = tokens.iter();
        while let Some(token) = rest.next() {
            let mut file = || match rest.next() {
                Some(Token::Word(word)) => self.word(word).map(|(w, _)| w).unwrap_or_default(),
                _ => String::new(),
            };
            match token {
                Token::Word(word) => words.push(self.word(word).map(|(w, _)| w).unwrap_or_default()),
                Token::Operator(">") => to = Some((file(), false)),
                Token::Operator(">>") => to = Some((file(), true)),
                Token::Operator("2>" | "2>>") => to_err = Some(file()),
                Token::Operator("<") => from = Some(file()),
                Token::Operator("2>&1") => merged = true,
                Token::Operator(_) => {}
            }
        }
        while words.first().is_some_and(|w| is_assignment(w)) {
            let word = words.remove(0);
            if let Some((name, value)) = word.split_once('=') {
                self.env.retain(|(n, _)| n != name);
                self.env.push((name.into(), value.into()));
            }
        }
        let Some(name) = words.first().cloned() else { return 0 };
        if UNKNOWN.contains(&name.as_str()) {
            let _ = writeln!(err, "sh: {name}: the embedded cluster's shell knows simple commands alone");
            self.leaving = true;
            return 2;
        }
        let content = from.map(|path| programs::content(self, &path).unwrap_or_default());
        let mut file = content.map(io::Cursor::new);
        let input: &mut dyn Read = match &mut file {
            Some(bytes) => bytes,
            None => stdin,
        };
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let code = match (to.is_some() || merged && to.is_some(), to_err.is_some() || merged) {
            (false, false) => self.builtin(&name, &words, input, out, err),
            (true, _) => self.builtin(&name, &words, input, &mut output, &mut errors),
            (false, true) => self.builtin(&name, &words, input, out, &mut errors),
        };
        if merged {
            let _ = if to.is_some() { output.write_all(&errors) } else { out.write_all(&errors) };
        } else if to_err.is_none() {
            let _ = err.write_all(&errors);
        }
        if let Some((path, append)) = to
            && path != "/dev/null"
        {
            let path = absolute(&self.cwd, &path);
            let mut state = self.container.state();
            let mut content = if append {
                state.files.get(&path).map(|n| n.content.to_vec()).unwrap_or_default()
            } else {
                Vec::new()
            };
            content.extend(output);
            let now = crate::clock::Clock::System.now().unix_timestamp();
            state.files.put(&path, Node::file(&content, now));
        }
        code
    }

    fn builtin(
        &mut self,
        name: &str,
        words: &[String],
        stdin: &mut dyn Read,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> i32 {
        match name {
            "cd" => {
                let to = absolute(&self.cwd, words.get(1).map_or("/root", |w| w));
                match self.container.state().files.resolve(&to) {
                    Some(real) => {
                        self.cwd = real;
                        0
                    }
                    None => {
                        let _ = writeln!(
                            err,
                            "sh: cd: can't cd to {}: No such file or directory",
                            words.get(1).map_or("", |w| w)
                        );
                        1
                    }
                }
            }
            "pwd" => {
                let _ = writeln!(out, "{}", if self.cwd.is_empty() { "/" } else { &self.cwd });
                0
            }
            "exit" => {
                self.leaving = true;
                words.get(1).and_then(|c| c.parse().ok()).unwrap_or(self.last)
            }
            "exec" => self.program(words.get(1..).unwrap_or_default(), stdin, out, err, false),
            ":" | "true" | "set" | "export" | "umask" => 0,
            "command" => {
                let wanted = words.last().map_or("", |w| w);
                if self.container.has(wanted) {
                    let _ = writeln!(out, "/bin/{wanted}");
                    0
                } else {
                    127
                }
            }
            _ if self.container.has(name) || programs::usual(name) && self.container.has("sh") => {
                self.program(words, stdin, out, err, false)
            }
            _ => {
                let _ = writeln!(err, "sh: {name}: not found");
                127
            }
        }
    }

    fn variable(&self, name: &str) -> String {
        match name {
            "?" => self.last.to_string(),
            "$" => "1".into(),
            "#" => self.arguments.len().saturating_sub(1).to_string(),
            "@" | "*" => self.arguments.get(1..).unwrap_or_default().join(" "),
            _ => match name.parse::<usize>() {
                Ok(n) => self.arguments.get(n).cloned().unwrap_or_default(),
                Err(_) => self.env.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.clone()).unwrap_or_default(),
            },
        }
    }

    /// Words as they are written, and what stands between them.
    fn tokens(&self, text: &str) -> Result<Vec<Token>, String> {
        let mut all = Vec::new();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            if first == '#' {
                rest = rest.find('\n').map_or("", |end| rest.get(end..).unwrap_or_default());
            } else if let Some(operator) = OPERATORS.iter().find(|o| rest.starts_with(**o)) {
                all.push(Token::Operator(operator));
                rest = rest.get(operator.len()..).unwrap_or_default();
            } else if first.is_whitespace() {
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            } else {
                // Variables are put in when the command runs: those before it may set them.
                let (_, after) = self.word(rest)?;
                all.push(Token::Word(rest.get(..rest.len() - after.len()).unwrap_or_default().into()));
                rest = after;
            }
        }
        Ok(all)
    }

    /// The first word, with variables put in and quotes taken off; the rest.
    fn word<'t>(&self, text: &'t str) -> Result<(String, &'t str), String> {
        let mut word = String::new();
        let mut chars = text.char_indices().peekable();
        let mut quote = None;
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), c) => word.push(c),
                (None, '\'' | '"') => quote = Some(c),
                (_, '\\') => {
                    if let Some((_, next)) = chars.next() {
                        word.push(next);
                    }
                }
                (_, '`') => return Err("syntax error: command substitution is not known here".into()),
                (_, '$') => match chars.peek().copied() {
                    Some((_, '(')) => return Err("syntax error: command substitution is not known here".into()),
                    Some((_, '{')) => {
                        chars.next();
                        let name: String = chars.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').collect();
                        let (name, default) = name.split_once(":-").map_or((name.as_str(), ""), |(n, d)| (n, d));
                        let value = self.variable(name);
                        word.push_str(if value.is_empty() { default } else { &value });
                    }
                    Some((_, c)) if "?#$@*".contains(c) || c.is_ascii_digit() => {
                        chars.next();
                        word.push_str(&self.variable(&c.to_string()));
                    }
                    _ => {
                        let mut name = String::new();
                        while let Some((_, c)) = chars.peek().filter(|(_, c)| c.is_alphanumeric() || *c == '_').copied()
                        {
                            name.push(c);
                            chars.next();
                        }
                        word.push_str(&if name.is_empty() { "$".into() } else { self.variable(&name) });
                    }
                },
                (None, c) if c.is_whitespace() || ";|&<>".contains(c) => {
                    return Ok((word, text.get(at..).unwrap_or_default()));
                }
                (_, c) => word.push(c),
            }
        }
        if quote.is_some() {
            return Err("syntax error: unterminated quoted string".into());
        }
        Ok((word, ""))
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    })
}

/// A line; on a terminal what is typed is echoed, as a terminal's driver does.
fn read_line(stdin: &mut dyn Read, out: &mut dyn Write, tty: bool) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0; 1];
    loop {
        match stdin.read(&mut byte) {
            Ok(1) => {}
            _ => return (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned()),
        }
        match byte[0] {
            b'\n' | b'\r' => {
                if tty {
                    let _ = out.write_all(b"\r\n");
                }
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            4 if line.is_empty() => return None,
            8 | 127 => {
                if line.pop().is_some() && tty {
                    let _ = out.write_all(b"\x08 \x08").and_then(|()| out.flush());
                }
            }
            other => {
                line.push(other);
                if tty {
                    let _ = out.write_all(&byte).and_then(|()| out.flush());
                }
            }
        }
    }
}
