//! The archive as stock tools see it, and what a hostile tree can't do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::collector::wire::{Item, Reader, Trailer};

struct Taken {
    archive: Vec<u8>,
    notes: String,
    trailer: Trailer,
}

fn take(root: &Path, limits: &Limits) -> Taken {
    taken(|out| write(out, root.to_str().unwrap(), limits))
}

fn taken(write: impl FnOnce(&mut Output<&mut Vec<u8>>) -> std::io::Result<()>) -> Taken {
    let mut stream = Vec::new();
    let mut out = Output::new(&mut stream, false);
    out.hello().unwrap();
    write(&mut out).unwrap();
    out.finish().unwrap();
    let (mut archive, mut notes, mut trailer) = (Vec::new(), String::new(), None);
    Reader::new()
        .push::<String>(&stream, &mut |item| {
            match item {
                Item::Data(bytes) => archive.extend_from_slice(bytes),
                Item::Note(note) => notes.push_str(&format!("{note:?}\n")),
                Item::Trailer(t) => trailer = Some(t),
                Item::Hello(_) => {}
            }
            Ok(())
        })
        .unwrap();
    Taken { archive, notes, trailer: trailer.unwrap() }
}

fn tar(archive: &[u8], arguments: &[&str]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), archive).unwrap();
    let output = Command::new("tar").args(arguments).arg("-f").arg(file.path()).env("TZ", "UTC").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_directory_is_taken_through_links_that_stay_inside_and_none_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("run"));
    fs::create_dir_all(root.join("run/shm")).unwrap();
    fs::create_dir_all(outside.join("shm")).unwrap();
    fs::create_dir(root.join("dev")).unwrap();
    fs::write(root.join("run/shm/implant"), b"x").unwrap();
    fs::write(outside.join("shm/other"), b"x").unwrap();
    symlink("../../run/shm", root.join("dev/shm")).unwrap();
    let below = |path: &str| taken(|out| write_below(out, root.to_str().unwrap(), path, &Limits::default()));
    let names = tar(&below("/dev/shm").archive, &["-t"]);
    assert_eq!(names, "dev/shm/\ndev/shm/implant\n", "named as in the target");
    let none = below("/dev/none");
    assert!(none.trailer.complete && none.notes.contains("there is no /dev/none"), "{}", none.notes);
    assert_eq!(tar(&none.archive, &["-t"]), "");
}

#[test]
fn one_file_is_taken_as_it_is_and_nothing_else_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), vec![7; 700_000]).unwrap();
    symlink("file", dir.path().join("link")).unwrap();
    let root = dir.path().to_str().unwrap();
    assert_eq!(taken(|out| write_file(out, root, "file", None)).archive, vec![7; 700_000]);
    let cut = taken(|out| write_file(out, root, "file", Some(10)));
    assert_eq!((cut.archive.len(), cut.trailer.complete), (10, false));
    for wrong in ["link", "../file", "none", "."] {
        let mut sink = Vec::new();
        assert!(write_file(&mut Output::new(&mut sink, true), root, wrong, None).is_err(), "{wrong}");
    }
}

#[test]
fn tar_unpacks_the_same_tree() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let deep = root.join("a".repeat(90)).join("b".repeat(90)).join("ü".repeat(40));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("leaf"), b"content").unwrap();
    fs::write(root.join("empty"), b"").unwrap();
    fs::write(root.join("large"), vec![7; 3_000_001]).unwrap();
    fs::write(root.join("new\nline\u{1b}[31m"), b"x").unwrap();
    fs::write(root.join("suid"), b"#!").unwrap();
    fs::set_permissions(root.join("suid"), fs::Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("large"), root.join("link")).unwrap();
    symlink("/etc/shadow".repeat(20), root.join("away")).unwrap();
    let taken = take(&root, &Limits::default());
    assert!(taken.trailer.complete && taken.trailer.unreadable == 0, "{}", taken.notes);
    assert_eq!(taken.archive.len() % 10_240, 0);

    let target = dir.path().join("unpacked");
    fs::create_dir(&target).unwrap();
    tar(&taken.archive, &["-x", "-p", "-C", target.to_str().unwrap()]);
    let same = Command::new("diff").arg("-r").arg("--no-dereference").arg(&root).arg(&target).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    assert_eq!(fs::metadata(target.join("suid")).unwrap().permissions().mode() & 0o7777, 0o4755);
    let listed = tar(&taken.archive, &["-t", "-v"]);
    assert!(listed.contains("link to large") || listed.contains("link to link"), "{listed}");
    let times = |p: &Path| fs::metadata(p).unwrap().modified().unwrap();
    assert_eq!(times(&root.join("large")), times(&target.join("large")), "to the nanosecond");
}

