//! The scenarios at hand: shipped ones, and files.

use super::scenario::Scenario;
use crate::cluster::Problem;

/// What is shipped: a test holds this against the folder.
const SHIPPED: &[(&str, &str)] = &[
    ("api-access", include_str!("../../runbooks/drills/api-access.yaml")),
    ("api-access-returning", include_str!("../../runbooks/drills/api-access-returning.yaml")),
    ("audit-review", include_str!("../../runbooks/drills/audit-review.yaml")),
    ("audit-review-gap", include_str!("../../runbooks/drills/audit-review-gap.yaml")),
    ("exposed-secret", include_str!("../../runbooks/drills/exposed-secret.yaml")),
    ("exposed-secret-immutable", include_str!("../../runbooks/drills/exposed-secret-immutable.yaml")),
    ("node-compromise", include_str!("../../runbooks/drills/node-compromise.yaml")),
    ("node-compromise-lost", include_str!("../../runbooks/drills/node-compromise-lost.yaml")),
    ("pod-compromise", include_str!("../../runbooks/drills/pod-compromise.yaml")),
    ("pod-compromise-decoy", include_str!("../../runbooks/drills/pod-compromise-decoy.yaml")),
    ("pod-compromise-distroless", include_str!("../../runbooks/drills/pod-compromise-distroless.yaml")),
    ("pod-compromise-foothold", include_str!("../../runbooks/drills/pod-compromise-foothold.yaml")),
    ("pod-compromise-gap", include_str!("../../runbooks/drills/pod-compromise-gap.yaml")),
    ("pod-compromise-vanishing", include_str!("../../runbooks/drills/pod-compromise-vanishing.yaml")),
];

/// One line of `drill list`.
#[derive(Debug, Clone)]
pub struct DrillRow {
    /// Its name.
    pub name: String,
    /// The runbook that it practises.
    pub runbook: String,
    /// `basic` or `hard`.
    pub level: String,
    /// One line.
    pub title: String,
    /// A paragraph.
    pub summary: String,
    /// Why it can't be played on a real cluster; empty when it can.
    pub only_embedded: String,
}

/// By name; what has a `/` or ends in .yaml or .yml is a file.
///
/// # Errors
/// When there is none, or it does not parse.
pub fn find(name: &str) -> Result<Scenario, Problem> {
    if name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml") {
        let text =
            std::fs::read_to_string(name).map_err(|e| Problem::usage(format!("can't read the drill {name}: {e}")))?;
        return Scenario::parse(&text, name);
    }
    match SHIPPED.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Scenario::parse(text, name),
        None => {
            let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
            Err(Problem::usage(format!("there is no drill {name:?}"))
                .hint(format!("there are {}; or give a file", names.join(", "))))
        }
    }
}

/// Every drill that is shipped.
///
/// # Errors
/// None of those that are shipped: a test holds that.
pub fn list() -> Result<Vec<DrillRow>, Problem> {
    SHIPPED
        .iter()
        .map(|(name, text)| {
            let scenario = Scenario::parse(text, name)?;
            Ok(DrillRow {
                name: scenario.metadata.name,
                runbook: scenario.runbook,
                level: scenario.metadata.level,
                title: scenario.metadata.title,
                summary: scenario.metadata.summary,
                only_embedded: scenario.only_embedded,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_drills_is_shipped_under_its_own_name() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/drills");
        let mut files = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert!(SHIPPED.iter().any(|(shipped, _)| *shipped == name), "{name} is not in SHIPPED");
            assert_eq!(find(name).unwrap().metadata.name, name);
            files += 1;
        }
        assert_eq!(files, list().unwrap().len());
    }
}
