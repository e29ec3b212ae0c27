//! `manual`: a person makes the credential and lays it into files, one for each key, as `kubectl create secret
//! --from-file` takes them.

use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Created, Job, Keep, Outlook, Provider, line, private_file};
use crate::action::Problem;
use crate::action::sealed::Values;
use crate::cluster::{ByHand as Word, Fault};
use crate::event::{ObjectRef, Undo};

/// Settings: none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ByHand {}

/// Asks a person, away from the runtime's own threads.
async fn ask(job: &Job<'_>, title: &str, text: String) -> Result<Word, Problem> {
    let (ask, step, title) = (job.cx.ask.clone(), job.cx.step.clone(), title.to_owned());
    let answer = tokio::task::spawn_blocking(move || ask.manual(&step, &title, &text))
        .await
        .map_err(|e| Problem::internal(format!("the question ended early: {e}")))?;
    answer.ok_or_else(|| {
        Problem::new(Fault::Approval, format!("the step {} needs a person", job.cx.step))
            .hint("run `quell resume` at a terminal, or choose another provider")
    })
}

fn name(secret: &ObjectRef) -> String {
    format!("{}/{}", secret.namespace.as_deref().unwrap_or_default(), secret.name)
}

#[async_trait]
impl Provider for ByHand {
    async fn look(&self, job: &Job<'_>, old: Option<&Values>) -> Result<Outlook, Problem> {
        Ok(Outlook {
            object: ObjectRef { kind: "Credential".into(), name: job.secret.name.clone(), ..ObjectRef::default() },
            summary: "ask a person to make a new credential at its issuer, and to name the files that hold it".into(),
            keys: old.map(Values::keys).unwrap_or_default(),
            undo: Some(Undo::Impossible("a person made it; whoever can remove it at the issuer has to".into())),
            revoke: Some("ask a person to revoke the old one".into()),
            ..Outlook::default()
        })
    }

    async fn create(
        &self,
        job: &Job<'_>,
        old: &Values,
        _prepared: Option<Values>,
        _keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let text = format!(
            "Make a new credential for Secret {} at its issuer, and leave the old one valid for now if you can.\n\
             Put each new value into a file of its own that only you may read (chmod 600), named as the key in the Secret: \
             {}.\nName these files here. They are not kept as evidence: their values are sealed and go into the Secret.",
            name(job.secret),
            old.keys().join(", ")
        );
        let (note, files) = match ask(job, "a new credential", text).await? {
            Ok(done) => done,
            Err(why) => return Err(Problem::failed(format!("no new credential, a person says: {why}"))),
        };
        if files.is_empty() {
            return Err(Problem::failed("no file with a new value was named").hint("resume, and name one for each key"));
        }
        let mut values = Values::default();
        for file in &files {
            let key = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            if !old.0.contains_key(&key) {
                return Err(Problem::usage(format!("the Secret has no key {key:?}; it has {}", old.keys().join(", ")))
                    .hint("a file is named as the key whose new value it holds"));
            }
            let held = private_file(&Path::new(file).display().to_string(), "the new value's file")?;
            values.0.insert(key, line(&held).to_vec());
        }
        let holds = values.0.values().any(|v| v.len() >= 4 && memchr::memmem::find(note.as_bytes(), v).is_some());
        let note = if holds { "(the note held a value: not shown)".to_owned() } else { note };
        Ok(Created { said: format!("made by hand: {note}"), values, detail: json!({}), secret: None })
    }

    async fn revoke(&self, job: &Job<'_>, _old: &Values, _detail: &Value, hard: bool) -> Result<Answer, Problem> {
        let text = format!(
            "Revoke the old credential of Secret {} at its issuer{}, and say how.",
            name(job.secret),
            if hard { " now, with its open sessions" } else { "" }
        );
        Ok(match ask(job, "revoke the old credential", text).await? {
            Ok((note, _)) => Answer::Yes(format!("revoked by hand, on a person's word: {note}")),
            Err(why) => Answer::No(format!("not revoked, a person says: {why}")),
        })
    }
}
