//! `secret.update`: the new values into the Secret, or beside it under a new name where it can't be changed.

mod put_back;
mod repoint;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::credential_inventory::has_last_applied;
use super::credentials_rotate::{ROTATED_BY, is_marked, mark, withhold};
use super::sealed::{Values, Vault};
use super::secret_keeper::keepers;
use super::secret_of::{Of, SecretNow, secret_now};
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Fault, raw};
use crate::event::{Landed, ObjectRef, Op, OpStatus, Proof, Risk, Undo};

/// Parameters of `secret.update`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretUpdate {
    /// The outputs of a `secret.consumers` step: the Secret, as it was looked at.
    of: Value,
    /// The outputs of a `secret.rotate` step: which keys have a new value.
    rotate: Value,
    /// Why the Secret is edited although a controller keeps it and may put its own value back. Without a reason such an
    /// edit is refused, and the right place named.
    #[serde(default)]
    owner_override: String,
}

const fn rule(group: &'static str, resource: &'static str, verbs: &'static [&'static str], why: &'static str) -> Rule {
    Rule { group, resource, verbs, scope: Scope::Target, why, optional: true }
}

const POINTED: &str = "to point consumers to a new Secret, where the old one is immutable";

impl Kind for SecretUpdate {
    const SPEC: Spec = Spec {
        name: "secret.update",
        summary: "Puts the new values into the Secret, or into a new one where it is immutable, and points consumers to it",
        description: "One patch, with UID and resourceVersion as preconditions. A Secret that was edited since \
            `secret.consumers` looked at it is a conflict, and said. A Secret that External Secrets, sealed-secrets, \
            cert-manager, a Vault operator, the Secrets Store CSI driver, a replicator, Argo CD or Flux keeps is not \
            edited: the plan names the right place, and `owner-override` takes a reason to do it all the same. An \
            immutable Secret gets a successor under a new name, and each template that names it is pointed there. Values \
            are not shown; the old ones stay sealed in the incident's folder for undo.",
        risk: Risk::High,
        undo: "the old values are put back and consumers pointed back, unless somebody has changed them since",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["get", "patch"],
                scope: Scope::Target,
                why: "to put the new values into the Secret",
                optional: false,
            },
            rule("", "secrets", &["create", "delete"], "to make a successor of an immutable Secret, and to undo that"),
            rule("apps", "deployments", &["list", "get", "patch"], POINTED),
            rule("apps", "statefulsets", &["list", "get", "patch"], POINTED),
            rule("apps", "daemonsets", &["list", "get", "patch"], POINTED),
            rule("apps", "replicasets", &["list", "get", "patch"], POINTED),
            rule("batch", "cronjobs", &["list", "get", "patch"], POINTED),
            rule("batch", "jobs", &["list"], "to find consumers that can't be pointed elsewhere"),
            rule("", "replicationcontrollers", &["list", "get", "patch"], POINTED),
            rule("", "serviceaccounts", &["list", "get", "patch"], POINTED),
            rule("networking.k8s.io", "ingresses", &["list", "get", "patch"], POINTED),
        ],
        example: "id: update\ntitle: The new values into the Secret\nuses: secret.update\nwith:\n  of: ${{ steps.consumers.outputs }}\n  rotate: ${{ steps.rotate.outputs }}\n",
        outputs: &[
            ("name", "the Secret that holds the new values"),
            ("uid", "its UID"),
            ("renamed", "whether that is another one than the old"),
            ("keys", "the keys with new values"),
            ("updated_at", "when, by the API server's clock"),
            ("digest", "keyed digest of the new values, by which later steps compare"),
            ("repointed", "workloads that were pointed to another Secret, as Kind/name"),
            ("handed_over", "what names the old one and has to be changed by hand"),
        ],
    };
}

/// The name of a Secret's successor: with the end of the incident's id, so that each incident has its own.
pub(super) fn successor(name: &str, incident: &str) -> String {
    let end = incident.rsplit('-').next().unwrap_or_default();
    // A name has at most 253 characters.
    let name: String = name.chars().take(253 - end.len() - 1).collect();
    format!("{name}-{end}")
}

