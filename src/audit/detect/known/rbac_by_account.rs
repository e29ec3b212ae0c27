//! A service account that writes RBAC.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct RbacByAccount;

const SPEC: Spec = Spec {
    id: "rbac-by-account",
    title: "Service account changes roles or bindings",
    techniques: "T1098.006",
    severity: Severity::High,
    says: "{who}, a service account, [changed|tried to change] {what}{notes}.",
    false_positives: "Deployment tools and operators that bring their own roles.",
    step: "If the account is not such a tool's, its token is in somebody else's hands: end it, and undo the change.",
    on: On::Resources(&[
        ("clusterroles", "", Verbs::WRITE.or(Verbs::REMOVE)),
        ("roles", "", Verbs::WRITE.or(Verbs::REMOVE)),
        ("clusterrolebindings", "", Verbs::WRITE.or(Verbs::REMOVE)),
        ("rolebindings", "", Verbs::WRITE.or(Verbs::REMOVE)),
    ]),
    // The controller manager's (aggregation, garbage, namespaces) do so in ordinary operation.
    by: Actors::ACCOUNTS,
    needs: &[Need::Writes(&["clusterroles", "roles", "clusterrolebindings", "rolebindings"])],
    cap: CAP,
};

impl Detection for RbacByAccount {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let cluster = look.resource().starts_with("cluster");
        out.hit(look, if cluster { Severity::High } else { Severity::Medium }, &look.event.verb);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn accounts_but_those_of_the_controller_manager() {
        let role = |verb, kind: &str| line(verb, &format!("{kind}.rbac.authorization.k8s.io")).name("x");
        each(
            SPEC.id,
            Severity::High,
            &[
                role("create", "clusterrolebindings").account("shop", "web"),
                role("delete", "clusterroles").account("kube-system", "x"),
            ],
        );
        each(SPEC.id, Severity::Medium, &[role("patch", "roles").ns("shop").account("shop", "web")]);
        none(
            SPEC.id,
            &[
                role("create", "clusterrolebindings"),
                role("update", "clusterroles").controller("clusterrole-aggregation-controller"),
                role("delete", "roles").controller("generic-garbage-collector"),
                role("get", "clusterroles").account("shop", "web"),
            ],
        );
    }
}
