//! Workloads.
use serde_json::Value;

use super::super::field::{Causes, Path, empty, flag, int, items, same, text};
use super::super::metadata::{matches, selector, selects_all, shown_labels};
use super::super::names;
use super::{cron, pod};

const STATEFUL_SET: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

/// Any of the workloads with a Pod template.
pub(super) fn validate(kind: &str, object: &Value, old: Option<&Value>, causes: &mut Causes) {
    let (spec, path) = (&object["spec"], Path::new("spec"));
    let before = old.map(|old| &old["spec"]);
    match kind {
        "Job" => job(spec, before, &path, causes),
        "CronJob" => {
            let name = text(&object["metadata"]["name"]);
            if old.is_none() && name.len() > 52 {
                causes.invalid_text(&Path::new("metadata.name"), name, "must be no more than 52 characters");
            }
            cron_job(spec, &path, causes);
        }
        _ => controller(kind, spec, before, &path, causes),
    }
}

fn controller(kind: &str, spec: &Value, before: Option<&Value>, path: &Path, causes: &mut Causes) {
    if kind == "StatefulSet" {
        stateful_set(spec, path, causes);
    }
    for key in ["replicas", "minReadySeconds"] {
        causes.not_negative(&path.child(key), &spec[key]);
    }
    if kind != "StatefulSet" {
        causes.not_negative(&path.child("revisionHistoryLimit"), &spec["revisionHistoryLimit"]);
    }
    let readable = owned_selector(kind, spec, path, causes);
    let template = path.child("template");
    // With a selector that cannot be read the server does not look at the template.
    if readable {
        pod::template(&spec["template"], &template, causes);
    }
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if matches!(text(policy), "OnFailure" | "Never") {
        causes.not_supported(&template.child("spec").child("restartPolicy"), policy, &["Always"]);
    }
    if !spec["template"]["spec"]["activeDeadlineSeconds"].is_null() {
        let owner = if kind == "Deployment" { "ReplicaSet" } else { kind };
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        causes.forbidden(&template.child("spec").child("activeDeadlineSeconds"), &detail);
    }
    match kind {
        "Deployment" => deployment(spec, path, causes),
        "DaemonSet" => daemon_set(spec, path, causes),
        _ => {}
    }
    let Some(before) = before else { return };
    if kind == "StatefulSet" {
        let mut wanted = before.clone();
        for key in [
            "replicas",
            "ordinals",
            "template",
            "updateStrategy",
            "revisionHistoryLimit",
            "minReadySeconds",
            "persistentVolumeClaimRetentionPolicy",
        ] {
            super::super::field::put(&mut wanted, key, spec[key].clone());
        }
        if !same(spec, &wanted) {
            causes.forbidden(path, STATEFUL_SET);
        }
    } else {
        causes.immutable(&path.child("selector"), &spec["selector"], &before["selector"]);
    }
}

/// The selector, which has to select the template's Pods; whether it can be read.
fn owned_selector(kind: &str, spec: &Value, path: &Path, causes: &mut Causes) -> bool {
    let (own, at) = (&spec["selector"], path.child("selector"));
    let missing = own.is_null();
    let before = causes.0.len();
    if missing {
        // Only a DaemonSet does not say so.
        if kind != "DaemonSet" {
            causes.required(&at, "");
        }
    } else {
        selector(own, &at, causes);
        if selects_all(own) {
            let name = match kind {
                "Deployment" => "deployment",
                "ReplicaSet" => "replicaset",
                "StatefulSet" => "statefulset",
                _ => "daemonset",
            };
            causes.invalid(&at, own, &format!("empty selector is invalid for {name}"));
        }
    }
    let broken = !missing
        && items(&own["matchExpressions"]).iter().any(|e| {
            let values = items(&e["values"]).is_empty();
            let operator = match text(&e["operator"]) {
                "In" | "NotIn" => values,
                "Exists" | "DoesNotExist" => !values,
                _ => true,
            };
            operator || !names::qualified(text(&e["key"])).is_empty()
        });
    let labels = &spec["template"]["metadata"]["labels"];
    if broken {
        causes.invalid(&at, own, "invalid label selector");
    } else if (missing || (causes.0.len() == before && !selects_all(own))) && !matches(own, labels) {
        let at = path.child("template").child("metadata").child("labels");
        causes.invalid(&at, &shown_labels(labels), "`selector` does not match template `labels`");
    }
    !broken
}

