//! The Secret that an incident is about: as one step hands it to the next, and as it is now.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;

use super::Problem;
use super::sealed::Values;
use crate::cluster::{Cx, Fault};
use crate::event::ObjectRef;

/// What `secret.consumers` found out, from its outputs. Fields are None where that step has not run.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Of {
    pub secret: Known,
    pub keys: Vec<String>,
    pub digest: Option<String>,
    pub version: Option<String>,
}

/// The Secret.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    pub namespace: String,
    pub name: String,
    pub uid: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub immutable: Option<bool>,
}

impl Of {
    /// Reads the outputs of a `secret.consumers` step.
    pub fn read(outputs: &Value) -> Result<Of, String> {
        let of: Of = serde_json::from_value(outputs.clone()).unwrap_or_default();
        if of.secret.name.is_empty() || of.secret.namespace.is_empty() {
            return Err("`of` names no Secret: give it the outputs of a `secret.consumers` step".into());
        }
        Ok(of)
    }

    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: Some(self.secret.namespace.clone()),
            name: self.secret.name.clone(),
            uid: self.secret.uid.clone(),
        }
    }
}

/// The Secret now, values and all.
pub(super) struct SecretNow {
    pub meta: ObjectMeta,
    pub kind: String,
    pub immutable: bool,
    pub values: Values,
}

/// Reads it; another UID than the expected one is a conflict.
pub(super) async fn secret_now(cx: &Cx, namespace: &str, name: &str, uid: Option<&str>) -> Result<SecretNow, Problem> {
    let api: Api<Secret> = Api::namespaced(cx.client.clone(), namespace);
    let secret = tokio::time::timeout(Duration::from_secs(30), api.get(name))
        .await
        .map_err(|_| Problem::new(Fault::Transient, "no answer from the API server within 30 s"))??;
    if uid.is_some() && secret.metadata.uid.as_deref() != uid {
        return Err(Problem::new(
            Fault::Conflict,
            format!("Secret {namespace}/{name} was replaced: it is another object by that name"),
        )
        .hint("begin a new run on it, and look who replaced it"));
    }
    Ok(SecretNow {
        kind: secret.type_.unwrap_or_else(|| "Opaque".into()),
        immutable: secret.immutable == Some(true),
        values: Values(secret.data.unwrap_or_default().into_iter().map(|(k, v)| (k, v.0)).collect()),
        meta: secret.metadata,
    })
}
