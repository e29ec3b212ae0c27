//! A context for tests of actions: a folder of their own, a fixed clock, and an API server that a closure plays.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use crate::clock::{Clock, parse};
use crate::cluster::{Ask, Cx};
use crate::evidence::Store;

/// What the fake API server is asked: method, path with query, body.
pub type Asked<'a> = (&'a str, &'a str, &'a [u8]);

/// Answers nothing, or what it was given.
pub struct Answer(pub Option<Result<(String, Vec<PathBuf>), String>>);

impl Ask for Answer {
    fn manual(&self, _: &str, _: &str, _: &str) -> Option<Result<(String, Vec<PathBuf>), String>> {
        self.0.clone()
    }
}

pub fn cx(folder: &std::path::Path, server: impl Fn(Asked) -> (u16, Value) + Send + Sync + 'static) -> Cx {
    let server = Arc::new(server);
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let server = server.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let (code, value) = server((parts.method.as_str(), &path, &body));
            let answer = http::Response::builder()
                .status(code)
                .header("content-type", "application/json")
                .body(Body::from(serde_json::to_vec(&value).unwrap()))
                .unwrap();
            Ok::<_, Infallible>(answer)
        }
    });
    Cx {
        client: kube::Client::new(service, "payments"),
        namespace: "payments".into(),
        incident: "20261123t031245z-pod-compromise-4f2a".into(),
        step: "step".into(),
        store: Arc::new(Store::new(folder, 1024 * 1024)),
        clock: Clock::Fixed(parse("2026-11-23T03:00:00Z").unwrap()),
        progress: Arc::new(|_, _, _| {}),
        notes: Arc::default(),
        ask: Arc::new(Answer(None)),
        last_try: true,
    }
}

/// The API server's refusal.
pub fn status(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let value = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message,
    });
    (code, value)
}
