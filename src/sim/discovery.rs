//! Paths that are no resources: versions, groups and kinds, health, and as much of OpenAPI as kubectl asks for.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Result};
use super::api::Request;
use super::resource::Resource;
use super::world::World;

/// The version that the embedded cluster says it is: that of the cluster it was measured against.
pub const VERSION: &str = "v1.35.4";

/// Serves such a path.
///
/// # Errors
/// 404.
pub fn serve(world: &World, request: &Request) -> Result<Answer> {
    if request.method != "GET" && request.method != "HEAD" {
        return Err(Refusal::no_such_method());
    }
    let path = request.path.trim_end_matches('/');
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let aggregated = request.accept.contains("as=APIGroupDiscoveryList");
    let value = match parts.as_slice() {
        ["version"] => {
            json!({"major": "1", "minor": "35", "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
            "emulationMajor": "1", "emulationMinor": "35", "minCompatibilityMajor": "1", "minCompatibilityMinor": "34"})
        }
        ["healthz" | "livez" | "readyz", ..] => return Ok(Answer::text(StatusCode::OK, "ok")),
        ["api"] if aggregated => return Ok(aggregate(world, request, true)),
        ["apis"] if aggregated => return Ok(aggregate(world, request, false)),
        ["api"] => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]})
        }
        ["api", "v1"] => resources(world, "", "v1").ok_or_else(Refusal::no_such_resource)?,
        ["apis"] => {
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups(world).into_iter().map(|(group, versions)| group_of(&group, &versions)).collect::<Vec<_>>()})
        }
        ["apis", group] => {
            let all = groups(world);
            let Some((group, versions)) = all.iter().find(|(g, _)| g == group) else {
                return Ok(Answer::text(StatusCode::NOT_FOUND, "404 page not found\n"));
            };
            let mut value = group_of(group, versions);
            value["kind"] = json!("APIGroup");
            value["apiVersion"] = json!("v1");
            value
        }
        ["apis", group, version] => resources(world, group, version).ok_or_else(Refusal::no_such_resource)?,
        ["openapi", "v3"] => {
            let all: BTreeSet<String> = world.resources.iter().map(|r| openapi_path(r)).collect();
            let paths: BTreeMap<&String, Value> =
                all.iter().map(|p| (p, json!({"serverRelativeURL": format!("/openapi/v3/{p}?hash=0")}))).collect();
            json!({"paths": paths})
        }
        ["openapi", "v3", rest @ ..] => openapi(world, &rest.join("/")).ok_or_else(Refusal::no_such_resource)?,
        [".well-known", "openid-configuration"] => {
            json!({"issuer": super::identity::ISSUER, "response_types_supported": ["id_token"], "subject_types_supported": ["public"]})
        }
        [""] => {
            let mut paths: Vec<String> = vec![
                "/api".into(),
                "/api/v1".into(),
                "/apis".into(),
                "/healthz".into(),
                "/livez".into(),
                "/openapi/v3".into(),
                "/readyz".into(),
                "/version".into(),
            ];
            paths.extend(groups(world).iter().map(|(g, _)| format!("/apis/{g}")));
            paths.sort();
            json!({"paths": paths})
        }
        _ => return Ok(Answer::text(StatusCode::NOT_FOUND, "404 page not found\n")),
    };
    Ok(Answer::json(StatusCode::OK, &value))
}

/// Groups and their versions, without the core group.
fn groups(world: &World) -> Vec<(String, Vec<String>)> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for resource in world.resources.iter().filter(|r| !r.group.is_empty()) {
        let versions = all.entry(resource.group.clone()).or_default();
        if !versions.contains(&resource.version) {
            versions.push(resource.version.clone());
        }
    }
    all.into_iter().collect()
}

fn group_of(group: &str, versions: &[String]) -> Value {
    let all: Vec<Value> =
        versions.iter().map(|v| json!({"groupVersion": format!("{group}/{v}"), "version": v})).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

fn resources(world: &World, group: &str, version: &str) -> Option<Value> {
    let mut all: Vec<&Resource> =
        world.resources.iter().filter(|r| r.group == group && r.version == version).map(|r| &**r).collect();
    all.sort_by(|a, b| a.plural.cmp(&b.plural));
    let full = all.first()?.api_version();
    let listed: Vec<Value> = all.iter().flat_map(|r| r.listed()).collect();
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": full, "resources": listed}))
}

/// Aggregated discovery: all in one answer.
fn aggregate(world: &World, request: &Request, core: bool) -> Answer {
    let version = if request.accept.contains("v=v2;") || request.accept.ends_with("v=v2") { "v2" } else { "v2beta1" };
    let mut items: BTreeMap<&str, BTreeMap<&str, Vec<Value>>> = BTreeMap::new();
    for r in world.resources.iter().filter(|r| r.group.is_empty() == core) {
        let kind = |kind: &str, api_version: &str| {
            let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
            json!({"group": group, "version": version, "kind": kind})
        };
        let scope = if r.namespaced { "Namespaced" } else { "Cluster" };
        let mut entry = json!({"resource": r.plural, "responseKind": kind(&r.kind, &r.api_version()), "scope": scope, "singularResource": r.singular, "verbs": r.verbs});
        if !r.short.is_empty() {
            entry["shortNames"] = json!(r.short);
        }
        if !r.categories.is_empty() {
            entry["categories"] = json!(r.categories);
        }
        let below: Vec<Value> = r
            .subresources
            .iter()
            .map(|s| {
                let api = if s.api_version.is_empty() { r.api_version() } else { s.api_version.clone() };
                json!({"subresource": s.name, "responseKind": kind(&s.kind, &api), "verbs": s.verbs})
            })
            .collect();
        if !below.is_empty() {
            entry["subresources"] = json!(below);
        }
        items.entry(&r.group).or_default().entry(&r.version).or_default().push(entry);
    }
    let items: Vec<Value> = items
        .into_iter()
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .into_iter()
                .map(|(version, mut resources)| {
                    resources.sort_by_key(|r| r["resource"].as_str().unwrap_or_default().to_string());
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let meta = if group.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": group, "creationTimestamp": null})
            };
            json!({"metadata": meta, "versions": versions})
        })
        .collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items});
    let mut answer = Answer::json(StatusCode::OK, &list);
    answer.content_type = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    answer
}

fn openapi_path(resource: &Resource) -> String {
    if resource.group.is_empty() { "api/v1".into() } else { format!("apis/{}/{}", resource.group, resource.version) }
}

/// What kubectl looks for before it lets the server validate: that PATCH takes `fieldValidation`, by kind.
fn openapi(world: &World, path: &str) -> Option<Value> {
    let mut paths = serde_json::Map::new();
    for resource in world.resources.iter().filter(|r| openapi_path(r) == path) {
        let at = if resource.namespaced {
            format!("/{path}/namespaces/{{namespace}}/{}/{{name}}", resource.plural)
        } else {
            format!("/{path}/{}/{{name}}", resource.plural)
        };
        let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation", "force"]
            .iter()
            .map(|name| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}}))
            .collect();
        let kind = json!({"group": resource.group, "version": resource.version, "kind": resource.kind});
        let operation = json!({"parameters": parameters, "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": kind, "responses": {}});
        paths.insert(at, json!({"patch": operation}));
    }
    (!paths.is_empty()).then(|| json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": VERSION}, "paths": paths, "components": {"schemas": {}}}))
}
