//! `/proc`, rendered on the fly from the processes in the kernel's format (proc(5)).

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use super::files::Node;
use super::inside::SocketSpec;
use super::state::{Process, View};

const TABLES: [&str; 7] = ["raw", "raw6", "tcp", "tcp6", "udp", "udp6", "unix"];
const TOP: [&str; 10] =
    ["cpuinfo", "loadavg", "meminfo", "mounts", "net", "self", "stat", "uptime", "version", "filesystems"];
const OF_PROCESS: [&str; 14] = [
    "cgroup",
    "cmdline",
    "comm",
    "cwd",
    "environ",
    "exe",
    "fd",
    "maps",
    "mountinfo",
    "mounts",
    "net",
    "root",
    "stat",
    "status",
];
/// include/net/tcp_states.h, from 1.
const STATES: [&str; 11] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];
/// The node was up for so long when the container started, in seconds.
const UP: i64 = 86_400;
const KERNEL: &str = "6.6.87";

/// When the node was booted, Unix seconds.
pub fn boot(view: &View<'_>) -> i64 {
    view.facts.started.saturating_sub(UP)
}

/// The kernel's release, as `uname -r` says it.
pub fn release() -> &'static str {
    KERNEL
}

/// The node at a path inside `/proc`, given without `/proc`.
pub fn node(view: &View<'_>, inside: &str) -> Option<Node> {
    let owner = process(view, inside).map_or(0, |(p, _)| p.uid);
    let time = process(view, inside).map_or(view.facts.started, |(p, _)| p.started);
    if names(view, inside).is_some() {
        let mode = if inside.ends_with("/fd") { 0o500 } else { 0o555 };
        return Some(Node::directory(time).mode(mode).owned(owner, owner));
    }
    if let Some(target) = link(view, inside) {
        let mode = if inside.contains("/fd/") { 0o700 } else { 0o777 };
        return Some(Node::link(target, time).mode(mode).owned(owner, owner));
    }
    let mode = if inside.ends_with("/environ") { 0o400 } else { 0o444 };
    let content = file(view, inside)?;
    Some(Node::file(content, time).mode(mode).owned(owner, owner))
}

/// The executable behind `/proc/PID/exe`, which is there even when its name is gone.
pub fn image(view: &View<'_>, real: &str) -> Option<Node> {
    let (process, name) = process(view, real.strip_prefix("/proc")?)?;
    let mut node = Node::file(Vec::new(), process.started).mode(0o755);
    node.kind = super::files::Kind::File(process.image.clone());
    // Whoever may not trace a process may not follow its links.
    let readable = view.uid == 0 || view.uid == process.uid;
    (name == "exe").then_some(if readable { node } else { node.mode(0) })
}

/// The process that a path inside `/proc` is about, and the path below it.
fn process<'v>(view: &'v View<'_>, inside: &'v str) -> Option<(&'v Process, &'v str)> {
    let (pid, below) = inside.strip_prefix('/')?.split_once('/').unwrap_or((inside.strip_prefix('/')?, ""));
    Some((view.state.processes.get(&pid.parse().ok()?)?, below))
}

/// Names in a directory inside `/proc`; None where there is none.
pub fn names(view: &View<'_>, inside: &str) -> Option<Vec<String>> {
    if inside.is_empty() {
        let pids = view.state.processes.keys().map(u32::to_string);
        return Some(pids.chain(TOP.map(String::from)).collect());
    }
    let (process, below) = process(view, inside)?;
    match below {
        "" => Some(OF_PROCESS.map(String::from).into()),
        "fd" => Some((0..3 + process.sockets.len()).map(|n| n.to_string()).collect()),
        "net" => Some(TABLES.map(String::from).into()),
        _ => None,
    }
}

/// Where a link inside `/proc` leads.
pub fn link(view: &View<'_>, inside: &str) -> Option<String> {
    match inside {
        "/self" => return Some(view.pid.to_string()),
        "/mounts" => return Some("self/mounts".into()),
        "/net" => return Some("self/net".into()),
        _ => {}
    }
    let (process, below) = process(view, inside)?;
    match below {
        "exe" => Some(process.exe_link()),
        "cwd" => Some(process.cwd.clone()),
        "root" => Some("/".into()),
        _ => {
            let number: usize = below.strip_prefix("fd/")?.parse().ok()?;
            let Some(socket) = number.checked_sub(3) else {
                // Execs have the runtime's pipes; the rest has /dev/null and the log's pipes.
                let pipe = 30_000 + u64::from(process.pid) * 4 + number as u64;
                return Some(match (process.tty, number, process.ppid) {
                    (true, ..) => "/dev/pts/0".into(),
                    (false, 0, p) if p != 0 || process.pid == 1 => "/dev/null".into(),
                    _ => format!("pipe:[{pipe}]"),
                });
            };
            process.sockets.get(socket).map(|(inode, _)| format!("socket:[{inode}]"))
        }
    }
}

