//! The four kinds of PATCH, and metadata.managedFields, over JSON.
//!
//! Results are as the request asks: what a subresource can't change, defaults and validation are the caller's.

mod apply;
mod compare;
mod fieldset;
mod go;
mod json;
mod managed;
mod merge;
mod schema;
mod shape;
mod strategic;

use serde_json::Value;

pub use apply::apply;
pub use json::json_patch;
pub use managed::{Manager, update_managed};
pub use strategic::strategic;

/// Why a patch is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// 400 BadRequest with this message.
    BadRequest(String),
    /// 422 Invalid with this message.
    Invalid(String),
    /// 409 Conflict of server-side apply.
    Conflict {
        /// The status' message.
        message: String,
        /// Of each field: `.spec.replicas`, `conflict with "kubectl" using apps/v1`. Their reason is
        /// `FieldManagerConflict`.
        causes: Vec<(String, String)>,
    },
}

/// Applies a JSON merge patch, RFC 7386. A patch that is no object replaces all: the real server answers 400 to it,
/// which is the caller's.
pub fn merge_patch(live: &Value, patch: &Value) -> Value {
    let mut value = live.clone();
    json_patch::merge(&mut value, patch);
    tidy(value)
}

/// Without the empty parts of metadata, which no object of the server has.
fn tidy(mut object: Value) -> Value {
    let empty = |v: &Value| match v {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        let names = ["labels", "annotations", "finalizers", "ownerReferences"];
        meta.retain(|name, value| !(names.contains(&name.as_str()) && empty(value)));
    }
    object
}

#[cfg(test)]
mod tests;
