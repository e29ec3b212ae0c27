//! A token that never expires, in a Secret.

use super::is_system;
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct TokenSecret;

const SPEC: Spec = Spec {
    id: "token-secret-created",
    title: "Secret made that holds a token without end",
    techniques: "T1098",
    severity: Severity::High,
    says: "{who} [made|tried to make] a Secret that is filled with a token that never expires, {what}{notes}.",
    false_positives: "Old manifests, and tools outside the cluster that want a lasting token.",
    step: "Delete the Secret: that ends the token. Look who has read it.",
    on: On::Resources(&[("secrets", "", Verbs::WRITE)]),
    by: Actors::OTHERS,
    needs: &[Need::Bodies(&["secrets"])],
    cap: CAP,
};

impl Detection for TokenSecret {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if text(look.body(), "/type") != "kubernetes.io/service-account-token" {
            return;
        }
        let account = text(look.body(), "/metadata/annotations/kubernetes.io~1service-account.name");
        let severity =
            if is_system(look.namespace()) || look.actor.is_account() { Severity::High } else { Severity::Medium };
        out.hit(look, severity, &format!("for the account {}", if account.is_empty() { "unknown" } else { account }));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::Blindness;
    use crate::audit::detect::plant::{each, findings, line, none, report};

    #[test]
    fn by_its_type_and_blind_without_bodies() {
        let body = |kind: &str| json!({"metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "web"}}, "type": kind});
        let make = line("create", "secrets").ns("shop");
        let token = make.clone().body(body("kubernetes.io/service-account-token"));
        each(SPEC.id, Severity::Medium, std::slice::from_ref(&token));
        each(SPEC.id, Severity::High, &[token.clone().ns("kube-system"), token.clone().account("shop", "web")]);
        assert!(
            findings(SPEC.id, std::slice::from_ref(&token))[0].sentence.contains("secrets shop/t: for the account web")
        );
        none(SPEC.id, &[make.clone().body(body("Opaque")), token.controller("token-controller"), make.clone()]);
        let blind = report(&[make]).unknowable;
        assert!(blind.iter().any(|u| u.id == SPEC.id && u.blind == Blindness::Wholly), "{blind:?}");
    }
}
