//! A container's memory: the kubelet makes a checkpoint of it, which is copied from its node, sealed on the way, for it
//! holds every key that the process had. The archive stays on the node until somebody removes it: quell's collector
//! reads the node and writes nothing to it.

use std::io::Write;

use http::Request;
use serde_json::{Value, json};

use super::landing::{Lines, source};
use super::receive::method;
use super::{PodCapture, subject, text, usable};
use crate::action::collector::framed::Framed;
use crate::action::{Done, StepPlan};
use crate::cluster::access::{self, Question};
use crate::cluster::exec;
use crate::cluster::{Cx, Fault, Problem};
use crate::collector::wire::Item;
use crate::event::{Artifact, Label, Method, Op, OpStatus, Proof, Risk, Undo};
use crate::evidence::sealed::Recipients;
use crate::evidence::segment;

/// Seconds that the kubelet may take for one checkpoint.
const TIMEOUT: u64 = 120;

/// The operations for one container, or a warning that says why there are none.
pub(super) async fn offer(cx: &Cx, capture: Op, node: &str, plan: &mut StepPlan) -> Result<(), Problem> {
    let question =
        Question { group: String::new(), resource: "nodes/proxy".into(), verb: "create".into(), namespace: None };
    match access::denied(&cx.client, vec![question]).await {
        Ok(denied) if denied.is_empty() => {}
        Ok(_) => {
            plan.warnings.push(
                "memory is not taken: a checkpoint takes the right to create nodes/proxy, which lets its holder into every \
                 pod of a node and is not among the rights that quell prints"
                    .into(),
            );
            return Ok(());
        }
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => {
            plan.warnings.push(format!("memory is not taken: whether you may ask for it is not known: {problem}"));
            return Ok(());
        }
    }
    let container = text(&capture, "container").to_string();
    let mut ask = Op::change(
        "checkpoint",
        capture.object.clone(),
        format!(
            "ask the kubelet of node {node} for a checkpoint of container {container}: it stands still meanwhile, and the \
             archive with all of its memory stays on the node"
        ),
        Risk::Medium,
        Undo::Impossible("the archive stays on the node, readable by root, until somebody removes it there".into()),
    );
    ask.detail =
        json!({"key": format!("checkpoint {container}"), "kind": "checkpoint", "container": container, "node": node});
    plan.ops.extend([ask, capture]);
    Ok(())
}

fn answer_path(cx: &Cx, op: &Op) -> String {
    format!("data/{}/{}.checkpoint.json", segment(&cx.step), segment(text(op, "container")))
}

/// Asks the kubelet. What it refuses is recorded, and the next rung stands in: the step does not fail for it.
pub(super) async fn ask(cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let (started, node) = (cx.clock.now(), text(op, "node"));
    let path = format!(
        "/api/v1/nodes/{node}/proxy/checkpoint/{}/{}/{}?timeout={TIMEOUT}",
        op.object.namespace.as_deref().unwrap_or_default(),
        op.object.name,
        text(op, "container")
    );
    let request = Request::post(&path).body(Vec::new()).map_err(|e| Problem::internal(format!("{path}: {e}")))?;
    let answer = match cx.client.request::<Value>(request).await.map_err(Problem::from) {
        Ok(answer) => answer,
        Err(problem) if problem.fault == Fault::Unreachable => return Err(problem),
        Err(problem) => {
            let detail =
                format!("no checkpoint: {problem}; processes are read from the node instead, without their memory");
            return Ok(Done { status: OpStatus::Failed, detail, proof: None, observed: json!({"rung": "checkpoint"}) });
        }
    };
    let label = Label {
        title: format!("the kubelet's answer to the checkpoint of container {}", text(op, "container")),
        media_type: "application/json".into(),
        source: source(op, "checkpoint"),
        method: Method::api("the kubelet, through the API server", vec![path]),
        started,
    };
    cx.store.put_json(&answer_path(cx, op), label, cx.clock, &answer, Vec::new())?;
    let archive = archive(&answer);
    let detail = match &archive {
        Some((folder, name)) => format!("checkpoint made: {folder}/{name} on node {node}, where it stays"),
        None => "the kubelet says that it made a checkpoint, but not where".into(),
    };
    let proof = Proof::Verified("the kubelet names the archive".into());
    Ok(Done::applied(detail.clone(), if archive.is_some() { proof } else { Proof::Unproved(detail) }, answer))
}

/// Folder and name of the archive. From a node: only what can be such a path is taken for one.
fn archive(answer: &Value) -> Option<(String, String)> {
    let (folder, name) = answer["items"][0].as_str()?.rsplit_once('/')?;
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    let good = folder.starts_with('/') && plain(folder) && !folder.contains("..");
    (good && name.starts_with("checkpoint-") && plain(name)).then(|| (folder.into(), name.into()))
}

