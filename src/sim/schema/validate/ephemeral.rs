//! The subresource `ephemeralcontainers`.
use std::collections::BTreeSet;

use serde_json::Value;

use super::super::field::{Causes, Path, empty, items, same, text};
use super::container;
use super::pod_update::named;

const FORBIDDEN: [&str; 7] =
    ["ports", "resources", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy"];

/// The Pod after the change; whatever else changed is not looked at, nor stored by the server.
pub(super) fn update(new: &Value, old: &Value, causes: &mut Causes) {
    let (spec, path) = (&new["spec"], Path::new("spec").child("ephemeralContainers"));
    let volumes: BTreeSet<&str> = named(&old["spec"]["volumes"]).collect();
    let others: BTreeSet<&str> =
        ["containers", "initContainers"].into_iter().flat_map(|key| named(&old["spec"][key])).collect();
    let mut seen = others.clone();
    for (i, one) in items(&spec["ephemeralContainers"]).iter().enumerate() {
        let at = path.index(i);
        container::any(one, &old["spec"], &volumes, &at, causes);
        let (name, target) = (text(&one["name"]), text(&one["targetContainerName"]));
        if !name.is_empty() && !seen.insert(name) {
            causes.duplicate(&at.child("name"), &one["name"]);
        }
        if !target.is_empty() && !others.contains(target) {
            causes.not_found(&at.child("targetContainerName"), &one["targetContainerName"]);
        }
        for key in FORBIDDEN {
            if !empty(&one[key]) {
                causes.forbidden(&at.child(key), "cannot be set for an Ephemeral Container");
            }
        }
        for (j, mount) in items(&one["volumeMounts"]).iter().enumerate() {
            for key in ["subPath", "subPathExpr"] {
                if !empty(&mount[key]) {
                    let at = at.child("volumeMounts").index(j).child(key);
                    causes.forbidden(&at, "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
    for before in items(&old["spec"]["ephemeralContainers"]) {
        let name = text(&before["name"]);
        let after = items(&spec["ephemeralContainers"]).iter().find(|c| c["name"] == before["name"]);
        match after {
            None => causes.forbidden(&path, &format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(after) if !same(after, before) => {
                causes.forbidden(&path, &format!("existing ephemeral containers {name:?} may not be changed\n"));
            }
            Some(_) => {}
        }
    }
}
