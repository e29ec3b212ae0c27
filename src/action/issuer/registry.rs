//! `registry`: the password in a pull secret. A program makes it (see `command`); this puts it into `.dockerconfigjson`.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::program::External;
use super::{Answer, Created, Job, Keep, Outlook, Provider};
use crate::action::Problem;
use crate::action::sealed::Values;
use crate::event::{ObjectRef, Undo};

/// The key of a `kubernetes.io/dockerconfigjson` Secret.
const KEY: &str = ".dockerconfigjson";

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Registry {
    /// Which registry of the pull secret. Default: its only one.
    server: Option<String>,
    /// The program that makes the password: it answers with `values: {username, password}`; the old ones are `current`.
    argv: Vec<String>,
    /// Names of the environment variables that it is given beside PATH.
    #[serde(default)]
    env: Vec<String>,
    /// Seconds after which it is killed.
    timeout: Option<u64>,
}

impl Registry {
    fn program(&self) -> Result<External, Problem> {
        let settings = json!({ "argv": self.argv, "env": self.env, "timeout": self.timeout });
        serde_json::from_value(settings).map_err(|e| Problem::internal(e.to_string()))
    }

    /// The registry's name, user and password.
    fn login(&self, secret: &Values) -> Result<(String, Values), Problem> {
        let bytes = secret.0.get(KEY).ok_or_else(|| Problem::usage(format!("the Secret has no key {KEY}")))?;
        let config: Value =
            serde_json::from_slice(bytes).map_err(|_| Problem::failed(format!("{KEY} is no JSON document")))?;
        let auths = config["auths"].as_object().cloned().unwrap_or_default();
        let names = || auths.keys().cloned().collect::<Vec<_>>().join(", ");
        let server = match (&self.server, auths.len()) {
            (Some(server), _) => server.clone(),
            (None, 1) => auths.keys().next().cloned().unwrap_or_default(),
            _ => return Err(Problem::usage(format!("say with `server` which registry it is: {}", names()))),
        };
        let auth =
            auths.get(&server).ok_or_else(|| Problem::usage(format!("{KEY} has no {server}; it has {}", names())))?;
        let pair = auth["auth"].as_str().and_then(|a| STANDARD.decode(a).ok()).map(Zeroizing::new);
        let (user, password) =
            match pair.as_ref().and_then(|p| std::str::from_utf8(p).ok()).and_then(|p| p.split_once(':')) {
                Some((user, password)) => (user.to_owned(), password.to_owned()),
                None => (
                    auth["username"].as_str().unwrap_or_default().to_owned(),
                    auth["password"].as_str().unwrap_or_default().to_owned(),
                ),
            };
        let pairs = [("username", user), ("password", password)];
        Ok((server, Values(pairs.map(|(k, v)| (k.to_owned(), v.into_bytes())).into())))
    }

    fn put(&self, secret: &Values, server: &str, login: &Values) -> Result<Values, Problem> {
        let bytes = secret.0.get(KEY).map(Vec::as_slice).unwrap_or_default();
        let mut config: Value =
            serde_json::from_slice(bytes).map_err(|_| Problem::failed(format!("{KEY} is no JSON document")))?;
        let (user, password) = (login.text("username").unwrap_or_default(), login.text("password").unwrap_or_default());
        if password.is_empty() {
            return Err(Problem::failed("the program gave no `values.password`"));
        }
        let pair = Zeroizing::new(format!("{user}:{password}"));
        config["auths"][server]["username"] = json!(user);
        config["auths"][server]["password"] = json!(password);
        config["auths"][server]["auth"] = json!(STANDARD.encode(pair.as_bytes()));
        Ok(Values([(KEY.to_owned(), config.to_string().into_bytes())].into()))
    }
}

#[async_trait]
impl Provider for Registry {
    async fn look(&self, job: &Job<'_>, old: Option<&Values>) -> Result<Outlook, Problem> {
        let program = self.program()?;
        let mut outlook = Outlook {
            blockers: program.blockers(),
            warnings: program.warnings(),
            object: ObjectRef { kind: "Registry login".into(), name: job.secret.name.clone(), ..ObjectRef::default() },
            summary: format!("let `{}` make a new pull password, for {KEY}", program.name()),
            keys: vec![KEY.into()],
            changes: true,
            undo: Some(Undo::Automatic(format!("ask `{}` to remove it", program.name()))),
            revoke: Some(format!("let `{}` revoke the old one", program.name())),
            ..Outlook::default()
        };
        outlook.warnings.push("a pull secret is read when an image is pulled: running pods do not use it again".into());
        match old.map(|old| self.login(old)) {
            Some(Ok((server, _))) => outlook.object.name = server,
            Some(Err(problem)) => outlook.blockers.push(problem.message),
            None => {}
        }
        Ok(outlook)
    }

    async fn create(
        &self,
        job: &Job<'_>,
        old: &Values,
        _prepared: Option<Values>,
        keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let (server, login) = self.login(old)?;
        let whole = |new: &Values| -> Result<Values, Problem> { self.put(old, &server, &login.with(new)) };
        let created =
            self.program()?.create(job, &login, None, &|new| whole(new).and_then(|values| keep(&values))).await?;
        Ok(Created { values: whole(&created.values)?, ..created })
    }

    async fn find(&self, job: &Job<'_>, old: &Values) -> Result<Option<Created>, Answer> {
        let say = |p: Problem| Answer::Unknown(p.message);
        let (server, login) = self.login(old).map_err(say)?;
        match self.program().map_err(say)?.find(job, &login).await? {
            Some(made) => {
                let values = self.put(old, &server, &login.with(&made.values)).map_err(say)?;
                Ok(Some(Created { values, ..made }))
            }
            None => Ok(None),
        }
    }

    async fn remove(&self, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        self.program()?.remove(job, &self.login(old)?.1, detail).await
    }

    async fn revoke(&self, job: &Job<'_>, old: &Values, detail: &Value, hard: bool) -> Result<Answer, Problem> {
        self.program()?.revoke(job, &self.login(old)?.1, detail, hard).await
    }

    async fn restore(&self, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        self.program()?.restore(job, &self.login(old)?.1, detail).await
    }

    async fn taken(&self, job: &Job<'_>, values: &Values, detail: &Value) -> Result<Answer, Problem> {
        self.program()?.taken(job, &self.login(values)?.1, detail).await
    }

    async fn used(&self, job: &Job<'_>, detail: &Value) -> Result<Answer, Problem> {
        self.program()?.used(job, detail).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_password_takes_the_old_ones_place_and_nothing_elses() {
        let old =
            json!({"auths": {"r.example": {"auth": STANDARD.encode("puller:old:pw")}, "other": {"auth": "eDp5"}}});
        let old = Values([(KEY.to_owned(), old.to_string().into_bytes())].into());
        let registry: Registry = serde_json::from_value(json!({"server": "r.example", "argv": ["x"]})).unwrap();
        let (server, login) = registry.login(&old).unwrap();
        assert_eq!((login.text("username"), login.text("password")), (Some("puller"), Some("old:pw")));
        let new = Values([("password".to_owned(), b"new".to_vec())].into());
        let put = registry.put(&old, &server, &login.with(&new)).unwrap();
        let config: Value = serde_json::from_slice(&put.0[KEY]).unwrap();
        assert_eq!(config["auths"]["r.example"]["auth"], STANDARD.encode("puller:new"));
        assert_eq!(config["auths"]["other"]["auth"], "eDp5");
        let any: Registry = serde_json::from_value(json!({"argv": ["x"]})).unwrap();
        assert!(any.login(&old).err().unwrap().message.contains("which registry"));
    }
}
