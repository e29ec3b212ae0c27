//! Subresources with a meaning of their own: eviction, binding, scale, token, finalize, exec, attach, log.

use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use super::answer::{Answer, Refusal, Result};
use super::api::{Outcome, Reply, Request};
use super::rbac::Attributes;
use super::resource::Resource;
use super::selector::takes;
use super::store::Key;
use super::stream::Streaming;
use super::world::{World, seconds};
use super::{decode, delete, patch as patches, write};

/// Whether [`serve`] handles it; the others are written like the object itself.
pub fn is_special(below: &str) -> bool {
    ["eviction", "binding", "scale", "token", "finalize", "exec", "attach", "log", "portforward", "proxy"]
        .contains(&below)
}

/// Serves one.
///
/// # Errors
/// As the server refuses.
pub fn serve(
    world: &mut World,
    request: &Request,
    asked: &Attributes,
    resource: &Resource,
    key: &Key,
) -> Result<Outcome> {
    match asked.subresource.as_str() {
        "eviction" => evict(world, request, resource, key).map(Outcome::now),
        "binding" => bind(world, request, resource, key).map(Outcome::now),
        "scale" => scale(world, request, asked, resource, key),
        "token" => {
            let body = decode::body(request)?;
            let (token, id) = world.token_request(resource, key, &body)?;
            let mut outcome = Outcome::object(201, &token);
            outcome.notes.push(("authentication.kubernetes.io/issued-credential-id".into(), id));
            Ok(outcome)
        }
        "finalize" => finalize(world, request, resource, key),
        "exec" | "attach" | "log" => {
            let streaming = Streaming::begin(world, request, asked, resource, key)?;
            Ok(match streaming {
                Ok(answer) => Outcome::now(answer),
                Err(streaming) => {
                    Outcome { reply: Reply::Stream(Box::new(streaming)), notes: Vec::new(), name: String::new() }
                }
            })
        }
        other => Err(Refusal::new(
            501,
            "NotImplemented",
            format!("the embedded cluster has no {other}: it knows no bytes between sockets"),
        )),
    }
}

