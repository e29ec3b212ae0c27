//! From options to a session: state directory, cluster, reporter, signals.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::Args;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::Global;
use super::prompt::{Nobody, Person, show_cursor};
use crate::clock::Clock;
use crate::cluster::{Ask, Cluster, Options, Problem};
use crate::engine::approve::{Policy, Prompt};
use crate::engine::guards::{self, Guards};
use crate::engine::incident::StateDir;
use crate::engine::{Selection, Session, State};
use crate::event::{Actor, Event, Override, Risk, Tool};
use crate::exit;
use crate::journal::Journal;
use crate::report::{Both, JsonLines, Report, Terminal};
use crate::runbook::{Library, Runbook};

/// Who may say yes, and what is held back.
#[derive(Debug, Clone, Args, Default)]
pub struct Consent {
    /// Approve these steps, whatever their risk
    #[arg(long, value_name = "STEP", value_delimiter = ',', help_heading = "Approval")]
    approve: Vec<String>,
    /// Approve every step up to --max-risk without asking
    #[arg(long, short, help_heading = "Approval")]
    yes: bool,
    /// What --yes goes up to: read, low, medium, high, destructive
    #[arg(long, value_name = "RISK", default_value = "high", value_parser = risk, help_heading = "Approval")]
    max_risk: Risk,
    /// Refuse any cluster but this one: a context, cluster name, server URL or the UID of kube-system
    #[arg(long, value_name = "CLUSTER", help_heading = "Guards")]
    expect_cluster: Option<String>,
    /// One more namespace to protect, beside kube-system and its like
    #[arg(long, value_name = "NAMESPACE", help_heading = "Guards")]
    protect: Vec<String>,
    /// Objects that one run may change
    #[arg(long, value_name = "N", default_value_t = 20, help_heading = "Guards")]
    max_changes: usize,
    /// Override a guard (protected-namespace, max-changes, needs, lease, control-plane, disruption-budget); needs --reason
    #[arg(long = "override", value_name = "GUARD", requires = "reason", value_parser = guard, help_heading = "Guards")]
    overrides: Vec<String>,
    /// Why; goes into the record
    #[arg(long, value_name = "TEXT", help_heading = "Guards")]
    reason: Option<String>,
}

/// Which steps.
#[derive(Debug, Clone, Args, Default)]
pub struct Part {
    /// Only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',', help_heading = "Steps")]
    only: Vec<String>,
    /// All but these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',', help_heading = "Steps")]
    skip: Vec<String>,
    /// From this step on
    #[arg(long, value_name = "STEP", help_heading = "Steps")]
    start_at: Option<String>,
}

fn risk(text: &str) -> Result<Risk, String> {
    serde_json::from_value(Value::String(text.into())).map_err(|_| "one of read, low, medium, high, destructive".into())
}

fn guard(text: &str) -> Result<String, String> {
    let known = guards::NAMES.iter().any(|(name, _)| *name == text);
    let names = || guards::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if known { Ok(text.into()) } else { Err(format!("one of {}", names())) }
}

impl Part {
    /// Refuses steps that the runbook does not have.
    pub fn selection(&self, runbook: &Runbook) -> Result<Selection, Problem> {
        let selection = Selection {
            only: self.only.iter().cloned().collect(),
            skip: self.skip.iter().cloned().collect(),
            start_at: self.start_at.clone(),
        };
        known_steps(runbook, self.only.iter().chain(&self.skip).chain(&self.start_at))?;
        Ok(selection)
    }
}

fn known_steps<'a>(runbook: &Runbook, named: impl Iterator<Item = &'a String>) -> Result<(), Problem> {
    for id in named {
        if runbook.step(id).is_none() {
            let steps = runbook.all_steps().map(|s| s.id.as_str()).collect::<Vec<_>>().join(", ");
            return Err(Problem::usage(format!("runbook {} has no step {id:?}", runbook.name))
                .hint(format!("its steps are {steps}")));
        }
    }
    Ok(())
}

