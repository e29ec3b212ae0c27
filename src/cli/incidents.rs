//! `quell incidents`.

use serde_json::json;

use super::{Ended, Global, print_json, print_text, setup};
use crate::clock::rfc3339;
use crate::engine::State;
use crate::event::{Event, RunStatus};
use crate::journal;
use crate::report::escape::escape;

pub(super) fn incidents(global: &Global) -> Ended {
    let state_dir = setup::state_dir(global)?;
    let mut rows = Vec::new();
    for id in state_dir.list()? {
        let dir = state_dir.find(&id)?;
        rows.push(match journal::read(&dir) {
            Ok(records) => {
                let state = State::of(&records);
                let (runbook, cluster) = match &state.opened {
                    Some(Event::Opened { runbook, cluster, .. }) => (runbook.name.clone(), cluster.context.clone()),
                    _ => Default::default(),
                };
                let last = records.last().map(|r| rfc3339(r.time)).unwrap_or_default();
                json!({"incident": id, "runbook": runbook, "context": cluster, "status": state.ended, "last": last, "open": state.open.len(),
                       "at_work": journal::holder(&dir), "bundle": state.sealed})
            }
            Err(problem) => json!({"incident": id, "damaged": problem.message}),
        });
    }
    if global.json {
        print_json(&json!({"v": 1, "incidents": rows}));
        return Ok(0);
    }
    if rows.is_empty() {
        eprintln!("no incidents yet");
    }
    for row in rows {
        let text = |key: &str| row[key].as_str().map(|s| escape(s).into_owned()).unwrap_or_default();
        let how = match serde_json::from_value::<Option<RunStatus>>(row["status"].clone()) {
            _ if row["damaged"].is_string() => format!("DAMAGED: {}", text("damaged")),
            _ if row["at_work"].is_string() => format!("at work: {}", text("at_work")),
            Ok(Some(status)) => spoken(status).to_string(),
            _ => "broken off: `quell resume` goes on".into(),
        };
        print_text(&format!("{:<54} {:<24} {:<20} {how}\n", text("incident"), text("last"), text("context")));
    }
    Ok(0)
}

/// How a run ended, in a word or two.
pub(super) fn spoken(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Done => "done, verified",
        RunStatus::Unproved => "ended, something skipped or not proved",
        RunStatus::Failed => "ended with a failure",
        RunStatus::Stopped => "stopped, open",
        RunStatus::Interrupted => "interrupted, open",
    }
}
