//! Which lists are maps and by which keys, which objects are owned as a whole, and what a Kubernetes object always has:
//! one table for strategic merge (`patchMergeKey`), server-side apply (`listType`, `mapType`) and managedFields.
//!
//! What the table does not name is the default: an object's fields are owned one by one, a list is atomic.

use super::shape::{Empty, Field, List, Strategy};

/// A field of which nothing is special but its name.
const fn field(name: &'static str) -> Field {
    Field {
        name,
        atomic: false,
        list: List::Atomic,
        whole_items: false,
        strategy: Strategy::Default,
        empty: Empty::Absent,
        of: "",
    }
}

const fn object(name: &'static str, of: &'static str) -> Field {
    Field { of, ..field(name) }
}

/// An object that is there even when empty.
const fn embedded(name: &'static str, of: &'static str) -> Field {
    Field { empty: Empty::Object, of, ..field(name) }
}

/// An object that is owned as a whole.
const fn atomic(name: &'static str) -> Field {
    Field { atomic: true, ..field(name) }
}

const fn always_atomic(name: &'static str) -> Field {
    Field { empty: Empty::Object, ..atomic(name) }
}

const fn replaced(name: &'static str) -> Field {
    Field { strategy: Strategy::Replace, ..atomic(name) }
}

/// A list with the key for strategic merge (none: replaced) and those for apply (none: atomic).
const fn list(name: &'static str, merge: &'static str, keys: &'static [&'static str], of: &'static str) -> Field {
    let list = if keys.is_empty() { List::Atomic } else { List::Map(keys) };
    let strategy = if merge.is_empty() { Strategy::Default } else { Strategy::Key(merge) };
    Field { list, strategy, of, ..field(name) }
}

/// A list of references: told apart by a key, each owned as a whole.
const fn references(name: &'static str, key: &'static str, keys: &'static [&'static str]) -> Field {
    Field { whole_items: true, ..list(name, key, keys, "") }
}

/// A list of scalars, merged by strategic merge or not.
const fn set(name: &'static str, merged: bool) -> Field {
    let strategy = if merged { Strategy::Scalars } else { Strategy::Default };
    Field { list: List::Set, strategy, ..field(name) }
}

/// A time that is null when there is none.
const fn time(name: &'static str) -> Field {
    Field { empty: Empty::Null, ..field(name) }
}

/// A number that is there even when 0.
const fn zero(name: &'static str) -> Field {
    Field { empty: Empty::Zero, ..field(name) }
}

/// A text that is there even when empty.
const fn text(name: &'static str) -> Field {
    Field { empty: Empty::Text, ..field(name) }
}

impl Field {
    /// `null` when there is none.
    const fn required(self) -> Field {
        Field { empty: Empty::Null, ..self }
    }
}

/// Of a kind that the table does not name.
pub(super) const PLAIN: &[Field] = &[embedded("metadata", "ObjectMeta")];

