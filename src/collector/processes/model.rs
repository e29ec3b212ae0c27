//! What is known of a process. Every text is the target's own: escape it before it is printed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::sockets::Socket;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of this form: 1.
    pub format: u32,
    /// `collector`, or `target` when the target's own programs were asked.
    pub by: String,
    /// When it was begun, RFC 3339, by the node's clock; empty when that was not asked.
    pub taken: String,
    /// In ascending order of pid.
    pub processes: Vec<Process>,
    /// Processes that ended while they were read.
    pub vanished: Vec<u32>,
    /// Sockets of the network namespace that no readable process holds: of other containers of the pod, or closing.
    pub other_sockets: Vec<Socket>,
    /// What could not be learned of all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// As numbered where it was read.
    pub pid: u32,
    /// As numbered in each namespace inwards from there.
    pub nspid: Vec<u32>,
    /// The parent; 0 when it is outside.
    pub ppid: u32,
    /// Real, effective, saved and file system user.
    pub uid: Vec<u32>,
    /// Real, effective, saved and file system group.
    pub gid: Vec<u32>,
    /// The name that it gives itself.
    pub comm: String,
    /// `S (sleeping)`.
    pub state: String,
    /// When it started, RFC 3339. The boot time that it is counted from has whole seconds only.
    pub started: String,
    /// The same in clock ticks since the boot: what tells two processes of one number apart.
    pub start_ticks: u64,
    /// Arguments.
    pub cmdline: Vec<String>,
    /// The executable.
    pub exe: Exe,
    /// Working directory.
    pub cwd: String,
    /// Root directory.
    pub root: String,
    /// Lines of `/proc/PID/cgroup`.
    pub cgroup: Vec<String>,
    /// CapInh, CapPrm, CapEff, CapBnd, CapAmb: hexadecimal, as the kernel writes them.
    pub capabilities: BTreeMap<String, String>,
    /// 0 none, 1 strict, 2 filter.
    pub seccomp: Option<u32>,
    /// Whether it can't gain rights by executing something.
    pub no_new_privs: Option<bool>,
    /// Who debugs it; 0 for nobody.
    pub tracer_pid: u32,
    /// Names of its environment's variables. Their values may be credentials and are not taken.
    pub env_names: Vec<String>,
    /// What its memory is mapped from.
    pub maps: Maps,
    /// Its open files.
    pub fds: Fds,
    /// Its open sockets.
    pub sockets: Vec<Socket>,
    /// It is the collector itself.
    pub own: bool,
    /// What could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// The executable, hashed by content even when its name is gone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Exe {
    /// Where it was; empty for a kernel thread or when it may not be known.
    pub path: String,
    /// The file has no name any more.
    pub deleted: bool,
    /// It never had one: memfd_create(2).
    pub memfd: bool,
    /// Bytes.
    pub size: Option<u64>,
    /// SHA-256 of the content, lower-case hex.
    pub sha256: Option<String>,
}

/// What stands out in the memory map.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Maps {
    /// Mappings in all.
    pub total: u64,
    /// Executable mappings of files that have no name any more.
    pub deleted: Vec<String>,
    /// Mappings of memfds.
    pub memfd: Vec<String>,
    /// Anonymous mappings that are writable and executable at once.
    pub rwx_anonymous: u64,
}

/// Open files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Fds {
    /// In all.
    pub total: u64,
    /// `socket`, `pipe`, `anon_inode`, `memfd`, `file`, `deleted` and how many.
    pub kinds: BTreeMap<String, u64>,
    /// Number and target of files, deleted files and memfds.
    pub files: Vec<String>,
}
