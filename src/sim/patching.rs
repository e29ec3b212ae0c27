//! PATCH: four kinds of it, each ending in the same change as an update.

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Refusal, Result};
use super::api::{Outcome, Request};
use super::decode::{body, decode, drop_unknown, unsupported};
use super::identity::User;
use super::resource::Resource;
use super::store::Key;
use super::world::World;
use super::write::{Options, Owner, causes, change, has_generation, stored, warn};
use super::{admission, patch as patches, schema};

/// PATCH, of any of the four kinds.
///
/// # Errors
/// As the server refuses.
pub fn patch(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    key: &Key,
    below: &str,
    user: &User,
) -> Result<Outcome> {
    let options = Options::of(request)?;
    let kind = request.content_type.split(';').next().unwrap_or_default().trim();
    let known = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    let apply = kind == "application/apply-patch+yaml";
    if !known.contains(&kind) || resource.custom && kind.starts_with("application/strategic") {
        let mut all = vec![known[0], known[1]];
        if !resource.custom {
            all.push(known[2]);
        }
        all.extend([known[3], "application/apply-patch+cbor"]);
        return Err(unsupported(&all));
    }
    let body: Value = if apply {
        body(request)?
    } else {
        serde_json::from_slice(&request.body).map_err(|e| Refusal::bad_request(format!("error decoding patch: {e}")))?
    };
    let entry = world.store.get(key).cloned();
    let before = entry.as_ref().map(|e| e.value());
    let stamp = world.stamp();
    if apply {
        return applied(world, request, resource, key, below, user, before, body, &options, &stamp);
    }
    let Some(before) = before else { return Err(Refusal::not_found(resource, &key.name)) };
    let mut after = match kind {
        "application/json-patch+json" => patches::json_patch(&before, &body),
        "application/merge-patch+json" => Ok(patches::merge_patch(&before, &body)),
        _ => patches::strategic(&resource.kind, &before, &body),
    }
    .map_err(refused)?;
    if !after.is_object() {
        return Err(Refusal::bad_request("the patch leaves no object"));
    }
    let name = after["metadata"]["name"].as_str().unwrap_or_default().to_string();
    if name != key.name {
        return Err(Refusal::bad_request(if name.is_empty() {
            "name must be provided".to_string()
        } else {
            format!("the name of the object ({name}) does not match the name on the URL ({})", key.name)
        }));
    }
    let warnings = decode(world, resource, &mut after, &options)?;
    drop_unknown(resource, &mut after);
    prune_nulls(&mut after);
    schema::set_defaults(&resource.kind, &mut after);
    let mut outcome = change(world, request, resource, key, below, user, before, after, &options, Owner::Update)?;
    warn(&mut outcome, &warnings);
    Ok(outcome)
}

/// A typed server writes no nulls.
fn prune_nulls(object: &mut Value) {
    match object {
        Value::Object(map) => {
            map.retain(|key, value| !value.is_null() || key == "creationTimestamp" || key == "eventTime");
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

#[expect(clippy::too_many_arguments, reason = "one change, told whole; a struct would only rename them")]
fn applied(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    key: &Key,
    below: &str,
    user: &User,
    before: Option<Value>,
    mut body: Value,
    options: &Options,
    stamp: &str,
) -> Result<Outcome> {
    if request.query.get("fieldManager").is_empty() {
        let causes = [(
            "FieldValueRequired".to_string(),
            "Required value: is required for apply patch".to_string(),
            "fieldManager".to_string(),
        )];
        let mut refusal = Refusal::invalid(resource, "", &causes);
        refusal.message =
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
                .into();
        refusal.details["kind"] = json!("PatchOptions");
        refusal.details["group"] = json!("meta.k8s.io");
        return Err(refusal);
    }
    if !body["metadata"]["managedFields"].is_null() && body["metadata"]["managedFields"] != json!([]) {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let warnings = decode(world, resource, &mut body, options)?;
    let name = body["metadata"]["name"].as_str().unwrap_or(&key.name).to_string();
    if name != key.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        )));
    }
    body["metadata"]["name"] = json!(name);
    drop_unknown(resource, &mut body);
    let subresource = (!below.is_empty()).then_some(below);
    let api_version = resource.api_version();
    let manager = patches::Manager { name: &options.manager, api_version: &api_version, subresource, time: stamp };
    let force = request.query.is("force");
    if let (Some(before), Some(uid)) = (&before, body["metadata"]["uid"].as_str())
        && before["metadata"]["uid"] != uid
    {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            before["metadata"]["uid"].as_str().unwrap_or_default()
        );
        return Err(Refusal::conflict(resource, &key.name, &why));
    }
    if before.is_none() && !body["metadata"]["uid"].is_null() {
        let why = format!(
            "uid mismatch: the provided object specified uid {}, and no existing object was found",
            body["metadata"]["uid"].as_str().unwrap_or_default()
        );
        return Err(Refusal::conflict(resource, &key.name, &why));
    }
    let mut after = patches::apply(&resource.kind, before.as_ref(), &body, &manager, force).map_err(refused)?;
    schema::set_defaults(&resource.kind, &mut after);
    let Some(before) = before else {
        return create_applied(world, request, resource, key, user, after, options, &warnings);
    };
    let mut outcome = change(world, request, resource, key, below, user, before, after, options, Owner::Settled)?;
    warn(&mut outcome, &warnings);
    Ok(outcome)
}

fn create_applied(
    world: &mut World,
    request: &Request,
    resource: &Resource,
    key: &Key,
    user: &User,
    mut object: Value,
    options: &Options,
    warnings: &[String],
) -> Result<Outcome> {
    let asked = super::rbac::Attributes {
        verb: "create".into(),
        group: resource.group.clone(),
        resource: resource.plural.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        ..super::rbac::Attributes::default()
    };
    world.authorize(user, &asked)?;
    admission::namespace_of(resource, &mut object, &key.namespace)?;
    let (uid, stamp) = (world.random.uuid(), world.stamp());
    object["metadata"]["uid"] = json!(uid);
    object["metadata"]["creationTimestamp"] = json!(stamp);
    if has_generation(resource) {
        object["metadata"]["generation"] = json!(1);
    }
    admission::on_create(world, resource, &mut object, user)?;
    let found = causes(schema::validate(&resource.kind, &object, None));
    if !found.is_empty() {
        return Err(Refusal::invalid(resource, &key.name, &found));
    }
    admission::validate_create(world, resource, &object, user, &key.name)?;
    let mut outcome = stored(world, request, resource, key, object, options, StatusCode::CREATED)?;
    warn(&mut outcome, warnings);
    Ok(outcome)
}

fn refused(refusal: patches::Refusal) -> Box<Refusal> {
    match refusal {
        // What strategic merge cannot find its way in is an internal error to the real server.
        patches::Refusal::BadRequest(message) if message.contains("declared merge key") => Refusal::internal(message),
        patches::Refusal::BadRequest(message) => Refusal::bad_request(message),
        patches::Refusal::Invalid(message) => Refusal::new(422, "Invalid", message),
        patches::Refusal::Conflict { message, causes } => {
            let causes: Vec<Value> = causes
                .iter()
                .map(|(field, message)| json!({"reason": "FieldManagerConflict", "message": message, "field": field}))
                .collect();
            Refusal::new(409, "Conflict", message).with(json!({"causes": causes}))
        }
    }
}
