//! quell's collector in a simulated ephemeral container: the same frames as the real program sends, about the target's
//! simulated files and processes.

mod changes;
mod filesystem;
mod frames;
mod header;
mod network;
mod processes;

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::shell::Stream;
use super::state::View;
use super::{Container, Io, Net, given_up, wait};
use crate::collector::wire::PROTOCOL;
use frames::Frames;

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
        let (mut options, mut words, mut rest) = (Vec::new(), Vec::new(), argv.iter());
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

    fn all<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.options.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Failure> {
        let Some(text) = self.all(name).next_back() else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::Usage(format!("{name} {text}: not a number")))
    }
}

/// One run of it.
struct Run<'a> {
    own: &'a Container,
    target: &'a Container,
    /// Its number among the target's processes.
    pid: u32,
    argv: &'a [String],
    io: Io,
    net: &'a dyn Net,
}

/// Runs `/quell-collector ARGS`; the exit code.
pub fn run(own: &Container, target: &Container, argv: &[String], io: Io, net: &dyn Net) -> i32 {
    // On the node it is no process of the target's.
    let pid = if own.target.is_some() { own.join(target, argv) } else { 1 };
    let cancel = io.cancel.clone();
    let mut run = Run { own, target, pid, argv: argv.get(1..).unwrap_or_default(), io, net };
    let code = match run.dispatch() {
        Ok(()) => 0,
        Err(Failure::Usage(text)) => {
            let _ = write!(run.io.stderr, "{text}\n{USAGE}");
            2
        }
        Err(Failure::Other(text)) => {
            let _ = writeln!(run.io.stderr, "quell-collector: {text}");
            1
        }
    };
    let there = own.target.is_none() || target.state().processes.remove(&pid).is_some();
    if given_up(&cancel) || !there { 137 } else { code }
}

/// The same on the node, of a container there that `--container` names, or of quell's own pod.
pub fn run_on_node(own: &Container, argv: &[String], io: Io, net: &dyn Net) -> i32 {
    let named = argv.iter().skip_while(|a| *a != "--container").nth(1);
    match named.map(|id| (id, net.neighbour(id))) {
        None => run(own, own, argv, io, net),
        Some((_, Some((target, inside)))) => run(own, &target, argv, io, inside.as_ref()),
        Some((id, None)) => {
            let mut io = io;
            let id = id.rsplit('/').next().unwrap_or_default();
            let text = format!(
                "quell-collector: no process of container {id} is visible from here: the runtime does not share its processes"
            );
            let _ = writeln!(io.stderr, "{text}");
            1
        }
    }
}

