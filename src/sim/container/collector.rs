//! quell's collector in a simulated ephemeral container: the same frames as the real program sends, about the target's
//! simulated files and processes.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

use super::files::sha256;
use super::{Container, Io, Net, cancelled, procfs};
use crate::collector::processes::model::{Exe, Fds, Maps, Process, Report};
use crate::collector::processes::sockets::Socket;
use crate::collector::wire::{self, Hello, Kind, MAGIC, Note, PROTOCOL, Trailer};

/// Payload of a Data frame.
const PIECE: usize = 256 << 10;

/// Runs `/quell-collector ARGS`; the exit code.
pub fn run(own: &Container, target: &Container, argv: &[String], io: &mut Io, net: &dyn Net) -> i32 {
    let args: Vec<&str> = argv.iter().skip(1).map(String::as_str).collect();
    let result = match args.split_first() {
        Some((&"serve", _)) => wait(io),
        Some((&"processes", _)) => processes(own, target).and_then(|text| framed(argv, io, &text, 0, &[])),
        Some((&"filesystem", rest)) => {
            filesystem(target, rest).and_then(|(tar, entries, notes)| framed(argv, io, &tar, entries, &notes))
        }
        Some((&"probe", rest)) => framed(argv, io, probe(rest, net).as_bytes(), 0, &[]),
        Some((&"--version" | &"version", _)) => {
            writeln!(io.stdout, "{{\"name\":\"quell-collector\",\"version\":\"{}\"}}", env!("CARGO_PKG_VERSION"))
        }
        _ => {
            let _ = writeln!(io.stderr, "quell-collector: reads a suspect container from beside it");
            return 2;
        }
    };
    match result {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(io.stderr, "quell-collector: {error}");
            1
        }
    }
}

fn wait(io: &mut Io) -> io::Result<()> {
    let mut byte = [0; 1];
    while !cancelled(&io.cancel) && io.stdin.read(&mut byte)? > 0 {}
    Ok(())
}

/// Hello, data, notes, trailer; then waits for the other side's word.
fn framed(argv: &[String], io: &mut Io, data: &[u8], entries: u64, notes: &[Note]) -> io::Result<()> {
    let hello = Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").into(),
        sha256: sha256(b"embedded collector"),
        argv: argv.iter().skip(1).cloned().collect(),
        pid: 7,
    };
    io.stdout.write_all(MAGIC)?;
    io.stdout.write_all(&wire::json(Kind::Hello, &hello)?)?;
    for piece in data.chunks(PIECE) {
        if cancelled(&io.cancel) {
            return Err(io::Error::from(io::ErrorKind::BrokenPipe));
        }
        io.stdout.write_all(&wire::head(Kind::Data, piece.len()))?;
        io.stdout.write_all(piece)?;
    }
    for note in notes {
        io.stdout.write_all(&wire::json(Kind::Note, note)?)?;
    }
    let hash: String = Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect();
    let trailer =
        Trailer { size: data.len() as u64, sha256: hash, entries, unreadable: 0, complete: true, truncated: None };
    io.stdout.write_all(&wire::json(Kind::Trailer, &trailer)?)?;
    io.stdout.flush()?;
    let mut word = [0; 1];
    let _ = io.stdin.read(&mut word);
    Ok(())
}

fn rfc3339(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds).map(crate::sim::world::seconds).unwrap_or_default()
}

