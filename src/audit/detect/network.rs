//! What the log teaches about the network: which addresses are nodes.

use std::collections::HashMap;
use std::net::IpAddr;

use super::gather::Everything;
use super::look::Actor;

/// Addresses of kubelets, by node, each once.
pub(super) fn nodes(everything: &Everything) -> HashMap<String, Vec<String>> {
    let mut nodes: HashMap<String, Vec<String>> = HashMap::new();
    for session in everything.sessions().filter(|s| s.actor == Actor::Node) {
        let Some(name) = session.user.strip_prefix("system:node:") else { continue };
        let addresses = nodes.entry(name.to_owned()).or_default();
        for (address, _) in session.addresses.in_order() {
            if !addresses.iter().any(|a| a == address) {
                addresses.push(address.to_owned());
            }
        }
        addresses.sort();
    }
    nodes
}

/// Whether it is an address of the internet: none of those that are set aside for private use, links, hosts and tests.
///
/// <https://www.iana.org/assignments/iana-ipv4-special-registry/>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry/>
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // 100.64.0.0/10 is what carriers and some clouds give to pods.
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast())
                && !(a == 100 && (64..128).contains(&b))
                && !(a == 198 && (18..20).contains(&b))
                && a < 224
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified())
        }
    }
}
