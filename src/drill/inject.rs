//! Injects: what the attacker and the world do, on the embedded cluster directly, on a real one by its API.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{AttachParams, DeleteParams, Preconditions};
use serde_json::Value;

use super::outcome::Who;
use super::scenario::{Inject, Scenario};
use super::stage::{Scene, documents, is_ready};
use crate::cluster::Problem;
use crate::runbook::parse_duration;
use crate::sim::api::Request as SimRequest;
use crate::sim::container::Container;
use crate::sim::identity::User;
use crate::sim::route::Query;

/// Who does an inject.
pub fn who(inject: &Inject) -> Who {
    if inject.alert.is_some() || inject.call.is_some() {
        Who::Inject
    } else if inject.file.is_some() || inject.process.is_some() || inject.request.is_some() || inject.apply.is_some() {
        Who::Attacker
    } else {
        Who::Cluster
    }
}

/// Does it. `target` is the suspect's name. What was different from the scenario comes back, in words.
///
/// # Errors
/// When the cluster refuses: the drill's own fault, not the responder's.
pub async fn perform(scene: &Scene, inject: &Inject, target: &str) -> Result<Vec<String>, Problem> {
    let mut remarks = Vec::new();
    let about = |p: Problem| p.about(&format!("the inject {:?}", inject.text));
    if let Some(text) = &inject.apply {
        for object in documents(&scene.placed(text))? {
            scene.apply(&object).await.map_err(about)?;
        }
    }
    if let Some(text) = &inject.keep {
        for object in documents(&scene.placed(text))? {
            super::rights::keep(scene, object).await.map_err(about)?;
        }
    }
    if let Some(file) = &inject.file {
        let pod = chosen(scene, &file.pod, target).await?;
        match container(scene, &pod, &file.container)? {
            Some(container) => container.add_file(&file.path, file.text.as_bytes(), file.mode.unwrap_or(0o644)),
            None => {
                let script = "mkdir -p \"${1%/*}\"; printf %s \"$2\" >\"$1\"; chmod \"$3\" \"$1\"";
                let mode = format!("{:o}", file.mode.unwrap_or(0o644));
                run(scene, &pod, &file.container, &["sh", "-c", script, "sh", &file.path, &file.text, &mode])
                    .await
                    .map_err(about)?;
            }
        }
    }
    if let Some(process) = &inject.process {
        let pod = chosen(scene, &process.pod, target).await?;
        match container(scene, &pod, &process.container)? {
            Some(container) => container.start_process(&process.cmdline, process.remote.as_deref(), process.deleted),
            None => {
                // A script under the name that the scenario says: it really runs, and harms nobody.
                let script = "mkdir -p \"${1%/*}\"; printf '#!/bin/sh\\nsleep 3600\\n' >\"$1\" && chmod 755 \"$1\" && gone=$2 && \
                    { file=$1; shift 2; \"$file\" \"$@\" >/dev/null 2>&1 </dev/null & } && { [ \"$gone\" != true ] || { sleep 1; rm -f \"$file\"; }; }";
                let path = process.cmdline.first().cloned().unwrap_or_default();
                let gone = process.deleted.to_string();
                let mut argv = vec!["sh", "-c", script, "sh", &path, &gone];
                argv.extend(process.cmdline.iter().skip(1).map(String::as_str));
                run(scene, &pod, &process.container, &argv).await.map_err(about)?;
                remarks.push(format!("{path} is a harmless script of that name here"));
                if process.remote.is_some() {
                    remarks.push("its connection is not made on a real cluster".into());
                }
            }
        }
    }
    if let Some(request) = &inject.request {
        api_request(scene, request, &mut remarks).await.map_err(about)?;
    }
    if let Some(selector) = &inject.kill_pod {
        let name = chosen(scene, selector, target).await?;
        let api: Api<Pod> = Api::namespaced(scene.admin.clone(), &scene.namespace);
        let uid = api.get(&name).await.map_err(|e| about(e.into()))?.metadata.uid;
        let grace = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        api.delete(&name, &grace).await.map_err(|e| about(e.into()))?;
    }
    only_embedded(scene, inject, &mut remarks)?;
    Ok(remarks)
}

