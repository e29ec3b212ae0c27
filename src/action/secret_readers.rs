//! `secret.readers`: who read a Secret, and from where, by the API server's audit log. A list or a watch of its namespace,
//! or of the cluster, reads it too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::audit_findings::{self, Answered, Around};
use super::audit_reading::{self, Log, day, five_minutes};
use super::secret_consumers::workloads::not_read;
use super::secret_of::Of;
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::audit::detect::{Detectors, Looking};
use crate::audit::{self, Answer, Event, Query, Wanted};
use crate::clock;
use crate::cluster::{Cx, raw};
use crate::event::{Artifact, ObjectRef, Op, Proof, Risk};
use crate::evidence::segment;

/// What carries the value to whoever asked: the answer to a write has the whole object.
const READS: [&str; 5] = ["get", "list", "watch", "update", "patch"];
/// Different readers that are told apart.
const MAX_READERS: usize = 10_000;

/// Parameters of `secret.readers`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretReaders {
    /// The outputs of a `secret.consumers` step: which Secret it is.
    of: Value,
    /// How far to look back, in seconds, at most 366 days. Default: 24 hours.
    #[serde(default = "day")]
    window: u64,
    /// Files or folders of the API server's audit log on this machine. Without any, the step says that nothing is known.
    #[serde(default)]
    audit_log: Vec<String>,
    /// Silence of every user for longer than this, in seconds, counts as a gap. Default: 300.
    #[serde(default = "five_minutes")]
    gap: u64,
}

impl Kind for SecretReaders {
    const SPEC: Spec = Spec {
        name: "secret.readers",
        summary: "Finds who read the Secret and from where in the audit log, inside and outside the cluster",
        description: "Reads the API server's audit log from files on this machine, packed or not, in one pass and bounded memory. A get of the Secret counts, and each list and watch of its namespace or the whole \
            cluster, for they carry the values. Each reader is one of user, address and program, with the first and last \
            time; an address is told to be inside where it is a node's or lies in a node's pod network. Kubelets and quell \
            itself are told apart. What the detections find in these reads comes with what to do and the command of the runbook \
            that answers it. States the time covered and gaps: where the log is silent, nothing is claimed.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[Rule {
            group: "",
            resource: "nodes",
            verbs: &["list"],
            scope: Scope::Cluster,
            why: "to tell addresses inside the cluster from others",
            optional: true,
        }],
        example: "id: audit\ntitle: Who read it\nuses: secret.readers\nwith:\n  of: ${{ steps.consumers.outputs }}\n  audit-log: [/var/log/kubernetes/audit.log]\n",
        outputs: &[
            ("reads", "number of reads in the window; null when no log was given"),
            ("outside", "number of reads from outside the cluster"),
            ("addresses", "addresses of readers that are no kubelet and not quell"),
            ("users", "their users"),
            ("covered", "whether the log covers the whole window without gap or damage"),
            audit_findings::OUTPUTS[0],
            audit_findings::OUTPUTS[1],
            audit_findings::OUTPUTS[2],
            audit_findings::OUTPUTS[3],
            audit_findings::OUTPUTS[4],
            ("slice", "path of the artifact with the requests, null without a log"),
            ("summary", "path of the artifact with the readers, null without a log"),
        ],
    };
}

/// A reader, as far as one is told from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    user: String,
    by: Option<String>,
    address: String,
    agent: String,
}

#[derive(Default)]
struct Reads {
    verbs: BTreeMap<String, u64>,
    denied: u64,
    first: Option<OffsetDateTime>,
    last: Option<OffsetDateTime>,
}

/// Node addresses and pod networks, to tell inside from outside.
#[derive(Default)]
struct Inside {
    nodes: BTreeMap<IpAddr, String>,
    networks: Vec<(IpAddr, u8)>,
    known: bool,
}

impl Inside {
    async fn of(cx: &Cx) -> Result<Inside, Problem> {
        let mut inside = Inside { known: true, ..Inside::default() };
        let mut left = Vec::new();
        let listed = raw::each(&cx.client, "/api/v1/nodes", 500, |node: Value| {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            for address in node["status"]["addresses"].as_array().into_iter().flatten() {
                if let Some(ip) = address["address"].as_str().and_then(|a| a.parse().ok()) {
                    inside.nodes.insert(ip, name.into());
                }
            }
            for cidr in node["spec"]["podCIDRs"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if let Some((ip, bits)) = cidr.split_once('/')
                    && let (Ok(ip), Ok(bits)) = (ip.parse(), bits.parse())
                {
                    inside.networks.push((ip, bits));
                }
            }
        })
        .await;
        not_read(cx, listed, "nodes", &mut left)?;
        inside.known = left.is_empty();
        Ok(inside)
    }

