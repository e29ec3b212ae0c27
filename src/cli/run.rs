//! `quell run` and `quell plan`.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use super::setup::{self, Consent, Part, Work};
use super::{Ended, Global};
use crate::clock::Clock;
use crate::cluster::{Fault, Problem};
use crate::engine::{Session, State, incident};
use crate::event::{AlertRef, Event, Plan, Risk, RunKind, RunStatus, RunbookRef};
use crate::evidence::hex;
use crate::exit;
use crate::journal::{self, Journal};
use crate::report::plan_text;
use crate::runbook::{Runbook, bind_inputs, from_alert};

/// What `run` and `plan` share.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// A runbook's name, or a file
    runbook: String,
    /// An input of the runbook; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
    /// Take the inputs from one Alertmanager or Falco JSON document, by the runbook's own mapping ("-" reads it from
    /// standard input); the same alert again joins its incident
    #[arg(long, value_name = "FILE")]
    from_alert: Option<PathBuf>,
    /// Bytes that one artifact may have; what is longer is cut, and said to be
    #[arg(long, value_name = "SIZE", default_value = "100GiB", value_parser = setup::size)]
    max_bytes: u64,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    part: Part,
}

/// Arguments of `quell run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    what: What,
    /// Stop after the plan (the same as `quell plan`)
    #[arg(long)]
    dry_run: bool,
    /// Where the bundle goes; else the working directory, else the incident's folder
    #[arg(long, value_name = "DIR")]
    bundle_dir: Option<PathBuf>,
}

impl RunArgs {
    /// A drill's run: `auto` approves all up to that risk.
    pub(super) fn of_drill(
        runbook: &str,
        set: Vec<(String, String)>,
        from_alert: Option<PathBuf>,
        bundle_dir: &std::path::Path,
        auto: Option<Risk>,
    ) -> RunArgs {
        let consent = auto.map_or_else(Consent::usual, Consent::up_to);
        RunArgs {
            what: What { runbook: runbook.into(), set, from_alert, max_bytes: 1 << 30, consent, part: Part::default() },
            dry_run: false,
            bundle_dir: Some(bundle_dir.into()),
        }
    }
}

/// Arguments of `quell plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    what: What,
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

/// Inputs as text, by name.
type Given = Vec<(String, String)>;

/// An alert document, and what it says by the runbook's mapping.
struct Alert {
    bytes: Vec<u8>,
    reference: AlertRef,
}

pub(super) fn plan(global: &Global, args: PlanArgs) -> Ended {
    run(global, RunArgs { what: args.what, dry_run: true, bundle_dir: None })
}

pub(super) fn run(global: &Global, args: RunArgs) -> Ended {
    let runbook = super::runbook::load(global, &args.what.runbook)?;
    let (given, alert) = given(&args.what, &runbook)?;
    let inputs = bind_inputs(&runbook, &given, global.namespace.as_deref()).map_err(|all| several(&runbook, &all))?;
    let selection = args.what.part.selection(&runbook)?;
    if let Some(alert) = alert.as_ref().filter(|_| !args.dry_run)
        && let Some(joined) = join(global, alert, &args)?
    {
        return Ok(joined);
    }
    let state_dir = setup::state_dir(global)?;
    setup::block_on(async {
        let id = incident::new_id(&runbook.name, Clock::System);
        let cluster = setup::connect(global, &args.what.consent).await?;
        let work = Work {
            cluster,
            runbook,
            inputs,
            incident: id.clone(),
            dir: PathBuf::new(),
            journal: None,
            state: State::default(),
            selection,
            max_bytes: args.what.max_bytes,
        };
        let mut session = setup::session(global, &args.what.consent, work)?;
        headline(&session, global.quiet);
        if args.dry_run {
            let plan = session.make_plan().await?;
            return shown(&session, &plan, global);
        }
        // A target that can't be resolved is refused here, before there is an incident to clean up.
        session.dir = state_dir.create(&id)?;
        session.journal = Some(std::sync::Mutex::new(open(&session, alert.as_ref())?));
        session.emit(opened(&session, alert.as_ref()))?;
        session.emit(started(&session, RunKind::Run))?;
        setup::journal_overrides(&session, &args.what.consent)?;
        work_through(&session, global, args.bundle_dir.as_deref()).await
    })
}

