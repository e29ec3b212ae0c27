//! The kinds whose fields are known, and their types.
use k8s_openapi::api::{
    admissionregistration::v1 as admission, apps::v1 as apps, authentication::v1 as authentication,
    authorization::v1 as authorization, autoscaling::v1 as autoscaling, batch::v1 as batch,
    coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
    networking::v1 as networking, policy::v1 as policy, rbac::v1 as rbac, storage::v1 as storage,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::serde::{Serialize, de::DeserializeOwned};
use serde_json::{Error, Value};

fn through<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, Error> {
    serde_json::to_value(serde_json::from_value::<T>(object.clone())?)
}

/// The object after decoding into its type and encoding again: without the fields that the type does not have. None for
/// a kind that is not known; an error for a value of the wrong type.
pub(super) fn round_trip(api_version: &str, kind: &str, object: &Value) -> Option<Result<Value, Error>> {
    let through: fn(&Value) -> Result<Value, Error> = match (api_version, kind) {
        ("v1", "Pod") => through::<core::Pod>,
        ("v1", "Service") => through::<core::Service>,
        ("v1", "Endpoints") => through::<core::Endpoints>,
        ("v1", "ConfigMap") => through::<core::ConfigMap>,
        ("v1", "Secret") => through::<core::Secret>,
        ("v1", "ServiceAccount") => through::<core::ServiceAccount>,
        ("v1", "Namespace") => through::<core::Namespace>,
        ("v1", "Node") => through::<core::Node>,
        ("v1", "Event") => through::<core::Event>,
        ("v1", "PersistentVolume") => through::<core::PersistentVolume>,
        ("v1", "PersistentVolumeClaim") => through::<core::PersistentVolumeClaim>,
        ("v1", "Binding") => through::<core::Binding>,
        ("v1", "PodTemplate") => through::<core::PodTemplate>,
        ("apps/v1", "Deployment") => through::<apps::Deployment>,
        ("apps/v1", "ReplicaSet") => through::<apps::ReplicaSet>,
        ("apps/v1", "StatefulSet") => through::<apps::StatefulSet>,
        ("apps/v1", "DaemonSet") => through::<apps::DaemonSet>,
        ("apps/v1", "ControllerRevision") => through::<apps::ControllerRevision>,
        ("batch/v1", "Job") => through::<batch::Job>,
        ("batch/v1", "CronJob") => through::<batch::CronJob>,
        ("autoscaling/v1", "Scale") => through::<autoscaling::Scale>,
        ("networking.k8s.io/v1", "NetworkPolicy") => through::<networking::NetworkPolicy>,
        ("networking.k8s.io/v1", "Ingress") => through::<networking::Ingress>,
        ("policy/v1", "PodDisruptionBudget") => through::<policy::PodDisruptionBudget>,
        ("policy/v1", "Eviction") => through::<policy::Eviction>,
        ("rbac.authorization.k8s.io/v1", "Role") => through::<rbac::Role>,
        ("rbac.authorization.k8s.io/v1", "ClusterRole") => through::<rbac::ClusterRole>,
        ("rbac.authorization.k8s.io/v1", "RoleBinding") => through::<rbac::RoleBinding>,
        ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding") => through::<rbac::ClusterRoleBinding>,
        ("coordination.k8s.io/v1", "Lease") => through::<coordination::Lease>,
        ("discovery.k8s.io/v1", "EndpointSlice") => through::<discovery::EndpointSlice>,
        ("events.k8s.io/v1", "Event") => through::<events::Event>,
        ("storage.k8s.io/v1", "StorageClass") => through::<storage::StorageClass>,
        ("authentication.k8s.io/v1", "TokenRequest") => through::<authentication::TokenRequest>,
        ("authorization.k8s.io/v1", "SubjectAccessReview") => through::<authorization::SubjectAccessReview>,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => through::<authorization::SelfSubjectAccessReview>,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => through::<authorization::SelfSubjectRulesReview>,
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition") => through::<extensions::CustomResourceDefinition>,
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration") => {
            through::<admission::ValidatingWebhookConfiguration>
        }
        ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration") => {
            through::<admission::MutatingWebhookConfiguration>
        }
        _ => return None,
    };
    Some(through(object))
}