/// What a file inside `/proc` holds.
pub fn file(view: &View<'_>, inside: &str) -> Option<Vec<u8>> {
    let up = (super::now() - boot(view)).max(0);
    let text = match inside {
        "/stat" => format!(
            "cpu  {0} 0 {1} {2} 0 0 0 0 0 0\ncpu0 {0} 0 {1} {2} 0 0 0 0 0 0\nctxt 901234\nbtime {3}\nprocesses 5512\nprocs_running 1\nprocs_blocked 0\n",
            up * 3,
            up * 2,
            up * 95,
            boot(view)
        ),
        "/uptime" => format!("{up}.00 {up}.00\n"),
        "/version" => format!("Linux version {KERNEL} (builder@node) (gcc 13.3.0) #1 SMP PREEMPT_DYNAMIC\n"),
        "/loadavg" => format!("0.08 0.05 0.01 1/{} {}\n", view.state.processes.len(), view.pid),
        "/meminfo" => "MemTotal:        8142840 kB\nMemFree:         4210016 kB\nMemAvailable:    6120332 kB\n".into(),
        "/cpuinfo" => {
            "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Virtual CPU\ncpu MHz\t\t: 2500.000\n".into()
        }
        "/filesystems" => "nodev\tproc\nnodev\ttmpfs\nnodev\toverlay\n\text4\n".into(),
        _ => {
            let (process, below) = process(view, inside)?;
            return of_process(view, process, below);
        }
    };
    Some(text.into_bytes())
}

fn of_process(view: &View<'_>, p: &Process, name: &str) -> Option<Vec<u8>> {
    let ends = |texts: &[String]| texts.iter().flat_map(|t| t.bytes().chain([0])).collect::<Vec<u8>>();
    let ticks = p.started.saturating_sub(boot(view)).clamp(0, 1 << 40) * 100 + i64::from(p.pid % 100);
    let id = p.foreign.as_deref().unwrap_or(&view.facts.container_id);
    let text = match name {
        "cmdline" => return Some(ends(&p.cmdline)),
        "environ" => return Some(ends(&p.env)),
        "comm" => format!("{}\n", p.comm),
        // A container in its own cgroup namespace sees itself as the root, and others of the pod beside it.
        "cgroup" if p.foreign.is_none() && view.pid != 0 => "0::/\n".into(),
        "cgroup" => format!("0::/../cri-containerd-{id}.scope\n"),
        "maps" => maps(p),
        "mounts" => {
            mounts(view).iter().map(|m| format!("{} {} {} {} 0 0\n", m.source, m.point, m.kind, m.options)).collect()
        }
        "mountinfo" => (100..)
            .zip(mounts(view))
            .map(|(n, m)| format!("{n} 99 0:{n} / {} {} - {} {} {}\n", m.point, m.options, m.kind, m.source, m.options))
            .collect(),
        "stat" => format!(
            "{} ({}) S {} {0} {0} 0 -1 4194560 1203 0 0 0 4 2 0 0 20 0 1 0 {ticks} 4448256 512 18446744073709551615 4194304 5111808 140727000000000 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
            p.pid, p.comm, p.ppid
        ),
        "status" => status(p),
        _ => return name.strip_prefix("net/").and_then(|t| table(view, t)).map(String::into_bytes),
    };
    Some(text.into_bytes())
}

fn status(p: &Process) -> String {
    let capabilities = if p.uid == 0 { "00000000a80425fb" } else { "0000000000000000" };
    format!(
        "Name:\t{}\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t{1}\nNgid:\t0\nPid:\t{1}\nPPid:\t{2}\nTracerPid:\t0\n\
         Uid:\t{3}\t{3}\t{3}\t{3}\nGid:\t0\t0\t0\t0\nFDSize:\t64\nGroups:\t0 \nNStgid:\t{1}\nNSpid:\t{1}\nNSpgid:\t{1}\nNSsid:\t{1}\n\
         VmPeak:\t    4344 kB\nVmSize:\t    4344 kB\nVmRSS:\t    2048 kB\nThreads:\t1\nSigQ:\t0/31400\n\
         CapInh:\t0000000000000000\nCapPrm:\t{4}\nCapEff:\t{4}\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n\
         NoNewPrivs:\t0\nSeccomp:\t0\nSeccomp_filters:\t0\n",
        p.comm, p.pid, p.ppid, p.uid, capabilities
    )
}