#[test]
fn nothing_leads_out_of_the_tree_and_nothing_blocks() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("outside")).unwrap();
    fs::write(dir.path().join("outside/secret"), b"not for you").unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    symlink("../outside", root.join("dir")).unwrap();
    symlink("../outside/secret", root.join("file")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let taken = take(&root, &Limits::default());
    assert!(!taken.archive.windows(7).any(|w| w == b"not for"));
    assert!(taken.notes.contains("a socket"), "{}", taken.notes);
    assert_eq!(tar(&taken.archive, &["-t"]).lines().collect::<Vec<_>>(), ["./", "dir", "fifo", "file"]);
}

#[test]
fn a_terabyte_of_holes_is_small() {
    let dir = tempfile::tempdir().unwrap();
    let file = fs::File::create(dir.path().join("sparse")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"needle", 1 << 39).unwrap();
    let taken = take(dir.path(), &Limits::default());
    assert!(taken.archive.len() < 200_000, "{}", taken.archive.len());
    let listed = tar(&taken.archive, &["-t", "-v"]);
    assert!(listed.contains(&(1_u64 << 40).to_string()) && listed.contains(" sparse"), "{listed}");
    assert!(taken.archive.windows(6).any(|w| w == b"needle"));
}

#[test]
fn limits_and_exclusions_are_said() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("var/run/secrets")).unwrap();
    fs::write(dir.path().join("var/run/secrets/token"), b"s3cret").unwrap();
    fs::write(dir.path().join("big"), vec![1; 100_000]).unwrap();
    fs::write(dir.path().join("small"), b"1").unwrap();
    // As `/var/run` is a link in most images: the tree has what is mounted there under another name.
    symlink("/var", dir.path().join("alias")).unwrap();
    let exclude = vec![(b"alias/run/secrets".to_vec(), "mounted credentials".to_string())];
    let taken = take(dir.path(), &Limits { exclude, file: Some(50_000), ..Limits::default() });
    assert!(!taken.archive.windows(6).any(|w| w == b"s3cret"));
    assert!(taken.notes.contains("mounted credentials") && taken.notes.contains("\"/big\""), "{}", taken.notes);
    assert!(!taken.trailer.complete, "a file over the limit is missing");
    assert!(tar(&taken.archive, &["-t"]).contains("small"));

    let taken = take(dir.path(), &Limits { files: Some(2), ..Limits::default() });
    assert!(taken.trailer.truncated.unwrap().contains("2 entries"));
}

#[test]
fn files_that_change_while_they_are_read_keep_the_archive_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, vec![b'a'; 2_000_000]).unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut size = 0_u64;
            while std::time::Instant::now() < until {
                size = (size + 700_001) % 4_000_000;
                let _ = fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(size));
            }
        });
        while std::time::Instant::now() < until {
            let taken = take(dir.path(), &Limits::default());
            tar(&taken.archive, &["-t"]);
        }
    });
}

#[test]
fn very_deep_trees_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut fd = rustix::fs::open(dir.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..MAX_DEPTH + 10 {
        rustix::fs::mkdirat(&fd, "d", Mode::RWXU).unwrap();
        fd = rustix::fs::openat(&fd, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let taken = take(dir.path(), &Limits::default());
    assert!(taken.notes.contains("deeper than") && !taken.trailer.complete);
}
