//! How a container comes to be, and what an attacker changes in it.

use std::sync::{Arc, Mutex};

use super::files::{Kind, Node, absolute};
use super::inside::{Inside, ProcessSpec, SocketSpec};
use super::state::{Process, State, View};
use super::{Container, Facts, Found, now, programs};

/// Where programs are looked for when nobody says.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DIRECTORIES: [&str; 18] = [
    "/bin",
    "/dev/mqueue",
    "/dev/pts",
    "/dev/shm",
    "/etc",
    "/home",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/srv",
    "/sys",
    "/tmp",
    "/usr/bin",
    "/usr/local/bin",
    "/var/log",
    "/var/tmp",
];

impl Container {
    /// A container with that inside.
    pub fn new(inside: &Inside, facts: Facts) -> Container {
        let tools: Vec<String> =
            inside.tools.clone().unwrap_or_else(|| programs::USUAL.iter().map(|t| (*t).to_string()).collect());
        let mut root = system(&facts, &tools);
        for (path, spec) in &inside.files {
            let mtime = spec.mtime.map_or(facts.started, |t| if t < 0 { facts.started.saturating_add(t) } else { t });
            let node = match &spec.symlink {
                Some(target) => Node::link(target, mtime),
                None if spec.directory => Node::directory(mtime),
                None => Node::file(spec.content(), mtime),
            };
            let mode = spec.mode.unwrap_or(node.mode);
            // A forged modification time does not change when the file was really put there.
            let node = Node { ctime: mtime.max(facts.started), ..node };
            root.put(&root.follow(path), node.mode(mode).owned(spec.uid, spec.gid));
        }
        for (path, content, mode) in &facts.mounts {
            root.put(&root.follow(path), Node::file(content.clone(), facts.started).mode(*mode));
        }
        let mut facts = facts;
        facts.env.extend(inside.env.iter().map(|(k, v)| (k.clone(), v.clone())));
        for (name, value) in [("HOSTNAME", facts.hostname.clone()), ("PATH", PATH.into())] {
            if facts.env.iter().all(|(n, _)| n != name) {
                facts.env.insert(0, (name.into(), value));
            }
        }
        let uid = facts.uid.unwrap_or(inside.user);
        let image = root.clone();
        let state = Arc::new(Mutex::new(State { root, processes: Default::default(), next: (1, 40_000) }));
        let mut container = Container { facts, uid, state, image, target: None, on_node: false };
        if inside.processes.is_empty() {
            let usual = vec!["/entrypoint".to_string()];
            let command = container.facts.command.clone();
            let cmdline = if command.is_empty() { usual } else { command };
            container.start(&ProcessSpec { pid: 1, cmdline, ..ProcessSpec::default() }, container.facts.started);
        }
        for spec in &inside.processes {
            container.start(spec, container.facts.started);
        }
        container.listen();
        // Executables that processes were started from are the image's too.
        let image = container.state().root.clone();
        container.image = image;
        container
    }

    /// Process 1 listens on the pod's ports, when nothing listens anywhere.
    fn listen(&self) {
        let mut state = self.state();
        if state.processes.values().any(|p| p.sockets.iter().any(|(_, s)| s.state == "LISTEN")) {
            return;
        }
        let first = state.next.1;
        state.next.1 += self.facts.ports.len() as u64;
        let sockets = self.facts.ports.iter().map(|port| SocketSpec::short(&format!("0.0.0.0:{port}")));
        if let Some(one) = state.processes.get_mut(&1) {
            one.sockets.extend((first..).zip(sockets));
        }
    }

    /// A container of quell's own pods: `on_node` when it sees the node's processes.
    pub fn own(facts: Facts) -> Container {
        let mut container = Container::new(&Inside { tools: Some(Vec::new()), ..Inside::default() }, facts);
        container.on_node = true;
        container
    }

