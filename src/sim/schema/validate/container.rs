//! Containers and init containers.
use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::field::{Causes, Path, flag, int, items, text};
use super::super::names;
use super::volume::{self, check_relative};
use super::{probe, resources, security_context};

/// The containers of a spec; there has to be one.
pub(super) fn containers(spec: &Value, volumes: &BTreeSet<&str>, path: &Path, causes: &mut Causes) {
    let at = path.child("containers");
    let all = items(&spec["containers"]);
    if all.is_empty() {
        causes.required(&at, "");
        return;
    }
    let mut seen = BTreeSet::new();
    for (i, container) in all.iter().enumerate() {
        let at = at.index(i);
        any(container, spec, volumes, &at, causes);
        unique(container, &mut seen, &at, causes);
        if let Some(lifecycle) = container.get("lifecycle") {
            probe::lifecycle(lifecycle, spec, &at.child("lifecycle"), causes);
        }
        probe::probes(container, &at, causes);
    }
    host_ports(spec, all, &at, causes);
}

/// The init containers of a spec.
pub(super) fn init_containers(spec: &Value, volumes: &BTreeSet<&str>, path: &Path, causes: &mut Causes) {
    let regular = items(&spec["containers"]);
    let mut seen: BTreeSet<&str> = regular.iter().map(|c| text(&c["name"])).collect();
    for (i, container) in items(&spec["initContainers"]).iter().enumerate() {
        let at = path.child("initContainers").index(i);
        any(container, spec, volumes, &at, causes);
        unique(container, &mut seen, &at, causes);
        if text(&container["restartPolicy"]) == "Always" {
            if let Some(lifecycle) = container.get("lifecycle") {
                probe::lifecycle(lifecycle, spec, &at.child("lifecycle"), causes);
            }
            probe::probes(container, &at, causes);
        } else {
            for key in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if !container[key].is_null() {
                    let detail = "may not be set for init containers without restartPolicy=Always";
                    causes.forbidden(&at.child(key), detail);
                }
            }
        }
    }
}

fn unique<'a>(container: &'a Value, seen: &mut BTreeSet<&'a str>, path: &Path, causes: &mut Causes) {
    let name = text(&container["name"]);
    if !name.is_empty() && !seen.insert(name) {
        causes.duplicate(&path.child("name"), &container["name"]);
    }
}

/// What holds for containers of all sorts.
pub(super) fn any(container: &Value, spec: &Value, volumes: &BTreeSet<&str>, path: &Path, causes: &mut Causes) {
    let name = text(&container["name"]);
    if name.is_empty() {
        causes.required(&path.child("name"), "");
    } else {
        causes.invalid_texts(&path.child("name"), name, names::label(name));
    }
    image(container, path, causes);
    causes.one_of(
        &path.child("terminationMessagePolicy"),
        &container["terminationMessagePolicy"],
        &["File", "FallbackToLogsOnError"],
    );
    ports(&container["ports"], &path.child("ports"), causes);
    env(container, path, causes);
    mounts(container, volumes, path, causes);
    causes.one_of(&path.child("imagePullPolicy"), &container["imagePullPolicy"], &["Always", "IfNotPresent", "Never"]);
    resources::requirements(&container["resources"], &path.child("resources"), causes);
    if !text(&container["restartPolicy"]).is_empty() {
        causes.one_of(&path.child("restartPolicy"), &container["restartPolicy"], &["Always", "Never", "OnFailure"]);
    }
    security_context::container(container, spec, &path.child("securityContext"), causes);
}

