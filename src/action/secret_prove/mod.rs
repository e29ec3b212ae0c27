//! `secret.prove`: restart what does not refresh, prove that nobody holds the old value, revoke it, show it refused.

mod holders;
mod restart;
mod revoke;

use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::issuer::{self, Provider};
use super::sealed::Vault;
use super::secret_consumers::copies;
use super::secret_consumers::workloads::{self, Found};
use super::secret_of::{Of, secret_now};
use super::secret_rotate::{job, request};
use super::secret_update::{Rotated, digest_of_keys};
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::clock;
use crate::cluster::Cx;
use crate::event::{Label, Landed, Method, ObjectRef, Op, OpStatus, Proof, Risk, Source, Undo};
use crate::evidence::segment;

/// Parameters of `secret.prove`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretProve {
    /// The outputs of a `secret.consumers` step.
    of: Value,
    /// The outputs of a `secret.rotate` step.
    rotate: Value,
    /// The outputs of a `secret.update` step.
    update: Value,
    /// What is restarted: `needed` (the default: consumers by env, envFrom and subPath, which never refresh), `all`
    /// consumers, or `none`.
    #[serde(default)]
    restart: Which,
    /// Workloads that are left alone, as `Deployment/web`: one that is evidence. They keep the old value, which is said.
    #[serde(default)]
    leave: Vec<String>,
    /// Whether what volumes have mounted is compared through the container's own `cat`: `exec` (the default) or `none`.
    #[serde(default)]
    inspect: Inspect,
    /// Seconds that one restart, and the waiting for its budgets before, may take. Default: 600.
    #[serde(default = "ten_minutes")]
    patience_seconds: u64,
    /// Seconds that the kubelets may take to refresh volumes. Default: 150 (a sync period of a minute, and its cache).
    #[serde(default = "settle")]
    settle_seconds: u64,
    /// Seconds that uses of the old credential are watched for after it was revoked. Default: 30.
    #[serde(default = "half_a_minute")]
    watch_seconds: u64,
    /// When the old credential is revoked: `proved` (the default: nobody holds it any more), `anyway`, or `never`.
    #[serde(default)]
    revoke: When,
    /// End sessions that were opened with the old credential, where the issuer can.
    #[serde(default)]
    end_sessions: bool,
    /// Keep the old value sealed although it was shown to be refused. By default it is forgotten then.
    #[serde(default)]
    keep_old: bool,
}

/// What is restarted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Which {
    /// What does not refresh.
    #[default]
    Needed,
    /// Every consumer.
    All,
    /// Nothing.
    None,
}

/// How mounted content is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Inspect {
    /// Through the container's own `cat`.
    #[default]
    Exec,
    /// Not at all.
    None,
}

/// When the old credential is revoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum When {
    /// Once nobody is shown or supposed to hold it.
    #[default]
    Proved,
    /// Whoever holds it.
    Anyway,
    /// Not by quell.
    Never,
}

fn ten_minutes() -> u64 {
    600
}

fn settle() -> u64 {
    150
}

fn half_a_minute() -> u64 {
    30
}

const fn workload(resource: &'static str) -> Rule {
    Rule {
        group: "apps",
        resource,
        verbs: &["get", "list", "patch"],
        scope: Scope::Target,
        why: "to restart consumers that do not take up the new value, and to see that they did",
        optional: true,
    }
}

const fn lists(group: &'static str, resource: &'static str) -> Rule {
    Rule {
        group,
        resource,
        verbs: &["list"],
        scope: Scope::Target,
        why: "to find consumers and copies",
        optional: true,
    }
}