/// Digest of some keys' values, in one.
pub(super) fn digest_of_keys(vault: &Vault, values: &Values, keys: &[String]) -> String {
    let mut some = Values::default();
    for key in keys {
        some.0.insert(key.clone(), values.0.get(key).cloned().unwrap_or_default());
    }
    vault.digest_of(&some)
}

/// The outputs of `secret.rotate`, as far as they are known.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rotated {
    pub provider: String,
    pub settings: Value,
    pub detail: Value,
    pub keys: Vec<String>,
    pub revoked: bool,
    pub written_by_issuer: bool,
    pub secret: Option<String>,
}

impl Rotated {
    pub fn read(outputs: &Value) -> Result<Rotated, String> {
        let rotated: Rotated = serde_json::from_value(outputs.clone()).unwrap_or_default();
        if rotated.provider.is_empty() {
            return Err(
                "there is no new credential: the `secret.rotate` step that `rotate` stands for made none".into()
            );
        }
        Ok(rotated)
    }
}

/// Who wrote it last, and when, by its managed fields.
fn last_writer(meta: &ObjectMeta) -> String {
    let time = |f: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        serde_json::to_value(&f.time).ok().and_then(|t| t.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let last = meta.managed_fields.iter().flatten().max_by_key(|f| time(f));
    last.map_or("nobody known".into(), |f| format!("{} at {}", f.manager.as_deref().unwrap_or("somebody"), time(f)))
}

/// When our own write was, by the API server's clock.
fn written_at(meta: &ObjectMeta) -> Option<String> {
    let ours = meta.managed_fields.iter().flatten().filter(|f| f.manager.as_deref() == Some("quell"));
    ours.filter_map(|f| serde_json::to_value(&f.time).ok()?.as_str().map(str::to_owned)).max()
}

impl SecretUpdate {
    fn parts(&self) -> Result<(Of, Rotated), Problem> {
        Ok((Of::read(&self.of).map_err(Problem::usage)?, Rotated::read(&self.rotate).map_err(Problem::usage)?))
    }

    fn api(cx: &Cx, of: &Of) -> Api<Secret> {
        Api::namespaced(cx.client.clone(), &of.secret.namespace)
    }

    /// Whether the Secret is still what the consumers step looked at.
    fn same(&self, cx: &Cx, of: &Of, now: &SecretNow) -> Result<(), Problem> {
        let Some(digest) = &of.digest else { return Ok(()) };
        if Vault::open(cx)?.digest_of(&now.values) == *digest {
            return Ok(());
        }
        Err(Problem::new(
            Fault::Conflict,
            format!(
                "Secret {}/{} was edited since it was looked at (last by {}): its value may be a rotation of somebody else's",
                of.secret.namespace,
                of.secret.name,
                last_writer(&now.meta)
            ),
        )
        .hint("ask who did it; then begin a new run, which takes the edit into account"))
    }

    async fn plan_successor(
        &self,
        cx: &Cx,
        plan: &mut StepPlan,
        of: &Of,
        name: &str,
        create: Option<&SecretNow>,
    ) -> Result<(), Problem> {
        let object = ObjectRef { name: name.into(), uid: None, ..of.object() };
        if let Some(now) = create {
            let undo = Undo::Automatic(format!("delete Secret {name}"));
            let summary =
                format!("create {object} with the new values: {} is immutable, and can't be changed", of.secret.name);
            let mut op = Op::change("create", object, summary, Risk::Medium, undo);
            op.after = json!({ "type": now.kind, "immutable": true, "data": "(the old keys, new values never shown)" });
            op.detail = json!({ "key": "successor" });
            plan.ops.push(op);
        }
        let (pointers, left) = repoint::find(cx, &of.secret.namespace, &of.secret.name).await?;
        for pointer in pointers {
            let undo = Undo::Automatic(format!("point it to {} again", of.secret.name));
            let rolls = if pointer.rolls { "; its pods are replaced by this" } else { "" };
            let summary = format!("point {} to Secret {name} instead of {}{rolls}", pointer.object, of.secret.name);
            let risk = if pointer.rolls { Risk::High } else { Risk::Medium };
            let mut op = Op::change("patch", pointer.object.clone(), summary, risk, undo);
            op.before = pointer.at.iter().map(|at| (at.clone(), json!(of.secret.name))).collect();
            op.after = pointer.at.iter().map(|at| (at.clone(), json!(name))).collect();
            op.detail =
                json!({ "key": "point", "path": pointer.path, "at": pointer.at, "rolls": pointer.rolls, "to": name });
            let patch = repoint::patch(&pointer.at, pointer.object.uid.as_deref(), &of.secret.name, name);
            let answer = repoint::send(cx, &pointer.path, &patch, true).await.map(|_| ());
            plan.hear(cx, &format!("the change of {}", pointer.object), answer)?;
            plan.ops.push(op);
        }
        plan.outputs["handed_over"] = json!(left);
        plan.warnings.extend(left.into_iter().map(|l| format!("by hand: {l}")));
        plan.warnings.push(format!(
            "pods without a controller, Gateways and operators' objects that name {} have to be pointed to {name} by hand",
            of.secret.name
        ));
        Ok(())
    }

    /// What a landed patch amounts to: read back, and compared.
    async fn landed_done(&self, cx: &Cx, of: &Of, keys: &[String], made: &Values) -> Result<Done, Problem> {
        let now = secret_now(cx, &of.secret.namespace, &of.secret.name, of.secret.uid.as_deref()).await?;
        let vault = Vault::open(cx)?;
        let wanted = digest_of_keys(&vault, made, keys);
        if digest_of_keys(&vault, &now.values, keys) != wanted {
            return Err(Problem::failed(format!(
                "Secret {}/{} was patched, and does not hold the new values: {} wrote it since",
                of.secret.namespace,
                of.secret.name,
                last_writer(&now.meta)
            ))
            .hint("something keeps this Secret: rotate where it takes the value from"));
        }
        let at = written_at(&now.meta).unwrap_or_else(|| crate::clock::rfc3339(cx.clock.now()));
        let version = now.meta.resource_version.unwrap_or_default();
        let said = format!("Secret {}/{} holds the new values", of.secret.namespace, of.secret.name);
        let observed = json!({
            "name": of.secret.name, "uid": of.secret.uid, "renamed": false, "keys": keys, "updated_at": at,
            "digest": wanted, "version": version, "whole": vault.digest_of(&now.values),
        });
        Ok(Done::applied(
            said.clone(),
            Proof::Verified(format!("{said}: read back, resourceVersion {version}, compared by keyed digest")),
            observed,
        ))
    }

    async fn patch(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let (of, rotated) = self.parts()?;
        let vault = Vault::open(cx)?;
        let made = vault.need("made", "the new credential")?;
        let keys = made.keys();
        let now = secret_now(cx, &of.secret.namespace, &of.secret.name, op.object.uid.as_deref()).await?;
        let mark = mark(cx, op);
        if rotated.written_by_issuer || is_marked(&now.meta, &mark) {
            return self.landed_done(cx, &of, &keys, &made).await;
        }
        self.same(cx, &of, &now)?;
        vault.put("before", &now.values)?;
        let data: serde_json::Map<String, Value> =
            made.0.iter().map(|(k, v)| (k.clone(), json!(ByteString(v.clone())))).collect();
        let body = json!({
            "metadata": {
                "uid": now.meta.uid, "resourceVersion": now.meta.resource_version, "annotations": { ROTATED_BY: mark },
            },
            "data": data,
        });
        let params = PatchParams { field_manager: Some("quell".into()), ..PatchParams::default() };
        let sent = SecretUpdate::api(cx, &of).patch_metadata(&of.secret.name, &params, &Patch::Merge(body)).await;
        if let Err(error) = sent {
            let conflict = matches!(&error, kube::Error::Api(s) if s.code == 409);
            let problem = withhold(error, &format!("{}/{}", of.secret.namespace, of.secret.name), false);
            let after = secret_now(cx, &of.secret.namespace, &of.secret.name, op.object.uid.as_deref()).await?;
            if is_marked(&after.meta, &mark) {
                return self.landed_done(cx, &of, &keys, &made).await;
            }
            if conflict {
                self.same(cx, &of, &after)?;
            }
            return Err(problem);
        }
        self.landed_done(cx, &of, &keys, &made).await
    }

    async fn create(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let (of, _) = self.parts()?;
        let vault = Vault::open(cx)?;
        let made = vault.need("made", "the new credential")?;
        let mark = mark(cx, op);
        let name = op.object.name.clone();
        let api = SecretUpdate::api(cx, &of);
        if let Some(there) = api.get_opt(&name).await? {
            if is_marked(&there.metadata, &mark) {
                return Ok(self.created(&vault, &there, &made));
            }
            return Err(Problem::new(Fault::Conflict, format!("{} is there already, and not of this run", op.object))
                .hint("remove it, and resume"));
        }
        let now = secret_now(cx, &of.secret.namespace, &of.secret.name, of.secret.uid.as_deref()).await?;
        self.same(cx, &of, &now)?;
        let all = now.values.with(&made);
        let mut annotations = now.meta.annotations.clone().unwrap_or_default();
        annotations.retain(|k, _| !k.starts_with("kubectl.kubernetes.io/"));
        annotations.insert(ROTATED_BY.into(), mark);
        annotations.insert("quell.dev/replaces".into(), of.secret.name.clone());
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: now.meta.labels.clone(),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            type_: Some(now.kind.clone()),
            immutable: Some(true),
            data: Some(all.0.iter().map(|(k, v)| (k.clone(), ByteString(v.clone()))).collect()),
            string_data: None,
        };
        let made_it =
            api.create(&PostParams { field_manager: Some("quell".into()), ..PostParams::default() }, &secret).await;
        let there = made_it.map_err(|e| withhold(e, &format!("{}/{name}", of.secret.namespace), false))?;
        Ok(self.created(&vault, &there, &made))
    }

    fn created(&self, vault: &Vault, there: &Secret, made: &Values) -> Done {
        let name = there.metadata.name.clone().unwrap_or_default();
        let at = serde_json::to_value(&there.metadata.creation_timestamp).unwrap_or_default();
        let keys = made.keys();
        let observed = json!({
            "name": name, "uid": there.metadata.uid, "renamed": true, "keys": keys, "updated_at": at,
            "digest": digest_of_keys(vault, made, &keys),
        });
        let said = format!("Secret {name} holds the new values");
        Done::applied(said.clone(), Proof::Verified(format!("{said}: the API server's answer has its UID")), observed)
    }

    async fn point(&self, cx: &Cx, op: &Op, to: &str, from: &str) -> Result<Done, Problem> {
        let at: Vec<String> = serde_json::from_value(op.detail["at"].clone()).unwrap_or_default();
        let path = op.detail["path"].as_str().unwrap_or_default();
        let patch = repoint::patch(&at, op.object.uid.as_deref(), from, to);
        let after = repoint::send(cx, path, &patch, false).await?;
        Ok(pointed(op, &after, &at, to))
    }
}

