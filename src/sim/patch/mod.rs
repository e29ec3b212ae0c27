//! The four kinds of PATCH, and metadata.managedFields.

mod lists;
mod managed;
mod strategic;

use serde_json::Value;

pub use managed::{Manager, apply, update_managed};
pub use strategic::strategic;

/// Why a patch is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// 400 BadRequest with this message.
    BadRequest(String),
    /// 422 Invalid with this message.
    Invalid(String),
    /// 409 Conflict of server-side apply: one (field, message) for each field.
    Conflict {
        /// The status' message.
        message: String,
        /// `.spec.replicas`, `conflict with "kubectl" using apps/v1`.
        causes: Vec<(String, String)>,
    },
}

/// RFC 6902.
///
/// # Errors
/// 400 for what is no patch, 422 for one that does not fit.
pub fn json_patch(live: &Value, patch: &Value) -> Result<Value, Refusal> {
    let bad = |e: &dyn std::fmt::Display| Refusal::BadRequest(format!("error decoding patch: {e}"));
    let patch: json_patch::Patch = serde_json::from_value(patch.clone()).map_err(|e| bad(&e))?;
    let mut value = live.clone();
    // The real server names neither the operation nor the path.
    json_patch::patch(&mut value, &patch)
        .map_err(|_| Refusal::Invalid("the server rejected our request due to an error in our request".into()))?;
    Ok(value)
}

/// RFC 7386.
pub fn merge_patch(live: &Value, patch: &Value) -> Value {
    let mut value = live.clone();
    json_patch::merge(&mut value, patch);
    value
}

#[cfg(test)]
mod tests;
