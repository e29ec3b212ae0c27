//! One file, one case: valid runbooks check clean and fit the schema; invalid ones say what the file beside them says.
//! `UPDATE=1 cargo test --test runbooks` writes the expectations anew.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::path::{Path, PathBuf};

use quell::cli::known;
use quell::runbook::{check_all, render, schema};

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runbooks").join(folder);
    let mut all: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

fn shipped() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect()
}

#[test]
fn valid_runbooks_check_clean_and_fit_the_schema() {
    let known = known();
    let schema = jsonschema::validator_for(&schema(&known)).unwrap();
    for path in files("valid").into_iter().chain(shipped()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let (runbook, all) = check_all(&text, "x", &known);
        assert!(runbook.is_some() && all.is_empty(), "{}:\n{}", path.display(), render(&all, &text, "x", false, 100));
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let problems: Vec<String> = schema.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
}

#[test]
fn invalid_runbooks_say_everything_that_is_wrong() {
    let known = known();
    for path in files("invalid") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (runbook, all) = check_all(&text, &name, &known);
        assert!(runbook.is_none(), "{name} is taken");
        let rendered = render(&all, &text, &name, false, 100);
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&expected, &rendered).unwrap();
        }
        assert_eq!(rendered, std::fs::read_to_string(&expected).unwrap_or_default(), "{name}");
    }
}

#[test]
fn what_is_wrong_in_its_structure_does_not_fit_the_schema_either() {
    let schema = jsonschema::validator_for(&schema(&known())).unwrap();
    for name in ["many-problems", "list", "empty"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/runbooks/invalid/{name}.yaml"));
        let value: serde_json::Value = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert!(!schema.is_valid(&value), "{name}");
    }
}
