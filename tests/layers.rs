//! Who may import whom, and what may stand only in one place: the map in `lib.rs`, held.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folder or file under src/ → what it may import from `crate::`. `cluster::Problem` is the error type of all.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("collector", &[]),
    ("event", &["clock"]),
    ("exit", &["cluster", "event"]),
    ("runbook", &["clock", "cluster"]),
    // Rules in YAML are read by what reads runbooks.
    ("audit", &["clock", "cluster", "https", "runbook"]),
    ("https", &[]),
    ("journal", &["event", "clock", "cluster"]),
    ("cluster", &["event", "clock", "evidence", "collector"]),
    ("evidence", &["event", "clock", "https", "journal", "cluster", "collector", "report"]),
    ("report", &["event", "clock"]),
    // Of quell, the embedded cluster has the clock, and the collector's stream: it answers inside a simulated pod.
    ("sim", &["clock", "collector"]),
    ("drill", &["sim", "cluster", "runbook", "event", "evidence", "journal", "clock", "report"]),
    ("action", &["cluster", "evidence", "audit", "clock", "event", "collector", "report"]),
    ("engine", &["runbook", "action", "cluster", "journal", "evidence", "event", "clock", "report", "exit"]),
    (
        "cli",
        &[
            "runbook",
            "action",
            "audit",
            "cluster",
            "journal",
            "evidence",
            "event",
            "clock",
            "report",
            "exit",
            "engine",
            "collector",
            "drill",
            "sim",
        ],
    ),
    ("main", &[]),
    ("lib", &[]),
    ("bin", &[]),
];

/// Text that may stand only under these folders, with the reason.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("println!(", &["cli", "report", "collector"], "output goes through cli and report"),
    (
        "env::var",
        &["cli", "journal", "action"],
        "the environment is cli's; but for the crash tests' failpoint, and the variables a command step names",
    ),
    ("process::exit", &["cli"], "exit codes are cli's"),
    ("now_utc()", &["clock"], "the clock is read in one place"),
    ("SystemTime::now", &["clock", "collector"], "the clock is read in one place"),
    ("Client::try_from", &["cluster"], "one door to the cluster"),
    ("Client::try_default", &[], "one door to the cluster"),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.to_string_lossy().ends_with("tests.rs") {
                let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
                let module = first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_string();
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((module, path, text));
            }
        }
    }
    assert!(found.len() > 40, "the walk works");
    found
}

#[test]
fn imports_follow_the_map() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let (_, may) =
            MAY_IMPORT.iter().find(|(m, _)| *m == module).unwrap_or_else(|| panic!("src/{module} is not in the table"));
        for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")) {
            for (at, _) in line.match_indices("crate::") {
                let to: String =
                    line[at + 7..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                if !to.is_empty() && to != module && !may.contains(&to.as_str()) {
                    wrong.push(format!("{}:{}: {module} imports {to}", path.display(), i + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn some_things_stand_in_one_place_only() {
    let mut wrong = Vec::new();
    for (module, path, text) in sources() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (needle, places, why) in ONLY_IN {
            if code.contains(needle) && !places.contains(&module.as_str()) {
                wrong.push(format!("{}: {needle} ({why})", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_action_file_is_in_the_list() {
    let list = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/action/mod.rs")).unwrap();
    let listed: BTreeSet<&str> =
        list.match_indices("entry::<").filter_map(|(i, m)| list[i + m.len()..].split("::").next()).collect();
    let mut actions = 0;
    for (module, path, text) in sources() {
        if module != "action" || !text.contains("impl Kind for ") {
            continue;
        }
        actions += 1;
        let file = if path.ends_with("mod.rs") { path.parent().unwrap() } else { &path };
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(listed.contains(name.as_str()), "{} is not in action::all()", path.display());
    }
    assert_eq!(actions, listed.len());
}
