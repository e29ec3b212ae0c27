//! What a container changed against its image: the writable layer of its overlay, read on the node from outside, with
//! what was deleted.

mod drift;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

pub use drift::write;

/// Where the layers of a container's root lie on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    /// The writable one.
    pub upper: PathBuf,
    /// The image's, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Paths that something is mounted on, without the slash before them: the runtime made these, empty.
    pub mounted: BTreeSet<Vec<u8>>,
}

impl Layers {
    /// Those of the root of a process, as its mount table tells; `host` is where the node's root is mounted here.
    ///
    /// # Errors
    /// When the table can't be read, or the root is no overlay.
    pub fn of(pid: u32, host: &str) -> io::Result<Layers> {
        let table = std::fs::read(format!("/proc/{pid}/mountinfo"))?;
        Layers::parse(&String::from_utf8_lossy(&table), host).map_err(io::Error::other)
    }

    fn parse(table: &str, host: &str) -> Result<Layers, String> {
        // What was mounted over it last is what the process sees.
        let root = table.lines().rfind(|line| line.split(' ').nth(4) == Some("/"));
        let (_, kind) = root.and_then(|line| line.split_once(" - ")).ok_or("its mount table shows no root")?;
        let mut words = kind.split(' ');
        let (kind, options) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
        if kind != "overlay" {
            return Err(format!("its root is of type {kind}, not overlay: what it changed can't be told apart"));
        }
        let values =
            |name: &'static str| options.split(',').filter_map(move |o| o.strip_prefix(name)?.strip_prefix('='));
        let upper = values("upperdir").next().map(unescape).ok_or("its overlay has no writable layer")?;
        // containerd shortens many layers to names relative to the directory that holds all of them.
        let base = PathBuf::from(&upper).ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
        let listed = values("lowerdir").flat_map(|all| all.split(':').filter(|path| !path.is_empty()).map(unescape));
        let lower = listed.chain(values("lowerdir+").map(unescape)).map(|path| on(host, &base.join(path))).collect();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)?.strip_prefix('/'));
        let mounted = points.map(|point| crate::collector::filesystem::unescape(point.as_bytes())).collect();
        Ok(Layers { upper: on(host, &PathBuf::from(upper)), lower, mounted })
    }
}

fn on(host: &str, path: &std::path::Path) -> PathBuf {
    PathBuf::from(host).join(path.strip_prefix("/").unwrap_or(path))
}

/// `\040` for a space, as proc(5) writes it.
fn unescape(text: &str) -> String {
    String::from_utf8_lossy(&crate::collector::filesystem::unescape(text.as_bytes())).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_found_however_they_are_written() {
        let table = |options: &str| {
            format!(
                "21 1 0:1 / /proc rw - proc proc rw\n20 1 0:9 / / rw,relatime master:4 - overlay overlay rw,{options}\n"
            )
        };
        let one = table("lowerdir=/s/2/fs:/s/1\\040b/fs,upperdir=/s/8/fs,workdir=/s/8/work");
        let found = Layers::parse(&one, "/host").unwrap();
        assert_eq!(found.upper, PathBuf::from("/host/s/8/fs"));
        assert_eq!(found.lower, [PathBuf::from("/host/s/2/fs"), PathBuf::from("/host/s/1 b/fs")]);
        let short = Layers::parse(&table("lowerdir=2/fs:1/fs,upperdir=/s/8/fs,workdir=/s/8/work"), "/").unwrap();
        assert_eq!(short.lower, [PathBuf::from("/s/2/fs"), PathBuf::from("/s/1/fs")]);
        let new = Layers::parse(&table("lowerdir+=/s/2/fs,lowerdir+=/s/1/fs,upperdir=/s/8/fs"), "").unwrap();
        assert_eq!(new.lower.len(), 2);
        assert!(Layers::parse("20 1 0:9 / / rw - ext4 /dev/sda rw\n", "").unwrap_err().contains("ext4"));
        assert!(Layers::parse(&table("lowerdir=/s/2/fs"), "").unwrap_err().contains("no writable layer"));
        assert!(Layers::parse("", "").is_err());
    }
}
