//! All Secrets of the cluster in one request.

use crate::audit::detect::look::scripting;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actor, Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct SecretsEverywhere;

const SPEC: Spec = Spec {
    id: "secrets-listed-everywhere",
    title: "Secrets of every namespace listed",
    techniques: "T1552.007",
    severity: Severity::High,
    says: "{who} [read|tried to read] the Secrets of every namespace in one request{notes}.",
    false_positives: "Controllers that watch all Secrets (certificates, external secrets, ingress): they list from the \
        cache and then watch, and are told as low. Backup tools and `helm list -A`.",
    step: "Ask the owner of the identity. If it was not them, treat every Secret of the cluster as leaked: revoke the \
        identity's right first, then rotate, beginning with service account tokens and cloud keys.",
    on: On::Resources(&[("secrets", "", Verbs::LIST.or(Verbs::WATCH))]),
    by: Actors::OTHERS,
    needs: &[Need::Reads(&["secrets"])],
    cap: CAP,
};

impl Detection for SecretsEverywhere {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if !look.namespace().is_empty() || !look.event.name().is_empty() {
            return;
        }
        if informer(look) {
            out.hit(look, Severity::Low, "as a controller fills its cache");
        } else if helm(look) {
            out.hit(look, Severity::Low, "only Helm's releases; their values may hold credentials");
        } else {
            out.hit(look, Severity::High, "");
        }
    }
}

/// Asked as client-go's caches do, by a service account: from the API server's cache, or as a watch. Whoever imitates that
/// is still told, as low.
pub fn informer(look: &Look) -> bool {
    let agent = look.event.user_agent.as_ref();
    look.actor.is_account()
        && !scripting(agent)
        && !agent.starts_with("kubectl/")
        && (look.verb(Verbs::WATCH) || look.event.query().iter().any(|(k, v)| k == "resourceVersion" && !v.is_empty()))
}

/// What `helm list` asks for.
pub fn helm(look: &Look) -> bool {
    look.actor == Actor::Person
        && look.event.query().iter().any(|(k, v)| k == "labelSelector" && v.split(',').any(|one| one == "owner=helm"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn a_list_without_a_namespace_is_told_and_a_cache_is_low() {
        let list = line("list", "secrets").uri("/api/v1/secrets?limit=500");
        each(
            SPEC.id,
            Severity::High,
            &[
                list.clone(),
                list.clone().account("payments", "web"),
                list.clone().user("system:node:n1"),
                line("watch", "secrets").account("payments", "web").agent("kubectl/v1.33"),
            ],
        );
        each(
            SPEC.id,
            Severity::Low,
            &[
                line("list", "secrets").account("ingress", "nginx").uri("/api/v1/secrets?limit=500&resourceVersion=0"),
                line("watch", "secrets").account("ingress", "nginx").uri("/api/v1/secrets?watch=true"),
                list.clone().uri("/api/v1/secrets?labelSelector=owner%3Dhelm"),
            ],
        );
        each(SPEC.id, Severity::Medium, &[list.clone().denied()]);
        none(
            SPEC.id,
            &[
                list.clone().ns("payments"),
                list.clone().controller("resourcequota-controller"),
                list.clone().user("system:kube-controller-manager"),
                line("watch", "secrets").name("one"),
                line("get", "secrets").ns("a").name("b"),
            ],
        );
    }
}
