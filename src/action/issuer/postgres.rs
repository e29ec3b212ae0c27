//! `postgres`: a login role's password, or a second login role beside it.
//!
//! The server is sent the SCRAM verifier, never the password (RFC 5802; PostgreSQL takes a string of that shape as it
//! is), so that no statement log of its can hold it.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::generate::list;
use super::postgres_tls::{NoLogin, Server};
use super::{Answer, Created, Job, Keep, Outlook, Provider, carried_over, line, private_file};
use crate::action::Problem;
use crate::action::fresh_value::Generate;
use crate::action::sealed::Values;
use crate::event::{ObjectRef, Undo};

/// Characters of a new password: 32 of 62 are 190 bits.
const LENGTH: u32 = 32;

/// Settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Postgres {
    /// `postgres://ADMIN@HOST:PORT/DATABASE?sslmode=verify-full`: who may change the role, and where. Never a password.
    url: String,
    /// A file (mode 0600) with the admin's password. Without it the variable PGPASSWORD, else none.
    password_file: Option<String>,
    /// CA certificates that the server's certificate must come from; the system's without it.
    ca_file: Option<String>,
    /// The login role whose password leaked. Default: what the Secret has under `user-key`.
    role: Option<String>,
    /// Another login role that takes over, so that both work until the old one is revoked. Made when it is not there.
    second_role: Option<String>,
    /// The role that the second one becomes a member of. Default: the old role itself.
    group: Option<String>,
    /// The Secret's keys.
    user_key: Option<String>,
    password_key: Option<String>,
}

/// Settings, read.
struct Where {
    server: Server,
    admin: String,
}

impl Postgres {
    fn user_key(&self) -> &str {
        self.user_key.as_deref().unwrap_or("username")
    }

    fn password_key(&self) -> &str {
        self.password_key.as_deref().unwrap_or("password")
    }

    fn at(&self) -> Result<Where, Problem> {
        let bad = |why: &str| {
            Problem::usage(format!("the database's URL {why}"))
                .hint("write postgres://ADMIN@HOST:PORT/DATABASE, with ?sslmode=disable only where the way is safe")
        };
        let rest = self.url.strip_prefix("postgres://").or_else(|| self.url.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| bad("does not begin with postgres://"))?;
        let (admin, rest) = rest.split_once('@').ok_or_else(|| bad("names no admin role"))?;
        if admin.contains(':') {
            return Err(bad("holds a password, which would be recorded: give a file with password-file"));
        }
        let (place, rest) = rest.split_once('/').ok_or_else(|| bad("names no database"))?;
        let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| bad("has no port number"))?),
            None => (place, 5432),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || admin.is_empty() || database.is_empty() {
            return Err(bad("must name admin, host and database"));
        }
        let tls = match query {
            "" | "sslmode=verify-full" => true,
            "sslmode=disable" => false,
            _ => return Err(bad("knows sslmode=verify-full (the default) and sslmode=disable")),
        };
        let server = Server { host: host.into(), port, database: database.into(), tls, ca_file: self.ca_file.clone() };
        Ok(Where { server, admin: admin.into() })
    }

    async fn admin(&self) -> Result<(Client, Where), Problem> {
        let at = self.at()?;
        let password = match &self.password_file {
            Some(path) => Some(private_file(path, "the database admin's password")?.to_vec()),
            None => std::env::var_os("PGPASSWORD").map(|v| v.into_encoded_bytes()),
        };
        let password = password.map(zeroize::Zeroizing::new);
        match at.server.login(&at.admin, password.as_ref().map(|p| line(p))).await {
            Ok(client) => Ok((client, at)),
            Err(NoLogin::Refused(why)) => Err(Problem::refused(format!(
                "PostgreSQL at {} does not let {} in: {why}",
                at.server.place(),
                at.admin
            ))
            .hint("give the admin's password with password-file (mode 0600) or PGPASSWORD")),
            Err(NoLogin::Other(problem)) => Err(problem),
        }
    }

    /// The old role: from the settings, else from the Secret.
    fn role(&self, old: &Values) -> Result<String, Problem> {
        let role = self.role.as_deref().or_else(|| old.text(self.user_key())).unwrap_or_default();
        if role.is_empty() || role.len() > 63 || role.chars().any(char::is_control) {
            return Err(Problem::usage(format!(
                "which role it is is not known: the Secret has no usable key {}",
                self.user_key()
            ))
            .hint("give it with `role`, or the key's name with `user-key`"));
        }
        Ok(role.into())
    }

    fn object(&self, at: &Where, role: &str) -> ObjectRef {
        ObjectRef {
            kind: "PostgreSQL role".into(),
            name: format!("{role}@{}", at.server.place()),
            ..ObjectRef::default()
        }
    }

    /// The old role, as `detail` or the Secret has it.
    fn old_role(&self, old: &Values, detail: &Value) -> Result<String, Problem> {
        match detail["role"].as_str() {
            Some(role) => Ok(role.into()),
            None => self.role(old),
        }
    }
}

