//! `quell bundle`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::{Ended, Global, print_json, print_text, setup};
use crate::clock::Clock;
use crate::cluster::Problem;
use crate::engine::Session;
use crate::event::Event;
use crate::evidence::bundle;
use crate::exit;
use crate::journal::Journal;
use crate::report::escape::escape;

/// Evidence.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Seal an incident's journal and artifacts into one tar: the same incident seals to the same bytes
    Seal {
        /// The incident: its id, the only one that begins or ends so, or "last"
        incident: String,
        /// Where the bundle goes
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
    /// Check a bundle offline: name what was changed, added, removed, reordered or truncated
    Verify {
        /// The bundle, or the directory it was unpacked to
        bundle: PathBuf,
    },
    /// List a bundle's artifacts
    List {
        /// The bundle
        bundle: PathBuf,
    },
    /// Write one member of a bundle to standard output
    Show {
        /// The bundle
        bundle: PathBuf,
        /// The member, as `list` names it
        path: String,
    },
    /// Unpack a bundle into a new directory: no links, no devices, nothing outside it
    Extract {
        /// The bundle
        bundle: PathBuf,
        /// A directory that is new or empty
        target: PathBuf,
        /// Unpack one that does not verify, too
        #[arg(long)]
        force: bool,
    },
}

pub(super) fn bundle(global: &Global, command: BundleCommand) -> Ended {
    match command {
        BundleCommand::Seal { incident, output } => {
            let dir = setup::state_dir(global)?.find(&incident)?;
            let (mut journal, _) = Journal::open(&dir, Clock::System)?;
            let sealed = bundle::seal(&dir, &output)?;
            if !sealed.already {
                journal.append(event(&sealed))?;
            }
            tell(&sealed);
            if global.json {
                print_json(&json!({"v": 1, "bundle": sealed.path, "size": sealed.size, "sha256": sealed.sha256}));
            }
            Ok(0)
        }
        BundleCommand::Verify { bundle: path } => verify(global, &path),
        BundleCommand::List { bundle: path } => {
            let all = bundle::list(&path)?;
            if global.json {
                print_json(&json!({"v": 1, "artifacts": all}));
            } else {
                for artifact in all {
                    let whole = if artifact.complete { "" } else { "  NOT COMPLETE" };
                    print_text(&format!(
                        "{:<52} {:>12} {:<16} {}{whole}",
                        escape(&artifact.path),
                        artifact.size,
                        artifact.method.trust,
                        escape(&artifact.title)
                    ));
                }
            }
            Ok(0)
        }
        BundleCommand::Show { bundle: file, path } => show(&file, &path),
        BundleCommand::Extract { bundle: path, target, force } => {
            let count = bundle::extract(&path, &target, force)?;
            eprintln!(
                "{count} files in {}; tar artifacts are left packed: they are what the suspect container held",
                target.display()
            );
            Ok(0)
        }
    }
}

fn verify(global: &Global, path: &Path) -> Ended {
    let report = bundle::verify(path)?;
    if global.json {
        print_json(&serde_json::to_value(&report).unwrap_or_default());
    } else {
        print_text(&report.text());
    }
    Ok(if report.ok() { 0 } else { exit::VERIFICATION })
}

/// On a terminal the bytes are escaped, for they are a suspect's; in a pipe they are left as they are.
fn show(file: &Path, path: &str) -> Ended {
    let mut out = std::io::stdout().lock();
    if !out.is_terminal() {
        bundle::show(file, path, &mut out)?;
        return Ok(0);
    }
    let mut escaped = EscapedLines { out, rest: Vec::new() };
    bundle::show(file, path, &mut escaped)?;
    escaped.finish().map_err(|e| Problem::failed(e.to_string()))?;
    Ok(0)
}

/// Escapes line by line, with bounded memory.
struct EscapedLines<W> {
    out: W,
    rest: Vec<u8>,
}

impl<W: Write> EscapedLines<W> {
    fn line(&mut self, end: &[u8]) -> std::io::Result<()> {
        let line = std::mem::take(&mut self.rest);
        self.out.write_all(escape(&String::from_utf8_lossy(&line)).as_bytes())?;
        self.out.write_all(end)
    }

    fn finish(mut self) -> std::io::Result<()> {
        if self.rest.is_empty() { Ok(()) } else { self.line(b"\n") }
    }
}

impl<W: Write> Write for EscapedLines<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            if *byte == b'\n' || self.rest.len() >= 64 * 1024 {
                self.line(if *byte == b'\n' { b"\n" } else { b"" })?;
            }
            if *byte != b'\n' {
                self.rest.push(*byte);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn event(sealed: &bundle::Sealed) -> Event {
    let name = sealed.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Event::Sealed { bundle: name, size: sealed.size, sha256: sealed.sha256.clone() }
}

fn tell(sealed: &bundle::Sealed) {
    eprintln!("\nSealed {} ({})", sealed.path.display(), indicatif::HumanBytes(sealed.size));
    eprintln!("  sha256 {}", sealed.sha256);
    eprintln!("  `quell bundle verify {}` checks it; keep the hash somewhere else too", sealed.path.display());
}

/// Seals at the end of a run: into the directory asked for, else the working directory, else the incident's folder.
pub(super) fn seal_now(session: &Session, asked: Option<&Path>) -> Result<(), Problem> {
    let here = PathBuf::from(".");
    let sealed = match asked {
        Some(dir) => bundle::seal(&session.dir, dir)?,
        None => match bundle::seal(&session.dir, &here) {
            Ok(sealed) => sealed,
            Err(problem) => {
                let kept = session.dir.join("bundles");
                std::fs::create_dir_all(&kept).map_err(|e| Problem::io("can't create", &kept, &e))?;
                eprintln!(
                    "the bundle can't go into the working directory ({problem}); it goes into the incident's folder"
                );
                bundle::seal(&session.dir, &kept)?
            }
        },
    };
    if !sealed.already {
        session.emit(event(&sealed))?;
    }
    tell(&sealed);
    Ok(())
}
