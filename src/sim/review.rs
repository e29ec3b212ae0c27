//! Reviews: may somebody do something, who am I, whose token is this.

use serde_json::{Value, json};

use super::answer::{Refusal, Result};
use super::api::Request;
use super::decode::body;
use super::identity::User;
use super::rbac::Attributes;
use super::resource::Resource;
use super::world::World;

/// Whether the kind is asked rather than kept.
pub fn is_review(resource: &Resource) -> bool {
    resource.kind.ends_with("Review")
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(Into::into)).collect()
}

/// Answers a review.
///
/// # Errors
/// 400 and 422 for reviews that ask nothing.
pub fn create(world: &World, request: &Request, resource: &Resource, user: &User, namespace: &str) -> Result<Value> {
    let mut review = body(request)?;
    review["kind"] = json!(resource.kind);
    review["apiVersion"] = json!(resource.api_version());
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    let spec = review["spec"].clone();
    let invalid = |field: &str, reason: &str, message: &str| {
        // The real server names the group alone here.
        let nameless = Resource { kind: String::new(), ..resource.clone() };
        let mut refusal =
            Refusal::invalid(&nameless, "", &[(reason.to_string(), message.to_string(), field.to_string())]);
        if let Some(details) = refusal.details.as_object_mut() {
            details.remove("kind");
        }
        refusal
    };
    match resource.kind.as_str() {
        "SelfSubjectReview" => {
            review["metadata"]["creationTimestamp"] = json!(world.stamp());
            review["status"] = json!({"userInfo": user.info()});
        }
        "TokenReview" => {
            let token = spec["token"].as_str().unwrap_or_default();
            if token.is_empty() {
                return Err(Refusal::bad_request("token is required for TokenReview in authentication"));
            }
            let wanted = texts(&spec["audiences"]);
            review["status"] = match world.token_user(token, &wanted) {
                Some((user, audiences)) => json!({"authenticated": true, "user": user.info(), "audiences": audiences}),
                None => {
                    json!({"user": {}, "error": "[invalid bearer token, service account token is not valid yet or no longer]"})
                }
            };
        }
        "SelfSubjectRulesReview" => {
            let namespace = spec["namespace"].as_str().unwrap_or_default();
            if namespace.is_empty() {
                return Err(Refusal::bad_request("no namespace on request"));
            }
            let (mut resources, mut paths) = (Vec::new(), Vec::new());
            if user.groups.iter().any(|g| g == "system:masters") {
                resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
                paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
            }
            for (rule, _) in world.rules_of(user, namespace) {
                if rule["nonResourceURLs"].is_array() {
                    paths.push(rule);
                } else {
                    resources.push(rule);
                }
            }
            review["status"] = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        }
        kind => {
            let other = kind != "SelfSubjectAccessReview";
            let who = if other {
                let who = User {
                    name: spec["user"].as_str().unwrap_or_default().into(),
                    uid: spec["uid"].as_str().unwrap_or_default().into(),
                    groups: texts(&spec["groups"]),
                    ..User::default()
                };
                if who.name.is_empty() && who.groups.is_empty() {
                    return Err(invalid(
                        "spec.user",
                        "FieldValueInvalid",
                        "Invalid value: \"\": at least one of user or group must be specified",
                    ));
                }
                who
            } else {
                user.clone()
            };
            let (about, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
            if about.is_null() == path.is_null() {
                let message =
                    "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
                return Err(invalid("spec.resourceAttributes", "FieldValueInvalid", message));
            }
            let text = |key: &str| about[key].as_str().unwrap_or_default().to_string();
            if kind == "LocalSubjectAccessReview" && text("namespace") != namespace {
                let message = format!("Invalid value: {:?}: must match metadata.namespace", text("namespace"));
                return Err(invalid("spec.resourceAttributes.namespace", "FieldValueInvalid", &message));
            }
            let asked = Attributes {
                verb: if path.is_null() { text("verb") } else { path["verb"].as_str().unwrap_or_default().into() },
                group: text("group"),
                version: text("version"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
                path: path["path"].as_str().map(Into::into),
            };
            review["status"] = match world.allowed(&who, &asked) {
                Some(why) => {
                    let mut status = json!({"allowed": true});
                    if !why.is_empty() {
                        status["reason"] = json!(why);
                    }
                    status
                }
                None => json!({"allowed": false}),
            };
        }
    }
    Ok(review)
}
