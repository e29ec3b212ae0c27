//! What quell's collector sends: frames, checked against their trailer before the collector may let go.

use super::landing::{Facts, Landing, Paths, earlier, told};
use super::{PodCapture, text};
use crate::action::Done;
use crate::action::collector::Handle;
use crate::cluster::exec::{self, Ended, Listener};
use crate::cluster::{Cx, Fault, Problem};
use crate::collector::wire::{self, Hello, Item, Note, Trailer};
use crate::event::{Method, Op, Proof, Trust};

/// Takes one artifact by quell's collector, on the node or beside the container.
pub(super) async fn from_collector(
    with: &PodCapture,
    cx: &Cx,
    op: &Op,
    handle: &Handle,
    container_id: &str,
) -> Result<Done, Problem> {
    let paths = Paths::of(cx, op, true);
    if let Some(done) = earlier(cx, &paths) {
        return Ok(done);
    }
    let argv = argv_of(cx, op, handle, container_id);
    let mut stream =
        Stream { cx, landing: Landing::new(cx, op, paths)?, reader: wire::Reader::new(), seen: Seen::default() };
    let ended = exec::exec(&cx.client, handle.place(), &argv, with.limits(), &mut stream).await;
    let Stream { landing, seen, .. } = stream;
    let cut = match (&seen.trailer, &ended) {
        // The reader compared it with what arrived: what happened to the connection after that does not matter.
        (Some(_), _) => None,
        (None, Ok(ended)) => {
            Some(format!("the stream ended after {} bytes without its trailer: {ended}", landing.size()))
        }
        (None, Err(problem)) => Some(problem.message.clone()),
    };
    if let Err(problem) = &ended
        && matches!(problem.fault, Fault::Refused | Fault::NotFound | Fault::Unreachable)
    {
        return refused(op, problem);
    }
    if landing.size() == 0
        && seen.trailer.is_none()
        && let Ok(Ended { end: exec::End::Failure { .. }, .. }) = &ended
    {
        // It ran and says why it can't: again would be the same.
        let why = format!("the collector could not do it: {}", ended.map(|e| e.to_string()).unwrap_or_default());
        if text(op, "kind") == "changes" {
            // A root that is no overlay: its changes can't be told apart, all of it can be taken.
            return Box::pin(from_collector(with, cx, &super::whole(op), handle, container_id)).await;
        }
        return with.without_collector(cx, op, &why).await;
    }
    let over = landing.over();
    let trailer = seen.trailer.as_ref();
    // A limit that the collector itself met: whole as a stream, but not all there is.
    let limited = trailer.filter(|t| !t.complete).map(|t| t.truncated.clone().unwrap_or_else(|| "not complete".into()));
    let facts = Facts {
        method: method(argv, handle, seen.hello.as_ref()),
        size_source: trailer.map(|t| t.size),
        sha256_source: trailer.map(|t| t.sha256.clone()),
        cut: cut.clone().or(limited),
    };
    let (artifact, summary) = landing.finish(cx, op, facts)?;
    match (cut, ended) {
        (Some(_), Err(problem)) if !over && !problem.is_transient() => Err(problem),
        (Some(why), _) if !over => with.again(op, why, told(&artifact, summary.as_ref(), 0)),
        _ => Ok(told(
            &artifact,
            summary.as_ref(),
            trailer.map_or(0, |t| if artifact.complete { t.unreadable } else { 0 }),
        )),
    }
}

