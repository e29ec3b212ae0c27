//! `quell audit diff`: what an identity did in one time that it never did in another.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::ask::instant;
use super::{Ended, FilterArgs, Global, Rows, SourceArgs, json as out_json, shown};
use crate::audit::detect::Looking;
use crate::audit::{self, Answer, Row, Task, Window};
use crate::clock::{Clock, rfc3339};
use crate::cluster::Problem;
use crate::exit;
use crate::report::escape::escape;
use crate::runbook::parse_duration;

/// Arguments.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// What it is held against: FROM..TO, or a duration before the window
    baseline: String,
    /// The time that is asked about: FROM..TO, or a duration before now
    window: String,
    #[command(flatten)]
    sources: SourceArgs,
    #[command(flatten)]
    filters: FilterArgs,
    /// Silence of everybody for longer than this counts as a gap
    #[arg(long, value_name = "DURATION", default_value = "5m")]
    gap: String,
}

/// Something that the baseline has not.
#[derive(Debug)]
struct New {
    count: u64,
    first: String,
    denied: u64,
    place: Value,
}

/// Different values that are told of one kind; an intruder chooses the user agent.
const MAX_VALUES: usize = 5000;

pub(super) fn diff(global: &Global, args: &DiffArgs) -> Ended {
    let query = args.filters.query()?;
    if !query.asks_identity() {
        return Err(Problem::usage("a comparison is of one identity")
            .hint("give --subject, --service-account, --pod, --node or --session"));
    }
    let (from, to) = range("WINDOW", &args.window, Clock::System.now())?;
    let (base_from, base_to) = range("BASELINE", &args.baseline, from)?;
    if base_to > from {
        return Err(Problem::usage("BASELINE must end before WINDOW begins"));
    }
    let longest_gap = parse_duration(&args.gap)
        .ok()
        .and_then(|gap| Duration::try_from(gap).ok())
        .ok_or_else(|| Problem::usage(format!("--gap: {:?} is no duration", args.gap)))?;
    let (files, not_read) = args.sources.find(global)?;
    let window = Window { start: Some(base_from), until: Some(to), longest_gap };
    let watch = None::<Looking<'_>>;
    let task = Task { files, query: &query, window, limit: None, watch: &watch, threads: None, progress: &|_| {} };
    let mut scan = audit::scan(task)?;
    let mut originals = std::mem::take(&mut scan.originals);
    let mut rows = Rows { scan: &scan, query: &query, originals: &mut originals };
    let times: Vec<OffsetDateTime> = scan.requests.iter().map(audit::Request::received).collect();
    let (mut known, mut new) = (BTreeMap::<(&str, String), ()>::new(), BTreeMap::<(&str, String), New>::new());
    let mut counts = (0u64, 0u64);
    for (at, time) in times.iter().enumerate() {
        let row = rows.row(at)?;
        if *time <= base_to {
            counts.0 += 1;
            known.extend(traits(&row).into_iter().map(|key| (key, ())));
        } else if *time >= from {
            counts.1 += 1;
            for key in traits(&row).into_iter().filter(|key| !known.contains_key(key)) {
                if new.len() < MAX_VALUES || new.contains_key(&key) {
                    let fresh = || New { count: 0, first: row.time.clone(), denied: 0, place: json!(row.origin) };
                    let entry = new.entry(key).or_insert_with(fresh);
                    entry.count += 1;
                    entry.denied += u64::from(row.allowed == Some(false));
                }
            }
        }
    }
    let answer = Answer::of(&scan, &query, &not_read);
    let mut doubts: Vec<String> = answer
        .gaps
        .iter()
        // Between the two nothing was asked.
        .filter(|gap| gap.from < base_to || gap.to > from)
        .map(audit::describe)
        .collect();
    doubts.extend(answer.doubts().into_iter().filter(|d| !answer.gaps.iter().any(|g| audit::describe(g) == *d)));
    if counts.0 == 0 {
        doubts.push("it made no request in the baseline: whether anything is new can't be told".into());
    }
    if new.len() >= MAX_VALUES {
        doubts.push(format!("more than {MAX_VALUES} things are new; the rest is not shown"));
    }
    let listed = |what: &str, key: &(&str, String), new: &New| json!({"kind": key.0, "value": key.1, "first": new.first, what: new.count, "denied": new.denied, "origin": new.place});
    if global.json {
        let document = json!({
            "v": 1,
            "query": query.json(),
            "baseline": {"from": rfc3339(base_from), "to": rfc3339(base_to), "requests": counts.0},
            "window": {"from": rfc3339(from), "to": rfc3339(to), "requests": counts.1},
            "new": new.iter().map(|(key, n)| listed("requests", key, n)).collect::<Vec<_>>(),
            "cannotBeKnown": doubts,
            "coverage": answer.json(),
        });
        super::super::print_text(&out_json::safe(&document));
    } else {
        super::super::print_text(&text(&new, counts, &doubts, [base_from, base_to, from, to]));
    }
    Ok(if doubts.is_empty() { exit::DONE } else { exit::UNPROVED })
}

