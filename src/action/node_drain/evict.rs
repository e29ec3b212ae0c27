//! One pod: asked to go by the Eviction API, held back by a budget, given up or deleted past it, and seen gone.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::{DeleteParams, PostParams, Preconditions as Uid};
use kube::core::Status;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::sight::Sight;
use super::{NodeDrain, OnDeadline};
use crate::action::Done;
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Op, OpStatus, Proof};

/// How long the watch may lag behind an answer.
const LAG: Duration = Duration::from_secs(5);

impl NodeDrain {
    /// Asks the pod to go, or does what was decided for after the deadline; then sees it gone.
    pub(super) async fn evict(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let sight = self.sight(cx).await?;
        let uid = op.object.uid.as_deref().unwrap_or_default();
        let there = sight.look(|pods| pods.there.get(uid).map(|t| t.deleting));
        match there {
            None => return Ok(self.over(op, "was gone before it was asked")),
            // Somebody else's deletion, or an earlier process's.
            Some(true) => return self.gone(cx, op, sight).await,
            Some(false) if op.verb == "await" => return self.gone(cx, op, sight).await,
            Some(false) => {}
        }
        let late = self.is_late(sight) && self.was_held(&op.id);
        if late && self.on_deadline == OnDeadline::Skip {
            return Ok(self.given_up(op));
        }
        let permit = self.in_flight().acquire().await;
        let answer = if late && self.on_deadline == OnDeadline::Delete {
            let params = DeleteParams {
                preconditions: Some(Uid { uid: Some(uid.into()), ..Uid::default() }),
                ..DeleteParams::default()
            };
            api(cx, op).delete(&op.object.name, &params).await.map(|_| ())
        } else {
            ask(cx, op).await
        };
        drop(permit);
        match answer {
            Ok(()) => self.gone(cx, op, sight).await,
            Err(kube::Error::Api(status)) => self.refused(cx, op, sight, *status).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn refused(&self, cx: &Cx, op: &Op, sight: &Sight, status: Status) -> Result<Done, Problem> {
        let causes: Vec<(String, String)> =
            status.details.iter().flat_map(|d| &d.causes).map(|c| (c.reason.clone(), c.message.clone())).collect();
        let cause = |reason: &str| causes.iter().find(|(r, _)| r == reason).map(|(_, message)| message.as_str());
        match status.code {
            // Gone; or, for the UID is the precondition, what has the name now is another pod.
            404 | 409 => self.confirmed(cx, op, sight, &status).await,
            429 if cause("DisruptionBudget").is_some() => {
                let words = cause("DisruptionBudget").unwrap_or_default();
                let budget = budgets(op).first().cloned().unwrap_or_else(|| named_in(op, words));
                self.hold(&op.id, &budget, status.details.as_ref().map_or(0, |d| d.retry_after_seconds));
                let holders = if budget.is_empty() { String::new() } else { self.holders.of(cx, &budget).await };
                let words = words.trim_end_matches('.').replacen("The disruption", "the disruption", 1);
                let text = format!("{} has to stay for now: {words}{holders}{}", op.object, self.left(sight));
                Err(Problem::new(Fault::Held, text))
            }
            // More than one budget: the API server will never evict it.
            500 if status.message.contains("more than one PodDisruptionBudget") => match self.on_deadline {
                OnDeadline::Wait | OnDeadline::Skip => Ok(self.never(op, &status.message)),
                OnDeadline::Delete => {
                    self.hold(&op.id, &budgets(op).first().cloned().unwrap_or_default(), 0);
                    Err(Problem::new(
                        Fault::Held,
                        format!("{} can't be evicted: {}{}", op.object, status.message, self.left(sight)),
                    ))
                }
            },
            403 if cause("NamespaceTerminating").is_some() => {
                self.hold(&op.id, "", 5);
                Err(Problem::new(
                    Fault::Held,
                    format!("{} is in a namespace that is ending: asked again until it ends too", op.object),
                ))
            }
            _ => Err(kube::Error::Api(Box::new(status)).into()),
        }
    }

    /// The server says that there is no such pod: whether that is so.
    async fn confirmed(&self, cx: &Cx, op: &Op, sight: &Sight, status: &Status) -> Result<Done, Problem> {
        let uid = op.object.uid.as_deref().unwrap_or_default();
        let now = api(cx, op).get_opt(&op.object.name).await?;
        let other = now.as_ref().is_some_and(|pod| pod.uid().as_deref() != Some(uid));
        // The watch may lag behind, or have fallen silent.
        if now.is_none() || other || sight.until(LAG, |pods| pods.gone(uid)).await {
            let other = if other { ", another pod has its name" } else { "" };
            return Ok(self.over(op, &format!("was gone when it was asked{other}")));
        }
        let why =
            format!("{} is there, and its eviction was answered with {}: {}", op.object, status.code, status.message);
        Err(Problem::new(Fault::Transient, why))
    }

    /// Waits until the UID is gone, and says why it is not.
    pub(super) async fn gone(&self, cx: &Cx, op: &Op, sight: &Sight) -> Result<Done, Problem> {
        let uid = op.object.uid.clone().unwrap_or_default();
        if op.detail["unreachable"] == true {
            // The watch shows a moment later that it is told to go.
            sight.until(LAG, |pods| pods.there.get(&uid).is_none_or(|t| t.deleting)).await;
            let why = "its node does not answer: it stays Terminating, and what it runs may go on running";
            return Ok(Done::applied(
                format!("{} is told to go; {why}", op.object),
                Proof::Unproved(format!("{}: {why}", op.object)),
                json!({"gone_at": null}),
            ));
        }
        let patience = Duration::from_secs(op.detail["grace"].as_u64().unwrap_or(30) + self.patience);
        if sight.until(patience, |pods| pods.gone(&uid)).await {
            return Ok(self.over_at(op, &format!("is gone{}", lost(op)), &crate::clock::rfc3339(cx.clock.now())));
        }
        // A watch may go silent: what counts is what is there.
        let left = api(cx, op).get_opt(&op.object.name).await?.filter(|p| p.uid().as_deref() == Some(uid.as_str()));
        let Some(left) = left else { return Ok(self.over(op, "is no more; its end itself was not seen")) };
        let why = match left.finalizers() {
            [] => "its node has not confirmed its end".to_string(),
            all => format!("finalizers hold it: {}", all.join(", ")),
        };
        Ok(Done::applied(
            format!("{} was told to go and is there still after {} s: {why}", op.object, patience.as_secs()),
            Proof::Unproved(format!("{} is still there: {why}", op.object)),
            json!({"gone_at": null}),
        ))
    }

    /// Over, without a time at which it was seen.
    pub(super) fn over(&self, op: &Op, how: &str) -> Done {
        Done {
            status: OpStatus::AlreadySo,
            detail: format!("{} {how}", op.object),
            proof: Some(Proof::Verified("that UID is gone".into())),
            observed: json!({"gone_at": null}),
        }
    }

    fn over_at(&self, op: &Op, how: &str, at: &str) -> Done {
        let proof = Proof::Verified("that UID was seen gone".into());
        Done::applied(format!("{} {how}", op.object), proof, json!({"gone_at": at}))
    }

    fn given_up(&self, op: &Op) -> Done {
        let budget = budgets(op).join(", ");
        let text = format!("{} stays: its budget {budget} did not let it go within {} s", op.object, self.deadline);
        Done {
            status: OpStatus::LeftOut,
            proof: Some(Proof::Unproved(text.clone())),
            detail: text,
            observed: Value::Null,
        }
    }

    fn never(&self, op: &Op, words: &str) -> Done {
        let text = format!("{} stays: {words}", op.object);
        Done {
            status: OpStatus::LeftOut,
            proof: Some(Proof::Unproved(text.clone())),
            detail: text,
            observed: Value::Null,
        }
    }

    /// What is left until the deadline, and what comes then.
    fn left(&self, sight: &Sight) -> String {
        if self.is_late(sight) {
            return match self.on_deadline {
                OnDeadline::Wait => "; waited for on, as was decided".into(),
                OnDeadline::Skip | OnDeadline::Delete => String::new(),
            };
        }
        let left = Duration::from_secs(self.deadline).saturating_sub(sight.age()).as_secs();
        match self.on_deadline {
            OnDeadline::Wait => String::new(),
            OnDeadline::Skip => format!("; in {left} s it is left where it is"),
            OnDeadline::Delete => format!("; in {left} s it is deleted past its budget"),
        }
    }
}

/// The pod's eviction. Not by kube's own `evict`: that writes the options under a name that the API server drops, and the
/// UID would be no precondition.
async fn ask(cx: &Cx, op: &Op) -> Result<(), kube::Error> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(op.object.name.clone()),
            namespace: op.object.namespace.clone(),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: op.object.uid.clone(), resource_version: None }),
            grace_period_seconds: op.detail["grace_asked"].as_i64(),
            ..DeleteOptions::default()
        }),
    };
    let params = PostParams::default();
    api(cx, op).create_subresource::<_, Value>("eviction", &op.object.name, &params, &eviction).await.map(|_| ())
}

pub(super) fn api(cx: &Cx, op: &Op) -> Api<Pod> {
    Api::namespaced(cx.client.clone(), op.object.namespace.as_deref().unwrap_or_default())
}

fn budgets(op: &Op) -> Vec<String> {
    let all = op.detail["budgets"].as_array().into_iter().flatten();
    all.filter_map(|b| b.as_str().map(str::to_string)).collect()
}

/// The budget that the server names, where the plan knew of none: `The disruption budget NAME …`.
fn named_in(op: &Op, words: &str) -> String {
    let name = words.strip_prefix("The disruption budget ").and_then(|rest| rest.split(' ').next());
    let namespace = op.object.namespace.as_deref().unwrap_or_default();
    name.map(|name| format!("{namespace}/{name}")).unwrap_or_default()
}

fn lost(op: &Op) -> String {
    op.detail["lost"].as_str().map(|l| format!("; {l}")).unwrap_or_default()
}
