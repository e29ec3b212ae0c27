//! Validation, after `pkg/apis/*/validation`.
mod addresses;
mod affinity;
mod container;
mod cron;
mod data;
mod ephemeral;
mod network;
mod objects;
mod pod;
mod pod_update;
mod probe;
mod rbac;
mod resources;
mod security_context;
mod service;
mod volume;
mod workload;

use serde_json::Value;

use super::field::Causes;
use super::{Cause, metadata};

/// See [`super::validate`].
pub(super) fn validate(kind: &str, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Causes::default();
    match old {
        None if kind == "Job" => metadata::validate(kind, &without_generated(&object["metadata"]), &mut causes),
        None => metadata::validate(kind, &object["metadata"], &mut causes),
        Some(old) => metadata::validate_update(&object["metadata"], &old["metadata"], &mut causes),
    }
    let found = &mut causes;
    match kind {
        "Pod" => match old {
            None => pod::create(object, found),
            Some(old) => pod_update::update(object, old, found),
        },
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "CronJob" => {
            workload::validate(kind, object, old, found);
        }
        "Service" => service::validate(object, old, found),
        "Endpoints" => network::endpoints(object, found),
        "EndpointSlice" => network::slice(object, old, found),
        "NetworkPolicy" => network::policy(object, found),
        "ConfigMap" => data::config_map(object, old, found),
        "Secret" => data::secret(object, old, found),
        "Role" | "ClusterRole" => rbac::role(kind, object, found),
        "RoleBinding" | "ClusterRoleBinding" => rbac::binding(kind, object, old, found),
        "PodDisruptionBudget" => objects::budget(object, found),
        "Node" => objects::node(object, old, found),
        "Lease" => objects::lease(object, found),
        "Event" => objects::event(object, found),
        "PersistentVolumeClaim" => objects::claim(object, old, found),
        "CustomResourceDefinition" => objects::custom_resource_definition(object, found),
        _ => {}
    }
    causes.0
}

/// A Job's metadata as it came: its generated labels are put there later, and looked at in the template.
fn without_generated(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !key.ends_with("job-name") && !key.ends_with("controller-uid"));
    }
    metadata
}

/// See [`super::validate_ephemeral`].
pub(super) fn validate_ephemeral(object: &Value, old: &Value) -> Vec<Cause> {
    let mut causes = Causes::default();
    ephemeral::update(object, old, &mut causes);
    causes.0
}
