//! What happens to an object between decoding and storing: namespaces, service accounts, tolerations, Pod Security, RBAC.

use serde_json::{Value, json};

use super::answer::{Refusal, Result};
use super::identity::User;
use super::resource::Resource;
use super::schema;
use super::store::Key;
use super::world::World;

/// The object's namespace is the path's.
///
/// # Errors
/// 400 when it says otherwise.
pub fn namespace_of(resource: &Resource, object: &mut Value, namespace: &str) -> Result<()> {
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    let given = object["metadata"]["namespace"].as_str().unwrap_or_default();
    if !resource.namespaced {
        if !given.is_empty() {
            return Err(Refusal::bad_request("namespace may not be set on cluster-scoped objects"));
        }
        return Ok(());
    }
    if !given.is_empty() && given != namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    object["metadata"]["namespace"] = json!(namespace);
    Ok(())
}

/// Changes that admission makes to a new object, and what it refuses before validation.
///
/// # Errors
/// 403 and 404.
pub fn on_create(world: &mut World, resource: &Resource, object: &mut Value, user: &User) -> Result<()> {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_string();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_string();
    if resource.namespaced {
        let key = Key::new("namespaces", "", &namespace);
        let Some(home) = world.store.get(&key) else {
            let namespaces = world.resource("namespaces").ok_or_else(Refusal::no_such_resource)?;
            return Err(Refusal::not_found(&namespaces, &namespace));
        };
        if home.field("status.phase") == "Terminating" {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut refusal = Refusal::forbidden(resource, &name, &why);
            refusal.details["causes"] = json!([{"reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
            return Err(refusal);
        }
    }
    match resource.kind.as_str() {
        "Pod" => pod(world, resource, object, &namespace, &name),
        "Namespace" => {
            object["spec"] = json!({"finalizers": ["kubernetes"]});
            object["status"] = json!({"phase": "Active"});
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = json!(name);
            Ok(())
        }
        "Service" => {
            service(world, object);
            Ok(())
        }
        "CertificateSigningRequest" => {
            object["spec"]["username"] = json!(user.name);
            object["spec"]["groups"] = json!(user.groups);
            Ok(())
        }
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "PodDisruptionBudget" => {
            object["status"] = match resource.kind.as_str() {
                "ReplicaSet" | "StatefulSet" => json!({"replicas": 0}),
                "DaemonSet" => {
                    json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
                }
                "PodDisruptionBudget" => {
                    json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
                }
                _ => json!({}),
            };
            if resource.kind == "Job" {
                job(object);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn job(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (object["metadata"]["uid"].clone(), object["metadata"]["name"].clone());
    object["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    for (label, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("job-name", &name),
    ] {
        object["spec"]["template"]["metadata"]["labels"][label] = value.clone();
    }
}

fn service(world: &mut World, object: &mut Value) {
    let spec = &mut object["spec"];
    if spec["type"] == "ExternalName" {
        return;
    }
    if spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
        world.addresses.1 += 1;
        spec["clusterIP"] = json!(format!("10.96.{}.{}", world.addresses.1 / 250, world.addresses.1 % 250 + 1));
    }
    spec["clusterIPs"] = json!([spec["clusterIP"]]);
    object["status"] = json!({"loadBalancer": {}});
}

fn pod(world: &mut World, resource: &Resource, object: &mut Value, namespace: &str, name: &str) -> Result<()> {
    let spec = &mut object["spec"];
    let account = match spec["serviceAccountName"].as_str().filter(|a| !a.is_empty()) {
        Some(account) => account.to_string(),
        None => "default".into(),
    };
    spec["serviceAccountName"] = json!(account);
    spec["serviceAccount"] = json!(account);
    let Some(known) = world.store.value(&Key::new("serviceaccounts", namespace, &account)) else {
        let why =
            format!("error looking up service account {namespace}/{account}: serviceaccount {account:?} not found");
        return Err(Refusal::forbidden(resource, name, &why));
    };
    let automount =
        spec["automountServiceAccountToken"].as_bool().or_else(|| known["automountServiceAccountToken"].as_bool());
    let mirror = object["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string();
    let spec = &mut object["spec"];
    if automount.unwrap_or(true) && !mirror {
        token_volume(world, spec);
    }
    let mut tolerations: Vec<Value> = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|t| {
            (t["key"] == key || t["key"].is_null() && t["operator"] == "Exists")
                && (t["effect"] == "NoExecute" || t["effect"].is_null())
        });
        if !tolerated {
            tolerations
                .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    spec["tolerations"] = json!(tolerations);
    if spec["priority"].is_null() {
        let priority = match spec["priorityClassName"].as_str() {
            Some("system-node-critical") => 2_000_001_000_i64,
            Some("system-cluster-critical") => 2_000_000_000,
            Some(class) => {
                let class = world.store.value(&Key::new("priorityclasses.scheduling.k8s.io", "", class));
                class.and_then(|c| c["value"].as_i64()).unwrap_or(0)
            }
            None => 0,
        };
        spec["priority"] = json!(priority);
    }
    if spec["preemptionPolicy"].is_null() {
        spec["preemptionPolicy"] = json!("PreemptLowerPriority");
    }
    let qos = qos(&object["spec"]);
    object["status"] = json!({"phase": "Pending", "qosClass": qos});
    Ok(())
}

fn qos(spec: &Value) -> &'static str {
    let mut any = false;
    let mut all = true;
    for container in spec["containers"].as_array().into_iter().flatten() {
        let resources = &container["resources"];
        any |= !resources["requests"].is_null() || !resources["limits"].is_null();
        for what in ["cpu", "memory"] {
            let limit = &resources["limits"][what];
            all &= !limit.is_null() && (resources["requests"][what].is_null() || resources["requests"][what] == *limit);
        }
    }
    match (any, all) {
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
        (false, _) => "BestEffort",
    }
}

/// The volume with a service account's token, mounted where every container looks for it.
fn token_volume(world: &mut World, spec: &mut Value) {
    const AT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let name = format!("kube-api-access-{}", world.random.suffix(5));
    let mut used = false;
    for kind in ["initContainers", "containers"] {
        for container in spec[kind].as_array_mut().into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|m| m["mountPath"] == AT) {
                continue;
            }
            used = true;
            let mut mounts = mounts;
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": AT}));
            container["volumeMounts"] = json!(mounts);
        }
    }
    if used {
        let mut volumes = spec["volumes"].as_array().cloned().unwrap_or_default();
        volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
        spec["volumes"] = json!(volumes);
    }
}

/// What admission refuses after validation.
///
/// # Errors
/// 403.
pub fn validate_create(world: &World, resource: &Resource, object: &Value, user: &User, name: &str) -> Result<()> {
    world.may_grant(user, resource, object, name)?;
    if resource.kind == "Pod" {
        pod_security(world, resource, object, name)?;
    }
    Ok(())
}

/// Changes that admission makes to an update.
pub fn on_update(resource: &Resource, object: &mut Value, before: &Value, below: &str) {
    match resource.kind.as_str() {
        "Service" => {
            for kept in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if object["spec"][kept].is_null() && !before["spec"][kept].is_null() {
                    object["spec"][kept] = before["spec"][kept].clone();
                }
            }
        }
        "Pod" if below == "ephemeralcontainers" => {
            // Only the list of ephemeral containers is taken.
            let list = object["spec"]["ephemeralContainers"].clone();
            let managed = object["metadata"]["managedFields"].clone();
            let status = before["status"].clone();
            *object = before.clone();
            super::write::set_or_remove(&mut object["spec"], "ephemeralContainers", &list);
            super::write::set_or_remove(&mut object["metadata"], "managedFields", &managed);
            object["status"] = status;
        }
        "Namespace" => {
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = before["metadata"]["name"].clone();
            object["spec"] = before["spec"].clone();
        }
        _ => {}
    }
}

/// What admission refuses of an update.
///
/// # Errors
/// 403.
pub fn validate_update(
    world: &World,
    resource: &Resource,
    object: &Value,
    before: &Value,
    user: &User,
    name: &str,
) -> Result<()> {
    if resource.group == "rbac.authorization.k8s.io"
        && (object["rules"] != before["rules"] || object["subjects"] != before["subjects"])
    {
        world.may_grant(user, resource, object, name)?;
    }
    if resource.kind == "Pod" && object["spec"] != before["spec"] {
        pod_security(world, resource, object, name)?;
    }
    Ok(())
}

fn pod_security(world: &World, resource: &Resource, pod: &Value, name: &str) -> Result<()> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let Some(home) = world.store.get(&Key::new("namespaces", "", namespace)) else { return Ok(()) };
    let Some(level) = home.labels.get("pod-security.kubernetes.io/enforce").filter(|l| *l != "privileged") else {
        return Ok(());
    };
    let version = home.labels.get("pod-security.kubernetes.io/enforce-version").map_or("latest", |v| v);
    let found = schema::pod_security(level, pod);
    if found.is_empty() {
        return Ok(());
    }
    Err(Refusal::forbidden(
        resource,
        name,
        &format!("violates PodSecurity \"{level}:{version}\": {}", found.join(", ")),
    ))
}
