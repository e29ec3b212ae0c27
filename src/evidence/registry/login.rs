//! Who we are to a registry: what `docker login` or `podman login` left, and the token that the registry's own authority
//! gives for it (distribution's docs/spec/auth/token.md and oauth.md).

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{MAX_ANSWER, Name, unreachable};
use crate::cluster::Problem;
use crate::https;

/// A user and what proves it.
pub(super) struct Login {
    user: String,
    secret: Zeroizing<String>,
    /// The secret is no password but a token to be given for another.
    refresh: bool,
}

impl Login {
    /// The first that one of the files has for the registry.
    pub(super) fn of(name: &Name, files: &[PathBuf]) -> Result<Option<Login>, Problem> {
        for file in files {
            let text = match std::fs::read(file) {
                Ok(text) => Zeroizing::new(text),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Problem::io("can't read the logins", file, &e)),
            };
            let config: Value = serde_json::from_slice(&text).map_err(|e| {
                Problem::usage(format!("{}:{}:{}: no JSON of logins", file.display(), e.line(), e.column()))
            })?;
            if let Some(login) = Login::in_config(name, &config)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }

    fn in_config(name: &Name, config: &Value) -> Result<Option<Login>, Problem> {
        let registry = &name.registry;
        let keys = match registry.as_str() {
            "docker.io" => vec!["https://index.docker.io/v1/".to_owned(), registry.clone()],
            _ => vec![registry.clone(), format!("https://{registry}"), format!("https://{registry}/v1/")],
        };
        let helper = keys.iter().find_map(|key| config["credHelpers"][key].as_str());
        if let Some(helper) = helper.or(config["credsStore"].as_str())
            && let Some(login) = from_helper(helper, &keys[0])?
        {
            return Ok(Some(login));
        }
        let Some(entry) = keys.iter().map(|key| &config["auths"][key]).find(|entry| entry.is_object()) else {
            return Ok(None);
        };
        let decoded = entry["auth"].as_str().and_then(|auth| BASE64.decode(auth).ok());
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new);
        let (user, password) = match pair.as_deref().and_then(|pair| pair.split_once(':')) {
            Some((user, password)) => (user, password),
            None => (entry["username"].as_str().unwrap_or_default(), entry["password"].as_str().unwrap_or_default()),
        };
        let refresh = entry["identitytoken"].as_str().filter(|token| !token.is_empty());
        let secret = refresh.unwrap_or(password).to_owned();
        Ok((!secret.is_empty()).then(|| Login {
            user: user.to_owned(),
            secret: Zeroizing::new(secret),
            refresh: refresh.is_some(),
        }))
    }

    fn basic(&self) -> Result<HeaderValue, Problem> {
        let pair = Zeroizing::new(format!("{}:{}", self.user, *self.secret));
        sensitive(&format!("Basic {}", BASE64.encode(pair.as_bytes())))
    }
}

/// What a program gives that keeps logins for Docker; None where it has none.
fn from_helper(helper: &str, server: &str) -> Result<Option<Login>, Problem> {
    let program = format!("docker-credential-{helper}");
    if !helper.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
        return Err(Problem::usage(format!("{program:?} is no program that keeps logins")));
    }
    let failed = |e: std::io::Error| Problem::failed(format!("{program}, which keeps the logins, can't be asked: {e}"));
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that needs no input may have ended already.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let text = Zeroizing::new(output.stdout);
    if !output.status.success() {
        return Ok(None);
    }
    let answer: Value = serde_json::from_slice(&text)
        .map_err(|_| Problem::failed(format!("{program}, which keeps the logins, did not answer in JSON")))?;
    let part = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let (user, secret) = (part("Username"), Zeroizing::new(part("Secret")));
    let refresh = user == "<token>";
    Ok((!secret.is_empty()).then_some(Login { user, secret, refresh }))
}

/// How a registry wants to be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With user and password.
    Basic,
    /// With a token from there.
    Bearer { realm: String, service: String },
}