/// POST pods/NAME/eviction.
fn evict(world: &mut World, request: &Request, resource: &Resource, key: &Key) -> Result<Answer> {
    let body = decode::body(request)?;
    if body["metadata"]["name"].as_str().is_some_and(|n| !n.is_empty() && n != key.name) {
        return Err(Refusal::bad_request("name in URL does not match name in Eviction object"));
    }
    let entry = world.store.get(key).cloned().ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    let pod = entry.value();
    let mut options = body["deleteOptions"].clone();
    if !options.is_object() {
        options = json!({});
    }
    let dry = request.query.get("dryRun") == "All" || options["dryRun"].as_array().is_some_and(|d| !d.is_empty());
    if dry {
        options["dryRun"] = json!(["All"]);
    }
    let phase = entry.field("status.phase");
    let ignored =
        ["Succeeded", "Failed", "Pending"].contains(&phase) || !pod["metadata"]["deletionTimestamp"].is_null();
    if !ignored {
        let budgets: Vec<(Key, Value)> = world
            .store
            .list("poddisruptionbudgets.policy", &key.namespace, None)
            .map(|((ns, name), e)| (Key::new("poddisruptionbudgets.policy", ns, name), e.value()))
            .filter(|(_, budget)| takes(&budget["spec"]["selector"], &entry.labels))
            .collect();
        if budgets.len() > 1 {
            return Err(Refusal::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        if let Some((at, mut budget)) = budgets.into_iter().next() {
            let ready = is_ready(&pod);
            let policy = budget["spec"]["unhealthyPodEvictionPolicy"].as_str().unwrap_or("IfHealthyBudget").to_string();
            let status = &budget["status"];
            let (healthy, desired) =
                (status["currentHealthy"].as_i64().unwrap_or(0), status["desiredHealthy"].as_i64().unwrap_or(0));
            let free = !ready && (policy == "AlwaysAllow" || healthy >= desired && desired > 0);
            let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
            let name = at.name.clone();
            let blocked = |message: String| {
                let cause = json!({"reason": "DisruptionBudget", "message": message});
                Refusal::new(
                    429,
                    "TooManyRequests",
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                )
                .with(json!({"causes": [cause]}))
            };
            let seen = status["observedGeneration"].as_i64().unwrap_or(0);
            if !free && seen < budget["metadata"]["generation"].as_i64().unwrap_or(0) {
                let mut refusal =
                    blocked(format!("The disruption budget {name} is still being processed by the server."));
                refusal.details["retryAfterSeconds"] = json!(10);
                return Err(refusal);
            }
            if !free && allowed <= 0 {
                return Err(blocked(format!(
                    "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
                )));
            }
            if !free && !dry {
                budget["status"]["disruptionsAllowed"] = json!(allowed - 1);
                budget["status"]["disruptedPods"][&key.name] = json!(world.stamp());
                world.put(&at, &mut budget);
            }
        }
    }
    if !dry {
        let mut pod = pod;
        let now = world.stamp();
        let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting", "lastTransitionTime": now, "lastProbeTime": null});
        if let Some(list) = pod["status"]["conditions"].as_array_mut() {
            list.retain(|c| c["type"] != "DisruptionTarget");
            list.push(condition);
            world.put(key, &mut pod);
        }
    }
    delete::delete(world, request, resource, key, &options)?;
    Ok(Answer::json(
        StatusCode::CREATED,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// Whether a pod's Ready condition is true.
pub fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// POST pods/NAME/binding.
fn bind(world: &mut World, request: &Request, resource: &Resource, key: &Key) -> Result<Answer> {
    let body = decode::body(request)?;
    let mut pod = world.store.value(key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        return Err(Refusal::conflict(
            resource,
            &key.name,
            &format!("pod {} is already assigned to node {node:?}", key.name),
        ));
    }
    pod["spec"]["nodeName"] = body["target"]["name"].clone();
    world.put(key, &mut pod);
    Ok(Answer::json(
        StatusCode::CREATED,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}),
    ))
}

/// The Scale of a workload.
fn scale_of(object: &Value) -> Value {
    let meta = &object["metadata"];
    let labels = object["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten();
    let selector: Vec<String> = labels.map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect();
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"], "resourceVersion": meta["resourceVersion"], "creationTimestamp": meta["creationTimestamp"]},
        "spec": if object["spec"]["replicas"].as_i64().unwrap_or(0) == 0 { json!({}) } else { json!({"replicas": object["spec"]["replicas"]}) },
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")}})
}

fn scale(world: &mut World, request: &Request, asked: &Attributes, resource: &Resource, key: &Key) -> Result<Outcome> {
    let object = world.store.value(key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    let current = scale_of(&object);
    if asked.verb == "get" {
        return Ok(Outcome::object(200, &current));
    }
    let options = write::Options::of(request)?;
    let wanted = if asked.verb == "update" {
        decode::body(request)?
    } else {
        let body: Value = serde_json::from_slice(&request.body).map_err(|e| Refusal::bad_request(e.to_string()))?;
        match request.content_type.split(';').next().unwrap_or_default() {
            "application/json-patch+json" => patches::json_patch(&current, &body).map_err(|_| {
                Refusal::new(422, "Invalid", "the server rejected our request due to an error in our request")
            })?,
            _ => patches::merge_patch(&current, &body),
        }
    };
    let version = wanted["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !version.is_empty() && current["metadata"]["resourceVersion"] != version {
        return Err(Refusal::modified(resource, &key.name));
    }
    let replicas = wanted["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let scale = Resource { kind: "Scale".into(), group: "autoscaling".into(), ..resource.clone() };
        let causes = [(
            "FieldValueInvalid".to_string(),
            format!("Invalid value: {replicas}: must be greater than or equal to 0"),
            "spec.replicas".to_string(),
        )];
        return Err(Refusal::invalid(&scale, &key.name, &causes));
    }
    let mut after = object.clone();
    after["spec"]["replicas"] = json!(replicas);
    if after != object {
        let generation = after["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
        after["metadata"]["generation"] = json!(generation);
        let stamp = world.stamp();
        let api_version = resource.api_version();
        let manager = patches::Manager {
            name: &options.manager,
            api_version: &api_version,
            subresource: Some("scale"),
            time: &stamp,
        };
        patches::update_managed(&resource.kind, Some(&object), &mut after, &manager);
        if !options.dry {
            world.put(key, &mut after);
        }
    }
    Ok(Outcome::object(200, &scale_of(&after)))
}

/// PUT namespaces/NAME/finalize.
fn finalize(world: &mut World, request: &Request, resource: &Resource, key: &Key) -> Result<Outcome> {
    let body = decode::body(request)?;
    let mut object = world.store.value(key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    object["spec"] = body["spec"].clone();
    world.put(key, &mut object);
    Ok(Outcome::object(200, &object))
}

impl World {
    /// Ends a pod at once or in its grace period, as the eviction of a node's controller does.
    pub fn end_pod(&mut self, key: &Key, grace: i64) {
        let Some(mut pod) = self.store.value(key).filter(|p| p["metadata"]["deletionTimestamp"].is_null()) else {
            return;
        };
        if grace == 0 || pod["spec"]["nodeName"].is_null() {
            self.remove(key);
            return;
        }
        pod["metadata"]["deletionTimestamp"] = json!(seconds(self.now() + Duration::seconds(grace)));
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.put(key, &mut pod);
    }
}

/// 400 for a container that is not there, worded as for exec and logs.
pub fn no_container(pod: &Value, container: &str) -> Box<Refusal> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    Refusal::bad_request(format!("container {container} is not valid for pod {name}"))
}