fn maps(p: &Process) -> String {
    let (exe, inode) = (p.exe_link(), 1_000 + u64::from(p.pid));
    let mut text = String::new();
    let device = if p.memfd { "00:01" } else { "00:2d" };
    for (range, perms, path) in [
        ("55d4a0000000-55d4a000c000", "r--p", exe.as_str()),
        ("55d4a000c000-55d4a00d0000", "r-xp", exe.as_str()),
        ("55d4a00d0000-55d4a00e0000", "rw-p", exe.as_str()),
        ("55d4a1200000-55d4a1221000", "rw-p", "[heap]"),
        ("7ffd10000000-7ffd10021000", "rw-p", "[stack]"),
        ("7ffd101f0000-7ffd101f4000", "r--p", "[vvar]"),
        ("7ffd101f4000-7ffd101f6000", "r-xp", "[vdso]"),
    ] {
        let (device, inode) = if path.starts_with('[') { ("00:00", 0) } else { (device, inode) };
        let head = format!("{range} {perms} 00000000 {device} {inode}");
        let _ = writeln!(text, "{head:<72} {path}");
    }
    text
}

/// One line of the table of mounts.
pub struct Mount {
    /// What is mounted.
    pub source: String,
    /// Where.
    pub point: String,
    /// Type of the file system.
    pub kind: &'static str,
    /// Options.
    pub options: &'static str,
}

/// What is mounted: what containerd mounts into every container, and the pod's volumes.
pub fn mounts(view: &View<'_>) -> Vec<Mount> {
    const RW: &str = "rw,nosuid,nodev,noexec,relatime";
    let fixed = [
        ("overlay", "/", "overlay", "rw,relatime"),
        ("proc", "/proc", "proc", RW),
        ("tmpfs", "/dev", "tmpfs", "rw,nosuid,size=65536k,mode=755"),
        ("devpts", "/dev/pts", "devpts", "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666"),
        ("mqueue", "/dev/mqueue", "mqueue", RW),
        ("sysfs", "/sys", "sysfs", "ro,nosuid,nodev,noexec,relatime"),
        ("shm", "/dev/shm", "tmpfs", "rw,nosuid,nodev,noexec,relatime,size=65536k"),
        ("/dev/vda1", "/etc/hosts", "ext4", "rw,relatime"),
        ("/dev/vda1", "/etc/hostname", "ext4", "rw,relatime"),
        ("/dev/vda1", "/etc/resolv.conf", "ext4", "rw,relatime"),
    ];
    let mut all: Vec<Mount> = fixed
        .map(|(source, point, kind, options)| Mount { source: source.into(), point: point.into(), kind, options })
        .into();
    for (path, _, _) in &view.facts.mounts {
        let point = super::files::split(path).0.to_string();
        if all.iter().all(|m| m.point != point) {
            all.push(Mount { source: "tmpfs".into(), point, kind: "tmpfs", options: "ro,relatime" });
        }
    }
    all
}

/// Every socket with the process that holds it.
pub fn sockets<'v>(view: &'v View<'_>) -> impl Iterator<Item = (&'v Process, u64, &'v SocketSpec)> {
    view.state.processes.values().flat_map(|p| p.sockets.iter().map(move |(inode, socket)| (p, *inode, socket)))
}

/// A table under `/proc/net`.
fn table(view: &View<'_>, name: &str) -> Option<String> {
    if !TABLES.contains(&name) {
        return None;
    }
    if name == "unix" {
        return Some("Num       RefCount Protocol Flags    Type St Inode Path\n".into());
    }
    let rest = "st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
    let mut text = if name.ends_with('6') {
        format!("  sl  local_address                         remote_address                        {rest}\n")
    } else {
        // The kernel fills lines of the older tables up.
        format!("{:<149}\n", format!("  sl  local_address rem_address   {rest}"))
    };
    for (n, (process, inode, socket)) in sockets(view).filter(|(_, _, s)| s.protocol == name).enumerate() {
        let state = STATES.iter().position(|s| *s == socket.state).map_or(7, |at| at + 1);
        let state = if name.starts_with("tcp") { state } else { 7 };
        let _ = writeln!(
            text,
            "{n:4}: {} {} {state:02X} 00000000:00000000 00:00000000 00000000 {:5}        0 {inode} 1 0000000000000000 100 0 0 10 0",
            address(&socket.local),
            address(&socket.remote),
            process.uid
        );
    }
    Some(text)
}

/// `0100007F:1F90`: the address in 32-bit words in the node's byte order, the port as one number.
fn address(text: &str) -> String {
    let Ok(socket) = text.parse::<SocketAddr>() else { return "00000000:0000".into() };
    let bytes = match socket.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut out = String::new();
    for word in bytes.chunks_exact(4) {
        let word: [u8; 4] = word.try_into().unwrap_or_default();
        let _ = write!(out, "{:08X}", u32::from_ne_bytes(word));
    }
    format!("{out}:{:04X}", socket.port())
}
