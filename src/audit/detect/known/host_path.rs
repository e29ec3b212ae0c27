//! Directories of the host in a pod.

use crate::audit::detect::look::{items, text};
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct HostPath;

const SPEC: Spec = Spec {
    id: "host-path",
    title: "Sensitive directory of the host in a pod",
    techniques: "T1611",
    severity: Severity::High,
    says: "{who} [mounted|tried to mount] a directory of the host that gives it away, in {what}{notes}.",
    false_positives: "Log collectors, storage drivers and node agents that an administrator installs.",
    step: "See whether it ran and was written to. What reaches the container runtime's socket or the kubelet's directory is \
        root on the node.",
    on: On::Resources(&[
        ("pods", "", Verbs::WRITE),
        ("deployments", "", Verbs::WRITE),
        ("daemonsets", "", Verbs::WRITE),
        ("statefulsets", "", Verbs::WRITE),
        ("replicasets", "", Verbs::WRITE),
        ("replicationcontrollers", "", Verbs::WRITE),
        ("jobs", "", Verbs::WRITE),
        ("cronjobs", "", Verbs::WRITE),
        ("podtemplates", "", Verbs::WRITE),
        ("persistentvolumes", "", Verbs::WRITE),
    ]),
    by: Actors::OTHERS,
    needs: &[
        Need::Bodies(&["pods", "deployments", "daemonsets", "statefulsets", "replicasets", "jobs", "cronjobs"]),
        Need::Bodies(&["persistentvolumes"]),
    ],
    cap: CAP,
};

impl Detection for HostPath {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let specs = look.pod_specs();
        let volumes = specs.iter().flat_map(|spec| items(spec, "/volumes")).map(|v| text(v, "/hostPath/path"));
        // A volume of the cluster may be a directory of a host in disguise.
        let own = specs.iter().flat_map(|s| [text(s, "/hostPath/path"), text(s, "/local/path")]);
        if let Some((severity, path)) = volumes.chain(own).filter_map(|p| grade(p).map(|s| (s, p))).max() {
            let short: String = path.chars().take(100).collect();
            out.hit(look, severity, &short);
        }
    }
}

fn grade(path: &str) -> Option<Severity> {
    if path.is_empty() {
        return None;
    }
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.last().is_some_and(|p| p.ends_with(".sock")) {
        return Some(Severity::High);
    }
    let under = |prefix: &[&str]| parts.starts_with(prefix);
    match parts.as_slice() {
        [] | ["var"] | ["var", "lib"] | ["usr"] | ["home"] => Some(Severity::High),
        // Read by many, and worth nothing.
        ["etc", "localtime" | "timezone" | "machine-id" | "os-release" | "hosts" | "resolv.conf"] => None,
        ["etc", "ssl" | "pki", ..] if !under(&["etc", "ssl", "private"]) => None,
        ["run" | "sys" | "dev" | "boot"] | ["var", "run"] => Some(Severity::High),
        ["var", "log", ..] => Some(Severity::Medium),
        _ if under(&["etc"]) || under(&["proc"]) || under(&["root"]) || under(&["home"]) => Some(Severity::High),
        ["var", "lib", "kubelet" | "etcd" | "containerd" | "docker" | "containers" | "rancher" | "k0s", ..] => {
            Some(Severity::High)
        }
        ["run" | "sys", ..] | ["var", "run", ..] | ["usr", "bin" | "sbin" | "local", ..] => Some(Severity::Medium),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn what_gives_the_host_away() {
        let pod = |path: &str| {
            line("create", "pods").ns("shop").body(json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}, {"name": "h", "hostPath": {"path": path}}]}}))
        };
        let high = [
            "/",
            "//",
            "/etc",
            "/etc/kubernetes/",
            "/proc",
            "/root/.ssh",
            "/var",
            "/var/run",
            "/var/lib/kubelet/pods",
            "/run/containerd/containerd.sock",
            "/var/run/docker.sock",
        ];
        each(SPEC.id, Severity::High, &high.map(pod));
        each(SPEC.id, Severity::Medium, &[pod("/var/log"), pod("/run/systemd")]);
        none(
            SPEC.id,
            &["/data", "/etc/localtime", "/etc/ssl/certs", "/mnt/disk1", "/opt/cni", "/variety", "/etcetera"].map(pod),
        );
        none(SPEC.id, &[pod("/").node("n1", "10.0.0.1")]);
        let volume = |spec: Value| line("create", "persistentvolumes").body(json!({"spec": spec}));
        each(
            SPEC.id,
            Severity::High,
            &[volume(json!({"hostPath": {"path": "/etc"}})), volume(json!({"local": {"path": "/root"}}))],
        );
        let patch = json!([{"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"name": "x", "hostPath": {"path": "/"}}}]);
        each(SPEC.id, Severity::High, &[line("patch", "deployments.apps").ns("shop").name("w").body(patch)]);
    }
}
