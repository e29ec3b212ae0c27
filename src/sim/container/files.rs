//! An in-memory tree of files.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What a node is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A regular file.
    File(Arc<Vec<u8>>),
    /// A directory.
    Directory(Arc<BTreeMap<String, Node>>),
    /// A symbolic link.
    Link(String),
    /// A character device: major, minor.
    Device(u32, u32),
}

/// A file of any kind. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Unix seconds.
    pub mtime: i64,
    /// When it was really changed, Unix seconds.
    pub ctime: i64,
}

/// Why a path can't be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// ENOENT.
    NotFound,
    /// EACCES.
    Denied,
    /// EISDIR.
    IsDirectory,
    /// ENOTDIR.
    NotDirectory,
    /// ELOOP.
    Loop,
    /// EEXIST.
    Exists,
    /// ENOTEMPTY.
    NotEmpty,
    /// ENAMETOOLONG.
    TooLong,
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Errno::NotFound => "No such file or directory",
            Errno::Denied => "Permission denied",
            Errno::IsDirectory => "Is a directory",
            Errno::NotDirectory => "Not a directory",
            Errno::Loop => "Too many levels of symbolic links",
            Errno::Exists => "File exists",
            Errno::NotEmpty => "Directory not empty",
            Errno::TooLong => "File name too long",
        })
    }
}

impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> std::io::Error {
        std::io::Error::other(errno.to_string())
    }
}

impl Node {
    fn new(kind: Kind, mode: u32, time: i64) -> Node {
        Node { kind, mode, uid: 0, gid: 0, mtime: time, ctime: time }
    }

    /// A file.
    pub fn file(content: impl Into<Vec<u8>>, time: i64) -> Node {
        Node::new(Kind::File(Arc::new(content.into())), 0o644, time)
    }

    /// An empty directory.
    pub fn directory(time: i64) -> Node {
        Node::new(Kind::Directory(Arc::default()), 0o755, time)
    }

    /// A symbolic link.
    pub fn link(target: impl Into<String>, time: i64) -> Node {
        Node::new(Kind::Link(target.into()), 0o777, time)
    }

    /// A character device.
    pub fn device(major: u32, minor: u32, time: i64) -> Node {
        Node::new(Kind::Device(major, minor), 0o666, time)
    }

    /// With these permission bits.
    pub fn mode(mut self, mode: u32) -> Node {
        self.mode = mode;
        self
    }

    /// Of this owner.
    pub fn owned(mut self, uid: u32, gid: u32) -> Node {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory(_))
    }

    /// What a file holds; nothing for anything else.
    pub fn content(&self) -> Arc<Vec<u8>> {
        match &self.kind {
            Kind::File(content) => content.clone(),
            _ => Arc::default(),
        }
    }

    /// Bytes, as `ls` shows them.
    pub fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(content) => content.len() as u64,
            Kind::Directory(_) => 4096,
            Kind::Link(target) => target.len() as u64,
            Kind::Device(..) => 0,
        }
    }

    /// Whether somebody may, by the permission bits: 4 read, 2 write, 1 execute. Root may read and write anything.
    pub fn allows(&self, uid: u32, wanted: u32) -> bool {
        let shift = match (self.uid == uid, self.gid == 0) {
            (true, _) => 6,
            // The group of a container's processes is 0 unless somebody says otherwise.
            (false, true) => 3,
            (false, false) => 0,
        };
        let any = self.is_directory() || wanted & 1 == 0 || self.mode & 0o111 != 0;
        if uid == 0 { any } else { self.mode >> shift & wanted == wanted }
    }

    /// The node below, by a real absolute path (no links, no dots); the root for the empty path.
    pub fn at(&self, path: &str) -> Option<&Node> {
        path.split('/').filter(|p| !p.is_empty()).try_fold(self, |node, part| match &node.kind {
            Kind::Directory(children) => children.get(part),
            _ => None,
        })
    }

    /// The same, to be changed.
    pub fn at_mut(&mut self, path: &str) -> Option<&mut Node> {
        path.split('/').filter(|p| !p.is_empty()).try_fold(self, |node, part| match &mut node.kind {
            Kind::Directory(children) => Arc::make_mut(children).get_mut(part),
            _ => None,
        })
    }

    /// Puts a node there, with the directories on the way, whatever was there. A directory that is there already keeps
    /// what is in it.
    pub fn put(&mut self, path: &str, new: Node) {
        let mut node = self;
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let Some((last, on_the_way)) = parts.split_last() else { return };
        for part in on_the_way {
            if !node.is_directory() {
                *node = Node::directory(new.mtime);
            }
            let Kind::Directory(children) = &mut node.kind else { return };
            node = Arc::make_mut(children).entry((*part).to_string()).or_insert_with(|| Node::directory(new.mtime));
        }
        if !node.is_directory() {
            *node = Node::directory(new.mtime);
        }
        let Kind::Directory(children) = &mut node.kind else { return };
        let children = Arc::make_mut(children);
        let mut new = new;
        if let (Kind::Directory(held), Some(Node { kind: Kind::Directory(old), .. })) =
            (&mut new.kind, children.get(*last))
            && held.is_empty()
        {
            *held = old.clone();
        }
        children.insert((*last).to_string(), new);
    }

    /// The real path that a path leads to from this root, as far as it is there; the last name is not followed.
    pub fn follow(&self, path: &str) -> String {
        let (mut at, mut hops) = (String::new(), 0);
        let parts = |path: &str| path.split('/').rev().filter(|p| !p.is_empty()).map(String::from).collect::<Vec<_>>();
        let mut todo = parts(&absolute("", path));
        while let Some(part) = todo.pop() {
            let here = absolute(&at, &part);
            match self.at(&here).map(|n| &n.kind) {
                Some(Kind::Link(target)) if !todo.is_empty() && hops < 40 => {
                    hops += 1;
                    todo.extend(parts(&absolute(&at, target)));
                    at.clear();
                }
                _ => at = here,
            }
        }
        at
    }

    /// Takes a node away, and all below it.
    pub fn remove(&mut self, path: &str) -> Option<Node> {
        let (parent, name) = split(path);
        match &mut self.at_mut(parent)?.kind {
            Kind::Directory(children) => Arc::make_mut(children).remove(name),
            _ => None,
        }
    }
}

/// The directory and the name in it.
pub fn split(path: &str) -> (&str, &str) {
    path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path))
}

/// `/a//b/../c` from `/cwd` as `/a/c`, links not regarded; the root as the empty text.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_built_and_changed() {
        let mut root = Node::directory(0);
        root.put("/a/b/c", Node::file("x", 5));
        root.put("/a/b", Node::directory(9).mode(0o700));
        assert_eq!(root.at("/a/b").map(|n| n.mode), Some(0o700));
        assert_eq!(**root.at("/a/b/c").unwrap().content(), *b"x");
        root.put("/l", Node::link("a/../a", 0));
        assert_eq!((root.follow("/l/b/new/x"), root.follow("/x/l")), ("/a/b/new/x".into(), "/x/l".into()));
        assert!(root.at("/a/b/c/d").is_none() && root.remove("/a/b").is_some() && root.at("/a/b/c").is_none());
        assert_eq!(absolute("/x", "../a//./b/"), "/a/b");
        assert_eq!(absolute("", "/.."), "");
    }

    #[test]
    fn permissions_are_those_of_the_bits() {
        let secret = Node::file("", 0).mode(0o600);
        assert!(secret.allows(0, 4) && !secret.allows(1000, 4) && !secret.allows(0, 1));
        assert!(secret.owned(1000, 1000).allows(1000, 6));
    }
}
