//! `secret.readers`: who read a Secret, and from where, by the API server's audit log. A list or a watch of its namespace,
//! or of the cluster, reads it too.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::secret_consumers::workloads::not_read;
use super::secret_of::Of;
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::audit::{self, Coverage};
use crate::clock;
use crate::cluster::{Cx, raw};
use crate::event::{Artifact, Label, Method, Op, Proof, Risk, Source};
use crate::evidence::segment;

/// Requests that are kept in the slice.
const MAX_REQUESTS: usize = 100_000;
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

fn day() -> u64 {
    86_400
}

fn five_minutes() -> u64 {
    300
}

impl Kind for SecretReaders {
    const SPEC: Spec = Spec {
        name: "secret.readers",
        summary: "Finds who read the Secret and from where in the audit log, inside and outside the cluster",
        description: "Reads the API server's audit log (JSON lines of audit.k8s.io/v1) from files on this machine, in one \
            pass and bounded memory. A get of the Secret counts, and each list and watch of its namespace or the whole \
            cluster, for they carry the values. Each reader is one of user, address and program, with the first and last \
            time; an address is told to be inside where it is a node's or lies in a node's pod network. Kubelets and quell \
            itself are told apart. States the time covered and gaps: where the log is silent, nothing is claimed.",
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

/// Whether an event reads the Secret.
fn reads(event: &Value, namespace: &str, name: &str) -> bool {
    let object = &event["objectRef"];
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    if text("resource") != "secrets" || !text("apiGroup").is_empty() || !text("subresource").is_empty() {
        return false;
    }
    let here = text("namespace") == namespace;
    match event["verb"].as_str() {
        Some("get") => here && text("name") == name,
        // With a field selector the name is in objectRef; without one all of them are read.
        Some("list" | "watch") => {
            (here || text("namespace").is_empty()) && (text("name").is_empty() || text("name") == name)
        }
        // The answer to a write has the whole object.
        Some("update" | "patch") => here && text("name") == name,
        _ => false,
    }
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
    slice: Vec<Value>,
    beyond: u64,
    damaged: u64,
    events: u64,
    coverage: Coverage,
}

fn pass(
    files: &[PathBuf],
    namespace: &str,
    name: &str,
    start: OffsetDateTime,
    until: OffsetDateTime,
    told: &dyn Fn(u64),
) -> Result<Pass, Problem> {
    let mut pass = Pass {
        readers: BTreeMap::new(),
        slice: Vec::new(),
        beyond: 0,
        damaged: 0,
        events: 0,
        coverage: Coverage::new(start, until),
    };
    // A request has a line for each stage: it is counted once, by its last.
    let mut seen: std::collections::HashSet<(String, String)> = std::collections::HashSet::new();
    let (mut total, mut next) = (0u64, 0u64);
    let mut line = Vec::new();
    for path in files {
        let io = |e: std::io::Error| Problem::io("can't read the audit log", path, &e);
        let mut from = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
        loop {
            line.clear();
            let n =
                std::io::Read::take(&mut from, audit::MAX_LINE as u64 + 1).read_until(b'\n', &mut line).map_err(io)?;
            if n == 0 {
                break;
            }
            total += n as u64;
            if total >= next {
                told(total);
                next = total + (4 << 20);
            }
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Ok(event) = serde_json::from_slice::<Value>(&line) else {
                pass.damaged += 1;
                continue;
            };
            let time = |key: &str| event[key].as_str().and_then(|t| clock::parse(t).ok());
            let Some(staged) = time("stageTimestamp") else {
                pass.damaged += 1;
                continue;
            };
            pass.events += 1;
            pass.coverage.saw(staged);
            let received = time("requestReceivedTimestamp").unwrap_or(staged);
            // A watch that began before still carries what changes.
            if received > until
                || staged < start
                || event["stage"] == "RequestReceived"
                || !reads(&event, namespace, name)
            {
                continue;
            }
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            if !seen.insert((text("/auditID"), text("/requestReceivedTimestamp"))) {
                continue;
            }
            let addresses = event["sourceIPs"].as_array().cloned().unwrap_or_default();
            let user = text("/user/username");
            let posed = text("/impersonatedUser/username");
            let who = Who {
                // Only the last is not the client's own word (kubernetes#87167).
                address: addresses.last().and_then(Value::as_str).unwrap_or_default().into(),
                agent: text("/userAgent").chars().take(200).collect(),
                by: (!posed.is_empty()).then(|| user.clone()),
                user: if posed.is_empty() { user } else { posed },
            };
            if pass.readers.len() >= MAX_READERS && !pass.readers.contains_key(&who) {
                pass.beyond += 1;
                continue;
            }
            let known = pass.readers.entry(who).or_default();
            let code = event["responseStatus"]["code"].as_i64().unwrap_or(0);
            let denied = event["annotations"]["authorization.k8s.io/decision"] == "forbid" || code >= 400;
            known.denied += u64::from(denied);
            *known.verbs.entry(text("/verb")).or_default() += 1;
            known.first = Some(known.first.map_or(received, |t| t.min(received)));
            known.last = Some(known.last.map_or(received, |t| t.max(received)));
            if pass.slice.len() < MAX_REQUESTS {
                let mut bare = event;
                if let Some(map) = bare.as_object_mut() {
                    // Bodies hold the values.
                    map.remove("requestObject");
                    map.remove("responseObject");
                }
                pass.slice.push(bare);
            } else {
                pass.beyond += 1;
            }
        }
    }
    told(total);
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
        if cx.store.finished(&slice_path).is_some()
            && let Some(document) = cx.store.adopt_json(&summary_path)
        {
            cx.store.adopt(&slice_path);
            return Ok(done(&document));
        }
        let started = cx.clock.now();
        let inside = Inside::of(cx).await?;
        let until = started;
        let start = until - Duration::seconds(i64::try_from(self.window).unwrap_or(86_400));
        let (files, left) = audit::find(&paths)?;
        let total: u64 = files.iter().map(|f| f.size).sum();
        let files: Vec<PathBuf> = files.into_iter().map(|f| f.path).collect();
        let (namespace, name) = (of.secret.namespace.clone(), of.secret.name.clone());
        let progress = cx.progress.clone();
        let result = tokio::task::spawn_blocking(move || {
            pass(&files, &namespace, &name, start, until, &|bytes| progress("audit log", bytes, Some(total)))
        })
        .await
        .map_err(|e| Problem::internal(format!("the audit log's reading ended early: {e}")))??;

        let label = |title: &str, media: &str, what: &str| Label {
            title: title.into(),
            media_type: media.into(),
            source: Source { object: op.object.clone(), container: None, what: what.into() },
            method: Method::responder(
                "file",
                "audit files on the responder's machine; how they came there was not checked",
                paths.iter().map(|p| p.display().to_string()).collect(),
            ),
            started,
        };
        let mut out = cx.store.create(&slice_path)?;
        let mut truncated = None;
        for event in &result.slice {
            let mut line = event.to_string().into_bytes();
            line.push(b'\n');
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
        let gaps =
            result.coverage.gaps(Duration::seconds(i64::try_from(self.gap.clamp(1, 366 * 86_400)).unwrap_or(300)));
        let mut doubts: Vec<String> = gaps
            .iter()
            .map(|g| format!("the audit log says nothing from {} to {}", clock::rfc3339(g.from), clock::rfc3339(g.to)))
            .collect();
        if result.damaged > 0 {
            doubts.push(format!("{} lines could not be read", result.damaged));
        }
        if result.beyond > 0 {
            doubts.push(format!("{} reads are beyond the limit of the slice", result.beyond));
        }
        doubts.extend(left.iter().filter(|l| l.may_hold_events).map(|l| format!("{} was not read", l.path.display())));
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
        let document = json!({
            "secret": format!("{}/{}", of.secret.namespace, of.secret.name),
            "window": { "from": clock::rfc3339(start), "to": clock::rfc3339(until) },
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
        let title = label("who read the Secret and from where", "application/json", "audit summary");
        cx.store.put_json(&summary_path, title, cx.clock, &document, Vec::new())?;
        Ok(done(&document))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
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
    let doubts: Vec<&str> = document["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let proof = if doubts.is_empty() {
        Proof::Verified(format!("{found}; the files cover the window, as far as these are all API servers' files"))
    } else {
        Proof::Unproved(format!("{found}; the audit log does not show all: {}", doubts.join("; ")))
    };
    let observed = json!({
        "reads": total, "outside": from_outside, "addresses": unique("address"), "users": unique("user"),
        "covered": doubts.is_empty(), "slice": document["slice"], "summary": document["summary"],
    });
    Done::taken(found, Some(proof), observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_watches_read_it_too() {
        let event = |verb: &str, namespace: &str, name: &str, resource: &str| json!({"verb": verb, "objectRef": {"resource": resource, "namespace": namespace, "name": name}});
        for (verb, namespace, name, resource, is) in [
            ("get", "shop", "db", "secrets", true),
            ("get", "shop", "other", "secrets", false),
            ("get", "other", "db", "secrets", false),
            ("list", "shop", "", "secrets", true),
            ("list", "", "", "secrets", true),
            ("watch", "", "", "secrets", true),
            ("list", "other", "", "secrets", false),
            ("watch", "shop", "db", "secrets", true),
            ("watch", "shop", "other", "secrets", false),
            ("patch", "shop", "db", "secrets", true),
            ("delete", "shop", "db", "secrets", false),
            ("get", "shop", "db", "configmaps", false),
        ] {
            assert_eq!(reads(&event(verb, namespace, name, resource), "shop", "db"), is, "{verb} {namespace}/{name}");
        }
    }

    #[test]
    fn a_pod_network_is_inside() {
        let ip = |t: &str| t.parse::<IpAddr>().unwrap();
        assert!(within(ip("10.244.1.7"), ip("10.244.1.0"), 24));
        assert!(!within(ip("10.244.2.7"), ip("10.244.1.0"), 24));
        assert!(within(ip("fd00:1::5"), ip("fd00:1::"), 64) && !within(ip("10.0.0.1"), ip("fd00::"), 8));
    }
}
