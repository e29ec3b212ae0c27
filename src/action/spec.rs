//! What an action says of itself: read by `action list|explain`, the runbook check, `runbook rbac` and the preflight.

use crate::event::Risk;

/// Where a rule is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In the target's namespace: a Role.
    Target,
    /// In the namespace of quell's own pods, `quell-forensics`: a Role there.
    Collectors,
    /// In one namespace that every cluster has: a Role there.
    In(&'static str),
    /// In the whole cluster, or on an object without namespace: a ClusterRole.
    Cluster,
}

/// One RBAC rule that an action needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// `""` is the core group.
    pub group: &'static str,
    /// With the subresource: `pods/exec`. `resource:name` is the right to the one object of that name.
    pub resource: &'static str,
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: Scope,
    /// What for: shown when it is missing.
    pub why: &'static str,
    /// Without it the action still runs and says what it could not learn.
    pub optional: bool,
}

/// Where the Leases lie that say who works on a node, for a node has no namespace. Every cluster has this one; a right to
/// make Leases where the control plane keeps its own would be a right to take its locks away.
pub const NODE_LEASES: &str = "default";

/// What every action that changes a node or its pods needs beside its own.
pub const NODE_LEASE: Rule = Rule {
    group: "coordination.k8s.io",
    resource: "leases",
    verbs: &["get", "create", "update", "delete"],
    scope: Scope::In(NODE_LEASES),
    why: "the Lease that tells other responders who works on the node",
    optional: false,
};

/// What an action says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// `pod.isolate`.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// A paragraph for `action explain`.
    pub description: &'static str,
    /// The most harm it can do.
    pub risk: Risk,
    /// What can be taken back, and what can't.
    pub undo: &'static str,
    /// It brings evidence: a destructive step should need one of these.
    pub captures: bool,
    /// RBAC.
    pub rules: &'static [Rule],
    /// A step of a runbook in YAML, complete: it must bind.
    pub example: &'static str,
    /// Name and meaning of each output.
    pub outputs: &'static [(&'static str, &'static str)],
}
