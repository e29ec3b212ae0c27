//! The collector's command line: few words, no abbreviations.

use std::io::{self, Write};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use super::filesystem::{self, Limits};
use super::layer::{self, Layers};
use super::output::{Output, await_acknowledgement};
use super::{network, packets, probe, processes};

const USAGE: &str = "quell-collector: reads a suspect container from beside it
  serve [--ttl SECONDS]                      say who I am, then wait and end by myself
  processes [--container ID]                 every process that /proc shows, with sockets, as JSON
  environ --container ID                     their environment variables with their values, as JSON
  filesystem --root DIR | --container ID [--or-init] [--below DIR]
             [--exclude PATH[:WHY]]... [--max-bytes N] [--max-file N] [--max-files N]
                                             one tar stream of a tree
  file --root DIR --name NAME [--max-bytes N]
                                             one regular file as it is
  layer --container ID [--host DIR] [--exclude …] [--max-…]
                                             what it changed against its image: its writable layer, as tar
  drift --container ID [--host DIR]          the same as a list, as JSON lines
  unlinked --container ID [--max-…]          deleted executables, memfds and the like that its processes hold, as tar
  probe [--container ID] [--timeout-ms N] ADDRESS:PORT...
                                             which of them take a TCP connection, as JSON
  connections [--container ID] [--cut] [--forget IP]... [--spare IP]... [--watch-ms N]
                                             what is open and by whom, as JSON; with --cut ended, and watched
  packets --container ID --seconds N [--max-bytes N]
                                             what goes over its pod's interfaces for a while, as pcap
All but serve write frames and wait for one line on standard input; --raw writes the data alone.
";

/// Options of what reads a tree.
const TREE: [&str; 8] =
    ["--root", "--container", "--below", "--exclude", "--max-bytes", "--max-file", "--max-files", "--host"];
/// No ephemeral container waits longer than a day.
const MAX_TTL: u64 = 24 * 3600;

/// The collector's whole program. Exit code 2 is for a wrong command line, 1 for a failure.
pub fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match dispatch(&argv) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            let _ = write!(io::stderr(), "{text}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Other(text)) => {
            let _ = writeln!(io::stderr(), "quell-collector: {text}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Usage(String),
    Other(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Other(error.to_string())
    }
}

/// Options that were given, in order, and the rest.
struct Given {
    options: Vec<(String, String)>,
    words: Vec<String>,
}

impl Given {
    fn parse(argv: &[String], flags: &[&str], with_value: &[&str]) -> Result<Given, Failure> {
        let (mut options, mut words) = (Vec::new(), Vec::new());
        let mut rest = argv.iter();
        while let Some(word) = rest.next() {
            if flags.contains(&word.as_str()) {
                options.push((word.clone(), String::new()));
            } else if with_value.contains(&word.as_str()) {
                let value = rest.next().ok_or_else(|| Failure::Usage(format!("{word} needs a value")))?;
                options.push((word.clone(), value.clone()));
            } else if word.starts_with('-') {
                return Err(Failure::Usage(format!("unknown option {word}")));
            } else {
                words.push(word.clone());
            }
        }
        Ok(Given { options, words })
    }

    fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(n, _)| n == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.all(name).last() else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::Usage(format!("{name} {text}: not a number")))
    }

    fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Failure> {
        let parse = |text: &str| text.parse().map_err(|_| Failure::Usage(format!("{name} {text}: no IP address")));
        self.all(name).map(parse).collect()
    }

    fn limits(&self) -> Result<Limits, Failure> {
        let exclude = self.all("--exclude").map(|text| {
            let (path, why) = text.split_once(':').unwrap_or((text, "excluded"));
            (path.trim_matches('/').as_bytes().to_vec(), why.to_string())
        });
        Ok(Limits {
            exclude: exclude.collect(),
            bytes: self.number("--max-bytes")?,
            file: self.number("--max-file")?,
            files: self.number("--max-files")?,
        })
    }

    /// The layers of the container that was named.
    fn layers(&self) -> Result<Layers, Failure> {
        let pid = self.process()?.ok_or_else(|| Failure::Usage("--container is needed".into()))?;
        Ok(Layers::of(pid, self.all("--host").last().unwrap_or("/host"))?)
    }

    /// A process of the container that was named; None when none was.
    fn process(&self) -> Result<Option<u32>, Failure> {
        let container = self.all("--container").last();
        container.map(|id| processes::oldest_of(id, false).map_err(Failure::Other)).transpose()
    }
}

