//! Secrets of a namespace that is not the caller's.

use super::is_system;
use super::secrets_everywhere::{helm, informer};
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct SecretsElsewhere;

const SPEC: Spec = Spec {
    id: "secrets-listed-elsewhere",
    title: "Secrets of a foreign namespace listed",
    techniques: "T1552.007",
    severity: Severity::High,
    says: "{who} [listed|tried to list] Secrets of a namespace that is not its own: {what}{notes}.",
    false_positives: "Deployment tools and operators that serve several namespaces; an administrator who looks into \
        kube-system.",
    step: "See what the identity did with them: `quell audit --subject`. If nobody explains it, rotate the Secrets of \
        those namespaces and take the right away.",
    on: On::Resources(&[("secrets", "", Verbs::LIST.or(Verbs::WATCH))]),
    by: Actors::OTHERS,
    needs: &[Need::Reads(&["secrets"])],
    cap: CAP,
};

impl Detection for SecretsElsewhere {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let namespace = look.namespace();
        if namespace.is_empty() || !look.event.name().is_empty() {
            return;
        }
        let foreign = look.home().is_some_and(|home| home != namespace);
        let severity = match (is_system(namespace), foreign) {
            (true, _) if look.home() == Some(namespace) => return,
            _ if foreign && informer(look) => Severity::Low,
            (true, _) if helm(look) => Severity::Low,
            (true, true) => Severity::High,
            (true, false) | (false, true) => Severity::Medium,
            (false, false) => return,
        };
        out.hit(look, severity, "");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn the_callers_own_namespace_is_its_own() {
        let list = line("list", "secrets");
        let web = list.clone().account("payments", "web");
        each(SPEC.id, Severity::High, &[web.clone().ns("kube-system")]);
        each(SPEC.id, Severity::Medium, &[web.clone().ns("shop"), list.clone().ns("kube-system")]);
        each(SPEC.id, Severity::Low, &[web.clone().ns("shop").uri("/x?resourceVersion=0")]);
        none(
            SPEC.id,
            &[
                web.ns("payments"),
                list.clone().ns("shop"),
                list.clone().ns("kube-system").account("kube-system", "dns"),
                list,
            ],
        );
    }
}
