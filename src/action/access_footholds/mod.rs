//! `access.footholds`: what an identity left behind, looked up in the cluster, with the step against each.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream;
use http::Request;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::access::foothold::Foothold;
use super::audit_reading::count;
use super::{Action, Conclusion, Done, Kind, Problem, Rule, Scope, Spec, StepPlan};
use crate::clock;
use crate::cluster::{Cx, Fault};
use crate::event::{Label, Method, NoteLevel, ObjectRef, Op, Proof, Risk, Source};
use crate::evidence::segment;

const FORMAT: u32 = 1;
/// Footholds in the step's outputs; all are in the artifact.
const MAX_SHOWN: usize = 50;
/// Footholds that are said.
const MAX_SAID: usize = 25;

/// Parameters of `access.footholds`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccessFootholds {
    /// The outputs of an `access.review` step.
    of: Value,
}

const fn look(group: &'static str, resource: &'static str) -> Rule {
    let why = "whether what it left behind is still there; its metadata alone";
    Rule { group, resource, verbs: &["get"], scope: Scope::Cluster, why, optional: true }
}

impl Kind for AccessFootholds {
    const SPEC: Spec = Spec {
        name: "access.footholds",
        summary: "Looks up what an identity created or changed, says what is still there, and offers a step against each",
        description: "Takes the candidates of access.review: workloads, configuration, rights, tokens, certificates, webhooks, sessions \
            into pods, Secrets read. Asks the API server for each object's metadata, by UID where the log tells it, so that another \
            object of the same name is not taken for it. Each comes with a step (remove, isolate, rotate or look) and its command; \
            nothing is removed here. Secrets are not asked for: that would take the right to read them.",
        risk: Risk::Read,
        undo: "nothing to undo: it only reads",
        captures: false,
        rules: &[
            look("", "pods"),
            look("", "configmaps"),
            look("", "services"),
            look("", "serviceaccounts"),
            look("", "namespaces"),
            look("apps", "deployments"),
            look("apps", "daemonsets"),
            look("apps", "statefulsets"),
            look("apps", "replicasets"),
            look("batch", "jobs"),
            look("batch", "cronjobs"),
            look("rbac.authorization.k8s.io", "roles"),
            look("rbac.authorization.k8s.io", "clusterroles"),
            look("rbac.authorization.k8s.io", "rolebindings"),
            look("rbac.authorization.k8s.io", "clusterrolebindings"),
            look("networking.k8s.io", "networkpolicies"),
            look("networking.k8s.io", "ingresses"),
            look("certificates.k8s.io", "certificatesigningrequests"),
            look("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
            look("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
            look("apiextensions.k8s.io", "customresourcedefinitions"),
        ],
        example: "id: footholds\ntitle: What did it leave behind?\nuses: access.footholds\nwith:\n  of: ${{ steps.review.outputs }}\n",
        outputs: &[
            ("footholds", "the first fifty: kind, object, UID, present, step and command"),
            ("total", "how many there are; null when no calls are known"),
            ("present", "how many are still there"),
            ("list", "path of the artifact with all of them, null when no calls are known"),
        ],
    };
}

#[async_trait]
impl Action for AccessFootholds {
    async fn plan(&self, _cx: &Cx) -> Result<StepPlan, Problem> {
        let mut plan = StepPlan::default();
        let object = ObjectRef { kind: "Footholds".into(), name: "cluster".into(), ..ObjectRef::default() };
        plan.ops.push(Op::observe(object, "look up what it created or changed, and whether that is still there"));
        plan.outputs = json!({"footholds": [], "total": null, "present": null, "list": null});
        Ok(plan)
    }

    async fn apply(&self, cx: &Cx, op: &Op) -> Result<Done, Problem> {
        let document = self.of["review"].as_str().and_then(|path| cx.store.read_json(path));
        let Some(document) = document else {
            let why = "its calls are not known: what it left behind can't be told from them".to_owned();
            return Ok(Done::taken(why.clone(), Some(Proof::Unproved(why)), json!({})));
        };
        let path = format!("data/{}/access.footholds.json", segment(&cx.step));
        if let Some(known) = cx.store.adopt_json(&path) {
            say(cx, &known);
            return Ok(done(&known));
        }
        let started = cx.clock.now();
        let candidates: Vec<Foothold> = serde_json::from_value(document["candidates"].clone())
            .map_err(|e| Problem::internal(format!("the review's candidates: {e}")))?;
        let answers: Vec<Result<Foothold, Problem>> =
            stream::iter(candidates).map(|one| found(cx, one)).buffered(8).collect().await;
        let mut all = Vec::new();
        for answer in answers {
            all.push(answer?);
        }
        let covered = self.of["covered"] == true;
        let made =
            json!({"format": FORMAT, "user": document["user"], "covered": covered, "footholds": all, "list": path});
        let label = Label {
            title: "what it left behind, and whether it is still there".into(),
            media_type: "application/json".into(),
            source: Source { object: op.object.clone(), container: None, what: "footholds".into() },
            method: Method::api("metadata of each object that the audit log names", Vec::new()),
            started,
        };
        cx.store.put_json(&path, label, cx.clock, &made, Vec::new())?;
        say(cx, &made);
        Ok(done(&made))
    }

    fn conclude(&self, plan_outputs: &Value, done: &[(Op, Done)]) -> Conclusion {
        Conclusion::of(super::merged(plan_outputs, done), done)
    }
}

/// Whether it is still there. A failure to ask is an answer too, but one that the engine may try again.
async fn found(cx: &Cx, mut one: Foothold) -> Result<Foothold, Problem> {
    if one.kind == "secret-read" {
        one.say("unknown", "a value that was read stays known, whatever becomes of the Secret");
        return Ok(one);
    }
    if one.resource == "secrets" {
        one.say("unknown", "Secrets are not asked for");
        return Ok(one);
    }
    let Some(path) = one.path() else {
        one.say("unknown", "the log does not tell its name: the audit policy leaves bodies out");
        return Ok(one);
    };
    let request = Request::get(path)
        .header("accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .map_err(|e| Problem::internal(e.to_string()))?;
    match cx.client.request::<Value>(request).await.map_err(Problem::from) {
        Ok(object) => there(&mut one, &object["metadata"]),
        Err(problem) if problem.fault == Fault::NotFound => one.say("no", "there is none of that name"),
        Err(problem) if cx.passes_on(&problem) => return Err(problem),
        Err(problem) => one.say("unknown", &problem.to_string()),
    }
    Ok(one)
}

/// Whether what is there is what it made: by UID where the log tells it, else by when it was made.
fn there(one: &mut Foothold, meta: &Value) {
    let uid = meta["uid"].as_str().unwrap_or_default().to_owned();
    let made = meta["creationTimestamp"].as_str().unwrap_or_default();
    // The API server's times have whole seconds here, and a request takes a while.
    let later = match (clock::parse(made), clock::parse(&one.last)) {
        (Ok(made), Ok(last)) => made > last + time::Duration::seconds(2),
        _ => false,
    };
    match one.uid.as_str() {
        "" if later => {
            one.say("replaced", &format!("what is there was made at {made}, after its last request; UID {uid}"))
        }
        "" => {
            one.uid = uid;
            one.say("yes", &format!("by its name, and by when it was made: {made}; the log does not tell the UID"));
        }
        known if known == uid => one.say("yes", "by its UID"),
        _ => one.say("replaced", &format!("another object of that name is there, UID {uid}")),
    }
    if one.kind == "certificate" {
        one.why.push_str("; a certificate that was signed for it stays valid when the request is deleted");
    }
}

/// One line each: what is still there first, with its UID and the command against it.
fn say(cx: &Cx, document: &Value) {
    let mut all: Vec<Foothold> = serde_json::from_value(document["footholds"].clone()).unwrap_or_default();
    let rank = |one: &Foothold| match one.present.as_deref() {
        Some("yes") => 0,
        Some("no") => 2,
        _ => 1,
    };
    all.sort_by_key(rank);
    for one in all.iter().take(MAX_SAID) {
        let level = if rank(one) == 2 { NoteLevel::Info } else { NoteLevel::Warning };
        cx.note(level, one.words());
    }
    if all.len() > MAX_SAID {
        let path = document["list"].as_str().unwrap_or_default();
        cx.note(NoteLevel::Warning, format!("{} more in {path}", count((all.len() - MAX_SAID) as u64, "foothold")));
    }
}

fn done(document: &Value) -> Done {
    let all = document["footholds"].as_array().map_or(&[][..], Vec::as_slice);
    let with = |state: &str| all.iter().filter(|f| f["present"] == state).collect::<Vec<_>>();
    let there = with("yes");
    let read = all.iter().filter(|f| f["kind"] == "secret-read").count();
    let unknown = with("unknown").len() - read;
    let mut detail = format!("{}, {} still there", count(all.len() as u64, "foothold"), there.len());
    if read > 0 {
        detail.push_str(&format!("; {} to rotate", count(read as u64, "read Secret")));
    }
    let proof = match (unknown, document["covered"] == true) {
        (0, true) => Proof::Verified(format!("each was looked up: {detail}")),
        (0, false) => Proof::Unproved("the log does not cover all of the window, so there may be more".into()),
        (n, true) => Proof::Unproved(format!("of {n} it is not known whether they are there")),
        (n, false) => Proof::Unproved(format!(
            "of {n} it is not known whether they are there; the log does not cover all of the window, so there may be more"
        )),
    };
    let keys = ["kind", "resource", "namespace", "name", "uid", "present", "step", "command", "acted_as"];
    let shown: Vec<Value> = all
        .iter()
        .take(MAX_SHOWN)
        .map(|f| keys.iter().map(|key| ((*key).to_owned(), f[*key].clone())).collect::<serde_json::Map<_, _>>().into())
        .collect();
    let observed = json!({
        "footholds": shown, "total": all.len(), "present": there.len(), "list": document["list"],
    });
    Done::taken(detail, Some(proof), observed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_object_of_the_same_name_is_not_taken_for_what_was_left() {
        let one = |uid: &str, made: &str| {
            let mut one = Foothold { last: "2026-11-25T03:00:00.5Z".into(), uid: uid.into(), ..Foothold::default() };
            there(&mut one, &json!({"uid": "u", "creationTimestamp": made}));
            (one.present.unwrap_or_default(), one.uid)
        };
        let (then, later) = ("2026-11-25T03:00:00Z", "2026-11-25T03:00:09Z");
        assert_eq!(one("u", later), ("yes".into(), "u".into()));
        assert_eq!(one("other", then), ("replaced".into(), "other".into()));
        assert_eq!(one("", then), ("yes".into(), "u".into()));
        assert_eq!(one("", later), ("replaced".into(), String::new()));
    }
}
