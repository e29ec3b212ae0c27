//! What may lead from one to another, gathered event by event.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::{At, Edge, Kind, Node, Relation, Target, pods};
use crate::audit::Watch;
use crate::audit::detect::{Look, Outcome, Verbs, outcome};
use crate::audit::event::{Event, Stage};
use crate::audit::scan::key;

/// Edges that one thread keeps (about 300 bytes each); further ones are counted and said.
const MAX_EDGES: usize = 150_000;
/// Requests that one thread tells apart; beyond, an edge's count is of the requests told apart, and said to be less.
const MAX_REQUESTS: usize = 500_000;
/// Groups that are remembered of one identity.
const MAX_GROUPS: usize = 64;

pub(super) type Ends = (Node, Relation, Node);

/// An edge as it grows.
#[derive(Debug)]
pub(super) struct Growing {
    /// Requests by key; whether they failed.
    requests: HashMap<u64, bool>,
    beyond: bool,
    first: At,
    last: Option<At>,
}

impl Growing {
    fn add(&mut self, request: u64, failed: bool, at: &At, room: &mut usize) {
        if *at < self.first {
            self.first = at.clone();
        }
        if !failed && self.last.as_ref().is_none_or(|last| *at > *last) {
            self.last = Some(at.clone());
        }
        match self.requests.get_mut(&request) {
            // Of its lines a later one tells more.
            Some(known) => *known |= failed,
            None if *room > 0 => {
                *room -= 1;
                self.requests.insert(request, failed);
            }
            None => self.beyond = true,
        }
    }

    pub fn done(&self) -> Edge {
        Edge {
            requests: self.requests.len() as u64,
            at_least: self.beyond,
            failed: self.requests.values().filter(|failed| **failed).count() as u64,
            first: self.first.clone(),
            last: self.last.clone(),
        }
    }
}

/// What one thread gathered.
#[derive(Debug)]
pub struct Gathered {
    pub(super) edges: HashMap<Ends, Growing>,
    pub(super) groups: HashMap<Node, HashSet<Box<str>>>,
    /// Edges that there was no room for.
    pub(super) beyond: u64,
    room: usize,
}

impl Default for Gathered {
    fn default() -> Gathered {
        Gathered { edges: HashMap::new(), groups: HashMap::new(), beyond: 0, room: MAX_REQUESTS }
    }
}

impl Gathered {
    fn add(&mut self, from: Node, relation: Relation, to: Node, seen: &Seen) {
        let ends = (from, relation, to);
        if let Some(edge) = self.edges.get_mut(&ends) {
            return edge.add(seen.request, seen.failed, &seen.at, &mut self.room);
        }
        if self.edges.len() >= MAX_EDGES {
            self.beyond += 1;
            return;
        }
        let mut edge = Growing { requests: HashMap::new(), beyond: false, first: seen.at.clone(), last: None };
        edge.add(seen.request, seen.failed, &seen.at, &mut self.room);
        self.edges.insert(ends, edge);
    }

    /// A member of a group, for as long as the group was given anything.
    pub(super) fn belongs(&mut self, group: &Node, user: &Node) {
        let seen = self.edges.iter().filter(|(ends, _)| ends.2 == *group).map(|(_, edge)| edge.first.clone()).min();
        let Some(first) = seen else { return };
        let last = self.edges.iter().filter(|(ends, _)| ends.0 == *user).filter_map(|(_, e)| e.last.clone()).max();
        let edge = Growing { requests: HashMap::new(), beyond: false, last: last.or(Some(first.clone())), first };
        self.edges.entry((group.clone(), "has member", user.clone())).or_insert(edge);
    }

    /// Takes what another thread gathered.
    pub fn merge(&mut self, other: Gathered) {
        self.beyond += other.beyond;
        for (node, groups) in other.groups {
            self.groups.entry(node).or_default().extend(groups);
        }
        for (ends, edge) in other.edges {
            match self.edges.get_mut(&ends) {
                Some(mine) => {
                    let mut room = usize::MAX;
                    mine.beyond |= edge.beyond;
                    for (request, failed) in edge.requests {
                        mine.add(request, failed, &edge.first, &mut room);
                    }
                    if let Some(last) = &edge.last
                        && mine.last.as_ref().is_none_or(|mine| last > mine)
                    {
                        mine.last = Some(last.clone());
                    }
                }
                None => {
                    self.edges.insert(ends, edge);
                }
            }
        }
    }
}

/// What an edge takes of an event.
struct Seen {
    request: u64,
    failed: bool,
    at: At,
}

