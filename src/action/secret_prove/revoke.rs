//! The end of the old credential: revoked at its issuer, shown to be refused, forgotten here, and watched for.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{KEPT, Parts, SecretProve, When};
use crate::action::issuer::{Answer, Job};
use crate::action::sealed::Vault;
use crate::action::secret_rotate::{job, proof_of, request};
use crate::action::{Done, Problem};
use crate::cluster::Cx;
use crate::event::Proof;

impl SecretProve {
    pub(super) async fn with_job<'a, T, F>(&'a self, cx: &'a Cx, parts: &'a Parts, ask: F) -> Result<T, Problem>
    where
        F: AsyncFnOnce(Job<'_>) -> Result<T, Problem>,
    {
        let object = parts.of.object();
        let request = request(cx);
        let kind = match &parts.of.secret.kind {
            Some(kind) => kind.clone(),
            None => "Opaque".into(),
        };
        ask(job(cx, &object, &kind, &request)).await
    }

    pub(super) async fn revoke(&self, cx: &Cx) -> Result<Done, Problem> {
        let parts = self.parts()?;
        if self.revoke == When::Proved {
            let (_, open, _) = self.open(cx, &parts).await?;
            if !open.is_empty() {
                return Err(Problem::failed(format!("the old credential is not revoked: {}", open.join("; "))).hint(
                    "restart or end what still holds it, then `quell resume`; a run with revoke=anyway does it all the same",
                ));
            }
        }
        let old = Vault::open(cx)?.need("old", "the old value")?;
        let detail = parts.rotated.detail.clone();
        let answer = self
            .with_job(cx, &parts, async |job| parts.provider.revoke(&job, &old, &detail, self.end_sessions).await)
            .await?;
        let proof = proof_of(answer);
        Ok(Done::applied(proof.text().to_owned(), proof.clone(), json!({ "revoked": proof.is_verified() })))
    }

    /// A try with the old one, and one with the new one. Then the old value is not needed any more.
    pub(super) async fn refused(&self, cx: &Cx) -> Result<Done, Problem> {
        let parts = self.parts()?;
        let vault = Vault::open(cx)?;
        let (old, new) = match (vault.get("old")?, vault.get("made")?) {
            (Some(old), Some(new)) => (old, new),
            _ => {
                let said =
                    "the old value is not sealed here any more: an earlier try had shown it refused, and forgot it";
                let observed = json!({ "refused": true });
                return Ok(Done::taken(said, Some(Proof::Verified(said.into())), observed));
            }
        };
        let detail = parts.rotated.detail.clone();
        // The new one with what the Secret has beside it: its user's name may not be new.
        let whole = old.with(&new);
        let deadline = Instant::now() + Duration::from_secs(15);
        let (was, is) = loop {
            let ask = async |job: Job<'_>| {
                let was = parts.provider.taken(&job, &old, &detail).await?;
                let is = parts.provider.taken(&job, &whole, &detail).await?;
                Ok((was, is))
            };
            let seen = self.with_job(cx, &parts, ask).await?;
            // An issuer may take a moment to forget.
            if !matches!(seen.0, Answer::Yes(_)) || Instant::now() >= deadline {
                break seen;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        let proof = match (was, is) {
            (Answer::No(old), Answer::Yes(new)) => Proof::Verified(format!("the old one: {old}; the new one: {new}")),
            (Answer::Yes(words), _) => Proof::Refuted(format!("the old credential is still taken: {words}")),
            (_, Answer::No(words)) => Proof::Refuted(format!("the new credential is not taken: {words}")),
            (Answer::Unknown(why), _) => {
                Proof::Unproved(format!("that the old credential is refused is not shown: {why}"))
            }
            (Answer::No(old), Answer::Unknown(why)) => {
                Proof::Unproved(format!("the old one: {old}; that the new one is taken is not shown: {why}"))
            }
        };
        let kept = if proof.is_verified() && !self.keep_old {
            for name in ["old", "before", "made", "made-detail", "prepared"] {
                vault.forget(name)?;
            }
            "both values are forgotten here".to_owned()
        } else {
            KEPT.to_owned()
        };
        let detail = format!("{}; {kept}", proof.text());
        let proof = match proof {
            Proof::Verified(_) => Proof::Verified(detail.clone()),
            Proof::Unproved(_) => Proof::Unproved(detail.clone()),
            Proof::Refuted(_) => Proof::Refuted(detail.clone()),
        };
        let observed = json!({ "refused": proof.is_verified() });
        Ok(Done::taken(detail, Some(proof), observed))
    }

    /// Without an issuer there is nobody to try it at: what its end depends on is said.
    pub(super) async fn end(&self, cx: &Cx) -> Result<Done, Problem> {
        let parts = self.parts()?;
        let old = Vault::open(cx)?.get("old")?.unwrap_or_default();
        let detail = parts.rotated.detail.clone();
        let answer =
            self.with_job(cx, &parts, async |job| parts.provider.revoke(&job, &old, &detail, false).await).await?;
        let (Answer::Yes(words) | Answer::No(words) | Answer::Unknown(words)) = answer;
        let said = format!("that the old one is refused is not shown: {words}; {KEPT}");
        Ok(Done::taken(said.clone(), Some(Proof::Unproved(said)), json!({ "refused": false })))
    }

    pub(super) async fn watch(&self, cx: &Cx) -> Result<Done, Problem> {
        let parts = self.parts()?;
        let detail = parts.rotated.detail.clone();
        let total = self.watch_seconds.min(86_400);
        let deadline = Instant::now() + Duration::from_secs(total);
        let begun = Instant::now();
        loop {
            let ask = async |job: Job<'_>| parts.provider.used(&job, &detail).await;
            match self.with_job(cx, &parts, ask).await? {
                Answer::Yes(who) => {
                    let said = format!("the old credential is still in use: {who}");
                    let hint = if self.end_sessions { "" } else { "; end-sessions ends what was opened with it" };
                    return Ok(Done::taken(
                        said.clone(),
                        Some(Proof::Unproved(format!("{said}{hint}"))),
                        json!({ "used": true }),
                    ));
                }
                Answer::Unknown(why) => {
                    let said = format!("whether the old credential is used from now on is not known: {why}");
                    return Ok(Done::taken(said.clone(), Some(Proof::Unproved(said)), json!({ "used": null })));
                }
                Answer::No(words) if Instant::now() >= deadline => {
                    let said = format!("{words}; watched for {total} s");
                    return Ok(Done::taken(said.clone(), Some(Proof::Verified(said)), json!({ "used": false })));
                }
                Answer::No(_) => {}
            }
            (cx.progress)("watching for uses of the old credential", begun.elapsed().as_secs(), Some(total));
            tokio::time::sleep(Duration::from_secs(1).min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
}