/// Plan, guards, steps, seal: the same for a new incident and for one that goes on.
pub(super) async fn work_through(session: &Session, global: &Global, bundle_dir: Option<&std::path::Path>) -> Ended {
    let result = async {
        let plan = session.make_plan().await?;
        if !global.quiet {
            eprint!("\n{}", plan_text(&plan, super::color()));
        }
        blocked(&plan)?;
        session.execute(&plan).await
    }
    .await;
    let ended_here = matches!(&result, Ok((RunStatus::Done | RunStatus::Unproved | RunStatus::Failed, _)));
    let closed = session.close(result).await;
    if ended_here {
        super::bundle::seal_now(session, bundle_dir)?;
    } else {
        eprintln!(
            "\nThe incident stays open: `quell resume {0}` goes on, `quell undo {0}` takes back what was changed.",
            session.incident
        );
    }
    closed.map(|(code, _)| code)
}

/// Everything in the way, at once.
fn blocked(plan: &Plan) -> Result<(), Problem> {
    let mut all = plan.blockers.clone();
    all.extend(plan.steps.iter().flat_map(|s| s.blockers.iter().map(|b| format!("{}: {b}", s.step))));
    if all.is_empty() {
        return Ok(());
    }
    Err(Problem::refused(format!("the plan can't be carried out; nothing was changed:\n  - {}", all.join("\n  - "))))
}

fn shown(session: &Session, plan: &Plan, global: &Global) -> Ended {
    if !global.json {
        super::print_text(&plan_text(plan, super::stdout_color()));
    }
    let blocked = !plan.blockers.is_empty() || plan.steps.iter().any(|s| !s.blockers.is_empty());
    if !global.quiet {
        eprintln!("\nNothing was changed. `quell run {}` with the same options does it.", session.runbook.name);
    }
    Ok(if blocked { exit::REFUSED } else { exit::DONE })
}

/// Where, as whom: in view before anything is asked.
pub(super) fn headline(session: &Session, quiet: bool) {
    if quiet {
        return;
    }
    let id = &session.cluster.id;
    let uid = id.uid.as_deref().unwrap_or("not known: kube-system may not be read");
    eprintln!("{}: {}", session.runbook.name, session.runbook.title);
    eprintln!("  cluster    {} at {} ({}, UID {uid})", id.cluster, id.server, id.version);
    eprintln!("  context    {}", id.context);
    eprintln!("  user       {}", id.user);
    eprintln!("  namespace  {}", session.namespace());
    if let Some(ahead) = session.cluster.clock_check.ahead_ms.filter(|ms| ms.abs() > 2000) {
        eprintln!(
            "  clock      this machine is {} ms {} the API server",
            ahead.abs(),
            if ahead > 0 { "ahead of" } else { "behind" }
        );
    }
}

/// Inputs from the alert, then from `--set`, which may not contradict it.
fn given(what: &What, runbook: &Runbook) -> Result<(Given, Option<Alert>), Problem> {
    let mut given = what.set.clone();
    for (variable, input) in [("QUELL_COLLECTOR_IMAGE", "collector-image"), ("QUELL_RECIPIENTS", "recipients")] {
        if let Ok(value) = std::env::var(variable)
            && runbook.inputs.iter().any(|i| i.name == input)
            && !given.iter().any(|(n, _)| n == input)
        {
            given.push((input.into(), value));
        }
    }
    let Some(path) = &what.from_alert else { return Ok((given, None)) };
    let bytes = read_alert(path)?;
    let found = from_alert(runbook, &bytes)?;
    for (name, value) in found.inputs {
        if let Some((_, other)) = given.iter().find(|(n, _)| *n == name) {
            return Err(Problem::usage(format!("input {name} is {value:?} in the alert and {other:?} in --set"))
                .hint("an alert's own inputs can't be changed: leave --set out, or run without --from-alert"));
        }
        given.push((name, value));
    }
    let reference = AlertRef { kind: found.kind, fingerprint: found.fingerprint, sha256: found.sha256 };
    Ok((given, Some(Alert { bytes, reference })))
}

