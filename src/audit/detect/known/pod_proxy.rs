//! Requests sent through the API server to a pod or a Service.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct PodProxy;

const SPEC: Spec = Spec {
    id: "pod-proxy",
    title: "Pod or Service reached through the API server",
    techniques: "T1090",
    severity: Severity::Medium,
    says: "{who} [reached|tried to reach] a pod or Service through the API server, {what}{notes}.",
    false_positives: "Dashboards opened by `kubectl proxy`.",
    step: "Ask what it was for. The pod saw the API server as the caller; NetworkPolicies did not apply.",
    on: On::Resources(&[("pods", "proxy", Verbs::ANY), ("services", "proxy", Verbs::ANY)]),
    by: Actors::OTHERS,
    needs: &[],
    cap: CAP,
};

impl Detection for PodProxy {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let path = look.event.uri.split('?').next().unwrap_or_default();
        let path = path.split_once("/proxy").map_or("", |(_, rest)| rest);
        let short: String = path.chars().take(80).collect();
        out.hit(look, Severity::Medium, &if short.is_empty() { String::new() } else { format!("path {short}") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn every_verb() {
        let proxy = |verb, kind: &str| line(verb, &format!("{kind}/proxy")).ns("shop").name("web:80");
        each(
            SPEC.id,
            Severity::Medium,
            &[proxy("get", "pods"), proxy("create", "services"), proxy("delete", "services")],
        );
        none(
            SPEC.id,
            &[line("get", "services").ns("shop").name("web"), proxy("get", "services").user("system:apiserver")],
        );
    }
}