/// What only the embedded cluster can do.
fn only_embedded(scene: &Scene, inject: &Inject, remarks: &mut Vec<String>) -> Result<(), Problem> {
    let Some(sim) = &scene.sim else {
        if !inject.node.is_empty() || inject.audit_gap.is_some() || !inject.faults.is_empty() {
            remarks.push("left out on a real cluster: it would harm others".into());
        }
        return Ok(());
    };
    sim.with(|world| {
        for (name, is) in &inject.node {
            if !crate::sim::life::set_ready(world, name, is) {
                return Err(Problem::usage(format!("the inject {:?}: there is no node {name}", inject.text)));
            }
        }
        if let Some(gap) = &inject.audit_gap {
            let long = parse_duration(gap).map_err(Problem::usage)?;
            let until = world.now() + world.scaled(long.try_into().unwrap_or_default());
            world.audit.silence(until);
        }
        world.faults.extend(inject.faults.iter().cloned());
        Ok(())
    })
}

/// The pod that a selector means: `target`, or the first ready one.
///
/// # Errors
/// When there is none.
pub async fn chosen(scene: &Scene, selector: &str, target: &str) -> Result<String, Problem> {
    if selector == "target" {
        return Ok(target.into());
    }
    let pods = scene.pods(selector).await?;
    pods.iter()
        .find(|p| is_ready(p))
        .and_then(|p| p.metadata.name.clone())
        .ok_or_else(|| Problem::failed(format!("no ready pod {selector} in {}", scene.namespace)))
}

/// The simulated container; None on a real cluster.
fn container(scene: &Scene, pod: &str, name: &str) -> Result<Option<std::sync::Arc<Container>>, Problem> {
    let Some(sim) = &scene.sim else { return Ok(None) };
    sim.with(|world| {
        let key = crate::sim::store::Key::new("pods", &scene.namespace, pod);
        let entry = world.store.get(&key).ok_or_else(|| Problem::failed(format!("no pod {pod} to act in")))?;
        let first = entry.value()["spec"]["containers"][0]["name"].as_str().unwrap_or_default().to_string();
        let name = if name.is_empty() { first } else { name.to_string() };
        let running = world.containers.get(&(entry.uid.clone(), name.clone()));
        running
            .map(|r| Some(r.container.get()))
            .ok_or_else(|| Problem::failed(format!("no container {name} runs in pod {pod}")))
    })
}

async fn run(scene: &Scene, pod: &str, container: &str, argv: &[&str]) -> Result<(), Problem> {
    let api: Api<Pod> = Api::namespaced(scene.admin.clone(), &scene.namespace);
    let mut options = AttachParams::default().stdin(false).stdout(true).stderr(true);
    if !container.is_empty() {
        options = options.container(container);
    }
    let work = async {
        let mut attached = api.exec(pod, argv.to_vec(), &options).await.map_err(Problem::from)?;
        let status = attached.take_status();
        let mut sink = tokio::io::sink();
        if let Some(mut out) = attached.stdout() {
            let _ = tokio::io::copy(&mut out, &mut sink).await;
        }
        match status {
            Some(status) => Ok::<_, Problem>(status.await),
            None => Ok(None),
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), work).await;
    let status = ended.map_err(|_| Problem::failed(format!("the exec in {pod} did not end within 30 s")))??;
    match status.filter(|s| s.status.as_deref() == Some("Failure")) {
        Some(status) => Err(Problem::failed(format!("in {pod}: {}", status.message.unwrap_or_default()))),
        None => Ok(()),
    }
}

