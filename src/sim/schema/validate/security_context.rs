//! Security contexts of Pods and containers.
use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::field::{Causes, Path, entries, flag, items, text};

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn id(value: &Value, path: &Path, causes: &mut Causes) {
    if value.as_i64().is_some_and(|id| !(0..=i64::from(i32::MAX)).contains(&id)) {
        causes.invalid(path, value, "must be between 0 and 2147483647, inclusive");
    }
}

/// A seccomp profile.
fn seccomp(profile: &Value, path: &Path, causes: &mut Causes) {
    if profile.is_null() {
        return;
    }
    let kind = text(&profile["type"]);
    let at = path.child("localhostProfile");
    if kind == "Localhost" {
        if text(&profile["localhostProfile"]).is_empty() {
            causes.required(&at, "must be set when seccomp type is Localhost");
        } else {
            super::volume::check_relative(text(&profile["localhostProfile"]), &at, causes);
        }
    } else if !profile["localhostProfile"].is_null() {
        causes.invalid(&at, &go(profile), "can only be set when seccomp type is Localhost");
    }
    if kind.is_empty() {
        causes.required(&path.child("type"), "type is required when seccompProfile is set");
    } else {
        causes.one_of(&path.child("type"), &profile["type"], &PROFILES);
    }
}

fn app_armor(profile: &Value, path: &Path, causes: &mut Causes) {
    if profile.is_null() {
        return;
    }
    let kind = text(&profile["type"]);
    let at = path.child("localhostProfile");
    if kind.is_empty() {
        causes.required(&path.child("type"), "type is required when appArmorProfile is set");
    } else {
        causes.one_of(&path.child("type"), &profile["type"], &PROFILES);
    }
    match (kind, text(&profile["localhostProfile"])) {
        ("Localhost", "") => causes.required(&at, "must be set when AppArmor type is Localhost"),
        (other, name) if other != "Localhost" && !name.is_empty() => {
            causes.invalid_text(&at, name, "can only be set when AppArmor type is Localhost");
        }
        _ => {}
    }
}

/// The Pod's own security context, and the namespaces it shares.
pub(super) fn pod(spec: &Value, path: &Path, causes: &mut Causes) {
    let (context, at) = (&spec["securityContext"], path.child("securityContext"));
    for key in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&context[key], &at.child(key), causes);
    }
    for (i, group) in items(&context["supplementalGroups"]).iter().enumerate() {
        id(group, &at.child("supplementalGroups").index(i), causes);
    }
    if flag(&spec["shareProcessNamespace"]) && flag(&spec["hostPID"]) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        causes.invalid(&at.child("shareProcessNamespace"), &json!(true), detail);
    }
    if spec["hostUsers"] == json!(false) {
        for (key, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
            if flag(&spec[key]) {
                causes.forbidden(&path.child(shown), "when `hostUsers` is false");
            }
        }
    }
    sysctls(spec, &at.child("sysctls"), causes);
    if !context["fsGroupChangePolicy"].is_null() {
        causes.one_of(&at.child("fsGroupChangePolicy"), &context["fsGroupChangePolicy"], &["Always", "OnRootMismatch"]);
    }
    seccomp(&context["seccompProfile"], &at.child("seccompProfile"), causes);
    app_armor(&context["appArmorProfile"], &at.child("appArmorProfile"), causes);
}

fn sysctls(spec: &Value, path: &Path, causes: &mut Causes) {
    let mut seen = BTreeSet::new();
    for (i, sysctl) in items(&spec["securityContext"]["sysctls"]).iter().enumerate() {
        let (name, at) = (text(&sysctl["name"]), path.index(i).child("name"));
        let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = |part: &str| {
            let ends = part.bytes().next().zip(part.bytes().last());
            ends.is_some_and(|(a, b)| edge(a) && edge(b)) && part.bytes().all(|c| edge(c) || c == b'-' || c == b'_')
        };
        if name.is_empty() {
            causes.required(&at, "");
        } else if name.len() > 253 || !name.split(['.', '/']).all(fits) {
            let pattern = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            causes.invalid_text(&at, name, &format!("must have at most 253 characters and match regex {pattern}"));
        } else if !seen.insert(name) {
            causes.duplicate(&at, &sysctl["name"]);
        }
        let dotted = name.replace('/', ".");
        let shared =
            ["kernel.sem", "kernel.msg", "kernel.shm", "fs.mqueue."].iter().any(|start| dotted.starts_with(start));
        if flag(&spec["hostIPC"]) && shared {
            causes.invalid_text(&at, name, "may not be specified when 'hostIPC' is true");
        }
        if flag(&spec["hostNetwork"]) && dotted.starts_with("net.") {
            causes.invalid_text(&at, name, "may not be specified when 'hostNetwork' is true");
        }
    }
}

/// A container's security context.
pub(super) fn container(container: &Value, spec: &Value, path: &Path, causes: &mut Causes) {
    let context = &container["securityContext"];
    if context.is_null() {
        return;
    }
    for key in ["runAsUser", "runAsGroup"] {
        id(&context[key], &path.child(key), causes);
    }
    let mount = text(&context["procMount"]);
    if !mount.is_empty() {
        causes.one_of(&path.child("procMount"), &context["procMount"], &["Default", "Unmasked"]);
        if mount == "Unmasked" && spec["hostUsers"] != json!(false) {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            causes.invalid_text(&path.child("procMount"), mount, detail);
        }
    }
    seccomp(&context["seccompProfile"], &path.child("seccompProfile"), causes);
    if context["allowPrivilegeEscalation"] == json!(false) {
        if flag(&context["privileged"]) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            causes.invalid(path, &go(context), detail);
        }
        let added = items(&context["capabilities"]["add"]);
        if added.iter().any(|c| matches!(text(c), "CAP_SYS_ADMIN")) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            causes.invalid(path, &go(context), detail);
        }
    }
    app_armor(&context["appArmorProfile"], &path.child("appArmorProfile"), causes);
}

/// A struct as the server shows it: with the names that its fields have in Go. What is not there is left out.
pub(super) fn go(value: &Value) -> Value {
    let name = |key: &String| match key.as_str() {
        "seLinuxOptions" => "SELinuxOptions".to_owned(),
        other => {
            let mut letters = other.chars();
            letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect()
        }
    };
    match value {
        Value::Object(_) => Value::Object(entries(value).map(|(k, v)| (name(k), go(v))).collect::<Map<_, _>>()),
        Value::Array(list) => Value::Array(list.iter().map(go).collect()),
        other => other.clone(),
    }
}
