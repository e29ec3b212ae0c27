//! From a kubeconfig to a client, and to knowing which cluster this is and who we are in it.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderValue, Request};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::guard::{self, Tape};
use super::problem::{Fault, Problem, chain};
use crate::clock::Clock;
use crate::event::{ClockCheck, ClusterId};

/// Which cluster and namespace: the command line's choice.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--kubeconfig`; None follows KUBECONFIG and `~/.kube/config`, then the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--namespace`.
    pub namespace: Option<String>,
}

/// A cluster we can talk to.
#[derive(Clone)]
pub struct Cluster {
    base: Client,
    agent: HeaderValue,
    /// Which cluster this is, and as whom.
    pub id: ClusterId,
    /// This machine's clock against the API server's.
    pub clock_check: ClockCheck,
}

impl Cluster {
    /// Connects and learns who we are. `incident` goes into the User-Agent.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] when there is no usable kubeconfig, no answer, or the credentials are not accepted.
    pub async fn connect(options: &Options, clock: Clock) -> Result<Cluster, Problem> {
        let (mut config, mut id) = load(options).await?;
        if config.accept_invalid_certs {
            return Err(Problem::refused(format!("the kubeconfig turns certificate checks off for {}", id.server))
                .hint("evidence from a server that proved nothing is worth nothing: give the cluster's CA instead of insecure-skip-tls-verify"));
        }
        // Retries belong to the engine, as events; kube would make up to 15 silent ones.
        config.default_retry = false;
        config.connect_timeout = Some(Duration::from_secs(10));
        let base = Client::try_from(config).map_err(|e| unreachable(&id, &chain(&e)))?;
        let mut cluster = Cluster {
            base,
            agent: HeaderValue::from_static(concat!("quell/", env!("CARGO_PKG_VERSION"))),
            id: ClusterId::default(),
            clock_check: ClockCheck { ahead_ms: None, basis: String::new() },
        };
        let (client, _) = cluster.reader();
        let (version, check) = version_and_clock(&client, clock).await.map_err(|e| at_start(&id, e))?;
        id.version = version;
        cluster.clock_check = check;
        match Api::<SelfSubjectReview>::all(client.clone())
            .create(&PostParams::default(), &SelfSubjectReview::default())
            .await
        {
            Ok(review) => {
                let user = review.status.and_then(|s| s.user_info).unwrap_or_default();
                id.user = user.username.unwrap_or_default();
                id.groups = user.groups.unwrap_or_default();
            }
            Err(error) => return Err(at_start(&id, Problem::from(error))),
        }
        if let Ok(system) = Api::<Namespace>::all(client).get_metadata("kube-system").await {
            id.uid = system.metadata.uid;
        }
        cluster.id = id;
        Ok(cluster)
    }

    /// Names the incident to the audit log.
    pub fn for_incident(&mut self, incident: &str) {
        if let Ok(agent) = HeaderValue::from_str(&format!("quell/{} (incident/{incident})", env!("CARGO_PKG_VERSION")))
        {
            self.agent = agent;
        }
    }

    /// A client that only reads, and its tape.
    pub fn reader(&self) -> (Client, Tape) {
        guard::reader(&self.base, &self.agent)
    }

    /// A client for one intent, and its tape.
    pub fn writer(&self, audit_id: &str) -> (Client, Tape) {
        guard::writer(&self.base, &self.agent, audit_id)
    }
}

/// A client without a guard and a tape: for those who set a drill's scene, never for a responder's work.
///
/// # Errors
/// [`Fault::Unreachable`] when there is no usable kubeconfig.
pub async fn unguarded(options: &Options) -> Result<Client, Problem> {
    let (mut config, id) = load(options).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).map_err(|e| unreachable(&id, &chain(&e)))
}

/// As [`unguarded`], with other credentials than the kubeconfig's: `user` as a kubeconfig's user is written.
///
/// # Errors
/// [`Fault::Unreachable`] when there is no usable kubeconfig.
pub async fn unguarded_as(options: &Options, user: serde_json::Value) -> Result<Client, Problem> {
    let (mut config, id) = load(options).await?;
    config.auth_info =
        serde_json::from_value(user).map_err(|e| Problem::internal(format!("a kubeconfig's user: {e}")))?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    Client::try_from(config).map_err(|e| unreachable(&id, &chain(&e)))
}

