//! Verification vectors: a good bundle, and every way to spoil it. Most must fail, each with a message that names what.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use quell::clock::{Clock, parse};
use quell::event::*;
use quell::evidence::{Store, bundle};
use quell::journal::Journal;

fn artifact(path: String, size: u64, sha256: String) -> Artifact {
    let at = parse("2026-11-23T03:00:00Z").unwrap();
    Artifact {
        path,
        title: "t".into(),
        media_type: "text/plain".into(),
        source: Source {
            object: ObjectRef {
                api_version: "v1".into(),
                kind: "Pod".into(),
                namespace: Some("n".into()),
                name: "p".into(),
                uid: Some("u".into()),
            },
            container: Some("app".into()),
            what: "log".into(),
        },
        method: Method { rung: "api".into(), trust: Trust::ApiServer, reason: "r".into(), argv: vec![], tool: None },
        started: at,
        finished: at,
        size,
        sha256,
        size_source: None,
        sha256_source: None,
        complete: true,
        truncated: None,
        warnings: vec![],
        left_out: vec![],
    }
}

/// An incident's folder with two artifacts, always the same.
fn incident(dir: &Path) {
    let clock = Clock::Fixed(parse("2026-11-23T03:12:45Z").unwrap());
    let store = Store::new(dir, u64::MAX);
    let mut journal = Journal::create(dir, "20261123t031245z-test-c0ffee", clock).unwrap();
    let opened = Event::Opened {
        runbook: RunbookRef { name: "test".into(), sha256: "0".repeat(64), source: "embedded".into() },
        inputs: Default::default(),
        cluster: ClusterId { server: "https://c".into(), ..ClusterId::default() },
        actor: Actor { os_user: "o".into(), host: "h".into(), pid: 1, terminal: false },
        tool: Tool { name: "quell".into(), version: "0".into(), sha256: None },
        clock: ClockCheck { ahead_ms: Some(3), basis: "b".into() },
        alert: None,
    };
    journal.append(opened).unwrap();
    for (name, bytes) in [("data/capture/app.log", &b"a line\n"[..]), ("data/record/pod.json", b"{}\n")] {
        let artifact = store.put(name, bytes, artifact).unwrap();
        journal.append(Event::Captured { op: "capture/1".into(), artifact }).unwrap();
    }
    std::fs::write(dir.join("runbook.yaml"), "apiVersion: quell/v1\n").unwrap();
    journal.append(Event::Finished { status: RunStatus::Done, exit_code: 0, open: vec![] }).unwrap();
}

struct Good {
    dir: tempfile::TempDir,
    bundle: PathBuf,
}

fn good() -> Good {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("incident");
    std::fs::create_dir(&folder).unwrap();
    incident(&folder);
    let sealed = bundle::seal(&folder, dir.path()).unwrap();
    Good { bundle: sealed.path, dir }
}

#[test]
fn the_same_incident_seals_to_the_same_bytes() {
    let (one, two) = (good(), good());
    assert_eq!(one.bundle.file_name(), two.bundle.file_name());
    assert_eq!(std::fs::read(&one.bundle).unwrap(), std::fs::read(&two.bundle).unwrap());
    let again = bundle::seal(&one.dir.path().join("incident"), one.dir.path()).unwrap();
    assert!(again.already);
    let report = bundle::verify(&one.bundle).unwrap();
    assert!(report.ok(), "{}", report.text());
    assert_eq!((report.artifacts, report.records), (2, 4));
}

/// The good bundle's entries, changed, and packed again.
fn spoiled(good: &Good, change: impl FnOnce(&mut Vec<(tar::Header, Vec<u8>)>)) -> PathBuf {
    let mut archive = tar::Archive::new(std::fs::File::open(&good.bundle).unwrap());
    let mut entries: Vec<(tar::Header, Vec<u8>)> = archive
        .entries()
        .unwrap()
        .map(|e| {
            let mut e = e.unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut e, &mut bytes).unwrap();
            (e.header().clone(), bytes)
        })
        .collect();
    change(&mut entries);
    let mut builder = tar::Builder::new(Vec::new());
    for (mut header, bytes) in entries {
        if header.entry_type().is_file() {
            header.set_size(bytes.len() as u64);
        }
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).unwrap();
    }
    let path = good.dir.path().join("spoiled.tar");
    std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
    path
}

