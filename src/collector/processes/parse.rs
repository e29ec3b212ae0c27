//! The kernel's texts under `/proc/PID` (proc(5)), from memory: nothing here reads a file. All of it is tolerant, for a
//! process chooses its name and its arguments.

use std::collections::BTreeMap;

use super::model::{Maps, Process};

/// Clock ticks a second of the times in `/proc/PID/stat`: USER_HZ is 100 on every architecture that Kubernetes runs on.
const TICKS: u64 = 100;
/// More of one list is cut.
pub const MAX_LIST: usize = 4096;
/// No argument is kept longer.
const MAX_TEXT: usize = 8192;

/// Bytes as text of bounded length.
pub fn text(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(MAX_TEXT)];
    let mut text = String::from_utf8_lossy(cut).into_owned();
    if cut.len() < bytes.len() {
        text.push('…');
    }
    text
}

/// `/proc/PID/status` into the process.
pub fn status(content: &str, process: &mut Process) {
    let numbers = |v: &str| -> Vec<u32> { v.split_whitespace().filter_map(|n| n.parse().ok()).take(64).collect() };
    for (key, value) in content.lines().filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match key {
            "Name" => process.comm = text(value.as_bytes()),
            "State" => process.state = value.chars().take(40).collect(),
            "PPid" => process.ppid = value.parse().unwrap_or(0),
            "TracerPid" => process.tracer_pid = value.parse().unwrap_or(0),
            "Uid" => process.uid = numbers(value),
            "Gid" => process.gid = numbers(value),
            "NSpid" => process.nspid = numbers(value),
            "Seccomp" => process.seccomp = value.parse().ok(),
            "NoNewPrivs" => process.no_new_privs = Some(value == "1"),
            "CapInh" | "CapPrm" | "CapEff" | "CapBnd" | "CapAmb" => {
                process.capabilities.insert(key.into(), value.chars().take(20).collect());
            }
            _ => {}
        }
    }
}

