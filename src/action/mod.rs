//! What a step can do. One file an action: its spec, its parameters, `plan` (reads only), `apply` (one operation),
//! `landed` (for resume) and `undo`. Adding one touches that file and the list in [`all`].

mod access;
mod access_footholds;
mod access_identify;
mod access_review;
mod access_revoke;
mod audit_findings;
mod audit_query;
mod audit_reading;
mod audit_review;
mod collector;
mod collector_remove;
mod command;
mod credential_inventory;
mod credentials_rotate;
mod external_logs;
mod fresh_value;
mod image_provenance;
mod image_reference;
mod issuer;
#[cfg(test)]
mod local_tests;
mod manual;
mod node;
mod node_cordon;
mod node_credentials;
mod node_drain;
mod node_inventory;
mod node_terminate;
mod pod_capture;
pub mod pod_isolate;
mod pod_record;
mod pod_terminate;
mod program;
mod sealed;
mod secret_consumers;
mod secret_keeper;
mod secret_of;
mod secret_prove;
mod secret_readers;
mod secret_rotate;
mod secret_update;
mod secret_use;
mod spec;
mod suspect;
#[cfg(test)]
mod test_cx;

use std::sync::Arc;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::event::{Landed, NoteLevel, Op, OpStatus, Proof, StepStatus};
pub use collector::node::{NAMESPACE as COLLECTORS, namespace_manifest as collectors_namespace};
pub use collector::survey;
pub use spec::{NODE_LEASE, NODE_LEASES, Rule, Scope, Spec};

use crate::cluster::Cx;
pub use crate::cluster::Problem;

/// A bound step: its parameters are the value itself.
///
/// Errors are [`Problem`]s: what happened, to what, what to do next. A `transient` one is tried again by the engine.
#[async_trait]
pub trait Action: Send + Sync {
    /// What would be done. Reads only: the context's client refuses anything else, dry runs excepted.
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem>;

    /// Carries out one operation, whose intent is on disk. Must send at most one write, to `op.object` and with its UID
    /// as precondition.
    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem>;

    /// Gets ready what operations that are carried out together share (a watch), before the first of them. Reads only.
    async fn begin(&self, cx: &Cx, ops: &[Op]) -> Result<(), Problem> {
        let _ = (cx, ops);
        Ok(())
    }

    /// Waits until an operation that the cluster held back ([`Fault::Held`](crate::cluster::Fault::Held)) is worth another
    /// try. The engine shows the refusal before, and journals a new intent after. Reads only.
    async fn until(&self, cx: &Cx, op: &Op) -> Result<(), Problem> {
        let _ = (cx, op);
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        Ok(())
    }

    /// Whether an operation whose outcome is unknown had reached the cluster. `Yes` comes with what apply would have
    /// returned. Reads only. What only reads or captures is simply done again: the default says no.
    async fn landed(&self, cx: &Cx, op: &Op) -> Result<(Landed, Option<Done>), Problem> {
        let _ = (cx, op);
        Ok((Landed::No, None))
    }

    /// Takes one applied change back, from what `done` kept of the prior state. Only called when `op.undo` is Automatic.
    async fn undo(&self, cx: &Cx, op: &Op, done: &Value) -> Result<Done, Problem> {
        let _ = (cx, done);
        Err(Problem::internal(format!("{} has no undo", op.summary)))
    }

    /// What all of the step's operations amount to. The default: verified if every one that gave a proof is, else the
    /// worst of them.
    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(plan_outputs.clone(), done)
    }
}

/// An action's type: its parameters deserialised, with the spec beside.
pub trait Kind: Action + DeserializeOwned + schemars::JsonSchema + 'static {
    /// The spec.
    const SPEC: Spec;
}

/// What `plan` found.
#[derive(Debug, Clone, Default)]
pub struct StepPlan {
    /// The operations, in order. They must depend only on parameters and on reads.
    pub ops: Vec<Op>,
    /// What expressions of later steps may use, as far as it is known before the step runs.
    pub outputs: Value,
    /// What the approver should know.
    pub warnings: Vec<String>,
    /// What would stop the step: each names the remedy.
    pub blockers: Vec<String>,
}

impl StepPlan {
    /// What the server said to a dry run of `what`: its no is a blocker, and no answer is said to be none.
    ///
    /// # Errors
    /// A failure that the engine should see, see [`Cx::passes_on`].
    fn hear(&mut self, cx: &Cx, what: &str, answer: Result<(), Problem>) -> Result<(), Problem> {
        match answer {
            Ok(()) => {}
            Err(problem) if cx.passes_on(&problem) => return Err(problem),
            Err(problem) if problem.is_transient() => {
                self.warnings.push(format!("whether {what} would be taken is not known: {problem}"));
            }
            Err(problem) => self.blockers.push(format!("{what} would be refused: {problem}")),
        }
        Ok(())
    }
}

