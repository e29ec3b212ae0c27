//! One process's work on one incident: the journal, the cluster, and what the command line allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::approve::{Policy, Prompt};
use super::guards::Guards;
use super::state::State;
use crate::clock::Clock;
use crate::cluster::{Ask, Cluster, Cx, Problem};
use crate::event::{Event, FORMAT, Record};
use crate::evidence::Store;
use crate::journal::Journal;
use crate::report::Report;
use crate::runbook::{Retry, Runbook, Step};

/// `--only`, `--skip`, `--start-at`.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only these.
    pub only: BTreeSet<String>,
    /// Not these.
    pub skip: BTreeSet<String>,
    /// From this one on.
    pub start_at: Option<String>,
}

impl Selection {
    /// Why a step is not selected; None when it is.
    pub fn leaves_out(&self, runbook: &Runbook, step: &str) -> Option<String> {
        if self.skip.contains(step) {
            return Some("--skip".into());
        }
        if !self.only.is_empty() && !self.only.contains(step) {
            return Some("not in --only".into());
        }
        let start = self.start_at.as_ref()?;
        let place = |id: &str| runbook.all_steps().position(|s| s.id == id);
        (place(step) < place(start)).then(|| format!("before --start-at {start}"))
    }

    /// As the record names it.
    pub fn spoken(&self) -> Vec<String> {
        let mut all: Vec<String> = self.only.iter().map(|s| format!("--only {s}")).collect();
        all.extend(self.skip.iter().map(|s| format!("--skip {s}")));
        all.extend(self.start_at.iter().map(|s| format!("--start-at {s}")));
        all
    }
}

/// One process's work on one incident.
pub struct Session {
    /// Where.
    pub cluster: Cluster,
    /// What.
    pub runbook: Runbook,
    /// With what.
    pub inputs: BTreeMap<String, Value>,
    /// The incident's id.
    pub incident: String,
    /// Its folder; for a mere plan, one that does not exist.
    pub dir: PathBuf,
    /// The time.
    pub clock: Clock,
    /// `os-user@host`.
    pub who: String,
    /// What flags allow.
    pub policy: Policy,
    /// The limits.
    pub guards: Guards,
    /// Which part.
    pub selection: Selection,
    /// Bytes that one artifact may have.
    pub max_bytes: u64,
    /// Whom to ask.
    pub prompt: Option<Arc<dyn Prompt>>,
    /// For manual steps.
    pub ask: Arc<dyn Ask>,
    /// Whom to tell.
    pub report: Arc<dyn Report>,
    /// Ctrl-C.
    pub cancel: CancellationToken,
    /// None: a plan only, nothing is written down.
    pub journal: Option<Mutex<Journal>>,
    /// What has happened.
    pub state: Mutex<State>,
}

impl Session {
    /// Journals an event (synced before this returns), then tells the reporter.
    pub fn emit(&self, event: Event) -> Result<(), Problem> {
        let record = match &self.journal {
            Some(journal) => {
                let mut journal = journal.lock().map_err(|_| Problem::internal("the journal's lock is poisoned"))?;
                journal.append(event)?
            }
            None => self.shown(event),
        };
        self.state().add(&record.event);
        self.report.record(&record);
        Ok(())
    }

    /// Journals several events with one sync, then tells the reporter of each.
    pub fn emit_all(&self, events: Vec<Event>) -> Result<(), Problem> {
        let records = match &self.journal {
            Some(journal) => {
                let mut journal = journal.lock().map_err(|_| Problem::internal("the journal's lock is poisoned"))?;
                journal.append_all(events)?
            }
            None => events.into_iter().map(|event| self.shown(event)).collect(),
        };
        for record in records {
            self.state().add(&record.event);
            self.report.record(&record);
        }
        Ok(())
    }

    /// Journals an event that a crash may lose, see [`Journal::append_unsynced`]; the next sync brings it to the disk.
    pub fn emit_unsynced(&self, event: Event) -> Result<(), Problem> {
        let record = match &self.journal {
            Some(journal) => {
                let mut journal = journal.lock().map_err(|_| Problem::internal("the journal's lock is poisoned"))?;
                journal.append_unsynced(event)?
            }
            None => self.shown(event),
        };
        self.state().add(&record.event);
        self.report.record(&record);
        Ok(())
    }

    fn shown(&self, event: Event) -> Record {
        Record { v: FORMAT, seq: None, prev: None, time: self.clock.now(), incident: self.incident.clone(), event }
    }

    /// What has happened so far.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere must not lose what is known: the value is only ever added to.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// What an action is handed. Each has its own store, so that steps side by side don't mix their artifacts.
    pub fn cx(&self, client: kube::Client, step: &str, op: &str) -> Cx {
        let (report, incident, clock, label_op) =
            (self.report.clone(), self.incident.clone(), self.clock, op.to_string());
        Cx {
            client,
            namespace: self.namespace(),
            incident: self.incident.clone(),
            step: step.replace('#', "."),
            store: Arc::new(Store::new(&self.dir, self.max_bytes)),
            clock: self.clock,
            progress: Arc::new(move |label: &str, bytes: u64, total: Option<u64>| {
                report.record(&Record {
                    v: FORMAT,
                    seq: None,
                    prev: None,
                    time: clock.now(),
                    incident: incident.clone(),
                    event: Event::Progress { op: label_op.clone(), label: label.into(), bytes, total },
                });
            }),
            notes: Arc::default(),
            ask: self.ask.clone(),
            last_try: false,
        }
    }

    /// The namespace in force: the input of that name, else the kubeconfig's.
    pub fn namespace(&self) -> String {
        match self.inputs.get("namespace").and_then(Value::as_str) {
            Some(namespace) if !namespace.is_empty() => namespace.into(),
            _ => self.cluster.id.namespace.clone(),
        }
    }

    /// Tries again while the failure is transient, within the step's limits, and shows each wait.
    pub async fn retrying<T, F>(
        &self,
        what: &str,
        retry: Retry,
        mut attempt: impl FnMut(u32) -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        for n in 1..=retry.attempts.max(1) {
            match attempt(n).await {
                Err(problem) if problem.is_transient() && n < retry.attempts && !self.cancel.is_cancelled() => {
                    self.wait(what, n, &problem, retry).await?;
                }
                other => return other,
            }
        }
        Err(Problem::internal("a retry loop without a try"))
    }

    /// Shows one wait between two tries, and waits; Ctrl-C ends it.
    pub async fn wait(&self, what: &str, attempt: u32, problem: &Problem, retry: Retry) -> Result<(), Problem> {
        let wait = Duration::from_millis(500).saturating_mul(1 << (attempt - 1).min(10)).min(retry.max_wait);
        self.emit(Event::Retrying {
            op: what.into(),
            attempt,
            cause: problem.message.clone(),
            wait_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        })?;
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.cancel.cancelled() => {}
        }
        Ok(())
    }

    /// The step's own bound, or a day: nothing waits for ever.
    pub fn time_limit(step: &Step) -> Duration {
        step.timeout.unwrap_or(Duration::from_secs(24 * 3600))
    }
}
