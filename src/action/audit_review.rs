//! `audit.review`: what the suspect's service account asked of the API server, from the audit log's own files.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::audit_findings::{self, Answered, Around};
use super::audit_reading::{self, Log, Paths, count, day, five_minutes};
use super::suspect::Suspect;
use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::audit::detect::{Detectors, Looking};
use crate::audit::{self, Answer, Event, Query, Scan, Summary, Window};
use crate::clock;
use crate::cluster::Cx;
use crate::event::{Artifact, Label, ObjectRef, Op, Proof, Risk};
use crate::evidence::segment;

/// Parameters of `audit.review`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AuditReview {
    /// The outputs of a `pod.record` step: its pod's service account and UID are looked for.
    #[serde(default)]
    record: Value,
    /// The account, as `namespace/name` or `system:serviceaccount:namespace:name`. Default: the record's.
    service_account: Option<String>,
    /// How far to look back from `until`, in seconds, at most 366 days. Default: 24 hours.
    #[serde(default = "day")]
    window: u64,
    /// Files or folders of the API server's audit log on this machine: one path or a list. Without any, the step says
    /// that nothing is known.
    audit_log: Option<Paths>,
    /// The window's end, RFC 3339. Default: the time at which the step runs.
    until: Option<String>,
    /// Silence of every user for longer than this, in seconds, counts as a gap. Default: 300.
    #[serde(default = "five_minutes")]
    gap: u64,
}

impl Kind for AuditReview {
    const SPEC: Spec = Spec {
        name: "audit.review",
        summary: "Finds the service account's API calls in the audit log, and says which time the log covers",
        description: "Reads the API server's audit log (JSON lines of audit.k8s.io/v1) from files on this machine, in one \
            pass and bounded memory. Takes every request of the service account, of anybody impersonating it, and of the \
            suspect pod's own token; counts each request once. States the time covered, gaps, and damaged lines: where \
            the log is silent, nothing is claimed. Bodies that may hold Secret values are left out of the slice. What it \
            can't see: what the audit policy leaves out, an API server whose files were not given, calls to a kubelet, \
            to etcd or to a cloud's API. gzip and zstd are read as they are, and EventLists and the logs of EKS, GKE and \
            AKS too. What the detections find in it comes with what else it may be, what to do, and the command of the \
            runbook that answers it.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[],
        example: "id: audit\ntitle: What did its service account do?\nuses: audit.review\nwith:\n  record: ${{ steps.record.outputs }}\n  window: ${{ inputs.window }}\n  audit-log: ${{ inputs.audit_log }}\n",
        outputs: &[
            ("service_account", "the account that was looked for, as the audit log writes it"),
            ("calls", "number of its requests in the window; null when no log was given"),
            ("denied", "how many of them were denied"),
            ("from_pod", "how many were made with a token of the suspect pod itself"),
            (
                "notable",
                "number of requests by kind: secret_reads, secret_writes, exec, proxy, rbac_writes, token_creates, …",
            ),
            ("covered", "whether the log covers the whole window without gap or damage"),
            ("gaps", "the uncovered parts: a list of {from, to}"),
            audit_findings::OUTPUTS[0],
            audit_findings::OUTPUTS[1],
            audit_findings::OUTPUTS[2],
            audit_findings::OUTPUTS[3],
            audit_findings::OUTPUTS[4],
            ("slice", "path of the artifact with the requests, null without a log"),
            ("summary", "path of the artifact with the counts, null without a log"),
        ],
    };
}

impl AuditReview {
    /// Namespace and name; the error says what to write.
    fn account(&self, suspect: &Suspect) -> Result<(String, String), String> {
        let good = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        let (namespace, name) = match &self.service_account {
            Some(text) => {
                let (namespace, name) = match text.strip_prefix("system:serviceaccount:") {
                    Some(rest) => rest.split_once(':'),
                    None => text.split_once('/'),
                }
                .ok_or("`service-account` must be written `namespace/name`")?;
                (namespace.to_owned(), name.to_owned())
            }
            None => match (&suspect.pod.namespace, &suspect.pod.service_account) {
                (Some(namespace), Some(name)) => (namespace.clone(), name.clone()),
                _ => return Err("`record` names no service account: give `service-account: namespace/name`".into()),
            },
        };
        if good(&namespace) && good(&name) {
            Ok((namespace, name))
        } else {
            Err(format!("{namespace:?}/{name:?} can't be a service account's name"))
        }
    }

