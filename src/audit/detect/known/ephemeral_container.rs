//! A container put into a pod that runs.

use serde_json::Value;

use super::power::{HARMLESS, capability};
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::containers;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct EphemeralContainer;

const SPEC: Spec = Spec {
    id: "ephemeral-container",
    title: "Container put into a running pod",
    techniques: "T1609 T1611",
    severity: Severity::High,
    says: "{who} [put|tried to put] a container into a running pod, {what}{notes}.",
    false_positives: "`kubectl debug`; quell's own collector.",
    step: "See what the container's image is and who brought it. It shares the pod's network, and with a target its processes.",
    on: On::Resources(&[("pods", "ephemeralcontainers", Verbs::UPDATE.or(Verbs::PATCH))]),
    by: Actors::ANY,
    needs: &[],
    cap: CAP,
};

impl Detection for EphemeralContainer {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let spec = &look.body()["spec"];
        let grave = |c: &Value| {
            c.pointer("/securityContext/privileged").and_then(Value::as_bool) == Some(true)
                || capability(c).is_some_and(|(s, _)| s > HARMLESS)
        };
        let privileged = containers(spec).any(grave);
        let severity = if privileged || look.actor.is_account() { Severity::High } else { Severity::Medium };
        let images: Vec<&str> = containers(spec).map(|c| text(c, "/image")).filter(|i| !i.is_empty()).take(3).collect();
        let note = if images.is_empty() { String::new() } else { format!("image {}", images.join(", ")) };
        out.hit(look, severity, &note);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn both_verbs_with_and_without_a_body() {
        let debug = |body| line("patch", "pods/ephemeralcontainers").ns("shop").name("web-1").body(body);
        let plain = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}});
        let root = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "x", "securityContext": {"privileged": true}}]}});
        let json_patch = json!([{"op": "add", "path": "/spec/ephemeralContainers/-", "value": {"image": "x", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}}]);
        each(
            SPEC.id,
            Severity::Medium,
            &[debug(plain), line("update", "pods/ephemeralcontainers").ns("shop").name("web-1")],
        );
        each(SPEC.id, Severity::High, &[debug(root), debug(json_patch)]);
        none(
            SPEC.id,
            &[
                line("get", "pods/ephemeralcontainers").ns("shop").name("web-1"),
                line("patch", "pods").ns("shop").name("web-1"),
            ],
        );
    }
}
