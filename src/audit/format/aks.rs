//! Azure AKS: records of Azure Monitor, whose `properties.log` holds the Event as text.
//!
//! Category `kube-audit` has all, `kube-audit-admin` leaves get and list out, others are other components' text.
//!
//! <https://learn.microsoft.com/azure/aks/monitor-aks-reference>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Record, kubernetes, unwrapped};
use crate::audit::event::{Event, Origin, Provider};

/// What stands in place of an event that was too large.
const TOO_BIG: &str = "skipped-too-big-size-object";

#[derive(Deserialize)]
struct Properties<'a> {
    #[serde(borrow)]
    log: Option<&'a RawValue>,
}

/// The event of a record's `properties`, an object or one more text.
pub(super) fn event(properties: &str, category: Option<&str>, here: Origin, tell: &mut dyn FnMut(Record<'_>, Origin)) {
    if category.is_some_and(|c| !c.trim_matches('"').starts_with("kube-audit")) {
        return tell(Record::Other, here);
    }
    let Some(properties) = unwrapped(properties) else {
        return tell(Record::Damaged("with properties that hold no log"), here);
    };
    let log = match serde_json::from_str::<Properties>(&properties) {
        // Text that is no JSON at all is another component's.
        Ok(Properties { log: Some(log) }) => unwrapped(log.get()),
        _ => None,
    };
    let Some(log) = log else { return tell(Record::Damaged("with properties that hold no log"), here) };
    if log.trim() == TOO_BIG {
        return tell(Record::Damaged("left out by the provider for its size"), here);
    }
    match kubernetes::event(log.trim(), here) {
        Ok(event) => tell(Record::Event(Box::new(Event { provider: Provider::Aks, ..event })), here),
        Err(_) if category.is_none() && !log.contains("audit.k8s.io") => tell(Record::Other, here),
        Err(what) => tell(Record::Damaged(what), here),
    }
}
