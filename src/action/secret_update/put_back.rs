//! Undo: the old values into the Secret again.

use k8s_openapi::ByteString;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{SecretUpdate, last_writer};
use crate::action::credentials_rotate::{ROTATED_BY, withhold};
use crate::action::sealed::Vault;
use crate::action::secret_of::{Of, secret_now};
use crate::action::{Done, Problem};
use crate::cluster::{Cx, Fault};
use crate::event::{Op, OpStatus, Proof};

impl SecretUpdate {
    /// The old values again, unless somebody has written the Secret since.
    pub(super) async fn put_back(&self, cx: &Cx, op: &Op, done: &Value, of: &Of) -> Result<Done, Problem> {
        let vault = Vault::open(cx)?;
        let before = vault.get("before")?.ok_or_else(|| {
            Problem::failed("the old value was forgotten when it was shown to be refused: nothing is left to put back")
        })?;
        let now = secret_now(cx, &of.secret.namespace, &of.secret.name, op.object.uid.as_deref()).await?;
        let digest = vault.digest_of(&now.values);
        if digest == vault.digest_of(&before) {
            let said = format!("{} holds the old values already", op.object);
            return Ok(Done {
                status: OpStatus::AlreadySo,
                ..Done::applied(said.clone(), Proof::Verified(said), Value::Null)
            });
        }
        if done["whole"].as_str().is_some_and(|whole| whole != digest) {
            return Err(Problem::new(
                Fault::Conflict,
                format!("{} was edited since (last by {}): it is left as it is", op.object, last_writer(&now.meta)),
            )
            .hint("undoing would overwrite that; the old values stay sealed in the incident's folder"));
        }
        let keys: Vec<String> = serde_json::from_value(done["keys"].clone()).unwrap_or_default();
        let data: serde_json::Map<String, Value> = keys
            .iter()
            .map(|k| (k.clone(), before.0.get(k).map_or(Value::Null, |v| json!(ByteString(v.clone())))))
            .collect();
        let body = json!({
            "metadata": {
                "uid": now.meta.uid, "resourceVersion": now.meta.resource_version, "annotations": { ROTATED_BY: Value::Null },
            },
            "data": data,
        });
        let params = PatchParams { field_manager: Some("quell".into()), ..PatchParams::default() };
        SecretUpdate::api(cx, of)
            .patch_metadata(&of.secret.name, &params, &Patch::Merge(body))
            .await
            .map_err(|e| withhold(e, &format!("{}/{}", of.secret.namespace, of.secret.name), false))?;
        let said = format!("{} holds the old values again, the exposed ones", op.object);
        let after = secret_now(cx, &of.secret.namespace, &of.secret.name, op.object.uid.as_deref()).await?;
        if vault.digest_of(&after.values) != vault.digest_of(&before) {
            return Err(Problem::failed(format!("{} was put back, and does not hold the old values", op.object)));
        }
        Ok(Done::applied(
            said.clone(),
            Proof::Unproved(format!(
                "{said}; consumers that were restarted meanwhile hold the new ones until they are restarted again"
            )),
            Value::Null,
        ))
    }
}
