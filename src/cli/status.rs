//! `quell status`.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{Ended, Global, print_json, print_text, setup};
use crate::clock::rfc3339;
use crate::engine::State;
use crate::event::{Event, Record};
use crate::journal;
use crate::report::escape::escape;
use crate::report::{JsonLines, Report, Terminal};

/// Arguments.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The incident: its id, the only one that begins or ends so, or "last"
    incident: String,
    /// Go on showing what happens until the run ends
    #[arg(long, short)]
    watch: bool,
}

pub(super) fn status(global: &Global, args: &StatusArgs) -> Ended {
    let dir = setup::state_dir(global)?.find(&args.incident)?;
    if args.watch {
        return watch(global, &dir);
    }
    let records = journal::read(&dir)?;
    let state = State::of(&records);
    let id = dir.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if global.json {
        print_json(&document(id, &state, &records, journal::holder(&dir)));
    } else {
        print_text(&text(id, &state, &records, journal::holder(&dir)));
    }
    Ok(0)
}

/// Follows the journal, which is only ever appended to, until a run ends and nobody holds it any more.
fn watch(global: &Global, dir: &Path) -> Ended {
    let report: Box<dyn Report> =
        if global.json { Box::new(JsonLines) } else { Box::new(Terminal::new(super::color(), false, global.quiet)) };
    let mut seen = 0;
    loop {
        let held = journal::holder(dir).is_some();
        let records = journal::read(dir)?;
        for record in records.iter().skip(seen) {
            report.record(record);
        }
        seen = records.len();
        if !held {
            return Ok(0);
        }
        // The journal is a file on any file system: looking twice a second works on all of them.
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn document(id: &str, state: &State, records: &[Record], holder: Option<String>) -> serde_json::Value {
    let steps: Vec<_> = state
        .order
        .iter()
        .filter_map(|step| {
            let s = state.steps.get(step)?;
            let (status, summary) = s.finished.as_ref().map(|(status, summary, _)| (status, summary)).unzip();
            Some(json!({"step": step, "uses": s.uses, "status": status, "summary": summary, "started": s.started,
                        "ops": s.ops.len(), "ops_done": s.done.len()}))
        })
        .collect();
    json!({
        "v": 1, "incident": id, "opened": state.opened, "status": state.ended, "at_work": holder, "steps": steps, "open": state.open,
        "undone": state.undone, "artifacts": state.artifacts, "bundle": state.sealed, "records": records.len(),
        "last": records.last().map(|r| rfc3339(r.time)),
    })
}

fn text(id: &str, state: &State, records: &[Record], holder: Option<String>) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "Incident {id}");
    if let Some(Event::Opened { runbook, cluster, actor, .. }) = &state.opened {
        let _ = writeln!(out, "  runbook   {} ({})", escape(&runbook.name), escape(&runbook.source));
        let _ = writeln!(
            out,
            "  cluster   {} at {}, as {}",
            escape(&cluster.cluster),
            escape(&cluster.server),
            escape(&cluster.user)
        );
        let _ = writeln!(
            out,
            "  opened    {} by {}@{}",
            records.first().map(|r| rfc3339(r.time)).unwrap_or_default(),
            escape(&actor.os_user),
            escape(&actor.host)
        );
    }
    let how = match (holder, state.ended) {
        (Some(holder), _) => format!("at work: {holder}"),
        (None, Some(status)) => super::incidents::spoken(status).into(),
        (None, None) => "broken off: `quell resume` goes on".into(),
    };
    let _ = writeln!(out, "  status    {how}\n");
    for step in &state.order {
        let Some(s) = state.steps.get(step) else { continue };
        match &s.finished {
            Some((status, summary, _)) => {
                let _ = writeln!(out, "  {:<12} {:<12} {}", escape(step), status, escape(summary));
            }
            None if s.started => {
                let _ = writeln!(
                    out,
                    "  {:<12} {:<12} {} of {} operations",
                    escape(step),
                    "begun",
                    s.done.len(),
                    s.ops.len()
                );
            }
            None => {}
        }
    }
    if !state.undone.is_empty() {
        let _ = writeln!(out, "\n  taken back: {}", state.undone.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    let _ = writeln!(out, "\n  {} artifacts, {} records", state.artifacts.len(), records.len());
    if let Some(bundle) = &state.sealed {
        let _ = writeln!(out, "  bundle    {}", escape(bundle));
    }
    for line in &state.open {
        let _ = writeln!(out, "  open: {}", escape(line));
    }
    out
}
