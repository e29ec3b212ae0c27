//! `pod.capture`: processes, logs and filesystems, by the most trustworthy way that this pod allows.

mod fallback;
mod landing;
mod listing;
mod logs;
mod memory;
mod plan;
mod receive;
mod sealed;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::collector::{self, State, node};
use super::{Action, Done, Kind, Rule, Scope, Spec, StepPlan};
use crate::cluster::exec::Limits;
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Landed, Op};

/// Parameters.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PodCapture {
    /// The pod's name.
    pod: String,
    /// Its namespace; the namespace in force when absent.
    namespace: Option<String>,
    /// Its UID, as recorded; a pod of the same name with another UID is refused.
    uid: Option<String>,
    /// Only these containers; all running ones when absent.
    containers: Option<Vec<String>>,
    /// Image of quell's collector, by digest. Empty or absent: the container's own programs are used, and the record
    /// says that they may lie.
    collector_image: Option<String>,
    /// What to take of each container's filesystem: `changes` against its image, which takes a collector on its node
    /// (without one all of it is taken), `full`, or `none`.
    #[serde(default)]
    filesystem: Files,
    /// Take emptyDir volumes and rotated logs from its node, where a collector runs there.
    #[serde(default = "yes")]
    volumes: bool,
    /// Take the list of processes.
    #[serde(default = "yes")]
    processes: bool,
    /// Take the logs of every container, init and ephemeral ones and previous instances included.
    #[serde(default = "yes")]
    logs: bool,
    /// Paths in the containers that are left out.
    #[serde(default)]
    exclude: Vec<String>,
    /// Public keys of age (`age1…`): environment variables and mounted credentials are captured sealed for them. Without
    /// any these are left out, for in clear they are never taken. Give two: one is kept offline.
    #[serde(default)]
    recipients: Vec<String>,
    /// `try` asks the kubelet for a checkpoint of each container's memory, which few clusters allow; it takes recipients
    /// and a collector on the node.
    #[serde(default)]
    memory: Memory,
    /// Seconds for which the packets on the pod's interfaces are taken, where a collector runs on its node; 0 for none,
    /// at most an hour.
    #[serde(default)]
    packets_seconds: u64,
    /// Bytes of one filesystem at which the capture is cut, and said to be.
    max_bytes: Option<u64>,
    /// Seconds without a byte after which a stream counts as stalled, and is taken again.
    #[serde(default = "minute")]
    stall_seconds: u64,
    /// Seconds after which the collector ends by itself.
    #[serde(default = "hour")]
    ttl_seconds: u64,
    /// How often each operation's stream was cut short.
    #[serde(skip)]
    cuts: Mutex<HashMap<String, u32>>,
}

/// What of a filesystem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Files {
    /// What differs from the image.
    #[default]
    Changes,
    /// Everything.
    Full,
    /// Nothing.
    None,
}

/// Whether memory is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// It is not.
    #[default]
    None,
    /// It is; a refusal is recorded, and the step goes on.
    Try,
}

/// A stream that was cut this often is kept as it is: it would be cut again, and the other captures wait.
const MAX_CUTS: u32 = 3;

impl PodCapture {
    fn limits(&self) -> Limits {
        Limits { idle: Duration::from_secs(self.stall_seconds.clamp(1, 600)), total: Duration::from_secs(6 * 3600) }
    }

    /// A stream was cut: worth another try, a few times; then what there is stands, as not complete.
    fn again(&self, op: &Op, why: String, done: Done) -> Result<Done, Problem> {
        let cuts = self.cuts.lock().map_or(MAX_CUTS, |mut cuts| {
            let count = cuts.entry(op.id.clone()).or_default();
            *count += 1;
            *count
        });
        if cuts < MAX_CUTS {
            return Err(Problem::new(Fault::Transient, format!("{}: {why}", subject(op))));
        }
        Ok(done)
    }
}

impl PodCapture {
    async fn take(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match text(op, "kind") {
            "log" => return logs::take(self, cx, op).await,
            "checkpoint" => return memory::ask(cx, op).await,
            "memory" => return memory::take(self, cx, op).await,
            _ => {}
        }
        match usable(cx, op).await? {
            Ok((handle, id)) if sealed::KINDS.contains(&text(op, "kind")) => {
                sealed::take(self, cx, op, &handle, &id).await
            }
            Ok((handle, id)) => receive::from_collector(self, cx, op, &handle, &id).await,
            Err(why) => self.without_collector(cx, op, &why).await,
        }
    }

    /// By the container's own programs, as far as these can do it.
    async fn without_collector(&self, cx: &Cx, op: &Op, why: &str) -> Result<Done, Problem> {
        match text(op, "kind") {
            "processes" | "filesystem" => fallback::by_exec(self, cx, op, why).await,
            "changes" => fallback::by_exec(self, cx, &whole(op), why).await,
            _ => {
                let text = format!("the {} can't be taken: {why}", subject(op));
                Ok(Done::told(crate::event::Proof::Unproved(text), Value::Null))
            }
        }
    }
}

/// The same operation for the whole filesystem, where the changes can't be told apart.
fn whole(op: &Op) -> Op {
    let mut whole = op.clone();
    whole.detail["kind"] = "filesystem".into();
    whole
}

/// What an operation takes, of what: `processes of container app`.
fn subject(op: &Op) -> String {
    let (kind, container) = (text(op, "kind"), text(op, "container"));
    let kind = match kind {
        "changes" => "filesystem changes",
        "unlinked" => "unlinked files",
        "drift" => "drift list",
        "shm" => "files in /dev/shm",
        "volumes" => "emptyDir volumes",
        "packets" => "packets on the pod's interfaces",
        "node-logs" => "log files on the node",
        "checkpoint" => "checkpoint",
        "environ" => "environment variables",
        "log" if op.detail["previous"] == true => "log of the previous instance",
        "credentials" => return format!("credentials at {} of container {container}", text(op, "below")),
        other => other,
    };
    if container.is_empty() { kind.into() } else { format!("{kind} of container {container}") }
}

