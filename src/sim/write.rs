//! create, update and patch: decode, default, admit, validate, own the fields, store.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Result};
use super::api::{Outcome, Request};
use super::decode::{decode, drop_unknown, object_of};
use super::identity::User;
use super::resource::Resource;
use super::store::{Entry, Key};
use super::world::World;
use super::{admission, patch as patches, read, schema};

/// What a write was asked to do beside its object.
pub struct Options {
    /// `dryRun=All`.
    pub dry: bool,
    /// Field manager.
    pub manager: String,
    /// `Strict`, `Warn` or `Ignore`.
    pub validation: String,
}

impl Options {
    /// From the query.
    ///
    /// # Errors
    /// 422 or 400 for values that can't be.
    pub fn of(request: &Request) -> Result<Options> {
        let query = &request.query;
        let dry = match query.get("dryRun") {
            "" => false,
            "All" => true,
            other => {
                return Err(Refusal::new(
                    422,
                    "Invalid",
                    format!(" \"\" is invalid: dryRun: Unsupported value: {other:?}: supported values: \"All\""),
                ));
            }
        };
        let validation = match query.get("fieldValidation") {
            "" => "Warn",
            known @ ("Strict" | "Warn" | "Ignore") => known,
            other => {
                return Err(Refusal::new(
                    422,
                    "Invalid",
                    format!(
                        " \"\" is invalid: fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Strict\", \"Warn\""
                    ),
                ));
            }
        };
        let manager = match query.get("fieldManager") {
            "" => request.agent.split('/').next().unwrap_or_default().to_string(),
            given => given.to_string(),
        };
        Ok(Options { dry, manager, validation: validation.into() })
    }
}

/// Kinds whose metadata.generation counts the changes of their spec.
pub(super) fn has_generation(resource: &Resource) -> bool {
    resource.custom
        || matches!(
            resource.kind.as_str(),
            "Deployment"
                | "ReplicaSet"
                | "StatefulSet"
                | "DaemonSet"
                | "Job"
                | "CronJob"
                | "Pod"
                | "PodDisruptionBudget"
                | "NetworkPolicy"
                | "CustomResourceDefinition"
                | "Ingress"
                | "IngressClass"
                | "ReplicationController"
                | "EndpointSlice"
                | "ValidatingWebhookConfiguration"
                | "MutatingWebhookConfiguration"
                | "ValidatingAdmissionPolicy"
        )
}

fn has_status(resource: &Resource) -> bool {
    resource.subresources.iter().any(|s| s.name == "status")
}

/// All but metadata and status.
fn own_part(object: &Value) -> Value {
    let mut part = object.clone();
    if let Some(map) = part.as_object_mut() {
        map.remove("metadata");
        map.remove("status");
    }
    part
}

pub(super) fn causes(found: Vec<schema::Cause>) -> Vec<(String, String, String)> {
    found.into_iter().map(|c| (c.reason.to_string(), c.message, c.field)).collect()
}

