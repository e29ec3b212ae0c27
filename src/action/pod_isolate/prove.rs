//! The collector's part: the control before, the cut, and everything again after.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::PodIsolate;
use super::around::{Around, owned};
use super::reach::{self, Address, Attempt, From};
use super::verdict::{Known, Seen, Verdict, judge};
use crate::action::Done;
use crate::action::collector::{self, BESIDE_RUNG, Handle, State, ask};
use crate::cluster::{Cx, Problem, raw, selector};
use crate::collector::network::model::Connections;
use crate::event::{Label, Method, Op, Proof, Source, Trust};
use crate::evidence::segment;

/// How long containment waits for a collector.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries of the same: nothing tells when a node's rules have changed.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the control plane may take to drop the pod from its Services.
const ENDPOINTS: Duration = Duration::from_secs(5);

/// Who tries, made out of an operation's detail.
struct Crew {
    collector: Handle,
    container_id: String,
    probes: Vec<(String, Handle, bool)>,
    out: Vec<Address>,
    missing: Vec<String>,
}

impl Crew {
    /// Those that run, or do so soon.
    async fn of(cx: &Cx, op: &Op) -> Result<Result<Crew, String>, Problem> {
        let Ok(collector) = serde_json::from_value::<Handle>(op.detail["handle"].clone()) else {
            return Ok(Err(op.detail["why"].as_str().unwrap_or("no collector").to_string()));
        };
        let list = op.detail["probes"].as_array().cloned().unwrap_or_default();
        let probes: Vec<(String, Handle, bool)> = list
            .into_iter()
            .filter_map(|p| {
                let handle = serde_json::from_value(p["handle"].clone()).ok()?;
                Some((p["from"].as_str().unwrap_or_default().to_string(), handle, p["own_node"] == true))
            })
            .collect();
        let ready = collector::ready(cx, &collector, &op.object, PATIENCE);
        let others = futures::future::join_all(
            probes.iter().map(|(_, handle, _)| collector::ready(cx, handle, &op.object, PATIENCE)),
        );
        let (ready, others) = futures::future::join(ready, others).await;
        if let State::Absent(why) = ready? {
            return Ok(Err(why));
        }
        let Some(container_id) =
            collector::target_id(cx, &op.object, op.detail["container"].as_str().unwrap_or_default()).await?
        else {
            return Ok(Err("the container that it would look at does not run any more".into()));
        };
        let mut missing: Vec<String> = texts(&op.detail["missing"]);
        let mut able = Vec::new();
        for (probe, state) in probes.into_iter().zip(others) {
            match state? {
                State::Running => able.push(probe),
                State::Absent(why) => missing.push(format!("no try from {}: {why}", probe.0)),
            }
        }
        let out = serde_json::from_value(op.detail["out"].clone()).unwrap_or_default();
        Ok(Ok(Crew { collector, container_id, probes: able, out, missing }))
    }

    /// Whom the collector looks at; beside the container it shares the network anyway.
    fn inside(&self) -> String {
        if self.collector.on_node() { self.container_id.clone() } else { String::new() }
    }

    async fn connections(&self, cx: &Cx, watch: Duration, options: &[String]) -> Result<Connections, Problem> {
        let watched = watch.as_millis().to_string();
        let mut argv = vec!["connections".to_string(), "--watch-ms".into(), watched];
        if self.collector.on_node() {
            argv.extend(["--container".into(), self.container_id.clone()]);
        }
        argv.extend_from_slice(options);
        ask::ask(cx, &self.collector, watch, argv).await
    }

    /// The places to try from, out of the pod and towards these addresses of it.
    fn places(&self, out: Vec<Address>, inward: &[Address]) -> (Vec<From<'_>>, Vec<From<'_>>) {
        let inside = From { name: String::new(), handle: &self.collector, container: self.inside(), addresses: out };
        let towards = self.probes.iter().map(|(name, handle, own_node)| {
            let addresses = inward.iter().map(|a| Address { own_node: *own_node, ..a.clone() }).collect();
            From { name: name.clone(), handle, container: String::new(), addresses }
        });
        (vec![inside], towards.collect())
    }

    async fn tried(
        &self,
        cx: &Cx,
        timeout_ms: u64,
        out: Vec<Address>,
        inward: &[Address],
    ) -> (Vec<Attempt>, Vec<Attempt>) {
        let (outwards, towards) = self.places(out, inward);
        futures::future::join(reach::tried(cx, &outwards, timeout_ms), reach::tried(cx, &towards, timeout_ms)).await
    }
}

