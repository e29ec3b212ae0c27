//! Each request once: the most telling of its lines.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::audit::event::{Event, Origin, Provider, Stage};
use crate::audit::glance::{Micros, long_running};
use crate::audit::instant;

/// Requests that are kept (about 150 bytes each while they are gathered); further ones are counted and said.
pub const MAX_REQUESTS: usize = 500_000;

/// One request: where its most telling line lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// Its place.
    pub origin: Origin,
    /// Begun, with no line that says it ended: a stream that may still be open.
    pub open: bool,
    /// How far it had come.
    pub stage: Stage,
    received: Micros,
    pub(super) staged: Micros,
    /// Where a copy lies, of what can be read but once; `u64::MAX` for none.
    pub(super) copy: u64,
}

impl Request {
    /// When the API server received it.
    pub fn received(&self) -> OffsetDateTime {
        instant::of_micros(self.received)
    }
}

/// auditID and requestReceivedTimestamp, as the API server keys them, and verb and URI beside: two lines of different
/// requests never fall together, even if a client repeats its auditID within a microsecond.
pub fn key(event: &Event<'_>) -> u128 {
    let mut hash = Sha256::new();
    let received = event.received.unix_timestamp_nanos().to_le_bytes();
    // What a provider makes of the URI is not the API server's.
    let uri = if event.provider == Provider::Gke { "" } else { event.uri.as_ref() };
    for part in [event.audit_id.as_bytes(), &received, event.verb.as_bytes(), uri.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_le_bytes(bytes)
}

/// The keys are digests already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().take(8).enumerate() {
            self.0 ^= u64::from(*byte) << (8 * at);
        }
    }
    fn write_u128(&mut self, key: u128) {
        self.0 = (key >> 64) as u64;
    }
}

type ByKey<V> = HashMap<u128, V, BuildHasherDefault<AsIs>>;

/// The requests of one worker, and in the end of all.
#[derive(Default)]
pub(super) struct Kept {
    requests: ByKey<Request>,
    /// Long-running requests that ended before the window: their begin must not count as still open.
    closed_before: HashSet<u128, BuildHasherDefault<AsIs>>,
    pub not_kept: u64,
}

impl Kept {
    /// Takes an event that matches and was received before the window's end. `count`: of all workers. `copy` is called if
    /// the event is kept, and tells where a copy of it lies. Returns its key, if it was kept and new here.
    pub fn take(
        &mut self,
        event: &Event<'_>,
        start: Option<Micros>,
        count: &AtomicUsize,
        copy: impl FnOnce() -> u64,
    ) -> Option<u128> {
        let key = key(event);
        let staged = instant::micros(event.staged);
        if start.is_some_and(|start| staged < start) {
            match event.stage {
                // Only what runs long has a begin that could be taken for open.
                Stage::ResponseComplete | Stage::Panic if long_running(event.verb.as_bytes(), event.uri.as_bytes()) => {
                    if self.closed_before.len() < MAX_REQUESTS {
                        self.closed_before.insert(key);
                    }
                    return None;
                }
                Stage::ResponseStarted => {}
                _ => return None,
            }
        }
        let request = Request {
            origin: event.origin,
            open: event.stage == Stage::ResponseStarted,
            stage: event.stage,
            received: instant::micros(event.received),
            staged,
            copy: u64::MAX,
        };
        match self.requests.get_mut(&key) {
            Some(kept) if better(&request, kept) => {
                *kept = Request { copy: copy(), ..request };
                None
            }
            Some(_) => None,
            None if count.fetch_add(1, Ordering::Relaxed) < MAX_REQUESTS => {
                self.requests.insert(key, Request { copy: copy(), ..request });
                Some(key)
            }
            None => {
                self.not_kept += 1;
                None
            }
        }
    }

    pub fn merge(&mut self, mut other: Kept) {
        if self.requests.len() < other.requests.len() {
            std::mem::swap(self, &mut other);
        }
        for (key, request) in other.requests {
            match self.requests.get_mut(&key) {
                Some(kept) if better(&request, kept) => *kept = request,
                Some(_) => {}
                None => {
                    self.requests.insert(key, request);
                }
            }
        }
        self.closed_before.extend(other.closed_before);
        self.not_kept += other.not_kept;
    }

    /// In the order in which they were received.
    pub fn requests(&mut self, start: Option<Micros>) -> Vec<Request> {
        let closed = std::mem::take(&mut self.closed_before);
        let all = std::mem::take(&mut self.requests).into_iter();
        let mut requests: Vec<_> =
            all.filter(|(key, r)| start.is_none_or(|start| r.staged >= start) || !closed.contains(key)).collect();
        requests.sort_unstable_by_key(|(key, r)| (r.received, *key));
        requests.into_iter().map(|(_, r)| r).collect()
    }
}

/// The later stage; among equals the place that comes first, so that the outcome does not hang on who read what when.
fn better(new: &Request, old: &Request) -> bool {
    (new.stage, std::cmp::Reverse(new.origin)) > (old.stage, std::cmp::Reverse(old.origin))
}
