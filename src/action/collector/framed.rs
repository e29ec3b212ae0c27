//! A collector's stream on the receiving side: frames to whoever reads them, the trailer, and our word that all of it
//! arrived.

use crate::cluster::exec::Listener;
use crate::cluster::{Fault, Problem};
use crate::collector::wire::{self, Item, Trailer};

/// Hands every item but the trailer to `each`. A stream without a trailer in the end was cut.
pub struct Framed<F> {
    reader: wire::Reader,
    each: F,
    /// The trailer, which agreed with what arrived.
    pub trailer: Option<Trailer>,
    /// What the reader found wrong with the stream.
    pub damage: Option<String>,
    acknowledge: bool,
}

impl<F: FnMut(Item<'_>) -> Result<(), Problem> + Send> Framed<F> {
    /// A stream that has not begun.
    pub fn new(each: F) -> Framed<F> {
        Framed { reader: wire::Reader::new(), each, trailer: None, damage: None, acknowledge: false }
    }
}

impl<F: FnMut(Item<'_>) -> Result<(), Problem> + Send> Listener for Framed<F> {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let Framed { reader, each, trailer, damage, acknowledge } = self;
        let taken = reader.push(bytes, &mut |item| {
            match item {
                Item::Trailer(end) => {
                    *trailer = Some(end);
                    *acknowledge = true;
                }
                item => each(item)?,
            }
            Ok::<(), Stop>(())
        });
        taken.map_err(|stop| match stop {
            Stop::Reader(text) => {
                *damage = Some(text.clone());
                Problem::new(Fault::Transient, text)
            }
            Stop::Each(problem) => problem,
        })
    }

    fn reply(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.acknowledge).then_some(wire::ACKNOWLEDGED)
    }
}

/// What ends a stream: what the reader finds wrong with it is worth another try, the rest is for who reads it to say.
enum Stop {
    Reader(String),
    Each(Problem),
}

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop::Reader(text)
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop::Each(problem)
    }
}
