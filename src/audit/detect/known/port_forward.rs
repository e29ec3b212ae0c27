//! A tunnel through the API server into a pod.

use super::is_system;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct PortForward;

const SPEC: Spec = Spec {
    id: "port-forward",
    title: "Port of a pod forwarded",
    techniques: "T1572",
    severity: Severity::Medium,
    says: "{who} [opened|tried to open] a tunnel through the API server into {what}.",
    false_positives: "Developers who look at a service.",
    step: "Ask the person. What went through the tunnel is not in this log; NetworkPolicies did not apply to it.",
    on: On::Resources(&[("pods", "portforward", Verbs::GET.or(Verbs::CREATE))]),
    by: Actors::ANY,
    needs: &[],
    cap: CAP,
};

impl Detection for PortForward {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let grave = look.actor.is_account() || is_system(look.namespace());
        out.hit(look, if grave { Severity::Medium } else { Severity::Low }, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn both_verbs() {
        let forward = |verb| line(verb, "pods/portforward").ns("shop").name("db-0");
        each(SPEC.id, Severity::Low, &[forward("get"), forward("create")]);
        each(SPEC.id, Severity::Medium, &[forward("get").account("shop", "web"), forward("create").ns("kube-system")]);
        none(SPEC.id, &[line("get", "pods/log").ns("shop").name("db-0")]);
    }
}
