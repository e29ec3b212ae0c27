//! `24h`, `1h30m`, `90s`, `2d`.

use std::time::Duration;

/// Reads a duration: numbers with units d, h, m, s, greatest first, each at most once.
///
/// # Errors
/// A text for people.
pub fn parse(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: use 90s, 15m, 24h, 2d, 1h30m");
    let (mut rest, mut total, mut last) = (text.trim(), 0u64, u64::MAX);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit = match rest[digits..].chars().next() {
            Some('d') => 86_400,
            Some('h') => 3_600,
            Some('m') => 60,
            Some('s') => 1,
            _ => return Err(bad()),
        };
        if unit >= last {
            return Err(bad());
        }
        last = unit;
        total = number.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        rest = &rest[digits + 1..];
    }
    Ok(Duration::from_secs(total))
}

/// Seconds as people write them.
pub fn spoken(seconds: u64) -> String {
    let mut out = String::new();
    let mut rest = seconds;
    for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        if rest >= unit {
            out.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, seconds) in [("24h", 86_400), ("1h30m", 5_400), ("90s", 90), ("2d", 172_800), ("0s", 0)] {
            assert_eq!(parse(text).unwrap().as_secs(), seconds);
        }
        for text in ["", "5", "h", "1m1h", "-1h", "1.5h", "99999999999999999999s", "1h1h"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(spoken(5_400), "1h30m");
        assert_eq!(spoken(0), "0s");
    }
}
