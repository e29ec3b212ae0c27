//! Something opened to the outside.

use serde_json::Value;

use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct Exposed;

const SPEC: Spec = Spec {
    id: "exposed-to-outside",
    title: "Service opened to the outside",
    techniques: "T1133",
    severity: Severity::Medium,
    says: "{who} [opened|tried to open] something to the outside, {what}{notes}.",
    false_positives: "Ordinary releases: by people and deployment tools told as low.",
    step: "See what is behind it. externalIPs draw other people's traffic in: allow them by admission only.",
    on: On::Resources(&[
        ("services", "", Verbs::WRITE),
        ("ingresses", "", Verbs::WRITE),
        ("gateways", "", Verbs::WRITE),
        ("httproutes", "", Verbs::CREATE),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Bodies(&["services"])],
    cap: CAP,
};

impl Detection for Exposed {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let from_pod = if look.in_pod() && look.actor.is_account() { Severity::Medium } else { Severity::Low };
        if look.resource() != "services" {
            if look.verb(Verbs::CREATE) {
                out.hit(look, from_pod, "");
            }
            return;
        }
        let body = look.body();
        let external = body.pointer("/spec/externalIPs").and_then(Value::as_array).is_some_and(|l| !l.is_empty());
        match text(body, "/spec/type") {
            _ if external => out.hit(look, Severity::Medium, "externalIPs"),
            kind @ ("NodePort" | "LoadBalancer") => out.hit(look, from_pod, kind),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn by_kind_of_door() {
        let service = |verb, spec: Value| line(verb, "services").ns("shop").name("s").body(json!({"spec": spec}));
        let ingress = line("create", "ingresses.networking.k8s.io").ns("shop").name("i");
        each(
            SPEC.id,
            Severity::Low,
            &[
                service("create", json!({"type": "NodePort"})),
                service("patch", json!({"type": "LoadBalancer"})),
                ingress.clone(),
            ],
        );
        each(
            SPEC.id,
            Severity::Medium,
            &[
                service("patch", json!({"externalIPs": ["198.51.100.4"]})),
                ingress.account("shop", "web").pod("j", "p", "n"),
            ],
        );
        none(
            SPEC.id,
            &[
                service("create", json!({"type": "ClusterIP"})),
                service("patch", json!({"externalIPs": []})),
                service("update", json!({"type": "LoadBalancer"})).controller("service-controller"),
            ],
        );
    }
}
