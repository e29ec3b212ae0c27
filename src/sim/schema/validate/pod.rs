//! A Pod's spec, and that of a workload's template.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::field::{Causes, Path, items, text};
use super::super::metadata::labels;
use super::super::names;
use super::{addresses, affinity, container, security_context, volume};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// A Pod on create, but for its metadata.
pub(super) fn create(pod: &Value, causes: &mut Causes) {
    annotations(pod, causes);
    spec(&pod["spec"], &Path::new("spec"), causes);
    if !items(&pod["spec"]["ephemeralContainers"]).is_empty() {
        causes.forbidden(&Path::new("spec").child("ephemeralContainers"), "cannot be set on create");
    }
}

fn annotations(pod: &Value, causes: &mut Causes) {
    let mirror = text(&pod["metadata"]["annotations"][MIRROR]);
    if !mirror.is_empty() && text(&pod["spec"]["nodeName"]).is_empty() {
        let detail = "must set spec.nodeName if mirror pod annotation is set";
        causes.invalid_text(&Path::new("metadata.annotations").key(MIRROR), mirror, detail);
    }
}

/// A Pod's spec.
pub(super) fn spec(spec: &Value, path: &Path, causes: &mut Causes) {
    let volumes = volume::volumes(&spec["volumes"], &path.child("volumes"), causes);
    container::containers(spec, &volumes, path, causes);
    container::init_containers(spec, &volumes, path, causes);
    let policies = [
        ("restartPolicy", ["Always", "OnFailure", "Never"].as_slice()),
        ("dnsPolicy", ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"].as_slice()),
    ];
    for (key, supported) in policies {
        // An empty policy was given a default before; a workload's owner says if it may be missing.
        if text(&spec[key]).is_empty() {
            causes.required(&path.child(key), "");
        } else {
            causes.one_of(&path.child(key), &spec[key], supported);
        }
    }
    labels(&spec["nodeSelector"], &path.child("nodeSelector"), causes);
    security_context::pod(spec, path, causes);
    affinity::affinity(&spec["affinity"], &path.child("affinity"), causes);
    affinity::spread(&spec["topologySpreadConstraints"], &path.child("topologySpreadConstraints"), causes);
    dns(spec, path, causes);
    gates(spec, path, causes);
    name_like(spec, path, causes);
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64().filter(|s| !(1..=i64::from(i32::MAX)).contains(s)) {
        let detail = "must be between 1 and 2147483647, inclusive";
        causes.invalid(&path.child("activeDeadlineSeconds"), &seconds.into(), detail);
    }
    affinity::tolerations(&spec["tolerations"], &path.child("tolerations"), causes);
    aliases(&spec["hostAliases"], &path.child("hostAliases"), causes);
}

fn name_like(spec: &Value, path: &Path, causes: &mut Causes) {
    type Check = fn(&str) -> Vec<String>;
    let rules: [(&str, Check); 6] = [
        ("serviceAccountName", names::subdomain),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
        ("priorityClassName", names::subdomain),
        ("runtimeClassName", names::subdomain),
    ];
    for (key, rule) in rules {
        let name = text(&spec[key]);
        if !name.is_empty() {
            causes.invalid_texts(&path.child(key), name, rule(name));
        }
    }
}

fn dns(spec: &Value, path: &Path, causes: &mut Causes) {
    let (config, at) = (&spec["dnsConfig"], path.child("dnsConfig"));
    let servers = items(&config["nameservers"]);
    if text(&spec["dnsPolicy"]) == "None" {
        if config.is_null() {
            causes.required(&at, "must provide `dnsConfig` when `dnsPolicy` is None");
        } else if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            causes.required(&at.child("nameservers"), detail);
        }
    }
    for (i, server) in servers.iter().map(text).enumerate() {
        if addresses::ip(server).is_none() {
            causes.invalid_text(&at.child("nameservers").index(i), server, addresses::BAD_IP);
        }
    }
    for (i, domain) in items(&config["searches"]).iter().map(text).enumerate() {
        let name = domain.strip_suffix('.').unwrap_or(domain);
        causes.invalid_texts(&at.child("searches").index(i), name, names::subdomain_with_underscores(name));
    }
    for (i, option) in items(&config["options"]).iter().enumerate() {
        if text(&option["name"]).is_empty() {
            causes.required(&at.child("options").index(i), "must not be empty");
        }
    }
}

fn gates(spec: &Value, path: &Path, causes: &mut Causes) {
    for (i, gate) in items(&spec["readinessGates"]).iter().enumerate() {
        let kind = text(&gate["conditionType"]);
        let at = path.child("readinessGates").index(i).child("conditionType");
        causes.invalid_texts(&at, kind, names::qualified(kind));
    }
    let mut seen = BTreeSet::new();
    for (i, gate) in items(&spec["schedulingGates"]).iter().enumerate() {
        let (name, at) = (text(&gate["name"]), path.child("schedulingGates").index(i));
        causes.invalid_texts(&at, name, names::qualified(name));
        if !seen.insert(name) {
            causes.duplicate(&at, &json!({"Name": name}));
        }
    }
}

fn aliases(aliases: &Value, path: &Path, causes: &mut Causes) {
    for (i, alias) in items(aliases).iter().enumerate() {
        let at = path.index(i);
        let ip = text(&alias["ip"]);
        if addresses::ip(ip).is_none() {
            causes.invalid_text(&at.child("ip"), ip, addresses::BAD_IP);
        }
        for (j, name) in items(&alias["hostnames"]).iter().map(text).enumerate() {
            causes.invalid_texts(&at.child("hostnames").index(j), name, names::subdomain(name));
        }
    }
}

/// A workload's Pod template: metadata and spec.
pub(super) fn template(template: &Value, path: &Path, causes: &mut Causes) {
    // The template's own words for these two leave `metadata` out.
    labels(&template["metadata"]["labels"], &path.child("labels"), causes);
    super::super::metadata::annotations(&template["metadata"]["annotations"], &path.child("annotations"), causes);
    let pod = &template["spec"];
    spec(pod, &path.child("spec"), causes);
    if !items(&pod["ephemeralContainers"]).is_empty() {
        causes.forbidden(
            &path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}
