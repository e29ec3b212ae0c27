//! A role written that gives much.

use super::power::rights;
use crate::audit::detect::look::text;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actor, Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct RoleOfPower;

const SPEC: Spec = Spec {
    id: "role-of-power",
    title: "Role written that gives much",
    techniques: "T1098.006",
    severity: Severity::High,
    says: "{who} [wrote|tried to write] a role that gives much, {what}{notes}.",
    false_positives: "Operators' and add-ons' roles, which often ask for more than they need; in one namespace, by people, told as low.",
    step: "See who is bound to it, and what they did since.",
    on: On::Resources(&[("clusterroles", "", Verbs::WRITE), ("roles", "", Verbs::WRITE)]),
    by: Actors::OTHERS,
    needs: &[Need::Bodies(&["clusterroles", "roles"])],
    cap: CAP,
};

impl Detection for RoleOfPower {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let body = look.body();
        let Some((severity, what)) = rights(body) else { return };
        let into = ["admin", "edit", "view"].into_iter().find(|role| {
            text(body, &format!("/metadata/labels/rbac.authorization.k8s.io~1aggregate-to-{role}")) == "true"
        });
        match into {
            Some(role) if severity > Severity::Low => {
                out.hit(look, Severity::High, &format!("{what}, for everybody who is {role}"))
            }
            // Within one namespace, by people: what the manifests of many releases bring.
            _ if severity == Severity::Medium && look.resource() == "roles" && look.actor == Actor::Person => {
                out.hit(look, Severity::Low, &what);
            }
            _ => out.hit(look, severity, &what),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{Line, each, line, none};

    #[test]
    fn roles_as_well_as_cluster_roles() {
        let role = |kind: &str, verb: &str, rule: serde_json::Value| {
            line(verb, &format!("{kind}.rbac.authorization.k8s.io")).ns("shop").name("r").body(json!({"rules": [rule]}))
        };
        let rule = |group: &str, resource: &str, verb: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": [verb]});
        let rbac = "rbac.authorization.k8s.io";
        for kind in ["roles", "clusterroles"] {
            each(
                SPEC.id,
                Severity::High,
                &[
                    role(kind, "create", rule("*", "*", "*")),
                    role(kind, "patch", rule("", "nodes/proxy", "get")),
                    role(kind, "update", rule("", "serviceaccounts/token", "create")),
                    role(kind, "create", rule(rbac, "roles", "escalate")),
                    role(kind, "create", rule(rbac, "clusterroles", "bind")),
                    role(kind, "create", rule("", "users", "impersonate")),
                ],
            );
            let medium = [
                role(kind, "create", rule("", "secrets", "list")),
                role(kind, "create", rule("", "pods/exec", "create")),
                role(kind, "create", rule("", "pods/*", "get")),
                role(kind, "create", rule("apps", "*", "*")),
            ];
            let by_account: Vec<Line> = medium.iter().map(|l| l.clone().account("shop", "web")).collect();
            each(SPEC.id, Severity::Medium, &by_account);
            each(SPEC.id, if kind == "roles" { Severity::Low } else { Severity::Medium }, &medium);
        }
        let mut one = rule("", "secrets", "get");
        one["resourceNames"] = json!(["tls"]);
        each(SPEC.id, Severity::Low, &[role("roles", "create", one)]);
        let patch = json!([{"op": "add", "path": "/rules/-", "value": rule("", "pods/exec", "create")}]);
        each(
            SPEC.id,
            Severity::Medium,
            &[line("patch", "roles.rbac.authorization.k8s.io").ns("a").name("r").account("a", "b").body(patch)],
        );
        none(
            SPEC.id,
            &[
                role("roles", "create", rule("", "configmaps", "get")),
                role("roles", "create", rule("apps", "secrets", "get")),
                role("roles", "create", rule("", "secrets", "delete")),
                role("clusterroles", "update", rule("*", "*", "*")).controller("clusterrole-aggregation-controller"),
            ],
        );
    }
}
