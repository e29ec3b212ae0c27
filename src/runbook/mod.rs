//! Runbooks: the model, parsing with places, the check that reports every problem at once, expressions, inputs, alerts.

mod alert;
mod check;
mod diagnostic;
mod duration;
mod expression;
mod inputs;
mod library;
mod model;
mod parameters;
mod references;
mod schema;
mod show;
pub mod yaml;

pub use alert::{AlertMatch, from_alert};
pub use check::{Known, check, check_all};
pub use diagnostic::{Diagnostic, Severity, render};
pub use duration::parse as parse_duration;
pub use expression::{ExprError, Scope, evaluate, list, truth};
pub use inputs::bind_inputs;
pub use library::{Found, Library, Row};
pub use model::{AlertMapping, Approve, Input, InputKind, Item, OnFailure, Reference, Retry, Runbook, Step};
pub use schema::schema;
pub use show::{document, new, show};
