//! The runbooks at hand: shipped ones, a team's own directories, files.

use std::path::{Path, PathBuf};

use super::check::{Known, check_all};
use super::diagnostic::{Severity, did_you_mean};
use crate::cluster::Problem;

/// What is shipped: a test holds this against the folder.
const SHIPPED: &[(&str, &str)] = &[
    ("api-access", include_str!("../../runbooks/api-access.yaml")),
    ("audit-review", include_str!("../../runbooks/audit-review.yaml")),
    ("exposed-secret", include_str!("../../runbooks/exposed-secret.yaml")),
    ("node-compromise", include_str!("../../runbooks/node-compromise.yaml")),
    ("pod-compromise", include_str!("../../runbooks/pod-compromise.yaml")),
];

/// Where runbooks are looked for: a directory's own shadow the shipped ones.
pub struct Library {
    dirs: Vec<PathBuf>,
}

/// A runbook's text.
#[derive(Debug, Clone)]
pub struct Found {
    /// The YAML.
    pub text: String,
    /// `embedded`, or the file's path.
    pub source: String,
}

/// One line of `runbook list`.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Its title; empty when it does not check.
    pub title: String,
    /// `embedded`, or the file's path.
    pub source: String,
    /// How many errors it has.
    pub problems: usize,
}

impl Library {
    /// Directories first, in their order; then what is shipped.
    pub fn new(dirs: &[PathBuf]) -> Library {
        Library { dirs: dirs.to_vec() }
    }

    /// By name; what has a `/` or ends in .yaml or .yml is a file.
    pub fn find(&self, name: &str) -> Result<Found, Problem> {
        if name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml") {
            return read(Path::new(name));
        }
        for dir in &self.dirs {
            for ending in ["yaml", "yml"] {
                let path = dir.join(format!("{name}.{ending}"));
                if path.is_file() {
                    return read(&path);
                }
            }
        }
        if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Ok(Found { text: (*text).into(), source: "embedded".into() });
        }
        let names: Vec<String> = self.names().into_iter().map(|(name, _)| name).collect();
        let near = did_you_mean(name, names.iter().map(String::as_str));
        Err(Problem::usage(format!("there is no runbook {name:?}"))
            .hint(near.unwrap_or_else(|| format!("there are {}", names.join(", ")))))
    }

    /// Name and file of every runbook; shipped ones have no file.
    fn names(&self) -> Vec<(String, Option<PathBuf>)> {
        let mut all: Vec<(String, Option<PathBuf>)> = Vec::new();
        for dir in &self.dirs {
            let mut paths: Vec<PathBuf> =
                std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|e| e.path()).collect();
            paths.sort();
            for path in paths {
                let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
                let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_string();
                if yaml && path.is_file() && !all.iter().any(|(n, _)| *n == name) {
                    all.push((name, Some(path)));
                }
            }
        }
        for (name, _) in SHIPPED {
            if !all.iter().any(|(n, _)| n == name) {
                all.push(((*name).into(), None));
            }
        }
        all.sort();
        all
    }

    /// Every runbook, checked.
    pub fn list(&self, known: &[Known]) -> Vec<Row> {
        self.names()
            .into_iter()
            .map(|(name, path)| {
                let source = path.map_or_else(|| name.clone(), |p| p.display().to_string());
                match self.find(&source) {
                    Ok(found) => {
                        let (runbook, all) = check_all(&found.text, &found.source, known);
                        let problems = all.iter().filter(|d| d.severity == Severity::Error).count();
                        Row {
                            name,
                            title: runbook.map(|r| r.title).unwrap_or_default(),
                            source: found.source,
                            problems,
                        }
                    }
                    Err(problem) => Row { name, title: problem.message, source, problems: 1 },
                }
            })
            .collect()
    }
}

fn read(path: &Path) -> Result<Found, Problem> {
    let bytes =
        std::fs::read(path).map_err(|e| Problem::usage(format!("can't read the runbook {}: {e}", path.display())))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Problem::usage(format!("{} is not UTF-8: byte {} is wrong", path.display(), e.utf8_error().valid_up_to()))
    })?;
    Ok(Found { text: text.strip_prefix('\u{feff}').unwrap_or(&text).into(), source: path.display().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_runbooks_is_shipped() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert!(SHIPPED.iter().any(|(shipped, _)| *shipped == name), "{name} is not in SHIPPED");
            }
        }
    }

    #[test]
    fn a_team_s_own_shadows_the_shipped_one_and_a_typo_gets_a_suggestion() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("pod-compromise.yaml"), "mine").unwrap();
        let library = Library::new(&[dir.path().to_path_buf()]);
        assert_eq!(library.find("pod-compromise").unwrap().text, "mine");
        let problem = Library::new(&[]).find("pod-compromize").unwrap_err();
        assert_eq!(problem.hint.as_deref(), Some("did you mean `pod-compromise`?"));
    }
}
