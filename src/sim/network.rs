//! Which connections NetworkPolicies let through, and networks that only pretend to enforce them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::selector::{map_takes, takes};
use super::store::{Entry, Key};
use super::world::World;

/// How the cluster's network treats policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// New connections are judged; established ones live on, as with most plugins.
    #[default]
    NewConnections,
    /// Established connections are cut too.
    AllConnections,
    /// Policies are accepted and nothing else happens.
    Nothing,
}

/// One end of a connection.
struct Peer {
    namespace: String,
    labels: BTreeMap<String, String>,
    /// None for what is outside the cluster.
    pod: bool,
    address: String,
}

impl World {
    /// Whether a pod may open a TCP connection to `ADDRESS:PORT` (an IP, a Service's name or cluster IP), and why not.
    ///
    /// # Errors
    /// As a client sees it: refused, or timed out where a policy drops the packets.
    pub fn dial(&self, from: &Key, address: &str) -> Result<(), String> {
        let (host, port) = address.rsplit_once(':').ok_or_else(|| format!("{address}: no port"))?;
        let port: u16 = port.parse().map_err(|_| format!("{address}: no port"))?;
        let source = self.store.get(from).ok_or("no such pod")?.clone();
        let mut source = peer(from, &source);
        // With its node's network it is no pod to any policy.
        let on_host = self.store.value(from).filter(|pod| pod["spec"]["hostNetwork"] == true);
        source.pod &= on_host.is_none();
        let (target, port) = self.resolve(&from.namespace, host, port)?;
        let Some(key) = target else {
            // Outside: whoever is there answers.
            let outside = Peer { namespace: String::new(), labels: BTreeMap::new(), pod: false, address: host.into() };
            // Its own node a pod always reaches: Kubernetes, "Network Policies".
            let own_node = self.store.value(from).is_some_and(|pod| pod["status"]["hostIP"] == host);
            return if own_node || self.judged(&source, &outside, port, "Egress") {
                Ok(())
            } else {
                Err("connection timed out".into())
            };
        };
        let entry = self.store.get(&key).ok_or("connection timed out")?.clone();
        let other = peer(&key, &entry);
        let own_node = on_host.is_some_and(|pod| pod["spec"]["nodeName"] == entry.field("spec.nodeName"));
        let allowed = || self.judged(&source, &other, port, "Egress") && self.judged(&other, &source, port, "Ingress");
        // What goes between a pod and its node no policy stops: Kubernetes, "Network Policies".
        if !own_node && !allowed() {
            return Err("connection timed out".into());
        }
        let pod = entry.value();
        let ports = pod["spec"]["containers"].as_array().into_iter().flatten();
        let open = ports
            .flat_map(|c| c["ports"].as_array().into_iter().flatten())
            .any(|p| p["containerPort"].as_u64() == Some(u64::from(port)));
        let runs = entry.field("status.phase") == "Running";
        if open && runs { Ok(()) } else { Err("connection refused".into()) }
    }

