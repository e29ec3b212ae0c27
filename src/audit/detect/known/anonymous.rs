//! Let in without a name.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Verbs};

pub struct Anonymous;

const SPEC: Spec = Spec {
    id: "anonymous-allowed",
    title: "Anonymous request let through",
    techniques: "T1190 T1078.001",
    severity: Severity::Critical,
    says: "Somebody without credentials was let through{notes}, {what}.",
    false_positives: "A cluster that means to publish something to everybody, and says so in a binding.",
    step: "Find the binding to system:anonymous or system:unauthenticated (the event's authorization reason names it) and \
        delete it; then see everything that came from those addresses.",
    on: On::Every,
    by: Actors::ANONYMOUS,
    needs: &[Need::Outcomes],
    cap: CAP,
};

impl Detection for Anonymous {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if look.event.impersonated.is_some() {
            return;
        }
        let path = look.event.uri.split('?').next().unwrap_or_default();
        if look.event.object.is_none() {
            let under = |prefix: &str| path == prefix || path.strip_prefix(prefix).is_some_and(|r| r.starts_with('/'));
            if ["/healthz", "/livez", "/readyz", "/version", "/openid/v1", "/.well-known/openid-configuration"]
                .into_iter()
                .any(under)
            {
                return;
            }
            let severity = if ["/api", "/apis", "/openapi", "/swagger.json"].into_iter().any(under) {
                Severity::Low
            } else {
                Severity::Medium
            };
            out.note_once(look, 0, severity, path, "");
            return;
        }
        // What `kubeadm join` reads before it has a name.
        if look.namespace() == "kube-public" && look.event.name() == "cluster-info" && look.verb(Verbs::GET) {
            return;
        }
        let grave = look.resource() == "secrets"
            || !look.verb(Verbs::READ)
            || matches!(look.sub(), "exec" | "attach" | "proxy" | "portforward");
        out.note_once(look, 0, if grave { Severity::Critical } else { Severity::High }, &look.what(), &look.event.verb);
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        facts.into_iter().filter(|f| matches!(f.outcome, Outcome::Done | Outcome::Failed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none, path};

    #[test]
    fn only_what_was_let_through_and_is_not_meant_for_all() {
        each(
            SPEC.id,
            Severity::Critical,
            &[line("get", "secrets").ns("a").name("b").anonymous(), line("create", "pods").ns("a").anonymous()],
        );
        each(SPEC.id, Severity::High, &[line("list", "pods").anonymous()]);
        each(SPEC.id, Severity::Low, &[path("/api?timeout=1s").anonymous(), path("/apis/apps/v1").anonymous()]);
        each(SPEC.id, Severity::Medium, &[path("/metrics").anonymous(), path("/healthzz").anonymous()]);
        none(
            SPEC.id,
            &[
                path("/healthz").anonymous(),
                path("/livez/ping").anonymous(),
                path("/version?x").anonymous(),
                line("get", "configmaps").ns("kube-public").name("cluster-info").anonymous(),
                line("list", "pods").anonymous().denied(),
                line("list", "pods").anonymous().code(401),
                path("/metrics"),
            ],
        );
    }
}
