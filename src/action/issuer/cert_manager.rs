//! `cert-manager`: the Certificate is renewed as `cmctl renew` does it, by its Issuing condition. cert-manager writes the
//! Secret; with `rotationPolicy: Never` it would keep the exposed key, which is refused.

use std::time::Duration;

use async_trait::async_trait;
use http::Request;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde::Deserialize;
use serde_json::{Value, json};

use super::certificate::valid_until;
use super::{Answer, Created, Job, Keep, Outlook, Provider};
use crate::action::Problem;
use crate::action::sealed::Values;
use crate::clock;
use crate::cluster::{Fault, raw};
use crate::event::{ObjectRef, Undo};

/// How long an issuer may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// Settings: none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertManager {}

fn path(job: &Job<'_>, name: &str) -> String {
    let namespace = job.secret.namespace.as_deref().unwrap_or_default();
    format!("/apis/cert-manager.io/v1/namespaces/{namespace}/certificates/{name}")
}

fn secrets(job: &Job<'_>) -> Api<Secret> {
    Api::namespaced(job.cx.client.clone(), job.secret.namespace.as_deref().unwrap_or_default())
}

async fn certificate(job: &Job<'_>) -> Result<Option<Value>, Problem> {
    let meta = secrets(job).get_metadata(&job.secret.name).await?.metadata;
    let name = meta.annotations.as_ref().and_then(|a| a.get("cert-manager.io/certificate-name")).cloned();
    let name = name
        .or_else(|| meta.owner_references.iter().flatten().find(|o| o.kind == "Certificate").map(|o| o.name.clone()));
    match name {
        Some(name) => match raw::get(&job.cx.client, &path(job, &name)).await {
            Ok(found) => Ok(Some(found)),
            Err(problem) if problem.fault == Fault::NotFound => Ok(None),
            Err(problem) => Err(problem),
        },
        None => Ok(None),
    }
}

impl CertManager {
    /// Waits for another certificate in the Secret.
    async fn renewed(&self, job: &Job<'_>, old: &Values) -> Result<Created, Problem> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let secret = secrets(job).get(&job.secret.name).await?;
            let data = secret.data.unwrap_or_default();
            let values = Values(data.into_iter().map(|(k, v)| (k, v.0)).collect());
            if values.0.get("tls.crt") != old.0.get("tls.crt") {
                if values.0.get("tls.key") == old.0.get("tls.key") {
                    return Err(Problem::failed(
                        "cert-manager issued a new certificate for the old key, the exposed one",
                    )
                    .hint("set spec.privateKey.rotationPolicy: Always on the Certificate, and resume"));
                }
                return Ok(Created {
                    values,
                    said: "cert-manager issued a new certificate with a new key".into(),
                    detail: json!({}),
                    secret: None,
                });
            }
            if tokio::time::Instant::now() > deadline {
                return Err(Problem::failed(format!(
                    "cert-manager put no new certificate into the Secret within {} s",
                    PATIENCE.as_secs()
                ))
                .hint("look at the Certificate's and CertificateRequest's conditions; `quell resume` looks again"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

#[async_trait]
impl Provider for CertManager {
    async fn look(&self, job: &Job<'_>, old: Option<&Values>) -> Result<Outlook, Problem> {
        let mut outlook = Outlook {
            keys: vec!["tls.crt".into(), "tls.key".into()],
            changes: true,
            written_by_issuer: true,
            undo: Some(Undo::Impossible("a certificate that was issued stays valid until it expires".into())),
            ..Outlook::default()
        };
        let Some(found) = certificate(job).await? else {
            outlook.blockers.push("no Certificate of cert-manager's names this Secret".into());
            return Ok(outlook);
        };
        let name = found["metadata"]["name"].as_str().unwrap_or_default();
        outlook.object = ObjectRef {
            api_version: "cert-manager.io/v1".into(),
            kind: "Certificate".into(),
            namespace: job.secret.namespace.clone(),
            name: name.into(),
            uid: found["metadata"]["uid"].as_str().map(Into::into),
        };
        outlook.summary = format!("ask cert-manager to issue Certificate {name} again");
        outlook.after = json!({ "status": { "conditions": [{ "type": "Issuing", "status": "True" }] } });
        match found["spec"]["privateKey"]["rotationPolicy"].as_str() {
            Some("Always") => {}
            Some(other) => outlook.blockers.push(format!(
                "Certificate {name} has rotationPolicy {other}: its key, the exposed one, would be kept; set it to Always"
            )),
            None => outlook.warnings.push(format!(
                "Certificate {name} does not say rotationPolicy: before cert-manager 1.18 that keeps the key; it is \
                 compared afterwards"
            )),
        }
        outlook.warnings.push(format!(
            "the old certificate is valid until {}, unless its issuer revokes it and its peers look",
            old.and_then(valid_until).as_deref().unwrap_or("it expires")
        ));
        Ok(outlook)
    }

    async fn create(
        &self,
        job: &Job<'_>,
        old: &Values,
        _prepared: Option<Values>,
        _keep: &Keep<'_>,
    ) -> Result<Created, Problem> {
        let found = certificate(job).await?.ok_or_else(|| Problem::failed("the Certificate is gone"))?;
        let issuing = |c: &Value| c["type"] == "Issuing" && c["status"] == "True";
        let mut conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        if !conditions.iter().any(issuing) {
            conditions.retain(|c| c["type"] != "Issuing");
            conditions.push(json!({
                "type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
                "message": "Certificate re-issuance manually triggered", "observedGeneration": found["metadata"]["generation"],
                "lastTransitionTime": clock::rfc3339(job.cx.clock.now()),
            }));
            let body = json!({
                "metadata": { "uid": found["metadata"]["uid"], "resourceVersion": found["metadata"]["resourceVersion"] },
                "status": { "conditions": conditions },
            });
            let at = format!("{}/status", path(job, found["metadata"]["name"].as_str().unwrap_or_default()));
            let request = Request::patch(at)
                .header("content-type", "application/merge-patch+json")
                .body(body.to_string().into_bytes())
                .map_err(|e| Problem::internal(e.to_string()))?;
            job.cx.client.request::<Value>(request).await?;
        }
        self.renewed(job, old).await
    }

    /// Asking again is harmless, and what was issued meanwhile is seen in the Secret.
    async fn find(&self, job: &Job<'_>, old: &Values) -> Result<Option<Created>, Answer> {
        let secret = secrets(job).get(&job.secret.name).await.map_err(|e| Answer::Unknown(Problem::from(e).message))?;
        let crt = secret.data.as_ref().and_then(|d| d.get("tls.crt")).map(|v| v.0.clone());
        if crt.as_ref() == old.0.get("tls.crt") {
            return Ok(None);
        }
        self.renewed(job, old).await.map(Some).map_err(|p| Answer::Unknown(p.message))
    }

    async fn revoke(&self, _: &Job<'_>, old: &Values, _: &Value, _: bool) -> Result<Answer, Problem> {
        Ok(Answer::Unknown(format!(
            "cert-manager revokes nothing: ask the issuer to revoke the old certificate, if it can; else it is valid until {}",
            valid_until(old).as_deref().unwrap_or("it expires")
        )))
    }
}
