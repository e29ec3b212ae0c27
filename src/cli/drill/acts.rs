//! The attack: injects before the run, and those beside it.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::play::{Beside, Play, Progress, ask};
use crate::clock::Clock;
use crate::cluster::Problem;
use crate::drill::inject;
use crate::drill::outcome::{Note, Who};
use crate::drill::scenario::Inject;
use crate::drill::stage::Scene;
use crate::runbook::parse_duration;

impl Play<'_> {
    fn due(&self, inject: &Inject) -> Duration {
        parse_duration(&inject.at).unwrap_or_default().div_f64(self.speed)
    }

    /// The injects until the alert, in order; the alert comes back. Without one: those of the first moment.
    pub(super) fn first_act(
        &self,
        runtime: &tokio::runtime::Runtime,
        scene: &Scene,
        target: &str,
        beside: &Beside,
        notes: &mut Vec<Note>,
    ) -> Result<Option<Value>, Problem> {
        let begun = tokio::time::Instant::now();
        for inject in self.before() {
            if self.args.facilitator {
                self.at_the_table(inject, notes);
            } else {
                runtime.block_on(async { tokio::time::sleep_until(begun + self.due(inject)).await });
            }
            runtime.block_on(self.perform(scene, inject, target, beside))?;
            if let Some(alert) = &inject.alert {
                let text = scene.placed(&alert.to_string()).replace("$TARGET", target);
                return Ok(serde_json::from_str(&text).ok());
            }
        }
        Ok(None)
    }

    fn before(&self) -> impl Iterator<Item = &Inject> {
        let timed = || self.scenario.injects.iter().filter(|i| i.when_step.is_empty());
        let until = timed().position(|i| i.alert.is_some());
        timed().enumerate().filter(move |(n, i)| until.map_or(self.due(i).is_zero(), |u| *n <= u)).map(|(_, i)| i)
    }

    /// The rest, while the run goes on.
    pub(super) async fn later(
        &self,
        scene: &Scene,
        target: &str,
        beside: &Beside,
        mut steps: watch::Receiver<Progress>,
    ) -> Result<(), Problem> {
        let begun = tokio::time::Instant::now();
        let done: Vec<*const Inject> = self.before().map(std::ptr::from_ref).collect();
        let rest = self.scenario.injects.iter().filter(|i| !done.contains(&std::ptr::from_ref(*i)));
        let mut results = Vec::new();
        for inject in rest {
            let awaited = |progress: &Progress| progress.over || progress.begun.contains(&inject.when_step);
            if inject.when_step.is_empty() {
                let due = tokio::time::sleep_until(begun + self.due(inject));
                tokio::select! { () = due => {}, _ = steps.wait_for(|progress| progress.over) => {} }
            } else {
                // The sender outlives this: it is the run's own.
                let _ = steps.wait_for(awaited).await;
            }
            if steps.borrow().over {
                beside.add(Who::Inject, format!("not played, the run had ended: {}", inject.text));
                continue;
            }
            results.push(self.perform(scene, inject, target, beside).await);
        }
        results.into_iter().collect()
    }

    async fn perform(&self, scene: &Scene, inject: &Inject, target: &str, beside: &Beside) -> Result<(), Problem> {
        beside.add(inject::who(inject), inject.text.clone());
        if inject.alert.is_some() && !self.global.quiet {
            eprintln!("ALERT  {}\n", inject.text);
        }
        let remarks = inject::perform(scene, inject, target).await?;
        for remark in remarks {
            beside.add(Who::Inject, remark);
        }
        Ok(())
    }

    fn at_the_table(&self, inject: &Inject, notes: &mut Vec<Note>) {
        eprintln!("\n[{}] {}", if inject.at.is_empty() { &inject.when_step } else { &inject.at }, inject.text);
        if let Some(text) = ask("  notes (empty: go on) ") {
            notes.push(Note { at: Clock::System.now(), who: "facilitator".into(), text });
        }
    }
}
