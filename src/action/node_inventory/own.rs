//! The node's own credentials: its certificate by the requests for it, bootstrap tokens, the lease that says it lives.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cluster::access::{Question, denied};
use crate::cluster::{Cx, Problem, raw};

/// The name by which a kubelet is known (system:node authentication, kubernetes.io/docs/reference/access-authn-authz/node).
pub(crate) fn user(node: &str) -> String {
    format!("system:node:{node}")
}

/// What is known of the node's credentials; what could not be read is added to `not_read`.
pub(super) async fn credentials(cx: &Cx, node: &str, not_read: &mut Vec<String>) -> Result<Value, Problem> {
    let requests = match requests(cx, node).await {
        Ok(requests) => Some(requests.iter().map(|r| described(r, node)).collect::<Vec<_>>()),
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => {
            not_read.push(format!("certificate signing requests: {problem}"));
            None
        }
    };
    let lease =
        match raw::get(&cx.client, &format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}"))
            .await
        {
            Ok(lease) => json!({"renewed": lease["spec"]["renewTime"], "uid": lease["metadata"]["uid"]}),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) => {
                not_read.push(format!("its lease in kube-node-lease: {problem}"));
                Value::Null
            }
        };
    Ok(json!({
        "user": user(node),
        "certificate_requests": requests,
        "lease": lease,
        "bootstrap_tokens": bootstrap_tokens(cx, not_read).await?,
        "note": "a kubelet's client certificate can't be revoked: it is taken until it expires, or its authority is replaced",
    }))
}

/// The certificate signing requests by the node, or for it by whoever bootstrapped it.
pub(crate) async fn requests(cx: &Cx, node: &str) -> Result<Vec<Value>, Problem> {
    let (all, _) = raw::list(&cx.client, "/apis/certificates.k8s.io/v1/certificatesigningrequests").await?;
    Ok(all.into_iter().filter(|r| is_of(r, node)).collect())
}

/// Whether a request is the node's: it asked itself, or its certificate would name it.
fn is_of(request: &Value, node: &str) -> bool {
    let user = user(node);
    request["spec"]["username"] == user.as_str()
        || der(&request["spec"]["request"]).is_some_and(|der| {
            // A string in DER stands behind its length; both must fit, or node-1 would be found in node-10.
            let found = der.windows(user.len()).enumerate().filter(|(_, w)| *w == user.as_bytes());
            found.into_iter().any(|(at, _)| at > 0 && usize::from(der[at - 1]) == user.len())
        })
}

/// Of every certificate whose signing request is still there: its SHA-256 fingerprint in hexadecimal, and its end.
pub(crate) async fn issued_certificates(cx: &Cx) -> Result<Vec<(String, String)>, Problem> {
    let (all, _) = raw::list(&cx.client, "/apis/certificates.k8s.io/v1/certificatesigningrequests").await?;
    let issued = all.iter().filter_map(|request| der(&request["status"]["certificate"]));
    Ok(issued.filter_map(|der| Some((crate::collector::hex(&Sha256::digest(&der)), expires(&der)?))).collect())
}

/// Neither approved nor denied yet.
pub(crate) fn is_pending(request: &Value) -> bool {
    let conditions = request["status"]["conditions"].as_array().into_iter().flatten();
    !conditions.into_iter().any(|c| c["type"] == "Approved" || c["type"] == "Denied")
}

fn described(request: &Value, _node: &str) -> Value {
    let certificate = der(&request["status"]["certificate"]);
    let kind = |what: &str| request["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == what);
    let state = match (kind("Denied"), kind("Approved"), certificate.is_some()) {
        (true, ..) => "denied",
        (_, true, true) => "issued",
        (_, true, false) => "approved",
        _ => "pending",
    };
    json!({
        "name": request["metadata"]["name"], "uid": request["metadata"]["uid"], "signer": request["spec"]["signerName"],
        "by": request["spec"]["username"], "created": request["metadata"]["creationTimestamp"], "state": state,
        "valid_until": certificate.as_deref().and_then(expires),
    })
}

/// The first certificate or request in base64 of PEM.
fn der(field: &Value) -> Option<Vec<u8>> {
    let pem = String::from_utf8(STANDARD.decode(field.as_str()?).ok()?).ok()?;
    let body: String = pem
        .lines()
        .skip_while(|l| !l.starts_with("-----BEGIN"))
        .skip(1)
        .take_while(|l| !l.starts_with("-----"))
        .collect();
    STANDARD.decode(body).ok()
}

/// When a certificate ends, as RFC 3339: the second of the two times of its validity (RFC 5280, 4.1.2.5). UTCTime stands
/// for years until 2049, as all of the cluster's own certificates do; any other is not read.
fn expires(der: &[u8]) -> Option<String> {
    const UTC_TIME: [u8; 2] = [0x17, 0x0d];
    let at =
        der.windows(30).position(|w| w[..2] == UTC_TIME && w[15..17] == UTC_TIME && w[14] == b'Z' && w[29] == b'Z')?;
    let text = std::str::from_utf8(&der[at + 17..at + 29]).ok()?;
    let part = |from: usize| text.get(from..from + 2).filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let year: u32 = part(0)?.parse().ok()?;
    let century = if year < 50 { 20 } else { 19 };
    let [mo, d, h, mi, s] = [part(2)?, part(4)?, part(6)?, part(8)?, part(10)?];
    Some(format!("{century}{year:02}-{mo}-{d}T{h}:{mi}:{s}Z"))
}

/// Names of the bootstrap tokens, for those who may list Secrets in kube-system. The printed rights leave that out: it would
/// be the right to all of the control plane's keys.
async fn bootstrap_tokens(cx: &Cx, not_read: &mut Vec<String>) -> Result<Value, Problem> {
    let question = Question {
        group: String::new(),
        resource: "secrets".into(),
        verb: "list".into(),
        namespace: Some("kube-system".into()),
    };
    if !denied(&cx.client, vec![question]).await?.is_empty() {
        not_read
            .push("bootstrap tokens: you may not list Secrets in kube-system, nor should you for this alone".into());
        return Ok(Value::Null);
    }
    let api: Api<Secret> = Api::namespaced(cx.client.clone(), "kube-system");
    let found = api.list_metadata(&ListParams::default().fields("type=bootstrap.kubernetes.io/token")).await?;
    Ok(found.items.into_iter().filter_map(|s| s.metadata.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(label: &str, der: &[u8]) -> Value {
        let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        json!(STANDARD.encode(pem))
    }

    #[test]
    fn a_certificates_end_is_read_and_a_request_is_told_by_its_very_name() {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2027, 3, 4);
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:node-1");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.clone().self_signed(&key).unwrap();
        assert_eq!(expires(certificate.der()).as_deref(), Some("2027-03-04T00:00:00Z"));
        assert_eq!(expires(b"no certificate"), None);
        let request = rcgen::CertificateParams::new(Vec::new())
            .map(|mut p| {
                p.distinguished_name = params.distinguished_name.clone();
                p.serialize_request(&key).unwrap()
            })
            .unwrap();
        let asked = json!({"spec": {"username": "system:bootstrap:abcdef", "request": pem("CERTIFICATE REQUEST", request.der())}});
        assert!(is_of(&asked, "node-1") && !is_of(&asked, "node-") && !is_of(&asked, "node-10"));
        assert!(is_of(&json!({"spec": {"username": "system:node:n"}}), "n"));
    }
}
