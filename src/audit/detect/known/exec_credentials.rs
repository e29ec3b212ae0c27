//! An exec that reaches for credentials.

use std::sync::LazyLock;

use regex::Regex;

use super::exec::short;
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actors, Detection, Look, On, Out, Severity, Spec, Verbs};

pub struct ExecCredentials;

const SPEC: Spec = Spec {
    id: "exec-for-credentials",
    title: "Command in a pod that reaches for credentials",
    techniques: "T1552.001 T1552.005",
    severity: Severity::High,
    says: "{who} [ran|tried to run] a command that reaches for credentials in {what}{notes}.",
    false_positives: "Scripts that check a mount or a metadata service. A command that hides what it does (base64, a script \
        in the image) is not seen.",
    step: "Take the pod's service account token, and what its node's metadata service gives, for leaked: isolate the pod, \
        end its tokens, ask the cloud's log for the role.",
    on: On::Resources(&[("pods", "exec", Verbs::GET.or(Verbs::CREATE))]),
    by: Actors::ANY,
    needs: &[],
    cap: CAP,
};

/// Places of credentials: a service account's token, the metadata services of clouds, password files, a kubelet's and the
/// cluster's own keys, the environment of processes.
static PLACES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"(?i)secrets/(kubernetes\.io/)?serviceaccount|secrets/eks\.amazonaws\.com|169\.254\.169\.254|169\.254\.170\.2|100\.100\.100\.200|fd00:ec2::254|metadata\.(google\.internal|azure)|/etc/shadow|/var/lib/kubelet|/etc/kubernetes(/|\b)|/proc/[^/\s]+/environ|\.aws/credentials|\.kube/config|\.docker/config\.json|\.config/gcloud|\.azure/|id_(rsa|ed25519|ecdsa)|/root/\.ssh",
    )
    .ok()
});

impl Detection for ExecCredentials {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let command = look.event.command().join(" ");
        if PLACES.as_ref().is_some_and(|r| r.is_match(&command)) {
            out.hit(look, Severity::High, &format!("`{}`", short(&command)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    #[test]
    fn tokens_metadata_and_password_files() {
        assert!(PLACES.is_some());
        let exec = |argv: &[&str]| line("get", "pods/exec").ns("shop").name("web-1").command(argv);
        each(
            SPEC.id,
            Severity::High,
            &[
                exec(&["cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]),
                exec(&["sh", "-c", "curl -s http://169.254.169.254/latest/meta-data/"]),
                exec(&["cat", "/etc/shadow"]),
                exec(&["cat", "/proc/1/environ"]),
                exec(&["ls", "/var/lib/kubelet/pki"]),
            ],
        );
        none(SPEC.id, &[exec(&["ls", "/var/log"]), exec(&["cat", "/proc/1/status"]), exec(&["sh"])]);
    }
}
