//! A kubelet's own API, through the API server or beside it.

use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actor, Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct NodeProxy;

const SPEC: Spec = Spec {
    id: "node-proxy",
    title: "Kubelet's own API used",
    techniques: "T1609 T1611",
    severity: Severity::Critical,
    says: "{who} [reached|tried to reach] a kubelet's own API, {what}{notes}.",
    false_positives: "Monitoring of an old kind that reads metrics or pod lists through the proxy.",
    step: "Who may use nodes/proxy has a shell in every pod of that node, and what it runs there is in no audit log: take \
        the right away, then capture the node's pods.",
    on: On::Resources(&[("nodes", "proxy", Verbs::ANY), ("subjectaccessreviews", "", Verbs::CREATE)]),
    by: Actors::ANY.without(Actors::CONTROL_PLANE),
    needs: &[Need::Bodies(&["subjectaccessreviews"])],
    cap: CAP,
};

impl Detection for NodeProxy {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if look.resource() == "subjectaccessreviews" {
            return asked_by_kubelet(look, out);
        }
        let path = proxied(&look.event.uri);
        let severity = match path.split('/').next().unwrap_or_default() {
            "exec" | "run" | "attach" | "portForward" | "cri" | "checkpoint" | "containerLogs" | "logs" | "debug" => {
                Severity::Critical
            }
            "metrics" | "healthz" => return,
            "stats" if path.starts_with("stats/summary") => return,
            _ => Severity::High,
        };
        let short: String = path.chars().take(100).collect();
        out.hit(look, severity, &format!("path /{short}"));
    }
}

/// A kubelet asks the API server whether its own caller may. Its API server's client and who only reads metrics are usual.
fn asked_by_kubelet(look: &Look, out: &mut Out) {
    if look.actor != Actor::Node {
        return;
    }
    let body = look.body();
    let attributes = "/spec/resourceAttributes";
    let of = |key: &str| text(body, &format!("{attributes}/{key}"));
    if of("resource") != "nodes" || of("subresource") != "proxy" {
        return;
    }
    let user = text(body, "/spec/user");
    const API_SERVER: &[&str] =
        &["system:apiserver", "kube-apiserver-kubelet-client", "kube-apiserver", "system:kube-apiserver", "kubernetes"];
    if user.is_empty() || API_SERVER.contains(&user) {
        return;
    }
    let kubelet = look.user();
    let severity = if user == "system:anonymous" { Severity::Medium } else { Severity::High };
    let note = format!("directly, without the API server: its kubelet asked whether {user} may {}", of("verb"));
    out.note_about(
        look,
        1,
        severity,
        user,
        &format!("kubelet of {}", kubelet.trim_start_matches("system:node:")),
        &note,
    );
}

/// What follows `/proxy/`.
fn proxied(uri: &str) -> &str {
    let path = uri.split('?').next().unwrap_or_default();
    path.split_once("/proxy").map_or("", |(_, rest)| rest.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, findings, line, none};

    #[test]
    fn a_shell_metrics_and_the_way_around_the_api_server() {
        let proxy =
            |verb, path: &str| line(verb, "nodes/proxy").name("n1").uri(&format!("/api/v1/nodes/n1/proxy/{path}"));
        each(
            SPEC.id,
            Severity::Critical,
            &[
                proxy("create", "run/shop/web-1/app?cmd=id"),
                proxy("get", "exec/shop/web-1/app?command=sh"),
                proxy("get", "logs/"),
            ],
        );
        each(
            SPEC.id,
            Severity::High,
            &[proxy("get", "pods"), proxy("get", "configz"), proxy("get", "").account("mon", "prom")],
        );
        none(
            SPEC.id,
            &[
                proxy("get", "metrics/cadvisor").account("mon", "prom"),
                proxy("get", "stats/summary"),
                proxy("get", "healthz"),
            ],
        );

        let review = |user: &str, sub: &str| {
            line("create", "subjectaccessreviews.authorization.k8s.io").node("n1", "10.0.0.1").body(json!({
                "spec": {"user": user, "resourceAttributes": {"verb": "get", "resource": "nodes", "subresource": sub, "name": "n1"}}
            }))
        };
        let direct = review("system:serviceaccount:shop:web", "proxy");
        each(SPEC.id, Severity::High, std::slice::from_ref(&direct));
        assert_eq!(findings(SPEC.id, &[direct])[0].subject.user, "system:serviceaccount:shop:web");
        none(
            SPEC.id,
            &[
                review("kube-apiserver-kubelet-client", "proxy"),
                review("system:serviceaccount:mon:prom", "metrics"),
                review("x", "proxy").user("someone"),
            ],
        );
    }
}
