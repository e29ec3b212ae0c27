//! Amazon EKS: CloudWatch log events, whose message holds the Event as text.
//!
//! Three ways out of CloudWatch: an export to S3 (lines that begin with the time), a subscription (`logEvents`), and
//! `aws logs filter-log-events` (`events`). The same log group holds other components' plain text.
//!
//! <https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>

use super::{Record, kubernetes, unwrapped};
use crate::audit::event::{Event, Origin, Provider};
use crate::audit::instant;

/// Bytes of the time, and the space after it, that an export to S3 puts before each message; 0 without one.
pub(super) fn stamp(text: &str) -> usize {
    match text.bytes().take(40).position(|b| b == b' ') {
        Some(end) if end >= 20 && instant::parse(&text[..end]).is_some() => end + 1,
        _ => 0,
    }
}

/// The event of a message.
pub(super) fn event(message: &str, here: Origin, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    let Some(text) = unwrapped(message) else { return tell(Record::Damaged("with a message that is no text"), here) };
    let text = text.trim();
    // What other components of the control plane write is no JSON; an authenticator's line may be.
    if !text.starts_with('{') {
        return tell(Record::Other, here);
    }
    match kubernetes::event(text, here) {
        Ok(event) => tell(Record::Event(Box::new(Event { provider: Provider::Eks, ..event })), here),
        Err("not an Event of audit.k8s.io/v1") if !text.contains("audit.k8s.io") => tell(Record::Other, here),
        Err(what) => tell(Record::Damaged(what), here),
    }
}
