//! Client certificates, which can't be taken back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::audit::detect::look::{items, text};
use crate::audit::detect::spec::CAP;
use crate::audit::detect::{Actor, Actors, Detection, Look, Need, On, Out, Severity, Spec, Verbs};

pub struct CertificateRequest;

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Bytes of a request that are decoded; the API server takes no larger ones in practice.
const MAX_REQUEST: usize = 64 * 1024;

const SPEC: Spec = Spec {
    id: "certificate-requested",
    title: "Client certificate asked for or approved",
    techniques: "T1098 T1649",
    severity: Severity::Critical,
    says: "{who} [asked for or approved|tried to ask for or approve] a certificate, {what}{notes}.",
    false_positives: "Certificates for people by the documented way; controllers that approve the kubelets' requests.",
    step: "A client certificate can't be revoked: find its name in the CSR, take all rights of that name and its groups \
        away, and follow it by its fingerprint. For system:masters only a new CA helps.",
    on: On::Resources(&[
        ("certificatesigningrequests", "", Verbs::CREATE),
        ("certificatesigningrequests", "approval", Verbs::UPDATE.or(Verbs::PATCH)),
    ]),
    by: Actors::OTHERS,
    needs: &[Need::Bodies(&["certificatesigningrequests"])],
    cap: CAP,
};

impl Detection for CertificateRequest {
    fn spec(&self) -> Spec<'_> {
        SPEC
    }

    fn look(&self, look: &Look, out: &mut Out) {
        let body = look.body();
        let signer = [body, look.answer()].into_iter().map(|b| text(b, "/spec/signerName")).find(|s| !s.is_empty());
        let kubelets = signer.is_some_and(|s| {
            s.starts_with("kubernetes.io/kubelet") || s == "kubernetes.io/kube-apiserver-client-kubelet"
        });
        if look.sub() == "approval" {
            let denies = items(body, "/status/conditions").any(|c| text(c, "/type") == "Denied");
            if denies {
                return;
            }
            let severity = match (kubelets, signer) {
                (true, _) => Severity::Low,
                (false, Some(CLIENT)) => Severity::High,
                _ => Severity::Medium,
            };
            out.hit(look, severity, "approved");
            return;
        }
        let joining = look.actor == Actor::Person && look.event.user.in_group("system:bootstrappers");
        if joining && (kubelets || signer.is_none()) {
            return;
        }
        let (severity, note) = match signer {
            _ if for_masters(body) => {
                (Severity::Critical, "for the group system:masters, whom no rule holds back".to_owned())
            }
            Some(CLIENT) => (Severity::High, format!("signer {CLIENT}")),
            Some(other) if kubelets => {
                (Severity::High, format!("a kubelet's, by somebody who is none: signer {other}"))
            }
            Some(other) => (Severity::Low, format!("signer {other}")),
            None => (Severity::Medium, "for which signer the log does not say".into()),
        };
        out.hit(look, severity, &note);
    }
}

/// The request is PEM in base64; the name's parts stand in it as they are.
fn for_masters(body: &Value) -> bool {
    let request = text(body, "/spec/request");
    if request.is_empty() || request.len() > MAX_REQUEST {
        return false;
    }
    let Ok(pem) = STANDARD.decode(request) else { return false };
    let Ok(pem) = String::from_utf8(pem) else { return false };
    let der: String = pem.lines().filter(|l| !l.starts_with("-----")).map(str::trim).collect();
    STANDARD.decode(der).is_ok_and(|der| der.windows(14).any(|w| w == b"system:masters"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::detect::plant::{each, line, none};

    fn ask(signer: &str, name: &str) -> crate::audit::detect::plant::Line {
        // Not a whole request: what is looked for is in its bytes.
        let der = STANDARD.encode(format!("\x30\x0f\x13\x0e{name}\x02"));
        let pem =
            STANDARD.encode(format!("-----BEGIN CERTIFICATE REQUEST-----\n{der}\n-----END CERTIFICATE REQUEST-----\n"));
        line("create", "certificatesigningrequests.certificates.k8s.io")
            .body(json!({"metadata": {"name": "c"}, "spec": {"signerName": signer, "request": pem}}))
    }

    #[test]
    fn by_signer_and_by_group() {
        let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
        each(SPEC.id, Severity::Critical, &[ask(CLIENT, "system:masters")]);
        each(SPEC.id, Severity::High, &[ask(CLIENT, "jane"), ask(kubelet, "system:node:n9").account("shop", "web")]);
        each(SPEC.id, Severity::Low, &[ask("example.org/serving", "web")]);
        each(SPEC.id, Severity::Medium, &[line("create", "certificatesigningrequests.certificates.k8s.io")]);
        let approve = line("update", "certificatesigningrequests.certificates.k8s.io/approval").name("c");
        each(SPEC.id, Severity::Medium, std::slice::from_ref(&approve));
        each(SPEC.id, Severity::High, &[approve.clone().body(json!({"spec": {"signerName": CLIENT}}))]);
        none(
            SPEC.id,
            &[
                ask(kubelet, "system:node:n1").node("n1", "10.0.0.1"),
                ask(kubelet, "system:node:n1")
                    .user("system:bootstrap:abc")
                    .set("/user/groups", json!(["system:bootstrappers"])),
                approve.clone().controller("certificate-controller"),
                approve.body(json!({"status": {"conditions": [{"type": "Denied"}]}})),
            ],
        );
    }
}
