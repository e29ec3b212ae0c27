//! The layer that every request passes: it refuses writes nobody planned, names us to the audit log, and keeps a tape.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderValue, Method, Request, Response};
use kube::Client;
use kube::client::Body;
use tower::{BoxError, Service};

use crate::event::Call;

/// The calls of one scope, in the order of their answers.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<Call>>>);

impl Tape {
    /// Takes the calls so far.
    pub fn take(&self) -> Vec<Call> {
        self.0.lock().map(|mut calls| std::mem::take(&mut *calls)).unwrap_or_default()
    }

    fn push(&self, call: Call) {
        if let Ok(mut calls) = self.0.lock() {
            calls.push(call);
        }
    }
}

/// What a scope may do.
#[derive(Clone)]
enum Mode {
    /// Reads, access reviews, and writes marked `dryRun=All`.
    Read,
    /// One write, and exec streams, all under one Audit-ID.
    Intent { audit_id: String, written: Arc<Mutex<bool>> },
}

/// A client that can do no more than its scope may.
#[derive(Clone)]
struct Scoped {
    inner: Client,
    mode: Mode,
    agent: HeaderValue,
    tape: Tape,
}

/// A client that only reads: a write without `dryRun=All`, and every exec, is refused before it leaves.
pub fn reader(inner: &Client, agent: &HeaderValue) -> (Client, Tape) {
    scoped(inner, agent, Mode::Read)
}

/// A client for one journaled intent: at most one write, which carries the intent's Audit-ID. A second one is refused.
pub fn writer(inner: &Client, agent: &HeaderValue, audit_id: &str) -> (Client, Tape) {
    scoped(inner, agent, Mode::Intent { audit_id: audit_id.into(), written: Arc::default() })
}

fn scoped(inner: &Client, agent: &HeaderValue, mode: Mode) -> (Client, Tape) {
    let tape = Tape::default();
    let service = Scoped { inner: inner.clone(), mode, agent: agent.clone(), tape: tape.clone() };
    (Client::new(service, inner.default_namespace()), tape)
}

impl Service<Request<Body>> for Scoped {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let scope = self.clone();
        Box::pin(async move {
            let asks = Asks::of(&request);
            let dry = matches!(asks, Asks::Write) && {
                let (again, dry) = is_dry_run(request).await?;
                request = again;
                dry
            };
            let audit_id = match (&scope.mode, asks) {
                (_, Asks::Read) => fresh_id(),
                (_, Asks::Write) if dry => fresh_id(),
                (Mode::Intent { audit_id, .. }, Asks::Stream) => audit_id.clone(),
                (Mode::Intent { audit_id, written }, Asks::Write) => {
                    let mut written = written.lock().map_err(|_| refusal(&request))?;
                    if std::mem::replace(&mut *written, true) {
                        return Err(refusal(&request));
                    }
                    audit_id.clone()
                }
                (Mode::Read, _) => return Err(refusal(&request)),
            };
            let method = request.method().to_string();
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            request.headers_mut().insert(http::header::USER_AGENT, scope.agent.clone());
            request.headers_mut().insert("audit-id", HeaderValue::from_str(&audit_id)?);
            let begun = Instant::now();
            let answer = scope.inner.send(request).await;
            let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            let status = answer.as_ref().ok().map(|a| a.status().as_u16());
            scope.tape.push(Call { method, path, status, audit_id, ms });
            answer.map_err(BoxError::from)
        })
    }
}

/// What a request would do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Read,
    Write,
    Stream,
}

impl Asks {
    fn of(request: &Request<Body>) -> Asks {
        let path = request.uri().path();
        if [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method()) {
            // Over WebSocket exec, attach and port-forward are GETs (kubernetes#78741); a proxied GET may do anything.
            let last = path.rsplit('/').next().unwrap_or_default();
            let stream = ["exec", "attach", "portforward"].contains(&last) || path.split('/').any(|s| s == "proxy");
            if stream && path.contains("/namespaces/") || path.contains("/nodes/") && path.contains("/proxy") {
                Asks::Stream
            } else {
                Asks::Read
            }
        } else if path.starts_with("/apis/authorization.k8s.io/")
            || path.starts_with("/apis/authentication.k8s.io/v1/selfsubject")
        {
            Asks::Read
        } else {
            Asks::Write
        }
    }
}

