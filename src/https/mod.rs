//! HTTP to what is not the cluster: object stores and registries. By what the Kubernetes client brings along: hyper, and
//! rustls with ring.

mod proxy;

use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::rt::TokioExecutor;

pub use proxy::Way;

/// A client for requests with bodies of one kind.
pub type Client<B> = Legacy<HttpsConnector<Way>, B>;

/// A client that trusts what this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured), and goes by the proxy
/// that the environment names. Only what is written with `http://` is spoken to without TLS.
///
/// # Errors
/// When there is no TLS to be had.
pub fn client<B>() -> Result<Client<B>, rustls::Error>
where
    B: hyper::body::Body + Send,
    B::Data: Send,
{
    let mut roots = rustls::RootCertStore::empty();
    // What can't be read of the machine's own is left out.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Ok(Legacy::builder(TokioExecutor::new()).build(connector.wrap_connector(Way::from_env())))
}
