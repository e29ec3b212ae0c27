//! What an API server (Kubernetes 1.35) does to an object between decoding and storing it: strict decoding, type errors,
//! defaults, validation and Pod Security admission, with the server's wording. Objects are plain JSON values.
//!
//! The order is the server's: [`type_error`], [`unknown_fields`], [`set_defaults`], admission, then [`validate`].
mod decode;
mod defaults;
mod field;
#[cfg(test)]
mod golden_tests;
mod metadata;
mod names;
mod pod_security;
mod quantity;
mod validate;

use serde_json::Value;

/// One cause of a 422.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldValueNotSupported`, `FieldValueForbidden`, `FieldValueDuplicate`,
    /// `FieldValueNotFound`, `FieldValueTooLong`.
    pub reason: &'static str,
    /// `spec.containers[0].image`
    pub field: String,
    /// `Required value`, or `Invalid value: "X": a lowercase RFC 1123 label must…`: as the server's causes have it, without
    /// the field.
    pub message: String,
}

/// Unknown fields in the server's words, `unknown field "spec.foo"`: for `fieldValidation=Strict` (400: `… strict decoding
/// error: unknown field "spec.foo"`) or `Warn`. Empty for kinds not known, and for an object with a [`type_error`].
pub fn unknown_fields(api_version: &str, kind: &str, object: &Value) -> Vec<String> {
    decode::unknown_fields(api_version, kind, object)
}

/// A value of the wrong type, as near to the server's wording as is sensible: the whole message of the 400, `Pod in version
/// "v1" cannot be handled as a Pod: json: cannot unmarshal …`. None for kinds not known.
pub fn type_error(api_version: &str, kind: &str, object: &Value) -> Option<String> {
    decode::type_error(api_version, kind, object)
}

/// The built-in defaults, and what the server sets by itself before it first stores an object (a Pod's `status.phase` and
/// `qosClass`, a Secret's `data` for `stringData`, a Namespace's label, quantities in canonical form, a Job's selector if
/// `metadata.uid` is there). Not what admission adds (service account, tolerations, priority, finalizers) nor what is
/// allocated (addresses, ports). Idempotent; kinds not known stay as they are.
pub fn set_defaults(kind: &str, object: &mut Value) {
    defaults::set_defaults(kind, object);
}

/// Pod Security admission: what violates the level (`baseline` or `restricted`), each as the server lists it after
/// `violates PodSecurity "restricted:latest": `, to be joined with `, `. Empty when allowed, and for other levels.
/// Ephemeral containers count.
pub fn pod_security(level: &str, pod: &Value) -> Vec<String> {
    pod_security::violations(level, pod)
}

/// What is wrong with an object after [`set_defaults`], on create (`old` is none) or update: names by kind, labels,
/// annotations and the rest of the metadata, the spec, and what may not change (a Pod's spec, a Deployment's selector, a
/// Job's template, a binding's `roleRef`, an immutable Secret, a Service's address …). In the server's order, roughly.
///
/// On create, a name generated from `generateName` has to be there already. On update, what a client left out and the
/// server keeps (a Service's `clusterIP`, `metadata.uid` …) may be missing.
pub fn validate(kind: &str, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    validate::validate(kind, object, old)
}

/// What is wrong with a change through a Pod's subresource `ephemeralcontainers`; `object` is the Pod after the change (and
/// after [`set_defaults`]). Changes to anything else are not looked at: the server drops them.
pub fn validate_ephemeral(object: &Value, old: &Value) -> Vec<Cause> {
    validate::validate_ephemeral(object, old)
}
