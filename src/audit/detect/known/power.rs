//! What gives power: capabilities, roles, rules. Shared by several detections.

use serde_json::Value;

use crate::audit::detect::Severity;
use crate::audit::detect::look::text;

/// What is not worth more.
pub const HARMLESS: Severity = Severity::Low;

/// The gravest capability that a container adds.
pub fn capability(container: &Value) -> Option<(Severity, String)> {
    let added = container.pointer("/securityContext/capabilities/add")?.as_array()?;
    let grade = |name: &str| match name {
        "ALL" | "SYS_ADMIN" | "SYS_MODULE" | "SYS_PTRACE" | "BPF" | "DAC_READ_SEARCH" | "SYS_RAWIO" | "SYS_BOOT" => {
            Some(Severity::High)
        }
        "NET_ADMIN" | "PERFMON" | "DAC_OVERRIDE" | "MAC_ADMIN" | "SYSLOG" => Some(Severity::Medium),
        _ => None,
    };
    added
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|name| {
            let upper = name.to_ascii_uppercase();
            let short = upper.strip_prefix("CAP_").unwrap_or(&upper).to_owned();
            grade(&short).map(|s| (s, short))
        })
        .max()
}

/// How much a role of that name gives to whoever is bound to it; None for roles of a team's own.
pub fn role(name: &str) -> Option<Severity> {
    // Bound by the manifests of many ordinary add-ons, and small.
    const SMALL: &[&str] = &[
        "system:auth-delegator",
        "system:discovery",
        "system:basic-user",
        "system:public-info-viewer",
        "system:service-account-issuer-discovery",
        "system:metrics-server",
        "system:aggregated-metrics-reader",
        "system:monitoring",
    ];
    match name {
        "cluster-admin" => Some(Severity::High),
        "admin" | "edit" => Some(Severity::Medium),
        name if SMALL.contains(&name) => Some(Severity::Low),
        name if name.starts_with("system:") => Some(Severity::High),
        _ => None,
    }
}

/// The subjects that stand for everybody: how grave it is to bind them, and their name.
pub fn everybody(binding: &Value) -> Option<(Severity, &str)> {
    crate::audit::detect::look::items(binding, "/subjects")
        .filter_map(|subject| match text(subject, "/name") {
            name @ ("system:anonymous" | "system:unauthenticated") => Some((Severity::Critical, name)),
            name @ ("system:authenticated" | "system:serviceaccounts") => Some((Severity::High, name)),
            _ => None,
        })
        .max()
}

/// The gravest right in a role's rules, in words.
pub fn rights(role: &Value) -> Option<(Severity, String)> {
    crate::audit::detect::look::items(role, "/rules").filter_map(rule).max()
}

fn rule(rule: &Value) -> Option<(Severity, String)> {
    let list = |key: &str| -> Vec<&str> {
        rule.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (verbs, resources, groups) = (list("verbs"), list("resources"), list("apiGroups"));
    let verb = |wanted: &[&str]| verbs.iter().any(|v| *v == "*" || wanted.contains(v));
    let resource = |wanted: &str| {
        let (kind, sub) = wanted.split_once('/').unwrap_or((wanted, ""));
        resources.iter().any(|r| {
            *r == wanted || *r == "*" || (!sub.is_empty() && (*r == format!("*/{sub}") || *r == format!("{kind}/*")))
        })
    };
    let group = |wanted: &str| groups.iter().any(|g| *g == "*" || *g == wanted);
    // A rule for objects by name is as small as they are.
    let by_name = !list("resourceNames").is_empty();
    let grade = |s: Severity| if by_name { HARMLESS } else { s };
    if verbs.contains(&"*") && resources.contains(&"*") && group("*") {
        return Some((Severity::High, "everything".into()));
    }
    // Said by name; by `*` they are in everything's.
    if let Some(v) = verbs.iter().find(|v| matches!(**v, "escalate" | "bind" | "impersonate")) {
        return Some((grade(Severity::High), format!("{v} {}", resources.join(","))));
    }
    let core = group("");
    let found = [
        (
            resource("nodes/proxy") && core && verb(&["get", "create"]),
            Severity::High,
            "nodes/proxy: a shell in every pod of a node",
        ),
        (resource("serviceaccounts/token") && core && verb(&["create"]), Severity::High, "tokens of service accounts"),
        (resource("pods/exec") && core && verb(&["get", "create"]), Severity::Medium, "commands in pods"),
        (
            resource("pods/ephemeralcontainers") && core && verb(&["update", "patch"]),
            Severity::Medium,
            "containers in running pods",
        ),
        (resource("secrets") && core && verb(&["get", "list", "watch"]), Severity::Medium, "reading Secrets"),
        (
            (resource("clusterrolebindings") || resource("rolebindings"))
                && group("rbac.authorization.k8s.io")
                && verb(&["create", "update", "patch"]),
            Severity::Medium,
            "writing role bindings",
        ),
        (
            (resource("mutatingwebhookconfigurations") || resource("validatingwebhookconfigurations"))
                && group("admissionregistration.k8s.io")
                && verb(&["create", "update", "patch"]),
            Severity::Medium,
            "writing admission webhooks",
        ),
        (
            resource("certificatesigningrequests/approval")
                && group("certificates.k8s.io")
                && verb(&["update", "patch"]),
            Severity::Medium,
            "approving certificates",
        ),
        (verbs.contains(&"*") && resources.contains(&"*"), Severity::Medium, "everything of some groups"),
    ];
    found.into_iter().filter(|(is, ..)| *is).map(|(_, severity, what)| (grade(severity), what.to_owned())).max()
}
