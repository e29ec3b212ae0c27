//! The table, the timeline, and what the log covers, for people.

use std::io::{self, Write};

use super::{Gone, Rows, Seen, shown};
use crate::audit::{Answer, BLIND_TO, Row, describe};
use crate::clock::rfc3339;
use crate::report::escape::escape;

/// Rows that decide the columns' widths; later ones may stick out.
const FOR_WIDTHS: usize = 1000;
/// Damaged lines, files and resources that are named in text.
const NAMED: usize = 10;

const HEADS: [&str; 7] = ["TIME", "OUTCOME", "VERB", "RESOURCE", "OBJECT", "USER", "FROM"];
const LONGEST: [usize; 7] = [24, 18, 20, 40, 60, 90, 39];

/// One line a request.
pub(super) fn table(out: &mut dyn Write, rows: &mut Rows<'_>) -> Result<(), Gone> {
    if rows.requests().is_empty() {
        return Ok(writeln!(out, "no request matches")?);
    }
    let mut widths = HEADS.map(str::len);
    let known = rows.requests().len().min(FOR_WIDTHS);
    let mut first = Vec::with_capacity(known);
    for at in 0..known {
        let (cells, agent) = cells(&rows.row(at)?);
        widths.iter_mut().zip(&cells).for_each(|(width, cell)| *width = (*width).max(console::measure_text_width(cell)));
        first.push((cells, agent));
    }
    line(out, &HEADS.map(str::to_owned), &widths, "AGENT")?;
    for (cells, agent) in &first {
        line(out, cells, &widths, agent)?;
    }
    for at in known..rows.requests().len() {
        let (cells, agent) = cells(&rows.row(at)?);
        line(out, &cells, &widths, &agent)?;
    }
    Ok(writeln!(out)?)
}

fn cells(row: &Row) -> ([String; 7], String) {
    let object = match row.command.is_empty() {
        true => row.object(),
        false => format!("{} -- {}", row.object(), row.command.join(" ")),
    };
    let from = row.trusted_source_ip.clone().unwrap_or_default();
    let cells = [row.time.clone(), row.outcome(), row.verb.clone(), row.kind(), object, row.who(), from];
    let mut at = 0;
    let cells = cells.map(|text| {
        at += 1;
        shown(&text, LONGEST[at - 1])
    });
    (cells, shown(&row.user_agent, 60))
}

fn line(out: &mut dyn Write, cells: &[String; 7], widths: &[usize; 7], last: &str) -> io::Result<()> {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        text.extend(std::iter::repeat_n(' ', width.saturating_sub(console::measure_text_width(cell)) + 2));
    }
    text.push_str(last);
    writeln!(out, "{}", text.trim_end())
}

/// Sentences by time; where nobody's events are, it says so.
pub(super) fn timeline(out: &mut dyn Write, rows: &mut Rows<'_>, answer: &Answer<'_, Seen>) -> Result<(), Gone> {
    let mut gaps = answer.gaps.iter().peekable();
    let mut day = String::new();
    let times: Vec<_> = rows.requests().iter().map(crate::audit::Request::received).collect();
    for (at, received) in times.into_iter().enumerate() {
        while let Some(gap) = gaps.next_if(|gap| gap.from <= received) {
            writeln!(out, "  ~~~~ {}", describe(gap))?;
        }
        let row = rows.row(at)?;
        let (date, time) = row.time.split_at(10);
        if date != day {
            day = date.to_owned();
            writeln!(out, "{day}")?;
        }
        let object = match row.object() {
            object if object.is_empty() => String::new(),
            object => format!(" {}", shown(&object, 120)),
        };
        let command = if row.command.is_empty() { String::new() } else { format!(": {}", shown(&row.command.join(" "), 200)) };
        let from = row.trusted_source_ip.as_deref().map(|ip| format!(" from {}", shown(ip, 40))).unwrap_or_default();
        writeln!(
            out,
            "  {}  {:<11}  {} {} {}{object}{command}{from} ({})",
            time.trim_start_matches('T'),
            row.outcome(),
            shown(&row.who(), 120),
            shown(&row.verb, 20),
            shown(&row.kind(), 80),
            shown(&row.user_agent, 80),
        )?;
    }
    for gap in gaps {
        writeln!(out, "  ~~~~ {}", describe(gap))?;
    }
    if rows.requests().is_empty() {
        writeln!(out, "no request matches")?;
    }
    Ok(writeln!(out)?)
}