/// The control: what is open, what the pod reaches, who reaches it. Whatever can't be tried does not keep the pod from
/// being cut off.
pub(super) async fn control(with: &PodIsolate, cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let path = path(cx, op, "before");
    let crew = match Crew::of(cx, op).await {
        Ok(Ok(crew)) => crew,
        Ok(Err(why)) => return untried(cx, op, &path, why),
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => return untried(cx, op, &path, problem.to_string()),
    };
    let mut seen = Seen { missing: crew.missing.clone(), ..Seen::default() };
    match crew.connections(cx, Duration::ZERO, &[]).await {
        Ok(found) => seen.connections = Some(found),
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => seen.missing.push(format!("its connections can't be listed: {problem}")),
    }
    let pod = pod(cx, op).await?;
    let inward = seen.connections.as_ref().map(|c| reach::inwards(&pod, &c.listening)).unwrap_or_default();
    (seen.out, seen.inward) = crew.tried(cx, with.timeout_ms, crew.out.clone(), &inward).await;
    put(cx, op, &path, "what was open and what answered before the policy", &crew.collector, &json!(seen))?;
    let open = seen.connections.as_ref().map_or("its connections are not known".into(), |c| match c.open.len() {
        1 => "1 connection is open".to_string(),
        n => format!("{n} connections are open"),
    });
    let answered = |all: &[Attempt]| all.iter().filter(|a| a.answered()).count();
    let detail = format!(
        "{open}; from inside {} of {} addresses answer, towards it {} of {} tries",
        answered(&seen.out),
        seen.out.len(),
        answered(&seen.inward),
        seen.inward.len()
    );
    Ok(Done::taken(detail, None, json!({"open": seen.connections.map(|c| c.open.len())})))
}

fn untried(cx: &Cx, op: &Op, path: &str, why: String) -> Result<Done, Problem> {
    let seen = Seen { missing: vec![why.clone()], ..Seen::default() };
    if let Ok(handle) = serde_json::from_value(op.detail["handle"].clone()) {
        put(cx, op, path, "what was open and what answered before the policy", &handle, &json!(seen))?;
    }
    Ok(Done::told(Proof::Unproved(format!("nothing was tried before the policy: {why}")), Value::Null))
}

/// Ends what is open; again once the policy is seen to hold, for what reconnected before that would live on.
pub(super) async fn cut(with: &PodIsolate, cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let crew = match Crew::of(cx, op).await? {
        Ok(crew) => crew,
        Err(why) => return Ok(not_cut(&why)),
    };
    let mut options = vec!["--cut".to_string()];
    if crew.collector.on_node() {
        options.extend(texts(&op.detail["ips"]).into_iter().flat_map(|ip| ["--forget".into(), ip]));
    }
    options.extend(texts(&op.detail["node_ips"]).into_iter().flat_map(|ip| ["--spare".into(), ip]));
    let first = match crew.connections(cx, Duration::from_millis(200), &options).await {
        Ok(found) => found,
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => return Ok(not_cut(&problem.to_string())),
    };
    let before = earlier(cx, op);
    let control: Vec<Address> =
        before.iter().flat_map(|b| b.countable()).filter(|a| a.from.is_empty()).map(|a| a.to.clone()).collect();
    let begun = Instant::now();
    let settle = Duration::from_secs(with.settle_seconds.min(300));
    let holds = loop {
        let (out, _) = crew.tried(cx, with.timeout_ms, control.clone(), &[]).await;
        if !out.iter().any(Attempt::answered) {
            break true;
        }
        if begun.elapsed() >= settle {
            break false;
        }
        sleep(AGAIN).await;
    };
    let again = crew.connections(cx, Duration::from_millis(300), &options).await?;
    let settled_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    put(
        cx,
        op,
        &path(cx, op, "cut"),
        "what was cut",
        &crew.collector,
        &json!({"first": first, "holds": holds, "settled_ms": settled_ms, "again": again}),
    )?;
    let tried = || first.cut.iter().chain(&again.cut).flat_map(|c| &c.tried);
    let ended = tried().filter(|t| t.outcome != "failed").count();
    let failed: Vec<String> =
        tried().filter_map(|t| t.error.as_ref().map(|e| format!("{} - {}: {e}", t.local, t.remote))).collect();
    let forgotten: usize =
        [&first, &again].into_iter().filter_map(|d| d.cut.as_ref()?.conntrack.as_ref()).map(|c| c.found.len()).sum();
    let left = again.watch.as_ref().map_or(0, |w| w.left.iter().filter(|c| !c.own_node).count());
    let plural = if ended == 1 { "" } else { "s" };
    let mut detail = format!("{ended} connection{plural} ended; the node forgot {forgotten}");
    if let Some(first) = failed.first() {
        detail.push_str(&format!("; {} could not be ended ({first})", failed.len()));
    }
    let observed =
        json!({"ended": ended, "failed": failed.len(), "left": left, "forgotten": forgotten, "holds": holds});
    let proof = if failed.is_empty() && left == 0 {
        Proof::Verified("none was left a moment later".into())
    } else {
        Proof::Unproved(format!("{detail}; {left} open a moment later"))
    };
    Ok(Done::applied(detail, proof, observed))
}

