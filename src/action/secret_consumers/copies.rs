//! Where else the exposed value lies: in other Secrets, in ConfigMaps. Values are compared by their
//! keyed digests, and looked for within longer ones; none is shown.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::action::sealed::{Values, Vault};
use crate::cluster::{Cx, Fault, Problem, raw};

/// A Secret has at most 1 MiB.
const PAGE: usize = 100;
/// Shorter values are met by chance, and are not looked for.
const LONG: usize = 8;
/// Keys whose values are no secrets by their names: they lie in many places by right.
const PUBLIC: &[&str] = &[
    "ca.crt",
    "tls.crt",
    "namespace",
    "username",
    "user",
    "host",
    "hostname",
    "port",
    "database",
    "dbname",
    "server",
    "sslmode",
    "type",
];

/// One place with the same value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Copy {
    pub kind: &'static str,
    pub namespace: String,
    pub name: String,
    pub key: String,
    /// Which of the exposed Secret's keys it is.
    pub of: String,
    /// It stands within a longer value: a connection string, a configuration file.
    pub within: bool,
    #[serde(skip)]
    pub uid: String,
}

#[derive(Deserialize)]
struct Object {
    metadata: Meta,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
}

/// What is looked for.
struct Needles<'a> {
    vault: &'a Vault,
    digests: Vec<(String, &'a str)>,
    long: Vec<(&'a [u8], &'a str)>,
}

impl Needles<'_> {
    fn in_value(&self, value: &[u8]) -> Option<(String, bool)> {
        let digest = self.vault.digest(value);
        if let Some((_, key)) = self.digests.iter().find(|(d, _)| *d == digest) {
            return Some(((*key).into(), false));
        }
        let within = self.long.iter().find(|(needle, _)| memchr::memmem::find(value, needle).is_some());
        within.map(|(_, key)| ((*key).into(), true))
    }
}

/// The copies, and where could not be looked. `but`: the exposed Secret's own UID. `keys`: which values are looked for.
pub async fn find(
    cx: &Cx,
    namespace: &str,
    vault: &Vault,
    exposed: &Values,
    keys: &[String],
    but: &str,
    everywhere: bool,
) -> Result<(Vec<Copy>, Vec<String>), Problem> {
    let looked_for =
        exposed.0.iter().filter(|(k, v)| keys.contains(k) && v.len() >= LONG && !PUBLIC.contains(&k.as_str()));
    let needles = Needles {
        vault,
        digests: looked_for.clone().map(|(k, v)| (vault.digest(v), k.as_str())).collect(),
        long: looked_for.map(|(k, v)| (v.as_slice(), k.as_str())).collect(),
    };
    let mut copies = Vec::new();
    let mut left = Vec::new();
    if needles.digests.is_empty() {
        left.push(format!("copies of its values: none has {LONG} characters and a key that tells of a secret"));
        return Ok((copies, left));
    }
    for (kind, plural) in [("Secret", "secrets"), ("ConfigMap", "configmaps")] {
        let mut take = |object: Object| {
            if object.metadata.uid == but {
                return;
            }
            for (key, text) in object.data.into_iter().flatten() {
                let value = Zeroizing::new(if kind == "Secret" {
                    STANDARD.decode(&text).unwrap_or_default()
                } else {
                    text.into_bytes()
                });
                if let Some((of, within)) = needles.in_value(&value) {
                    let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone());
                    copies.push(Copy { kind, namespace, name, key, of, within, uid: object.metadata.uid.clone() });
                }
            }
        };
        if everywhere {
            match raw::each(&cx.client, &format!("/api/v1/{plural}"), PAGE, &mut take).await {
                Ok(()) => continue,
                Err(problem) if problem.fault == Fault::Refused => {
                    left.push(format!("copies in {plural} of other namespaces: you may not list them there"));
                }
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(problem) => left.push(format!("copies in {plural}: {problem}")),
            }
        }
        match raw::each(&cx.client, &format!("/api/v1/namespaces/{namespace}/{plural}"), PAGE, &mut take).await {
            Ok(()) => {}
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) if problem.fault == Fault::Refused => {
                left.push(format!("copies in {plural} of {namespace}: you may not list them"));
            }
            Err(problem) => left.push(format!("copies in {plural} of {namespace}: {problem}")),
        }
    }
    copies.sort();
    copies.dedup();
    Ok((copies, left))
}
