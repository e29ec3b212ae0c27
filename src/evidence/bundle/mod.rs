//! The bundle: a tar that holds one BagIt 1.0 bag (RFC 8493), so that `tar` and `sha256sum` are enough to check it.
//!
//! ```text
//! quell-<incident>-<time>/
//!   bagit.txt bag-info.txt manifest-sha256.txt tagmanifest-sha256.txt
//!   custody.jsonl     the journal, byte for byte
//!   artifacts.json    every artifact's record
//!   footprint.json    what quell itself changed and left behind, made out of the custody log
//!   tool.json runbook.yaml alert.json? VERIFY.md verify.sh
//!   data/<step>/…     what was captured
//! ```
//!
//! Entries are sorted, owned by 0:0, and dated with the journal's last record: the same incident seals to the same bytes.

mod extract;
mod footprint;
mod manifest;
mod read;
mod seal;
mod verify;

pub use extract::{extract, list, show};
pub use seal::{Sealed, seal};
pub use verify::{Finding, Report, verify};

/// Version of the layout, `Bundle-Format` in bag-info.txt.
pub const FORMAT: &str = "quell/1";
/// The script that checks a bag with stock tools.
const VERIFY_SH: &str = include_str!("verify.sh");
/// How to check a bag by hand.
const VERIFY_MD: &str = include_str!("VERIFY.md");
/// Tag files that are read into memory when a bundle is checked may have this many bytes.
const MAX_TAG: u64 = 256 << 20;
