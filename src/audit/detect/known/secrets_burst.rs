//! One Secret after the other.

use std::collections::HashMap;

use time::Duration;

use crate::audit::detect::window::bursts;
use crate::audit::detect::{
    Actor, Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Subject, Verbs,
};

pub struct SecretsBurst;

/// Different Secrets within [`WINDOW`].
const LEAST: usize = 3;
const WINDOW: Duration = Duration::minutes(5);
/// From so many on, it is no longer what applying a manifest does.
const MANY: usize = 10;
const READ: u8 = 0;
const WRITTEN: u8 = 1;

const SPEC: Spec = Spec {
    id: "secrets-read-in-a-row",
    title: "Several Secrets read one after the other",
    techniques: "T1552.007",
    severity: Severity::High,
    says: "{who} read several Secrets within five minutes: {what}.",
    false_positives: "`kubectl apply` reads each Secret that it manages before it decides to change it (told as low while \
        they are few and of one namespace); operators that copy or check Secrets.",
    step: "List what it read (`quell audit --subject … --verb get`), and rotate those Secrets unless their owner explains it.",
    on: On::Resources(&[("secrets", "", Verbs::GET.or(Verbs::WRITE))]),
    by: Actors::OTHERS,
    needs: &[Need::Reads(&["secrets"])],
    cap: 120_000,
};

impl Detection for SecretsBurst {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let mark = if look.verb(Verbs::GET) { READ } else { WRITTEN };
        let by_kubectl = look.actor == Actor::Person && look.event.user_agent.starts_with("kubectl");
        let severity = if by_kubectl { Severity::Low } else { Severity::Medium };
        out.note_once(look, mark, severity, &format!("{}/{}", look.namespace(), look.name()), "");
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let mut written: HashMap<(Subject, String), Vec<time::OffsetDateTime>> = HashMap::new();
        for fact in facts.iter().filter(|f| f.mark == WRITTEN && f.outcome == Outcome::Done) {
            written.entry((fact.subject.as_ref().clone(), fact.object.to_string())).or_default().push(fact.at);
        }
        // Who writes a Secret knows what is in it.
        let known = |f: &Fact| {
            written
                .get(&(f.subject.as_ref().clone(), f.object.to_string()))
                .is_some_and(|times| times.iter().any(|at| *at >= f.at && *at - f.at < Duration::minutes(2)))
        };
        let read = |f: &Fact| f.mark == READ && matches!(f.outcome, Outcome::Done | Outcome::Unknown);
        let reads: Vec<Fact> = facts.iter().filter(|f| read(f) && !known(f)).cloned().collect();
        let mut found = Vec::new();
        for mut burst in bursts(reads, WINDOW, LEAST) {
            let mut namespaces: Vec<&str> = burst.facts.iter().filter_map(|f| f.object.split('/').next()).collect();
            namespaces.sort_unstable();
            namespaces.dedup();
            let spread = namespaces.len() > 1 || burst.distinct >= MANY;
            let account = burst.facts.iter().any(|f| f.actor.is_account());
            for fact in &mut burst.facts {
                fact.severity = match (spread, account) {
                    (true, true) => Severity::High,
                    (true, false) => Severity::Medium,
                    (false, _) => fact.severity,
                };
            }
            found.extend(burst.facts);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{Line, findings, line, severity};

    fn get(n: usize, at: i64) -> Line {
        line("get", "secrets").ns("shop").name(&format!("s{n}")).at(at)
    }

    #[test]
    fn three_different_ones_in_five_minutes() {
        let web = |l: Line| l.account("shop", "web");
        let three: Vec<Line> = (0..3).map(|n| web(get(n, n as i64 * 140))).collect();
        assert_eq!(severity(SPEC.id, &three), Some(Severity::Medium));
        assert_eq!(findings(SPEC.id, &three)[0].count, 3);
        let slow: Vec<Line> = (0..3).map(|n| web(get(n, n as i64 * 160))).collect();
        assert_eq!(severity(SPEC.id, &slow), None);
        let same: Vec<Line> = (0..9).map(|n| web(get(1, n))).collect();
        assert_eq!(severity(SPEC.id, &same), None);
        let elsewhere: Vec<Line> = three.iter().enumerate().map(|(n, l)| l.clone().ns(&format!("n{n}"))).collect();
        assert_eq!(severity(SPEC.id, &elsewhere), Some(Severity::High));
        let by_kubelet: Vec<Line> = three.into_iter().map(|l| l.node("n1", "10.0.0.1")).collect();
        assert_eq!(severity(SPEC.id, &by_kubelet), None);
    }

    #[test]
    fn applying_a_manifest_is_not_stealing() {
        let apply: Vec<Line> = (0..4)
            .flat_map(|n| {
                [get(n, n as i64), line("patch", "secrets").ns("shop").name(&format!("s{n}")).at(n as i64 + 1)]
            })
            .collect();
        assert_eq!(severity(SPEC.id, &apply), None);
        let unchanged: Vec<Line> = (0..4).map(|n| get(n, n as i64)).collect();
        assert_eq!(severity(SPEC.id, &unchanged), Some(Severity::Low));
        let dump: Vec<Line> = (0..12).map(|n| get(n, n as i64)).collect();
        assert_eq!(severity(SPEC.id, &dump), Some(Severity::Medium));
        let missing: Vec<Line> = (0..4).map(|n| get(n, n as i64).account("shop", "web").code(404)).collect();
        assert_eq!(severity(SPEC.id, &missing), None);
    }
}
