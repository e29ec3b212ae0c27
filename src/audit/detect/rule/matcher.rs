//! Conditions on one event.

use ipnet::IpNet;
use regex::Regex;

use super::field::Field;
use crate::audit::detect::Look;

/// Characters of a pattern.
pub const MAX_PATTERN: usize = 2_000;
/// Bytes that one compiled pattern may take.
const MAX_COMPILED: usize = 1 << 20;

/// A condition.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Every one of them.
    All(Vec<Condition>),
    /// At least one.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// A field's values.
    Field {
        /// Which.
        field: Field,
        /// What of them.
        test: Test,
        /// Keys step into lists by themselves, as Sigma has it.
        implicit: bool,
    },
}

/// What is asked of a field's values.
#[derive(Debug, Clone)]
pub enum Test {
    /// One of the values is one of these.
    Is(Vec<String>),
    /// One of the values matches one of these.
    Like(Vec<Regex>),
    /// Each of these matches one of the values.
    LikeAll(Vec<Regex>),
    /// One of the values is an address in one of these.
    Within(Vec<IpNet>),
    /// There is one, or none.
    Exists(bool),
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, look: &Look) -> bool {
        match self {
            Condition::All(all) => all.iter().all(|c| c.holds(look)),
            Condition::Any(any) => any.iter().any(|c| c.holds(look)),
            Condition::Not(inner) => !inner.holds(look),
            Condition::Field { field, test: Test::Exists(wanted), implicit } => {
                field.exists(look, *implicit) == *wanted
            }
            Condition::Field { field, test, implicit } => test.holds(&field.values(look, *implicit)),
        }
    }

    /// What is cheap to ask comes first.
    pub fn ordered(self) -> Condition {
        match self {
            Condition::All(mut all) => {
                all = all.into_iter().map(Condition::ordered).collect();
                all.sort_by_key(Condition::cost);
                Condition::All(all)
            }
            Condition::Any(any) => Condition::Any(any.into_iter().map(Condition::ordered).collect()),
            Condition::Not(inner) => Condition::Not(Box::new(inner.ordered())),
            field @ Condition::Field { .. } => field,
        }
    }

    fn cost(&self) -> u8 {
        match self {
            Condition::All(of) | Condition::Any(of) => of.iter().map(Condition::cost).max().unwrap_or(0),
            Condition::Not(inner) => inner.cost(),
            Condition::Field { field, .. } => field.cost(),
        }
    }

    /// Whether it asks for a body.
    pub fn needs_body(&self) -> bool {
        self.cost() >= 3
    }
}

impl Test {
    fn holds(&self, values: &[std::borrow::Cow<'_, str>]) -> bool {
        match self {
            Test::Is(wanted) => values.iter().any(|v| wanted.iter().any(|w| w == v)),
            Test::Like(patterns) => values.iter().any(|v| patterns.iter().any(|p| p.is_match(v))),
            Test::LikeAll(patterns) => patterns.iter().all(|p| values.iter().any(|v| p.is_match(v))),
            Test::Within(nets) => values.iter().any(|v| {
                v.parse::<std::net::IpAddr>().is_ok_and(|ip| nets.iter().any(|n| n.contains(&ip.to_canonical())))
            }),
            Test::Exists(wanted) => values.is_empty() != *wanted,
        }
    }
}

/// `*` is any text, `?` one character; with `escapes`, `\*`, `\?` and `\\` are themselves.
///
/// # Errors
/// Too long.
pub fn glob(text: &str, any_case: bool, escapes: bool) -> Result<Regex, String> {
    let mut pattern = String::from(if any_case { "(?is)^" } else { "(?s)^" });
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => pattern.push_str(".*"),
            '?' => pattern.push('.'),
            '\\' if escapes && matches!(chars.peek(), Some('*' | '?' | '\\')) => {
                let literal = chars.next().unwrap_or('\\');
                pattern.push_str(&regex::escape(&literal.to_string()));
            }
            c => pattern.push_str(&regex::escape(&c.to_string())),
        }
    }
    pattern.push('$');
    compile(&pattern)
}

/// A regular expression; no look-around and no back-references, so that it runs in linear time.
///
/// # Errors
/// What is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN {
        return Err(format!("a pattern of {} bytes: at most {MAX_PATTERN}", pattern.len()));
    }
    regex::RegexBuilder::new(pattern).size_limit(MAX_COMPILED).dfa_size_limit(MAX_COMPILED).build().map_err(|e| {
        let text = e.to_string();
        text.lines().last().unwrap_or("not a regular expression").trim().to_owned()
    })
}

/// An address or a network.
///
/// # Errors
/// It is neither.
pub fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("{text:?} is neither an address nor a network (10.0.0.0/8)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let is = |pattern: &str, text: &str| glob(pattern, false, true).unwrap().is_match(text);
        assert!(is("prod-*", "prod-a\nb") && !is("prod-*", "xprod-a") && is("a?c", "abc") && !is("a.c", "abc"));
        assert!(is(r"a\*b", "a*b") && !is(r"a\*b", "axb") && is("", "") && is("*", ""));
        assert!(glob("ABC*", true, false).unwrap().is_match("abcd"));
        assert!(glob(&"*".repeat(3000), false, false).is_err());
        assert!(network("10.0.0.0/8").is_ok() && network("fd00::1").is_ok() && network("10.0.0").is_err());
        assert!(compile("(?=x)").is_err() && compile("(a{1000}){1000}").is_err());
    }
}
