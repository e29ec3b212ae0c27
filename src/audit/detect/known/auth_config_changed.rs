//! Who may come in, kept in a ConfigMap.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct AuthConfigChanged;

const SPEC: Spec = Spec {
    id: "auth-config-changed",
    title: "Configuration of who may come in changed",
    techniques: "T1098.006",
    severity: Severity::High,
    says: "{who} [changed|tried to change] the configuration of who may come in, {what}{notes}.",
    false_positives: "A provider's own tools, which map nodes (told as low); upgrades by kubeadm.",
    step: "Compare with the one that is meant: one line of aws-auth makes any role of the cloud a cluster-admin.",
    on: On::Resources(&[("configmaps", "", Verbs::WRITE.or(Verbs::REMOVE))]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["configmaps"])],
    cap: CAP,
};

impl Detection for AuthConfigChanged {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let auth = matches!(
            (look.namespace(), look.name()),
            ("kube-system", "aws-auth" | "kubeadm-config" | "extension-apiserver-authentication" | "kubelet-config")
                | ("kube-public", "cluster-info")
        );
        if !auth {
            return;
        }
        let providers = look.name() == "aws-auth" && look.user().starts_with("eks:");
        out.hit(look, if providers { Severity::Low } else { Severity::High }, &look.event.verb);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn only_those_config_maps() {
        let map = |verb, ns: &str, name: &str| line(verb, "configmaps").ns(ns).name(name);
        each(
            SPEC.id,
            Severity::High,
            &[
                map("patch", "kube-system", "aws-auth"),
                map("delete", "kube-system", "extension-apiserver-authentication"),
                map("update", "kube-public", "cluster-info"),
            ],
        );
        each(SPEC.id, Severity::Low, &[map("update", "kube-system", "aws-auth").user("eks:node-manager")]);
        none(
            SPEC.id,
            &[
                map("get", "kube-system", "aws-auth"),
                map("patch", "shop", "aws-auth"),
                map("update", "kube-system", "extension-apiserver-authentication").user("system:apiserver"),
            ],
        );
    }
}
