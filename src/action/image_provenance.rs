//! `image.provenance`: which image ran, what its name promises, and who else runs it.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::image_reference::{Reference, Running, running};
use super::suspect::{Container, Suspect};
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::clock;
use crate::cluster::{Cx, Fault};
use crate::event::{Label, Method, Op, Proof, Risk, Source};
use crate::evidence::segment;

/// Pods asked for at once.
const PAGE: u32 = 500;
/// Other pods that are listed for each container; all are counted.
const MAX_LISTED: usize = 200;

/// Parameters of `image.provenance`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ImageProvenance {
    /// The outputs of a `pod.record` step: the images of its pod's containers are looked at.
    record: Value,
    /// Whether the step counts as proved only with the images' signatures checked. This version has no registry client
    /// and checks none, so that true always leaves the step unproved. Default: false.
    #[serde(default)]
    require_signature: bool,
}

impl Kind for ImageProvenance {
    const SPEC: Spec = Spec {
        name: "image.provenance",
        summary: "Compares each container's image reference with what ran, and finds who else runs it",
        description: "For each container of the recorded pod: registry, repository, tag and digest of its reference; \
            whether it is pinned by digest; the digest that ran, and whether they agree; the pull policy; and the other \
            pods on the same reference or digest, in all namespaces that may be listed. No registry is asked in this \
            version: signatures are not checked, the age of an image is not known, and whether a digest is listed in a \
            multi-platform index is not known. The artifact says so, one by one.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "pods",
                verbs: &["list"],
                scope: Scope::Target,
                why: "to find other pods on the same image in the target's namespace",
                optional: false,
            },
            Rule {
                group: "",
                resource: "pods",
                verbs: &["list"],
                scope: Scope::Cluster,
                why: "to find pods on the same image in all namespaces",
                optional: true,
            },
        ],
        example: "id: provenance\ntitle: Which image ran?\nuses: image.provenance\nwith:\n  record: ${{ steps.record.outputs }}\n",
        outputs: &[
            ("containers", "for each: name, image, registry, repository, tag, digest, pinned, running_digest, agree"),
            ("pinned", "whether every image is pinned by digest"),
            ("others", "number of other pods on one of the same images or digests"),
            ("everywhere", "whether all namespaces could be looked at"),
            ("artifact", "path of the document with all of it"),
        ],
    };
}

/// Another pod's container, as far as it matters here.
struct Other {
    namespace: String,
    pod: String,
    uid: String,
    owner: Option<String>,
    container: String,
    image: Option<Reference>,
    digest: Option<String>,
    created: Option<String>,
}

#[async_trait]
impl Action for ImageProvenance {
    async fn plan(&self, _cx: &Cx) -> Result<StepPlan, Problem> {
        let suspect = Suspect::read(&self.record);
        let mut plan = StepPlan { blockers: suspect.blocker().into_iter().collect(), ..StepPlan::default() };
        plan.warnings.push(format!("signatures will not be checked: {NO_REGISTRY}"));
        plan.ops.push(Op::observe(
            suspect.object(),
            "compare its containers' image references with the digests that ran, and find other pods on them",
        ));
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let path = format!("data/{}/provenance.json", segment(&cx.step));
        if let Some(document) = cx.store.adopt_json(&path) {
            return Ok(self.done(&document));
        }
        let started = cx.clock.now();
        let suspect = Suspect::read(&self.record);
        let namespace = suspect.pod.namespace.clone().unwrap_or_else(|| cx.namespace.clone());
        let (others, narrow) = others(cx, &namespace, suspect.pod.uid.as_deref()).await?;
        let containers: Vec<Value> = suspect.containers.iter().map(|c| describe(c, &others)).collect();
        let document = json!({
            "pod": { "namespace": suspect.pod.namespace, "name": suspect.pod.name, "uid": suspect.pod.uid },
            "looked_in": match &narrow {
                None => "all namespaces".to_owned(),
                Some(why) => format!("only the namespace {namespace}: {why}"),
            },
            "everywhere": narrow.is_none(),
            "other_pods_seen": pods(others.iter()),
            "containers": containers,
            "others": pods(others.iter().filter(|o| suspect.containers.iter().any(|c| shares(c, o).is_some()))),
            "signature": { "checked": false, "why": NO_REGISTRY },
            "artifact": path,
        });
        let label = Label {
            title: "image references, running digests and other pods on them".into(),
            media_type: "application/json".into(),
            source: Source { object: op.object.clone(), container: None, what: "image provenance".into() },
            method: Method::api(
                "the record made before the pod was removed, and a list of pods",
                vec![match narrow {
                    None => "/api/v1/pods".into(),
                    Some(_) => format!("/api/v1/namespaces/{namespace}/pods"),
                }],
            ),
            started,
        };
        cx.store.put_json(&path, label, cx.clock, &document, vec![format!("signatures not checked: {NO_REGISTRY}")])?;
        Ok(self.done(&document))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
    }
}