fn pointed(op: &Op, object: &Value, at: &[String], to: &str) -> Done {
    let there = at.iter().all(|place| object.pointer(place).and_then(Value::as_str) == Some(to));
    let said = format!("{} names Secret {to}", op.object);
    let proof = if there {
        Proof::Verified(said.clone())
    } else {
        Proof::Refuted(format!("{} was patched, and does not name Secret {to}", op.object))
    };
    let name = format!("{}/{}", op.object.kind, op.object.name);
    Done::applied(said, proof, json!({ "repointed": name, "rolls": op.detail["rolls"] }))
}

#[async_trait]
impl Action for SecretUpdate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let (of, rotated) = match self.parts() {
            Ok(parts) => parts,
            Err(problem) => {
                plan.blockers.push(problem.message);
                return Ok(plan);
            }
        };
        let object = of.object();
        let now = match secret_now(cx, &of.secret.namespace, &of.secret.name, of.secret.uid.as_deref()).await {
            Ok(now) => now,
            Err(problem) if [Fault::NotFound, Fault::Refused, Fault::Conflict].contains(&problem.fault) => {
                plan.blockers.push(problem.message);
                return Ok(plan);
            }
            Err(problem) => return Err(problem),
        };
        plan.outputs = json!({
            "name": of.secret.name, "uid": of.secret.uid, "renamed": false, "keys": rotated.keys, "updated_at": null,
            "digest": null, "repointed": [], "handed_over": [],
        });
        let marked_by_us = now.meta.annotations.as_ref().and_then(|a| a.get(ROTATED_BY));
        let marked_by_us = marked_by_us.is_some_and(|m| m.starts_with(&format!("{}.", cx.incident)));
        if !rotated.written_by_issuer
            && !marked_by_us
            && Vault::has(cx, "old")
            && let Err(problem) = self.same(cx, &of, &now)
        {
            let hint = problem.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
            plan.blockers.push(format!("{problem}{hint}"));
        }
        if rotated.written_by_issuer {
            let mut op =
                Op::observe(object.clone(), format!("see that the issuer has put the new values into {object}"));
            op.detail = json!({ "key": "see" });
            plan.ops.push(op);
            return Ok(plan);
        }
        if let Some(new) = &rotated.secret {
            plan.outputs["name"] = json!(new);
            plan.outputs["renamed"] = json!(true);
            let made = ObjectRef { name: new.clone(), uid: None, ..object };
            let mut op = Op::observe(made, format!("see that Secret {new} has the new credential"));
            op.detail = json!({ "key": "see-new" });
            plan.ops.push(op);
            self.plan_successor(cx, &mut plan, &of, new, None).await?;
            return Ok(plan);
        }
        for keeper in keepers(&now.meta) {
            match (keeper.overwrites, self.owner_override.trim()) {
                (false, _) => plan.warnings.push(format!("{object} is also kept by {}: {}", keeper.who, keeper.how)),
                (true, "") => plan.blockers.push(format!(
                    "{object} is kept by {}, which would put its own value back: {} (or give owner-override with a reason)",
                    keeper.who, keeper.how
                )),
                (true, reason) => plan.warnings.push(format!(
                    "{object} is edited although {} keeps it and may put its own value back ({reason}); the right place: {}",
                    keeper.who, keeper.how
                )),
            }
        }
        if has_last_applied(&now.meta) {
            plan.warnings.push(format!(
                "`kubectl apply` keeps a copy of the old values in an annotation of {object}, which is left; applying the \
                 old file would put them back"
            ));
        }
        if now.immutable {
            let new = successor(&of.secret.name, &cx.incident);
            plan.outputs["name"] = json!(new);
            plan.outputs["renamed"] = json!(true);
            self.plan_successor(cx, &mut plan, &of, &new, Some(&now)).await?;
            return Ok(plan);
        }
        let shown = if rotated.keys.is_empty() { "its keys".to_owned() } else { rotated.keys.join(", ") };
        let undo = Undo::Automatic("put the old values back, which are sealed in the incident's folder".into());
        let mut op = Op::change(
            "patch",
            object.clone(),
            format!("put the new values into {object} ({shown})"),
            Risk::High,
            undo,
        );
        op.before = json!({ "data": rotated.keys.iter().map(|k| (k.clone(), json!("(old)"))).collect::<serde_json::Map<_, _>>() });
        op.after = json!({ "data": rotated.keys.iter().map(|k| (k.clone(), json!("(new, never shown)"))).collect::<serde_json::Map<_, _>>() });
        op.detail = json!({ "key": "patch" });
        let body = json!({
            "metadata": { "uid": now.meta.uid, "resourceVersion": now.meta.resource_version, "annotations": { ROTATED_BY: "dry-run" } },
        });
        let params = PatchParams { dry_run: true, field_manager: Some("quell".into()), ..PatchParams::default() };
        let answer = SecretUpdate::api(cx, &of).patch_metadata(&of.secret.name, &params, &Patch::Merge(body)).await;
        plan.hear(cx, &format!("a change of {object}"), answer.map(|_| ()).map_err(Problem::from))?;
        plan.ops.push(op);
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match op.detail["key"].as_str() {
            Some("successor") => self.create(cx, op).await,
            Some("see-new") => {
                let (of, _) = self.parts()?;
                let vault = Vault::open(cx)?;
                let made = vault.need("made", "the new credential")?;
                let there = SecretUpdate::api(cx, &of).get(&op.object.name).await?;
                let done = self.created(&vault, &there, &made);
                Ok(Done { status: OpStatus::Taken, ..done })
            }
            Some("point") => {
                let of = Of::read(&self.of).map_err(Problem::usage)?;
                let to = op.detail["to"].as_str().unwrap_or_default();
                self.point(cx, op, to, &of.secret.name).await
            }
            _ => self.patch(cx, op).await,
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let (of, _) = self.parts()?;
        match op.detail["key"].as_str() {
            Some("point") => {
                let at: Vec<String> = serde_json::from_value(op.detail["at"].clone()).unwrap_or_default();
                let to = op.detail["to"].as_str().unwrap_or_default();
                let object = raw::get(&cx.client, op.detail["path"].as_str().unwrap_or_default()).await?;
                let there = at.iter().all(|place| object.pointer(place).and_then(Value::as_str) == Some(to));
                Ok(if there { (Landed::Yes, Some(pointed(op, &object, &at, to))) } else { (Landed::No, None) })
            }
            Some("successor") => match SecretUpdate::api(cx, &of).get_opt(&op.object.name).await? {
                Some(there) if is_marked(&there.metadata, &mark(cx, op)) => {
                    let vault = Vault::open(cx)?;
                    let made = vault.need("made", "the new credential")?;
                    Ok((Landed::Yes, Some(self.created(&vault, &there, &made))))
                }
                _ => Ok((Landed::No, None)),
            },
            _ => {
                let now = secret_now(cx, &of.secret.namespace, &of.secret.name, op.object.uid.as_deref()).await?;
                if !is_marked(&now.meta, &mark(cx, op)) {
                    return Ok((Landed::No, None));
                }
                let made = Vault::open(cx)?.need("made", "the new credential")?;
                Ok((Landed::Yes, Some(self.landed_done(cx, &of, &made.keys(), &made).await?)))
            }
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        let (of, _) = self.parts()?;
        match op.detail["key"].as_str() {
            Some("point") => {
                let to = op.detail["to"].as_str().unwrap_or_default();
                self.point(cx, op, &of.secret.name, to).await
            }
            Some("successor") => {
                let uid = done["uid"].as_str().map(str::to_owned);
                let params = DeleteParams {
                    preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
                    ..DeleteParams::default()
                };
                match SecretUpdate::api(cx, &of).delete(&op.object.name, &params).await.map_err(Problem::from) {
                    Ok(_) => {}
                    Err(problem) if problem.fault == Fault::NotFound => {}
                    Err(problem) => return Err(problem),
                }
                let said = format!("{} is deleted", op.object);
                Ok(Done::applied(said.clone(), Proof::Verified(said), Value::Null))
            }
            _ => self.put_back(cx, op, done, &of).await,
        }
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = plan_outputs.clone();
        let mut repointed = Vec::new();
        for (_, done) in done {
            if let Some(name) = done.observed["repointed"].as_str() {
                repointed.push(name.to_owned());
            }
            for key in ["name", "uid", "renamed", "keys", "updated_at", "digest"] {
                if !done.observed[key].is_null() {
                    outputs[key] = done.observed[key].clone();
                }
            }
        }
        if !repointed.is_empty() {
            outputs["repointed"] = json!(repointed);
        }
        Conclusion::of(outputs, done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successors_name_is_the_incidents_own_and_no_longer_than_a_name() {
        assert_eq!(successor("db", "20261124t024510z-exposed-secret-1105ee"), "db-1105ee");
        assert_eq!(successor(&"x".repeat(253), "a-1105ee").len(), 253);
    }
}
