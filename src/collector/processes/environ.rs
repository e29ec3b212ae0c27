//! Environment variables with their values, for a reader that seals them before they reach a disk.

use std::fs::File;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::read::all_of;
use crate::collector::output::Output;

/// Bytes of one process's environment that are read.
const MAX_EACH: u64 = 1 << 20;
/// Bytes of all of them.
const MAX_ALL: usize = 12 << 20;

/// The whole document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environments {
    /// Version of this form: 1.
    pub format: u32,
    /// In ascending order of pid.
    pub processes: Vec<Environment>,
}

/// One process's: what it was started with, and what it wrote over that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// As numbered where it was read.
    pub pid: u32,
    /// Name and value, in order; a name may stand there twice. What is no UTF-8 is replaced.
    pub variables: Vec<(String, String)>,
}

/// Writes the document of one container's processes.
///
/// # Errors
/// When the container has no process here, or the output can't be written.
pub fn write<W: Write>(out: &mut Output<W>, container: &str) -> io::Result<()> {
    let mut all = Environments { format: 1, processes: Vec::new() };
    let mut total = 0;
    for pid in all_of(container)? {
        let mut bytes = Vec::new();
        let read = File::open(format!("/proc/{pid}/environ")).and_then(|f| f.take(MAX_EACH).read_to_end(&mut bytes));
        match read {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                out.unreadable += 1;
                out.warn(format!("environment of process {pid}: {error}"))?;
                continue;
            }
        }
        if bytes.len() as u64 == MAX_EACH {
            out.truncate(format!("the environment of process {pid} is longer than {MAX_EACH} bytes"));
        }
        total += bytes.len();
        if total > MAX_ALL {
            out.truncate(format!("the environments are longer than {MAX_ALL} bytes together"));
            break;
        }
        all.processes.push(Environment { pid, variables: variables(&bytes) });
    }
    out.entries = all.processes.len() as u64;
    out.put(&serde_json::to_vec(&all)?)
}

/// `/proc/PID/environ` taken apart; what has no `=` is no variable.
pub fn variables(bytes: &[u8]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs = bytes.split(|b| *b == 0).filter_map(|entry| {
        let at = entry.iter().position(|b| *b == b'=').filter(|at| *at > 0)?;
        Some((text(&entry[..at]), text(&entry[at + 1..])))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_variable_is_none_and_a_value_may_hold_anything() {
        let found = variables(b"A=1\0B=x=y\0\0noise\0=odd\0C=\xff\0A=2");
        let pairs: Vec<(&str, &str)> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x=y"), ("C", "\u{fffd}"), ("A", "2")]);
    }
}
