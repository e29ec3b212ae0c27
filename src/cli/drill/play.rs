//! Playing a drill: the scene, the injects, the run, what people say.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{PlayArgs, kept, options};
use crate::cli::run::RunArgs;
use crate::cli::{Ended, Global, Watcher, runbook, setup};
use crate::clock::Clock;
use crate::cluster::{Fault, Problem};
use crate::drill::observe::{Observer, Suspect};
use crate::drill::outcome::{Moment, Note, Who};
use crate::drill::scenario::Scenario;
use crate::drill::stage::Scene;
use crate::drill::{self, inject};
use crate::engine::rights::{self, Subject};
use crate::event::{Event, Record, Risk};
use crate::report::Report;
use crate::report::escape::escape;

/// How far the run is, for the injects.
#[derive(Default)]
pub(super) struct Progress {
    /// Steps that have begun.
    pub(super) begun: Vec<String>,
    /// The run has ended: no step will begin any more.
    pub(super) over: bool,
}

/// Tells the injects which step has begun.
struct Steps(watch::Sender<Progress>);

impl Report for Steps {
    fn record(&self, record: &Record) {
        if let Event::StepStarted { step, .. } = &record.event {
            self.0.send_modify(|progress| progress.begun.push(step.clone()));
        }
    }
}

/// What happens beside the run.
pub(super) struct Beside {
    pub(super) moments: Arc<std::sync::Mutex<Vec<Moment>>>,
    began: time::OffsetDateTime,
}

impl Beside {
    pub(super) fn add(&self, who: Who, text: String) {
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

pub(super) fn run(global: &Global, mut args: PlayArgs) -> Ended {
    let scenario = drill::find(&args.drill)?;
    let runbook_name = args.runbook.clone().unwrap_or_else(|| scenario.runbook.clone());
    let runbook = runbook::load(global, &runbook_name)?;
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
    let speed = args.speed.unwrap_or(if args.auto { 20.0 } else { 1.0 });
    if !(speed > 0.0 && speed.is_finite()) {
        return Err(Problem::usage(format!("--speed {speed}: a number above 0")));
    }
    let began = Clock::System.now();
    let (id, dir) = kept::begin(global, &scenario.metadata.name, began)?;
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
        known: runbook.inputs.iter().map(|i| i.name.clone()).collect(),
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

pub(super) struct Play<'a> {
    pub(super) global: &'a Global,
    pub(super) args: &'a PlayArgs,
    pub(super) scenario: &'a Scenario,
    pub(super) runbook: &'a str,
    /// Names of its inputs.
    pub(super) known: Vec<String>,
    pub(super) dir: &'a Path,
    pub(super) id: &'a str,
    pub(super) speed: f64,
    pub(super) real: bool,
    pub(super) people: bool,
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
        let (inputs, suspect) = runtime.block_on(async {
            let inputs = inject::inputs(scene, self.scenario, &self.known).await?;
            let suspect = match inputs.get("node") {
                Some(node) => {
                    let found = scene.get(&format!("/api/v1/nodes/{node}")).await?;
                    let uid = found["metadata"]["uid"].as_str().unwrap_or_default().to_string();
                    Suspect { kind: "Node", name: node.clone(), uid }
                }
                None => {
                    let name = inputs.get("pod").cloned().unwrap_or_default();
                    let pods = scene.pods("").await?;
                    let found = pods.iter().find(|p| p.metadata.name.as_deref() == Some(name.as_str()));
                    let uid = found.and_then(|p| p.metadata.uid.clone()).unwrap_or_default();
                    Suspect { kind: "Pod", name, uid }
                }
            };
            Ok::<_, Problem>((inputs, suspect))
        })?;
        let target = suspect.name.clone();
        let before = runtime.block_on(self.objects(scene));
        let began = Clock::System.now();
        let beside = Arc::new(Beside { moments: Arc::default(), began });
        let observer = runtime.block_on(Observer::begin(
            &scene.admin,
            &scene.namespace,
            &suspect,
            self.scenario.expect.moved.iter().map(|m| m.pods.clone()).collect(),
            Clock::System,
        ))?;
        let steps = watch::Sender::new(Progress::default());
        let mut notes = Vec::new();
        let alert = self.first_act(runtime, scene, &target, &beside, &mut notes)?;
        let ended = std::thread::scope(|scope| {
            let later = {
                let (beside, steps) = (beside.clone(), steps.subscribe());
                scope.spawn(move || runtime.block_on(self.later(scene, &target, &beside, steps)))
            };
            let ended = self.respond(scene, &inputs, alert, Arc::new(Steps(steps.clone())));
            steps.send_modify(|progress| progress.over = true);
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
        match runtime.block_on(observer.caught_up()) {
            Ok(true) => {}
            Ok(false) => eprintln!("what was seen lags behind the cluster; the drill's score may not be worth much"),
            Err(problem) => eprintln!("{problem}; the drill's score may not be worth much"),
        }
        let said = self.debrief(&mut notes);
        let after = runtime.block_on(self.objects(scene));
        let objects: Vec<(String, Value, Value)> =
            before.into_iter().zip(after).map(|((name, before), (_, after))| (name, before, after)).collect();
        self.judge(&observer, code, began, &beside, &objects, &said, notes, &suspect)
    }

    /// The objects that must be unharmed and the rights that matter, as they are now.
    async fn objects(&self, scene: &Scene) -> Vec<(String, Value)> {
        let mut all = Vec::new();
        let secrets: Vec<String> =
            self.scenario.expect.rotated.iter().map(|r| format!("v1 Secret {}", r.secret)).collect();
        for object in self.scenario.expect.unharmed.iter().filter_map(|u| u.object.as_ref()).chain(&secrets) {
            let mut words = object.split_whitespace();
            let mut next = || words.next().unwrap_or_default();
            let named = json!({"apiVersion": next(), "kind": next(), "metadata": {"name": next()}});
            let value = match scene.path_of(&named).await {
                Ok(path) => scene.get(&path).await.unwrap_or_default(),
                Err(_) => Value::Null,
            };
            all.push((object.clone(), value));
        }
        for right in self.scenario.expect.denied.iter().chain(&self.scenario.expect.allowed) {
            let value = drill::rights::may(scene, right).await.map_or(Value::Null, Value::Bool);
            all.push((right.to_string(), value));
        }
        all
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
            .filter(|(name, _)| alert.is_none() || !["pod", "node", "namespace"].contains(&name.as_str()))
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
            watcher: Watcher(Some(steps)),
            ..self.global.clone()
        };
        let auto = self.args.auto.then(|| self.scenario.unattended.max_risk.unwrap_or(Risk::Destructive));
        crate::cli::run::run(&global, RunArgs::of_drill(self.runbook, set, from_alert, self.dir, auto))
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
}

pub(super) fn ask(prompt: &str) -> Option<String> {
    let mut err = std::io::stderr();
    let _ = write!(err, "{prompt}").and_then(|()| err.flush());
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).ok()?;
    let line = line.trim();
    (!line.is_empty()).then(|| line.to_string())
}
