//! A write's body: read, decoded, without what its kind does not know.

use serde_json::{Value, json};

use super::answer::{Refusal, Result};
use super::api::Request;
use super::resource::Resource;
use super::schema;
use super::world::World;
use super::write::Options;

/// The body as JSON.
///
/// # Errors
/// 415 for types that are not spoken here, 400 for what can't be read.
pub fn body(request: &Request) -> Result<Value> {
    let kind = request.content_type.split(';').next().unwrap_or_default().trim();
    match kind {
        "" | "application/json" | "*/*" => serde_json::from_slice(&request.body).map_err(|error| {
            let text = String::from_utf8_lossy(&request.body);
            Refusal::bad_request(not_json(&text, &error))
        }),
        "application/yaml" | "application/apply-patch+yaml" => {
            let text = String::from_utf8_lossy(&request.body);
            serde_saphyr::from_str(&text).map_err(|e| Refusal::bad_request(format!("error decoding YAML: {e}")))
        }
        "application/vnd.kubernetes.protobuf" => super::protobuf::decode(&request.body).ok_or_else(|| {
            Refusal::bad_request("the embedded cluster does not read this kind in protobuf: send it as JSON (kubectl apply, or create -f)")
        }),
        _ => Err(unsupported(&["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"])),
    }
}

fn not_json(text: &str, error: &serde_json::Error) -> String {
    if text.trim().is_empty() {
        return "unexpected end of JSON input".into();
    }
    let first = text.trim_start().chars().next().unwrap_or(' ');
    if error.is_eof() {
        return "couldn't get version/kind; json parse error: unexpected end of JSON input".into();
    }
    if first == '{' || first == '[' {
        return format!("couldn't get version/kind; json parse error: {error}");
    }
    let hex: String = text.bytes().take(20).map(|b| format!("{b:02x}")).collect();
    format!(
        "couldn't get version/kind; json parse error: invalid character '{first}' looking for beginning of value ({hex})"
    )
}

pub(super) fn unsupported(types: &[&str]) -> Box<Refusal> {
    Refusal::new(
        415,
        "UnsupportedMediaType",
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            types.join(", ")
        ),
    )
    .with(json!({}))
}

/// The object of a write; what can't be read at all names the kind that was expected.
pub(super) fn object_of(request: &Request, resource: &Resource) -> Result<Value> {
    body(request).map_err(|mut refusal| {
        if refusal.message.starts_with("couldn't get version/kind; json parse error: invalid character") {
            refusal.message =
                format!("the object provided is unrecognized (must be of type {}): {}", resource.kind, refusal.message);
        }
        refusal
    })
}

/// Decoding: kind, types, unknown fields. Warnings come back.
pub(super) fn decode(world: &World, resource: &Resource, object: &mut Value, options: &Options) -> Result<Vec<String>> {
    let (api, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default());
    if !object.is_object() {
        return Err(Refusal::bad_request(
            "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }",
        ));
    }
    let expected = resource.api_version();
    if kind.is_empty() || api.is_empty() {
        if resource.custom {
            let what = if kind.is_empty() { "Kind" } else { "apiVersion" };
            return Err(Refusal::bad_request(format!("Object '{what}' is missing in '{object}'")));
        }
        object["apiVersion"] = json!(expected);
        object["kind"] = json!(resource.kind);
    } else if kind != resource.kind || api.split('/').next() != expected.split('/').next() && api != expected {
        return Err(Refusal::bad_request(if kind == resource.kind {
            format!("the API version in the data ({api}) does not match the expected API version ({expected})")
        } else {
            let version = api.rsplit('/').next().unwrap_or_default();
            if world.of_kind(api, kind).is_some() {
                return Err(Refusal::bad_request(format!(
                    "{kind} in version {version:?} cannot be handled as a {}: converting ({version}.{kind}) to (core.{}): unknown conversion",
                    resource.kind, resource.kind
                )));
            }
            format!(
                "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is registered for version {api:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
                api.rsplit('/').next().unwrap_or_default(),
                resource.kind
            )
        }));
    } else if api != expected {
        return Err(Refusal::bad_request(format!(
            "the API version in the data ({api}) does not match the expected API version ({expected})"
        )));
    }
    let version = resource.version.as_str();
    let kind = resource.kind.as_str();
    if let Some(why) = schema::type_error(&expected, kind, object) {
        return Err(Refusal::bad_request(why));
    }
    if options.validation == "Ignore" || resource.custom {
        return Ok(Vec::new());
    }
    let unknown = schema::unknown_fields(&expected, kind, object);
    if !unknown.is_empty() && options.validation == "Strict" {
        return Err(Refusal::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            unknown.join(", ")
        )));
    }
    Ok(unknown)
}

/// Fields that no built-in kind has are dropped, as a typed server drops them.
pub(super) fn drop_unknown(resource: &Resource, object: &mut Value) {
    if resource.custom {
        return;
    }
    for field in schema::unknown_fields(&resource.api_version(), &resource.kind, object) {
        let Some(path) = field.split('"').nth(1) else { continue };
        remove_path(object, path);
    }
}

fn remove_path(object: &mut Value, path: &str) {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('.') {
        let mut pieces = part.split('[');
        parts.push(pieces.next().unwrap_or_default().into());
        parts.extend(pieces.map(|p| p.trim_end_matches(']').to_string()));
    }
    let Some(last) = parts.pop() else { return };
    let mut at = object;
    for part in parts {
        let next = match at {
            Value::Array(list) => part.parse::<usize>().ok().and_then(|i| list.get_mut(i)),
            other => other.get_mut(&part),
        };
        let Some(next) = next else { return };
        at = next;
    }
    if let Some(map) = at.as_object_mut() {
        map.remove(&last);
    }
}
