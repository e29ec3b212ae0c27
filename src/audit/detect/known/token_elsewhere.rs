//! A token where it does not belong.

use crate::audit::detect::spec::CAP;
use crate::audit::detect::tokens;
use crate::audit::detect::{Actors, Around, Detection, Fact, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct TokenElsewhere;

const SPEC: Spec = Spec {
    id: tokens::ID,
    title: "Token used where it does not belong",
    techniques: "T1528 T1078.004",
    severity: Severity::High,
    says: "{who} did not act from where it belongs{notes} ({what}).",
    false_positives: "Gateways and proxies before the API server (give them with --trusted-proxies); pods with several \
        networks; a person who works with kubectl inside a pod.",
    step: "Take the token for stolen: delete the pod it is bound to (after a capture), which ends it within a minute of its \
        grace period, and see all that came from that address.",
    on: On::Resources(&[("pods", "", Verbs::DELETE)]),
    by: Actors::ANY,
    needs: &[Need::Credentials],
    cap: CAP,
};

impl Detection for TokenElsewhere {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        tokens::pod_ends(look, out);
    }

    fn judge(&self, facts: Vec<Fact>, around: &Around) -> Vec<Fact> {
        tokens::judge(&facts, around)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{Line, findings, line, none, report, severity};

    /// A call of the workload in pod `web-1` on n1, by its own agent.
    fn call(at: i64) -> Line {
        line("get", "configmaps").ns("shop").name("c").account("shop", "web").pod("one", "web-1", "n1").at(at)
    }

    fn kubelets() -> Vec<Line> {
        [("n1", "10.0.0.1"), ("n2", "10.0.0.2")]
            .map(|(n, ip)| line("get", "pods").ns("shop").name("p").node(n, ip))
            .to_vec()
    }

    fn with(lines: &[Line]) -> Option<Severity> {
        severity(SPEC.id, &[kubelets(), lines.to_vec()].concat())
    }

    #[test]
    fn other_addresses() {
        assert_eq!(with(&[call(0), call(50)]), None);
        assert_eq!(with(&[call(0), call(5).ip("10.0.0.1"), call(50)]), None, "its node's address");
        assert_eq!(with(&[call(0), call(5).ip("10.0.0.2"), call(50)]), Some(Severity::High), "another node's");
        assert_eq!(with(&[call(0), call(5).ip("203.0.113.9"), call(50)]), Some(Severity::High), "the internet");
        assert_eq!(with(&[call(0), call(5).ip("10.244.3.3"), call(50)]), Some(Severity::Medium), "another pod's");
        assert_eq!(
            with(&[call(0), call(5).ip("10.244.3.3"), call(50).ip("10.244.3.3")]),
            Some(Severity::Low),
            "the pod's new one"
        );
        assert_eq!(with(&[call(0), call(5).ip("fd00::9"), call(50)]), None, "its address of the other family");
        let rotated = call(3700).pod("two", "web-1", "n1").ip("203.0.113.9");
        assert_eq!(with(&[call(0), rotated, call(3800)]), Some(Severity::High), "a later token of the same pod");
    }

    #[test]
    fn without_other_nodes_addresses_a_new_address_may_be_one() {
        let own = line("get", "pods").ns("shop").name("p").node("n1", "10.0.0.1");
        let moved = |ip: &str| [own.clone(), call(0), call(5).ip(ip), call(50).ip(ip)];
        assert_eq!(severity(SPEC.id, &moved("10.9.9.3")), Some(Severity::Medium));
        let found = findings(SPEC.id, &moved("10.9.9.3"));
        assert!(found[0].sentence.contains("can't be told"), "{}", found[0].sentence);
        assert_eq!(severity(SPEC.id, &moved("10.244.1.99")), Some(Severity::Low), "the same node's network");
    }

    #[test]
    fn a_gateway_before_the_api_server_is_no_thief() {
        let mut lines = Vec::new();
        for n in 0..4 {
            let pod = |ip: &str, at| call(at).pod(&format!("j{n}"), &format!("p{n}"), &format!("n{}", n % 2)).ip(ip);
            lines.extend([pod(&format!("10.244.0.{n}"), 0), pod("10.9.9.9", 5), pod(&format!("10.244.0.{n}"), 9)]);
        }
        assert_eq!(with(&lines), None);
    }

    #[test]
    fn another_agent_and_the_end_of_the_pod() {
        assert_eq!(with(&[call(0), call(50).agent("curl/8.5.0")]), Some(Severity::Medium));
        assert_eq!(with(&[call(0).agent("kubectl/v1"), call(50).agent("curl/8.5.0")]), None);
        let asked = line("delete", "pods").ns("shop").name("web-1").at(100);
        let gone = asked.clone().node("n1", "10.0.0.1").at(131);
        assert_eq!(with(&[call(0), asked.clone(), gone.clone(), call(120)]), None);
        let late = [call(0), asked.clone(), gone.clone(), call(150)];
        assert_eq!(with(&late), Some(Severity::High));
        let found = report(&late);
        let session = found.sessions.iter().find(|s| s.id == "JTI=one").unwrap();
        assert_eq!(session.remarks, ["the token of pod shop/web-1 after the pod had ended"]);
        assert_eq!(
            with(&[call(0), asked.clone(), call(150)]),
            Some(Severity::High),
            "without the kubelet's word: grace and some"
        );
        assert_eq!(with(&[call(0), asked.clone(), call(135)]), None);
        let next = call(200)
            .pod("two", "web-1", "n1")
            .set("/user/extra/authentication.kubernetes.io~1pod-uid", serde_json::json!(["other"]));
        assert_eq!(with(&[call(0), asked.clone(), gone, next]), None, "a new pod of the same name");
        assert_eq!(with(&[call(0), asked.denied(), call(150)]), None);
    }

    #[test]
    fn tokens_that_are_bound_to_no_pod() {
        let outside = line("get", "pods").account("kube-system", "coredns").ip("203.0.113.9");
        assert_eq!(with(std::slice::from_ref(&outside)), Some(Severity::High));
        none(
            SPEC.id,
            &[
                outside.clone().ip("10.1.1.1"),
                outside.account("shop", "ci").ip("203.0.113.9"),
                line("get", "pods").ip("203.0.113.9"),
            ],
        );
    }

    #[test]
    fn a_token_is_followed_from_its_issuance() {
        let issue = line("create", "serviceaccounts/token")
            .ns("shop")
            .name("web")
            .node("n1", "10.0.0.1")
            .set("/annotations/authentication.kubernetes.io~1issued-credential-id", "JTI=one");
        let report = report(&[issue, call(10)]);
        let session = report.sessions.iter().find(|s| s.id == "JTI=one").unwrap();
        let issued = session.issued.as_ref().unwrap();
        assert_eq!((issued.by.as_str(), issued.from.as_deref()), ("system:node:n1", Some("10.0.0.1")));
        assert!(findings(SPEC.id, &[call(0)]).is_empty());
    }
}