impl Challenge {
    /// Of a `WWW-Authenticate`; None for what is not known here.
    pub(super) fn parse(header: &HeaderValue) -> Option<Challenge> {
        let (scheme, mut rest) = header.to_str().ok()?.split_once(' ').unwrap_or((header.to_str().ok()?, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service) = (None, String::new());
        while let Some((key, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            match key.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => value.clone_into(&mut service),
                _ => {}
            }
            rest = after;
        }
        Some(Challenge::Bearer { realm: realm?, service })
    }
}

/// What is to be sent as `Authorization` from now on.
pub(super) async fn answer(
    client: &https::Client<Full<Bytes>>,
    name: &Name,
    login: Option<&Login>,
    challenge: &Challenge,
) -> Result<HeaderValue, Problem> {
    let registry = &name.registry;
    let who = |what: &str| {
        Problem::refused(format!("the registry {registry} {what}"))
            .hint(format!("log in with `docker login {registry}` or `podman login {registry}`"))
    };
    let Challenge::Bearer { realm, service } = challenge else {
        return login.ok_or_else(|| who("wants a login, and none was found"))?.basic();
    };
    let at: Uri = realm.parse().map_err(|_| who("names no authority that could be asked for a token"))?;
    if at.scheme_str() != Some("https") && !name.plain() {
        return Err(who("names an authority that is not to be had over https, and is not told who we are"));
    }
    let scope = format!("repository:{}:pull,push", name.repository);
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("service", service).append_pair("scope", &scope);
    let request = match login.filter(|login| login.refresh) {
        Some(login) => {
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", "quell");
            form.append_pair("refresh_token", &login.secret);
            Request::builder()
                .method(Method::POST)
                .uri(at)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(Full::new(form.finish().into()))
        }
        None => {
            let join = if realm.contains('?') { '&' } else { '?' };
            let mut request = Request::builder().uri(format!("{realm}{join}{}", form.finish()));
            if let Some(login) = login {
                request = request.header(AUTHORIZATION, login.basic()?);
            }
            request.body(Full::new(Bytes::new()))
        }
    };
    let request = request.map_err(|_| who("names no authority that could be asked for a token"))?;
    let answered = client.request(request).await.map_err(|e| unreachable(name, &e))?;
    let status = answered.status();
    if status != StatusCode::OK {
        let with = if login.is_some() { "with the login that was found" } else { "and no login was found" };
        return Err(who(&format!("gives no token to push to {}, {with}: {status}", name.repository)));
    }
    let bytes = Limited::new(answered.into_body(), MAX_ANSWER).collect().await;
    let bytes = bytes.map_err(|e| who(&format!("broke off giving a token: {e}")))?.to_bytes();
    let token: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let token = ["token", "access_token"].iter().find_map(|key| token[key].as_str());
    sensitive(&format!("Bearer {}", token.ok_or_else(|| who("answered without a token"))?))
}

fn sensitive(text: &str) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Problem::failed("what the registry is to be told of us holds what no header may"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn challenge(text: &str) -> Option<Challenge> {
        Challenge::parse(&HeaderValue::from_str(text).unwrap())
    }

    #[test]
    fn a_challenge_is_read_in_any_order() {
        let bearer = |realm: &str, service: &str| {
            Some(Challenge::Bearer { realm: realm.to_owned(), service: service.to_owned() })
        };
        assert_eq!(
            challenge(r#"Bearer realm="https://a.example/token",service="r",scope="repository:x:pull""#),
            bearer("https://a.example/token", "r")
        );
        assert_eq!(challenge(r#"bearer Service="r", Realm="https://a.example""#), bearer("https://a.example", "r"));
        assert_eq!(challenge(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(challenge("Basic"), Some(Challenge::Basic));
        assert_eq!(challenge(r#"Bearer service="r""#), None);
        assert_eq!(challenge("Negotiate"), None);
    }

    #[test]
    fn a_login_is_found_by_any_of_its_names() {
        let of = |registry: &str, config: Value| {
            let name = Name::parse(&format!("{registry}/x:1")).unwrap();
            Login::in_config(&name, &config).unwrap().map(|l| (l.user.clone(), l.secret.to_string(), l.refresh))
        };
        let pair = |user: &str, secret: &str, refresh| Some((user.to_owned(), secret.to_owned(), refresh));
        let auth = json!({"auth": BASE64.encode("me:a:b")});
        assert_eq!(of("r.example", json!({"auths": {"r.example": auth}})), pair("me", "a:b", false));
        assert_eq!(of("r.example", json!({"auths": {"https://r.example/v1/": auth}})), pair("me", "a:b", false));
        assert_eq!(of("docker.io", json!({"auths": {"https://index.docker.io/v1/": auth}})), pair("me", "a:b", false));
        assert_eq!(of("r.example", json!({"auths": {"other.example": auth}})), None);
        assert_eq!(of("r.example", json!({"auths": {"r.example": {}}})), None);
        let token = json!({"auth": BASE64.encode("0:"), "identitytoken": "long"});
        assert_eq!(of("r.example", json!({"auths": {"r.example": token}})), pair("0", "long", true));
    }
}