    /// An ephemeral container that runs quell's collector with the processes of `target`. Of `facts` the command is
    /// what its main process shows; that process is seen in the target from now on.
    pub fn collector(target: Arc<Container>, facts: Facts) -> Container {
        let root = Node::directory(facts.started);
        let uid = facts.uid.unwrap_or(0);
        let state = Arc::new(Mutex::new(State { root, processes: Default::default(), next: (1, 80_000) }));
        let command = if facts.command.is_empty() {
            ["/quell-collector", "serve"].map(String::from).into()
        } else {
            facts.command.clone()
        };
        let image = Node::directory(facts.started);
        let container = Container { facts, uid, state, image, target: Some(target.clone()), on_node: false };
        container.join(&target, &command);
        container
    }

    /// Another container's process among the target's; its number.
    pub(super) fn join(&self, target: &Container, argv: &[String]) -> u32 {
        let mut state = target.state();
        let pid = state.free_pid();
        let process = Process {
            pid,
            uid: self.uid,
            cmdline: argv.to_vec(),
            comm: "quell-collector".into(),
            exe: "/quell-collector".into(),
            image: Arc::new(b"\x7fELF quell-collector".to_vec()),
            cwd: "/".into(),
            env: self.facts.env.iter().map(|(k, v)| format!("{k}={v}")).collect(),
            started: now(),
            foreign: Some(self.facts.container_id.clone()),
            ..Process::default()
        };
        state.processes.insert(pid, process);
        pid
    }

    /// A file appears, or is replaced, with the directories on the way.
    pub fn add_file(&self, path: &str, content: &[u8], mode: u32) {
        let mut state = self.state();
        let real = state.root.follow(path);
        state.root.put(&real, Node::file(content, now()).mode(mode).owned(self.uid, 0));
    }

    /// A file goes, or a directory with all below it; whether it was there.
    pub fn remove_file(&self, path: &str) -> bool {
        let mut state = self.state();
        let real = state.root.follow(path);
        state.root.remove(&real).is_some()
    }

    /// A process of the container's user starts; `remote` is `ADDRESS:PORT` that it is connected to, `deleted` whether
    /// its executable is unlinked.
    pub fn start_process(&self, cmdline: &[String], remote: Option<&str>, deleted: bool) {
        let sockets = remote.map(|r| SocketSpec::short(&format!("10.244.0.5:40112 -> {r}"))).into_iter().collect();
        let spec = ProcessSpec { ppid: 1, cmdline: cmdline.to_vec(), sockets, deleted, ..ProcessSpec::default() };
        self.start(&spec, now());
    }

    /// A process starts, `at` Unix seconds and its own offset; its number.
    pub fn start(&self, spec: &ProcessSpec, at: i64) -> u32 {
        let first = spec.cmdline.first().cloned().unwrap_or_default();
        let named = if spec.exe.is_empty() { first.clone() } else { spec.exe.clone() };
        let mut exe = match self.program(&named, &self.facts.env) {
            Found::At(path) => path,
            _ if named.starts_with('/') => named.clone(),
            _ => format!("/usr/bin/{named}"),
        };
        let mut state = self.state();
        let held = state.root.at(&exe).filter(|n| matches!(n.kind, Kind::File(_))).map(Node::content);
        let image = held.unwrap_or_else(|| Arc::new(format!("\u{7f}ELF simulated {named}").into_bytes()));
        if spec.deleted || spec.memfd {
            // The name that it was started by, not what that may link to.
            exe = absolute("", if named.starts_with('/') { &named } else { &exe });
            state.root.remove(&exe);
        } else if state.root.at(&exe).is_none() {
            let node = Node { kind: Kind::File(image.clone()), ..Node::file("", self.facts.started) };
            state.root.put(&exe, node.mode(0o755));
        }
        let pid = if spec.pid == 0 { state.free_pid() } else { spec.pid };
        state.next.0 = state.next.0.max(pid.saturating_add(1));
        let last = if spec.memfd { &spec.exe } else { &first };
        let comm = if spec.comm.is_empty() { last.rsplit('/').next().unwrap_or_default() } else { &spec.comm };
        let mut env: Vec<String> = spec.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        if env.is_empty() {
            env = self.facts.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        }
        let inode = state.next.1;
        state.next.1 += 1 + spec.sockets.len() as u64;
        let process = Process {
            pid,
            ppid: spec.ppid,
            uid: spec.uid.unwrap_or(self.uid),
            cmdline: spec.cmdline.clone(),
            comm: comm.chars().take(15).collect(),
            exe,
            deleted: spec.deleted,
            memfd: spec.memfd,
            image,
            cwd: if spec.cwd.is_empty() { "/".into() } else { spec.cwd.clone() },
            env,
            sockets: (inode..).zip(spec.sockets.iter().cloned()).collect(),
            started: at.saturating_add(spec.start_offset_seconds),
            ..Process::default()
        };
        state.processes.insert(pid, process);
        pid
    }

