//! Volumes.
use std::collections::BTreeSet;

use serde_json::Value;

use super::super::field::{Causes, Path, entries, int, items, text};
use super::super::names;
use super::super::quantity::Quantity;

/// The types in the order in which the server looks for them.
const TYPES: [&str; 9] =
    ["emptyDir", "hostPath", "secret", "nfs", "persistentVolumeClaim", "configMap", "downwardAPI", "projected", "csi"];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Checks the volumes and returns their names, for the mounts.
pub(super) fn volumes<'a>(volumes: &'a Value, path: &Path, causes: &mut Causes) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (i, volume) in items(volumes).iter().enumerate() {
        let at = path.index(i);
        source(volume, &at, causes);
        let name = text(&volume["name"]);
        if name.is_empty() {
            causes.required(&at.child("name"), "");
            continue;
        }
        let complaints = names::label(name);
        let fits = complaints.is_empty();
        causes.invalid_texts(&at.child("name"), name, complaints);
        if fits && !seen.insert(name) {
            causes.duplicate(&at.child("name"), &volume["name"]);
        }
    }
    seen
}

fn source(volume: &Value, path: &Path, causes: &mut Causes) {
    let rest = entries(volume).map(|(key, _)| key.as_str()).filter(|key| *key != "name" && !TYPES.contains(key));
    let given = TYPES.into_iter().chain(rest).filter(|key| !volume[*key].is_null());
    for (n, key) in given.enumerate() {
        let (source, at) = (&volume[key], path.child(key));
        if n > 0 {
            causes.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        match key {
            "emptyDir" if Quantity::parse(text(&source["sizeLimit"])).is_some_and(|q| q.is_negative()) => {
                causes.forbidden(&at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
            }
            "hostPath" => {
                let place = text(&source["path"]);
                if place.is_empty() {
                    causes.required(&at.child("path"), "");
                }
                backsteps(place, &at.child("path"), causes);
                causes.one_of(&at.child("type"), &source["type"], &HOST_PATH_TYPES);
            }
            "secret" => keyed(source, "secretName", &at, causes),
            "configMap" => keyed(source, "name", &at, causes),
            "persistentVolumeClaim" => required(source, "claimName", &at, causes),
            "nfs" => {
                required(source, "server", &at, causes);
                required(source, "path", &at, causes);
            }
            "downwardAPI" => mode(&source["defaultMode"], &at.child("defaultMode"), causes),
            "projected" => projected(source, &at, causes),
            _ => {}
        }
    }
}

fn required(source: &Value, key: &str, path: &Path, causes: &mut Causes) {
    if text(&source[key]).is_empty() {
        causes.required(&path.child(key), "");
    }
}

/// A volume of a Secret's or ConfigMap's entries.
fn keyed(source: &Value, name: &str, path: &Path, causes: &mut Causes) {
    required(source, name, path, causes);
    mode(&source["defaultMode"], &path.child("defaultMode"), causes);
    chosen(&source["items"], &path.child("items"), causes);
}

fn chosen(list: &Value, path: &Path, causes: &mut Causes) {
    for (i, item) in items(list).iter().enumerate() {
        let at = path.index(i);
        required(item, "key", &at, causes);
        required(item, "path", &at, causes);
        check_relative(text(&item["path"]), &at.child("path"), causes);
        if !item["mode"].is_null() {
            mode(&item["mode"], &at.child("mode"), causes);
        }
    }
}

fn projected(source: &Value, path: &Path, causes: &mut Causes) {
    mode(&source["defaultMode"], &path.child("defaultMode"), causes);
    for (i, source) in items(&source["sources"]).iter().enumerate() {
        let at = path.child("sources").index(i);
        for key in ["secret", "configMap"] {
            if !source[key].is_null() {
                required(&source[key], "name", &at.child(key), causes);
                chosen(&source[key]["items"], &at.child(key).child("items"), causes);
            }
        }
        let token = &source["serviceAccountToken"];
        if !token.is_null() {
            let seconds = int(&token["expirationSeconds"]);
            if seconds < 600 {
                let at = at.child("serviceAccountToken").child("expirationSeconds");
                causes.invalid(&at, &seconds.into(), "may not specify a duration less than 10 minutes");
            }
            // The server leaves the source out of this path.
            required(token, "path", path, causes);
        }
    }
}

fn mode(value: &Value, path: &Path, causes: &mut Causes) {
    if !(0..=0o777).contains(&int(value)) {
        causes.invalid(path, value, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

fn backsteps(place: &str, path: &Path, causes: &mut Causes) {
    if place.split('/').any(|part| part == "..") {
        causes.invalid_text(path, place, "must not contain '..'");
    }
}

/// A path that has to stay below where it starts.
pub(super) fn check_relative(place: &str, path: &Path, causes: &mut Causes) {
    if place.starts_with('/') {
        causes.invalid_text(path, place, "must be a relative path");
    }
    backsteps(place, path, causes);
}

/// Whether an environment variable may be set from this field of the Pod.
pub(super) fn is_env_field(field: &str) -> bool {
    let plain = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let keyed = ["metadata.labels['", "metadata.annotations['"];
    plain.contains(&field) || (field.ends_with("']") && keyed.iter().any(|start| field.starts_with(start)))
}
