//! `access.review`: every call of an identity in order, grouped, and what it may have left behind.

use std::collections::BTreeMap;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::{Identity, foothold};
use super::audit_findings::{self, Answered, Around};
use super::audit_reading::{self, Log, Paths, count, day};
use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::audit::detect::{Detectors, Looking};
use crate::audit::{Answer, Event, Query};
use crate::cluster::Cx;
use crate::event::{ObjectRef, Op, Proof, Risk};
use crate::evidence::segment;

const FORMAT: u32 = 1;
/// Calls that are listed of each kind; all are counted, and all lie in the slice.
const MAX_LISTED: usize = 500;
/// Footholds that are told apart.
const MAX_FOOTHOLDS: usize = 2000;

/// Parameters of `access.review`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccessReview {
    /// The outputs of an `access.identify` step.
    of: Value,
    /// How far to look back from `until`, in seconds, at most 366 days. Default: 24 hours.
    #[serde(default = "day")]
    window: u64,
    /// The window's end, RFC 3339. Default: the time at which the step runs.
    until: Option<String>,
    /// Files or folders of the API server's audit log on this machine: one path or a list.
    audit_log: Option<Paths>,
    /// Proxies before the API server, as addresses or ranges: the address before theirs is taken.
    #[serde(default)]
    trusted_proxies: Vec<String>,
}

impl Kind for AccessReview {
    const SPEC: Spec = Spec {
        name: "access.review",
        summary: "Lists every call of an identity in order, by kind, with what was written and read, and findings",
        description: "Reads the audit log for every request that the identity authenticated, as itself or as somebody else. Groups \
            them: Secrets read and written, workloads, configuration, rights, tokens, certificates, webhooks, sessions into pods. What \
            a call may have left behind becomes a candidate for access.footholds. Where the log is silent nothing is claimed, and \
            without a log the step is not verified.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[],
        example: "id: review\ntitle: What did it do?\nuses: access.review\nwith:\n  of: ${{ steps.identify.outputs }}\n  audit-log: ${{ inputs.audit_log }}\n",
        outputs: &[
            ("calls", "number of its requests; null without a log"),
            ("denied", "how many of them were denied"),
            ("kinds", "number of calls by kind"),
            audit_findings::OUTPUTS[0],
            audit_findings::OUTPUTS[1],
            audit_findings::OUTPUTS[2],
            audit_findings::OUTPUTS[3],
            audit_findings::OUTPUTS[4],
            ("candidates", "number of things that it may have left behind"),
            ("covered", "whether the log covers the whole window without gap or damage"),
            ("slice", "path of the artifact with its requests, null without a log"),
            ("review", "path of the artifact with groups, candidates and coverage, null without a log"),
        ],
    };
}

impl AccessReview {
    fn log(&self, cx: &Cx) -> Result<Log, String> {
        let until = self.until.as_deref();
        Log::new(self.audit_log.as_ref(), self.window, until, &self.trusted_proxies, cx.clock.now())
    }
}

#[async_trait]
impl Action for AccessReview {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let identity = Identity::read(&self.of);
        let log = match self.log(cx) {
            Ok(log) => log,
            Err(blocker) => {
                plan.blockers.push(blocker);
                return Ok(plan);
            }
        };
        let object = ObjectRef { namespace: None, ..identity.object() };
        let who = identity.username.as_deref().unwrap_or("whoever is found");
        let summary = if log.paths.is_empty() {
            plan.warnings.push("no audit log was given: what it did will not be known".into());
            format!("say that the calls of {who} are not known: no audit log was given")
        } else {
            format!("list every call of {who} in {}", log.look(&mut plan))
        };
        plan.outputs = json!({
            "calls": null, "denied": null, "kinds": {}, "candidates": 0, "covered": false, "slice": null, "review": null,
        });
        audit_findings::into(&mut plan.outputs, audit_findings::none());
        plan.ops.push(Op::observe(object, summary));
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let identity = Identity::read(&self.of);
        let log = self.log(cx).map_err(Problem::usage)?;
        let Some(username) = identity.username.clone().filter(|_| !log.paths.is_empty()) else {
            let why = match &identity.username {
                Some(username) => format!("no audit log was given: what {username} did is not known"),
                None => "nobody was identified: whose calls are meant is not known".to_owned(),
            };
            return Ok(Done::taken(why.clone(), Some(Proof::Unproved(why)), json!({})));
        };
        let at = format!("data/{}", segment(&cx.step));
        let (slice, review) = (format!("{at}/access.slice.jsonl"), format!("{at}/access.review.json"));
        let findings = format!("{at}/access.findings.json");
        if cx.store.finished(&slice).is_some()
            && let Some(document) = cx.store.adopt_json(&review)
        {
            cx.store.adopt(&slice);
            cx.store.adopt(&findings);
            return Ok(done(&document));
        }
        let (cx, object) = (cx.clone(), op.object.clone());
        let document =
            tokio::task::spawn_blocking(move || read(&cx, &log, &username, &object, [&slice, &findings, &review]))
                .await
                .map_err(|e| Problem::internal(format!("reading the audit log ended early: {e}")))??;
        Ok(done(&document))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let outputs = super::merged(plan_outputs, done);
        let notes = audit_findings::notes(&outputs);
        Conclusion { notes, ..Conclusion::of(outputs, done) }
    }
}

