//! Feeling for what one may do.

use std::collections::HashSet;

use time::Duration;

use crate::audit::detect::window::bursts;
use crate::audit::detect::{Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Verbs};

pub struct Enumeration;

const REVIEW: u8 = 1;
const DENIED: u8 = 2;
const WINDOW: Duration = Duration::minutes(5);
/// Different things that were denied within [`WINDOW`], and of how many resources.
const LEAST: usize = 5;
const RESOURCES: usize = 3;

const SPEC: Spec = Spec {
    id: "enumeration",
    title: "Rights or objects enumerated",
    techniques: "T1613 T1069",
    severity: Severity::Medium,
    says: "{who} felt for what it may do or see: {what}{notes}.",
    false_positives: "`kubectl auth can-i` and consoles, by people (told as low); a new version whose role was forgotten.",
    step: "A workload knows what it may do; somebody with its token does not. See which pod the token is bound to, and capture it.",
    on: On::Denied(&[("selfsubjectaccessreviews", "", Verbs::CREATE), ("selfsubjectrulesreviews", "", Verbs::CREATE)]),
    by: Actors::OTHERS,
    needs: &[Need::Outcomes, Need::Writes(&["selfsubjectaccessreviews", "selfsubjectrulesreviews"])],
    cap: 60_000,
};

impl Detection for Enumeration {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let severity = if look.actor.is_account() { Severity::Medium } else { Severity::Low };
        if look.verb(Verbs::CREATE) && matches!(look.resource(), "selfsubjectaccessreviews" | "selfsubjectrulesreviews")
        {
            out.note_once(look, REVIEW, severity, look.resource(), "");
        } else if look.event.code == Some(403) && look.verb(Verbs::READ) && look.event.allowed() == Some(false) {
            // What is denied is told by `DeniedBurst` too; what it is one step less for here was the aim.
            let severity = if look.actor.is_account() { Severity::High } else { Severity::Medium };
            out.note_once(look, DENIED, severity, &look.what(), look.resource());
        }
    }

    fn judge(&self, facts: Vec<Fact>, around: &Around) -> Vec<Fact> {
        let got_something: HashSet<&str> =
            around.sessions.iter().filter(|s| s.requests > s.denied + s.failed).map(|s| s.user.as_str()).collect();
        let (mut reviews, denied): (Vec<Fact>, Vec<Fact>) = facts.into_iter().partition(|f| f.mark == REVIEW);
        reviews.retain(|f| f.outcome != Outcome::Denied);
        for burst in bursts(denied, WINDOW, LEAST) {
            let resources: HashSet<&str> = burst.facts.iter().map(|f| f.note.as_ref()).collect();
            let mixed = burst.facts.first().is_some_and(|f| got_something.contains(f.subject.user.as_str()));
            if resources.len() >= RESOURCES && mixed {
                reviews.extend(burst.facts);
            }
        }
        reviews
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none, severity};

    #[test]
    fn asking_for_ones_own_rights() {
        let review = line("create", "selfsubjectaccessreviews.authorization.k8s.io");
        each(
            SPEC.id,
            Severity::Medium,
            &[
                review.clone().account("shop", "web"),
                line("create", "selfsubjectrulesreviews.authorization.k8s.io").account("shop", "web"),
            ],
        );
        each(SPEC.id, Severity::Low, std::slice::from_ref(&review));
        none(
            SPEC.id,
            &[
                review.controller("x-controller"),
                line("create", "subjectaccessreviews.authorization.k8s.io").account("shop", "web"),
            ],
        );
    }

    #[test]
    fn many_denied_of_several_kinds_with_something_let_through() {
        let kinds = ["secrets", "pods", "configmaps", "nodes", "services", "roles"];
        let tries = |who: fn(Line) -> Line| -> Vec<Line> {
            kinds.iter().enumerate().map(|(n, kind)| who(line("list", kind).ns("shop").at(n as i64)).denied()).collect()
        };
        let account: fn(Line) -> Line = |l| l.account("shop", "web");
        let mut lines = tries(account);
        assert_eq!(severity(SPEC.id, &lines), None, "nothing was let through: it is only wrong");
        lines.push(account(line("get", "endpoints").ns("shop").name("web")).at(20));
        assert_eq!(severity(SPEC.id, &lines), Some(Severity::Medium));
        let mut person = tries(|l| l);
        person.push(line("get", "pods").ns("mine").name("p"));
        assert_eq!(severity(SPEC.id, &person), Some(Severity::Low));
    }
}
