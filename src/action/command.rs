//! `command`: one program on the responder's machine, its outputs kept as artifacts.

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::program::{Ended, Program};
use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::cluster::Cx;
use crate::event::{
    Artifact, Estimate, Label, Landed, Method, ObjectRef, Op, OpKind, OpStatus, Proof, Risk, Source, Undo,
};
use crate::evidence::{Writer, segment};

/// Bytes that are kept of each of its outputs.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;

/// Parameters of `command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments. No shell reads them. They are shown and recorded: never put a secret here.
    argv: Vec<String>,
    /// Names of environment variables that the program is given beside PATH; it is given no others.
    #[serde(default)]
    env: Vec<String>,
    /// Seconds after which it is killed with all that it started. Default: 300.
    #[serde(default = "five_minutes")]
    timeout: u64,
    /// Name of the artifacts: `NAME.stdout`, `NAME.stderr`, `NAME.result.json`. Default: `output`.
    #[serde(default = "output")]
    output: String,
    /// The folder in which it runs. Default: quell's own.
    cwd: Option<String>,
    /// How much harm it can do, as far as the runbook's author knows. With `read` an interrupted one is simply run
    /// again. Default: `high`, for quell can't know.
    #[serde(default = "high")]
    #[schemars(with = "RiskName")]
    risk: Risk,
}

/// The risk's names, for the schema.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used: the event family derives none")]
enum RiskName {
    /// Changes nothing.
    Read,
    /// Leaves a trace, takes nothing away.
    Low,
    /// Can be taken back.
    Medium,
    /// May interrupt service.
    High,
    /// Destroys something.
    Destructive,
}

fn five_minutes() -> u64 {
    300
}

fn output() -> String {
    "output".into()
}

fn high() -> Risk {
    Risk::High
}

impl Kind for Command {
    const SPEC: Spec = Spec {
        name: "command",
        summary: "Runs a program on this machine and keeps its output",
        description: "Runs one program on the responder's machine: arguments as given, no shell, no standard input, an \
            environment of PATH and the named variables only, killed with all it started when its time is over. Both \
            outputs become artifacts, at most 64 MiB each. An exit status other than 0 fails the step. What the program \
            changes is not known to quell: after an interruption a program that may have run is not run again without \
            a person.",
        risk: Risk::Destructive,
        undo: "a local program's effects are not known to quell and can't be taken back by it",
        captures: false,
        rules: &[],
        example: "id: block-egress\ntitle: Block the address at the firewall\nuses: command\nwith:\n  argv: [firewall-ctl, block, \"${{ inputs.address }}\"]\n  env: [FIREWALL_TOKEN]\n  timeout: 60\n",
        outputs: &[
            ("exit_code", "its exit status"),
            ("stdout", "path of the artifact with its standard output"),
            ("stderr", "path of the artifact with its standard error"),
        ],
    };
}

impl Command {
    fn program(&self) -> Program<'_> {
        Program {
            argv: &self.argv,
            env: &self.env,
            cwd: self.cwd.as_deref(),
            timeout: Duration::from_secs(self.timeout),
        }
    }

    /// Paths of the n-th try's artifacts. A failed try's are in the journal already and must not be written over.
    fn path(&self, cx: &Cx, attempt: u32, what: &str) -> String {
        let number = if attempt == 1 { String::new() } else { format!("-{attempt}") };
        format!("data/{}/{}{number}.{what}", segment(&cx.step), self.output)
    }

    /// The first try that left nothing finished.
    fn next_attempt(&self, cx: &Cx) -> u32 {
        let free = |attempt: &u32| !cx.store.root().join(self.path(cx, *attempt, "stdout")).exists();
        (1..1000).find(free).unwrap_or(1000)
    }

    fn label(&self, op: &Op, title: &str, media_type: &str, what: &str, cx: &Cx) -> Label {
        Label {
            title: title.into(),
            media_type: media_type.into(),
            source: Source { object: op.object.clone(), container: None, what: what.into() },
            method: Method::responder("command", "the program's own output", self.argv.clone()),
            started: cx.clock.now(),
        }
    }
}

