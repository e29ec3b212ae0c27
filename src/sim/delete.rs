//! Deletion: preconditions, grace, finalizers, and what becomes of dependents.

use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use super::answer::{Answer, Refusal, Result};
use super::api::Request;
use super::read::formed;
use super::resource::Resource;
use super::selector::Selector;
use super::store::Key;
use super::world::{World, seconds};
use super::write::success;

/// DeleteOptions. The query counts only where there is no body, as in the real server.
///
/// # Errors
/// 400 for what can't be read.
fn options(request: &Request) -> Result<Value> {
    let body: Value = if request.body.is_empty() {
        Value::Null
    } else if let Some(options) = super::protobuf::decode(&request.body) {
        options
    } else {
        serde_json::from_slice(&request.body)
            .map_err(|e| Refusal::bad_request(format!("couldn't get version/kind; json parse error: {e}")))?
    };
    if body.as_object().is_some_and(|o| !o.is_empty()) {
        return Ok(body);
    }
    let mut all = json!({});
    let query = &request.query;
    if !query.get("dryRun").is_empty() {
        all["dryRun"] = json!([query.get("dryRun")]);
    }
    if !query.get("propagationPolicy").is_empty() {
        all["propagationPolicy"] = json!(query.get("propagationPolicy"));
    }
    if let Ok(grace) = query.get("gracePeriodSeconds").parse::<i64>() {
        all["gracePeriodSeconds"] = json!(grace);
    }
    Ok(all)
}

/// One object.
///
/// # Errors
/// As the server refuses.
pub fn one(world: &mut World, request: &Request, resource: &Resource, key: &Key) -> Result<Answer> {
    let options = options(request)?;
    delete(world, request, resource, key, &options)
}

/// Deletes by options, for eviction too.
///
/// # Errors
/// 404, 409 for preconditions that don't hold, 403 for what may not be deleted.
pub fn delete(world: &mut World, request: &Request, resource: &Resource, key: &Key, options: &Value) -> Result<Answer> {
    let dry = match options["dryRun"].as_array().map(|all| all.as_slice()) {
        None | Some([]) => false,
        Some([all]) if all == "All" => true,
        Some(other) => {
            return Err(Refusal::new(
                422,
                "Invalid",
                format!(
                    "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: {}: supported values: \"All\"",
                    json!(other)
                ),
            ));
        }
    };
    let policy = options["propagationPolicy"].as_str().unwrap_or_default();
    if !["", "Foreground", "Background", "Orphan"].contains(&policy) {
        let message = format!(
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: {policy:?}: supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""
        );
        return Err(Refusal::new(422, "Invalid", message).with(json!({"group": "meta.k8s.io", "kind": "DeleteOptions", "causes": [{"reason": "FieldValueNotSupported", "message": format!("Unsupported value: {policy:?}: supported values: \"Background\", \"Foreground\", \"Orphan\", \"nil\""), "field": "propagationPolicy"}]})));
    }
    let entry = world.store.get(key).cloned().ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    let mut object = entry.value();
    let wanted = &options["preconditions"];
    if let Some(uid) = wanted["uid"].as_str().filter(|uid| *uid != entry.uid) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            entry.uid
        );
        return Err(Refusal::conflict(&by_kind(resource), &key.name, &why));
    }
    if let Some(version) = wanted["resourceVersion"].as_str().filter(|v| *v != entry.version.to_string()) {
        let why = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            entry.version
        );
        return Err(Refusal::conflict(&by_kind(resource), &key.name, &why));
    }
    if resource.kind == "Namespace" && ["default", "kube-system", "kube-public"].contains(&key.name.as_str()) {
        return Err(Refusal::forbidden(resource, &key.name, "this namespace may not be deleted"));
    }
    let now = world.now();
    let meta = &mut object["metadata"];
    let mut finalizers: Vec<Value> = meta["finalizers"].as_array().cloned().unwrap_or_default();
    let already = !meta["deletionTimestamp"].is_null();
    finalizers.retain(|f| !(!policy.is_empty() && (f == "orphan" || f == "foregroundDeletion")));
    match policy {
        "Foreground" => finalizers.push(json!("foregroundDeletion")),
        "Orphan" => finalizers.push(json!("orphan")),
        _ => {}
    }
    let grace = grace(resource, &object, options);
    let namespace = resource.kind == "Namespace";
    if grace == 0 && finalizers.is_empty() && !namespace {
        let last = if dry { Some(object.clone()) } else { world.remove(key) };
        if [
            "Pod",
            "Service",
            "ServiceAccount",
            "PersistentVolumeClaim",
            "PersistentVolume",
            "PodTemplate",
            "ResourceQuota",
            "CSINode",
            "StorageClass",
        ]
        .contains(&resource.kind.as_str())
        {
            let shown = last.unwrap_or(object);
            return shown_object(world, request, resource, &shown);
        }
        return Ok(success(resource, &key.name, &entry.uid));
    }
    let meta = &mut object["metadata"];
    let left = meta["deletionGracePeriodSeconds"].as_i64();
    if !already || left.is_some_and(|left| grace < left) {
        meta["deletionTimestamp"] = json!(seconds(now + Duration::seconds(grace)));
        meta["deletionGracePeriodSeconds"] = json!(grace);
        if namespace {
            object["status"]["phase"] = json!("Terminating");
            if let Some(map) = object["metadata"].as_object_mut() {
                map.remove("deletionGracePeriodSeconds");
            }
        } else if let Some(generation) = object["metadata"]["generation"].as_u64() {
            object["metadata"]["generation"] = json!(generation + 1);
        }
    }
    if !finalizers.is_empty() {
        object["metadata"]["finalizers"] = json!(finalizers);
    }
    if !dry && object != entry.value() {
        world.put(key, &mut object);
    }
    shown_object(world, request, resource, &object)
}