/// Shows every event to the graph.
pub struct Graphing<'a> {
    target: &'a Target,
    proxies: &'a [IpNet],
}

impl<'a> Graphing<'a> {
    /// For a target; `proxies` are those whose word on the address before theirs is taken.
    pub fn of(target: &'a Target, proxies: &'a [IpNet]) -> Graphing<'a> {
        Graphing { target, proxies }
    }
}

impl Watch for Graphing<'_> {
    type Seen = Gathered;

    fn begin(&self) -> Gathered {
        Gathered::default()
    }

    fn look(&self, into: &mut Gathered, event: &Event<'_>) {
        let look = Look::new(event, event.trusted_ip(self.proxies));
        let at =
            At { time: event.received, file: event.origin.file, offset: event.origin.offset, len: event.origin.len };
        #[expect(clippy::cast_possible_truncation, reason = "half of a digest is as good a key")]
        let request = key(event) as u64;
        // A line that comes before the outcome tells of none. Where no line tells it, it may have worked.
        if event.stage == Stage::RequestReceived {
            return;
        }
        let seen = Seen { request, failed: matches!(outcome(event), Outcome::Denied | Outcome::Failed), at };
        let user = identity(&event.user.username);
        came(&look, &user, into, &seen);
        let actor = match &event.impersonated {
            Some(other) => {
                let other = identity(&other.username);
                into.add(user, "acted as", other.clone(), &seen);
                other
            }
            None => user,
        };
        self.secrets(&look, &actor, into, &seen);
        reached(&look, &actor, into, &seen);
        if look.verb(Verbs::WRITE) {
            written(&look, &actor, into, &seen);
        }
    }
}

/// From where and with what somebody came.
fn came(look: &Look<'_>, user: &Node, into: &mut Gathered, seen: &Seen) {
    let event = look.event;
    let address = look.address.map(|ip| Node::new(Kind::Address, ip));
    match event.credential_id() {
        Some(id) => {
            let credential = Node::new(Kind::Credential, id);
            if let Some(address) = address {
                into.add(address, "used", credential.clone(), seen);
            }
            if let (Some((pod, _)), Some((namespace, _))) = (event.pod(), event.user.service_account()) {
                let pod = Node::new(Kind::Pod, &format!("{namespace}/{pod}"));
                into.add(pod, "holds", credential.clone(), seen);
            }
            into.add(credential, "is", user.clone(), seen);
        }
        None => {
            if let Some(address) = address {
                into.add(address, "came as", user.clone(), seen);
            }
            if let (Some((pod, _)), Some((namespace, _))) = (event.pod(), event.user.service_account()) {
                let pod = Node::new(Kind::Pod, &format!("{namespace}/{pod}"));
                into.add(pod, "runs as", user.clone(), seen);
            }
        }
    }
    if !event.user.groups.is_empty() && !look.actor.is_own() {
        let known = into.groups.entry(user.clone()).or_default();
        for group in &event.user.groups {
            if known.len() < MAX_GROUPS && !known.contains(group.as_ref()) {
                known.insert(group.as_ref().into());
            }
        }
    }
}

impl Graphing<'_> {
    /// Secrets that were read or written. A list or a watch reads all in its scope.
    fn secrets(&self, look: &Look<'_>, actor: &Node, into: &mut Gathered, seen: &Seen) {
        if look.resource() != "secrets" || !look.group().is_empty() {
            return;
        }
        let (namespace, name) = (look.namespace(), look.name());
        let whole = name.is_empty();
        let secret = match self.target {
            Target::Secret(of, wanted) => {
                let there = namespace == of || namespace.is_empty() && whole;
                if !there || !(whole || name == wanted) {
                    return;
                }
                format!("{of}/{wanted}")
            }
            // What every kubelet fetches for its pods leads nowhere.
            Target::Identity(who) if look.actor.is_own() && **who != *actor.name => return,
            Target::Identity(_) => match (namespace, name) {
                ("", "") => "*".to_owned(),
                (namespace, "") => format!("{namespace}/*"),
                (namespace, name) => format!("{namespace}/{name}"),
            },
        };
        let relation = match (look.verb, whole) {
            (Verbs::GET, _) => "read",
            (Verbs::LIST, _) => "read, by a list",
            (Verbs::WATCH, _) => "read, by a watch",
            (Verbs::DELETE | Verbs::DELETE_ALL, _) => "deleted",
            // The answer to a write has the whole object.
            _ => "wrote",
        };
        into.add(actor.clone(), relation, Node::new(Kind::Secret, &secret), seen);
    }
}