impl Kind for SecretProve {
    const SPEC: Spec = Spec {
        name: "secret.prove",
        summary: "Restarts consumers, proves that none holds the old value, revokes it and shows that it is refused",
        description: "Consumers that never refresh (env, envFrom, subPath) are restarted one workload after the other, each \
            only while its disruption budgets are kept, the small ones first, and each is waited for. Then every pod that \
            uses the Secret is judged: made after the change (by the API server's clock), or what it has mounted is \
            compared by keyed digest through the container's own `cat`, or it is not proved, and said why. Only when \
            nobody is left does the issuer revoke the old credential; then a login with the old one must fail and one with \
            the new one work, and for a while uses of the old one are watched for. An owner that put the old value back is \
            found. In the end the old value is forgotten here, unless something of this was not shown.",
        risk: Risk::High,
        undo: "a revoked credential works again where the issuer can; restarts can't be taken back",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "to see that the Secret still holds the new values",
                optional: false,
            },
            lists("", "secrets"),
            lists("", "configmaps"),
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["delete"],
                scope: Scope::Target,
                why: "for provider service-account-token: to revoke the old token",
                optional: true,
            },
            Rule {
                group: "",
                resource: "pods",
                verbs: &["get", "list"],
                scope: Scope::Target,
                why: "to judge every pod that uses the Secret",
                optional: false,
            },
            Rule {
                group: "",
                resource: "pods/exec",
                verbs: &["get", "create"],
                scope: Scope::Target,
                why: "to compare what volumes have mounted",
                optional: true,
            },
            Rule {
                group: "",
                resource: "pods/eviction",
                verbs: &["create"],
                scope: Scope::Target,
                why: "to replace pods whose workload does not do it by itself",
                optional: true,
            },
            Rule {
                group: "policy",
                resource: "poddisruptionbudgets",
                verbs: &["list"],
                scope: Scope::Target,
                why: "to restart consumers without breaking their budgets",
                optional: true,
            },
            workload("deployments"),
            workload("statefulsets"),
            workload("daemonsets"),
            lists("apps", "replicasets"),
            lists("batch", "jobs"),
            lists("batch", "cronjobs"),
            lists("", "replicationcontrollers"),
        ],
        example: "id: prove\ntitle: Nobody holds the old one, and it is refused\nuses: secret.prove\nneeds: [update]\nwith:\n  of: ${{ steps.consumers.outputs }}\n  rotate: ${{ steps.rotate.outputs }}\n  update: ${{ steps.update.outputs }}\n",
        outputs: &[
            ("restarted", "workloads that were restarted, as Kind/name"),
            ("open", "pods that hold the old value, or may, with the reason"),
            ("revoked", "whether the old credential was revoked"),
            ("refused", "whether it was shown to be refused"),
            ("handed_over", "what has to be restarted by hand"),
        ],
    };
}

/// Said where the old value is not forgotten.
const KEPT: &str =
    "the old value stays sealed for undo in the incident's folder (sealed/): remove that when it is not needed";

/// What the step works with.
struct Parts {
    of: Of,
    rotated: Rotated,
    provider: std::sync::Arc<dyn Provider>,
    /// The Secret that has the new values.
    name: String,
    renamed: bool,
    updated_at: Option<String>,
    digest: Option<String>,
    keys: Vec<String>,
    repointed: Vec<String>,
}

