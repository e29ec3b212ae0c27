//! Services.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::field::{Causes, Path, empty, int, items, same, text};
use super::super::metadata::labels;
use super::super::names;
use super::addresses;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// A Service, but for its metadata.
pub(super) fn validate(service: &Value, old: Option<&Value>, causes: &mut Causes) {
    let (spec, path) = (&service["spec"], Path::new("spec"));
    let kind = text(&spec["type"]);
    let is_bad = |(_, ip): &(usize, &str)| *ip != "None" && addresses::ip(ip).is_none();
    let bad: Vec<(usize, &str)> = items(&spec["clusterIPs"]).iter().map(text).enumerate().filter(is_bad).collect();
    if !bad.is_empty() {
        // The server allocates the address before it looks at anything else.
        causes.0.clear();
        for (i, ip) in bad {
            causes.invalid_text(&path.child("clusterIPs").index(i), ip, addresses::BAD_IP);
        }
        return;
    }
    let headless = text(&spec["clusterIP"]) == "None";
    ports(spec, headless || kind == "ExternalName", &path, causes);
    labels(&spec["selector"], &path.child("selector"), causes);
    causes.one_of(&path.child("sessionAffinity"), &spec["sessionAffinity"], &["ClientIP", "None"]);
    if kind == "ExternalName" {
        let name = text(&spec["externalName"]);
        if name.is_empty() {
            causes.required(&path.child("externalName"), "");
        } else {
            let name = name.strip_suffix('.').unwrap_or(name);
            causes.invalid_texts(&path.child("externalName"), name, names::subdomain(name));
        }
        if !empty(&spec["clusterIP"]) && !headless {
            causes.forbidden(&path.child("clusterIPs"), "may not be set when `type` is 'ExternalName'");
        }
    }
    for (i, ip) in items(&spec["externalIPs"]).iter().map(text).enumerate() {
        addresses::check_remote(ip, &path.child("externalIPs").index(i), causes);
    }
    causes.one_of(&path.child("type"), &spec["type"], &TYPES);
    let mut seen: Vec<[&Value; 2]> = Vec::new();
    for (i, port) in items(&spec["ports"]).iter().enumerate() {
        let identity = [&port["protocol"], &port["port"]];
        let at = path.child("ports").index(i);
        if seen.contains(&identity) {
            let shown = format!(
                r#"{{"Name":"","Protocol":{},"AppProtocol":null,"Port":{},"TargetPort":0,"NodePort":0}}"#,
                port["protocol"], port["port"]
            );
            causes.duplicate_shown(&at, &shown);
        }
        seen.push(identity);
        if kind == "ClusterIP" && int(&port["nodePort"]) != 0 {
            causes.forbidden(&at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    // This field's name starts with a capital in the server's words.
    let at = path.child("LoadBalancerSourceRanges");
    if !empty(&spec["loadBalancerSourceRanges"]) {
        if kind != "LoadBalancer" {
            causes.forbidden(&at, "may only be used when `type` is 'LoadBalancer'");
        }
        for (i, range) in items(&spec["loadBalancerSourceRanges"]).iter().map(text).enumerate() {
            addresses::check_cidr(range, &at.index(i), causes);
        }
    }
    if let Some(old) = old {
        update(spec, &old["spec"], &path, causes);
    }
}

fn ports(spec: &Value, may_lack: bool, path: &Path, causes: &mut Causes) {
    let all = items(&spec["ports"]);
    if all.is_empty() && !may_lack {
        causes.required(&path.child("ports"), "");
    }
    let mut seen = BTreeSet::new();
    for (i, port) in all.iter().enumerate() {
        let at = path.child("ports").index(i);
        let name = text(&port["name"]);
        if name.is_empty() {
            if all.len() > 1 {
                causes.required(&at.child("name"), "");
            }
        } else {
            causes.invalid_texts(&at.child("name"), name, names::label(name));
            if !seen.insert(name) {
                causes.duplicate(&at.child("name"), &port["name"]);
            }
        }
        if let Some(complaint) = names::port_number(int(&port["port"])) {
            causes.invalid(&at.child("port"), &int(&port["port"]).into(), complaint);
        }
        causes.one_of(&at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        super::probe::port(&port["targetPort"], &at.child("targetPort"), causes);
    }
}

/// The address of a Service stays, unless the Service becomes or was the name of something outside.
fn update(new: &Value, old: &Value, path: &Path, causes: &mut Causes) {
    let outside = text(&new["type"]) == "ExternalName" || text(&old["type"]) == "ExternalName";
    // What a client leaves out stays as it was.
    if outside || empty(&new["clusterIP"]) || empty(&old["clusterIP"]) {
        return;
    }
    if !same(&new["clusterIP"], &old["clusterIP"]) {
        let ips = if empty(&new["clusterIPs"]) { json!([new["clusterIP"]]) } else { new["clusterIPs"].clone() };
        causes.invalid(&path.child("clusterIPs").index(0), &ips, "may not change once set");
    }
}
