//! What is asked: filters that all must hold, each with several values of which one must.

mod kind;
mod needle;

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::event::{Event, User};

pub use kind::Kind;
pub(super) use needle::Needles;
use needle::Part;

/// An object, or many: of a kind, in a namespace, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As it was written.
    pub text: String,
    /// The kind.
    pub kind: Kind,
    /// Its namespace; None: any, or none.
    pub namespace: Option<String>,
    /// Its name; None: any.
    pub name: Option<String>,
}

impl Wanted {
    /// `KIND`, `KIND/NAME`, `KIND/NAMESPACE/NAME`, `KIND/NAMESPACE/*`.
    pub fn parse(text: &str) -> Result<Wanted, String> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|p| p.is_empty()) || parts.len() > 3 {
            return Err(format!("{text:?} must be KIND/NAMESPACE/NAME, KIND/NAME or KIND"));
        }
        let name = |name: &str| Some(name.to_owned()).filter(|n| n != "*");
        let (namespace, name) = match parts.as_slice() {
            [_, namespace, object] => (Some((*namespace).to_owned()), name(object)),
            [_, object] => (None, name(object)),
            _ => (None, None),
        };
        Ok(Wanted { text: text.into(), kind: Kind::parse(parts[0]), namespace, name })
    }

    /// A Secret, by namespace and name.
    pub fn secret(namespace: &str, name: &str) -> Wanted {
        let text = format!("secrets/{namespace}/{name}");
        Wanted { text, kind: Kind::parse("secrets"), namespace: Some(namespace.into()), name: Some(name.into()) }
    }

    /// Whether the request touches it. A list, a watch or a deletecollection touches every object in its scope.
    fn touched(&self, event: &Event<'_>) -> bool {
        let Some(object) = &event.object else { return false };
        if !self.kind.is(&object.resource, &object.group) {
            return false;
        }
        let same = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        let whole = matches!(event.verb.as_ref(), "list" | "watch" | "deletecollection");
        if object.name.is_empty() && whole {
            return object.namespace.is_empty() || same(&self.namespace, &object.namespace);
        }
        same(&self.namespace, &object.namespace) && same(&self.name, &object.name)
    }
}

/// The whole question. Without any filter, every request matches.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// User names, as the log writes them.
    pub subjects: Vec<String>,
    /// Service accounts: namespace, name.
    pub service_accounts: Vec<(String, String)>,
    /// UIDs of pods: requests with their tokens count as the service account's, whatever the user.
    pub pod_uids: Vec<String>,
    /// Pods whose token was used: namespace, name.
    pub pods: Vec<(String, String)>,
    /// Nodes, by themselves or by a pod's token bound to them.
    pub nodes: Vec<String>,
    /// Objects that were touched.
    pub objects: Vec<Wanted>,
    /// Where from: the trusted address.
    pub source_ips: Vec<IpNet>,
    /// Credentials: a token's id, or a certificate's SHA-256 fingerprint in lower-case hex.
    pub sessions: Vec<String>,
    /// Patterns of the user agent.
    pub user_agents: Vec<glob::Pattern>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Proxies whose word on the address before them is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// No request matches: only what is counted of every line is asked for.
    pub nothing: bool,
}

/// Why a request matched, for whoever asks about an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It acted as itself.
    Itself,
    /// It acted as somebody else.
    AsOther,
    /// Somebody else acted as it.
    ByOther,
    /// It was issued by this request.
    Issued,
}

impl How {
    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            How::Itself => "itself",
            How::AsOther => "as another",
            How::ByOther => "by another",
            How::Issued => "issued",
        }
    }
}

impl Query {
    /// Whether the request matches.
    pub fn matches(&self, event: &Event<'_>) -> bool {
        !self.nothing
            && any(&self.verbs, |verb| event.verb == *verb)
            && any(&self.objects, |wanted| wanted.touched(event))
            && (self.identities() == 0 || self.how(event).is_some())
            && any(&self.user_agents, |pattern| pattern.matches(&event.user_agent))
            && any(&self.source_ips, |net| address(event, &self.trusted_proxies).is_some_and(|ip| net.contains(&ip)))
    }

    /// Whether there is any filter.
    pub fn filters(&self) -> bool {
        self.identities() + self.objects.len() + self.source_ips.len() + self.user_agents.len() + self.verbs.len() > 0
    }

    /// Whether an identity is asked for.
    pub fn asks_identity(&self) -> bool {
        self.identities() > 0
    }

    /// Whether it goes by what an event says of its credential.
    pub fn by_credential(&self) -> bool {
        !(self.sessions.is_empty() && self.pods.is_empty() && self.nodes.is_empty())
    }

    fn identities(&self) -> usize {
        self.subjects.len()
            + self.service_accounts.len()
            + self.pod_uids.len()
            + self.pods.len()
            + self.nodes.len()
            + self.sessions.len()
    }

    /// Which part the identity had in it; None if none.
    pub fn how(&self, event: &Event<'_>) -> Option<How> {
        if self.is(&event.user) {
            return Some(if event.impersonated.is_some() { How::AsOther } else { How::Itself });
        }
        if event.impersonated.as_ref().is_some_and(|user| self.is(user)) {
            return Some(How::ByOther);
        }
        let issued = event.issued_credential_id()?;
        let others = self.identities() - self.sessions.len();
        (others == 0 && self.sessions.iter().any(|s| credential(issued) == s)).then_some(How::Issued)
    }

