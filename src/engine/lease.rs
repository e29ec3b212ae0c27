//! A Lease for each target, so that two responders don't act on one unknowingly.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::session::Session;
use crate::action::pod_isolate::INCIDENT;
use crate::cluster::{Fault, Problem};
use crate::event::{Event, ObjectRef, Op, OpKind, OpStatus, Proof};
use crate::evidence::hex;

/// Where nodes say that they live.
pub(super) const HEARTBEATS: &str = "kube-node-lease";

/// A holder that was killed blocks others for at most this long; a run renews it before each step.
const DURATION_S: i32 = 900;

impl Session {
    /// Takes (or renews) the Lease of every object that these operations touch.
    ///
    /// # Errors
    /// [`Fault::Locked`] when another incident holds one that has not expired, unless `--override lease`.
    pub async fn hold(&self, ops: &[Op]) -> Result<(), Problem> {
        let mut targets: Vec<&ObjectRef> = ops
            .iter()
            .filter(|op| op.kind != OpKind::Observe)
            .map(|op| op.part_of.as_ref().unwrap_or(&op.object))
            .filter(|object| object.uid.is_some() && (object.namespace.is_some() || object.kind == "Node"))
            // Quell's own pods are this incident's alone; a node's heartbeat is nobody's target.
            .filter(|object| {
                ![Some(crate::action::COLLECTORS), Some(HEARTBEATS)].contains(&object.namespace.as_deref())
            })
            .collect();
        targets.sort();
        targets.dedup();
        for target in targets {
            let retry = crate::runbook::Retry { attempts: 4, max_wait: std::time::Duration::from_secs(4) };
            self.retrying("lease", retry, |_| self.hold_one(target)).await?;
        }
        Ok(())
    }

    async fn hold_one(&self, target: &ObjectRef) -> Result<(), Problem> {
        let uid = target.uid.clone().unwrap_or_default();
        let namespace = target.namespace.clone().unwrap_or_else(|| crate::action::NODE_LEASES.into());
        let name = lease_name(&uid);
        let (client, _) = self.cluster.reader();
        let found = Api::<Lease>::namespaced(client, &namespace).get_opt(&name).await?;
        if let Some(lease) = &found {
            self.may_take(target, lease)?;
        }
        let audit_id = uuid::Uuid::now_v7().to_string();
        let op = format!("lease:{namespace}/{name}");
        self.emit(Event::Intent { op: op.clone(), audit_id: audit_id.clone(), attempt: 1 })?;
        let (client, tape) = self.cluster.writer(&audit_id);
        let api: Api<Lease> = Api::namespaced(client, &namespace);
        let mine = self.lease(&name, target, found.as_ref())?;
        let answer = match &found {
            Some(_) => api.replace(&name, &PostParams::default(), &mine).await,
            None => api.create(&PostParams::default(), &mine).await,
        };
        let (status, detail, observed) = match &answer {
            Ok(lease) => (
                OpStatus::Applied,
                format!("Lease {namespace}/{name} says that {} works on {target}", self.incident),
                json!({"uid": lease.uid(), "namespace": namespace, "name": name}),
            ),
            Err(error) => (OpStatus::Failed, error.to_string(), Value::Null),
        };
        let proof = answer.is_ok().then(|| Proof::Verified("the API server has it".into()));
        self.emit(Event::Outcome { op, status, detail, proof, observed, calls: tape.take() })?;
        match answer.map_err(Problem::from) {
            Ok(_) => Ok(()),
            // Somebody was quicker between our read and our write: look again.
            Err(problem) if problem.fault == Fault::Conflict => Err(Problem::new(Fault::Transient, problem.message)),
            Err(problem) => Err(problem),
        }
    }

