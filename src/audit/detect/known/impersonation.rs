//! Acting as somebody with power.

use super::is_system;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec};

pub struct Impersonation;

const SPEC: Spec = Spec {
    id: "impersonation",
    title: "Acted as another identity",
    techniques: "T1134 T1550",
    severity: Severity::High,
    says: "{who} [acted as another identity|tried to act as another identity]{notes}.",
    false_positives: "Administrators who use `--as` to raise their rights for one command; consoles that act for their users.",
    step: "See all that was done so: `quell audit --subject` finds both sides. Take the `impersonate` right away if it is not meant.",
    on: On::Impersonated,
    by: Actors::OTHERS,
    needs: &[],
    cap: CAP,
};

impl Detection for Impersonation {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let Some(other) = &look.event.impersonated else { return };
        let account = other.service_account();
        let why = if other.in_group("system:masters") {
            Some("a member of system:masters, whom no rule holds back".to_owned())
        } else if other.username.starts_with("system:node:") {
            Some(format!("the kubelet {}", other.username))
        } else if other.username.starts_with("system:kube-") || other.username == "system:apiserver" {
            Some(format!("the cluster's own {}", other.username))
        } else {
            account.filter(|(namespace, _)| is_system(namespace)).map(|(n, a)| format!("the account {n}/{a}"))
        };
        match why {
            Some(why) => out.note_once(look, 0, Severity::High, &look.what(), &why),
            None => out.note_once(look, 0, Severity::Low, &look.what(), ""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, findings, line, none};

    #[test]
    fn by_whom_it_is() {
        let get = line("get", "pods").ns("shop").name("p");
        let strong = [
            get.clone().impersonating("x", &["system:masters"]),
            get.clone().impersonating("system:serviceaccount:kube-system:coredns", &[]),
            get.clone().impersonating("system:node:n1", &["system:nodes"]),
            get.clone().impersonating("system:kube-controller-manager", &[]),
        ];
        each(SPEC.id, Severity::High, &strong);
        each(
            SPEC.id,
            Severity::Low,
            &[get.clone().impersonating("joe", &[]), get.clone().impersonating("system:serviceaccount:shop:web", &[])],
        );
        none(SPEC.id, &[get]);
        let found = findings(SPEC.id, &strong[1..2]);
        assert_eq!(found[0].subject.user, "jane@example.org");
        assert_eq!(found[0].subject.effective_user, "system:serviceaccount:kube-system:coredns");
    }
}
