//! What most events leave, read from a line of the API server's own shape without parsing all of it as JSON.
//!
//! Where the shape is the API server's own to the last byte, the answer is the parser's: keys in its order, no spaces, no
//! key that is not known, escapes only where a text is not looked at, bodies checked as JSON. Anything else is left to
//! the parser; so what is damaged is found by it, and nobody can hide in a shape of their own.

use std::borrow::Cow;

use memchr::{memchr2, memmem};
use serde_json::value::RawValue;

use super::event::{Level, Origin, Stage, allowed};
use super::glance::{Glance, Micros};

/// One line's request, in brief: all that it says but its groups, texts and bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief<'a> {
    pub(super) stage: Stage,
    pub(super) level: Level,
    pub(super) audit_id: &'a str,
    pub(super) verb: &'a str,
    pub(super) uri: Cow<'a, str>,
    /// The keys that say who asks, from where, with what, as they stand in the line, without braces.
    pub(super) caller: &'a str,
    pub(super) object: Option<BriefObject<'a>>,
    pub(super) code: Option<u16>,
    /// The request's body is there.
    pub(super) body: bool,
    pub(super) received: Micros,
    pub(super) staged: Micros,
    /// See [`super::Event::allowed`].
    pub(super) allowed: Option<bool>,
    /// It tells of a credential that was issued.
    pub(super) issued: bool,
    pub(super) truncated: bool,
    pub(super) origin: Origin,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct BriefObject<'a> {
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub name: &'a str,
}

