//! Reads words: quotes, parameters, substitutions.

use std::sync::Arc;

use super::grammar::{Flaw, Parser};
use super::syntax::{Change, Command, Part, Word};

type Parsed<T> = Result<T, Flaw>;

/// Appends text to the last piece where that is of the same kind.
fn push(parts: &mut Word, c: char, is_quoted: bool) {
    match parts.last_mut() {
        Some(Part::Text(text, quoted)) if *quoted == is_quoted => text.push(c),
        _ => parts.push(Part::Text(c.into(), is_quoted)),
    }
}

impl Parser {
    /// A word up to a blank or an operator.
    pub(super) fn word(&mut self) -> Parsed<Word> {
        self.deeper(|p| p.word_until(None))
    }

    /// A word up to that character, blanks included; without one up to a blank or an operator.
    pub(super) fn word_until(&mut self, end: Option<char>) -> Parsed<Word> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            match (c, end) {
                (c, Some(end)) if c == end => break,
                (c, None) if c.is_whitespace() || ";&|<>()".contains(c) => break,
                _ => {}
            }
            self.at += 1;
            match c {
                '\\' => match self.next() {
                    Some('\n') => {}
                    Some(c) => push(&mut parts, c, true),
                    None => return Err(Flaw::Unfinished("unexpected end of file".into())),
                },
                '\'' => {
                    parts.push(Part::Text(String::new(), true));
                    loop {
                        match self.next() {
                            Some('\'') => break,
                            Some(c) => push(&mut parts, c, true),
                            None => return Err(Flaw::Unfinished("unterminated quoted string".into())),
                        }
                    }
                }
                '"' => {
                    parts.push(Part::Text(String::new(), true));
                    parts.extend(self.quoted(Some('"'))?);
                }
                '$' | '`' => self.dollar(c, &mut parts, false)?,
                c => push(&mut parts, c, false),
            }
        }
        Ok(parts)
    }

    /// What stands in double quotes, up to the closing one, which is taken; of a here-document everything.
    pub(super) fn quoted(&mut self, end: Option<char>) -> Parsed<Word> {
        let mut parts = Vec::new();
        loop {
            match self.next() {
                None if end.is_none() => return Ok(parts),
                None => return Err(Flaw::Unfinished("unterminated quoted string".into())),
                Some(c) if Some(c) == end => return Ok(parts),
                Some('\\') => match self.next() {
                    Some('\n') => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => push(&mut parts, c, true),
                    Some(c) => {
                        push(&mut parts, '\\', true);
                        push(&mut parts, c, true);
                    }
                    None => push(&mut parts, '\\', true),
                },
                Some(c @ ('$' | '`')) => self.dollar(c, &mut parts, true)?,
                Some(c) => push(&mut parts, c, true),
            }
        }
    }

    /// What follows a `$` or a backquote.
    fn dollar(&mut self, sign: char, parts: &mut Word, quoted: bool) -> Parsed<()> {
        let unfinished = || Flaw::Unfinished("unexpected end of file in a substitution".into());
        if sign == '`' {
            let mut inner = String::new();
            loop {
                match self.next() {
                    Some('`') => break,
                    Some('\\') => match self.next() {
                        Some(c @ ('$' | '`' | '\\')) => inner.push(c),
                        Some(c) => inner.extend(['\\', c]),
                        None => return Err(unfinished()),
                    },
                    Some(c) => inner.push(c),
                    None => return Err(unfinished()),
                }
            }
            let mut parser = Parser { text: inner.chars().collect(), at: 0, depth: self.depth };
            let command = parser.deeper(|p| p.list(&[]))?;
            parts.push(Part::Substitution(Arc::new(command), quoted));
            return Ok(());
        }
        if self.eat("((") {
            let word = self.arithmetic()?;
            parts.push(Part::Arithmetic(word, quoted));
            return Ok(());
        }
        if self.eat("(") {
            let command: Command = self.deeper(|p| p.list(&[]))?;
            if !self.eat(")") {
                return Err(if self.peek().is_none() { unfinished() } else { Flaw::Wrong("unexpected \";;\"".into()) });
            }
            parts.push(Part::Substitution(Arc::new(command), quoted));
            return Ok(());
        }
        let braces = self.eat("{");
        let following = self.text.get(self.at + 1).copied();
        let length =
            braces && self.peek() == Some('#') && following.is_some_and(|c| c != '}' && !"-=+?#%:".contains(c));
        if length {
            self.at += 1;
        }
        let name = self.name(braces);
        if name.is_empty() {
            if braces {
                return Err(if self.peek().is_none() { unfinished() } else { Flaw::Wrong("bad substitution".into()) });
            }
            push(parts, '$', quoted);
            return Ok(());
        }
        let (mut change, mut word) = (Change::None, Vec::new());
        if length {
            change = Change::Length;
            if !self.eat("}") {
                return Err(Flaw::Wrong("bad substitution".into()));
            }
        } else if braces {
            (change, word) = self.deeper(Parser::change)?;
        }
        parts.push(Part::Parameter { name, change, word, quoted });
        Ok(())
    }

    fn name(&mut self, braces: bool) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(c) if c.is_ascii_digit() => {
                while let Some(c) = self.peek().filter(|c| c.is_ascii_digit() && (braces || name.is_empty())) {
                    name.push(c);
                    self.at += 1;
                }
            }
            Some(c) if "?$#@*!-".contains(c) => {
                name.push(c);
                self.at += 1;
            }
            _ => {
                while let Some(c) = self.peek().filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.at += 1;
                }
            }
        }
        name
    }

    /// An expression up to `))`, with its parameters as in double quotes.
    fn arithmetic(&mut self) -> Parsed<Word> {
        let (mut parts, mut open) = (Vec::new(), 0);
        loop {
            match self.next() {
                None => return Err(Flaw::Unfinished("missing \"))\"".into())),
                Some(')') if open == 0 => {
                    return if self.eat(")") { Ok(parts) } else { Err(Flaw::Wrong("missing \"))\"".into())) };
                }
                Some(c @ ('$' | '`')) => self.deeper(|p| p.dollar(c, &mut parts, true))?,
                Some(c) => {
                    open += i32::from(c == '(') - i32::from(c == ')');
                    push(&mut parts, c, true);
                }
            }
        }
    }
}