/// POST.
///
/// # Errors
/// As the server refuses.
pub fn create(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    namespace: &str,
    user: &User,
) -> Result<Outcome> {
    let options = Options::of(request)?;
    let mut object = object_of(request, resource)?;
    let warnings = decode(world, resource, &mut object, &options)?;
    drop_unknown(resource, &mut object);
    admission::namespace_of(resource, &mut object, namespace)?;
    let meta = &mut object["metadata"];
    if meta["name"].as_str().unwrap_or_default().is_empty() {
        match meta["generateName"].as_str() {
            Some(start) if !start.is_empty() => {
                let start: String = start.chars().take(58).collect();
                meta["name"] = json!(format!("{start}{}", world.random.suffix(5)));
            }
            _ => {
                let causes = [(
                    "FieldValueRequired".to_string(),
                    "Required value: name or generateName is required".to_string(),
                    "metadata.name".to_string(),
                )];
                return Err(Refusal::invalid(resource, "", &causes));
            }
        }
    }
    if meta["resourceVersion"].as_str().is_some_and(|v| !v.is_empty()) {
        return Err(Refusal::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let name = meta["name"].as_str().unwrap_or_default().to_string();
    let key = Key::new(&resource.id(), namespace, &name);
    for gone in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
        "managedFields",
    ] {
        if let Some(map) = meta.as_object_mut() {
            map.remove(gone);
        }
    }
    let uid = world.random.uuid();
    let stamp = world.stamp();
    meta["uid"] = json!(uid);
    meta["creationTimestamp"] = json!(stamp);
    if has_generation(resource) {
        meta["generation"] = json!(1);
    }
    if has_status(resource)
        && !["Node", "PersistentVolume", "Namespace"].contains(&resource.kind.as_str())
        && let Some(map) = object.as_object_mut()
    {
        map.remove("status");
    }
    prune_metadata(&mut object);
    schema::set_defaults(&resource.kind, &mut object);
    admission::on_create(world, resource, &mut object, user)?;
    schema::set_defaults(&resource.kind, &mut object);
    let found = causes(schema::validate(&resource.kind, &object, None));
    if !found.is_empty() {
        return Err(Refusal::invalid(resource, &name, &found));
    }
    admission::validate_create(world, resource, &object, user, &name)?;
    let exists = world.store.get(&key).is_some();
    if exists {
        return Err(Refusal::already_exists(resource, &name));
    }
    let manager = patches::Manager {
        name: &options.manager,
        api_version: &resource.api_version(),
        subresource: None,
        time: &stamp,
    };
    patches::update_managed(&resource.kind, None, &mut object, &manager);
    let mut outcome = stored(world, request, resource, &key, object, &options, StatusCode::CREATED)?;
    warn(&mut outcome, &warnings);
    outcome.name = name;
    Ok(outcome)
}

pub(super) fn warn(outcome: &mut Outcome, warnings: &[String]) {
    if let super::api::Reply::Now(answer) = &mut outcome.reply {
        answer.warnings.extend(warnings.iter().cloned());
    }
}

/// Stores it, or (dry run) only answers what would be stored.
pub(super) fn stored(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    key: &Key,
    mut object: Value,
    options: &Options,
    code: StatusCode,
) -> Result<Outcome> {
    read::form(&request.accept)?;
    let entry = if options.dry {
        if object["metadata"]["resourceVersion"].is_null()
            && let Some(entry) = world.store.get(key)
        {
            object["metadata"]["resourceVersion"] = json!(entry.version.to_string());
        }
        std::sync::Arc::new(transient(&object))
    } else {
        let entry = world.put(key, &mut object);
        if resource.kind == "CustomResourceDefinition" {
            world.refresh_custom();
        }
        entry
    };
    Ok(Outcome::now(read::formed(world, request, resource, &entry, code)?))
}

fn transient(object: &Value) -> Entry {
    Entry {
        text: bytes::Bytes::from(object.to_string()),
        version: 0,
        uid: String::new(),
        labels: std::collections::BTreeMap::new(),
        fields: Vec::new(),
        owners: Vec::new(),
    }
}

/// PUT.
///
/// # Errors
/// As the server refuses.
pub fn update(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    key: &Key,
    below: &str,
    user: &User,
) -> Result<Outcome> {
    let options = Options::of(request)?;
    let mut object = object_of(request, resource)?;
    let warnings = decode(world, resource, &mut object, &options)?;
    drop_unknown(resource, &mut object);
    let meta = &object["metadata"];
    let name = meta["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        return Err(Refusal::bad_request("name must be provided"));
    }
    if name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    admission::namespace_of(resource, &mut object, &key.namespace)?;
    let Some(entry) = world.store.get(key).cloned() else {
        // Leases, among few others, may be made by an update.
        if resource.kind == "Lease" && below.is_empty() {
            return create(world, request, resource, &key.namespace, user);
        }
        return Err(Refusal::not_found(resource, &key.name));
    };
    let before = entry.value();
    schema::set_defaults(&resource.kind, &mut object);
    let mut outcome = change(world, request, resource, key, below, user, before, object, &options, Owner::Update)?;
    warn(&mut outcome, &warnings);
    Ok(outcome)
}

/// How the fields of a change are owned.
pub(super) enum Owner {
    /// By comparing before and after.
    Update,
    /// managedFields are already right.
    Settled,
}

#[expect(clippy::too_many_arguments, reason = "one change, told whole; a struct would only rename them")]
pub(super) fn change(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    key: &Key,
    below: &str,
    user: &User,
    before: Value,
    mut after: Value,
    options: &Options,
    owner: Owner,
) -> Result<Outcome> {
    let (old, new) = (&before["metadata"], after["metadata"].clone());
    if let Some(uid) = new["uid"].as_str().filter(|uid| !uid.is_empty() && Some(*uid) != old["uid"].as_str()) {
        let known = old["uid"].as_str().unwrap_or_default();
        if request.method == "PATCH" {
            let cause = (
                "FieldValueInvalid".to_string(),
                format!("Invalid value: {uid:?}: field is immutable"),
                "metadata.uid".to_string(),
            );
            return Err(Refusal::invalid(resource, &key.name, &[cause.clone(), cause]));
        }
        let place = format!("/registry/{}/{}/{}", resource.plural, key.namespace, key.name).replace("//", "/");
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {known}"
        );
        return Err(Refusal::conflict(resource, &key.name, &why));
    }
    if !old["deletionTimestamp"].is_null() {
        let held = |meta: &Value| -> Vec<Value> { meta["finalizers"].as_array().cloned().unwrap_or_default() };
        let before = held(old);
        let more: Vec<String> = held(&new)
            .iter()
            .filter(|f| !before.contains(f))
            .map(|f| f.as_str().map_or_else(String::new, |f| format!("{f:?}")))
            .collect();
        if !more.is_empty() {
            let message = format!(
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                more.join(", ")
            );
            // Said twice: by the strategy and by the kind's own validation.
            let cause = ("FieldValueForbidden".to_string(), message, "metadata.finalizers".to_string());
            return Err(Refusal::invalid(resource, &key.name, &[cause.clone(), cause]));
        }
    }
    match new["resourceVersion"].as_str().unwrap_or_default() {
        "" if must_name_version(resource, request, &owner) => {
            let causes = [(
                "FieldValueInvalid".to_string(),
                "Invalid value: 0: must be specified for an update".to_string(),
                "metadata.resourceVersion".to_string(),
            )];
            return Err(Refusal::invalid(&by_plural(resource), &key.name, &causes));
        }
        "" => {}
        version if Some(version) != old["resourceVersion"].as_str() => {
            return Err(Refusal::modified(resource, &key.name));
        }
        _ => {}
    }
    // What a client can't set.
    for fixed in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "generateName",
        "namespace",
        "name",
    ] {
        if fixed == "generateName" && !new[fixed].is_null() {
            continue;
        }
        set_or_remove(&mut after["metadata"], fixed, &old[fixed]);
    }
    set_or_remove(&mut after["metadata"], "resourceVersion", &old["resourceVersion"]);
    prune_metadata(&mut after);
    set_or_remove(&mut after, "kind", &json!(resource.kind));
    set_or_remove(&mut after, "apiVersion", &json!(resource.api_version()));
    if below == "status" || below == "approval" {
        let status = after["status"].clone();
        let meta = after["metadata"].clone();
        after = before.clone();
        set_or_remove(&mut after, "status", &status);
        if below == "status" {
            for part in ["labels", "annotations", "managedFields", "finalizers", "ownerReferences"] {
                set_or_remove(&mut after["metadata"], part, &meta[part]);
            }
        }
    } else if has_status(resource) && below.is_empty() {
        set_or_remove(&mut after, "status", &before["status"]);
    }
    if below.is_empty() || below == "ephemeralcontainers" {
        admission::on_update(resource, &mut after, &before, below);
        let found = if below == "ephemeralcontainers" {
            schema::validate_ephemeral(&after, &before)
        } else {
            schema::validate(&resource.kind, &after, Some(&before))
        };
        if !found.is_empty() {
            return Err(Refusal::invalid(resource, &key.name, &causes(found)));
        }
        admission::validate_update(world, resource, &after, &before, user, &key.name)?;
    }
    if has_generation(resource) && below != "status" && own_part(&after) != own_part(&before) {
        let generation = before["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
        after["metadata"]["generation"] = json!(generation);
    }
    let stamp = world.stamp();
    if matches!(owner, Owner::Update) {
        let subresource = (!below.is_empty()).then_some(below);
        let manager = patches::Manager {
            name: &options.manager,
            api_version: &resource.api_version(),
            subresource,
            time: &stamp,
        };
        patches::update_managed(&resource.kind, Some(&before), &mut after, &manager);
    }
    let gone = !after["metadata"]["deletionTimestamp"].is_null()
        && after["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
        && after["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && !old["finalizers"].as_array().is_none_or(Vec::is_empty);
    if gone && !options.dry {
        let entry = world.put(key, &mut after);
        world.remove(key);
        return Ok(Outcome::now(read::formed(world, request, resource, &entry, StatusCode::OK)?));
    }
    // What changes nothing is not written, and keeps its version.
    if same(&before, &after) {
        let entry = transient(&before);
        return Ok(Outcome::now(read::formed(world, request, resource, &entry, StatusCode::OK)?));
    }
    stored(world, request, resource, key, after, options, StatusCode::OK)
}

/// The storage names the resource where validation names the kind.
fn by_plural(resource: &Resource) -> Resource {
    Resource { kind: resource.plural.clone(), ..resource.clone() }
}

/// Some kinds take no PUT without the version that it replaces.
fn must_name_version(resource: &Resource, request: &Request, owner: &Owner) -> bool {
    let kind = ["CustomResourceDefinition", "Lease"].contains(&resource.kind.as_str());
    (kind || resource.custom) && request.method == "PUT" && matches!(owner, Owner::Update)
}

fn same(before: &Value, after: &Value) -> bool {
    let bare = |object: &Value| {
        let mut bare = object.clone();
        for entry in bare["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        bare
    };
    bare(before) == bare(after)
}

/// Empty maps and lists of metadata are not written.
pub(super) fn prune_metadata(object: &mut Value) {
    if let Some(meta) = object["metadata"].as_object_mut() {
        for part in ["labels", "annotations"] {
            if meta.get(part).is_some_and(|v| v.as_object().is_some_and(serde_json::Map::is_empty)) {
                meta.remove(part);
            }
        }
        for part in ["finalizers", "ownerReferences"] {
            if meta.get(part).is_some_and(|v| v.as_array().is_some_and(Vec::is_empty)) {
                meta.remove(part);
            }
        }
    }
}

/// Sets a field, or removes it where the value is null.
pub fn set_or_remove(object: &mut Value, key: &str, value: &Value) {
    if let Some(map) = object.as_object_mut() {
        if value.is_null() {
            map.remove(key);
        } else {
            map.insert(key.into(), value.clone());
        }
    }
}

/// An answer's warnings, as the `Warning` header has them.
pub fn warning_header(text: &str) -> String {
    format!("299 - {}", json!(text))
}

/// The answer to a delete that left nothing behind.
pub fn success(resource: &Resource, name: &str, uid: &str) -> Answer {
    let mut details = super::answer::details(resource, name);
    details["uid"] = json!(uid);
    Answer::json(
        StatusCode::OK,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}),
    )
}
