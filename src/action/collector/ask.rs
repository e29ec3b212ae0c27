//! One question to a collector, whose answer is one document.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::Handle;
use crate::cluster::exec::{self, Limits, Listener};
use crate::cluster::{Cx, Fault, Problem};
use crate::collector::wire::{self, Item};

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
    let mut answer = Answer { reader: wire::Reader::new(), data: Vec::new(), whole: false, acknowledge: false };
    let ended = exec::exec(&cx.client, handle.place(), &argv, limits, &mut answer).await;
    if !answer.whole {
        return Err(match ended {
            Ok(exec::Ended { end: exec::End::Failure { .. }, stderr }) if !stderr.is_empty() => {
                Problem::failed(stderr.lines().last().unwrap_or_default().trim().to_string())
            }
            Ok(ended) => Problem::new(Fault::Transient, format!("the collector's answer was cut: {ended}")),
            Err(problem) => problem,
        });
    }
    serde_json::from_slice(&answer.data)
        .map_err(|e| Problem::failed(format!("the collector's answer is not what it should be: {e}")))
}

struct Answer {
    reader: wire::Reader,
    data: Vec<u8>,
    whole: bool,
    acknowledge: bool,
}

impl Listener for Answer {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let Answer { reader, data, whole, acknowledge } = self;
        reader
            .push(bytes, &mut |item| {
                match item {
                    Item::Data(more) if data.len() + more.len() > MAX_ANSWER => {
                        return Err("it is too long".to_string());
                    }
                    Item::Data(more) => data.extend_from_slice(more),
                    Item::Trailer(_) => {
                        *whole = true;
                        *acknowledge = true;
                    }
                    Item::Hello(_) | Item::Note(_) => {}
                }
                Ok(())
            })
            .map_err(|why| Problem::failed(format!("the collector's answer: {why}")))
    }

    fn reply(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.acknowledge).then_some(wire::ACKNOWLEDGED)
    }
}