fn not_cut(why: &str) -> Done {
    Done::told(Proof::Unproved(format!("open connections were not cut: {why}")), json!({ "why": why }))
}

/// Everything again, watched, and the word for it.
pub(super) async fn verdict(with: &PodIsolate, cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let now = pod(cx, op).await?;
    let around = Around::read(cx, &now).await?;
    let before = earlier(cx, op);
    let mut known = Known {
        host_network: op.detail["hostNetwork"] == true,
        still_selected_by: around.policies_on(&selector::labels(&now), cx),
        node: texts(&op.detail["node_ips"]),
        not_cut: (op.detail["handle"]["cuts"] != true).then(|| "the collector may not".to_string()),
        ..Known::default()
    };
    let (after, collector) = if known.host_network {
        (None, None)
    } else {
        match Crew::of(cx, op).await {
            Ok(Ok(crew)) => (Some(again(with, cx, op, &crew, before.as_ref()).await?), Some(crew.collector)),
            Ok(Err(why)) => (Some(Seen { missing: vec![why], ..Seen::default() }), None),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => (Some(Seen { missing: vec![problem.to_string()], ..Seen::default() }), None),
        }
    };
    let tried = collector.is_some();
    known.served_by = served_by(cx, op, &now).await;
    let Verdict { word, proof } = if tried || known.host_network {
        judge(before.as_ref(), after.as_ref(), &known)
    } else {
        judge(None, after.as_ref(), &known)
    };
    let controller = controller(cx, op, &now).await;
    if let Some(handle) = &collector {
        let document = json!({"format": 1, "verdict": word, "why": proof.text(), "before": before, "after": after, "still_selected_by": known.still_selected_by, "served_by": known.served_by, "controller": controller});
        put(cx, op, &path(cx, op, "verdict"), "what was shown of the isolation", handle, &document)?;
    }
    let observed = json!({"enforcement": word, "still_selected_by": known.still_selected_by, "controller": controller});
    Ok(Done::told(proof, observed))
}

/// All tries again beside a watch; what still answers is tried until the network has had its time.
async fn again(with: &PodIsolate, cx: &Cx, op: &Op, crew: &Crew, before: Option<&Seen>) -> Result<Seen, Problem> {
    let mut seen = Seen { missing: crew.missing.clone(), ..Seen::default() };
    let inward: Vec<Address> = {
        let mut all: Vec<Address> =
            before.iter().flat_map(|b| &b.inward).map(|a| Address { own_node: false, ..a.to.clone() }).collect();
        all.sort_by(|a, b| a.address.cmp(&b.address));
        all.dedup_by(|a, b| a.address == b.address);
        all
    };
    let out: Vec<Address> = before.map_or_else(|| crew.out.clone(), |b| b.out.iter().map(|a| a.to.clone()).collect());
    let settle = Duration::from_secs(with.settle_seconds.min(300));
    // Where the cut waited for it already, it had its time.
    let waited = op.detail["handle"]["cuts"] == true;
    let begun = Instant::now();
    let tries = async {
        loop {
            let (out, inward) = crew.tried(cx, with.timeout_ms, out.clone(), &inward).await;
            let still = out.iter().chain(&inward).any(|a| a.answered() && !a.to.own_node);
            if !still || begun.elapsed() >= if waited { settle / 5 } else { settle } {
                return (out, inward);
            }
            sleep(AGAIN).await;
        }
    };
    let spared = texts(&op.detail["node_ips"]).into_iter().flat_map(|ip| ["--spare".into(), ip]);
    let (watch, options) = (Duration::from_secs(with.watch_seconds.clamp(1, 60)), spared.collect::<Vec<String>>());
    let (connections, (out, inward)) = futures::future::join(crew.connections(cx, watch, &options), tries).await;
    (seen.out, seen.inward) = (out, inward);
    match connections {
        Ok(found) => seen.connections = Some(found),
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => seen.missing.push(format!("its connections can't be watched: {problem}")),
    }
    Ok(seen)
}

