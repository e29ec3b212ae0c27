//! Many things denied, or a Secret.

use time::Duration;

use crate::audit::detect::window::bursts;
use crate::audit::detect::{Actor, Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec};

pub struct DeniedBurst;

const OTHER: u8 = 0;
const SECRET: u8 = 1;
const WINDOW: Duration = Duration::minutes(5);
/// Different things that were denied within [`WINDOW`]. A controller without a right asks for the same thing again and again.
const LEAST: usize = 8;

const SPEC: Spec = Spec {
    id: "denied-burst",
    title: "Many requests denied, or a Secret",
    techniques: "T1613",
    severity: Severity::Medium,
    says: "{who} was denied many different things, or a Secret: {what}.",
    false_positives: "A release whose role was forgotten; people with few rights and a curious console (told as low); \
        scanners from the internet, where the API server can be reached (told as low).",
    step: "See what the same identity was allowed. For a service account, find the pod behind the token.",
    on: On::Denied(&[]),
    by: Actors::OTHERS,
    needs: &[Need::Outcomes],
    cap: 60_000,
};

impl Detection for DeniedBurst {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        // What is denied counts one step less; here the denial is the matter.
        let severity = if look.actor.is_account() { Severity::High } else { Severity::Medium };
        if look.resource() == "secrets" && look.actor != Actor::Anonymous {
            out.note_once(look, SECRET, severity, &look.what(), "");
        } else {
            out.note_once(look, OTHER, severity, &look.what(), "");
        }
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let facts: Vec<Fact> = facts.into_iter().filter(|f| f.outcome == Outcome::Denied).collect();
        let secrets: Vec<Fact> = facts.iter().filter(|f| f.mark == SECRET).cloned().collect();
        let bursts = bursts(facts, WINDOW, LEAST);
        secrets
            .into_iter()
            .chain(bursts.into_iter().flat_map(|b| b.facts.into_iter().filter(|f| f.mark != SECRET)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none, severity};

    fn denied(n: i64, at: i64) -> Line {
        line("get", "pods").ns("shop").name(&format!("p{n}")).at(at).denied()
    }

    #[test]
    fn a_secret_is_enough() {
        let secret = line("get", "secrets").ns("shop").name("db").denied();
        each(SPEC.id, Severity::Medium, &[secret.clone().account("shop", "web")]);
        each(SPEC.id, Severity::Low, std::slice::from_ref(&secret));
        none(
            SPEC.id,
            &[
                secret.clone().node("n1", "10.0.0.1"),
                secret.clone().code(200).set("/annotations", serde_json::json!({})),
                denied(1, 1),
            ],
        );
    }

    #[test]
    fn eight_different_things_in_five_minutes() {
        let account: Vec<Line> = (0..8).map(|n| denied(n, n * 30).account("shop", "web")).collect();
        assert_eq!(severity(SPEC.id, &account), Some(Severity::Medium));
        let slow: Vec<Line> = (0..8).map(|n| denied(n, n * 60).account("shop", "web")).collect();
        assert_eq!(severity(SPEC.id, &slow), None);
        let stubborn: Vec<Line> = (0..50).map(|n| denied(1, n).account("shop", "web")).collect();
        assert_eq!(severity(SPEC.id, &stubborn), None);
        let person: Vec<Line> = (0..30).map(|n| denied(n, n)).collect();
        assert_eq!(severity(SPEC.id, &person), Some(Severity::Low));
        let admission: Vec<Line> =
            account.iter().map(|l| l.clone().set("/annotations/authorization.k8s.io~1decision", "allow")).collect();
        assert_eq!(severity(SPEC.id, &admission), None, "admission refused it, not the authorizer");
    }
}