impl Consent {
    /// Every step up to a risk: for a drill with nobody at the keyboard.
    pub fn up_to(max_risk: Risk) -> Consent {
        Consent { yes: true, max_risk, max_changes: 20, ..Consent::default() }
    }

    /// As without any option.
    pub fn usual() -> Consent {
        Consent { max_risk: Risk::High, max_changes: 20, ..Consent::default() }
    }

    /// `--yes`.
    pub fn says_yes(&self) -> bool {
        self.yes
    }

    fn policy(&self, runbook: &Runbook) -> Result<Policy, Problem> {
        known_steps(runbook, self.approve.iter())?;
        Ok(Policy { approve: self.approve.iter().cloned().collect(), yes: self.yes, max_risk: self.max_risk })
    }

    /// The guards; `before` are those that the incident's journal says were overridden.
    fn guards(&self, before: &BTreeSet<String>) -> Guards {
        let mut overridden: BTreeSet<String> = self.overrides.iter().cloned().collect();
        // `needs` and `lease` are about one moment; the others about the incident as it was approved.
        overridden.extend(before.iter().filter(|g| !["needs", "lease"].contains(&g.as_str())).cloned());
        Guards {
            expect_cluster: self.expect_cluster.clone(),
            protect: self.protect.clone(),
            max_changes: self.max_changes,
            overridden,
        }
    }
}

/// The state directory.
pub fn state_dir(global: &Global) -> Result<StateDir, Problem> {
    let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
    StateDir::resolve(global.state_dir.as_deref(), env("XDG_STATE_HOME").as_deref(), env("HOME").as_deref())
}

/// The runbooks at hand.
pub fn library(global: &Global) -> Library {
    let dirs: Vec<PathBuf> = global.runbook_dir.iter().filter(|d| !d.as_os_str().is_empty()).cloned().collect();
    Library::new(&dirs)
}

/// Connects, and refuses the wrong cluster.
pub async fn connect(global: &Global, consent: &Consent) -> Result<Cluster, Problem> {
    let options = Options {
        kubeconfig: global.kubeconfig.clone(),
        context: global.context.clone(),
        namespace: global.namespace.clone(),
    };
    let cluster = Cluster::connect(&options, Clock::System).await?;
    consent.guards(&BTreeSet::new()).cluster(&cluster.id)?;
    Ok(cluster)
}

/// Everything a session is made of that is not the command line's.
pub struct Work {
    pub cluster: Cluster,
    pub runbook: Runbook,
    pub inputs: BTreeMap<String, Value>,
    pub incident: String,
    pub dir: PathBuf,
    pub journal: Option<Journal>,
    pub state: State,
    pub selection: Selection,
    pub max_bytes: u64,
}

/// A session, its reporter and its person.
pub fn session(global: &Global, consent: &Consent, work: Work) -> Result<Session, Problem> {
    let stderr = std::io::stderr().is_terminal();
    let terminal = Arc::new(Terminal::new(super::color(), stderr && !global.quiet, global.quiet));
    let report: Arc<dyn Report> =
        if global.json { Arc::new(Both(JsonLines, Shared(terminal.clone()))) } else { terminal.clone() };
    let report = match &global.watcher.0 {
        Some(watcher) => Arc::new(Told(report, watcher.clone())),
        None => report,
    };
    let asks = stderr && std::io::stdin().is_terminal();
    let person = asks.then(|| Arc::new(Person::new(terminal.clone())));
    let prompt = person.clone().map(|p| p as Arc<dyn Prompt>);
    let ask: Arc<dyn Ask> = match person {
        Some(person) => person,
        None => Arc::new(Nobody),
    };
    let mut cluster = work.cluster;
    cluster.for_incident(&work.incident);
    let policy = consent.policy(&work.runbook)?;
    let guards = consent.guards(&work.state.overridden);
    let session = Session {
        cluster,
        runbook: work.runbook,
        inputs: work.inputs,
        incident: work.incident,
        dir: work.dir,
        clock: Clock::System,
        who: who(),
        policy,
        guards,
        selection: work.selection,
        max_bytes: work.max_bytes,
        prompt,
        ask,
        report,
        cancel: CancellationToken::new(),
        journal: work.journal.map(Mutex::new),
        state: Mutex::new(work.state),
    };
    on_signals(&session.cancel);
    Ok(session)
}

