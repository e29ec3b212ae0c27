//! What changes inside a container: its files and its processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Facts;
use super::files::{Errno, Kind, Node, absolute, split};
use super::inside::SocketSpec;
use super::procfs;

/// A process that runs.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent; 0 when it is outside.
    pub ppid: u32,
    /// Its user.
    pub uid: u32,
    /// Arguments.
    pub cmdline: Vec<String>,
    /// The name that it gives itself, no more than 15 bytes.
    pub comm: String,
    /// Path of the executable.
    pub exe: String,
    /// The executable has no name any more.
    pub deleted: bool,
    /// The executable never had one.
    pub memfd: bool,
    /// Bytes of the executable.
    pub image: Arc<Vec<u8>>,
    /// Working directory.
    pub cwd: String,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Its sockets, with their inodes.
    pub sockets: Vec<(u64, SocketSpec)>,
    /// When it started, Unix seconds.
    pub started: i64,
    /// Id of its container, where that is another one that shares this one's processes.
    pub foreign: Option<String>,
    /// Its terminal: it was started by an exec with one.
    pub tty: bool,
}

impl Process {
    /// Where `/proc/PID/exe` leads.
    pub fn exe_link(&self) -> String {
        match (self.memfd, self.deleted) {
            (true, _) => format!("/memfd:{} (deleted)", self.exe.rsplit('/').next().unwrap_or_default()),
            (false, true) => format!("{} (deleted)", self.exe),
            (false, false) => self.exe.clone(),
        }
    }
}

/// What changes.
#[derive(Debug)]
pub struct State {
    /// The root directory, without /proc.
    pub root: Node,
    /// By number.
    pub processes: BTreeMap<u32, Process>,
    /// The next process's number, and the next socket's inode.
    pub next: (u32, u64),
}

impl State {
    /// The next free number of a process.
    pub fn free_pid(&mut self) -> u32 {
        while self.processes.contains_key(&self.next.0) {
            self.next.0 += 1;
        }
        self.next.0 += 1;
        self.next.0 - 1
    }
}

/// How somebody sees the files: `/proc` among them.
pub struct View<'a> {
    /// What is looked at.
    pub state: &'a State,
    /// What the pod gives.
    pub facts: &'a Facts,
    /// Who looks: `/proc/self`.
    pub pid: u32,
    /// With whose rights.
    pub uid: u32,
}

