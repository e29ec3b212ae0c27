//! `secret.rotate`: a new credential at its issuer, sealed here until it stands in the Secret.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::issuer::{self, Answer, Chosen, Created, Job, Outlook, Provider};
use super::sealed::{Values, Vault};
use super::secret_of::{Of, secret_now};
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::cluster::{Cx, Fault};
use crate::event::{Landed, Op, OpStatus, Proof, Risk, Undo};

/// Parameters of `secret.rotate`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SecretRotate {
    /// The outputs of a `secret.consumers` step: which Secret it is.
    of: Value,
    /// Who issues the credential: `generate`, `postgres`, `certificate`, `cert-manager`, `service-account-token`,
    /// `registry`, `command` or `manual`.
    provider: String,
    /// Settings by provider's name, as in `{postgres: {url: …}}`; those of other providers are not looked at.
    #[serde(default)]
    settings: Value,
    /// The credential is being abused: revoke the old one first, before there is a new one, and accept the outage.
    #[serde(default)]
    active_abuse: bool,
}

impl Kind for SecretRotate {
    const SPEC: Spec = Spec {
        name: "secret.rotate",
        summary: "Makes a new credential at its issuer, by one of several providers, and seals it until it is used",
        description: "The issuer is told by a provider. generate: a random value, for keys that only their holders check \
            (keys, length, alphabet). postgres: a role's password, or a second login role so that both work until the old \
            one is revoked (url, password-file, ca-file, role, second-role, group, user-key, password-key). certificate: \
            signed by a CA given as files, for the old one's names, with a new key (ca-file, ca-key-file, days). \
            cert-manager: the Certificate is issued again, with a new key or not at all. service-account-token: a new \
            token Secret. registry: a pull password by a program. command: a program that speaks JSON on its standard \
            input and output (argv, env, timeout; docs of the provider tell its contract). manual: a person. What is made is \
            sealed in the incident's folder before anything else is done, so that it is neither lost nor leaked when \
            something fails, and `quell resume` goes on with it. No value reaches an argument, a log, the journal or a \
            message. With active-abuse the old credential is revoked first.",
        risk: Risk::High,
        undo: "the new credential is removed at the issuer, and a revoked one works again, where the provider can",
        captures: false,
        rules: &[
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["get"],
                scope: Scope::Target,
                why: "to tell the issuer which credential it is",
                optional: false,
            },
            Rule {
                group: "",
                resource: "secrets",
                verbs: &["create", "delete"],
                scope: Scope::Target,
                why: "for provider service-account-token: a new token Secret, and the end of the old one",
                optional: true,
            },
            Rule {
                group: "cert-manager.io",
                resource: "certificates",
                verbs: &["get"],
                scope: Scope::Target,
                why: "for provider cert-manager",
                optional: true,
            },
            Rule {
                group: "cert-manager.io",
                resource: "certificates/status",
                verbs: &["patch"],
                scope: Scope::Target,
                why: "for provider cert-manager: to ask for a new certificate",
                optional: true,
            },
        ],
        example: "id: rotate\ntitle: A new credential\nuses: secret.rotate\nwith:\n  of: ${{ steps.consumers.outputs }}\n  provider: postgres\n  settings:\n    postgres:\n      url: postgres://admin@db.example/shop\n      password-file: /run/secrets/admin\n      second-role: shop_b\n",
        outputs: &[
            ("provider", "who issued it"),
            ("settings", "the provider's settings, for later steps"),
            ("detail", "what the provider needs to revoke or remove it; no value"),
            ("keys", "the Secret's keys that have a new value"),
            ("overlap", "whether old and new both work until the old one is revoked"),
            ("revoked", "whether the old one is revoked already"),
            ("written_by_issuer", "whether the issuer writes the Secret itself"),
            ("secret", "the issuer's own new Secret, by name; null when the old one is to be changed"),
        ],
    };
}

/// The job of a step, from what it was given.
pub(super) fn job<'a>(cx: &'a Cx, object: &'a crate::event::ObjectRef, kind: &'a str, request: &'a str) -> Job<'a> {
    Job { cx, secret: object, kind, request }
}

/// Names the rotation to the issuer: the same on every try, and for the steps after it.
pub(super) fn request(cx: &Cx) -> String {
    format!("{}.rotate", cx.incident)
}

/// Why a revocation is not shown, or the words of one that is.
pub(super) fn proof_of(answer: Answer) -> Proof {
    match answer {
        Answer::Yes(words) => Proof::Verified(words),
        Answer::No(words) => Proof::Refuted(words),
        Answer::Unknown(words) => Proof::Unproved(words),
    }
}

impl SecretRotate {
    fn chosen(&self) -> Chosen {
        Chosen { provider: self.provider.clone(), settings: self.settings.clone() }
    }

    fn provider(&self) -> Result<std::sync::Arc<dyn Provider>, Problem> {
        issuer::bind(&self.provider, &self.settings).map_err(Problem::usage)
    }

    fn of(&self) -> Result<Of, Problem> {
        Of::read(&self.of).map_err(Problem::usage)
    }

