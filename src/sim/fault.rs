//! What goes wrong on demand: slow answers, refusals, cut connections.

use serde::Deserialize;

use super::rbac::Attributes;

/// A fault, and the requests that it strikes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// Only this verb.
    #[serde(default)]
    pub verb: Option<String>,
    /// Only this resource, or `resource/subresource`.
    #[serde(default)]
    pub resource: Option<String>,
    /// Only objects whose names begin so.
    #[serde(default)]
    pub name: Option<String>,
    /// What happens.
    pub effect: Effect,
    /// How many requests it strikes; None for all.
    #[serde(default)]
    pub times: Option<u64>,
    /// How many requests pass before it begins.
    #[serde(default)]
    pub after: u64,
}

/// What a struck request meets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The answer comes later by so many milliseconds.
    Latency(u64),
    /// Refused with that HTTP status: 429, 500, 503, …
    Status(u16),
    /// The connection ends without an answer.
    Reset,
    /// A stream (watch, exec, log) ends after so many bytes.
    Cut(u64),
    /// A stream stays open and says nothing more after so many bytes.
    Stall(u64),
    /// A stream ends after so many bytes, and as if that were all: an exec reports success (kubernetes#124571).
    Short(u64),
    /// A watch stays open and says nothing more.
    Silent,
}

/// How a stream breaks, and after how many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// The connection ends.
    Cut(u64),
    /// It stays open and says nothing more.
    Stall(u64),
    /// It ends in order, with the rest missing.
    Short(u64),
}

impl Break {
    /// Whether a stream that has sent so much is broken.
    pub fn reached(self, sent: u64) -> bool {
        let (Break::Cut(after) | Break::Stall(after) | Break::Short(after)) = self;
        sent > after
    }
}

impl Fault {
    fn strikes(&self, asked: &Attributes) -> bool {
        let full = if asked.subresource.is_empty() {
            asked.resource.clone()
        } else {
            format!("{}/{}", asked.resource, asked.subresource)
        };
        self.verb.as_ref().is_none_or(|v| *v == asked.verb)
            && self.resource.as_ref().is_none_or(|r| *r == full)
            && self.name.as_ref().is_none_or(|n| asked.name.starts_with(n.as_str()))
    }
}

/// The effects on a request; each is used up by one.
pub fn struck(faults: &mut Vec<Fault>, asked: &Attributes) -> Vec<Effect> {
    let mut effects = Vec::new();
    for fault in faults.iter_mut().filter(|f| f.strikes(asked)) {
        if fault.after > 0 {
            fault.after -= 1;
            continue;
        }
        match &mut fault.times {
            Some(0) => continue,
            Some(left) => *left -= 1,
            None => {}
        }
        effects.push(fault.effect.clone());
    }
    faults.retain(|f| f.times != Some(0));
    effects
}
