//! What an identity may do, by access reviews with its very user, groups and extras.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};
use http::Request;
use serde_json::{Value, json};

use super::Identity;
use super::identity::Used;
use crate::cluster::{Cx, Problem};

/// Rights that an intruder wants: verb, group, resource, subresource.
const TELLING: &[(&str, &str, &str, &str)] = &[
    ("*", "*", "*", ""),
    ("get", "", "secrets", ""),
    ("list", "", "secrets", ""),
    ("list", "", "pods", ""),
    ("create", "", "pods", ""),
    ("create", "", "pods", "exec"),
    ("create", "", "serviceaccounts", "token"),
    ("impersonate", "", "serviceaccounts", ""),
    ("update", "", "configmaps", ""),
    ("create", "apps", "deployments", ""),
    ("create", "apps", "daemonsets", ""),
    ("create", "batch", "cronjobs", ""),
    ("create", "rbac.authorization.k8s.io", "rolebindings", ""),
];

/// And those that are of the whole cluster alone.
const OF_THE_CLUSTER: &[(&str, &str, &str, &str)] = &[
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings", ""),
    ("escalate", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("bind", "rbac.authorization.k8s.io", "clusterroles", ""),
    ("impersonate", "", "users", ""),
    ("impersonate", "", "groups", ""),
    ("get", "", "nodes", "proxy"),
    ("create", "certificates.k8s.io", "certificatesigningrequests", ""),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", ""),
];

/// Namespaces that are asked about; what is bound in more of them is removed all the same.
const MAX_NAMESPACES: usize = 25;

/// What is asked: the telling rights in the whole cluster and in these namespaces, and what it was seen to use.
pub(crate) fn questions(identity: &Identity, namespaces: &BTreeSet<String>) -> Vec<Used> {
    let mut all = BTreeSet::new();
    let mut add = |(verb, group, resource, sub): &(&str, &str, &str, &str), namespace: &str| {
        all.insert(Used {
            verb: (*verb).into(),
            group: (*group).into(),
            resource: (*resource).into(),
            subresource: (*sub).into(),
            namespace: namespace.into(),
        });
    };
    TELLING.iter().chain(OF_THE_CLUSTER).for_each(|right| add(right, ""));
    for namespace in namespaces.iter().take(MAX_NAMESPACES) {
        TELLING.iter().for_each(|right| add(right, namespace));
    }
    // Everybody may review their own rights.
    all.extend(identity.used.iter().filter(|u| !u.resource.starts_with("selfsubject")).cloned());
    all.into_iter().collect()
}

/// `get secrets in namespace shop`.
pub(crate) fn text(used: &Used) -> String {
    let sub = if used.subresource.is_empty() { String::new() } else { format!("/{}", used.subresource) };
    let group = if used.group.is_empty() { String::new() } else { format!(".{}", used.group) };
    let place = match used.namespace.as_str() {
        "" => " in the whole cluster".to_owned(),
        namespace => format!(" in namespace {namespace}"),
    };
    format!("{} {}{group}{sub}{place}", used.verb, used.resource)
}

/// Those that the API server answers with yes, and its reason, eight questions at a time.
pub(crate) async fn allowed(cx: &Cx, identity: &Identity, questions: &[Used]) -> Result<Vec<(Used, String)>, Problem> {
    let answers: Vec<Result<Option<(Used, String)>, Problem>> = stream::iter(questions.iter().cloned())
        .map(|used| async move {
            let answer = ask(cx, identity, &used).await?;
            let yes = answer["status"]["allowed"] == true;
            let reason = answer["status"]["reason"].as_str().unwrap_or_default().to_owned();
            Ok(yes.then_some((used, reason)))
        })
        .buffered(8)
        .collect()
        .await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

async fn ask(cx: &Cx, identity: &Identity, used: &Used) -> Result<Value, Problem> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": identity.username,
            "uid": identity.uid,
            "groups": identity.groups,
            "extra": identity.extra,
            "resourceAttributes": {
                "verb": used.verb,
                "group": used.group,
                "resource": used.resource,
                "subresource": used.subresource,
                "namespace": used.namespace,
            },
        },
    });
    post(cx, "/apis/authorization.k8s.io/v1/subjectaccessreviews", &review).await
}

/// Who we are, as the API server has it; None when it does not say.
pub(crate) async fn ourselves(cx: &Cx) -> Option<String> {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = post(cx, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &review).await.ok()?;
    answer["status"]["userInfo"]["username"].as_str().map(str::to_owned)
}

/// Whether every user has it: by asking as one whom nobody has named.
pub(crate) async fn of_everybody(cx: &Cx, questions: Vec<Used>) -> Result<BTreeSet<Used>, Problem> {
    let nobody = Identity::named("quell:nobody", &[]);
    Ok(allowed(cx, &nobody, &questions).await?.into_iter().map(|(used, _)| used).collect())
}

async fn post(cx: &Cx, path: &str, body: &Value) -> Result<Value, Problem> {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .body(body.to_string().into_bytes())
        .map_err(|e| Problem::internal(format!("{path}: {e}")))?;
    Ok(cx.client.request(request).await?)
}