/// Copies it, sealed on the way.
pub(super) async fn take(with: &PodCapture, cx: &Cx, op: &Op) -> Result<Done, Problem> {
    let Some((folder, name)) = cx.store.read_json(&answer_path(cx, op)).as_ref().and_then(archive) else {
        return Ok(Done::taken("there is no checkpoint to copy", None, Value::Null));
    };
    let recipients = Recipients::parse(&with.recipients)
        .map_err(Problem::usage)?
        .ok_or_else(|| Problem::internal("nothing is sealed without recipients"))?;
    let path = format!("data/{}/{}.checkpoint.tar.age", segment(&cx.step), segment(text(op, "container")));
    if let Some(found) = cx.store.adopt(&path).filter(|a| a.complete) {
        return Ok(Done::told(
            Proof::Verified(format!("{path}, taken before the interruption")),
            json!({"artifact": found.path}),
        ));
    }
    let handle = match usable(cx, op).await? {
        Ok((handle, _)) => handle,
        Err(why) => return Ok(unproved(op, &why)),
    };
    let started = cx.clock.now();
    let argv: Vec<String> = ["/quell-collector", "file", "--root"].map(String::from).into();
    let argv = [argv, vec![format!("/host{folder}"), "--name".into(), name.clone()]].concat();
    let mut sealing = recipients.wrap(Lines(cx.store.create(&path)?))?;
    let (mut hello, mut size, mut shown) = (None, 0, 0);
    let label = format!("{} memory", text(op, "container"));
    let mut stream = Framed::new(|item| {
        match item {
            Item::Data(more) => {
                let broken = |e| Problem::new(Fault::Transient, format!("can't seal: {e}"));
                sealing.write_all(more).map_err(broken)?;
                size += more.len() as u64;
            }
            Item::Hello(said) => hello = Some(said),
            Item::Note(_) | Item::Trailer(_) => {}
        }
        if size - shown >= 1 << 20 {
            shown = size;
            (cx.progress)(&label, shown, None);
        }
        Ok(())
    });
    let ended = exec::exec(&cx.client, handle.place(), &argv, with.limits(), &mut stream).await;
    let Some(trailer) = stream.trailer.take() else {
        let why = ended.map_or_else(|problem| problem.message, |ended| format!("the copy was cut: {ended}"));
        return with.again(op, why.clone(), unproved(op, &why));
    };
    let Lines(writer) = sealing.finish().map_err(|e| Problem::failed(format!("can't seal: {e}")))?;
    let mut how = method(argv, &handle, hello.as_ref());
    how.rung = "checkpoint".into();
    how.reason = format!(
        "the kubelet's checkpoint, copied from node {}, sealed with age on the way for {}; {folder}/{name} stays there",
        handle.node,
        recipients.texts().join(", ")
    );
    let label = Label {
        title: format!("{}, sealed", subject(op)),
        media_type: "application/age".into(),
        source: source(op, "memory"),
        method: how,
        started,
    };
    let artifact = cx.store.finish(writer, |path, size, sha256| Artifact {
        size_source: Some(trailer.size),
        warnings: vec![format!("before it was sealed: {} bytes, SHA-256 {}", trailer.size, trailer.sha256)],
        ..Artifact::of(label, cx.clock.now(), path, size, sha256)
    })?;
    let detail =
        format!("{} of memory, sealed; remove {folder}/{name} from the node", indicatif::HumanBytes(trailer.size));
    let proof = Proof::Verified("its hashes at both ends agreed before it was sealed".into());
    Ok(Done::taken(detail, Some(proof), json!({"artifact": artifact.path, "rung": "checkpoint"})))
}

fn unproved(op: &Op, why: &str) -> Done {
    Done::told(Proof::Unproved(format!("the {}: {why}", subject(op))), Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_path_of_a_checkpoint_is_taken_for_one() {
        let of = |path: &str| archive(&json!({"items": [path]}));
        let folder = "/var/lib/kubelet/checkpoints";
        let name = "checkpoint-web-7d_shop-app-2026-11-23T03:00:00Z.tar".replace(':', "-");
        assert_eq!(of(&format!("{folder}/{name}")), Some((folder.into(), name.clone())));
        for wrong in
            ["/etc/shadow", "checkpoint-x", "/a/../b/checkpoint-x", "/a/checkpoint-x --root /", "/a/checkpoint-\u{1b}"]
        {
            assert_eq!(of(wrong), None, "{wrong}");
        }
        assert_eq!(archive(&json!({})), None);
    }
}