const NO_REGISTRY: &str = "this version of quell asks no registry";

impl ImageProvenance {
    fn done(&self, document: &Value) -> Done {
        let empty = Vec::new();
        let containers = document["containers"].as_array().unwrap_or(&empty);
        let name = |c: &Value| c["name"].as_str().unwrap_or("?").to_owned();
        let mut doubts = Vec::new();
        if containers.is_empty() {
            doubts.push("the record names no container".to_owned());
        }
        for c in containers {
            if c["identified"] == false && c["never_ran"] == false {
                doubts.push(format!(
                    "which image {} ran is not known: {}",
                    name(c),
                    c["running_note"].as_str().unwrap_or("?")
                ));
            }
            if c["agree"] == "no" {
                doubts.push(format!(
                    "{} ran another digest than its reference names ({})",
                    name(c),
                    c["agree_note"].as_str().unwrap_or("?")
                ));
            }
        }
        if self.require_signature {
            doubts.push(format!("signatures not checked: {NO_REGISTRY}"));
        }
        let pinned = containers.iter().filter(|c| c["pinned"] == "digest").count();
        let everywhere = document["everywhere"] == true;
        let text = format!(
            "{} of {} images pinned by digest; {} other pods on them ({}); signature not checked: {NO_REGISTRY}",
            pinned,
            containers.len(),
            document["others"],
            document["looked_in"].as_str().unwrap_or("?")
        );
        let proof = if doubts.is_empty() { Proof::Verified(text.clone()) } else { Proof::Unproved(doubts.join("; ")) };
        let brief: Vec<Value> = containers
            .iter()
            .map(|c| {
                let keys =
                    ["name", "image", "registry", "repository", "tag", "digest", "pinned", "running_digest", "agree"];
                keys.into_iter().map(|key| (key.to_owned(), c[key].clone())).collect()
            })
            .collect();
        let observed = json!({
            "containers": brief,
            "pinned": !containers.is_empty() && pinned == containers.len(),
            "others": document["others"],
            "everywhere": everywhere,
            "artifact": document["artifact"],
        });
        Done::taken(text, Some(proof), observed)
    }
}

