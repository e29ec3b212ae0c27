//! `pod.probe`: what the pod can reach, tried from inside it; once before a policy and once after.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::collector_beside::{self as collector, Offer, State};
use super::{Action, Conclusion, Done, Kind, Rule, Scope, Spec, StepPlan};
use crate::cluster::exec::{self, Limits, Listener, Place};
use crate::cluster::{Cx, Problem, raw, target};
use crate::collector::wire::{self, Item};
use crate::event::{Label, Landed, Method, ObjectRef, Op, Proof, Source, Trust};
use crate::evidence::segment;

/// Seconds that the collector may take to start: containment waits for it. A capture later waits longer.
const PATIENCE: u64 = 15;
/// Bytes of an answer: a few hundred attempts are far below.
const MAX_ANSWER: usize = 1 << 20;
/// What the address of the pod's own node is for.
const NODE: &str = "its node's kubelet";
const LIMITS: Limits = Limits { idle: Duration::from_secs(70), total: Duration::from_secs(120) };

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodProbe {
    /// The pod's name.
    pod: String,
    /// Its namespace; the namespace in force when absent.
    namespace: Option<String>,
    /// Its UID, as recorded; a pod of the same name with another UID is refused.
    uid: Option<String>,
    /// Image of quell's collector, by digest: only it is trusted to try. Without one nothing is tried, and that is said.
    collector_image: Option<String>,
    /// More addresses to try, `IP:PORT`: a canary outside the cluster.
    #[serde(default)]
    to: Vec<String>,
    /// Milliseconds until an attempt counts as blocked.
    #[serde(default = "patience")]
    timeout_ms: u64,
    /// Seconds that the network may take to carry a policy out: with `control`, what still answers is tried again until
    /// then.
    #[serde(default = "settling")]
    settle_seconds: u64,
    /// The outputs of the probe before the policy: the same addresses are tried again, and compared.
    control: Option<Value>,
    /// Seconds after which the collector ends by itself.
    #[serde(default = "hour")]
    ttl_seconds: u64,
}

fn patience() -> u64 {
    2_000
}

fn settling() -> u64 {
    10
}

fn hour() -> u64 {
    3_600
}

impl Kind for PodProbe {
    const SPEC: Spec = Spec {
        name: "pod.probe",
        summary: "Try from inside a pod what it can reach, and compare with an earlier try",
        description: "Quell's collector opens TCP connections from the pod's own network namespace, all at once, and sends nothing \
            over them: to the API server, DNS, the metadata address, the pod's node, other pods of the namespace, and addresses of \
            your own. Without `control` it only records what answered. With the outputs of a probe before the policy as `control` it \
            tries the same again: what still answers refutes the isolation; what answered and no longer does shows that new \
            outgoing connections are stopped. Connections that were open already, and those towards the pod, it does not try.",
        risk: crate::event::Risk::Low,
        undo: "can't be taken back: an ephemeral container stays in the pod's spec; its process ends by itself",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "pods",
                verbs: &["get", "list", "watch"],
                scope: Scope::Target,
                why: "its address, and pods to try",
                optional: false,
            },
            collector::START,
            Rule {
                group: "",
                resource: "pods/exec",
                verbs: &["get", "create"],
                scope: Scope::Target,
                why: "asking the collector to try",
                optional: false,
            },
            Rule {
                group: "",
                resource: "services",
                verbs: &["get"],
                scope: Scope::Cluster,
                why: "the addresses of the API server and of DNS",
                optional: true,
            },
        ],
        example: "id: reach\ntitle: Try what the pod can reach, before it is cut off\nuses: pod.probe\nwith:\n  pod: ${{ inputs.pod }}\n  collector-image: registry.example/quell/collector@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
        outputs: &[
            ("attempts", "a list of {address, what, outcome, ms}"),
            ("reached", "addresses that answered"),
            ("verdict", "recorded, stopped, partial, not-enforced or unknown"),
        ],
    };
}