/// A statement of the server's, without a value in what is said of its failure.
async fn run(client: &Client, what: &str, sql: &str) -> Result<(), Problem> {
    client.batch_execute(sql).await.map_err(|e| failed(what, &e))
}

fn failed(what: &str, error: &tokio_postgres::Error) -> Problem {
    match error.as_db_error() {
        // The server's words may quote the statement only for a syntax error, which ours has not; but it is not ours to know.
        Some(said) if !said.message().contains("SCRAM-SHA-256") => {
            Problem::failed(format!("PostgreSQL would not {what}: {} ({})", said.message(), said.code().code()))
        }
        Some(said) => Problem::failed(format!("PostgreSQL would not {what} ({})", said.code().code())),
        None => Problem::new(
            crate::cluster::Fault::Transient,
            format!("the connection to PostgreSQL broke while it was to {what}"),
        ),
    }
}

/// `"role"`, with quotes within doubled.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn verifier(password: &[u8]) -> String {
    // Of its alphabet nothing needs quoting: base64, `$` and `:`.
    postgres_protocol::password::scram_sha_256(password)
}

#[async_trait]
impl Provider for Postgres {
    async fn look(&self, _job: &Job<'_>, old: Option<&Values>) -> Result<Outlook, Problem> {
        let at = match self.at() {
            Ok(at) => at,
            Err(problem) => {
                let hint = problem.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
                return Ok(Outlook { blockers: vec![format!("{problem}{hint}")], ..Outlook::default() });
            }
        };
        let mut outlook = Outlook { changes: true, ..Outlook::default() };
        outlook.keys = match &self.second_role {
            Some(_) => vec![self.user_key().into(), self.password_key().into()],
            None => vec![self.password_key().into()],
        };
        let shown = self.role.clone().unwrap_or_else(|| format!("(as the key {} has it)", self.user_key()));
        outlook.object = self.object(&at, self.second_role.as_deref().unwrap_or(&shown));
        let role = match old {
            None => self.role.clone(),
            Some(old) => match self.role(old) {
                Ok(role) => {
                    if !old.0.contains_key(self.password_key()) {
                        outlook.blockers.push(format!(
                            "the Secret has no key {}: say with `password-key` where the password is",
                            self.password_key()
                        ));
                    }
                    outlook.object = self.object(&at, self.second_role.as_deref().unwrap_or(&role));
                    // Connection strings that hold the password change with it.
                    outlook.keys = self.prepare(old)?.map(|new| new.keys()).unwrap_or_default();
                    Some(role)
                }
                Err(problem) => {
                    outlook.blockers.push(problem.to_string());
                    None
                }
            },
        };
        let shown = role.clone().unwrap_or(shown);
        match &self.second_role {
            Some(second) => {
                if role.as_deref() == Some(second.as_str()) {
                    outlook.blockers.push(format!("the second role {second} is the one that leaked: name another"));
                }
                outlook.summary = format!(
                    "let {second} log in with a new password, as a member of {}; {shown} works on until it is revoked",
                    self.group.as_deref().unwrap_or(&shown)
                );
                outlook.before = json!({ "login": [shown] });
                outlook.after = json!({ "login": [shown, second], "password": "(generated, never shown)" });
                outlook.revoke = Some(format!("take LOGIN and the password from {shown}"));
                outlook.undo = Some(Undo::Automatic(format!("take LOGIN and the password from {second} again")));
            }
            None => {
                outlook.summary = format!("give the role {shown} a new password");
                outlook.before = json!({ "password": "(the exposed one)" });
                outlook.after = json!({ "password": "(generated, never shown)" });
                outlook.no_overlap = Some(format!(
                    "one role has one password: from this step on the old one is refused, and until the consumers have \
                     the new one no new login of {shown} works. Connections that are open stay. With second-role both \
                     would work"
                ));
                outlook.revoke = Some(format!("look that the old password of {shown} is refused"));
                outlook.undo = Some(Undo::Automatic("set the old password again".into()));
            }
        }
        let (client, _) = match self.admin().await {
            Ok(admin) => admin,
            // Not tried again and again while somebody waits for the plan: it is said, and they try again.
            Err(problem) => {
                let hint = problem.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
                outlook.blockers.push(format!("{problem}{hint}"));
                return Ok(outlook);
            }
        };
        let asked = client
            .query_opt(
                "select rolsuper or rolcreaterole, (select rolcanlogin from pg_roles where rolname = $1) from pg_roles \
                 where rolname = current_user",
                &[&role.as_deref().unwrap_or_default()],
            )
            .await
            .map_err(|e| failed("tell of its roles", &e))?;
        if let Some(row) = asked {
            if !row.get::<_, bool>(0) {
                outlook.blockers.push(format!("{} may not change roles (CREATEROLE)", at.admin));
            }
            match (row.get::<_, Option<bool>>(1), &role) {
                (None, Some(role)) => {
                    outlook.blockers.push(format!("there is no role {role} at {}", at.server.place()))
                }
                (Some(false), Some(role)) => outlook.warnings.push(format!("the role {role} can't log in now")),
                _ => {}
            }
        }
        outlook.detail = json!({ "role": role });
        Ok(outlook)
    }

