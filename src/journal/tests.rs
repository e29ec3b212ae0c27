use super::*;
use crate::event::{Event, NoteLevel};

fn note(text: &str) -> Event {
    Event::Note { step: None, level: NoteLevel::Info, text: text.into() }
}

fn clock() -> Clock {
    Clock::Fixed(crate::clock::parse("2026-11-23T03:12:45Z").unwrap())
}

fn three(dir: &Path) {
    let mut journal = Journal::create(dir, "i", clock()).unwrap();
    for text in ["a", "b", "c"] {
        journal.append(note(text)).unwrap();
    }
}

#[test]
fn what_was_appended_is_read_back_in_a_chain() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let records = read(dir.path()).unwrap();
    assert_eq!(records.iter().map(|r| r.seq.unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(records[0].prev.as_deref(), Some(GENESIS));
    assert_eq!(records[2].prev.as_deref(), Some(digest(lines[1].as_bytes()).as_str()));
}

#[test]
fn a_second_writer_is_told_who_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let held = Journal::create(dir.path(), "i", clock()).unwrap();
    let problem = Journal::open(dir.path(), clock()).err().unwrap();
    assert_eq!(problem.fault, Fault::Locked);
    assert!(problem.message.contains(&std::process::id().to_string()), "{problem}");
    drop(held);
    assert!(Journal::open(dir.path(), clock()).is_ok());
}

#[test]
fn a_torn_last_line_is_cut_off_kept_and_said() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], b"{\"v\":1,\"seq\":3"].concat()).unwrap();
    assert_eq!(read(dir.path()).unwrap().len(), 3);
    let (mut journal, said) = Journal::open(dir.path(), clock()).unwrap();
    assert!(said.unwrap().contains("torn by a crash (14 bytes)"));
    assert_eq!(std::fs::read(dir.path().join("journal.torn-3")).unwrap(), b"{\"v\":1,\"seq\":3");
    assert_eq!(journal.append(note("d")).unwrap().seq, Some(3));
    drop(journal);
    assert_eq!(read(dir.path()).unwrap().len(), 4);
}

#[test]
fn every_change_to_a_line_breaks_the_chain_and_names_the_line() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let path = dir.path().join(FILE);
    let good = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let cases = [
        (good.replace("\"a\"", "\"x\""), "line 2"),
        (format!("{}\n{}\n", lines[0], lines[2]), "line 2"),
        (format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]), "line 1"),
        (good.replacen("\"v\":1", "\"v\":2", 1), "newer than this quell"),
        (good.replace("\"c\"}", "\"c\""), "line 3"),
    ];
    for (text, says) in cases {
        std::fs::write(&path, &text).unwrap();
        let problem = read(dir.path()).unwrap_err();
        assert_eq!(problem.fault, Fault::Verification, "{text}");
        assert!(problem.message.contains(says), "{says} not in {problem}");
    }
}

#[test]
fn a_full_disk_leaves_a_whole_chain() {
    let dir = tempfile::tempdir().unwrap();
    three(dir.path());
    let (mut journal, _) = Journal::open(dir.path(), clock()).unwrap();
    // A file that takes no writes stands for the full disk.
    journal.file = File::open(dir.path().join(FILE)).unwrap();
    assert!(journal.append(note("d")).is_err());
    drop(journal);
    assert_eq!(read(dir.path()).unwrap().len(), 3);
}
