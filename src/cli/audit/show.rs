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
    // A terminal obeys what it is shown; a file or a program gets the very bytes.
    let terminal = out.is_terminal();
    let printed = found.iter().try_for_each(|bytes| {
        if terminal {
            writeln!(out, "{}", escape(&String::from_utf8_lossy(bytes)))
        } else {
            out.write_all(bytes).and_then(|()| out.write_all(b"\n"))
        }
    });
    printed.and_then(|()| out.flush()).map_err(Gone::from).or_else(Gone::forgive)?;
    Ok(exit::DONE)
}
