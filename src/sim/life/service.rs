//! EndpointSlices and Endpoints of Services, and the token in a service account's Secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::owned_by;
use crate::sim::selector::map_takes;
use crate::sim::special::is_ready;
use crate::sim::store::Key;
use crate::sim::world::World;

/// One slice with every pod that the Service selects, and the older Endpoints object.
pub fn slices(world: &mut World, key: &Key) {
    let Some(service) = world.store.value(key) else {
        world.remove(&Key::new("endpoints", &key.namespace, &key.name));
        return;
    };
    let selector = &service["spec"]["selector"];
    if selector.as_object().is_none_or(|s| s.is_empty()) {
        return;
    }
    let pods: Vec<Value> = world
        .store
        .list("pods", &key.namespace, None)
        .filter(|(_, e)| map_takes(selector, &e.labels) && !e.field("status.podIP").is_empty())
        .map(|(_, e)| e.value())
        .filter(|p| !["Succeeded", "Failed"].contains(&p["status"]["phase"].as_str().unwrap_or_default()))
        .collect();
    let ports = |pod: Option<&Value>| -> Vec<Value> {
        service["spec"]["ports"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|p| {
                let number = match &p["targetPort"] {
                    Value::String(name) => pod
                        .and_then(|pod| pod["spec"]["containers"].as_array())
                        .into_iter()
                        .flatten()
                        .flat_map(|c| c["ports"].as_array().into_iter().flatten())
                        .find(|p| p["name"] == name.as_str())
                        .map_or(Value::Null, |p| p["containerPort"].clone()),
                    Value::Null => p["port"].clone(),
                    number => number.clone(),
                };
                json!({"name": p["name"].as_str().unwrap_or_default(), "port": number, "protocol": p["protocol"]})
            })
            .collect()
    };
    let mut endpoints = Vec::new();
    for pod in &pods {
        let (ready, leaving) = (is_ready(pod), !pod["metadata"]["deletionTimestamp"].is_null());
        endpoints.push(json!({"addresses": [pod["status"]["podIP"]], "nodeName": pod["spec"]["nodeName"],
            "conditions": {"ready": ready && !leaving, "serving": ready, "terminating": leaving},
            "targetRef": {"kind": "Pod", "namespace": key.namespace, "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}}));
    }
    let uid = service["metadata"]["uid"].as_str().unwrap_or_default().to_string();
    let known = world.store.owned(&uid).into_iter().find(|k| &*k.of == "endpointslices.discovery.k8s.io");
    let slice_ports = ports(pods.first());
    match known.and_then(|k| world.store.value(&k).map(|v| (k, v))) {
        Some((at, mut slice)) => {
            slice["endpoints"] = json!(endpoints);
            slice["ports"] = json!(slice_ports);
            world.improve(&at, slice);
        }
        None => {
            let name = format!("{}-{}", key.name, world.random.suffix(5));
            let mut meta = world.metadata(&key.namespace, &name);
            meta["generateName"] = json!(format!("{}-", key.name));
            meta["generation"] = json!(1);
            meta["labels"] = json!({"kubernetes.io/service-name": key.name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
            meta["ownerReferences"] = json!([owned_by(&service)]);
            let mut slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "endpoints": endpoints, "ports": slice_ports});
            world.put(&Key::new("endpointslices.discovery.k8s.io", &key.namespace, &name), &mut slice);
        }
    }
    let at = Key::new("endpoints", &key.namespace, &key.name);
    let addresses = |ready: bool| -> Vec<Value> {
        endpoints
            .iter()
            .filter(|e| (e["conditions"]["ready"] == true) == ready && e["conditions"]["terminating"] == false)
            .map(|e| json!({"ip": e["addresses"][0], "nodeName": e["nodeName"], "targetRef": e["targetRef"]}))
            .collect()
    };
    let mut subset = json!({"ports": slice_ports});
    for (part, ready) in [("addresses", true), ("notReadyAddresses", false)] {
        let all = addresses(ready);
        if !all.is_empty() {
            subset[part] = json!(all);
        }
    }
    let subsets = if endpoints.is_empty() { Value::Null } else { json!([subset]) };
    match world.store.value(&at) {
        Some(mut object) => {
            crate::sim::write::set_or_remove(&mut object, "subsets", &subsets);
            world.improve(&at, object);
        }
        None => {
            let meta = world.metadata(&key.namespace, &key.name);
            let mut object = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": meta});
            crate::sim::write::set_or_remove(&mut object, "subsets", &subsets);
            world.put(&at, &mut object);
        }
    }
}

/// Fills a Secret of type kubernetes.io/service-account-token, or removes it when its account is gone.
pub fn account_token(world: &mut World, key: &Key) {
    let Some(mut secret) = world.store.value(key) else { return };
    if secret["type"] != "kubernetes.io/service-account-token" {
        return;
    }
    let account = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
        .as_str()
        .unwrap_or_default()
        .to_string();
    let Some(known) = world.store.get(&Key::new("serviceaccounts", &key.namespace, &account)).cloned() else {
        world.remove(key);
        return;
    };
    let expected = secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"].as_str();
    if expected.is_some_and(|uid| uid != known.uid) {
        world.remove(key);
        return;
    }
    if secret["data"]["token"].is_string() {
        return;
    }
    let token = world.legacy_token(&key.namespace, &account, &known.uid, &key.name);
    let ca = world.store.value(&Key::new("configmaps", "kube-system", "kube-root-ca.crt"));
    let ca = ca.and_then(|c| c["data"]["ca.crt"].as_str().map(str::to_string)).unwrap_or_default();
    secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"] = json!(known.uid);
    secret["data"]["token"] = json!(STANDARD.encode(token));
    secret["data"]["ca.crt"] = json!(STANDARD.encode(ca));
    secret["data"]["namespace"] = json!(STANDARD.encode(&key.namespace));
    world.put(key, &mut secret);
}
