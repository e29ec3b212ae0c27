//! The drills that were run: one folder each, beside the incidents, never among them.

use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::ReportArgs;
use crate::cli::{Ended, Global, print_text, setup};
use crate::clock::{Clock, compact, rfc3339};
use crate::cluster::{Fault, Problem};
use crate::drill::outcome::{Outcome, SignOff};
use crate::drill::report;

/// Where drills are kept: beside the incidents, never among them.
pub(super) fn home(global: &Global) -> Result<PathBuf, Problem> {
    Ok(setup::state_dir(global)?.path().join("drills"))
}

pub(super) fn outcomes(global: &Global) -> Result<Vec<Outcome>, Problem> {
    let mut all: Vec<Outcome> = Vec::new();
    for entry in std::fs::read_dir(home(global)?).into_iter().flatten().flatten() {
        if let Ok(text) = std::fs::read(entry.path().join("outcome.json"))
            && let Ok(outcome) = serde_json::from_slice(&text)
        {
            all.push(outcome);
        }
    }
    all.sort_by_key(|o| o.began);
    Ok(all)
}

/// A new drill's id and folder. Drills that begin in the same second are told apart by a number.
pub(super) fn begin(global: &Global, name: &str, at: OffsetDateTime) -> Result<(String, PathBuf), Problem> {
    begin_in(&home(global)?, name, at)
}

fn begin_in(home: &Path, name: &str, at: OffsetDateTime) -> Result<(String, PathBuf), Problem> {
    std::fs::create_dir_all(home).map_err(|e| Problem::io("can't make", home, &e))?;
    let plain = format!("{}-{name}", compact(at).to_lowercase());
    let mut id = plain.clone();
    for n in 2_u32.. {
        let dir = home.join(&id);
        match std::fs::create_dir(&dir) {
            Ok(()) => return Ok((id, dir)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => id = format!("{plain}-{n}"),
            Err(e) => return Err(Problem::io("can't make", &dir, &e)),
        }
    }
    Err(Problem::internal("no number is left for a drill's folder"))
}

/// The folder of a drill that was run.
fn folder(global: &Global, id: &str) -> Result<PathBuf, Problem> {
    let mut all: Vec<(OffsetDateTime, String, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(home(global)?).into_iter().flatten().flatten() {
        if let Ok(outcome) = read_outcome(&entry.path()) {
            all.push((outcome.began, entry.file_name().to_string_lossy().into_owned(), entry.path()));
        }
    }
    all.sort();
    if let Some((.., exact)) = all.iter().find(|(_, name, _)| name == id) {
        return Ok(exact.clone());
    }
    let fits: Vec<&(OffsetDateTime, String, PathBuf)> =
        all.iter().filter(|(_, name, _)| id == "last" || name.starts_with(id) || name.ends_with(id)).collect();
    match (id, fits.as_slice()) {
        ("last", [.., (.., dir)]) | (_, [(.., dir)]) => Ok(dir.clone()),
        (_, []) => {
            Err(Problem::new(Fault::NotFound, format!("no drill {id:?} was run"))
                .hint("`quell drill history` lists them"))
        }
        (_, many) => Err(Problem::usage(format!(
            "{} drills are named so: {}",
            many.len(),
            many.iter().map(|(_, name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

fn read_outcome(dir: &Path) -> Result<Outcome, Problem> {
    let path = dir.join("outcome.json");
    let text = std::fs::read(&path).map_err(|e| Problem::io("can't read", &path, &e))?;
    serde_json::from_slice(&text).map_err(|e| Problem::failed(format!("{}: {e}", path.display())))
}

pub(super) fn write_report(global: &Global, args: &ReportArgs) -> Ended {
    let dir = folder(global, &args.id)?;
    let outcome = read_outcome(&dir)?;
    let earlier: Vec<Outcome> = outcomes(global)?.into_iter().filter(|o| o.began < outcome.began).collect();
    let Some(path) = &args.output else {
        print_text(&report::markdown(&outcome, &earlier));
        return Ok(0);
    };
    let html = path.extension().is_some_and(|e| e == "html" || e == "htm");
    let text = if html { report::html(&outcome, &earlier) } else { report::markdown(&outcome, &earlier) };
    std::fs::write(path, text).map_err(|e| Problem::io("can't write", path, &e))?;
    eprintln!("{} written", path.display());
    Ok(0)
}

pub(super) fn sign(global: &Global, id: &str, who: String, role: String) -> Ended {
    let dir = folder(global, id)?;
    let mut outcome = read_outcome(&dir)?;
    if let Some(signed) = &outcome.sign_off {
        return Err(Problem::refused(format!("it was signed by {} already, {}", signed.who, rfc3339(signed.at))));
    }
    outcome.sign_off = Some(SignOff { who, role, at: Clock::System.now() });
    keep(&dir, &outcome, &outcomes(global)?)?;
    eprintln!("signed; the report is written anew");
    Ok(0)
}

/// Writes the outcome and both reports.
pub(super) fn keep(dir: &Path, outcome: &Outcome, all: &[Outcome]) -> Result<(), Problem> {
    let earlier: Vec<Outcome> = all.iter().filter(|o| o.began < outcome.began).cloned().collect();
    let mut text = serde_json::to_string_pretty(outcome).map_err(|e| Problem::internal(e.to_string()))?;
    text.push('\n');
    for (name, text) in [
        ("outcome.json", text),
        ("report.md", report::markdown(outcome, &earlier)),
        ("report.html", report::html(outcome, &earlier)),
    ] {
        let path = dir.join(name);
        std::fs::write(&path, text).map_err(|e| Problem::io("can't write", &path, &e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::begin_in;

    #[test]
    fn drills_of_the_same_second_share_no_folder() {
        let home = tempfile::tempdir().unwrap();
        let at = time::macros::datetime!(2026-11-23 03:12:45 UTC);
        let begin = || begin_in(home.path(), "pod-compromise", at).unwrap();
        let ids = [begin().0, begin().0, begin().0];
        assert_eq!(
            ids,
            [
                "20261123t031245z-pod-compromise",
                "20261123t031245z-pod-compromise-2",
                "20261123t031245z-pod-compromise-3"
            ]
        );
    }
}
