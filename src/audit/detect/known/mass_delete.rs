//! Destruction.

use time::Duration;

use crate::audit::detect::spec::CAP;
use crate::audit::detect::window::bursts;
use crate::audit::detect::{Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Verbs};

pub struct MassDelete;

const ONE: u8 = 0;
const GRAVE: u8 = 1;
const WINDOW: Duration = Duration::minutes(5);
const LEAST: usize = 6;
const MANY: usize = 15;

const SPEC: Spec = Spec {
    id: "mass-delete",
    title: "Much deleted at once",
    techniques: "T1485 T1489",
    severity: Severity::Critical,
    says: "{who} [deleted|tried to delete] much at once, or what is needed to come back: {what}{notes}.",
    false_positives: "An environment that is torn down; retention of backups by the backup tool itself.",
    step: "Stop the identity now; then see whether the volumes' reclaim policy kept the data, and whether backups are left.",
    on: On::Resources(&[
        ("deployments", "", Verbs::REMOVE),
        ("statefulsets", "", Verbs::REMOVE),
        ("daemonsets", "", Verbs::REMOVE),
        ("cronjobs", "", Verbs::REMOVE),
        ("services", "", Verbs::DELETE_ALL),
        ("secrets", "", Verbs::DELETE_ALL),
        ("configmaps", "", Verbs::DELETE_ALL),
        ("persistentvolumeclaims", "", Verbs::REMOVE),
        ("persistentvolumes", "", Verbs::REMOVE),
        ("namespaces", "", Verbs::DELETE),
        ("customresourcedefinitions", "", Verbs::REMOVE),
        ("backups", "", Verbs::REMOVE),
        ("backupstoragelocations", "", Verbs::REMOVE),
        ("backuprepositories", "", Verbs::REMOVE),
        ("schedules", "", Verbs::REMOVE),
        ("volumesnapshots", "", Verbs::REMOVE),
        ("volumesnapshotcontents", "", Verbs::REMOVE),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["deployments", "persistentvolumeclaims", "namespaces"])],
    cap: CAP,
};

impl Detection for MassDelete {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let backup = matches!(
            look.resource(),
            "backups"
                | "backupstoragelocations"
                | "backuprepositories"
                | "schedules"
                | "volumesnapshots"
                | "volumesnapshotcontents"
        );
        // The backup tool clears away its own.
        let own_backup = backup && look.home().is_some_and(|home| home == look.namespace());
        if own_backup {
            return;
        }
        if look.verb(Verbs::DELETE_ALL) {
            out.note(
                look,
                GRAVE,
                if backup { Severity::High } else { Severity::Medium },
                &look.what(),
                "all of a kind",
            );
        } else if backup {
            out.note(look, GRAVE, Severity::Medium, &look.what(), "a backup");
        } else {
            out.note(look, ONE, Severity::Medium, &look.what(), "");
        }
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let mut found: Vec<Fact> = facts.iter().filter(|f| f.mark == GRAVE).cloned().collect();
        let done = facts.into_iter().filter(|f| matches!(f.outcome, Outcome::Done | Outcome::Unknown)).collect();
        for burst in bursts(done, WINDOW, LEAST) {
            let count = |kind: &str| burst.facts.iter().filter(|f| f.object.starts_with(kind)).count();
            let severity = match burst.distinct {
                n if n >= MANY || count("namespaces ") >= 3 => Severity::Critical,
                _ if count("persistentvolume") >= LEAST => Severity::High,
                _ => Severity::Medium,
            };
            found.extend(burst.facts.into_iter().filter(|f| f.mark == ONE).map(|mut f| {
                f.severity = severity;
                f
            }));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none, severity};

    fn delete(kind: &str, n: i64) -> Line {
        let delete = line("delete", kind).name(&format!("x{n}")).at(n * 10);
        if kind == "namespaces" { delete } else { delete.ns("shop") }
    }

    #[test]
    fn six_in_five_minutes_or_all_of_a_kind() {
        let some = |kind: &str, n: i64| -> Vec<Line> { (0..n).map(|i| delete(kind, i)).collect() };
        assert_eq!(severity(SPEC.id, &some("deployments.apps", 5)), None);
        assert_eq!(severity(SPEC.id, &some("deployments.apps", 6)), Some(Severity::Medium));
        assert_eq!(severity(SPEC.id, &some("persistentvolumeclaims", 6)), Some(Severity::High));
        assert_eq!(severity(SPEC.id, &some("deployments.apps", 15)), Some(Severity::Critical));
        assert_eq!(severity(SPEC.id, &some("namespaces", 6)), Some(Severity::Critical));
        let controller: Vec<Line> =
            some("deployments.apps", 15).into_iter().map(|l| l.controller("namespace-controller")).collect();
        assert_eq!(severity(SPEC.id, &controller), None);
        let dry: Vec<Line> =
            some("namespaces", 15).into_iter().map(|l| l.uri("/api/v1/namespaces/x?dryRun=All")).collect();
        assert_eq!(severity(SPEC.id, &dry), None);
        each(
            SPEC.id,
            Severity::Medium,
            &[
                line("deletecollection", "secrets").ns("shop"),
                line("delete", "backups.velero.io").ns("velero").name("b"),
            ],
        );
        each(
            SPEC.id,
            Severity::High,
            &[line("deletecollection", "volumesnapshots.snapshot.storage.k8s.io").ns("shop")],
        );
        none(
            SPEC.id,
            &[
                line("delete", "backups.velero.io").ns("velero").name("b").account("velero", "velero"),
                delete("deployments.apps", 1),
                line("deletecollection", "pods").ns("shop"),
            ],
        );
    }
}
