//! Disruption budgets: which one a pod stands under, whether it can ever let it go, and who holds it up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Mutex;

use crate::cluster::{Cx, Problem, raw, selector};

/// For so long one answer serves all pods that a budget holds back.
const FRESH: Duration = Duration::from_secs(5);
/// Names in one line.
const NAMED: usize = 5;

/// `namespace/name` of every budget that selects the pod. In policy/v1 an absent selector selects nothing.
pub(super) fn of<'a>(pod: &Value, budgets: &'a [Value]) -> Vec<&'a Value> {
    let labels = selector::labels(pod);
    budgets
        .iter()
        .filter(|b| b["metadata"]["namespace"] == pod["metadata"]["namespace"])
        .filter(|b| b["spec"]["selector"].is_object() && selector::matches(&b["spec"]["selector"], &labels))
        .collect()
}

/// `namespace/name`.
pub(super) fn key(budget: &Value) -> String {
    let part = |key: &str| budget["metadata"][key].as_str().unwrap_or_default();
    format!("{}/{}", part("namespace"), part("name"))
}

/// What it says of itself, and whether it can ever allow anything.
pub(super) fn state(budget: &Value) -> String {
    let status = &budget["status"];
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    let (allowed, healthy, desired, expected) =
        (number("disruptionsAllowed"), number("currentHealthy"), number("desiredHealthy"), number("expectedPods"));
    let never = if never(budget) { NEVER } else { "" };
    format!("allows {allowed} now: it needs {desired} healthy pods and has {healthy} of {expected}{never}")
}

/// For a budget that wants all the pods that there are.
const NEVER: &str = "; it never lets any go, for it wants all of its pods: lower it, or have one replica more";

fn never(budget: &Value) -> bool {
    let number = |key: &str| budget["status"][key].as_i64().unwrap_or(0);
    number("expectedPods") > 0 && number("desiredHealthy") >= number("expectedPods")
}

/// Who holds budgets up, asked once for all pods that wait for one.
#[derive(Debug, Default)]
pub(super) struct Holders(Mutex<BTreeMap<String, (Instant, String)>>);

impl Holders {
    /// One line about a budget, from what is there now; what could not be read is said.
    pub async fn of(&self, cx: &Cx, budget: &str) -> String {
        let mut known = self.0.lock().await;
        if let Some((at, text)) = known.get(budget)
            && at.elapsed() < FRESH
        {
            return text.clone();
        }
        let text = match look(cx, budget).await {
            Ok(text) => text,
            Err(problem) => format!("; who holds it up is not known: {problem}"),
        };
        known.insert(budget.into(), (Instant::now(), text.clone()));
        text
    }
}

async fn look(cx: &Cx, budget: &str) -> Result<String, Problem> {
    let (namespace, name) = budget.split_once('/').unwrap_or_default();
    let found =
        raw::get(&cx.client, &format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets/{name}")).await?;
    let (pods, _) = raw::list(&cx.client, format!("/api/v1/namespaces/{namespace}/pods")).await?;
    let mut unwell: Vec<String> = pods
        .iter()
        .filter(|p| selector::matches(&found["spec"]["selector"], &selector::labels(p)))
        .filter_map(|p| Some(format!("{} ({})", p["metadata"]["name"].as_str()?, unready(p)?)))
        .collect();
    let more = unwell.len().saturating_sub(NAMED);
    unwell.truncate(NAMED);
    let never = if never(&found) { NEVER } else { "" };
    if unwell.is_empty() {
        return Ok(format!("{never}; all of its pods are healthy"));
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Ok(format!("{never}; held up by {}{more}", unwell.join(", ")))
}

/// Why a pod is not healthy; None when it is, or has ended.
pub(super) fn unready(pod: &Value) -> Option<String> {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return Some("ending".into());
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if ["Succeeded", "Failed"].contains(&phase) {
        return None;
    }
    let conditions = || pod["status"]["conditions"].as_array().into_iter().flatten();
    if conditions().any(|c| c["type"] == "Ready" && c["status"] == "True") {
        return None;
    }
    let unscheduled = conditions().find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    if let Some(message) = unscheduled.and_then(|c| c["message"].as_str()) {
        return Some(format!("Pending: {}", message.split(" preemption:").next().unwrap_or(message)));
    }
    let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let waiting = statuses.filter_map(|s| s["state"]["waiting"]["reason"].as_str()).next();
    Some(waiting.map_or_else(|| format!("{phase}, not ready"), |reason| format!("{phase}: {reason}")))
}
