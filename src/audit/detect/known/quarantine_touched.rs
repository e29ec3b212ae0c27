//! Somebody undoes what the responders did.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::removed;
use crate::audit::detect::{
    Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Subject, Verbs,
};

pub struct QuarantineTouched;

/// By quell's own agent: who made something, and who changed something.
const QUELL_MADE: u8 = 1;
const QUELL: u8 = 2;
const OTHER: u8 = 3;
/// A pod was put under quarantine; its name is the object.
const HELD: u8 = 4;
/// A pod was deleted or changed by somebody; its name is the object.
const POD: u8 = 5;

/// Where quell's own pods run.
const NAMESPACE: &str = "quell-forensics";

const SPEC: Spec = Spec {
    id: "quarantine-touched",
    title: "Quarantine or evidence touched by somebody else",
    techniques: "T1562",
    severity: Severity::Critical,
    says: "{who} [touched|tried to touch] what an incident's responders made or hold, {what}{notes}.",
    false_positives: "Another responder who cleans up with kubectl; agree who works on the incident.",
    step: "If it was none of you, the intruder knows that you are there: isolate again, and take the identity's rights first.",
    on: On::Resources(&[
        ("networkpolicies", "", Verbs::WRITE.or(Verbs::REMOVE)),
        ("leases", "", Verbs::WRITE.or(Verbs::REMOVE)),
        ("pods", "", Verbs::WRITE.or(Verbs::REMOVE)),
        ("pods", "eviction", Verbs::CREATE),
        ("pods", "exec", Verbs::GET.or(Verbs::CREATE)),
        ("namespaces", "", Verbs::UPDATE.or(Verbs::PATCH).or(Verbs::DELETE)),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Writes(&["networkpolicies", "pods"])],
    cap: CAP,
};

impl Detection for QuarantineTouched {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let by_quell = look.event.user_agent.starts_with("quell/");
        let name = look.name();
        let labels = look.body().pointer("/metadata/labels").and_then(Value::as_object);
        let marked = labels.is_some_and(|l| l.keys().any(|k| k.starts_with("quell.dev/")));
        let unmarked = look.verb(Verbs::PATCH)
            && look.resource() == "pods"
            && look.event.request().is_some_and(|raw| {
                removed(&raw).iter().any(|p| p.contains("/quell.dev/") || (by_quell && p == "/metadata/labels"))
            });
        let ours = match look.resource() {
            "networkpolicies" => name.starts_with("quell-quarantine-"),
            "leases" => {
                name.strip_prefix("quell-").is_some_and(|r| r.len() == 16 && r.bytes().all(|b| b.is_ascii_hexdigit()))
            }
            "namespaces" => name == NAMESPACE,
            _ => look.namespace() == NAMESPACE || marked || unmarked,
        };
        if by_quell && look.resource() == "pods" && marked && look.namespace() != NAMESPACE {
            out.note(look, HELD, Severity::Info, &format!("{}/{name}", look.namespace()), "");
        }
        if by_quell && ours {
            let mark = if look.verb(Verbs::CREATE) || marked { QUELL_MADE } else { QUELL };
            out.note(
                look,
                mark,
                Severity::Medium,
                &look.what(),
                "by the agent of quell, but by somebody who made none of it in this log",
            );
        } else if ours && look.sub() != "exec" {
            let lease = look.resource() == "leases";
            let severity = match look.verb(Verbs::CREATE) {
                // One more of that name takes nothing away.
                true => Severity::Medium,
                false if lease => Severity::High,
                false => Severity::Critical,
            };
            out.note(
                look,
                OTHER,
                severity,
                &look.what(),
                if unmarked { "its label taken off" } else { &look.event.verb },
            );
        } else if !by_quell
            && (look.resource() == "pods" && !look.verb(Verbs::CREATE.or(Verbs::GET))
                || matches!(look.sub(), "eviction" | "exec"))
        {
            let verb = if look.sub().is_empty() { look.event.verb.as_ref() } else { look.sub() };
            out.note(look, POD, Severity::High, &format!("{}/{name}", look.namespace()), verb);
        }
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let responders: BTreeSet<Subject> = facts
            .iter()
            .filter(|f| f.mark == QUELL_MADE && f.outcome == Outcome::Done)
            .map(|f| f.subject.as_ref().clone())
            .collect();
        let mut held: HashSet<String> = HashSet::new();
        let mut found = Vec::new();
        for mut fact in facts {
            let responder = responders.contains(fact.subject.as_ref());
            match fact.mark {
                HELD if fact.outcome == Outcome::Done => {
                    held.insert(fact.object.to_string());
                }
                // Where the log does not show who made it, its agent is all there is.
                QUELL if !responder => {
                    if responders.is_empty() {
                        fact.severity = Severity::Low;
                    } else {
                        fact.severity = Severity::High;
                    }
                    found.push(fact);
                }
                OTHER => {
                    if responder {
                        fact.severity = Severity::Low;
                    }
                    found.push(fact);
                }
                POD if held.contains(fact.object.as_ref()) && !responder => found.push(fact),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none, severity};

    fn quell(l: Line) -> Line {
        l.user("responder").agent("quell/0.1.0")
    }

    #[test]
    fn by_anybody_but_the_responders() {
        let policy = |verb| line(verb, "networkpolicies.networking.k8s.io").ns("shop").name("quell-quarantine-7");
        let unlabel = line("patch", "pods")
            .ns("shop")
            .name("web-1")
            .body(json!({"metadata": {"labels": {"quell.dev/quarantine": null}}}));
        let json_patch = line("patch", "pods")
            .ns("shop")
            .name("web-1")
            .body(json!([{"op": "remove", "path": "/metadata/labels/quell.dev~1quarantine"}]));
        each(
            SPEC.id,
            Severity::Critical,
            &[policy("delete"), policy("patch"), unlabel, json_patch, line("delete", "pods").ns(NAMESPACE).name("c")],
        );
        each(
            SPEC.id,
            Severity::High,
            &[line("delete", "leases.coordination.k8s.io").ns("shop").name("quell-0123456789abcdef")],
        );
        none(
            SPEC.id,
            &[
                line("delete", "networkpolicies.networking.k8s.io").ns("shop").name("other"),
                line("update", "leases.coordination.k8s.io").ns("shop").name("quell-operator"),
                line("patch", "pods").ns("shop").name("web-1").body(json!({"metadata": {"labels": {"a": null}}})),
                line("delete", "pods").ns(NAMESPACE).name("c").node("n1", "10.0.0.1"),
            ],
        );
        let made = quell(policy("create"));
        assert_eq!(severity(SPEC.id, &[made.clone(), quell(policy("delete")).at(9)]), None);
        assert_eq!(
            severity(SPEC.id, &[made.clone(), quell(policy("delete")).user("eve").at(9)]),
            Some(Severity::High),
            "the agent is only a word"
        );
        assert_eq!(severity(SPEC.id, &[made.clone(), policy("delete").user("responder").at(9)]), Some(Severity::Low));
        assert_eq!(severity(SPEC.id, &[made, policy("delete").user("eve").at(9)]), Some(Severity::Critical));
    }

    #[test]
    fn a_pod_that_is_held() {
        let hold = quell(
            line("patch", "pods")
                .ns("shop")
                .name("web-1")
                .body(json!({"metadata": {"labels": {"quell.dev/quarantine": "7"}}})),
        );
        let delete = line("delete", "pods").ns("shop").name("web-1").at(60);
        assert_eq!(severity(SPEC.id, &[hold.clone(), delete.clone()]), Some(Severity::High));
        assert_eq!(
            severity(SPEC.id, &[hold.clone(), line("create", "pods/eviction").ns("shop").name("web-1").at(60)]),
            Some(Severity::High)
        );
        assert_eq!(severity(SPEC.id, &[hold.clone(), delete.clone().name("web-2")]), None);
        assert_eq!(severity(SPEC.id, &[hold.clone(), delete.clone().at(-60)]), None);
        assert_eq!(severity(SPEC.id, &[hold, quell(delete)]), None);
    }
}
