//! What is left when an owner or a namespace is gone.

use serde_json::{Value, json};

use crate::sim::store::Key;
use crate::sim::world::World;

/// Whether the object is gone, or was collected just now. Finalizers of the garbage collector are worked off here too.
pub fn collected(world: &mut World, key: &Key) -> bool {
    let Some(entry) = world.store.get(key).cloned() else { return true };
    if !entry.owners.is_empty() {
        let alive = entry.owners.iter().any(|uid| world.store.by_uid(uid).is_some());
        if !alive {
            // The owner may be one that the cluster has never known: a pod given by a scenario with made-up owners is
            // collected just the same.
            let object = entry.value();
            if object["metadata"]["deletionTimestamp"].is_null() {
                if &*key.of == "pods" {
                    let grace = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
                    world.end_pod(key, grace);
                } else if object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
                    world.remove(key);
                    return true;
                }
            }
            return world.store.get(key).is_none();
        }
    }
    if !entry.text.windows(17).any(|w| w == b"deletionTimestamp") {
        return false;
    }
    let mut object = entry.value();
    let finalizers: Vec<Value> = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let dependents = world.store.owned(&entry.uid);
    let left: Vec<Value> = if finalizers.iter().any(|f| f == "orphan") {
        for dependent in dependents {
            release(world, &dependent, &entry.uid);
        }
        finalizers.iter().filter(|f| *f != "orphan").cloned().collect()
    } else if finalizers.iter().any(|f| f == "foregroundDeletion") {
        let mut blocking = false;
        for dependent in dependents {
            let Some(object) = world.store.value(&dependent) else { continue };
            let owner = object["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|o| o["uid"] == entry.uid.as_str())
                .cloned();
            blocking |= owner.is_some_and(|o| o["blockOwnerDeletion"] == true);
            if object["metadata"]["deletionTimestamp"].is_null() {
                if &*dependent.of == "pods" {
                    let grace = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
                    world.end_pod(&dependent, grace);
                } else if world.store.owned(object["metadata"]["uid"].as_str().unwrap_or_default()).is_empty() {
                    world.remove(&dependent);
                } else {
                    let mut object = object;
                    object["metadata"]["deletionTimestamp"] = json!(world.stamp());
                    object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                    object["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
                    world.put(&dependent, &mut object);
                }
            }
        }
        if blocking && !world.store.owned(&entry.uid).is_empty() {
            return false;
        }
        finalizers.iter().filter(|f| *f != "foregroundDeletion").cloned().collect()
    } else {
        return false;
    };
    if left.is_empty() {
        world.remove(key);
        return true;
    }
    object["metadata"]["finalizers"] = json!(left);
    world.put(key, &mut object);
    false
}

fn release(world: &mut World, key: &Key, owner: &str) {
    let Some(mut object) = world.store.value(key) else { return };
    let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() else { return };
    owners.retain(|o| o["uid"] != owner);
    if owners.is_empty()
        && let Some(meta) = object["metadata"].as_object_mut()
    {
        meta.remove("ownerReferences");
    }
    world.put(key, &mut object);
}

/// A new namespace gets its service account and the cluster's CA; one that is deleted is emptied.
pub fn namespace(world: &mut World, key: &Key) {
    let Some(object) = world.store.value(key) else { return };
    let name = key.name.as_str();
    if object["metadata"]["deletionTimestamp"].is_null() {
        let account = Key::new("serviceaccounts", name, "default");
        if world.store.get(&account).is_none() {
            let meta = world.metadata(name, "default");
            let mut account_object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta});
            world.put(&account, &mut account_object);
        }
        let config = Key::new("configmaps", name, "kube-root-ca.crt");
        if world.store.get(&config).is_none()
            && let Some(mut copy) = world.store.value(&Key::new("configmaps", "kube-system", "kube-root-ca.crt"))
        {
            copy["metadata"] = world.metadata(name, "kube-root-ca.crt");
            world.put(&config, &mut copy);
        }
        return;
    }
    let mut left = false;
    for inside in world.store.in_namespace(name) {
        let Some(object) = world.store.value(&inside) else { continue };
        let grace = &*inside.of == "pods" && !object["spec"]["nodeName"].is_null();
        if grace {
            left = true;
            world.end_pod(&inside, object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30));
        } else if object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            world.remove(&inside);
        } else {
            left = true;
            if object["metadata"]["deletionTimestamp"].is_null() {
                let mut object = object;
                object["metadata"]["deletionTimestamp"] = json!(world.stamp());
                object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
                world.put(&inside, &mut object);
            }
        }
    }
    if !left && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
        world.remove(key);
    }
}
