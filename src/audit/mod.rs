//! Reading the API server's own audit log: JSON lines of `audit.k8s.io/v1` Events, from files on the responder's disk.
//!
//! # Words
//! An *identity* is whose requests are looked for. *Coverage* is which part of the window the files can speak for at
//! all: silence in a covered part is a finding, silence elsewhere is nothing.
//!
//! # What it holds to
//! - Memory is bounded: by the longest line taken ([`MAX_LINE`]), the requests kept ([`MAX_REQUESTS`]) and the window.
//! - A request is one key of auditID *and* requestReceivedTimestamp: the client may choose its auditID
//!   (`Audit-ID` header), so alone it would let an intruder hide a request behind another.
//! - What can't be read is counted and named: a damaged line may be a call of the identity.

mod coverage;
pub mod detect;
pub mod event;
mod files;
mod instant;
mod line;
mod parse;
mod review;
mod summary;
pub mod uri;

pub use coverage::{Coverage, Gap};
pub use event::Event;
pub use files::{LogFile, NotRead, find};
pub use line::MAX_LINE;
pub use parse::event as parse_event;
pub use review::{Identity, MAX_REQUESTS, Request, Review, Window, review};
pub use summary::{Summary, slice_line};
