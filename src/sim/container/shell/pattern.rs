//! Patterns: `*`, `?`, `[…]`.

/// A character, and whether it was quoted and so means itself.
pub type Mark = (char, bool);

/// Whether the whole text fits.
pub fn fits(pattern: &[Mark], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it took.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let one = pattern.get(p);
        if let Some(('*', false)) = one {
            star = Some((p, t));
            p += 1;
            continue;
        }
        let step = match (one, text.get(t)) {
            (None, None) => return true,
            (Some(mark), Some(c)) => single(pattern.get(p..).unwrap_or_default(), *mark, *c),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                t += 1;
            }
            (None, Some((at, taken))) if taken < text.len() => {
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
            _ => return false,
        }
    }
}

/// How many characters of the pattern the one character fits.
fn single(pattern: &[Mark], mark: Mark, c: char) -> Option<usize> {
    match mark {
        ('?', false) => Some(1),
        ('[', false) => match bracket(pattern, c) {
            Some((length, inside)) => inside.then_some(length),
            None => (c == '[').then_some(1),
        },
        (own, _) => (own == c).then_some(1),
    }
}

/// The length of a bracket expression, and whether the character is in it; None when it is none.
fn bracket(pattern: &[Mark], c: char) -> Option<(usize, bool)> {
    let mut at = 1;
    let not = matches!(pattern.get(at), Some(('!' | '^', false)));
    at += usize::from(not);
    let (begin, mut inside) = (at, false);
    loop {
        let (from, quoted) = *pattern.get(at)?;
        if from == ']' && !quoted && at > begin {
            return Some((at + 1, inside != not));
        }
        if from == '[' && pattern.get(at + 1) == Some(&(':', false)) {
            let rest = pattern.get(at + 2..)?;
            let end = rest.iter().position(|m| m.0 == ':')?;
            let class: String = rest.get(..end)?.iter().map(|m| m.0).collect();
            inside |= in_class(&class, c);
            at += end + 4;
            continue;
        }
        let range =
            matches!(pattern.get(at + 1), Some(('-', false))) && pattern.get(at + 2).is_some_and(|m| m.0 != ']');
        let to = if range { pattern.get(at + 2)?.0 } else { from };
        inside |= (from..=to).contains(&c);
        at += if range { 3 } else { 1 };
    }
}

/// Whether it is in `[:class:]`.
pub fn in_class(class: &str, c: char) -> bool {
    match class {
        "alpha" => c.is_alphabetic(),
        "digit" => c.is_ascii_digit(),
        "alnum" => c.is_alphanumeric(),
        "space" => c.is_whitespace(),
        "upper" => c.is_uppercase(),
        "lower" => c.is_lowercase(),
        "punct" => c.is_ascii_punctuation(),
        "print" => !c.is_control(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*b*c", "aXXbYc", true),
            ("a*b", "aXbY", false),
            ("?", "ü", true),
            ("[!.]*", ".a", false),
            ("[a-c]x", "bx", true),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[[:digit:]]*", "7a", true),
            ("*\n./a\n*", "\n./b\n./a\n", true),
        ] {
            let marks: Vec<Mark> = pattern.chars().map(|c| (c, false)).collect();
            assert_eq!(fits(&marks, &text.chars().collect::<Vec<_>>()), expected, "{pattern} {text}");
        }
        assert!(!fits(&[('*', true)], &['a']));
    }
}
