//! Reads a script (POSIX.1-2017, Shell Command Language).

use std::sync::Arc;

use super::syntax::{Change, Command, Part, Redirection, To, Word};

/// Why a text is no script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// It ends too early: another line may complete it.
    Unfinished(String),
    /// It can't be completed.
    Wrong(String),
}

type Parsed<T> = Result<T, Flaw>;

/// Deeper nesting is refused: each level is a call here.
const MAX_DEPTH: usize = 40;
const RESERVED: [&str; 12] = ["then", "else", "elif", "fi", "do", "done", "esac", "}", "in", ";;", "!", "{"];

/// Reads a whole script.
pub fn parse(text: &str) -> Parsed<Command> {
    let mut parser = Parser { text: text.chars().collect(), at: 0, depth: 0 };
    let list = parser.list(&[])?;
    match parser.peek() {
        None => Ok(list),
        Some(c) => Err(Flaw::Wrong(format!("unexpected \"{c}\""))),
    }
}

pub(super) struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) depth: usize,
}

pub(super) fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && text.starts_with(|c: char| !c.is_ascii_digit())
}

impl Parser {
    pub(super) fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        let there = text.chars().enumerate().all(|(n, c)| self.text.get(self.at + n) == Some(&c));
        if there {
            self.at += text.chars().count();
        }
        there
    }

    fn looking_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(n, c)| self.text.get(self.at + n) == Some(&c))
    }

    /// Passes over blanks and comments, and with `lines` over ends of lines.
    pub(super) fn space(&mut self, lines: bool) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\r') => self.at += 1,
                Some('\n') if lines => self.at += 1,
                Some('\\') if self.text.get(self.at + 1) == Some(&'\n') => self.at += 2,
                Some('#') => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Parser) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(Flaw::Wrong("nested too deeply".into()));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// The reserved word or plain text that comes next.
    fn plain(&self) -> String {
        let rest = self.text.get(self.at..).unwrap_or_default();
        rest.iter().take_while(|c| !c.is_whitespace() && !";&|<>()\"'\\$`".contains(**c)).collect()
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        self.space(true);
        let found = if word == ")" { self.peek().map(String::from).unwrap_or_default() } else { self.plain() };
        if found == word {
            self.at += word.len();
            Ok(())
        } else if self.peek().is_none() {
            Err(Flaw::Unfinished(format!("unexpected end of file (expecting \"{word}\")")))
        } else {
            let found = if found.is_empty() { self.peek().map(String::from).unwrap_or_default() } else { found };
            Err(Flaw::Wrong(format!("unexpected \"{found}\" (expecting \"{word}\")")))
        }
    }

    /// Commands up to one of the words, a `)`, a `;;` or the end, none of which is taken.
    pub(super) fn list(&mut self, ends: &[&str]) -> Parsed<Command> {
        let mut all = Vec::new();
        loop {
            self.space(true);
            if matches!(self.peek(), None | Some(')')) || self.looking_at(";;") || ends.contains(&self.plain().as_str())
            {
                return Ok(if all.len() == 1 { all.remove(0) } else { Command::List(all) });
            }
            let command = self.and_or()?;
            self.space(false);
            if self.eat("&") {
                all.push(Command::Background(Box::new(command)));
                continue;
            }
            all.push(command);
            let ended = self.looking_at(";;") || self.eat(";") || self.eat("\n");
            if !ended && !matches!(self.peek(), None | Some(')')) {
                return Err(Flaw::Wrong(format!("unexpected \"{}\"", self.plain())));
            }
        }
    }

    fn and_or(&mut self) -> Parsed<Command> {
        let mut left = self.pipeline()?;
        loop {
            self.space(false);
            let both = if self.eat("&&") {
                true
            } else if self.eat("||") {
                false
            } else {
                return Ok(left);
            };
            self.more("command")?;
            left = Command::Both(Box::new(left), both, Box::new(self.pipeline()?));
        }
    }

    fn more(&mut self, what: &str) -> Parsed<()> {
        self.space(true);
        if self.peek().is_none() {
            Err(Flaw::Unfinished(format!("unexpected end of file: a {what} is missing")))
        } else {
            Ok(())
        }
    }

    fn pipeline(&mut self) -> Parsed<Command> {
        self.space(false);
        let mut not = false;
        while self.plain() == "!" {
            self.at += 1;
            not = !not;
            self.space(false);
        }
        let mut stages = vec![self.deeper(Parser::command)?];
        loop {
            self.space(false);
            if self.looking_at("||") || !self.eat("|") {
                break;
            }
            self.more("command")?;
            stages.push(self.deeper(Parser::command)?);
        }
        match (stages.len(), not) {
            (1, false) => Ok(stages.remove(0)),
            _ => Ok(Command::Pipeline(stages, not)),
        }
    }

    fn command(&mut self) -> Parsed<Command> {
        let word = self.plain();
        let compound = match word.as_str() {
            "if" => self.condition()?,
            "while" | "until" => {
                self.at += word.len();
                let condition = self.list(&["do"])?;
                let body = self.body()?;
                Command::Loop(word == "until", Box::new(condition), Box::new(body))
            }
            "for" => self.each()?,
            "case" => self.case()?,
            "{" => {
                self.at += 1;
                let list = self.list(&["}"])?;
                self.expect("}")?;
                list
            }
            _ if self.eat("(") => {
                let list = self.list(&[])?;
                self.expect(")")?;
                Command::Subshell(Box::new(list))
            }
            _ if RESERVED.contains(&word.as_str()) => return Err(Flaw::Wrong(format!("unexpected \"{word}\""))),
            _ => {
                let after = self.at + word.len();
                let rest: String = self
                    .text
                    .get(after..)
                    .unwrap_or_default()
                    .iter()
                    .filter(|c| !" \t".contains(**c))
                    .take(2)
                    .collect();
                if rest == "()" && is_name(&word) {
                    self.at = after;
                    while self.next().is_some_and(|c| c != ')') {}
                    self.more("body")?;
                    let body = self.deeper(Parser::command)?;
                    return Ok(Command::Function(word, Arc::new(body)));
                }
                return self.simple();
            }
        };
        let mut around = Vec::new();
        loop {
            self.space(false);
            match self.redirection()? {
                Some(one) => around.push(one),
                None if around.is_empty() => return Ok(compound),
                None => return Ok(Command::Redirected(Box::new(compound), around)),
            }
        }
    }

    fn condition(&mut self) -> Parsed<Command> {
        let (mut arms, mut otherwise) = (Vec::new(), None);
        self.expect("if")?;
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            arms.push((condition, self.list(&["elif", "else", "fi"])?));
            if self.plain() == "elif" {
                self.at += 4;
                continue;
            }
            if self.plain() == "else" {
                self.at += 4;
                otherwise = Some(Box::new(self.list(&["fi"])?));
            }
            self.expect("fi")?;
            return Ok(Command::If(arms, otherwise));
        }
    }

    fn body(&mut self) -> Parsed<Command> {
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(body)
    }

    fn each(&mut self) -> Parsed<Command> {
        self.expect("for")?;
        self.space(false);
        let name = self.plain();
        if !is_name(&name) {
            return Err(Flaw::Wrong("bad for loop variable".into()));
        }
        self.at += name.len();
        self.space(true);
        let mut words = None;
        if self.plain() == "in" {
            self.at += 2;
            let mut all = Vec::new();
            loop {
                self.space(false);
                match self.peek() {
                    Some(c) if !";\n&|()<>".contains(c) => all.push(self.word()?),
                    _ => break,
                }
            }
            words = Some(all);
        }
        self.space(false);
        self.eat(";");
        Ok(Command::For(name, words, Box::new(self.body()?)))
    }

    fn case(&mut self) -> Parsed<Command> {
        self.expect("case")?;
        self.space(false);
        let word = self.word()?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.space(true);
            if self.plain() == "esac" {
                self.at += 4;
                return Ok(Command::Case(word, arms));
            }
            self.more("pattern")?;
            self.eat("(");
            let mut patterns = Vec::new();
            loop {
                self.space(false);
                patterns.push(self.word()?);
                self.space(false);
                if !self.eat("|") {
                    break;
                }
            }
            self.expect(")")?;
            arms.push((patterns, self.list(&["esac"])?));
            self.space(true);
            self.eat(";;");
        }
    }

    fn simple(&mut self) -> Parsed<Command> {
        let (mut assignments, mut words, mut around) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            self.space(false);
            if let Some(one) = self.redirection()? {
                around.push(one);
                continue;
            }
            match self.peek() {
                Some(c) if !";\n&|()".contains(c) => {}
                Some(c) if words.is_empty() && assignments.is_empty() && around.is_empty() => {
                    return Err(Flaw::Wrong(format!("unexpected \"{c}\"")));
                }
                Some('(') => return Err(Flaw::Wrong("unexpected \"(\"".into())),
                _ => return Ok(Command::Simple(assignments, words, around)),
            }
            let plain = self.plain();
            match plain.split_once('=') {
                Some((name, _)) if words.is_empty() && is_name(name) => {
                    self.at += name.len() + 1;
                    let blank = self.peek().is_none_or(|c| c.is_whitespace() || ";&|<>()".contains(c));
                    assignments.push((name.into(), if blank { Vec::new() } else { self.word()? }));
                }
                _ => words.push(self.word()?),
            }
        }
    }

    fn redirection(&mut self) -> Parsed<Option<Redirection>> {
        let from = self.at;
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        let Some(sign @ ('<' | '>')) = self.peek() else {
            self.at = from;
            return Ok(None);
        };
        self.at += 1;
        let stream = digits.parse().unwrap_or(u32::from(sign == '>'));
        if sign == '<' && self.eat("<") {
            return Ok(Some(Redirection { stream, to: To::Text(self.here()?) }));
        }
        let make: fn(Word) -> To = match sign {
            '<' if self.eat("&") => To::Copy,
            '<' => To::From,
            _ if self.eat(">") => To::Append,
            _ if self.eat("&") => To::Copy,
            _ => {
                self.eat("|");
                To::Into
            }
        };
        self.space(false);
        if self.peek().is_none_or(|c| ";\n&|()<>".contains(c)) {
            return Err(Flaw::Wrong("unexpected end of a redirection".into()));
        }
        Ok(Some(Redirection { stream, to: make(self.word()?) }))
    }

    /// The lines of a here-document: taken out of the text at once, for they begin after the line that is being read.
    fn here(&mut self) -> Parsed<Word> {
        let indented = self.eat("-");
        self.space(false);
        let (mut end, mut literal) = (String::new(), false);
        for part in self.word()? {
            if let Part::Text(text, quoted) = part {
                end.push_str(&text);
                literal |= quoted;
            }
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let Some(first) = rest.iter().position(|c| *c == '\n').map(|n| self.at + n + 1) else {
            return Err(Flaw::Unfinished("here-document without its end".into()));
        };
        let tail: String = self.text.get(first..).unwrap_or_default().iter().collect();
        let (mut body, mut taken) = (String::new(), 0);
        for line in tail.split_inclusive('\n') {
            taken += line.chars().count();
            let line = if indented { line.trim_start_matches('\t') } else { line };
            if line.trim_end_matches('\n') == end {
                self.text.drain(first..first + taken);
                if literal {
                    return Ok(vec![Part::Text(body, true)]);
                }
                let mut inner = Parser { text: body.chars().collect(), at: 0, depth: self.depth };
                return inner.quoted(None);
            }
            body.push_str(line);
        }
        Err(Flaw::Unfinished("here-document without its end".into()))
    }

    /// The word after the operator of `${NAME…}`, up to `}`.
    pub(super) fn change(&mut self) -> Parsed<(Change, Word)> {
        let colon = self.eat(":");
        let change = match self.next() {
            Some('}') if !colon => return Ok((Change::None, Vec::new())),
            Some('-') => Change::Default(colon),
            Some('=') => Change::Assign(colon),
            Some('+') => Change::Instead(colon),
            Some('?') => Change::Require(colon),
            Some('#') if !colon => Change::Trim { suffix: false, longest: self.eat("#") },
            Some('%') if !colon => Change::Trim { suffix: true, longest: self.eat("%") },
            None => return Err(Flaw::Unfinished("unexpected end of file (expecting \"}\")".into())),
            Some(_) => return Err(Flaw::Wrong("bad substitution".into())),
        };
        let word = self.word_until(Some('}'))?;
        if !self.eat("}") {
            return Err(Flaw::Unfinished("unexpected end of file (expecting \"}\")".into()));
        }
        Ok((change, word))
    }
}
