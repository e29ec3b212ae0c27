//! Logs, through the API, as the kubelet gives them.

use futures::AsyncReadExt;
use kube::api::LogParams;
use serde_json::Value;

use super::landing::source;
use super::{PodCapture, pods, text};
use crate::action::Done;
use crate::cluster::{Cx, Problem};
use crate::event::{Artifact, Label, Method, Op, Proof, Trust};
use crate::evidence::segment;

/// Takes one log.
pub(super) async fn take(with: &PodCapture, cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let (container, previous) = (text(op, "container"), op.detail["previous"] == true);
    let ending = if previous { "previous.log" } else { "log" };
    let path = format!("data/{}/{}.{ending}", segment(&cx.step), segment(container));
    if let Some(found) = cx.store.finished(&path).filter(|a| a.complete) {
        let detail = format!("{} bytes, taken before the interruption", found.size);
        cx.store.took(found);
        return Ok(Done::taken(detail, None, Value::Null));
    }
    let started = cx.clock.now();
    let params = LogParams { container: Some(container.into()), previous, timestamps: true, ..LogParams::default() };
    let mut stream = match pods(cx, op).log_stream(&op.object.name, &params).await.map_err(Problem::from) {
        Ok(stream) => Box::pin(stream),
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => {
            return Ok(Done::taken(
                format!("no log: {problem}"),
                Some(Proof::Unproved(format!("the log of {container}: {problem}"))),
                Value::Null,
            ));
        }
    };
    let mut writer = cx.store.create(&path)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut cut = None;
    let idle = with.limits().idle;
    loop {
        let read = match tokio::time::timeout(idle, stream.read(&mut buffer)).await {
            Ok(read) => read,
            Err(_) => {
                cut = Some(format!("the stream broke: nothing came for {} s", idle.as_secs()));
                break;
            }
        };
        match read {
            Ok(0) => break,
            Ok(n) if writer.size() + n as u64 > cx.store.max_bytes => {
                cut = Some(format!("the limit of {} bytes (--max-bytes) was met", cx.store.max_bytes));
                break;
            }
            Ok(n) => {
                writer.write(&buffer[..n])?;
                (cx.progress)(&format!("{container} log"), writer.size(), None);
            }
            Err(error) => {
                cut = Some(format!("the stream broke: {error}"));
                break;
            }
        }
    }
    let broke = cut.as_deref().is_some_and(|c| c.starts_with("the stream broke"));
    let label = Label {
        title: format!("{} of container {container}", if previous { "log of the previous instance" } else { "log" }),
        media_type: "text/plain".into(),
        source: source(op, "log"),
        method: Method {
            rung: "api".into(),
            trust: Trust::ApiServer,
            reason: "the kubelet's copy of standard output and error, with its timestamps".into(),
            argv: Vec::new(),
            tool: None,
        },
        started,
    };
    let artifact = cx.store.finish(writer, |path, size, sha256| Artifact {
        complete: cut.is_none(),
        truncated: cut.clone(),
        warnings: vec![
            "the kubelet gives the newest log file only: what was rotated away before is on the node".into(),
            "the API tells no length and no hash: a log that was cut short in order can't be told from a whole one"
                .into(),
        ],
        ..Artifact::of(label, cx.clock.now(), path, size, sha256)
    })?;
    match cut {
        Some(why) => {
            let proof = Proof::Unproved(format!("the log of {container} is not complete: {why}"));
            let done = Done::taken(why.clone(), Some(proof), Value::Null);
            if broke { with.again(op, why, done) } else { Ok(done) }
        }
        None => Ok(Done::taken(indicatif::HumanBytes(artifact.size).to_string(), None, Value::Null)),
    }
}