#[async_trait]
impl Action for Command {
    async fn plan(&self, _cx: &Cx) -> Result<StepPlan, Problem> {
        let program = self.program();
        let mut plan = StepPlan { blockers: program.blockers(), ..StepPlan::default() };
        if self.output.is_empty() || segment(&self.output) != self.output || self.output.len() > 64 {
            plan.blockers.push("`output` must be a name of letters, digits, `.`, `_` and `-`, at most 64".into());
        }
        for name in program.unset() {
            plan.warnings.push(format!("the variable {name} that it is to be given is not set"));
        }
        let name = self.argv.first().cloned().unwrap_or_default();
        let object = ObjectRef { kind: "Program".into(), name, ..ObjectRef::default() };
        let summary = format!("run on this machine: {}", quoted(&self.argv));
        let undo = Undo::Impossible("a local program's effects are not known to quell".into());
        let op = Op::change("run", object, summary, self.risk, undo);
        // A program whose author says that it only reads brings evidence and no change.
        plan.ops.push(if self.risk == Risk::Read {
            let estimate = Estimate { bytes: None, basis: "nothing tells how much a program prints".into() };
            Op { kind: OpKind::Capture, undo: Undo::NotNeeded, estimate: Some(estimate), ..op }
        } else {
            op
        });
        for op in &mut plan.ops {
            op.detail = json!({ "key": quoted(&self.argv), "env": self.env, "timeout": self.timeout });
        }
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let attempt = self.next_attempt(cx);
        let (out_path, err_path) = (self.path(cx, attempt, "stdout"), self.path(cx, attempt, "stderr"));
        let out_label = self.label(op, "what the program printed", "application/octet-stream", "stdout", cx);
        let err_label = self.label(op, "what the program printed as errors", "text/plain", "stderr", cx);
        let result_label = self.label(op, "how the program ended", "application/json", "exit status", cx);
        let started = cx.clock.now();
        // These are on disk before the program starts: `landed` tells by them that it may have.
        let mut out = cx.store.create(&out_path)?;
        let mut err = cx.store.create(&err_path)?;
        sync_folder(cx, &out_path)?;
        let limit = MAX_OUTPUT.min(cx.store.max_bytes);
        let (mut out_cut, mut err_cut) = (false, false);
        let progress = cx.progress.clone();
        let ended = self
            .program()
            .run(
                &mut |bytes| {
                    let kept = keep(&mut out, bytes, limit, &mut out_cut);
                    progress("output", out.size(), None);
                    kept
                },
                &mut |bytes| keep(&mut err, bytes, limit, &mut err_cut),
            )
            .await?;
        let why = |cut: bool| match (cut, ended.lingered, ended.status) {
            (true, ..) => Some(format!("cut at {limit} bytes")),
            (_, true, _) => Some("something that the program started still held it open".to_owned()),
            (_, _, None) => Some("the program was killed before its end".to_owned()),
            _ => None,
        };
        for (writer, label, cut) in [(out, out_label, out_cut), (err, err_label, err_cut)] {
            let truncated = why(cut);
            cx.store.finish(writer, |path, size, sha256| Artifact {
                complete: truncated.is_none(),
                truncated,
                ..Artifact::of(label, cx.clock.now(), path, size, sha256)
            })?;
        }
        let result = json!({
            "argv": self.argv,
            "environment": self.env,
            "result": ended.text(),
            "exit_code": ended.status.and_then(|s| s.code()),
            "killed_after_seconds": ended.status.is_none().then_some(self.timeout),
            "output_cut": out_cut || err_cut,
            "left_something_running": ended.lingered,
            "started": crate::clock::rfc3339(started),
            "ended": crate::clock::rfc3339(cx.clock.now()),
            "stdout": out_path,
            "stderr": err_path,
        });
        cx.store.put_json(&self.path(cx, attempt, "result.json"), result_label, cx.clock, &result, Vec::new())?;
        if ended.success() { Ok(done(&result)) } else { Err(failed(&self.argv, &ended, &err_path)) }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        if op.kind == OpKind::Capture {
            return Ok((Landed::No, None));
        }
        let next = self.next_attempt(cx);
        let partial = |what: &str| {
            let path = self.path(cx, next, what);
            let name = path.rsplit('/').next().unwrap_or_default();
            cx.store.root().join(&path).with_file_name(format!(".{name}.partial")).exists()
        };
        if partial("stdout") || partial("stderr") {
            return Ok((Landed::Unknown, None));
        }
        if next == 1 {
            return Ok((Landed::No, None));
        }
        // The last try's outputs are whole; whether it succeeded lies beside them. A success ends the operation, so it
        // is this intent's; a failure may be an earlier intent's.
        let path = self.path(cx, next - 1, "result.json");
        match cx.store.adopt_json(&path) {
            Some(result) if result["exit_code"] == 0 => {
                cx.store.adopt(&self.path(cx, next - 1, "stdout"));
                cx.store.adopt(&self.path(cx, next - 1, "stderr"));
                Ok((Landed::Yes, Some(done(&result))))
            }
            _ => Ok((Landed::Unknown, None)),
        }
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
    }
}

fn done(result: &Value) -> Done {
    let cut = if result["output_cut"] == true { "; its output was cut" } else { "" };
    let text = format!("the program ended with exit status 0{cut}");
    Done {
        status: OpStatus::Applied,
        detail: text.clone(),
        proof: Some(Proof::Verified(format!("{text}; what it did is its own word"))),
        observed: json!({
            "exit_code": result["exit_code"],
            "stdout": result["stdout"],
            "stderr": result["stderr"],
        }),
    }
}

fn failed(argv: &[String], ended: &Ended, stderr: &str) -> Problem {
    let name = argv.first().map(String::as_str).unwrap_or_default();
    Problem::failed(format!("the program {name:?} ended with {}", ended.text()))
        .hint(format!("its errors are in {stderr}; what it had done by then is not known to quell"))
}

fn keep(writer: &mut Writer, bytes: &[u8], limit: u64, cut: &mut bool) -> Result<(), Problem> {
    let room = usize::try_from(limit.saturating_sub(writer.size())).unwrap_or(usize::MAX);
    *cut |= bytes.len() > room;
    writer.write(&bytes[..bytes.len().min(room)])
}

fn sync_folder(cx: &Cx, path: &str) -> Result<(), Problem> {
    let full = cx.store.root().join(path);
    let folder = full.parent().unwrap_or(cx.store.root());
    let io = |e: std::io::Error| Problem::io("can't sync the folder", folder, &e);
    std::fs::File::open(folder).and_then(|dir| dir.sync_all()).map_err(io)
}

/// For people: each argument quoted where it must be.
fn quoted(argv: &[String]) -> String {
    let plain = |a: &str| !a.is_empty() && a.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c));
    argv.iter().map(|a| if plain(a) { a.clone() } else { format!("{a:?}") }).collect::<Vec<_>>().join(" ")
}
