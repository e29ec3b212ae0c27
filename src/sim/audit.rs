//! The audit log: one audit.k8s.io/v1 Event a line for every request, at the level that a policy sets.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::identity::User;
use super::rbac::Attributes;
use super::world::micros;

/// How much of a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, what, when, and the answer's status.
    Metadata,
    /// The request's body too.
    Request,
    /// The answer's body too.
    RequestResponse,
}

impl Level {
    fn parse(text: &str) -> Level {
        match text {
            "None" => Level::None,
            "Request" => Level::Request,
            "RequestResponse" => Level::RequestResponse,
            _ => Level::Metadata,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }
}

/// One request and its answer.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// Audit-ID.
    pub id: String,
    /// Path and query.
    pub uri: String,
    /// Who.
    pub user: User,
    /// As whom, when somebody is impersonated.
    pub impersonated: Option<User>,
    /// From where.
    pub source: String,
    /// User-Agent.
    pub agent: String,
    /// What.
    pub asked: Attributes,
    /// HTTP status.
    pub code: u16,
    /// The Status of a refusal.
    pub status: Value,
    /// When it came; None for now.
    pub received: Option<OffsetDateTime>,
    /// Body, for the levels that have it.
    pub request: Value,
    /// Answer, for the levels that have it.
    pub response: Value,
    /// Why it was allowed or not, and what else the server notes.
    pub annotations: Vec<(String, String)>,
}

/// The log and its policy.
#[derive(Default)]
pub struct Audit {
    file: Option<File>,
    path: Option<PathBuf>,
    policy: Value,
    /// Until then nothing is written: a gap.
    silent_until: Option<OffsetDateTime>,
    written: u64,
}

impl Audit {
    /// Appends to that file, by an audit.k8s.io/v1 Policy (null: all at Metadata).
    ///
    /// # Errors
    /// When the file can't be made.
    pub fn to(path: PathBuf, policy: Value) -> std::io::Result<Audit> {
        let file = File::options().create(true).append(true).open(&path)?;
        Ok(Audit { file: Some(file), path: Some(path), policy, silent_until: None, written: 0 })
    }

    /// Where it is.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.path.as_deref()
    }

    /// Lines so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Loses everything until then.
    pub fn silence(&mut self, until: OffsetDateTime) {
        self.silent_until = Some(until);
    }

    /// Writes what a quiet cluster wrote before now: a node renews its Lease once a minute, but for what was lost
    /// between two times.
    pub fn past(&mut self, from: OffsetDateTime, until: OffsetDateTime, lost: &[(OffsetDateTime, OffsetDateTime)]) {
        let asked = Attributes {
            verb: "update".into(),
            group: "coordination.k8s.io".into(),
            version: "v1".into(),
            resource: "leases".into(),
            namespace: "kube-node-lease".into(),
            name: "node-1".into(),
            ..Attributes::default()
        };
        let mut line = Line {
            uri: "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1?timeout=10s".into(),
            user: User::new("system:node:node-1", &["system:nodes", "system:authenticated"]),
            source: "192.0.2.11".into(),
            agent: "kubelet/v1.35.4 (linux/amd64) kubernetes/embedded".into(),
            asked,
            code: 200,
            ..Line::default()
        };
        let (mut at, mut n) = (from, 0_u64);
        while at < until {
            if !lost.iter().any(|(begin, end)| at >= *begin && at < *end) {
                // Not random: the same drill has the same past.
                line.id = uuid::Builder::from_random_bytes(u128::from(n).to_be_bytes()).into_uuid().to_string();
                self.write(&line, "ResponseComplete", at);
            }
            at += time::Duration::minutes(1);
            n += 1;
        }
    }

    /// The level for a request.
    pub fn level(&self, user: &User, asked: &Attributes) -> Level {
        let Some(rules) = self.policy["rules"].as_array() else { return Level::Metadata };
        let rule = rules.iter().find(|rule| applies(rule, user, asked));
        rule.map_or(Level::None, |rule| Level::parse(rule["level"].as_str().unwrap_or_default()))
    }

    /// Writes a line. A failure to write is the cluster's own affair, as it is for a real one: the request goes on.
    pub fn write(&mut self, line: &Line, stage: &str, now: OffsetDateTime) {
        let level = self.level(&line.user, &line.asked);
        if level == Level::None || self.silent_until.is_some_and(|until| now < until) {
            return;
        }
        let omitted = self.policy["omitStages"].as_array().is_some_and(|all| all.iter().any(|s| s == stage));
        let Some(file) = self.file.as_mut().filter(|_| !omitted) else { return };
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": level.name(), "auditID": line.id, "stage": stage,
            "requestURI": line.uri, "verb": line.asked.verb, "user": line.user.info(), "sourceIPs": [line.source],
            "userAgent": line.agent, "requestReceivedTimestamp": micros(line.received.unwrap_or(now)), "stageTimestamp": micros(now),
        });
        if let Some(user) = &line.impersonated {
            event["impersonatedUser"] = user.info();
        }
        if line.asked.path.is_none() {
            event["objectRef"] = reference(&line.asked);
        }
        if line.code != 0 {
            let mut status = json!({"metadata": {}, "code": line.code});
            for part in ["status", "message", "reason", "details"] {
                if !line.status[part].is_null() {
                    status[part] = line.status[part].clone();
                }
            }
            event["responseStatus"] = status;
        }
        if level >= Level::Request && !line.request.is_null() {
            event["requestObject"] = line.request.clone();
        }
        if level >= Level::RequestResponse && !line.response.is_null() {
            event["responseObject"] = line.response.clone();
        }
        if !line.annotations.is_empty() {
            event["annotations"] =
                line.annotations.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<serde_json::Map<_, _>>().into();
        }
        let mut text = event.to_string();
        text.push('\n');
        if file.write_all(text.as_bytes()).is_ok() {
            self.written += 1;
        }
    }
}

