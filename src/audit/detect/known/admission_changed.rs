//! What lets requests in or changes them on their way.

use serde_json::Value;

use crate::audit::detect::look::items;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct AdmissionChanged;

const CHANGE: Verbs = Verbs::WRITE.or(Verbs::REMOVE);

const SPEC: Spec = Spec {
    id: "admission-changed",
    title: "Admission changed",
    techniques: "T1546 T1562.001",
    severity: Severity::High,
    says: "{who} [changed|tried to change] what is admitted to the cluster, {what}{notes}.",
    false_positives: "Installation and upgrade of a policy engine or an operator; injectors that keep their CA up to date \
        (told as low).",
    step: "A webhook sees every object it is asked about, Secrets too, and may change it: see where it points. If a policy \
        was removed, see what was made since.",
    on: On::Resources(&[
        ("mutatingwebhookconfigurations", "", CHANGE),
        ("validatingwebhookconfigurations", "", CHANGE),
        ("validatingadmissionpolicies", "", CHANGE),
        ("validatingadmissionpolicybindings", "", CHANGE),
        ("mutatingadmissionpolicies", "", CHANGE),
        ("mutatingadmissionpolicybindings", "", CHANGE),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["mutatingwebhookconfigurations", "validatingwebhookconfigurations"])],
    cap: CAP,
};

impl Detection for AdmissionChanged {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let body = look.body();
        let url = items(body, "/webhooks").find_map(|w| w.pointer("/clientConfig/url")?.as_str());
        let (severity, note) = match url {
            Some(url) => {
                (Severity::High, format!("it sends what it sees to {}", url.chars().take(100).collect::<String>()))
            }
            None if look.verb(Verbs::REMOVE) => (Severity::Medium, "removed".into()),
            None if look.verb(Verbs::PATCH) && only_ca(body) => (Severity::Low, "only its CA".into()),
            None => (Severity::Medium, look.event.verb.to_string()),
        };
        let severity = if look.in_pod() && severity == Severity::Medium && look.verb(Verbs::REMOVE) {
            Severity::High
        } else {
            severity
        };
        out.hit(look, severity, &note);
    }
}

/// Every webhook of the patch has nothing but a CA (and, in a merge patch, the name it is found by).
fn only_ca(body: &Value) -> bool {
    let mut any = false;
    let all = items(body, "/webhooks").all(|hook| {
        any = true;
        let Some(hook) = hook.as_object() else { return false };
        hook.iter().all(|(key, value)| match key.as_str() {
            "clientConfig" => value.as_object().is_some_and(|c| c.keys().all(|k| k == "caBundle")),
            "name" | " at" => true,
            _ => false,
        })
    });
    any && all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn written_removed_and_where_it_points() {
        let hook = |verb| line(verb, "mutatingwebhookconfigurations.admissionregistration.k8s.io").name("h");
        let body = |client: Value| json!({"webhooks": [{"name": "a", "clientConfig": client}]});
        each(
            SPEC.id,
            Severity::Medium,
            &[
                hook("create").body(body(json!({"service": {"name": "s"}}))),
                hook("delete"),
                hook("deletecollection"),
                line("delete", "validatingadmissionpolicybindings.admissionregistration.k8s.io").name("b"),
            ],
        );
        each(
            SPEC.id,
            Severity::High,
            &[
                hook("patch").body(body(json!({"url": "https://evil.example/"}))),
                hook("delete").account("a", "b").pod("j", "p", "n"),
            ],
        );
        let ca = json!([{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "LS0"}]);
        each(SPEC.id, Severity::Low, &[hook("patch").body(body(json!({"caBundle": "LS0"}))), hook("patch").body(ca)]);
        none(SPEC.id, &[hook("get"), hook("update").user("system:kube-controller-manager")]);
    }
}