#[async_trait]
impl Action for PodProbe {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan { outputs: untried(), ..StepPlan::default() };
        for address in self.to.iter().filter(|a| a.parse::<SocketAddr>().is_err()) {
            plan.blockers.push(format!("to: {address:?} is no IP:PORT"));
        }
        let namespace = self.namespace.as_deref().unwrap_or(&cx.namespace);
        let found = target::pod(&cx.client, namespace, &self.pod, self.uid.as_deref()).await?;
        let object = target::object(&found);
        let pod = raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{}", object.name)).await?;
        let running = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|s| s["state"]["running"].is_object());
        let image = self.collector_image.as_deref().unwrap_or_default();
        let offer = match running.and_then(|s| s["name"].as_str()) {
            Some(container) => collector::offer(cx, &object, &pod, container, image, self.ttl_seconds).await?,
            None => Offer::Absent("none of its containers runs".into()),
        };
        let (name, why) = match offer {
            Offer::Start(mut op) => {
                op.detail["patience_seconds"] = json!(PATIENCE);
                let name = op.detail["name"].clone();
                plan.ops.push(*op);
                (name, String::new())
            }
            Offer::Runs(name) => (json!(name), String::new()),
            Offer::Absent(why) => (Value::Null, why),
        };
        let addresses = match &self.control {
            Some(control) => control["attempts"].as_array().cloned().unwrap_or_default(),
            None => self.addresses(cx, &pod).await?,
        };
        if !why.is_empty() {
            plan.warnings.push(format!("nothing will be tried: {why}"));
        }
        let what = match (&self.control, addresses.len()) {
            // Before the first probe has run there is nothing to count.
            (Some(_), 0) => "try the addresses of the earlier probe again, and compare".to_string(),
            (Some(_), n) => format!("try the {n} addresses of the earlier probe again, and compare"),
            (None, n) => format!("try {n} addresses from inside the pod"),
        };
        let mut op = Op::observe(object, what);
        op.verb = "exec".into();
        op.detail =
            json!({"name": name, "why": why, "container": running.map(|s| s["name"].clone()), "addresses": addresses});
        plan.ops.push(op);
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if op.detail["kind"] == "collector" {
            return collector::start(cx, op).await;
        }
        if let State::Absent(why) = collector::usable(cx, op).await? {
            let proof = Proof::Unproved(format!("nothing was tried from inside the pod: {why}"));
            return Ok(Done::told(proof, untried()));
        }
        let (attempts, took) = match self.tried(cx, op).await {
            Ok(tried) => tried,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                let proof = Proof::Unproved(format!("the probes gave no answer: {problem}"));
                return Ok(Done::told(proof, untried()));
            }
        };
        let verdict = self.judge(&attempts);
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let path = format!("data/{}/probes.json", segment(&cx.step));
        if cx.store.adopt(&path).is_none() {
            let document = json!({"attempts": attempts, "control": self.control.as_ref().map(|c| &c["attempts"]), "verdict": verdict.0, "settled_after_ms": took_ms});
            cx.store.put_json(&path, label(cx, op), cx.clock, &document, Vec::new())?;
        }
        let observed = json!({"attempts": attempts, "reached": reached(&attempts), "verdict": verdict.0});
        Ok(Done::told(verdict.1, observed))
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        if op.detail["kind"] == "collector" { collector::landed(cx, op).await } else { Ok((Landed::No, None)) }
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let outputs = done.last().map_or_else(|| plan_outputs.clone(), |(_, d)| d.observed.clone());
        let mut end = Conclusion::of(outputs, done);
        if let Some((_, last)) = done.last() {
            end.summary.clone_from(&last.detail);
        }
        end
    }
}

