//! What keeps pods apart or in bounds is taken away.

use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::removed;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct GuardRelaxed;

const CHANGE: Verbs = Verbs::UPDATE.or(Verbs::PATCH).or(Verbs::REMOVE);
const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

const SPEC: Spec = Spec {
    id: "guard-relaxed",
    title: "Network policy or pod security relaxed",
    techniques: "T1562.007",
    severity: Severity::Critical,
    says: "{who} [took away or changed|tried to take away or change] what keeps pods in bounds, {what}{notes}.",
    false_positives: "Deployments that bring their own policies: changes by people are told as low.",
    step: "Put it back, then see what was made or reached in the meantime.",
    on: On::Resources(&[
        ("networkpolicies", "", CHANGE),
        ("ciliumnetworkpolicies", "", CHANGE),
        ("ciliumclusterwidenetworkpolicies", "", CHANGE),
        ("adminnetworkpolicies", "", CHANGE),
        ("baselineadminnetworkpolicies", "", CHANGE),
        ("clusternetworkpolicies", "", CHANGE),
        ("globalnetworkpolicies", "", CHANGE),
        ("namespaces", "", Verbs::WRITE),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["networkpolicies"]), Need::Bodies(&["namespaces"])],
    cap: CAP,
};

impl Detection for GuardRelaxed {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if look.resource() == "namespaces" {
            return pod_security(look, out);
        }
        let removed = look.verb(Verbs::REMOVE);
        if look.event.name().starts_with("quell-quarantine-") {
            // quell itself lifts it at the end; whether it was quell is judged with the rest of the quarantine.
            let by_quell = look.event.user_agent.starts_with("quell/");
            out.hit(look, if by_quell { Severity::Low } else { Severity::Critical }, "an incident's quarantine");
            return;
        }
        let severity = match (removed, look.actor.is_account()) {
            (true, true) => Severity::High,
            (true, false) | (false, true) => Severity::Medium,
            (false, false) => Severity::Low,
        };
        out.hit(look, severity, &look.event.verb);
    }
}

fn pod_security(look: &Look, out: &mut Out) {
    let level = text(look.body(), "/metadata/labels/pod-security.kubernetes.io~1enforce");
    let gone = look.verb(Verbs::PATCH)
        && look.event.request().is_some_and(|raw| removed(&raw).iter().any(|p| p.ends_with(ENFORCE)));
    match level {
        "privileged" if look.verb(Verbs::CREATE) => out.hit(look, Severity::Low, "made without pod security"),
        "privileged" => out.hit(look, Severity::High, "pod security set to privileged"),
        _ if gone => out.hit(look, Severity::High, "pod security label removed"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn policies_and_pod_security() {
        let policy = |verb, name: &str| line(verb, "networkpolicies.networking.k8s.io").ns("shop").name(name);
        each(
            SPEC.id,
            Severity::Critical,
            &[policy("delete", "quell-quarantine-x"), policy("patch", "quell-quarantine-x")],
        );
        each(
            SPEC.id,
            Severity::High,
            &[policy("delete", "deny").account("shop", "web"), policy("deletecollection", "").account("shop", "web")],
        );
        each(
            SPEC.id,
            Severity::Medium,
            &[policy("delete", "deny"), line("delete", "ciliumnetworkpolicies.cilium.io").ns("shop").name("x")],
        );
        each(
            SPEC.id,
            Severity::Low,
            &[policy("patch", "deny"), policy("delete", "quell-quarantine-x").agent("quell/0.1.0")],
        );
        none(SPEC.id, &[policy("create", "deny"), policy("delete", "deny").controller("namespace-controller")]);

        let label = |verb, value: serde_json::Value| {
            line(verb, "namespaces").name("shop").body(json!({"metadata": {"labels": {ENFORCE: value}}}))
        };
        let json_patch = |op: &str| {
            line("patch", "namespaces").name("shop").body(json!([{"op": op, "path": "/metadata/labels/pod-security.kubernetes.io~1enforce", "value": "privileged"}]))
        };
        each(
            SPEC.id,
            Severity::High,
            &[
                label("patch", json!("privileged")),
                label("patch", json!(null)),
                json_patch("replace"),
                json_patch("remove"),
            ],
        );
        each(SPEC.id, Severity::Low, &[label("create", json!("privileged"))]);
        none(
            SPEC.id,
            &[
                label("patch", json!("restricted")),
                label("create", json!("baseline")),
                line("patch", "namespaces").body(json!({"metadata": {"labels": {"a": "b"}}})),
            ],
        );
    }
}
