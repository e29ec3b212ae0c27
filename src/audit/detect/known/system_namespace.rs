//! Somebody's workload among the cluster's own.

use super::is_system;
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::{TEMPLATE_BODIES, TEMPLATES};
use crate::audit::detect::{Actors, Detection, Look, Out, Severity, Spec, Verbs};

pub struct SystemNamespace;

const SPEC: Spec = Spec {
    id: "workload-in-system-namespace",
    title: "Workload made among the cluster's own",
    techniques: "T1036.005 T1078",
    severity: Severity::High,
    says: "{who} [made|tried to make] a workload in a namespace of the cluster's own parts, {what}{notes}.",
    false_positives: "Add-ons that an administrator installs or a deployment tool keeps there.",
    step: "See whether it belongs to a known add-on, and which image and service account it runs with.",
    on: TEMPLATES,
    by: Actors::OTHERS,
    needs: TEMPLATE_BODIES,
    cap: CAP,
};

impl Detection for SystemNamespace {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if !is_system(look.namespace()) {
            return;
        }
        let account = look.pod_specs().into_iter().map(|s| text(s, "/serviceAccountName")).find(|n| !n.is_empty());
        if let Some(account) = account.filter(|a| borrowed(a)) {
            out.hit(look, Severity::High, &format!("with the service account {account} of a controller"));
            return;
        }
        let severity = match (look.resource(), look.actor.is_account()) {
            _ if !look.verb(Verbs::CREATE) => return,
            ("pods", true) => Severity::High,
            ("pods", false) | (_, true) => Severity::Medium,
            _ => Severity::Low,
        };
        out.hit(look, severity, "");
    }
}

/// The account of one of the controller manager's loops: no pod needs it.
fn borrowed(account: &str) -> bool {
    const LOOPS: &[&str] = &[
        "attachdetach",
        "certificate",
        "clusterrole-aggregation",
        "cronjob",
        "daemon-set",
        "deployment",
        "disruption",
        "endpoint",
        "endpointslice",
        "endpointslicemirroring",
        "ephemeral-volume",
        "expand",
        "job",
        "legacy-service-account-token-cleaner",
        "namespace",
        "node",
        "persistent-volume-binder",
        "pod-garbage-collector",
        "pv-protection",
        "pvc-protection",
        "replicaset",
        "replication",
        "resourcequota",
        "root-ca-cert-publisher",
        "route",
        "service-account",
        "service",
        "statefulset",
        "ttl-after-finished",
        "ttl",
    ];
    account == "generic-garbage-collector"
        || account == "horizontal-pod-autoscaler"
        || account.strip_suffix("-controller").is_some_and(|name| LOOPS.contains(&name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn pods_templates_and_borrowed_accounts() {
        let pod =
            line("create", "pods").ns("kube-system").body(json!({"metadata": {"name": "kube-proxy-x"}, "spec": {}}));
        let with = |account: &str| {
            line("patch", "deployments.apps")
                .ns("kube-system")
                .name("d")
                .body(json!({"spec": {"template": {"spec": {"serviceAccountName": account}}}}))
        };
        each(SPEC.id, Severity::Medium, &[pod.clone(), pod.clone().ns("kube-public")]);
        each(SPEC.id, Severity::High, &[pod.clone().account("shop", "web"), with("daemon-set-controller")]);
        each(SPEC.id, Severity::Low, &[line("create", "deployments.apps").ns("kube-system").name("d")]);
        none(
            SPEC.id,
            &[
                pod.clone().ns("shop"),
                pod.clone().controller("daemon-set-controller"),
                pod.node("n1", "10.0.0.1"),
                with("coredns"),
                with("ebs-csi-controller"),
                line("patch", "pods").ns("kube-system").name("x"),
            ],
        );
    }
}
