//! `service-account-token`: a token that lies in a Secret of that type. The token controller issues it; a new Secret is a
//! new token, and the old token is refused once its Secret is gone.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Created, Job, Keep, Outlook, Provider};
use crate::action::Problem;
use crate::action::sealed::Values;
use crate::cluster::Fault;
use crate::event::{ObjectRef, Undo};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
/// Names the rotation that made a Secret.
const MADE_BY: &str = "quell.dev/rotated-by";
/// How long the token controller may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Settings: none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceAccountToken {}

fn api(job: &Job<'_>) -> Api<Secret> {
    Api::namespaced(job.cx.client.clone(), job.secret.namespace.as_deref().unwrap_or_default())
}

/// The new Secret's name: the old one's and the incident's last part.
fn new_name(job: &Job<'_>) -> String {
    crate::action::secret_update::successor(&job.secret.name, &job.cx.incident)
}

async fn account(job: &Job<'_>) -> Result<Option<String>, Problem> {
    let found = api(job).get_metadata(&job.secret.name).await?;
    Ok(found.metadata.annotations.unwrap_or_default().remove(ACCOUNT))
}

impl ServiceAccountToken {
    /// The new Secret, once its token is there.
    async fn filled(&self, job: &Job<'_>) -> Result<Option<Created>, Problem> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let name = new_name(job);
        loop {
            let Some(secret) = api(job).get_opt(&name).await? else { return Ok(None) };
            if secret.metadata.annotations.as_ref().and_then(|a| a.get(MADE_BY)).map(String::as_str)
                != Some(job.request)
            {
                return Err(Problem::new(
                    Fault::Conflict,
                    format!("Secret {name} is there already, and not of this rotation"),
                )
                .hint("remove it, or choose another provider"));
            }
            let data = secret.data.unwrap_or_default();
            if data.contains_key("token") {
                let namespace = job.secret.namespace.clone();
                return Ok(Some(Created {
                    values: Values(data.into_iter().map(|(k, v)| (k, v.0)).collect()),
                    said: format!("the token controller issued a new token into Secret {name}"),
                    detail: json!({ "secret": name, "uid": secret.metadata.uid }),
                    secret: Some(ObjectRef {
                        api_version: "v1".into(),
                        kind: "Secret".into(),
                        namespace,
                        name,
                        uid: secret.metadata.uid,
                    }),
                }));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Problem::failed(format!(
                    "the token controller put no token into Secret {name} within {} s",
                    PATIENCE.as_secs()
                ))
                .hint("does the service account exist? `quell resume` looks again"));
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

#[async_trait]
impl Provider for ServiceAccountToken {
    async fn look(&self, job: &Job<'_>, _old: Option<&Values>) -> Result<Outlook, Problem> {
        let mut outlook = Outlook {
            object: ObjectRef { name: new_name(job), uid: None, ..job.secret.clone() },
            changes: true,
            ..Outlook::default()
        };
        if job.kind != TYPE {
            outlook.blockers.push(format!("the Secret is of type {}, not {TYPE}", job.kind));
            return Ok(outlook);
        }
        let account = account(job).await?.unwrap_or_default();
        outlook.summary =
            format!("create Secret {} for a new token of the service account {account}", outlook.object.name);
        outlook.after = json!({ "type": TYPE, "annotations": { ACCOUNT: account } });
        outlook.undo = Some(Undo::Automatic("delete the new Secret, which revokes the new token".into()));
        outlook.revoke = Some(format!("delete Secret {}, which revokes its token", job.secret.name));
        outlook.warnings.push(
            "a token that lies in a Secret never expires: bound tokens (a projected volume) would be the better end of this"
                .into(),
        );
        Ok(outlook)
    }

    async fn create(
        &self,
        job: &Job<'_>,
        _old: &Values,
        _prepared: Option<Values>,
        _keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        if let Some(made) = self.filled(job).await? {
            return Ok(made);
        }
        let account = account(job).await?.unwrap_or_default();
        let body: Secret = serde_json::from_value(json!({
            "metadata": { "name": new_name(job), "annotations": { ACCOUNT: account, MADE_BY: job.request } }, "type": TYPE,
        }))
        .map_err(|e| Problem::internal(e.to_string()))?;
        api(job).create(&PostParams::default(), &body).await?;
        self.filled(job).await?.ok_or_else(|| Problem::failed("the new Secret is gone again"))
    }

    async fn find(&self, job: &Job<'_>, _old: &Values) -> Result<Option<Created>, Answer> {
        self.filled(job).await.map_err(|p| Answer::Unknown(p.message))
    }

    async fn remove(&self, job: &Job<'_>, _old: &Values, detail: &Value) -> Result<String, Problem> {
        let name = new_name(job);
        delete(job, &name, detail["uid"].as_str()).await?;
        Ok(format!("Secret {name} is deleted: its token is refused from then on"))
    }

    async fn revoke(&self, job: &Job<'_>, _old: &Values, _detail: &Value, _hard: bool) -> Result<Answer, Problem> {
        delete(job, &job.secret.name, job.secret.uid.as_deref()).await?;
        Ok(Answer::Yes(format!("Secret {} is deleted, and with it its token", job.secret.name)))
    }

    async fn taken(&self, job: &Job<'_>, values: &Values, _detail: &Value) -> Result<Answer, Problem> {
        let _ = (job, values);
        Ok(Answer::Unknown(
            "a token is not sent to the API server to try it, for its audit log may keep it: by its rule a token is taken \
             while its Secret is there, and refused once it is gone, from its cache at latest after 10 s"
                .into(),
        ))
    }
}

async fn delete(job: &Job<'_>, name: &str, uid: Option<&str>) -> Result<(), Problem> {
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: uid.map(Into::into), ..Preconditions::default() }),
        ..DeleteParams::default()
    };
    match api(job).delete(name, &params).await.map_err(Problem::from) {
        Ok(_) => Ok(()),
        Err(problem) if problem.fault == Fault::NotFound => Ok(()),
        Err(problem) => Err(problem),
    }
}
