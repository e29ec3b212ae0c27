//! Bodies in Kubernetes' protobuf form, read into JSON: kubectl's typed clients send nothing else for what has no
//! patch (reviews, evictions, `kubectl create` of a few kinds). Answers are JSON, which they take.
//!
//! Field numbers are those of the `generated.proto` files of k8s.io/api; only the kinds that kubectl sends so are here.

use serde_json::{Map, Value, json};

/// How a field is read.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Int,
    Bool,
    /// A message of that name.
    Of(&'static str),
    /// Bytes, as base64.
    Bytes,
    /// `map<string, X>`.
    MapOf(&'static Form),
}

use Form::{Bool, Bytes, Int, MapOf, Of, Text};

const TEXT: Form = Text;
const BYTES: Form = Bytes;
const QUANTITY: Form = Of("Quantity");

/// Number, name, form, repeated.
type Field = (u64, &'static str, Form, bool);

fn message(name: &str) -> Option<&'static [Field]> {
    Some(match name {
        "ObjectMeta" => &[
            (1, "name", Text, false),
            (2, "generateName", Text, false),
            (3, "namespace", Text, false),
            (5, "uid", Text, false),
            (6, "resourceVersion", Text, false),
            (11, "labels", MapOf(&TEXT), false),
            (12, "annotations", MapOf(&TEXT), false),
            (14, "finalizers", Text, true),
        ],
        "DeleteOptions" => &[
            (1, "gracePeriodSeconds", Int, false),
            (2, "preconditions", Of("Preconditions"), false),
            (3, "orphanDependents", Bool, false),
            (4, "propagationPolicy", Text, false),
            (5, "dryRun", Text, true),
        ],
        "Preconditions" => &[(1, "uid", Text, false), (2, "resourceVersion", Text, false)],
        "Eviction" => &[(1, "metadata", Of("ObjectMeta"), false), (2, "deleteOptions", Of("DeleteOptions"), false)],
        "SelfSubjectReview" => &[(1, "metadata", Of("ObjectMeta"), false)],
        "SelfSubjectAccessReview" => {
            &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("SelfSubjectAccessReviewSpec"), false)]
        }
        "SelfSubjectAccessReviewSpec" => &[
            (1, "resourceAttributes", Of("ResourceAttributes"), false),
            (2, "nonResourceAttributes", Of("NonResourceAttributes"), false),
        ],
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("SubjectAccessReviewSpec"), false)]
        }
        "SubjectAccessReviewSpec" => &[
            (1, "resourceAttributes", Of("ResourceAttributes"), false),
            (2, "nonResourceAttributes", Of("NonResourceAttributes"), false),
            (3, "user", Text, false),
            (4, "groups", Text, true),
            (6, "uid", Text, false),
        ],
        "ResourceAttributes" => &[
            (1, "namespace", Text, false),
            (2, "verb", Text, false),
            (3, "group", Text, false),
            (4, "version", Text, false),
            (5, "resource", Text, false),
            (6, "subresource", Text, false),
            (7, "name", Text, false),
        ],
        "NonResourceAttributes" => &[(1, "path", Text, false), (2, "verb", Text, false)],
        "SelfSubjectRulesReview" => {
            &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("SelfSubjectRulesReviewSpec"), false)]
        }
        "SelfSubjectRulesReviewSpec" => &[(1, "namespace", Text, false)],
        "TokenRequest" => &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("TokenRequestSpec"), false)],
        "TokenRequestSpec" => &[
            (1, "audiences", Text, true),
            (3, "boundObjectRef", Of("BoundObjectReference"), false),
            (4, "expirationSeconds", Int, false),
        ],
        "BoundObjectReference" => &[
            (1, "kind", Text, false),
            (2, "apiVersion", Text, false),
            (3, "name", Text, false),
            (4, "uID", Text, false),
        ],
        "Namespace" => &[(1, "metadata", Of("ObjectMeta"), false)],
        "ConfigMap" => &[
            (1, "metadata", Of("ObjectMeta"), false),
            (2, "data", MapOf(&TEXT), false),
            (3, "binaryData", MapOf(&BYTES), false),
            (4, "immutable", Bool, false),
        ],
        "Secret" => &[
            (1, "metadata", Of("ObjectMeta"), false),
            (2, "data", MapOf(&BYTES), false),
            (3, "type", Text, false),
            (4, "stringData", MapOf(&TEXT), false),
            (5, "immutable", Bool, false),
        ],
        "ServiceAccount" => {
            &[(1, "metadata", Of("ObjectMeta"), false), (4, "automountServiceAccountToken", Bool, false)]
        }
        "Role" | "ClusterRole" => &[(1, "metadata", Of("ObjectMeta"), false), (2, "rules", Of("PolicyRule"), true)],
        "PolicyRule" => &[
            (1, "verbs", Text, true),
            (2, "apiGroups", Text, true),
            (3, "resources", Text, true),
            (4, "resourceNames", Text, true),
            (5, "nonResourceURLs", Text, true),
        ],
        "RoleBinding" | "ClusterRoleBinding" => &[
            (1, "metadata", Of("ObjectMeta"), false),
            (2, "subjects", Of("Subject"), true),
            (3, "roleRef", Of("RoleRef"), false),
        ],
        "Subject" => &[
            (1, "kind", Text, false),
            (2, "apiGroup", Text, false),
            (3, "name", Text, false),
            (4, "namespace", Text, false),
        ],
        "RoleRef" => &[(1, "apiGroup", Text, false), (2, "kind", Text, false), (3, "name", Text, false)],
        "Deployment" => &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("DeploymentSpec"), false)],
        "DeploymentSpec" => &[
            (1, "replicas", Int, false),
            (2, "selector", Of("LabelSelector"), false),
            (3, "template", Of("PodTemplateSpec"), false),
        ],
        "LabelSelector" => &[(1, "matchLabels", MapOf(&TEXT), false)],
        "PodTemplateSpec" => &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("PodSpec"), false)],
        "Pod" => &[(1, "metadata", Of("ObjectMeta"), false), (2, "spec", Of("PodSpec"), false)],
        "PodSpec" => &[
            (2, "containers", Of("Container"), true),
            (3, "restartPolicy", Text, false),
            (8, "serviceAccountName", Text, false),
        ],
        "Container" => &[
            (1, "name", Text, false),
            (2, "image", Text, false),
            (3, "command", Text, true),
            (4, "args", Text, true),
            (5, "workingDir", Text, false),
            (6, "ports", Of("ContainerPort"), true),
            (7, "env", Of("EnvVar"), true),
            (8, "resources", Of("ResourceRequirements"), false),
            (14, "imagePullPolicy", Text, false),
            (16, "stdin", Bool, false),
            (17, "stdinOnce", Bool, false),
            (18, "tty", Bool, false),
        ],
        "ContainerPort" => &[
            (1, "name", Text, false),
            (2, "hostPort", Int, false),
            (3, "containerPort", Int, false),
            (4, "protocol", Text, false),
        ],
        "EnvVar" => &[(1, "name", Text, false), (2, "value", Text, false)],
        "ResourceRequirements" => &[(1, "limits", MapOf(&QUANTITY), false), (2, "requests", MapOf(&QUANTITY), false)],
        "Quantity" => &[(1, "string", Text, false)],
        _ => return None,
    })
}

