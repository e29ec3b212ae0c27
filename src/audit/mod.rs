//! The API server's own audit log: from gigabytes of files on the responder's disk to who did what, and what can't be known.
//!
//! ```text
//! paths, buckets --source--> files, each in chunks or a stream --scan, in parallel--> lines
//! line --glance--> tally, coverage            (every line, unparsed where it has the API server's own shape)
//!      --needles, format--> Event --query--> Request, once --Originals, Row--> answer
//!                                 --Watch--> detect: facts, sessions, findings, what answers them
//!                                        --> graph: who reached what through whom
//!      --Brief--Watch--> detect: sessions     (where nobody asks for more)
//! ```
//!
//! # Words
//! An *identity* is whose requests are looked for. *Coverage* is which part of the window the files can speak for at
//! all: silence in a covered part is a finding, silence elsewhere is nothing. A *record* is what holds one event in
//! whatever form the log came.
//!
//! # What it holds to
//! - Memory is bounded: by the longest line taken ([`MAX_LINE`]), the requests kept ([`MAX_REQUESTS`]) and the hours covered.
//! - A request is one key of auditID *and* requestReceivedTimestamp: the client may choose its auditID
//!   (`Audit-ID` header), so alone it would let an intruder hide a request behind another.
//! - What can't be read is counted and named: a damaged line may be a call of the identity.

mod answer;
mod brief;
mod coverage;
pub mod detect;
pub mod event;
mod format;
mod glance;
pub mod graph;
mod instant;
mod query;
mod quick;
mod row;
mod scan;
mod shape;
mod source;
mod summary;
mod tally;
pub mod uri;

pub use answer::{Answer, BLIND_TO, describe};
pub use brief::Brief;
pub use coverage::{Coverage, Gap};
pub use event::Event;
pub use format::kubernetes::event as parse_event;
pub use query::{How, Kind, Query, Wanted};
pub use row::{Impersonated, Place, Row};
pub use scan::{FileFacts, MAX_LINE, MAX_REQUESTS, Originals, Request, Scan, Task, Watch, Window, key, scan};
pub use shape::shape;
pub use source::{LogFile, NotRead, Packing, bucket, find, original};
pub use summary::{Summary, slice_line};
pub use tally::{Damage, FileTally, Resource};

#[cfg(test)]
#[path = "../../benches/audit/log.rs"]
mod log;
#[cfg(test)]
mod scan_tests;
