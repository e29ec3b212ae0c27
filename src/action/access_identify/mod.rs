//! `access.identify`: who it is, how it came, and who else came the same way.

mod gather;
mod words;

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::access::Identity;
use super::audit_reading::{self, Log, Paths, count, day};
use super::{Action, Conclusion, Done, Kind, Problem, Spec, StepPlan};
use crate::audit::{Answer, Event, Query};
use crate::cluster::Cx;
use crate::event::{NoteLevel, ObjectRef, Op, Proof, Risk};
use crate::evidence::segment;
use gather::{Around, Own, Seen};

const FORMAT: u32 = 1;

/// Parameters of `access.identify`. Of subject, address and session one is needed; all that are given must hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccessIdentify {
    /// A user name as the log writes it, or a service account as `namespace/name`.
    subject: Option<String>,
    /// An address or a range, held against the one address that the client can't set.
    address: Option<String>,
    /// A token's id (JTI), or a client certificate's SHA-256 fingerprint; never the token itself.
    session: Option<String>,
    /// Groups that its authenticator gives it, where no audit log tells.
    #[serde(default)]
    groups: Vec<String>,
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

impl Kind for AccessIdentify {
    const SPEC: Spec = Spec {
        name: "access.identify",
        summary: "Finds who used the API server: user, groups, credentials, addresses, agents, and who else came the same way",
        description: "From a name, an address or a credential's id to exactly one identity, by the audit log's own lines. The user \
            is who authenticated: where somebody else acted as the one that is asked about, it is that somebody, and it is said. Then \
            everybody's requests are looked at for the same addresses and agents. Without an audit log the name alone is taken, and \
            the step is not verified. Two candidates are never decided between: both are named.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[],
        example: "id: identify\ntitle: Who is it?\nuses: access.identify\nwith:\n  subject: ${{ inputs.subject }}\n  audit-log: ${{ inputs.audit_log }}\n",
        outputs: &[
            ("username", "who authenticated, as the audit log writes it"),
            ("uid", "the UID that the authenticator gave it"),
            ("groups", "its groups"),
            ("groups_known", "whether groups and extra are the log's own word"),
            ("extra", "what else the authenticator said of it"),
            ("service_account", "namespace and name, if it is one"),
            ("node", "the node's name, if it is a node's credential; else null"),
            (
                "credentials",
                "tokens and certificates by id, with pod, node, addresses, and a token's end where it is known",
            ),
            ("addresses", "where it came from, the most used first"),
            ("agents", "user agents"),
            ("acted_as", "whom it impersonated"),
            ("acted_by", "who impersonated it"),
            ("others", "other identities from the same addresses, or with the same agent"),
            ("group_members", "others in its groups, as far as the log shows"),
            ("used", "what it did with success, each kind once"),
            ("streams", "exec, attach, port-forward and watches that were not seen to end"),
            ("first", "its first request"),
            ("last", "its last request"),
        ],
    };
}

struct Asked {
    log: Log,
    query: Query,
    subject: Option<String>,
}

impl Asked {
    /// Whether a request was made with the credential that is asked about, if one is: its issue matches the query too.
    fn holds(&self, event: &Event<'_>) -> bool {
        let ids = &self.query.sessions;
        ids.is_empty() || event.credential_id().is_some_and(|held| ids.iter().any(|id| held.ends_with(id.as_str())))
    }
}

impl AccessIdentify {
    fn asked(&self, now: OffsetDateTime) -> Result<Asked, String> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.trim().is_empty());
        let log = Log::new(self.audit_log.as_ref(), self.window, self.until.as_deref(), &self.trusted_proxies, now)?;
        let subject = given(&self.subject).map(|text| audit_reading::username(&text));
        let mut query = Query { trusted_proxies: log.proxies.clone(), ..Query::default() };
        query.subjects.extend(subject.clone());
        if let Some(text) = given(&self.address) {
            query.source_ips.push(audit_reading::net("address", &text)?);
        }
        if let Some(text) = given(&self.session) {
            query.sessions.push(audit_reading::session(&text)?);
        }
        if subject.is_none() && query.source_ips.is_empty() && query.sessions.is_empty() {
            return Err("one of `subject`, `address` and `session` is needed".into());
        }
        if subject.is_none() && log.paths.is_empty() {
            return Err("an address or a session leads to nobody without `audit-log`".into());
        }
        Ok(Asked { log, query, subject })
    }

    fn words(&self) -> String {
        let all = [&self.subject, &self.address, &self.session];
        all.into_iter().flatten().filter(|t| !t.is_empty()).cloned().collect::<Vec<_>>().join(", ")
    }
}