fn at(entries: &[(tar::Header, Vec<u8>)], name: &str) -> usize {
    entries.iter().position(|(h, _)| h.path().unwrap().ends_with(name)).unwrap()
}

fn raw_name(header: &mut tar::Header, name: &[u8]) {
    let field = &mut header.as_mut_bytes()[..100];
    field.fill(0);
    field[..name.len()].copy_from_slice(name);
}

fn says(path: &Path, kind: &str, text: &str) {
    let report = bundle::verify(path).unwrap();
    let found = report.findings.iter().any(|f| f.kind == kind && f.text.contains(text));
    assert!(found, "no {kind}: {text:?} in:\n{}", report.text());
    assert!(!report.text().contains('\u{1b}'));
}

#[test]
fn what_was_changed_added_or_removed_is_named() {
    let g = good();
    for (name, says_) in [
        ("app.log", "data/capture/app.log: SHA-256 is"),
        ("bag-info.txt", "bag-info.txt: SHA-256 is"),
        ("custody.jsonl", "custody.jsonl"),
        ("artifacts.json", "artifacts.json"),
        ("manifest-sha256.txt", "manifest-sha256.txt"),
        ("verify.sh", "verify.sh: SHA-256 is"),
    ] {
        let path = spoiled(&g, |e| {
            let i = at(e, name);
            let last = e[i].1.len() - 2;
            e[i].1[last] ^= 1;
        });
        says(&path, "changed", says_);
        if name != "manifest-sha256.txt" {
            let path = spoiled(&g, |e| {
                let i = at(e, name);
                e.remove(i);
            });
            says(&path, "removed", name);
        }
    }
    let added = spoiled(&g, |e| {
        let i = at(e, "app.log");
        let mut extra = e[i].clone();
        let name = extra.0.path().unwrap().to_string_lossy().replace("app.log", "app.log2");
        raw_name(&mut extra.0, name.as_bytes());
        e.insert(i + 1, extra);
    });
    says(&added, "added", "data/capture/app.log2 is in no manifest");
}

#[test]
fn order_ends_and_doubles_are_seen() {
    let g = good();
    let reordered = spoiled(&g, |e| {
        let i = at(e, "app.log");
        let moved = e.remove(i);
        e.push(moved);
    });
    says(&reordered, "reordered", "app.log");
    let doubled = spoiled(&g, |e| {
        let i = at(e, "app.log");
        let twin = e[i].clone();
        e.insert(i, twin);
    });
    says(&doubled, "added", "a second time");
    let bytes = std::fs::read(&g.bundle).unwrap();
    let path = g.dir.path().join("cut.tar");
    for cut in [bytes.len() - 1024, bytes.len() - 2048, bytes.len() / 2, 700] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let report = bundle::verify(&path).unwrap();
        assert!(
            report.findings.iter().any(|f| f.kind == "truncated" || f.kind == "removed"),
            "cut at {cut}: {}",
            report.text()
        );
    }
    std::fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    says(&path, "added", "after the archive's end");
}

