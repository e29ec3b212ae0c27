//! The instance itself: an object whose controller ends it, a program, or people.

use std::time::Duration;

use kube::Api;
use kube::api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Preconditions};
use kube::runtime::{conditions, wait::await_condition};
use serde_json::{Value, json};

use super::method::{self, Found};
use super::{NodeTerminate, destroy};
use crate::action::program::Program;
use crate::action::{Done, StepPlan, node};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Artifact, Label, Landed, Method as How, ObjectRef, Op, OpStatus, Proof, Source};
use crate::evidence::segment;

/// Bytes that are kept of each of a program's outputs.
const MAX_OUTPUT: usize = 1024 * 1024;

impl NodeTerminate {
    fn program<'a>(&'a self, argv: &'a [String]) -> Program<'a> {
        Program { argv, env: &self.env, cwd: None, timeout: Duration::from_secs(self.timeout) }
    }

    pub(super) async fn plan_instance(
        &self,
        cx: &Cx,
        found: &Value,
        how: &Found,
        plan: &mut StepPlan,
    ) -> Result<Op, Problem> {
        let target = node::object(found);
        let gone = "an instance that is deleted is gone, with its disk and memory";
        Ok(match how {
            Found::Object { object, plural, again } => {
                let text = format!(
                    "delete {object} (UID {}): its controller ends the instance",
                    object.uid.as_deref().unwrap_or("-")
                );
                let mut op = destroy("delete", object.clone(), text, gone);
                op.detail = json!({"plural": plural});
                if let Some(again) = again {
                    plan.warnings
                        .push(format!("{again} makes another instance for the one that ends, of the same image"));
                }
                let answer = dynamic(cx, &op).delete(&object.name, &params(&op, true)).await;
                plan.hear(cx, &format!("delete {object}"), answer.map(|_| ()).map_err(Problem::from))?;
                op
            }
            Found::Program => {
                let argv = match method::filled(&self.command, found) {
                    Ok(argv) => argv,
                    Err(why) => {
                        plan.blockers.push(format!("`command`: {why}"));
                        self.command.clone()
                    }
                };
                let program = self.program(&argv);
                plan.blockers.extend(program.blockers());
                plan.warnings.extend(
                    program
                        .unset()
                        .into_iter()
                        .map(|n| format!("the variable {n} that the program is to be given is not set")),
                );
                let name = argv.first().cloned().unwrap_or_default();
                let object = ObjectRef { kind: "Program".into(), name, ..ObjectRef::default() };
                let text = format!("run on this machine, for {target}: {}", argv.join(" "));
                let mut op = destroy("run", object, text, gone);
                op.detail = json!({"argv": argv, "node": target});
                op
            }
            Found::Nothing(why) => {
                plan.warnings.push(format!(
                    "nothing here ends the instance ({why}): its machine runs on until people end it; `command` would"
                ));
                let mut op = Op::observe(target.clone(), format!("leave the instance of {target} to people: {why}"));
                op.detail = json!({"why": why});
                op
            }
        })
    }

    pub(super) async fn delete_object(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match dynamic(cx, op).delete(&op.object.name, &params(op, false)).await.map_err(Problem::from) {
            Ok(_) => {}
            Err(problem) if problem.fault == Fault::NotFound => {}
            Err(problem) => return Err(problem),
        }
        self.object_gone(cx, op).await
    }

