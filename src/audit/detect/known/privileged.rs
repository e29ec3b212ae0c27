//! Containers with the rights of the host.

use serde_json::Value;

use super::power::capability;
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::{TEMPLATE_BODIES, TEMPLATES, containers};
use crate::audit::detect::{Actors, Detection, Look, Out, Severity, Spec};

pub struct Privileged;

const SPEC: Spec = Spec {
    id: "privileged-container",
    title: "Container with the rights of its host",
    techniques: "T1611",
    severity: Severity::High,
    says: "{who} [put|tried to put] a container with the rights of its host into {what}{notes}.",
    false_positives: "Networking, storage and monitoring agents, as a rule DaemonSets that an administrator installs.",
    step: "If it ran, the node counts as lost: see `quell audit --node`, and what else ran there.",
    on: TEMPLATES,
    by: Actors::OTHERS,
    needs: TEMPLATE_BODIES,
    cap: CAP,
};

impl Detection for Privileged {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let found = look.pod_specs().into_iter().flat_map(|spec| {
            let host =
                spec.pointer("/securityContext/windowsOptions/hostProcess").and_then(Value::as_bool) == Some(true);
            containers(spec)
                .filter_map(grade)
                .chain(host.then(|| (Severity::High, "a process of the Windows host".into())))
        });
        if let Some((severity, note)) = found.max() {
            out.hit(look, severity, &note);
        }
    }
}

fn grade(container: &Value) -> Option<(Severity, String)> {
    let yes = |key: &str| container.pointer(&format!("/securityContext/{key}")).and_then(Value::as_bool) == Some(true);
    let mut found = capability(container).map(|(s, name)| (s, format!("capability {name}")));
    if yes("allowPrivilegeEscalation") {
        found = found.max(Some((Severity::Low, "allowPrivilegeEscalation".into())));
    }
    if text(container, "/securityContext/procMount") == "Unmasked" {
        found = found.max(Some((Severity::Medium, "an unmasked /proc".into())));
    }
    if yes("windowsOptions/hostProcess") {
        found = found.max(Some((Severity::High, "a process of the Windows host".into())));
    }
    if yes("privileged") {
        found = Some((Severity::High, "privileged".into()));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none};

    /// The same container in every kind of template, created, applied and patched.
    pub fn everywhere(spec: &Value) -> Vec<Line> {
        let template = json!({"spec": {"template": {"spec": spec}}});
        let mut lines = vec![
            line("create", "pods").ns("shop").body(json!({"metadata": {"name": "p"}, "spec": spec})),
            line("create", "cronjobs.batch").ns("shop").body(json!({"spec": {"jobTemplate": template}})),
            line("create", "replicationcontrollers").ns("shop").body(template.clone()),
            line("create", "jobs.batch").ns("shop").body(template.clone()),
        ];
        for kind in ["deployments.apps", "daemonsets.apps", "statefulsets.apps", "replicasets.apps"] {
            for verb in ["create", "update", "patch"] {
                lines.push(line(verb, kind).ns("shop").name("w").body(template.clone()));
            }
        }
        let json_patch = json!([{"op": "replace", "path": "/spec/template/spec", "value": spec}]);
        lines.push(line("patch", "deployments.apps").ns("shop").name("w").body(json_patch));
        lines
    }

    #[test]
    fn in_every_template_by_every_verb() {
        let with = |context: Value| json!({"containers": [{"name": "a"}, {"name": "b", "securityContext": context}]});
        each(SPEC.id, Severity::High, &everywhere(&with(json!({"privileged": true}))));
        each(
            SPEC.id,
            Severity::High,
            &everywhere(
                &json!({"initContainers": [{"securityContext": {"capabilities": {"add": ["CAP_SYS_ADMIN"]}}}]}),
            ),
        );
        each(SPEC.id, Severity::Medium, &everywhere(&with(json!({"capabilities": {"add": ["NET_ADMIN"]}}))));
        each(SPEC.id, Severity::Low, &everywhere(&with(json!({"allowPrivilegeEscalation": true}))));
        none(
            SPEC.id,
            &everywhere(&with(
                json!({"privileged": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
            )),
        );
        let of_controller: Vec<Line> = everywhere(&with(json!({"privileged": true})))
            .into_iter()
            .map(|l| l.controller("daemon-set-controller"))
            .collect();
        none(SPEC.id, &of_controller);
    }

    #[test]
    fn what_was_refused_or_only_tried_out_is_less() {
        let pod = everywhere(&json!({"containers": [{"securityContext": {"privileged": true}}]})).remove(0);
        each(SPEC.id, Severity::Medium, &[pod.clone().code(403), pod.uri("/api/v1/namespaces/shop/pods?dryRun=All")]);
    }

    #[test]
    fn a_json_patch_of_one_field() {
        let path = "/spec/template/spec/containers/0/securityContext/privileged";
        let patch = json!([{"op": "add", "path": path, "value": true}]);
        each(SPEC.id, Severity::High, &[line("patch", "deployments.apps").ns("shop").name("w").body(patch)]);
    }
}