    /// The pod behind a name or address (None: outside the cluster), and its port.
    fn resolve(&self, namespace: &str, host: &str, port: u16) -> Result<(Option<Key>, u16), String> {
        let mut names = host.split('.');
        let (name, place) = (names.next().unwrap_or_default(), names.next().unwrap_or(namespace));
        for ((ns, svc), entry) in self.store.list("services", "", None) {
            let service = entry.value();
            let own = service["spec"]["clusterIP"] == host
                || (svc == name && ns == place && host.parse::<std::net::IpAddr>().is_err());
            if !own {
                continue;
            }
            let wanted = service["spec"]["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|p| p["port"].as_u64() == Some(u64::from(port)));
            let Some(wanted) = wanted else { return Err("connection refused".into()) };
            let selector = &service["spec"]["selector"];
            // The API server itself, and whatever else is behind Endpoints of somebody's own: outside.
            if !selector.is_object() {
                return Ok((None, port));
            }
            let ready = self.store.list("pods", ns, None).find(|(_, e)| {
                map_takes(selector, &e.labels)
                    && e.field("status.phase") == "Running"
                    && !e.field("status.podIP").is_empty()
            });
            let Some(((ns, pod), entry)) = ready else { return Err("connection refused".into()) };
            let inside = match &wanted["targetPort"] {
                Value::Number(n) => n.as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(port),
                Value::String(named) => port_named(&entry.value(), named).unwrap_or(port),
                _ => port,
            };
            return Ok((Some(Key::new("pods", ns, pod)), inside));
        }
        let pod = self.store.list("pods", "", None).find(|(_, e)| !host.is_empty() && e.field("status.podIP") == host);
        if let Some(((ns, name), _)) = pod {
            return Ok((Some(Key::new("pods", ns, name)), port));
        }
        if host.parse::<std::net::IpAddr>().is_err() && !host.contains('.') {
            return Err(format!("lookup {host}: no such host"));
        }
        Ok((None, port))
    }

    /// Whether the policies that select `own` let it talk with `other` in that direction.
    fn judged(&self, own: &Peer, other: &Peer, port: u16, direction: &str) -> bool {
        if !own.pod || self.network == Network::Nothing {
            return true;
        }
        let mut selected = false;
        for (_, entry) in self.store.list("networkpolicies.networking.k8s.io", &own.namespace, None) {
            let spec = entry.value()["spec"].clone();
            let selector =
                if spec["podSelector"].is_null() { serde_json::json!({}) } else { spec["podSelector"].clone() };
            let types = spec["policyTypes"].as_array();
            let about = types
                .map_or(direction == "Ingress" || !spec["egress"].is_null(), |all| all.iter().any(|t| t == direction));
            if !about || !takes(&selector, &own.labels) {
                continue;
            }
            selected = true;
            let (rules, peers) = if direction == "Ingress" { ("ingress", "from") } else { ("egress", "to") };
            for rule in spec[rules].as_array().into_iter().flatten() {
                let ports = rule["ports"].as_array().filter(|p| !p.is_empty());
                let port_fits = ports.is_none_or(|all| {
                    all.iter().any(|p| {
                        let first = p["port"].as_u64();
                        let last = p["endPort"].as_u64().or(first);
                        first.is_none() || first <= Some(u64::from(port)) && Some(u64::from(port)) <= last
                    })
                });
                let list = rule[peers].as_array().filter(|p| !p.is_empty());
                if port_fits && list.is_none_or(|all| all.iter().any(|p| self.is_peer(p, &own.namespace, other))) {
                    return true;
                }
            }
        }
        !selected
    }

    fn is_peer(&self, rule: &Value, namespace: &str, other: &Peer) -> bool {
        if let Some(block) = rule["ipBlock"].as_object() {
            let within = |cidr: &str| in_block(&other.address, cidr);
            return block.get("cidr").and_then(Value::as_str).is_some_and(within)
                && !block
                    .get("except")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .any(within);
        }
        if !other.pod {
            return false;
        }
        let namespaces = if rule["namespaceSelector"].is_null() {
            other.namespace == namespace
        } else {
            let key = Key::new("namespaces", "", &other.namespace);
            self.store.get(&key).is_some_and(|ns| takes(&rule["namespaceSelector"], &ns.labels))
        };
        namespaces && (rule["podSelector"].is_null() || takes(&rule["podSelector"], &other.labels))
    }
}

fn peer(key: &Key, entry: &Entry) -> Peer {
    Peer {
        namespace: key.namespace.clone(),
        labels: entry.labels.clone(),
        pod: true,
        address: entry.field("status.podIP").into(),
    }
}

fn port_named(pod: &Value, name: &str) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    let port = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten()).find(|p| p["name"] == name)?;
    port["containerPort"].as_u64().and_then(|n| u16::try_from(n).ok())
}

/// Whether an IPv4 address lies in `10.0.0.0/8`.
fn in_block(address: &str, cidr: &str) -> bool {
    let Some((net, bits)) = cidr.split_once('/') else { return false };
    let (Ok(net), Ok(own), Ok(bits)) =
        (net.parse::<std::net::Ipv4Addr>(), address.parse::<std::net::Ipv4Addr>(), bits.parse::<u32>())
    else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits)).unwrap_or(0);
    u32::from(net) & mask == u32::from(own) & mask
}
