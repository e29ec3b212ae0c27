//! The prefilter: bytes that a line must hold if it is to match. It may let others through; it never keeps one out.
//!
//! JSON may write any character as an escape, so a line that holds one which could hide a needle passes too.

use memchr::memmem::{self, Finder};

/// Shortest text that is worth looking for.
const SHORTEST: usize = 3;

/// One text that is looked for.
#[derive(Debug, Clone)]
struct Needle {
    /// As it stands in a line of the API server's own.
    own: Finder<'static>,
    /// As it stands in any form.
    any: Finder<'static>,
}

/// Per filter, the texts of which a line must hold one. Nothing in it: every line may match.
#[derive(Debug, Clone, Default)]
pub struct Needles(Vec<Vec<Needle>>);

impl Needles {
    /// Adds a filter; each text with what stands before and after it in an Event's own JSON (`"` and `"` for a whole
    /// string). A filter with a text of which nothing can be looked for holds nothing back.
    pub fn filter<'a>(&mut self, texts: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
        let needles: Option<Vec<_>> = texts.map(|(before, text, after)| needle(before, text, after)).collect();
        if let Some(needles) = needles.filter(|n| !n.is_empty()) {
            self.0.push(needles);
            // The longest text is likely the rarest: the first filter decides for most lines.
            self.0.sort_by_key(|n| std::cmp::Reverse(n.iter().map(|n| n.own.needle().len()).min()));
        }
    }

    /// Whether every line may match.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the line may match. `own`: it has the shape of the API server's own lines.
    pub fn may_match(&self, line: &[u8], own: bool) -> bool {
        self.0.iter().all(|texts| {
            let holds = |n: &Needle| if own { n.own.find(line) } else { n.any.find(line) }.is_some();
            texts.iter().any(holds)
                || texts.iter().any(|n| may_hide(line, if own { n.own.needle() } else { n.any.needle() }))
        })
    }
}

/// Characters that no JSON writer need escape, and of which a needle is made.
fn safe(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>' | '&' | '\'')
}

fn needle(before: &str, text: &str, after: &str) -> Option<Needle> {
    let run = text.split(|c| !safe(c)).max_by_key(|run| run.len()).filter(|run| run.len() >= SHORTEST)?;
    let own = if run.len() == text.len() { format!("{before}{run}{after}") } else { run.to_owned() };
    Some(Needle { own: Finder::new(&own).into_owned(), any: Finder::new(run).into_owned() })
}

/// Whether an escape in the line stands for a character of the needle.
fn may_hide(line: &[u8], needle: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = memmem::find(&line[from..], b"\\u") {
        from += at + 2;
        let code = line.get(from..from + 4).and_then(|hex| std::str::from_utf8(hex).ok());
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if needle.contains(&byte) => return true,
            _ => {}
        }
    }
    needle.contains(&b'/') && memmem::find(line, b"\\/").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(texts: &[&str]) -> Needles {
        let mut needles = Needles::default();
        needles.filter(texts.iter().map(|t| ("\"", *t, "\"")));
        needles
    }

    #[test]
    fn escapes_hide_nothing_and_what_go_escapes_is_no_alarm() {
        let needles = quoted(&["ns/checkout"]);
        for line in [
            r#""ns/checkout""#,
            r#""ns\/checkout""#,
            r#""ns/ch\u0065ckout""#,
            r#""\u006es/checkout""#,
            r#""ns\u002Fcheckout""#,
        ] {
            assert!(needles.may_match(line.as_bytes(), true), "{line}");
        }
        for line in [r#""ns/checkout2""#, r#""a\u003cb\u0026""#, r#""\n\t\"""#, r#""\u"#, r#""é""#] {
            assert!(!needles.may_match(line.as_bytes(), true), "{line}");
        }
        assert!(needles.may_match(br#"\"ns/checkout\""#, false), "a line inside a string");
    }

    #[test]
    fn what_can_not_be_looked_for_holds_nothing_back() {
        assert!(quoted(&["ø"]).is_empty() && quoted(&["checkout", "ab"]).is_empty());
        assert!(quoted(&["søren@example.org"]).may_match("\"s\\u00f8ren@example.org\"".as_bytes(), true));
        let mut both = quoted(&["alpha", "beta"]);
        both.filter(std::iter::once(("", "gamma", "")));
        assert!(both.may_match(b"\"beta\" gamma", true) && !both.may_match(b"\"beta\"", true));
        assert!(!both.may_match(b"gamma", true));
    }
}
