//! An image's way into a registry, by OCI's distribution specification (v1.1, spec.md, "Push"): blobs first, the manifest
//! last, and then a look whether it is there under its digest.

mod login;
mod name;

use std::path::PathBuf;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

use super::collector_image::{Blob, Image};
use crate::cluster::{Fault, Problem};
use crate::https;
use crate::report::escape::escape;
use login::{Challenge, Login};
pub use name::Name;

/// An answer that is read may have so many bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Pushes the image; whatever of it the registry has already is not sent again.
///
/// `logins` are the files where logins may lie, in the order in which they are asked: Docker's or Podman's.
///
/// # Errors
/// When the name names no registry, the registry can't be reached or refuses, and when it does not show the manifest
/// under its digest afterwards. No error holds a password.
pub async fn push(image: &Image, name: &str, logins: &[PathBuf]) -> Result<Pushed, Problem> {
    let name = Name::parse(name)?;
    let client = https::client().map_err(|e| Problem::failed(format!("there is no TLS to be had: {e}")))?;
    let login = Login::of(&name, logins)?;
    let mut registry = Registry { client, authorization: None, login, name };
    let (manifest, blobs) = image.blobs();
    let mut sent = 0;
    for blob in blobs {
        sent += registry.blob(blob).await?;
    }
    registry.manifest(manifest).await?;
    Ok(Pushed { reference: format!("{}@{}", registry.name.without_tag(), image.digest()), sent })
}

/// What was pushed.
#[derive(Debug)]
pub struct Pushed {
    /// `registry/repository@sha256:…`
    pub reference: String,
    /// Bytes that the registry did not have.
    pub sent: usize,
}

struct Registry {
    client: https::Client<Full<Bytes>>,
    /// What the registry takes by now.
    authorization: Option<HeaderValue>,
    login: Option<Login>,
    name: Name,
}

impl Registry {
    /// Bytes that were sent.
    async fn blob(&mut self, blob: &Blob) -> Result<usize, Problem> {
        let there = self.ask(Method::HEAD, &self.url(&format!("blobs/{}", blob.digest)), None, Bytes::new()).await?;
        if there.status() == StatusCode::OK {
            return Ok(0);
        }
        let begun = self.ask(Method::POST, &self.url("blobs/uploads/"), None, Bytes::new()).await?;
        let begun = self.expect(begun, StatusCode::ACCEPTED, "begin an upload").await?;
        let place = begun.headers().get(LOCATION).and_then(|l| l.to_str().ok()).map(|l| self.absolute(l));
        let Some(place) = place.transpose()? else {
            return Err(self.problem("does not say where to upload to"));
        };
        let to = format!("{place}{}digest={}", if place.contains('?') { '&' } else { '?' }, blob.digest);
        let content = Some("application/octet-stream");
        let stored = self.ask(Method::PUT, &to, content, blob.bytes.clone().into()).await?;
        self.expect(stored, StatusCode::CREATED, "store a blob").await?;
        Ok(blob.bytes.len())
    }

    async fn manifest(&mut self, manifest: &Blob) -> Result<(), Problem> {
        let to = self.url(&format!("manifests/{}", self.name.tag));
        let stored = self.ask(Method::PUT, &to, Some(&manifest.kind), manifest.bytes.clone().into()).await?;
        self.expect(stored, StatusCode::CREATED, "store the manifest").await?;
        // What a node will ask for, and be given.
        let from = self.url(&format!("manifests/{}", manifest.digest));
        let shown = self.ask(Method::GET, &from, Some(&manifest.kind), Bytes::new()).await?;
        let shown = self.expect(shown, StatusCode::OK, "show the manifest under its digest").await?;
        let bytes = Limited::new(shown.into_body(), MAX_ANSWER).collect().await;
        let bytes = bytes.map_err(|e| self.problem(&format!("did not show the whole manifest: {e}")))?.to_bytes();
        if bytes != manifest.bytes {
            return Err(self.problem("shows another manifest than the one that was sent"));
        }
        Ok(())
    }

    fn url(&self, rest: &str) -> String {
        format!("{}/v2/{}/{rest}", self.name.base(), self.name.repository)
    }

    /// A place that the registry named, which may lie with somebody else.
    fn absolute(&self, place: &str) -> Result<String, Problem> {
        let whole = if place.starts_with('/') { format!("{}{place}", self.name.base()) } else { place.to_owned() };
        let plain = whole.starts_with("http://") && !self.name.plain();
        if plain || !(whole.starts_with("https://") || whole.starts_with("http://")) {
            return Err(self.problem("names a place to upload to that is not to be had over https"));
        }
        Ok(whole)
    }

    /// One request; logs in when the registry asks for it. `kind` is of the body, or of what is asked for.
    async fn ask(
        &mut self,
        method: Method,
        url: &str,
        kind: Option<&str>,
        body: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        let answer = self.send(&method, url, kind, body.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || !self.ours(url) {
            return Ok(answer);
        }
        let Some(challenge) = answer.headers().get(WWW_AUTHENTICATE).and_then(Challenge::parse) else {
            return Ok(answer);
        };
        self.authorization = Some(login::answer(&self.client, &self.name, self.login.as_ref(), &challenge).await?);
        self.send(&method, url, kind, body).await
    }

    async fn send(
        &self,
        method: &Method,
        url: &str,
        kind: Option<&str>,
        body: Bytes,
    ) -> Result<Response<Incoming>, Problem> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(kind) = kind {
            // Without it a registry answers that there is no manifest of the old kind.
            request = request.header(if *method == Method::GET { ACCEPT } else { CONTENT_TYPE }, kind);
        }
        // Another's server is not shown what opens this one.
        if let Some(authorization) = self.authorization.as_ref().filter(|_| self.ours(url)) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body)).map_err(|e| self.problem(&format!("can't be asked: {e}")))?;
        self.client.request(request).await.map_err(|e| unreachable(&self.name, &e))
    }

    fn ours(&self, url: &str) -> bool {
        url.parse::<Uri>().is_ok_and(|to| to.authority().is_some_and(|a| a.as_str() == self.name.host()))
    }

    async fn expect(
        &self,
        answer: Response<Incoming>,
        status: StatusCode,
        what: &str,
    ) -> Result<Response<Incoming>, Problem> {
        let got = answer.status();
        if got == status {
            return Ok(answer);
        }
        let problem = self.problem(&format!("does not {what}: {got}{}", said(answer.into_body()).await));
        Err(match got {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                problem.hint(format!("log in with `docker login {0}` or `podman login {0}`", self.name.registry))
            }
            _ => problem,
        })
    }

    fn problem(&self, what: &str) -> Problem {
        Problem::failed(format!("the registry {} {what}", self.name.registry))
    }
}

fn unreachable(name: &Name, error: &hyper_util::client::legacy::Error) -> Problem {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Problem::new(Fault::Unreachable, format!("the registry {} can't be reached: {text}", name.registry))
}

/// What a registry gives as its reason, if it does: a stranger's text.
async fn said(body: Incoming) -> String {
    let Ok(bytes) = Limited::new(body, 64 << 10).collect().await else { return String::new() };
    let answer: serde_json::Value = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
    let part = |key: &str| answer["errors"][0][key].as_str().unwrap_or_default().to_owned();
    let text: String = format!("{} {}", part("code"), part("message")).trim().chars().take(200).collect();
    if text.is_empty() { text } else { format!(", {}", escape(&text)) }
}

#[cfg(test)]
mod tests;