    /// A process ends; with process 1 all of them do. Whether it was there.
    pub fn end_process(&self, pid: u32) -> bool {
        let mut state = self.state();
        let there = state.processes.remove(&pid).is_some();
        if pid == 1 {
            state.processes.clear();
        }
        there
    }

    /// The process of an exec; its number.
    pub(super) fn begin(&self, argv: &[String], path: &str, tty: bool) -> u32 {
        let mut state = self.state();
        let pid = state.free_pid();
        let name = argv.first().map(String::as_str).unwrap_or_default();
        let process = Process {
            pid,
            uid: self.uid,
            cmdline: argv.to_vec(),
            comm: name.rsplit('/').next().unwrap_or_default().chars().take(15).collect(),
            exe: path.into(),
            image: state.root.at(path).map(Node::content).unwrap_or_default(),
            cwd: "/".into(),
            env: self.facts.env.iter().map(|(k, v)| format!("{k}={v}")).collect(),
            started: now(),
            tty,
            ..Process::default()
        };
        state.processes.insert(pid, process);
        pid
    }

    /// The file that a program's name stands for, links followed.
    pub(super) fn program(&self, name: &str, env: &[(String, String)]) -> Found {
        let state = self.state();
        let view = View { state: &state, facts: &self.facts, pid: 1, uid: self.uid };
        let path = env.iter().rev().find(|(n, _)| n == "PATH").map_or(PATH, |(_, v)| v.as_str());
        let all: Vec<String> = match name {
            "" => return Found::Nowhere,
            n if n.contains('/') => vec![n.into()],
            n => path.split(':').map(|dir| format!("{dir}/{n}")).collect(),
        };
        let mut denied = false;
        for candidate in all {
            let Ok(real) = view.resolve("", &candidate, true) else { continue };
            match view.node(&real) {
                Some(node) if !node.is_directory() && node.allows(self.uid, 1) => return Found::At(real),
                _ => denied = true,
            }
        }
        if denied { Found::Denied } else { Found::Nowhere }
    }
}

/// What every small Linux has, and what the runtime puts there.
fn system(facts: &Facts, tools: &[String]) -> Node {
    let at = facts.started;
    let mut root = Node::directory(at);
    for path in DIRECTORIES.iter().filter(|d| !tools.is_empty() || !d.ends_with("bin")) {
        root.put(path, Node::directory(at));
    }
    for path in ["/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue"] {
        root.put(path, Node::directory(at).mode(0o1777));
    }
    root.put("/root", Node::directory(at).mode(0o700));
    root.put("/var/run", Node::link("/run", at));
    if !tools.is_empty() {
        root.put("/bin/busybox", Node::file(programs::BUSYBOX, at).mode(0o755));
        for tool in tools.iter().filter(|t| *t != "busybox") {
            root.put(&format!("/bin/{tool}"), Node::link("/bin/busybox", at));
        }
    }
    for (name, major, minor) in
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
    {
        root.put(&format!("/dev/{name}"), Node::device(major, minor, at));
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        root.put(&format!("/dev/{name}"), Node::link(target, at));
    }
    root.put("/dev/termination-log", Node::file("", at).mode(0o666));
    let hosts = format!(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.244.0.5\t{}\n",
        facts.hostname
    );
    for (path, text) in [
        ("/etc/hosts", hosts.as_str()),
        ("/etc/hostname", &format!("{}\n", facts.hostname)),
        (
            "/etc/resolv.conf",
            "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
        ),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
        ("/etc/group", "root:x:0:\nnobody:x:65534:\n"),
    ] {
        root.put(path, Node::file(text, at));
    }
    root
}
