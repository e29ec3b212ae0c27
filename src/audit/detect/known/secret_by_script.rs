//! A Secret read by a tool for scripts.

use crate::audit::detect::look::scripting;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actor, Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct SecretByScript;

const SPEC: Spec = Spec {
    id: "secret-read-by-script",
    title: "Secret read by a tool for scripts",
    techniques: "T1552.007",
    severity: Severity::High,
    says: "{who} [read|tried to read] {what} with a tool for scripts{notes}.",
    false_positives: "Home-grown scripts and clients that don't name themselves (Go's default agent). The agent is the \
        client's own word.",
    step: "If this workload has no business with the API, take its token for stolen: find the pod, isolate it, rotate the Secret.",
    on: On::Resources(&[("secrets", "", Verbs::READ)]),
    by: Actors::OTHERS,
    needs: &[Need::Reads(&["secrets"])],
    cap: CAP,
};

impl Detection for SecretByScript {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let agent = look.event.user_agent.as_ref();
        if !scripting(agent) {
            return;
        }
        let severity = if look.actor == Actor::Person { Severity::Medium } else { Severity::High };
        let short: String = agent.chars().take(40).collect();
        out.hit(look, severity, &if short.is_empty() { "it gives no user agent".into() } else { short });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn by_the_agent() {
        let get = line("get", "secrets").ns("shop").name("db");
        let web = get.clone().account("shop", "web");
        each(
            SPEC.id,
            Severity::High,
            &[
                web.clone().agent("curl/8.5.0"),
                web.clone().agent("python-requests/2.32"),
                web.clone().agent("Go-http-client/2.0"),
                web.clone().agent("Mozilla (Kali)"),
                web.clone().agent(""),
                line("list", "secrets").ns("shop").account("shop", "web").agent("Wget/1.21"),
            ],
        );
        each(SPEC.id, Severity::Medium, &[get.clone().agent("curl/8.5.0"), web.clone().agent("curl/8").denied()]);
        none(SPEC.id, &[get, web, line("create", "secrets").ns("shop").agent("curl/8")]);
    }
}