/// Services, of those that selected it, that still have its address.
async fn served_by(cx: &Cx, op: &Op, pod: &Value) -> Vec<String> {
    let services = texts(&op.detail["services"]);
    let ips = reach::addresses(pod, "podIPs");
    if services.is_empty() || ips.is_empty() {
        return Vec::new();
    }
    let namespace = op.object.namespace.as_deref().unwrap_or_default();
    let begun = Instant::now();
    loop {
        // Without the right to list them nothing is claimed: the labels are off, which was read back.
        let Ok((slices, _)) =
            raw::list(&cx.client, &format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")).await
        else {
            return Vec::new();
        };
        let has = |slice: &&Value| {
            let endpoints = slice["endpoints"].as_array().into_iter().flatten();
            endpoints
                .flat_map(|e| e["addresses"].as_array().into_iter().flatten())
                .any(|a| ips.iter().any(|ip| a == ip.as_str()))
        };
        let mut still: Vec<String> = slices
            .iter()
            .filter(has)
            .filter_map(|s| s["metadata"]["labels"]["kubernetes.io/service-name"].as_str())
            .filter(|name| services.iter().any(|s| s == name))
            .map(Into::into)
            .collect();
        if still.is_empty() || begun.elapsed() >= ENDPOINTS {
            still.sort();
            still.dedup();
            return still;
        }
        sleep(AGAIN).await;
    }
}

/// What its controller did, beside what was expected of it.
async fn controller(cx: &Cx, op: &Op, pod: &Value) -> Value {
    let mut found = json!({"expected": op.detail["expected"]});
    let Some(uid) = op.detail["owner"]["uid"].as_str() else { return found };
    let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    let released = !owners.into_iter().any(|o| o["uid"] == uid);
    let namespace = op.object.namespace.as_deref().unwrap_or_default();
    let before = texts(&op.detail["siblings"]);
    let pods = raw::list(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods")).await;
    let new = pods.map(|(pods, _)| {
        let mut new = owned(&pods, uid);
        new.retain(|name| *name != op.object.name && !before.contains(name));
        new
    });
    found["did"] = json!({"let_go": released, "replacements": new.unwrap_or_default()});
    found
}

async fn pod(cx: &Cx, op: &Op) -> Result<Value, Problem> {
    let namespace = op.object.namespace.as_deref().unwrap_or_default();
    raw::get(&cx.client, &format!("/api/v1/namespaces/{namespace}/pods/{}", op.object.name)).await
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}

fn path(cx: &Cx, op: &Op, what: &str) -> String {
    format!("data/{}/{}.{what}.json", segment(&cx.step), segment(&op.object.name))
}

/// What the control found.
fn earlier(cx: &Cx, op: &Op) -> Option<Seen> {
    let seen: Seen = serde_json::from_value(cx.store.read_json(&path(cx, op, "before"))?).ok()?;
    (!seen.out.is_empty() || !seen.inward.is_empty() || seen.connections.is_some()).then_some(seen)
}

fn put(cx: &Cx, op: &Op, path: &str, title: &str, by: &Handle, document: &Value) -> Result<(), Problem> {
    let reason = if by.rung == BESIDE_RUNG {
        "quell's collector tried from an ephemeral container, in the pod's own network namespace"
    } else {
        "quell's collector tried from the node, in the pod's own network namespace; it leaves nothing in the pod"
    };
    let label = Label {
        title: title.into(),
        media_type: "application/json".into(),
        source: Source { object: op.object.clone(), container: None, what: "connections and probes".into() },
        method: Method {
            rung: by.rung.clone(),
            trust: Trust::Collector,
            reason: reason.into(),
            argv: Vec::new(),
            tool: None,
        },
        started: cx.clock.now(),
    };
    cx.store.put_json(path, label, cx.clock, document, Vec::new())?;
    Ok(())
}