impl SecretProve {
    fn parts(&self) -> Result<Parts, Problem> {
        let of = Of::read(&self.of).map_err(Problem::usage)?;
        let rotated = Rotated::read(&self.rotate).map_err(Problem::usage)?;
        let provider = issuer::bind(&rotated.provider, &rotated.settings).map_err(Problem::usage)?;
        let text = |key: &str| self.update[key].as_str().map(str::to_owned);
        let list = |key: &str| serde_json::from_value(self.update[key].clone()).unwrap_or_default();
        Ok(Parts {
            name: text("name").unwrap_or_else(|| of.secret.name.clone()),
            renamed: self.update["renamed"] == true,
            updated_at: text("updated_at"),
            digest: text("digest"),
            keys: list("keys"),
            repointed: list("repointed"),
            of,
            rotated,
            provider,
        })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience_seconds.clamp(1, 86_400))
    }

    /// Judges every pod that names the old Secret, once.
    async fn look(&self, cx: &Cx, parts: &Parts) -> Result<(Vec<holders::Judged>, Vec<String>), Problem> {
        let namespace = &parts.of.secret.namespace;
        let updated = parts.updated_at.as_deref().and_then(|t| clock::parse(t).ok()).ok_or_else(|| {
            Problem::failed("when the Secret was changed is not known: the step that updates it has not ended")
        })?;
        let vault = Vault::open(cx)?;
        let old = vault.get("before")?.or(vault.get("old")?);
        let question = holders::Question {
            vault: &vault,
            old: old.as_ref(),
            updated,
            renamed: parts.renamed,
            keys: &parts.keys,
            exec: self.inspect == Inspect::Exec,
        };
        let found = workloads::find(cx, namespace, &parts.of.secret.name, &Default::default()).await?;
        let mut all = Vec::new();
        for (i, holder) in found.pods.iter().enumerate() {
            (cx.progress)("pods", i as u64, Some(found.pods.len() as u64));
            all.extend(holders::judge(cx, &question, namespace, holder).await?);
        }
        Ok((all, found.not_read))
    }

    /// What keeps it from being proved, now: an owner that put the old value back, pods, what could not be read.
    async fn open(&self, cx: &Cx, parts: &Parts) -> Result<(Vec<holders::Judged>, Vec<String>, bool), Problem> {
        let vault = Vault::open(cx)?;
        let mut open = Vec::new();
        let mut refuted = false;
        let now = secret_now(cx, &parts.of.secret.namespace, &parts.name, None).await?;
        if let Some(digest) = &parts.digest
            && digest_of_keys(&vault, &now.values, &parts.keys) != *digest
        {
            let old = vault.get("before")?.or(vault.get("old")?);
            let back = old.is_some_and(|old| {
                digest_of_keys(&vault, &old, &parts.keys) == digest_of_keys(&vault, &now.values, &parts.keys)
            });
            let keepers: Vec<String> = super::secret_keeper::keepers(&now.meta)
                .into_iter()
                .map(|k| format!("{} ({})", k.who, k.how))
                .collect();
            let who = if keepers.is_empty() {
                super::secret_keeper::writers(&now.meta).join(", ")
            } else {
                keepers.join(", ")
            };
            open.push(if back {
                format!("the old value is back in Secret {}: put there by {who}", parts.name)
            } else {
                format!("Secret {} holds another value than the new one: written by {who}", parts.name)
            });
            refuted = true;
        }
        if let Some(old) = vault.get("old")? {
            let uid = parts.of.secret.uid.as_deref().unwrap_or_default();
            let namespace = &parts.of.secret.namespace;
            // What could not be read was said by the step that found the consumers.
            let (copies, _) = copies::find(cx, namespace, &vault, &old, &parts.keys, uid, false).await?;
            open.extend(copies.iter().map(|c| {
                format!(
                    "{} {} has the old value too (key {}): change it, or whoever uses it fails",
                    c.kind, c.name, c.key
                )
            }));
        }
        let (judged, not_read) = self.look(cx, parts).await?;
        refuted |= judged.iter().any(holders::Judged::holds);
        open.extend(judged.iter().flat_map(holders::Judged::open));
        open.extend(not_read.iter().map(|n| format!("not looked at: {n}")));
        Ok((judged, open, refuted))
    }

    /// Looks until nobody holds it, or the time is over; kept as an artifact.
    async fn prove(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let parts = self.parts()?;
        let started = cx.clock.now();
        let deadline = Instant::now() + Duration::from_secs(self.settle_seconds.min(86_400));
        let (judged, open, refuted) = loop {
            let seen = self.open(cx, &parts).await?;
            // Only what refreshes by itself, or is about to end, can become better by waiting.
            let may_change = seen.0.iter().any(|j| {
                let refreshes =
                    |(u, v): &(_, _)| is_volume(u) && matches!(v, holders::Verdict::Old(_)) && !parts.renamed;
                j.ending && j.holds() || j.uses.iter().any(refreshes)
            });
            if !may_change || Instant::now() >= deadline {
                break seen;
            }
            (cx.progress)("waiting for volumes to be refreshed", 0, None);
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let document = json!({
            "secret": format!("{}/{}", parts.of.secret.namespace, parts.name),
            "updated_at": parts.updated_at,
            "pods": judged,
            "open": open,
        });
        let label = Label {
            title: "every pod that uses the Secret: whether it holds the old value, and by what that was told".into(),
            media_type: "application/json".into(),
            source: Source { object: op.object.clone(), container: None, what: "holders of the old value".into() },
            method: Method::api(
                "start times, and mounted files by exec, compared by keyed digest",
                vec!["pods".into()],
            ),
            started,
        };
        let free = (1..1000u32).map(|n| {
            let number = if n == 1 { String::new() } else { format!("-{n}") };
            format!("data/{}/holders{number}.json", segment(&cx.step))
        });
        let path = free.into_iter().find(|p| !cx.store.root().join(p).exists()).unwrap_or_default();
        cx.store.put_json(&path, label, cx.clock, &document, Vec::new())?;
        let count = judged.len();
        let proof = if open.is_empty() {
            Proof::Verified(format!("no running pod holds the old value: {count} looked at"))
        } else if refuted {
            Proof::Refuted(open.join("; "))
        } else {
            Proof::Unproved(open.join("; "))
        };
        let observed = json!({ "open": open, "holders": path });
        Ok(Done::taken(proof.text().to_owned(), Some(proof), observed))
    }
}

