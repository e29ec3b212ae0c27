//! Nodes that change what they are.

use std::collections::HashSet;

use serde_json::Value;

use crate::audit::detect::spec::CAP;
use crate::audit::detect::template::removed;
use crate::audit::detect::{
    Actor, Actors, Around, Detection, Fact, Look, Need, On, Out, Outcome, Severity, Spec, Verbs,
};

pub struct NodeChanged;

const HIT: u8 = 0;
const REMOVED: u8 = 1;
const REGISTERED: u8 = 2;

const SPEC: Spec = Spec {
    id: "node-changed",
    title: "Node made, relabelled or registered anew",
    techniques: "T1078",
    severity: Severity::High,
    says: "{who} [changed|tried to change] what a node is, {what}{notes}.",
    false_positives: "Autoscalers and administrators; a machine that is set up anew under its old name.",
    step: "See whether the machine is yours. What lures pods with Secrets onto a node gets their Secrets.",
    on: On::Resources(&[
        ("nodes", "", Verbs::WRITE.or(Verbs::DELETE)),
        ("nodes", "status", Verbs::UPDATE.or(Verbs::PATCH)),
    ]),
    // A kubelet writes its own node's status all the time.
    by: Actors::ANY.without(Actors::NODE_ITSELF),
    needs: &[Need::Bodies(&["nodes"])],
    cap: CAP,
};

impl Detection for NodeChanged {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let name = look.name();
        if look.actor == Actor::ControlPlane {
            if look.verb(Verbs::DELETE) {
                out.note(look, REMOVED, Severity::Info, name, "");
            }
            return;
        }
        if look.actor == Actor::Node {
            let own = look.user().strip_prefix("system:node:") == Some(name);
            if look.verb(Verbs::CREATE) && own {
                out.note(look, REGISTERED, Severity::Medium, name, "registered anew after it was removed");
            } else if !own && !name.is_empty() {
                out.note(look, HIT, Severity::High, name, "by another node's kubelet");
            }
            return;
        }
        if look.sub() == "status" {
            return;
        }
        if look.verb(Verbs::DELETE) {
            out.note(look, REMOVED, Severity::Info, name, "");
        } else if look.verb(Verbs::CREATE) {
            out.note(look, HIT, Severity::Medium, name, "made by hand");
        } else if let Some((severity, note)) = changed(look) {
            out.note(look, HIT, severity, name, &note);
        }
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        let mut removed: HashSet<String> = HashSet::new();
        let mut found = Vec::new();
        for fact in facts {
            match (fact.mark, fact.outcome) {
                (REMOVED, Outcome::Done) => {
                    removed.insert(fact.object.to_string());
                }
                (REMOVED, _) => {}
                (REGISTERED, Outcome::Done) => {
                    if removed.remove(fact.object.as_ref()) {
                        found.push(fact);
                    }
                }
                (REGISTERED, _) => {}
                _ => found.push(fact),
            }
        }
        found
    }
}

/// Labels that decide what runs there, and taints that are no more.
fn changed(look: &Look) -> Option<(Severity, String)> {
    let account = look.actor.is_account();
    let grade = if account { Severity::Medium } else { Severity::Low };
    let body = look.body();
    if look.verb(Verbs::PATCH) {
        let raw = look.event.request().unwrap_or(Value::Null);
        let gone = removed(&raw).into_iter().any(|path| path.starts_with("/spec/taints"));
        let emptied = body.pointer("/spec/taints").and_then(Value::as_array).is_some_and(Vec::is_empty);
        if gone || emptied {
            return Some((grade, "taints removed".into()));
        }
        let label = body.pointer("/metadata/labels").and_then(Value::as_object)?.iter().find(|(key, _)| {
            key.starts_with("node-role.kubernetes.io/")
                || key.contains("node-restriction.kubernetes.io/")
                || *key == "kubernetes.io/hostname"
        });
        return label.map(|(key, _)| (grade, format!("label {}", key.chars().take(80).collect::<String>())));
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, findings, line, none, severity};

    #[test]
    fn made_changed_and_come_back() {
        let node = |verb| line(verb, "nodes").name("n2");
        each(
            SPEC.id,
            Severity::High,
            &[node("patch").node("n1", "10.0.0.1"), line("patch", "nodes/status").name("n2").node("n1", "10.0.0.1")],
        );
        each(
            SPEC.id,
            Severity::Medium,
            &[node("create"), node("patch").account("shop", "web").body(json!({"spec": {"taints": null}}))],
        );
        each(
            SPEC.id,
            Severity::Low,
            &[
                node("patch").body(json!({"spec": {"taints": []}})),
                node("patch").body(json!([{"op": "remove", "path": "/spec/taints/0"}])),
                node("patch").body(json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}})),
            ],
        );
        none(
            SPEC.id,
            &[
                node("patch").body(json!({"spec": {"unschedulable": true}})),
                node("create").node("n2", "10.0.0.2"),
                line("patch", "nodes/status").name("n2").node("n2", "10.0.0.2"),
                node("patch").controller("node-controller").body(json!({"spec": {"taints": null}})),
                node("delete"),
            ],
        );
        let back = [node("delete"), node("create").node("n2", "10.0.0.2").at(60)];
        assert_eq!(severity(SPEC.id, &back), Some(Severity::Medium));
        assert_eq!(findings(SPEC.id, &back)[0].count, 1);
        assert_eq!(severity(SPEC.id, &[node("delete").at(90), node("create").node("n2", "10.0.0.2").at(60)]), None);
    }
}
