//! Reads `/proc`. A process may end, change or lie about itself at any moment: what can't be read is said, and the rest
//! goes on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::{SystemTime, UNIX_EPOCH};

use super::model::{Process, Report};
use super::parse;
use super::sockets::{self, Socket};
use crate::collector::output::{Output, hash_of};

/// No text of `/proc` is read further.
const MAX_FILE: u64 = 1 << 20;
/// Nor the memory map, of which a line is dropped after it was looked at.
const MAX_MAPS: u64 = 16 << 20;
/// Files of one process that are looked at.
const MAX_FDS: usize = 65_536;
/// Larger executables are not hashed.
const MAX_EXE: u64 = 4 << 30;

/// Writes the document: of every process, or of one container's alone.
///
/// # Errors
/// When `/proc` can't be listed, the container has no process here, or the output can't be written.
pub fn write<W: Write>(out: &mut Output<W>, container: Option<&str>) -> io::Result<()> {
    let report = report(match container {
        Some(container) => all_of(container)?,
        None => pids()?,
    })?;
    out.entries = report.processes.len() as u64;
    out.unreadable = report.processes.iter().filter(|p| !p.errors.is_empty() && !p.own).count() as u64;
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    out.put(&text)
}

/// The sockets of one network namespace, `net:[4026532301]`, by inode, each with the process that holds it where one is
/// visible. Executables are not hashed here: it is to be quick.
///
/// # Errors
/// When `/proc` can't be listed.
pub fn held_in(namespace: &str) -> io::Result<Vec<(Socket, Option<Process>)>> {
    let inside = |pid: &u32| fs::read_link(format!("/proc/{pid}/ns/net")).is_ok_and(|l| l.as_os_str() == namespace);
    let pids: Vec<u32> = pids()?.into_iter().filter(inside).collect();
    let Some(first) = pids.first() else { return Ok(Vec::new()) };
    let Namespace { all, .. } = Namespace::of(*first);
    let mut holders: HashMap<u64, Process> = HashMap::new();
    for pid in pids {
        let mut process = Process { pid, ..Process::default() };
        let Ok(status) = text(&format!("/proc/{pid}/status")) else { continue };
        parse::status(&status, &mut process);
        process.exe.path = parse::text(&link(&format!("/proc/{pid}/exe")).unwrap_or_default());
        for inode in files(pid, &mut process.clone(), &mut Vec::new()) {
            holders.entry(inode).or_insert_with(|| process.clone());
        }
    }
    Ok(all.into_values().map(|socket| (holders.remove(&socket.inode), socket)).map(|(h, s)| (s, h)).collect())
}

fn report(pids: Vec<u32>) -> io::Result<Report> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut report = Report {
        format: 1,
        by: "collector".into(),
        taken: parse::rfc3339(u64::try_from(now.as_millis()).unwrap_or(0)),
        ..Report::default()
    };
    let mut reader = Reader {
        boot: parse::boot_time(&text("/proc/stat").unwrap_or_default()),
        own: fs::metadata("/proc/self/exe").map(|m| (m.dev(), m.ino())).ok(),
        hashes: HashMap::new(),
    };
    if reader.boot.is_none() {
        report.warnings.push("/proc/stat shows no boot time: start times are not known".into());
    }
    let mut namespaces: BTreeMap<String, Namespace> = BTreeMap::new();
    for pid in pids {
        match reader.process(pid) {
            Some((mut process, inodes)) => {
                let net = fs::read_link(format!("/proc/{pid}/ns/net")).map(|l| l.to_string_lossy().into_owned());
                let space = namespaces.entry(net.unwrap_or_default()).or_insert_with(|| Namespace::of(pid));
                let held = inodes.iter().filter_map(|inode| space.all.get(inode));
                process.sockets = held.take(parse::MAX_LIST).cloned().collect();
                space.held.extend(inodes);
                report.processes.push(process);
            }
            None => report.vanished.push(pid),
        }
    }
    for (_, space) in namespaces {
        let Namespace { all, loose, held } = space;
        let others = all.into_values().filter(|s| !held.contains(&s.inode) && s.protocol != "unix");
        report.other_sockets.extend(others.chain(loose).take(parse::MAX_LIST));
    }
    Ok(report)
}

