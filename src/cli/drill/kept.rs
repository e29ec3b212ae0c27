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
fn home(global: &Global) -> Result<PathBuf, Problem> {
    Ok(setup::state_dir(global)?.path().join("drills"))
}

/// A drill that was run.
struct Kept {
    /// Its folder's name.
    id: String,
    dir: PathBuf,
    outcome: Outcome,
}

/// All that can be read, oldest first.
fn kept(global: &Global) -> Result<Vec<Kept>, Problem> {
    let folders = std::fs::read_dir(home(global)?).into_iter().flatten().flatten();
    let mut all: Vec<Kept> = folders
        .filter_map(|folder| {
            let outcome = serde_json::from_slice(&std::fs::read(folder.path().join("outcome.json")).ok()?).ok()?;
            Some(Kept { id: folder.file_name().to_string_lossy().into_owned(), dir: folder.path(), outcome })
        })
        .collect();
    all.sort_by(|a, b| (a.outcome.began, &a.id).cmp(&(b.outcome.began, &b.id)));
    Ok(all)
}

pub(super) fn outcomes(global: &Global) -> Result<Vec<Outcome>, Problem> {
    Ok(kept(global)?.into_iter().map(|kept| kept.outcome).collect())
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

/// Which of them is meant: by its whole id, else as the only one that begins or ends so; or the last.
fn find<'k>(all: &'k [Kept], id: &str) -> Result<&'k Kept, Problem> {
    let none =
        || Problem::new(Fault::NotFound, format!("no drill {id:?} was run")).hint("`quell drill history` lists them");
    if id == "last" {
        return all.last().ok_or_else(none);
    }
    if let Some(exact) = all.iter().find(|kept| kept.id == id) {
        return Ok(exact);
    }
    let fits: Vec<&Kept> = all.iter().filter(|kept| kept.id.starts_with(id) || kept.id.ends_with(id)).collect();
    match fits.as_slice() {
        [one] => Ok(one),
        [] => Err(none()),
        many => Err(Problem::usage(format!(
            "{} drills are named so: {}",
            many.len(),
            many.iter().map(|kept| kept.id.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// Those before a drill.
fn before<'o>(all: impl IntoIterator<Item = &'o Outcome>, outcome: &Outcome) -> Vec<Outcome> {
    all.into_iter().filter(|o| o.began < outcome.began).cloned().collect()
}

pub(super) fn write_report(global: &Global, args: &ReportArgs) -> Ended {
    let all = kept(global)?;
    let outcome = &find(&all, &args.id)?.outcome;
    let earlier = before(all.iter().map(|kept| &kept.outcome), outcome);
    let Some(path) = &args.output else {
        print_text(&report::markdown(outcome, &earlier));
        return Ok(0);
    };
    let html = path.extension().is_some_and(|e| e == "html" || e == "htm");
    let text = if html { report::html(outcome, &earlier) } else { report::markdown(outcome, &earlier) };
    std::fs::write(path, text).map_err(|e| Problem::io("can't write", path, &e))?;
    eprintln!("{} written", path.display());
    Ok(0)
}

pub(super) fn sign(global: &Global, id: &str, who: String, role: String) -> Ended {
    let all = kept(global)?;
    let Kept { dir, outcome, .. } = find(&all, id)?;
    let mut outcome = outcome.clone();
    if let Some(signed) = &outcome.sign_off {
        return Err(Problem::refused(format!("it was signed by {} already, {}", signed.who, rfc3339(signed.at))));
    }
    outcome.sign_off = Some(SignOff { who, role, at: Clock::System.now() });
    keep(dir, &outcome, all.iter().map(|kept| &kept.outcome))?;
    eprintln!("signed; the report is written anew");
    Ok(0)
}

/// Writes the outcome and both reports.
pub(super) fn keep<'o>(
    dir: &Path,
    outcome: &Outcome,
    all: impl IntoIterator<Item = &'o Outcome>,
) -> Result<(), Problem> {
    let earlier = before(all, outcome);
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
