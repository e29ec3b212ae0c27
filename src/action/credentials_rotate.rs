//! `credentials.rotate`: what the pod held, who keeps it, and new values for what is in reach.

use std::collections::BTreeSet;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, Patch, PatchParams};
use kube::core::ObjectMeta;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credential_inventory::{Looked, has_last_applied, inventory, look, pods};
use super::fresh_value::{Fresh, Generate, Issue};
use super::node_credentials;
use super::secret_keeper::{keepers, keys};
use super::secret_use::{consumers, to_restart};
use super::suspect::Suspect;
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Fault};
use crate::event::{Artifact, Label, Landed, Method, ObjectRef, Op, Proof, Risk, Source, Undo};
use crate::evidence::segment;

/// Names the operation that set a value, so that resume finds out by metadata alone whether it landed.
pub(super) const ROTATED_BY: &str = "quell.dev/rotated-by";

/// Parameters of `credentials.rotate`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CredentialsRotate {
    /// The outputs of a `pod.record` step, the credentials that its pod held; or of a `node.inventory` step, those that
    /// reached the node.
    record: Value,
    /// The values to replace. Everything else is handed over to people, by name.
    #[serde(default)]
    rotate: Vec<Rotation>,
}

/// One value to replace: exactly one of `generate` and `command`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Rotation {
    /// The Secret's name.
    secret: String,
    /// Its namespace. Default: the recorded pod's.
    namespace: Option<String>,
    /// The key in its data.
    key: String,
    /// Generate a random value here. The issuer is not told, so the step says that the old value may still work.
    generate: Option<Generate>,
    /// Take the value from what a program prints: one that makes a new credential at the issuer.
    command: Option<Issue>,
}

impl Kind for CredentialsRotate {
    const SPEC: Spec = Spec {
        name: "credentials.rotate",
        summary: "Lists each credential a pod or node held, with keeper, way to rotate and consumers, and replaces those in reach",
        description: "First an inventory: every Secret and token that was mounted, who keeps it (External Secrets, \
            cert-manager, Helm, …, recognised by its metadata), how it is rotated there, which workloads hold the old value \
            until they are restarted, and how long a token still works. Then, for each entry of `rotate`, one change: a \
            new value, generated or printed by a program, is put into the Secret. A Secret that is immutable or kept by \
            a controller is not touched: the plan names the right place. Values are not shown, logged or kept, old or \
            new. Nothing is claimed of an issuer that was not told, and what is left to people is named.",
        risk: Risk::High,
        undo: "a replaced value can't be put back: the old one is not kept, and it is the exposed one",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "to see who keeps a Secret; only metadata is asked for, but RBAC has no right for metadata alone",
                optional: true,
            },
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["patch"],
                scope: Scope::Target,
                why: "to put new values into the Secrets that `rotate` names; not needed without",
                optional: true,
            },
            Rule {
                group: "",
                resource: "pods",
                verbs: &["get", "list"],
                scope: Scope::Target,
                why: "to find the Secrets' consumers, and whether the pod that held the token is gone",
                optional: true,
            },
        ],
        example: "id: rotate\ntitle: Rotate what it held\nuses: credentials.rotate\nwith:\n  record: ${{ steps.record.outputs }}\n  rotate:\n    - secret: session-key\n      key: key\n      generate: {length: 64, alphabet: hex}\n    - secret: database\n      key: password\n      command:\n        argv: [rotate-database-user, checkout]\n        env: [DATABASE_ADMIN_TOKEN]\n",
        outputs: &[
            ("credentials", "number of credentials that reached the pod or node; null when the record does not say"),
            ("handed_over", "what is left to people: a list of texts"),
            ("rotated", "the values that were replaced, as namespace/secret/key"),
            ("restart", "the workloads that hold an old value until they are restarted, as namespace/kind/name"),
            ("inventory", "path of the artifact with all of it"),
        ],
    };
}

impl CredentialsRotate {
    fn namespace(&self, rotation: &Rotation, suspect: &Suspect, cx: &Cx) -> String {
        rotation.namespace.clone().or_else(|| suspect.pod.namespace.clone()).unwrap_or_else(|| cx.namespace.clone())
    }

    fn covered(&self, suspect: &Suspect, cx: &Cx) -> BTreeSet<(String, String, String)> {
        self.rotate.iter().map(|r| (self.namespace(r, suspect, cx), r.secret.clone(), r.key.clone())).collect()
    }

