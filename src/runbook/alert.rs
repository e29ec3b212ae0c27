//! One alert document to a runbook's typed inputs, by the mapping that the runbook declares, and nothing else.
//!
//! Shapes: Alertmanager's webhook (version 4, prometheus.io/docs/alerting/latest/configuration, "webhook_config") and
//! Falco's JSON output (`output_fields`). The document is a stranger's: sizes are capped, nothing in it is evaluated.

use std::collections::BTreeSet;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::model::{AlertMapping, Runbook};
use crate::cluster::{Fault, Problem};

/// No alert document is larger.
const MAX_BYTES: usize = 256 * 1024;
/// No mapped value is longer.
const MAX_VALUE: usize = 1024;

/// What an alert says, by the runbook's mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertMatch {
    /// `alertmanager` or `falco`.
    pub kind: String,
    /// Input and text.
    pub inputs: Vec<(String, String)>,
    /// The same for every repetition of the same alert.
    pub fingerprint: String,
    /// SHA-256 of the document.
    pub sha256: String,
}

/// Reads one document.
///
/// # Errors
/// [`Fault::Refused`] when the target is missing, doubtful, doubled or truncated away; [`Fault::Usage`] when it is no alert.
pub fn from_alert(runbook: &Runbook, document: &[u8]) -> Result<AlertMatch, Problem> {
    if document.len() > MAX_BYTES {
        return Err(refuse("the alert document is larger than 256 KiB"));
    }
    let parsed: Strict = serde_json::from_slice(document)
        .map_err(|e| Problem::usage(format!("the alert is not JSON as it should be: {e}")))?;
    let document_value = parsed.0;
    let (kind, alert, key) = if document_value["alerts"].is_array() {
        let alert = firing(&document_value)?;
        let key = format!(
            "{} {} {}",
            text(&alert["fingerprint"]),
            text(&alert["startsAt"]),
            text(&document_value["groupKey"])
        );
        ("alertmanager", alert, key)
    } else if document_value["output_fields"].is_object() && document_value["rule"].is_string() {
        let key = text(&document_value["rule"]);
        ("falco", document_value.clone(), key)
    } else {
        return Err(Problem::usage("the alert is neither an Alertmanager webhook nor Falco's JSON output")
            .hint("Alertmanager has `alerts`, Falco has `rule` and `output_fields`"));
    };
    let mapping = one_mapping(runbook, kind, &alert)?;
    let mut inputs = Vec::new();
    for (input, path) in &mapping.inputs {
        inputs.push((input.clone(), mapped(&alert, path)?));
    }
    let mut hash = Sha256::new();
    hash.update(format!("{kind}\n{}\n{key}\n", runbook.name));
    for (input, value) in &inputs {
        hash.update(format!("{input}={value}\n"));
    }
    Ok(AlertMatch {
        kind: kind.into(),
        inputs,
        fingerprint: hex(&hash.finalize()),
        sha256: hex(&Sha256::digest(document)),
    })
}

/// The one firing alert of a webhook.
fn firing(document: &Value) -> Result<Value, Problem> {
    let truncated = document["truncatedAlerts"].as_u64().unwrap_or(0);
    if truncated > 0 {
        return Err(refuse(format!(
            "Alertmanager left {truncated} alerts out of this document: which target is meant can't be told"
        ))
        .hint("set max_alerts: 0 for this receiver, or group by namespace and pod"));
    }
    let all = document["alerts"].as_array().cloned().unwrap_or_default();
    let mut firing: Vec<Value> = all.into_iter().filter(|a| a["status"] == "firing").collect();
    match firing.len() {
        1 => Ok(firing.remove(0)),
        0 => Err(refuse("no alert in this document is firing")
            .hint("resolved alerts start nothing; leave send_resolved off for this receiver")),
        n => Err(refuse(format!("{n} alerts are firing in this document: which one is meant can't be told"))
            .hint("group this receiver's alerts by namespace and pod, so that each comes alone")),
    }
}

fn one_mapping<'r>(runbook: &'r Runbook, kind: &str, alert: &Value) -> Result<&'r AlertMapping, Problem> {
    let fits = |m: &&AlertMapping| {
        m.kind == kind && m.matches.iter().all(|(path, value)| find(alert, path).is_some_and(|v| text(v) == *value))
    };
    let mut found = runbook.alerts.iter().filter(fits);
    match (found.next(), found.next()) {
        (Some(mapping), None) => Ok(mapping),
        (None, _) => Err(refuse(format!("runbook {} has no mapping for this {kind} alert", runbook.name))
            .hint("add one under `alerts`, or give the inputs with --set")),
        (Some(_), Some(_)) => {
            Err(refuse(format!("several mappings of runbook {} fit this {kind} alert", runbook.name))
                .hint("tell them apart by `match`"))
        }
    }
}

fn mapped(alert: &Value, path: &str) -> Result<String, Problem> {
    let found = find(alert, path);
    match found {
        Some(Value::String(text))
            if !text.is_empty() && text.len() <= MAX_VALUE && !text.chars().any(char::is_control) =>
        {
            Ok(text.clone())
        }
        Some(Value::Number(n)) => Ok(n.to_string()),
        None | Some(Value::Null) => {
            Err(refuse(format!("the alert has no {path}")).hint("the target must be in the alert: nothing is guessed"))
        }
        Some(Value::String(text)) if text.is_empty() => Err(refuse(format!("the alert's {path} is empty"))),
        Some(other) => {
            let shown: String = other.to_string().chars().take(80).collect();
            Err(refuse(format!("the alert's {path} is no usable text: {shown}")))
        }
    }
}

/// `labels.pod`; keys may have dots themselves (`output_fields.k8s.pod.name`), so the longest key that is there wins.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    if path.is_empty() {
        return Some(value);
    }
    let map = value.as_object()?;
    if let Some(whole) = map.get(path) {
        return Some(whole);
    }
    path.rmatch_indices('.').find_map(|(i, _)| find(map.get(&path[..i])?, &path[i + 1..]))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn refuse(message: impl Into<String>) -> Problem {
    Problem::new(Fault::Refused, message)
}

/// JSON where a key that stands twice is an error: which of the two is meant can't be told.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Strict;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Value::Null))
            }

            fn visit_bool<E>(self, v: bool) -> Result<Strict, E> {
                Ok(Strict(v.into()))
            }

            fn visit_i64<E>(self, v: i64) -> Result<Strict, E> {
                Ok(Strict(v.into()))
            }

            fn visit_u64<E>(self, v: u64) -> Result<Strict, E> {
                Ok(Strict(v.into()))
            }

            fn visit_f64<E>(self, v: f64) -> Result<Strict, E> {
                Ok(Strict(v.into()))
            }

            fn visit_str<E>(self, v: &str) -> Result<Strict, E> {
                Ok(Strict(v.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Strict, A::Error> {
                let mut all = Vec::new();
                while let Some(Strict(v)) = seq.next_element()? {
                    all.push(v);
                }
                Ok(Strict(Value::Array(all)))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Strict, A::Error> {
                let (mut all, mut seen) = (Map::new(), BTreeSet::new());
                while let Some((key, Strict(value))) = map.next_entry::<String, Strict>()? {
                    if !seen.insert(key.clone()) {
                        return Err(serde::de::Error::custom(format!("the key {key:?} stands there twice")));
                    }
                    all.insert(key, value);
                }
                Ok(Strict(Value::Object(all)))
            }
        }
        deserializer.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests;