#[async_trait]
impl Action for AccessIdentify {
    async fn plan(&self, cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let asked = match self.asked(cx.clock.now()) {
            Ok(asked) => asked,
            Err(blocker) => {
                plan.blockers.push(blocker);
                return Ok(plan);
            }
        };
        let object = ObjectRef { kind: "Identity".into(), name: self.words(), ..ObjectRef::default() };
        let summary = if asked.log.paths.is_empty() {
            plan.warnings.push("no audit log was given: how it came and what it did will not be known".into());
            format!("take {} by its name alone", self.words())
        } else {
            if let Some(subject) = &asked.subject {
                plan.warnings.push(format!(
                    "what follows is planned for {subject}; if the log shows that somebody else acted as it, the rest is \
                     planned and asked about anew, for them"
                ));
            }
            format!("find who {} is, and who else came the same way, in {}", self.words(), asked.log.look(&mut plan))
        };
        let preview = match &asked.subject {
            Some(subject) => Identity::named(subject, &self.groups),
            None => Identity::default(),
        };
        plan.outputs = json!(preview);
        plan.ops.push(Op::observe(object, summary));
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let asked = self.asked(cx.clock.now()).map_err(Problem::usage)?;
        let path = format!("data/{}/identity.json", segment(&cx.step));
        let document = match cx.store.adopt_json(&path) {
            Some(document) => document,
            None => {
                let (cx, object, groups) = (cx.clone(), op.object.clone(), self.groups.clone());
                tokio::task::spawn_blocking(move || {
                    let document = read(&cx, &asked, &groups)?;
                    let label =
                        asked.log.label(&object, "the identity", "application/json", "identity", cx.clock.now());
                    cx.store.put_json(&path, label, cx.clock, &document, Vec::new())?;
                    Ok::<_, Problem>(document)
                })
                .await
                .map_err(|e| Problem::internal(format!("reading the audit log ended early: {e}")))??
            }
        };
        let done = done(&document)?;
        for line in words::lines(&Identity::read(&document["identity"])) {
            cx.note(NoteLevel::Info, line);
        }
        Ok(done)
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
    }
}