    fn window(&self, now: OffsetDateTime) -> Result<Window, String> {
        audit_reading::window(self.window, self.until.as_deref(), self.gap, now)
    }
}

#[async_trait]
impl Action for AuditReview {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let suspect = Suspect::read(&self.record);
        let mut plan = StepPlan::default();
        let (namespace, name) = match self.account(&suspect) {
            Ok(account) => account,
            Err(blocker) => {
                plan.blockers.push(blocker);
                return Ok(plan);
            }
        };
        if let Err(blocker) = self.window(cx.clock.now()) {
            plan.blockers.push(blocker);
        }
        let paths = audit_reading::files(self.audit_log.as_ref());
        let object = ObjectRef {
            api_version: "v1".into(),
            kind: "ServiceAccount".into(),
            namespace: Some(namespace.clone()),
            name: name.clone(),
            uid: suspect.pod.service_account_uid.clone().filter(|_| self.service_account.is_none()),
        };
        let summary = if paths.is_empty() {
            plan.warnings.push("no audit log was given: what this account did will not be known".into());
            "say that its API calls are not known: no audit log was given".to_owned()
        } else {
            match audit_reading::look(&paths, &mut plan) {
                Some(files) => format!(
                    "look for its API calls of {} before {} in {files}",
                    span(self.window),
                    self.until.as_deref().unwrap_or("now"),
                ),
                None => "look for its API calls in the audit log".to_owned(),
            }
        };
        plan.outputs = json!({ "service_account": format!("system:serviceaccount:{namespace}:{name}") });
        plan.ops.push(Op::observe(object, summary));
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let suspect = Suspect::read(&self.record);
        let (namespace, name) = self.account(&suspect).map_err(Problem::usage)?;
        let identity = Identity {
            username: format!("system:serviceaccount:{namespace}:{name}"),
            pod_uid: suspect.pod.uid.clone(),
            pod: suspect.pod.namespace.clone().zip(suspect.pod.name.clone()),
        };
        let query = Query {
            service_accounts: vec![(namespace.clone(), name.clone())],
            pod_uids: suspect.pod.uid.clone().into_iter().collect(),
            ..Query::default()
        };
        let paths = audit_reading::files(self.audit_log.as_ref());
        if paths.is_empty() {
            let why = format!("no audit log was given: what {namespace}/{name} did is not known");
            let mut observed = json!({ "calls": null, "covered": false, "slice": null, "summary": null });
            audit_findings::into(&mut observed, audit_findings::none());
            return Ok(Done::taken(why.clone(), Some(Proof::Unproved(why)), observed));
        }
        let at = format!("data/{}", segment(&cx.step));
        let summary_path = format!("{at}/audit.summary.json");
        // The summary is written last: where it is whole, so is the slice.
        if cx.store.finished(&format!("{at}/audit.slice.jsonl")).is_some()
            && let Some(document) = cx.store.adopt_json(&summary_path)
        {
            cx.store.adopt(&format!("{at}/audit.slice.jsonl"));
            cx.store.adopt(&format!("{at}/audit.findings.json"));
            return Ok(done(&document));
        }
        let window = self.window(cx.clock.now()).map_err(Problem::usage)?;
        let log = Log { paths, window, proxies: Vec::new() };
        let task = Task { identity, query, log, object: op.object.clone(), at, cx: cx.clone() };
        // Reading a log takes a processor for as long as the disk gives: not on the runtime's own threads.
        let document = tokio::task::spawn_blocking(move || task.run())
            .await
            .map_err(|e| Problem::internal(format!("the audit review ended early: {e}")))??;
        Ok(done(&document))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        let outputs = super::merged(plan_outputs, done);
        let notes = audit_findings::notes(&outputs);
        Conclusion { notes, ..Conclusion::of(outputs, done) }
    }
}

