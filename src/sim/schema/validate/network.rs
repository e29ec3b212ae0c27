//! NetworkPolicies, Endpoints and EndpointSlices.
use serde_json::{Value, json};

use super::super::field::{Causes, Path, int, items, text};
use super::super::metadata::selector;
use super::super::names;
use super::addresses::{self, check_cidr, check_remote, strictly_within};

/// A NetworkPolicy, but for its metadata.
pub(super) fn policy(policy: &Value, causes: &mut Causes) {
    let (spec, path) = (&policy["spec"], Path::new("spec"));
    selector(&spec["podSelector"], &path.child("podSelector"), causes);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (i, rule) in items(&spec[direction]).iter().enumerate() {
            let at = path.child(direction).index(i);
            for (j, port) in items(&rule["ports"]).iter().enumerate() {
                policy_port(port, &at.child("ports").index(j), causes);
            }
            for (j, peer) in items(&rule[peers]).iter().enumerate() {
                policy_peer(peer, &at.child(peers).index(j), causes);
            }
        }
    }
    let types = items(&spec["policyTypes"]);
    if types.len() > 2 {
        let detail = "may not specify more than two policyTypes";
        causes.invalid(&path.child("policyTypes"), &spec["policyTypes"], detail);
        return;
    }
    for (i, one) in types.iter().enumerate() {
        causes.one_of(&path.child("policyTypes").index(i), one, &["Ingress", "Egress"]);
    }
}

fn policy_port(port: &Value, path: &Path, causes: &mut Causes) {
    if !text(&port["protocol"]).is_empty() {
        causes.one_of(&path.child("protocol"), &port["protocol"], &["TCP", "UDP", "SCTP"]);
    }
    let (number, end, at) = (&port["port"], &port["endPort"], path.child("endPort"));
    if number.is_null() {
        if !end.is_null() {
            causes.invalid(&at, end, "may not be specified when `port` is not specified");
        }
        return;
    }
    super::probe::port(number, &path.child("port"), causes);
    if end.is_null() {
        return;
    }
    if number.is_string() {
        causes.invalid(&at, end, "may not be specified when `port` is non-numeric");
        return;
    }
    if int(end) < int(number) {
        causes.invalid(&at, number, "must be greater than or equal to `port`");
    }
    if let Some(complaint) = names::port_number(int(end)) {
        causes.invalid(&at, end, complaint);
    }
}

fn policy_peer(peer: &Value, path: &Path, causes: &mut Causes) {
    let mut given = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if !peer[key].is_null() {
            given += 1;
            selector(&peer[key], &path.child(key), causes);
        }
    }
    let (block, at) = (&peer["ipBlock"], path.child("ipBlock"));
    if !block.is_null() {
        let cidr = text(&block["cidr"]);
        if cidr.is_empty() {
            causes.required(&at.child("cidr"), "");
        } else if let Some(outer) = check_cidr(cidr, &at.child("cidr"), causes) {
            for (i, except) in items(&block["except"]).iter().map(text).enumerate() {
                let at = at.child("except").index(i);
                if let Some(inner) = check_cidr(except, &at, causes)
                    && !strictly_within(inner, outer)
                {
                    causes.invalid_text(&at, except, "must be a strict subset of `cidr`");
                }
            }
        }
        if given > 0 {
            causes.forbidden(path, "may not specify both ipBlock and another peer");
        }
        given += 1;
    }
    if given == 0 {
        causes.required(path, "must specify a peer");
    }
}

/// Endpoints, but for their metadata.
pub(super) fn endpoints(endpoints: &Value, causes: &mut Causes) {
    for (i, subset) in items(&endpoints["subsets"]).iter().enumerate() {
        let path = Path::new("subsets").index(i);
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|key| items(&subset[*key]).is_empty()) {
            causes.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for key in lists {
            for (j, address) in items(&subset[key]).iter().enumerate() {
                let (ip, at) = (text(&address["ip"]), path.child(key).index(j).child("ip"));
                check_remote(ip, &at, causes);
                if addresses::ip(ip).is_none() {
                    causes.invalid_text(&at, ip, "must be a valid IP address");
                }
            }
        }
        let ports = items(&subset["ports"]);
        for (j, port) in ports.iter().enumerate() {
            let (name, at) = (text(&port["name"]), path.child("ports").index(j));
            if !name.is_empty() {
                causes.invalid_texts(&at.child("name"), name, names::label(name));
            } else if ports.len() > 1 {
                causes.required(&at.child("name"), "");
            }
            if let Some(complaint) = names::port_number(int(&port["port"])) {
                causes.invalid(&at.child("port"), &int(&port["port"]).into(), complaint);
            }
            causes.one_of(&at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        }
    }
}

/// An EndpointSlice, but for its metadata.
pub(super) fn slice(slice: &Value, old: Option<&Value>, causes: &mut Causes) {
    let (kind, at) = (text(&slice["addressType"]), Path::new("addressType"));
    if let Some(old) = old
        && old["addressType"] != slice["addressType"]
    {
        causes.immutable(&at, &slice["addressType"], &old["addressType"]);
        return;
    }
    match kind {
        "" => causes.required(&at, ""),
        "IPv4" | "IPv6" | "FQDN" => {}
        _ => causes.not_supported(&at, &json!(kind), &["FQDN", "IPv4", "IPv6"]),
    }
    for (i, port) in items(&slice["ports"]).iter().enumerate() {
        let (name, at) = (text(&port["name"]), Path::new("ports").index(i));
        if !name.is_empty() {
            causes.invalid_texts(&at.child("name"), name, names::label(name));
        }
        causes.one_of(&at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
    for (i, endpoint) in items(&slice["endpoints"]).iter().enumerate() {
        let at = Path::new("endpoints").index(i).child("addresses");
        let all = items(&endpoint["addresses"]);
        if all.is_empty() {
            causes.required(&at, "must contain at least 1 address");
        }
        for (j, address) in all.iter().map(text).enumerate() {
            match (kind, addresses::ip(address)) {
                ("IPv4", Some(ip)) if !ip.is_ipv4() => causes.invalid_text(&at, address, "must be an IPv4 address"),
                ("IPv6", Some(ip)) if !ip.is_ipv6() => causes.invalid_text(&at, address, "must be an IPv6 address"),
                ("FQDN", _) => causes.invalid_texts(&at.index(j), address, names::subdomain(address)),
                _ => {}
            }
            if matches!(kind, "IPv4" | "IPv6") {
                check_remote(address, &at.index(j), causes);
            }
        }
    }
}
