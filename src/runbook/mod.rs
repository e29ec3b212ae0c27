//! Runbooks: the model, parsing with places, the check that reports every problem at once, expressions, schema.

mod model;

pub use model::{AlertMapping, Approve, Choice, Input, InputKind, Item, OnFailure, Reference, Retry, Runbook, Step};
