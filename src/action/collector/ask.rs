//! One question to a collector, whose answer is one document.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Handle;
use super::framed::Framed;
use crate::cluster::exec::{self, Limits};
use crate::cluster::{Cx, Fault, Problem};
use crate::collector::wire::Item;

/// Bytes of an answer: a table of ten thousand connections is below it.
const MAX_ANSWER: usize = 16 << 20;
/// What an answer may take beyond the work itself: containment waits for it.
const PATIENCE: Duration = Duration::from_secs(15);

/// Asks, and reads the answer's JSON. `argv` is without the program; `work` is how long what is asked for takes.
///
/// # Errors
/// Transient when the stream was cut; otherwise what the collector said.
pub async fn ask<T: DeserializeOwned>(
    cx: &Cx,
    handle: &Handle,
    work: Duration,
    argv: Vec<String>,
) -> Result<T, Problem> {
    let limits = Limits { idle: work + PATIENCE, total: work + 2 * PATIENCE };
    let argv: Vec<String> = std::iter::once("/quell-collector".to_string()).chain(argv).collect();
    let mut data = Vec::new();
    let mut answer = Framed::new(|item| {
        match item {
            Item::Data(more) if data.len() + more.len() > MAX_ANSWER => {
                return Err(Problem::failed("the collector's answer: it is too long"));
            }
            Item::Data(more) => data.extend_from_slice(more),
            Item::Hello(_) | Item::Note(_) | Item::Trailer(_) => {}
        }
        Ok(())
    });
    let ended = exec::exec(&cx.client, handle.place(), &argv, limits, &mut answer).await;
    if let Some(why) = answer.damage {
        return Err(Problem::failed(format!("the collector's answer: {why}")));
    }
    if answer.trailer.is_none() {
        return Err(match ended {
            Ok(exec::Ended { end: exec::End::Failure { .. }, stderr }) if !stderr.is_empty() => {
                Problem::failed(stderr.lines().last().unwrap_or_default().trim().to_string())
            }
            Ok(ended) => Problem::new(Fault::Transient, format!("the collector's answer was cut: {ended}")),
            Err(problem) => problem,
        });
    }
    serde_json::from_slice(&data)
        .map_err(|e| Problem::failed(format!("the collector's answer is not what it should be: {e}")))
}
