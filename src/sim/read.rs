//! get and list: as objects, as tables, as metadata alone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Result};
use super::api::Request;
use super::resource::Resource;
use super::selector::Selector;
use super::store::{Entry, Key, as_item};
use super::world::World;

/// In which form the caller takes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Whole,
    /// meta.k8s.io/v1 Table.
    Table,
    /// PartialObjectMetadata.
    Metadata,
}

/// By `Accept`: the first that we can give.
///
/// # Errors
/// 406 when there is none.
pub fn form(accept: &str) -> Result<Form> {
    if accept.is_empty() {
        return Ok(Form::Whole);
    }
    for one in accept.split(',') {
        let mut parts = one.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        if !["application/json", "*/*", "application/*"].contains(&kind) {
            continue;
        }
        let parameters: Vec<&str> = parts.collect();
        return Ok(if parameters.contains(&"as=Table") {
            Form::Table
        } else if parameters.iter().any(|p| p.starts_with("as=PartialObjectMetadata")) {
            Form::Metadata
        } else {
            Form::Whole
        });
    }
    Err(Refusal::new(
        406,
        "NotAcceptable",
        "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor",
    ))
}

/// The object without all but its metadata.
pub fn metadata_only(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// An object in the form that is asked for.
pub fn formed(
    world: &World,
    request: &Request,
    resource: &Resource,
    entry: &Entry,
    code: StatusCode,
) -> Result<Answer> {
    Ok(match form(&request.accept)? {
        Form::Whole => Answer::bytes(code, versioned(resource, &entry.text)),
        Form::Metadata => Answer::json(code, &metadata_only(&entry.value())),
        Form::Table => {
            let object = entry.value();
            let meta = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            Answer::json(
                code,
                &super::table::table(
                    &resource.group,
                    &resource.kind,
                    &[&object],
                    meta,
                    include(request)?,
                    world.now().unix_timestamp(),
                ),
            )
        }
    })
}

/// What of its object a Table's row has.
///
/// # Errors
/// 400 for what is none of them.
pub fn include(request: &Request) -> Result<&str> {
    match request.query.get("includeObject") {
        "" => Ok("Metadata"),
        known @ ("None" | "Metadata" | "Object") => Ok(known),
        other => Err(Refusal::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
        ))),
    }
}

/// A custom object is stored once and served in each version.
fn versioned(resource: &Resource, text: &Bytes) -> Bytes {
    if !resource.custom || text.starts_with(format!("{{\"apiVersion\":\"{}\"", resource.api_version()).as_bytes()) {
        return text.clone();
    }
    let mut object: Value = serde_json::from_slice(text).unwrap_or_default();
    object["apiVersion"] = json!(resource.api_version());
    Bytes::from(object.to_string())
}

/// One object.
///
/// # Errors
/// 404, or 400 for a version that can't be.
pub fn get(world: &World, request: &Request, resource: &Resource, key: &Key) -> Result<Answer> {
    let entry = world.store.get(key).ok_or_else(|| Refusal::not_found(resource, &key.name))?;
    let wanted = request.query.get("resourceVersion");
    if wanted.parse::<u64>().is_err() && !wanted.is_empty() {
        return Err(invalid_version(wanted));
    }
    formed(world, request, resource, entry, StatusCode::OK)
}

fn invalid_version(text: &str) -> Box<Refusal> {
    let message =
        format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
    Refusal::bad_request(message)
}

/// Where a list that was cut goes on.
struct Continue {
    version: u64,
    after: (String, String),
}

impl Continue {
    fn parse(text: &str) -> Result<Continue> {
        let read = || {
            let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
            let part = |key: &str| value[key].as_str().map(str::to_string);
            Some(Continue { version: value["rv"].as_u64()?, after: (part("namespace")?, part("name")?) })
        };
        read().ok_or_else(|| Refusal::bad_request("continue key is not valid: illegal base64 data at input byte 0"))
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(
            json!({"v": "meta.k8s.io/v1", "rv": self.version, "namespace": self.after.0, "name": self.after.1})
                .to_string(),
        )
    }
}

/// Many objects, by selector and page.
///
/// # Errors
/// 400 for selectors and pages that can't be, 410 for a page of a list that has expired.
pub fn list(world: &World, request: &Request, resource: &Resource, namespace: &str) -> Result<Answer> {
    let query = &request.query;
    let of = resource.id();
    let selector = Selector::parse(&of, query.get("labelSelector"), query.get("fieldSelector"))?;
    let form = form(&request.accept)?;
    let limit = match query.get("limit") {
        "" => 0,
        text => text
            .parse::<usize>()
            .map_err(|_| Refusal::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))?,
    };
    let wanted = query.get("resourceVersion");
    if !wanted.is_empty() && wanted.parse::<u64>().is_err() {
        return Err(invalid_version(wanted));
    }
    let page = match query.get("continue") {
        "" => None,
        text => Some(Continue::parse(text)?),
    };
    if let Some(page) = &page
        && page.version < world.store.forgotten()
    {
        return Err(Refusal::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        ));
    }
    let version = page.as_ref().map_or(world.store.version(), |p| p.version);
    let mut all = world
        .store
        .list(&of, namespace, page.map(|p| p.after))
        .filter(|(key, entry)| selector.matches(&key.0, &key.1, entry));
    let mut taken: Vec<(&(String, String), &Entry)> = Vec::new();
    let mut meta = json!({"resourceVersion": version.to_string()});
    for (key, entry) in all.by_ref() {
        taken.push((key, entry));
        if limit > 0 && taken.len() == limit {
            break;
        }
    }
    let left = all.count();
    if left > 0
        && let Some((last, _)) = taken.last()
    {
        meta["continue"] = json!(Continue { version, after: (*last).clone() }.text());
        if selector.is_empty() {
            meta["remainingItemCount"] = json!(left);
        }
    }
    Ok(match form {
        Form::Table => {
            let values: Vec<Value> = taken.iter().map(|(_, e)| e.value()).collect();
            let values: Vec<&Value> = values.iter().collect();
            let table = super::table::table(
                &resource.group,
                &resource.kind,
                &values,
                meta,
                include(request)?,
                world.now().unix_timestamp(),
            );
            Answer::json(StatusCode::OK, &table)
        }
        Form::Metadata => {
            let items: Vec<Value> = taken.iter().map(|(_, e)| metadata_only(&e.value())).collect();
            let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta, "items": items});
            Answer::json(StatusCode::OK, &list)
        }
        Form::Whole => {
            let mut text = Vec::with_capacity(taken.iter().map(|(_, e)| e.text.len() + 1).sum::<usize>() + 200);
            let head = format!(
                "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{meta},\"items\":[",
                resource.list_kind(),
                resource.api_version()
            );
            text.extend_from_slice(head.as_bytes());
            for (i, (_, entry)) in taken.iter().enumerate() {
                if i > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(&as_item(resource, &versioned(resource, &entry.text)));
            }
            text.extend_from_slice(b"]}");
            Answer::bytes(StatusCode::OK, Bytes::from(text))
        }
    })
}
