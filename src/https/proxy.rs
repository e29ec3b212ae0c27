//! The way there: straight, or through the proxy that `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` name.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use tower::Service;

type Failure = Box<dyn Error + Send + Sync>;

/// Connects; what goes over TLS may go through a proxy.
#[derive(Clone)]
pub struct Way {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl Way {
    /// As the environment says.
    pub(super) fn from_env() -> Way {
        Way::through(Matcher::from_env())
    }

    fn through(proxies: Matcher) -> Way {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        Way { tcp, proxies: Arc::new(proxies) }
    }
}

/// Without the proxies: their addresses may hold a password.
impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

impl Service<Uri> for Way {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Service::<Uri>::poll_ready(&mut self.tcp, cx).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        // An endpoint without TLS is one beside us.
        let proxy = self.proxies.intercept(&to).filter(|_| to.scheme_str() == Some("https"));
        Box::pin(async move {
            let Some(proxy) = proxy else { return Ok(tcp.call(to).await?) };
            let name = proxy.uri().authority().map_or("", |a| a.as_str());
            if proxy.uri().scheme_str() != Some("http") {
                let scheme = proxy.uri().scheme_str().unwrap_or("no scheme");
                return Err(
                    format!("the proxy {name} is named with {scheme}; only http:// is spoken to a proxy").into()
                );
            }
            let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
            if let Some(auth) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(auth.clone());
            }
            tunnel.call(to).await.map_err(|e| format!("through the proxy {name}: {e}").into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A proxy that answers once; what it was asked.
    async fn proxy(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n\r\n") {
                text.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(text).unwrap()
        });
        (address, asked)
    }

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_with_its_password() {
        let (address, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n").await;
        let proxies = Matcher::builder().https(format!("http://me:open%20up@{address}")).build();
        Way::through(proxies).call(uri("https://logs.example")).await.unwrap();
        let asked = asked.await.unwrap();
        assert!(asked.starts_with("CONNECT logs.example:443 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_lowercase().contains("proxy-authorization: basic bwu6b3blbib1ca=="), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_names_the_proxy_and_not_its_password() {
        let (address, asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let proxies = Matcher::builder().all(format!("http://me:secret@{address}")).build();
        let refused = Way::through(proxies).call(uri("https://logs.example")).await.unwrap_err().to_string();
        assert!(refused.contains(&address) && !refused.contains("secret"), "{refused}");
        asked.await.unwrap();
        let other = Matcher::builder().all("socks5://me:secret@proxy.example:1080").build();
        let refused = Way::through(other).call(uri("https://logs.example")).await.unwrap_err().to_string();
        assert_eq!(refused, "the proxy proxy.example:1080 is named with socks5; only http:// is spoken to a proxy");
    }

    #[tokio::test]
    async fn what_is_excepted_and_what_is_plain_goes_straight() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nobody listens at the proxy's.
        let proxies = || Matcher::builder().all("http://127.0.0.1:1").no("localhost,127.0.0.1").build();
        Way::through(proxies()).call(uri(&format!("https://127.0.0.1:{port}"))).await.unwrap();
        let all = Matcher::builder().all("http://127.0.0.1:1").build();
        Way::through(all).call(uri(&format!("http://127.0.0.1:{port}"))).await.unwrap();
    }
}