async fn api_request(
    scene: &Scene,
    request: &super::scenario::ApiRequest,
    remarks: &mut Vec<String>,
) -> Result<(), Problem> {
    let (name, groups) = super::rights::user(&scene.namespace, &request.as_user);
    let groups = if name.starts_with("system:node:") { vec!["system:nodes".into()] } else { groups };
    let path = scene.placed(&request.path);
    let body = if request.body.is_null() { Vec::new() } else { scene.placed(&request.body.to_string()).into_bytes() };
    if let Some(sim) = &scene.sim {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let acts = Some(&request.acting_as).filter(|a| !a.is_empty());
        let impersonate = acts.map(|a| ("impersonate-user".to_string(), super::rights::user(&scene.namespace, a).0));
        let impersonate = impersonate.into_iter().collect();
        let (path, query) = path.split_once('?').unwrap_or((path.as_str(), ""));
        let asked = SimRequest {
            method: request.method.clone(),
            path: path.into(),
            query_text: query.into(),
            query: Query::parse(query),
            content_type: "application/json".into(),
            agent: if request.agent.is_empty() { "curl/8.5.0".into() } else { request.agent.clone() },
            body: body.into(),
            user: Some(User::new(&name, &groups)),
            impersonate,
            source: if request.from.is_empty() { "10.244.0.1".into() } else { request.from.clone() },
            ..SimRequest::default()
        };
        // Whether it is allowed is the scenario's affair: an attacker is refused now and then.
        let _ = sim.with(|world| world.handle(asked));
        return Ok(());
    }
    if !request.from.is_empty() {
        remarks.push(format!("the request comes from where the drill runs, not from {}", request.from));
    }
    let mut sent =
        Request::builder().method(request.method.as_str()).uri(path).header("content-type", "application/json");
    // Nobody is given a node's credential: the stage hands act as it.
    let client = if name.starts_with("system:node:") {
        remarks.push(format!("the stage hands act as {name} here"));
        sent = sent.header("impersonate-user", &name);
        for group in groups.iter().map(String::as_str).chain(["system:authenticated"]) {
            sent = sent.header("impersonate-group", group);
        }
        scene.admin.clone()
    } else {
        super::credentials::of(scene, &name).await?
    };
    if !request.acting_as.is_empty() {
        sent = sent.header("impersonate-user", super::rights::user(&scene.namespace, &request.acting_as).0);
    }
    if !request.agent.is_empty() {
        sent = sent.header("user-agent", &request.agent);
    }
    let sent = sent.body(body).map_err(|e| Problem::usage(format!("the inject's request: {e}")))?;
    let _ = client.request::<Value>(sent).await;
    Ok(())
}

/// The inputs for this scene, of those that the runbook has: the namespace, the suspect by its name, the rest as given.
///
/// # Errors
/// When the suspect is not there.
pub async fn inputs(scene: &Scene, scenario: &Scenario, known: &[String]) -> Result<BTreeMap<String, String>, Problem> {
    let mut inputs = BTreeMap::new();
    for (name, value) in &scenario.inputs {
        // The scenario's collector is the embedded cluster's; a real one needs one that its nodes can pull.
        if name == "collector-image" && scene.sim.is_none() {
            continue;
        }
        let value = scene.placed(value);
        let value = match name.as_str() {
            "pod" if value.contains('=') => chosen(scene, &value, "").await?,
            "node" if value.contains('=') => {
                let pod = chosen(scene, &value, "").await?;
                let pods = scene.pods(&value).await?;
                let on = pods.into_iter().find(|p| p.metadata.name.as_deref() == Some(&pod)).and_then(|p| p.spec);
                on.and_then(|spec| spec.node_name).unwrap_or_default()
            }
            _ => value,
        };
        inputs.insert(name.clone(), value);
    }
    let takes = |name: &str| known.iter().any(|k| k == name);
    if takes("namespace") {
        inputs.insert("namespace".into(), scene.namespace.clone());
    }
    if let Some(log) = &scene.audit_log
        && takes("audit-log")
        && !inputs.contains_key("audit-log")
    {
        inputs.insert("audit-log".into(), log.display().to_string());
    }
    Ok(inputs)
}
