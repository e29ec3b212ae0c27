//! The inside of a simulated container: what `kubectl exec` and quell's capture meet.
//!
//! Nothing of it runs on this machine or touches its disk: a program is a function over an in-memory tree of files, and
//! it reaches the network only by asking [`Net`].

#[cfg(test)]
mod capture_tests;
mod collector;
mod files;
mod inside;
mod procfs;
mod programs;
mod shell;
mod start;
mod state;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use inside::{FileSpec, Inside, ProcessSpec, SocketSpec};
use state::{State, View};

/// What the pod gives a container.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Host name.
    pub hostname: String,
    /// 64 hexadecimal digits.
    pub container_id: String,
    /// Image reference.
    pub image: String,
    /// Command and arguments: process 1 when the scenario names no processes.
    pub command: Vec<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Files of volumes: absolute path, content, permission bits.
    pub mounts: Vec<(String, Vec<u8>, u32)>,
    /// When it was started, Unix seconds.
    pub started: i64,
    /// The user that the pod sets.
    pub uid: Option<u32>,
    /// Ports that the pod says it listens on: process 1 does, unless the image says otherwise.
    pub ports: Vec<u16>,
}

/// A running container. All of its methods may be called from several threads.
pub struct Container {
    facts: Facts,
    /// The user that execs run as.
    uid: u32,
    state: Arc<Mutex<State>>,
    /// What its image had, and the runtime put there.
    image: files::Node,
    /// Whom an ephemeral container with quell's collector looks at.
    target: Option<Arc<Container>>,
    /// It runs quell's collector for its whole node.
    on_node: bool,
}

/// A container that is made when somebody first looks into it: of a large cluster's, hardly any is.
pub struct Lazy {
    inside: Arc<Inside>,
    facts: Facts,
    made: OnceLock<Arc<Container>>,
}

impl Lazy {
    /// A container with that inside, not made yet.
    pub fn new(inside: Arc<Inside>, facts: Facts) -> Lazy {
        Lazy { inside, facts, made: OnceLock::new() }
    }

    /// The container.
    pub fn get(&self) -> Arc<Container> {
        self.made.get_or_init(|| Arc::new(Container::new(&self.inside, self.facts.clone()))).clone()
    }

    /// What its volumes have now: path, content, permission bits.
    pub fn remount(&mut self, files: Vec<(String, Vec<u8>, u32)>, now: i64) {
        if let Some(made) = self.made.get() {
            let mut state = made.state();
            for (path, content, mode) in &files {
                let path = state.root.follow(path);
                state.root.put(&path, files::Node::file(content.clone(), now).mode(*mode));
            }
        }
        for file in files {
            match self.facts.mounts.iter_mut().find(|(path, _, _)| *path == file.0) {
                Some(known) => *known = file,
                None => self.facts.mounts.push(file),
            }
        }
    }
}

impl From<Container> for Lazy {
    fn from(container: Container) -> Lazy {
        let facts = container.facts.clone();
        Lazy { inside: Arc::default(), facts, made: OnceLock::from(Arc::new(container)) }
    }
}

/// Standard streams of an exec.
pub struct Io {
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error; not used with a terminal.
    pub stderr: Box<dyn Write + Send>,
    /// A terminal is behind them: input is echoed, lines end in CR LF.
    pub tty: bool,
    /// The caller is gone. A read that waits is ended by the caller, by closing its end.
    pub cancel: Arc<AtomicBool>,
}

/// The program was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted {
    /// As the runtime words it.
    pub message: String,
}

/// What a program may ask of the network.
pub trait Net: Send + Sync {
    /// A TCP connection to `ADDRESS:PORT` or `NAME:PORT`.
    ///
    /// # Errors
    /// Why there is none: a text that contains `refused`, `timed out`, `unreachable`, `no route` or `no such host`, or
    /// another one.
    fn dial(&self, address: &str, timeout: Duration) -> Result<(), String>;

    /// Another container of the node, by its id, and the network as its pod sees it; None where this pod does not see
    /// the node's processes.
    fn neighbour(&self, id: &str) -> Option<(Arc<Container>, Box<dyn Net>)> {
        let _ = id;
        None
    }

    /// A directory of the node below `/host`; None where there is none.
    fn host_tree(&self, path: &str) -> Option<HostTree> {
        let _ = path;
        None
    }
}

