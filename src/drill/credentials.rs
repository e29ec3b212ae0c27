//! On a real cluster those who act in a scene have real credentials, as an intruder has: the audit log tells them from the
//! stage hands. A user gets a client certificate by a signing request, a service account a token; both end in ten minutes,
//! and neither is ever written to a disk.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use super::stage::{LABEL, Scene};
use crate::cluster::{Options, Problem, unguarded_as};

/// The shortest that the API server gives.
const SECONDS: u32 = 600;
/// How long the cluster's signer may take.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// A client of that user or service account; one for each name.
///
/// # Errors
/// The cluster gives no such credential.
pub(super) async fn of(scene: &Scene, name: &str) -> Result<Client, Problem> {
    let mut others = scene.others.lock().await;
    if let Some(client) = others.get(name) {
        return Ok(client.clone());
    }
    let user = match name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
        Some((namespace, account)) => token(scene, namespace, account).await?,
        None => certificate(scene, name).await?,
    };
    let kubeconfig = Some(scene.kubeconfig.clone()).filter(|path| !path.as_os_str().is_empty());
    let options = Options { kubeconfig, context: scene.context.clone(), namespace: None };
    let client = unguarded_as(&options, user).await?;
    others.insert(name.to_owned(), client.clone());
    Ok(client)
}

async fn send(scene: &Scene, request: http::request::Builder, body: &Value) -> Result<Value, Problem> {
    let request = request
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|e| Problem::internal(e.to_string()))?;
    scene.admin.request::<Value>(request).await.map_err(Problem::from)
}

async fn token(scene: &Scene, namespace: &str, account: &str) -> Result<Value, Problem> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": SECONDS},
    });
    let made = send(scene, Request::post(path), &body).await?;
    Ok(json!({"token": made["status"]["token"]}))
}

async fn certificate(scene: &Scene, name: &str) -> Result<Value, Problem> {
    let fail = |e: rcgen::Error| Problem::internal(format!("a signing request for {name}: {e}"));
    let key = rcgen::KeyPair::generate().map_err(fail)?;
    let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(fail)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let request = params.serialize_request(&key).and_then(|request| request.pem()).map_err(fail)?;
    let body = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"generateName": format!("{}-", scene.namespace), "labels": {LABEL: scene.id}},
        "spec": {
            "request": STANDARD.encode(request), "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"], "expirationSeconds": SECONDS,
        },
    });
    let mut made = send(scene, Request::post(REQUESTS), &body).await?;
    let path = format!("{REQUESTS}/{}", made["metadata"]["name"].as_str().unwrap_or_default());
    made["status"]["conditions"] = json!([{
        "type": "Approved", "status": "True", "reason": "QuellDrill", "message": "for somebody in a drill's scene",
    }]);
    send(scene, Request::put(format!("{path}/approval")), &made).await?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let signed = loop {
        let found = scene.get(&path).await?;
        match found["status"]["certificate"].as_str() {
            Some(signed) => break Some(signed.to_owned()),
            None if tokio::time::Instant::now() >= deadline => break None,
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    // The certificate ends by itself; its request need not stay.
    let _ = send(scene, Request::delete(&path), &json!({})).await;
    let Some(signed) = signed else {
        let hint = "its controller manager needs a signing key for kubernetes.io/kube-apiserver-client; the embedded cluster \
                    plays this drill without";
        return Err(Problem::failed(format!(
            "the cluster signed no client certificate for {name} within {} s",
            PATIENCE.as_secs()
        ))
        .hint(hint));
    };
    Ok(json!({"client-certificate-data": signed, "client-key-data": STANDARD.encode(key.serialize_pem())}))
}