#[test]
fn a_hostile_archive_is_refused_and_nothing_of_it_is_written() {
    let g = good();
    let stem = g.bundle.file_stem().unwrap().to_str().unwrap().to_string();
    let hostile = |name: &[u8], kind: tar::EntryType| {
        spoiled(&g, |e| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(kind);
            header.set_size(0);
            header.set_mode(0o7777);
            raw_name(&mut header, name);
            if kind.is_symlink() || kind.is_hard_link() {
                header.set_link_name("/etc/passwd").unwrap();
            }
            let bytes = if kind.is_file() { b"evil".to_vec() } else { vec![] };
            e.push((header, bytes));
        })
    };
    let inside = |name: &str| format!("{stem}/{name}").into_bytes();
    let cases: Vec<(Vec<u8>, tar::EntryType)> = vec![
        (b"../evil".to_vec(), tar::EntryType::Regular),
        (b"/tmp/evil".to_vec(), tar::EntryType::Regular),
        (inside("../../evil"), tar::EntryType::Regular),
        (inside("zz\n\x1b[31mevil"), tar::EntryType::Regular),
        (inside("zlink"), tar::EntryType::Symlink),
        (inside("zhard"), tar::EntryType::Link),
        (inside("zdevice"), tar::EntryType::Char),
        (inside("zfifo"), tar::EntryType::Fifo),
        (b"other/evil".to_vec(), tar::EntryType::Regular),
    ];
    for (i, (name, kind)) in cases.into_iter().enumerate() {
        let path = hostile(&name, kind);
        let report = bundle::verify(&path).unwrap();
        assert!(
            report.findings.iter().any(|f| f.kind == "added"),
            "{}: {}",
            String::from_utf8_lossy(&name),
            report.text()
        );
        let target = g.dir.path().join(format!("out-{i}"));
        assert!(bundle::extract(&path, &target, false).is_err());
        assert!(!target.exists());
        bundle::extract(&path, &target, true).unwrap();
        let mut folders = vec![target.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let meta = std::fs::symlink_metadata(&path).unwrap();
                assert!(meta.is_dir() || meta.is_file(), "{path:?}");
                assert!(!path.to_string_lossy().contains("evil"), "{path:?}");
                if meta.is_dir() {
                    folders.push(path);
                }
            }
        }
    }
    assert!(!g.dir.path().join("evil").exists());

    // A header that claims a terabyte in an archive of a few KiB.
    let sparse = spoiled(&g, |_| {});
    let mut bytes = std::fs::read(&sparse).unwrap();
    let first_file = bytes.chunks(512).position(|b| b[156] == b'0').unwrap() * 512;
    bytes[first_file + 124..first_file + 136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&bytes[first_file..first_file + 512]);
    header.set_cksum();
    bytes[first_file..first_file + 512].copy_from_slice(header.as_bytes());
    std::fs::write(&sparse, bytes).unwrap();
    let outcome = bundle::verify(&sparse);
    assert!(outcome.is_err() || !outcome.unwrap().ok());
}

#[test]
fn an_unpacked_bag_is_judged_alike_by_stock_tools_and_by_quell() {
    let g = good();
    let target = g.dir.path().join("bag");
    bundle::extract(&g.bundle, &target, false).unwrap();
    let run = || Command::new("sh").arg("verify.sh").current_dir(&target).output().unwrap();
    let whole = run();
    assert!(whole.status.success(), "{}", String::from_utf8_lossy(&whole.stderr));
    assert!(String::from_utf8_lossy(&whole.stdout).contains("whole: 2 artifacts, 4 custody records"));
    assert!(bundle::verify(&target).unwrap().ok());
    std::fs::write(target.join("data/extra"), "x").unwrap();
    assert!(!run().status.success());
    says(&target, "added", "data/extra");
    std::fs::remove_file(target.join("data/extra")).unwrap();
    std::fs::write(target.join("data/capture/app.log"), "another line\n").unwrap();
    assert!(!run().status.success());
    says(&target, "changed", "app.log");
    assert!(bundle::extract(&g.bundle, &target, false).is_err(), "a directory that is not empty");
}

#[test]
fn changed_evidence_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    incident(dir.path());
    std::fs::write(dir.path().join("data/capture/app.log"), "b line\n").unwrap();
    let problem = bundle::seal(dir.path(), dir.path()).unwrap_err();
    assert!(problem.message.contains("app.log is not what the journal says"), "{problem}");
    assert!(!std::fs::read_dir(dir.path()).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().contains(".tar")));
}

#[test]
fn the_formats_of_released_versions_are_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1");
    let golden = root.join("quell-20261123t031245z-test-c0ffee-20261123T031245Z.tar");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(&root).unwrap();
        std::fs::copy(good().bundle, &golden).unwrap();
    }
    let report = bundle::verify(&golden).unwrap();
    assert!(report.ok(), "{}", report.text());
    assert_eq!(bundle::list(&golden).unwrap().len(), 2);
}
