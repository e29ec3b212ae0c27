//! The cells of services and what belongs to them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::age;
use super::fields::{count, first_three, int, items, text, text_or, written};
use super::selector::{labels, selector_or_none};

/// The printer's cells; nothing for a kind that has none.
pub fn cells(kind: &str, object: &Value, now: i64) -> Option<Vec<Value>> {
    let spec = &object["spec"];
    let name = object["metadata"]["name"].clone();
    let aged = age::created(object, now);
    Some(match kind {
        "Service" => {
            let ip = spec["clusterIPs"].get(0).unwrap_or(&spec["clusterIP"]);
            vec![
                name,
                json!(text_or(&spec["type"], "ClusterIP")),
                json!(text_or(ip, "<none>")),
                json!(external_ip(object)),
                json!(ports(spec)),
                aged,
                json!(labels(&spec["selector"])),
            ]
        }
        "Endpoints" => vec![name, json!(endpoints(object)), aged],
        "EndpointSlice" => {
            let ports: Vec<String> = items(&object["ports"])
                .map(|port| written(&port["port"], port["name"].as_str().unwrap_or("*")))
                .collect();
            let addresses: Vec<String> = items(&object["endpoints"])
                .flat_map(|endpoint| items(&endpoint["addresses"]))
                .map(|address| text(address).to_string())
                .collect();
            let or_unset = |all: &[String]| match first_three(all) {
                none if none.is_empty() => json!("<unset>"),
                some => json!(some),
            };
            vec![name, json!(text(&object["addressType"])), or_unset(&ports), or_unset(&addresses), aged]
        }
        "NetworkPolicy" => vec![name, json!(selector_or_none(&spec["podSelector"])), aged],
        "Ingress" => vec![
            name,
            json!(spec["ingressClassName"].as_str().unwrap_or("<none>")),
            json!(hosts(&spec["rules"])),
            json!(load_balancer(object).join(",")),
            json!(if count(&spec["tls"]) == 0 { "80" } else { "80, 443" }),
            aged,
        ],
        "IngressClass" => vec![name, json!(text(&spec["controller"])), json!(parameters(&spec["parameters"])), aged],
        _ => return None,
    })
}

/// The load balancer's addresses, in order and each once.
fn load_balancer(object: &Value) -> Vec<&str> {
    let all: BTreeSet<&str> = items(&object["status"]["loadBalancer"]["ingress"])
        .map(|ingress| text_or(&ingress["ip"], text(&ingress["hostname"])))
        .filter(|address| !address.is_empty())
        .collect();
    all.into_iter().collect()
}

fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let external = items(&spec["externalIPs"]).map(text);
    let (all, none): (Vec<&str>, _) = match text_or(&spec["type"], "ClusterIP") {
        "ClusterIP" | "NodePort" => (external.collect(), "<none>"),
        "LoadBalancer" => (load_balancer(service).into_iter().chain(external).collect(), "<pending>"),
        "ExternalName" => (vec![text(&spec["externalName"])], ""),
        _ => (Vec::new(), "<unknown>"),
    };
    if all.is_empty() { none.into() } else { all.join(",") }
}

fn ports(spec: &Value) -> String {
    let one = |port: &Value| {
        let protocol = text_or(&port["protocol"], "TCP");
        match int(&port["nodePort"]) {
            node @ 1.. => format!("{}:{node}/{protocol}", int(&port["port"])),
            _ => format!("{}/{protocol}", int(&port["port"])),
        }
    };
    let all: Vec<String> = items(&spec["ports"]).map(one).collect();
    if all.is_empty() { "<none>".into() } else { all.join(",") }
}

fn endpoints(object: &Value) -> String {
    let subsets = &object["subsets"];
    if count(subsets) == 0 {
        return "<none>".into();
    }
    let mut all = Vec::new();
    for subset in items(subsets) {
        let addresses = || items(&subset["addresses"]).map(|address| text(&address["ip"]));
        // A headless service may have no ports.
        if count(&subset["ports"]) == 0 {
            all.extend(addresses().map(str::to_string));
        }
        for port in items(&subset["ports"]) {
            let port = int(&port["port"]);
            all.extend(addresses().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{port}"),
                false => format!("{ip}:{port}"),
            }));
        }
    }
    first_three(&all)
}

/// How many more there are counts the rules without a host too, as the real server does.
fn hosts(rules: &Value) -> String {
    let (mut all, mut more) = (Vec::new(), false);
    for rule in items(rules) {
        more |= all.len() == 3;
        let host = text(&rule["host"]);
        if !more && !host.is_empty() {
            all.push(host);
        }
    }
    match (all.is_empty(), more) {
        (true, _) => "*".into(),
        (_, true) => format!("{} + {} more...", all.join(","), count(rules).saturating_sub(3)),
        _ => all.join(","),
    }
}

fn parameters(value: &Value) -> String {
    if value.is_null() {
        return "<none>".into();
    }
    let (kind, name) = (text(&value["kind"]), text(&value["name"]));
    match value["apiGroup"].as_str() {
        Some(group) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}
