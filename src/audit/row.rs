//! One request as an answer shows it.

use serde::Serialize;

use super::event::{Event, User};
use super::query::Query;
use super::scan::Request;
use crate::clock;

/// Where the original line lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// Byte in its content at which the record begins.
    pub offset: u64,
    /// Its bytes.
    pub length: u32,
}

/// An impersonated user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Impersonated {
    /// The name.
    pub username: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// A request; text as the log has it, not escaped. Absent: not said by the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of the audit log's own fields")]
pub struct Row {
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// When the API server received it.
    pub time: String,
    pub stage: &'static str,
    pub level: &'static str,
    pub verb: String,
    pub user: String,
    pub groups: Vec<String>,
    pub impersonated_user: Option<Impersonated>,
    #[serde(rename = "sourceIPs")]
    pub source_ips: Vec<String>,
    /// The last that is no trusted proxy.
    #[serde(rename = "trustedSourceIP")]
    pub trusted_source_ip: Option<String>,
    pub user_agent: String,
    pub api_group: String,
    /// Empty for a plain path.
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Of an exec.
    pub command: Vec<String>,
    pub code: Option<u16>,
    /// Let through by the authorizer; it may have failed all the same.
    pub allowed: Option<bool>,
    pub succeeded: Option<bool>,
    pub reason: String,
    pub dry_run: bool,
    /// Begun, and not seen to end.
    pub perhaps_still_open: bool,
    #[serde(rename = "credentialID")]
    pub credential_id: Option<String>,
    #[serde(rename = "issuedCredentialID")]
    pub issued_credential_id: Option<String>,
    pub pod: Option<String>,
    pub node: Option<String>,
    /// Which part the identity that was asked for had: itself, as another, by another, issued.
    pub matched: Option<&'static str>,
    pub provider: &'static str,
    pub origin: Place,
}

impl Row {
    /// Of an event, found for a query, in the file of that name.
    pub fn of(event: &Event<'_>, request: &Request, query: &Query, file: &str) -> Row {
        let texts = |all: &[std::borrow::Cow<'_, str>]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let object = event.object.as_ref();
        let of = |text: Option<&std::borrow::Cow<'_, str>>| text.map(ToString::to_string).unwrap_or_default();
        Row {
            audit_id: event.audit_id.to_string(),
            time: clock::rfc3339(event.received),
            stage: event.stage.as_str(),
            level: event.level.as_str(),
            verb: event.verb.to_string(),
            user: event.user.username.to_string(),
            groups: texts(&event.user.groups),
            impersonated_user: event.impersonated.as_ref().map(|user: &User<'_>| Impersonated {
                username: user.username.to_string(),
                groups: texts(&user.groups),
            }),
            source_ips: texts(&event.source_ips),
            trusted_source_ip: event.trusted_ip(&query.trusted_proxies).map(str::to_owned),
            user_agent: event.user_agent.to_string(),
            api_group: of(object.map(|o| &o.group)),
            resource: of(object.map(|o| &o.resource)),
            subresource: of(object.map(|o| &o.subresource)),
            namespace: of(object.map(|o| &o.namespace)),
            name: of(object.map(|o| &o.name)),
            request_uri: event.uri.to_string(),
            command: event.command(),
            code: event.code,
            allowed: event.allowed(),
            succeeded: event.succeeded(),
            reason: event.reason.to_string(),
            dry_run: event.dry_run(),
            perhaps_still_open: request.open,
            credential_id: event.credential_id().map(str::to_owned),
            issued_credential_id: event.issued_credential_id().map(str::to_owned),
            pod: event.pod().map(|(name, _)| name.to_owned()),
            node: event.node().map(|(name, _)| name.to_owned()),
            matched: query.asks_identity().then(|| query.how(event)).flatten().map(super::How::as_str),
            provider: event.provider.as_str(),
            origin: Place { file: file.into(), offset: request.origin.offset, length: request.origin.len },
        }
    }

    /// `secrets`, `pods/exec`, `deployments.apps`, or the path of what is no resource.
    pub fn kind(&self) -> String {
        if self.resource.is_empty() {
            return super::uri::path(&self.request_uri).to_owned();
        }
        let mut text = self.resource.clone();
        for (mark, part) in [(".", &self.api_group), ("/", &self.subresource)] {
            if !part.is_empty() {
                text.push_str(mark);
                text.push_str(part);
            }
        }
        text
    }

    /// `payments/db`, `payments/*` for a list, `*` for one over all namespaces; empty for a plain path.
    pub fn object(&self) -> String {
        match (self.namespace.as_str(), self.name.as_str()) {
            _ if self.resource.is_empty() => String::new(),
            ("", "") => "*".into(),
            ("", name) => name.into(),
            (namespace, "") => format!("{namespace}/*"),
            // A namespace is in itself.
            (namespace, name) if self.resource == "namespaces" && namespace == name => name.into(),
            (namespace, name) => format!("{namespace}/{name}"),
        }
    }

    /// `allowed 200`, `denied 403`, `failed 404`, `open`, `unknown`.
    pub fn outcome(&self) -> String {
        let code = self.code.map(|c| format!(" {c}")).unwrap_or_default();
        let dry = if self.dry_run { " dry run" } else { "" };
        match (self.allowed, self.succeeded) {
            _ if self.perhaps_still_open => format!("open{code}"),
            (Some(false), _) => format!("denied{code}"),
            (_, Some(false)) => format!("failed{code}"),
            (Some(true), _) => format!("allowed{code}{dry}"),
            _ => "unknown".into(),
        }
    }

    /// `jane`, or `jane as system:admin`.
    pub fn who(&self) -> String {
        match &self.impersonated_user {
            Some(other) => format!("{} as {}", self.user, other.username),
            None => self.user.clone(),
        }
    }
}