/// A network namespace's sockets, read once.
struct Namespace {
    all: BTreeMap<u64, Socket>,
    loose: Vec<Socket>,
    held: HashSet<u64>,
}

impl Namespace {
    fn of(pid: u32) -> Namespace {
        let (mut all, mut loose) = (BTreeMap::new(), Vec::new());
        for table in sockets::TABLES {
            let content = bytes(&format!("/proc/{pid}/net/{table}"), MAX_MAPS).unwrap_or_default();
            sockets::table(table, &String::from_utf8_lossy(&content), &mut all, &mut loose);
        }
        Namespace { all, loose, held: HashSet::new() }
    }
}

struct Reader {
    boot: Option<u64>,
    own: Option<(u64, u64)>,
    /// By device, inode, size and change time: many processes of one executable are the rule.
    hashes: HashMap<(u64, u64, u64, i64), String>,
}

impl Reader {
    /// The process and the inodes of its sockets; None when it ended meanwhile.
    fn process(&mut self, pid: u32) -> Option<(Process, Vec<u64>)> {
        let at = |name: &str| format!("/proc/{pid}/{name}");
        let mut process = Process { pid, ..Process::default() };
        parse::status(&text(&at("status")).ok()?, &mut process);
        process.start_ticks = parse::start_ticks(&bytes(&at("stat"), MAX_FILE).ok()?)?;
        process.started = self.boot.map(|boot| parse::started(boot, process.start_ticks)).unwrap_or_default();
        let mut errors = Vec::new();
        let mut tried = |name: &str, result: io::Result<Vec<u8>>| {
            result.map_err(|e| errors.push(format!("{name}: {e}"))).unwrap_or_default()
        };
        process.cmdline = parse::cmdline(&tried("cmdline", bytes(&at("cmdline"), 256 << 10)));
        process.env_names = parse::env_names(&tried("environ", bytes(&at("environ"), MAX_FILE)));
        process.cgroup =
            parse::text(&tried("cgroup", bytes(&at("cgroup"), 64 << 10))).lines().map(Into::into).collect();
        process.maps = parse::maps(&String::from_utf8_lossy(&tried("maps", bytes(&at("maps"), MAX_MAPS))));
        process.cwd = parse::text(&tried("cwd", link(&at("cwd"))));
        process.root = parse::text(&tried("root", link(&at("root"))));
        let inodes = files(pid, &mut process, &mut errors);
        if let Err(error) = self.executable(pid, &mut process) {
            // A kernel thread has none.
            if !process.cmdline.is_empty() {
                errors.push(format!("exe: {error}"));
            }
        }
        process.errors = errors;
        // Whoever has the number now: is it still the same one?
        let again = bytes(&at("stat"), MAX_FILE).ok().and_then(|stat| parse::start_ticks(&stat));
        (again == Some(process.start_ticks)).then_some((process, inodes))
    }

    fn executable(&mut self, pid: u32, process: &mut Process) -> io::Result<()> {
        let path = format!("/proc/{pid}/exe");
        let target = link(&path)?;
        (process.exe.path, process.exe.deleted, process.exe.memfd) = parse::exe(&parse::text(&target));
        // The link leads to the file itself, whether it still has a name or not.
        let file = File::open(&path)?;
        let meta = file.metadata()?;
        process.own = self.own == Some((meta.dev(), meta.ino()));
        process.exe.size = Some(meta.len());
        if meta.len() > MAX_EXE {
            return Err(io::Error::other(format!("{} bytes: not hashed", meta.len())));
        }
        let key = (meta.dev(), meta.ino(), meta.len(), meta.ctime_nsec() ^ meta.ctime());
        let hash = match self.hashes.get(&key) {
            Some(hash) => hash.clone(),
            None => {
                let (_, hash) = hash_of(file.take(MAX_EXE))?;
                self.hashes.insert(key, hash.clone());
                hash
            }
        };
        process.exe.sha256 = Some(hash);
        Ok(())
    }
}

/// Open files of a process; the inodes of its sockets come back.
fn files(pid: u32, process: &mut Process, errors: &mut Vec<String>) -> Vec<u64> {
    let mut inodes = Vec::new();
    let entries = match fs::read_dir(format!("/proc/{pid}/fd")) {
        Ok(entries) => entries,
        Err(error) => {
            errors.push(format!("fd: {error}"));
            return inodes;
        }
    };
    for entry in entries.flatten().take(MAX_FDS) {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy();
        parse::count_fd(&mut process.fds, &entry.file_name().to_string_lossy(), &target);
        inodes.extend(parse::socket_inode(&target));
    }
    inodes
}

