//! Everything without a Pod template.
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::super::field::{child, each, empty, entries, fill, items, made, put, take, text};

/// Service. Addresses and node ports are for the caller to allocate.
pub(super) fn service(service: &mut Value) {
    let Some(spec) = made(service, "spec") else { return };
    fill(spec, "type", "ClusterIP");
    fill(spec, "sessionAffinity", "None");
    if text(&spec["sessionAffinity"]) == "ClientIP"
        && let Some(config) = made(spec, "sessionAffinityConfig").and_then(|c| made(c, "clientIP"))
    {
        fill(config, "timeoutSeconds", 10800);
    }
    let kind = text(&spec["type"]).to_owned();
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        fill(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        fill(spec, "internalTrafficPolicy", "Cluster");
        // Without a selector and an address there is nothing that only one family could have.
        let open = text(&spec["clusterIP"]) == "None" && empty(&spec["selector"]);
        fill(spec, "ipFamilyPolicy", if open { "RequireDualStack" } else { "SingleStack" });
        fill(spec, "ipFamilies", if open { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) });
        if empty(&spec["clusterIPs"]) && !empty(&spec["clusterIP"]) {
            put(spec, "clusterIPs", json!([spec["clusterIP"]]));
        }
    }
    if kind == "ExternalName" {
        // Left over from before it became one.
        for key in ["internalTrafficPolicy", "ipFamilies", "ipFamilyPolicy"] {
            take(spec, key);
        }
    }
    for port in each(spec, "ports") {
        fill(port, "protocol", "TCP");
        let target = &port["targetPort"];
        if empty(target) || target.as_i64() == Some(0) {
            put(port, "targetPort", port["port"].clone());
        }
    }
    if let Some(status) = made(service, "status") {
        fill(status, "loadBalancer", json!({}));
    }
}

/// Secret; `stringData` becomes `data`.
pub(super) fn secret(secret: &mut Value) {
    fill(secret, "type", "Opaque");
    let Some(texts) = take(secret, "stringData") else { return };
    if !entries(&texts).any(|_| true) {
        return;
    }
    let Some(data) = made(secret, "data") else { return };
    for (key, value) in entries(&texts) {
        let bytes = ByteString(text(value).as_bytes().to_vec());
        put(data, key, serde_json::to_value(bytes).unwrap_or_default());
    }
}

/// Namespace: its own name as a label, and the finalizer that empties it.
pub(super) fn namespace(namespace: &mut Value) {
    let name = namespace["metadata"]["name"].clone();
    if !empty(&name)
        && let Some(labels) = made(namespace, "metadata").and_then(|m| made(m, "labels"))
    {
        put(labels, "kubernetes.io/metadata.name", name);
    }
    let terminating = !namespace["metadata"]["deletionTimestamp"].is_null();
    if !terminating && let Some(spec) = made(namespace, "spec") {
        fill(spec, "finalizers", json!(["kubernetes"]));
    }
    if let Some(status) = made(namespace, "status") {
        fill(status, "phase", "Active");
    }
}

/// Node.
pub(super) fn node(node: &mut Value) {
    made(node, "spec");
    let Some(status) = made(node, "status") else { return };
    fill(status, "daemonEndpoints", json!({"kubeletEndpoint": {"Port": 0}}));
    if let Some(info) = made(status, "nodeInfo") {
        for key in [
            "machineID",
            "systemUUID",
            "bootID",
            "kernelVersion",
            "osImage",
            "containerRuntimeVersion",
            "kubeletVersion",
            "kubeProxyVersion",
            "operatingSystem",
            "architecture",
        ] {
            fill(info, key, "");
        }
    }
}

/// NetworkPolicy: it is about egress only if it says so or has a rule for it.
pub(super) fn network_policy(policy: &mut Value) {
    let Some(spec) = made(policy, "spec") else { return };
    made(spec, "podSelector");
    if empty(&spec["policyTypes"]) {
        let types = if empty(&spec["egress"]) { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        put(spec, "policyTypes", types);
    }
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            each(rule, "ports").for_each(|port| fill(port, "protocol", "TCP"));
        }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";

/// The kinds of RBAC: a missing list of rules is null, and names belong to RBAC's group.
pub(super) fn rbac(kind: &str, object: &mut Value) {
    if matches!(kind, "Role" | "ClusterRole") {
        if items(&object["rules"]).is_empty() {
            put(object, "rules", Value::Null);
        }
        return;
    }
    if let Some(reference) = made(object, "roleRef") {
        fill(reference, "apiGroup", RBAC);
    }
    for subject in each(object, "subjects") {
        if matches!(text(&subject["kind"]), "User" | "Group") {
            fill(subject, "apiGroup", RBAC);
        }
    }
}

/// Event: its times are shown even when there are none.
pub(super) fn event(event: &mut Value) {
    // The newer API shows the same object under other names.
    if text(&event["apiVersion"]).starts_with("events.k8s.io/") {
        return;
    }
    for key in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        fill(event, key, Value::Null);
    }
    for key in ["reportingComponent", "reportingInstance"] {
        fill(event, key, "");
    }
    made(event, "source");
}

/// PersistentVolumeClaim.
pub(super) fn claim(claim: &mut Value) {
    super::claim(claim);
}

/// CustomResourceDefinition.
pub(super) fn custom_resource_definition(definition: &mut Value) {
    let Some(spec) = made(definition, "spec") else { return };
    fill(spec, "conversion", json!({"strategy": "None"}));
    if let Some(names) = made(spec, "names") {
        let kind = text(&names["kind"]).to_owned();
        fill(names, "singular", kind.to_lowercase());
        fill(names, "listKind", format!("{kind}List"));
    }
    let stored: Vec<Value> = items(&spec["versions"])
        .iter()
        .filter(|version| version["storage"] == Value::Bool(true))
        .map(|version| version["name"].clone())
        .collect();
    if let Some(status) = made(definition, "status") {
        fill(status, "conditions", Value::Null);
        fill(status, "acceptedNames", json!({"plural": "", "kind": ""}));
        fill(status, "storedVersions", stored);
    }
}

/// Webhook configurations.
pub(super) fn webhooks(kind: &str, configuration: &mut Value) {
    for webhook in each(configuration, "webhooks") {
        for (key, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            fill(webhook, key, value);
        }
        if kind == "MutatingWebhookConfiguration" {
            fill(webhook, "reinvocationPolicy", "Never");
        }
        each(webhook, "rules").for_each(|rule| fill(rule, "scope", "*"));
        if let Some(service) = child(webhook, "clientConfig").and_then(|config| child(config, "service")) {
            fill(service, "port", 443);
        }
    }
}
