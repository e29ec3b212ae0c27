//! `quell drill`: practise, score, report.

mod acts;
mod kept;
mod play;
mod verdict;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Ended, Global, print_json, print_text, setup};
use crate::clock::rfc3339;
use crate::cluster::{Options, unguarded};
use crate::drill::{self, report, stage};
use crate::report::escape::escape;

/// Drills.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct DrillArgs {
    #[command(subcommand)]
    command: Option<DrillCommand>,
    #[command(flatten)]
    run: Option<PlayArgs>,
}

#[derive(Debug, Subcommand)]
enum DrillCommand {
    /// List the drills
    List,
    /// Print a drill's scenario
    Show {
        /// Its name, or a file
        drill: String,
    },
    /// Run a drill (the same as `quell drill NAME`)
    Run(PlayArgs),
    /// Print or write the after-action report of a drill that was run
    Report(ReportArgs),
    /// Show the trend of the drills so far
    History,
    /// Sign a drill's report
    Sign {
        /// The drill's id, or "last"
        id: String,
        /// Who
        #[arg(long)]
        who: String,
        /// As what
        #[arg(long, default_value = "")]
        role: String,
    },
    /// Remove what drills left on a real cluster (--context), also after a crash
    Clean,
}

#[derive(Debug, Clone, Args)]
struct PlayArgs {
    /// A drill's name, or a file
    drill: String,
    /// Nobody is asked: every step is approved, the injects follow one another
    #[arg(long)]
    auto: bool,
    /// What names, UIDs and addresses of the embedded cluster follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How much faster than real; 20 with --auto, else 1
    #[arg(long, value_name = "FACTOR")]
    speed: Option<f64>,
    /// Table-top: one inject at a time, with room for notes, and the discussion's questions at the end
    #[arg(long, conflicts_with = "auto")]
    facilitator: bool,
    /// Who takes part; may be given several times
    #[arg(long, value_name = "NAME")]
    participant: Vec<String>,
    /// Use another runbook than the drill's: a name, or a file
    #[arg(long, value_name = "RUNBOOK")]
    runbook: Option<String>,
    /// One more input of the runbook
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::run::pair)]
    set: Vec<(String, String)>,
    /// On a real cluster: use this image for that of the scenario
    #[arg(long, value_name = "FROM=TO", value_parser = super::run::pair)]
    image: Vec<(String, String)>,
    /// On a real cluster that is not marked for drills: its context, typed out
    #[arg(long, value_name = "CONTEXT")]
    i_know_this_is_not_production: Option<String>,
}

#[derive(Debug, Args)]
struct ReportArgs {
    /// The drill's id, the only one that begins or ends so, or "last"
    #[arg(default_value = "last")]
    id: String,
    /// Write it there: .html or .md by its ending; else Markdown on standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn drill(global: &Global, args: DrillArgs) -> Ended {
    match (args.command, args.run) {
        (Some(DrillCommand::List), _) => list(global),
        (Some(DrillCommand::Show { drill }), _) => {
            print_text(&drill::find(&drill)?.text);
            Ok(0)
        }
        (Some(DrillCommand::Run(play)), _) | (None, Some(play)) => play::run(global, play),
        (Some(DrillCommand::Report(args)), _) => kept::write_report(global, &args),
        (Some(DrillCommand::History), _) => {
            let all = kept::outcomes(global)?;
            if global.json {
                let rows: Vec<Value> = all.iter().map(|o| json!({"drill": o.drill, "began": rfc3339(o.began), "level": o.level, "cluster": o.cluster, "percent": o.score().percent()})).collect();
                print_json(&json!({"v": 1, "drills": rows}));
            } else {
                print_text(&report::history(&all));
            }
            Ok(0)
        }
        (Some(DrillCommand::Sign { id, who, role }), _) => kept::sign(global, &id, who, role),
        (Some(DrillCommand::Clean), _) => setup::block_on(async {
            let gone = stage::clean(&unguarded(&options(global)).await?, None).await?;
            for one in &gone {
                eprintln!("removed {}", escape(one));
            }
            eprintln!("{} objects of drills removed", gone.len());
            Ok(0)
        }),
        (None, None) => list(global),
    }
}

fn list(global: &Global) -> Ended {
    let all = drill::list()?;
    if global.json {
        let rows: Vec<Value> = all.iter().map(|r| json!({"name": r.name, "runbook": r.runbook, "level": r.level, "title": r.title, "summary": r.summary, "only-embedded": r.only_embedded})).collect();
        print_json(&json!({"v": 1, "drills": rows}));
        return Ok(0);
    }
    for row in all {
        print_text(&format!("{:<26} {:<6} {:<18} {}\n", row.name, row.level, row.runbook, row.title));
    }
    Ok(0)
}

fn options(global: &Global) -> Options {
    Options { kubeconfig: global.kubeconfig.clone(), context: global.context.clone(), namespace: None }
}
