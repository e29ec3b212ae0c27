//! Ages, as kubectl shows them.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

/// Kubernetes' HumanDuration (apimachinery's util/duration): two to three significant figures, such as `5s`, `2m30s`,
/// `3h`, `5d`, `2y30d`. Less than -1 second is `<invalid>`; clocks may differ by that one second.
pub fn human_duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let both = |whole: i64, unit: char, rest: i64, smaller: char| match rest {
        0 => format!("{whole}{unit}"),
        _ => format!("{whole}{unit}{rest}{smaller}"),
    };
    match () {
        () if seconds < -1 => "<invalid>".into(),
        () if seconds < 0 => "0s".into(),
        () if seconds < 2 * 60 => format!("{seconds}s"),
        () if minutes < 10 => both(minutes, 'm', seconds % 60, 's'),
        () if minutes < 3 * 60 => format!("{minutes}m"),
        () if hours < 8 => both(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 8 * 24 => both(days, 'd', hours % 24, 'h'),
        () if days < 2 * 365 => format!("{days}d"),
        () if days < 8 * 365 => both(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

/// A time of the API, or nothing where there is none.
pub fn at(value: &Value) -> Option<OffsetDateTime> {
    value.as_str().and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
}

/// From one time to another. Parts of a second are dropped towards zero, as Go's conversion to int does.
pub fn between(from: OffsetDateTime, to: OffsetDateTime) -> String {
    human_duration((to - from).whole_seconds())
}

/// From a time until now.
pub fn until(from: OffsetDateTime, now: i64) -> String {
    between(from, OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::seconds(now)))
}

/// How long ago a time of the API was; `<unknown>` where there is none.
pub fn since(value: &Value, now: i64) -> String {
    at(value).map_or_else(|| "<unknown>".into(), |from| until(from, now))
}

/// The Age cell.
pub fn created(object: &Value, now: i64) -> Value {
    json!(since(&object["metadata"]["creationTimestamp"], now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_kubectl_shows_them() {
        const HOUR: i64 = 3600;
        const DAY: i64 = 24 * HOUR;
        for (seconds, shown) in [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (599, "9m59s"),
            (601, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 300, "3h5m"),
            (8 * HOUR - 1, "7h59m"),
            (8 * HOUR + 60, "8h"),
            (2 * DAY - 1, "47h"),
            (2 * DAY, "2d"),
            (2 * DAY + HOUR, "2d1h"),
            (8 * DAY - 1, "7d23h"),
            (8 * DAY + HOUR, "8d"),
            (2 * 365 * DAY - 1, "729d"),
            (2 * 365 * DAY, "2y"),
            ((2 * 365 + 30) * DAY, "2y30d"),
            (8 * 365 * DAY - 1, "7y364d"),
            ((8 * 365 + 30) * DAY, "8y"),
        ] {
            assert_eq!(human_duration(seconds), shown, "{seconds}");
        }
    }

    #[test]
    fn ages_drop_parts_of_a_second_and_know_no_absent_time() {
        for (from, shown) in [
            (json!("1970-01-01T00:00:05.500000Z"), "4s"),
            (json!("1970-01-01T00:00:10.900000Z"), "0s"),
            (json!("1970-01-01T00:00:20Z"), "<invalid>"),
            (json!(""), "<unknown>"),
            (Value::Null, "<unknown>"),
        ] {
            assert_eq!(since(&from, 10), shown, "{from}");
        }
    }
}