fn describe(container: &Container, others: &[Other]) -> Value {
    let reference = container.image.as_deref().and_then(Reference::parse);
    let ran = running(container.image_id.as_deref());
    let pinned = match &reference {
        None => "unknown",
        Some(Reference { digest: Some(_), .. }) => "digest",
        Some(Reference { tag: Some(_), .. }) => "tag",
        Some(_) => "nothing: the tag `latest` is taken",
    };
    let named = reference.as_ref().and_then(|r| r.digest.as_deref());
    let (agree, note) = match (&reference, named, &ran) {
        (None, ..) => ("unknown", "the record has no readable image reference".to_owned()),
        (_, _, Running::Unknown) => ("unknown", "the record has no digest of what ran".to_owned()),
        (_, Some(a), Running::Digest(b)) if a == b => ("yes", "the reference names the digest that ran".to_owned()),
        (_, Some(a), Running::Digest(b)) => (
            "no",
            format!("{a} is named, {b} ran: they could agree only if the first is an index that lists the second, and {NO_REGISTRY}"),
        ),
        (_, None, Running::Digest(_)) => ("cannot be told", "a tag moves: which digest it named when the pod started is not recorded".to_owned()),
        (_, _, Running::LocalId(_)) => (
            "cannot be told",
            "the runtime gave its own image id, not a registry's digest: the image was loaded or built on the node, or its digest is not kept".to_owned(),
        ),
    };
    let (digest, running_note) = match &ran {
        Running::Digest(digest) => (Some(digest.clone()), "the digest by which a registry knows it"),
        Running::LocalId(_) => (None, "the runtime gave only its own image id"),
        Running::Unknown => (None, "the record has no digest of what ran"),
    };
    let policy_note = match (container.pull_policy.as_deref(), named) {
        (_, Some(_)) => "pinned by digest: the policy does not change what runs",
        (Some("Always"), _) => "the tag is looked up at each start: what it names can change between two starts",
        (Some("IfNotPresent"), _) => "a node keeps what the tag named when it was pulled first: nodes may differ",
        (Some("Never"), _) => "only what was put on the node by other means runs",
        _ => "unknown",
    };
    let mut listed = Vec::new();
    let (mut by_digest, mut by_name) = (0u64, 0u64);
    let mut oldest: Option<&str> = None;
    for other in others {
        let Some(by) = shares(container, other) else { continue };
        if by == "reference" {
            by_name += 1
        } else {
            by_digest += 1
        }
        if by != "reference"
            && let Some(created) = other.created.as_deref()
        {
            oldest = Some(oldest.map_or(created, |o| o.min(created)));
        }
        if listed.len() < MAX_LISTED {
            listed.push(json!({
                "namespace": other.namespace, "pod": other.pod, "uid": other.uid, "owner": other.owner,
                "container": other.container, "by": by, "created": other.created,
            }));
        }
    }
    json!({
        "name": container.name,
        "kind": container.kind,
        "image": container.image,
        "registry": reference.as_ref().map(|r| &r.registry),
        "repository": reference.as_ref().map(|r| &r.repository),
        "tag": reference.as_ref().and_then(Reference::tag_or_latest),
        "digest": named,
        "pinned": pinned,
        "pull_policy": container.pull_policy,
        "pull_policy_note": policy_note,
        "image_id": container.image_id,
        "running_digest": digest,
        "running_note": running_note,
        "local_id": match &ran { Running::LocalId(id) => Some(id), _ => None },
        "identified": ran != Running::Unknown,
        "never_ran": ran == Running::Unknown && container.running == Some(false),
        "agree": agree,
        "agree_note": note,
        "age": { "known": false, "why": format!("only the image's own configuration tells when it was built, and {NO_REGISTRY}") },
        "oldest_other_pod_on_the_digest": oldest,
        "others": { "same_digest": by_digest, "same_reference_only": by_name, "listed": listed },
        "signature": { "checked": false, "why": NO_REGISTRY },
    })
}

/// By what another pod's container runs the same image: `digest`, `digest and reference`, `reference` (then another or
/// an unknown digest).
fn shares(container: &Container, other: &Other) -> Option<&'static str> {
    let digest = match running(container.image_id.as_deref()) {
        Running::Digest(digest) | Running::LocalId(digest) => other.digest.as_ref() == Some(&digest),
        Running::Unknown => false,
    };
    let reference = container.image.as_deref().and_then(Reference::parse);
    let name = match (&reference, &other.image) {
        (Some(a), Some(b)) => a.same_name(b) && a.digest == b.digest,
        _ => false,
    };
    match (digest, name) {
        (true, true) => Some("digest and reference"),
        (true, false) => Some("digest"),
        (false, true) => Some("reference"),
        (false, false) => None,
    }
}

fn pods<'a>(others: impl Iterator<Item = &'a Other>) -> usize {
    others.map(|o| &o.uid).collect::<std::collections::BTreeSet<_>>().len()
}

