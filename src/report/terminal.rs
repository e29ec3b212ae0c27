//! Records as text for people, on standard error: lines, and on a terminal a bar for what is being captured.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use console::{Style, Term};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Report;
use super::escape::escape;
use crate::event::{
    Artifact, Decision, Event, Landed, NoteLevel, Op, OpStatus, Proof, Record, RunKind, RunStatus, StepStatus,
};

/// Without a terminal, progress is a line at most this often.
const PLAIN_PROGRESS: Duration = Duration::from_secs(5);

/// Text for people.
pub struct Terminal {
    bars: MultiProgress,
    color: bool,
    live: bool,
    /// `--quiet`: only warnings and the end.
    quiet: bool,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    bars: BTreeMap<String, ProgressBar>,
    said: BTreeMap<String, Instant>,
    ops: BTreeMap<String, Op>,
}

impl Terminal {
    /// `color` is false with NO_COLOR or when standard error is no terminal.
    pub fn new(color: bool, live: bool, quiet: bool) -> Terminal {
        let target = if live { ProgressDrawTarget::term(Term::stderr(), 8) } else { ProgressDrawTarget::hidden() };
        Terminal { bars: MultiProgress::with_draw_target(target), color, live, quiet, inner: Mutex::default() }
    }

    /// Runs something that draws on the terminal itself (a prompt) with the bars out of the way.
    pub fn suspend<T>(&self, f: impl FnOnce() -> T) -> T {
        self.bars.suspend(f)
    }

    fn style(&self) -> Style {
        Style::new().for_stderr().force_styling(self.color)
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    fn progress(&self, inner: &mut Inner, op: &str, label: &str, bytes: u64, total: Option<u64>) {
        let key = format!("{op} {label}");
        if self.live {
            let bar = inner.bars.entry(key).or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new(total.unwrap_or(0)));
                let template = if total.is_some() {
                    "  ↓ {msg} {bytes} of about {total_bytes} {bytes_per_sec} {eta}"
                } else {
                    "  ↓ {msg} {bytes} {bytes_per_sec} {elapsed}"
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_message(escape(label).into_owned());
                bar
            });
            bar.set_position(bytes);
        } else {
            let due = inner.said.get(&key).is_none_or(|at| at.elapsed() >= PLAIN_PROGRESS);
            if due && inner.said.insert(key, Instant::now()).is_some() {
                let of = total.map(|t| format!(" of about {}", indicatif::HumanBytes(t))).unwrap_or_default();
                self.line(&format!("  ↓ {} {}{of}", escape(label), indicatif::HumanBytes(bytes)));
            }
        }
    }

    fn clear(&self, inner: &mut Inner, op: &str) {
        inner.bars.retain(|key, bar| {
            let ours = key.split(' ').next() == Some(op);
            if ours {
                bar.finish_and_clear();
            }
            !ours
        });
    }

    fn outcome(&self, inner: &Inner, op: &str, status: OpStatus, detail: &str, proof: Option<&Proof>) -> String {
        let mark = match (status, proof) {
            (OpStatus::Failed, _) | (_, Some(Proof::Refuted(_))) => self.style().red().apply_to("✗"),
            (_, Some(Proof::Unproved(_))) => self.style().yellow().apply_to("?"),
            _ => self.style().green().apply_to("✓"),
        };
        let what = match status {
            OpStatus::AlreadySo => " (already so)",
            OpStatus::Failed => " FAILED",
            OpStatus::LeftOut => " (left out)",
            OpStatus::Applied | OpStatus::Taken => "",
        };
        let mut text = format!("  {mark} {}{what}", escape(detail));
        match proof {
            Some(Proof::Unproved(why)) if why != detail => text.push_str(&format!("\n    not proved: {}", escape(why))),
            Some(Proof::Refuted(why)) if why != detail => text.push_str(&format!("\n    refuted: {}", escape(why))),
            _ => {}
        }
        if status == OpStatus::Failed
            && let Some(op) = inner.ops.get(op)
        {
            text.push_str(&format!("\n    while: {}", escape(&op.summary)));
        }
        text
    }

    fn artifact(&self, artifact: &Artifact) -> String {
        let whole = match &artifact.truncated {
            None if artifact.complete => String::new(),
            why => format!(
                " {}",
                self.style()
                    .yellow()
                    .apply_to(format!("NOT COMPLETE: {}", escape(why.as_deref().unwrap_or("cut short"))))
            ),
        };
        let trust = self.style().dim().apply_to(format!("{}, {}", artifact.method.rung, artifact.method.trust));
        format!("  ↓ {}  {}  {trust}{whole}", artifact.path, indicatif::HumanBytes(artifact.size))
    }

    fn finished(&self, step: &str, status: StepStatus, summary: &str) -> String {
        let style = match status {
            StepStatus::Verified | StepStatus::NotNeeded => self.style().green(),
            StepStatus::Failed | StepStatus::Refuted => self.style().red().bold(),
            _ => self.style().yellow(),
        };
        format!(
            "  {} {}: {}",
            style.apply_to("="),
            style.apply_to(format!("{} {status}", escape(step))),
            escape(summary)
        )
    }
}