/// The server names the kind here where it names the resource elsewhere.
fn by_kind(resource: &Resource) -> Resource {
    Resource { plural: resource.kind.clone(), ..resource.clone() }
}

fn shown_object(world: &World, request: &Request, resource: &Resource, object: &Value) -> Result<Answer> {
    let entry = super::store::Entry {
        text: bytes::Bytes::from(object.to_string()),
        version: 0,
        uid: String::new(),
        labels: std::collections::BTreeMap::new(),
        fields: Vec::new(),
        owners: Vec::new(),
    };
    formed(world, request, resource, &entry, StatusCode::OK)
}

/// Seconds of grace: only a pod that a node may be running has any.
fn grace(resource: &Resource, object: &Value, options: &Value) -> i64 {
    if resource.kind != "Pod" {
        return 0;
    }
    let scheduled = object["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
    let finished = ["Succeeded", "Failed"].contains(&object["status"]["phase"].as_str().unwrap_or_default());
    if !scheduled || finished {
        return 0;
    }
    let wanted =
        options["gracePeriodSeconds"].as_i64().or_else(|| object["spec"]["terminationGracePeriodSeconds"].as_i64());
    let wanted = wanted.unwrap_or(30);
    if wanted < 0 { 1 } else { wanted }
}

/// Every object that the selectors take.
///
/// # Errors
/// As for one.
pub fn collection(world: &mut World, request: &Request, resource: &Resource, namespace: &str) -> Result<Answer> {
    let query = &request.query;
    let of = resource.id();
    let selector = Selector::parse(&of, query.get("labelSelector"), query.get("fieldSelector"))?;
    let options = options(request)?;
    let keys: Vec<Key> = world
        .store
        .list(&of, namespace, None)
        .filter(|(key, entry)| selector.matches(&key.0, &key.1, entry))
        .map(|((ns, name), _)| Key::new(&of, ns, name))
        .collect();
    let mut items = Vec::new();
    for key in keys {
        if let Some(object) = world.store.value(&key) {
            items.push(object);
        }
        match delete(world, request, resource, &key, &options) {
            Ok(_) => {}
            Err(refusal) if refusal.code == 404 => {}
            Err(refusal) => return Err(refusal),
        }
    }
    Ok(Answer::json(
        StatusCode::OK,
        &json!({"kind": resource.list_kind(), "apiVersion": resource.api_version(), "metadata": {"resourceVersion": world.store.version().to_string()}, "items": items}),
    ))
}
