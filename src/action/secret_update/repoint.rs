//! Consumers that are to name another Secret: where in their object the name stands, and the patch that changes it.

use http::Request;
use serde_json::{Value, json};

use crate::action::Problem;
use crate::action::secret_consumers::workloads::TEMPLATES;
use crate::cluster::{Cx, Fault, raw};
use crate::event::ObjectRef;

/// Kinds beside those with a template whose reference can be changed: API path, kind, plural.
const OTHERS: &[(&str, &str, &str)] =
    &[("/api/v1", "ServiceAccount", "serviceaccounts"), ("/apis/networking.k8s.io/v1", "Ingress", "ingresses")];

/// An object that names the Secret, and where.
pub struct Pointer {
    pub object: ObjectRef,
    pub path: String,
    /// JSON pointers to the texts that are its name.
    pub at: Vec<String>,
    /// Its template changes, so its pods are replaced.
    pub rolls: bool,
}

/// All that can be pointed elsewhere, and what can't, with the reason.
pub async fn find(cx: &Cx, namespace: &str, secret: &str) -> Result<(Vec<Pointer>, Vec<String>), Problem> {
    let (mut found, mut left) = (Vec::new(), Vec::new());
    for (base, kind, plural) in TEMPLATES.iter().chain(OTHERS) {
        let list = format!("{base}/namespaces/{namespace}/{plural}");
        let mut objects = Vec::new();
        match raw::each(&cx.client, &list, 500, |object: Value| {
            let mut at = Vec::new();
            pointers(&object, "", secret, &mut at);
            if !at.is_empty() {
                objects.push((object["metadata"].clone(), at));
            }
        })
        .await
        {
            Ok(()) => {}
            Err(problem) if problem.fault == Fault::NotFound => {}
            Err(problem) if problem.fault == Fault::Refused => {
                left.push(format!("{plural}: you may not list them"));
            }
            Err(problem) => return Err(problem),
        }
        for (meta, at) in objects {
            let name = meta["name"].as_str().unwrap_or_default().to_owned();
            let owner = meta["ownerReferences"].as_array().into_iter().flatten().find(|o| o["controller"] == true);
            if let Some(owner) = owner {
                // Its owner makes it anew: the owner is changed.
                let by = owner["kind"].as_str().unwrap_or_default();
                if !TEMPLATES.iter().any(|(_, known, _)| *known == by) {
                    left.push(format!("{kind} {name} belongs to a {by}: change it there"));
                }
                continue;
            }
            if *kind == "Job" {
                left.push(format!(
                    "Job {name}: its template can't be changed; its pods keep the old Secret until they end"
                ));
                continue;
            }
            let base_version = base.trim_start_matches("/apis/").trim_start_matches("/api/").to_owned();
            found.push(Pointer {
                object: ObjectRef {
                    api_version: base_version,
                    kind: (*kind).into(),
                    namespace: Some(namespace.into()),
                    uid: meta["uid"].as_str().map(Into::into),
                    name: name.clone(),
                },
                path: format!("{list}/{name}"),
                at,
                rolls: ["Deployment", "StatefulSet", "DaemonSet"].contains(kind),
            });
        }
    }
    Ok((found, left))
}

/// JSON pointers to every place that names the Secret, in an object of a kind that is known.
fn pointers(value: &Value, at: &str, secret: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if ["metadata", "status"].contains(&key.as_str()) && at.is_empty() {
                    continue;
                }
                let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                let direct = ["secretName"].contains(&key.as_str()) && inner == secret;
                if direct {
                    out.push(place.clone());
                }
                let names = ["secretKeyRef", "secretRef", "nodePublishSecretRef", "secret"].contains(&key.as_str());
                if names && inner["name"] == secret {
                    out.push(format!("{place}/name"));
                }
                if ["imagePullSecrets", "secrets"].contains(&key.as_str()) {
                    for (i, item) in inner.as_array().into_iter().flatten().enumerate() {
                        if item["name"] == secret {
                            out.push(format!("{place}/{i}/name"));
                        }
                    }
                }
                pointers(inner, &place, secret, out);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                pointers(item, &format!("{at}/{i}"), secret, out);
            }
        }
        _ => {}
    }
}

/// The patch: each place is tested for the name that it is to have before.
pub fn patch(at: &[String], uid: Option<&str>, from: &str, to: &str) -> Value {
    let mut ops: Vec<Value> =
        uid.map(|uid| json!({"op": "test", "path": "/metadata/uid", "value": uid})).into_iter().collect();
    for place in at {
        ops.push(json!({"op": "test", "path": place, "value": from}));
        ops.push(json!({"op": "replace", "path": place, "value": to}));
    }
    Value::Array(ops)
}

/// Sends it.
pub async fn send(cx: &Cx, path: &str, patch: &Value, dry_run: bool) -> Result<Value, Problem> {
    let dry = if dry_run { "&dryRun=All" } else { "" };
    let request = Request::patch(format!("{path}?fieldManager=quell{dry}"))
        .header("content-type", "application/json-patch+json")
        .body(patch.to_string().into_bytes())
        .map_err(|e| Problem::internal(e.to_string()))?;
    cx.client.request(request).await.map_err(|error| {
        let refused =
            matches!(&error, kube::Error::Api(status) if status.code == 422 && status.message.contains("test"));
        let problem = Problem::from(error);
        if refused {
            Problem::new(
                Fault::Conflict,
                format!("{path} was changed meanwhile: it does not name the old Secret there"),
            )
            .hint("plan again, and look who changed it")
        } else {
            problem
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_template_is_pointed_elsewhere_and_nothing_else() {
        let mut object = json!({"metadata": {"name": "db"}, "spec": {"template": {"spec": {
            "containers": [{"name": "db", "env": [{"name": "db", "valueFrom": {"secretKeyRef": {"name": "db", "key": "db"}}}],
                "envFrom": [{"secretRef": {"name": "db"}}, {"configMapRef": {"name": "db"}}]}],
            "volumes": [{"name": "db", "secret": {"secretName": "db"}},
                {"name": "p", "projected": {"sources": [{"secret": {"name": "db"}}, {"configMap": {"name": "db"}}]}}],
            "imagePullSecrets": [{"name": "x"}, {"name": "db"}]}}}});
        let mut at = Vec::new();
        pointers(&object, "", "db", &mut at);
        assert_eq!(at.len(), 5, "{at:?}");
        let patch: json_patch::Patch = serde_json::from_value(patch(&at, None, "db", "db2")).unwrap();
        json_patch::patch(&mut object, &patch).unwrap();
        let text = object.to_string();
        assert_eq!(text.matches("\"db2\"").count(), 5);
        let mut again = Vec::new();
        pointers(&object, "", "db", &mut again);
        assert!(again.is_empty());
    }
}