/// Reads one varint; the rest comes back.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(n + 1..)?));
        }
    }
    None
}

/// One field's number and what it holds.
enum Held<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

fn field(bytes: &[u8]) -> Option<(u64, Held<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    match tag & 7 {
        0 => {
            let (value, rest) = varint(rest)?;
            Some((tag >> 3, Held::Number(value), rest))
        }
        1 => Some((tag >> 3, Held::Number(0), rest.get(8..)?)),
        2 => {
            let (length, rest) = varint(rest)?;
            let length = usize::try_from(length).ok()?;
            Some((tag >> 3, Held::Bytes(rest.get(..length)?), rest.get(length..)?))
        }
        5 => Some((tag >> 3, Held::Number(0), rest.get(4..)?)),
        _ => None,
    }
}

fn one(form: Form, held: &Held<'_>) -> Option<Value> {
    Some(match (form, held) {
        (Text, Held::Bytes(bytes)) => json!(String::from_utf8_lossy(bytes)),
        (Bytes, Held::Bytes(bytes)) => {
            use base64::Engine;
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
        (Int, Held::Number(n)) => json!(n.cast_signed()),
        (Bool, Held::Number(n)) => json!(*n != 0),
        (Of("Quantity"), Held::Bytes(bytes)) => read("Quantity", bytes)?["string"].clone(),
        (Of(name), Held::Bytes(bytes)) => read(name, bytes)?,
        _ => return None,
    })
}

fn read(name: &str, mut bytes: &[u8]) -> Option<Value> {
    let fields = message(name)?;
    let mut map = Map::new();
    while !bytes.is_empty() {
        let (number, held, rest) = field(bytes)?;
        bytes = rest;
        let Some((_, name, form, repeated)) = fields.iter().find(|(n, ..)| *n == number) else { continue };
        if let (MapOf(form), Held::Bytes(entry)) = (form, &held) {
            let mut entry = *entry;
            let (mut key, mut value) = (String::new(), Value::Null);
            while !entry.is_empty() {
                let (number, held, rest) = field(entry)?;
                entry = rest;
                match number {
                    1 => key = one(Text, &held)?.as_str()?.to_string(),
                    _ => value = one(**form, &held)?,
                }
            }
            map.entry(*name).or_insert_with(|| json!({}))[key] = value;
            continue;
        }
        let value = one(*form, &held)?;
        // The typed client writes empty texts and zeros that JSON would leave out.
        let empty = value == "" || value.as_object().is_some_and(Map::is_empty);
        if *repeated {
            if let Some(list) = map.entry(*name).or_insert_with(|| json!([])).as_array_mut() {
                list.push(value);
            }
        } else if !empty {
            map.insert((*name).into(), value);
        }
    }
    Some(Value::Object(map))
}

/// A body that begins with `k8s\0`; None when it is not one, or of a kind that is not read here.
pub fn decode(body: &[u8]) -> Option<Value> {
    let mut bytes = body.strip_prefix(b"k8s\0")?;
    let (mut api_version, mut kind, mut raw): (String, String, &[u8]) = (String::new(), String::new(), &[]);
    while !bytes.is_empty() {
        let (number, held, rest) = field(bytes)?;
        bytes = rest;
        match (number, held) {
            (1, Held::Bytes(mut meta)) => {
                while !meta.is_empty() {
                    let (number, held, rest) = field(meta)?;
                    meta = rest;
                    let text = one(Text, &held)?.as_str()?.to_string();
                    if number == 1 { api_version = text } else { kind = text }
                }
            }
            (2, Held::Bytes(object)) => raw = object,
            _ => {}
        }
    }
    let mut object = read(&kind, raw)?;
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eviction_as_a_typed_client_sends_it() {
        let meta = [b"\x0a\x05web-1".as_slice(), b"\x1a\x04shop"].concat();
        let options = [b"\x08\x05".as_slice(), b"\x2a\x03All"].concat();
        let len = |b: &[u8]| u8::try_from(b.len()).unwrap();
        let object = [&[0x0a, len(&meta)], meta.as_slice(), &[0x12, len(&options)], &options].concat();
        let kind = b"\x0a\x09policy/v1\x12\x08Eviction";
        let body = [b"k8s\0".as_slice(), &[0x0a, len(kind)], kind, &[0x12, len(&object)], &object].concat();
        assert_eq!(
            decode(&body).unwrap(),
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web-1", "namespace": "shop"}, "deleteOptions": {"gracePeriodSeconds": 5, "dryRun": ["All"]}})
        );
        for cut in 0..body.len() {
            let _ = decode(body.get(..cut).unwrap());
        }
        assert_eq!(decode(b"{}"), None);
    }
}
