//! Cuts a stream of JSON into its records: whole objects, or the elements of a list that holds records.

use memchr::memchr2;

use super::LISTS;
use crate::audit::MAX_LINE;

/// A record, or what can't be one.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// An object, from its first brace to its last.
    Whole {
        /// Where it begins.
        offset: u64,
        /// Its text.
        bytes: &'a [u8],
    },
    /// Not taken.
    Broken {
        /// Where it begins.
        offset: u64,
        /// Why.
        what: &'static str,
    },
}

/// The state between two blocks; memory is bounded by [`MAX_LINE`].
#[derive(Debug, Default)]
pub struct Splitter {
    depth: u32,
    string: bool,
    escaped: bool,
    piece: Option<Piece>,
    /// Depth inside the list whose elements are records.
    list: Option<u32>,
    /// The last string directly in the outermost object, and whether a colon came after it.
    last: Vec<u8>,
    key: bool,
    stray: bool,
}

#[derive(Debug)]
struct Piece {
    offset: u64,
    depth: u32,
    bytes: Vec<u8>,
    too_long: bool,
}

impl Splitter {
    /// Takes the next block, which begins at byte `at` of the stream.
    pub fn feed(&mut self, at: u64, block: &[u8], tell: &mut dyn FnMut(Part<'_>)) {
        // Where in this block the piece's bytes that are not kept yet begin.
        let mut from = 0;
        let mut i = 0;
        while i < block.len() {
            let byte = block[i];
            if self.escaped {
                self.escaped = false;
                i += 1;
                continue;
            }
            if self.string {
                let to = memchr2(b'"', b'\\', &block[i..]).map_or(block.len(), |n| i + n);
                if self.depth == 1 && self.last.len() < 32 {
                    self.last.extend_from_slice(&block[i..to.min(i + 32)]);
                }
                i = to;
                match block.get(i) {
                    Some(b'"') => self.string = false,
                    Some(_) => self.escaped = true,
                    None => break,
                }
                i += 1;
                continue;
            }
            match byte {
                b'"' => {
                    self.string = true;
                    if self.depth == 1 {
                        self.last.clear();
                    }
                    self.key = false;
                }
                b':' => self.key = true,
                b'{' | b'[' => {
                    let lists = self.depth == 1
                        && byte == b'['
                        && self.key
                        && self.list.is_none()
                        && LISTS.iter().any(|l| l.as_bytes() == self.last);
                    if lists {
                        self.piece = None;
                        self.list = Some(2);
                    } else if self.piece.is_none() {
                        if byte == b'[' && self.depth == 0 {
                            self.list = Some(1);
                        } else if self.depth == 0 || self.list == Some(self.depth) {
                            from = i;
                            let offset = at + i as u64;
                            self.piece = Some(Piece { offset, depth: self.depth, bytes: Vec::new(), too_long: false });
                        }
                    }
                    self.depth += 1;
                    self.key = false;
                    self.stray = false;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.piece.as_ref().is_some_and(|p| p.depth >= self.depth)
                        && let Some(piece) = self.piece.take()
                    {
                        piece.end(&block[from.min(i)..=i], tell);
                    }
                    if self.list.is_some_and(|list| self.depth < list) {
                        self.list = None;
                    }
                    self.key = false;
                }
                b if b.is_ascii_whitespace() || b == b',' => {}
                _ => {
                    self.key = false;
                    if self.depth == 0 && !self.stray {
                        self.stray = true;
                        tell(Part::Broken { offset: at + i as u64, what: "not JSON" });
                    }
                }
            }
            i += 1;
        }
        if let Some(piece) = &mut self.piece {
            piece.keep(&block[from..]);
        }
    }

    /// The stream has ended.
    pub fn finish(&mut self, tell: &mut dyn FnMut(Part<'_>)) {
        if let Some(piece) = self.piece.take() {
            tell(Part::Broken { offset: piece.offset, what: "the file ends in the middle of it" });
        }
    }
}

impl Piece {
    fn keep(&mut self, bytes: &[u8]) {
        if self.too_long || self.bytes.len() + bytes.len() > MAX_LINE {
            self.too_long = true;
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn end(mut self, rest: &[u8], tell: &mut dyn FnMut(Part<'_>)) {
        let offset = self.offset;
        if self.bytes.is_empty() && !self.too_long && rest.len() <= MAX_LINE {
            return tell(Part::Whole { offset, bytes: rest });
        }
        self.keep(rest);
        tell(match self.too_long {
            true => Part::Broken { offset, what: "longer than 32 MiB" },
            false => Part::Whole { offset, bytes: &self.bytes },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str, block: usize) -> Vec<(u64, String)> {
        let (mut splitter, mut found) = (Splitter::default(), Vec::new());
        let mut take = |part: Part<'_>| match part {
            Part::Whole { offset, bytes } => found.push((offset, String::from_utf8(bytes.to_vec()).unwrap())),
            Part::Broken { offset, what } => found.push((offset, format!("!{what}"))),
        };
        for (n, piece) in text.as_bytes().chunks(block).enumerate() {
            splitter.feed((n * block) as u64, piece, &mut take);
        }
        splitter.finish(&mut take);
        found
    }

    #[test]
    fn records_are_the_same_however_the_stream_is_cut() {
        let text = r#" {"a":"}{\"","x":[1,{}]} {"b":{"items":[{"no":1}]}}
            [ {"c":1},{"d":[2]} ]{"kind":"EventList","items" : [{"e":1} , {"f":"]"}],"more":{"g":[]}} {"h":"#;
        let whole = split(text, text.len());
        let texts: Vec<&str> = whole.iter().map(|(_, t)| t.as_str()).collect();
        assert_eq!(
            texts,
            [
                r#"{"a":"}{\"","x":[1,{}]}"#,
                r#"{"b":{"items":[{"no":1}]}}"#,
                r#"{"c":1}"#,
                r#"{"d":[2]}"#,
                r#"{"e":1}"#,
                r#"{"f":"]"}"#,
                "!the file ends in the middle of it"
            ]
        );
        for (offset, piece) in whole.iter().filter(|(_, t)| !t.starts_with('!')) {
            assert!(text[usize::try_from(*offset).unwrap()..].starts_with(piece.as_str()));
        }
        for block in 1..40 {
            assert_eq!(split(text, block), whole, "{block}");
        }
    }

    #[test]
    fn garbage_is_told_once_and_records_go_on_after_it() {
        let found = split("xx yy }} {\"a\":1} \u{0} {\"b\":2}", 7);
        let texts: Vec<&str> = found.iter().map(|(_, t)| t.as_str()).collect();
        assert_eq!(texts, ["!not JSON", "{\"a\":1}", "!not JSON", "{\"b\":2}"]);
    }
}