/// Field 22 of `/proc/PID/stat`: when it started, in ticks since the boot. The name before it is in brackets and may
/// hold any byte, brackets and spaces too.
pub fn start_ticks(stat: &[u8]) -> Option<u64> {
    let after = stat.iter().rposition(|b| *b == b')')? + 1;
    let rest = std::str::from_utf8(stat.get(after..)?).ok()?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

/// `btime` of `/proc/stat`: the boot, in seconds since 1970.
pub fn boot_time(stat: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// When it started, RFC 3339 in UTC.
pub fn started(boot: u64, ticks: u64) -> String {
    rfc3339(boot.saturating_mul(1000).saturating_add(ticks.saturating_mul(1000 / TICKS)))
}

/// Milliseconds since 1970 as `2026-11-23T03:12:45.120Z`; by days from the civil calendar, for the collector carries no
/// calendar along (Hinnant, chrono-Compatible Low-Level Date Algorithms).
pub fn rfc3339(milliseconds: u64) -> String {
    let (seconds, milliseconds) = (milliseconds / 1000, milliseconds % 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

/// `/proc/PID/cmdline`: arguments with a NUL after each.
pub fn cmdline(content: &[u8]) -> Vec<String> {
    if content.is_empty() {
        return Vec::new();
    }
    content.strip_suffix(b"\0").unwrap_or(content).split(|b| *b == 0).take(MAX_LIST).map(text).collect()
}

/// `/proc/PID/environ`: the names alone.
pub fn env_names(content: &[u8]) -> Vec<String> {
    content
        .split(|b| *b == 0)
        .filter_map(|entry| {
            entry.split(|b| *b == b'=').next().filter(|name| entry.len() > name.len() && !name.is_empty())
        })
        .take(MAX_LIST)
        .map(|name| text(&name[..name.len().min(256)]))
        .collect()
}

/// The target of `/proc/PID/exe`: the path, whether its name is gone, whether it is a memfd.
pub fn exe(link: &str) -> (String, bool, bool) {
    let memfd = link.starts_with("/memfd:");
    match link.strip_suffix(" (deleted)") {
        Some(path) => (path.into(), true, memfd),
        None => (link.into(), false, memfd),
    }
}

/// `/proc/PID/maps`.
pub fn maps(content: &str) -> Maps {
    let mut maps = Maps::default();
    let add = |list: &mut Vec<String>, path: &str| {
        let path = text(path.as_bytes());
        if list.len() < 64 && !list.contains(&path) {
            list.push(path);
        }
    };
    for line in content.lines() {
        maps.total += 1;
        // address perms offset dev inode path, the path padded on the left.
        let mut rest = line;
        let mut fields = [""; 5];
        for field in &mut fields {
            let (word, after) = rest.trim_start_matches(' ').split_once(' ').unwrap_or((rest, ""));
            (*field, rest) = (word, after);
        }
        let (perms, path) = (fields[1], rest.trim_start_matches(' '));
        if path.starts_with("/memfd:") {
            add(&mut maps.memfd, path);
        } else if path.ends_with(" (deleted)") && perms.contains('x') {
            add(&mut maps.deleted, path);
        }
        if path.is_empty() && perms.starts_with("rwx") {
            maps.rwx_anonymous += 1;
        }
    }
    maps
}

/// The kind of what `/proc/PID/fd/N` points to.
pub fn fd_kind(link: &str) -> &'static str {
    match link {
        l if l.starts_with("socket:[") => "socket",
        l if l.starts_with("pipe:[") => "pipe",
        l if l.starts_with("anon_inode:") => "anon_inode",
        l if l.starts_with("/memfd:") => "memfd",
        l if l.ends_with(" (deleted)") => "deleted",
        _ => "file",
    }
}

/// The inode of `socket:[123]`.
pub fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Takes one open file into account.
pub fn count_fd(fds: &mut super::model::Fds, number: &str, link: &str) {
    fds.total += 1;
    let kind = fd_kind(link);
    let kinds: &mut BTreeMap<String, u64> = &mut fds.kinds;
    *kinds.entry(kind.into()).or_default() += 1;
    if matches!(kind, "file" | "deleted" | "memfd") && fds.files.len() < 256 {
        fds.files.push(format!("{} {}", text(number.as_bytes()), text(link.as_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_moves_no_field() {
        let stat = b"77 (a) S 1 2 (x) R 5 7 7 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 987654 1 1 1 1";
        assert_eq!(start_ticks(stat), Some(987_654));
        assert_eq!(start_ticks(b"no brackets"), None);
        assert_eq!(start_ticks(b"1 (x) S"), None);
    }

    #[test]
    fn status_is_read() {
        let mut process = Process::default();
        let content = "Name:\tsh\nState:\tS (sleeping)\nTgid:\t7\nPPid:\t1\nTracerPid:\t0\nUid:\t1000\t1000\t0\t1000\nGid:\t1\t2\t3\t4\n\
            NSpid:\t4242\t7\nCapEff:\t00000000a80425fb\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        status(content, &mut process);
        assert_eq!((process.comm.as_str(), process.ppid), ("sh", 1));
        assert_eq!(process.uid, [1000, 1000, 0, 1000]);
        assert_eq!(process.nspid, [4242, 7]);
        assert_eq!(process.capabilities["CapEff"], "00000000a80425fb");
        assert_eq!((process.seccomp, process.no_new_privs), (Some(2), Some(true)));
    }

    #[test]
    fn times_agree_with_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_403_565_120), "2026-11-23T03:12:45.120Z");
        assert_eq!(started(1_700_000_000, 150), "2023-11-14T22:13:21.500Z");
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 9\n"), Some(1_700_000_000));
    }

    #[test]
    fn values_of_the_environment_are_not_kept() {
        let names = env_names(b"PATH=/bin\0TOKEN=s3cret=\0=odd\0nothing\0");
        assert_eq!(names, ["PATH", "TOKEN"]);
    }

    #[test]
    fn arguments_are_split_and_bounded() {
        assert_eq!(cmdline(b"sh\0-c\0a b\0"), ["sh", "-c", "a b"]);
        assert_eq!(cmdline(b""), [""; 0]);
        assert_eq!(cmdline(b"x\0\0"), ["x", ""]);
        assert!(cmdline(&vec![b'a'; 100_000])[0].len() < 9000);
    }

    #[test]
    fn maps_show_what_stands_out() {
        let maps = maps(
            "00400000-00401000 r-xp 00000000 08:01 12     /usr/bin/a b (deleted)\n\
             7f00-7f01 rwxp 00000000 00:00 0 \n\
             7f02-7f03 r-xp 00000000 00:01 99                         /memfd:x (deleted)\n\
             7f04-7f05 rw-p 00000000 00:00 0          [heap]\n",
        );
        assert_eq!(maps.deleted, ["/usr/bin/a b (deleted)"]);
        assert_eq!(maps.memfd, ["/memfd:x (deleted)"]);
        assert_eq!((maps.total, maps.rwx_anonymous), (4, 1));
    }

    #[test]
    fn links_of_open_files_are_told_apart() {
        assert_eq!(socket_inode("socket:[123]"), Some(123));
        assert_eq!(socket_inode("/tmp/socket:[123]"), None);
        assert_eq!(exe("/tmp/x (deleted)"), ("/tmp/x".into(), true, false));
        assert_eq!(exe("/memfd:m (deleted)"), ("/memfd:m".into(), true, true));
        assert_eq!(fd_kind("pipe:[3]"), "pipe");
    }
}
