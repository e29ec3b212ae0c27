//! A CronJob's schedule, with the complaints of `github.com/robfig/cron`.

/// The lowest and highest value of each field, and the names for values from the lowest on.
const FIELDS: [(u32, u32, &[&str]); 5] = [
    (0, 59, &[]),
    (0, 23, &[]),
    (1, 31, &[]),
    (1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    (0, 6, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];
const DESCRIPTORS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

/// Whether a schedule can be read; what is wrong with it otherwise.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.starts_with('@') {
        if DESCRIPTORS.contains(&schedule) || schedule.strip_prefix("@every ").is_some_and(is_duration) {
            return Ok(());
        }
        return Err(format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    for (field, bounds) in fields.into_iter().zip(FIELDS) {
        for range in field.split(',').filter(|range| !range.is_empty()) {
            check_range(range, bounds)?;
        }
    }
    Ok(())
}

fn is_duration(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(['h', 'm', 's'])
}

fn check_range(range: &str, (min, max, names): (u32, u32, &[&str])) -> Result<(), String> {
    let (span, step) = match range.split('/').collect::<Vec<_>>().as_slice() {
        [span] => (*span, None),
        [span, step] => (*span, Some(*step)),
        _ => return Err(format!("too many slashes: {range}")),
    };
    let (start, end) = match span.split('-').collect::<Vec<_>>().as_slice() {
        ["*" | "?"] => (min, max),
        [one] => {
            let start = number_or_name(one, min, names)?;
            (start, if step.is_some() { max } else { start })
        }
        [low, high] => (number_or_name(low, min, names)?, number_or_name(high, min, names)?),
        _ => return Err(format!("too many hyphens: {range}")),
    };
    let step = step.map_or(Ok(1), number)?;
    if start < min {
        return Err(format!("beginning of range ({start}) below minimum ({min}): {range}"));
    }
    if end > max {
        return Err(format!("end of range ({end}) above maximum ({max}): {range}"));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {range}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {range}"));
    }
    Ok(())
}

fn number_or_name(text: &str, min: u32, names: &[&str]) -> Result<u32, String> {
    match (min..).zip(names).find(|(_, name)| name.eq_ignore_ascii_case(text)) {
        Some((number, _)) => Ok(number),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
}

/// Without the database of time zones only their form can be told: `Area/City`, or one of the old short names.
pub(super) fn may_be_zone(zone: &str) -> bool {
    zone.contains('/')
        || matches!(zone, "UTC" | "GMT" | "CET" | "EET" | "MET" | "WET" | "EST" | "MST" | "HST" | "Japan")
}
