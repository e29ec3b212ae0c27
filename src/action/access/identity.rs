//! An identity as `access.identify` found it, for the steps after it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::ObjectRef;

/// Who it is, and how it came. Everything but the name may be empty: unknown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Identity {
    /// As the audit log writes it; None: not known yet.
    pub username: Option<String>,
    /// As the authenticator gave it.
    pub uid: String,
    /// With `system:authenticated`.
    pub groups: Vec<String>,
    /// Whether groups and extra are the log's own word.
    pub groups_known: bool,
    /// As in its last request.
    pub extra: BTreeMap<String, Vec<String>>,
    /// If it is a service account.
    pub service_account: Option<Account>,
    /// The node whose credential it is.
    pub node: Option<String>,
    /// Tokens and certificates that it came with.
    pub credentials: Vec<Credential>,
    /// Trusted addresses, the most used first.
    pub addresses: Vec<Counted>,
    /// User agents.
    pub agents: Vec<Counted>,
    /// As whom it acted.
    pub acted_as: Vec<Counted>,
    /// Who acted as it.
    pub acted_by: Vec<Counted>,
    /// Other identities from the same addresses, or with the same agent.
    pub others: Vec<Other>,
    /// Others in its groups, as far as the log shows any.
    pub group_members: BTreeMap<String, Vec<String>>,
    /// What it did with success, each kind once.
    pub used: Vec<Used>,
    /// Streams begun and not seen to end.
    pub streams: Vec<Stream>,
    /// Its first and last request, RFC 3339; empty without any.
    pub first: String,
    /// The last.
    pub last: String,
}

/// A service account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    pub namespace: String,
    pub name: String,
}

/// A token or a certificate; never its value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    /// `JTI=…`, `X509SHA256=…`; `Secret NAME` for a token that lies in one, which has no id.
    pub id: String,
    /// The Secret that it lies in.
    pub secret: Option<String>,
    /// Name and UID of the pod that it is bound to.
    pub pod: Option<(String, String)>,
    pub node: Option<String>,
    pub requests: u64,
    pub addresses: Vec<String>,
    /// When a token ends, if the log shows its issue with its body.
    pub expires: Option<String>,
    pub issued: Option<String>,
    pub issued_by: Option<String>,
}

/// A text and how often it was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Counted {
    pub value: String,
    pub requests: u64,
}

/// Another identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Other {
    pub user: String,
    /// `address 203.0.113.9` or `agent kubectl/…`.
    pub shares: String,
    pub requests: u64,
    pub first: String,
    pub last: String,
}

/// A kind of request that was let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Used {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
}

/// A stream that may still be open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Stream {
    /// `exec`, `attach`, `portforward`, `watch`.
    pub what: String,
    pub namespace: String,
    /// The pod; for a watch the resource.
    pub name: String,
    pub since: String,
    pub from: String,
    /// The id of the credential that it was begun with.
    pub credential: String,
}

impl Stream {
    /// Whether it goes into a pod: exec, attach, port-forward; a watch does not, nor does a log that is followed.
    pub fn is_into_pod(&self) -> bool {
        matches!(self.what.as_str(), "exec" | "attach" | "portforward")
    }

    /// `exec into shop/web since TIME from ADDRESS`.
    pub fn words(&self) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!("{}/", self.namespace) };
        let into = if self.is_into_pod() { "into" } else { "of" };
        format!("{} {into} {place}{} since {} from {}", self.what, self.name, self.since, self.from)
    }
}

impl Credential {
    /// What it is, for people: kind, id, and what it is bound to.
    pub fn words(&self) -> String {
        let bound = match (&self.pod, &self.node) {
            (Some((pod, _)), Some(node)) => format!(" of Pod {pod} on node {node}"),
            (Some((pod, _)), None) => format!(" of Pod {pod}"),
            (None, Some(node)) => format!(" bound to node {node}"),
            (None, None) => String::new(),
        };
        match (&self.secret, self.id.starts_with("X509")) {
            (Some(secret), _) => format!("the token in Secret {secret}"),
            (None, true) => format!("client certificate {}", self.id),
            (None, false) => format!("token {}{bound}", self.id),
        }
    }
}

impl Identity {
    /// Out of a step's outputs; what does not fit is unknown.
    pub fn read(of: &Value) -> Identity {
        serde_json::from_value(of.clone()).unwrap_or_default()
    }

    /// As far as its name tells. Groups of a service account and of a node follow from the name.
    ///
    /// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>
    pub fn named(username: &str, groups: &[String]) -> Identity {
        let mut identity = Identity { username: Some(username.into()), ..Identity::default() };
        let mut all: Vec<String> = Vec::new();
        if let Some((namespace, name)) =
            username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
        {
            identity.service_account = Some(Account { namespace: namespace.into(), name: name.into() });
            all.push("system:serviceaccounts".into());
            all.push(format!("system:serviceaccounts:{namespace}"));
        } else if let Some(node) = username.strip_prefix("system:node:") {
            identity.node = Some(node.into());
            all.push("system:nodes".into());
        }
        all.extend(groups.iter().cloned());
        all.push("system:authenticated".into());
        all.dedup();
        identity.groups = all;
        identity
    }

    /// As an operation's object.
    pub fn object(&self) -> ObjectRef {
        let (kind, name) = match &self.service_account {
            Some(account) => ("ServiceAccount", account.name.clone()),
            None => ("User", self.username.clone().unwrap_or_else(|| "(not known yet)".into())),
        };
        let namespace = self.service_account.as_ref().map(|a| a.namespace.clone());
        let api_version = if namespace.is_some() { "v1" } else { "rbac.authorization.k8s.io/v1" };
        ObjectRef { api_version: api_version.into(), kind: kind.into(), namespace, name, uid: None }
    }

    /// Whether it has the cluster's own superuser group, which no authorizer is asked about.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|g| g == "system:masters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_own_groups() {
        let account = Identity::named("system:serviceaccount:shop:web", &[]);
        assert_eq!(account.service_account, Some(Account { namespace: "shop".into(), name: "web".into() }));
        assert_eq!(account.groups, ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"]);
        let node = Identity::named("system:node:n1", &[]);
        assert_eq!(node.node.as_deref(), Some("n1"));
        let back = Identity::read(&serde_json::to_value(&account).unwrap());
        assert_eq!(back, account);
        assert_eq!(Identity::read(&serde_json::json!({"username": null})).username, None);
    }
}
