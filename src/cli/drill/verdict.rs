//! The verdict: what was left behind, judged once, kept and shown.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::kept;
use super::play::{Beside, Play};
use crate::cli::{Ended, print_json, print_text, setup};
use crate::clock::Clock;
use crate::drill::observe::{Observer, Suspect};
use crate::drill::outcome::{Answer, BundleRef, FORMAT, Mode, Moment, Note, Outcome, Verdict, Who};
use crate::drill::score::{self, Facts};
use crate::engine::incident::StateDir;
use crate::event::{Decision, Event, Record};
use crate::evidence::bundle;
use crate::exit;
use crate::journal;
use crate::report::escape::escape;

impl Play<'_> {
    #[expect(clippy::too_many_arguments, reason = "what a drill left behind, judged once")]
    pub(super) fn judge(
        &self,
        observer: &Observer,
        code: Ended,
        began: time::OffsetDateTime,
        beside: &Beside,
        objects: &[(String, Value, Value)],
        said: &[(String, String)],
        notes: Vec<Note>,
        suspect: &Suspect,
    ) -> Ended {
        let state = StateDir::resolve(Some(&self.dir.join("state")), None, None)?;
        let incident = state.list()?.into_iter().next_back().unwrap_or_default();
        let incident_dir = state.find(&incident).unwrap_or_else(|_| self.dir.to_path_buf());
        let records = journal::read(&incident_dir).unwrap_or_default();
        let sealed = records.iter().rev().find_map(|r| match &r.event {
            Event::Sealed { bundle, sha256, .. } => Some((bundle.clone(), sha256.clone())),
            _ => None,
        });
        let sealed = sealed.map(|(file, sha256)| {
            let path = [self.dir.join(&file), incident_dir.join(&file)].into_iter().find(|p| p.is_file());
            let verified = path.is_some_and(|p| bundle::verify(&p).is_ok_and(|report| report.ok()));
            BundleRef { file, sha256, verified }
        });
        let seen = observer.seen();
        let replaced = self.scenario.injects.iter().any(|i| i.kill_pod.is_some());
        let facts = Facts {
            scenario: self.scenario,
            records: &records,
            dir: &incident_dir,
            seen: &seen,
            target: suspect,
            began,
            objects,
            verified: sealed.as_ref().map(|b| b.verified),
            said,
            people: self.people,
            replaced,
            real: self.real,
        };
        let (times, checks) = (score::milestones(&facts), score::checks(&facts));
        let mut timeline = beside.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        timeline.extend(told(&records, began));
        timeline.sort_by_key(|m| m.at);
        let hash = |text: &str| crate::evidence::hex(&Sha256::digest(text.as_bytes()));
        let runbook_sha256 = match records.first().map(|r| &r.event) {
            Some(Event::Opened { runbook, .. }) => runbook.sha256.clone(),
            _ => String::new(),
        };
        let answers = self.scenario.discussion.iter().map(|q| Answer {
            question: q.question.clone(),
            expected: q.expected.clone(),
            answer: said.iter().find(|(question, _)| *question == q.question).map(|(_, a)| a.clone()),
        });
        let outcome = Outcome {
            format: FORMAT,
            drill: self.scenario.metadata.name.clone(),
            title: self.scenario.metadata.title.clone(),
            runbook: self.runbook.into(),
            runbook_sha256,
            scenario_sha256: hash(&self.scenario.text),
            level: self.scenario.metadata.level.clone(),
            seed: self.args.seed,
            cluster: if self.real {
                self.global.context.clone().unwrap_or_else(|| "real".into())
            } else {
                "embedded".into()
            },
            mode: if self.args.auto {
                Mode::Auto
            } else if self.args.facilitator {
                Mode::Facilitated
            } else {
                Mode::Interactive
            },
            began,
            ended: records.last().map_or_else(|| Clock::System.now(), |r| r.time),
            participants: if self.args.participant.is_empty() && self.people {
                vec![setup::who()]
            } else {
                self.args.participant.clone()
            },
            incident,
            bundle: sealed,
            times,
            checks,
            timeline,
            notes,
            answers: answers.collect(),
            sign_off: None,
            tool: concat!("quell ", env!("CARGO_PKG_VERSION")).into(),
        };
        kept::keep(self.dir, &outcome, &kept::outcomes(self.global)?)?;
        self.show(&outcome);
        // What the run itself ended with is a part of the drill, not its verdict: a run that stops where it should is good.
        if let Err(problem) = &code
            && !self.global.json
        {
            eprintln!("the run ended so: {}", escape(&problem.to_string()));
        }
        Ok(if outcome.passed() { exit::DONE } else { exit::FAILED })
    }

    fn show(&self, outcome: &Outcome) {
        if self.global.json {
            print_json(
                &json!({"v": 1, "drill": self.id, "percent": outcome.score().percent(), "passed": outcome.passed(), "outcome": outcome}),
            );
            return;
        }
        let mut text = format!("\ndrill {}: {} %\n", outcome.drill, outcome.score().percent());
        for time in &outcome.times {
            let after = time.after_ms.map_or("never".to_string(), |ms| format!("{}.{:03} s", ms / 1000, ms % 1000));
            let name =
                serde_json::to_value(time.name).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default();
            text.push_str(&format!("  {name:<16} {after:>10}  {}\n", escape(&time.by)));
        }
        for check in &outcome.checks {
            let mark = match check.verdict {
                Verdict::Passed => "ok  ",
                Verdict::Failed => "FAIL",
                Verdict::NotMeasured => "?   ",
            };
            let fault = check
                .fault
                .as_ref()
                .filter(|_| check.verdict == Verdict::Failed)
                .map(|f| format!(" [{}]", escape(f)))
                .unwrap_or_default();
            text.push_str(&format!(
                "  {mark} {:<28} {}: {}{fault}\n",
                check.id,
                escape(&check.what),
                escape(&check.found)
            ));
        }
        text.push_str(&format!("\nreport: {}\n", self.dir.join("report.html").display()));
        print_text(&text);
    }
}

/// The journal's part of the timeline.
fn told(records: &[Record], began: time::OffsetDateTime) -> Vec<Moment> {
    let mut all = Vec::new();
    for record in records {
        let (text, step) = match &record.event {
            Event::Opened { .. } => ("the run is begun".to_string(), None),
            Event::StepStarted { step, uses, .. } => (format!("{step} begins ({uses})"), Some(step.clone())),
            Event::StepFinished { step, status, summary, .. } => {
                (format!("{step}: {status}. {summary}"), Some(step.clone()))
            }
            Event::Decided { step, decision, who, .. } => {
                (format!("{who} decided on {step}: {}", word(*decision)), Some(step.clone()))
            }
            Event::Sealed { bundle, .. } => (format!("sealed: {bundle}"), None),
            _ => continue,
        };
        let after_ms = u64::try_from((record.time - began).whole_milliseconds()).unwrap_or(0);
        all.push(Moment { at: record.time, after_ms, who: Who::Responder, text, step });
    }
    all
}

fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "do it",
        Decision::Skip => "leave it",
        Decision::ByHand => "done by hand",
        Decision::Stop => "stop here",
    }
}
