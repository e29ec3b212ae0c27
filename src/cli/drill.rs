//! `quell drill`: practise, score, report.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::run::RunArgs;
use super::{Ended, Global, print_json, print_text, setup};
use crate::clock::{Clock, compact, rfc3339};
use crate::cluster::{Fault, Options, Problem, unguarded};
use crate::drill::observe::Observer;
use crate::drill::outcome::{Answer, BundleRef, FORMAT, Mode, Moment, Note, Outcome, SignOff, Verdict, Who};
use crate::drill::scenario::{Inject, Scenario};
use crate::drill::score::{self, Facts};
use crate::drill::stage::{self, Scene};
use crate::drill::{self, inject, report};
use crate::engine::incident::StateDir;
use crate::engine::rights::{self, Subject};
use crate::event::{Event, Record, Risk};
use crate::evidence::bundle;
use crate::exit;
use crate::journal;
use crate::report::Report;
use crate::report::escape::escape;
use crate::runbook::parse_duration;

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
        (Some(DrillCommand::Run(play)), _) | (None, Some(play)) => run(global, play),
        (Some(DrillCommand::Report(args)), _) => write_report(global, &args),
        (Some(DrillCommand::History), _) => {
            let all = outcomes(global)?;
            if global.json {
                let rows: Vec<Value> = all.iter().map(|o| json!({"drill": o.drill, "began": rfc3339(o.began), "level": o.level, "cluster": o.cluster, "percent": o.score().percent()})).collect();
                print_json(&json!({"v": 1, "drills": rows}));
            } else {
                print_text(&report::history(&all));
            }
            Ok(0)
        }
        (Some(DrillCommand::Sign { id, who, role }), _) => sign(global, &id, who, role),
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
        let rows: Vec<Value> = all.iter().map(|r| json!({"name": r.name, "runbook": r.runbook, "level": r.level, "title": r.title, "summary": r.summary})).collect();
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

/// Where drills are kept: beside the incidents, never among them.
fn home(global: &Global) -> Result<PathBuf, Problem> {
    Ok(setup::state_dir(global)?.path().join("drills"))
}

fn outcomes(global: &Global) -> Result<Vec<Outcome>, Problem> {
    let mut all: Vec<Outcome> = Vec::new();
    for entry in std::fs::read_dir(home(global)?).into_iter().flatten().flatten() {
        if let Ok(text) = std::fs::read(entry.path().join("outcome.json"))
            && let Ok(outcome) = serde_json::from_slice(&text)
        {
            all.push(outcome);
        }
    }
    all.sort_by_key(|o| o.began);
    Ok(all)
}