/// What is held against what.
fn traits(row: &Row) -> Vec<(&'static str, String)> {
    let namespace = if row.namespace.is_empty() { String::new() } else { format!(" in {}", row.namespace) };
    let mut all =
        vec![("call", format!("{} {}{namespace}", row.verb, row.kind())), ("user-agent", row.user_agent.clone())];
    if row.resource == "secrets" {
        all.push(("secret", row.object()));
    }
    all.extend(row.trusted_source_ip.clone().map(|ip| ("address", ip)));
    all.extend(row.pod.clone().map(|pod| ("pod", pod)));
    all.extend(row.node.clone().map(|node| ("node", node)));
    match row.matched {
        Some("as another") => {
            all.extend(row.impersonated_user.as_ref().map(|u| ("acted-as", u.username.clone())));
        }
        Some("by another") => all.push(("acted-for-by", row.user.clone())),
        _ => {}
    }
    all
}

fn text(
    new: &BTreeMap<(&str, String), New>,
    counts: (u64, u64),
    doubts: &[String],
    [base_from, base_to, from, to]: [OffsetDateTime; 4],
) -> String {
    let mut out = Vec::new();
    let _ = writeln!(out, "baseline  {} to {}: {} requests", rfc3339(base_from), rfc3339(base_to), counts.0);
    let _ = writeln!(out, "window    {} to {}: {} requests\n", rfc3339(from), rfc3339(to), counts.1);
    if new.is_empty() {
        let _ = writeln!(out, "nothing that it did not do in the baseline");
    }
    for ((kind, value), new) in new {
        let denied = if new.denied > 0 { format!(", {} denied", new.denied) } else { String::new() };
        let _ = writeln!(
            out,
            "new {kind:<12}  {}  (first {}, {} requests{denied})",
            shown(value, 160),
            new.first,
            new.count
        );
    }
    if !doubts.is_empty() {
        let _ = writeln!(out, "\nCan't be known from this log, so the answer may lack something:");
        doubts.iter().for_each(|doubt| {
            let _ = writeln!(out, "  - {}", escape(doubt));
        });
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// `FROM..TO`, or a duration before `end`.
fn range(what: &str, text: &str, end: OffsetDateTime) -> Result<(OffsetDateTime, OffsetDateTime), Problem> {
    let bad = |why: &str| {
        Problem::usage(format!("{what}: {text:?} {why}")).hint("write it as 2026-11-20T00:00:00Z..2026-11-22, or as 7d")
    };
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (instant(what, from)?, instant(what, to)?),
        None => {
            let back = parse_duration(text).map_err(|why| bad(&format!("is no duration: {why}")))?;
            let back = Duration::try_from(back).map_err(|_| bad("is too long"))?;
            (end.checked_sub(back).ok_or_else(|| bad("is too long"))?, end)
        }
    };
    if from >= to { Err(bad("ends before it begins")) } else { Ok((from, to)) }
}
