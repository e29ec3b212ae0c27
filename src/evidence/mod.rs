//! Evidence: the store that artifacts are written to, and the bundle they are sealed into.

pub mod bundle;
pub mod collector_image;
mod document;
mod index;
pub mod registry;
pub mod sealed;
mod store;

pub use index::{IndexSummary, Indexer};
pub use store::{Store, Writer, hash_file, hex, segment};