    /// The Secret's type, from the record or from the cluster.
    async fn kind(&self, cx: &Cx, of: &Of) -> Result<String, Problem> {
        match &of.secret.kind {
            Some(kind) => Ok(kind.clone()),
            None => Ok(secret_now(cx, &of.secret.namespace, &of.secret.name, of.secret.uid.as_deref()).await?.kind),
        }
    }

    /// What the new credential amounts to: tried at the issuer.
    async fn tried(&self, provider: &dyn Provider, job: &Job<'_>, created: &Created) -> Done {
        let said = created.said.clone();
        let answer = match provider.taken(job, &created.values, &created.detail).await {
            Ok(answer) => answer,
            Err(problem) => Answer::Unknown(problem.message),
        };
        let proof = match answer {
            Answer::Yes(words) => Proof::Verified(format!("{said}; {words}")),
            Answer::No(words) => Proof::Refuted(format!("{said}, but {words}")),
            Answer::Unknown(why) => Proof::Unproved(format!("{said}; that it is taken is not shown: {why}")),
        };
        let observed = json!({
            "created": true, "keys": created.values.keys(), "detail": created.detail,
            "secret": created.secret.as_ref().map(|s| &s.name),
        });
        Done::applied(said, proof, observed)
    }

    /// What an earlier try had made, from where it was sealed.
    fn made(vault: &Vault) -> Result<Option<Created>, Problem> {
        let Some(values) = vault.get("made")? else { return Ok(None) };
        let kept = vault.get("made-detail")?;
        let known: Value =
            kept.as_ref().and_then(|v| v.text("detail")).and_then(|t| serde_json::from_str(t).ok()).unwrap_or_default();
        Ok(Some(Created {
            said: "the credential that an earlier try had made, sealed here, is taken up".into(),
            detail: known["detail"].clone(),
            secret: serde_json::from_value(known["secret"].clone()).ok(),
            values,
        }))
    }

    fn keep(vault: &Vault, created: &Created) -> Result<(), Problem> {
        let known = json!({ "detail": created.detail, "secret": created.secret }).to_string();
        vault.put("made-detail", &Values([("detail".to_owned(), known.into_bytes())].into()))?;
        vault.put("made", &created.values)?;
        vault.forget("prepared").map(|_| ())
    }

    async fn create(&self, cx: &Cx) -> Result<Done, Problem> {
        let (of, provider) = (self.of()?, self.provider()?);
        let (object, request) = (of.object(), request(cx));
        let kind = self.kind(cx, &of).await?;
        let job = job(cx, &object, &kind, &request);
        let vault = Vault::open(cx)?;
        if let Some(made) = SecretRotate::made(&vault)? {
            return Ok(self.tried(&*provider, &job, &made).await);
        }
        let old = vault.need("old", "the Secret's value")?;
        let prepared = match vault.get("prepared")? {
            Some(prepared) => Some(prepared),
            None => {
                let fresh = provider.prepare(&old)?;
                if let Some(fresh) = &fresh {
                    vault.put("prepared", fresh)?;
                }
                fresh
            }
        };
        let created = provider.create(&job, &old, prepared, &|values| vault.put("made", values)).await;
        let created = created.map_err(|problem| match vault.get("made") {
            // A try that fails for good must not be repeated by itself: it would make one more.
            Ok(Some(_)) if problem.is_transient() => Problem { fault: Fault::Failed, ..problem },
            _ => problem,
        })?;
        SecretRotate::keep(&vault, &created)?;
        Ok(self.tried(&*provider, &job, &created).await)
    }

    async fn revoke(&self, cx: &Cx) -> Result<Done, Problem> {
        let (of, provider) = (self.of()?, self.provider()?);
        let (object, request) = (of.object(), request(cx));
        let kind = self.kind(cx, &of).await?;
        let job = job(cx, &object, &kind, &request);
        let old = Vault::open(cx)?.need("old", "the Secret's value")?;
        let proof = match provider.revoke(&job, &old, &Value::Null, true).await? {
            Answer::Yes(said) => match provider.taken(&job, &old, &Value::Null).await {
                Ok(Answer::No(words)) => Proof::Verified(format!("{said}; {words}")),
                Ok(Answer::Yes(words)) => Proof::Refuted(format!("{said}, but {words}")),
                Ok(Answer::Unknown(why)) => Proof::Unproved(format!("{said}; that it is refused is not shown: {why}")),
                Err(problem) => Proof::Unproved(format!("{said}; that it is refused is not shown: {problem}")),
            },
            other => proof_of(other),
        };
        Ok(Done::applied(proof.text().to_owned(), proof, json!({ "revoked": true })))
    }
}