/// The collector of an operation and the id of the container that it is to look at; or why there is none.
async fn usable(cx: &Cx, op: &Op) -> Result<Result<(collector::Handle, String), String>, Problem> {
    let Ok(handle) = serde_json::from_value::<collector::Handle>(op.detail["handle"].clone()) else {
        return Ok(Err(text(op, "why").into()));
    };
    match collector::ready(cx, &handle, &op.object, PATIENCE).await? {
        State::Absent(why) => Ok(Err(why)),
        // What lies on the node stays there for a while when its container has ended.
        State::Running if text(op, "container").is_empty() && text(op, "of").is_empty() => {
            Ok(Ok((handle, String::new())))
        }
        State::Running => {
            Ok(collector::target_id(cx, &op.object, [text(op, "container"), text(op, "of")].concat().as_str())
                .await?
                .map(|id| (handle, id))
                .ok_or_else(|| "the API does not show the container's id any more: it is not running".into()))
        }
    }
}

/// How long a collector may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

fn yes() -> bool {
    true
}

fn minute() -> u64 {
    60
}

fn hour() -> u64 {
    3600
}

impl Kind for PodCapture {
    const SPEC: Spec = Spec {
        name: "pod.capture",
        summary: "Capture a pod's processes, logs and filesystems, hashed at both ends",
        description: "In the order of volatility: processes with what they hold that has no name any more (deleted executables, \
            memfds), logs, changes. By the first rung that is to be had: quell's collector on the pod's node, which reads from \
            outside, leaves nothing in the pod, and takes the writable layer with deletions, a drift list, emptyDir volumes and \
            rotated logs; the collector in an ephemeral container beside the target, which takes the whole filesystem; the \
            container's own sh and tar by exec, which may lie, and the record says target-supplied. An image without shell or tar \
            needs one of the first two. Trees come as tar streams that are never unpacked. Environment variables and mounted \
            credentials are sealed in memory for the recipients, with a keyed digest a value beside; without recipients they are \
            left out, and said to be. A stream that is cut short is detected and never counted as complete.",
        risk: crate::event::Risk::Low,
        undo: "quell's own pods are deleted; an ephemeral container stays in the pod's spec, and its process ends by itself",
        captures: true,
        rules: &[
            Rule {
                group: "",
                resource: "pods",
                verbs: &["get", "list", "watch"],
                scope: Scope::Target,
                why: "its containers and their state",
                optional: false,
            },
            Rule {
                group: "",
                resource: "pods/log",
                verbs: &["get"],
                scope: Scope::Target,
                why: "logs",
                optional: false,
            },
            node::RULES[0],
            node::RULES[1],
            node::RULES[2],
            Rule { optional: true, ..collector::beside::START },
            // Exec over WebSocket is a GET, and from Kubernetes 1.35 on the API server asks for create besides.
            Rule {
                group: "",
                resource: "pods/exec",
                verbs: &["get", "create"],
                scope: Scope::Target,
                why: "reading through the collector, or the container's own tar",
                optional: false,
            },
            Rule {
                group: "",
                resource: "nodes",
                verbs: &["get"],
                scope: Scope::Cluster,
                why: "the size of its images, for estimates",
                optional: true,
            },
        ],
        example: "id: capture\ntitle: Capture processes, logs and filesystems\nuses: pod.capture\nwith:\n  pod: ${{ steps.record.outputs.pod.name }}\n  uid: ${{ steps.record.outputs.pod.uid }}\n  collector-image: registry.example/quell/collector@sha256:0000000000000000000000000000000000000000000000000000000000000000\n",
        outputs: &[("captured", "what was taken, and how"), ("incomplete", "what was not")],
    };
}

#[async_trait]
impl Action for PodCapture {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        plan::plan(self, cx).await
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if collector::starts(op) {
            return collector::start(cx, op).await;
        }
        let mut done = self.take(cx, op).await?;
        // Of several at once each says what it is about.
        if op.stage.is_some() && !done.detail.contains(&subject(op)) {
            done.detail = format!("{}: {}", subject(op), done.detail);
        }
        Ok(done)
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        if collector::starts(op) { collector::landed(cx, op).await } else { Ok((Landed::No, None)) }
    }

    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        node::remove(cx, op, done["uid"].as_str().map(Into::into)).await
    }

    fn conclude(&self, _: &Value, done: &[(Op, Done)]) -> super::Conclusion {
        let (mut captured, mut incomplete) = (Vec::new(), Vec::new());
        for (op, done) in done.iter().filter(|(op, _)| !collector::starts(op)) {
            let line = match done.detail.contains(&subject(op)) {
                true => done.detail.clone(),
                false => format!("{}: {}", subject(op), done.detail),
            };
            match &done.proof {
                Some(proof) if !proof.is_verified() => incomplete.push(line),
                _ => captured.push(line),
            }
        }
        let mut end = super::Conclusion::of(Value::Null, done);
        if incomplete.is_empty() {
            end.summary = format!("{} captures complete", captured.len());
        }
        end.outputs = serde_json::json!({"captured": captured, "incomplete": incomplete});
        end
    }
}

/// A text of an operation's detail.
fn text<'a>(op: &'a Op, key: &str) -> &'a str {
    op.detail[key].as_str().unwrap_or_default()
}

fn pods(cx: &Cx, op: &Op) -> Api<Pod> {
    Api::namespaced(cx.client.clone(), op.object.namespace.as_deref().unwrap_or_default())
}
