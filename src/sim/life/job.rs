//! Jobs run pods to their end; CronJobs make Jobs by the clock.

use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use super::condition;
use super::owned_by;
use super::replica::{claimed, create_pod, pod_from};
use crate::sim::special::is_ready;
use crate::sim::store::Key;
use crate::sim::world::World;

/// One Job.
pub fn job(world: &mut World, key: &Key) {
    let Some(job) = world.store.value(key) else { return };
    let finished = job["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| ["Complete", "Failed"].iter().any(|t| c["type"] == *t) && c["status"] == "True");
    if finished || !job["metadata"]["deletionTimestamp"].is_null() {
        return;
    }
    let pods: Vec<Value> = claimed(world, &job).into_iter().map(|(_, p)| p).collect();
    let phase = |p: &Value, name: &str| p["status"]["phase"] == name;
    let succeeded = pods.iter().filter(|p| phase(p, "Succeeded")).count() as u64;
    let failed = pods.iter().filter(|p| phase(p, "Failed")).count() as u64;
    let active = pods
        .iter()
        .filter(|p| !phase(p, "Succeeded") && !phase(p, "Failed") && p["metadata"]["deletionTimestamp"].is_null())
        .count() as u64;
    let completions = job["spec"]["completions"].as_u64().unwrap_or(1);
    let parallelism = job["spec"]["parallelism"].as_u64().unwrap_or(1);
    let limit = job["spec"]["backoffLimit"].as_u64().unwrap_or(6);
    let suspended = job["spec"]["suspend"] == true;
    let wanted = if suspended { 0 } else { parallelism.min(completions.saturating_sub(succeeded)) };
    if failed <= limit {
        for _ in active..wanted {
            let generate = format!("{}-", key.name);
            let name = format!("{generate}{}", world.random.suffix(5));
            let pod = pod_from(world, &job, &job["spec"]["template"], &name, &generate);
            if create_pod(world, &job, pod).is_err() {
                break;
            }
        }
    }
    let Some(mut job) = world.store.value(key) else { return };
    let pods: Vec<Value> = claimed(world, &job).into_iter().map(|(_, p)| p).collect();
    let active = pods
        .iter()
        .filter(|p| !phase(p, "Succeeded") && !phase(p, "Failed") && p["metadata"]["deletionTimestamp"].is_null())
        .count() as u64;
    let ready = pods.iter().filter(|p| is_ready(p) && p["metadata"]["deletionTimestamp"].is_null()).count();
    let mut status = job["status"].take();
    if status["startTime"].is_null() && !suspended {
        status["startTime"] = json!(world.stamp());
    }
    for (name, count) in [("active", active), ("succeeded", succeeded), ("failed", failed)] {
        let value = if count == 0 { Value::Null } else { json!(count) };
        crate::sim::write::set_or_remove(&mut status, name, &value);
    }
    status["ready"] = json!(ready);
    status["terminating"] = json!(0);
    status["uncountedTerminatedPods"] = json!({});
    if succeeded >= completions {
        status["completionTime"] = json!(world.stamp());
        let message = "Reached expected number of succeeded pods";
        condition(world, &mut status, "SuccessCriteriaMet", "True", "CompletionsReached", message);
        condition(world, &mut status, "Complete", "True", "CompletionsReached", message);
    } else if failed > limit {
        let message = "Job has reached the specified backoff limit";
        condition(world, &mut status, "FailureTarget", "True", "BackoffLimitExceeded", message);
        condition(world, &mut status, "Failed", "True", "BackoffLimitExceeded", message);
    }
    job["status"] = status;
    world.improve(key, job);
}

/// One CronJob: makes the Job that is due, and looks again at the next full minute.
pub fn cron_job(world: &mut World, key: &Key) {
    let Some(mut cron) = world.store.value(key) else { return };
    let now = world.now();
    let minute = now.replace_second(0).and_then(|t| t.replace_nanosecond(0)).unwrap_or(now);
    let stamp = crate::sim::world::seconds(minute);
    world.later(minute + Duration::minutes(1) - now, key);
    let due = cron["spec"]["suspend"] != true
        && cron["status"]["lastScheduleTime"] != stamp.as_str()
        && cron["metadata"]["creationTimestamp"]
            .as_str()
            .is_some_and(|t| crate::clock::parse(t).is_ok_and(|t| t < minute))
        && fires(cron["spec"]["schedule"].as_str().unwrap_or_default(), minute);
    if !due {
        return;
    }
    let name = format!("{}-{}", key.name, minute.unix_timestamp() / 60);
    let at = Key::new("jobs.batch", &key.namespace, &name);
    if world.store.get(&at).is_none() {
        let mut meta = world.metadata(&key.namespace, &name);
        meta["ownerReferences"] = json!([owned_by(&cron)]);
        meta["generation"] = json!(1);
        for part in ["labels", "annotations"] {
            if !cron["spec"]["jobTemplate"]["metadata"][part].is_null() {
                meta[part] = cron["spec"]["jobTemplate"]["metadata"][part].clone();
            }
        }
        let mut job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": cron["spec"]["jobTemplate"]["spec"]});
        crate::sim::schema::set_defaults("Job", &mut job);
        let user = crate::sim::identity::User::new("system:kube-controller-manager", &["system:masters"]);
        if let Some(resource) = world.resource("jobs.batch")
            && crate::sim::admission::on_create(world, &resource, &mut job, &user).is_ok()
        {
            world.put(&at, &mut job);
        }
    }
    cron["status"]["lastScheduleTime"] = json!(stamp);
    world.improve(key, cron);
}

/// Whether a cron line of five fields (`*`, `*/n`, `a-b`, lists) names this minute.
fn fires(schedule: &str, at: OffsetDateTime) -> bool {
    let fields: Vec<&str> = match schedule.trim() {
        "@hourly" => vec!["0", "*", "*", "*", "*"],
        "@daily" | "@midnight" => vec!["0", "0", "*", "*", "*"],
        "@weekly" => vec!["0", "0", "*", "*", "0"],
        other => other.split_whitespace().collect(),
    };
    let [minute, hour, day, month, weekday] = fields.as_slice() else { return false };
    let one = |field: &str, value: u32, first: u32, last: u32| {
        field.split(',').any(|part| {
            let (range, step) = part.split_once('/').map_or((part, 1), |(r, s)| (r, s.parse().unwrap_or(1).max(1)));
            let (low, high) = match range.split_once('-') {
                Some((low, high)) => (low.parse().unwrap_or(first), high.parse().unwrap_or(last)),
                None if range == "*" => (first, last),
                None => {
                    let only = range.parse().unwrap_or(u32::MAX);
                    (only, if part.contains('/') { last } else { only })
                }
            };
            low <= value && value <= high && (value - low).is_multiple_of(step)
        })
    };
    let sunday = u32::from(at.weekday().number_days_from_sunday());
    one(minute, u32::from(at.minute()), 0, 59)
        && one(hour, u32::from(at.hour()), 0, 23)
        && one(day, u32::from(at.day()), 1, 31)
        && one(month, u32::from(u8::from(at.month())), 1, 12)
        && (one(weekday, sunday, 0, 7) || sunday == 0 && one(weekday, 7, 0, 7))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules() {
        let at = time::macros::datetime!(2026-11-23 04:30 UTC);
        for (schedule, is) in [
            ("* * * * *", true),
            ("30 4 * * *", true),
            ("*/15 * * * 1", true),
            ("*/7 * * * *", false),
            ("0-29 * * * *", false),
            ("30 4 * * 0", false),
            ("x", false),
        ] {
            assert_eq!(fires(schedule, at), is, "{schedule}");
        }
    }
}
