//! Workloads.
use serde_json::{Value, json};

use super::super::field::{child, each, empty, fill, flag, made, put, text};

/// Any workload with a Pod template.
pub(super) fn workload(kind: &str, object: &mut Value) {
    if kind == "Job" {
        labels_of_template(object);
    }
    if let Some(spec) = made(object, "spec") {
        match kind {
            "Deployment" => deployment(spec),
            "StatefulSet" => stateful_set(spec),
            "DaemonSet" => daemon_set(spec),
            "Job" => job(spec),
            "CronJob" => cron_job(spec),
            _ => fill(spec, "replicas", 1),
        }
        let holder =
            if kind == "CronJob" { made(spec, "jobTemplate").and_then(|t| made(t, "spec")) } else { Some(spec) };
        if let Some(template) = holder.and_then(|spec| made(spec, "template")) {
            made(template, "metadata");
            if let Some(pod) = made(template, "spec") {
                super::pod::template_spec(pod);
            }
        }
    }
    if kind == "Job" {
        job_selector(object);
    }
    if kind == "DaemonSet"
        && let Some(annotations) = made(object, "metadata").and_then(|m| made(m, "annotations"))
    {
        fill(annotations, "deprecated.daemonset.template.generation", "1");
    }
    let counts: &[&str] = match kind {
        "ReplicaSet" => &["replicas"],
        "StatefulSet" => &["replicas", "availableReplicas"],
        "DaemonSet" => &["currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"],
        _ => &[],
    };
    if let Some(status) = made(object, "status") {
        counts.iter().for_each(|key| fill(status, key, 0));
    }
}

/// A rolling update's own fields, if the strategy is one.
fn rolling(strategy: &mut Value, defaults: &[(&str, Value)]) {
    fill(strategy, "type", "RollingUpdate");
    if text(&strategy["type"]) != "RollingUpdate" {
        return;
    }
    if let Some(rolling) = made(strategy, "rollingUpdate") {
        defaults.iter().for_each(|(key, value)| fill(rolling, key, value.clone()));
    }
}

fn deployment(spec: &mut Value) {
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = made(spec, "strategy") {
        rolling(strategy, &[("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))]);
    }
}

fn stateful_set(spec: &mut Value) {
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "podManagementPolicy", "OrderedReady");
    fill(spec, "serviceName", "");
    if let Some(strategy) = made(spec, "updateStrategy") {
        rolling(strategy, &[("partition", json!(0))]);
    }
    if let Some(policy) = made(spec, "persistentVolumeClaimRetentionPolicy") {
        fill(policy, "whenDeleted", "Retain");
        fill(policy, "whenScaled", "Retain");
    }
    for claim in each(spec, "volumeClaimTemplates") {
        fill(claim, "apiVersion", "v1");
        fill(claim, "kind", "PersistentVolumeClaim");
        super::claim(claim);
    }
}

fn daemon_set(spec: &mut Value) {
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = made(spec, "updateStrategy") {
        rolling(strategy, &[("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
    }
}

fn job(spec: &mut Value) {
    if spec["completions"].is_null() && spec["parallelism"].is_null() {
        put(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    fill(
        spec,
        "podReplacementPolicy",
        if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" },
    );
    if spec["backoffLimitPerIndex"].is_null() {
        fill(spec, "backoffLimit", 6);
    } else {
        fill(spec, "backoffLimit", i32::MAX);
    }
}

fn cron_job(spec: &mut Value) {
    fill(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = made(spec, "jobTemplate") {
        made(template, "metadata");
        made(template, "spec");
    }
}

/// A Job without labels has its template's.
fn labels_of_template(job: &mut Value) {
    let labels = job["spec"]["template"]["metadata"]["labels"].clone();
    if let Some(metadata) = made(job, "metadata")
        && empty(&metadata["labels"])
        && !empty(&labels)
    {
        put(metadata, "labels", labels);
    }
}

/// A Job finds its pods by its own uid, unless it says how to. Needs `metadata.uid`.
fn job_selector(job: &mut Value) {
    let (uid, name) = (text(&job["metadata"]["uid"]).to_owned(), text(&job["metadata"]["name"]).to_owned());
    if uid.is_empty() || flag(&job["spec"]["manualSelector"]) {
        return;
    }
    let set = |owner: Option<&mut Value>| {
        let Some(labels) = owner.and_then(|o| made(o, "metadata")).and_then(|m| made(m, "labels")) else { return };
        for prefix in ["", "batch.kubernetes.io/"] {
            fill(labels, &format!("{prefix}controller-uid"), uid.as_str());
            fill(labels, &format!("{prefix}job-name"), name.as_str());
        }
    };
    // The server keeps one map for both unless the Job has labels of its own.
    let own = !empty(&job["metadata"]["labels"])
        && job["metadata"]["labels"] != job["spec"]["template"]["metadata"]["labels"];
    if !own {
        set(Some(job));
    }
    let Some(spec) = child(job, "spec") else { return };
    set(made(spec, "template"));
    if let Some(labels) = made(spec, "selector").and_then(|s| made(s, "matchLabels")) {
        fill(labels, "batch.kubernetes.io/controller-uid", uid);
    }
}
