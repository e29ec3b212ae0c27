//! What the collector says of connections. Every text may be the target's own: escape it before it is printed.

use serde::{Deserialize, Serialize};

use crate::collector::processes::model::Process;

/// Who holds a socket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// As numbered where it was read.
    pub pid: u32,
    /// The name that it gives itself.
    pub comm: String,
    /// Its executable.
    pub exe: String,
}

impl From<&Process> for Holder {
    fn from(process: &Process) -> Holder {
        Holder { pid: process.pid, comm: process.comm.clone(), exe: process.exe.path.clone() }
    }
}

/// A connection that is open, or being opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// `tcp`, `tcp6`, `udp` or `udp6`.
    pub protocol: String,
    /// This end: `10.0.0.7:41212`.
    pub local: String,
    /// The other end.
    pub remote: String,
    /// Of TCP, as proc(5) names it.
    pub state: String,
    /// The user that the socket belongs to.
    pub uid: u32,
    /// 0 when no file holds it.
    pub inode: u32,
    /// The other end is the pod's own node, which no NetworkPolicy stops; known only on the node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_node: bool,
    /// Bytes that the other end acknowledged; of TCP, since Linux 4.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u64>,
    /// Bytes that came from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// The process; None when none that is visible holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Holder>,
}

impl Connection {
    /// Whether data may flow: an attempt to open one (SYN_SENT) is none yet.
    pub fn is_open(&self) -> bool {
        self.state != "SYN_SENT"
    }

    /// Both ends, and the protocol: what tells two connections apart.
    pub fn ends(&self) -> (&str, &str, &str) {
        (&self.protocol, &self.local, &self.remote)
    }
}

/// A port that takes connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// `0.0.0.0:8080`, `[::]:8080`.
    pub address: String,
    /// The process; None when none that is visible holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Holder>,
}

/// The whole document of `connections`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Connections {
    /// Version of this form: 1.
    pub format: u32,
    /// When it was begun, RFC 3339, by the node's clock.
    pub taken: String,
    /// The network namespace, `net:[4026532301]`.
    pub namespace: String,
    /// What was open, but for connections that never leave the namespace.
    pub open: Vec<Connection>,
    /// Ports that take TCP connections.
    pub listening: Vec<Listening>,
    /// With `--cut`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// With `--watch-ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// What could not be learned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// What was cut.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cut {
    /// Each connection and what came of it.
    pub tried: Vec<Tried>,
    /// What the node's firewall remembered of the pod and was to forget; None when that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<Conntrack>,
}

/// What was seen in the time after.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Milliseconds that were watched.
    pub watched_ms: u64,
    /// Milliseconds until none of what was open at first was open any more; None when some stayed.
    pub gone_after_ms: Option<u64>,
    /// Connections that were open at the end.
    pub left: Vec<Connection>,
    /// Connections that came up while it was watched, each once. With `--cut` they were ended too.
    pub came: Vec<Connection>,
    /// Attempts that were seen (SYN_SENT), each address once.
    pub attempts: Vec<String>,
}

/// One connection's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// `tcp`, …
    pub protocol: String,
    /// This end.
    pub local: String,
    /// The other end.
    pub remote: String,
    /// `destroyed`, `gone`, or `failed`.
    pub outcome: String,
    /// What the kernel said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The node's memory of the pod's connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    /// What was there.
    pub found: Vec<Remembered>,
    /// Why entries, or all of them, could not be deleted.
    pub failed: Vec<String>,
}

/// One remembered connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// Its number: 6 for TCP, 17 for UDP.
    pub protocol: u8,
    /// Who began it, `10.0.0.7:41212`.
    pub source: String,
    /// With whom, before any translation.
    pub destination: String,
    /// Who answers, after translation.
    pub answered_by: String,
}

/// What one attempt led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// `10.0.0.7:443`.
    pub address: String,
    /// `connected`, `refused`, `timeout`, `unreachable`, `invalid` or `failed`.
    pub outcome: String,
    /// Milliseconds until then.
    pub ms: u64,
    /// What the system said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
