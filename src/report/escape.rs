//! Text from a cluster, an alert or a bundle made safe for a terminal and for one line.

use std::borrow::Cow;

/// Shows what could move the cursor, colour, reorder or hide text as `\u{…}`: C0 and C1 controls (newline and tab too),
/// DEL, bidirectional overrides and isolates, zero-width characters, line and paragraph separators, the byte-order mark.
///
/// kubectl had to learn this as CVE-2021-25743.
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if dangerous(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

fn dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{061C}' | '\u{00AD}')
        || matches!(c, '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_moves_or_hides_gets_through() {
        assert_eq!(escape("web-7d9f æøå"), "web-7d9f æøå");
        assert_eq!(escape("a\u{1b}[2Jb\r\n\t"), "a\\u{1b}[2Jb\\r\\n\\t");
        assert_eq!(escape("\u{202e}x\u{9b}y\u{200b}"), "\\u{202e}x\\u{9b}y\\u{200b}");
        for c in (0..=0x2100u32).filter_map(char::from_u32) {
            assert!(!escape(&c.to_string()).chars().any(|c| c.is_control()), "{c:?}");
        }
    }
}
