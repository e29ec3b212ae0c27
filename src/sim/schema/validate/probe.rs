//! Probes and lifecycle hooks.
use serde_json::Value;

use super::super::field::{Causes, Path, int, items, text};
use super::super::names;

/// The probes of a container.
pub(super) fn probes(container: &Value, path: &Path, causes: &mut Causes) {
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let (probe, at) = (&container[key], path.child(key));
        if probe.is_null() {
            continue;
        }
        handler(probe, &at, causes);
        for key in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
            causes.not_negative(&at.child(key), &probe[key]);
        }
        let grace = &probe["terminationGracePeriodSeconds"];
        if !grace.is_null() {
            let at = at.child("terminationGracePeriodSeconds");
            if key == "readinessProbe" {
                causes.invalid(&at, grace, "must not be set for readinessProbes");
            } else if int(grace) <= 0 {
                causes.invalid(&at, grace, "must be greater than 0");
            }
        }
        if key != "readinessProbe" && int(&probe["successThreshold"]) != 1 {
            causes.invalid(&at.child("successThreshold"), &int(&probe["successThreshold"]).into(), "must be 1");
        }
    }
}

/// The hooks of a container.
pub(super) fn lifecycle(lifecycle: &Value, spec: &Value, path: &Path, causes: &mut Causes) {
    for key in ["postStart", "preStop"] {
        if !lifecycle[key].is_null() {
            handler(&lifecycle[key], &path.child(key), causes);
            sleep(&lifecycle[key]["sleep"], spec, &path.child(key).child("sleep"), causes);
        }
    }
}

fn sleep(sleep: &Value, spec: &Value, path: &Path, causes: &mut Causes) {
    let (seconds, grace) = (int(&sleep["seconds"]), int(&spec["terminationGracePeriodSeconds"]));
    if !sleep.is_null() && !(0..=grace).contains(&seconds) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        causes.invalid(path, &seconds.into(), &detail);
    }
}

fn handler(handler: &Value, path: &Path, causes: &mut Causes) {
    let mut found = 0;
    for key in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let (action, at) = (&handler[key], path.child(key));
        if action.is_null() {
            continue;
        }
        found += 1;
        if found > 1 {
            causes.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        match key {
            "exec" if items(&action["command"]).is_empty() => causes.required(&at.child("command"), ""),
            "httpGet" => {
                if text(&action["path"]).is_empty() {
                    causes.required(&at.child("path"), "");
                }
                port(&action["port"], &at.child("port"), causes);
                causes.one_of(&at.child("scheme"), &action["scheme"], &["HTTP", "HTTPS"]);
                for header in items(&action["httpHeaders"]) {
                    let name = text(&header["name"]);
                    let fits = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
                    if name.is_empty() || !name.bytes().all(fits) {
                        let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
                        causes.invalid_text(&at.child("httpHeaders"), name, detail);
                    }
                }
            }
            "tcpSocket" | "grpc" => port(&action["port"], &at.child("port"), causes),
            _ => {}
        }
    }
    if found == 0 {
        causes.required(path, "must specify a handler type");
    }
}

/// A port by number or name.
pub(super) fn port(port: &Value, path: &Path, causes: &mut Causes) {
    match port {
        Value::String(name) => causes.invalid_texts(path, name, names::port_name(name)),
        other => {
            if let Some(complaint) = names::port_number(int(other)) {
                causes.invalid(path, &int(other).into(), complaint);
            }
        }
    }
}
