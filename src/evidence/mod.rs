//! Evidence: the store that artifacts are written to, and the bundle they are sealed into.

mod store;

pub use store::{Store, Writer, hash_file, hex, segment};