fn processes(own: &Container, target: &Container) -> io::Result<Vec<u8>> {
    let now = crate::clock::Clock::System.now().unix_timestamp();
    let mut report = Report { format: 1, by: "collector".into(), taken: rfc3339(now), ..Report::default() };
    let boot = target.boot();
    for (pid, process) in &target.state().processes {
        let spec = &process.spec;
        let comm: String =
            spec.cmdline.first().map(|c| c.rsplit('/').next().unwrap_or_default().to_string()).unwrap_or_default();
        let sockets: Vec<Socket> = (0..)
            .zip(&spec.sockets)
            .map(|(n, socket)| {
                let (local, remote, established) = procfs::ends(socket);
                let state = if established { "ESTABLISHED" } else { "LISTEN" };
                Socket {
                    protocol: "tcp".into(),
                    local: Some(local),
                    remote: Some(remote),
                    state: Some(state.into()),
                    path: None,
                    inode: process.inode + n,
                    uid: Some(spec.uid),
                }
            })
            .collect();
        let kinds: BTreeMap<String, u64> = [("socket".to_string(), sockets.len() as u64), ("file".to_string(), 3)]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .collect();
        report.processes.push(Process {
            pid: *pid,
            nspid: vec![*pid],
            ppid: spec.ppid,
            uid: vec![spec.uid; 4],
            gid: vec![spec.uid; 4],
            comm: comm.chars().take(15).collect(),
            state: "S (sleeping)".into(),
            started: rfc3339(process.started),
            start_ticks: u64::try_from((process.started - boot) * 100).unwrap_or(0),
            cmdline: spec.cmdline.clone(),
            exe: Exe {
                path: spec.exe.clone(),
                deleted: spec.deleted,
                memfd: spec.memfd,
                size: Some(process.image.1),
                sha256: Some(process.image.0.clone()),
            },
            cwd: spec.cwd.clone(),
            root: "/".into(),
            cgroup: vec![format!("0::/../cri-containerd-{}.scope", target.facts().container_id)],
            seccomp: Some(0),
            no_new_privs: Some(false),
            env_names: target
                .facts()
                .env
                .iter()
                .map(|(name, _)| name.clone())
                .chain(spec.env.keys().cloned())
                .collect(),
            maps: Maps {
                total: 12,
                deleted: if spec.deleted { vec![spec.exe.clone()] } else { Vec::new() },
                ..Maps::default()
            },
            fds: Fds { total: 3 + sockets.len() as u64, kinds, files: Vec::new() },
            sockets,
            ..Process::default()
        });
    }
    // The collector sees itself, too, where processes are shared.
    report.processes.push(Process {
        pid: 4_000,
        nspid: vec![4_000],
        comm: "quell-collector".into(),
        cmdline: own.command(),
        started: rfc3339(own.facts().started),
        own: true,
        ..Process::default()
    });
    let mut text = serde_json::to_vec_pretty(&report)?;
    text.push(b'\n');
    Ok(text)
}

fn filesystem(target: &Container, args: &[&str]) -> io::Result<(Vec<u8>, u64, Vec<Note>)> {
    let mut exclude: Vec<(String, String)> = Vec::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        match *word {
            "--or-init" | "--raw" => {}
            "--exclude" => {
                let text = rest.next().copied().unwrap_or_default();
                let (path, why) = text.split_once(':').unwrap_or((text, "excluded"));
                exclude.push((super::files::absolute("", path), why.into()));
            }
            "--container" => {
                let id = rest.next().copied().unwrap_or_default();
                if !id.ends_with(&target.facts().container_id) {
                    return Err(io::Error::other(format!(
                        "no process of container {id} is visible from here: the runtime does not share its processes"
                    )));
                }
            }
            "--root" | "--max-bytes" | "--max-file" | "--max-files" => {
                rest.next();
            }
            other => return Err(io::Error::other(format!("unknown option {other}"))),
        }
    }
    let mut archive = tar::Builder::new(Vec::new());
    let (mut entries, mut notes) = (1, Vec::new());
    let mut root = tar::Header::new_ustar();
    root.set_entry_type(tar::EntryType::Directory);
    root.set_mode(0o755);
    root.set_mtime(u64::try_from(target.facts().started).unwrap_or(0));
    archive.append_data(&mut root, "./", io::empty())?;
    let mut left_out: Option<String> = None;
    for (path, node) in target.state().files.walk("") {
        if left_out.as_ref().is_some_and(|p| path.starts_with(&format!("{p}/"))) {
            continue;
        }
        if let Some((_, why)) = exclude.iter().find(|(p, _)| p == path) {
            notes.push(Note::LeftOut { path: path.into(), why: why.clone() });
            left_out = Some(path.into());
            continue;
        }
        if path == "/proc" || path == "/dev" {
            notes.push(Note::LeftOut { path: path.into(), why: "another file system: proc or dev".into() });
            left_out = Some(path.into());
            continue;
        }
        let mut header = tar::Header::new_ustar();
        header.set_mode(node.mode);
        header.set_uid(u64::from(node.uid));
        header.set_gid(u64::from(node.uid));
        header.set_mtime(u64::try_from(node.mtime).unwrap_or(0));
        let name = path.trim_start_matches('/');
        entries += 1;
        if node.directory {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            archive.append_data(&mut header, format!("{name}/"), io::empty())?;
        } else if let Some(to) = &node.target {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, name, to)?;
        } else {
            header.set_size(node.content.len() as u64);
            archive.append_data(&mut header, name, &*node.content)?;
        }
    }
    Ok((archive.into_inner()?, entries, notes))
}

fn probe(args: &[&str], net: &dyn Net) -> String {
    let mut attempts = Vec::new();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        if *word == "--timeout-ms" {
            rest.next();
            continue;
        }
        let outcome = match net.dial(word, std::time::Duration::from_secs(2)) {
            Ok(()) => "connected",
            Err(why) if why.contains("refused") => "refused",
            Err(why) if why.contains("timed out") => "timeout",
            Err(_) => "failed",
        };
        attempts.push(serde_json::json!({"address": word, "outcome": outcome, "ms": 1}));
    }
    serde_json::json!({ "attempts": attempts }).to_string()
}