fn dispatch(argv: &[String]) -> Result<(), Failure> {
    let Some((command, rest)) = argv.split_first() else { return Err(Failure::Usage("a command is needed".into())) };
    match command.as_str() {
        "serve" => serve(&Given::parse(rest, &[], &["--ttl"])?),
        "processes" => {
            let given = Given::parse(rest, &["--raw"], &["--container"])?;
            framed(&given, |out| processes::write(out, given.all("--container").last()))
        }
        "environ" => {
            let given = Given::parse(rest, &["--raw"], &["--container"])?;
            let container = given.all("--container").last().unwrap_or_default();
            framed(&given, |out| processes::environ::write(out, container))
        }
        "filesystem" => {
            let given = Given::parse(rest, &["--raw", "--or-init"], &TREE)?;
            let root = match (given.all("--root").last(), given.all("--container").last()) {
                (Some(root), None) => root.to_string(),
                (None, Some(id)) => {
                    let pid = processes::oldest_of(id, given.has("--or-init")).map_err(Failure::Other)?;
                    format!("/proc/{pid}/root")
                }
                _ => return Err(Failure::Usage("filesystem takes either --root or --container".into())),
            };
            let limits = given.limits()?;
            let below = given.all("--below").last();
            framed(&given, |out| match below {
                Some(below) => filesystem::write_below(out, &root, below, &limits),
                None => filesystem::write(out, &root, &limits),
            })
        }
        "file" => {
            let given = Given::parse(rest, &["--raw"], &["--root", "--name", "--max-bytes"])?;
            let (Some(root), Some(name)) = (given.all("--root").last(), given.all("--name").last()) else {
                return Err(Failure::Usage("file takes --root and --name".into()));
            };
            let most = given.number("--max-bytes")?;
            framed(&given, |out| filesystem::write_file(out, root, name, most))
        }
        "layer" => {
            let given = Given::parse(rest, &["--raw"], &TREE)?;
            let (upper, limits) = (given.layers()?.upper, given.limits()?);
            framed(&given, |out| filesystem::write(out, &upper.to_string_lossy(), &limits))
        }
        "drift" => {
            let given = Given::parse(rest, &["--raw"], &TREE)?;
            let layers = given.layers()?;
            framed(&given, |out| layer::write(out, &layers))
        }
        "unlinked" => {
            let given = Given::parse(rest, &["--raw"], &TREE)?;
            let container = given.all("--container").last().unwrap_or_default();
            let (pids, limits) = (processes::all_of(container)?, given.limits()?);
            framed(&given, |out| filesystem::unlinked(out, &pids, &limits))
        }
        "packets" => {
            let given = Given::parse(rest, &["--raw"], &["--container", "--seconds", "--max-bytes"])?;
            let seconds = given.number("--seconds")?.ok_or_else(|| Failure::Usage("--seconds is needed".into()))?;
            let time = Duration::from_secs(seconds.min(MAX_TTL));
            let asked = packets::Asked { time, bytes: given.number("--max-bytes")? };
            let pid = given.process()?;
            let mut out = Output::stdout(given.has("--raw"));
            out.hello()?;
            network::within(pid, || packets::write(&mut out, asked))?;
            end(&given, out)
        }
        "probe" => {
            let given = Given::parse(rest, &["--raw"], &["--timeout-ms", "--container"])?;
            let timeout = Duration::from_millis(given.number("--timeout-ms")?.unwrap_or(2000).clamp(1, 60_000));
            let pid = given.process()?;
            framed(&given, |out| {
                let attempts = network::within(pid, || probe::tried(&given.words, timeout))?;
                probe::write(out, &attempts)
            })
        }
        "connections" => {
            let given = Given::parse(rest, &["--raw", "--cut"], &["--container", "--forget", "--spare", "--watch-ms"])?;
            let asked = network::Asked {
                pid: given.process()?,
                cut: given.has("--cut"),
                forget: given.addresses("--forget")?,
                spare: given.addresses("--spare")?,
                watch: Duration::from_millis(given.number("--watch-ms")?.unwrap_or(0).min(60_000)),
            };
            framed(&given, |out| network::write(out, &asked))
        }
        "--version" | "version" => {
            writeln!(io::stdout(), "{}", version())?;
            Ok(())
        }
        other => Err(Failure::Usage(format!("unknown command {other}"))),
    }
}

fn version() -> String {
    serde_json::json!({"name": "quell-collector", "version": env!("CARGO_PKG_VERSION"), "protocol": super::wire::PROTOCOL})
        .to_string()
}

/// The ephemeral container's main process: what is done is done by execs into it. It can't be removed from the pod's
/// spec, so it ends by itself.
fn serve(given: &Given) -> Result<(), Failure> {
    let ttl = given.number("--ttl")?.unwrap_or(3600).clamp(1, MAX_TTL);
    writeln!(io::stdout(), "{}", version())?;
    io::stdout().flush()?;
    std::thread::sleep(Duration::from_secs(ttl));
    Ok(())
}

fn framed(given: &Given, write: impl FnOnce(&mut Output<io::Stdout>) -> io::Result<()>) -> Result<(), Failure> {
    let mut out = Output::stdout(given.has("--raw"));
    out.hello()?;
    write(&mut out)?;
    end(given, out)
}

fn end(given: &Given, out: Output<io::Stdout>) -> Result<(), Failure> {
    out.finish()?;
    if !given.has("--raw") {
        await_acknowledgement();
    }
    Ok(())
}
