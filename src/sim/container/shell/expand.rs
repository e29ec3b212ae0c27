//! Makes texts of words: parameters, substitutions, splitting, paths.

use std::collections::BTreeMap;

use super::pattern::{Mark, fits};
use super::streams::Stream;
use super::syntax::{Change, Part, Word};
use super::{Shell, Stop, Variable};

/// Fields in the making.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<Mark>>,
    now: Vec<Mark>,
    /// A field was begun, even if it is empty.
    begun: bool,
}

impl Fields {
    fn add(&mut self, text: &str, quoted: bool) {
        self.now.extend(text.chars().map(|c| (c, quoted)));
        self.begun |= quoted || !text.is_empty();
    }

    fn end(&mut self) {
        if self.begun {
            self.done.push(std::mem::take(&mut self.now));
        }
        self.begun = false;
    }

    /// A value without quotes: split where the separators are.
    fn split(&mut self, value: &str, separators: &str) {
        for c in value.chars() {
            if !separators.contains(c) {
                self.now.push((c, false));
                self.begun = true;
            } else {
                // Two separators that are no blanks have an empty field between them.
                self.begun |= !c.is_whitespace();
                self.end();
            }
        }
    }
}

impl Shell<'_> {
    /// The fields of words, paths filled in.
    pub(super) fn fields(&mut self, words: &[Word]) -> Result<Vec<String>, Stop> {
        let mut all = Vec::new();
        for word in words {
            let mut fields = Fields::default();
            self.expand(word, &mut fields, true)?;
            fields.end();
            for field in fields.done {
                self.paths(field, &mut all);
            }
        }
        Ok(all)
    }

    /// A word as one text, not split.
    pub(super) fn text(&mut self, word: &Word) -> Result<String, Stop> {
        Ok(self.marks(word)?.into_iter().map(|m| m.0).collect())
    }

    /// A word as a pattern.
    pub(super) fn marks(&mut self, word: &Word) -> Result<Vec<Mark>, Stop> {
        let mut fields = Fields::default();
        self.expand(word, &mut fields, false)?;
        Ok(fields.now)
    }

    fn expand(&mut self, word: &Word, into: &mut Fields, split: bool) -> Result<(), Stop> {
        let separators = self.get("IFS").unwrap_or_else(|| " \t\n".into());
        for (n, part) in word.iter().enumerate() {
            let (value, quoted) = match part {
                Part::Text(text, false) if n == 0 && (text == "~" || text.starts_with("~/")) => {
                    into.add(&self.get("HOME").unwrap_or_default(), true);
                    into.add(text.get(1..).unwrap_or_default(), false);
                    continue;
                }
                Part::Text(text, quoted) => {
                    into.add(text, *quoted);
                    continue;
                }
                Part::Parameter { name, change: Change::None, quoted, .. }
                    if split && (name == "@" || name == "*" && !quoted) =>
                {
                    for (n, argument) in self.arguments.clone().iter().enumerate() {
                        if n > 0 {
                            into.end();
                        }
                        if *quoted {
                            into.add(argument, true);
                        } else {
                            into.split(argument, &separators);
                        }
                    }
                    // "$@" of nothing is nothing, not an empty text.
                    into.begun &= !(self.arguments.is_empty() && into.now.is_empty());
                    continue;
                }
                Part::Parameter { name, change, word, quoted } => {
                    let Some(value) = self.parameter(name, *change, word)? else {
                        self.expand(word, into, split && !quoted)?;
                        continue;
                    };
                    (value, *quoted)
                }
                Part::Substitution(command, quoted) => {
                    let (writing, held) = Stream::pipe();
                    self.last_substitution = self.sub(command, BTreeMap::from([(1, writing)]));
                    let bytes = Stream::written(&held);
                    let text = String::from_utf8_lossy(&bytes).replace('\0', "");
                    (text.trim_end_matches('\n').to_string(), *quoted)
                }
                Part::Arithmetic(word, quoted) => {
                    let text = self.text(word)?;
                    match self.arithmetic(&text) {
                        Some(number) => (number.to_string(), *quoted),
                        None => return Err(self.fatal(&format!("arithmetic syntax error: {text}"))),
                    }
                }
            };
            if quoted || !split {
                into.add(&value, quoted);
            } else {
                into.split(&value, &separators);
            }
        }
        Ok(())
    }

    fn fatal(&self, why: &str) -> Stop {
        self.complain(&format!("{}: {why}", self.name));
        Stop::Exit(2)
    }

    /// A parameter's value; None where the operator's word stands in for it.
    fn parameter(&mut self, name: &str, change: Change, word: &Word) -> Result<Option<String>, Stop> {
        let held = self.get(name);
        let usable = |colon: bool| held.as_ref().is_some_and(|v| !colon || !v.is_empty());
        Ok(match change {
            Change::None => Some(held.unwrap_or_default()),
            Change::Length => Some(held.unwrap_or_default().chars().count().to_string()),
            Change::Default(colon) => usable(colon).then(|| held.unwrap_or_default()),
            Change::Instead(colon) => (!usable(colon)).then(String::new),
            Change::Require(colon) if usable(colon) => held,
            Change::Require(_) => {
                let why = self.text(word)?;
                let why = if why.is_empty() { "parameter not set".into() } else { why };
                return Err(self.fatal(&format!("{name}: {why}")));
            }
            Change::Assign(colon) if usable(colon) => held,
            Change::Assign(_) => {
                let value = self.text(word)?;
                self.set(name, value.clone());
                Some(value)
            }
            Change::Trim { suffix, longest } => {
                let value: Vec<char> = held.unwrap_or_default().chars().collect();
                let pattern = self.marks(word)?;
                Some(trim(&value, &pattern, suffix, longest))
            }
        })
    }

    /// A variable's or a parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match name {
            "?" => Some(self.last.to_string()),
            "$" => Some(self.pid.to_string()),
            "#" => Some(self.arguments.len().to_string()),
            "-" => Some(String::new()),
            "@" | "*" if self.arguments.is_empty() => None,
            "@" | "*" => {
                let separator = if name == "@" { " ".into() } else { self.get("IFS").unwrap_or_else(|| " ".into()) };
                let separator: String = separator.chars().take(1).collect();
                Some(self.arguments.join(&separator))
            }
            "0" => Some(self.name.clone()),
            "PWD" => Some(if self.cwd.is_empty() { "/".into() } else { self.cwd.clone() }),
            _ => match name.parse::<usize>() {
                Ok(n) => n.checked_sub(1).and_then(|n| self.arguments.get(n).cloned()),
                Err(_) => self.variables.get(name).map(|v| v.value.clone()),
            },
        }
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, name: &str, value: String) {
        let exported = self.variables.get(name).is_some_and(|v| v.exported);
        self.variables.insert(name.into(), Variable { value, exported });
    }

    /// The paths that a field fits; itself when there is none.
    fn paths(&self, field: Vec<Mark>, into: &mut Vec<String>) {
        let plain: String = field.iter().map(|m| m.0).collect();
        let magic = |marks: &[Mark]| marks.iter().any(|(c, quoted)| !quoted && "*?[".contains(*c));
        if !magic(&field) {
            into.push(plain);
            return;
        }
        let mut found = vec![if plain.starts_with('/') { "/".to_string() } else { String::new() }];
        let mut parts = field.split(|m| m.0 == '/').filter(|p| !p.is_empty()).peekable();
        while let Some(part) = parts.next() {
            let mut next = Vec::new();
            let slash = if parts.peek().is_some() { "/" } else { "" };
            for base in found {
                if !magic(part) {
                    let path = format!("{base}{}", part.iter().map(|m| m.0).collect::<String>());
                    if self.view(|v| v.stat(&self.cwd, &path, false)).is_ok() {
                        next.push(format!("{path}{slash}"));
                    }
                    continue;
                }
                let hidden = part.first().is_some_and(|m| m.0 == '.');
                let names =
                    self.view(|v| v.list(&self.cwd, if base.is_empty() { "." } else { &base })).unwrap_or_default();
                let dots = [".".to_string(), "..".to_string()];
                for name in dots.into_iter().filter(|_| hidden).chain(names) {
                    let text: Vec<char> = name.chars().collect();
                    if (hidden || !name.starts_with('.')) && fits(part, &text) {
                        next.push(format!("{base}{name}{slash}"));
                    }
                }
            }
            found = next;
        }
        found.retain(|path| !path.is_empty());
        found.sort();
        if found.is_empty() {
            into.push(plain);
        }
        into.extend(found);
    }
}

/// The value without what the pattern fits at one end.
fn trim(value: &[char], pattern: &[Mark], suffix: bool, longest: bool) -> String {
    let fitting = |at: &usize| {
        let part = if suffix { value.get(*at..) } else { value.get(..*at) };
        fits(pattern, part.unwrap_or_default())
    };
    let mut places = 0..=value.len();
    // The longest prefix ends last, the longest suffix begins first.
    let at = if suffix == longest { places.find(fitting) } else { places.rev().find(fitting) };
    let rest = match at {
        Some(at) if suffix => value.get(..at),
        Some(at) => value.get(at..),
        None => Some(value),
    };
    rest.unwrap_or_default().iter().collect()
}