    fn prepare(&self, old: &Values) -> Result<Option<Values>, Problem> {
        let mut fresh = Generate { length: LENGTH, alphabet: Default::default() }.value()?;
        let role = self.role(old)?;
        let was = old.0.get(self.password_key()).cloned().unwrap_or_default();
        let mut new = Values::default();
        let user = self.second_role.as_deref().unwrap_or(&role);
        // In a connection string the role stands before the password; alone it is too short to look for.
        let pair = |user: &str, password: &[u8]| [user.as_bytes(), b":", password].concat();
        let with_user = (pair(&role, &was), pair(user, &fresh.0));
        let pairs = [(with_user.0.as_slice(), with_user.1.as_slice()), (was.as_slice(), fresh.0.as_slice())];
        for (key, value) in &carried_over(old, &pairs, &[self.password_key(), self.user_key()]).0 {
            new.0.insert(key.clone(), value.clone());
        }
        if self.second_role.is_some() {
            new.0.insert(self.user_key().into(), user.as_bytes().to_vec());
        }
        new.0.insert(self.password_key().into(), std::mem::take(&mut fresh.0));
        Ok(Some(new))
    }

    async fn create(
        &self,
        _job: &Job<'_>,
        old: &Values,
        prepared: Option<Values>,
        _keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let values = prepared.ok_or_else(|| Problem::internal("a password that was not prepared"))?;
        let role = self.role(old)?;
        let (client, at) = self.admin().await?;
        let secret = verifier(values.0.get(self.password_key()).map(Vec::as_slice).unwrap_or_default());
        let now: String = client
            .query_one("select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", &[])
            .await
            .map_err(|e| failed("tell its time", &e))?
            .get(0);
        let mut made = false;
        match &self.second_role {
            Some(second) => {
                let there = client
                    .query_opt("select 1 from pg_roles where rolname = $1", &[second])
                    .await
                    .map_err(|e| failed("tell of its roles", &e))?
                    .is_some();
                made = !there;
                let group = self.group.as_deref().unwrap_or(&role);
                let verb = if there { "ALTER" } else { "CREATE" };
                let mut sql = format!("BEGIN; {verb} ROLE {} LOGIN PASSWORD '{secret}';", quoted(second));
                // Two that take turns: the one may be a member of the other from the last time, and not the other way too.
                let above = there
                    && client
                        .query_one("select pg_has_role($1::name, $2::name, 'MEMBER')", &[&group, second])
                        .await
                        .map_err(|e| failed("tell of its roles", &e))?
                        .get::<_, bool>(0);
                if !above {
                    sql += &format!(" GRANT {} TO {};", quoted(group), quoted(second));
                    // What it makes belongs to the role that the others know: else the next rotation could not use it.
                    sql += &format!(" ALTER ROLE {} SET role = {};", quoted(second), quoted(group));
                }
                sql += " COMMIT";
                run(&client, &format!("let {second} log in"), &sql).await?;
            }
            None => {
                let sql = format!("ALTER ROLE {} LOGIN PASSWORD '{secret}'", quoted(&role));
                run(&client, &format!("set the password of {role}"), &sql).await?;
            }
        }
        let user = self.second_role.clone().unwrap_or_else(|| role.clone());
        Ok(Created {
            said: format!("{user} has a new password at {} ({})", at.server.place(), list(&values.keys())),
            values,
            detail: json!({ "role": role, "user": user, "made": made, "since": now }),
            secret: None,
        })
    }

