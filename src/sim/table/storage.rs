//! The cells of volumes and what provides them.

use serde_json::{Value, json};

use super::age;
use super::fields::{count, items, text, text_or, written};

/// The printer's cells; nothing for a kind that has none.
pub fn cells(kind: &str, object: &Value, now: i64) -> Option<Vec<Value>> {
    let (meta, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let name = meta["name"].clone();
    let aged = age::created(object, now);
    let phase = if meta["deletionTimestamp"].is_null() { text(&status["phase"]) } else { "Terminating" };
    let or_unset = |field: &str| json!(spec[field].as_str().unwrap_or("<unset>"));
    Some(match kind {
        "PersistentVolumeClaim" => {
            // Before it is bound, what it asks for is not shown.
            let volume = text(&spec["volumeName"]);
            let (capacity, modes) = match volume {
                "" => (String::new(), String::new()),
                _ => (written(&status["capacity"]["storage"], "0"), access_modes(&status["accessModes"])),
            };
            vec![
                name,
                json!(phase),
                json!(volume),
                json!(capacity),
                json!(modes),
                json!(class(object)),
                or_unset("volumeAttributesClassName"),
                aged,
                or_unset("volumeMode"),
            ]
        }
        "PersistentVolume" => {
            let claim = &spec["claimRef"];
            let claim = match claim.is_null() {
                true => String::new(),
                false => format!("{}/{}", text(&claim["namespace"]), text(&claim["name"])),
            };
            vec![
                name,
                json!(written(&spec["capacity"]["storage"], "0")),
                json!(access_modes(&spec["accessModes"])),
                json!(text(&spec["persistentVolumeReclaimPolicy"])),
                json!(phase),
                json!(claim),
                json!(class(object)),
                or_unset("volumeAttributesClassName"),
                json!(text(&status["reason"])),
                aged,
                or_unset("volumeMode"),
            ]
        }
        "StorageClass" => {
            let annotations = &meta["annotations"];
            let default = ["storageclass.kubernetes.io", "storageclass.beta.kubernetes.io"]
                .iter()
                .any(|domain| annotations[format!("{domain}/is-default-class")] == "true");
            vec![
                json!(format!("{}{}", text(&meta["name"]), if default { " (default)" } else { "" })),
                json!(text(&object["provisioner"])),
                json!(text_or(&object["reclaimPolicy"], "Delete")),
                json!(text_or(&object["volumeBindingMode"], "Immediate")),
                json!(object["allowVolumeExpansion"] == true),
                aged,
            ]
        }
        "CSINode" => vec![name, json!(count(&spec["drivers"])), aged],
        "CSIDriver" => {
            let joined = |all: Vec<&str>| all.join(",");
            let tokens = match spec["tokenRequests"].as_array() {
                Some(requests) => joined(requests.iter().map(|request| text(&request["audience"])).collect()),
                None => "<unset>".into(),
            };
            let modes = match joined(items(&spec["volumeLifecycleModes"]).map(text).collect()) {
                none if none.is_empty() => "<none>".into(),
                some => some,
            };
            vec![
                name,
                json!(spec["attachRequired"] != false),
                json!(spec["podInfoOnMount"] == true),
                json!(spec["storageCapacity"] == true),
                json!(tokens),
                json!(spec["requiresRepublish"] == true),
                json!(modes),
                aged,
            ]
        }
        "VolumeAttachment" => vec![
            name,
            json!(text(&spec["attacher"])),
            json!(text(&spec["source"]["persistentVolumeName"])),
            json!(text(&spec["nodeName"])),
            json!(status["attached"] == true),
            aged,
        ],
        _ => return None,
    })
}

/// The storage class: the annotation that was there before the field comes first.
fn class(object: &Value) -> &str {
    object["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"]
        .as_str()
        .unwrap_or_else(|| text(&object["spec"]["storageClassName"]))
}

/// Access modes in short, in one fixed order.
fn access_modes(modes: &Value) -> String {
    let all =
        [("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &str| items(modes).any(|m| m == mode);
    all.into_iter().filter(|(mode, _)| has(mode)).map(|(_, short)| short).collect::<Vec<_>>().join(",")
}
