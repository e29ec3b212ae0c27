//! `quell audit show`: the original bytes of an event, by the file and the byte that other answers name.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use super::{Ended, Global, Gone};
use crate::audit;
use crate::cluster::Problem;
use crate::exit;
use crate::report::escape::escape;

/// Arguments.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A file and the byte at which an event begins, as answers name it; of a compressed file, the byte in its content
    #[arg(value_name = "FILE:OFFSET", required = true, value_parser = place)]
    places: Vec<(PathBuf, u64)>,
}

fn place(text: &str) -> Result<(PathBuf, u64), String> {
    let bad = || "FILE:OFFSET, as in /var/log/audit.log:18221".to_owned();
    let (file, offset) = text.rsplit_once(':').filter(|(file, _)| !file.is_empty()).ok_or_else(bad)?;
    Ok((file.into(), offset.parse().map_err(|_| bad())?))
}

pub(super) fn show(global: &Global, args: &ShowArgs) -> Ended {
    if global.json {
        return Err(Problem::usage("the original is printed as it is: --json has no meaning here")
            .hint("`quell audit … --json` prints events in one form, whatever they came in"));
    }
    // All are found before anything is printed.
    let mut found = Vec::new();
    for (path, offset) in &args.places {
        found.push(audit::original(path, *offset)?);
    }
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    print(&mut out, &found, terminal).map_err(Gone::from).or_else(Gone::forgive)?;
    Ok(exit::DONE)
}

/// A terminal obeys what it is shown; a file or a program gets the very bytes.
fn print(out: &mut dyn Write, found: &[Vec<u8>], terminal: bool) -> std::io::Result<()> {
    for bytes in found {
        match terminal {
            true => writeln!(out, "{}", escape(&String::from_utf8_lossy(bytes)))?,
            false => {
                out.write_all(bytes)?;
                out.write_all(b"\n")?;
            }
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_shown_nothing_that_it_would_obey() {
        let hostile = vec![b"{\"a\":\"\x1b[2J\xff\xe2\x80\xae\"}".to_vec()];
        let shown = |terminal| {
            let mut out = Vec::new();
            print(&mut out, &hostile, terminal).unwrap();
            out
        };
        assert_eq!(shown(false), [hostile[0].as_slice(), b"\n"].concat());
        let text = String::from_utf8(shown(true)).unwrap();
        assert_eq!(text, "{\"a\":\"\\u{1b}[2J\u{fffd}\\u{202e}\"}\n");
    }

    #[test]
    fn a_place_is_a_file_and_a_byte() {
        assert_eq!(place("/a:b/audit.log:18").unwrap(), (PathBuf::from("/a:b/audit.log"), 18));
        assert_eq!(place("s3://logs/k:7").unwrap(), (PathBuf::from("s3://logs/k"), 7));
        for bad in ["audit.log", ":7", "a:-1", "a:x"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