async fn load(options: &Options) -> Result<(Config, ClusterId), Problem> {
    let no_config = |message: String| {
        Problem::new(Fault::Unreachable, message).hint("give --kubeconfig FILE (and --context NAME), or set KUBECONFIG")
    };
    let kubeconfig = match &options.kubeconfig {
        Some(path) => Some(Kubeconfig::read_from(path).map_err(|e| no_config(chain(&e)))?),
        None => match Kubeconfig::read() {
            Ok(found) => Some(found),
            Err(_) if std::path::Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token").exists() => None,
            Err(error) => return Err(no_config(format!("no kubeconfig: {}", chain(&error)))),
        },
    };
    let Some(kubeconfig) = kubeconfig else {
        let config = Config::incluster().map_err(|e| no_config(chain(&e)))?;
        let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let server = config.cluster_url.to_string();
        return Ok((
            config,
            ClusterId {
                context: "in-cluster".into(),
                cluster: "in-cluster".into(),
                server,
                namespace,
                ..ClusterId::default()
            },
        ));
    };
    let context = options.context.clone().or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    let cluster = kubeconfig
        .contexts
        .iter()
        .find(|c| c.name == context)
        .and_then(|c| c.context.as_ref())
        .map(|c| c.cluster.clone())
        .unwrap_or_default();
    let choice = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &choice).await.map_err(|e| no_config(chain(&e)))?;
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let server = without_user_info(&config.cluster_url);
    Ok((config, ClusterId { context, cluster, server, namespace, ..ClusterId::default() }))
}

fn without_user_info(uri: &http::Uri) -> String {
    let host =
        uri.authority().map(|a| a.as_str().rsplit('@').next().unwrap_or_default().to_string()).unwrap_or_default();
    format!("{}://{host}{}", uri.scheme_str().unwrap_or("https"), uri.path().trim_end_matches('/'))
}

/// The server's version, and how far our clock is from its `Date`.
async fn version_and_clock(client: &Client, clock: Clock) -> Result<(String, ClockCheck), Problem> {
    let request = Request::get("/version").body(Body::empty()).map_err(|e| Problem::internal(e.to_string()))?;
    let answer = client.send(request).await.map_err(Problem::from)?;
    let (status, date) = (answer.status(), answer.headers().get(http::header::DATE).cloned());
    let now = clock.now();
    let bytes = answer.into_body().collect_bytes().await.map_err(Problem::from)?;
    if status == http::StatusCode::UNAUTHORIZED {
        return Err(Problem::new(Fault::Unreachable, "the API server does not accept these credentials (401)"));
    }
    let version: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let server_time = date.as_ref().and_then(|d| d.to_str().ok()).and_then(|d| {
        time::OffsetDateTime::parse(&d.replace("GMT", "+0000"), &time::format_description::well_known::Rfc2822).ok()
    });
    let check = match server_time {
        Some(theirs) => ClockCheck {
            ahead_ms: i64::try_from((now - theirs).whole_milliseconds()).ok(),
            basis: "the Date header of the API server's answer, which has whole seconds: true within about 1 s".into(),
        },
        None => {
            ClockCheck { ahead_ms: None, basis: "not known: the API server's answer had no usable Date header".into() }
        }
    };
    Ok((version["gitVersion"].as_str().unwrap_or("unknown").to_string(), check))
}

fn unreachable(id: &ClusterId, why: &str) -> Problem {
    Problem::new(Fault::Unreachable, format!("can't reach the API server at {}: {why}", id.server))
        .hint("check the network and the kubeconfig; nothing was changed")
}

/// Before anything has begun a refusal of our credentials and silence both mean the same: there is no cluster to work on.
fn at_start(id: &ClusterId, problem: Problem) -> Problem {
    match problem.fault {
        Fault::Transient => unreachable(id, &problem.message),
        Fault::Unreachable => Problem::new(
            Fault::Unreachable,
            format!("{} does not accept the credentials of context {:?}: {}", id.server, id.context, problem.message),
        )
        .hint("they have expired, or belong to another cluster: renew them and try again; nothing was changed"),
        _ => problem,
    }
}
