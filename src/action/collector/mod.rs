//! The ways to quell's collector, from the most to the least trustworthy: on the suspect's node, beside its container.
//! Actions that need one share it: the first that comes starts it.

pub mod ask;
pub mod beside;
pub mod framed;
pub mod node;
pub mod survey;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cluster::exec::Place;
use crate::cluster::{Cx, Problem, target};
use crate::event::{ObjectRef, Op};
use crate::evidence::hex;

/// The rung of a collector on the node.
pub const NODE_RUNG: &str = "node-collector";
/// The rung of one beside the container.
pub const BESIDE_RUNG: &str = "ephemeral-container";
/// The container of a probe pod.
pub const PROBE: &str = "probe";

/// What the names of this incident's collectors begin with.
pub fn prefix(cx: &Cx) -> String {
    format!("quell-{}-", &hex(&Sha256::digest(&cx.incident))[..8])
}

/// A collector, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handle {
    /// [`NODE_RUNG`] or [`BESIDE_RUNG`].
    pub rung: String,
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// Its container.
    pub container: String,
    /// The node that it runs on.
    pub node: String,
    /// Its image.
    pub image: String,
    /// It may end connections.
    pub cuts: bool,
}

impl Handle {
    /// Where it is asked.
    pub fn place(&self) -> Place<'_> {
        Place { namespace: &self.namespace, pod: &self.pod, container: &self.container }
    }

    /// It sees the whole node, and must be told whom to look at.
    pub fn on_node(&self) -> bool {
        self.rung == NODE_RUNG
    }
}

/// Whether a collector can be used.
pub enum State {
    /// It runs.
    Running,
    /// It does not, and why.
    Absent(String),
}

/// How a container's collector is to be had: what starts it, if it does not run already, and why none or no better one.
pub struct Offer {
    /// What starts it.
    pub ops: Vec<Op>,
    /// It; None when there is none to be had.
    pub handle: Option<Handle>,
    /// Why the rungs above it were not taken.
    pub passed_over: Vec<String>,
}

impl Offer {
    /// Why there is none, or none better; one line.
    pub fn why(&self) -> String {
        self.passed_over.join("; ")
    }
}

/// What an action asks for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The image, by digest; empty for none.
    pub image: &'a str,
    /// Seconds after which it ends by itself.
    pub ttl: u64,
    /// Whether the rung on the node may be taken.
    pub node: bool,
}

/// The best collector that there is for one of the pod's containers.
///
/// # Errors
/// A failure that the engine should see, see [`Cx::passes_on`].
pub async fn offer(
    cx: &Cx,
    object: &ObjectRef,
    pod: &Value,
    container: &str,
    wanted: Wanted<'_>,
) -> Result<Offer, Problem> {
    let mut passed_over = Vec::new();
    if wanted.image.is_empty() {
        return Ok(Offer { ops: Vec::new(), handle: None, passed_over: vec!["no collector image was given".into()] });
    }
    match pod["spec"]["nodeName"].as_str() {
        Some(node) if wanted.node => {
            match node::offer(cx, node::Role::Collector, node, wanted.image, wanted.ttl).await? {
                Ok((ops, handle)) => return Ok(Offer { ops, handle: Some(handle), passed_over }),
                Err(why) => passed_over.push(format!("no collector on its node: {why}")),
            }
        }
        _ => {}
    }
    match beside::offer(cx, object, pod, container, wanted.image, wanted.ttl).await? {
        beside::Offer::Start(op, handle) => Ok(Offer { ops: vec![*op], handle: Some(handle), passed_over }),
        beside::Offer::Runs(handle) => Ok(Offer { ops: Vec::new(), handle: Some(handle), passed_over }),
        beside::Offer::Absent(why) => {
            passed_over.push(why);
            Ok(Offer { ops: Vec::new(), handle: None, passed_over })
        }
    }
}

/// Whether an operation starts a collector or makes room for one.
pub fn starts(op: &Op) -> bool {
    op.detail["kind"].as_str().is_some_and(|kind| kind.starts_with("collector"))
}

/// Carries out what [`offer`] planned.
pub async fn start(cx: &Cx, op: &Op) -> Result<crate::action::Done, Problem> {
    if op.detail["kind"] == "collector" { beside::start(cx, op).await } else { node::start(cx, op).await }
}

/// Whether it took effect.
pub async fn landed(cx: &Cx, op: &Op) -> Result<(crate::event::Landed, Option<crate::action::Done>), Problem> {
    if op.detail["kind"] == "collector" { beside::landed(cx, op).await } else { node::landed(cx, op).await }
}

/// Whether it runs now, or within `patience`.
pub async fn ready(cx: &Cx, handle: &Handle, object: &ObjectRef, patience: Duration) -> Result<State, Problem> {
    if handle.on_node() { node::ready(cx, handle, patience).await } else { beside::usable(cx, handle, object).await }
}

/// The id of one of the target's containers, `containerd://…`; None when it does not run.
pub async fn target_id(cx: &Cx, object: &ObjectRef, container: &str) -> Result<Option<String>, Problem> {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let pod = target::pod(&cx.client, namespace, &object.name, object.uid.as_deref()).await?;
    let status = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref()?.iter().find(|s| s.name == container));
    Ok(status.filter(|s| beside::running(s)).and_then(|s| s.container_id.clone()).filter(|id| !id.is_empty()))
}
