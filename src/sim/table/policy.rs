//! The cells of what allows and refuses: RBAC, disruption budgets, admission.

use serde_json::{Value, json};

use super::age;
use super::fields::{count, int, items, text, written};

/// The printer's cells; nothing for a kind that has none.
pub fn cells(kind: &str, object: &Value, now: i64) -> Option<Vec<Value>> {
    let spec = &object["spec"];
    let name = object["metadata"]["name"].clone();
    let aged = age::created(object, now);
    Some(match kind {
        "PodDisruptionBudget" => vec![
            name,
            json!(written(&spec["minAvailable"], "N/A")),
            json!(written(&spec["maxUnavailable"], "N/A")),
            json!(int(&object["status"]["disruptionsAllowed"])),
            aged,
        ],
        "RoleBinding" | "ClusterRoleBinding" => {
            let role = &object["roleRef"];
            vec![
                name,
                json!(format!("{}/{}", text(&role["kind"]), text(&role["name"]))),
                aged,
                subjects(object, "User"),
                subjects(object, "Group"),
                subjects(object, "ServiceAccount"),
            ]
        }
        "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
            vec![name, json!(count(&object["webhooks"])), aged]
        }
        "ValidatingAdmissionPolicy" => {
            let kind = &spec["paramKind"];
            let kind = match kind.is_null() {
                true => "<unset>".into(),
                false => format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"])),
            };
            vec![name, json!(count(&spec["validations"])), json!(kind), aged]
        }
        "ValidatingAdmissionPolicyBinding" => {
            let reference = &spec["paramRef"];
            let parameter = match (text(&reference["namespace"]), text(&reference["name"])) {
                (_, "") => "<unset>".into(),
                ("", name) => format!("*/{name}"),
                (namespace, name) => format!("{namespace}/{name}"),
            };
            vec![name, json!(text(&spec["policyName"])), json!(parameter), aged]
        }
        _ => return None,
    })
}

/// A binding's subjects of one kind.
fn subjects(binding: &Value, kind: &str) -> Value {
    let shown = |subject: &Value| match kind {
        "ServiceAccount" => format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])),
        _ => text(&subject["name"]).to_string(),
    };
    let all: Vec<String> = items(&binding["subjects"]).filter(|subject| subject["kind"] == kind).map(shown).collect();
    json!(all.join(", "))
}