/// For DELETE the API server reads `dryRun` from the body whenever there is one, and kube always sends one: so there the
/// query does not count.
async fn is_dry_run(request: Request<Body>) -> Result<(Request<Body>, bool), BoxError> {
    if request.method() != Method::DELETE {
        let dry = request.uri().query().is_some_and(|q| q.split('&').any(|p| p == "dryRun=All"));
        return Ok((request, dry));
    }
    let (parts, body) = request.into_parts();
    let bytes = body.collect_bytes().await?;
    let options: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let dry = options["dryRun"].as_array().is_some_and(|all| all.iter().any(|v| v == "All"));
    Ok((Request::from_parts(parts, Body::from(bytes.to_vec())), dry))
}

fn fresh_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn refusal(request: &Request<Body>) -> BoxError {
    format!("quell's own guard refused an unplanned {} {}", request.method(), request.uri().path()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: Method, uri: &str) -> Asks {
        Asks::of(&Request::builder().method(method).uri(uri).body(Body::empty()).unwrap())
    }

    #[test]
    fn exec_is_no_read_though_it_is_a_get() {
        assert!(asks(Method::GET, "/api/v1/namespaces/a/pods/p/exec?command=id") == Asks::Stream);
        assert!(asks(Method::GET, "/api/v1/nodes/n/proxy/run/x") == Asks::Stream);
        assert!(asks(Method::GET, "/api/v1/namespaces/a/pods/p/log") == Asks::Read);
        assert!(
            asks(Method::GET, "/api/v1/namespaces/a/pods/exec") == Asks::Stream,
            "a pod named exec: refused, not missed"
        );
        assert!(asks(Method::POST, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews") == Asks::Read);
        assert!(asks(Method::POST, "/api/v1/namespaces/a/serviceaccounts/s/token") == Asks::Write);
    }

    #[tokio::test]
    async fn a_query_does_not_make_a_delete_dry() {
        let delete = |body: &str| {
            Request::builder()
                .method(Method::DELETE)
                .uri("/x?dryRun=All")
                .body(Body::from(body.as_bytes().to_vec()))
                .unwrap()
        };
        assert!(!is_dry_run(delete("{}")).await.unwrap().1);
        assert!(is_dry_run(delete(r#"{"dryRun":["All"]}"#)).await.unwrap().1);
    }

    #[tokio::test]
    async fn writes_pass_once_with_an_intent_and_never_without() {
        let (mock, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
        let base = Client::new(mock, "default");
        let agent = HeaderValue::from_static("quell/test");
        let post =
            || Request::builder().method(Method::POST).uri("/api/v1/namespaces/a/pods").body(Body::empty()).unwrap();
        let (read, _) = reader(&base, &agent);
        assert!(read.send(post()).await.unwrap_err().to_string().contains("guard refused"));
        let (write, tape) = writer(&base, &agent, "0198");
        let server = tokio::spawn(async move {
            let (request, send) = handle.next_request().await.unwrap();
            assert_eq!(request.headers()["audit-id"], "0198");
            assert_eq!(request.headers()["user-agent"], "quell/test");
            send.send_response(Response::builder().status(201).body(Body::empty()).unwrap());
        });
        assert_eq!(write.send(post()).await.unwrap().status(), 201);
        server.await.unwrap();
        assert!(write.send(post()).await.unwrap_err().to_string().contains("guard refused"));
        let calls = tape.take();
        assert_eq!((calls.len(), calls[0].status, calls[0].audit_id.as_str()), (1, Some(201), "0198"));
    }
}