/// What the collector is asked for one operation.
pub(super) fn argv_of(cx: &Cx, op: &Op, handle: &Handle, container_id: &str) -> Vec<String> {
    let kind = text(op, "kind");
    let command = match kind {
        "changes" => "layer",
        "volumes" | "node-logs" | "shm" | "credentials" => "filesystem",
        other => other,
    };
    let mut argv: Vec<String> = ["/quell-collector", command].map(String::from).into();
    if !text(op, "root").is_empty() {
        argv.extend(["--root".to_string(), text(op, "root").into()]);
    } else if handle.on_node() || matches!(kind, "filesystem" | "environ" | "credentials") {
        argv.extend(["--container".to_string(), container_id.to_string()]);
    }
    match (kind, text(op, "below")) {
        ("shm", _) => argv.extend(["--below".to_string(), "/dev/shm".into()]),
        (_, below) if !below.is_empty() => argv.extend(["--below".to_string(), below.into()]),
        _ => {}
    }
    if matches!(kind, "processes" | "drift" | "environ") {
        return argv;
    }
    if kind == "packets" {
        argv.extend(["--seconds".to_string(), op.detail["seconds"].as_u64().unwrap_or(0).to_string()]);
    }
    if matches!(kind, "filesystem" | "credentials") && op.detail["own_processes"] == true && !handle.on_node() {
        argv.push("--or-init".into());
    }
    let excluded = op.detail["exclude"].as_array().filter(|_| !matches!(kind, "credentials" | "packets"));
    for entry in excluded.into_iter().flatten() {
        let (path, why) = (entry[0].as_str().unwrap_or_default(), entry[1].as_str().unwrap_or_default());
        argv.extend(["--exclude".to_string(), format!("{path}:{why}")]);
    }
    let most = op.detail["max_bytes"].as_u64().unwrap_or(u64::MAX).min(cx.store.max_bytes);
    if most < u64::MAX {
        // The archive's end must fit too.
        argv.extend(["--max-bytes".to_string(), most.saturating_sub(64 << 10).to_string()]);
    }
    argv
}

/// How it was taken.
pub(super) fn method(argv: Vec<String>, handle: &Handle, hello: Option<&Hello>) -> Method {
    let reason = if handle.on_node() {
        format!(
            "quell's collector on node {}, from outside: nothing is executed in the container and nothing is left in it. Its traces: \
             Pod {}/{} on the node, with its image",
            handle.node, handle.namespace, handle.pod
        )
    } else {
        "quell's collector beside the container: nothing of the container's own is executed. Its traces there: an \
            ephemeral container in the pod's spec, its processes in the container's process list, no file written"
            .into()
    };
    Method {
        rung: handle.rung.clone(),
        trust: Trust::Collector,
        reason,
        argv,
        tool: hello.map(|h| format!("quell-collector {} sha256:{}", h.version, h.sha256)),
    }
}

/// The API server does not let us in, or the pod is gone.
pub(super) fn refused(op: &Op, problem: &Problem) -> Result<Done, Problem> {
    if problem.fault != Fault::Refused {
        return Err(problem.clone());
    }
    // The other captures may still be possible: this one is said to be missing, and the step goes on.
    let text = format!("the {} can't be taken: {problem}", super::subject(op));
    Ok(Done::told(Proof::Unproved(text), serde_json::Value::Null))
}

/// One stream of frames on its way to disk.
struct Stream<'a> {
    cx: &'a Cx,
    landing: Landing,
    reader: wire::Reader,
    seen: Seen,
}

impl Listener for Stream<'_> {
    fn stdout(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let Stream { cx, landing, reader, seen } = self;
        let taken = reader.push(bytes, &mut |item| {
            match item {
                Item::Data(data) => landing.data(cx, data)?,
                Item::Hello(hello) => seen.hello = Some(hello),
                Item::Note(Note::LeftOut { path, why }) => landing.notes().leave_out(&path, &why),
                Item::Note(Note::Warning { text } | Note::Info { text }) => landing.notes().warn(&text),
                Item::Trailer(trailer) => {
                    seen.trailer = Some(trailer);
                    seen.acknowledge = true;
                }
            }
            Ok::<(), Stop>(())
        });
        taken.map_err(|Stop(problem)| problem)
    }

    fn reply(&mut self) -> Option<&'static [u8]> {
        std::mem::take(&mut self.seen.acknowledge).then_some(wire::ACKNOWLEDGED)
    }
}

/// What the frames said.
#[derive(Default)]
struct Seen {
    hello: Option<Hello>,
    trailer: Option<Trailer>,
    acknowledge: bool,
}

/// Carries a problem through the reader: what it finds wrong with the stream is worth another try.
struct Stop(Problem);

impl From<String> for Stop {
    fn from(text: String) -> Stop {
        Stop(Problem::new(Fault::Transient, text))
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Stop {
        Stop(problem)
    }
}