/// What one operation led to.
#[derive(Debug, Clone)]
pub struct Done {
    /// What became of it.
    pub status: OpStatus,
    /// One line for a person.
    pub detail: String,
    /// How far it was shown to be so; None when there is nothing to prove.
    pub proof: Option<Proof>,
    /// What undo, resume, `conclude` and later steps need; journaled, never a secret.
    pub observed: Value,
}

impl Done {
    /// A change that was made.
    pub fn applied(detail: impl Into<String>, proof: Proof, observed: Value) -> Done {
        Done { status: OpStatus::Applied, detail: detail.into(), proof: Some(proof), observed }
    }

    /// Something read or captured.
    pub fn taken(detail: impl Into<String>, proof: Option<Proof>, observed: Value) -> Done {
        Done { status: OpStatus::Taken, detail: detail.into(), proof, observed }
    }

    /// Something read whose proof says it all.
    pub fn told(proof: Proof, observed: Value) -> Done {
        Done::taken(proof.text(), Some(proof.clone()), observed)
    }
}

/// What a step amounts to.
#[derive(Debug, Clone)]
pub struct Conclusion {
    /// Verified, not proved, refuted.
    pub status: StepStatus,
    /// One line for a person.
    pub summary: String,
    /// What expressions of later steps may use.
    pub outputs: Value,
    /// What the record says besides, a line each, as it was found.
    pub notes: Vec<(NoteLevel, String)>,
}

impl Conclusion {
    /// The worst proof decides; the summary names it.
    pub fn of(outputs: Value, done: &[(Op, Done)]) -> Conclusion {
        let mut status = StepStatus::Verified;
        let mut why = Vec::new();
        for (_, done) in done {
            match &done.proof {
                Some(Proof::Refuted(text)) => {
                    status = StepStatus::Refuted;
                    why.insert(0, text.clone());
                }
                Some(Proof::Unproved(text)) => {
                    if status == StepStatus::Verified {
                        status = StepStatus::Unproved;
                    }
                    why.push(text.clone());
                }
                Some(Proof::Verified(_)) | None => {}
            }
        }
        let summary = match (why.is_empty(), done.last()) {
            (false, _) => why.join("; "),
            (true, Some((_, last))) if done.len() == 1 => last.detail.clone(),
            (true, _) => format!("{} operations, each checked", done.len()),
        };
        Conclusion { status, summary, outputs, notes: Vec::new() }
    }
}

/// The plan's outputs with what each operation observed laid over them, for actions whose outputs are what they saw.
fn merged(plan_outputs: &Value, done: &[(Op, Done)]) -> Value {
    let mut outputs = plan_outputs.as_object().cloned().unwrap_or_default();
    for (_, done) in done {
        outputs.extend(done.observed.as_object().cloned().unwrap_or_default());
    }
    Value::Object(outputs)
}

/// One entry of the list: an action with its parameters' type erased.
pub struct Entry {
    /// The spec.
    pub spec: Spec,
    /// The JSON Schema of its parameters.
    pub schema: fn() -> schemars::Schema,
    /// Parameters to a bound action; the message names the parameter at fault.
    pub bind: fn(Value) -> Result<Arc<dyn Action>, String>,
}

fn entry<K: Kind>() -> Entry {
    Entry {
        spec: K::SPEC,
        schema: || {
            schemars::generate::SchemaSettings::draft2020_12()
                .with(|s| s.inline_subschemas = true)
                .into_generator()
                .into_root_schema_for::<K>()
        },
        bind: |with| {
            serde_json::from_value::<K>(with).map(|k| Arc::new(k) as Arc<dyn Action>).map_err(|e| e.to_string())
        },
    }
}

/// Every action, by name.
pub fn all() -> Vec<Entry> {
    vec![
        entry::<pod_record::PodRecord>(),
        entry::<pod_isolate::PodIsolate>(),
        entry::<pod_capture::PodCapture>(),
        entry::<pod_terminate::PodTerminate>(),
        entry::<collector_remove::CollectorRemove>(),
        entry::<node_cordon::NodeCordon>(),
        entry::<node_inventory::NodeInventory>(),
        entry::<node_drain::NodeDrain>(),
        entry::<node_terminate::NodeTerminate>(),
        entry::<audit_review::AuditReview>(),
        entry::<audit_query::AuditQuery>(),
        entry::<access_identify::AccessIdentify>(),
        entry::<access_revoke::AccessRevoke>(),
        entry::<access_review::AccessReview>(),
        entry::<access_footholds::AccessFootholds>(),
        entry::<command::Command>(),
        entry::<credentials_rotate::CredentialsRotate>(),
        entry::<image_provenance::ImageProvenance>(),
        entry::<manual::Manual>(),
        entry::<secret_consumers::SecretConsumers>(),
        entry::<secret_rotate::SecretRotate>(),
        entry::<secret_update::SecretUpdate>(),
        entry::<secret_prove::SecretProve>(),
        entry::<secret_readers::SecretReaders>(),
        entry::<external_logs::ExternalLogs>(),
    ]
}

/// The action of that name.
pub fn find(name: &str) -> Option<Entry> {
    all().into_iter().find(|entry| entry.spec.name == name)
}