/// Something that is counted or given in percent.
fn amount(value: &Value, path: &Path, causes: &mut Causes) {
    match value {
        Value::String(s) => {
            if let Some(complaint) = names::percent(s) {
                causes.invalid_text(path, s, complaint);
            } else if percent(value).is_some_and(|n| n > 100) {
                causes.invalid_text(path, s, "must not be greater than 100%");
            }
        }
        other => causes.not_negative(path, other),
    }
}

fn percent(value: &Value) -> Option<i64> {
    text(value).strip_suffix('%')?.parse().ok()
}

fn is_zero(value: &Value) -> bool {
    percent(value).or(value.as_i64()).unwrap_or_default() == 0 && !value.is_string() || percent(value) == Some(0)
}

/// As the server shows a strategy.
fn shown(strategy: &Value) -> String {
    format!(r#"{{"Type":{:?},"RollingUpdate":{}}}"#, text(&strategy["type"]), strategy["rollingUpdate"])
}

fn deployment(spec: &Value, path: &Path, causes: &mut Causes) {
    let (strategy, at) = (&spec["strategy"], path.child("strategy"));
    let rolling = at.child("rollingUpdate");
    match text(&strategy["type"]) {
        "Recreate" => {
            if !strategy["rollingUpdate"].is_null() {
                causes.forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => {
            let update = &strategy["rollingUpdate"];
            amount(&update["maxUnavailable"], &rolling.child("maxUnavailable"), causes);
            // More than all may well be added.
            let surge = &update["maxSurge"];
            if percent(surge).is_none_or(|n| n <= 100) {
                amount(surge, &rolling.child("maxSurge"), causes);
            }
            if is_zero(&update["maxUnavailable"]) && is_zero(surge) {
                let detail = "may not be 0 when `maxSurge` is 0";
                causes.invalid(&rolling.child("maxUnavailable"), &update["maxUnavailable"], detail);
            }
        }
        _ => causes.not_supported_shown(&at, &shown(strategy), &["Recreate", "RollingUpdate"]),
    }
    if let Some(seconds) = spec["progressDeadlineSeconds"].as_i64() {
        causes.not_negative(&path.child("progressDeadlineSeconds"), &seconds.into());
        if seconds <= int(&spec["minReadySeconds"]) {
            let detail = "must be greater than minReadySeconds";
            causes.invalid(&path.child("progressDeadlineSeconds"), &seconds.into(), detail);
        }
    }
}

fn daemon_set(spec: &Value, path: &Path, causes: &mut Causes) {
    let (strategy, at) = (&spec["updateStrategy"], path.child("updateStrategy"));
    match text(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" => {
            let (update, at) = (&strategy["rollingUpdate"], at.child("rollingUpdate"));
            amount(&update["maxUnavailable"], &at.child("maxUnavailable"), causes);
            amount(&update["maxSurge"], &at.child("maxSurge"), causes);
            match (is_zero(&update["maxUnavailable"]), is_zero(&update["maxSurge"])) {
                (true, true) => causes.required(&at.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    causes.invalid(&at.child("maxSurge"), &update["maxSurge"], detail);
                }
                _ => {}
            }
        }
        _ => causes.not_supported_shown(&at, &shown(strategy), &["RollingUpdate", "OnDelete"]),
    }
}

fn stateful_set(spec: &Value, path: &Path, causes: &mut Causes) {
    let policy = text(&spec["podManagementPolicy"]);
    if !matches!(policy, "OrderedReady" | "Parallel") {
        causes.invalid_text(&path.child("podManagementPolicy"), policy, "must be 'OrderedReady' or 'Parallel'");
    }
    let (strategy, at) = (&spec["updateStrategy"], path.child("updateStrategy"));
    match text(&strategy["type"]) {
        "OnDelete" => {
            if !strategy["rollingUpdate"].is_null() {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                causes.invalid(&at.child("rollingUpdate"), &strategy["rollingUpdate"], detail);
            }
        }
        "RollingUpdate" => {
            let partition = &strategy["rollingUpdate"]["partition"];
            causes.not_negative(&at.child("rollingUpdate").child("partition"), partition);
        }
        _ => causes.invalid_shown(&at, &shown(strategy), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// What Jobs and the Jobs of CronJobs have in common.
fn job_spec(spec: &Value, path: &Path, causes: &mut Causes) {
    for key in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        causes.not_negative(&path.child(key), &spec[key]);
    }
    let mode = &spec["completionMode"];
    if !mode.is_null() {
        causes.one_of(&path.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
    }
    if text(mode) == "Indexed" && spec["completions"].is_null() {
        causes.required(&path.child("completions"), "when completion mode is Indexed");
    }
    pod::template(&spec["template"], &path.child("template"), causes);
    let policy = text(&spec["template"]["spec"]["restartPolicy"]);
    if matches!(policy, "" | "Always") {
        let detail = "valid values: \"OnFailure\", \"Never\"";
        causes.required(&path.child("template").child("spec").child("restartPolicy"), detail);
    }
}

fn job(spec: &Value, before: Option<&Value>, path: &Path, causes: &mut Causes) {
    if before.is_none() && !flag(&spec["manualSelector"]) && generated(spec) == Some(false) {
        causes.invalid(&path.child("selector"), &spec["selector"], "`selector` not auto-generated");
    }
    job_spec(spec, path, causes);
    let Some(before) = before else { return };
    let indexed = text(&spec["completionMode"]) == "Indexed";
    let elastic = indexed && same(&spec["completions"], &spec["parallelism"]);
    if !elastic {
        causes.immutable(&path.child("completions"), &spec["completions"], &before["completions"]);
    }
    for key in ["selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"] {
        causes.immutable(&path.child(key), &spec[key], &before[key]);
    }
}

/// Whether the selector is the one that the server makes; nothing if it was not made yet.
fn generated(spec: &Value) -> Option<bool> {
    let labels = &spec["selector"]["matchLabels"];
    let only = labels
        .as_object()
        .is_some_and(|labels| labels.len() == 1 && labels.keys().all(|key| key.ends_with("controller-uid")));
    (!empty(&spec["selector"])).then_some(only && items(&spec["selector"]["matchExpressions"]).is_empty())
}

fn cron_job(spec: &Value, path: &Path, causes: &mut Causes) {
    let schedule = text(&spec["schedule"]);
    if schedule.is_empty() {
        causes.required(&path.child("schedule"), "");
    } else if schedule.contains("TZ") {
        let detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        causes.invalid_text(&path.child("schedule"), schedule, detail);
    } else if let Err(complaint) = cron::check(schedule) {
        causes.invalid_text(&path.child("schedule"), schedule, &complaint);
    }
    causes.not_negative(&path.child("startingDeadlineSeconds"), &spec["startingDeadlineSeconds"]);
    if let Some(zone) = spec["timeZone"].as_str() {
        if zone.is_empty() {
            causes.invalid_text(&path.child("timeZone"), zone, "timeZone must be nil or non-empty string");
        } else if !cron::may_be_zone(zone) {
            causes.invalid_text(&path.child("timeZone"), zone, &format!("unknown time zone {zone}"));
        }
    }
    causes.one_of(&path.child("concurrencyPolicy"), &spec["concurrencyPolicy"], &["Allow", "Forbid", "Replace"]);
    job_spec(&spec["jobTemplate"]["spec"], &path.child("jobTemplate").child("spec"), causes);
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        causes.not_negative(&path.child(key), &spec[key]);
    }
}
