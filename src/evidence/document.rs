//! Artifacts made from memory, and adopting what an earlier try had finished.

use serde_json::Value;

use super::Store;
use crate::clock::Clock;
use crate::cluster::Problem;
use crate::event::{Artifact, Label};

impl Store {
    /// The finished artifact at that path, counted as taken by this operation: after a crash nothing is taken twice.
    pub fn adopt(&self, path: &str) -> Option<Artifact> {
        let artifact = self.finished(path)?;
        self.took(artifact.clone());
        Some(artifact)
    }

    /// The JSON document that an earlier try had finished there, adopted.
    pub fn adopt_json(&self, path: &str) -> Option<Value> {
        let value = self.read_json(path)?;
        self.adopt(path)?;
        Some(value)
    }

    /// The JSON document that another operation finished there.
    pub fn read_json(&self, path: &str) -> Option<Value> {
        self.finished(path)?;
        let text = std::fs::read(self.root().join(path)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Writes a JSON document, indented for people, with a newline at its end.
    pub fn put_json(
        &self,
        path: &str,
        label: Label,
        clock: Clock,
        value: &Value,
        warnings: Vec<String>,
    ) -> Result<Artifact, Problem> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|e| Problem::internal(e.to_string()))?;
        text.push(b'\n');
        self.put(path, &text, |path, size, sha256| Artifact {
            warnings,
            ..Artifact::of(label, clock.now(), path, size, sha256)
        })
    }
}