/// By name, in order: a kind, or the type of a part of one.
pub(super) static TYPES: &[(&str, &[Field])] = &[
    ("Affinity", &[object("nodeAffinity", "NodeAffinity")]),
    ("ClusterRoleBinding", &[embedded("metadata", "ObjectMeta"), always_atomic("roleRef")]),
    ("Condition", &[time("lastTransitionTime")]),
    (
        "Container",
        &[
            list("env", "name", &["name"], "EnvVar"),
            list("ports", "containerPort", &["containerPort", "protocol"], ""),
            embedded("resources", "ResourceRequirements"),
            list("volumeDevices", "devicePath", &["devicePath"], ""),
            list("volumeMounts", "mountPath", &["mountPath"], ""),
        ],
    ),
    ("CronJob", &[embedded("metadata", "ObjectMeta"), embedded("spec", "CronJobSpec"), embedded("status", "")]),
    ("CronJobSpec", &[embedded("jobTemplate", "JobTemplateSpec")]),
    (
        "CustomResourceDefinition",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "CustomResourceDefinitionSpec"),
            embedded("status", "CustomResourceDefinitionStatus"),
        ],
    ),
    ("CustomResourceDefinitionSpec", &[embedded("names", "")]),
    (
        "CustomResourceDefinitionStatus",
        &[embedded("acceptedNames", ""), list("conditions", "", &["type"], "Condition")],
    ),
    (
        "DaemonSet",
        &[embedded("metadata", "ObjectMeta"), embedded("spec", "DaemonSetSpec"), embedded("status", "DaemonSetStatus")],
    ),
    ("DaemonSetSpec", &[atomic("selector"), embedded("template", "PodTemplateSpec"), embedded("updateStrategy", "")]),
    (
        "DaemonSetStatus",
        &[
            list("conditions", "type", &["type"], "Condition"),
            zero("currentNumberScheduled"),
            zero("desiredNumberScheduled"),
            zero("numberMisscheduled"),
            zero("numberReady"),
        ],
    ),
    (
        "Deployment",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "DeploymentSpec"),
            embedded("status", "DeploymentStatus"),
        ],
    ),
    ("DeploymentCondition", &[time("lastTransitionTime"), time("lastUpdateTime")]),
    ("DeploymentSpec", &[atomic("selector"), embedded("strategy", ""), embedded("template", "PodTemplateSpec")]),
    ("DeploymentStatus", &[list("conditions", "type", &["type"], "DeploymentCondition")]),
    ("EnvVar", &[object("valueFrom", "EnvVarSource")]),
    (
        "EnvVarSource",
        &[
            atomic("configMapKeyRef"),
            atomic("fieldRef"),
            atomic("fileKeyRef"),
            atomic("resourceFieldRef"),
            atomic("secretKeyRef"),
        ],
    ),
    ("EphemeralVolumeSource", &[object("volumeClaimTemplate", "PersistentVolumeClaimTemplate")]),
    (
        "Event",
        &[
            always_atomic("involvedObject"),
            embedded("metadata", "ObjectMeta"),
            atomic("related"),
            embedded("source", ""),
            time("firstTimestamp"),
            time("lastTimestamp"),
            time("eventTime"),
            text("reportingComponent"),
            text("reportingInstance"),
        ],
    ),
    (
        "HorizontalPodAutoscaler",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "HorizontalPodAutoscalerSpec"),
            embedded("status", "HorizontalPodAutoscalerStatus"),
        ],
    ),
    ("HorizontalPodAutoscalerSpec", &[embedded("scaleTargetRef", "")]),
    ("HorizontalPodAutoscalerStatus", &[list("conditions", "type", &["type"], "Condition"), zero("desiredReplicas")]),
    (
        "Ingress",
        &[embedded("metadata", "ObjectMeta"), embedded("spec", "IngressSpec"), embedded("status", "IngressStatus")],
    ),
    ("IngressBackend", &[atomic("resource"), object("service", "IngressServiceBackend")]),
    ("IngressClass", &[embedded("metadata", "ObjectMeta"), embedded("spec", "")]),
    ("IngressServiceBackend", &[always_atomic("port")]),
    ("IngressSpec", &[object("defaultBackend", "IngressBackend")]),
    ("IngressStatus", &[embedded("loadBalancer", "")]),
    ("Job", &[embedded("metadata", "ObjectMeta"), embedded("spec", "JobSpec"), embedded("status", "JobStatus")]),
    ("JobSpec", &[atomic("selector"), embedded("template", "PodTemplateSpec")]),
    ("JobStatus", &[list("conditions", "type", &[], ""), object("uncountedTerminatedPods", "UncountedTerminatedPods")]),
    ("JobTemplateSpec", &[embedded("metadata", "ObjectMeta"), embedded("spec", "JobSpec")]),
    ("Lease", &[embedded("metadata", "ObjectMeta"), embedded("spec", "")]),
    ("LimitRange", &[embedded("metadata", "ObjectMeta"), embedded("spec", "")]),
    (
        "MutatingWebhook",
        &[
            embedded("clientConfig", ""),
            list("matchConditions", "name", &["name"], ""),
            atomic("namespaceSelector"),
            atomic("objectSelector"),
        ],
    ),
    (
        "MutatingWebhookConfiguration",
        &[embedded("metadata", "ObjectMeta"), list("webhooks", "name", &["name"], "MutatingWebhook")],
    ),
    ("Namespace", &[embedded("metadata", "ObjectMeta"), embedded("spec", ""), embedded("status", "NamespaceStatus")]),
    ("NamespaceStatus", &[list("conditions", "type", &["type"], "Condition")]),
    ("NetworkPolicy", &[embedded("metadata", "ObjectMeta"), embedded("spec", "NetworkPolicySpec")]),
    ("NetworkPolicySpec", &[always_atomic("podSelector")]),
    ("Node", &[embedded("metadata", "ObjectMeta"), embedded("spec", "NodeSpec"), embedded("status", "NodeStatus")]),
    ("NodeAffinity", &[atomic("requiredDuringSchedulingIgnoredDuringExecution")]),
    ("NodeCondition", &[time("lastHeartbeatTime"), time("lastTransitionTime")]),
    ("NodeDaemonEndpoints", &[embedded("kubeletEndpoint", "")]),
    ("NodeSpec", &[set("podCIDRs", true)]),
    (
        "NodeStatus",
        &[
            list("addresses", "type", &["type"], ""),
            list("conditions", "type", &["type"], "NodeCondition"),
            embedded("daemonEndpoints", "NodeDaemonEndpoints"),
            embedded("nodeInfo", ""),
        ],
    ),
    ("ObjectMeta", &[set("finalizers", true), references("ownerReferences", "uid", &["uid"])]),
    (
        "PersistentVolume",
        &[embedded("metadata", "ObjectMeta"), embedded("spec", "PersistentVolumeSpec"), embedded("status", "")],
    ),
    (
        "PersistentVolumeClaim",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "PersistentVolumeClaimSpec"),
            embedded("status", "PersistentVolumeClaimStatus"),
        ],
    ),
    ("PersistentVolumeClaimSpec", &[atomic("dataSource"), embedded("resources", ""), atomic("selector")]),
    ("PersistentVolumeClaimStatus", &[list("conditions", "type", &["type"], "ProbedCondition")]),
    (
        "PersistentVolumeClaimTemplate",
        &[embedded("metadata", "ObjectMeta"), embedded("spec", "PersistentVolumeClaimSpec")],
    ),
    ("PersistentVolumeSpec", &[object("nodeAffinity", "VolumeNodeAffinity")]),
    ("Pod", &[embedded("metadata", "ObjectMeta"), embedded("spec", "PodSpec"), embedded("status", "PodStatus")]),
    (
        "PodDisruptionBudget",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "PodDisruptionBudgetSpec"),
            embedded("status", "PodDisruptionBudgetStatus"),
        ],
    ),
    ("PodDisruptionBudgetSpec", &[replaced("selector")]),
    (
        "PodDisruptionBudgetStatus",
        &[
            list("conditions", "type", &["type"], "Condition"),
            zero("currentHealthy"),
            zero("desiredHealthy"),
            zero("disruptionsAllowed"),
            zero("expectedPods"),
        ],
    ),
    (
        "PodSpec",
        &[
            object("affinity", "Affinity"),
            list("containers", "name", &["name"], "Container").required(),
            list("ephemeralContainers", "name", &["name"], "Container"),
            list("hostAliases", "ip", &["ip"], ""),
            references("imagePullSecrets", "name", &["name"]),
            list("initContainers", "name", &["name"], "Container"),
            atomic("nodeSelector"),
            list("resourceClaims", "name", &["name"], ""),
            object("resources", "ResourceRequirements"),
            list("schedulingGates", "name", &["name"], ""),
            list(
                "topologySpreadConstraints",
                "topologyKey",
                &["topologyKey", "whenUnsatisfiable"],
                "TopologySpreadConstraint",
            ),
            list("volumes", "name", &["name"], "Volume"),
        ],
    ),
    (
        "PodStatus",
        &[
            list("conditions", "type", &["type"], "ProbedCondition"),
            list("hostIPs", "ip", &[], ""),
            list("podIPs", "ip", &["ip"], ""),
            list("resourceClaimStatuses", "name", &["name"], ""),
            object("resources", "ResourceRequirements"),
        ],
    ),
    ("PodTemplate", &[embedded("metadata", "ObjectMeta"), embedded("template", "PodTemplateSpec")]),
    ("PodTemplateSpec", &[embedded("metadata", "ObjectMeta"), embedded("spec", "PodSpec")]),
    ("ProbedCondition", &[time("lastProbeTime"), time("lastTransitionTime")]),
    (
        "ReplicaSet",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "ReplicaSetSpec"),
            embedded("status", "ReplicaSetStatus"),
        ],
    ),
    ("ReplicaSetSpec", &[atomic("selector"), embedded("template", "PodTemplateSpec")]),
    ("ReplicaSetStatus", &[list("conditions", "type", &["type"], "Condition"), zero("replicas")]),
    (
        "ReplicationController",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "ReplicationControllerSpec"),
            embedded("status", "ReplicationControllerStatus"),
        ],
    ),
    ("ReplicationControllerSpec", &[atomic("selector"), object("template", "PodTemplateSpec")]),
    ("ReplicationControllerStatus", &[list("conditions", "type", &["type"], "Condition"), zero("replicas")]),
    (
        "ResourceQuota",
        &[embedded("metadata", "ObjectMeta"), embedded("spec", "ResourceQuotaSpec"), embedded("status", "")],
    ),
    ("ResourceQuotaSpec", &[atomic("scopeSelector")]),
    ("ResourceRequirements", &[list("claims", "", &["name"], "")]),
    ("RoleBinding", &[embedded("metadata", "ObjectMeta"), always_atomic("roleRef")]),
    (
        "Service",
        &[embedded("metadata", "ObjectMeta"), embedded("spec", "ServiceSpec"), embedded("status", "ServiceStatus")],
    ),
    ("ServiceAccount", &[embedded("metadata", "ObjectMeta"), references("secrets", "name", &["name"])]),
    ("ServiceSpec", &[list("ports", "port", &["port", "protocol"], ""), atomic("selector")]),
    ("ServiceStatus", &[list("conditions", "type", &["type"], "Condition"), embedded("loadBalancer", "")]),
    (
        "StatefulSet",
        &[
            embedded("metadata", "ObjectMeta"),
            embedded("spec", "StatefulSetSpec"),
            embedded("status", "StatefulSetStatus"),
        ],
    ),
    ("StatefulSetSpec", &[atomic("selector"), embedded("template", "PodTemplateSpec"), embedded("updateStrategy", "")]),
    ("StatefulSetStatus", &[list("conditions", "type", &["type"], "Condition"), zero("replicas")]),
    ("TopologySpreadConstraint", &[atomic("labelSelector")]),
    ("UncountedTerminatedPods", &[set("failed", false), set("succeeded", false)]),
    (
        "ValidatingWebhook",
        &[
            embedded("clientConfig", ""),
            list("matchConditions", "name", &["name"], ""),
            atomic("namespaceSelector"),
            atomic("objectSelector"),
        ],
    ),
    (
        "ValidatingWebhookConfiguration",
        &[embedded("metadata", "ObjectMeta"), list("webhooks", "name", &["name"], "ValidatingWebhook")],
    ),
    ("Volume", &[object("ephemeral", "EphemeralVolumeSource")]),
    ("VolumeNodeAffinity", &[atomic("required")]),
];

#[cfg(test)]
mod tests {
    use super::super::shape::named;
    use super::*;

    #[test]
    fn the_table_is_in_order_and_whole() {
        assert!(TYPES.is_sorted_by_key(|(name, _)| *name), "looked up by halves");
        for (name, fields) in TYPES {
            for field in *fields {
                assert!(field.of.is_empty() || named(field.of).is_some(), "{name}.{}: {}", field.name, field.of);
            }
        }
    }
}
