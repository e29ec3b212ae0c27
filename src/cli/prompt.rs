//! A person at the terminal.

use std::path::PathBuf;
use std::sync::Arc;

use dialoguer::theme::ColorfulTheme;
use dialoguer::{Input, Select};

use crate::cluster::{Ask, ByHand};
use crate::engine::approve::{Answer, Prompt, WholePlan};
use crate::event::{Decision, PlannedStep};
use crate::report::escape::escape;
use crate::report::{Terminal, step_text};

/// Asks with dialoguer, on standard error, with the progress bars out of the way.
pub struct Person {
    terminal: Arc<Terminal>,
}

impl Person {
    /// A person at this terminal.
    pub fn new(terminal: Arc<Terminal>) -> Person {
        Person { terminal }
    }

    /// The choice's place; None after Ctrl-C or Esc.
    fn choose(&self, question: &str, choices: &[&str]) -> Option<usize> {
        self.terminal.suspend(|| {
            let answer = Select::with_theme(&ColorfulTheme::default())
                .with_prompt(question)
                .items(choices)
                .default(0)
                .interact_opt()
                .ok()
                .flatten();
            show_cursor();
            answer
        })
    }

    /// A line of text that is not empty; None after Ctrl-C.
    fn line(&self, question: &str) -> Option<String> {
        self.terminal.suspend(|| {
            let answer = Input::<String>::with_theme(&ColorfulTheme::default())
                .with_prompt(question)
                .validate_with(
                    |text: &String| if text.trim().is_empty() { Err("a reason is part of the record") } else { Ok(()) },
                )
                .interact_text()
                .ok();
            show_cursor();
            answer.map(|text| text.trim().to_string())
        })
    }
}

/// dialoguer leaves the cursor hidden after Ctrl-C (dialoguer#188).
pub fn show_cursor() {
    let _ = console::Term::stderr().show_cursor();
}

fn answer(decision: Decision, reason: Option<String>) -> Answer {
    Answer { decision, how: "terminal".into(), reason }
}

impl Prompt for Person {
    fn plan(&self) -> WholePlan {
        let choices = ["step by step: ask before each change", "approve all of it as shown", "stop: change nothing"];
        match self.choose("How do you want to go on?", &choices) {
            Some(0) => WholePlan::EachStep,
            Some(1) => WholePlan::ApproveAll,
            _ => WholePlan::Stop,
        }
    }

    fn step(&self, step: &PlannedStep) -> Answer {
        self.terminal.suspend(|| eprintln!("\n{}", step_text(step, super::color())));
        let choices = ["approve", "skip it (with a reason)", "done by hand (with a reason)", "stop here"];
        match self.choose(&format!("{} (risk: {})?", step.step, step.risk), &choices) {
            Some(0) => answer(Decision::Approve, None),
            Some(1) => self
                .line("Why is it skipped?")
                .map_or_else(|| answer(Decision::Stop, None), |why| answer(Decision::Skip, Some(why))),
            Some(2) => self
                .line("What was done by hand?")
                .map_or_else(|| answer(Decision::Stop, None), |why| answer(Decision::ByHand, Some(why))),
            _ => answer(Decision::Stop, None),
        }
    }

    fn go_on(&self, step: &str, why: &str) -> bool {
        self.terminal.suspend(|| eprintln!("step {} failed: {}", escape(step), escape(why)));
        self.choose("Go on with the next step?", &["stop here", "go on"]) == Some(1)
    }
}

impl Ask for Person {
    fn manual(&self, step: &str, title: &str, instructions: &str) -> Option<ByHand> {
        self.terminal.suspend(|| {
            eprintln!("\n{}: {}", escape(step), escape(title));
            for line in instructions.lines() {
                eprintln!("  {}", escape(line));
            }
        });
        match self.choose("Is it done?", &["done", "skipped (with a reason)"]) {
            Some(0) => {
                let note = self.line("What was done?")?;
                let mut files = Vec::new();
                while self.choose("Attach a file as evidence?", &["no (more) files", "attach a file"]) == Some(1) {
                    files.push(PathBuf::from(self.line("Which file?")?));
                }
                Some(Ok((note, files)))
            }
            Some(_) => self.line("Why was it skipped?").map(Err),
            None => None,
        }
    }
}

/// Nobody to ask.
pub struct Nobody;

impl Ask for Nobody {
    fn manual(&self, _: &str, _: &str, _: &str) -> Option<ByHand> {
        None
    }
}
