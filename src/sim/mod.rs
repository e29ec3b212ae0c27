//! The embedded cluster: a Kubernetes API server in the process, for drills and tests.
//!
//! It is served over real HTTP and TLS on the loopback, so that the engine uses the same `kube::Client` and can't tell
//! which cluster it has; kubectl can talk to it too. It knows nothing of quell: a drill that the cluster helps along
//! would prove nothing. Of quell it takes two things: the clock, and the collector's own stream, for what answers
//! inside a simulated pod must speak as the real one does.
//!
//! - [`resource`], [`store`], [`world`]: kinds, objects, and everything behind one lock.
//! - [`http`], [`route`], [`api`]: a request's way in and out. [`answer`] words the refusals.
//! - [`read`], [`decode`], [`write`], [`delete`], [`watch`], [`patch`], [`patching`], [`schema`], [`admission`], [`special`], [`selector`],
//!   [`table`], [`discovery`], [`protobuf`]: what the API does.
//! - [`identity`], [`rbac`], [`review`], [`audit`]: who, whether, and the record of it.
//! - [`life`]: controllers, scheduler, kubelet. [`container`], [`network`], [`stream`]: what runs, what it reaches, exec.
//! - [`fault`]: what goes wrong on demand.
//!
//! Where it knowingly differs from a real cluster stands in `tests/conformance/known-differences.yaml`.

pub mod admission;
pub mod answer;
pub mod api;
pub mod audit;
pub mod container;
pub mod decode;
pub mod delete;
pub mod discovery;
pub mod fault;
pub mod host;
mod http;
pub mod identity;
pub mod life;
pub mod network;
pub mod patch;
pub mod patching;
pub mod protobuf;
pub mod rbac;
pub mod read;
pub mod resource;
pub mod review;
pub mod route;
pub mod schema;
pub mod selector;
pub mod special;
pub mod store;
pub mod stream;
pub mod table;
pub mod watch;
pub mod world;
pub mod write;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch as signal};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use audit::Audit;
use identity::{Identities, User};
use world::World;

/// How to start one.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Names, UIDs and addresses follow from it.
    pub seed: u64,
    /// Where the audit log goes; None for none.
    pub audit_log: Option<PathBuf>,
    /// An audit.k8s.io/v1 Policy; null logs all at Metadata.
    pub audit_policy: Value,
    /// Where to listen; port 0 takes any. None: any port of 127.0.0.1.
    pub listen: Option<SocketAddr>,
}

/// What the server's tasks share.
pub struct Inner {
    world: Mutex<World>,
    /// The latest resourceVersion, for watches.
    changed: signal::Sender<u64>,
    /// Something for the controllers to do.
    work: Notify,
}

impl Inner {
    /// Looks or changes; whoever waits for changes is woken.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        let (result, version, work) = {
            let mut world = stream::lock(&self.world);
            let result = f(&mut world);
            (result, world.store.version(), !world.dirty.is_empty() || !world.timers.is_empty())
        };
        self.changed.send_if_modified(|last| std::mem::replace(last, version) != version);
        if work {
            self.work.notify_one();
        }
        result
    }

    /// Looks without waking anybody.
    fn look<R>(&self, f: &mut impl FnMut(&mut World) -> R) -> R {
        f(&mut stream::lock(&self.world))
    }
}

/// A cluster that runs until it is dropped.
pub struct Sim {
    inner: Arc<Inner>,
    address: SocketAddr,
    ca: String,
    admin: (String, String),
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Sim {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Sim {
    /// Starts one: with the objects that every cluster has, and no node yet.
    ///
    /// # Errors
    /// When the port or the audit log can't be had.
    pub async fn start(setup: Setup) -> io::Result<Sim> {
        let other = |e: &dyn std::fmt::Display| io::Error::other(e.to_string());
        let mut secret = [0; 32];
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut secret)
            .map_err(|_| other(&"no random numbers"))?;
        let audit = match setup.audit_log {
            Some(path) => Audit::to(path, setup.audit_policy)?,
            None => Audit::default(),
        };
        let mut identities = Identities::new(&secret);
        let keys = Keys::make().map_err(|e| other(&e))?;
        identities.add_certificate(&keys.admin_der, User::new("admin", &["system:masters"]));
        let mut world = World::new(setup.seed, identities, audit);
        life::bootstrap(&mut world, &keys.ca);
        let listener = TcpListener::bind(setup.listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into())).await?;
        let address = listener.local_addr()?;
        let inner = Arc::new(Inner { world: Mutex::new(world), changed: signal::Sender::new(0), work: Notify::new() });
        let tls = TlsAcceptor::from(Arc::new(keys.server));
        let tasks =
            vec![tokio::spawn(http::serve(listener, tls, inner.clone())), tokio::spawn(life::live(inner.clone()))];
        Ok(Sim { inner, address, ca: keys.ca, admin: keys.admin, tasks })
    }

    /// `https://127.0.0.1:PORT`.
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Looks at the cluster, or changes it behind the API's back.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        self.inner.with(f)
    }

    /// A kubeconfig with the administrator's context, and one for each bearer token (name, token); the first context
    /// named is the current one.
    pub fn kubeconfig(&self, cluster: &str, tokens: &[(String, String)]) -> String {
        let mut users = vec![serde_json::json!({"name": "admin", "user": {
            "client-certificate-data": STANDARD.encode(&self.admin.0), "client-key-data": STANDARD.encode(&self.admin.1)}})];
        let mut contexts = vec![
            serde_json::json!({"name": format!("admin@{cluster}"), "context": {"cluster": cluster, "user": "admin"}}),
        ];
        for (name, token) in tokens {
            users.push(serde_json::json!({"name": name, "user": {"token": token}}));
            contexts.push(
                serde_json::json!({"name": format!("{name}@{cluster}"), "context": {"cluster": cluster, "user": name}}),
            );
        }
        let current = tokens.first().map_or("admin", |(name, _)| name);
        // JSON is YAML too.
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": format!("{current}@{cluster}"),
            "clusters": [{"name": cluster, "cluster": {"server": self.server(), "certificate-authority-data": STANDARD.encode(&self.ca)}}],
            "contexts": contexts, "users": users,
        })
        .to_string()
    }

    /// Waits until the controllers have nothing more to do at once, or that long.
    pub async fn settled(&self, most: std::time::Duration) -> bool {
        let until = tokio::time::Instant::now() + most;
        loop {
            if self.inner.look(&mut |world| world.quiet()) {
                return true;
            }
            if tokio::time::Instant::now() >= until {
                return false;
            }
            let mut changed = self.inner.changed.subscribe();
            let _ = tokio::time::timeout(std::time::Duration::from_millis(20), changed.changed()).await;
        }
    }
}

/// The cluster's keys, made anew for each start.
struct Keys {
    ca: String,
    server: ServerConfig,
    admin: (String, String),
    admin_der: Vec<u8>,
}

impl Keys {
    fn make() -> Result<Keys, Box<dyn std::error::Error>> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "quell embedded cluster");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default.svc"];
        let mut params = CertificateParams::new(names.map(String::from).to_vec())?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &ca)?;
        let admin_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "admin");
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let admin = params.signed_by(&admin_key, &ca)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der().to_vec()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], private)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Keys {
            ca: ca.pem(),
            server,
            admin: (admin.pem(), admin_key.serialize_pem()),
            admin_der: admin.der().to_vec(),
        })
    }
}
