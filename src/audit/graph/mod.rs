//! Who reached what through whom: identities, their credentials and addresses, and what leads from one to another.
//!
//! ```text
//! address -> credential -> identity -> (acts as, has a token issued, gives rights, runs a command) -> ... -> Secret
//!                pod ------^ holds its token
//! ```
//!
//! One pass gathers what may lead anywhere ([`Graphing`]); then only what does lead to the target, or from it, in the order
//! of time is kept ([`Gathered::reach`]): what came into a pod after its token was last used did not lead to that use.

mod gather;
mod pods;
mod reach;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use time::OffsetDateTime;

pub use gather::{Gathered, Graphing};

/// The version of the graph's document.
pub const FORMAT: u32 = 1;

/// What a node stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where requests came from, as far as the client can't set it.
    Address,
    /// A token or a client certificate, by its id.
    Credential,
    /// A user or a service account.
    Identity,
    /// A group, as bindings name it.
    Group,
    /// A pod.
    Pod,
    /// What makes pods.
    Workload,
    /// A RoleBinding or ClusterRoleBinding.
    Binding,
    /// A Secret, or all in a namespace or the cluster (`*`).
    Secret,
}

impl Kind {
    /// Short lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Address => "address",
            Kind::Credential => "credential",
            Kind::Identity => "identity",
            Kind::Group => "group",
            Kind::Pod => "pod",
            Kind::Workload => "workload",
            Kind::Binding => "binding",
            Kind::Secret => "secret",
        }
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// What it stands for.
    pub kind: Kind,
    /// As the log has it, not escaped.
    pub name: Arc<str>,
}

impl Node {
    pub(super) fn new(kind: Kind, name: &str) -> Node {
        Node { kind, name: name.chars().take(300).collect::<String>().into() }
    }
}

/// What an edge says of its two ends.
pub type Relation = &'static str;

/// Where an event lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// When the request was received.
    pub time: OffsetDateTime,
    /// Index into the files.
    pub file: u32,
    /// Byte in it.
    pub offset: u64,
    /// Bytes.
    pub len: u32,
}

/// What leads from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Requests that show it; each once.
    pub requests: u64,
    /// There were more than are told apart.
    pub at_least: bool,
    /// How many of them were denied or failed.
    pub failed: u64,
    /// The first.
    pub first: At,
    /// The last that was not denied and did not fail; None if all were.
    pub last: Option<At>,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// What is asked about first, then by distance.
    pub nodes: Vec<Node>,
    /// By the nodes' indices.
    pub edges: Vec<(usize, Relation, usize, Edge)>,
    /// What was folded or left out, in words; empty if all is there.
    pub folded: Vec<String>,
}

/// What is asked about.
#[derive(Debug, Clone)]
pub enum Target {
    /// Who reached this Secret: namespace and name.
    Secret(String, String),
    /// What led to this identity, and where it led: its name as the log writes it.
    Identity(String),
}
