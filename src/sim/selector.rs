//! Label and field selectors of lists and watches, and those inside objects.

use std::collections::BTreeMap;

use serde_json::Value;

use super::answer::{Refusal, Result};
use super::store::Entry;

/// What field selectors may name beside metadata.name and metadata.namespace.
const FIELDS: &[(&str, &[&str])] = &[
    (
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    (
        "events",
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
    ),
    ("nodes", &["spec.unschedulable"]),
    ("namespaces", &["status.phase"]),
    ("secrets", &["type"]),
    ("jobs.batch", &["status.successful"]),
    ("replicasets.apps", &["status.replicas"]),
    ("certificatesigningrequests.certificates.k8s.io", &["spec.signerName"]),
];

/// The values of an object that field selectors may name.
pub fn fields(of: &str, object: &Value) -> Vec<(&'static str, String)> {
    let Some((_, names)) = FIELDS.iter().find(|(kind, _)| *kind == of) else { return Vec::new() };
    names
        .iter()
        .map(|name| {
            let at = match (of, *name) {
                ("jobs.batch", "status.successful") => &object["status"]["succeeded"],
                ("events", "source") => &object["source"]["component"],
                _ => name.split('.').fold(object, |at, part| &at[part]),
            };
            let text = match at {
                Value::String(text) => text.clone(),
                Value::Null if ["spec.unschedulable", "spec.hostNetwork"].contains(name) => "false".into(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            (*name, text)
        })
        .collect()
}

#[derive(Debug, Clone)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// Label and field tests, all of which must hold.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// From the query's `labelSelector` and `fieldSelector`.
    ///
    /// # Errors
    /// 400 in the server's words.
    pub fn parse(of: &str, labels: &str, fields: &str) -> Result<Selector> {
        let refuse = |why: String| Refusal::bad_request(why);
        Ok(Selector { labels: parse_labels(labels).map_err(refuse)?, fields: parse_fields(of, fields)? })
    }

    /// Nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is meant.
    pub fn matches(&self, namespace: &str, name: &str, entry: &Entry) -> bool {
        self.labels.iter().all(|(key, test)| holds(test, entry.labels.get(key).map(String::as_str)))
            && self.fields.iter().all(|(field, value, equal)| {
                let is = match field.as_str() {
                    "metadata.name" => name,
                    "metadata.namespace" => namespace,
                    other => entry.field(other),
                };
                (is == value) == *equal
            })
    }
}

fn holds(test: &Test, value: Option<&str>) -> bool {
    match test {
        Test::In(all) => value.is_some_and(|v| all.iter().any(|a| a == v)),
        Test::NotIn(all) => value.is_none_or(|v| !all.iter().any(|a| a == v)),
        Test::Exists => value.is_some(),
        Test::Absent => value.is_none(),
    }
}

fn parse_fields(of: &str, text: &str) -> Result<Vec<(String, String, bool)>> {
    let mut all = Vec::new();
    for term in text.split(',').filter(|t| !t.is_empty()) {
        let (field, value, equal) = if let Some((f, v)) = term.split_once("!=") {
            (f, v, false)
        } else if let Some((f, v)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (f, v, true)
        } else {
            return Err(Refusal::bad_request(format!(
                "Unable to find \"{}\" that match label selector \"\", field selector \"{text}\": invalid selector: '{term}'; can't understand '{term}'",
                of.split('.').next().unwrap_or_default()
            )));
        };
        let known = ["metadata.name", "metadata.namespace"].contains(&field)
            || FIELDS.iter().any(|(kind, names)| *kind == of && names.contains(&field));
        if !known {
            let converted = FIELDS.iter().any(|(kind, _)| *kind == of);
            return Err(Refusal::bad_request(if converted {
                format!("field label not supported: {field}")
            } else {
                format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            }));
        }
        all.push((field.to_string(), value.to_string(), equal));
    }
    Ok(all)
}

/// `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
fn parse_labels(text: &str) -> std::result::Result<Vec<(String, Test)>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = {
            let mut depth = 0usize;
            rest.find(|c| {
                match c {
                    '(' => depth += 1,
                    ')' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                c == ',' && depth == 0
            })
            .unwrap_or(rest.len())
        };
        let term = rest[..end].trim();
        rest = rest[end..].trim_start_matches(',').trim();
        if let Some(key) = term.strip_prefix('!') {
            all.push((key.trim().to_string(), Test::Absent));
        } else if let Some((key, value)) = term.split_once("!=") {
            all.push((key.trim().to_string(), Test::NotIn(vec![value.trim().into()])));
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            all.push((key.trim().to_string(), Test::In(vec![value.trim().into()])));
        } else if let Some((head, values)) = term.split_once('(') {
            let mut words = head.split_whitespace();
            let (key, operator) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let values = values.trim_end_matches(')').split(',').map(|v| v.trim().to_string()).collect();
            match operator {
                "in" => all.push((key.to_string(), Test::In(values))),
                "notin" => all.push((key.to_string(), Test::NotIn(values))),
                other => {
                    return Err(format!(
                        "unable to parse requirement: found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                    ));
                }
            }
        } else if term.contains(char::is_whitespace) {
            let word = term.split_whitespace().nth(1).unwrap_or_default();
            return Err(format!("unable to parse requirement: found '{word}', expected: in, notin, =, ==, !=, gt, lt"));
        } else {
            all.push((term.to_string(), Test::Exists));
        }
    }
    for (key, _) in &all {
        let name = key.rsplit('/').next().unwrap_or_default();
        let fine = !name.is_empty()
            && name.len() <= 63
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric)
            && name.as_bytes().last().is_some_and(u8::is_ascii_alphanumeric);
        if !fine {
            return Err(format!(
                "unable to parse requirement: <nil>: Invalid value: \"{key}\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ));
        }
    }
    Ok(all)
}

/// Whether a LabelSelector of an object (matchLabels, matchExpressions) takes these labels. An empty one takes all, null
/// none.
pub fn takes(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    if selector.is_null() {
        return false;
    }
    let mut equal = selector["matchLabels"].as_object().into_iter().flatten();
    equal.all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str())
        && selector["matchExpressions"].as_array().into_iter().flatten().all(|e| {
            let values =
                || e["values"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(Into::into)).collect();
            let test = match e["operator"].as_str().unwrap_or_default() {
                "In" => Test::In(values()),
                "NotIn" => Test::NotIn(values()),
                "Exists" => Test::Exists,
                _ => Test::Absent,
            };
            holds(&test, labels.get(e["key"].as_str().unwrap_or_default()).map(String::as_str))
        })
}

/// Whether a plain map selector (Service, ReplicationController) takes these labels; an empty one takes none.
pub fn map_takes(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    selector
        .as_object()
        .is_some_and(|s| !s.is_empty() && s.iter().all(|(k, v)| labels.get(k).map(String::as_str) == v.as_str()))
}
