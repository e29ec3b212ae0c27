//! Where the names of Go's types are not those of the generated Rust types.

/// The Go type of a field that is declared with a named type for texts, lists or maps.
pub(super) fn named_type(owner: &str, field: &str) -> Option<&'static str> {
    Some(match (owner, field) {
        ("NetworkPolicySpec", "policyTypes") => "[]v1.PolicyType",
        ("PersistentVolumeClaimSpec", "accessModes") => "[]v1.PersistentVolumeAccessMode",
        ("Capabilities", "add" | "drop") => "[]v1.Capability",
        ("ResourceRequirements" | "VolumeResourceRequirements", "limits" | "requests") => "v1.ResourceList",
        ("PodSpec", "restartPolicy") => "v1.RestartPolicy",
        ("PodSpec", "dnsPolicy") => "v1.DNSPolicy",
        ("PodSpec", "preemptionPolicy") => "v1.PreemptionPolicy",
        ("PodSpec", "overhead") => "v1.ResourceList",
        ("Container", "restartPolicy") => "v1.ContainerRestartPolicy",
        ("Container" | "EphemeralContainer", "imagePullPolicy") => "v1.PullPolicy",
        ("Container" | "EphemeralContainer", "terminationMessagePolicy") => "v1.TerminationMessagePolicy",
        ("ContainerPort" | "ServicePort" | "EndpointPort" | "NetworkPolicyPort", "protocol") => "v1.Protocol",
        ("ServiceSpec", "type") => "v1.ServiceType",
        ("ServiceSpec", "sessionAffinity") => "v1.ServiceAffinity",
        ("Secret", "type") => "v1.SecretType",
        ("Toleration", "operator") => "v1.TolerationOperator",
        ("Toleration" | "Taint", "effect") => "v1.TaintEffect",
        ("LabelSelectorRequirement", "operator") => "v1.LabelSelectorOperator",
        ("NodeSelectorRequirement", "operator") => "v1.NodeSelectorOperator",
        ("DeploymentStrategy", "type") => "v1.DeploymentStrategyType",
        ("CronJobSpec", "concurrencyPolicy") => "v1.ConcurrencyPolicy",
        ("ObjectMeta" | "OwnerReference", "uid") => "types.UID",
        _ => return None,
    })
}