fn read(cx: &Cx, asked: &Asked, groups: &[String]) -> Result<Value, Problem> {
    if asked.log.paths.is_empty() {
        let identity = Identity::named(asked.subject.as_deref().unwrap_or_default(), groups);
        let doubt = "no audit log was given: its groups, addresses and credentials are not known";
        return Ok(json!({"format": FORMAT, "identity": identity, "candidates": [], "doubts": [doubt], "notes": []}));
    }
    let (mut scan, left) = asked.log.read(cx, &asked.query, &())?;
    let mut all: BTreeMap<String, Own> = BTreeMap::new();
    let mut issued_to = None;
    for request in scan.requests.clone() {
        scan.originals.event(&request, |event| {
            // Whoever had a credential issued is not who used it: for a pod's token that is its node's kubelet.
            if !asked.holds(event) {
                let account = format!("system:serviceaccount:{}:{}", event.namespace(), event.name());
                issued_to = Some((account, event.user.username.to_string()));
                return;
            }
            let own = all.entry(event.user.username.to_string()).or_default();
            own.add(event, request.open, &asked.query);
        })?;
    }
    let answer = Answer::of(&scan, &asked.query, &left);
    let (doubts, coverage) = (answer.doubts(), answer.json());
    let mut notes = Vec::new();
    let candidates: Vec<Value> =
        all.iter().map(|(user, own)| json!({"user": user, "requests": own.requests})).collect();
    let chosen = match &asked.subject {
        // By its own credentials, or not at all in the log: the name is what counts.
        Some(subject) if all.contains_key(subject) || all.is_empty() => Some(subject.clone()),
        Some(subject) if all.len() == 1 => {
            let user = all.keys().next().cloned();
            notes.push(format!(
                "{subject} was only acted as: every request as it was made by {}, who is the one to cut off",
                user.as_deref().unwrap_or_default()
            ));
            user
        }
        None if all.len() == 1 => all.keys().next().cloned(),
        None if all.is_empty() => issued_to.map(|(account, by)| {
            notes.push(format!("its token was issued to {by}, and the log has no use of it"));
            account
        }),
        _ => None,
    };
    let Some(username) = chosen else {
        let identity = Identity::default();
        return Ok(json!({
            "format": FORMAT, "identity": identity, "candidates": candidates, "doubts": doubts, "notes": notes,
            "coverage": coverage,
        }));
    };
    let seed = all.remove(&username).unwrap_or_default();
    // All of its own requests now, and what everybody else shares with those that led here.
    let query =
        Query { subjects: vec![username.clone()], trusted_proxies: asked.log.proxies.clone(), ..Query::default() };
    let everybody = ["system:authenticated", "system:unauthenticated"];
    let mut identity = Identity::named(&username, groups);
    let around = Around {
        username: &username,
        query: &query,
        addresses: seed.addresses.sorted().into_iter().map(|c| c.value).collect(),
        agents: seed.agents(),
        groups: seed.groups().into_iter().filter(|g| !everybody.contains(&g.as_str())).collect(),
        credentials: seed.credentials(),
    };
    let (mut scan, _) = asked.log.read(cx, &query, &around)?;
    let mut own = Own::default();
    for request in scan.requests.clone() {
        scan.originals.event(&request, |event| {
            if event.user.username == username {
                own.add(event, request.open, &query);
            }
        })?;
    }
    let mut seen = Seen::default();
    for one in std::mem::take(&mut scan.seen) {
        seen.merge(one);
    }
    let issued: HashMap<_, _> = std::mem::take(&mut seen.issued);
    let requests = own.requests;
    own.into(&mut identity, &issued);
    seen.into(&mut identity);
    if !identity.acted_as.is_empty() {
        let names: Vec<&str> = identity.acted_as.iter().map(|c| c.value.as_str()).collect();
        notes.push(format!("it acted as {}: their rights were used, their credentials were not", names.join(", ")));
    }
    let mut doubts = doubts;
    if requests == 0 {
        doubts.push("the log holds no request of it: its groups and credentials are not known".into());
    }
    Ok(json!({
        "format": FORMAT, "identity": identity, "requests": requests, "candidates": candidates, "doubts": doubts,
        "notes": notes, "coverage": coverage,
    }))
}

fn done(document: &Value) -> Result<Done, Problem> {
    let texts =
        |key: &str| -> Vec<&str> { document[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect() };
    let identity = Identity::read(&document["identity"]);
    let Some(username) = &identity.username else {
        let all = document["candidates"].as_array().map_or(&[][..], Vec::as_slice);
        if all.is_empty() {
            return Err(Problem::refused("the audit log holds no request that fits: nobody was found").hint(
                "widen `window`, or name the files of the time that matters; if you know who it is, give `subject`",
            ));
        }
        let names: Vec<String> = all
            .iter()
            .take(10)
            .map(|c| format!("{} ({})", c["user"].as_str().unwrap_or_default(), c["requests"]))
            .collect();
        let text = format!(
            "{} fit, and none is chosen: {}",
            count(all.len() as u64, "identity").replace("identitys", "identities"),
            names.join(", ")
        );
        return Err(
            Problem::refused(text).hint("say which with --set subject=USER, and run it once for each that is meant")
        );
    };
    let from: Vec<&str> = identity.addresses.iter().take(5).map(|c| c.value.as_str()).collect();
    let mut detail = format!(
        "{username}: {} from {}",
        count(document["requests"].as_u64().unwrap_or(0), "request"),
        if from.is_empty() { "no known address".into() } else { from.join(", ") }
    );
    for note in texts("notes") {
        detail.push_str("; ");
        detail.push_str(note);
    }
    let doubts = texts("doubts");
    let proof = if doubts.is_empty() {
        Proof::Verified(format!("by the audit log's own lines, which cover the whole window: {detail}"))
    } else {
        Proof::Unproved(format!("not all of {username} can be known: {}", doubts.join("; ")))
    };
    Ok(Done::taken(detail, Some(proof), json!(identity)))
}