impl Report for Terminal {
    fn record(&self, record: &Record) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let text = match &record.event {
            Event::Progress { op, label, bytes, total } => {
                if !self.quiet {
                    self.progress(&mut inner, op, label, *bytes, *total);
                }
                return;
            }
            Event::Opened { .. } | Event::Planned { .. } | Event::Sealed { .. } => return,
            Event::RunStarted { kind, selection, .. } => {
                let what = match kind {
                    RunKind::Run => "Incident",
                    RunKind::Resume => "Going on with incident",
                    RunKind::Undo => "Taking back incident",
                };
                let part = if selection.is_empty() {
                    String::new()
                } else {
                    format!(" (only a part: {})", selection.join(", "))
                };
                format!("{what} {}{part}", self.style().bold().apply_to(&record.incident))
            }
            Event::StepStarted { step, ops, .. } => {
                for op in ops {
                    inner.ops.insert(op.id.clone(), op.clone());
                }
                format!("\n{}", self.style().bold().apply_to(escape(step)))
            }
            Event::Decided { step, decision, who, how, reason } => {
                let reason = reason.as_deref().map(|r| format!(": {}", escape(r))).unwrap_or_default();
                let what = match decision {
                    Decision::Approve => return,
                    Decision::Skip => "skipped",
                    Decision::ByHand => "done by hand",
                    Decision::Stop => "stopped",
                };
                format!(
                    "\n{}  {what} by {} ({}){reason}",
                    self.style().bold().apply_to(escape(step)),
                    escape(who),
                    escape(how)
                )
            }
            Event::Overridden { by } => format!(
                "{} guard {} overridden by {}: {}",
                self.style().yellow().apply_to("▲"),
                by.guard,
                escape(&by.who),
                escape(&by.reason)
            ),
            Event::Intent { op, attempt, .. } => {
                if *attempt > 1 || op.starts_with("lease") || self.quiet {
                    return;
                }
                match inner.ops.get(op) {
                    // Of many at the same time only the outcomes are shown.
                    Some(known) if known.part_of.is_some() => return,
                    Some(known) => format!(
                        "  {} {}",
                        self.style().dim().apply_to("→"),
                        self.style().dim().apply_to(escape(&known.summary))
                    ),
                    None => format!("  {} {}", self.style().dim().apply_to("→"), escape(op)),
                }
            }
            Event::Outcome { op, status, detail, proof, .. } => {
                self.clear(&mut inner, op);
                if op.starts_with("lease") && *status != OpStatus::Failed {
                    return;
                }
                self.outcome(&inner, op, *status, detail, proof.as_ref())
            }
            Event::Captured { artifact, .. } => self.artifact(artifact),
            Event::Retrying { op, attempt, cause, wait_ms } => {
                let mark = self.style().yellow().apply_to("↻");
                if *wait_ms == 0 {
                    format!("  {mark} {}", escape(cause))
                } else {
                    format!("  {mark} {} try {attempt} failed, again in {wait_ms} ms: {}", escape(op), escape(cause))
                }
            }
            Event::FoundOut { op, landed, how } => {
                let what = match landed {
                    Landed::Yes => "had landed",
                    Landed::No => "had not landed",
                    Landed::Unknown => "may or may not have landed",
                };
                format!("  {} {} {what}: {}", self.style().cyan().apply_to("?"), escape(op), escape(how))
            }
            Event::StepFinished { step, status, summary, .. } => {
                for key in inner.bars.keys().filter(|k| k.starts_with(&format!("{step}/"))).cloned().collect::<Vec<_>>()
                {
                    if let Some(bar) = inner.bars.remove(&key) {
                        bar.finish_and_clear();
                    }
                }
                self.finished(step, *status, summary)
            }
            Event::Note { level, text, .. } => {
                let mark = if *level == NoteLevel::Warning {
                    self.style().yellow().apply_to("▲")
                } else {
                    self.style().dim().apply_to("·")
                };
                format!("  {mark} {}", escape(text))
            }
            Event::Interrupted { why } => format!("\ninterrupted: {}", escape(why)),
            Event::Finished { status, exit_code, open } => {
                let word = match status {
                    RunStatus::Done => self.style().green().bold().apply_to("All steps done and verified."),
                    RunStatus::Unproved => {
                        self.style().yellow().bold().apply_to("Finished, with something skipped or not proved:")
                    }
                    RunStatus::Failed => self.style().red().bold().apply_to("Ended with a failure:"),
                    RunStatus::Stopped => self.style().yellow().bold().apply_to("Stopped before the end:"),
                    RunStatus::Interrupted => {
                        self.style().yellow().bold().apply_to("Interrupted; everything is saved:")
                    }
                };
                let mut text = format!("\n{word}");
                for line in open {
                    text.push_str(&format!("\n  - {}", escape(line)));
                }
                text.push_str(&format!("\n{}", self.style().dim().apply_to(format!("exit code {exit_code}"))));
                text
            }
        };
        drop(inner);
        self.line(&text);
    }
}