/// Whose requests.
struct Identity {
    username: String,
    pod_uid: Option<String>,
    /// Namespace and name of the suspect.
    pod: Option<(String, String)>,
}

/// What the blocking part needs.
struct Task {
    identity: Identity,
    query: Query,
    log: Log,
    object: ObjectRef,
    at: String,
    cx: Cx,
}

impl Task {
    fn run(&self) -> Result<Value, Problem> {
        let started = self.cx.clock.now();
        let detectors = Detectors::all().trusting(self.log.proxies.clone());
        let ours = |event: &Event<'_>| self.query.matches(event);
        let looking = Looking::of(&detectors, Some(&ours));
        let (mut review, left) = self.log.read(&self.cx, &self.query, &looking)?;
        let report = looking.report(std::mem::take(&mut review.seen));
        let gaps = review.coverage.gaps(self.log.window.longest_gap);
        let mut summary = Summary::default();
        let slice = self.slice(&mut review, &mut summary, started)?;
        let not_read: Vec<_> = left.iter().filter(|l| l.may_hold_events).collect();

        let mut doubts: Vec<String> = gaps.iter().map(audit::describe).collect();
        if review.damaged() > 0 {
            doubts.push(format!(
                "{} could not be read and may be calls of this account",
                count(review.damaged(), "line")
            ));
        }
        for file in &review.files {
            if let Some(why) = &file.broke {
                doubts.push(format!("{} was not read to its end: {why}", file.file.path.display()));
            }
        }
        if !not_read.is_empty() {
            doubts.push(format!("{} beside was not read", count(not_read.len() as u64, "file or folder")));
        }
        if review.not_kept > 0 {
            doubts
                .push(format!("{} of this account are beyond the limit of the slice", count(review.not_kept, "line")));
        }
        if let Some(why) = &slice.truncated {
            doubts.push(why.clone());
        }
        if review.events() > 0 && review.reads() == 0 {
            doubts.push("the log holds no read (get, list, watch) by anybody: its policy does not record reads".into());
        }
        let time = |t: Option<OffsetDateTime>| t.map(clock::rfc3339);
        let (calls, denied) = summary.calls();
        let coverage = Answer::of(&review, &self.query, &left).json();
        let path = format!("{}/audit.findings.json", self.at);
        let asked = self.query.json();
        // Where a suspect was recorded, its capture and isolation are this step's runbook's own.
        let answered = self.identity.pod.as_ref().map(|(namespace, pod)| Answered {
            runbook: "pod-compromise",
            inputs: vec![("namespace", namespace), ("pod", pod)],
        });
        let around = Around { asked: &asked, coverage: &coverage, answered };
        let found = audit_findings::put(&self.cx, &path, &self.log, &self.object, &review, &report, &around)?;
        let mut document = json!({
            "account": self.identity.username,
            "pod_uid": self.identity.pod_uid,
            "window": { "from": time(self.log.window.start), "to": time(self.log.window.until) },
            "calls": calls,
            "denied": denied,
            "from_pod": summary.from_suspect_pod(),
            "notable": summary.notable(),
            "doubts": doubts,
            "coverage": {
                "first_event": time(review.coverage.first()),
                "last_event": time(review.coverage.last()),
                "longest_silence_seconds": self.log.window.longest_gap.whole_seconds(),
                "gaps": gaps.iter().map(|gap| json!({
                    "from": clock::rfc3339(gap.from),
                    "to": clock::rfc3339(gap.to),
                    "what": audit::describe(gap),
                })).collect::<Vec<_>>(),
                "events": review.events(),
                "reads": review.reads(),
                "levels": levels(&review),
                "damaged_lines": review.damaged(),
                "damage": review.damage.iter().map(|d| json!({
                    "file": review.files[d.file].file.path.display().to_string(),
                    "line": d.line,
                    "offset": d.offset,
                    "what": d.what,
                })).collect::<Vec<_>>(),
                "files": review.files.iter().map(|f| json!({
                    "path": f.file.path.display().to_string(),
                    "packing": f.file.packing.as_str(),
                    "bytes": f.tally.bytes,
                    "events": f.tally.events,
                    "first_event": time(f.tally.first()),
                    "last_event": time(f.tally.last()),
                    "outside_the_window": f.outside.is_some(),
                })).collect::<Vec<_>>(),
                "not_read": left.iter().map(|l| json!({
                    "path": l.path.display().to_string(),
                    "why": l.why,
                })).collect::<Vec<_>>(),
                "blind_to": [
                    "what the audit policy leaves out",
                    "an API server whose files were not given: whether there is one can't be told from the files",
                    "calls straight to a kubelet, to etcd or to a cloud's API",
                ],
            },
            "slice": slice.path,
            "summary": format!("{}/audit.summary.json", self.at),
            "requests": summary.json(),
        });
        audit_findings::into(&mut document, found);
        let label = self.label("counts and coverage of the audit log", "application/json", "audit summary", started);
        self.cx.store.put_json(
            &format!("{}/audit.summary.json", self.at),
            label,
            self.cx.clock,
            &document,
            Vec::new(),
        )?;
        Ok(document)
    }

