//! `audit.query`: who did what, from the audit log's own files, with findings and what can't be known.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::audit_findings::{self, Around};
use super::audit_reading::{self, Log, Paths, count, day};
use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::audit::detect::{Detectors, Looking};
use crate::audit::{Answer, Query, Wanted};
use crate::cluster::Cx;
use crate::event::{ObjectRef, Op, Proof, Risk};
use crate::evidence::segment;

/// The version of the answer's form.
const FORMAT: u32 = 1;
/// Users that are named in the step's outputs; all are in the answer.
const MAX_NAMED: usize = 50;

/// Parameters of `audit.query`. What is given must all hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AuditQuery {
    /// A user name as the log writes it, or a service account as `namespace/name`. What it did as somebody else is found
    /// too, and what others did as it.
    subject: Option<String>,
    /// A Secret, as `namespace/name`. A list or a watch that holds it counts as a read of it.
    secret: Option<String>,
    /// An address or a range, held against the one address that the client can't set.
    address: Option<String>,
    /// A namespace: what was done to objects in it.
    namespace: Option<String>,
    /// A node: its kubelet, and tokens bound to it or to its pods.
    node: Option<String>,
    /// A token's id (JTI), or a client certificate's SHA-256 fingerprint; never the token itself.
    session: Option<String>,
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

impl Kind for AuditQuery {
    const SPEC: Spec = Spec {
        name: "audit.query",
        summary: "Finds who did what in the audit log: the slice, findings, sessions, and which time the log covers",
        description: "Reads the API server's audit log from files on this machine, in one pass and bounded memory, in the forms of \
            Kubernetes, EKS, GKE and AKS, packed or not. Takes each request that all the given filters hold for; without any, every \
            one. Writes the original lines (bodies that may hold Secret values are left out), what the detections find in them, the \
            sessions they belong to, and what the files can speak for. Each finding comes with what else it may be, what to do, and \
            the command of the runbook that answers it. A gap, a damaged line or a policy that leaves reads out keeps the step from \
            being verified.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[],
        example: "id: audit\ntitle: Who did what?\nuses: audit.query\nwith:\n  subject: ${{ inputs.subject }}\n  window: ${{ inputs.window }}\n  audit-log: ${{ inputs.audit_log }}\n",
        outputs: &[
            ("calls", "number of requests that match; null when no log was given"),
            ("denied", "how many of them were denied"),
            ("users", "who made them, the first fifty"),
            audit_findings::OUTPUTS[0],
            audit_findings::OUTPUTS[1],
            audit_findings::OUTPUTS[2],
            audit_findings::OUTPUTS[3],
            audit_findings::OUTPUTS[4],
            ("covered", "whether the log covers the whole window without gap or damage"),
            ("doubts", "what can't be known, in words"),
            ("slice", "path of the artifact with the requests, null without a log"),
            ("answer", "path of the artifact with users, findings in short and coverage, null without a log"),
        ],
    };
}

/// The question.
struct Asked {
    log: Log,
    query: Query,
    namespace: Option<String>,
}

impl AuditQuery {
    fn asked(&self, now: OffsetDateTime) -> Result<Asked, String> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.trim().is_empty());
        let log = Log::new(self.audit_log.as_ref(), self.window, self.until.as_deref(), &self.trusted_proxies, now)?;
        let mut query = Query { trusted_proxies: log.proxies.clone(), ..Query::default() };
        query.subjects.extend(given(&self.subject).map(|text| audit_reading::username(&text)));
        query.nodes.extend(given(&self.node));
        if let Some(text) = given(&self.secret) {
            let (namespace, name) = audit_reading::pair("secret", &text)?;
            query.objects.push(Wanted::secret(&namespace, &name));
        }
        if let Some(text) = given(&self.address) {
            query.source_ips.push(audit_reading::net("address", &text)?);
        }
        if let Some(text) = given(&self.session) {
            query.sessions.push(audit_reading::session(&text)?);
        }
        Ok(Asked { log, query, namespace: given(&self.namespace) })
    }

    /// What is asked, for people.
    fn words(&self) -> String {
        let all = [
            ("by", &self.subject),
            ("of Secret", &self.secret),
            ("from", &self.address),
            ("in namespace", &self.namespace),
            ("of node", &self.node),
            ("with credential", &self.session),
        ];
        let parts: Vec<String> = all
            .iter()
            .filter_map(|(word, value)| Some(format!("{word} {}", value.as_deref().filter(|v| !v.is_empty())?)))
            .collect();
        if parts.is_empty() { "of anybody".into() } else { parts.join(", ") }
    }
}

