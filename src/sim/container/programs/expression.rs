//! Regular expressions of one line: `.`, `[…]`, `^`, `$`, `*`, and with `-E` also `+`, `?` and `|` between whole ones.

use super::super::shell::pattern::fits;

enum One {
    Any,
    Char(char),
    /// A bracket expression, in the form of a path's pattern.
    Set(Vec<(char, bool)>),
}

struct Item {
    one: One,
    least: usize,
    most: usize,
}

/// One that text is searched for.
pub struct Expression {
    choices: Vec<(bool, Vec<Item>, bool)>,
    fold: bool,
}

impl Expression {
    /// Of that text; `extended` as with `-E`, `fixed` as with `-F`, `fold` as with `-i`.
    pub fn new(text: &str, extended: bool, fixed: bool, fold: bool) -> Expression {
        let text = if fold { text.to_lowercase() } else { text.to_string() };
        let text = if fixed || extended { text } else { text.replace("\\|", "\n") };
        let between = if fixed {
            '\n'
        } else if extended {
            '|'
        } else {
            '\n'
        };
        let choices = text.split(between).map(|part| {
            let mut part = part;
            let begin = !fixed && part.starts_with('^');
            part = part.get(usize::from(begin)..).unwrap_or_default();
            let end = !fixed && part.ends_with('$') && !part.ends_with("\\$");
            part = part.get(..part.len() - usize::from(end)).unwrap_or_default();
            (begin, items(part, extended, fixed), end)
        });
        Expression { choices: choices.collect(), fold }
    }

    /// The first part of the line that fits.
    pub fn find(&self, line: &str) -> Option<String> {
        let folded = if self.fold { line.to_lowercase() } else { line.to_string() };
        let text: Vec<char> = folded.chars().collect();
        for at in 0..=text.len() {
            for (begin, items, end) in &self.choices {
                if *begin && at > 0 {
                    continue;
                }
                if let Some(to) = matched(items, &text, at, *end) {
                    return Some(line.chars().skip(at).take(to - at).collect());
                }
            }
        }
        None
    }
}

fn items(text: &str, extended: bool, fixed: bool) -> Vec<Item> {
    let mut all: Vec<Item> = Vec::new();
    let mut chars = text.chars().peekable();
    // Each is a call of the search.
    while let Some(c) = chars.next().filter(|_| all.len() < 500) {
        let repeat = match c {
            '*' if !fixed => Some((0, usize::MAX)),
            '+' if extended => Some((1, usize::MAX)),
            '?' if extended => Some((0, 1)),
            _ => None,
        };
        if let (Some((least, most)), Some(item)) = (repeat, all.last_mut()) {
            (item.least, item.most) = (least, most);
            continue;
        }
        let one = match c {
            _ if fixed => One::Char(c),
            '.' => One::Any,
            '\\' => One::Char(chars.next().unwrap_or('\\')),
            // Groups only hold things together, which nothing here needs.
            '(' | ')' if extended => continue,
            '[' => {
                let mut set = vec![(c, false)];
                while let Some(next) = chars.next() {
                    set.push((next, false));
                    let first = set.len() == 2 || set.len() == 3 && set.get(1).is_some_and(|m| m.0 == '^');
                    if next == '[' && chars.peek() == Some(&':') {
                        for inner in chars.by_ref() {
                            set.push((inner, false));
                            if inner == ']' {
                                break;
                            }
                        }
                    } else if next == ']' && !first {
                        break;
                    }
                }
                One::Set(set)
            }
            other => One::Char(other),
        };
        all.push(Item { one, least: 1, most: 1 });
    }
    all
}

/// Where a match from there ends.
fn matched(items: &[Item], text: &[char], at: usize, end: bool) -> Option<usize> {
    let Some((item, rest)) = items.split_first() else { return (!end || at == text.len()).then_some(at) };
    let one = |c: &char| match &item.one {
        One::Any => true,
        One::Char(own) => own == c,
        One::Set(set) => fits(set, std::slice::from_ref(c)),
    };
    let mut count = text.get(at..).unwrap_or_default().iter().take(item.most).take_while(|c| one(c)).count();
    loop {
        if count < item.least {
            return None;
        }
        if let Some(to) = matched(rest, text, at + count, end) {
            return Some(to);
        }
        count = count.checked_sub(1)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_searched() {
        for (pattern, extended, line, expected) in [
            ("two", false, "one two", Some("two")),
            ("^two", false, "one two", None),
            ("t.*o$", false, "one two", Some("two")),
            ("[0-9]*\\.", false, "a12.b", Some("12.")),
            ("[0-9]+|x", true, "ax12", Some("x")),
            ("a+b?$", true, "caab", Some("aab")),
            ("a\\|b", false, "cb", Some("b")),
        ] {
            let found = Expression::new(pattern, extended, false, false).find(line);
            assert_eq!(found.as_deref(), expected, "{pattern} {line}");
        }
        assert!(Expression::new("A.B", false, true, true).find("xa.by").is_some());
    }
}
