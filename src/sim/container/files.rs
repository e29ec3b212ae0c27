//! An in-memory tree of files.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Facts;

/// A file, a directory or a symbolic link.
#[derive(Debug, Clone)]
pub struct Node {
    /// Of a file.
    pub content: Arc<[u8]>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Unix seconds.
    pub mtime: i64,
    /// Of a symbolic link.
    pub target: Option<String>,
    /// It is a directory.
    pub directory: bool,
}

impl Node {
    /// A file.
    pub fn file(content: &[u8], mtime: i64) -> Node {
        Node { content: content.into(), mode: 0o644, uid: 0, mtime, target: None, directory: false }
    }

    /// A file of so many bytes that say nothing.
    pub fn generated(size: u64, mtime: i64) -> Node {
        let size = usize::try_from(size.min(1 << 30)).unwrap_or(0);
        let mut content = vec![0; size];
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        for piece in content.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bytes = state.to_le_bytes();
            piece.copy_from_slice(bytes.get(..piece.len()).unwrap_or_default());
        }
        Node { content: content.into(), ..Node::file(b"", mtime) }
    }

    /// A directory.
    pub fn directory(mtime: i64) -> Node {
        Node { directory: true, mode: 0o755, ..Node::file(b"", mtime) }
    }

    /// A symbolic link.
    pub fn link(target: &str) -> Node {
        Node { target: Some(target.into()), mode: 0o777, ..Node::file(b"", 0) }
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The tree, by absolute path without a slash at its end; the root is the empty path.
#[derive(Debug, Default)]
pub struct Files {
    nodes: BTreeMap<String, Node>,
}

/// `/a//b/../c` from `/cwd` as `/a/c`; the root as the empty text.
pub fn absolute(cwd: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_string() } else { format!("{cwd}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.iter().map(|p| format!("/{p}")).collect()
}

impl Files {
    /// What every small Linux has.
    pub(super) fn system(&mut self, facts: &Facts, tools: &[String]) {
        for dir in ["/bin", "/etc", "/home", "/root", "/tmp", "/usr/bin", "/var/run", "/var/tmp", "/proc", "/dev"] {
            self.put(dir, Node::directory(facts.started));
        }
        if !tools.is_empty() {
            self.put("/bin/busybox", Node { mode: 0o755, ..Node::file(b"\x7fELF simulated busybox", facts.started) });
        }
        for tool in tools {
            self.put(&format!("/bin/{tool}"), Node::link("/bin/busybox"));
        }
        let hosts = format!("127.0.0.1\tlocalhost\n127.0.1.1\t{}\n", facts.hostname);
        self.put("/etc/hosts", Node::file(hosts.as_bytes(), facts.started));
        self.put("/etc/hostname", Node::file(format!("{}\n", facts.hostname).as_bytes(), facts.started));
        self.put("/etc/resolv.conf", Node::file(b"nameserver 10.96.0.10\nsearch svc.cluster.local\n", facts.started));
    }

    /// Puts a node there, with the directories on the way.
    pub fn put(&mut self, path: &str, node: Node) {
        let path = absolute("", path);
        let mtime = node.mtime;
        let mut at = String::new();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        for part in parts.iter().take(parts.len().saturating_sub(1)) {
            at.push('/');
            at.push_str(part);
            self.nodes.entry(at.clone()).or_insert_with(|| Node::directory(mtime));
        }
        self.nodes.insert(path, node);
    }

    /// Removes a node and all below it.
    pub fn remove(&mut self, path: &str) -> bool {
        let path = absolute("", path);
        let below = format!("{path}/");
        let before = self.nodes.len();
        self.nodes.retain(|p, _| *p != path && !p.starts_with(&below));
        self.nodes.len() != before
    }

    /// The node itself, links not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&absolute("", path))
    }

    /// Where a path leads, links followed; None for what is not there or goes in circles.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut rest: Vec<String> = absolute("", path).split('/').skip(1).map(Into::into).collect();
        rest.reverse();
        let (mut at, mut links) = (String::new(), 0);
        while let Some(part) = rest.pop() {
            let next = absolute(&at, &part);
            match self.nodes.get(&next).and_then(|n| n.target.as_deref()) {
                Some(target) => {
                    links += 1;
                    if links > 40 {
                        return None;
                    }
                    let whole = absolute(&at, target);
                    at = String::new();
                    rest.extend(whole.rsplit('/').filter(|p| !p.is_empty()).map(String::from));
                }
                None => at = next,
            }
        }
        (at.is_empty() || self.nodes.contains_key(&at)).then_some(at)
    }

    /// Names in a directory, sorted.
    pub fn list(&self, dir: &str) -> Vec<(&str, &Node)> {
        let start = format!("{}/", absolute("", dir));
        self.nodes
            .range(start.clone()..)
            .take_while(|(p, _)| p.starts_with(&start))
            .filter(|(p, _)| !p[start.len()..].contains('/'))
            .map(|(p, n)| (&p[start.len()..], n))
            .collect()
    }

    /// All below a directory, in order of path.
    pub fn walk(&self, dir: &str) -> impl Iterator<Item = (&str, &Node)> {
        let start = format!("{}/", absolute("", dir));
        self.nodes.range(start.clone()..).take_while(move |(p, _)| p.starts_with(&start)).map(|(p, n)| (p.as_str(), n))
    }
}
