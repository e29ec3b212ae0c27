//! Where the target's tree crosses into something else, from `/proc/PID/mountinfo` (proc(5)).

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// Kernel interfaces: reading them is reading the kernel, not the container's files, and some never end.
const PSEUDO: &[&str] = &[
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "debugfs",
    "tracefs",
    "securityfs",
    "bpf",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "pstore",
    "efivarfs",
    "rpc_pipefs",
    "hugetlbfs",
    "autofs",
    "nsfs",
    "selinuxfs",
];
/// A larger table is cut; what then is not known to be a mount is told by its device all the same.
const MAX_TABLE: u64 = 16 << 20;

/// Mount point, relative to the root and without a slash at either end, to type.
#[derive(Default)]
pub struct Mounts(HashMap<Vec<u8>, String>);

impl Mounts {
    /// Those of the process whose root is given as `/proc/PID/root`, else our own below `root`.
    pub fn below(root: &str) -> Mounts {
        let root = root.trim_end_matches('/');
        let (table, below) = match root.strip_suffix("/root") {
            Some(process) if root.starts_with("/proc/") => (format!("{process}/mountinfo"), ""),
            _ => ("/proc/self/mountinfo".to_string(), root),
        };
        let mut text = Vec::new();
        if let Ok(file) = std::fs::File::open(Path::new(&table)) {
            let _ = file.take(MAX_TABLE).read_to_end(&mut text);
        }
        Mounts::parse(&text, below.as_bytes())
    }

    fn parse(table: &[u8], below: &[u8]) -> Mounts {
        let mut all = HashMap::new();
        for line in table.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b' ');
            let Some(point) = fields.nth(4) else { continue };
            let Some(kind) = fields.skip_while(|f| *f != b"-").nth(1) else { continue };
            let point = unescape(point);
            let Some(inside) = point.strip_prefix(below) else { continue };
            let Some(inside) = inside.strip_prefix(b"/") else { continue };
            if !inside.is_empty() {
                all.insert(inside.to_vec(), String::from_utf8_lossy(kind).into_owned());
            }
        }
        Mounts(all)
    }

    /// Why what is mounted there is not read; None for what is.
    pub fn why_not(&self, path: &[u8]) -> Option<String> {
        let kind = self.0.get(path)?;
        PSEUDO
            .contains(&kind.as_str())
            .then(|| format!("a mount of {kind}: the kernel's own, not the container's files"))
    }
}

/// `\040` for a space, and its like.
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let code = (*byte == b'\\').then(|| after.get(..3)).flatten().and_then(|digits| {
            digits.iter().try_fold(0_u8, |n, d| n.checked_mul(8)?.checked_add(d.checked_sub(b'0').filter(|d| *d < 8)?))
        });
        out.push(code.unwrap_or(*byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 0:20 / / rw - overlay overlay rw\n\
        23 22 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n\
        24 22 0:22 /sub /mnt/a\\040b rw master:1 propagate_from:2 - ext4 /dev/sda rw\n\
        25 22 0:23 / /sys ro - sysfs sysfs ro\n\
        garbage\n";

    #[test]
    fn kernel_mounts_are_told_from_files() {
        let mounts = Mounts::parse(TABLE, b"");
        assert!(mounts.why_not(b"proc").unwrap().contains("proc"));
        assert!(mounts.why_not(b"sys").is_some());
        assert!(mounts.why_not(b"mnt/a b").is_none());
        assert!(mounts.0.contains_key(b"mnt/a b".as_slice()));
        assert!(mounts.why_not(b"proc/1").is_none(), "only the mount point itself: below it nobody comes");
        assert!(Mounts::parse(TABLE, b"/mnt").0.contains_key(b"a b".as_slice()));
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(unescape(b"a\\0"), b"a\\0");
        assert_eq!(unescape(b"a\\999b\\134"), b"a\\999b\\");
    }
}
