//! The only place that reads the clock, so that tests and drills can fix it.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Where "now" comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's own clock, in UTC.
    System,
    /// Always the same instant; for tests.
    Fixed(OffsetDateTime),
}

impl Clock {
    /// The current instant in UTC, cut to milliseconds so that every record prints with one width.
    pub fn now(&self) -> OffsetDateTime {
        let now = match self {
            Clock::System => OffsetDateTime::now_utc(),
            Clock::Fixed(at) => *at,
        };
        now.replace_millisecond(now.millisecond()).unwrap_or(now)
    }
}

/// RFC 3339 in UTC with milliseconds, as every record and report writes it: `2026-11-23T03:12:45.120Z`.
pub fn rfc3339(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_else(|_| at.to_string())
}

/// `20261123T031245Z`, for file names and ids.
pub fn compact(at: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    at.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_else(|_| at.unix_timestamp().to_string())
}

/// Reads any RFC 3339 time, in any offset.
pub fn parse(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}

/// Serde for times in records, as [`rfc3339`] writes them.
pub mod serde_rfc3339 {
    use serde::{Deserialize, Deserializer, Serializer};
    use time::OffsetDateTime;

    /// Writes the time as a string.
    pub fn serialize<S: Serializer>(at: &OffsetDateTime, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&super::rfc3339(*at))
    }

    /// Reads the time from a string.
    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<OffsetDateTime, D::Error> {
        let text = String::deserialize(d)?;
        super::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_print_with_one_width() {
        let at = parse("2026-11-23T04:12:45+01:00").unwrap();
        assert_eq!(rfc3339(at), "2026-11-23T03:12:45.000Z");
        assert_eq!(compact(at), "20261123T031245Z");
    }
}
