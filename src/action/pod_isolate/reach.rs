//! Who reaches whom: addresses to try out of the pod and into it, and the tries themselves, all at once.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::collector::{Handle, ask};
use crate::cluster::{Cx, Problem, raw};
use crate::collector::network::model::Listening;

/// Ports of the pod that are tried from elsewhere.
const MAX_PORTS: usize = 8;

/// An address to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// `10.0.0.7:443`.
    pub address: String,
    /// What is there, for a person.
    pub what: String,
    /// Its own node: no NetworkPolicy stops what goes between a pod and its node (Kubernetes, "Network Policies").
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_node: bool,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was tried.
    #[serde(flatten)]
    pub to: Address,
    /// From where; empty for the pod itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `connected`, `refused`, `timeout`, `unreachable`, `invalid`, `failed`, or `not-tried`.
    pub outcome: String,
    /// Milliseconds until then.
    #[serde(default)]
    pub ms: u64,
    /// What the system said, or why it was not tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Attempt {
    /// It took the connection. A refusal tells nothing: networks that reject answer in the target's place.
    pub fn answered(&self) -> bool {
        self.outcome == "connected"
    }

    /// It met a wall.
    pub fn stopped(&self) -> bool {
        ["refused", "timeout", "unreachable"].contains(&self.outcome.as_str())
    }

    /// From where to where.
    pub fn way(&self) -> (&str, &str) {
        (&self.from, &self.to.address)
    }

    /// `the API server (10.96.0.1:443)`, `10.1.0.7:80 from a pod on node b`.
    pub fn text(&self) -> String {
        let Address { address, what, .. } = &self.to;
        match (self.from.is_empty(), what.is_empty()) {
            (true, true) => address.clone(),
            (true, false) => format!("{what} ({address})"),
            (false, _) => format!("{address} from {}", self.from),
        }
    }
}

/// One place to try from.
#[derive(Debug, Clone)]
pub struct From<'a> {
    /// For a person; empty for the pod itself.
    pub name: String,
    /// Who tries.
    pub handle: &'a Handle,
    /// The container whose network namespace it tries from; empty for its own.
    pub container: String,
    /// What it tries.
    pub addresses: Vec<Address>,
}

/// Every place tries all of its addresses, at once. A place that can't be asked has tried nothing, and says why.
pub async fn tried(cx: &Cx, places: &[From<'_>], timeout_ms: u64) -> Vec<Attempt> {
    let all = places.iter().map(|place| one(cx, place, timeout_ms));
    futures::future::join_all(all).await.into_iter().flatten().collect()
}

#[derive(Deserialize)]
struct Answer {
    attempts: Vec<crate::collector::network::model::Attempt>,
}

async fn one(cx: &Cx, place: &From<'_>, timeout_ms: u64) -> Vec<Attempt> {
    // From the cluster: what is no address never becomes an argument.
    let sound: Vec<&Address> = place.addresses.iter().filter(|a| a.address.parse::<SocketAddr>().is_ok()).collect();
    if sound.is_empty() {
        return Vec::new();
    }
    let mut argv = vec!["probe".to_string(), "--timeout-ms".into(), timeout_ms.clamp(100, 30_000).to_string()];
    if !place.container.is_empty() {
        argv.extend(["--container".into(), place.container.clone()]);
    }
    argv.extend(sound.iter().map(|a| a.address.clone()));
    let answer: Result<Answer, Problem> = ask::ask(cx, place.handle, Duration::from_millis(timeout_ms), argv).await;
    sound
        .into_iter()
        .map(|to| {
            let base =
                Attempt { to: to.clone(), from: place.name.clone(), outcome: "not-tried".into(), ms: 0, error: None };
            match &answer {
                Ok(answer) => match answer.attempts.iter().find(|a| a.address == to.address) {
                    Some(a) => Attempt { outcome: a.outcome.clone(), ms: a.ms, error: a.error.clone(), ..base },
                    None => Attempt { error: Some("the collector's answer leaves it out".into()), ..base },
                },
                Err(problem) => Attempt { error: Some(problem.message.clone()), ..base },
            }
        })
        .collect()
}

/// What to try from inside the pod, in both families where the cluster has both.
///
/// # Errors
/// A failure that the engine should see; what can't be read otherwise is not tried.
pub async fn outwards(cx: &Cx, pod: &Value, canaries: &[String]) -> Result<Vec<Address>, Problem> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut all: Vec<Address> = Vec::new();
    let mut add =
        |address: String, what: &str, own_node: bool| all.push(Address { address, what: what.into(), own_node });
    for (place, port, what) in
        [("default/services/kubernetes", 443, "the API server"), ("kube-system/services/kube-dns", 53, "DNS")]
    {
        match raw::get(&cx.client, &format!("/api/v1/namespaces/{place}")).await {
            Ok(service) => {
                for ip in texts(&service["spec"]["clusterIPs"]) {
                    add(with_port(ip, port), what, false);
                }
            }
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(_) => {}
        }
    }
    let six = addresses(pod, "podIPs").iter().any(|ip| ip.contains(':'));
    add("169.254.169.254:80".into(), "the metadata address", false);
    if six {
        add("[fd00:ec2::254]:80".into(), "the metadata address", false);
    }
    for ip in addresses(pod, "hostIPs") {
        add(with_port(&ip, 10250), "its node's kubelet", true);
    }
    let (pods, _) = match raw::list(&cx.client, format!("/api/v1/namespaces/{namespace}/pods")).await {
        Ok(pods) => pods,
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(_) => (Vec::new(), false),
    };
    for (address, what) in neighbours(pod, &pods) {
        add(address, &what, false);
    }
    for address in canaries {
        add(address.clone(), "as asked", false);
    }
    Ok(all)
}

