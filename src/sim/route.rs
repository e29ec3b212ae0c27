//! What a path and a method ask for.

use std::collections::BTreeMap;

use super::rbac::Attributes;

/// Query parameters; the last of a name counts.
#[derive(Debug, Clone, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// `a=b&c`.
    pub fn parse(text: &str) -> Query {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for part in text.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            all.entry(decoded(name)).or_default().push(decoded(value));
        }
        Query(all)
    }

    /// One value; empty when it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).and_then(|v| v.last()).map_or("", |v| v)
    }

    /// All values.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0.get(name).cloned().unwrap_or_default()
    }

    /// `true` or `1`.
    pub fn is(&self, name: &str) -> bool {
        ["true", "1"].contains(&self.get(name))
    }

    /// Whether it was given at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// Percent-decoding.
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex: Vec<u8> = rest.by_ref().take(2).collect();
                let value = std::str::from_utf8(&hex).ok().and_then(|h| u8::from_str_radix(h, 16).ok());
                bytes.push(value.unwrap_or(b'?'));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A request's path and method, taken apart as the API server does (RequestInfo).
pub fn attributes(method: &str, path: &str, query: &Query) -> Attributes {
    let parts: Vec<String> =
        path.trim_matches('/').split('/').filter(|p| !p.is_empty()).map(|p| decoded(&p.replace('+', "%2B"))).collect();
    let mut parts: &[String] = &parts;
    let lower = method.to_ascii_lowercase();
    let no_resource = || Attributes { verb: lower.clone(), path: Some(path.to_string()), ..Attributes::default() };
    let (group, version) = match parts {
        [api, version, rest @ ..] if api == "api" && !rest.is_empty() => {
            parts = rest;
            (String::new(), version.clone())
        }
        [apis, group, version, rest @ ..] if apis == "apis" && !rest.is_empty() => {
            parts = rest;
            (group.clone(), version.clone())
        }
        _ => return no_resource(),
    };
    let mut asked = Attributes { group, version, ..Attributes::default() };
    if let [word, namespace, rest @ ..] = parts
        && word == "namespaces"
    {
        asked.namespace = namespace.clone();
        let below = rest.first().map(String::as_str).unwrap_or_default();
        if !["", "status", "finalize"].contains(&below) {
            parts = rest;
        }
    }
    let part = |i: usize| parts.get(i).cloned().unwrap_or_default();
    (asked.resource, asked.name, asked.subresource) = (part(0), part(1), part(2));
    asked.verb = match (lower.as_str(), asked.name.is_empty()) {
        ("get" | "head", _) if query.is("watch") && asked.subresource.is_empty() => "watch",
        ("get" | "head", true) => "list",
        ("get" | "head", false) => "get",
        ("post", _) => "create",
        ("put", _) => "update",
        ("patch", _) => "patch",
        ("delete", true) => "deletecollection",
        ("delete", false) => "delete",
        _ => "",
    }
    .into();
    if asked.name.is_empty() && ["list", "watch", "deletecollection"].contains(&asked.verb.as_str()) {
        let named = query.get("fieldSelector").strip_prefix("metadata.name=").filter(|n| !n.contains(','));
        if let Some(name) = named {
            asked.name = name.trim_start_matches('=').into();
        }
    }
    asked
}