    /// Where an address is, in words; None: outside.
    fn place(&self, text: &str) -> Option<String> {
        let ip: IpAddr = text.parse().ok()?;
        if ip.is_loopback() {
            return Some("the API server's own machine".into());
        }
        if let Some(node) = self.nodes.get(&ip) {
            return Some(format!("node {node}"));
        }
        self.networks.iter().any(|(net, bits)| within(ip, *net, *bits)).then(|| "a pod".into())
    }
}

fn within(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let ((a, width), (b, other)) = (number(ip), number(net));
    width == other && bits <= width && (bits == 0 || (a ^ b) >> (128 - u32::from(bits)) == 0)
}

/// What the pass over the files gives.
struct Pass {
    readers: BTreeMap<Who, Reads>,
    /// The requests as the log has them, without their bodies.
    slice: Vec<Vec<u8>>,
    /// Readers beyond [`MAX_READERS`].
    beyond: u64,
    events: u64,
    doubts: Vec<String>,
    /// As [`audit_findings::put`] gives them.
    found: Value,
}

fn pass(cx: &Cx, log: &Log, secret: Wanted, object: &ObjectRef, findings: &str) -> Result<Pass, Problem> {
    let query = Query { objects: vec![secret], verbs: READS.map(String::from).into(), ..Query::default() };
    let detectors = Detectors::all();
    let ours = |event: &Event<'_>| query.matches(event);
    let looking = Looking::of(&detectors, Some(&ours));
    let (mut scan, left) = log.read(cx, &query, &looking)?;
    let report = looking.report(std::mem::take(&mut scan.seen));
    let answer = Answer::of(&scan, &query, &left);
    let (doubts, coverage) = (answer.doubts(), answer.json());
    // Rotating it is what this step's runbook does.
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let answered =
        Answered { runbook: "exposed-secret", inputs: vec![("namespace", namespace), ("secret", &object.name)] };
    let around = Around { asked: &query.json(), coverage: &coverage, answered: Some(answered) };
    let found = audit_findings::put(cx, findings, log, object, &scan, &report, &around)?;
    let mut pass =
        Pass { readers: BTreeMap::new(), slice: Vec::new(), beyond: 0, events: scan.events(), doubts, found };
    for request in std::mem::take(&mut scan.requests) {
        let (who, verb, denied) = scan.originals.event(&request, |event| {
            let by = event.impersonated.as_ref().map(|_| event.user.username.to_string());
            let who = Who {
                user: event.effective_user().username.to_string(),
                by,
                // Only the last is not the client's own word (kubernetes#87167).
                address: event.source_ips.last().map(ToString::to_string).unwrap_or_default(),
                agent: event.user_agent.chars().take(200).collect(),
            };
            let denied = event.allowed() == Some(false) || event.code.is_some_and(|code| code >= 400);
            (who, event.verb.to_string(), denied)
        })?;
        let (_, mut bare) = scan.originals.value(&request)?;
        if let Some(map) = bare.as_object_mut() {
            // Bodies hold the values.
            map.remove("requestObject");
            map.remove("responseObject");
        }
        pass.slice.push(bare.to_string().into_bytes());
        if pass.readers.len() >= MAX_READERS && !pass.readers.contains_key(&who) {
            pass.beyond += 1;
            continue;
        }
        let received = request.received();
        let known = pass.readers.entry(who).or_default();
        known.denied += u64::from(denied);
        *known.verbs.entry(verb).or_default() += 1;
        known.first = Some(known.first.map_or(received, |t| t.min(received)));
        known.last = Some(known.last.map_or(received, |t| t.max(received)));
    }
    Ok(pass)
}