#[async_trait]
impl Action for SecretRotate {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let (of, provider) = match (Of::read(&self.of), issuer::bind(&self.provider, &self.settings)) {
            (Ok(of), Ok(provider)) => (of, provider),
            (of, provider) => {
                plan.blockers.extend(of.err());
                plan.blockers.extend(provider.err());
                return Ok(plan);
            }
        };
        let object = of.object();
        let now = match secret_now(cx, &of.secret.namespace, &of.secret.name, of.secret.uid.as_deref()).await {
            Ok(now) => now,
            Err(problem) if [Fault::NotFound, Fault::Refused].contains(&problem.fault) => {
                plan.blockers.push(problem.message);
                return Ok(plan);
            }
            Err(problem) => return Err(problem),
        };
        let request = request(cx);
        let job = job(cx, &object, &now.kind, &request);
        let look = provider.look(&job, Some(&now.values)).await?;
        let Outlook { blockers, warnings, summary, before, after, no_overlap, undo, revoke, .. } = &look;
        plan.blockers.extend(blockers.iter().map(|b| format!("{}: {b}", self.provider)));
        plan.warnings.extend(warnings.iter().map(|w| format!("{}: {w}", self.provider)));
        if self.active_abuse {
            plan.warnings.push(format!(
                "ACTIVE ABUSE: the old credential is revoked first; from then until the consumers of {object} have the new \
                 one they fail: this outage is accepted"
            ));
            match revoke {
                Some(how) => {
                    let undo = Undo::Automatic("let the old credential work again, where the issuer can".into());
                    let summary = format!("revoke the old credential now, its open sessions too: {how}");
                    let mut op = Op::change("revoke", look.object.clone(), summary, Risk::High, undo);
                    op.detail = json!({ "key": "revoke-first" });
                    if self.provider == "service-account-token" {
                        op.object = object.clone();
                        op.undo = Undo::Impossible("a deleted token can't be made again".into());
                    }
                    plan.ops.push(op);
                }
                None => plan.warnings.push(format!(
                    "{}: nobody can be told to revoke the old one: it stays what it is until its holders have the new one",
                    self.provider
                )),
            }
        } else if let Some(why) = no_overlap {
            plan.warnings.push(format!("{}: {why}", self.provider));
        }
        let mut op = match look.changes {
            true => {
                let undo = undo.clone().unwrap_or_else(|| Undo::Impossible("its issuer can't take it back".into()));
                Op::change("create", look.object.clone(), summary.clone(), Risk::High, undo)
            }
            false => Op { verb: "create".into(), ..Op::observe(look.object.clone(), summary.clone()) },
        };
        (op.before, op.after) = (before.clone(), after.clone());
        op.detail = json!({ "key": "create" });
        plan.ops.push(op);
        plan.outputs = json!({
            "provider": self.provider, "settings": { &self.provider: self.chosen().settings[&self.provider] },
            "detail": look.detail, "keys": look.keys, "overlap": no_overlap.is_none() && !self.active_abuse, "revoked": false,
            "written_by_issuer": look.written_by_issuer,
            "secret": look.changes.then_some(&look.object).filter(|o| o.kind == "Secret").map(|o| &o.name),
        });
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        if op.detail["key"] == "revoke-first" { self.revoke(cx).await } else { self.create(cx).await }
    }

    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        // Revoking twice comes to the same.
        if op.detail["key"] == "revoke-first" {
            return Ok((Landed::No, None));
        }
        let (of, provider) = (self.of()?, self.provider()?);
        let (object, request) = (of.object(), request(cx));
        let kind = self.kind(cx, &of).await?;
        let job = job(cx, &object, &kind, &request);
        let vault = Vault::open(cx)?;
        if let Some(made) = SecretRotate::made(&vault)? {
            return Ok((Landed::Yes, Some(self.tried(&*provider, &job, &made).await)));
        }
        let old = vault.need("old", "the Secret's value")?;
        match provider.find(&job, &old).await {
            Ok(Some(created)) => {
                SecretRotate::keep(&vault, &created)?;
                Ok((Landed::Yes, Some(self.tried(&*provider, &job, &created).await)))
            }
            Ok(None) => Ok((Landed::No, None)),
            Err(_) if op.kind != crate::event::OpKind::Change => Ok((Landed::No, None)),
            Err(_) => Ok((Landed::Unknown, None)),
        }
    }

    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        let (of, provider) = (self.of()?, self.provider()?);
        let (object, request) = (of.object(), request(cx));
        let kind = of.secret.kind.clone().unwrap_or_default();
        let job = job(cx, &object, &kind, &request);
        let vault = Vault::open(cx)?;
        let old = vault.get("old")?.ok_or_else(|| {
            Problem::failed(
                "the old value was forgotten when it was shown to be refused: nothing is left to go back to",
            )
        })?;
        let said = if op.detail["key"] == "revoke-first" {
            provider.restore(&job, &old, &Value::Null).await?
        } else {
            provider.remove(&job, &old, &done["detail"]).await?
        };
        Ok(Done {
            status: OpStatus::Applied,
            detail: said.clone(),
            proof: Some(Proof::Unproved(format!("{said}; this is the exposed credential's state of before"))),
            observed: Value::Null,
        })
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let mut outputs = plan_outputs.clone();
        for (_, done) in done {
            for key in ["keys", "detail", "secret"] {
                if !done.observed[key].is_null() {
                    outputs[key] = done.observed[key].clone();
                }
            }
            if done.observed["revoked"] == true && matches!(done.proof, Some(Proof::Verified(_) | Proof::Unproved(_))) {
                outputs["revoked"] = Value::Bool(true);
            }
        }
        Conclusion::of(outputs, done)
    }
}
