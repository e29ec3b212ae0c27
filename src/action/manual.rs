//! `manual`: a task for a person.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::cluster::{Cx, Fault};
use crate::event::{Artifact, Label, Method, ObjectRef, Op, Proof, Risk, Source};
use crate::evidence::segment;

/// Parameters of `manual`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manual {
    /// What the person is to do, and how to tell that it worked.
    instructions: String,
    /// Whether files are to be attached as evidence: `optional` (the default), `required` or `none`.
    #[serde(default)]
    evidence: Evidence,
}

/// Whether files are attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Evidence {
    /// Taken when given.
    #[default]
    Optional,
    /// Without a file the step is not done.
    Required,
    /// Not expected; taken all the same when given.
    None,
}

impl Kind for Manual {
    const SPEC: Spec = Spec {
        name: "manual",
        summary: "Asks a person to do something, and records what they say and attach",
        description: "Shows the instructions and waits for a person, who says what was done (and may attach files, which \
            are copied as evidence) or why it was not. What a person says is recorded as a person's word. Without \
            anybody to ask the run stops for an approval.",
        risk: Risk::Read,
        undo: "quell changes nothing itself; what a person did is theirs to take back",
        captures: false,
        rules: &[],
        example: "id: call-owner\ntitle: Call the owner of the service\nuses: manual\nwith:\n  instructions: |\n    Call the on-call engineer of the service and say that its pod is isolated.\n  evidence: optional\n",
        outputs: &[
            ("done", "true when the person says that it was done"),
            ("note", "what they wrote"),
            ("files", "paths of the artifacts they attached"),
        ],
    };
}

#[async_trait]
impl Action for Manual {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        if self.instructions.trim().is_empty() {
            plan.blockers.push("`instructions` are empty".into());
        }
        let object = ObjectRef { kind: "Task".into(), name: cx.step.clone(), ..ObjectRef::default() };
        let first = self.instructions.trim().lines().next().unwrap_or_default();
        let mut op = Op::observe(object, format!("ask a person: {first}"));
        op.verb = "ask".into();
        plan.ops.push(op);
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let (ask, step, instructions) = (cx.ask.clone(), cx.step.clone(), self.instructions.clone());
        let title = op.summary.clone();
        // A person takes minutes: not on the runtime's own threads.
        let answer = tokio::task::spawn_blocking(move || ask.manual(&step, &title, &instructions))
            .await
            .map_err(|e| Problem::internal(format!("the question ended early: {e}")))?;
        let (note, files) = match answer {
            None => {
                return Err(Problem::new(Fault::Approval, format!("the step {} needs a person", cx.step))
                    .hint("run `quell resume` at a terminal, or skip the step with a reason"));
            }
            Some(Err(reason)) => {
                let why = format!("not done, a person says: {reason}");
                let observed = json!({ "done": false, "note": reason, "files": [] });
                return Ok(Done::taken(why.clone(), Some(Proof::Unproved(why)), observed));
            }
            Some(Ok(answer)) => answer,
        };
        if files.is_empty() && self.evidence == Evidence::Required {
            return Err(Problem::failed(format!(
                "the step {} requires a file as evidence and none was given",
                cx.step
            ))
            .hint("resume and attach one, or skip the step with a reason"));
        }
        let mut paths = Vec::new();
        let mut cut = 0;
        for file in &files {
            let (cx, op, file) = (cx.clone(), op.clone(), file.clone());
            let artifact = tokio::task::spawn_blocking(move || copy(&cx, &op, &file))
                .await
                .map_err(|e| Problem::internal(format!("the copy ended early: {e}")))??;
            cut += usize::from(!artifact.complete);
            paths.push(artifact.path);
        }
        let attached = match (paths.len(), cut) {
            (0, _) => String::new(),
            (n, 0) => format!(" ({n} attached)"),
            (n, cut) => format!(" ({n} attached, {cut} of them cut at the limit)"),
        };
        let text = format!("done, on a person's word{attached}: {note}");
        let observed = json!({ "done": true, "note": note, "files": paths });
        let proof = if cut > 0 { Proof::Unproved(text.clone()) } else { Proof::Verified(text.clone()) };
        Ok(Done::taken(text, Some(proof), observed))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
    }
}

/// Copies an attached file: regular files only, no link followed, at most the store's limit.
fn copy(cx: &Cx, op: &Op, file: &Path) -> Result<Artifact, Problem> {
    use std::os::unix::fs::OpenOptionsExt;
    let started = cx.clock.now();
    let problem = |e: &dyn std::fmt::Display| {
        Problem::failed(format!("can't attach {}: {e}", file.display()))
            .hint("give a regular file that you may read; a link is not followed")
    };
    // NONBLOCK: opening a pipe must not wait for its writer.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut from =
        File::options().read(true).custom_flags(flags.bits().cast_signed()).open(file).map_err(|e| problem(&e))?;
    let meta = from.metadata().map_err(|e| problem(&e))?;
    if !meta.is_file() {
        return Err(problem(&"it is no regular file"));
    }
    let name = segment(&file.file_name().unwrap_or_default().to_string_lossy());
    // A file attached in an earlier try may be in the journal already: it is never written over.
    let path = (1..10_000)
        .map(|n| format!("data/{}/{n:02}-{name}", segment(&cx.step)))
        .find(|path| !cx.store.root().join(path).exists())
        .ok_or_else(|| problem(&"too many files"))?;
    let mut out = cx.store.create(&path)?;
    let mut buffer = vec![0; 256 * 1024];
    let mut truncated = None;
    loop {
        let n = from.read(&mut buffer).map_err(|e| problem(&e))?;
        if n == 0 {
            break;
        }
        let room = usize::try_from(cx.store.max_bytes.saturating_sub(out.size())).unwrap_or(usize::MAX);
        out.write(&buffer[..n.min(room)])?;
        (cx.progress)("attached file", out.size(), Some(meta.len()));
        if n > room {
            truncated = Some(format!("cut at the limit of {} bytes", cx.store.max_bytes));
            break;
        }
    }
    let label = Label {
        title: format!("attached by a person: {name}"),
        media_type: "application/octet-stream".into(),
        source: Source { object: op.object.clone(), container: None, what: "attached file".into() },
        method: Method { argv: vec![file.display().to_string()], ..Method::person("a person attached it") },
        started,
    };
    cx.store.finish(out, |path, size, sha256| Artifact {
        complete: truncated.is_none(),
        truncated,
        size_source: Some(meta.len()),
        ..Artifact::of(label, cx.clock.now(), path, size, sha256)
    })
}
