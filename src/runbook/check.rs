//! From text to a [`Runbook`], reporting every problem at once.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use super::diagnostic::{Diagnostic, Severity, did_you_mean};
use super::duration;
use super::inputs::convert;
use super::model::{AlertMapping, Approve, Input, InputKind, Item, OnFailure, Reference, Retry, Runbook, Step};
use super::yaml::{self, Kind, Node};
use super::{parameters, references};

/// What the check knows of an action.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// JSON Schema of its parameters.
    pub schema: Value,
    /// A step that uses it.
    pub example: String,
    /// It destroys something.
    pub destructive: bool,
    /// It brings evidence.
    pub captures: bool,
    /// Names of its outputs.
    pub outputs: Vec<String>,
    /// It changes something.
    pub changes: bool,
}

/// The runbook, or all that is wrong with it.
pub fn check(text: &str, source: &str, known: &[Known]) -> Result<Runbook, Vec<Diagnostic>> {
    match check_all(text, source, known) {
        (Some(runbook), _) => Ok(runbook),
        (None, all) => Err(all),
    }
}

/// The runbook if it can be used, and every error and warning.
pub fn check_all(text: &str, source: &str, known: &[Known]) -> (Option<Runbook>, Vec<Diagnostic>) {
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err(problem) => return (None, vec![problem]),
    };
    let mut check = Check { text, found: Vec::new() };
    let runbook = check.runbook(&root, source);
    if let Some((runbook, places)) = &runbook {
        parameters::check(&mut check, places, known);
        references::check(&mut check, runbook, places, known);
    }
    let bad = check.found.iter().any(|d| d.severity == Severity::Error);
    (runbook.map(|(r, _)| r).filter(|_| !bad), check.found)
}

/// A step and the node it was read from.
pub(super) struct Place<'a> {
    pub step: Step,
    pub node: &'a Node,
    /// Number of the parallel group, when it is in one.
    pub group: Option<usize>,
}

/// Collects problems.
pub(super) struct Check<'t> {
    pub text: &'t str,
    pub found: Vec<Diagnostic>,
}