    /// The same password again comes to the same: whether it had landed need not be known.
    async fn find(&self, _: &Job<'_>, _: &Values) -> Result<Option<Created>, Answer> {
        Ok(None)
    }

    async fn remove(&self, _: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        let role = self.old_role(old, detail)?;
        let (client, _) = self.admin().await?;
        match &self.second_role {
            Some(second) => {
                // Not dropped: it may own something by now.
                let sql = format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", quoted(second));
                run(&client, &format!("take the login from {second}"), &sql).await?;
                Ok(format!("{second} can't log in any more; the role itself is left"))
            }
            None => {
                let was = old.0.get(self.password_key()).map(Vec::as_slice).unwrap_or_default();
                let sql = format!("ALTER ROLE {} LOGIN PASSWORD '{}'", quoted(&role), verifier(was));
                run(&client, &format!("set the password of {role}"), &sql).await?;
                Ok(format!("{role} has its old password again, the exposed one"))
            }
        }
    }

    async fn revoke(&self, _: &Job<'_>, old: &Values, detail: &Value, hard: bool) -> Result<Answer, Problem> {
        let role = self.old_role(old, detail)?;
        let (client, _) = self.admin().await?;
        // With one role the new password has ended the old one, but where nothing was created yet: then the login goes.
        if self.second_role.is_some() || detail["since"].is_null() {
            let sql = format!("ALTER ROLE {} NOLOGIN PASSWORD NULL", quoted(&role));
            run(&client, &format!("take the login from {role}"), &sql).await?;
        }
        let mut said = format!("{role} can't log in with the old password any more");
        if hard {
            let ended = client
                .query("select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and pid <> pg_backend_pid()", &[&role])
                .await
                .map_err(|e| failed("end its sessions", &e))?;
            said += &format!(", and {} open session{} ended", ended.len(), if ended.len() == 1 { "" } else { "s" });
        }
        Ok(Answer::Yes(said))
    }

    async fn restore(&self, _: &Job<'_>, old: &Values, detail: &Value) -> Result<String, Problem> {
        let role = self.old_role(old, detail)?;
        let (client, _) = self.admin().await?;
        if self.second_role.is_some() || detail["since"].is_null() {
            let was = old.0.get(self.password_key()).map(Vec::as_slice).unwrap_or_default();
            let sql = format!("ALTER ROLE {} LOGIN PASSWORD '{}'", quoted(&role), verifier(was));
            run(&client, &format!("let {role} log in"), &sql).await?;
            return Ok(format!("{role} can log in with its old password again, the exposed one"));
        }
        Ok("nothing was taken from the role but its old password".into())
    }