    fn slice<S>(
        &self,
        review: &mut Scan<S>,
        summary: &mut Summary,
        started: OffsetDateTime,
    ) -> Result<Artifact, Problem> {
        let label =
            self.label("the account's API calls, as the audit log has them", "application/jsonl", "audit log", started);
        let (username, pod_uid) = (&self.identity.username, self.identity.pod_uid.as_deref());
        audit_reading::slice(&self.cx, &format!("{}/audit.slice.jsonl", self.at), label, review, |event, request| {
            summary.add(event, request.open, username, pod_uid);
            true
        })
    }

    fn label(&self, title: &str, media_type: &str, what: &str, started: OffsetDateTime) -> Label {
        self.log.label(&self.object, title, media_type, what, started)
    }
}

/// The outcome, from the document: the same for a fresh one and one that an earlier try had finished.
fn done(document: &Value) -> Done {
    let number = |key: &str| document[key].as_u64().unwrap_or(0);
    let doubts: Vec<&str> = document["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let notable: Vec<String> = document["notable"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, n)| n.as_u64().is_some_and(|n| n > 0))
        .map(|(kind, n)| format!("{} {n}", kind.replace('_', " ")))
        .collect();
    let found = format!(
        "{} of the account ({} denied, {} with the suspect pod's own token){}{}",
        count(number("calls"), "call"),
        number("denied"),
        number("from_pod"),
        if notable.is_empty() { "" } else { ": " },
        notable.join(", ")
    ) + &format!("; {}", audit_findings::summary(document));
    let proof = if doubts.is_empty() {
        Proof::Verified(format!(
            "the files cover {} to {} without a gap, as far as the audit policy records and these are all API servers' files",
            document["window"]["from"].as_str().unwrap_or("?"),
            document["window"]["to"].as_str().unwrap_or("?")
        ))
    } else {
        Proof::Unproved(format!("the audit log does not show all: {}", doubts.join("; ")))
    };
    let mut observed = json!({ "covered": doubts.is_empty(), "gaps": document["coverage"]["gaps"] });
    for key in ["calls", "denied", "from_pod", "notable", "slice", "summary"] {
        observed[key] = document[key].clone();
    }
    audit_findings::observed(document, &mut observed);
    Done::taken(found, Some(proof), observed)
}

/// Events of anybody, by audit level.
fn levels<S>(review: &Scan<S>) -> Value {
    let names = ["unknown", "Metadata", "Request", "RequestResponse"];
    let counts = names.iter().enumerate().map(|(at, name)| {
        let count: u64 = review.resources.iter().map(|(_, r)| r.levels[at]).sum();
        ((*name).to_owned(), count)
    });
    counts.filter(|(_, count)| *count > 0).map(|(name, count)| (name, Value::from(count))).collect()
}

fn span(seconds: u64) -> String {
    match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{} h", seconds / 3600),
        (_, 0) => format!("{} min", seconds / 60),
        _ => format!("{seconds} s"),
    }
}
