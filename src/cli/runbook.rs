//! `quell runbook`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::{Ended, Global, print_json, print_text, setup};
use crate::action;
use crate::cluster::{Fault, Problem};
use crate::engine::rights::{self, Subject};
use crate::event::Risk;
use crate::exit;
use crate::runbook::{self, Diagnostic, Known, Runbook};

/// Runbooks.
#[derive(Debug, Subcommand)]
pub enum RunbookCommand {
    /// Report every problem of a runbook at once, with place and suggestion
    Check {
        /// Files or names
        #[arg(required = true)]
        runbooks: Vec<String>,
    },
    /// Print the JSON Schema that editors use (yaml-language-server)
    Schema,
    /// List the runbooks at hand
    List,
    /// Show a runbook: when to use it, inputs, steps
    Show {
        /// A name or a file
        runbook: String,
        /// The YAML itself
        #[arg(long)]
        yaml: bool,
    },
    /// Print the skeleton of a new runbook
    New {
        /// Its name
        name: String,
        /// Write it there instead of printing it; an existing file is kept
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Print the smallest ClusterRole and Role that a runbook needs
    Rbac {
        /// A name or a file
        runbook: String,
        /// Bind them to this user
        #[arg(long, value_name = "NAME", conflicts_with_all = ["group", "service_account"])]
        user: Option<String>,
        /// Bind them to this group
        #[arg(long, value_name = "NAME", conflicts_with = "service_account")]
        group: Option<String>,
        /// Bind them to this service account
        #[arg(long, value_name = "NAMESPACE/NAME")]
        service_account: Option<String>,
    },
}

/// What the check needs to know of the actions.
pub fn known() -> Vec<Known> {
    action::all()
        .into_iter()
        .map(|entry| Known {
            name: entry.spec.name.into(),
            schema: serde_json::to_value((entry.schema)()).unwrap_or_default(),
            example: entry.spec.example.into(),
            destructive: entry.spec.risk == Risk::Destructive,
            captures: entry.spec.captures,
            outputs: entry.spec.outputs.iter().map(|(name, _)| (*name).to_string()).collect(),
            changes: entry.spec.risk > Risk::Read,
        })
        .collect()
}

/// Finds and checks a runbook; its problems, rendered, are the error.
pub(super) fn load(global: &Global, name: &str) -> Result<Runbook, Problem> {
    let found = setup::library(global).find(name)?;
    runbook::check(&found.text, &found.source, &known()).map_err(|all| invalid(&all, &found.text, &found.source))
}

/// The runbook that an incident kept: checked again, and by its hash the same as then.
pub(super) fn parse_kept(bytes: &[u8], source: &str, sha256: &str) -> Result<Runbook, Problem> {
    use sha2::{Digest, Sha256};
    if crate::evidence::hex(&Sha256::digest(bytes)) != sha256 {
        return Err(Problem::new(Fault::Verification, "the incident's runbook.yaml is not the one it was opened with")
            .hint("somebody changed it: put it back, or go on by hand"));
    }
    let text = String::from_utf8_lossy(bytes);
    runbook::check(&text, source, &known()).map_err(|all| invalid(&all, &text, source))
}

fn invalid(all: &[Diagnostic], text: &str, source: &str) -> Problem {
    eprint!("{}", runbook::render(all, text, source, super::color(), width()));
    Problem::new(Fault::Runbook, format!("the runbook {source} does not check")).hint("nothing was touched")
}

fn width() -> usize {
    if std::io::stderr().is_terminal() { usize::from(console::Term::stderr().size().1).clamp(60, 140) } else { 100 }
}

pub(super) fn runbook(global: &Global, command: RunbookCommand) -> Ended {
    match command {
        RunbookCommand::Check { runbooks } => check(global, &runbooks),
        RunbookCommand::Schema => {
            print_text(&serde_json::to_string_pretty(&runbook::schema(&known())).unwrap_or_default());
            Ok(0)
        }
        RunbookCommand::List => list(global),
        RunbookCommand::Show { runbook, yaml } => {
            let loaded = load(global, &runbook)?;
            if global.json {
                print_json(&json!({"v": 1, "runbook": runbook::document(&loaded)}));
            } else {
                print_text(&if yaml { loaded.source_text.clone() } else { runbook::show(&loaded) });
            }
            Ok(0)
        }
        RunbookCommand::New { name, output } => new(&name, output),
        RunbookCommand::Rbac { runbook, user, group, service_account } => {
            let loaded = load(global, &runbook)?;
            let subject = subject(user, group, service_account)?;
            let namespace = global.namespace.as_deref().unwrap_or("default");
            let all = rights::manifests(&loaded, namespace, subject.as_ref());
            if global.json {
                print_json(&json!({"apiVersion": "v1", "kind": "List", "items": all}));
            } else {
                let texts: Vec<String> = all.iter().filter_map(|m| serde_yaml::to_string(m).ok()).collect();
                print_text(&texts.join("---\n"));
            }
            Ok(0)
        }
    }
}

fn subject(user: Option<String>, group: Option<String>, account: Option<String>) -> Result<Option<Subject>, Problem> {
    if let Some(account) = account {
        let (namespace, name) =
            account.split_once('/').ok_or_else(|| Problem::usage("--service-account takes NAMESPACE/NAME"))?;
        return Ok(Some(Subject::ServiceAccount(namespace.into(), name.into())));
    }
    Ok(user.map(Subject::User).or(group.map(Subject::Group)))
}

fn check(global: &Global, names: &[String]) -> Ended {
    let mut code = 0;
    let mut documents = Vec::new();
    for name in names {
        let found = setup::library(global).find(name)?;
        match runbook::check_all(&found.text, &found.source, &known()) {
            (Some(_), warnings) => {
                eprint!("{}", runbook::render(&warnings, &found.text, &found.source, super::color(), width()));
                eprintln!("{}: good", found.source);
                documents.push(json!({"runbook": found.source, "valid": true, "diagnostics": warnings}));
            }
            (None, all) => {
                code = exit::RUNBOOK;
                eprint!("{}", runbook::render(&all, &found.text, &found.source, super::color(), width()));
                documents.push(json!({"runbook": found.source, "valid": false, "diagnostics": all}));
            }
        }
    }
    if global.json {
        print_json(&json!({"v": 1, "runbooks": documents}));
    }
    Ok(code)
}

fn list(global: &Global) -> Ended {
    let all = setup::library(global).list(&known());
    if global.json {
        let rows: Vec<_> = all
            .iter()
            .map(|r| json!({"name": r.name, "title": r.title, "source": r.source, "problems": r.problems}))
            .collect();
        print_json(&json!({"v": 1, "runbooks": rows}));
        return Ok(0);
    }
    for row in all {
        let problems = if row.problems > 0 {
            format!("  ({} problems: quell runbook check)", row.problems)
        } else {
            String::new()
        };
        print_text(&format!("{:<22} {}  [{}]{problems}", row.name, row.title, row.source));
    }
    Ok(0)
}

fn new(name: &str, output: Option<PathBuf>) -> Ended {
    let text = runbook::new(name)?;
    let Some(path) = output else {
        print_text(&text);
        return Ok(0);
    };
    use std::io::Write;
    let mut file = std::fs::File::create_new(&path).map_err(|e| Problem::io("can't write", &path, &e))?;
    file.write_all(text.as_bytes()).map_err(|e| Problem::io("can't write", &path, &e))?;
    eprintln!("{} written; `quell runbook check {}` checks it", path.display(), path.display());
    Ok(0)
}