impl Run<'_> {
    /// The target as the collector sees it: with its own rights, and all of the target's processes.
    fn view<T>(&self, look: impl FnOnce(&View<'_>) -> T) -> T {
        let state = self.target.state();
        // No process of the target's own looks: it is seen from another cgroup namespace.
        look(&View { state: &state, facts: &self.target.facts, pid: 0, uid: self.own.uid })
    }

    fn dispatch(&mut self) -> Result<(), Failure> {
        let Some((command, rest)) = self.argv.split_first() else {
            return Err(Failure::Usage("a command is needed".into()));
        };
        match command.as_str() {
            "serve" => self.serve(&Given::parse(rest, &[], &["--ttl"])?),
            "processes" => {
                let given = Given::parse(rest, &["--raw"], &["--container"])?;
                self.framed(&given, processes::write)
            }
            "environ" => {
                let given = Given::parse(rest, &["--raw"], &["--container"])?;
                self.framed(&given, processes::environ)
            }
            "filesystem" => {
                let given = Given::parse(rest, &["--raw", "--or-init"], &TREE)?;
                if let Some(root) = given.all("--root").next_back().filter(|r| r.starts_with("/host/")) {
                    let missing = "No such file or directory (os error 2)";
                    let node = self.net.host_tree(root);
                    let root =
                        node.ok_or_else(|| Failure::Other(format!("can't open the target's root {root}: {missing}")))?;
                    let limits = filesystem::bounds(self, &given)?;
                    return self.framed(&given, |run, out| filesystem::tree(run, out, &limits, &root.0, "", &[]));
                }
                let limits = filesystem::limits(self, &given)?;
                if let Some(below) = given.all("--below").next_back() {
                    // It may go through links: /var/run is one to /run as often as not.
                    let real = self.view(|v| v.resolve("", below, true)).ok();
                    let node = real.and_then(|real| self.target.state().root.at(&format!("/{real}")).cloned());
                    let base = format!("{}/", below.trim_matches('/'));
                    return self.framed(&given, |run, out| match &node {
                        Some(node) => filesystem::tree(run, out, &limits, node, &base, &[]),
                        None => {
                            out.info(format!("there is no {below} in the target"))?;
                            out.put(&[0; 10_240])
                        }
                    });
                }
                self.framed(&given, |run, out| filesystem::write(run, out, &limits))
            }
            "layer" => {
                let given = Given::parse(rest, &["--raw"], &TREE)?;
                let limits = filesystem::bounds(self, &given)?;
                let now = self.target.state().root.clone();
                let layer = changes::writable(&self.target.image, &now);
                self.framed(&given, |run, out| filesystem::tree(run, out, &limits, &layer, "", &[]))
            }
            "drift" => {
                let given = Given::parse(rest, &["--raw"], &TREE)?;
                self.framed(&given, changes::drift)
            }
            "unlinked" => {
                let given = Given::parse(rest, &["--raw"], &TREE)?;
                let (limits, held) = (filesystem::bounds(self, &given)?, changes::unlinked(self));
                self.framed(&given, |run, out| filesystem::tree(run, out, &limits, &held, "", &[]))
            }
            "connections" => {
                let values = ["--container", "--forget", "--spare", "--watch-ms"];
                let given = Given::parse(rest, &["--raw", "--cut"], &values)?;
                let asked = network::Asked {
                    cut: given.has("--cut"),
                    forget: given.all("--forget").map(Into::into).collect(),
                    watch: Duration::from_millis(given.number("--watch-ms")?.unwrap_or(0).min(60_000)),
                };
                self.framed(&given, |run, out| network::write(run, out, &asked))
            }
            "packets" => {
                let given = Given::parse(rest, &["--raw"], &["--container", "--seconds", "--max-bytes"])?;
                let seconds = given.number("--seconds")?.ok_or_else(|| Failure::Usage("--seconds is needed".into()))?;
                self.framed(&given, |run, out| run.packets(out, Duration::from_secs(seconds.min(24 * 3600))))
            }
            "probe" => {
                let given = Given::parse(rest, &["--raw"], &["--timeout-ms", "--container"])?;
                let timeout = Duration::from_millis(given.number("--timeout-ms")?.unwrap_or(2000).clamp(1, 60_000));
                self.framed(&given, |run, out| run.probe(out, &given.words, timeout))
            }
            "--version" | "version" => Ok(writeln!(self.io.stdout, "{}", version())?),
            other => Err(Failure::Usage(format!("unknown command {other}"))),
        }
    }

    /// The ephemeral container's main process.
    fn serve(&mut self, given: &Given) -> Result<(), Failure> {
        let ttl = given.number("--ttl")?.unwrap_or(3600).clamp(1, 24 * 3600);
        writeln!(self.io.stdout, "{}", version())?;
        self.io.stdout.flush()?;
        wait(Duration::from_secs(ttl), &|| {
            given_up(&self.io.cancel)
                || self.own.target.is_some() && !self.target.state().processes.contains_key(&self.pid)
        });
        Ok(())
    }

    fn framed(
        &mut self,
        given: &Given,
        write: impl FnOnce(&Run<'_>, &mut Frames) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let raw = given.has("--raw");
        let take = |w: &mut Box<dyn Write + Send>| std::mem::replace(w, Box::new(Stream::Null));
        let (out, err) = (take(&mut self.io.stdout), take(&mut self.io.stderr));
        let mut out = Frames::new(out, err, raw, self.io.cancel.clone());
        out.hello(self.argv, self.pid)?;
        let written = write(self, &mut out).and_then(|()| out.finish());
        self.io.stderr = out.into_error();
        written?;
        // Until one line came, or the other side is gone.
        let mut byte = [0; 1];
        for _ in 0..64 {
            if raw || self.io.stdin.read(&mut byte).unwrap_or(0) == 0 || byte == *b"\n" {
                break;
            }
        }
        Ok(())
    }

    /// Connections are simulated here, packets are not: a file without any.
    fn packets(&self, out: &mut Frames, time: Duration) -> io::Result<()> {
        out.put(&[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0])?;
        wait(time, &|| given_up(&self.io.cancel));
        Ok(())
    }

    fn probe(&self, out: &mut Frames, addresses: &[String], timeout: Duration) -> io::Result<()> {
        if addresses.len() > 256 {
            return Err(io::Error::other("more than 256 addresses"));
        }
        let net = self.net;
        let attempts: Vec<serde_json::Value> = std::thread::scope(|scope| {
            let tries: Vec<_> = addresses.iter().map(|a| scope.spawn(move || attempt(net, a, timeout))).collect();
            tries.into_iter().filter_map(|t| t.join().ok()).collect()
        });
        out.entries = attempts.len() as u64;
        out.put(&serde_json::to_vec(&serde_json::json!({ "attempts": attempts }))?)
    }
}

fn attempt(net: &dyn Net, address: &str, timeout: Duration) -> serde_json::Value {
    let begun = Instant::now();
    let dialled = match address.parse::<SocketAddr>() {
        Ok(_) => net.dial(address, timeout),
        Err(error) => Err(error.to_string()),
    };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (outcome, error) = match dialled.err() {
        None => return serde_json::json!({"address": address, "outcome": "connected", "ms": ms}),
        Some(why) if why.contains("refused") => ("refused", "Connection refused (os error 111)".into()),
        Some(why) if why.contains("timed out") || why.contains("timeout") => ("timeout", "connection timed out".into()),
        Some(why) if why.contains("unreachable") || why.contains("no route") => {
            ("unreachable", "No route to host (os error 113)".into())
        }
        Some(why) if why.contains("socket address") => ("invalid", why),
        Some(why) => ("failed", why),
    };
    serde_json::json!({"address": address, "outcome": outcome, "ms": ms, "error": error})
}

fn version() -> String {
    serde_json::json!({"name": "quell-collector", "version": env!("CARGO_PKG_VERSION"), "protocol": PROTOCOL})
        .to_string()
}
