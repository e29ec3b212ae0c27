//! The lines that the fallback's script prints about processes, as the collector's document. Every word of it is the
//! target's own.

use std::collections::BTreeMap;

use crate::collector::processes::model::{Process, Report};
use crate::collector::processes::{parse as proc, sockets};

/// A longer listing stays as it was received.
pub(super) const MAX: u64 = 8 << 20;
/// Processes that are kept.
const MAX_PROCESSES: usize = 20_000;

/// Reads the listing; what does not fit is passed over.
pub(super) fn parse(listing: &str) -> Report {
    let mut report = Report { format: 1, by: "target".into(), ..Report::default() };
    let mut boot = None;
    let mut tables: BTreeMap<&str, String> = BTreeMap::new();
    let mut inodes: Vec<Vec<u64>> = Vec::new();
    for (word, rest) in listing.lines().filter_map(|line| line.split_once(' ')) {
        match word {
            "boot" => boot = proc::boot_time(rest),
            "pid" if report.processes.len() < MAX_PROCESSES => {
                report.processes.push(Process { pid: rest.parse().unwrap_or(0), ..Process::default() });
                inodes.push(Vec::new());
            }
            "net" => {
                if let Some((table, line)) = rest.split_once(' ') {
                    let table = tables.entry(table).or_default();
                    table.push_str(line);
                    table.push('\n');
                }
            }
            _ => {
                if let (Some(process), Some(inodes)) = (report.processes.last_mut(), inodes.last_mut()) {
                    fact(process, inodes, word, rest, boot);
                }
            }
        }
    }
    let (mut all, mut loose) = (BTreeMap::new(), Vec::new());
    for (name, content) in &tables {
        if sockets::TABLES.contains(name) {
            sockets::table(name, content, &mut all, &mut loose);
        }
    }
    for (process, inodes) in report.processes.iter_mut().zip(inodes) {
        process.sockets = inodes.iter().filter_map(|inode| all.remove(inode)).collect();
    }
    report.other_sockets =
        all.into_values().filter(|s| s.protocol != "unix").chain(loose).take(proc::MAX_LIST).collect();
    if !listing.ends_with("end\n") {
        report.warnings.push("the listing was cut short".into());
    }
    report
}

fn fact(process: &mut Process, inodes: &mut Vec<u64>, word: &str, rest: &str, boot: Option<u64>) {
    match word {
        "stat" => {
            if let Some(ticks) = proc::start_ticks(rest.as_bytes()) {
                process.start_ticks = ticks;
                process.started = boot.map(|boot| proc::started(boot, ticks)).unwrap_or_default();
            }
        }
        "status" => proc::status(rest, process),
        "arg" if process.cmdline.len() < proc::MAX_LIST => process.cmdline.push(proc::text(rest.as_bytes())),
        "env" if process.env_names.len() < proc::MAX_LIST => process.env_names.push(proc::text(rest.as_bytes())),
        "cgroup" if process.cgroup.len() < 64 => process.cgroup.push(proc::text(rest.as_bytes())),
        "exe" => (process.exe.path, process.exe.deleted, process.exe.memfd) = proc::exe(&proc::text(rest.as_bytes())),
        "hash" => {
            let hash = rest.split(' ').next().unwrap_or_default();
            let good = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
            process.exe.sha256 = good.then(|| hash.to_string());
        }
        "cwd" => process.cwd = proc::text(rest.as_bytes()),
        "root" => process.root = proc::text(rest.as_bytes()),
        "fd" => {
            let (number, link) = rest.split_once(' ').unwrap_or((rest, ""));
            if !link.is_empty() {
                proc::count_fd(&mut process.fds, number, link);
                inodes.extend(proc::socket_inode(link));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_listing_becomes_the_same_document() {
        let listing = format!(
            "boot btime 1700000000\npid 7\nstat 7 (a b) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 150 0 0\nstatus Name:\ta b\n\
             status PPid:\t1\nstatus Uid:\t0\t0\t0\t0\narg sh\narg -c\nenv PATH\nexe /tmp/x (deleted)\nhash {}  -\n\
             fd 3 socket:[99]\nfd 1 /dev/null\nnet tcp head\nnet tcp 0: 0100007F:2382 00000000:0000 0A 0:0 00:0 0 0 0 99 1\nend\n",
            "ab".repeat(32)
        );
        let report = parse(&listing);
        let [process] = report.processes.as_slice() else { panic!("{report:?}") };
        assert_eq!((process.pid, process.ppid, process.comm.as_str()), (7, 1, "a b"));
        assert_eq!(process.started, "2023-11-14T22:13:21.500Z");
        assert_eq!(process.cmdline, ["sh", "-c"]);
        assert!(process.exe.deleted && process.exe.sha256.is_some());
        assert_eq!(process.sockets[0].local.as_deref(), Some("127.0.0.1:9090"));
        assert_eq!((report.by.as_str(), report.warnings.len()), ("target", 0));
    }

    #[test]
    fn garbage_and_a_cut_are_survived() {
        let report = parse("arg before any\npid x\nstat ((\nfd\nnet tcp\nnet unix x\nhash zz\npid 1\narg");
        assert_eq!(report.processes.len(), 2);
        assert_eq!(report.warnings.len(), 1);
    }
}