impl PodProbe {
    /// The attempts, and how long it took until no more changed: a network carries a policy out when it gets to it.
    async fn tried(&self, cx: &Cx, op: &Op) -> Result<(Vec<Value>, Duration), Problem> {
        let begun = tokio::time::Instant::now();
        let most = Duration::from_secs(self.settle_seconds.min(300));
        loop {
            let attempts = ask(cx, op, self.timeout_ms).await?;
            let took = begun.elapsed();
            if self.control.is_none() || self.judge(&attempts).0 != "not-enforced" || took >= most {
                return Ok((attempts, took));
            }
            // Nothing tells when the node's rules have changed: it is asked again.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// What to try: {address, what}.
    async fn addresses(&self, cx: &Cx, pod: &Value) -> Result<Vec<Value>, Problem> {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let mut all: Vec<(String, String)> = Vec::new();
        for (place, port, what) in
            [("default/services/kubernetes", 443, "the API server"), ("kube-system/services/kube-dns", 53, "DNS")]
        {
            match raw::get(&cx.client, &format!("/api/v1/namespaces/{place}")).await {
                Ok(service) => {
                    let addresses = service["spec"]["clusterIPs"].as_array().into_iter().flatten();
                    all.extend(addresses.filter_map(Value::as_str).map(|ip| (with_port(ip, port), what.to_string())));
                }
                Err(problem) if cx.passes_on(&problem) => return Err(problem),
                Err(_) => {}
            }
        }
        all.push(("169.254.169.254:80".into(), "the metadata address".into()));
        if let Some(node) = pod["status"]["hostIP"].as_str() {
            all.push((with_port(node, 10250), NODE.into()));
        }
        let (pods, _) = match raw::list(&cx.client, format!("/api/v1/namespaces/{namespace}/pods")).await {
            Ok(pods) => pods,
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(_) => (Vec::new(), false),
        };
        all.extend(neighbours(pod, &pods));
        all.extend(self.to.iter().map(|a| (a.clone(), "as asked".to_string())));
        Ok(all.into_iter().map(|(address, what)| json!({"address": address, "what": what})).collect())
    }

    /// What the attempts mean.
    fn judge(&self, attempts: &[Value]) -> (&'static str, Proof) {
        let now = reached(attempts);
        let Some(control) = &self.control else {
            let names = if now.is_empty() { "none answered".to_string() } else { now.join(", ") };
            let text = format!("{} of {} addresses answered from inside the pod: {names}", now.len(), attempts.len());
            return ("recorded", Proof::Verified(text));
        };
        let before = reached(control["attempts"].as_array().into_iter().flatten());
        let (node, elsewhere): (Vec<&Value>, Vec<&Value>) = attempts.iter().partition(|a| a["what"] == NODE);
        let (node, elsewhere) = (reached(node), reached(elsewhere));
        if !elsewhere.is_empty() {
            let text = format!(
                "not enforced: from inside the pod {} still answered, {} s after",
                elsewhere.join(", "),
                self.settle_seconds
            );
            return ("not-enforced", Proof::Refuted(text));
        }
        // "Traffic to and from the node where a Pod is running is always allowed": Kubernetes, Network Policies.
        let before: Vec<String> = before.into_iter().filter(|a| !node.contains(a)).collect();
        if before.is_empty() {
            let text =
                "nothing that a policy can stop answered before either: that it does not answer now shows nothing"
                    .to_string();
            return ("unknown", Proof::Unproved(text));
        }
        // Only what was tried again and met a wall counts as stopped.
        let walls = ["refused", "timeout", "unreachable"];
        let met = |a: &String| {
            attempts.iter().any(|t| t["address"] == a.as_str() && walls.iter().any(|w| t["outcome"] == *w))
        };
        let open: Vec<String> = before.iter().filter(|a| !met(a)).cloned().collect();
        if !open.is_empty() {
            let text = format!(
                "what became of {} is not known: it answered before, and the second try says nothing of it",
                open.join(", ")
            );
            return ("unknown", Proof::Unproved(text));
        }
        let text = format!(
            "new outgoing connections are stopped: {0} of {0} addresses that answered before no longer do ({1}); open connections \
             and those towards the pod were not tried",
            before.len(),
            before.join(", ")
        );
        if !node.is_empty() {
            let text =
                format!("its own node still answers ({}), which no NetworkPolicy stops; else {text}", node.join(", "));
            return ("partial", Proof::Unproved(text));
        }
        ("stopped", Proof::Verified(text))
    }
}

/// The outputs as long as nothing was tried.
fn untried() -> Value {
    json!({"attempts": [], "reached": [], "verdict": "unknown"})
}

/// Addresses that took a connection. A refusal tells nothing: networks that reject answer in the target's place.
fn reached<'a>(attempts: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    attempts
        .into_iter()
        .filter(|a| a["outcome"] == "connected")
        .filter_map(|a| a["address"].as_str().map(str::to_string))
        .collect()
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

fn with_port(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// The collector's attempts, each with what it was for.
async fn ask(cx: &Cx, op: &Op, timeout_ms: u64) -> Result<Vec<Value>, Problem> {
    let wanted = op.detail["addresses"].as_array().cloned().unwrap_or_default();
    let place = Place {
        namespace: op.object.namespace.as_deref().unwrap_or_default(),
        pod: &op.object.name,
        container: op.detail["name"].as_str().unwrap_or_default(),
    };
    let mut answer = Answer { reader: wire::Reader::new(), data: Vec::new(), whole: false, acknowledge: false };
    let ended = exec::exec(&cx.client, place, &argv(op, timeout_ms), LIMITS, &mut answer).await;
    if !answer.whole {
        let why = match ended {
            Ok(ended) => format!("the answer was cut: {ended}"),
            Err(problem) => return Err(problem),
        };
        return Err(Problem::new(crate::cluster::Fault::Transient, why));
    }
    let document: Value = serde_json::from_slice(&answer.data)
        .map_err(|e| Problem::failed(format!("the collector's answer is no JSON: {e}")))?;
    let attempts = document["attempts"].as_array().cloned().unwrap_or_default();
    Ok(attempts
        .into_iter()
        .map(|mut attempt| {
            let known = wanted.iter().find(|w| w["address"] == attempt["address"]);
            attempt["what"] = known.map(|w| w["what"].clone()).unwrap_or_default();
            attempt
        })
        .collect())
}

fn argv(op: &Op, timeout_ms: u64) -> Vec<String> {
    let mut argv: Vec<String> = ["/quell-collector", "probe", "--timeout-ms"].map(String::from).into();
    argv.push(timeout_ms.clamp(100, 30_000).to_string());
    let addresses = op.detail["addresses"].as_array().into_iter().flatten();
    // From the cluster: what is no address never becomes an argument.
    argv.extend(
        addresses.filter_map(|a| a["address"].as_str()).filter(|a| a.parse::<SocketAddr>().is_ok()).map(String::from),
    );
    argv
}

fn label(cx: &Cx, op: &Op) -> Label {
    Label {
        title: "what answered from inside the pod".into(),
        media_type: "application/json".into(),
        source: Source { object: ObjectRef::clone(&op.object), container: None, what: "probes".into() },
        method: Method {
            rung: "ephemeral-container".into(),
            trust: Trust::Collector,
            reason: "quell's collector tried from the pod's network namespace".into(),
            argv: Vec::new(),
            tool: None,
        },
        started: cx.clock.now(),
    }
}

/// The collector's one document.
struct Answer {
    reader: wire::Reader,
    data: Vec<u8>,
    whole: bool,
    acknowledge: bool,
}

impl Listener for Answer {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let Answer { reader, data, whole, acknowledge } = self;
        reader
            .push(bytes, &mut |item| {
                match item {
                    Item::Data(more) if data.len() + more.len() > MAX_ANSWER => {
                        return Err("it is too long".to_string());
                    }
                    Item::Data(more) => data.extend_from_slice(more),
                    Item::Trailer(_) => {
                        *whole = true;
                        *acknowledge = true;
                    }
                    Item::Hello(_) | Item::Note(_) => {}
                }
                Ok(())
            })
            .map_err(|why| Problem::failed(format!("the collector's answer: {why}")))
    }

    fn reply(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.acknowledge).then_some(wire::ACKNOWLEDGED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(control: Option<Value>) -> PodProbe {
        let mut with = json!({"pod": "web"});
        if let Some(control) = control {
            with["control"] = control;
        }
        serde_json::from_value(with).unwrap()
    }

    fn attempts(outcomes: &[(&str, &str)]) -> Vec<Value> {
        outcomes.iter().map(|(address, outcome)| json!({"address": address, "outcome": outcome})).collect()
    }

    #[test]
    fn what_still_answers_refutes_and_silence_alone_proves_nothing() {
        let open = attempts(&[("10.0.0.1:443", "connected"), ("10.0.0.2:80", "refused"), ("10.0.0.3:80", "timeout")]);
        let shut = attempts(&[("10.0.0.1:443", "timeout"), ("10.0.0.2:80", "refused"), ("10.0.0.3:80", "timeout")]);
        let leaky = attempts(&[("10.0.0.1:443", "connected"), ("10.0.0.2:80", "timeout")]);
        let with_node = vec![json!({"address": "192.0.2.1:10250", "outcome": "connected", "what": NODE})];
        let control = |all: &[Value]| Some(json!({ "attempts": all }));
        for (control, now, verdict) in [
            (None, &open, "recorded"),
            (control(&open), &shut, "stopped"),
            (control(&open), &leaky, "not-enforced"),
            (control(&with_node), &with_node, "unknown"),
            (control(&[&open[..], &with_node[..]].concat()), &[&shut[..], &with_node[..]].concat(), "partial"),
            (control(&shut), &shut, "unknown"),
            // An answer that leaves out what mattered, or failed for a reason of its own.
            (control(&open), &Vec::new(), "unknown"),
            (control(&open), &attempts(&[("10.0.0.1:443", "failed")]), "unknown"),
            (control(&[]), &shut, "unknown"),
        ] {
            assert_eq!(probe(control).judge(now).0, verdict);
        }
    }

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
}
