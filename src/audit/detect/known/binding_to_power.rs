//! A role that gives much, bound to somebody.

use super::power::{everybody, role};
use crate::audit::detect::look::{items, text};
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct BindingToPower;

const SPEC: Spec = Spec {
    id: "binding-to-power",
    title: "Powerful role bound",
    techniques: "T1098.006",
    severity: Severity::Critical,
    says: "{who} [bound|tried to bind] a role that gives much, by {what}{notes}.",
    false_positives: "Onboarding of a team; add-ons that an administrator installs.",
    step: "Delete the binding unless its owner explains it, then see what its subjects did since.",
    on: On::Resources(&[("clusterrolebindings", "", Verbs::WRITE), ("rolebindings", "", Verbs::WRITE)]),
    by: Actors::OTHERS,
    needs: &[Need::Bodies(&["clusterrolebindings", "rolebindings"])],
    cap: CAP,
};

impl Detection for BindingToPower {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let body = look.body();
        // A patch of subjects does not say the role; the answer does, where the log has it. A role's binding can't change.
        let named = [body, look.answer()].into_iter().map(|b| text(b, "/roleRef/name")).find(|n| !n.is_empty());
        let subjects = || {
            items(body, "/subjects")
                .map(|s| text(s, "/name"))
                .filter(|n| !n.is_empty())
                .take(3)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut found = match named {
            Some(name) => role(name).map(|s| (s, format!("{name} to {}", subjects()))),
            // The built-in bindings have their roles' names.
            None if role(look.name()).is_some() && body.get("subjects").is_some() => {
                Some((Severity::High, format!("more subjects for {}: {}", look.name(), subjects())))
            }
            None if body.get("subjects").is_some() => {
                Some((Severity::Low, format!("{} to a role that the log does not name", subjects())))
            }
            None => None,
        };
        if let Some((severity, who)) = everybody(body) {
            // To give everybody what everybody has is no news.
            if found.as_ref().is_none_or(|(s, _)| *s > Severity::Low) || named.is_some_and(|n| role(n).is_none()) {
                found = found.max(Some((severity, format!("{} to {who}", named.unwrap_or("a role")))));
            }
        }
        if let Some((severity, note)) = found {
            out.hit(look, severity, &note);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn both_kinds_of_binding_every_verb() {
        let bind = |kind: &str, role: &str, to: &str| {
            line("create", &format!("{kind}.rbac.authorization.k8s.io")).ns("shop").body(
                json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": to}]}),
            )
        };
        each(
            SPEC.id,
            Severity::High,
            &[
                bind("clusterrolebindings", "cluster-admin", "eve"),
                bind("rolebindings", "cluster-admin", "eve"),
                bind("rolebindings", "view", "system:authenticated"),
            ],
        );
        each(
            SPEC.id,
            Severity::Medium,
            &[bind("rolebindings", "admin", "eve"), bind("clusterrolebindings", "edit", "eve")],
        );
        each(
            SPEC.id,
            Severity::Critical,
            &[
                bind("clusterrolebindings", "view", "system:anonymous"),
                bind("rolebindings", "x", "system:unauthenticated"),
            ],
        );
        each(SPEC.id, Severity::Low, &[bind("clusterrolebindings", "system:auth-delegator", "metrics")]);
        let subjects = json!([{"op": "add", "path": "/subjects/-", "value": {"kind": "User", "name": "eve"}}]);
        let patch = line("patch", "clusterrolebindings.rbac.authorization.k8s.io").name("cluster-admin").body(subjects);
        each(
            SPEC.id,
            Severity::High,
            &[patch.clone(), patch.name("x").set("/responseObject", json!({"roleRef": {"name": "cluster-admin"}}))],
        );
        none(
            SPEC.id,
            &[
                bind("rolebindings", "reader", "jane"),
                bind("clusterrolebindings", "cluster-admin", "x").user("system:apiserver"),
                line("delete", "clusterrolebindings.rbac.authorization.k8s.io").name("cluster-admin"),
            ],
        );
    }
}
