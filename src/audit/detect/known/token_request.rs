//! A token asked for.

use super::is_system;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct TokenRequest;

/// Longer than that nobody needs by hand.
const LONG: i64 = 24 * 3600;

const SPEC: Spec = Spec {
    id: "token-requested",
    title: "Token of a service account issued",
    techniques: "T1528 T1550.001",
    severity: Severity::High,
    says: "{who} [had a token issued|tried to have a token issued] for {what}{notes}.",
    false_positives: "`kubectl create token` by people; operators and secret stores that hand out tokens of their own account.",
    step: "Follow it: `quell audit --session` with the token's id from this event's annotations. It lives until it expires; \
        only deleting the account, or the object it is bound to, ends it sooner.",
    on: On::Resources(&[("serviceaccounts", "token", Verbs::CREATE)]),
    // Kubelets fetch the tokens of their pods, and the controller manager its own.
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["serviceaccounts/token"])],
    cap: CAP,
};

impl Detection for TokenRequest {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let seconds =
            [look.body(), look.answer()].into_iter().find_map(|b| b.pointer("/spec/expirationSeconds")?.as_i64());
        let own = look.event.user.service_account() == Some((look.namespace(), look.event.name()));
        let (severity, note) = match seconds {
            _ if is_system(look.namespace()) && !own => (Severity::High, "an account of the cluster's own".to_owned()),
            Some(s) if s > LONG => (Severity::High, format!("valid for {} hours", s / 3600)),
            _ if own => (Severity::Low, "its own account".into()),
            _ if look.in_pod() => (Severity::High, "asked for from within a pod".into()),
            _ => (Severity::Medium, String::new()),
        };
        out.hit(look, severity, &note);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn kubelets_and_controllers_may() {
        let token = line("create", "serviceaccounts/token").ns("shop").name("web");
        each(
            SPEC.id,
            Severity::Medium,
            &[token.clone(), token.clone().account("shop", "other"), token.clone().user("system:node:n1")],
        );
        each(
            SPEC.id,
            Severity::High,
            &[
                token.clone().ns("kube-system").name("coredns"),
                token.clone().body(json!({"spec": {"expirationSeconds": 31_536_000}})),
                token.clone().account("shop", "other").pod("j", "p", "n1"),
            ],
        );
        each(SPEC.id, Severity::Low, &[token.clone().account("shop", "web")]);
        none(
            SPEC.id,
            &[
                token.clone().node("n1", "10.0.0.1"),
                token.user("system:kube-controller-manager"),
                line("create", "serviceaccounts").ns("shop"),
            ],
        );
    }
}
