//! Who issues a credential, and what can be asked of it: a new one, the end of the old one, and whether one is taken.
//! One file a provider, and the list in [`all`].

mod cert_manager;
mod certificate;
mod generate;
mod manual;
mod postgres;
mod postgres_tls;
mod program;
mod registry;
mod service_account_token;

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Problem;
use super::sealed::Values;
use crate::cluster::Cx;
use crate::event::{ObjectRef, Undo};

/// What a provider works on.
pub(super) struct Job<'a> {
    pub cx: &'a Cx,
    /// The Secret; `name` is the one that leaked.
    pub secret: &'a ObjectRef,
    /// The Secret's type.
    pub kind: &'a str,
    /// Names this rotation to the issuer: the same on every try of it.
    pub request: &'a str,
}

/// What a provider would do.
#[derive(Default)]
pub(super) struct Outlook {
    /// What stands in the way.
    pub blockers: Vec<String>,
    /// What the approver should know.
    pub warnings: Vec<String>,
    /// What is changed at the issuer: a role, an object.
    pub object: ObjectRef,
    /// One line: what will be created.
    pub summary: String,
    /// Before and after, without values.
    pub before: Value,
    pub after: Value,
    /// The Secret's keys that get a new value.
    pub keys: Vec<String>,
    /// Something outside quell is changed by creating.
    pub changes: bool,
    /// Why old and new are not both valid until the old one is revoked; None where they are.
    pub no_overlap: Option<String>,
    /// How creating is taken back.
    pub undo: Option<Undo>,
    /// The object that the issuer writes by itself: then quell does not edit the Secret.
    pub written_by_issuer: bool,
    /// One line: how the old one is revoked; None when nobody can be told.
    pub revoke: Option<String>,
    /// What the issuer must be told again later: never a secret.
    pub detail: Value,
}

/// A new credential.
pub(super) struct Created {
    /// New values, by the Secret's keys.
    pub values: Values,
    /// One line for a person.
    pub said: String,
    /// What revoke, check and undo need: journaled, never a secret.
    pub detail: Value,
    /// The Secret that holds it, where the issuer wrote one of its own.
    pub secret: Option<ObjectRef>,
}

/// What came of a question or a demand.
pub(super) enum Answer {
    /// It is so: what was tried.
    Yes(String),
    /// It is not so: what was tried.
    No(String),
    /// It can't be told: why.
    Unknown(String),
}

