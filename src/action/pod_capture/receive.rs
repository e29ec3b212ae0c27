//! What quell's collector sends: frames, checked against their trailer before the collector may let go.

use super::landing::{Facts, Landing, Paths, earlier, told};
use super::{PodCapture, text};
use crate::action::Done;
use crate::action::collector::Handle;
use crate::action::collector::framed::Framed;
use crate::cluster::exec::{self, Ended};
use crate::cluster::{Cx, Fault, Problem};
use crate::collector::wire::{Hello, Item, Note};
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
    let (mut landing, mut hello) = (Landing::new(cx, op, paths)?, None);
    let mut stream = Framed::new(|item| {
        match item {
            Item::Data(data) => landing.data(cx, data)?,
            Item::Hello(said) => hello = Some(said),
            Item::Note(Note::LeftOut { path, why }) => landing.notes().leave_out(&path, &why),
            Item::Note(Note::Warning { text } | Note::Info { text }) => landing.notes().warn(&text),
            Item::Trailer(_) => {}
        }
        Ok(())
    });
    let ended = exec::exec(&cx.client, handle.place(), &argv, with.limits(), &mut stream).await;
    let trailer = stream.trailer.take();
    let cut = match (&trailer, &ended) {
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
        && trailer.is_none()
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
    let trailer = trailer.as_ref();
    // A limit that the collector itself met: whole as a stream, but not all there is.
    let limited = trailer.filter(|t| !t.complete).map(|t| t.truncated.clone().unwrap_or_else(|| "not complete".into()));
    let facts = Facts {
        method: method(argv, handle, hello.as_ref()),
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