    pub(super) async fn object_landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        match dynamic(cx, op).get_opt(&op.object.name).await? {
            Some(found) if found.metadata.uid == op.object.uid && found.metadata.deletion_timestamp.is_none() => {
                Ok((Landed::No, None))
            }
            _ => Ok((Landed::Yes, Some(self.object_gone(cx, op).await?))),
        }
    }

    async fn object_gone(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let uid = op.object.uid.clone().unwrap_or_default();
        let gone = await_condition(dynamic(cx, op), &op.object.name, conditions::is_deleted(&uid));
        Ok(match tokio::time::timeout(Duration::from_secs(self.timeout), gone).await {
            Ok(Ok(_)) => Done::applied(
                format!("{} is gone", op.object),
                Proof::Verified("that UID is gone: by its controller's word the instance is".into()),
                json!({"instance_ended": true}),
            ),
            _ => {
                let why = format!(
                    "{} is being deleted and was there after {} s: its instance may run",
                    op.object, self.timeout
                );
                Done::applied(why.clone(), Proof::Unproved(why), json!({"instance_ended": false}))
            }
        })
    }

    pub(super) async fn run_program(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let argv: Vec<String> = serde_json::from_value(op.detail["argv"].clone()).unwrap_or_default();
        let started = cx.clock.now();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let keep = |into: &mut Vec<u8>, bytes: &[u8]| {
            let room = MAX_OUTPUT.saturating_sub(into.len());
            into.extend_from_slice(&bytes[..bytes.len().min(room)]);
        };
        let ended = self
            .program(&argv)
            .run(
                &mut |bytes| {
                    keep(&mut out, bytes);
                    Ok(())
                },
                &mut |bytes| {
                    keep(&mut err, bytes);
                    Ok(())
                },
            )
            .await?;
        let label = |title: &str, media: &str, what: &str| Label {
            title: title.into(),
            media_type: media.into(),
            source: Source { object: op.object.clone(), container: None, what: what.into() },
            method: How::responder("command", "the program's own output", argv.clone()),
            started,
        };
        for (name, bytes) in [("stdout", &out), ("stderr", &err)] {
            let cut = (bytes.len() >= MAX_OUTPUT).then(|| format!("cut at {MAX_OUTPUT} bytes"));
            let label = label(&format!("The program's {name}"), "text/plain", name);
            cx.store.put(&path(cx, &format!("instance.{name}")), bytes, |path, size, sha256| Artifact {
                complete: cut.is_none(),
                truncated: cut.clone(),
                ..Artifact::of(label, cx.clock.now(), path, size, sha256)
            })?;
        }
        let result = json!({"argv": argv, "result": ended.text(), "success": ended.success()});
        let label = label("How the program that ends the instance ended", "application/json", "result");
        cx.store.put_json(&path(cx, "instance.result.json"), label, cx.clock, &result, Vec::new())?;
        if ended.success() {
            return Ok(program_done());
        }
        Err(Problem::failed(format!("the program {:?} ended with {}", op.object.name, ended.text())).hint(format!(
            "its words are in {}; look whether the instance runs, for quell does not know",
            path(cx, "instance.stderr")
        )))
    }
}

fn path(cx: &Cx, name: &str) -> String {
    format!("data/{}/{name}", segment(&cx.step))
}

fn program_done() -> Done {
    Done::applied(
        "the program ended with exit status 0",
        Proof::Verified("exit status 0: that the instance is gone is its own word".into()),
        json!({"instance_ended": true}),
    )
}

/// Whether a program ran to its end is in its result; without one only a person can tell.
pub(super) fn program_landed(cx: &Cx, _op: &Op) -> Result<(Landed, Option<Done>), Problem> {
    match cx.store.adopt_json(&path(cx, "instance.result.json")) {
        Some(result) if result["success"] == true => Ok((Landed::Yes, Some(program_done()))),
        _ => Ok((Landed::Unknown, None)),
    }
}

pub(super) fn left_to_people(op: &Op) -> Done {
    let why = format!(
        "the instance of {} is left to people ({}): until it is off, what runs on it goes on",
        op.object,
        op.detail["why"].as_str().unwrap_or_default()
    );
    Done {
        status: OpStatus::Taken,
        detail: why.clone(),
        proof: Some(Proof::Unproved(why)),
        observed: json!({"instance_ended": false}),
    }
}

fn params(op: &Op, dry_run: bool) -> DeleteParams {
    DeleteParams {
        dry_run,
        preconditions: Some(Preconditions { uid: op.object.uid.clone(), ..Preconditions::default() }),
        ..DeleteParams::default()
    }
}

fn dynamic(cx: &Cx, op: &Op) -> Api<DynamicObject> {
    let (group, version) = op.object.api_version.split_once('/').unwrap_or(("", &op.object.api_version));
    let kind = GroupVersionKind::gvk(group, version, &op.object.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, op.detail["plural"].as_str().unwrap_or_default());
    match &op.object.namespace {
        Some(namespace) => Api::namespaced_with(cx.client.clone(), namespace, &resource),
        None => Api::all_with(cx.client.clone(), &resource),
    }
}
