//! What the requests tell of an identity, one event at a time; every list is bounded.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use time::OffsetDateTime;

use crate::action::access::Identity;
use crate::action::access::identity::{Counted, Credential, Other, Stream, Used};
use crate::audit::event::Stage;
use crate::audit::{Event, Query, Watch};
use crate::clock::rfc3339;

/// Values of one kind that are told apart; an intruder chooses the user agent.
const MAX: usize = 100;
/// Of these so many reach the later steps.
const SHOWN: usize = 20;
/// Kinds of request that access reviews ask about.
const MAX_USED: usize = 40;
/// Characters of a text from the log.
const MAX_TEXT: usize = 300;

/// Counts by value, bounded.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(HashMap<String, u64>);

impl Counts {
    pub fn add(&mut self, value: &str) {
        if value.is_empty() {
            return;
        }
        let value = cut(value);
        if self.0.len() < MAX || self.0.contains_key(&value) {
            *self.0.entry(value).or_default() += 1;
        }
    }

    /// The most frequent first.
    pub fn sorted(&self) -> Vec<Counted> {
        let mut all: Vec<Counted> =
            self.0.iter().map(|(value, requests)| Counted { value: value.clone(), requests: *requests }).collect();
        all.sort_by(|a, b| (b.requests, &a.value).cmp(&(a.requests, &b.value)));
        all
    }

    fn shown(&self) -> Vec<Counted> {
        let mut all = self.sorted();
        all.truncate(SHOWN);
        all
    }
}

/// One user's own requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    pub requests: u64,
    pub addresses: Counts,
    agents: Counts,
    acted_as: Counts,
    groups: BTreeSet<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
    credentials: BTreeMap<String, (Credential, Counts)>,
    used: BTreeSet<Used>,
    streams: Vec<Stream>,
    first: Option<OffsetDateTime>,
    last: Option<OffsetDateTime>,
}

impl Own {
    /// Takes a request of this user. `open`: begun, and not seen to end.
    pub fn add(&mut self, event: &Event<'_>, open: bool, query: &Query) {
        self.requests += 1;
        let from = event.trusted_ip(&query.trusted_proxies).unwrap_or_default();
        self.addresses.add(from);
        self.agents.add(&event.user_agent);
        if let Some(other) = &event.impersonated {
            self.acted_as.add(&other.username);
        }
        self.groups.extend(event.user.groups.iter().take(MAX).map(|g| cut(g)));
        self.uid = cut(&event.user.uid);
        self.extra = event
            .user
            .extra
            .iter()
            .take(MAX)
            .map(|(key, values)| (cut(key), values.iter().take(MAX).map(|v| cut(v)).collect()))
            .collect();
        let secret = in_secret(event);
        let id =
            event.credential_id().map(cut).or_else(|| Some(format!("Secret {}", cut(secret?)))).unwrap_or_default();
        if !id.is_empty() && (self.credentials.len() < MAX || self.credentials.contains_key(&id)) {
            let (known, addresses) = self.credentials.entry(id.clone()).or_default();
            known.id = id.clone();
            known.secret = secret.map(cut);
            known.requests += 1;
            known.pod = event.pod().map(|(name, uid)| (cut(name), cut(uid)));
            known.node = event.node().map(|(name, _)| cut(name));
            addresses.add(from);
        }
        if let Some(object) = &event.object
            && event.succeeded() == Some(true)
            && event.impersonated.is_none()
            && self.used.len() < MAX_USED
        {
            self.used.insert(Used {
                verb: cut(&event.verb),
                group: cut(&object.group),
                resource: cut(&object.resource),
                subresource: cut(&object.subresource),
                namespace: cut(&object.namespace),
            });
        }
        if open && self.streams.len() < SHOWN {
            let sub = event.subresource();
            let what = if sub.is_empty() { event.verb.as_ref() } else { sub };
            let name = if event.name().is_empty() {
                event.object.as_ref().map(|o| o.kind()).unwrap_or_default()
            } else {
                event.name().to_owned()
            };
            self.streams.push(Stream {
                what: cut(what),
                namespace: cut(event.namespace()),
                name: cut(&name),
                since: rfc3339(event.received),
                from: cut(from),
                credential: id,
            });
        }
        self.first = Some(self.first.map_or(event.received, |t| t.min(event.received)));
        self.last = Some(self.last.map_or(event.received, |t| t.max(event.received)));
    }

    pub fn groups(&self) -> Vec<String> {
        self.groups.iter().cloned().collect()
    }

    pub fn agents(&self) -> HashSet<String> {
        self.agents.0.keys().cloned().collect()
    }

    pub fn credentials(&self) -> HashSet<String> {
        self.credentials.keys().cloned().collect()
    }

