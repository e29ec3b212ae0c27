//! `command`: a program of the responder's that speaks to the issuer. The contract, version 1:
//!
//! It is started with `argv` as given (no shell), an environment of PATH and the variables that `env` names, and gets
//! one JSON document on its standard input; it prints one JSON document (at most 1 MiB) on its standard output and ends
//! with 0. No value ever stands in its arguments or its environment. What it writes to standard error is not kept.
//!
//! ```json
//! {"version": 1, "operation": "create", "request": "20261124t…", "secret": {"namespace": "shop", "name": "db", "type": "Opaque"},
//!  "current": {"password": "…"}, "current-base64": {}, "detail": {}}
//! ```
//!
//! | operation | to do | answer |
//! | --- | --- | --- |
//! | `create` | a new credential; the old one stays valid where it can. The same `request` again gives the same one | `{"values": {"password": "…"}, "values-base64": {}, "detail": {}, "message": "…"}` |
//! | `find` | what `request` made, after an interruption | as `create`, or `{"result": "no"}` |
//! | `revoke` | end the old one (`"hard": true`: its sessions too) | `{"result": "yes", "message": "…"}` |
//! | `check` | whether `current` is taken: try it | `{"result": "yes" or "no", "message": "…"}` |
//! | `uses` | whether the old one is still used | `{"result": "yes" or "no", "message": "…"}` |
//! | `restore`, `remove` | undo `revoke`, undo `create` | `{"result": "yes"}` |
//!
//! `{"result": "unsupported"}` is the answer to an operation that it has not. `detail` and `message` are recorded: what of
//! them holds a value is thrown away.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Answer, Created, Job, Keep, Outlook, Provider};
use crate::action::Problem;
use crate::action::program::Program;
use crate::action::sealed::Values;
use crate::event::{ObjectRef, Undo};

/// Bytes that it may print.
const MAX: usize = 1 << 20;
/// Characters of its message that are recorded.
const MESSAGE: usize = 300;

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct External {
    /// The program and its arguments.
    argv: Vec<String>,
    /// Names of the environment variables that it is given beside PATH.
    #[serde(default)]
    env: Vec<String>,
    /// Seconds after which it is killed.
    timeout: Option<u64>,
}

/// What it answered.
pub(super) struct Said {
    pub result: String,
    pub message: String,
    pub values: Values,
    pub detail: Value,
    /// Why the answer is not to be trusted as a success: it ended badly.
    pub failed: Option<String>,
}

impl External {
    fn program(&self) -> Program<'_> {
        Program {
            argv: &self.argv,
            env: &self.env,
            cwd: None,
            timeout: Duration::from_secs(self.timeout.unwrap_or(60)),
        }
    }

    pub fn name(&self) -> &str {
        self.argv.first().map(String::as_str).unwrap_or_default()
    }

    pub fn blockers(&self) -> Vec<String> {
        self.program().blockers()
    }

    pub fn warnings(&self) -> Vec<String> {
        let unset = self.program().unset().into_iter();
        unset.map(|name| format!("the variable {name} that its program is to be given is not set")).collect()
    }

    /// Asks it one thing. An error: it could not be run, or said nothing that can be used.
    pub async fn ask(
        &self,
        operation: &str,
        job: &Job<'_>,
        current: &Values,
        detail: &Value,
        hard: bool,
    ) -> Result<Said, Problem> {
        let (mut text, mut other) = (serde_json::Map::new(), serde_json::Map::new());
        for (key, value) in &current.0 {
            match std::str::from_utf8(value) {
                Ok(value) => text.insert(key.clone(), Value::from(value)),
                Err(_) => other.insert(key.clone(), Value::from(STANDARD.encode(value))),
            };
        }
        let question = json!({
            "version": 1, "operation": operation, "request": job.request, "hard": hard, "detail": detail,
            "secret": { "namespace": job.secret.namespace, "name": job.secret.name, "type": job.kind },
            "current": text, "current-base64": other,
        });
        let question = Zeroizing::new(question.to_string().into_bytes());
        let mut out = Zeroizing::new(Vec::new());
        let mut long = false;
        let ended = self
            .program()
            .run_with(
                Some(&question),
                &mut |bytes| {
                    long |= out.len() + bytes.len() > MAX;
                    if !long {
                        out.extend_from_slice(bytes);
                    }
                    Ok(())
                },
                &mut |_| Ok(()),
            )
            .await?;
        let hint = "what it printed is not shown, for it may hold a value; run it by hand to see";
        let failed = (!ended.success() || ended.lingered)
            .then(|| format!("the program {:?} asked to {operation} ended with {}", self.name(), ended.text()));
        let answer: Option<Value> = (!long).then(|| serde_json::from_slice(&out).ok()).flatten();
        let Some(answer) = answer.filter(Value::is_object) else {
            return Err(Problem::failed(failed.unwrap_or_else(|| {
                format!("the program {:?} asked to {operation} printed no JSON document of at most 1 MiB", self.name())
            }))
            .hint(hint));
        };
        let mut values = Values::default();
        for (key, value) in answer["values"].as_object().into_iter().flatten() {
            if let Some(value) = value.as_str() {
                values.0.insert(key.clone(), value.as_bytes().to_vec());
            }
        }
        for (key, value) in answer["values-base64"].as_object().into_iter().flatten() {
            let bytes = value.as_str().and_then(|v| STANDARD.decode(v).ok());
            let bytes = bytes.ok_or_else(|| Problem::failed(format!("{key} is no base64")).hint(hint))?;
            values.0.insert(key.clone(), bytes);
        }
        let holds = |text: &str| {
            let all = current.0.values().chain(values.0.values()).filter(|v| v.len() >= 4);
            all.into_iter().any(|v| memchr::memmem::find(text.as_bytes(), v).is_some())
        };
        let message: String = answer["message"].as_str().unwrap_or_default().chars().take(MESSAGE).collect();
        let message = if holds(&message) { "(its message held a value: not shown)".into() } else { message };
        let detail = answer["detail"].clone();
        let detail = if holds(&detail.to_string()) || detail.to_string().len() > 4096 { Value::Null } else { detail };
        let result = answer["result"].as_str().unwrap_or_default().chars().take(20).collect();
        Ok(Said { result, message, values, detail, failed })
    }

    /// A question of yes and no.
    pub async fn whether(
        &self,
        operation: &str,
        job: &Job<'_>,
        current: &Values,
        detail: &Value,
        hard: bool,
    ) -> Result<Answer, Problem> {
        let said = self.ask(operation, job, current, detail, hard).await?;
        if let Some(failed) = said.failed {
            return Err(Problem::failed(failed));
        }
        let words = format!(
            "the program {:?} says so{}{}",
            self.name(),
            if said.message.is_empty() { "" } else { ": " },
            said.message
        );
        Ok(match said.result.as_str() {
            "yes" => Answer::Yes(words),
            "no" => Answer::No(words),
            _ => Answer::Unknown(format!("the program {:?} does not tell ({operation})", self.name())),
        })
    }

    async fn must(&self, operation: &str, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        match self.whether(operation, job, old, detail, false).await? {
            Answer::Yes(words) => Ok(words),
            Answer::No(words) | Answer::Unknown(words) => Err(Problem::failed(words)),
        }
    }
}