impl<'t> Check<'t> {
    pub fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.found.push(Diagnostic::error(self.text, span.clone(), message));
    }

    pub fn error_with(&mut self, span: &Range<usize>, message: impl Into<String>, help: Option<String>) {
        let problem = Diagnostic::error(self.text, span.clone(), message);
        self.found.push(match help {
            Some(help) => problem.suggest(help),
            None => problem,
        });
    }

    pub fn warn(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.found.push(Diagnostic::error(self.text, span.clone(), message).warning());
    }

    /// Reports keys that are not among `known`.
    fn keys(&mut self, node: &Node, what: &str, known: &[&str]) -> bool {
        let Kind::Map(entries) = &node.kind else {
            self.error(&node.span, format!("{what} must be a mapping, and is {}", node.type_name()));
            return false;
        };
        for (key, span, _) in entries {
            if !known.contains(&key.as_str()) {
                let help = did_you_mean(key, known.iter().copied())
                    .unwrap_or_else(|| format!("known keys: {}", known.join(", ")));
                self.error_with(span, format!("{what} has no key `{key}`"), Some(help));
            }
        }
        true
    }

    fn text_of(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number(n) => Some(n.to_string()),
            _ => {
                self.error(&node.span, format!("{what} must be text, and is {}", node.type_name()));
                None
            }
        }
    }

    fn required<'n>(&mut self, node: &'n Node, key: &str, what: &str) -> Option<&'n Node> {
        let found = node.get(key);
        if found.is_none() {
            self.error(&node.span, format!("{what} needs the key `{key}`"));
        }
        found
    }

    fn required_text(&mut self, node: &Node, key: &str, what: &str) -> String {
        self.required(node, key, what).and_then(|n| self.text_of(n, &format!("`{key}`"))).unwrap_or_default()
    }

    fn optional_text(&mut self, node: &Node, key: &str) -> Option<String> {
        node.get(key).and_then(|n| self.text_of(n, &format!("`{key}`")))
    }

    fn exactly(&mut self, node: &Node, key: &str, value: &str) {
        let Some(found) = self.required(node, key, "a runbook") else { return };
        if found.json() != Value::String(value.into()) {
            self.error_with(&found.span, format!("`{key}` must be {value}"), Some(format!("write `{key}: {value}`")));
        }
    }

    fn bool_of(&mut self, node: &Node, key: &str) -> bool {
        match node.get(key).map(|n| (&n.kind, &n.span)) {
            None => false,
            Some((Kind::Bool(b), _)) => *b,
            Some((_, span)) => {
                let span = span.clone();
                self.error(&span, format!("`{key}` must be true or false"));
                false
            }
        }
    }

    fn list_of<'n>(&mut self, node: &'n Node, key: &str) -> &'n [Node] {
        match node.get(key).map(|n| (&n.kind, &n.span)) {
            None => &[],
            Some((Kind::List(items), _)) => items,
            Some((_, span)) => {
                let span = span.clone();
                self.error(&span, format!("`{key}` must be a list"));
                &[]
            }
        }
    }

    fn runbook<'n>(&mut self, root: &'n Node, source: &str) -> Option<(Runbook, Vec<Place<'n>>)> {
        if !self.keys(root, "a runbook", &["apiVersion", "kind", "metadata", "inputs", "alerts", "steps"]) {
            return None;
        }
        self.exactly(root, "apiVersion", "quell/v1");
        self.exactly(root, "kind", "Runbook");
        let mut runbook = Runbook {
            name: String::new(),
            title: String::new(),
            summary: String::new(),
            when_to_use: String::new(),
            references: Vec::new(),
            inputs: Vec::new(),
            alerts: Vec::new(),
            steps: Vec::new(),
            source_text: self.text.into(),
            source: source.into(),
        };
        if let Some(meta) = self.required(root, "metadata", "a runbook") {
            self.metadata(meta, &mut runbook);
        }
        if let Some(inputs) = root.get("inputs") {
            self.inputs(inputs, &mut runbook);
        }
        for alert in self.list_of(root, "alerts") {
            if let Some(mapping) = self.alert(alert, &runbook.inputs) {
                runbook.alerts.push(mapping);
            }
        }
        let places = self.steps(root, &mut runbook);
        Some((runbook, places))
    }

    fn metadata(&mut self, meta: &Node, runbook: &mut Runbook) {
        if !self.keys(meta, "metadata", &["name", "title", "summary", "when", "references"]) {
            return;
        }
        runbook.name = self.required_text(meta, "name", "metadata");
        if let Some(node) = meta.get("name")
            && !label(&runbook.name)
        {
            self.error_with(
                &node.span,
                format!("{:?} is no name for a runbook", runbook.name),
                Some("lower-case letters, digits and `-`, at most 63".into()),
            );
        }
        runbook.title = self.required_text(meta, "title", "metadata");
        runbook.summary = self.optional_text(meta, "summary").unwrap_or_default();
        runbook.when_to_use = self.optional_text(meta, "when").unwrap_or_default();
        for reference in self.list_of(meta, "references") {
            if self.keys(reference, "a reference", &["id", "title", "url"]) {
                let id = self.required_text(reference, "id", "a reference");
                let (title, url) = (self.optional_text(reference, "title"), self.optional_text(reference, "url"));
                runbook.references.push(Reference { id, title, url });
            }
        }
    }

    fn inputs(&mut self, inputs: &Node, runbook: &mut Runbook) {
        let Kind::Map(entries) = &inputs.kind else {
            self.error(&inputs.span, "`inputs` must be a mapping from names to their types");
            return;
        };
        for (name, span, node) in entries {
            if !identifier(name) {
                self.error_with(
                    span,
                    format!("{name:?} is no name for an input"),
                    Some("begin with a letter; lower-case letters, digits and `-`".into()),
                );
            }
            if !self.keys(
                node,
                &format!("input {name}"),
                &["type", "required", "default", "help", "pattern", "choices"],
            ) {
                continue;
            }
            let Some(kind) = self.input_kind(name, node) else { continue };
            let pattern = self.optional_text(node, "pattern");
            if let (Some(pattern), Some(at)) = (&pattern, node.get("pattern"))
                && let Err(error) = regex::Regex::new(pattern)
            {
                let text = error.to_string();
                self.error(&at.span, format!("not a regular expression: {}", text.lines().last().unwrap_or_default()));
            }
            let mut input = Input {
                name: name.clone(),
                kind,
                required: self.bool_of(node, "required"),
                default: None,
                help: self.optional_text(node, "help").unwrap_or_default(),
                pattern,
            };
            if let Some(default) = node.get("default") {
                match convert(&input, &default.json()) {
                    Ok(value) => input.default = Some(value),
                    Err(why) => self.error(&default.span, format!("the default of {name}: {why}")),
                }
                if input.required {
                    self.warn(&default.span, format!("input {name} is required: its default is never used"));
                }
            }
            runbook.inputs.push(input);
        }
    }

    fn input_kind(&mut self, name: &str, node: &Node) -> Option<InputKind> {
        const TYPES: [&str; 10] =
            ["name", "namespace", "duration", "integer", "boolean", "choice", "list", "label-selector", "path", "text"];
        let at = self.required(node, "type", &format!("input {name}"))?;
        let kind = match self.text_of(at, "`type`")?.as_str() {
            "name" => InputKind::Name,
            "namespace" => InputKind::Namespace,
            "duration" => InputKind::Duration,
            "integer" => InputKind::Integer,
            "boolean" => InputKind::Boolean,
            "choice" => {
                let choices: Vec<String> = self
                    .list_of(node, "choices")
                    .iter()
                    .filter_map(|n| n.json().as_str().map(str::to_string))
                    .collect();
                if choices.is_empty() {
                    self.error(&at.span, format!("input {name} needs `choices`, a list of texts"));
                }
                InputKind::Choice(choices)
            }
            "list" => InputKind::List,
            "label-selector" => InputKind::LabelSelector,
            "path" => InputKind::Path,
            "text" => InputKind::Text,
            other => {
                let help = did_you_mean(other, TYPES).unwrap_or_else(|| format!("one of {}", TYPES.join(", ")));
                self.error_with(&at.span, format!("there is no type `{other}`"), Some(help));
                return None;
            }
        };
        Some(kind)
    }

    fn alert(&mut self, node: &Node, inputs: &[Input]) -> Option<AlertMapping> {
        if !self.keys(node, "an alert mapping", &["kind", "match", "inputs"]) {
            return None;
        }
        let kind = self.required_text(node, "kind", "an alert mapping");
        if let Some(at) = node.get("kind")
            && !["alertmanager", "falco"].contains(&kind.as_str())
        {
            self.error_with(
                &at.span,
                format!("there is no kind of alert `{kind}`"),
                Some("alertmanager or falco".into()),
            );
        }
        let mut pairs = |key: &str| -> Vec<(String, Range<usize>, String)> {
            match node.get(key).map(|n| &n.kind) {
                Some(Kind::Map(entries)) => entries
                    .iter()
                    .filter_map(|(k, span, v)| self.text_of(v, &format!("`{k}`")).map(|t| (k.clone(), span.clone(), t)))
                    .collect(),
                _ => Vec::new(),
            }
        };
        let (matches, mapped) = (pairs("match"), pairs("inputs"));
        for (name, span, _) in &mapped {
            if !inputs.iter().any(|i| i.name == *name) {
                let help = did_you_mean(name, inputs.iter().map(|i| i.name.as_str()));
                self.error_with(span, format!("there is no input `{name}`"), help);
            }
        }
        let strip = |all: Vec<(String, Range<usize>, String)>| all.into_iter().map(|(k, _, v)| (k, v)).collect();
        Some(AlertMapping { kind, matches: strip(matches), inputs: strip(mapped) })
    }

    fn steps<'n>(&mut self, root: &'n Node, runbook: &mut Runbook) -> Vec<Place<'n>> {
        let mut places = Vec::new();
        let Some(list) = self.required(root, "steps", "a runbook") else { return places };
        let Kind::List(items) = &list.kind else {
            self.error(&list.span, "`steps` must be a list");
            return places;
        };
        if items.is_empty() {
            self.error(&list.span, "a runbook needs at least one step");
        }
        let mut ids = BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            if item.get("parallel").is_some() {
                self.keys(item, "a parallel group", &["parallel"]);
                let mut group = Vec::new();
                for node in self.list_of(item, "parallel") {
                    if let Some(step) = self.step(node, &mut ids) {
                        group.push(step.clone());
                        places.push(Place { step, node, group: Some(i) });
                    }
                }
                runbook.steps.push(Item::Parallel(group));
            } else if let Some(step) = self.step(item, &mut ids) {
                runbook.steps.push(Item::Step(step.clone()));
                places.push(Place { step, node: item, group: None });
            }
        }
        places
    }

    fn step(&mut self, node: &Node, ids: &mut BTreeSet<String>) -> Option<Step> {
        const KEYS: [&str; 11] =
            ["id", "title", "uses", "with", "when", "foreach", "needs", "approve", "timeout", "retry", "on-failure"];
        if !self.keys(node, "a step", &KEYS) {
            return None;
        }
        let id = self.required_text(node, "id", "a step");
        if let Some(at) = node.get("id") {
            if !identifier(&id) {
                self.error_with(
                    &at.span,
                    format!("{id:?} is no id for a step"),
                    Some("begin with a letter; lower-case letters, digits and `-`".into()),
                );
            } else if !ids.insert(id.clone()) {
                self.error(&at.span, format!("there is already a step `{id}`"));
            }
        }
        let title = self.required_text(node, "title", &format!("step {id}"));
        let uses = self.required_text(node, "uses", &format!("step {id}"));
        let with = match node.get("with") {
            None => Value::Object(serde_json::Map::new()),
            Some(with) if matches!(with.kind, Kind::Map(_)) => with.json(),
            Some(with) => {
                self.error(&with.span, format!("`with` must be a mapping, and is {}", with.type_name()));
                return None;
            }
        };
        let condition = |check: &mut Self, key: &str| match node.get(key).map(|n| &n.kind) {
            Some(Kind::Bool(b)) => Some(b.to_string()),
            _ => check.optional_text(node, key),
        };
        let when = condition(self, "when");
        let foreach = self.optional_text(node, "foreach");
        let needs = self.list_of(node, "needs").iter().filter_map(|n| self.text_of(n, "a step in `needs`")).collect();
        let approve = self.choice(
            node,
            "approve",
            &[("ask", Approve::Ask), ("never", Approve::Never), ("always", Approve::Always)],
        );
        let failure = [("stop", OnFailure::Stop), ("continue", OnFailure::Continue), ("ask", OnFailure::Ask)];
        let on_failure = self.choice(node, "on-failure", &failure);
        let timeout = self.duration(node, "timeout");
        let retry = self.retry(node);
        let line = self.text[..node.span.start].matches('\n').count() + 1;
        Some(Step { id, title, uses, with, when, foreach, needs, approve, timeout, retry, on_failure, line })
    }

    /// One of a few words; the first is the default.
    fn choice<T: Copy>(&mut self, node: &Node, key: &str, choices: &[(&str, T)]) -> T {
        let default = choices[0].1;
        let Some(at) = node.get(key) else { return default };
        let Some(text) = self.text_of(at, &format!("`{key}`")) else { return default };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *value,
            None => {
                let words: Vec<&str> = choices.iter().map(|(w, _)| *w).collect();
                let help = did_you_mean(&text, words.iter().copied())
                    .unwrap_or_else(|| format!("one of {}", words.join(", ")));
                self.error_with(&at.span, format!("`{key}` can't be `{text}`"), Some(help));
                default
            }
        }
    }

    fn duration(&mut self, node: &Node, key: &str) -> Option<Duration> {
        let at = node.get(key)?;
        let text = self.text_of(at, &format!("`{key}`"))?;
        duration::parse(&text).map_err(|why| self.error(&at.span, why)).ok()
    }

    fn retry(&mut self, node: &Node) -> Retry {
        let mut retry = Retry { attempts: 5, max_wait: Duration::from_secs(8) };
        let Some(at) = node.get("retry") else { return retry };
        if !self.keys(at, "retry", &["attempts", "max-wait"]) {
            return retry;
        }
        if let Some(attempts) = at.get("attempts") {
            match attempts.json().as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=20).contains(n)) {
                Some(n) => retry.attempts = n,
                None => self.error(&attempts.span, "`attempts` must be a whole number from 1 to 20"),
            }
        }
        if let Some(wait) = self.duration(at, "max-wait") {
            retry.max_wait = wait;
        }
        retry
    }
}

/// A DNS-1123 label.
fn label(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// What inputs and steps are called.
fn identifier(text: &str) -> bool {
    label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}