/// What the log covers, and what can't be known.
pub(super) fn coverage(out: &mut dyn Write, answer: &Answer<'_, Seen>, more: &[String]) -> io::Result<()> {
    let scan = answer.scan;
    let time = |at: Option<time::OffsetDateTime>, none: &str| at.map_or(none.to_owned(), rfc3339);
    if answer.query.nothing {
        writeln!(out, "{} events were looked at", scan.events())?;
    } else {
        writeln!(out, "{} requests match, of {} events", scan.requests.len(), scan.events())?;
    }
    let window = scan.window;
    writeln!(out, "  asked    {} to {}", time(window.start, "the log's begin"), time(window.until, "its end"))?;
    writeln!(out, "  log      {} to {}", time(scan.coverage.first(), "nothing"), time(scan.coverage.last(), "nothing"))?;
    for (at, file) in scan.files.iter().enumerate() {
        if at == NAMED {
            writeln!(out, "  …        {} more files", scan.files.len() - NAMED)?;
            break;
        }
        let name = escape(&file.file.path.display().to_string()).into_owned();
        match file.outside {
            Some((first, last)) => {
                writeln!(out, "  file     {name}: not read, for it holds {} to {} only", rfc3339(first), rfc3339(last))?;
            }
            None => writeln!(
                out,
                "  file     {name}: {} events, {} to {}",
                file.tally.events,
                time(file.tally.first(), "nothing"),
                time(file.tally.last(), "nothing")
            )?,
        }
    }
    let mut resources: Vec<_> = scan.resources.iter().collect();
    let asked = |name: &Option<String>| {
        name.as_ref().is_some_and(|n| answer.query.objects.iter().any(|w| w.kind.plurals.contains(n)))
    };
    if !answer.query.objects.is_empty() {
        resources.retain(|(name, _)| asked(name));
    }
    resources.sort_by_key(|(_, r)| std::cmp::Reverse(r.reads + r.others));
    for (at, (name, counts)) in resources.iter().enumerate() {
        if at == NAMED {
            writeln!(out, "  …        {} more resources", resources.len() - NAMED)?;
            break;
        }
        let name = match name.as_deref() {
            None => "others, not told apart".into(),
            Some("") => "plain paths".into(),
            Some(name) => shown(name, 60),
        };
        let [unknown, metadata, request, both] = counts.levels;
        let levels: Vec<String> = [("without a level", unknown), ("Metadata", metadata), ("Request", request), ("RequestResponse", both)]
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(level, n)| format!("{n} {level}"))
            .collect();
        writeln!(out, "  level    {name}: {}; {} reads, {} others", levels.join(", "), counts.reads, counts.others)?;
    }
    for note in answer.notes() {
        writeln!(out, "  note     {}", escape(&note))?;
    }
    for left in answer.not_read {
        writeln!(out, "  left     {}: {}", escape(&left.path.display().to_string()), escape(&left.why))?;
    }
    for damage in scan.damage.iter().take(NAMED) {
        let path = scan.files.get(damage.file).map(|f| f.file.path.display().to_string()).unwrap_or_default();
        let line = damage.line.map(|n| format!("line {n}, ")).unwrap_or_default();
        writeln!(out, "  damaged  {}: {line}byte {}: {}", escape(&path), damage.offset, escape(&damage.what))?;
    }
    if scan.damaged() > NAMED as u64 {
        writeln!(out, "  …        {} damaged lines in all", scan.damaged())?;
    }
    let mut doubts = answer.doubts();
    doubts.extend_from_slice(more);
    if !doubts.is_empty() {
        writeln!(out, "\nCan't be known from this log, so the answer may lack something:")?;
        doubts.iter().try_for_each(|doubt| writeln!(out, "  - {}", escape(doubt)))?;
    }
    writeln!(out, "\nNo audit log shows:")?;
    BLIND_TO.iter().try_for_each(|what| writeln!(out, "  - {what}"))
}