/// The oldest process of the container with that id, found by its cgroup, for in a shared process namespace (or the
/// node's own) process 1 is somebody else. `or_init` takes process 1 where the cgroups tell nothing.
///
/// # Errors
/// When the container has no process here.
pub fn oldest_of(container: &str, or_init: bool) -> Result<u32, String> {
    let id = id_of(container)?;
    let own = fs::metadata("/proc/self/exe").map(|m| (m.dev(), m.ino())).ok();
    let is_own =
        |pid: u32| own.is_some() && fs::metadata(format!("/proc/{pid}/exe")).map(|m| (m.dev(), m.ino())).ok() == own;
    let pids = pids().map_err(|e| format!("/proc can't be listed: {e}"))?;
    let oldest = pids
        .into_iter()
        .filter(|pid| is_of(*pid, id) && !is_own(*pid))
        .filter_map(|pid| Some((parse::start_ticks(&bytes(&format!("/proc/{pid}/stat"), MAX_FILE).ok()?)?, pid)))
        .min();
    match oldest {
        Some((_, pid)) => Ok(pid),
        None if or_init && !is_own(1) => Ok(1),
        None => {
            Err(format!("no process of container {id} is visible from here: the runtime does not share its processes"))
        }
    }
}

/// The processes of a container, by its cgroup.
///
/// # Errors
/// When it has none here.
pub fn all_of(container: &str) -> io::Result<Vec<u32>> {
    let id = id_of(container).map_err(io::Error::other)?;
    let all: Vec<u32> = pids()?.into_iter().filter(|pid| is_of(*pid, id)).collect();
    if all.is_empty() {
        return Err(io::Error::other(format!("no process of container {id} is visible from here")));
    }
    Ok(all)
}

/// The bare id of `containerd://ID`.
fn id_of(container: &str) -> Result<&str, String> {
    let id = container.rsplit('/').next().unwrap_or_default();
    if id.len() < 12 || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(format!("{container:?} is no container id"));
    }
    Ok(id)
}

fn is_of(pid: u32, id: &str) -> bool {
    text(&format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(id))
}

fn pids() -> io::Result<Vec<u32>> {
    let mut pids: Vec<u32> =
        fs::read_dir("/proc")?.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    Ok(pids)
}

fn bytes(path: &str, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut content)?;
    Ok(content)
}

fn text(path: &str) -> io::Result<String> {
    bytes(path, MAX_FILE).map(|content| String::from_utf8_lossy(&content).into_owned())
}

fn link(path: &str) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    fs::read_link(path).map(|target| target.into_os_string().into_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_itself_with_its_sockets_and_its_executables_hash() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let report = report(vec![std::process::id(), u32::MAX]).unwrap();
        assert_eq!(report.vanished, [u32::MAX]);
        let me = report.processes.iter().find(|p| p.pid == std::process::id()).unwrap();
        assert!(me.own && me.exe.sha256.as_ref().is_some_and(|h| h.len() == 64));
        assert!(me.sockets.iter().any(|s| s.local.as_ref() == Some(&address) && s.state.as_deref() == Some("LISTEN")));
        assert!(me.started.starts_with("20") && !me.cmdline.is_empty());
        let json = serde_json::to_string(&report).unwrap();
        assert!(json.contains("\"env_names\""));
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn a_deleted_executable_is_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("implant");
        fs::copy("/bin/sleep", &program).unwrap();
        let expected = hash_of(File::open(&program).unwrap()).unwrap().1;
        let mut child = std::process::Command::new(&program).arg("30").spawn().unwrap();
        fs::remove_file(&program).unwrap();
        let mut reader = Reader { boot: Some(0), own: None, hashes: HashMap::new() };
        let (process, _) = reader.process(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.exe.deleted, "{:?}", process.exe);
        assert_eq!(process.exe.sha256.as_deref(), Some(expected.as_str()));
    }

    #[test]
    fn only_a_containers_own_process_gives_its_root() {
        assert!(oldest_of("containerd://../../etc", true).is_err());
        assert!(oldest_of("containerd://0123456789abcdef0123456789abcdef", false).is_err());
    }
}
