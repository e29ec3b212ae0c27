//! Names that lead elsewhere.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct DnsChanged;

const SPEC: Spec = Spec {
    id: "dns-changed",
    title: "The cluster's DNS changed",
    techniques: "T1565.001 T1557",
    severity: Severity::High,
    says: "{who} [changed|tried to change] how names are resolved in the cluster, {what}{notes}.",
    false_positives: "An administrator who forwards a domain; the cluster's own upgrade.",
    step: "Compare the Corefile with the one that is meant: a rewrite or forward can send every pod's traffic through \
        somebody's hands.",
    on: On::Resources(&[("configmaps", "", Verbs::WRITE.or(Verbs::REMOVE))]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["configmaps"])],
    cap: CAP,
};

impl Detection for DnsChanged {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let dns = matches!(
            look.name(),
            "coredns" | "coredns-custom" | "kube-dns" | "node-local-dns" | "dns-default" | "rke2-coredns-rke2-coredns"
        );
        if look.namespace() != "kube-system" || !dns {
            return;
        }
        out.hit(look, if look.actor.is_account() { Severity::High } else { Severity::Medium }, &look.event.verb);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn only_those_config_maps() {
        let map = |verb, name: &str| line(verb, "configmaps").ns("kube-system").name(name);
        each(
            SPEC.id,
            Severity::Medium,
            &[map("update", "coredns"), map("patch", "node-local-dns"), map("delete", "kube-dns")],
        );
        each(SPEC.id, Severity::High, &[map("patch", "coredns").account("shop", "web")]);
        none(
            SPEC.id,
            &[
                map("get", "coredns"),
                map("patch", "other"),
                map("patch", "coredns").ns("shop"),
                map("update", "coredns").user("system:apiserver"),
            ],
        );
    }
}
