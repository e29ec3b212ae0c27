//! ConfigMaps and Secrets.
use k8s_openapi::ByteString;
use serde_json::Value;

use super::super::field::{Causes, Path, entries, flag, same, text};
use super::super::names;

/// All values together, in bytes.
const LIMIT: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";

fn keys(object: &Value, field: &str, causes: &mut Causes) {
    for (key, _) in entries(&object[field]) {
        causes.invalid_texts(&Path::new(field).key(key), key, names::config_key(key));
    }
}

fn frozen(object: &Value, old: &Value, fields: &[&str], causes: &mut Causes) {
    if !flag(&old["immutable"]) {
        return;
    }
    if !flag(&object["immutable"]) {
        causes.forbidden(&Path::new("immutable"), FROZEN);
    }
    for field in fields {
        if !same(&object[*field], &old[*field]) {
            causes.forbidden(&Path::new(field), FROZEN);
        }
    }
}

/// The bytes behind a base64 text.
fn bytes(value: &Value) -> Vec<u8> {
    serde_json::from_value::<ByteString>(value.clone()).map(|b| b.0).unwrap_or_default()
}

/// A ConfigMap, but for its metadata.
pub(super) fn config_map(object: &Value, old: Option<&Value>, causes: &mut Causes) {
    keys(object, "data", causes);
    for (key, _) in entries(&object["data"]) {
        if !object["binaryData"][key.as_str()].is_null() {
            causes.invalid_text(&Path::new("data").key(key), key, "duplicate of key present in binaryData");
        }
    }
    keys(object, "binaryData", causes);
    let texts: usize = entries(&object["data"]).map(|(_, v)| text(v).len()).sum();
    let binary: usize = entries(&object["binaryData"]).map(|(_, v)| bytes(v).len()).sum();
    if texts + binary > LIMIT {
        causes.too_long(&Path::new(""), LIMIT);
    }
    if let Some(old) = old {
        frozen(object, old, &["data", "binaryData"], causes);
    }
}

/// A Secret, but for its metadata.
pub(super) fn secret(object: &Value, old: Option<&Value>, causes: &mut Causes) {
    keys(object, "data", causes);
    let data = &object["data"];
    if entries(data).map(|(_, v)| bytes(v).len()).sum::<usize>() > LIMIT {
        causes.too_long(&Path::new("data"), LIMIT);
    }
    let missing = |key: &str| data[key].is_null();
    let at = |key: &str| Path::new("data").key(key);
    match text(&object["type"]) {
        "kubernetes.io/service-account-token" => {
            let annotation = "kubernetes.io/service-account.name";
            if text(&object["metadata"]["annotations"][annotation]).is_empty() {
                causes.required(&Path::new("metadata.annotations").key(annotation), "");
            }
        }
        "kubernetes.io/dockercfg" => json_entry(data, ".dockercfg", causes),
        "kubernetes.io/dockerconfigjson" => json_entry(data, ".dockerconfigjson", causes),
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            causes.required(&at("username"), "");
            causes.required(&at("password"), "");
        }
        "kubernetes.io/ssh-auth" if bytes(&data["ssh-privatekey"]).is_empty() => {
            causes.required(&at("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if missing(key) {
                    causes.required(&at(key), "");
                }
            }
        }
        _ => {}
    }
    if let Some(old) = old {
        causes.immutable(&Path::new("type"), &object["type"], &old["type"]);
        frozen(object, old, &["data"], causes);
    }
}

/// An entry that has to be JSON; what it is instead stays secret.
fn json_entry(data: &Value, key: &str, causes: &mut Causes) {
    let path = Path::new("data").key(key);
    if data[key].is_null() {
        causes.required(&path, "");
        return;
    }
    let bytes = bytes(&data[key]);
    if serde_json::from_slice::<Value>(&bytes).is_ok_and(|v| v.is_object()) {
        return;
    }
    let detail = match bytes.iter().find(|c| !c.is_ascii_whitespace()) {
        None => "unexpected end of JSON input".to_owned(),
        Some(c) => format!("invalid character '{}' looking for beginning of value", char::from(*c)),
    };
    causes.invalid_text(&path, "<secret contents redacted>", &detail);
}