/// A directory of a node, as far as the simulation has one.
pub struct HostTree(files::Node);

impl HostTree {
    /// From files: path and content.
    pub fn of_files(all: Vec<(String, Vec<u8>)>) -> HostTree {
        let mut root = files::Node::directory(now());
        for (path, content) in all {
            root.put(&path, files::Node::file(content, now()));
        }
        HostTree(root)
    }
}

/// A process, as `ps` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// Its parent; 0 when it is outside.
    pub ppid: u32,
    /// Its user.
    pub uid: u32,
    /// Arguments.
    pub cmdline: Vec<String>,
    /// When it started, Unix seconds.
    pub started: i64,
}

impl Container {
    /// What it was started with.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Command and arguments of process 1.
    pub fn command(&self) -> Vec<String> {
        let first = self.state().processes.get(&1).map(|p| p.cmdline.clone());
        if self.facts.command.is_empty() {
            first.unwrap_or_else(|| vec!["sh".into()])
        } else {
            self.facts.command.clone()
        }
    }

    /// The processes, in ascending order of their numbers.
    pub fn processes(&self) -> Vec<Running> {
        let running = |p: &state::Process| Running {
            pid: p.pid,
            ppid: p.ppid,
            uid: p.uid,
            cmdline: p.cmdline.clone(),
            started: p.started,
        };
        self.state().processes.values().map(running).collect()
    }

    /// Whether process 1 still runs: a container ends with it.
    pub fn runs(&self) -> bool {
        self.state().processes.contains_key(&1)
    }

    /// The files below a directory: path from there, and content.
    pub fn files_below(&self, path: &str) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let mut all = Vec::new();
        if let Some(node) = state.root.at(path) {
            below(node, "", &mut all);
        }
        all
    }

    /// What a file holds, links followed; None where it is not there.
    pub fn read_file(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let view = View { state: &state, facts: &self.facts, pid: 1, uid: 0 };
        view.read("", path).ok().map(|content| content.to_vec())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a program and gives its exit code, 137 when it was cancelled or killed.
    ///
    /// # Errors
    /// When the program is not in the container, in the runtime's words.
    pub fn exec(&self, argv: &[String], io: Io, net: &dyn Net) -> Result<i32, NotStarted> {
        let name = argv.first().map(String::as_str).unwrap_or_default();
        if let Some(target) = &self.target
            && name == "/quell-collector"
        {
            return Ok(collector::run(self, target, argv, io, net));
        }
        if self.on_node && name == "/quell-collector" {
            return Ok(collector::run_on_node(self, argv, io, net));
        }
        let refused = |why: &str| NotStarted {
            message: format!(
                "OCI runtime exec failed: exec failed: unable to start container process: exec: {name:?}: {why}"
            ),
        };
        let path = match self.program(name, &self.facts.env) {
            Found::At(path) => path,
            Found::Denied => return Err(refused("permission denied")),
            Found::Nowhere if name.contains('/') => {
                return Err(refused(&format!("stat {name}: no such file or directory")));
            }
            Found::Nowhere => return Err(refused("executable file not found in $PATH")),
        };
        let pid = self.begin(argv, &path, io.tty);
        let mut shell = shell::Shell::new(self, net, io, pid);
        let code = shell.program(argv, &path);
        let killed = shell.cancelled();
        self.state().processes.remove(&pid);
        Ok(if killed { 137 } else { code })
    }
}

fn below(node: &files::Node, base: &str, all: &mut Vec<(String, Vec<u8>)>) {
    match &node.kind {
        files::Kind::File(content) => all.push((base.to_string(), content.to_vec())),
        files::Kind::Directory(children) => {
            for (name, child) in children.iter() {
                below(child, &format!("{base}/{name}"), all);
            }
        }
        _ => {}
    }
}

/// Where a program is.
enum Found {
    /// A real path.
    At(String),
    /// Not executable.
    Denied,
    /// Not there.
    Nowhere,
}

/// Unix seconds.
fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// Waits until the time has passed; whether nobody gave up meanwhile.
fn wait(time: Duration, cancelled: &dyn Fn() -> bool) -> bool {
    let begun = std::time::Instant::now();
    loop {
        if cancelled() {
            return false;
        }
        let left = time.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Whether the caller is gone.
fn given_up(cancel: &AtomicBool) -> bool {
    cancel.load(Ordering::Relaxed)
}