/// The folder of a drill that was run.
fn folder(global: &Global, id: &str) -> Result<PathBuf, Problem> {
    let home = home(global)?;
    let mut all: Vec<PathBuf> = std::fs::read_dir(&home)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.join("outcome.json").is_file())
        .collect();
    all.sort();
    let name = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
    let fits: Vec<&PathBuf> =
        all.iter().filter(|p| id == "last" || name(p).starts_with(id) || name(p).ends_with(id)).collect();
    match (id, fits.as_slice()) {
        ("last", [.., last]) | (_, [last]) => Ok((*last).clone()),
        (_, []) => {
            Err(Problem::new(Fault::NotFound, format!("no drill {id:?} was run"))
                .hint("`quell drill history` lists them"))
        }
        (_, many) => Err(Problem::usage(format!(
            "{} drills are named so: {}",
            many.len(),
            many.iter().map(|p| name(p)).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn read_outcome(dir: &Path) -> Result<Outcome, Problem> {
    let path = dir.join("outcome.json");
    let text = std::fs::read(&path).map_err(|e| Problem::io("can't read", &path, &e))?;
    serde_json::from_slice(&text).map_err(|e| Problem::failed(format!("{}: {e}", path.display())))
}

fn write_report(global: &Global, args: &ReportArgs) -> Ended {
    let dir = folder(global, &args.id)?;
    let outcome = read_outcome(&dir)?;
    let earlier: Vec<Outcome> = outcomes(global)?.into_iter().filter(|o| o.began < outcome.began).collect();
    let Some(path) = &args.output else {
        print_text(&report::markdown(&outcome, &earlier));
        return Ok(0);
    };
    let html = path.extension().is_some_and(|e| e == "html" || e == "htm");
    let text = if html { report::html(&outcome, &earlier) } else { report::markdown(&outcome, &earlier) };
    std::fs::write(path, text).map_err(|e| Problem::io("can't write", path, &e))?;
    eprintln!("{} written", path.display());
    Ok(0)
}

fn sign(global: &Global, id: &str, who: String, role: String) -> Ended {
    let dir = folder(global, id)?;
    let mut outcome = read_outcome(&dir)?;
    if let Some(signed) = &outcome.sign_off {
        return Err(Problem::refused(format!("it was signed by {} already, {}", signed.who, rfc3339(signed.at))));
    }
    outcome.sign_off = Some(SignOff { who, role, at: Clock::System.now() });
    keep(&dir, &outcome, &outcomes(global)?)?;
    eprintln!("signed; the report is written anew");
    Ok(0)
}

/// Writes the outcome and both reports.
fn keep(dir: &Path, outcome: &Outcome, all: &[Outcome]) -> Result<(), Problem> {
    let earlier: Vec<Outcome> = all.iter().filter(|o| o.began < outcome.began).cloned().collect();
    let mut text = serde_json::to_string_pretty(outcome).map_err(|e| Problem::internal(e.to_string()))?;
    text.push('\n');
    for (name, text) in [
        ("outcome.json", text),
        ("report.md", report::markdown(outcome, &earlier)),
        ("report.html", report::html(outcome, &earlier)),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|e| Problem::io("can't write", &path, &e))?;
    }
    Ok(())
}

/// Tells the injects which step has begun.
struct Steps(Arc<(std::sync::Mutex<Vec<String>>, Notify)>);

impl Report for Steps {
    fn record(&self, record: &Record) {
        if let Event::StepStarted { step, .. } = &record.event {
            self.0.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(step.clone());
            self.0.1.notify_waiters();
        }
    }
}

/// What happens beside the run.
struct Beside {
    moments: Arc<std::sync::Mutex<Vec<Moment>>>,
    began: time::OffsetDateTime,
}

impl Beside {
    fn add(&self, who: Who, text: String) {
        let at = Clock::System.now();
        let after_ms = u64::try_from((at - self.began).whole_milliseconds()).unwrap_or(0);
        self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Moment {
            at,
            after_ms,
            who,
            text,
            step: None,
        });
    }
}

fn run(global: &Global, mut args: PlayArgs) -> Ended {
    let scenario = drill::find(&args.drill)?;
    let runbook_name = args.runbook.clone().unwrap_or_else(|| scenario.runbook.clone());
    let runbook = super::runbook::load(global, &runbook_name)?;
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let real = global.context.is_some() || global.kubeconfig.is_some();
    if !args.auto && !terminal {
        // Nobody to ask. On the embedded cluster nothing can be harmed; a real one is not touched by assumption.
        if real || args.facilitator {
            return Err(Problem::new(Fault::Approval, "a drill asks at the terminal, and there is none")
                .hint("--auto runs it unattended"));
        }
        eprintln!("no terminal to ask at: the drill runs unattended, as with --auto\n");
        args.auto = true;
    }
    let began = Clock::System.now();
    let id = format!("{}-{}", compact(began).to_lowercase(), scenario.metadata.name);
    let dir = home(global)?.join(&id);
    std::fs::create_dir_all(&dir).map_err(|e| Problem::io("can't make", &dir, &e))?;
    let speed = args.speed.unwrap_or(if args.auto { 20.0 } else { 1.0 });
    if !(speed > 0.0 && speed.is_finite()) {
        return Err(Problem::usage(format!("--speed {speed}: a number above 0")));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Problem::internal(e.to_string()))?;
    if !global.quiet {
        eprintln!("drill {}: {} ({})", scenario.metadata.name, scenario.metadata.title, scenario.metadata.level);
        eprintln!("  {}", scenario.metadata.summary);
        eprintln!("  on {}; kept in {}\n", if real { "a real cluster" } else { "the embedded cluster" }, dir.display());
    }
    let play = Play {
        global,
        args: &args,
        scenario: &scenario,
        runbook: &runbook_name,
        dir: &dir,
        id: &id,
        speed,
        real,
        people: !args.auto,
    };
    let scene = runtime.block_on(play.scene(&runbook));
    let ended = match scene {
        Ok(scene) => {
            let ended = play.play(&runtime, &scene);
            let cleared = runtime.block_on(scene.clear());
            if let Err(problem) = cleared {
                eprintln!("what the drill made on the cluster is not removed: {problem}; `quell drill clean` does it");
            }
            ended
        }
        Err(problem) => Err(problem),
    };
    runtime.shutdown_background();
    ended
}

struct Play<'a> {
    global: &'a Global,
    args: &'a PlayArgs,
    scenario: &'a Scenario,
    runbook: &'a str,
    dir: &'a Path,
    id: &'a str,
    speed: f64,
    real: bool,
    people: bool,
}

impl Play<'_> {
    async fn scene(&self, runbook: &crate::runbook::Runbook) -> Result<Scene, Problem> {
        if self.real {
            // A namespace's name is a DNS label.
            let short: String = self.id.chars().filter(|c| c.is_ascii_alphanumeric()).take(15).collect();
            let known = self.args.i_know_this_is_not_production.as_deref();
            return Scene::real(self.scenario, &options(self.global), &short.to_lowercase(), known, &self.args.image)
                .await;
        }
        let rights = rights::manifests(runbook, &self.scenario.namespace, Some(&Subject::User("responder".into())));
        Scene::embedded(self.scenario, self.dir, self.id, self.args.seed, self.speed, &rights).await
    }

    fn play(&self, runtime: &tokio::runtime::Runtime, scene: &Scene) -> Ended {
        let (inputs, target, uid) = runtime.block_on(async {
            let inputs = inject::inputs(scene, self.scenario).await?;
            let target = inputs.get("pod").cloned().unwrap_or_default();
            let pods = scene.pods("").await?;
            let uid = pods
                .iter()
                .find(|p| p.metadata.name.as_deref() == Some(target.as_str()))
                .and_then(|p| p.metadata.uid.clone())
                .unwrap_or_default();
            Ok::<_, Problem>((inputs, target, uid))
        })?;
        let before = runtime.block_on(self.objects(scene));
        let began = Clock::System.now();
        let beside = Arc::new(Beside { moments: Arc::default(), began });
        let observer = {
            let _inside = runtime.enter();
            Observer::begin(&scene.admin, &scene.namespace, &uid, Clock::System)
        };
        let steps: Arc<(std::sync::Mutex<Vec<String>>, Notify)> = Arc::default();
        let mut notes = Vec::new();
        let alert = self.first_act(runtime, scene, &target, &beside, &mut notes)?;
        let ended = std::thread::scope(|scope| {
            let later = {
                let (beside, steps) = (beside.clone(), steps.clone());
                scope.spawn(move || runtime.block_on(self.later(scene, &target, &beside, &steps)))
            };
            let ended = self.respond(scene, &inputs, alert, Arc::new(Steps(steps.clone())));
            // Injects that wait for a step that will not come any more are over.
            steps.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(String::new());
            steps.1.notify_waiters();
            let injected = later.join().unwrap_or_else(|_| Err(Problem::internal("an inject's thread ended badly")));
            (ended, injected)
        });
        let (code, injected) = ended;
        if let Err(problem) = injected {
            eprintln!("an inject failed: {problem}; the drill's score may not be worth much");
        }
        if let Some(sim) = &scene.sim {
            runtime.block_on(sim.settled(Duration::from_secs(3)));
        }
        let said = self.debrief(&mut notes);
        let after = runtime.block_on(self.objects(scene));
        let objects: Vec<(String, Value, Value)> =
            before.into_iter().zip(after).map(|((name, before), (_, after))| (name, before, after)).collect();
        self.judge(&observer, code, began, &beside, &objects, &said, notes, &uid)
    }

    /// The objects that must be unharmed, as they are now.
    async fn objects(&self, scene: &Scene) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        for object in self.scenario.expect.unharmed.iter().filter_map(|u| u.object.as_ref()) {
            let mut words = object.split_whitespace();
            let mut next = || words.next().unwrap_or_default();
            let named = json!({"apiVersion": next(), "kind": next(), "metadata": {"name": next()}});
            let value = match scene.path_of(&named).await {
                Ok(path) => scene.get(&path).await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            all.push((object.clone(), value));
        }
        all
    }

    fn due(&self, inject: &Inject) -> Duration {
        parse_duration(&inject.at).unwrap_or_default().div_f64(self.speed)
    }

    /// The injects until the alert, in order; the alert comes back. Without one: those of the first moment.
    fn first_act(
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
    async fn later(
        &self,
        scene: &Scene,
        target: &str,
        beside: &Beside,
        steps: &(std::sync::Mutex<Vec<String>>, Notify),
    ) -> Result<(), Problem> {
        let begun = tokio::time::Instant::now();
        let done: Vec<*const Inject> = self.before().map(std::ptr::from_ref).collect();
        let rest = self.scenario.injects.iter().filter(|i| !done.contains(&std::ptr::from_ref(*i)));
        let mut results = Vec::new();
        let over = || steps.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().any(String::is_empty);
        for inject in rest {
            let mut waiting = std::pin::pin!(tokio::time::sleep_until(begun + self.due(inject)));
            loop {
                let told = steps.1.notified();
                let begun =
                    steps.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&inject.when_step);
                if !inject.when_step.is_empty() && begun {
                    break;
                }
                if over() {
                    break;
                }
                if inject.when_step.is_empty() {
                    tokio::select! { () = &mut waiting => break, () = told => {} }
                } else {
                    // The set of begun steps may have grown between the look and the wait: look again soon.
                    let _ = tokio::time::timeout(Duration::from_millis(20), told).await;
                }
            }
            if over() {
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

    /// The run: the very code of `quell run`.
    fn respond(
        &self,
        scene: &Scene,
        inputs: &std::collections::BTreeMap<String, String>,
        alert: Option<Value>,
        steps: Arc<dyn Report>,
    ) -> Ended {
        let mut set: Vec<(String, String)> = inputs
            .iter()
            .filter(|(name, _)| alert.is_none() || !["pod", "namespace"].contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        set.extend(self.args.set.iter().cloned());
        let from_alert = match &alert {
            Some(document) => {
                let path = self.dir.join("alert.json");
                std::fs::write(&path, document.to_string()).map_err(|e| Problem::io("can't write", &path, &e))?;
                Some(path)
            }
            None => None,
        };
        let global = Global {
            kubeconfig: if scene.sim.is_some() {
                Some(scene.kubeconfig.clone())
            } else {
                self.global.kubeconfig.clone()
            },
            context: scene.context.clone(),
            namespace: Some(scene.namespace.clone()),
            state_dir: Some(self.dir.join("state")),
            watcher: super::Watcher(Some(steps)),
            ..self.global.clone()
        };
        let auto = self.args.auto.then(|| self.scenario.unattended.max_risk.unwrap_or(Risk::Destructive));
        super::run::run(&global, RunArgs::of_drill(self.runbook, set, from_alert, self.dir, auto))
    }

    /// What only people can say.
    fn debrief(&self, notes: &mut Vec<Note>) -> Vec<(String, String)> {
        let mut said = Vec::new();
        if !self.people {
            return said;
        }
        let calls = self.scenario.injects.iter().filter(|i| i.call.is_some()).map(|i| i.text.clone());
        let notification = self.scenario.expect.notification.iter().cloned();
        let questions: Vec<String> = if self.args.facilitator {
            self.scenario.discussion.iter().map(|q| q.question.clone()).collect()
        } else {
            Vec::new()
        };
        for question in calls.chain(notification).chain(questions) {
            eprintln!("\n{}", escape(&question));
            if let Some(answer) = ask("  your answer: ") {
                said.push((question, answer));
            }
        }
        if let Some(text) = ask("\nanything to note (empty: no): ") {
            notes.push(Note { at: Clock::System.now(), who: setup::who(), text });
        }
        said
    }

    #[expect(clippy::too_many_arguments, reason = "what a drill left behind, judged once")]
    fn judge(
        &self,
        observer: &Observer,
        code: Ended,
        began: time::OffsetDateTime,
        beside: &Beside,
        objects: &[(String, Value, Value)],
        said: &[(String, String)],
        notes: Vec<Note>,
        uid: &str,
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
        let target = seen.pods.get(uid).map(|p| p.name.clone()).unwrap_or_default();
        let replaced = self.scenario.injects.iter().any(|i| i.kill_pod.is_some());
        let facts = Facts {
            scenario: self.scenario,
            records: &records,
            dir: &incident_dir,
            seen: &seen,
            target: (&target, uid),
            began,
            objects,
            verified: sealed.as_ref().map(|b| b.verified),
            said,
            people: self.people,
            replaced,
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
        keep(self.dir, &outcome, &outcomes(self.global)?)?;
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

fn ask(prompt: &str) -> Option<String> {
    let mut err = std::io::stderr();
    let _ = write!(err, "{prompt}").and_then(|()| err.flush());
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_string())
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
                (format!("{who} decided on {step}: {decision:?}"), Some(step.clone()))
            }
            Event::Sealed { bundle, .. } => (format!("sealed: {bundle}"), None),
            _ => continue,
        };
        let after_ms = u64::try_from((record.time - began).whole_milliseconds()).unwrap_or(0);
        all.push(Moment { at: record.time, after_ms, who: Who::Responder, text, step });
    }
    all
}