/// An image's name is checked for little; pulling it will tell.
pub(super) fn image(container: &Value, path: &Path, causes: &mut Causes) {
    let image = text(&container["image"]);
    if image.is_empty() {
        causes.required(&path.child("image"), "");
    } else if image.trim() != image {
        causes.invalid_text(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
}

fn ports(ports: &Value, path: &Path, causes: &mut Causes) {
    let mut seen = BTreeSet::new();
    for (i, port) in items(ports).iter().enumerate() {
        let at = path.index(i);
        let name = text(&port["name"]);
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if complaints.is_empty() {
                if !seen.insert(name) {
                    causes.duplicate(&at.child("name"), &port["name"]);
                }
            } else {
                causes.invalid_texts(&at.child("name"), name, complaints);
            }
        }
        let number = int(&port["containerPort"]);
        if number == 0 {
            causes.required(&at.child("containerPort"), "");
        } else if let Some(complaint) = names::port_number(number) {
            causes.invalid(&at.child("containerPort"), &number.into(), complaint);
        }
        let host = int(&port["hostPort"]);
        if host != 0
            && let Some(complaint) = names::port_number(host)
        {
            causes.invalid(&at.child("hostPort"), &host.into(), complaint);
        }
        causes.one_of(&at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
    }
}

fn host_ports(spec: &Value, containers: &[Value], path: &Path, causes: &mut Causes) {
    let mut taken = BTreeSet::new();
    let all = || {
        containers.iter().enumerate().flat_map(|(i, container)| {
            let at = path.index(i).child("ports");
            items(&container["ports"]).iter().enumerate().map(move |(j, port)| (at.index(j).child("hostPort"), port))
        })
    };
    for (at, port) in all() {
        let number = int(&port["hostPort"]);
        let claim = format!("{}/{}/{number}", text(&port["protocol"]), text(&port["hostIP"]));
        if number != 0 && !taken.insert(claim.clone()) {
            causes.duplicate(&at, &claim.into());
        }
    }
    if flag(&spec["hostNetwork"]) {
        for (at, port) in all() {
            // In a template the port is not filled in; the Pod's own defaults do that.
            if int(&port["hostPort"]) != 0 && port["hostPort"] != port["containerPort"] {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                causes.invalid(&at, &int(&port["hostPort"]).into(), detail);
            }
        }
    }
}

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

fn env(container: &Value, path: &Path, causes: &mut Causes) {
    for (i, variable) in items(&container["env"]).iter().enumerate() {
        let at = path.child("env").index(i);
        let name = text(&variable["name"]);
        if name.is_empty() {
            causes.required(&at.child("name"), "");
        } else if let Some(complaint) = names::env_name(name) {
            causes.invalid_text(&at.child("name"), name, complaint);
        }
        if !variable["valueFrom"].is_null() {
            env_source(variable, &at.child("valueFrom"), causes);
        }
    }
    for (i, source) in items(&container["envFrom"]).iter().enumerate() {
        let at = path.child("envFrom").index(i);
        let prefix = text(&source["prefix"]);
        if !prefix.is_empty()
            && let Some(complaint) = names::env_name(prefix)
        {
            causes.invalid_text(&at.child("prefix"), prefix, complaint);
        }
        let given: Vec<&str> =
            ["configMapRef", "secretRef"].into_iter().filter(|key| !source[*key].is_null()).collect();
        for key in &given {
            let name = text(&source[*key]["name"]);
            if name.is_empty() {
                causes.required(&at.child(key).child("name"), "");
            } else {
                causes.invalid_texts(&at.child(key).child("name"), name, names::subdomain(name));
            }
        }
        match given.len() {
            0 => causes.invalid_text(&path.child("envFrom"), "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => {
                causes.invalid_text(&path.child("envFrom"), "", "may not have more than one field specified at a time")
            }
        }
    }
}

fn env_source(variable: &Value, path: &Path, causes: &mut Causes) {
    let source = &variable["valueFrom"];
    let given: Vec<&str> = SOURCES.into_iter().filter(|key| !source[*key].is_null()).collect();
    for key in &given {
        let (reference, at) = (&source[*key], path.child(key));
        match *key {
            "fieldRef" => {
                let field = text(&reference["fieldPath"]);
                if field.is_empty() {
                    causes.required(&at.child("fieldPath"), "");
                } else if !volume::is_env_field(field) {
                    let detail = format!("error converting fieldPath: field label not supported: {field}");
                    causes.invalid_text(&at.child("fieldPath"), field, &detail);
                }
            }
            "resourceFieldRef" => resources::field_reference(reference, &at, causes),
            "configMapKeyRef" | "secretKeyRef" => {
                let (name, entry) = (text(&reference["name"]), text(&reference["key"]));
                causes.invalid_texts(&at.child("name"), name, names::subdomain(name));
                if entry.is_empty() {
                    causes.required(&at.child("key"), "");
                } else {
                    causes.invalid_texts(&at.child("key"), entry, names::config_key(entry));
                }
            }
            _ => {}
        }
    }
    if given.is_empty() {
        let detail =
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
        causes.invalid_text(path, "", detail);
    } else if !text(&variable["value"]).is_empty() {
        causes.invalid_text(path, "", "may not be specified when `value` is not empty");
    } else if given.len() > 1 {
        causes.invalid_text(path, "", "may not have more than one field specified at a time");
    }
}

fn mounts(container: &Value, volumes: &BTreeSet<&str>, path: &Path, causes: &mut Causes) {
    let mut seen = BTreeSet::new();
    let privileged = flag(&container["securityContext"]["privileged"]);
    let list = path.child("volumeMounts");
    for (i, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let at = list.index(i);
        let (name, place) = (text(&mount["name"]), text(&mount["mountPath"]));
        if name.is_empty() {
            causes.required(&at.child("name"), "");
        }
        if !volumes.contains(name) {
            causes.not_found(&at.child("name"), &json!(name));
        }
        if place.is_empty() {
            causes.required(&at.child("mountPath"), "");
        } else if !seen.insert(place) {
            causes.invalid_text(&at.child("mountPath"), place, "must be unique");
        }
        // The server names the list here, not the mount.
        let (sub, propagation) = (text(&mount["subPath"]), text(&mount["mountPropagation"]));
        check_relative(sub, &list.child("subPath"), causes);
        if !sub.is_empty() && !text(&mount["subPathExpr"]).is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            causes.invalid(&at.child("subPathExpr"), &mount["subPathExpr"], detail);
        }
        match propagation {
            "" | "None" | "HostToContainer" => {}
            "Bidirectional" if privileged => {}
            "Bidirectional" => {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                causes.forbidden(&list.child("mountPropagation"), detail);
            }
            _ => causes.not_supported(
                &list.child("mountPropagation"),
                &mount["mountPropagation"],
                &["Bidirectional", "HostToContainer", "None"],
            ),
        }
    }
}