/// Pods that were gone into, tokens that were issued.
fn reached(look: &Look<'_>, actor: &Node, into: &mut Gathered, seen: &Seen) {
    let event = look.event;
    let object = format!("{}/{}", look.namespace(), event.name());
    match (look.resource(), look.sub()) {
        ("pods", sub @ ("exec" | "attach" | "portforward" | "ephemeralcontainers" | "proxy")) => {
            let relation = match sub {
                "exec" => "ran a command in",
                "attach" => "attached to",
                "portforward" => "forwarded a port of",
                "proxy" => "reached through the API server",
                _ if look.verb(Verbs::WRITE) => "put a container into",
                _ => return,
            };
            into.add(actor.clone(), relation, Node::new(Kind::Pod, &object), seen);
        }
        ("serviceaccounts", "token") if look.verb(Verbs::CREATE) => {
            let account = identity(&format!("system:serviceaccount:{}:{}", look.namespace(), event.name()));
            match event.issued_credential_id() {
                Some(id) => {
                    let credential = Node::new(Kind::Credential, id);
                    into.add(actor.clone(), "had issued", credential.clone(), seen);
                    into.add(credential, "is", account, seen);
                }
                None => into.add(actor.clone(), "had a token issued for", account, seen),
            }
        }
        _ => {}
    }
}

/// Bindings, and pods with what they take in.
fn written(look: &Look<'_>, actor: &Node, into: &mut Gathered, seen: &Seen) {
    match look.resource() {
        "rolebindings" | "clusterrolebindings" if look.sub().is_empty() => bound(look, actor, into, seen),
        "pods"
        | "deployments"
        | "daemonsets"
        | "statefulsets"
        | "replicasets"
        | "replicationcontrollers"
        | "jobs"
        | "cronjobs"
        | "podtemplates"
            if look.sub().is_empty() =>
        {
            made(look, actor, into, seen);
        }
        _ => {}
    }
}

fn bound(look: &Look<'_>, actor: &Node, into: &mut Gathered, seen: &Seen) {
    let body = look.body();
    let role = pods::name(body, "/roleRef/name").unwrap_or("a role that the log does not name");
    let place = match look.namespace() {
        "" => look.name().to_owned(),
        namespace => format!("{namespace}/{}", look.name()),
    };
    let binding = Node::new(Kind::Binding, &format!("{place} ({role})"));
    into.add(actor.clone(), "wrote", binding.clone(), seen);
    for subject in pods::list(body, "/subjects") {
        let Some(name) = pods::name(subject, "/name") else { continue };
        let node = match pods::name(subject, "/kind") {
            Some("ServiceAccount") => {
                let namespace = pods::name(subject, "/namespace").unwrap_or(look.namespace());
                identity(&format!("system:serviceaccount:{namespace}:{name}"))
            }
            Some("Group") => Node::new(Kind::Group, name),
            _ => identity(name),
        };
        into.add(binding.clone(), "gives rights to", node, seen);
    }
}

fn made(look: &Look<'_>, actor: &Node, into: &mut Gathered, seen: &Seen) {
    let (body, namespace) = (look.body(), look.namespace());
    let generated = pods::name(body, "/metadata/generateName");
    let name = match (look.name(), generated) {
        ("", Some(generated)) => format!("{generated}*"),
        ("", None) => return,
        (name, _) => name.to_owned(),
    };
    let node = match look.resource() {
        "pods" => Node::new(Kind::Pod, &format!("{namespace}/{name}")),
        resource => Node::new(Kind::Workload, &format!("{} {namespace}/{name}", resource.trim_end_matches('s'))),
    };
    let mut own = false;
    for (kind, owner) in pods::owners(body) {
        let owner = format!("{} {namespace}/{owner}", kind.to_ascii_lowercase());
        into.add(Node::new(Kind::Workload, &owner), "made", node.clone(), seen);
        own = look.actor.is_own();
    }
    // A controller only does what its object says.
    if !own {
        into.add(actor.clone(), "wrote", node.clone(), seen);
    }
    for spec in look.pod_specs() {
        for secret in pods::secrets(spec) {
            into.add(node.clone(), "takes in", Node::new(Kind::Secret, &format!("{namespace}/{secret}")), seen);
        }
        if let Some(account) = pods::name(spec, "/serviceAccountName") {
            let account = identity(&format!("system:serviceaccount:{namespace}:{account}"));
            into.add(node.clone(), "runs as", account, seen);
        }
    }
}

fn identity(username: &str) -> Node {
    Node::new(Kind::Identity, username)
}
