//! Headers of a pax archive, byte for byte as the real collector writes them.

use super::super::files::{Kind, Node};

/// The header blocks of an entry: a pax header and its own. A directory's name has a slash at its end.
pub fn blocks(name: &str, node: &Node) -> Vec<u8> {
    let (kind, target, size) = match &node.kind {
        Kind::File(content) => (b'0', "", content.len() as u64),
        Kind::Link(target) => (b'2', target.as_str(), 0),
        Kind::Device(..) => (b'3', "", 0),
        Kind::Directory(_) => (b'5', "", 0),
    };
    let mut records = Vec::new();
    if name.len() > 100 {
        record(&mut records, "path", name);
    }
    if target.len() > 100 {
        record(&mut records, "linkpath", target);
    }
    for (key, number, bits) in [("size", size, 33), ("uid", u64::from(node.uid), 21), ("gid", u64::from(node.gid), 21)]
    {
        if number >> bits != 0 {
            record(&mut records, key, &number.to_string());
        }
    }
    for (key, seconds) in [("mtime", node.mtime), ("atime", node.mtime.max(node.ctime)), ("ctime", node.ctime)] {
        record(&mut records, key, &format!("{seconds}.000000000"));
    }
    let pax = format!("PaxHeaders/{}", name.strip_suffix('/').unwrap_or(name));
    let plain = Node { mode: 0o644, ..node.clone() }.owned(0, 0);
    let mut out = block(b'x', &pax, "", records.len() as u64, &plain, None);
    out.extend_from_slice(&records);
    out.resize(out.len().next_multiple_of(512), 0);
    let device = match node.kind {
        Kind::Device(major, minor) => Some((major, minor)),
        _ => None,
    };
    out.extend(block(kind, name, target, size, node, device));
    out
}

fn block(kind: u8, name: &str, target: &str, size: u64, node: &Node, device: Option<(u32, u32)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    text(&mut out, name.as_bytes(), 100);
    octal(&mut out, u64::from(node.mode & 0o7777), 8);
    octal(&mut out, node.uid.into(), 8);
    octal(&mut out, node.gid.into(), 8);
    octal(&mut out, size, 12);
    octal(&mut out, u64::try_from(node.mtime).unwrap_or(0), 12);
    out.extend_from_slice(b"        ");
    out.push(kind);
    text(&mut out, target.as_bytes(), 100);
    text(&mut out, b"ustar\x0000", 72);
    if let Some((major, minor)) = device {
        octal(&mut out, major.into(), 8);
        octal(&mut out, minor.into(), 8);
    }
    out.resize(512, 0);
    let sum: u64 = out.iter().map(|b| u64::from(*b)).sum();
    let mut field = Vec::new();
    octal(&mut field, sum, 7);
    field.push(b' ');
    out.splice(148..156, field);
    out
}

/// Cut or filled with NULs.
fn text(into: &mut Vec<u8>, bytes: &[u8], length: usize) {
    let end = into.len() + length;
    into.extend(bytes.iter().take(length));
    into.resize(end, 0);
}

/// In octal with a NUL at the end; zero when it does not fit, for then a pax record has it.
fn octal(into: &mut Vec<u8>, number: u64, length: usize) {
    let digits = length - 1;
    let number = if number >> (3 * digits) == 0 { number } else { 0 };
    into.extend_from_slice(format!("{number:0digits$o}\0").as_bytes());
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn record(into: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}
