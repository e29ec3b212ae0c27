//! What stands between a plan and the cluster: protected namespaces, the blast radius, the wrong cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Problem;
use crate::event::{ClusterId, OpKind, Plan, Risk};

/// Where a change needs a reason first: the control plane's own.
pub const PROTECTED: &[&str] = &["kube-system", "kube-public", "kube-node-lease"];

/// The guards that `--override` knows.
pub const NAMES: &[(&str, &str)] = &[
    ("protected-namespace", "changes in kube-system, kube-public, kube-node-lease or a namespace given with --protect"),
    ("max-changes", "more objects changed than --max-changes"),
    ("needs", "a step whose `needs` were not verified"),
    ("lease", "a target that another incident holds"),
    ("control-plane", "ending a node that the control plane runs on"),
    ("disruption-budget", "deleting pods past their PodDisruptionBudget"),
];

/// The limits in force.
#[derive(Debug, Clone)]
pub struct Guards {
    /// `--expect-cluster`: a context, cluster name, server URL or kube-system UID.
    pub expect_cluster: Option<String>,
    /// `--protect`, beside [`PROTECTED`].
    pub protect: Vec<String>,
    /// `--max-changes`: objects that one run may change.
    pub max_changes: usize,
    /// `--override GUARD` with `--reason`.
    pub overridden: BTreeSet<String>,
}

impl Guards {
    /// Refuses a cluster that is not the expected one.
    pub fn cluster(&self, id: &ClusterId) -> Result<(), Problem> {
        let Some(expected) = &self.expect_cluster else { return Ok(()) };
        let known = [Some(&id.context), Some(&id.cluster), Some(&id.server), id.uid.as_ref()];
        if known.into_iter().flatten().any(|k| k == expected) {
            return Ok(());
        }
        Err(Problem::refused(format!(
            "this is not the expected cluster {expected:?}: context {:?}, cluster {:?} at {}{}",
            id.context,
            id.cluster,
            id.server,
            id.uid.as_ref().map(|u| format!(", UID {u}")).unwrap_or_default()
        ))
        .hint("choose the right one with --context, or correct --expect-cluster; nothing was changed"))
    }

    /// What the plan would need an override for: guard name and text.
    pub fn of_plan(&self, plan: &Plan) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        let changes = plan.steps.iter().flat_map(|s| &s.ops).filter(|op| op.kind == OpKind::Change);
        let mut objects = BTreeMap::new();
        let mut own: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut protected: BTreeSet<&str> = BTreeSet::new();
        for op in changes {
            // A node's pods count as that node: it was chosen, and what runs on it was not.
            let target = op.part_of.as_ref().unwrap_or(&op.object);
            objects.insert((target.kind.clone(), target.namespace.clone(), target.name.clone()), op);
            // What goes with its node and is made again elsewhere is no change of the control plane's own.
            let gives_way = op.part_of.is_some() && op.risk < Risk::Destructive;
            let namespace = op.object.namespace.as_deref().filter(|_| !gives_way);
            protected.extend(namespace.filter(|ns| PROTECTED.contains(ns) || self.protect.iter().any(|p| p == ns)));
            for guarded in &op.guards {
                own.entry(&guarded.guard).or_default().push(&guarded.why);
            }
        }
        if !protected.is_empty() {
            let which: Vec<&str> = protected.into_iter().collect();
            found.push((
                "protected-namespace",
                format!("it changes objects in the protected namespace {}", which.join(", ")),
            ));
        }
        if objects.len() > self.max_changes {
            found.push((
                "max-changes",
                format!("it changes {} objects, more than --max-changes {}", objects.len(), self.max_changes),
            ));
        }
        for (guard, whys) in own {
            let Some((name, _)) = NAMES.iter().find(|(name, _)| *name == guard) else { continue };
            let more = if whys.len() > 3 { format!("; and {} more", whys.len() - 3) } else { String::new() };
            found.push((name, format!("it {}{more}", whys[..whys.len().min(3)].join("; "))));
        }
        found.retain(|(guard, _)| !self.overridden.contains(*guard));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Guarded, ObjectRef, Op, PlannedStep, Undo};

    fn plan(namespace: &str, n: usize) -> Plan {
        let op = |i: usize| {
            let object = ObjectRef {
                kind: "Pod".into(),
                namespace: Some(namespace.into()),
                name: format!("p{i}"),
                ..ObjectRef::default()
            };
            Op::change("delete", object, "x", Risk::High, Undo::NotNeeded)
        };
        let step = PlannedStep {
            step: "s".into(),
            title: String::new(),
            uses: String::new(),
            risk: Risk::High,
            ops: (0..n).map(op).collect(),
            warnings: vec![],
            blockers: vec![],
            deferred: None,
        };
        Plan { steps: vec![step], blockers: vec![] }
    }

    #[test]
    fn guards_hold_until_overridden_by_name() {
        let mut guards =
            Guards { expect_cluster: None, protect: vec!["prod".into()], max_changes: 2, overridden: BTreeSet::new() };
        assert!(guards.of_plan(&plan("shop", 2)).is_empty());
        assert_eq!(guards.of_plan(&plan("kube-system", 3)).len(), 2);
        assert_eq!(guards.of_plan(&plan("prod", 1))[0].0, "protected-namespace");
        guards.overridden.insert("max-changes".into());
        assert!(guards.of_plan(&plan("shop", 3)).is_empty());
    }

    #[test]
    fn a_nodes_pods_count_as_the_node_and_an_operations_own_guard_is_named() {
        let guards = Guards { expect_cluster: None, protect: vec![], max_changes: 1, overridden: BTreeSet::new() };
        let node = ObjectRef { kind: "Node".into(), name: "n".into(), ..ObjectRef::default() };
        let mut drain = plan("kube-system", 3);
        for op in &mut drain.steps[0].ops {
            op.part_of = Some(node.clone());
        }
        assert!(guards.of_plan(&drain).is_empty());
        drain.steps[0].ops[0].risk = Risk::Destructive;
        assert_eq!(guards.of_plan(&drain)[0].0, "protected-namespace");
        drain.steps[0].ops[0].risk = Risk::High;
        let guarded = Guarded { guard: "disruption-budget".into(), why: "deletes a past its budget b".into() };
        drain.steps[0].ops[1].guards.push(guarded);
        assert_eq!(guards.of_plan(&drain), [("disruption-budget", "it deletes a past its budget b".to_string())]);
    }

    #[test]
    fn the_wrong_cluster_is_refused() {
        let guards = Guards {
            expect_cluster: Some("prod".into()),
            protect: vec![],
            max_changes: 1,
            overridden: BTreeSet::new(),
        };
        let id = ClusterId { context: "staging".into(), cluster: "s".into(), ..ClusterId::default() };
        assert!(guards.cluster(&id).unwrap_err().message.contains("not the expected cluster \"prod\""));
        assert!(guards.cluster(&ClusterId { cluster: "prod".into(), ..ClusterId::default() }).is_ok());
    }
}
