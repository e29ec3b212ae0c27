//! Detections over the whole log, of which only what touches certain requests is told.
//!
//! Who else used a token, and which registries are usual, is told by others' requests: all are looked at, whoever is asked
//! about.

use std::collections::HashSet;

use super::{Detectors, Gathered, Report};
use crate::audit::event::{Event, Origin};
use crate::audit::{Brief, MAX_REQUESTS, Watch};

/// Sessions that are remembered to be asked about.
const MAX_SESSIONS: usize = 100_000;

/// Which requests are asked about; of those that the scan's own query finds.
pub type Ours<'a> = &'a (dyn Fn(&Event<'_>) -> bool + Sync);

/// Shows every event to the detections.
pub struct Looking<'a> {
    detectors: &'a Detectors,
    ours: Option<Ours<'a>>,
}

/// What one thread saw.
pub struct Looked {
    gathered: Gathered,
    ours: Asked,
}

/// What is asked about.
#[derive(Default)]
pub(super) struct Asked {
    origins: HashSet<Origin>,
    /// Credentials' ids; users of whom the log names none.
    sessions: HashSet<Box<str>>,
}

impl Asked {
    fn add(&mut self, event: &Event<'_>) {
        if self.origins.len() < MAX_REQUESTS {
            self.origins.insert(event.origin);
        }
        let session = event.credential_id().unwrap_or(&event.user.username);
        if self.sessions.len() < MAX_SESSIONS && !self.sessions.contains(session) {
            self.sessions.insert(session.into());
        }
    }

    pub fn origin(&self, origin: &Origin) -> bool {
        self.origins.contains(origin)
    }

    pub fn session(&self, id: &str) -> bool {
        self.sessions.contains(id)
    }
}

impl<'a> Looking<'a> {
    /// Of the findings only those are told that touch a request for which `ours` holds; without it, all.
    pub fn of(detectors: &'a Detectors, ours: Option<Ours<'a>>) -> Looking<'a> {
        Looking { detectors, ours }
    }

    /// What all threads saw comes to.
    pub fn report(&self, seen: impl IntoIterator<Item = Looked>) -> Report {
        let (mut gathered, mut asked) = (self.detectors.gather(), Asked::default());
        for one in seen {
            gathered.merge(one.gathered);
            asked.origins.extend(one.ours.origins);
            asked.sessions.extend(one.ours.sessions);
        }
        self.detectors.reduce_to(gathered, self.ours.is_some().then_some(&asked))
    }
}

impl Watch for Looking<'_> {
    type Seen = Looked;

    fn begin(&self) -> Looked {
        Looked { gathered: self.detectors.gather(), ours: Asked::default() }
    }

    fn look(&self, seen: &mut Looked, event: &Event<'_>) {
        if self.ours.is_some_and(|ours| ours(event)) {
            seen.ours.add(event);
        }
        self.detectors.map(event, &mut seen.gathered);
    }

    fn glimpse(&self, seen: &mut Looked, brief: &Brief<'_>) -> bool {
        self.detectors.glimpse(brief, &mut seen.gathered)
    }

    fn end(&self, seen: &mut Looked) {
        seen.gathered.end();
    }
}

/// Somebody, or nobody.
impl<W: Watch> Watch for Option<W> {
    type Seen = Option<W::Seen>;

    fn begin(&self) -> Option<W::Seen> {
        self.as_ref().map(W::begin)
    }

    fn look(&self, seen: &mut Option<W::Seen>, event: &Event<'_>) {
        if let (Some(watch), Some(seen)) = (self, seen) {
            watch.look(seen, event);
        }
    }

    fn glimpse(&self, seen: &mut Option<W::Seen>, brief: &Brief<'_>) -> bool {
        match (self, seen) {
            (Some(watch), Some(seen)) => watch.glimpse(seen, brief),
            _ => true,
        }
    }

    fn end(&self, seen: &mut Option<W::Seen>) {
        if let (Some(watch), Some(seen)) = (self, seen) {
            watch.end(seen);
        }
    }

    fn wants(&self) -> bool {
        self.as_ref().is_some_and(W::wants)
    }
}
