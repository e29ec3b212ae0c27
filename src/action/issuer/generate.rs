//! `generate`: a random value, for a key that nobody but its holders checks (a signing key, a session key).

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Created, Job, Keep, Outlook, Provider};
use crate::action::Problem;
use crate::action::fresh_value::Generate;
use crate::action::sealed::Values;
use crate::event::ObjectRef;

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Random {
    /// The Secret's keys that get a new value. Default: its only key.
    #[serde(default)]
    keys: Vec<String>,
    /// Characters and what they are taken from.
    length: Option<u32>,
    alphabet: Option<crate::action::fresh_value::Alphabet>,
}

impl Random {
    fn how(&self) -> Generate {
        Generate { length: self.length.unwrap_or(32), alphabet: self.alphabet.unwrap_or_default() }
    }

    fn keys(&self, old: &Values) -> Result<Vec<String>, String> {
        let known = old.keys();
        if self.keys.is_empty() {
            return match known.as_slice() {
                [only] => Ok(vec![only.clone()]),
                _ => Err(format!("say with `keys` which of its keys get a new value: {}", known.join(", "))),
            };
        }
        match self.keys.iter().find(|k| !known.contains(k)) {
            Some(unknown) => Err(format!("the Secret has no key {unknown:?}; it has {}", known.join(", "))),
            None => Ok(self.keys.clone()),
        }
    }
}

#[async_trait]
impl Provider for Random {
    async fn look(&self, job: &Job<'_>, old: Option<&Values>) -> Result<Outlook, Problem> {
        let mut outlook = Outlook {
            object: ObjectRef { kind: "Value".into(), name: job.secret.name.clone(), ..ObjectRef::default() },
            ..Outlook::default()
        };
        outlook.blockers.extend(self.how().blocker());
        if let Some(old) = old {
            match self.keys(old) {
                Ok(keys) => outlook.keys = keys,
                Err(why) => outlook.blockers.push(why),
            }
        } else {
            outlook.keys.clone_from(&self.keys);
        }
        outlook.summary = format!("generate a new value for {} and seal it here", list(&outlook.keys));
        outlook.warnings.push(
            "the value is made here and no issuer is told: right for a key that only its holders check (a signing or \
             session key), wrong for a password that a server checks"
                .into(),
        );
        Ok(outlook)
    }

    fn prepare(&self, old: &Values) -> Result<Option<Values>, Problem> {
        let mut new = Values::default();
        for key in self.keys(old).map_err(Problem::usage)? {
            let mut fresh = self.how().value()?;
            let was = old.0.get(&key).cloned().unwrap_or_default();
            for (name, value) in &super::carried_over(old, &[(&was, &fresh.0)], &[&key]).0 {
                new.0.insert(name.clone(), value.clone());
            }
            new.0.insert(key, std::mem::take(&mut fresh.0));
        }
        Ok(Some(new))
    }

    async fn create(
        &self,
        _job: &Job<'_>,
        old: &Values,
        prepared: Option<Values>,
        _keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let values = match prepared {
            Some(values) => values,
            None => self.prepare(old)?.unwrap_or_default(),
        };
        let said = format!("a new value for {} is sealed here", list(&values.keys()));
        Ok(Created { values, said, detail: json!({}), secret: None })
    }

    async fn remove(&self, _job: &Job<'_>, _old: &Values, _detail: &Value) -> Result<String, Problem> {
        Ok("the generated value is forgotten".into())
    }

    async fn revoke(&self, _: &Job<'_>, _: &Values, _: &Value, _: bool) -> Result<Answer, Problem> {
        Ok(Answer::Unknown(
            "nobody issued the value: it is refused where its holders check it against the new one, and what was signed \
             or encrypted with the old one is theirs to end"
                .into(),
        ))
    }
}

/// `password` or `password and url`.
pub(super) fn list(keys: &[String]) -> String {
    match keys {
        [] => "its keys".into(),
        [one] => format!("the key {one}"),
        [rest @ .., last] => format!("the keys {} and {last}", rest.join(", ")),
    }
}