    async fn taken(&self, _: &Job<'_>, values: &Values, detail: &Value) -> Result<Answer, Problem> {
        let at = self.at()?;
        let user = values.text(self.user_key()).map(str::to_owned);
        let user = user.or_else(|| self.role.clone()).or_else(|| detail["role"].as_str().map(str::to_owned));
        let Some(user) = user else { return Ok(Answer::Unknown("which role it is is not known".into())) };
        let password = values.0.get(self.password_key()).map(Vec::as_slice);
        Ok(match at.server.login(&user, password).await {
            Ok(_) => Answer::Yes(format!("a login as {user} at {} works", at.server.place())),
            Err(NoLogin::Refused(why)) => Answer::No(format!("a login as {user} is refused: {why}")),
            Err(NoLogin::Other(problem)) if problem.is_transient() => return Err(problem),
            Err(NoLogin::Other(problem)) => Answer::Unknown(problem.message),
        })
    }

    /// Sessions of the old role: with a second role all of them, else those that began before the new password.
    async fn used(&self, _: &Job<'_>, detail: &Value) -> Result<Answer, Problem> {
        let (client, _) = self.admin().await?;
        let Some(role) = detail["role"].as_str() else {
            return Ok(Answer::Unknown("which role it was is not known".into()));
        };
        let since = detail["since"].as_str().filter(|_| self.second_role.is_none()).unwrap_or("infinity");
        let rows = client
            .query(
                "select coalesce(host(client_addr), 'local'), application_name, to_char(backend_start at time zone 'UTC', \
                 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from pg_stat_activity where usename = $1 and backend_start < \
                 $2::text::timestamptz and pid <> pg_backend_pid() order by backend_start limit 50",
                &[&role, &since],
            )
            .await
            .map_err(|e| failed("tell its sessions", &e))?;
        let who: Vec<String> = rows
            .iter()
            .map(|r| {
                let (from, app, begun): (String, String, String) = (r.get(0), r.get(1), r.get(2));
                let app = if app.is_empty() { String::new() } else { format!(" ({app})") };
                format!("a session from {from}{app} since {begun}")
            })
            .collect();
        Ok(match who.as_slice() {
            [] => Answer::No(format!("no session of {role} that began with the old password is open")),
            some => Answer::Yes(some.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(value: Value) -> Postgres {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_url_names_who_and_where_and_never_a_password() {
        let at = settings(json!({"url": "postgres://admin@db.example:5433/shop?sslmode=disable"})).at().unwrap();
        assert_eq!((at.admin.as_str(), at.server.place().as_str(), at.server.tls), ("admin", "db.example:5433", false));
        assert!(settings(json!({"url": "postgresql://admin@db.example/shop"})).at().unwrap().server.tls);
        for (url, says) in [
            ("postgres://admin:hunter2@db/x", "password"),
            ("mysql://admin@db/x", "postgres://"),
            ("postgres://db/x", "admin"),
            ("postgres://a@db/x?sslmode=prefer", "sslmode"),
        ] {
            let problem = settings(json!({ "url": url })).at().err().unwrap();
            assert!(problem.message.contains(says) && !format!("{problem:?}").contains("hunter2"), "{problem:?}");
        }
    }

    #[test]
    fn the_connection_string_follows_role_and_password() {
        let old = Values(
            [("username", "app"), ("password", "old-password"), ("url", "postgres://app:old-password@db/x")]
                .map(|(k, v)| (k.to_owned(), v.as_bytes().to_vec()))
                .into(),
        );
        let new = settings(json!({"url": "postgres://a@db/x", "second-role": "app_b"})).prepare(&old).unwrap().unwrap();
        let password = new.text("password").unwrap();
        assert_eq!(new.text("username"), Some("app_b"));
        assert_eq!(new.text("url").unwrap(), format!("postgres://app_b:{password}@db/x"));
        assert_eq!(password.len(), 32);
    }

    #[test]
    fn a_name_stays_one_name() {
        assert_eq!(quoted("a\"; DROP ROLE b; --"), "\"a\"\"; DROP ROLE b; --\"");
    }
}
