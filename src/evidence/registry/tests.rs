//! Against a registry that is made here, and holds what it is given.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::*;
use crate::evidence::collector_image;

#[derive(Default)]
struct Held {
    blobs: BTreeMap<String, Bytes>,
    manifests: BTreeMap<String, Bytes>,
    /// Method and path of what was asked with the token.
    asked: Vec<String>,
    /// Shows something else than it was given.
    lies: bool,
}

/// Lets `me` with `open up` push to `quell/collector`, by a token.
async fn registry(lies: bool) -> (String, Arc<Mutex<Held>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let held = Arc::new(Mutex::new(Held { lies, ..Held::default() }));
    let (shared, name) = (held.clone(), host.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (held, name) = (shared.clone(), name.clone());
            let service = service_fn(move |request| {
                let (held, name) = (held.clone(), name.clone());
                async move { Ok::<_, Infallible>(serve(request, &held, &name).await) }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    (host, held)
}

async fn serve(request: Request<Incoming>, held: &Mutex<Held>, host: &str) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let mut held = held.lock().unwrap();
    let header = |name: http::HeaderName| parts.headers.get(name).map_or("", |v| v.to_str().unwrap());
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let answer = |status: u16, headers: &[(http::HeaderName, String)], body: Bytes| {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        response.body(Full::new(body)).unwrap()
    };
    if path == "/token" {
        // me:open up
        let known = header(AUTHORIZATION) == "Basic bWU6b3BlbiB1cA==";
        let asked = query == "service=here&scope=repository%3Aquell%2Fcollector%3Apull%2Cpush";
        return match known && asked {
            true => answer(200, &[], r#"{"token":"t-1"}"#.into()),
            false => answer(401, &[], Bytes::new()),
        };
    }
    if header(AUTHORIZATION) != "Bearer t-1" {
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="here",scope="*""#);
        return answer(401, &[(WWW_AUTHENTICATE, challenge)], Bytes::new());
    }
    held.asked.push(format!("{} {path}", parts.method));
    let rest = path.strip_prefix("/v2/quell/collector/").unwrap_or_default();
    match (parts.method.as_str(), rest.split_once('/')) {
        ("HEAD", Some(("blobs", digest))) if held.blobs.contains_key(digest) => answer(200, &[], Bytes::new()),
        ("POST", Some(("blobs", "uploads/"))) => {
            answer(202, &[(LOCATION, "/v2/quell/collector/blobs/uploads/1?state=x".into())], Bytes::new())
        }
        ("PUT", Some(("blobs", "uploads/1"))) => {
            let digest = query.strip_prefix("state=x&digest=").unwrap().to_owned();
            held.blobs.insert(digest, body);
            answer(201, &[], Bytes::new())
        }
        ("PUT", Some(("manifests", tag))) => {
            let digest = format!("sha256:{}", super::super::hex(&<sha2::Sha256 as sha2::Digest>::digest(&body)));
            held.manifests.insert(digest, body.clone());
            held.manifests.insert(tag.to_owned(), body);
            answer(201, &[], Bytes::new())
        }
        ("GET", Some(("manifests", digest))) if held.lies => answer(200, &[], digest.to_owned().into()),
        ("GET", Some(("manifests", digest)))
            if held.manifests.contains_key(digest)
                && header(ACCEPT) == "application/vnd.oci.image.manifest.v1+json" =>
        {
            answer(200, &[], held.manifests[digest].clone())
        }
        _ => answer(404, &[], r#"{"errors":[{"code":"UNKNOWN","message":"\u001b[31mno"}]}"#.into()),
    }
}

fn image() -> Image {
    let mut program = vec![0; 64];
    program[..6].copy_from_slice(b"\x7fELF\x02\x01");
    (program[18], program[32], program[54]) = (62, 64, 56);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), program).unwrap();
    collector_image::make(file.path(), "any.example/collector:1").unwrap()
}

/// The file that a login leaves.
fn logins(host: &str, auth: &str) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    std::fs::write(&file, serde_json::json!({"auths": {host: {"auth": auth}}}).to_string()).unwrap();
    let files = vec![dir.path().join("absent.json"), file];
    (dir, files)
}

const ME: &str = "bWU6b3BlbiB1cA==";

#[tokio::test]
async fn all_of_it_arrives_once_and_is_looked_for_in_the_end() {
    let (host, held) = registry(false).await;
    let (image, (_dir, files)) = (image(), logins(&host, ME));
    let name = format!("{host}/quell/collector:1");
    let pushed = push(&image, &name, &files).await.unwrap();
    assert_eq!(pushed.reference, format!("{host}/quell/collector@{}", image.digest()));
    let (manifest, blobs) = image.blobs();
    {
        let held = held.lock().unwrap();
        assert_eq!(held.manifests["1"], manifest.bytes);
        assert!(blobs.iter().all(|b| held.blobs[&b.digest] == b.bytes));
        assert_eq!(pushed.sent, blobs.iter().map(|b| b.bytes.len()).sum::<usize>());
    }
    held.lock().unwrap().asked.clear();
    let again = push(&image, &name, &files).await.unwrap();
    assert_eq!((again.sent, held.lock().unwrap().asked.len()), (0, 4), "two looks, the manifest, and a look");
}

#[tokio::test]
async fn what_goes_wrong_is_said_without_the_password() {
    let (host, _) = registry(false).await;
    let name = format!("{host}/quell/collector:1");
    // me:secret-1
    let (_dir, wrong) = logins(&host, "bWU6c2VjcmV0LTE=");
    let refused = push(&image(), &name, &wrong).await.unwrap_err();
    let text = format!("{refused} {:?}", refused.hint);
    assert!(text.contains("with the login that was found: 401") && text.contains("docker login"), "{text}");
    assert!(!text.contains("secret-1") && !text.contains("bWU6"), "{text}");
    let nobody = push(&image(), &name, &[]).await.unwrap_err().to_string();
    assert!(nobody.contains("and no login was found: 401"), "{nobody}");

    let (_dir, files) = logins(&host, ME);
    let elsewhere = push(&image(), &format!("{host}/other:1"), &files).await.unwrap_err().to_string();
    assert!(elsewhere.contains("gives no token to push to other"), "{elsewhere}");

    let (host, _) = registry(true).await;
    let (_dir, files) = logins(&host, ME);
    let lied = push(&image(), &format!("{host}/quell/collector:1"), &files).await.unwrap_err().to_string();
    assert!(lied.contains("shows another manifest than the one that was sent"), "{lied}");

    // Nobody listens there.
    let gone = push(&image(), "127.0.0.1:1/quell/collector:1", &[]).await.unwrap_err();
    assert_eq!(gone.fault, Fault::Unreachable);
}