    fn may_take(&self, target: &ObjectRef, lease: &Lease) -> Result<(), Problem> {
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if holder.split(' ').next() == Some(&self.incident) || self.guards.overridden.contains("lease") {
            return Ok(());
        }
        let renewed = spec.renew_time.map(|t| t.0.to_string()).unwrap_or_default();
        let until = crate::clock::parse(&renewed)
            .ok()
            .map(|t| t + time::Duration::seconds(i64::from(spec.lease_duration_seconds.unwrap_or(0))));
        if until.is_some_and(|until| until < self.clock.now()) {
            return Ok(());
        }
        Err(Problem::new(Fault::Locked, format!("another responder works on {target}: {holder}, since {renewed}"))
            .hint("talk to them; when they are gone for good, --override lease --reason TEXT takes it over"))
    }

    fn lease(&self, name: &str, target: &ObjectRef, found: Option<&Lease>) -> Result<Lease, Problem> {
        let now: MicroTime =
            serde_json::from_value(json!(micro(self.clock.now()))).map_err(|e| Problem::internal(e.to_string()))?;
        let before = found.and_then(|l| l.spec.clone()).unwrap_or_default();
        let holder = format!("{} {}", self.incident, self.who);
        let ours = before.holder_identity.as_deref() == Some(&holder);
        let mut meta = ObjectMeta {
            name: Some(name.into()),
            labels: Some(
                [
                    ("app.kubernetes.io/managed-by".to_string(), "quell".to_string()),
                    (INCIDENT.to_string(), self.incident.clone()),
                ]
                .into(),
            ),
            annotations: Some([("quell.dev/target".to_string(), target.to_string())].into()),
            ..ObjectMeta::default()
        };
        if let Some(found) = found {
            meta.uid = found.uid();
            meta.resource_version = found.resource_version();
        }
        Ok(Lease {
            metadata: meta,
            spec: Some(LeaseSpec {
                acquire_time: if ours { before.acquire_time } else { Some(now.clone()) },
                holder_identity: Some(holder),
                lease_duration_seconds: Some(DURATION_S),
                lease_transitions: Some(before.lease_transitions.unwrap_or(0) + i32::from(!ours && found.is_some())),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        })
    }

    /// Gives every Lease back that the journal says is ours. A failure is noted: they expire by themselves.
    pub async fn release(&self) -> Result<(), Problem> {
        let held = self.state().leases.clone();
        for (target, observed) in held {
            let (namespace, name) =
                (observed["namespace"].as_str().unwrap_or_default(), observed["name"].as_str().unwrap_or_default());
            let audit_id = uuid::Uuid::now_v7().to_string();
            let op = format!("lease-release:{target}");
            self.emit(Event::Intent { op: op.clone(), audit_id: audit_id.clone(), attempt: 1 })?;
            let (client, tape) = self.cluster.writer(&audit_id);
            let uid = observed["uid"].as_str().map(str::to_string);
            let params = DeleteParams {
                preconditions: Some(Preconditions { uid, ..Preconditions::default() }),
                ..DeleteParams::default()
            };
            let answer = Api::<Lease>::namespaced(client, namespace).delete(name, &params).await.map_err(Problem::from);
            let (status, detail) = match answer {
                Ok(_) => (OpStatus::Applied, format!("Lease {target} given back")),
                Err(problem) if problem.fault == Fault::NotFound => {
                    (OpStatus::AlreadySo, format!("Lease {target} was gone already"))
                }
                Err(problem) => (
                    OpStatus::Failed,
                    format!(
                        "Lease {target} not given back ({problem}): it expires {DURATION_S} s after its last renewal"
                    ),
                ),
            };
            self.emit(Event::Outcome { op, status, detail, proof: None, observed: Value::Null, calls: tape.take() })?;
        }
        Ok(())
    }
}

/// From the target's UID, so that every responder looks at the same Lease whatever the target is called.
fn lease_name(uid: &str) -> String {
    format!("quell-{}", &hex(&Sha256::digest(uid))[..16])
}

fn micro(at: time::OffsetDateTime) -> String {
    crate::clock::rfc3339(at).replace('Z', "000Z")
}
