//! Where incidents live: one folder each under the state directory.

use std::fs;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use crate::clock::{self, Clock};
use crate::cluster::{Fault, Problem};
use crate::journal;

/// The state directory: `<dir>/incidents/<id>/`.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// `given` (`--state-dir`, QUELL_STATE_DIR), else `$XDG_STATE_HOME/quell`, else `~/.local/state/quell`.
    pub fn resolve(given: Option<&Path>, xdg: Option<&Path>, home: Option<&Path>) -> Result<StateDir, Problem> {
        let dir = match (given, xdg.filter(|p| p.is_absolute()), home) {
            (Some(dir), _, _) => dir.to_path_buf(),
            (None, Some(xdg), _) => xdg.join("quell"),
            (None, None, Some(home)) => home.join(".local/state/quell"),
            (None, None, None) => {
                return Err(
                    Problem::usage("there is no home directory to keep incidents in").hint("give --state-dir DIR")
                );
            }
        };
        Ok(StateDir(dir))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a new incident's folder, for its owner only.
    pub fn create(&self, id: &str) -> Result<PathBuf, Problem> {
        let dir = self.0.join("incidents").join(id);
        let parent = self.0.join("incidents");
        fs::create_dir_all(&parent).map_err(|e| Problem::io("can't create the state directory", &parent, &e))?;
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(&dir).map_err(|e| Problem::io("can't create the incident's folder", &dir, &e))?;
        Ok(dir)
    }

    /// An incident's folder: by its id, or by the only id that begins or ends so; `last` is the newest.
    pub fn find(&self, id: &str) -> Result<PathBuf, Problem> {
        let all = self.list()?;
        let matching: Vec<&String> = if id == "last" {
            all.last().into_iter().collect()
        } else if let Some(exact) = all.iter().find(|known| *known == id) {
            vec![exact]
        } else {
            all.iter().filter(|known| !id.is_empty() && (known.starts_with(id) || known.ends_with(id))).collect()
        };
        match matching.as_slice() {
            [one] => Ok(self.0.join("incidents").join(one)),
            [] => Err(Problem::usage(format!("there is no incident {id:?} under {}", self.0.display()))
                .hint("`quell incidents` lists them; --state-dir says where to look")),
            several => Err(Problem::usage(format!("{} incidents match {id:?}", several.len()))
                .hint(several.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(", "))),
        }
    }

    /// All ids, oldest first.
    pub fn list(&self) -> Result<Vec<String>, Problem> {
        let dir = self.0.join("incidents");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Problem::io("can't read the state directory", &dir, &error)),
        };
        let mut ids: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|e| e.path().join("journal.jsonl").is_file())
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        ids.sort();
        // An id has whole seconds: of those begun in the same one, the journals tell which was first.
        for same in ids.chunk_by_mut(|a, b| a.split('-').next() == b.split('-').next()).filter(|same| same.len() > 1) {
            same.sort_by_cached_key(|id| opened(&dir.join(id)));
        }
        Ok(ids)
    }
}

/// When an incident's first record was written; None when it can't be read.
fn opened(dir: &Path) -> Option<OffsetDateTime> {
    let file = fs::File::open(dir.join(journal::FILE)).ok()?;
    journal::Reader::new(file, journal::FILE).next_record().ok()?.map(|record| record.time)
}

/// `20261123t031245z-pod-compromise-4f2a`: sorts by time, fits a label's value (63) and a DNS label.
pub fn new_id(runbook: &str, clock: Clock) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let name: String = runbook.chars().take(36).collect();
    format!("{}-{}-{}", clock::compact(clock.now()).to_lowercase(), name.trim_end_matches('-'), &random[..6])
}

/// Writes a file of the incident's folder that is no artifact (the runbook, the alert), synced.
pub fn keep(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), Problem> {
    use std::io::Write;
    let path = dir.join(name);
    let write = || -> std::io::Result<()> {
        let mut file = fs::File::create(&path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|e| Problem::io("can't write", &path, &e))
}

/// Reads a file of the incident's folder.
pub fn kept(dir: &Path, name: &str) -> Result<Vec<u8>, Problem> {
    let path = dir.join(name);
    fs::read(&path).map_err(|e| Problem::new(Fault::Failed, format!("can't read {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, NoteLevel};
    use crate::journal::Journal;

    #[test]
    fn the_last_incident_of_one_second_is_the_one_begun_last() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir(dir.path().into());
        for (id, at) in [
            ("20261123t031244z-x-ffffff", "2026-11-23T03:12:44.900Z"),
            ("20261123t031245z-x-ffffff", "2026-11-23T03:12:45.100Z"),
            ("20261123t031245z-x-aaaaaa", "2026-11-23T03:12:45.700Z"),
        ] {
            let folder = state.create(id).unwrap();
            let mut journal = Journal::create(&folder, id, Clock::Fixed(clock::parse(at).unwrap())).unwrap();
            journal.append(Event::Note { step: None, level: NoteLevel::Info, text: "begun".into() }).unwrap();
        }
        assert!(state.find("last").unwrap().ends_with("20261123t031245z-x-aaaaaa"));
        assert_eq!(state.list().unwrap()[1], "20261123t031245z-x-ffffff");
    }
}
