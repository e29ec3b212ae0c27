//! Pods in the namespaces of their host.

use serde_json::Value;

use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::{TEMPLATE_BODIES, TEMPLATES};
use crate::audit::detect::{Actors, Detection, Look, Out, Severity, Spec};

pub struct HostNamespaces;

const SPEC: Spec = Spec {
    id: "host-namespaces",
    title: "Pod in the namespaces of its host",
    techniques: "T1611",
    severity: Severity::High,
    says: "{who} [put|tried to put] a pod into the namespaces of its host, {what}{notes}.",
    false_positives: "Networking and monitoring agents that an administrator installs.",
    step: "See what ran in it. With hostPID it sees the environment of every process of the node; with hostNetwork no \
        NetworkPolicy applies to it and it reaches the node's metadata service.",
    on: TEMPLATES,
    by: Actors::OTHERS,
    needs: TEMPLATE_BODIES,
    cap: CAP,
};

impl Detection for HostNamespaces {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let specs = look.pod_specs();
        let set = |key: &str| specs.iter().any(|s| s.get(key).and_then(Value::as_bool) == Some(true));
        let found: Vec<&str> = ["hostPID", "hostIPC", "hostNetwork"].into_iter().filter(|k| set(k)).collect();
        if !found.is_empty() {
            let severity = if found == ["hostNetwork"] { Severity::Medium } else { Severity::High };
            out.hit(look, severity, &found.join(" and "));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn each_of_them() {
        let pod = |key: &str, value| line("create", "pods").ns("shop").body(json!({"spec": {key: value}}));
        let patch = json!([{"op": "add", "path": "/spec/template/spec/hostPID", "value": true}]);
        each(
            SPEC.id,
            Severity::High,
            &[pod("hostPID", true), pod("hostIPC", true), line("patch", "daemonsets.apps").ns("shop").body(patch)],
        );
        each(SPEC.id, Severity::Medium, &[pod("hostNetwork", true)]);
        none(SPEC.id, &[pod("hostPID", false), pod("hostPID", true).node("n1", "10.0.0.1"), pod("hostUsers", true)]);
    }
}
