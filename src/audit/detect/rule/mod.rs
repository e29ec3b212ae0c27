//! A team's own detections: in quell's YAML, and Sigma rules for Kubernetes audit logs.
//!
//! ```yaml
//! apiVersion: quell/v1
//! kind: Detection
//! metadata:
//!   name: bank-secret-read
//!   title: The bank's Secret read
//! spec:
//!   severity: high
//!   techniques: [T1552.007]
//!   match:                      # all of these
//!     resource: secrets
//!     verb: [get, list, watch]
//!     namespace: {glob: "bank-*"}
//!     not:
//!       sourceIP: {cidr: [10.0.0.0/8]}
//!       any:
//!         - serviceAccount: bank/ledger
//!         - request.spec.containers[].image: {regex: "^registry\\.bank/"}
//!   threshold: {count: 3, distinct: name, within: 5m}
//!   sentence: "{who} [read|tried to read] {what}."
//!   false-positives: The auditors, in March.
//!   step: Call the bank desk.
//! ```
//!
//! A rule sees requests whatever came of them; what was denied or failed counts one step less, as with quell's own.

mod field;
mod matcher;
mod sigma;
mod team;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use time::Duration;

use super::look::Look;
use super::spec::CAP;
use super::window::{Count, bursts_of};
use super::{Actors, Around, Detection, Fact, Need, On, Out, Severity, Spec};
use crate::cluster::Problem;
use crate::runbook::Diagnostic;
use crate::runbook::yaml::{self, Node};
use field::Field;
use matcher::Condition;

/// Rules that are taken at most.
const MAX_RULES: usize = 2_000;
/// Bytes of one file.
const MAX_BYTES: u64 = 1 << 20;
/// Folders in folders.
const MAX_DEPTH: usize = 8;

/// One rule, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rule {
    id: String,
    title: String,
    severity: Severity,
    techniques: String,
    says: String,
    false_positives: String,
    step: String,
    condition: Condition,
    threshold: Option<Threshold>,
}

/// Only many within a time make a finding.
#[derive(Debug, Clone)]
struct Threshold {
    count: usize,
    within: Duration,
    distinct: Option<Field>,
}

/// A Sigma rule that can't be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub source: String,
    /// Its title, or what is known of it.
    pub rule: String,
    /// Why, in words.
    pub why: String,
}

/// What a file held.
#[derive(Debug)]
pub enum Parsed {
    /// A rule, and what is to be said of it.
    Rule(Box<Rule>, Vec<Diagnostic>),
    /// A Sigma rule that can't be used here.
    Refused {
        /// Its title.
        rule: String,
        /// Why.
        why: String,
    },
}

/// What several files held.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Ready.
    pub rules: Vec<Rule>,
    /// Sigma rules that were left out, by name.
    pub refused: Vec<Refused>,
    /// What is odd about rules that were taken: the file, and what.
    pub warnings: Vec<(String, Diagnostic)>,
}

/// The rules of these files and folders (`.yaml`, `.yml`), in the order of their names.
///
/// # Errors
/// A file that can't be read or is no rule, with line and column; two rules of one name; too many.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Problem> {
    let mut files = Vec::new();
    for path in paths {
        walk(path, 0, true, &mut files)?;
    }
    files.sort();
    files.dedup();
    let mut loaded = Loaded::default();
    for path in files {
        let name = path.display().to_string();
        let text = read(&path)?;
        match parse(&text) {
            Ok(Parsed::Rule(rule, warnings)) => {
                loaded.warnings.extend(warnings.into_iter().map(|w| (name.clone(), w)));
                if loaded.rules.iter().any(|r| r.id == rule.id) {
                    return Err(Problem::usage(format!("{name}: there is another rule of the name {:?}", rule.id)));
                }
                loaded.rules.push(*rule);
            }
            Ok(Parsed::Refused { rule, why }) => loaded.refused.push(Refused { source: name, rule, why }),
            Err(problems) => {
                let lines: Vec<String> =
                    problems.iter().map(|d| format!("{name}:{}:{}: {}", d.line, d.column, d.message)).collect();
                let problem = Problem::usage(lines.join("\n"));
                return Err(match problems.iter().find_map(|d| d.suggestion.clone()) {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                });
            }
        }
        if loaded.rules.len() > MAX_RULES {
            return Err(Problem::usage(format!("more than {MAX_RULES} rules")));
        }
    }
    Ok(loaded)
}

fn walk(path: &Path, depth: usize, named: bool, files: &mut Vec<PathBuf>) -> Result<(), Problem> {
    let meta = if named { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
    let meta = meta.map_err(|e| Problem::io("read", path, &e))?;
    if meta.is_dir() && depth < MAX_DEPTH {
        for entry in std::fs::read_dir(path).map_err(|e| Problem::io("read", path, &e))? {
            walk(&entry.map_err(|e| Problem::io("read", path, &e))?.path(), depth + 1, false, files)?;
        }
    } else if meta.is_file() && (named || path.extension().is_some_and(|e| e == "yaml" || e == "yml")) {
        files.push(path.to_owned());
    }
    if files.len() > MAX_RULES {
        return Err(Problem::usage(format!("more than {MAX_RULES} rule files under {}", path.display())));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Problem> {
    let mut text = String::new();
    let file = File::open(path).map_err(|e| Problem::io("read", path, &e))?;
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| Problem::io("read", path, &e))?;
    Ok(text)
}

/// One rule of either form.
///
/// # Errors
/// It is not YAML, or no rule; every problem with its place.
pub fn parse(text: &str) -> Result<Parsed, Vec<Diagnostic>> {
    let node = yaml::parse(text).map_err(|d| vec![d])?;
    if node.get("detection").is_some() || node.get("logsource").is_some() || node.get("correlation").is_some() {
        return sigma::parse(text, &node);
    }
    team::parse(text, &node).map(|rule| Parsed::Rule(Box::new(rule), Vec::new()))
}

/// Text of a scalar.
fn scalar(node: &Node) -> Option<String> {
    match &node.kind {
        yaml::Kind::Text(text) => Some(text.clone()),
        yaml::Kind::Number(n) => Some(n.to_string()),
        yaml::Kind::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

impl Rule {
    /// Its id in findings.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its title.
    pub fn title(&self) -> &str {
        &self.title
    }
}

impl Detection for Rule {
    fn spec(&self) -> Spec<'_> {
        Spec {
            id: &self.id,
            title: &self.title,
            techniques: &self.techniques,
            severity: self.severity,
            says: &self.says,
            false_positives: &self.false_positives,
            step: &self.step,
            on: On::Every,
            by: Actors::ANY,
            needs: if self.condition.needs_body() { &[Need::AnyBodies] } else { &[] },
            cap: CAP,
        }
    }

    fn look(&self, look: &Look, out: &mut Out) {
        if !self.condition.holds(look) {
            return;
        }
        match self.threshold.as_ref().and_then(|t| t.distinct.as_ref()) {
            None => out.hit(look, self.severity, ""),
            Some(field) => {
                if let Some(value) = field.values(look, false).first() {
                    out.note(look, 0, self.severity, value, "");
                }
            }
        }
    }

    fn judge(&self, facts: Vec<Fact>, _around: &Around) -> Vec<Fact> {
        match &self.threshold {
            None => facts,
            Some(t) => {
                let count = if t.distinct.is_some() { Count::Objects } else { Count::Requests };
                bursts_of(count, facts, t.within, t.count).into_iter().flat_map(|b| b.facts).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests;
