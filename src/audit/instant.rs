//! The log's times. Hundreds of thousands are read a second, so the usual form has a way of its own.

use time::{Date, Month, OffsetDateTime, Time, UtcOffset};

use crate::clock;

/// Reads an RFC 3339 time.
pub(super) fn parse(text: &str) -> Option<OffsetDateTime> {
    usual(text.as_bytes()).or_else(|| clock::parse(text).ok())
}

/// Microseconds since 1970.
pub(super) fn micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap_or(0)
}

/// The instant of so many microseconds since 1970.
pub(super) fn of_micros(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// `2026-11-23T03:12:45.123456Z`, with up to nine digits of a fraction or none.
fn usual(text: &[u8]) -> Option<OffsetDateTime> {
    let (head, tail) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        head.get(from..to)?.iter().try_fold(0u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
    };
    if [head[4], head[7], head[10], head[13], head[16]] != *b"--T::" {
        return None;
    }
    let byte = |from, to| number(from, to).and_then(|n| u8::try_from(n).ok());
    let mut nanos = 0;
    let fraction = match tail {
        b"Z" => &[][..],
        [b'.', digits @ .., b'Z'] if (1..=9).contains(&digits.len()) => digits,
        _ => return None,
    };
    for at in 0..9 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        nanos = nanos * 10 + u32::from(digit - b'0');
    }
    let month = Month::try_from(byte(5, 7)?).ok()?;
    let date = Date::from_calendar_date(i32::try_from(number(0, 4)?).ok()?, month, byte(8, 10)?).ok()?;
    let time = Time::from_hms_nano(byte(11, 13)?, byte(14, 16)?, byte(17, 19)?, nanos).ok()?;
    Some(OffsetDateTime::new_in_offset(date, time, UtcOffset::UTC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_read_the_same() {
        for text in ["2026-11-23T03:12:45.123456Z", "2026-02-28T23:59:59Z", "2026-11-23T03:12:45.1Z"] {
            assert_eq!(usual(text.as_bytes()), clock::parse(text).ok(), "{text}");
            assert!(usual(text.as_bytes()).is_some());
        }
        assert_eq!(parse("2026-11-23T04:12:45.5+01:00"), clock::parse("2026-11-23T03:12:45.5Z").ok());
        for text in
            ["", "2026-02-30T00:00:00Z", "2026-11-23T03:12:45.Z", "2026-11-23 03:12:45", "２026-11-23T03:12:45Z"]
        {
            assert_eq!(parse(text).is_some(), clock::parse(text).is_ok(), "{text}");
        }
    }
}