/// A made credential from what was said.
pub(super) fn created(program: &External, said: Said) -> Result<Created, Problem> {
    if said.values.0.is_empty() {
        return Err(Problem::failed(format!("the program {:?} gave no `values`", program.name())));
    }
    let message = if said.message.is_empty() { String::new() } else { format!(": {}", said.message) };
    Ok(Created {
        said: format!("the program {:?} made a credential{message}", program.name()),
        values: said.values,
        detail: said.detail,
        secret: None,
    })
}

#[async_trait]
impl Provider for External {
    async fn look(&self, job: &Job<'_>, _old: Option<&Values>) -> Result<Outlook, Problem> {
        Ok(Outlook {
            blockers: self.blockers(),
            warnings: self.warnings(),
            object: ObjectRef { kind: "Credential".into(), name: job.secret.name.clone(), ..ObjectRef::default() },
            summary: format!("let `{}` make a new credential", self.name()),
            after: json!({ "credential": "(the program's, never shown)" }),
            changes: true,
            undo: Some(Undo::Automatic(format!("ask `{}` to remove it", self.name()))),
            revoke: Some(format!("let `{}` revoke the old one", self.name())),
            ..Outlook::default()
        })
    }

    async fn create(
        &self,
        job: &Job<'_>,
        old: &Values,
        _prepared: Option<Values>,
        keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let said = self.ask("create", job, old, &Value::Null, false).await?;
        if !said.values.0.is_empty() {
            // Whatever became of the program: what it made must not be lost.
            keep(&said.values)?;
        }
        match &said.failed {
            Some(failed) if said.values.0.is_empty() => Err(Problem::failed(failed.clone())
                .hint("whether it made a credential is not known: resume asks it (`find`)")),
            Some(failed) => Err(Problem::failed(format!("{failed}, after it had made a credential"))
                .hint("the credential is sealed in the incident's folder; `quell resume` goes on with it")),
            None => created(self, said),
        }
    }

    async fn find(&self, job: &Job<'_>, old: &Values) -> Result<Option<Created>, Answer> {
        match self.ask("find", job, old, &Value::Null, false).await {
            Ok(said) if said.failed.is_none() && !said.values.0.is_empty() => {
                created(self, said).map(Some).map_err(|p| Answer::Unknown(p.message))
            }
            Ok(said) if said.failed.is_none() && said.result == "no" => Ok(None),
            Ok(_) => Err(Answer::Unknown(format!("the program {:?} can't tell what it made", self.name()))),
            Err(problem) => Err(Answer::Unknown(problem.message)),
        }
    }

    async fn remove(&self, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        self.must("remove", job, old, detail).await
    }

    async fn revoke(&self, job: &Job<'_>, old: &Values, detail: &Value, hard: bool) -> Result<Answer, Problem> {
        self.whether("revoke", job, old, detail, hard).await
    }

    async fn restore(&self, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        self.must("restore", job, old, detail).await
    }

    async fn taken(&self, job: &Job<'_>, values: &Values, detail: &Value) -> Result<Answer, Problem> {
        self.whether("check", job, values, detail, false).await
    }

    async fn used(&self, job: &Job<'_>, detail: &Value) -> Result<Answer, Problem> {
        self.whether("uses", job, &Values::default(), detail, false).await
    }
}
