//! Issuers other than a database: cert-manager, a registry, a person; and an access log that is fetched from a server.
//! Each stand-in does what the real one does towards the Secret, and nothing for quell's convenience.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::desk::{Desk, OLD, by_env};
use crate::terminal::Terminal;

const CERTIFICATE: &str = "/apis/cert-manager.io/v1/namespaces/shop/certificates/front";

/// A certificate and its key, in PEM.
fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2031, 5, 17);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// The part of cert-manager that writes the Secret: a Certificate, and the Secret that names it.
async fn with_cert_manager(desk: &Desk, policy: &str) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "certificates.cert-manager.io"},
        "spec": {"group": "cert-manager.io", "scope": "Namespaced", "names": {"plural": "certificates", "singular": "certificate", "kind": "Certificate"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]}});
    desk.apply(crd, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/certificates.cert-manager.io").await;
    let all = CERTIFICATE.rsplit_once('/').unwrap().0;
    desk.until("the new kind", async || !desk.get(all).await.is_null()).await;
    let object = json!({"apiVersion": "cert-manager.io/v1", "kind": "Certificate", "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"secretName": "db", "dnsNames": ["shop.example"], "privateKey": {"rotationPolicy": policy}, "issuerRef": {"name": "ca"}}});
    desk.apply(object, CERTIFICATE).await;
    let (crt, key) = certificate();
    let named = json!({"metadata": {"annotations": {"cert-manager.io/certificate-name": "front"}}, "type": "kubernetes.io/tls"});
    desk.secret("db", json!({"tls.crt": crt, "tls.key": key}), named).await;
}

/// Issues once when it is asked to; with the old key if it is told to keep that.
async fn issue(desk: &Desk, keep: Option<String>) {
    let asked = async || {
        let object = desk.get(CERTIFICATE).await;
        let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.iter().any(|c| c["type"] == "Issuing" && c["status"] == "True" && c["reason"] == "ManuallyTriggered")
    };
    desk.until("the Issuing condition", asked).await;
    let (crt, key) = certificate();
    let data = json!({"tls.crt": STANDARD.encode(crt), "tls.key": STANDARD.encode(keep.unwrap_or(key))});
    desk.patch("/api/v1/namespaces/shop/secrets/db", json!({"data": data})).await;
    let done = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}]}});
    desk.patch(&format!("{CERTIFICATE}/status"), done).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_manager_issues_with_a_new_key_and_until_when_the_old_one_is_valid_is_said() {
    let desk = Desk::new().await;
    with_cert_manager(&desk, "Always").await;
    let old = desk.values("db").await;
    let mount = json!({"volumeMounts": [{"name": "tls", "mountPath": "/tls", "subPath": "tls.crt"}]});
    desk.deployment("front", 1, mount, json!([{"name": "tls", "secret": {"secretName": "db"}}])).await;
    let before = desk.pods("front").await;
    let (ran, ()) = tokio::join!(desk.playbook(&["--set", "provider=cert-manager"]), issue(&desk, None));
    let new = desk.values("db").await;
    assert!(new["tls.key"] != old["tls.key"] && new["tls.crt"] != old["tls.crt"], "{}", ran.err);
    assert!(
        desk.pods("front").await.iter().all(|p| !before.contains(p)),
        "a subPath mount never refreshes: {}",
        ran.err
    );
    let steps = desk.steps().await;
    // Nobody can be asked whether the new one is taken.
    assert_eq!((&*steps["rotate"], &*steps["update"]), ("unproved", "verified"), "{}", ran.err);
    assert!(ran.err.contains("no running pod holds the old value"), "{}", ran.err);
    // A certificate is not refused because another was issued: nobody may read that here.
    assert_eq!(steps["prove"], "unproved", "{}", ran.err);
    assert!(ran.err.contains("valid until 2031-05-17T00:00:00.000Z"), "{}", ran.err);
    for value in [&old["tls.key"], &new["tls.key"]] {
        assert_eq!(desk.holding(value), Vec::<String>::new());
        assert!(!ran.err.contains(value) && !ran.out.contains(value));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_manager_that_keeps_the_exposed_key_is_no_rotation() {
    let desk = Desk::new().await;
    with_cert_manager(&desk, "Never").await;
    let before = desk.values("db").await;
    let ran = desk.playbook(&["--set", "provider=cert-manager"]).await;
    assert!(ran.err.contains("rotationPolicy Never"), "{}", ran.err);
    assert_eq!(desk.values("db").await, before, "nothing was asked for");

    // Its word is Always, its deed is not.
    let policy = json!({"spec": {"privateKey": {"rotationPolicy": "Always"}}});
    desk.patch(CERTIFICATE, policy).await;
    let keep = before["tls.key"].clone();
    let (ran, ()) = tokio::join!(desk.playbook(&["--set", "provider=cert-manager"]), issue(&desk, Some(keep)));
    assert!(ran.err.contains("for the old key, the exposed one"), "{}", ran.err);
    assert_ne!(desk.steps().await["rotate"], "verified", "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_secret_gets_another_password_and_its_other_registries_stay() {
    let desk = Desk::new().await;
    let config = json!({"auths": {
        "r.example": {"auth": STANDARD.encode(format!("puller:{OLD}"))}, "other.example": {"auth": "eDp5"}}});
    let kind = json!({"type": "kubernetes.io/dockerconfigjson"});
    desk.secret("db", json!({".dockerconfigjson": config.to_string()}), kind).await;
    let script = r#"#!/bin/sh
question=$(cat)
case "$question" in
*'"operation":"create"'*) echo '{"values": {"password": "made-by-the-registry"}, "message": "a robot account"}' ;;
*'"operation":"check"'*) case "$question" in *made-by-the-registry*) echo '{"result": "yes"}' ;; *) echo '{"result": "no", "message": "401"}' ;; esac ;;
*'"operation":"revoke"'*) echo '{"result": "yes", "message": "deleted"}' ;;
*'"operation":"uses"'*) echo '{"result": "no", "message": "no pull"}' ;;
*) echo '{"result": "unsupported"}' ;;
esac
"#;
    let program = desk.home.path().join("test-registry.sh");
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = format!("program={}", program.display());
    // Two registries are in it, and which one is not said.
    let ran = desk.playbook(&["--set", "provider=registry", "--set", &program]).await;
    assert!(ran.err.contains("other.example, r.example"), "{}", ran.err);
    assert_eq!(desk.values("db").await[".dockerconfigjson"], config.to_string());
    let ran = desk.playbook(&["--set", "provider=registry", "--set", &program, "--set", "registry=r.example"]).await;
    let now: Value = serde_json::from_str(&desk.values("db").await[".dockerconfigjson"]).unwrap();
    assert_eq!(now["auths"]["r.example"]["auth"], STANDARD.encode("puller:made-by-the-registry"), "{}", ran.err);
    assert_eq!(now["auths"]["other.example"], config["auths"]["other.example"]);
    assert_eq!(desk.steps().await["prove"], "verified", "{}", ran.err);
    assert_eq!(desk.holding("made-by-the-registry"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_makes_it_at_a_terminal_and_nobody_at_the_keyboard_is_said() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD}), Value::Null).await;
    desk.deployment("web", 1, json!({"env": [by_env()]}), json!([])).await;
    let ran = desk.playbook(&["--set", "provider=manual"]).await;
    assert!(ran.err.contains("the step rotate needs a person"), "{}", ran.err);
    assert_eq!(desk.values("db").await["password"], OLD);

    let folder = desk.home.path().join("test-new");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("password");
    std::fs::write(&file, "made-by-a-person\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = desk.command(&["resume", "last", "--yes", "--max-risk", "destructive"]);
    command.stdin(Stdio::piped());
    let said = tokio::task::spawn_blocking(move || {
        let mut terminal = Terminal::run(&command);
        terminal.at("Is it done?", "\r");
        terminal.at("What was done?", "asked the vendor\r");
        terminal.at("Attach a file", "\x1b[B\r");
        terminal.at("Which file?", &format!("{}\r", file.display()));
        terminal.at("Attach a file", "\r");
        // The old one is another question.
        terminal.at("Is it done?", "\r");
        terminal.at("What was done?", "the vendor took it back\r");
        terminal.at("Attach a file", "\r");
        terminal.end()
    })
    .await
    .unwrap();
    assert_eq!(desk.values("db").await["password"], "made-by-a-person", "{said}");
    // Nobody tried either of them: a person's word is told as one.
    let steps = desk.steps().await;
    assert_eq!(
        (&*steps["rotate"], &*steps["update"], &*steps["prove"]),
        ("unproved", "verified", "unproved"),
        "{said}"
    );
    assert!(said.contains("on a person's word"), "{said}");
    assert!(!said.contains("made-by-a-person"), "{said}");
    assert_eq!(desk.holding("made-by-a-person"), vec![file_of(&desk)]);
}

/// The file that the person made, which stays theirs.
fn file_of(desk: &Desk) -> String {
    desk.home.path().join("test-new/password").display().to_string()
}
