//! Access logs of other systems: fetched from a server over TLS, printed by a program, and searched.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::desk::{Desk, Ran};

const LOG: &str = "203.0.113.9 - - GET /orders\n203.0.113.90 - - GET /orders\nproxy: for=203.0.113.9:4711 \x1b[31m\n";

/// A server with a log for whoever brings the token; its certificate is in the home, for who wants to trust it.
async fn log_server(desk: &Desk) -> u16 {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(desk.home.path().join("test-ca.pem"), cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let (listener, tls) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TlsAcceptor::from(Arc::new(config)));
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not trust the certificate goes away.
            let Ok(mut stream) = tls.accept(stream).await else { continue };
            let mut asked = Vec::new();
            while !asked.windows(4).any(|w| w == b"\r\n\r\n") {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await {
                    Ok(n @ 1..) => asked.extend_from_slice(&piece[..n]),
                    _ => break,
                }
            }
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let (status, more, body) = match asked.split_whitespace().nth(1).unwrap_or_default() {
                "/access.log?token=key-of-the-log" => ("200 OK", "", LOG),
                "/moved.log" => ("302 Found", "location: http://127.0.0.1:1/elsewhere\r\n", ""),
                _ => ("403 Forbidden", "", "no"),
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\n{more}content-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

async fn search(desk: &Desk, with: Value, source: Option<&str>, trusted: bool) -> Ran {
    let mut runbook = json!({
        "apiVersion": "quell/v1", "kind": "Runbook",
        "metadata": {"name": "logs", "title": "Logs", "summary": "Searches logs.", "when": "In a test."},
        "inputs": {"log": {"type": "list", "default": []}},
        "steps": [{"id": "external", "title": "Search", "uses": "logs.external", "with": with}],
    });
    runbook["steps"][0]["with"]["sources"] = json!("${{ inputs.log }}");
    std::fs::write(desk.home.path().join("test-logs.yaml"), runbook.to_string()).unwrap();
    let mut command = desk.command(&["run", "./test-logs.yaml", "-n", "shop", "--yes"]);
    if let Some(source) = source {
        command.args(["--set", &format!("log={source}")]);
    }
    if trusted {
        command.env("SSL_CERT_FILE", desk.home.path().join("test-ca.pem"));
    }
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_fetched_over_tls_and_searched_and_its_token_stays_here() {
    let desk = Desk::new().await;
    let port = log_server(&desk).await;
    let url = format!("https://localhost:{port}/access.log?token=key-of-the-log");
    let addresses = json!(["203.0.113.9", "198.51.100.7"]);
    let with = json!({"addresses": addresses});
    let ran = search(&desk, with.clone(), Some(&url), true).await;
    assert_eq!(ran.code, 2, "where the journal would keep it: {}", ran.err);
    assert!(ran.err.contains("a credential in its query") && !ran.err.contains("key-of-the-log"), "{}", ran.err);
    assert_eq!(desk.holding("key-of-the-log"), Vec::<String>::new());

    let file = desk.home.path().join("test-url");
    std::fs::write(&file, &url).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let url = format!("@{}", file.display());
    let ran = search(&desk, with.clone(), Some(&url), true).await;
    assert_eq!((ran.code, &*desk.steps().await["external"]), (0, "verified"), "{}", ran.err);
    assert!(ran.err.contains("2 lines with 203.0.113.9 2"), "{}", ran.err);
    let taken = std::fs::read_to_string(desk.incident().join("data/external/01-access.log")).unwrap();
    assert_eq!(taken, LOG, "as it was given");
    let found = desk.document("data/external/01-matches.json");
    assert_eq!(found["addresses"], json!({"203.0.113.9": 2}));
    assert_eq!(desk.holding("key-of-the-log"), Vec::<String>::new());
    assert!(!ran.err.contains("key-of-the-log") && !ran.err.contains('\x1b'), "{}", ran.err);

    // Nobody vouches for the server: nothing is taken from it.
    let ran = search(&desk, with.clone(), Some(&url), false).await;
    assert_eq!(desk.steps().await["external"], "failed", "{}", ran.err);
    assert!(ran.err.contains(&format!("can't fetch https://localhost:{port}/access.log:")), "{}", ran.err);
    for (path, says) in [("moved.log", "it answered 302"), ("access.log?from=guessed", "it answered 403")] {
        let url = format!("https://localhost:{port}/{path}");
        let ran = search(&desk, with.clone(), Some(&url), true).await;
        assert!(ran.code == 6 && ran.err.contains(says), "{path}: {}", ran.err);
        assert!(!ran.err.contains("guessed"), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_fails_halfway_leaves_what_it_printed_and_is_not_taken_for_the_whole() {
    let desk = Desk::new().await;
    let with = json!({"argv": ["sh", "-c", "echo 203.0.113.9 logged in; exit 3"], "addresses": ["203.0.113.9"]});
    let ran = search(&desk, with, None, false).await;
    assert_eq!(desk.steps().await["external"], "unproved", "{}", ran.err);
    assert!(ran.err.contains("1 line with 203.0.113.9 1; it is not whole: the program ended with"), "{}", ran.err);
}
