//! `/proc` as the kernel shows it, made from the processes when it is read.

use super::{Container, Process};

/// Seconds between the boot and the first process: the kernel counts in ticks from the boot.
const UPTIME: i64 = 86_400;

impl Container {
    /// Unix seconds of the boot.
    pub(super) fn boot(&self) -> i64 {
        self.facts().started - UPTIME
    }

    /// The content of a file under /proc; None when there is none.
    pub(super) fn proc_file(&self, path: &str) -> Option<Vec<u8>> {
        let rest = path.strip_prefix("/proc/")?;
        let state = self.state();
        let text = match rest {
            "stat" => format!("cpu  0 0 0 0 0 0 0 0 0 0\nbtime {}\n", self.boot()),
            "uptime" => format!("{UPTIME}.00 {UPTIME}.00\n"),
            "mounts" => "overlay / overlay rw,relatime 0 0\nproc /proc proc rw 0 0\n".into(),
            "version" => "Linux version 6.1.0 (embedded)\n".into(),
            "net/tcp" => tcp(state.processes.values()),
            "net/tcp6" | "net/udp" | "net/udp6" | "net/raw" | "net/raw6" => {
                "  sl  local_address rem_address   st\n".into()
            }
            "net/unix" => "Num       RefCount Protocol Flags    Type St Inode Path\n".into(),
            _ => {
                let (pid, name) = rest.split_once('/')?;
                let pid: u32 = if pid == "self" { 1 } else { pid.parse().ok()? };
                return self.of_process(state.processes.get(&pid)?, name);
            }
        };
        Some(text.into_bytes())
    }

    fn of_process(&self, process: &Process, name: &str) -> Option<Vec<u8>> {
        let spec = &process.spec;
        let comm: String = spec
            .cmdline
            .first()
            .map(|c| c.rsplit('/').next().unwrap_or_default())
            .unwrap_or_default()
            .chars()
            .take(15)
            .collect();
        let ticks = (process.started - self.boot()) * 100;
        Some(match name {
            "comm" => format!("{comm}\n").into_bytes(),
            "cmdline" => spec.cmdline.iter().flat_map(|a| [a.as_bytes(), b"\0"].concat()).collect(),
            "environ" => spec.env.iter().flat_map(|(k, v)| format!("{k}={v}\0").into_bytes()).collect(),
            "cgroup" => format!("0::/../cri-containerd-{}.scope\n", self.facts().container_id).into_bytes(),
            "maps" => format!("00400000-00500000 r-xp 00000000 08:01 1 {}{}\n", spec.exe, if spec.deleted { " (deleted)" } else { "" }).into_bytes(),
            "stat" => format!("{} ({comm}) S {} 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0\n", spec.pid, spec.ppid).into_bytes(),
            "status" => format!(
                "Name:\t{comm}\nState:\tS (sleeping)\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\nUid:\t{u}\t{u}\t{u}\t{u}\nGid:\t{u}\t{u}\t{u}\t{u}\nNSpid:\t{0}\nNoNewPrivs:\t0\nSeccomp:\t0\n",
                spec.pid,
                spec.ppid,
                u = spec.uid
            )
            .into_bytes(),
            _ => return None,
        })
    }

    /// Where a link under /proc leads.
    pub(super) fn proc_link(&self, path: &str) -> Option<String> {
        let (pid, name) = path.strip_prefix("/proc/")?.split_once('/')?;
        let state = self.state();
        let process = state.processes.get(&if pid == "self" { 1 } else { pid.parse().ok()? })?;
        let spec = &process.spec;
        match name {
            "exe" if spec.memfd => Some(format!("/memfd:{} (deleted)", spec.exe.trim_start_matches('/'))),
            "exe" => Some(format!("{}{}", spec.exe, if spec.deleted { " (deleted)" } else { "" })),
            "cwd" => Some(spec.cwd.clone()),
            "root" => Some("/".into()),
            _ => {
                let number: u64 = name.strip_prefix("fd/")?.parse().ok()?;
                match number {
                    0..=2 => Some("/dev/null".into()),
                    _ => {
                        let n = number - 3;
                        (usize::try_from(n).is_ok_and(|n| n < spec.sockets.len()))
                            .then(|| format!("socket:[{}]", process.inode + n))
                    }
                }
            }
        }
    }

    /// Names in a directory under /proc.
    pub(super) fn proc_list(&self, path: &str) -> Option<Vec<String>> {
        let state = self.state();
        if path == "/proc" {
            let mut all: Vec<String> = state.processes.keys().map(u32::to_string).collect();
            all.extend(["mounts", "net", "self", "stat", "uptime", "version"].map(String::from));
            return Some(all);
        }
        let rest = path.strip_prefix("/proc/")?;
        if rest == "net" {
            return Some(["raw", "raw6", "tcp", "tcp6", "udp", "udp6", "unix"].map(String::from).to_vec());
        }
        let (pid, below) = rest.split_once('/').unwrap_or((rest, ""));
        let process = state.processes.get(&if pid == "self" { 1 } else { pid.parse().ok()? })?;
        match below {
            "" => Some(
                ["cgroup", "cmdline", "comm", "cwd", "environ", "exe", "fd", "maps", "root", "stat", "status"]
                    .map(String::from)
                    .to_vec(),
            ),
            "fd" => Some((0..3 + process.spec.sockets.len()).map(|n| n.to_string()).collect()),
            _ => None,
        }
    }
}

/// `LOCAL -> REMOTE`, or `LOCAL`, as addresses and whether it is established.
pub(super) fn ends(socket: &str) -> (String, String, bool) {
    match socket.split_once("->") {
        Some((local, remote)) => (local.trim().into(), remote.trim().into(), true),
        None => (socket.trim().into(), "0.0.0.0:0".into(), false),
    }
}

/// proc_net_tcp(5).
fn tcp<'p>(processes: impl Iterator<Item = &'p Process>) -> String {
    let hex = |address: &str| {
        let (ip, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        let ip = ip.parse::<std::net::Ipv4Addr>().map_or(0, |ip| u32::from_le_bytes(ip.octets()));
        format!("{ip:08X}:{:04X}", port.parse::<u16>().unwrap_or(0))
    };
    let mut text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        .to_string();
    let mut line = 0;
    for process in processes {
        for (n, socket) in (0_u64..).zip(&process.spec.sockets) {
            let (local, remote, established) = ends(socket);
            let state = if established { "01" } else { "0A" };
            let inode = process.inode + n;
            text.push_str(&format!(
                "{line:4}: {} {} {state} 00000000:00000000 00:00000000 00000000 {:5}        0 {inode} 1 0 100 0 0 10 0\n",
                hex(&local),
                hex(&remote),
                process.spec.uid
            ));
            line += 1;
        }
    }
    text
}
