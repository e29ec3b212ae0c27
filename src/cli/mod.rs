//! The command line: one file a command, global options here, and the only place that reads the environment, prints and
//! exits.

mod action;
mod audit;
mod bundle;
mod collector;
mod completions;
mod doctor;
mod drill;
mod incidents;
mod prompt;
mod resume;
mod run;
mod runbook;
mod setup;
mod sim;
mod status;
mod undo;

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cluster::Problem;
use crate::exit;
use crate::report::escape::escape;

pub use runbook::known;

/// Incident response runbooks for Kubernetes: contain, capture, verify, undo, and leave a record that stands up.
#[derive(Debug, Parser)]
#[command(name = "quell", version, propagate_version = false, after_help = after_help(), max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The kubeconfig file; else KUBECONFIG, ~/.kube/config, the pod's own service account
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,
    /// The namespace in force
    #[arg(long, short, global = true, value_name = "NAME", help_heading = "Cluster")]
    namespace: Option<String>,
    /// Where incidents are kept; else $XDG_STATE_HOME/quell or ~/.local/state/quell
    #[arg(long, global = true, value_name = "DIR", env = "QUELL_STATE_DIR", help_heading = "Files")]
    state_dir: Option<PathBuf>,
    /// A directory with runbooks of your own; may be given several times
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "QUELL_RUNBOOKS",
        value_delimiter = ':',
        help_heading = "Files"
    )]
    runbook_dir: Vec<PathBuf>,
    /// JSON on standard output: one event a line from runs, one document from the rest
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// Only warnings, outcomes and the end
    #[arg(long, short, global = true, help_heading = "Output")]
    quiet: bool,
    /// Told of every record beside the terminal: a drill's injects wait for steps.
    #[arg(skip)]
    watcher: Watcher,
}

/// Someone who is told of every record.
#[derive(Clone, Default)]
struct Watcher(Option<std::sync::Arc<dyn crate::report::Report>>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher" } else { "nobody" })
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a runbook: plan, approve, act, seal the evidence
    Run(run::RunArgs),
    /// Show what a run would do; reads only, changes nothing at all
    Plan(run::PlanArgs),
    /// Go on with an incident after a crash, an interruption or a missing approval
    Resume(resume::ResumeArgs),
    /// Take an incident's containment back, newest change first
    Undo(undo::UndoArgs),
    /// List incidents
    Incidents,
    /// Show one incident: steps, what is open, artifacts
    Status(status::StatusArgs),
    /// Seal evidence, and verify, list, show or extract it offline
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Check, list, show and write runbooks, and print the rights they need
    #[command(subcommand)]
    Runbook(runbook::RunbookCommand),
    /// List and explain what steps can do
    #[command(subcommand)]
    Action(action::ActionCommand),
    /// Find who did what in the API server's audit log, and what can't be known from it
    Audit(Box<audit::AuditArgs>),
    /// Look what this cluster, identity and namespace allow, before it is needed
    Doctor(doctor::DoctorArgs),
    /// Practise: run a drill on the embedded cluster or a real one, score it, report it
    Drill(Box<drill::DrillArgs>),
    /// Serve the embedded cluster to kubectl and other clients
    #[command(subcommand)]
    Sim(sim::SimCommand),
    /// Make the image of quell's collector
    #[command(subcommand)]
    Collector(collector::CollectorCommand),
    /// Print a shell's completion script
    Completions(completions::CompletionsArgs),
}

fn after_help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in exit::ALL {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    text
}

/// What a command ends with: an exit code, or a problem that tells its own.
pub type Ended = Result<u8, Problem>;

/// Parses, runs, and prints a problem if there is one. The process's exit code.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap prints help and version on standard output with 0, misuse on standard error with 2.
            let code = u8::try_from(error.exit_code()).unwrap_or(exit::USAGE);
            return if error.print().is_ok() { code } else { exit::INTERNAL };
        }
    };
    let global = cli.global;
    let ended = match cli.command {
        Command::Run(args) => run::run(&global, args),
        Command::Plan(args) => run::plan(&global, args),
        Command::Resume(args) => resume::resume(&global, args),
        Command::Undo(args) => undo::undo(&global, args),
        Command::Incidents => incidents::incidents(&global),
        Command::Status(args) => status::status(&global, &args),
        Command::Bundle(command) => bundle::bundle(&global, command),
        Command::Runbook(command) => runbook::runbook(&global, command),
        Command::Action(command) => action::action(&global, command),
        Command::Audit(args) => audit::audit(&global, &args),
        Command::Doctor(args) => doctor::doctor(&global, &args),
        Command::Drill(args) => drill::drill(&global, *args),
        Command::Sim(command) => sim::sim(&global, command),
        Command::Collector(command) => collector::collector(&global, command),
        Command::Completions(args) => completions::completions(&args),
    };
    match ended {
        Ok(code) => code,
        Err(problem) => {
            complain(&problem, global.json);
            exit::of_fault(problem.fault)
        }
    }
}

/// A problem on standard error, and with `--json` as a document on standard output too.
fn complain(problem: &Problem, json: bool) {
    let red = console::Style::new().for_stderr().red().bold().force_styling(color());
    let lines: Vec<_> = problem.message.lines().map(|l| escape(l).into_owned()).collect();
    eprintln!("{} {}", red.apply_to("error:"), lines.join("\n"));
    if let Some(hint) = &problem.hint {
        eprintln!("  {}", escape(hint));
    }
    if json {
        print_json(&serde_json::json!({
            "v": crate::event::FORMAT,
            "error": {"message": problem.message, "hint": problem.hint, "exit_code": exit::of_fault(problem.fault)},
        }));
    }
}

/// Colour on standard error: on a terminal, unless NO_COLOR is set.
fn color() -> bool {
    std::io::stderr().is_terminal() && no_color_unset()
}

/// Colour on standard output.
fn stdout_color() -> bool {
    std::io::stdout().is_terminal() && no_color_unset()
}

fn no_color_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// One JSON document, on one line.
fn print_json(value: &serde_json::Value) {
    use std::io::Write;
    // A reader that went away wants no more.
    let _ = writeln!(std::io::stdout().lock(), "{value}");
}

/// Text on standard output; a reader that went away wants no more.
fn print_text(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
}
