//! The prefilter: bytes that a line must hold if it is to match. It may let others through; it never keeps one out.
//!
//! JSON may write any character as an escape, so a line that holds one which could hide a needle passes too.

use std::ops::Range;

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

/// Where in a line of the API server's own a text can only stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Among who asks, from where and with what: what follows the verb, before the object.
    Caller,
    /// Anywhere.
    Line,
}

/// The texts of which a line must hold one.
#[derive(Debug, Clone)]
struct Filter {
    part: Part,
    texts: Vec<Needle>,
}

/// All filters. Nothing in it: every line may match.
#[derive(Debug, Clone, Default)]
pub struct Needles {
    filters: Vec<Filter>,
}

impl Needles {
    /// Adds a filter; each text with what stands before and after it in an Event's own JSON (`"` and `"` for a whole
    /// string). A filter with a text of which nothing can be looked for holds nothing back.
    pub fn filter<'a>(&mut self, part: Part, texts: impl Iterator<Item = (&'a str, &'a str, &'a str)>) {
        let needles: Option<Vec<_>> = texts.map(|(before, text, after)| needle(before, text, after)).collect();
        if let Some(texts) = needles.filter(|n| !n.is_empty()) {
            self.filters.push(Filter { part, texts });
            // The shortest part first; and the longest text is likely the rarest: the first filter decides for most lines.
            let shortest = |f: &Filter| f.texts.iter().map(|n| n.own.needle().len()).min();
            self.filters.sort_by_key(|f| (f.part, std::cmp::Reverse(shortest(f))));
        }
    }

    /// Whether every line may match.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether a text in any form may match.
    pub fn may_match(&self, text: &[u8]) -> bool {
        self.filters.iter().all(|filter| filter.may_match(text, |needle| &needle.any))
    }

    /// Whether a line of the API server's own shape may match; `caller` is where that part lies in it.
    pub fn may_match_own(&self, line: &[u8], caller: Range<usize>, ahead: &mut Ahead<'_>, at: Range<usize>) -> bool {
        let (callers, lines) = self.filters.split_at(self.callers());
        callers.iter().all(|filter| filter.may_match(&line[caller.clone()], |needle| &needle.own))
            && ahead.may_match(at)
            && lines.iter().all(|filter| filter.may_match(line, |needle| &needle.own))
    }

    fn callers(&self) -> usize {
        self.filters.partition_point(|filter| filter.part == Part::Caller)
    }

    /// For the lines of a block, in their order: which of them need be looked at.
    pub fn ahead<'b>(&'b self, block: &'b [u8]) -> Ahead<'b> {
        let texts = self.filters.get(self.callers()).map_or(&[][..], |filter| &filter.texts);
        let mut hidden = [false; 256];
        for byte in texts.iter().flat_map(|n| n.own.needle()) {
            hidden[usize::from(*byte)] = true;
        }
        let ahead = texts.iter().map(|text| Next { finder: Some(&text.own), at: None });
        let escape = Some(Next { finder: None, at: None }).filter(|_| !texts.is_empty());
        Ahead { block, hidden, ahead: ahead.chain(escape).collect() }
    }
}

impl Filter {
    fn may_match(&self, text: &[u8], of: impl Fn(&Needle) -> &Finder<'static>) -> bool {
        self.texts.iter().any(|needle| of(needle).find(text).is_some())
            || memchr(b'\\', text)
                .is_some_and(|first| self.texts.iter().any(|needle| may_hide(&text[first..], of(needle).needle())))
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
    /// Whether the line that lies there may match the first filter of whole lines. Lines are asked for in their order.
    pub fn may_match(&mut self, line: Range<usize>) -> bool {
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
    let [b'0', b'0', high, low] = text.get(digits..digits + 4)? else { return None };
    let digit = |b: &u8| char::from(*b).to_digit(16).and_then(|n| u8::try_from(n).ok());
    Some(digit(high)? << 4 | digit(low)?)
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
        needles.filter(Part::Line, texts.iter().map(|t| ("\"", *t, "\"")));
        needles
    }

    fn own(needles: &Needles, line: &str) -> bool {
        let line = line.as_bytes();
        needles.may_match_own(line, 0..0, &mut needles.ahead(line), 0..line.len())
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
            assert!(own(&needles, line), "{line}");
        }
        for line in [r#""ns/checkout2""#, r#""a\u003cb\u0026""#, r#""\n\t\"""#, r#""\u"#, r#""é""#] {
            assert!(!own(&needles, line), "{line}");
        }
        assert!(needles.may_match(br#"\"ns/checkout\""#), "a line inside a string");
        assert!(needles.may_match(br#"\"ns/ch\\u0065ckout\""#), "an escape inside a string");
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
        several.filter(Part::Line, std::iter::once(("", "her", "")));
        for needles in [quoted(&["ns/checkout"]), quoted(&["beta", "other"]), quoted(&["ø"]), several] {
            let block = lines.join("\n");
            let mut ahead = needles.ahead(block.as_bytes());
            let mut at = 0;
            for line in lines {
                let may = ahead.may_match(at..at + line.len());
                assert!(may || !own(&needles, line), "{line}");
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
        assert!(own(&quoted(&["søren@example.org"]), "\"s\\u00f8ren@example.org\""));
        let mut both = quoted(&["alpha", "beta"]);
        both.filter(Part::Line, std::iter::once(("", "gamma", "")));
        assert!(own(&both, "\"beta\" gamma") && !own(&both, "\"beta\"") && !own(&both, "gamma"));
    }

    #[test]
    fn who_asks_is_looked_for_where_it_stands_and_anywhere_in_another_form() {
        let mut needles = quoted(&["pods"]);
        needles.filter(Part::Caller, std::iter::once(("\"", "ns/checkout", "\"")));
        let look = |line: &str| {
            let caller = line.find('<').unwrap()..line.find('>').unwrap();
            needles.may_match_own(line.as_bytes(), caller, &mut needles.ahead(line.as_bytes()), 0..line.len())
        };
        assert!(look(r#"<"ns/checkout"> "pods""#) && look(r#"<"ns/ch\u0065ckout"> "p\u006fds""#));
        assert!(!look(r#"<"other"> "ns/checkout" "pods""#) && !look(r#"<"ns/checkout"> "secrets""#));
        assert!(needles.may_match(br#"<> \"ns/checkout\" \"pods\""#));
    }
}