/// Journals the overrides of this command line.
pub fn journal_overrides(session: &Session, consent: &Consent) -> Result<(), Problem> {
    for guard in &consent.overrides {
        let by = Override {
            guard: guard.clone(),
            reason: consent.reason.clone().unwrap_or_default(),
            who: session.who.clone(),
        };
        session.emit(Event::Overridden { by })?;
    }
    Ok(())
}

/// Two reporters of any kind.
struct Told(Arc<dyn Report>, Arc<dyn Report>);

impl Report for Told {
    fn record(&self, record: &crate::event::Record) {
        self.0.record(record);
        self.1.record(record);
    }
}

struct Shared(Arc<Terminal>);

impl Report for Shared {
    fn record(&self, record: &crate::event::Record) {
        self.0.record(record);
    }
}

/// Once: stop after the current change with everything saved. Twice: at once; the journal is good at any instant.
fn on_signals(cancel: &CancellationToken) {
    let cancel = cancel.clone();
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut int), Ok(mut term)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) else {
            return;
        };
        for again in [false, true] {
            tokio::select! {
                _ = int.recv() => {}
                _ = term.recv() => {}
            }
            if again {
                show_cursor();
                std::process::exit(i32::from(exit::INTERRUPTED));
            }
            cancel.cancel();
            eprintln!("\nstopping after the current change; once more stops at once");
        }
    });
}

/// Runs a command's future; its own thread per core is enough.
pub fn block_on<T>(future: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Problem::internal(format!("can't start: {e}")))?;
    let ended = runtime.block_on(future);
    // A prompt or a stream that is still blocked must not hold the exit back.
    runtime.shutdown_background();
    ended
}

/// `os-user@host`.
pub fn who() -> String {
    let actor = actor();
    format!("{}@{}", actor.os_user, actor.host)
}

/// Who is at the keyboard.
pub fn actor() -> Actor {
    let user = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).or_else(|_| std::env::var("LOGNAME"));
    Actor {
        os_user: user.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw())),
        host: hostname::get().ok().and_then(|h| h.into_string().ok()).unwrap_or_else(|| "unknown".into()),
        pid: std::process::id(),
        terminal: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
    }
}

/// This program.
pub fn tool() -> Tool {
    let sha256 =
        std::env::current_exe().ok().and_then(|exe| crate::evidence::hash_file(&exe).ok()).map(|(_, hash)| hash);
    Tool { name: "quell".into(), version: env!("CARGO_PKG_VERSION").into(), sha256 }
}

/// `10GiB`, `500MB`, `1024`.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().map_err(|_| "a number with an optional unit: 500MB, 10GiB".to_string())?;
    let unit: u64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        other => return Err(format!("{other:?} is no unit: use KB, MB, GB, KiB, MiB, GiB, TiB")),
    };
    number.checked_mul(unit).ok_or_else(|| "too large".into())
}

/// The runbook that an incident's folder holds, as it was when the incident was opened.
pub fn runbook_of(dir: &Path, state: &State) -> Result<Runbook, Problem> {
    let Some(Event::Opened { runbook, .. }) = &state.opened else {
        return Err(Problem::failed(format!("the journal in {} has no beginning", dir.display())));
    };
    let bytes = crate::engine::incident::kept(dir, "runbook.yaml")?;
    super::runbook::parse_kept(&bytes, &runbook.source, &runbook.sha256)
}
