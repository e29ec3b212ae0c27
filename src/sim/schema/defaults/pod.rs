//! Pods, and the pods in workloads.
use serde_json::{Map, Value, json};

use super::super::field::{child, each, empty, entries, fill, flag, int, items, made, put, text};

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// A Pod.
pub(super) fn pod(pod: &mut Value) {
    app_armor(pod);
    if let Some(spec) = made(pod, "spec") {
        template_spec(spec);
        fill(spec, "enableServiceLinks", true);
        if int(&spec["terminationGracePeriodSeconds"]) < 0 {
            put(spec, "terminationGracePeriodSeconds", 1);
        }
        host_ports(spec);
        for key in CONTAINERS {
            each(spec, key).for_each(requests);
        }
    }
    let class = quality(&pod["spec"]);
    if let Some(status) = made(pod, "status") {
        fill(status, "phase", "Pending");
        fill(status, "qosClass", class);
    }
}

/// The spec of a Pod or of a workload's template.
pub(super) fn template_spec(spec: &mut Value) {
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(30)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
    ] {
        fill(spec, key, value);
    }
    // The same field under its old name; what is stored always has both.
    let account = [&spec["serviceAccountName"], &spec["serviceAccount"]].into_iter().find(|v| !empty(v)).cloned();
    if let Some(account) = account {
        put(spec, "serviceAccountName", account.clone());
        put(spec, "serviceAccount", account);
    }
    for key in CONTAINERS {
        each(spec, key).for_each(container);
    }
    each(spec, "volumes").for_each(volume);
    for constraint in each(spec, "topologySpreadConstraints") {
        fill(constraint, "whenUnsatisfiable", "DoNotSchedule");
    }
}

fn container(container: &mut Value) {
    let policy = pull_policy(text(&container["image"]));
    fill(container, "imagePullPolicy", policy);
    fill(container, "terminationMessagePath", "/dev/termination-log");
    fill(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    each(container, "ports").for_each(|port| fill(port, "protocol", "TCP"));
    for variable in each(container, "env") {
        if let Some(reference) = child(variable, "valueFrom").and_then(|from| child(from, "fieldRef")) {
            fill(reference, "apiVersion", "v1");
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = child(container, key) else { continue };
        handler(probe);
        if let Some(grpc) = child(probe, "grpc")
            && grpc["service"].is_null()
        {
            put(grpc, "service", "");
        }
        for (key, number) in
            [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
        {
            if int(&probe[key]) == 0 {
                put(probe, key, number);
            }
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        ["postStart", "preStop"].into_iter().for_each(|key| {
            if let Some(hook) = child(lifecycle, key) {
                handler(hook);
            }
        });
    }
}

fn handler(handler: &mut Value) {
    if let Some(get) = child(handler, "httpGet") {
        fill(get, "path", "/");
        fill(get, "scheme", "HTTP");
    }
}

/// Images without a tag, or with the tag that moves, are pulled anew each time.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or_default();
    let tag = last.split_once(':').map(|(_, tag)| tag);
    match tag {
        Some("latest") => "Always",
        None if !digest => "Always",
        _ => "IfNotPresent",
    }
}

fn volume(volume: &mut Value) {
    if entries(volume).all(|(key, v)| key == "name" || v.is_null()) {
        put(volume, "emptyDir", json!({}));
    }
    for key in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child(volume, key) {
            fill(source, "defaultMode", 0o644);
        }
    }
    if let Some(path) = child(volume, "hostPath")
        && path["type"].is_null()
    {
        put(path, "type", "");
    }
    if let Some(iscsi) = child(volume, "iscsi") {
        fill(iscsi, "iscsiInterface", "default");
    }
    let downward = |source: &mut Value| {
        for item in each(source, "items") {
            if let Some(reference) = child(item, "fieldRef") {
                fill(reference, "apiVersion", "v1");
            }
        }
    };
    if let Some(source) = child(volume, "downwardAPI") {
        downward(source);
    }
    if let Some(projected) = child(volume, "projected") {
        for source in each(projected, "sources") {
            if let Some(source) = child(source, "downwardAPI") {
                downward(source);
            }
            if let Some(token) = child(source, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
        }
    }
}

/// In the node's network a container's port is the node's.
fn host_ports(spec: &mut Value) {
    if !flag(&spec["hostNetwork"]) {
        return;
    }
    for key in ["initContainers", "containers"] {
        for container in each(spec, key) {
            for port in each(container, "ports") {
                let number = int(&port["containerPort"]);
                if int(&port["hostPort"]) == 0 && number != 0 {
                    put(port, "hostPort", number);
                }
            }
        }
    }
}

/// What is limited is also requested.
fn requests(container: &mut Value) {
    let limits = container["resources"]["limits"].clone();
    if !entries(&limits).any(|_| true) {
        return;
    }
    let Some(requests) = made(container, "resources").and_then(|resources| made(resources, "requests")) else { return };
    for (name, amount) in entries(&limits) {
        if requests[name.as_str()].is_null() {
            put(requests, name, amount.clone());
        }
    }
}

/// `status.qosClass`.
fn quality(spec: &Value) -> &'static str {
    let all: Vec<&Value> =
        items(&spec["initContainers"]).iter().chain(items(&spec["containers"])).map(|c| &c["resources"]).collect();
    let nothing = Map::new();
    let sum = |resources: &Value, key: &str| -> Vec<(String, Value)> {
        let amounts = resources[key].as_object().unwrap_or(&nothing);
        ["cpu", "memory"].into_iter().filter_map(|name| Some((name.to_owned(), amounts.get(name)?.clone()))).collect()
    };
    let unset = |r: &&Value| sum(r, "limits").is_empty() && sum(r, "requests").is_empty();
    if all.iter().all(unset) {
        "BestEffort"
    } else if all.iter().all(|r| sum(r, "limits").len() == 2 && sum(r, "limits") == sum(r, "requests")) {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

/// AppArmor profiles were annotations once; the server still reads them.
fn app_armor(pod: &mut Value) {
    let annotations = pod["metadata"]["annotations"].clone();
    let Some(spec) = child(pod, "spec") else { return };
    for key in ["initContainers", "containers"] {
        for container in each(spec, key) {
            let annotation = format!("container.apparmor.security.beta.kubernetes.io/{}", text(&container["name"]));
            let profile = match text(&annotations[annotation.as_str()]) {
                "" => continue,
                "unconfined" => json!({"type": "Unconfined"}),
                "runtime/default" => json!({"type": "RuntimeDefault"}),
                other => match other.strip_prefix("localhost/") {
                    Some(profile) => json!({"type": "Localhost", "localhostProfile": profile}),
                    None => continue,
                },
            };
            if let Some(context) = made(container, "securityContext") {
                fill(context, "appArmorProfile", profile);
            }
        }
    }
}
