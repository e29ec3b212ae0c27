//! What a cluster, an identity and a namespace allow, asked before there is an incident. Reads and dry runs only.

use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;

use super::node::{self, NAMESPACE, RULES, Role};
use crate::cluster::access::{self, Question};
use crate::cluster::{Fault, Problem, raw};

/// One thing that an incident may need.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// `node-collector`, `ephemeral-container`, `exec`, `checkpoint`, `isolation`, `network`, `logs`, `sealing`.
    pub what: &'static str,
    /// None when it can't be known from here.
    pub able: Option<bool>,
    /// One line for a person: how, or why not and what to do.
    pub detail: String,
}

/// Asks for all of it. `image` is the collector's, empty for none.
///
/// # Errors
/// When the API server does not answer; what it refuses is a finding.
pub async fn survey(client: &Client, namespace: &str, image: &str) -> Result<Vec<Finding>, Problem> {
    let found = vec![
        isolation(client, namespace).await?,
        network(client).await,
        checkpoint(client).await?,
        on_node(client, image).await?,
        beside(client, namespace, image).await?,
        exec(client, namespace).await?,
        rights(client, "logs", namespace, &[("", "pods/log", &["get"])], "every container's log, by the API").await?,
    ];
    Ok(found)
}

type Wanted<'a> = (&'a str, &'a str, &'a [&'a str]);

async fn denied(client: &Client, namespace: &str, wanted: &[Wanted<'_>]) -> Result<Vec<String>, Problem> {
    let questions = wanted.iter().flat_map(|(group, resource, verbs)| {
        verbs.iter().map(|verb| Question {
            group: (*group).into(),
            resource: (*resource).into(),
            verb: (*verb).into(),
            namespace: Some(namespace.into()),
        })
    });
    Ok(access::denied(client, questions.collect()).await?.iter().map(ToString::to_string).collect())
}

async fn rights(
    client: &Client,
    what: &'static str,
    namespace: &str,
    wanted: &[Wanted<'_>],
    detail: &str,
) -> Result<Finding, Problem> {
    let denied = denied(client, namespace, wanted).await?;
    Ok(match denied.is_empty() {
        true => Finding { what, able: Some(true), detail: detail.into() },
        false => Finding { what, able: Some(false), detail: lacking(&denied) },
    })
}

fn lacking(denied: &[String]) -> String {
    format!("you may not {}; `quell runbook rbac pod-compromise` prints the rights", denied.join(", nor "))
}

async fn isolation(client: &Client, namespace: &str) -> Result<Finding, Problem> {
    let pods: Wanted<'_> = ("", "pods", &["get", "list", "watch", "patch"]);
    let policies: Wanted<'_> = ("networking.k8s.io", "networkpolicies", &["get", "list", "create", "delete"]);
    let detail = "a deny-all policy, and the pod moved under it; only a run shows whether the network enforces it";
    rights(client, "isolation", namespace, &[pods, policies], detail).await
}

/// Plug-ins by the names of their DaemonSets; whether they enforce policies as they are set up here, only a probe tells.
const PLUGINS: [(&str, &str); 10] = [
    ("calico", "Calico: enforces policies; keeps established connections"),
    ("cilium", "Cilium: enforces policies"),
    ("antrea", "Antrea: enforces policies"),
    ("kube-router", "kube-router: enforces policies; keeps established connections"),
    ("weave", "Weave Net: enforces policies unless it was told not to"),
    ("ovnkube", "OVN-Kubernetes: enforces policies"),
    ("kube-network-policies", "kube-network-policies: enforces policies"),
    ("canal", "Canal: enforces policies"),
    ("kindnet", "kindnet: enforces policies in recent versions only"),
    ("flannel", "flannel: enforces NO policies by itself"),
];

async fn network(client: &Client) -> Finding {
    let found = raw::list(client, "/apis/apps/v1/daemonsets").await;
    let (able, detail) = match found {
        Err(problem) => (None, format!("the network plug-in is not known: {problem}")),
        Ok((sets, _)) => {
            let names: Vec<&str> = sets.iter().filter_map(|s| s["metadata"]["name"].as_str()).collect();
            let known = PLUGINS.iter().find(|(mark, _)| names.iter().any(|n| n.contains(mark)));
            match known {
                Some((mark, text)) => ((*mark == "flannel").then_some(false), (*text).to_string()),
                None => (
                    None,
                    "no network plug-in that is known here: whether policies are enforced is shown by a run".into(),
                ),
            }
        }
    };
    Finding { what: "network", able, detail }
}

async fn checkpoint(client: &Client) -> Result<Finding, Problem> {
    let question =
        Question { group: String::new(), resource: "nodes/proxy".into(), verb: "create".into(), namespace: None };
    let denied = access::denied(client, vec![question]).await?;
    let (able, detail) = match denied.is_empty() {
        true => (
            None,
            "you may ask a kubelet for one (memory); whether its container runtime makes it, only a run with --set memory=try shows",
        ),
        false => (
            Some(false),
            "you may not create nodes/proxy, which a checkpoint (memory) takes; it lets its holder into every pod of a node",
        ),
    };
    Ok(Finding { what: "checkpoint", able, detail: detail.into() })
}

async fn on_node(client: &Client, image: &str) -> Result<Finding, Problem> {
    let what = "node-collector";
    let no = |detail: String| Ok(Finding { what, able: Some(false), detail });
    if image.is_empty() {
        return no("no collector image: `quell collector image` makes one; give it with --collector-image".into());
    }
    let wanted: Vec<Wanted<'_>> = RULES[..2].iter().map(|r| (r.group, r.resource, r.verbs)).collect();
    let denied = denied(client, NAMESPACE, &wanted).await?;
    if !denied.is_empty() {
        return no(lacking(&denied));
    }
    let level = match raw::get(client, &format!("/api/v1/namespaces/{NAMESPACE}")).await {
        Ok(_) => "",
        Err(problem) if problem.fault == Fault::NotFound => {
            let detail = format!(
                "there is no namespace {NAMESPACE} yet: the first run makes it, if you may; `quell runbook rbac pod-compromise` prints it"
            );
            return Ok(Finding { what, able: None, detail });
        }
        Err(problem) if problem.is_transient() || problem.fault == Fault::Unreachable => return Err(problem),
        Err(_) => " (its namespace may not be read)",
    };
    let nodes = raw::list(client, "/api/v1/nodes").await.map(|(nodes, _)| nodes).unwrap_or_default();
    let node = nodes.first().and_then(|n| n["metadata"]["name"].as_str()).unwrap_or("doctor");
    let pod = node::manifest("doctor", Role::Collector, "quell-doctor", node, image, 60);
    let pod = serde_json::from_value(pod).map_err(|e| Problem::internal(e.to_string()))?;
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), NAMESPACE);
    match api.create(&dry, &pod).await.map_err(Problem::from) {
        Ok(_) => {
            let detail = format!(
                "the API server takes its pod in a dry run{level}; whether the node can pull {image}, only a run shows"
            );
            Ok(Finding { what, able: Some(true), detail })
        }
        Err(problem) if problem.is_transient() || problem.fault == Fault::Unreachable => Err(problem),
        Err(problem) => no(format!("the API server refuses its pod: {problem}")),
    }
}

/// What each Pod Security level lets an ephemeral container be (Kubernetes, "Pod Security Standards").
async fn beside(client: &Client, namespace: &str, image: &str) -> Result<Finding, Problem> {
    let what = "ephemeral-container";
    let wanted: [Wanted<'_>; 2] = [("", "pods/ephemeralcontainers", &["patch"]), ("", "pods/exec", &["get", "create"])];
    let denied = denied(client, namespace, &wanted).await?;
    if !denied.is_empty() || image.is_empty() {
        let detail = if image.is_empty() { "no collector image".into() } else { lacking(&denied) };
        return Ok(Finding { what, able: Some(false), detail });
    }
    let level = match raw::get(client, &format!("/api/v1/namespaces/{namespace}")).await {
        Ok(found) => level(&found),
        Err(problem) if problem.fault == Fault::NotFound => {
            return Err(Problem::refused(format!("there is no namespace {namespace:?}")).hint("choose one with -n"));
        }
        Err(problem) if problem.is_transient() || problem.fault == Fault::Unreachable => return Err(problem),
        Err(_) => None,
    };
    let (able, detail) = match level.as_deref() {
        None => (None, "the namespace's Pod Security level may not be read: a run tries from the most rights to the least".to_string()),
        Some("restricted") => (Some(true), "Pod Security level restricted: as the container's own user; other users' processes stay unread, connections can't be cut".into()),
        Some("baseline") => (Some(true), "Pod Security level baseline: root without SYS_PTRACE and NET_ADMIN; processes of root are read, connections can't be cut".into()),
        Some(other) => (Some(true), format!("Pod Security level {other}: root with SYS_PTRACE and NET_ADMIN")),
    };
    Ok(Finding { what, able, detail })
}

/// The level that is enforced; without a label the cluster's default, which is `privileged` unless it was set otherwise.
fn level(namespace: &Value) -> Option<String> {
    let label = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"].as_str();
    Some(label.map_or_else(|| "not set (privileged, unless the cluster's default is another)".into(), Into::into))
}

async fn exec(client: &Client, namespace: &str) -> Result<Finding, Problem> {
    let detail = "the container's own sh and tar, where it has them; they may lie";
    rights(client, "exec", namespace, &[("", "pods/exec", &["get", "create"])], detail).await
}
