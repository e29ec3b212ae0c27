//! Who may what in a drill's scene, and a controller of the scene that puts back what it keeps.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};

use super::scenario::{NAMESPACE, Right};
use super::stage::Scene;
use crate::cluster::Problem;

/// How often the scene's controller looks.
const PERIOD: Duration = Duration::from_millis(100);
/// As whom it writes.
const CONTROLLER: &str = "team-operator";

/// User name and groups of `serviceaccount:NAME` in that namespace, or of a user's name, in which the namespace may stand.
pub fn user(namespace: &str, who: &str) -> (String, Vec<String>) {
    let who = &who.replace(NAMESPACE, namespace);
    match who.strip_prefix("serviceaccount:") {
        Some(account) => (
            format!("system:serviceaccount:{namespace}:{account}"),
            vec!["system:serviceaccounts".to_string(), format!("system:serviceaccounts:{namespace}")],
        ),
        None => (who.to_string(), Vec::new()),
    }
}

/// Whether it is so now, by the API server's own word.
///
/// # Errors
/// The API server can't be asked.
pub async fn may(scene: &Scene, right: &Right) -> Result<bool, Problem> {
    let (name, mut groups) = user(&scene.namespace, &right.who);
    groups.push("system:authenticated".into());
    let (resource, group) = right.resource.split_once('.').unwrap_or((&right.resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": name, "groups": groups, "resourceAttributes": {
            "namespace": scene.namespace, "verb": right.verb, "group": group, "resource": resource,
        }},
    });
    let request = Request::post("/apis/authorization.k8s.io/v1/subjectaccessreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())
        .map_err(|e| Problem::internal(e.to_string()))?;
    Ok(scene.admin.request::<Value>(request).await?["status"]["allowed"] == true)
}

/// Makes the object, and makes it again whenever it is gone or its subjects are others, until the drill is over.
///
/// # Errors
/// It can't be made.
pub async fn keep(scene: &Scene, mut object: Value) -> Result<(), Problem> {
    let path = scene.path_of(&object).await?;
    object["metadata"]["namespace"] = json!(scene.namespace);
    let client = scene.admin.clone();
    let apply = move |body: &Value, path: &str| {
        Request::patch(format!("{path}?fieldManager={CONTROLLER}&force=true"))
            .header("content-type", "application/apply-patch+yaml")
            .body(body.to_string().into_bytes())
            .map_err(|e| Problem::internal(e.to_string()))
    };
    client.request::<Value>(apply(&object, &path)?).await?;
    // As a controller does: it looks, and writes where what is there is not what it keeps.
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let Ok(request) = Request::get(path.as_str()).body(Vec::new()) else { return };
            let same = match client.request::<Value>(request).await {
                Ok(found) => found["subjects"].as_array().map(Vec::len) == object["subjects"].as_array().map(Vec::len),
                Err(kube::Error::Api(status)) => status.code != 404,
                // The scene is gone.
                Err(_) => return,
            };
            if !same && let Ok(request) = apply(&object, &path) {
                let _ = client.request::<Value>(request).await;
            }
        }
    });
    Ok(())
}
