//! Manifests as `sha256sum` writes them: `<hex>  <path>`.

use std::collections::BTreeMap;

/// One line a file, sorted by path. Paths are safe segments: RFC 8493's percent-encoding never applies.
pub(super) fn write(files: &BTreeMap<String, String>) -> String {
    files.iter().map(|(path, hash)| format!("{hash}  {path}\n")).collect()
}

/// Path to hash, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for (i, line) in text.lines().enumerate() {
        let (hash, path) = line.split_once("  ").ok_or_else(|| format!("line {} is no manifest line", i + 1))?;
        if hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()) || !safe(path) {
            return Err(format!("line {} is no manifest line", i + 1));
        }
        if all.insert(path.to_string(), hash.to_ascii_lowercase()).is_some() {
            return Err(format!("line {} names {path} a second time", i + 1));
        }
    }
    Ok(all)
}

/// Relative, of `[A-Za-z0-9._-]` segments, none of them `.` or `..`.
pub(super) fn safe(path: &str) -> bool {
    path.len() <= 1024
        && path.split('/').all(|segment| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        })
}