fn read_alert(path: &std::path::Path) -> Result<Vec<u8>, Problem> {
    // The document's own cap is 256 KiB: one more byte is enough to see that it is too long.
    let mut bytes = Vec::new();
    let limit = 256 * 1024 + 1;
    let read = if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(limit).read_to_end(&mut bytes))
    };
    read.map_err(|e| Problem::usage(format!("can't read the alert {}: {e}", path.display())))?;
    Ok(bytes)
}

/// The incident that the same alert already has: it goes on, or is said to be at work or ended.
fn join(global: &Global, alert: &Alert, args: &RunArgs) -> Result<Option<u8>, Problem> {
    let state_dir = setup::state_dir(global)?;
    for id in state_dir.list()?.into_iter().rev() {
        let dir = state_dir.find(&id)?;
        let Ok(records) = journal::read(&dir) else { continue };
        let same = matches!(records.first().map(|r| &r.event),
            Some(Event::Opened { alert: Some(known), .. }) if known.fingerprint == alert.reference.fingerprint);
        if !same {
            continue;
        }
        let state = State::of(&records);
        eprintln!("this alert already has incident {id}: joining it");
        return Ok(Some(match state.ended {
            Some(status @ (RunStatus::Done | RunStatus::Unproved | RunStatus::Failed)) => {
                eprintln!("it has ended; `quell status {id}` tells how");
                exit::of_run(status)
            }
            _ => super::resume::go_on(
                global,
                &dir,
                &args.what.consent,
                None,
                args.what.max_bytes,
                args.bundle_dir.as_deref(),
            )?,
        }));
    }
    Ok(None)
}

fn open(session: &Session, alert: Option<&Alert>) -> Result<Journal, Problem> {
    incident::keep(&session.dir, "runbook.yaml", session.runbook.source_text.as_bytes())?;
    if let Some(alert) = alert {
        incident::keep(&session.dir, "alert.json", &alert.bytes)?;
    }
    Journal::create(&session.dir, &session.incident, Clock::System)
}

fn opened(session: &Session, alert: Option<&Alert>) -> Event {
    use sha2::{Digest, Sha256};
    Event::Opened {
        runbook: RunbookRef {
            name: session.runbook.name.clone(),
            sha256: hex(&Sha256::digest(session.runbook.source_text.as_bytes())),
            source: session.runbook.source.clone(),
        },
        inputs: session.inputs.clone(),
        cluster: session.cluster.id.clone(),
        actor: setup::actor(),
        tool: setup::tool(),
        clock: session.cluster.clock_check.clone(),
        alert: alert.map(|a| a.reference.clone()),
    }
}

/// The record of one process's beginning.
pub(super) fn started(session: &Session, kind: RunKind) -> Event {
    Event::RunStarted { kind, actor: setup::actor(), tool: setup::tool(), selection: session.selection.spoken() }
}

fn several(runbook: &Runbook, all: &[Problem]) -> Problem {
    let lines: Vec<String> = all
        .iter()
        .map(|p| match &p.hint {
            Some(hint) => format!("{} ({hint})", p.message),
            None => p.message.clone(),
        })
        .collect();
    let text = if lines.len() == 1 {
        lines.concat()
    } else {
        format!("{} inputs are wrong:\n  - {}", lines.len(), lines.join("\n  - "))
    };
    Problem::new(Fault::Usage, text).hint(format!("`quell runbook show {}` lists its inputs", runbook.name))
}

/// Inputs as they were, for a session that goes on.
pub(super) fn inputs_of(state: &State) -> std::collections::BTreeMap<String, Value> {
    match &state.opened {
        Some(Event::Opened { inputs, .. }) => inputs.clone(),
        _ => std::collections::BTreeMap::new(),
    }
}
