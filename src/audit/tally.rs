//! What is counted of every line, whoever asked: what the files can speak for.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use time::OffsetDateTime;

use super::coverage::Coverage;
use super::event::{Event, Level, Provider};
use super::glance::{Glance, Micros};
use super::instant;
use super::quick::Quick;

/// Resources that are told apart; the rest is counted together.
const MAX_RESOURCES: usize = 500;
/// Damaged lines that are named one by one; all are counted.
pub(super) const MAX_DAMAGE: usize = 100;

/// What the log says of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resource {
    /// Events by level: not said, Metadata, Request, RequestResponse.
    pub levels: [u64; 4],
    /// get, list and watch.
    pub reads: u64,
    /// All else.
    pub others: u64,
}

impl Resource {
    fn add(&mut self, level: Level, read: bool) {
        self.levels[level as usize] += 1;
        if read {
            self.reads += 1;
        } else {
            self.others += 1;
        }
    }

    fn merge(&mut self, other: Resource) {
        self.levels.iter_mut().zip(other.levels).for_each(|(a, b)| *a += b);
        self.reads += other.reads;
        self.others += other.others;
    }
}

/// What was seen of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileTally {
    /// Bytes read, of the content.
    pub bytes: u64,
    /// Events of anybody.
    pub events: u64,
    /// Records of other components.
    pub others: u64,
    /// Lines that could not be read.
    pub damaged: u64,
    /// Events in a form that does not tell as whom somebody asked to act.
    pub without_impersonation: u64,
    first: Option<Micros>,
    last: Option<Micros>,
}

impl FileTally {
    /// Its first event.
    pub fn first(&self) -> Option<OffsetDateTime> {
        self.first.map(instant::of_micros)
    }

    /// Its last event.
    pub fn last(&self) -> Option<OffsetDateTime> {
        self.last.map(instant::of_micros)
    }

    fn merge(&mut self, other: &FileTally) {
        self.bytes += other.bytes;
        self.events += other.events;
        self.others += other.others;
        self.damaged += other.damaged;
        self.without_impersonation += other.without_impersonation;
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.last = [self.last, other.last].into_iter().flatten().max();
    }
}

/// A line that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// Index into the list of files.
    pub file: usize,
    /// Byte at which it begins.
    pub offset: u64,
    /// The line's number, from 1, where lines were counted from the file's begin.
    pub line: Option<u64>,
    /// What is wrong with it.
    pub what: String,
}

/// By name. Not more than five hundred: whoever makes their hashes fall together gains little.
pub(super) type Resources = HashMap<Box<[u8]>, Resource, BuildHasherDefault<Quick>>;

/// The counts of one worker, and in the end of all.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub files: Vec<FileTally>,
    /// By API server.
    pub series: Vec<Coverage>,
    pub resources: Resources,
    pub other_resources: Resource,
    pub truncated: u64,
    pub damage: Vec<Damage>,
    /// Whether any event names the credential it was made with.
    pub credentials: bool,
}

impl Tally {
    pub fn new(files: usize, series: usize, empty: &Coverage) -> Tally {
        Tally {
            files: vec![FileTally::default(); files],
            series: vec![empty.clone(); series],
            resources: Resources::default(),
            other_resources: Resource::default(),
            truncated: 0,
            damage: Vec::new(),
            credentials: false,
        }
    }

    pub fn glanced(&mut self, file: usize, series: usize, glance: &Glance<'_>) {
        let read = matches!(glance.verb, b"get" | b"list" | b"watch");
        self.count(file, series, glance.staged, glance.resource, glance.level, read);
        self.truncated += u64::from(glance.truncated);
    }

    pub fn event(&mut self, file: usize, series: usize, event: &Event<'_>) {
        let resource = event.object.as_ref().map_or("", |o| o.resource.as_ref());
        let staged = instant::micros(event.staged);
        self.count(file, series, staged, resource.as_bytes(), event.level, event.reads());
        self.truncated += u64::from(event.truncated());
        self.credentials |= event.credential_id().is_some();
        self.files[file].without_impersonation += u64::from(event.provider == Provider::AksTable);
    }

    fn count(&mut self, file: usize, series: usize, staged: Micros, resource: &[u8], level: Level, read: bool) {
        let seen = &mut self.files[file];
        seen.events += 1;
        seen.first = Some(seen.first.map_or(staged, |t| t.min(staged)));
        seen.last = Some(seen.last.map_or(staged, |t| t.max(staged)));
        self.series[series].saw(staged);
        let room = self.resources.len() < MAX_RESOURCES && resource.len() < 256;
        match self.resources.get_mut(resource) {
            Some(counts) => counts.add(level, read),
            None if room => {
                self.resources.entry(resource.into()).or_default().add(level, read);
            }
            None => self.other_resources.add(level, read),
        }
    }

    pub fn damaged(&mut self, file: usize, offset: u64, line: Option<u64>, what: &str) {
        self.files[file].damaged += 1;
        // Some more than are shown, so that the first of all workers' are among them.
        if self.damage.len() < 2 * MAX_DAMAGE {
            self.damage.push(Damage { file, offset, line, what: what.into() });
        }
    }

    pub fn merge(&mut self, other: Tally) {
        self.files.iter_mut().zip(&other.files).for_each(|(a, b)| a.merge(b));
        self.series.iter_mut().zip(other.series).for_each(|(a, b)| a.merge(b));
        for (resource, counts) in other.resources {
            if self.resources.len() < MAX_RESOURCES || self.resources.contains_key(&resource) {
                self.resources.entry(resource).or_default().merge(counts);
            } else {
                self.other_resources.merge(counts);
            }
        }
        self.other_resources.merge(other.other_resources);
        self.truncated += other.truncated;
        self.damage.extend(other.damage);
        self.credentials |= other.credentials;
    }
}