    /// The rotation that an operation carries out.
    fn rotation(&self, op: &Op) -> Option<&Rotation> {
        self.rotate.get(usize::try_from(op.detail.get("rotation")?.as_u64()?).ok()?)
    }

    async fn plan_one(
        &self,
        cx: &Cx,
        plan: &mut StepPlan,
        index: usize,
        rotation: &Rotation,
        suspect: &Suspect,
    ) -> Result<(), Problem> {
        let namespace = self.namespace(rotation, suspect, cx);
        let what = format!("{namespace}/{} key {}", rotation.secret, rotation.key);
        let mut refuse = |why: String| plan.blockers.push(format!("{what}: {why}"));
        let source = match (&rotation.generate, &rotation.command) {
            (Some(generate), None) => {
                generate.blocker().into_iter().for_each(&mut refuse);
                "a newly generated value".to_owned()
            }
            (None, Some(issue)) => {
                issue.blockers().into_iter().for_each(&mut refuse);
                for name in issue.unset() {
                    plan.warnings
                        .push(format!("{what}: the variable {name} that its program is to be given is not set"));
                }
                format!("what `{}` prints", issue.argv.first().map(String::as_str).unwrap_or_default())
            }
            _ => {
                refuse("give exactly one of `generate` and `command`".into());
                return Ok(());
            }
        };
        let mut refuse = |why: String| plan.blockers.push(format!("{what}: {why}"));
        if rotation.key.is_empty() || !rotation.key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)) {
            refuse("a key is made of letters, digits, `-`, `.` and `_`".into());
            return Ok(());
        }
        if rotation.secret.is_empty() || !rotation.secret.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c))
        {
            refuse("that is no Secret's name".into());
            return Ok(());
        }
        let meta = match look(cx, &namespace, &rotation.secret).await? {
            Looked::Found(meta) => meta,
            Looked::Missing => {
                refuse("there is no such Secret".into());
                return Ok(());
            }
            Looked::Forbidden => {
                refuse("you may not get this Secret (verb get on secrets): without its UID it is not changed".into());
                return Ok(());
            }
        };
        for keeper in keepers(&meta) {
            if keeper.overwrites {
                refuse(format!("kept by {}, which would put its own value back: {}", keeper.who, keeper.how));
            } else {
                plan.warnings.push(format!("{what}: also kept by {}: {}", keeper.who, keeper.how));
            }
        }
        let mut refuse = |why: String| plan.blockers.push(format!("{what}: {why}"));
        let known = keys(&meta);
        if !known.is_empty() && !known.contains(&rotation.key) {
            refuse(format!("the Secret has no such key; it has {}", known.join(", ")));
        }
        match dry_run(cx, &namespace, rotation, &meta).await {
            Ok(None) => {}
            Ok(Some(warning)) => plan.warnings.push(format!("{what}: {warning}")),
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) if problem.is_transient() => {
                plan.warnings.push(format!("{what}: whether it would be taken is not known: {problem}"));
            }
            Err(problem) if problem.message.contains("immutable") => {
                refuse("the Secret is immutable: create one with another name and point its consumers to it".into())
            }
            Err(problem) => refuse(format!("the API server would refuse the change: {problem}")),
        }
        if has_last_applied(&meta) {
            plan.warnings.push(format!(
                "{what}: `kubectl apply` keeps a copy of the old value in an annotation, and applying the old file would \
                 put it back"
            ));
        }
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "Secret".into(),
            namespace: Some(namespace),
            name: rotation.secret.clone(),
            uid: meta.uid.clone(),
        };
        let summary =
            format!("put {source} into the key {} of Secret {object_name}", rotation.key, object_name = name(&object));
        let undo = Undo::Impossible(
            "the old value is not kept: putting it back would bring the exposed credential back".into(),
        );
        let mut op = Op::change("patch", object, summary, Risk::High, undo);
        op.before = json!({ "data": { &rotation.key: "(not read)" } });
        op.after = json!({ "data": { &rotation.key: format!("({source}; never shown)") } });
        op.detail = json!({ "rotation": index, "key": rotation.key });
        plan.ops.push(op);
        Ok(())
    }

    async fn take_inventory(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let path = format!("data/{}/credentials.json", segment(&cx.step));
        let list = format!("data/{}/hand-over.txt", segment(&cx.step));
        let document = match cx.store.adopt_json(&path) {
            Some(document) => {
                cx.store.adopt(&list);
                document
            }
            None => {
                let started = cx.clock.now();
                let suspect = Suspect::read(&self.record);
                let covered = self.covered(&suspect, cx);
                let mut document = if node_credentials::is_node(&self.record) {
                    node_credentials::inventory(cx, &self.record, &covered).await?
                } else {
                    inventory(cx, &suspect, &covered).await?
                };
                document["artifact"] = Value::from(path.clone());
                let label = Label {
                    title: format!("the credentials that reached {}: names, keepers, consumers; no values", op.object),
                    media_type: "application/json".into(),
                    source: Source { object: op.object.clone(), container: None, what: "credentials".into() },
                    method: Method::api(
                        "the record made before the pod was removed, and metadata of the Secrets",
                        vec!["secrets (metadata only)".into(), "pods".into()],
                    ),
                    started,
                };
                // Before the document: where that is whole, so is the list.
                if node_credentials::is_node(&self.record) {
                    let text = node_credentials::list(&document, &op.object, &crate::clock::rfc3339(started));
                    let title = format!("what has to be rotated by hand after {}, with owner and way", op.object);
                    let label = Label { title, media_type: "text/plain".into(), ..label.clone() };
                    cx.store.put(&list, text.as_bytes(), |path, size, sha256| {
                        Artifact::of(label, cx.clock.now(), path, size, sha256)
                    })?;
                }
                cx.store.put_json(&path, label, cx.clock, &document, Vec::new())?;
                document
            }
        };
        let texts = |key: &str| -> Vec<&str> {
            document[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let left = texts("handed_over");
        let found =
            document["credentials"].as_array().map_or(0, |all| all.iter().filter(|c| c["kind"] != "configmap").count());
        let detail = format!("{found} credentials reached {}, {} left to people", op.object, left.len());
        let proof = match (left.is_empty(), found) {
            (true, 0) => Proof::Verified("the record names no credential".into()),
            (true, _) => Proof::Verified(format!("{detail}; values are not proved replaced by this: see each")),
            (false, _) if document["known"] == false => Proof::Unproved(left.join("; ")),
            (false, _) if node_credentials::is_node(&self.record) => Proof::Unproved(format!(
                "{} handed over, to be rotated by hand: {}; {list} has each with owner and way",
                left.len(),
                node_credentials::named(&document)
            )),
            (false, _) => {
                Proof::Unproved(format!("{} handed over, rotate them by hand: {}", left.len(), left.join("; ")))
            }
        };
        let observed = json!({
            "credentials": if document["known"] == false { Value::Null } else { found.into() },
            "handed_over": left,
            "inventory": path,
        });
        Ok(Done::taken(detail, Some(proof), observed))
    }

    /// What a landed change amounts to: read back by metadata, with the consumers that still hold the old value.
    async fn landed_done(&self, cx: &Cx, op: &Op, rotation: &Rotation, meta: &ObjectMeta) -> Result<Done, Problem> {
        let namespace = op.object.namespace.clone().unwrap_or_default();
        let restart = pods(cx, &namespace).await?.map(|pods| to_restart(&consumers(&pods, &rotation.secret)));
        let version = meta.resource_version.as_deref().unwrap_or("unknown");
        let holders = match &restart {
            None => "which pods hold the old value is not known, for pods may not be listed".to_owned(),
            Some(names) if names.is_empty() => {
                "no pod of the namespace holds it in its environment; mounted volumes are refreshed by the kubelet"
                    .into()
            }
            Some(names) => format!("still with the old value until restarted: {}", names.join(", ")),
        };
        let detail =
            format!("{} key {} replaced (resourceVersion {version}); {holders}", name(&op.object), rotation.key);
        let proof = if rotation.generate.is_some() {
            Proof::Unproved(format!(
                "{} key {} holds a new value, but its issuer was not told: not known whether the old value is refused; {holders}",
                name(&op.object),
                rotation.key
            ))
        } else {
            Proof::Verified(format!(
                "read back by metadata: our mark and resourceVersion {version}; that the issuer refuses the old value is \
                 the program's word; {holders}"
            ))
        };
        let observed = json!({
            "value": format!("{namespace}/{}/{}", rotation.secret, rotation.key),
            "resource_version": version,
            "restart": restart.map(|names| names.into_iter().map(|n| format!("{namespace}/{n}")).collect::<Vec<_>>()),
        });
        Ok(Done::applied(detail, proof, observed))
    }
}

#[async_trait]
impl Action for CredentialsRotate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let suspect = Suspect::read(&self.record);
        let of_node = node_credentials::is_node(&self.record);
        let blocker = suspect.blocker().filter(|_| !of_node);
        let mut plan = StepPlan { blockers: blocker.into_iter().collect(), ..StepPlan::default() };
        let summary = "list the credentials that it held: keeper, way to rotate, consumers (no values are read)";
        let object = if of_node { node_credentials::object(&self.record) } else { suspect.object() };
        plan.ops.push(Op::observe(object, summary));
        let mut seen = BTreeSet::new();
        for (index, rotation) in self.rotate.iter().enumerate() {
            if !seen.insert((self.namespace(rotation, &suspect, cx), &rotation.secret, &rotation.key)) {
                plan.blockers.push(format!("`rotate` names {} key {} twice", rotation.secret, rotation.key));
                continue;
            }
            self.plan_one(cx, &mut plan, index, rotation, &suspect).await?;
        }
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let Some(rotation) = self.rotation(op) else {
            return self.take_inventory(cx, op).await;
        };
        let namespace = op.object.namespace.clone().unwrap_or_default();
        let meta = current(cx, op, &namespace, &rotation.secret).await?;
        let mark = mark(cx, op);
        if is_marked(&meta, &mark) {
            // An earlier try's answer was lost on the way.
            return self.landed_done(cx, op, rotation, &meta).await;
        }
        // Asked for last: a program that makes a credential runs only when nothing else stands in the way.
        let value = match (&rotation.generate, &rotation.command) {
            (Some(generate), _) => generate.value()?,
            (None, Some(issue)) => issue.value().await?,
            (None, None) => return Err(Problem::usage("give exactly one of `generate` and `command`")),
        };
        let sent = patch(cx, &namespace, rotation, &meta, &value, Some(&mark), false).await;
        drop(value);
        let refusal = sent.err().map(|error| withhold(error, &name(&op.object), rotation.command.is_some()));
        if let Some(problem) = refusal {
            // No answer is no refusal: it may have landed.
            return match look(cx, &namespace, &rotation.secret).await {
                Ok(Looked::Found(after)) if is_marked(&after, &mark) => {
                    self.landed_done(cx, op, rotation, &after).await
                }
                _ => Err(problem),
            };
        }
        let after = current(cx, op, &namespace, &rotation.secret).await?;
        if !is_marked(&after, &mark) || after.resource_version == meta.resource_version {
            return Err(Problem::failed(format!(
                "{} was patched, and the change is not there: something took it back",
                name(&op.object)
            ))
            .hint("look who writes this Secret: its managed fields name the last writers"));
        }
        self.landed_done(cx, op, rotation, &after).await
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let Some(rotation) = self.rotation(op) else { return Ok((Landed::No, None)) };
        let namespace = op.object.namespace.clone().unwrap_or_default();
        match look(cx, &namespace, &rotation.secret).await? {
            Looked::Found(meta) if meta.uid == op.object.uid && is_marked(&meta, &mark(cx, op)) => {
                Ok((Landed::Yes, Some(self.landed_done(cx, op, rotation, &meta).await?)))
            }
            // A program may have made a credential whose value was lost: only a person can tell.
            Looked::Found(meta) if meta.uid == op.object.uid && rotation.command.is_none() => Ok((Landed::No, None)),
            _ => Ok((Landed::Unknown, None)),
        }
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = super::merged(plan_outputs, &done[..done.len().min(1)]);
        let changes = || done.iter().filter(|(op, _)| self.rotation(op).is_some()).map(|(_, d)| &d.observed);
        outputs["rotated"] = changes().map(|o| o["value"].clone()).collect();
        let restart: BTreeSet<&str> =
            changes().flat_map(|o| o["restart"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect();
        outputs["restart"] = restart.into_iter().map(Value::from).collect();
        Conclusion::of(outputs, done)
    }
}

/// `payments/database`
fn name(object: &ObjectRef) -> String {
    format!("{}/{}", object.namespace.as_deref().unwrap_or_default(), object.name)
}

/// The annotation's value: names incident, step and operation.
pub(super) fn mark(cx: &Cx, op: &Op) -> String {
    format!("{}.{}", cx.incident, op.id.replace('/', "."))
}

pub(super) fn is_marked(meta: &ObjectMeta, mark: &str) -> bool {
    meta.annotations.as_ref().and_then(|a| a.get(ROTATED_BY)).is_some_and(|m| m == mark)
}

/// The Secret's metadata now; an error when it is not the planned one any more, or is kept by a controller since.
async fn current(cx: &Cx, op: &Op, namespace: &str, secret: &str) -> Result<ObjectMeta, Problem> {
    match look(cx, namespace, secret).await? {
        Looked::Found(meta) if meta.uid == op.object.uid && meta.uid.is_some() => {
            match keepers(&meta).into_iter().find(|k| k.overwrites) {
                None => Ok(*meta),
                Some(keeper) => {
                    Err(Problem::refused(format!("{} is kept by {} since the plan", name(&op.object), keeper.who))
                        .hint(keeper.how))
                }
            }
        }
        Looked::Found(_) => Err(Problem::new(
            Fault::Conflict,
            format!("Secret {} was replaced: it is another object by that name", name(&op.object)),
        )
        .hint("plan again, and look who replaced it")),
        Looked::Missing => Err(Problem::new(Fault::NotFound, format!("Secret {} is gone", name(&op.object)))),
        Looked::Forbidden => Err(Problem::refused(format!("you may not get Secret {}", name(&op.object)))
            .hint("`quell runbook rbac RUNBOOK` prints the rights it needs")),
    }
}

/// Asks the API server whether it would take the change, with a placeholder as value. A warning when it can't say.
async fn dry_run(cx: &Cx, namespace: &str, rotation: &Rotation, meta: &ObjectMeta) -> Result<Option<String>, Problem> {
    let placeholder = Fresh(b"dry-run-placeholder".to_vec());
    match patch(cx, namespace, rotation, meta, &placeholder, None, true).await {
        Ok(()) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 400 && status.message.contains("dry run") => {
            Ok(Some("no dry run: an admission webhook supports none".into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The one write: a merge patch with UID and resourceVersion as preconditions. Only metadata is asked back.
async fn patch(
    cx: &Cx,
    namespace: &str,
    rotation: &Rotation,
    meta: &ObjectMeta,
    value: &Fresh,
    mark: Option<&str>,
    dry_run: bool,
) -> Result<(), kube::Error> {
    let api: Api<Secret> = Api::namespaced(cx.client.clone(), namespace);
    let body = json!({
        "metadata": {
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
            "annotations": { ROTATED_BY: mark.unwrap_or("dry-run") },
        },
        "data": { &rotation.key: ByteString(value.0.clone()) },
    });
    let params = PatchParams { dry_run, field_manager: Some("quell".into()), ..PatchParams::default() };
    api.patch_metadata(&rotation.secret, &params, &Patch::Merge(body)).await.map(|_| ())
}

/// The API server's refusal without its words, which may hold the value: a webhook or a validation may quote it.
pub(super) fn withhold(error: kube::Error, object: &str, issued: bool) -> Problem {
    let said = match &error {
        kube::Error::Api(status) => {
            format!("the API server refused to change Secret {object}: {} {}", status.code, reason(&status.reason))
        }
        _ => format!("no answer to the change of Secret {object}, and it is not there"),
    };
    let fault = Problem::from(error).fault;
    // The engine would run the program again: one more credential each time.
    let fault = if issued && fault == Fault::Transient { Fault::Failed } else { fault };
    let words =
        "the API server's words are not shown, for they may hold the value: `quell plan` asks it with a placeholder";
    Problem::new(fault, said).hint(match issued {
        true => format!("the program may have made a credential that is lost now; {words}"),
        false => words.to_owned(),
    })
}

/// A reason is one word of the API's (`Forbidden`, `Invalid`); a webhook may write anything there too.
fn reason(text: &str) -> &str {
    let known = [
        "Unauthorized",
        "Forbidden",
        "NotFound",
        "AlreadyExists",
        "Conflict",
        "Invalid",
        "BadRequest",
        "Timeout",
        "ServerTimeout",
        "TooManyRequests",
        "InternalError",
        "ServiceUnavailable",
        "RequestEntityTooLarge",
    ];
    known.into_iter().find(|k| *k == text).unwrap_or("for a reason that is not shown")
}

#[cfg(test)]
#[path = "credentials_rotate_tests.rs"]
mod tests;
