//! What a detection says of itself.

use serde::{Deserialize, Serialize};

use super::look::{Actors, Verbs};

/// How much it matters, if it is what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Context for other findings.
    Info,
    /// Happens in ordinary operation; to be known, not to be woken for.
    Low,
    /// Look at it today.
    Medium,
    /// Look at it now.
    High,
    /// Act now.
    Critical,
}

impl Severity {
    /// One step down; what failed or was denied matters less than what was done.
    #[must_use]
    pub fn lower(self) -> Severity {
        match self {
            Severity::Critical => Severity::High,
            Severity::High => Severity::Medium,
            Severity::Medium => Severity::Low,
            Severity::Low | Severity::Info => Severity::Info,
        }
    }

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// From its name.
    pub fn parse(text: &str) -> Option<Severity> {
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// Which requests a detection is shown.
#[derive(Debug, Clone, Copy)]
pub enum On {
    /// Those for these resources: the plural name, the subresource (`*`: whether there is one or not), the verbs. The
    /// group is not compared: a detection that cares does so itself.
    Resources(&'static [(&'static str, &'static str, Verbs)]),
    /// Those that were denied; and those for these resources, whatever came of them.
    Denied(&'static [(&'static str, &'static str, Verbs)]),
    /// Those in which somebody acts as somebody else.
    Impersonated,
    /// All of them; the detection must be quick to say no.
    Every,
    /// None: it judges by what others gathered, sessions above all.
    Nothing,
}

/// What the log must hold for a detection to see anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Requests that change these resources, with their bodies.
    Bodies(&'static [&'static str]),
    /// Some request with its body.
    AnyBodies,
    /// Requests that change these resources, at any level.
    Writes(&'static [&'static str]),
    /// Requests that read these resources.
    Reads(&'static [&'static str]),
    /// The id of the credential that was used (`authentication.kubernetes.io/credential-id`, Kubernetes 1.32 and later),
    /// or the pod that a token is bound to.
    Credentials,
    /// The authorizer's decision, or a status code.
    Outcomes,
}

/// What a detection is, for the reader of its findings.
///
/// `says` is a sentence with holes: `{who}` is the subject, `{what}` the objects, `{notes}` what the detection noted,
/// and `[did|tried to do]` what was done or only tried.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// Stable, kebab-case.
    pub id: &'a str,
    /// A line.
    pub title: &'a str,
    /// ATT&CK techniques, separated by spaces.
    pub techniques: &'a str,
    /// At most.
    pub severity: Severity,
    /// The sentence.
    pub says: &'a str,
    /// What else it may be.
    pub false_positives: &'a str,
    /// What to do next.
    pub step: &'a str,
    /// What it is shown.
    pub on: On,
    /// Of whom: requests by others are not shown to it. What no detection asks for by resource, verb and actor is never
    /// parsed as a whole.
    pub by: Actors,
    /// What it can't do without.
    pub needs: &'a [Need],
    /// Facts that are kept; what is beyond is counted.
    pub cap: usize,
}

/// Facts that are kept of one detection, if it has no reason for another number (about 200 bytes each).
pub const CAP: usize = 16_384;