#[async_trait]
impl Action for SecretReaders {
    async fn plan(&self, _cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let of = match Of::read(&self.of) {
            Ok(of) => of,
            Err(why) => {
                plan.blockers.push(why);
                return Ok(plan);
            }
        };
        if self.window == 0 || self.window > 366 * 86_400 {
            plan.blockers.push(format!("`window` must be between a second and 366 days, not {} s", self.window));
        }
        let paths = self.paths();
        let summary = if paths.is_empty() {
            plan.warnings.push(format!("no audit log was given: who read {} will not be known", of.object()));
            format!("say that who read {} is not known: no audit log was given", of.object())
        } else {
            match audit::find(&paths) {
                Ok((files, left)) => {
                    for left in left {
                        let text = format!("{} is not read: {}", left.path.display(), left.why);
                        if left.named { plan.blockers.push(text) } else { plan.warnings.push(text) }
                    }
                    if files.is_empty() {
                        plan.blockers.push("`audit-log` holds no file to read".into());
                    }
                }
                Err(problem) => plan.blockers.push(problem.message),
            }
            format!("look who read {} in the {} h before now, and from where", of.object(), self.window.div_ceil(3600))
        };
        plan.ops.push(Op::observe(of.object(), summary));
        plan.outputs = json!({
            "reads": null, "outside": null, "addresses": [], "users": [], "covered": false, "slice": null, "summary": null,
        });
        audit_findings::into(&mut plan.outputs, audit_findings::none());
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let of = Of::read(&self.of).map_err(Problem::usage)?;
        let paths = self.paths();
        if paths.is_empty() {
            let why = format!("no audit log was given: who read {} is not known", of.object());
            return Ok(Done::taken(
                why.clone(),
                Some(Proof::Unproved(why)),
                json!({ "reads": null, "covered": false }),
            ));
        }
        let at = format!("data/{}", segment(&cx.step));
        let (slice_path, summary_path) = (format!("{at}/readers.slice.jsonl"), format!("{at}/readers.json"));
        let findings_path = format!("{at}/readers.findings.json");
        if cx.store.finished(&slice_path).is_some()
            && let Some(document) = cx.store.adopt_json(&summary_path)
        {
            cx.store.adopt(&slice_path);
            cx.store.adopt(&findings_path);
            return Ok(done(&document));
        }
        let started = cx.clock.now();
        let inside = Inside::of(cx).await?;
        let window = audit_reading::window(self.window, None, self.gap, started).map_err(Problem::usage)?;
        let log = Log { paths, window, proxies: Vec::new() };
        let secret = Wanted::secret(&of.secret.namespace, &of.secret.name);
        let (task, reading, object) = (log.clone(), cx.clone(), op.object.clone());
        let result = tokio::task::spawn_blocking(move || pass(&reading, &task, secret, &object, &findings_path))
            .await
            .map_err(|e| Problem::internal(format!("the audit log's reading ended early: {e}")))??;

        let label = |title: &str, media: &str, what: &str| log.label(&op.object, title, media, what, started);
        let mut out = cx.store.create(&slice_path)?;
        let mut truncated = None;
        for line in &result.slice {
            let line = [line, &b"\n"[..]].concat();
            if out.size() + line.len() as u64 > cx.store.max_bytes {
                truncated = Some(format!("the slice was cut at the limit of {} bytes", cx.store.max_bytes));
                break;
            }
            out.write(&line)?;
        }
        let title = label("the requests that read the Secret, bodies left out", "application/jsonl", "audit log");
        cx.store.finish(out, |path, size, sha256| Artifact {
            complete: truncated.is_none(),
            truncated: truncated.clone(),
            warnings: vec!["request and response bodies were left out: they hold the values".into()],
            ..Artifact::of(title, cx.clock.now(), path, size, sha256)
        })?;
        let mut doubts = result.doubts.clone();
        if result.beyond > 0 {
            doubts.push(format!("{} reads are of more readers than are told apart", result.beyond));
        }
        doubts.extend(truncated);
        if result.events > 0 && result.readers.is_empty() {
            doubts.push("no read of it by anybody stands in the log, not even a kubelet's: the audit policy may leave reads of Secrets out".into());
        }
        if !inside.known {
            doubts.push("you may not list nodes: inside and outside are not told apart".into());
        }
        let readers: Vec<Value> = result
            .readers
            .iter()
            .map(|(who, reads)| {
                let kind = if who.agent.starts_with("quell/") {
                    "quell"
                } else if who.user.starts_with("system:node:") {
                    "kubelet"
                } else if who.user.starts_with("system:") && !who.user.starts_with("system:serviceaccount:") {
                    "control plane"
                } else {
                    "reader"
                };
                let place = if inside.known { inside.place(&who.address) } else { None };
                json!({
                    "user": who.user, "impersonated_by": who.by, "address": who.address, "user_agent": who.agent,
                    "kind": kind, "inside": if inside.known { json!(place.is_some()) } else { Value::Null }, "at": place,
                    "reads": reads.verbs, "denied": reads.denied,
                    "first": reads.first.map(clock::rfc3339), "last": reads.last.map(clock::rfc3339),
                })
            })
            .collect();
        let mut document = json!({
            "secret": format!("{}/{}", of.secret.namespace, of.secret.name),
            "window": { "from": log.window.start.map(clock::rfc3339), "to": log.window.until.map(clock::rfc3339) },
            "readers": readers,
            "events": result.events,
            "doubts": doubts,
            "slice": slice_path,
            "summary": summary_path,
            "blind_to": [
                "reads through a pod that has it, etcd, its backups, a node's disk",
                "an API server whose files were not given",
                "what the audit policy leaves out",
            ],
        });
        audit_findings::into(&mut document, result.found);
        let title = label("who read the Secret and from where", "application/json", "audit summary");
        cx.store.put_json(&summary_path, title, cx.clock, &document, Vec::new())?;
        Ok(done(&document))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let outputs = super::merged(plan_outputs, done);
        let notes = audit_findings::notes(&outputs);
        Conclusion { notes, ..Conclusion::of(outputs, done) }
    }
}

