//! Operations that are carried out at the same time: each with its own intent before its request, and its own outcome.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;

use super::carry_out::interrupted;
use super::planner::Instance;
use super::session::Session;
use crate::action::{Action, Done};
use crate::cluster::{Fault, Problem};
use crate::event::{Event, Op};

/// How long after Ctrl-C a request that has left may still be answered.
const GRACE: Duration = Duration::from_secs(2);
/// Operations of one stage that are carried out at once: streams of evidence share the node's disk and the way here.
const OF_A_STAGE: usize = 3;

impl Session {
    /// Carries out the operations of one target, or of one stage, at the same time. One that fails does not stop the others.
    ///
    /// # Errors
    /// The first failure, with how many others there were, once all have ended.
    pub(super) async fn together(
        &self,
        at: &Instance,
        action: &dyn Action,
        ops: &[Op],
    ) -> Result<Vec<(Op, Done)>, Problem> {
        if self.cancel.is_cancelled() {
            return Err(interrupted(at));
        }
        let open: Vec<Op> = {
            let state = self.state();
            let done = state.steps.get(&at.id).map(|s| &s.done);
            ops.iter().filter(|op| done.is_none_or(|d| !d.contains_key(&op.id))).cloned().collect()
        };
        if !open.is_empty() {
            self.retrying(&at.id, at.step.retry, |_| async {
                let (client, _) = self.cluster.reader();
                action.begin(&self.cx(client, &at.id, &at.id), &open).await
            })
            .await?;
        }
        // Of a target's parts all intents are on disk before the first request leaves; those of an earlier process are looked
        // into one by one. An operation of a stage may begin much later than the first: its intent is written then.
        let announced: BTreeMap<&str, String> = open
            .iter()
            .filter(|op| op.part_of.is_some() && !self.is_open(at, op))
            .map(|op| (op.id.as_str(), uuid::Uuid::now_v7().to_string()))
            .collect();
        let intent = |(op, id): (&&str, &String)| Event::Intent { op: (*op).into(), audit_id: id.clone(), attempt: 1 };
        self.emit_all(announced.iter().map(intent).collect())?;
        let at_once = if ops.iter().all(|op| op.part_of.is_some()) { ops.len() } else { OF_A_STAGE };
        let turns = Semaphore::new(at_once);
        let once = |op: &Op| {
            let (turns, announced) = (&turns, announced.get(op.id.as_str()).cloned());
            let op = op.clone();
            async move {
                // Turns are given in the order in which they are asked for.
                let _turn = turns.acquire().await.map_err(|e| Problem::internal(e.to_string()))?;
                self.once(at, action, &op, announced).await
            }
        };
        let results = join_all(ops.iter().map(once)).await;
        let mut all = Vec::new();
        let mut failed: Vec<Problem> = Vec::new();
        for (op, result) in ops.iter().zip(results) {
            match result {
                Ok(done) => all.push((op.clone(), done)),
                Err(problem) => failed.push(problem),
            }
        }
        // A fault in quell or an interruption is about the run, whatever else went wrong.
        let about_the_run = |p: &Problem| matches!(p.fault, Fault::Internal | Fault::Interrupted | Fault::Locked);
        let first = failed.iter().position(about_the_run).or((!failed.is_empty()).then_some(0));
        let Some(first) = first else { return Ok(all) };
        let others = failed.len() - 1;
        let mut problem = failed.swap_remove(first);
        if others > 0 && !about_the_run(&problem) {
            problem.message = format!("{}; and {others} more failed", problem.message);
        }
        Err(problem)
    }

    /// One of many waits long for what others do: Ctrl-C need not wait for all of them, for resume looks what landed.
    pub(super) async fn unless_interrupted(
        &self,
        at: &Instance,
        op: &Op,
        work: impl Future<Output = Result<Done, Problem>>,
    ) -> Result<Done, Problem> {
        if op.part_of.is_none() {
            return work.await;
        }
        tokio::select! {
            result = work => result,
            () = async {
                self.cancel.cancelled().await;
                tokio::time::sleep(GRACE).await;
            } => Err(interrupted(at)),
        }
    }
}
