//! One GET of a document that is not the cluster's: an external system's log. Over the same HTTP client, TLS roots and
//! proxies as the API server's.

use std::time::Duration;

use futures::StreamExt;
use http::{Request, Uri};
use kube::client::Body;
use kube::{Client, Config};

use super::problem::chain;
use super::{Fault, Problem};

/// How long nothing may come.
const IDLE: Duration = Duration::from_secs(30);

/// What came of a fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// There was more than the limit.
    pub cut: bool,
}

/// GETs a URL and hands on its body by pieces, at most `limit` bytes. Redirects are not followed.
///
/// # Errors
/// No answer, another status than 200, or the taker's own. The URL's query is not in the message: it may hold a token.
pub async fn fetch(
    url: &str,
    limit: u64,
    take: &mut (dyn FnMut(&[u8]) -> Result<(), Problem> + Send),
) -> Result<Fetched, Problem> {
    let uri: Uri = url.parse().map_err(|_| Problem::usage(format!("{:?} is no URL", without_query(url))))?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Problem::usage(format!("{:?} is no URL with a host", without_query(url))));
    };
    let name = without_query(url);
    let base: Uri =
        format!("{scheme}://{authority}/").parse().map_err(|_| Problem::usage(format!("{name} is no URL")))?;
    let mut config = Config::new(base);
    config.connect_timeout = Some(Duration::from_secs(10));
    config.default_retry = false;
    let fail = |why: String| Problem::new(Fault::Transient, format!("can't fetch {name}: {why}"));
    let client = Client::try_from(config).map_err(|e| fail(chain(&e)))?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let request = Request::get(path).body(Body::empty()).map_err(|e| Problem::internal(e.to_string()))?;
    let late = || fail(format!("nothing came for {} s", IDLE.as_secs()));
    let answer = tokio::time::timeout(IDLE, client.send(request)).await.map_err(|_| late())?;
    let answer = answer.map_err(|e| fail(chain(&e)))?;
    if answer.status() != http::StatusCode::OK {
        return Err(Problem::failed(format!("can't fetch {name}: it answered {}", answer.status().as_u16())));
    }
    let mut body = http_body_util::BodyStream::new(answer.into_body());
    let mut taken = 0u64;
    loop {
        let Some(frame) = tokio::time::timeout(IDLE, body.next()).await.map_err(|_| late())? else {
            return Ok(Fetched { cut: false });
        };
        let frame = frame.map_err(|e| fail(e.to_string()))?;
        let Some(bytes) = frame.data_ref() else { continue };
        let room = usize::try_from(limit - taken).unwrap_or(usize::MAX);
        take(&bytes[..bytes.len().min(room)])?;
        taken += bytes.len().min(room) as u64;
        if bytes.len() > room {
            return Ok(Fetched { cut: true });
        }
    }
}

/// A URL as it may be shown.
pub fn without_query(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
            format!("{scheme}://{}/{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        None => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_token_is_not_shown() {
        assert_eq!(without_query("https://u:p@logs.example/a/b?token=x#y"), "https://logs.example/a/b");
    }
}
