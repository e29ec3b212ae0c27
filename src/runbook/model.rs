//! A runbook as the engine sees it, after the check.

use std::time::Duration;

use serde_json::Value;

/// `kind: Runbook` of `quell/v1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Runbook {
    /// `metadata.name`: a DNS label, what `quell run` takes.
    pub name: String,
    /// `metadata.title`.
    pub title: String,
    /// `metadata.summary`.
    pub summary: String,
    /// `metadata.when`: when to use it.
    pub when_to_use: String,
    /// `metadata.references`.
    pub references: Vec<Reference>,
    /// `inputs`, in the file's order.
    pub inputs: Vec<Input>,
    /// `alerts`: how an alert document fills the inputs.
    pub alerts: Vec<AlertMapping>,
    /// `steps`, in the file's order.
    pub steps: Vec<Item>,
    /// The file's bytes, for the record.
    pub source_text: String,
    /// `embedded`, or the file's path.
    pub source: String,
}

/// `{id: T1609, title: …, url: …}`
#[derive(Debug, Clone, PartialEq)]
pub struct Reference {
    /// `T1609`, `NIST SP 800-61`, …
    pub id: String,
    /// What it is.
    pub title: Option<String>,
    /// Where it is.
    pub url: Option<String>,
}

/// A typed input.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The name in `--set NAME=VALUE` and `${{ inputs.NAME }}`: `[a-z][a-z0-9-]*`. In expressions `-` is written `_`.
    pub name: String,
    /// Its type.
    pub kind: InputKind,
    /// Must be given, and has no default.
    pub required: bool,
    /// Used when not given; already of the type.
    pub default: Option<Value>,
    /// One line.
    pub help: String,
    /// A regular expression that the whole text must match.
    pub pattern: Option<String>,
}

/// The types of inputs. Values are JSON: strings, except integers, booleans and lists of strings; a duration is an
/// integer of seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum InputKind {
    /// A Kubernetes object's name (DNS-1123 subdomain).
    Name,
    /// A namespace (DNS-1123 label).
    Namespace,
    /// `24h`, `90s`, `1h30m`.
    Duration,
    /// A whole number.
    Integer,
    /// true or false.
    Boolean,
    /// One of these.
    Choice(Vec<String>),
    /// Comma-separated on the command line.
    List,
    /// `app=web,tier in (a,b)`.
    LabelSelector,
    /// A file or directory on the responder's machine.
    Path,
    /// Any text of at most 4 KiB without control characters.
    Text,
}

/// `alerts[]`: which document, and for each input a path in it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertMapping {
    /// `alertmanager` or `falco`.
    pub kind: String,
    /// Only alerts where each of these paths has that exact value.
    pub matches: Vec<(String, String)>,
    /// Input name to path: `labels.pod`, `output_fields.k8s.pod.name` (keys may contain dots: the longest key wins).
    pub inputs: Vec<(String, String)>,
}

/// One entry of `steps`.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "steps are few")]
pub enum Item {
    /// One after the other.
    Step(Step),
    /// `parallel:` these side by side.
    Parallel(Vec<Step>),
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// `[a-z][a-z0-9-]*`, unique. In expressions `-` is written `_`.
    pub id: String,
    /// One line.
    pub title: String,
    /// The action's name.
    pub uses: String,
    /// Parameters, as JSON; strings may hold `${{ … }}`.
    pub with: Value,
    /// An expression; the step runs when it is true.
    pub when: Option<String>,
    /// An expression that gives a list; the step runs once for each, as `${{ item }}`.
    pub foreach: Option<String>,
    /// Steps whose outcome must be verified first.
    pub needs: Vec<String>,
    /// Who is asked.
    pub approve: Approve,
    /// Bound for the whole step.
    pub timeout: Option<Duration>,
    /// For transient failures.
    pub retry: Retry,
    /// What a failure means for the rest.
    pub on_failure: OnFailure,
    /// Line of the step in the file, from 1.
    pub line: usize,
}

/// `approve:`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Approve {
    /// Runs without asking.
    Never,
    /// Asked when it changes something, unless `--yes` or `--approve` covers it.
    Ask,
    /// Asked even under `--yes`; only `--approve STEP` or a person will do.
    Always,
}

/// `retry:`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, 1 to 20. Default 5.
    pub attempts: u32,
    /// Longest wait between two. Default 8 s.
    pub max_wait: Duration,
}

/// `on-failure:`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// End the run. The default.
    Stop,
    /// Go on; the run ends as failed.
    Continue,
    /// Ask; without a terminal, stop.
    Ask,
}

impl Runbook {
    /// All steps, in the file's order.
    pub fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().flat_map(|item| match item {
            Item::Step(step) => std::slice::from_ref(step),
            Item::Parallel(steps) => steps.as_slice(),
        })
    }

    /// The step of that id.
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.all_steps().find(|step| step.id == id)
    }
}