/// What to try towards the pod: its addresses, at the ports where it listens, else where it says that it does.
pub fn inwards(pod: &Value, listening: &[Listening]) -> Vec<Address> {
    let mut ports: Vec<(u16, bool)> = listening
        .iter()
        .filter_map(|l| l.address.parse::<SocketAddr>().ok())
        .filter(|a| !a.ip().is_loopback())
        .map(|a| (a.port(), a.is_ipv6()))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let listens = |port: u16, six: bool| {
        // A socket of IPv6 takes IPv4 too, unless it was told otherwise.
        ports.contains(&(port, six)) || ports.contains(&(port, true))
    };
    let mut numbers: Vec<u16> = ports.iter().map(|(port, _)| *port).collect();
    numbers.dedup();
    let ips = addresses(pod, "podIPs");
    let pairs = ips.iter().flat_map(|ip| numbers.iter().take(MAX_PORTS).map(move |port| (ip, *port)));
    pairs
        .filter(|(ip, port)| listens(*port, ip.contains(':')))
        .map(|(ip, port)| Address { address: with_port(ip, port), what: "the pod".into(), own_node: false })
        .collect()
}

/// `status.podIPs` or `status.hostIPs`.
pub fn addresses(pod: &Value, name: &str) -> Vec<String> {
    let mut all: Vec<String> =
        pod["status"][name].as_array().into_iter().flatten().filter_map(|a| a["ip"].as_str()).map(Into::into).collect();
    let single = &pod["status"][name.trim_end_matches('s')];
    all.extend(
        single.as_str().filter(|ip| !all.iter().any(|a| a == ip)).map(String::from).into_iter().collect::<Vec<_>>(),
    );
    all
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).filter(|ip| *ip != "None")
}

/// Up to three other pods of the namespace that listen somewhere, on other nodes first.
fn neighbours(pod: &Value, pods: &[Value]) -> Vec<(String, String)> {
    let mut all: Vec<(bool, String, String)> = pods
        .iter()
        .filter(|p| p["metadata"]["uid"] != pod["metadata"]["uid"] && p["status"]["phase"] == "Running")
        .filter(|p| p["metadata"]["deletionTimestamp"].is_null() && p["spec"]["hostNetwork"] != true)
        .filter_map(|p| {
            let containers = p["spec"]["containers"].as_array()?;
            let ports = containers.iter().flat_map(|c| c["ports"].as_array().into_iter().flatten());
            let port = ports
                .filter(|p| p["protocol"].is_null() || p["protocol"] == "TCP")
                .find_map(|p| p["containerPort"].as_u64())?;
            let address = with_port(p["status"]["podIP"].as_str()?, u16::try_from(port).ok()?);
            let what = format!("pod {}", p["metadata"]["name"].as_str()?);
            Some((p["spec"]["nodeName"] == pod["spec"]["nodeName"], address, what))
        })
        .collect();
    all.sort();
    all.into_iter().take(3).map(|(_, address, what)| (address, what)).collect()
}

/// `10.0.0.7:443`, `[fd00::7]:443`.
pub fn with_port(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tries_pods_that_listen_on_other_nodes_first_and_never_itself() {
        let pod = |uid: &str, node: &str, ip: &str, port: Value| {
            json!({"metadata": {"uid": uid, "name": uid, "namespace": "a"}, "spec": {"nodeName": node, "containers": [{"ports": port}]},
                   "status": {"phase": "Running", "podIP": ip}})
        };
        let own = pod("own", "one", "10.1.0.1", json!([{"containerPort": 80}]));
        let all = [
            own.clone(),
            pod("near", "one", "10.1.0.2", json!([{"containerPort": 80}])),
            pod("far", "two", "10.2.0.2", json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 8080}])),
            pod("deaf", "two", "10.2.0.3", json!([])),
            pod("six", "two", "fd00::2", json!([{"containerPort": 443}])),
        ];
        let tried: Vec<String> = neighbours(&own, &all).into_iter().map(|(address, _)| address).collect();
        assert_eq!(tried, ["10.2.0.2:8080", "[fd00::2]:443", "10.1.0.2:80"]);
    }

    #[test]
    fn only_what_listens_to_others_is_tried_in_its_family() {
        let pod = json!({"status": {"podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}]}});
        let listening: Vec<Listening> = ["0.0.0.0:80", "[::]:90", "127.0.0.1:70", "[::1]:60"]
            .map(|address| Listening { address: address.into(), process: None })
            .into();
        let tried: Vec<String> = inwards(&pod, &listening).into_iter().map(|a| a.address).collect();
        assert_eq!(tried, ["10.1.0.1:80", "10.1.0.1:90", "[fd00::1]:90"]);
        assert!(inwards(&pod, &[]).is_empty());
    }
}
