//! The target's processes as the collector's document: made from the same texts of `/proc`, by the same readers.

use std::collections::{BTreeMap, HashSet};
use std::io;

use super::super::programs::sha256;
use super::super::state::View;
use super::super::{now, procfs};
use super::Run;
use super::frames::Frames;
use crate::collector::processes::environ::{self, Environment, Environments};
use crate::collector::processes::model::{Process, Report};
use crate::collector::processes::parse;
use crate::collector::processes::sockets::{self, Socket};

/// Writes the document.
pub fn write(run: &Run<'_>, out: &mut Frames) -> io::Result<()> {
    let report = run.view(report);
    out.entries = report.processes.len() as u64;
    out.unreadable = report.processes.iter().filter(|p| !p.errors.is_empty() && !p.own).count() as u64;
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    out.put(&text)
}

/// Writes their environments.
pub fn environ(run: &Run<'_>, out: &mut Frames) -> io::Result<()> {
    let processes: Vec<Environment> = run.view(|view| {
        let own = |pid: &&u32| view.state.processes.get(pid).is_some_and(|p| p.foreign.is_none());
        let of = |pid: &u32| {
            let bytes = procfs::file(view, &format!("/{pid}/environ")).unwrap_or_default();
            Environment { pid: *pid, variables: environ::variables(&bytes) }
        };
        view.state.processes.keys().filter(own).map(of).collect()
    });
    out.entries = processes.len() as u64;
    out.put(&serde_json::to_vec(&Environments { format: 1, processes })?)
}

fn report(view: &View<'_>) -> Report {
    let taken = parse::rfc3339(u64::try_from(now()).unwrap_or(0).saturating_mul(1000));
    let mut report = Report { format: 1, by: "collector".into(), taken, ..Report::default() };
    let (mut all, mut loose) = (BTreeMap::new(), Vec::new());
    let first = view.state.processes.keys().next().copied().unwrap_or(1);
    for table in sockets::TABLES {
        let content = procfs::file(view, &format!("/{first}/net/{table}")).unwrap_or_default();
        sockets::table(table, &String::from_utf8_lossy(&content), &mut all, &mut loose);
    }
    let boot = u64::try_from(procfs::boot(view)).unwrap_or(0);
    let mut held: HashSet<u64> = HashSet::new();
    for pid in view.state.processes.keys() {
        report.processes.push(process(view, *pid, boot, &all, &mut held));
    }
    let others = all.into_values().filter(|s| !held.contains(&s.inode) && s.protocol != "unix");
    report.other_sockets = others.chain(loose).take(parse::MAX_LIST).collect();
    report
}

fn process(view: &View<'_>, pid: u32, boot: u64, all: &BTreeMap<u64, Socket>, held: &mut HashSet<u64>) -> Process {
    let bytes = |name: &str| procfs::file(view, &format!("/{pid}/{name}")).unwrap_or_default();
    let link = |name: &str| procfs::link(view, &format!("/{pid}/{name}")).unwrap_or_default();
    let text = |name: &str| String::from_utf8_lossy(&bytes(name)).into_owned();
    let mut process = Process { pid, ..Process::default() };
    parse::status(&text("status"), &mut process);
    process.start_ticks = parse::start_ticks(&bytes("stat")).unwrap_or(0);
    process.started = parse::started(boot, process.start_ticks);
    process.cmdline = parse::cmdline(&bytes("cmdline"));
    process.env_names = parse::env_names(&bytes("environ"));
    process.cgroup = text("cgroup").lines().map(Into::into).collect();
    process.maps = parse::maps(&text("maps"));
    process.cwd = link("cwd");
    process.root = link("root");
    for number in procfs::names(view, &format!("/{pid}/fd")).unwrap_or_default() {
        let target = link(&format!("fd/{number}"));
        parse::count_fd(&mut process.fds, &number, &target);
        if let Some(inode) = parse::socket_inode(&target) {
            held.insert(inode);
            process.sockets.extend(all.get(&inode).cloned());
        }
    }
    (process.exe.path, process.exe.deleted, process.exe.memfd) = parse::exe(&link("exe"));
    if let Some(known) = view.state.processes.get(&pid) {
        process.own = known.foreign.is_some();
        if view.uid == 0 || view.uid == known.uid {
            process.exe.size = Some(known.image.len() as u64);
            process.exe.sha256 = Some(sha256(&known.image));
        } else {
            process.errors.push("exe: Permission denied (os error 13)".into());
        }
    }
    process
}
