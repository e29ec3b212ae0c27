//! First the rights, then the workload that has them.

use std::collections::{HashMap, HashSet};

use time::Duration;

use super::power::role;
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{
    Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Subject, Verbs,
};

pub struct BindingThenWorkload;

const BOUND: u8 = 1;
const MADE: u8 = 2;
const WITHIN: Duration = Duration::minutes(5);

const SPEC: Spec = Spec {
    id: "binding-then-workload",
    title: "Rights for the whole cluster, then a workload",
    techniques: "T1098.006 T1610",
    severity: Severity::High,
    says: "{who} gave rights in the whole cluster and made a workload within five minutes of each other: {what}{notes}.",
    false_positives: "The installation of an operator: by people, with a role that is not one of the powerful ones, told as low.",
    step: "See whether the workload runs with the account that was bound. If so, its pod holds those rights: isolate it and \
        delete the binding.",
    on: On::Resources(&[
        ("clusterrolebindings", "", Verbs::WRITE),
        ("pods", "", Verbs::CREATE),
        ("deployments", "", Verbs::CREATE),
        ("daemonsets", "", Verbs::CREATE),
        ("statefulsets", "", Verbs::CREATE),
        ("replicasets", "", Verbs::CREATE),
        ("jobs", "", Verbs::CREATE),
        ("cronjobs", "", Verbs::CREATE),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["clusterrolebindings"])],
    cap: CAP,
};

impl Detection for BindingThenWorkload {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if look.resource() != "clusterrolebindings" {
            out.note(look, MADE, Severity::Low, &look.what(), "");
            return;
        }
        let name = text(look.body(), "/roleRef/name");
        let grave = role(name).is_some_and(|s| s >= Severity::Medium);
        let severity = match (grave, look.actor.is_account()) {
            (true, _) => Severity::High,
            (false, true) => Severity::Medium,
            (false, false) => Severity::Low,
        };
        let note = if name.is_empty() { String::new() } else { format!("role {name}") };
        out.note(look, BOUND, severity, &look.what(), &note);
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let mut bound: HashMap<Subject, Vec<Fact>> = HashMap::new();
        let mut told = HashSet::new();
        let mut found: Vec<Fact> = Vec::new();
        for mut fact in facts.into_iter().filter(|f| matches!(f.outcome, Outcome::Done | Outcome::Unknown)) {
            let open = bound.entry(fact.subject.as_ref().clone()).or_default();
            if fact.mark == BOUND {
                open.push(fact);
                continue;
            }
            open.retain(|b| fact.at - b.at <= WITHIN);
            if let Some(severity) = open.iter().map(|b| b.severity).max() {
                fact.severity = severity;
                found.extend(open.iter().filter(|b| told.insert(b.request)).cloned());
                found.push(fact);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{findings, line, severity};

    #[test]
    fn by_the_same_subject_within_five_minutes() {
        let bind = |role: &str| {
            line("create", "clusterrolebindings.rbac.authorization.k8s.io")
                .body(json!({"metadata": {"name": "b"}, "roleRef": {"name": role}}))
        };
        let made = |at| line("create", "deployments.apps").ns("shop").name("w").at(at);
        assert_eq!(severity(SPEC.id, &[bind("cluster-admin"), made(200)]), Some(Severity::High));
        assert_eq!(findings(SPEC.id, &[bind("cluster-admin"), made(200), made(210)])[0].count, 3);
        assert_eq!(severity(SPEC.id, &[bind("own-role"), made(200)]), Some(Severity::Low));
        let account = [bind("own-role").account("a", "b"), made(9).account("a", "b")];
        assert_eq!(severity(SPEC.id, &account), Some(Severity::Medium));
        for quiet in [
            vec![bind("cluster-admin"), made(301)],
            vec![bind("cluster-admin").at(10), made(5)],
            vec![bind("cluster-admin"), made(10).user("somebody-else")],
            vec![bind("cluster-admin").denied(), made(10)],
        ] {
            assert_eq!(severity(SPEC.id, &quiet), None);
        }
    }
}