fn reference(asked: &Attributes) -> Value {
    let mut reference = json!({"resource": asked.resource, "apiVersion": asked.version});
    for (key, value) in [
        ("namespace", &asked.namespace),
        ("name", &asked.name),
        ("apiGroup", &asked.group),
        ("subresource", &asked.subresource),
    ] {
        if !value.is_empty() {
            reference[key] = json!(value);
        }
    }
    reference
}

fn applies(rule: &Value, user: &User, asked: &Attributes) -> bool {
    let has = |key: &str, is: &dyn Fn(&str) -> bool| {
        let list = rule[key].as_array().filter(|l| !l.is_empty());
        list.is_none_or(|list| list.iter().filter_map(Value::as_str).any(is))
    };
    if !has("users", &|u| u == user.name)
        || !has("userGroups", &|g| user.groups.iter().any(|own| own == g))
        || !has("verbs", &|v| v == asked.verb)
        || !has("namespaces", &|n| n == asked.namespace)
    {
        return false;
    }
    let (resources, urls) = (rule["resources"].as_array(), rule["nonResourceURLs"].as_array());
    if resources.is_none_or(Vec::is_empty) && urls.is_none_or(Vec::is_empty) {
        return true;
    }
    if let Some(path) = &asked.path {
        return urls.into_iter().flatten().filter_map(Value::as_str).any(|url| {
            url == "*" || url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
        });
    }
    let full = if asked.subresource.is_empty() {
        asked.resource.clone()
    } else {
        format!("{}/{}", asked.resource, asked.subresource)
    };
    resources.into_iter().flatten().any(|entry| {
        let names = entry["resourceNames"].as_array().filter(|n| !n.is_empty());
        let kinds = entry["resources"].as_array().filter(|n| !n.is_empty());
        entry["group"].as_str().unwrap_or_default() == asked.group
            && kinds.is_none_or(|all| {
                all.iter().filter_map(Value::as_str).any(|r| {
                    r == "*"
                        || r == full
                        || r.strip_suffix("/*").is_some_and(|of| of == asked.resource && !asked.subresource.is_empty())
                        || r.strip_prefix("*/").is_some_and(|sub| sub == asked.subresource)
                })
            })
            && names.is_none_or(|names| names.iter().any(|n| n == asked.name.as_str()))
    })
}
