use serde_json::json;

use super::*;

const SA: &str = "system:serviceaccount:payments:checkout";

fn event(verb: &str, resource: &str, sub: &str, code: i64) -> Value {
    json!({
        "auditID": "a", "level": "Metadata", "verb": verb, "requestURI": "/x?y=z",
        "user": {"username": SA, "extra": {"authentication.kubernetes.io/pod-uid": ["uid-1"]}},
        "objectRef": {"resource": resource, "subresource": sub, "namespace": "payments"},
        "sourceIPs": ["203.0.113.1", "10.0.0.7"], "responseStatus": {"code": code},
        "annotations": {"authorization.k8s.io/decision": if code == 403 { "forbid" } else { "allow" }},
    })
}

#[test]
fn planted_calls_are_counted_by_kind_and_the_last_address_only() {
    let mut summary = Summary::default();
    for (verb, resource, sub, code) in [
        ("list", "secrets", "", 200),
        ("watch", "secrets", "", 200),
        ("get", "secrets", "", 403),
        ("get", "pods", "exec", 101),
        ("create", "serviceaccounts", "token", 201),
        ("get", "pods", "", 404),
    ] {
        summary.add(&event(verb, resource, sub, code), false, SA, Some("uid-1"));
    }
    let mut binding = event("create", "clusterrolebindings", "", 201);
    binding["objectRef"]["apiGroup"] = "rbac.authorization.k8s.io".into();
    binding["impersonatedUser"] = json!({"username": "admin"});
    summary.add(&binding, false, SA, Some("another"));
    assert_eq!(summary.calls(), (7, 1));
    assert_eq!(summary.from_suspect_pod(), 6);
    let notable = summary.notable();
    for (kind, count) in
        [("secret_reads", 3), ("exec", 1), ("token_creates", 1), ("rbac_writes", 1), ("impersonation", 1), ("proxy", 0)]
    {
        assert_eq!(notable[kind], count, "{kind}");
    }
    let json = summary.json();
    assert_eq!(json["by_last_source_ip"], json!({"10.0.0.7": 7}));
    assert_eq!(json["failed_otherwise"], 1);
    assert!(json["notable"]["exec"]["calls"][0]["code"] == 101);
}

#[test]
fn a_flood_of_values_stays_bounded() {
    let mut summary = Summary::default();
    for n in 0..2000 {
        let mut event = event("get", "secrets", "", 200);
        event["userAgent"] = format!("{n}{}", "x".repeat(10_000)).into();
        summary.add(&event, false, SA, None);
    }
    let json = summary.json();
    assert_eq!(json["by_user_agent"]["(others, not told apart)"], 1500);
    assert_eq!(json["notable"]["secret-reads"]["listed"], 200);
    assert!(json.to_string().len() < 1_000_000);
}

#[test]
fn bodies_that_may_hold_secrets_are_left_out() {
    assert_eq!(slice_line(&event("get", "secrets", "", 200)), None);
    let mut pod = event("create", "pods", "", 201);
    pod["requestObject"] = json!({"kind": "Pod"});
    assert_eq!(slice_line(&pod), None);
    for (resource, sub, body) in [
        ("secrets", "", json!({"kind": "Table", "rows": ["hunter2"]})),
        ("serviceaccounts", "token", json!({"status": {"token": "hunter2"}})),
        ("anything", "", json!({"kind": "List", "items": [{"kind": "Secret", "data": {"k": "hunter2"}}]})),
    ] {
        let mut event = event("get", resource, sub, 200);
        event["responseObject"] = body;
        let line = String::from_utf8(slice_line(&event).unwrap()).unwrap();
        assert!(!line.contains("hunter2") && line.contains("left out by quell"), "{line}");
    }
}
