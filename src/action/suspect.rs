//! The pod as `pod.record` described it, for the steps that run after it is gone.
//!
//! The record came from a cluster and went through a runbook's expressions: every field may be missing, and what is
//! missing is unknown, never assumed.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::event::ObjectRef;

/// What later steps use of the record.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Suspect {
    #[serde(deserialize_with = "or_default")]
    pub pod: SuspectPod,
    #[serde(deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// None when the record does not say which credentials there were: that is not the same as none.
    #[serde(deserialize_with = "or_default")]
    pub credentials: Option<Vec<Credential>>,
}

/// The pod's own facts.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SuspectPod {
    #[serde(deserialize_with = "or_default")]
    pub name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub namespace: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub uid: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub service_account: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub service_account_uid: Option<String>,
}

/// One container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Container {
    #[serde(deserialize_with = "or_default")]
    pub name: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub image: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub image_id: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub pull_policy: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub running: Option<bool>,
}

/// One way in which a credential reached the pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Credential {
    /// `secret`, `service-account-token`, `image-pull-secret`, `configmap`.
    #[serde(deserialize_with = "or_default")]
    pub kind: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub name: Option<String>,
    /// None: all of them, or not known which.
    #[serde(deserialize_with = "or_default")]
    pub keys: Option<Vec<String>>,
    /// `env`, `envFrom`, `volume`, `projected`, `imagePullSecret`.
    #[serde(deserialize_with = "or_default")]
    pub via: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub container: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub path: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub audience: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub expiration_seconds: Option<i64>,
}

impl Suspect {
    /// Reads a record leniently: a part of another shape than expected counts as missing.
    pub fn read(record: &Value) -> Suspect {
        Suspect::deserialize(record).unwrap_or_default()
    }

    /// The pod; without name where the record has none.
    pub fn object(&self) -> ObjectRef {
        ObjectRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: self.pod.namespace.clone(),
            name: self.pod.name.clone().unwrap_or_else(|| "unknown".into()),
            uid: self.pod.uid.clone(),
        }
    }

    /// Why this is no record of a pod, with the remedy; None when it is one.
    pub fn blocker(&self) -> Option<String> {
        (self.pod.name.is_none() || self.pod.namespace.is_none()).then(|| {
            "`record` names no pod: give it the outputs of a `pod.record` step, as in `record: ${{ steps.record.outputs }}`"
                .into()
        })
    }
}

/// A field that is null or of an unexpected type counts as missing; so does an element of a list.
fn or_default<'de, D: Deserializer<'de>, T: Lenient>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::lenient(Value::deserialize(deserializer)?))
}

/// Reads what is there of the right shape.
trait Lenient: Default {
    fn lenient(value: Value) -> Self;
}

macro_rules! lenient {
    ($($t:ty),*) => {$(
        impl Lenient for $t {
            fn lenient(value: Value) -> Self {
                serde_json::from_value(value).unwrap_or_default()
            }
        }
    )*};
}
lenient!(SuspectPod, Option<String>, Option<bool>, Option<i64>, Option<Vec<String>>);

impl Lenient for Vec<Container> {
    fn lenient(value: Value) -> Self {
        each(value).unwrap_or_default()
    }
}

impl Lenient for Option<Vec<Credential>> {
    fn lenient(value: Value) -> Self {
        each(value)
    }
}

fn each<T: serde::de::DeserializeOwned>(value: Value) -> Option<Vec<T>> {
    let Value::Array(values) = value else { return None };
    Some(values.into_iter().filter_map(|v| serde_json::from_value(v).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_missing_or_misshapen_is_unknown() {
        let suspect = Suspect::read(&json!({
            "pod": {"name": "p", "namespace": 7, "uid": null},
            "containers": [{"name": "app", "image": {}}, "nonsense"],
        }));
        assert_eq!(suspect.pod.name.as_deref(), Some("p"));
        assert_eq!(suspect.pod.namespace, None);
        assert_eq!(suspect.containers.len(), 1);
        assert_eq!(suspect.containers[0].image, None);
        assert!(suspect.credentials.is_none());
        assert!(suspect.blocker().is_some());
        assert!(Suspect::read(&json!("x")).blocker().is_some());
    }
}
