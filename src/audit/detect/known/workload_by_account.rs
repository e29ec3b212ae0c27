//! DaemonSets, Jobs and CronJobs made by a service account.

use std::collections::HashMap;

use time::Duration;

use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Around, Detection, Fact, Look, Need, On, Out, Severity, Spec, Subject, Verbs};

pub struct WorkloadByAccount;

const SPEC: Spec = Spec {
    id: "workload-by-account",
    title: "DaemonSet, Job or CronJob made by an unusual identity",
    techniques: "T1053.007 T1610",
    severity: Severity::Medium,
    says: "{who} [made or changed|tried to make or change] {what}{notes}.",
    false_positives: "Operators and deployment tools. Who has done so for six hours and ten times in this log counts as usual \
        and is told as low, as people are.",
    step: "See what it runs: a DaemonSet reaches every node, a CronJob comes back after the pod is gone.",
    on: On::Resources(&[("daemonsets", "", Verbs::WRITE), ("jobs", "", Verbs::WRITE), ("cronjobs", "", Verbs::WRITE)]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["daemonsets", "jobs", "cronjobs"])],
    cap: CAP,
};

/// From when on it is what an identity does.
const USUAL_SINCE: Duration = Duration::hours(6);
const USUAL_TIMES: usize = 10;

impl Detection for WorkloadByAccount {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let severity = if look.actor.is_account() { Severity::Medium } else { Severity::Low };
        out.hit(look, severity, "");
    }

    fn judge(&self, mut facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let mut seen: HashMap<Subject, (time::OffsetDateTime, usize)> = HashMap::new();
        for fact in &mut facts {
            let (since, times) = seen.entry(fact.subject.as_ref().clone()).or_insert((fact.at, 0));
            *times += 1;
            if *times > USUAL_TIMES && fact.at - *since > USUAL_SINCE {
                fact.severity = Severity::Low;
            }
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{Line, each, findings, line, none};

    #[test]
    fn accounts_rather_than_people_and_controllers() {
        let make = line("create", "daemonsets.apps").ns("shop").name("d");
        each(
            SPEC.id,
            Severity::Medium,
            &[make.clone().account("shop", "web"), line("patch", "cronjobs.batch").ns("shop").account("shop", "web")],
        );
        each(SPEC.id, Severity::Low, std::slice::from_ref(&make));
        none(
            SPEC.id,
            &[
                line("create", "jobs.batch").ns("shop").controller("cronjob-controller"),
                line("update", "daemonsets.apps/status").account("a", "b"),
            ],
        );
    }

    #[test]
    fn what_it_always_does_is_told_apart() {
        let job =
            |n: i64| line("create", "jobs.batch").ns("ci").name(&format!("j{n}")).account("ci", "runner").at(n * 3600);
        let lines: Vec<Line> = (0..20).map(job).collect();
        let found = findings(SPEC.id, &lines);
        assert_eq!(
            (found[0].count, found[0].severity),
            (20, Severity::Medium),
            "the first ten are not known to be usual"
        );
        assert!(found[0].sentence.contains("jobs.batch ci/j0"), "{}", found[0].sentence);
        assert!(!found[0].sentence.contains("j15"), "{}", found[0].sentence);
    }
}
