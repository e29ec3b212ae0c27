//! What runs in a workload exchanged.

use super::is_system;
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::{TEMPLATE_BODIES, containers};
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct WorkloadChanged;

const SPEC: Spec = Spec {
    id: "workload-changed",
    title: "What a workload runs was changed",
    techniques: "T1610 T1525",
    severity: Severity::High,
    says: "{who} [changed|tried to change] what {what} runs{notes}.",
    false_positives: "Every deployment of a new version: by people it is told as low. Operators and deployment tools.",
    step: "Compare with what the pipeline released; roll back what nobody released, after capturing a pod of it.",
    on: On::Resources(&[
        ("pods", "", Verbs::PATCH),
        ("deployments", "", Verbs::PATCH),
        ("daemonsets", "", Verbs::PATCH),
        ("statefulsets", "", Verbs::PATCH),
        ("replicasets", "", Verbs::PATCH),
        ("replicationcontrollers", "", Verbs::PATCH),
        ("jobs", "", Verbs::PATCH),
        ("cronjobs", "", Verbs::PATCH),
    ]),
    by: Actors::OTHERS,
    needs: TEMPLATE_BODIES,
    cap: CAP,
};

impl Detection for WorkloadChanged {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let specs = look.pod_specs();
        let any =
            |key: &str| specs.iter().flat_map(|s| containers(s)).any(|c| c.get(key).is_some_and(|v| !v.is_null()));
        let image = specs.iter().flat_map(|s| containers(s)).map(|c| text(c, "/image")).find(|i| !i.is_empty());
        let account = specs.iter().map(|s| text(s, "/serviceAccountName")).find(|n| !n.is_empty());
        let command = any("command") || any("args");
        let mut changed: Vec<String> = Vec::new();
        if let Some(image) = image {
            changed.push(format!("image {}", image.chars().take(80).collect::<String>()));
        }
        if command {
            changed.push("its command".into());
        }
        if let Some(account) = account {
            changed.push(format!("service account {account}"));
        }
        if changed.is_empty() {
            return;
        }
        let severity = match (look.actor.is_account(), look.in_pod(), is_system(look.namespace())) {
            (true, _, true) => Severity::High,
            (true, true, _) | (_, _, true) => Severity::Medium,
            // With the image it is a whole release.
            (true, false, _) if image.is_none() => Severity::Medium,
            _ if look.resource() == "pods" => Severity::Medium,
            _ => Severity::Low,
        };
        out.hit(look, severity, &changed.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none};

    fn patch(container: Value) -> Line {
        line("patch", "deployments.apps")
            .ns("shop")
            .name("web")
            .body(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
    }

    #[test]
    fn people_deploy_and_accounts_are_asked() {
        let image = patch(json!({"name": "app", "image": "registry.example/app:2"}));
        each(SPEC.id, Severity::Low, &[image.clone(), image.clone().account("ci", "deploy")]);
        each(
            SPEC.id,
            Severity::Medium,
            &[
                image.clone().account("shop", "web").pod("j", "p", "n1"),
                image.clone().ns("kube-system"),
                patch(json!({"name": "app", "command": ["sh"]})).account("ci", "deploy"),
                line("patch", "pods")
                    .ns("shop")
                    .name("p")
                    .body(json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "evil"}])),
            ],
        );
        each(SPEC.id, Severity::High, &[image.clone().ns("kube-system").account("shop", "web")]);
        none(
            SPEC.id,
            &[
                patch(json!({"name": "app", "env": [{"name": "A", "value": "b"}]})),
                line("patch", "deployments.apps").ns("shop").body(json!({"spec": {"replicas": 3}})),
                line("patch", "deployments.apps").ns("shop").body(json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "x"}}}}})),
                image.controller("deployment-controller"),
            ],
        );
    }
}
