//! A connection to a PostgreSQL server, in TLS unless the settings say otherwise. tokio-postgres has no TLS of its own;
//! this hands it rustls, which the tree has for Kubernetes anyway.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, NoTls};

use crate::action::Problem;
use crate::cluster::{Fault, chain};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the server is.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub host: String,
    pub port: u16,
    pub database: String,
    /// With a certificate that is checked. Off only where the URL says `sslmode=disable`.
    pub tls: bool,
    pub ca_file: Option<String>,
}

/// Why a login did not work.
pub(super) enum NoLogin {
    /// The server refused this role or password: its SQLSTATE and words.
    Refused(String),
    /// Anything else: nothing is known of the credential.
    Other(Problem),
}

impl Server {
    /// `host:port`
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Logs in. The connection ends when the client is dropped.
    pub async fn login(&self, user: &str, password: Option<&[u8]>) -> Result<Client, NoLogin> {
        let mut config = Config::new();
        config
            .host(&self.host)
            .port(self.port)
            .dbname(&self.database)
            .user(user)
            .application_name("quell")
            .connect_timeout(PATIENCE)
            .ssl_mode(if self.tls { SslMode::Require } else { SslMode::Disable });
        if let Some(password) = password {
            config.password(password);
        }
        let connected = async {
            if self.tls {
                let tls = self.tls().map_err(NoLogin::Other)?;
                let (client, connection) = config.connect(tls).await.map_err(|e| self.why(&e))?;
                tokio::spawn(async move { drop(connection.await) });
                Ok(client)
            } else {
                let (client, connection) = config.connect(NoTls).await.map_err(|e| self.why(&e))?;
                tokio::spawn(async move { drop(connection.await) });
                Ok(client)
            }
        };
        match tokio::time::timeout(PATIENCE, connected).await {
            Ok(done) => done,
            Err(_) => Err(NoLogin::Other(Problem::new(
                Fault::Transient,
                format!("no answer from PostgreSQL at {} within {} s", self.place(), PATIENCE.as_secs()),
            ))),
        }
    }

    fn why(&self, error: &tokio_postgres::Error) -> NoLogin {
        match error.as_db_error() {
            // Class 28: invalid authorization (PostgreSQL, Appendix A).
            Some(said) if said.code().code().starts_with("28") => {
                NoLogin::Refused(format!("{} ({})", said.message(), said.code().code()))
            }
            Some(said) => NoLogin::Other(Problem::failed(format!(
                "PostgreSQL at {} said: {} ({})",
                self.place(),
                said.message(),
                said.code().code()
            ))),
            // A certificate that does not check will not check later either.
            None if chain(error).contains("TLS") => NoLogin::Other(
                Problem::failed(format!("can't reach PostgreSQL at {} in TLS: {}", self.place(), chain(error)))
                    .hint("give the CA of its certificate as a file, and its name as the certificate has it"),
            ),
            None => NoLogin::Other(
                Problem::new(Fault::Transient, format!("can't reach PostgreSQL at {}: {}", self.place(), chain(error)))
                    .hint("look at host, port and TLS; nothing was changed there"),
            ),
        }
    }

    fn tls(&self) -> Result<Tls, Problem> {
        let mut roots = rustls::RootCertStore::empty();
        match &self.ca_file {
            Some(path) => {
                let all = CertificateDer::pem_file_iter(path)
                    .map_err(|e| Problem::usage(format!("can't read the database's CA {path}: {e}")))?;
                for one in all.flatten() {
                    roots.add(one).map_err(|e| Problem::usage(format!("{path}: {e}")))?;
                }
                if roots.is_empty() {
                    return Err(Problem::usage(format!("{path} holds no certificate")));
                }
            }
            None => {
                for one in rustls_native_certs::load_native_certs().certs {
                    let _ = roots.add(one);
                }
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Problem::internal(e.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone())
            .map_err(|_| Problem::usage(format!("{:?} is no host name", self.host)))?;
        Ok(Tls { connector: tokio_rustls::TlsConnector::from(Arc::new(config)), name })
    }
}

/// One connection's TLS.
struct Tls {
    connector: tokio_rustls::TlsConnector,
    name: ServerName<'static>,
}

impl tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket> for Tls {
    type Stream = Encrypted<tokio_postgres::Socket>;
    type TlsConnect = Tls;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _: &str) -> Result<Tls, io::Error> {
        Ok(Tls { connector: self.connector.clone(), name: self.name.clone() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Tls {
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, stream).await.map(Encrypted) })
    }
}

/// A stream in TLS, without channel binding.
struct Encrypted<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