impl View<'_> {
    /// The node at a real path, links not followed.
    pub fn node(&self, real: &str) -> Option<Node> {
        match real.strip_prefix("/proc") {
            Some(inside) if inside.is_empty() || inside.starts_with('/') => procfs::node(self, inside),
            _ => self.state.root.at(real).cloned(),
        }
    }

    /// The real path that a path leads to; with `follow`, also where its last name is a link.
    pub fn resolve(&self, cwd: &str, path: &str, follow: bool) -> Result<String, Errno> {
        let mut todo: Vec<String> = path.split('/').rev().map(Into::into).collect();
        let mut at = if path.starts_with('/') { String::new() } else { cwd.to_string() };
        let mut hops = 0;
        while let Some(part) = todo.pop() {
            if part.is_empty() || part == "." {
                if !todo.is_empty() || (part == "." || !at.is_empty()) && path.len() > 1 {
                    let directory = self.node(&at).is_some_and(|n| n.is_directory());
                    if !directory {
                        return Err(Errno::NotDirectory);
                    }
                }
                continue;
            }
            if part == ".." {
                at = split(&at).0.to_string();
                continue;
            }
            let here = format!("{at}/{part}");
            let Some(node) = self.node(&here) else {
                let parent = self.node(&at).is_some_and(|n| n.is_directory());
                return Err(if parent { Errno::NotFound } else { Errno::NotDirectory });
            };
            match node.kind {
                // The kernel's own link leads to the file itself, whether it still has a name or not.
                Kind::Link(_) if here.starts_with("/proc/") && part == "exe" => at = here,
                Kind::Link(target) if follow || !todo.is_empty() => {
                    hops += 1;
                    if hops > 40 {
                        return Err(Errno::Loop);
                    }
                    if target.starts_with('/') {
                        at = String::new();
                    }
                    todo.extend(target.split('/').rev().filter(|p| !p.is_empty()).map(Into::into));
                }
                _ => at = here,
            }
        }
        Ok(at)
    }

    /// What is at a path.
    pub fn stat(&self, cwd: &str, path: &str, follow: bool) -> Result<Node, Errno> {
        if path.is_empty() {
            return Err(Errno::NotFound);
        }
        let real = self.resolve(cwd, path, follow)?;
        let node = self.node(&real).ok_or(Errno::NotFound)?;
        match &node.kind {
            Kind::Link(_) if follow => procfs::image(self, &real).ok_or(Errno::NotFound),
            _ => Ok(node),
        }
    }

    /// What a file holds.
    pub fn read(&self, cwd: &str, path: &str) -> Result<Arc<Vec<u8>>, Errno> {
        let node = self.stat(cwd, path, true)?;
        match node.kind {
            Kind::Directory(_) => Err(Errno::IsDirectory),
            _ if !node.allows(self.uid, 4) => Err(Errno::Denied),
            Kind::Device(1, 5) => Ok(Arc::new(vec![0; 1 << 16])),
            _ => Ok(node.content()),
        }
    }

    /// Names in a directory, sorted by their bytes.
    pub fn list(&self, cwd: &str, path: &str) -> Result<Vec<String>, Errno> {
        let real = self.resolve(cwd, path, true)?;
        if let Some(inside) = real.strip_prefix("/proc").filter(|i| i.is_empty() || i.starts_with('/')) {
            return procfs::names(self, inside).ok_or(Errno::NotDirectory);
        }
        let node = self.node(&real).ok_or(Errno::NotFound)?;
        match &node.kind {
            Kind::Directory(_) if !node.allows(self.uid, 4) => Err(Errno::Denied),
            Kind::Directory(children) => Ok(children.keys().cloned().collect()),
            _ => Err(Errno::NotDirectory),
        }
    }

    /// The real path that a file would be created or written at, once it is known that this is allowed.
    pub fn writable(&self, cwd: &str, path: &str) -> Result<String, Errno> {
        match self.resolve(cwd, path, true) {
            Ok(real) if real.starts_with("/proc/") => Err(Errno::Denied),
            Ok(real) => match self.node(&real) {
                Some(node) if node.is_directory() => Err(Errno::IsDirectory),
                Some(node) if !node.allows(self.uid, 2) => Err(Errno::Denied),
                _ => Ok(real),
            },
            Err(Errno::NotFound) => self.place(cwd, path),
            Err(other) => Err(other),
        }
    }

    /// The real path of a name in a directory that may be changed; whether the name is there does not matter.
    pub fn place(&self, cwd: &str, path: &str) -> Result<String, Errno> {
        let (parent, name) = match split(path) {
            ("", name) if path.starts_with('/') => ("/", name.trim_start_matches('/')),
            ("", name) => (".", name),
            other => other,
        };
        let parent = self.resolve(cwd, parent, true)?;
        let node = self.node(&parent).ok_or(Errno::NotFound)?;
        if !node.is_directory() {
            return Err(Errno::NotDirectory);
        }
        if !node.allows(self.uid, 2) || parent.starts_with("/proc") {
            return Err(Errno::Denied);
        }
        let real = absolute(&parent, name.trim_end_matches('/'));
        // The kernel's PATH_MAX, and a bound on the depth: every step walks from the root here.
        if real.len() < 4096 && real.matches('/').count() < 200 { Ok(real) } else { Err(Errno::TooLong) }
    }

    /// The name of a user or group, by a file of the form of /etc/passwd.
    pub fn name_of(&self, file: &str, id: u32) -> Option<String> {
        let content = self.state.root.at(file)?.content();
        let text = String::from_utf8_lossy(&content).into_owned();
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == id.to_string()).then(|| name.to_string())
        })
    }
}
