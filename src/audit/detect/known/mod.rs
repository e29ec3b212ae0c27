//! The detections that quell knows: one file each, and the list.

mod admission_changed;
mod anonymous;
mod auth_config_changed;
mod binding_then_workload;
mod binding_to_power;
mod certificate_request;
mod denied_burst;
mod dns_changed;
mod enumeration;
mod ephemeral_container;
mod evidence_removed;
mod exec;
mod exec_copy;
mod exec_credentials;
mod exec_reverse_shell;
mod exposed;
mod guard_relaxed;
mod host_namespaces;
mod host_path;
mod image_new;
mod impersonation;
mod mass_delete;
mod node_changed;
mod node_proxy;
mod pod_proxy;
mod port_forward;
mod power;
mod privileged;
mod quarantine_touched;
mod rbac_by_account;
mod role_of_power;
mod secret_by_script;
mod secrets_burst;
mod secrets_elsewhere;
mod secrets_everywhere;
mod system_namespace;
mod token_elsewhere;
mod token_request;
mod token_secret;
mod workload_by_account;
mod workload_changed;

use super::Detection;

/// All of them.
pub fn all() -> Vec<Box<dyn Detection>> {
    vec![
        Box::new(secrets_everywhere::SecretsEverywhere),
        Box::new(secrets_elsewhere::SecretsElsewhere),
        Box::new(secrets_burst::SecretsBurst),
        Box::new(secret_by_script::SecretByScript),
        Box::new(exec::Exec),
        Box::new(exec_credentials::ExecCredentials),
        Box::new(exec_reverse_shell::ExecReverseShell),
        Box::new(exec_copy::ExecCopy),
        Box::new(port_forward::PortForward),
        Box::new(ephemeral_container::EphemeralContainer),
        Box::new(token_request::TokenRequest),
        Box::new(token_secret::TokenSecret),
        Box::new(node_proxy::NodeProxy),
        Box::new(pod_proxy::PodProxy),
        Box::new(privileged::Privileged),
        Box::new(host_namespaces::HostNamespaces),
        Box::new(host_path::HostPath),
        Box::new(system_namespace::SystemNamespace),
        Box::new(workload_by_account::WorkloadByAccount),
        Box::new(workload_changed::WorkloadChanged),
        Box::new(binding_to_power::BindingToPower),
        Box::new(role_of_power::RoleOfPower),
        Box::new(rbac_by_account::RbacByAccount),
        Box::new(binding_then_workload::BindingThenWorkload),
        Box::new(impersonation::Impersonation),
        Box::new(certificate_request::CertificateRequest),
        Box::new(admission_changed::AdmissionChanged),
        Box::new(anonymous::Anonymous),
        Box::new(enumeration::Enumeration),
        Box::new(denied_burst::DeniedBurst),
        Box::new(evidence_removed::EvidenceRemoved),
        Box::new(dns_changed::DnsChanged),
        Box::new(auth_config_changed::AuthConfigChanged),
        Box::new(guard_relaxed::GuardRelaxed),
        Box::new(exposed::Exposed),
        Box::new(mass_delete::MassDelete),
        Box::new(node_changed::NodeChanged),
        Box::new(token_elsewhere::TokenElsewhere),
        Box::new(image_new::ImageNew),
        Box::new(quarantine_touched::QuarantineTouched),
    ]
}

/// Namespaces of the cluster's own parts.
fn is_system(namespace: &str) -> bool {
    matches!(namespace, "kube-system" | "kube-public" | "kube-node-lease")
}