/// Calls of one kind.
#[derive(Default)]
struct Group {
    count: u64,
    denied: u64,
    listed: Vec<Value>,
}

fn read(
    cx: &Cx,
    log: &Log,
    username: &str,
    object: &ObjectRef,
    [slice, findings, review]: [&str; 3],
) -> Result<Value, Problem> {
    let started = cx.clock.now();
    let detectors = Detectors::all().trusting(log.proxies.clone());
    let query = Query { subjects: vec![username.to_owned()], trusted_proxies: log.proxies.clone(), ..Query::default() };
    let own = |event: &Event<'_>| event.user.username == username;
    let looking = Looking::of(&detectors, Some(&own));
    let (mut scan, left) = log.read(cx, &query, &looking)?;
    let report = looking.report(std::mem::take(&mut scan.seen));
    let (mut calls, mut denied) = (0u64, 0u64);
    let mut groups: BTreeMap<&'static str, Group> = BTreeMap::new();
    let mut candidates: Vec<foothold::Foothold> = Vec::new();
    let mut index = std::collections::HashMap::new();
    let mut beyond = 0u64;
    let label =
        log.label(object, "its API calls, as the audit log has them", "application/jsonl", "audit log", started);
    let artifact = audit_reading::slice(cx, slice, label, &mut scan, |event, request| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        if text("/user/username") != Some(username) {
            return false;
        }
        calls += 1;
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64);
        let no = matches!(code, Some(401 | 403));
        denied += u64::from(no);
        let group = groups.entry(foothold::kind(event)).or_default();
        group.count += 1;
        group.denied += u64::from(no);
        if group.listed.len() < MAX_LISTED {
            group.listed.push(json!({
                "n": calls,
                "time": text("/requestReceivedTimestamp"),
                "verb": text("/verb"),
                "resource": text("/objectRef/resource"),
                "subresource": text("/objectRef/subresource"),
                "namespace": text("/objectRef/namespace"),
                "name": text("/objectRef/name"),
                "code": code,
                "as": text("/impersonatedUser/username"),
                "agent": text("/userAgent").map(|t| t.chars().take(200).collect::<String>()),
                "auditID": text("/auditID"),
                "perhaps_still_open": request.open,
            }));
        }
        if let Some(found) = foothold::of(event) {
            match index.get(&found.key()) {
                Some(at) => {
                    let known: &mut foothold::Foothold = &mut candidates[*at];
                    known.and(found);
                }
                None if candidates.len() < MAX_FOOTHOLDS => {
                    index.insert(found.key(), candidates.len());
                    candidates.push(found);
                }
                None => beyond += 1,
            }
        }
        true
    })?;
    let answer = Answer::of(&scan, &query, &left);
    let mut doubts = answer.doubts();
    doubts.extend(artifact.truncated.clone());
    if beyond > 0 {
        doubts.push(format!("{beyond} writes beyond {MAX_FOOTHOLDS} different objects are not told apart"));
    }
    let coverage = answer.json();
    // Taking its rights is what this step's runbook does.
    let answered = Answered { runbook: "api-access", inputs: vec![("subject", username)] };
    let around = Around { asked: &query.json(), coverage: &coverage, answered: Some(answered) };
    let found = audit_findings::put(cx, findings, log, object, &scan, &report, &around)?;
    let mut document = json!({
        "format": FORMAT,
        "user": username,
        "calls": calls,
        "denied": denied,
        "groups": groups.iter().map(|(kind, g)| ((*kind).to_owned(), json!({
            "count": g.count, "denied": g.denied, "listed": g.listed.len(), "calls": g.listed,
        }))).collect::<serde_json::Map<_, _>>(),
        "candidates": candidates,
        "doubts": doubts,
        "coverage": coverage,
        "slice": artifact.path,
        "review": review,
    });
    audit_findings::into(&mut document, found);
    let label = log.label(
        object,
        "its calls by kind, findings in short, coverage",
        "application/json",
        "access review",
        started,
    );
    cx.store.put_json(review, label, cx.clock, &document, Vec::new())?;
    Ok(document)
}

fn done(document: &Value) -> Done {
    let doubts: Vec<&str> = document["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let length = |key: &str| document[key].as_array().map_or(0, Vec::len) as u64;
    let kinds: serde_json::Map<String, Value> = document["groups"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(kind, group)| (kind.replace('-', "_"), group["count"].clone()))
        .collect();
    let listed: Vec<String> = kinds.iter().map(|(kind, n)| format!("{} {n}", kind.replace('_', " "))).collect();
    let detail = format!(
        "{} ({} denied): {}; {}",
        count(document["calls"].as_u64().unwrap_or(0), "call"),
        document["denied"],
        listed.join(", "),
        audit_findings::summary(document)
    );
    let proof = if doubts.is_empty() {
        Proof::Verified(format!("the log covers the whole window, as far as its policy records: {detail}"))
    } else {
        Proof::Unproved(format!("{detail}; the audit log does not show all: {}", doubts.join("; ")))
    };
    let mut observed = json!({
        "calls": document["calls"], "denied": document["denied"], "kinds": kinds, "candidates": length("candidates"),
        "covered": doubts.is_empty(), "slice": document["slice"], "review": document["review"],
    });
    audit_findings::observed(document, &mut observed);
    Done::taken(detail, Some(proof), observed)
}
