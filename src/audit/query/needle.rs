//! The prefilter: bytes that a line must hold if it is to match. It may let others through; it never keeps one out.
//!
//! JSON may write any character as an escape, so a line that holds one which could hide a needle passes too.

use memchr::memchr;
use memchr::memmem::Finder;

/// Shortest text that is worth looking for.
const SHORTEST: usize = 3;
/// Longest text that is looked for at full speed.
const LONGEST: usize = 32;

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
pub struct Needles {
    filters: Vec<Vec<Needle>>,
}

impl Needles {
    /// Adds a filter; each text with what stands before and after it in an Event's own JSON (`"` and `"` for a whole
    /// string). A filter with a text of which nothing can be looked for holds nothing back.
    pub fn filter<'a>(&mut self, texts: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
        let needles: Option<Vec<_>> = texts.map(|(before, text, after)| needle(before, text, after)).collect();
        if let Some(needles) = needles.filter(|n| !n.is_empty()) {
            self.filters.push(needles);
            // The longest text is likely the rarest: the first filter decides for most lines.
            self.filters.sort_by_key(|n| std::cmp::Reverse(n.iter().map(|n| n.own.needle().len()).min()));
        }
    }

    /// Whether every line may match.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether the line may match. `own`: it has the shape of the API server's own lines.
    pub fn may_match(&self, line: &[u8], own: bool) -> bool {
        self.filters.iter().all(|texts| {
            let holds = |n: &Needle| if own { n.own.find(line) } else { n.any.find(line) }.is_some();
            texts.iter().any(holds)
                || texts.iter().any(|n| may_hide(line, if own { n.own.needle() } else { n.any.needle() }))
        })
    }

    /// For the lines of a block, in their order: which of them need be looked at.
    pub fn ahead<'b>(&'b self, block: &'b [u8]) -> Ahead<'b> {
        let texts = self.filters.first().map_or(&[][..], Vec::as_slice);
        let mut hidden = [false; 256];
        for byte in texts.iter().flat_map(|n| n.own.needle()) {
            hidden[usize::from(*byte)] = true;
        }
        let ahead = texts.iter().map(|text| Next { finder: Some(&text.own), at: None });
        let escape = Some(Next { finder: None, at: None }).filter(|_| !texts.is_empty());
        Ahead { block, hidden, ahead: ahead.chain(escape).collect() }
    }
}

/// Looks through a block once, rather than through each of its lines.
pub struct Ahead<'b> {
    block: &'b [u8],
    /// Bytes of the texts, which an escape may stand for.
    hidden: [bool; 256],
    /// Empty: every line may match.
    ahead: Vec<Next<'b>>,
}

/// Where a text is found next, or else an escape that stands for one of the bytes.
struct Next<'b> {
    finder: Option<&'b Finder<'static>>,
    at: Option<usize>,
}

impl Ahead<'_> {
    /// Whether the line that lies there may match the first filter. Lines are asked for in their order.
    pub fn may_match(&mut self, line: std::ops::Range<usize>) -> bool {
        let mut may = self.ahead.is_empty();
        for next in &mut self.ahead {
            let at = match next.at.filter(|at| *at >= line.start) {
                Some(at) => at,
                None => {
                    let rest = &self.block[line.start..];
                    let found = match next.finder {
                        Some(finder) => finder.find(rest),
                        None => hiding_escape(rest, |byte| self.hidden[usize::from(byte)]),
                    };
                    *next.at.insert(found.map_or(usize::MAX, |at| line.start + at))
                }
            };
            may |= at < line.end;
        }
        may
    }
}

/// Where the first escape is that stands for one of such bytes.
fn hiding_escape(text: &[u8], of: impl Fn(u8) -> bool) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr(b'\\', text.get(from..)?)?;
        let stands_for = match text.get(at + 1)? {
            b'u' => hides(text, at + 2),
            b'/' => Some(b'/'),
            _ => None,
        };
        if stands_for.is_some_and(&of) {
            return Some(at);
        }
        // An escaped backslash may begin an escape of the JSON inside a string.
        from = at + 1;
    }
}

/// The character that an escape's four digits stand for, if it is one of ASCII or Latin 1.
fn hides(text: &[u8], digits: usize) -> Option<u8> {
    let code = text.get(digits..digits + 4).and_then(|hex| std::str::from_utf8(hex).ok())?;
    u8::from_str_radix(code, 16).ok()
}

/// Characters that no JSON writer need escape, and of which a needle is made.
fn safe(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>' | '&' | '\'')
}

fn needle(before: &str, text: &str, after: &str) -> Option<Needle> {
    let run = text.split(|c| !safe(c)).max_by_key(|run| run.len()).filter(|run| run.len() >= SHORTEST)?;
    let own = if run.len() == text.len() { format!("{before}{run}{after}") } else { run.to_owned() };
    // What is rare stands at the end: `system:serviceaccount:` begins many.
    let own = &own[own.len().saturating_sub(LONGEST)..];
    Some(Needle { own: Finder::new(own).into_owned(), any: Finder::new(run).into_owned() })
}

/// Whether an escape in the line stands for a character of the needle.
fn may_hide(line: &[u8], needle: &[u8]) -> bool {
    hiding_escape(line, |byte| needle.contains(&byte)).is_some()
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
        assert!(needles.may_match(br#"\"ns/ch\\u0065ckout\""#, false), "an escape inside a string");
    }

    #[test]
    fn through_a_block_as_through_each_of_its_lines() {
        let lines = [
            r#""ns/checkout""#,
            r#""other""#,
            r#""ns\/checkout" "\u003c""#,
            "",
            r#""a\u003cb""#,
            r#""ns/ch\u0065ckout""#,
            r#""\u00""#,
            r#""beta" \u003c \u0062eta"#,
            r#""\/""#,
        ];
        let mut several = quoted(&["ns/checkout", "beta"]);
        several.filter(std::iter::once(("", "her", "")));
        for needles in [quoted(&["ns/checkout"]), quoted(&["beta", "other"]), quoted(&["ø"]), several] {
            let block = lines.join("\n");
            let mut ahead = needles.ahead(block.as_bytes());
            let mut at = 0;
            for line in lines {
                let may = ahead.may_match(at..at + line.len());
                assert!(may || !needles.may_match(line.as_bytes(), true), "{line}");
                at += line.len() + 1;
            }
        }
        let block = b"one checkout\ntwo\nthree checkout\n";
        let needles = quoted(&["checkout"]);
        let mut ahead = needles.ahead(block);
        let none = [0..12, 13..16, 17..31].map(|line| ahead.may_match(line));
        assert_eq!(none, [false; 3], "without its quotes it is another's");
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