/// Seals what an issuer gave, as soon as it is known.
pub(super) type Keep<'a> = dyn for<'v> Fn(&'v Values) -> Result<(), Problem> + Send + Sync + 'a;

/// Who issues a credential. Errors and texts never hold a value.
#[async_trait]
pub(super) trait Provider: Send + Sync {
    /// What would be done. Reads only, at the issuer too. `old` is None while it is not known yet.
    async fn look(&self, job: &Job<'_>, old: Option<&Values>) -> Result<Outlook, Problem>;

    /// The values that the issuer will be given, made before it is told anything, so that they are sealed first. None:
    /// the issuer makes them.
    fn prepare(&self, old: &Values) -> Result<Option<Values>, Problem> {
        let _ = old;
        Ok(None)
    }

    /// Makes the new credential. `prepared` is what [`Provider::prepare`] gave, maybe in an earlier try: doing it twice
    /// with the same must come to the same. `keep` seals what the issuer gave as soon as it is known, whatever comes then.
    async fn create(
        &self,
        job: &Job<'_>,
        old: &Values,
        prepared: Option<Values>,
        keep: &Keep<'_>,
    ) -> Result<Created, Problem>;

    /// After an interruption: the credential that `request` made, when the issuer can tell. `Ok(None)`: it made none.
    async fn find(&self, job: &Job<'_>, old: &Values) -> Result<Option<Created>, Answer> {
        let _ = (job, old);
        Err(Answer::Unknown("the issuer can't be asked what it made".into()))
    }

    /// Takes the creation back.
    async fn remove(&self, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        let _ = (job, old, detail);
        Err(Problem::failed("this issuer can't take a new credential back"))
    }

    /// Ends the old credential. `hard`: open sessions too, for it is being abused.
    async fn revoke(&self, job: &Job<'_>, old: &Values, detail: &Value, hard: bool) -> Result<Answer, Problem> {
        let _ = (job, old, detail, hard);
        Ok(Answer::Unknown("there is no issuer that could be told".into()))
    }

    /// Lets the old credential work again.
    async fn restore(&self, job: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        let _ = (job, old, detail);
        Err(Problem::failed("this issuer can't let a revoked credential work again"))
    }

    /// Whether it is taken: tried, not concluded.
    async fn taken(&self, job: &Job<'_>, values: &Values, detail: &Value) -> Result<Answer, Problem> {
        let _ = (job, values, detail);
        Ok(Answer::Unknown("there is nobody to try it at".into()))
    }

    /// Whether the old one is still used: Yes with who, No with what was looked at. Looked at over and over by the caller.
    async fn used(&self, job: &Job<'_>, detail: &Value) -> Result<Answer, Problem> {
        let _ = (job, detail);
        Ok(Answer::Unknown("the issuer does not tell who uses a credential".into()))
    }
}

/// One entry of the list.
pub(super) struct Entry {
    /// As `provider` names it.
    pub name: &'static str,
    /// One line, for `action explain`.
    pub summary: &'static str,
    /// Its settings to a provider.
    pub bind: fn(&Value) -> Result<Arc<dyn Provider>, String>,
}

fn entry<P: Provider + DeserializeOwned + 'static>(name: &'static str, summary: &'static str) -> Entry {
    Entry {
        name,
        summary,
        bind: |settings| {
            let settings = if settings.is_null() { json!({}) } else { without_blanks(settings) };
            serde_json::from_value::<P>(settings).map(|p| Arc::new(p) as Arc<dyn Provider>).map_err(|e| e.to_string())
        },
    }
}

/// Every provider, by name.
pub(super) fn all() -> Vec<Entry> {
    vec![
        entry::<generate::Random>(
            "generate",
            "a random value, for keys that only the consumers themselves check {keys, length, alphabet}",
        ),
        entry::<postgres::Postgres>(
            "postgres",
            "a role's password in PostgreSQL, or a second login role so that both work for a while {url, \
             password-file, ca-file, role, second-role, group, user-key, password-key}",
        ),
        entry::<certificate::Certificate>(
            "certificate",
            "a TLS certificate with a new key, signed by a CA given as files {ca-file, ca-key-file, days}",
        ),
        entry::<cert_manager::CertManager>("cert-manager", "asks cert-manager to renew the Certificate with a new key"),
        entry::<service_account_token::ServiceAccountToken>(
            "service-account-token",
            "a new token Secret for the same service account; deleting the old Secret revokes the old token",
        ),
        entry::<registry::Registry>(
            "registry",
            "a registry's pull password by a program, put into .dockerconfigjson {server, argv, env, timeout}",
        ),
        entry::<program::External>(
            "command",
            "a program that speaks JSON on its standard input and output {argv, env, timeout}",
        ),
        entry::<manual::ByHand>("manual", "a person makes it, and names a folder with a file for each key"),
    ]
}

/// The provider of that name, with its settings: a map from providers' names to theirs.
pub(super) fn bind(name: &str, settings: &Value) -> Result<Arc<dyn Provider>, String> {
    let all = all();
    let names = || all.iter().map(|e| e.name).collect::<Vec<_>>().join(", ");
    if let Some(unknown) =
        settings.as_object().into_iter().flatten().map(|(k, _)| k).find(|k| all.iter().all(|e| e.name != *k))
    {
        return Err(format!("`settings` has no provider {unknown:?}; there are {}", names()));
    }
    let entry = all
        .iter()
        .find(|e| e.name == name)
        .ok_or_else(|| format!("there is no provider {name:?}; there are {}", names()))?;
    (entry.bind)(&settings[name]).map_err(|why| format!("settings of {name}: {why}; it is {}", entry.summary))
}

/// A runbook hands on what was not given as an empty text or list.
fn without_blanks(settings: &Value) -> Value {
    match settings {
        Value::Object(map) => map
            .iter()
            .filter(|(_, v)| !(v.is_null() || v == &&json!("") || v == &&json!([])))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
        other => other.clone(),
    }
}

/// Values that hold the old one within them (a connection string), with the new in its place. Short ones are left: a
/// few characters stand in many places by chance.
pub(super) fn carried_over(old: &Values, pairs: &[(&[u8], &[u8])], but: &[&str]) -> Values {
    let mut all = Values::default();
    for (key, value) in old.0.iter().filter(|(k, _)| !but.contains(&k.as_str())) {
        let mut changed = value.clone();
        for (from, to) in pairs.iter().filter(|(from, to)| from.len() >= 8 && from != to) {
            changed = replaced(&changed, from, to);
        }
        if changed != *value {
            all.0.insert(key.clone(), changed);
        }
    }
    all
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut last = 0;
    for at in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(&text[last..at]);
        out.extend_from_slice(to);
        last = at + from.len();
    }
    out.extend_from_slice(&text[last..]);
    out
}

/// A file's content, which only its owner may read.
pub(super) fn private_file(path: &str, what: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    use std::os::unix::fs::MetadataExt;
    let at = std::path::Path::new(path);
    let io = |e: std::io::Error| Problem::io(&format!("can't read {what}"), at, &e);
    let meta = std::fs::metadata(at).map_err(io)?;
    if meta.mode() & 0o077 != 0 {
        return Err(Problem::refused(format!("{what} {path} may be read by others on this machine"))
            .hint(format!("chmod 600 {path}")));
    }
    if !meta.is_file() || meta.len() > 1 << 20 {
        return Err(Problem::usage(format!("{what} {path} is no file of at most 1 MiB")));
    }
    std::fs::read(at).map(zeroize::Zeroizing::new).map_err(io)
}

/// Text without the newline at its end.
pub(super) fn line(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

/// Which provider and how, as one step hands it to the next.
#[derive(Debug, Clone, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub(super) struct Chosen {
    pub provider: String,
    pub settings: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_bound_by_name_and_what_it_does_not_know_is_refused() {
        assert!(bind("generate", &json!({"generate": {"keys": ["a"], "length": 24}})).is_ok());
        assert!(bind("generate", &json!({"generate": {"keys": [], "length": ""}, "postgres": {"url": ""}})).is_ok());
        for (name, settings, says) in [
            ("vault", json!({}), "there is no provider \"vault\""),
            ("generate", json!({"generate": {"lenght": 3}}), "lenght"),
            ("generate", json!({"gen": {}}), "no provider \"gen\""),
            ("command", json!({}), "argv"),
        ] {
            let why = bind(name, &settings).err().unwrap_or_default();
            assert!(why.contains(says), "{name}: {why}");
        }
    }

    #[test]
    fn a_connection_string_gets_the_new_value_and_short_ones_are_left() {
        let old = Values(
            [("password", "old-password"), ("url", "postgres://app:old-password@db/x"), ("port", "5432")]
                .map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec()))
                .into(),
        );
        let new = carried_over(&old, &[(b"old-password", b"new"), (b"5432", b"1")], &["password"]);
        assert_eq!(new.keys(), ["url"]);
        assert_eq!(new.text("url"), Some("postgres://app:new@db/x"));
    }
}