    /// Laid over what the name alone tells.
    pub fn into(self, identity: &mut Identity, issued: &HashMap<String, Issue>) {
        if self.requests > 0 {
            identity.groups = self.groups();
            identity.groups_known = true;
            identity.uid = self.uid;
            identity.extra = self.extra;
        }
        identity.addresses = self.addresses.shown();
        identity.agents = self.agents.shown();
        identity.acted_as = self.acted_as.shown();
        identity.used = self.used.into_iter().collect();
        identity.streams = self.streams;
        let mut credentials: Vec<Credential> = self
            .credentials
            .into_values()
            .map(|(mut credential, addresses)| {
                credential.addresses = addresses.shown().into_iter().map(|c| c.value).collect();
                if let Some(issue) = issued.get(&credential.id) {
                    credential.expires = issue.expires.map(rfc3339);
                    credential.issued = Some(rfc3339(issue.at));
                    credential.issued_by = Some(issue.by.clone());
                }
                credential
            })
            .collect();
        credentials.sort_by_key(|c| std::cmp::Reverse(c.requests));
        credentials.truncate(SHOWN);
        identity.credentials = credentials;
        identity.first = self.first.map(rfc3339).unwrap_or_default();
        identity.last = self.last.map(rfc3339).unwrap_or_default();
    }
}

/// How a token came to be.
#[derive(Debug, Clone)]
pub(super) struct Issue {
    by: String,
    at: OffsetDateTime,
    expires: Option<OffsetDateTime>,
}

/// Looks at everybody's requests for what they share with the identity.
pub(super) struct Around<'a> {
    pub username: &'a str,
    pub query: &'a Query,
    pub addresses: HashSet<String>,
    pub agents: HashSet<String>,
    pub groups: HashSet<String>,
    pub credentials: HashSet<String>,
}

/// What one thread saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    others: HashMap<(String, String), (u64, OffsetDateTime, OffsetDateTime)>,
    members: BTreeMap<String, BTreeSet<String>>,
    acted_by: Counts,
    pub issued: HashMap<String, Issue>,
    /// There were more than are kept.
    pub more: bool,
}

impl Watch for Around<'_> {
    type Seen = Seen;

    fn begin(&self) -> Seen {
        Seen::default()
    }

    fn look(&self, seen: &mut Seen, event: &Event<'_>) {
        if let Some(id) = event.issued_credential_id().filter(|id| self.credentials.contains(*id)) {
            let seconds = event.request().and_then(|r| r["spec"]["expirationSeconds"].as_i64());
            let expires = seconds.and_then(|s| event.received.checked_add(time::Duration::seconds(s)));
            seen.issued.insert(id.to_owned(), Issue { by: cut(&event.user.username), at: event.received, expires });
        }
        // One line of each request: the one that ends it.
        if !matches!(event.stage, Stage::ResponseComplete | Stage::Panic) {
            return;
        }
        let user = event.user.username.as_ref();
        if user == self.username {
            return;
        }
        if event.impersonated.as_ref().is_some_and(|u| u.username == self.username) {
            seen.acted_by.add(user);
        }
        let address = event.trusted_ip(&self.query.trusted_proxies).filter(|ip| self.addresses.contains(*ip));
        let agent = Some(event.user_agent.as_ref()).filter(|agent| self.agents.contains(*agent));
        let shares =
            address.map(|ip| format!("address {ip}")).or_else(|| agent.map(|agent| format!("agent {}", cut(agent))));
        if let Some(shares) = shares {
            seen.other((cut(user), shares), 1, event.received, event.received);
        }
        for group in event.user.groups.iter().filter(|g| self.groups.contains(g.as_ref())) {
            let members = seen.members.entry(group.to_string()).or_default();
            if members.len() < MAX {
                members.insert(cut(user));
            }
        }
    }
}

impl Seen {
    fn other(&mut self, key: (String, String), requests: u64, first: OffsetDateTime, last: OffsetDateTime) {
        if self.others.len() >= 10 * MAX && !self.others.contains_key(&key) {
            self.more = true;
            return;
        }
        let known = self.others.entry(key).or_insert((0, first, last));
        *known = (known.0 + requests, known.1.min(first), known.2.max(last));
    }

    pub fn merge(&mut self, other: Seen) {
        for (key, (requests, first, last)) in other.others {
            self.other(key, requests, first, last);
        }
        for (group, members) in other.members {
            self.members.entry(group).or_default().extend(members);
        }
        for (value, requests) in other.acted_by.0 {
            *self.acted_by.0.entry(value).or_default() += requests;
        }
        self.issued.extend(other.issued);
        self.more |= other.more;
    }

    /// Laid over the identity.
    pub fn into(self, identity: &mut Identity) {
        let mut others: Vec<Other> = self
            .others
            .into_iter()
            .map(|((user, shares), (requests, first, last))| Other {
                user,
                shares,
                requests,
                first: rfc3339(first),
                last: rfc3339(last),
            })
            .collect();
        // An address says more than an agent.
        others.sort_by(|a, b| {
            let key = |o: &Other| (o.shares.starts_with("agent"), std::cmp::Reverse(o.requests), o.user.clone());
            key(a).cmp(&key(b))
        });
        others.truncate(2 * SHOWN);
        identity.others = others;
        identity.acted_by = self.acted_by.shown();
        identity.group_members = self
            .members
            .into_iter()
            .map(|(group, members)| (group, members.into_iter().take(SHOWN).collect()))
            .collect();
    }
}

/// The Secret that the caller's token lies in; such a token has no id.
///
/// <https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/>
fn in_secret<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    let of = |kind: &str| event.annotation(&format!("authentication.k8s.io/legacy-token-{kind}-secret"));
    of("manual").or_else(|| of("autogenerated")).filter(|name| !name.is_empty())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