#[async_trait]
impl Action for SecretProve {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let parts = match self.parts() {
            Ok(parts) => parts,
            Err(problem) => {
                plan.blockers.push(problem.message);
                return Ok(plan);
            }
        };
        if self.update["name"].is_null() {
            plan.blockers.push("the Secret was not updated: nothing is restarted and nothing is revoked".into());
            return Ok(plan);
        }
        let namespace = parts.of.secret.namespace.clone();
        let found: Found = workloads::find(cx, &namespace, &parts.of.secret.name, &Default::default()).await?;
        plan.warnings.extend(found.not_read.iter().map(|n| format!("not looked at: {n}")));
        let mut by_hand = Vec::new();
        if self.restart != Which::None {
            let all = self.restart == Which::All;
            let restarts = restart::plan(cx, &namespace, &found, &self.leave, &parts.repointed, all).await?;
            plan.ops.extend(restarts.ops);
            plan.warnings.extend(restarts.warnings);
            plan.warnings.extend(restarts.by_hand.iter().map(|h| format!("by hand: {h}")));
            by_hand = restarts.by_hand;
        }
        for name in &parts.repointed {
            let Some((object, path)) = restart::place(&namespace, name) else { continue };
            let mut op =
                Op::observe(object, format!("see that new pods of {name}, which name the new Secret, have taken over"));
            op.detail = json!({ "key": "rollout", "path": path });
            plan.ops.push(op);
        }
        let secret = ObjectRef { name: parts.name.clone(), uid: None, ..parts.of.object() };
        let mut see = Op::observe(
            secret,
            format!(
                "see that no running pod holds the old value: {} now{}",
                match found.pods.len() {
                    1 => "1 pod uses it".to_owned(),
                    n => format!("{n} pods use it"),
                },
                match self.inspect {
                    Inspect::Exec => "; mounted files are compared through the containers' own cat",
                    Inspect::None => "",
                }
            ),
        );
        see.detail = json!({ "key": "prove" });
        plan.ops.push(see);
        let object = parts.of.object();
        let credential =
            ObjectRef { kind: "Credential".into(), name: parts.of.secret.name.clone(), ..ObjectRef::default() };
        // The Secret may have the new values by now, or be gone: the old ones are sealed.
        let old = if Vault::has(cx, "old") { Vault::open(cx)?.get("old")? } else { None };
        let now = secret_now(cx, &namespace, &parts.of.secret.name, None).await.ok();
        let old = old.or_else(|| now.as_ref().map(|n| n.values.clone()));
        let kind = parts.of.secret.kind.clone().or_else(|| now.map(|n| n.kind)).unwrap_or_else(|| "Opaque".into());
        let request = request(cx);
        let revokes = parts.provider.look(&job(cx, &object, &kind, &request), old.as_ref()).await?;
        if self.revoke != When::Never
            && !parts.rotated.revoked
            && let Some(how) = &revokes.revoke
        {
            let by_token = parts.rotated.provider == "service-account-token";
            let undo = match (by_token, parts.rotated.provider.as_str()) {
                (true, _) => Undo::Impossible("a deleted token can't be made again".into()),
                (_, "manual") => Undo::Impossible("a person revoked it".into()),
                _ => Undo::Automatic("let the old credential work again, as long as its value is sealed here".into()),
            };
            let target = if by_token { object.clone() } else { credential.clone() };
            let when = if self.revoke == When::Anyway { "" } else { ", once nobody holds it" };
            let mut op = Op::change("revoke", target, format!("{how}{when}"), Risk::Destructive, undo);
            op.detail = json!({ "key": "revoke" });
            plan.ops.push(op);
        }
        let mut last = |key: &str, summary: String| {
            let mut op = Op::observe(credential.clone(), summary);
            op.detail = json!({ "key": key });
            plan.ops.push(op);
        };
        if revokes.revoke.is_some() {
            last("refused", "try the old credential, which must be refused, and the new one".into());
            last("watch", format!("watch for uses of the old credential for {} s", self.watch_seconds));
        } else {
            last(
                "end",
                format!("say what becomes of the old one: {} has nobody who could revoke it", parts.rotated.provider),
            );
        }
        plan.outputs = json!({ "restarted": [], "open": [], "revoked": parts.rotated.revoked, "refused": false, "handed_over": by_hand });
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        match op.detail["key"].as_str() {
            Some("restart") => restart::restart(cx, op, self.patience()).await,
            Some("rollout") => {
                let done = restart::rolled_out(cx, op, self.patience()).await?;
                Ok(Done { status: OpStatus::Taken, ..done })
            }
            Some("evict") => restart::evict(cx, op, self.patience()).await,
            Some("prove") => self.prove(cx, op).await,
            Some("revoke") => self.revoke(cx).await,
            Some("refused") => self.refused(cx).await,
            Some("end") => self.end(cx).await,
            _ => self.watch(cx).await,
        }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        match op.detail["key"].as_str() {
            Some("restart") if restart::is_restarted(cx, op).await? => {
                Ok((Landed::Yes, Some(restart::rolled_out(cx, op, self.patience()).await?)))
            }
            // An eviction of a UID that is gone, a revocation of what is revoked: the same again.
            _ => Ok((Landed::No, None)),
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, _done: &Value) -> Result<Done, Problem> {
        if op.detail["key"] != "revoke" {
            return Err(Problem::internal(format!("{} has no undo", op.summary)));
        }
        let parts = self.parts()?;
        let old = Vault::open(cx)?.get("old")?.ok_or_else(|| {
            Problem::failed("the old value was forgotten when it was shown to be refused: nothing is left to restore")
        })?;
        let detail = parts.rotated.detail.clone();
        let said = self.with_job(cx, &parts, async |job| parts.provider.restore(&job, &old, &detail).await).await?;
        Ok(Done {
            status: OpStatus::Applied,
            detail: said.clone(),
            proof: Some(Proof::Unproved(format!("{said}: it is the exposed one"))),
            observed: Value::Null,
        })
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = plan_outputs.clone();
        let restarted: Vec<String> = done
            .iter()
            .filter(|(_, d)| d.observed["restarted"] == true)
            .map(|(op, _)| format!("{}/{}", op.object.kind, op.object.name))
            .collect();
        outputs["restarted"] = json!(restarted);
        for (_, done) in done {
            for key in ["open", "refused"] {
                if !done.observed[key].is_null() {
                    outputs[key] = done.observed[key].clone();
                }
            }
            if done.observed["revoked"] == true {
                outputs["revoked"] = json!(true);
            }
        }
        Conclusion::of(outputs, done)
    }
}

fn is_volume(usage: &super::secret_use::Use) -> bool {
    usage.via == "volume"
}