    fn is(&self, user: &User<'_>) -> bool {
        let holds = |key: &str, wanted: &str| values(user, key).any(|value| value == wanted);
        let accounts = self.service_accounts.is_empty() && self.pod_uids.is_empty()
            || self.service_accounts.iter().any(|(ns, name)| user.service_account() == Some((ns, name)))
            || self.pod_uids.iter().any(|uid| holds("authentication.kubernetes.io/pod-uid", uid));
        accounts
            && any(&self.subjects, |name| user.username == *name)
            && any(&self.pods, |(ns, name)| {
                user.service_account().is_some_and(|(of, _)| of == ns)
                    && holds("authentication.kubernetes.io/pod-name", name)
            })
            && any(&self.nodes, |node| {
                user.username.strip_prefix("system:node:") == Some(node)
                    || holds("authentication.kubernetes.io/node-name", node)
            })
            && any(&self.sessions, |session| {
                values(user, "authentication.kubernetes.io/credential-id").any(|id| credential(id) == session)
            })
    }

    /// Whether an address that was asked for stands where a client can write what it likes.
    pub fn claimed_address(&self, event: &Event<'_>) -> bool {
        !self.source_ips.is_empty()
            && event
                .source_ips
                .iter()
                .filter_map(|ip| ip.parse::<IpAddr>().ok())
                .any(|ip| self.source_ips.iter().any(|net| net.contains(&ip.to_canonical())))
    }

    /// What a line must hold to match.
    pub(super) fn needles(&self) -> Needles {
        let mut needles = Needles::default();
        let quote = |text| ("\"", text, "\"");
        needles.filter(Part::Caller, self.subjects.iter().map(|s| quote(s.as_str())));
        let accounts: Vec<String> =
            self.service_accounts.iter().map(|(ns, name)| format!("system:serviceaccount:{ns}:{name}")).collect();
        needles.filter(Part::Caller, accounts.iter().chain(&self.pod_uids).map(|s| quote(s.as_str())));
        needles.filter(Part::Caller, self.pods.iter().map(|(_, name)| quote(name.as_str())));
        needles.filter(Part::Caller, self.nodes.iter().map(|node| ("", node.as_str(), "\"")));
        // That a credential was issued stands in the annotations.
        needles.filter(Part::Line, self.sessions.iter().map(|s| ("", s.as_str(), "\"")));
        let plurals = self.objects.iter().flat_map(|wanted| &wanted.kind.plurals);
        needles.filter(Part::Line, plurals.map(|plural| quote(plural.as_str())));
        needles.filter(Part::Line, self.verbs.iter().map(|v| quote(v.as_str())));
        let agents: Vec<String> = self.user_agents.iter().map(|p| literal(p.as_str()).into()).collect();
        needles.filter(Part::Caller, agents.iter().map(|text| ("", text.as_str(), "")));
        let ips: Vec<String> = self.source_ips.iter().map(prefix).collect();
        needles.filter(Part::Caller, ips.iter().map(|text| ("", text.as_str(), "")));
        needles
    }

    /// As the `--json` document tells it.
    pub fn json(&self) -> Value {
        let pairs = |all: &[(String, String)]| all.iter().map(|(a, b)| format!("{a}/{b}")).collect::<Vec<_>>();
        let nets = |all: &[IpNet]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        json!({
            "subjects": self.subjects,
            "serviceAccounts": pairs(&self.service_accounts),
            "pods": pairs(&self.pods),
            "nodes": self.nodes,
            "objects": self.objects.iter().map(|w| &w.text).collect::<Vec<_>>(),
            "sourceIPs": nets(&self.source_ips),
            "sessions": self.sessions,
            "userAgents": self.user_agents.iter().map(glob::Pattern::as_str).collect::<Vec<_>>(),
            "verbs": self.verbs,
            "trustedProxies": nets(&self.trusted_proxies),
        })
    }
}

fn any<T>(values: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(holds)
}

/// All values of a key of `extra`.
fn values<'a>(user: &'a User<'_>, key: &'a str) -> impl Iterator<Item = &'a str> {
    user.extra.iter().filter(move |(k, _)| k == key).flat_map(|(_, values)| values).map(AsRef::as_ref)
}

/// The id without what kind it is: `JTI=…`, `X509SHA256=…`.
fn credential(id: &str) -> &str {
    id.split_once('=').map_or(id, |(_, id)| id)
}

fn address(event: &Event<'_>, proxies: &[IpNet]) -> Option<IpAddr> {
    event.trusted_ip(proxies)?.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// The longest part of a pattern that stands for itself.
fn literal(pattern: &str) -> &str {
    let mut best = "";
    let mut rest = pattern;
    while !rest.is_empty() {
        let end = rest.find(['*', '?', '[']).unwrap_or(rest.len());
        if end > best.len() {
            best = &rest[..end];
        }
        rest = match rest[end..].starts_with('[') {
            // "[]a]" and "[!]a]": a bracket that comes first stands for itself.
            true => rest[end + 1..].find(']').map_or("", |at| rest[end + 1 + at..].trim_start_matches(']')),
            false => rest.get(end + 1..).unwrap_or(""),
        };
    }
    best
}

/// The text that all addresses of a net begin with; empty where there is none of use. An IPv6 address has many texts.
fn prefix(net: &IpNet) -> String {
    let IpNet::V4(net) = net else { return String::new() };
    let whole = usize::from(net.prefix_len() / 8);
    let octets = net.network().octets();
    let text = octets[..whole].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    if whole < 4 && whole > 0 { format!("{text}.") } else { text }
}

#[cfg(test)]
#[path = "../query_tests.rs"]
mod tests;
