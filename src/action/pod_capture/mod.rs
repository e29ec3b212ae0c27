//! `pod.capture`: processes, logs and filesystems, by the most trustworthy way that this pod allows.

mod fallback;
mod landing;
mod listing;
mod logs;
mod plan;
mod receive;

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::collector_beside as collector;
use super::{Action, Done, Kind, Rule, Scope, Spec, StepPlan};
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
    /// Take the filesystem of each container.
    #[serde(default = "yes")]
    filesystem: bool,
    /// Take the list of processes.
    #[serde(default = "yes")]
    processes: bool,
    /// Take the logs of every container, init and ephemeral ones and previous instances included.
    #[serde(default = "yes")]
    logs: bool,
    /// Paths in the containers that are left out.
    #[serde(default)]
    exclude: Vec<String>,
    /// Bytes of one filesystem at which the capture is cut, and said to be.
    max_bytes: Option<u64>,
    /// Seconds after which the collector ends by itself.
    #[serde(default = "hour")]
    ttl_seconds: u64,
    /// How often each operation's stream was cut short.
    #[serde(skip)]
    cuts: Mutex<HashMap<String, u32>>,
}

/// A stream that was cut this often is kept as it is: it would be cut again, and the other captures wait.
const MAX_CUTS: u32 = 3;

impl PodCapture {
    /// A stream was cut: worth another try, a few times; then what there is stands, as not complete.
    fn again(&self, op: &Op, why: String, done: Done) -> Result<Done, Problem> {
        let cuts = self.cuts.lock().map_or(MAX_CUTS, |mut cuts| {
            let count = cuts.entry(op.id.clone()).or_default();
            *count += 1;
            *count
        });
        if cuts < MAX_CUTS {
            let what = format!("{} of container {}", text(op, "kind"), text(op, "container"));
            return Err(Problem::new(Fault::Transient, format!("{what}: {why}")));
        }
        Ok(done)
    }
}

fn yes() -> bool {
    true
}

fn hour() -> u64 {
    3600
}

impl Kind for PodCapture {
    const SPEC: Spec = Spec {
        name: "pod.capture",
        summary: "Capture a pod's processes, logs and filesystems, hashed at both ends",
        description: "In the order of volatility: processes, logs, filesystems. With a collector image, an ephemeral container that \
            shares the target's processes runs quell's own collector, so that an image without shell or tar works and none of its \
            programs is trusted; the filesystem comes as one tar stream that is never unpacked. Without one, or where the pod's \
            namespace refuses it, the container's own sh and tar are used by exec and the record says target-supplied. Mounted \
            credentials are left out, and said to be. A stream that is cut short is detected and never counted as complete.",
        risk: crate::event::Risk::Low,
        undo: "can't be taken back: an ephemeral container stays in the pod's spec; its process ends by itself",
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
            collector::START,
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
        match text(op, "kind") {
            "collector" => collector::start(cx, op).await,
            "log" => logs::take(self, cx, op).await,
            _ => match collector::usable(cx, op).await? {
                collector::State::Running(id) => receive::from_collector(self, cx, op, &id).await,
                collector::State::Absent(why) => fallback::by_exec(self, cx, op, &why).await,
            },
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        if text(op, "kind") != "collector" {
            return Ok((Landed::No, None));
        }
        collector::landed(cx, op).await
    }

    fn conclude(&self, _: &Value, done: &[(Op, Done)]) -> super::Conclusion {
        let (mut captured, mut incomplete) = (Vec::new(), Vec::new());
        for (op, done) in done.iter().filter(|(op, _)| text(op, "kind") != "collector") {
            let line = format!("{} of {}: {}", text(op, "kind"), text(op, "container"), done.detail);
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