impl<'a> Brief<'a> {
    /// None: not of the API server's own shape to the last byte.
    pub(super) fn read(line: &'a str, glance: &Glance<'a>, origin: Origin) -> Option<Brief<'a>> {
        // No JSON text holds a control character; the parser says what is wrong with one that does.
        if line.bytes().fold(u8::MAX, u8::min) < b' ' {
            return None;
        }
        let places = glance.places;
        let head = line.get(places.caller..places.times)?;
        let end = match places.object {
            Some(object) => object - places.caller,
            None => memmem::find(head.as_bytes(), br#""responseStatus":{"#).unwrap_or(head.len()),
        };
        let caller = head.get(..end)?.strip_prefix(',')?.strip_suffix(',')?;
        let mut rest = Rest(head.get(end..)?);
        let object = match places.object {
            Some(_) => Some(rest.object()?),
            None => None,
        };
        let code = if rest.eat(r#""responseStatus":{"metadata":{}"#) { rest.status()? } else { None };
        let body = rest.eat(r#""requestObject":"#);
        if body {
            rest.body()?;
        }
        if rest.eat(r#""responseObject":"#) {
            rest.body()?;
        }
        if !rest.0.is_empty() {
            return None;
        }
        let notes = Rest(line.get(places.tail..)?).annotations()?;
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        let uri = match memchr2(b'\\', b'\\', glance.uri) {
            None => Cow::Borrowed(text(glance.uri)?),
            Some(_) => Cow::Owned(serde_json::from_str(&format!("\"{}\"", text(glance.uri)?)).ok()?),
        };
        Some(Brief {
            stage: glance.stage,
            level: glance.level,
            audit_id: text(glance.audit_id)?,
            verb: text(glance.verb)?,
            uri,
            caller,
            object,
            code,
            body,
            received: glance.received,
            staged: glance.staged,
            allowed: allowed(notes.decision, code),
            issued: notes.issued,
            truncated: notes.truncated,
            origin,
        })
    }

    /// Whether the name of who authenticated begins so; None if that can't be told without the parser.
    pub fn user_begins(&self, with: &str) -> Option<bool> {
        let (name, _) = plain(self.caller.strip_prefix(r#""user":{"username":""#)?)?;
        Some(name.starts_with(with))
    }
}

/// Annotations that matter here.
#[derive(Default)]
struct Notes<'a> {
    decision: Option<&'a str>,
    issued: bool,
    truncated: bool,
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn eat(&mut self, what: &str) -> bool {
        match self.0.strip_prefix(what) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    /// The value of a key with a text that holds no escape; empty if the key is not next.
    fn field(&mut self, key: &str) -> Option<&'a str> {
        if !self.eat(key) {
            return Some("");
        }
        let (value, rest) = plain(self.0)?;
        self.0 = rest;
        Some(value)
    }

    /// From `"objectRef"` to behind the comma after it.
    fn object(&mut self) -> Option<BriefObject<'a>> {
        if !self.eat(r#""objectRef":{"resource":""#) {
            return None;
        }
        let resource = self.field("")?;
        self.field(r#","namespace":""#)?;
        let name = self.field(r#","name":""#)?;
        self.field(r#","uid":""#)?;
        let group = self.field(r#","apiGroup":""#)?;
        self.field(r#","apiVersion":""#)?;
        self.field(r#","resourceVersion":""#)?;
        let subresource = self.field(r#","subresource":""#)?;
        self.eat("},").then_some(BriefObject { group, resource, subresource, name })
    }

    /// From behind the status's metadata to behind the comma after it. The code, if it is one.
    fn status(&mut self) -> Option<Option<u16>> {
        self.field(r#","status":""#)?;
        if self.eat(r#","message":""#) {
            self.0 = quoted(self.0)?.1;
        }
        self.field(r#","reason":""#)?;
        if self.eat(r#","details":"#) {
            self.value()?;
        }
        let mut code = None;
        if self.eat(r#","code":"#) {
            let end = self.0.bytes().position(|b| !b.is_ascii_digit())?;
            // What is longer, has a sign or begins with a zero is the parser's.
            let digits = self.0.get(..end).filter(|d| (1..=4).contains(&d.len()) && !d.starts_with('0'))?;
            code = digits.parse().ok();
            self.0 = self.0.get(end..)?;
        }
        self.eat("},").then_some(code)
    }

    /// A body and the comma after it.
    fn body(&mut self) -> Option<()> {
        self.value()?;
        self.eat(",").then_some(())
    }

    /// An object or a list, checked as JSON.
    fn value(&mut self) -> Option<()> {
        if !self.0.starts_with(['{', '[']) {
            return None;
        }
        let mut values = serde_json::Deserializer::from_str(self.0).into_iter::<&RawValue>();
        values.next()?.ok()?;
        self.0 = self.0.get(values.byte_offset()..)?;
        Some(())
    }

    /// All that follows the times.
    fn annotations(mut self) -> Option<Notes<'a>> {
        let mut notes = Notes::default();
        if self.0 == "}" {
            return Some(notes);
        }
        if !self.eat(r#","annotations":{""#) {
            return None;
        }
        loop {
            let (key, rest) = plain(self.0)?;
            self.0 = rest;
            if !self.eat(":\"") {
                return None;
            }
            let (value, rest) = quoted(self.0)?;
            self.0 = rest;
            match key {
                "authorization.k8s.io/decision" if notes.decision.is_none() && !value.contains('\\') => {
                    notes.decision = Some(value);
                }
                "authorization.k8s.io/decision" => return None,
                "authentication.kubernetes.io/issued-credential-id" => notes.issued = true,
                "audit.k8s.io/truncated" if value == "true" => notes.truncated = true,
                "audit.k8s.io/truncated" => return None,
                _ => {}
            }
            if !self.eat(",\"") {
                return (self.0 == "}}").then_some(notes);
            }
        }
    }
}

/// Up to the quote; None if the text holds an escape.
fn plain(text: &str) -> Option<(&str, &str)> {
    let end = memchr2(b'"', b'\\', text.as_bytes())?;
    (text.as_bytes()[end] == b'"').then(|| (&text[..end], &text[end + 1..]))
}

/// Up to the quote that ends a text in which every escape is one that JSON has.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        let end = at + memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[end] == b'"' {
            return Some((&text[..end], &text[end + 1..]));
        }
        at = end
            + match bytes.get(end + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                // Of four digits only those that are no half of a pair, which would have to be whole.
                b'u' => {
                    let digits = bytes.get(end + 2..end + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) || matches!(digits[0], b'd' | b'D') {
                        return None;
                    }
                    6
                }
                _ => return None,
            };
    }
}

#[cfg(test)]
mod tests;