impl SecretReaders {
    fn paths(&self) -> Vec<PathBuf> {
        self.audit_log.iter().filter(|p| !p.is_empty()).map(PathBuf::from).collect()
    }
}

fn done(document: &Value) -> Done {
    let all: Vec<&Value> = document["readers"].as_array().into_iter().flatten().collect();
    let count =
        |r: &Value| -> u64 { r["reads"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum() };
    let allowed = |r: &Value| count(r) - r["denied"].as_u64().unwrap_or(0);
    let people: Vec<&&Value> = all.iter().filter(|r| r["kind"] == "reader" && allowed(r) > 0).collect();
    let outside: Vec<&&&Value> = people.iter().filter(|r| r["inside"] == false).collect();
    let unique = |key: &str| -> Vec<String> {
        let mut found: Vec<String> = people.iter().filter_map(|r| r[key].as_str().map(Into::into)).collect();
        found.sort();
        found.dedup();
        found
    };
    let text = |r: &Value| {
        format!(
            "{} from {}{} ({})",
            r["user"].as_str().unwrap_or_default(),
            r["address"].as_str().unwrap_or_default(),
            r["at"].as_str().map(|at| format!(", {at}")).unwrap_or_default(),
            r["reads"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(v, n)| format!("{n} {v}"))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    let total: u64 = people.iter().map(|r| allowed(r)).sum();
    let from_outside: u64 = outside.iter().map(|r| allowed(r)).sum();
    let kubelets = all.iter().filter(|r| r["kind"] == "kubelet").count();
    let mut found = match people.len() {
        0 => format!("nobody but {kubelets} kubelets, the control plane and quell read it"),
        n => format!(
            "{total} reads by {n} other than kubelets, control plane and quell, {from_outside} from outside the cluster: {}",
            people.iter().take(5).map(|r| text(r)).collect::<Vec<_>>().join("; ")
        ),
    };
    if people.len() > 5 {
        found += &format!("; and {} more", people.len() - 5);
    }
    found += &format!("; {}", audit_findings::summary(document));
    let doubts: Vec<&str> = document["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let proof = if doubts.is_empty() {
        Proof::Verified(format!("{found}; the files cover the window, as far as these are all API servers' files"))
    } else {
        Proof::Unproved(format!("{found}; the audit log does not show all: {}", doubts.join("; ")))
    };
    let mut observed = json!({
        "reads": total, "outside": from_outside, "addresses": unique("address"), "users": unique("user"),
        "covered": doubts.is_empty(), "slice": document["slice"], "summary": document["summary"],
    });
    audit_findings::observed(document, &mut observed);
    Done::taken(found, Some(proof), observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_network_is_inside() {
        let ip = |t: &str| t.parse::<IpAddr>().unwrap();
        assert!(within(ip("10.244.1.7"), ip("10.244.1.0"), 24));
        assert!(!within(ip("10.244.2.7"), ip("10.244.1.0"), 24));
        assert!(within(ip("fd00:1::5"), ip("fd00:1::"), 64) && !within(ip("10.0.0.1"), ip("fd00::"), 8));
    }
}
