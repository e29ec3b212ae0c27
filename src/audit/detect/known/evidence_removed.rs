//! What would have told of it is taken away.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct EvidenceRemoved;

/// Parts of the names of what watches: loggers, runtime sensors, audit.
const WATCHERS: &[&str] = &[
    "falco",
    "tetragon",
    "tracee",
    "kubearmor",
    "sysdig",
    "datadog",
    "dynatrace",
    "fluent-bit",
    "fluentbit",
    "fluentd",
    "filebeat",
    "auditbeat",
    "elastic-agent",
    "promtail",
    "loki",
    "vector",
    "alloy",
    "logging",
    "audit",
    "wazuh",
    "osquery",
    "otel",
    "opentelemetry",
    "crowdstrike",
    "sentinel",
    "defender",
    "stackrox",
    "collector-sensor",
    "neuvector",
    "kubescape",
];

const SPEC: Spec = Spec {
    id: "evidence-removed",
    title: "Events deleted, or what watches taken away",
    techniques: "T1070 T1562.001",
    severity: Severity::High,
    says: "{who} [removed or changed|tried to remove or change] what would tell of it, {what}{notes}.",
    false_positives: "Upgrades of an agent by an administrator; tests that clean up.",
    step: "See what happened just before: the time that it hides is the time to look at. Restore the sensor.",
    on: On::Resources(&[
        ("events", "", Verbs::REMOVE),
        ("daemonsets", "", Verbs::PATCH.or(Verbs::UPDATE).or(Verbs::REMOVE)),
        ("deployments", "", Verbs::PATCH.or(Verbs::UPDATE).or(Verbs::REMOVE)),
        ("deployments", "scale", Verbs::PATCH.or(Verbs::UPDATE)),
        ("statefulsets", "", Verbs::REMOVE),
        ("configmaps", "", Verbs::PATCH.or(Verbs::UPDATE).or(Verbs::REMOVE)),
        ("namespaces", "", Verbs::DELETE),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["events"])],
    cap: CAP,
};

impl Detection for EvidenceRemoved {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if look.resource() == "events" {
            let all = look.verb(Verbs::DELETE_ALL);
            out.hit(look, if all { Severity::High } else { Severity::Medium }, "");
            return;
        }
        let watches = |name: &str| {
            let name = name.to_ascii_lowercase();
            WATCHERS.iter().any(|w| name.contains(w))
        };
        let by_name = watches(look.event.name());
        if !by_name && !watches(look.namespace()) {
            return;
        }
        let workload = look.resource() != "configmaps";
        let severity = match (look.verb(Verbs::REMOVE), workload) {
            (true, true) => Severity::High,
            (true, false) => Severity::Medium,
            // A sensor that is to run nowhere is as good as gone.
            (false, true) if nowhere(look) => Severity::High,
            // To keep an agent up to date is ordinary; by a pod's own token it is not.
            (false, _) if look.in_pod() => Severity::Medium,
            (false, _) => Severity::Low,
        };
        out.hit(look, severity, &look.event.verb);
    }
}

/// No replicas, or a selector for nodes that is not among the agent's own.
fn nowhere(look: &Look) -> bool {
    let body = look.body();
    body.pointer("/spec/replicas").and_then(serde_json::Value::as_i64) == Some(0)
        || (look.verb(Verbs::PATCH) && body.pointer("/spec/template/spec/nodeSelector").is_some_and(|s| !s.is_null()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn events_and_sensors() {
        let sensor = |verb| line(verb, "daemonsets.apps").ns("falco").name("falco");
        each(
            SPEC.id,
            Severity::Medium,
            &[line("delete", "events").ns("shop").name("e"), line("delete", "configmaps").ns("falco").name("rules")],
        );
        each(
            SPEC.id,
            Severity::High,
            &[
                line("deletecollection", "events.events.k8s.io").ns("shop"),
                sensor("delete"),
                line("delete", "daemonsets.apps").ns("kube-system").name("fluent-bit"),
                line("delete", "namespaces").name("falco"),
                sensor("patch").body(json!({"spec": {"template": {"spec": {"nodeSelector": {"none": "here"}}}}})),
                line("patch", "deployments.apps/scale")
                    .ns("logging")
                    .name("gateway")
                    .body(json!({"spec": {"replicas": 0}})),
            ],
        );
        each(
            SPEC.id,
            Severity::Low,
            &[sensor("patch").body(json!({"spec": {"template": {"spec": {"containers": []}}}}))],
        );
        none(
            SPEC.id,
            &[
                line("delete", "daemonsets.apps").ns("shop").name("cache"),
                line("deletecollection", "events").ns("shop").controller("namespace-controller"),
                line("create", "events").ns("shop"),
                line("create", "daemonsets.apps").ns("falco").name("falco"),
            ],
        );
    }
}