#[async_trait]
impl Action for AuditQuery {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let asked = match self.asked(cx.clock.now()) {
            Ok(asked) => asked,
            Err(blocker) => {
                plan.blockers.push(blocker);
                return Ok(plan);
            }
        };
        let object = ObjectRef { kind: "AuditLog".into(), name: self.words(), ..ObjectRef::default() };
        let summary = if asked.log.paths.is_empty() {
            plan.warnings.push("no audit log was given: nothing will be known of these requests".into());
            "say that nothing is known: no audit log was given".to_owned()
        } else {
            format!("look for requests {} in {}", self.words(), asked.log.look(&mut plan))
        };
        plan.ops.push(Op::observe(object, summary));
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let asked = self.asked(cx.clock.now()).map_err(Problem::usage)?;
        if asked.log.paths.is_empty() {
            let why = format!("no audit log was given: requests {} are not known", self.words());
            let mut observed = json!({
                "calls": null, "denied": null, "users": [], "covered": false, "doubts": [why], "slice": null,
                "answer": null,
            });
            audit_findings::into(&mut observed, audit_findings::none());
            return Ok(Done::taken(why.clone(), Some(Proof::Unproved(why)), observed));
        }
        let at = format!("data/{}", segment(&cx.step));
        let (slice, answer) = (format!("{at}/audit.slice.jsonl"), format!("{at}/audit.answer.json"));
        // The answer is written last: where it is whole, so is the slice.
        if cx.store.finished(&slice).is_some()
            && let Some(document) = cx.store.adopt_json(&answer)
        {
            cx.store.adopt(&slice);
            cx.store.adopt(&format!("{at}/audit.findings.json"));
            return Ok(done(&document));
        }
        let (cx, object) = (cx.clone(), op.object.clone());
        let findings = format!("{at}/audit.findings.json");
        // Reading a log takes a processor for as long as the disk gives: not on the runtime's own threads.
        let document = tokio::task::spawn_blocking(move || read(&cx, &asked, &object, [&slice, &findings, &answer]))
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

fn read(cx: &Cx, asked: &Asked, object: &ObjectRef, [slice, findings, answer]: [&str; 3]) -> Result<Value, Problem> {
    let started = cx.clock.now();
    let detectors = Detectors::all().trusting(asked.log.proxies.clone());
    let within = |event: &crate::audit::Event<'_>| asked.namespace.as_deref().is_none_or(|ns| event.namespace() == ns);
    let ours = |event: &crate::audit::Event<'_>| asked.query.matches(event) && within(event);
    let looking = Looking::of(&detectors, Some(&ours));
    let (mut scan, left) = asked.log.read(cx, &asked.query, &looking)?;
    let report = looking.report(std::mem::take(&mut scan.seen));
    let (mut calls, mut denied, mut users) = (0u64, 0u64, std::collections::BTreeMap::<String, u64>::new());
    let label =
        asked.log.label(object, "the requests, as the audit log has them", "application/jsonl", "audit log", started);
    let artifact = audit_reading::slice(cx, slice, label, &mut scan, |event, _| {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if asked.namespace.as_deref().is_some_and(|ns| text("/objectRef/namespace") != ns) {
            return false;
        }
        calls += 1;
        let code = event.pointer("/responseStatus/code").and_then(Value::as_u64);
        let decision = event.get("annotations").and_then(|a| a.get("authorization.k8s.io/decision"));
        denied += u64::from(decision.is_some_and(|d| d == "forbid") || matches!(code, Some(401 | 403)));
        *users.entry(text("/user/username").to_owned()).or_default() += 1;
        true
    })?;
    let said = Answer::of(&scan, &asked.query, &left);
    let mut doubts = said.doubts();
    doubts.extend(artifact.truncated.clone());
    let (mut question, coverage) = (asked.query.json(), said.json());
    question["namespace"] = asked.namespace.clone().into();
    let around = Around { asked: &question, coverage: &coverage, answered: None };
    let found = audit_findings::put(cx, findings, &asked.log, object, &scan, &report, &around)?;
    let mut document = json!({
        "format": FORMAT,
        "query": question,
        "namespace": asked.namespace,
        "calls": calls,
        "denied": denied,
        "users": users,
        "doubts": doubts,
        "coverage": coverage,
        "slice": artifact.path,
        "answer": answer,
    });
    audit_findings::into(&mut document, found);
    let label =
        asked.log.label(object, "who asked, findings in short, coverage", "application/json", "audit answer", started);
    cx.store.put_json(answer, label, cx.clock, &document, Vec::new())?;
    Ok(document)
}

/// The outcome, from the document: the same for a fresh one and one that an earlier try had finished.
fn done(document: &Value) -> Done {
    let number = |key: &str| document[key].as_u64().unwrap_or(0);
    let doubts: Vec<&str> = document["doubts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let detail = format!(
        "{} ({} denied), {}",
        count(number("calls"), "request"),
        number("denied"),
        audit_findings::summary(document)
    );
    let window = &document["coverage"]["asked"];
    let proof = if doubts.is_empty() {
        Proof::Verified(format!(
            "the files cover {} to {} without a gap, as far as the audit policy records and these are all API servers' files",
            window["from"].as_str().unwrap_or("?"),
            window["to"].as_str().unwrap_or("?")
        ))
    } else {
        Proof::Unproved(format!("the audit log does not show all: {}", doubts.join("; ")))
    };
    let users: Vec<&String> =
        document["users"].as_object().into_iter().flat_map(|m| m.keys()).take(MAX_NAMED).collect();
    let mut observed = json!({
        "calls": document["calls"], "denied": document["denied"], "users": users, "covered": doubts.is_empty(),
        "doubts": doubts, "slice": document["slice"], "answer": document["answer"],
    });
    audit_findings::observed(document, &mut observed);
    Done::taken(detail, Some(proof), observed)
}