/// The containers of all other pods: of the whole cluster, or of the namespace and then why.
async fn others(cx: &Cx, namespace: &str, suspect: Option<&str>) -> Result<(Vec<Other>, Option<String>), Problem> {
    match list(Api::all(cx.client.clone()), suspect).await {
        Ok(found) => Ok((found, None)),
        Err(problem) if problem.fault == Fault::Refused => {
            let found = list(Api::namespaced(cx.client.clone(), namespace), suspect).await?;
            Ok((found, Some("pods may not be listed in all namespaces".into())))
        }
        Err(problem) => Err(problem),
    }
}

async fn list(api: Api<Pod>, suspect: Option<&str>) -> Result<Vec<Other>, Problem> {
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        for pod in page.items {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            if suspect != Some(uid.as_str()) {
                found.extend(containers(&pod, &uid));
            }
        }
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = ListParams::default().limit(PAGE).continue_token(&token),
            _ => return Ok(found),
        }
    }
}

fn containers(pod: &Pod, uid: &str) -> Vec<Other> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let status = pod.status.as_ref();
    let statuses: Vec<_> = [
        status.and_then(|s| s.container_statuses.as_ref()),
        status.and_then(|s| s.init_container_statuses.as_ref()),
        status.and_then(|s| s.ephemeral_container_statuses.as_ref()),
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect();
    let named =
        spec.containers.iter().chain(spec.init_containers.iter().flatten()).map(|c| (&c.name, c.image.as_deref()));
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| (&c.name, c.image.as_deref()));
    let owner = pod.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
    named
        .chain(ephemeral)
        .map(|(name, image)| Other {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            uid: uid.into(),
            owner: owner.map(|o| format!("{}/{}", o.kind, o.name)),
            container: name.clone(),
            image: image.and_then(Reference::parse),
            digest: statuses.iter().find(|s| &s.name == name).and_then(|s| match running(Some(&s.image_id)) {
                Running::Digest(digest) | Running::LocalId(digest) => Some(digest),
                Running::Unknown => None,
            }),
            created: pod
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|t| time(&serde_json::to_value(t).unwrap_or_default())),
        })
        .collect()
}

/// A time as records write it, whatever the API wrote.
fn time(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    clock::parse(text).map_or_else(|_| text.to_owned(), clock::rfc3339)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(image: &str, image_id: &str) -> Container {
        Container {
            name: Some("app".into()),
            image: Some(image.into()),
            image_id: Some(image_id.into()),
            ..Container::default()
        }
    }

    #[test]
    fn agreement_is_claimed_only_where_it_can_be_told() {
        let (a, b) = (format!("sha256:{}", "a".repeat(64)), format!("sha256:{}", "b".repeat(64)));
        for (image, id, agree) in [
            (format!("ghcr.io/x/y@{a}"), format!("ghcr.io/x/y@{a}"), "yes"),
            (format!("ghcr.io/x/y@{a}"), format!("ghcr.io/x/y@{b}"), "no"),
            (format!("ghcr.io/x/y@{a}"), a.clone(), "cannot be told"),
            ("ghcr.io/x/y:v1".into(), format!("ghcr.io/x/y@{a}"), "cannot be told"),
            ("ghcr.io/x/y:v1".into(), String::new(), "unknown"),
        ] {
            assert_eq!(describe(&container(&image, &id), &[])["agree"], agree, "{image} {id}");
        }
    }

    #[test]
    fn a_step_never_claims_a_signature_or_a_digest_it_did_not_see() {
        let a = format!("sha256:{}", "a".repeat(64));
        let action = |require_signature| ImageProvenance { record: Value::Null, require_signature };
        let document = |c: &Container| json!({"containers": [describe(c, &[])], "others": 0, "looked_in": "all namespaces", "everywhere": true});
        let good = document(&container("x:v1", &format!("x@{a}")));
        let done = action(false).done(&good);
        assert!(done.proof.unwrap().is_verified() && done.detail.contains("signature not checked"), "{}", done.detail);
        assert!(!action(true).done(&good).proof.unwrap().is_verified());
        assert!(!action(false).done(&document(&container("x:v1", ""))).proof.unwrap().is_verified());
        assert!(!action(false).done(&json!({"containers": []})).proof.unwrap().is_verified());
    }
}
