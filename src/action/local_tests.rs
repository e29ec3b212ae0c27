//! The actions that work on the responder's own machine, against planted truth.

use std::sync::Arc;

use serde_json::{Value, json};

use super::test_cx::{Answer, cx, status};
use super::{Action, Done, StepPlan, find};
use crate::cluster::{Cx, Fault, Problem};
use crate::event::{Landed, Op, Proof, StepStatus};

fn bind(name: &str, with: Value) -> Arc<dyn Action> {
    (find(name).unwrap().bind)(with).unwrap()
}

fn offline(folder: &tempfile::TempDir) -> Cx {
    cx(folder.path(), |_| status(500, "InternalError", "not asked in this test"))
}

async fn one(action: &dyn Action, cx: &Cx) -> (StepPlan, Op, Result<Done, Problem>) {
    let plan = action.plan(cx).await.unwrap();
    let mut op = plan.ops[0].clone();
    op.id = "step/1".into();
    let done = action.apply(cx, &op).await;
    (plan, op, done)
}

fn line(second: u32, user: &str) -> String {
    let at = format!("2026-11-23T02:{:02}:{:02}.000000Z", second / 60, second % 60);
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": format!("id-{second}-{user}"),
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/payments/secrets", "verb": "list",
        "user": {"username": user}, "objectRef": {"resource": "secrets", "namespace": "payments"},
        "sourceIPs": ["10.0.0.1"], "responseStatus": {"code": 200},
        "requestReceivedTimestamp": at, "stageTimestamp": at})
    .to_string()
}

#[tokio::test]
async fn an_audit_review_is_verified_only_where_the_log_covers_the_window() {
    let logs = tempfile::tempdir().unwrap();
    let sa = "system:serviceaccount:payments:checkout";
    let write = |name: &str, seconds: &mut dyn Iterator<Item = u32>| {
        let text: Vec<String> =
            seconds.flat_map(|s| if s == 600 { vec![line(s, "x"), line(s, sa)] } else { vec![line(s, "x")] }).collect();
        let path = logs.path().join(name);
        std::fs::write(&path, text.join("\n") + "\n").unwrap();
        path
    };
    let whole = write("whole.log", &mut (0..3600).step_by(60));
    let gap = write("gap.log", &mut (0..3600).step_by(60).filter(|s| !(1200..2400).contains(s)));
    let late = write("late.log", &mut (540..3600).step_by(60));
    let broken = write("broken.log", &mut (0..3600).step_by(60));
    std::fs::write(&broken, std::fs::read_to_string(&broken).unwrap() + "{\"kind\":\"Ev").unwrap();
    for (path, expected) in [
        (&whole, None),
        (&gap, Some("a gap from 2026-11-23T02:19:00.000Z to 2026-11-23T02:40:00.000Z")),
        (&late, Some("begins only at 2026-11-23T02:09:00.000Z")),
        (&broken, Some("1 line could not be read")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let cx = offline(&folder);
        let action = bind(
            "audit.review",
            json!({"service-account": "payments/checkout", "window": 3600, "audit-log": path, "until": "2026-11-23T03:00:00Z"}),
        );
        let (plan, op, done) = one(&*action, &cx).await;
        assert_eq!(plan.blockers, Vec::<String>::new());
        let done = done.unwrap();
        match (expected, done.proof.as_ref().unwrap()) {
            (None, Proof::Verified(_)) => {}
            (Some(text), Proof::Unproved(why)) => assert!(why.contains(text), "{why}"),
            (_, other) => panic!("{path:?}: {other:?}"),
        }
        let conclusion = action.conclude(&plan.outputs, &[(op.clone(), done)]);
        assert_eq!(conclusion.outputs["calls"], 1);
        assert_eq!(conclusion.outputs["notable"]["secret_reads"], 1);
        assert_eq!(conclusion.outputs["covered"], expected.is_none());
        let slice = std::fs::read_to_string(folder.path().join("data/step/audit.slice.jsonl")).unwrap();
        assert_eq!(slice, line(600, sa) + "\n");
        // A second try adopts what is whole.
        assert_eq!(cx.store.drain().len(), 3);
        std::fs::remove_file(path).unwrap();
        action.apply(&cx, &op).await.unwrap();
        assert_eq!(cx.store.drain().len(), 3);
    }
}

/// An exec that reaches for credentials, among what nodes ask.
fn exec(logs: &tempfile::TempDir) -> std::path::PathBuf {
    let mut exec: Value = serde_json::from_str(&line(600, "system:serviceaccount:payments:checkout")).unwrap();
    exec["auditID"] = "exec".into();
    exec["verb"] = "create".into();
    exec["requestURI"] =
        "/api/v1/namespaces/payments/pods/db-0/exec?command=cat&command=/var/run/secrets/kubernetes.io/serviceaccount/token"
            .into();
    exec["objectRef"] = json!({"resource": "pods", "subresource": "exec", "namespace": "payments", "name": "db-0"});
    exec["responseStatus"]["code"] = 101.into();
    let mut lines: Vec<String> = (0..3600).step_by(60).map(|s| line(s, "system:node:n1")).collect();
    lines.push(exec.to_string());
    let path = logs.path().join("audit.log");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    path
}

#[tokio::test]
async fn what_the_detections_find_is_in_the_record_with_what_answers_it() {
    let logs = tempfile::tempdir().unwrap();
    let path = exec(&logs);
    let with = |more: Value| {
        let mut with = json!({"window": 3600, "audit-log": path, "until": "2026-11-23T03:00:00Z"});
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        with
    };
    let account = "payments/checkout";
    for (name, with) in [
        ("audit.review", with(json!({"service-account": account}))),
        ("audit.query", with(json!({"subject": account}))),
        ("audit.query", with(json!({"namespace": "payments"}))),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let cx = offline(&folder);
        let action = bind(name, with);
        let (plan, op, done) = one(&*action, &cx).await;
        let conclusion = action.conclude(&plan.outputs, &[(op, done.unwrap())]);
        let outputs = &conclusion.outputs;
        assert_eq!(outputs["findings"][0]["id"], "exec-for-credentials", "{outputs:#}");
        assert!(outputs["findings_by_severity"]["high"].as_u64().unwrap() > 0, "{outputs:#}");
        let text = std::fs::read_to_string(folder.path().join("data/step/audit.findings.json")).unwrap();
        assert_eq!(outputs["findings_document"], "data/step/audit.findings.json");
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&document["v"], &document["findings"][0]["id"]), (&json!(1), &json!("exec-for-credentials")));
        assert!(document["findings"][0]["events"][0]["file"].as_str().unwrap().ends_with("audit.log"));
        assert!(document["coverage"]["events"].as_u64().unwrap() > 0);
        let notes: Vec<String> = conclusion.notes.iter().map(|(level, text)| format!("{level:?} {text}")).collect();
        assert!(
            notes[0].starts_with("Warning HIGH exec-for-credentials: ") && notes[0].contains(" Next: "),
            "{notes:?}"
        );
        for runbook in
            ["pod-compromise --namespace payments --set pod=db-0", "api-access --set subject=system:serviceaccount"]
        {
            let command = format!(": quell run {runbook}");
            assert!(
                notes.iter().any(|n| n.starts_with("Info answer: ") && n.contains(&command)),
                "{command}: {notes:?}"
            );
        }
        assert!(notes.iter().any(|n| n.contains(&format!("--set audit-log={}", path.display()))), "{notes:?}");
    }
    // What the runbook does by itself is not offered.
    let record = json!({"pod": {"name": "db-0", "namespace": "payments", "service_account": "checkout"}});
    let action = bind("audit.review", with(json!({"record": record})));
    let folder = tempfile::tempdir().unwrap();
    let (plan, op, done) = one(&*action, &offline(&folder)).await;
    let notes = action.conclude(&plan.outputs, &[(op, done.unwrap())]).notes;
    assert!(notes.iter().any(|(_, text)| text.contains("quell run api-access")), "{notes:?}");
    assert!(!notes.iter().any(|(_, text)| text.contains("quell run pod-compromise")), "{notes:?}");
    // Of somebody else nothing is told.
    let action = bind("audit.query", with(json!({"subject": "jane"})));
    let folder = tempfile::tempdir().unwrap();
    let (plan, op, done) = one(&*action, &offline(&folder)).await;
    let done = done.unwrap();
    assert!(done.detail.contains("no finding"), "{}", done.detail);
    let conclusion = action.conclude(&plan.outputs, &[(op, done)]);
    assert!(conclusion.notes.iter().all(|(_, text)| !text.contains("quell run")), "{:?}", conclusion.notes);
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_claimed() {
    let folder = tempfile::tempdir().unwrap();
    let record = json!({"pod": {"name": "p", "namespace": "payments", "service_account": "checkout"}});
    for none in [Value::Null, json!(""), json!([])] {
        let action = bind("audit.review", json!({"record": record, "audit-log": none}));
        let (plan, op, done) = one(&*action, &offline(&folder)).await;
        assert!(plan.blockers.is_empty());
        let conclusion = action.conclude(&plan.outputs, &[(op, done.unwrap())]);
        assert_eq!(conclusion.status, StepStatus::Unproved);
        assert!(conclusion.summary.contains("no audit log was given"));
        assert_eq!(conclusion.outputs["calls"], Value::Null);
    }
    for (with, expected) in [
        (json!({"record": record, "audit-log": "/no/such/file"}), "/no/such/file"),
        (json!({"record": {}}), "names no service account"),
        (json!({"record": record, "window": 0}), "`window`"),
        (json!({"record": record, "until": "yesterday"}), "`until`"),
    ] {
        let blockers = bind("audit.review", with).plan(&offline(&folder)).await.unwrap().blockers;
        assert!(blockers.iter().any(|b| b.contains(expected)), "{blockers:?}");
    }
}

#[tokio::test]
async fn a_command_that_may_have_run_is_not_run_again_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let cx = offline(&folder);
    let count = folder.path().join("count");
    let script = format!("echo ran >> {}; echo out; exit ${{CODE:-0}}", count.display());
    let action = bind("command", json!({"argv": ["sh", "-c", script]}));
    let op = action.plan(&cx).await.unwrap().ops.remove(0);
    assert_eq!(action.landed(&cx, &op).await.unwrap().0, Landed::No, "nothing of it is on disk");
    // Killed while it ran: its outputs were begun.
    std::fs::create_dir_all(folder.path().join("data/step")).unwrap();
    let partial = folder.path().join("data/step/.output.stdout.partial");
    std::fs::write(&partial, "").unwrap();
    assert_eq!(action.landed(&cx, &op).await.unwrap().0, Landed::Unknown);
    std::fs::remove_file(partial).unwrap();
    // Killed after it ended, before the journal knew.
    action.apply(&cx, &op).await.unwrap();
    assert_eq!(cx.store.drain().len(), 3);
    let (landed, done) = action.landed(&cx, &op).await.unwrap();
    assert_eq!((landed, done.unwrap().observed["exit_code"].as_i64()), (Landed::Yes, Some(0)));
    assert_eq!(std::fs::read_to_string(count).unwrap(), "ran\n");
}

#[tokio::test]
async fn a_failed_commands_outputs_are_kept_beside_the_next_trys() {
    let folder = tempfile::tempdir().unwrap();
    let cx = offline(&folder);
    let action = bind("command", json!({"argv": ["sh", "-c", "echo why >&2; exit 3"], "output": "try"}));
    let (_, op, done) = one(&*action, &cx).await;
    let problem = done.unwrap_err();
    assert!(problem.message.contains("exit status 3") && problem.hint.unwrap().contains("try.stderr"));
    assert_eq!(action.landed(&cx, &op).await.unwrap().0, Landed::Unknown);
    action.apply(&cx, &op).await.unwrap_err();
    for name in ["try.stderr", "try-2.stderr"] {
        assert_eq!(std::fs::read_to_string(folder.path().join("data/step").join(name)).unwrap(), "why\n");
    }
    let cut = bind("command", json!({"argv": ["head", "-c", "3000000", "/dev/zero"], "risk": "read"}));
    let (plan, op, done) = one(&*cut, &cx).await;
    assert!(done.unwrap().detail.contains("cut"));
    assert_eq!(cut.landed(&cx, &op).await.unwrap().0, Landed::No, "it only reads: simply run again");
    assert!(plan.warnings.is_empty());
    let artifact = cx.store.finished("data/step/output.stdout").unwrap();
    assert!(!artifact.complete && artifact.size == 1024 * 1024, "{artifact:?}");
    for with in [
        json!({"argv": []}),
        json!({"argv": ["no-such-program"]}),
        json!({"argv": ["true"], "output": "../x"}),
        json!({"argv": ["true"], "env": ["A=b"]}),
    ] {
        assert!(!bind("command", with.clone()).plan(&cx).await.unwrap().blockers.is_empty(), "{with}");
    }
}

#[tokio::test]
async fn a_persons_word_and_files_are_recorded_as_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let mut cx = offline(&folder);
    let action = bind("manual", json!({"instructions": "Call the owner.", "evidence": "required"}));
    let (_, _, done) = one(&*action, &cx).await;
    assert_eq!(done.unwrap_err().fault, Fault::Approval);
    cx.ask = Arc::new(Answer(Some(Err("no phone".into()))));
    let done = one(&*action, &cx).await.2.unwrap();
    assert!(matches!(done.proof, Some(Proof::Unproved(why)) if why.contains("no phone")));
    cx.ask = Arc::new(Answer(Some(Ok(("called".into(), vec![])))));
    assert!(one(&*action, &cx).await.2.unwrap_err().message.contains("requires a file"));

    let file = folder.path().join("note\u{1b}[31m.txt");
    std::fs::write(&file, "evidence").unwrap();
    cx.ask = Arc::new(Answer(Some(Ok(("called".into(), vec![file.clone()])))));
    let done = one(&*action, &cx).await.2.unwrap();
    assert!(done.proof.unwrap().is_verified());
    assert_eq!(done.observed["files"], json!(["data/step/01-note__31m.txt"]));
    let artifact = cx.store.drain().remove(0);
    assert_eq!((artifact.method.trust, artifact.size), (crate::event::Trust::Person, 8));

    let link = folder.path().join("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    cx.ask = Arc::new(Answer(Some(Ok(("called".into(), vec![link])))));
    assert!(one(&*action, &cx).await.2.unwrap_err().message.contains("can't attach"));
}

#[tokio::test]
async fn provenance_looks_everywhere_or_says_where_it_could_not() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let pods = {
        let pod = |ns: &str, uid: &str, image: &str, id: &str| {
            json!({"metadata": {"name": uid, "namespace": ns, "uid": uid, "creationTimestamp": "2026-11-01T00:00:00Z"},
                "spec": {"containers": [{"name": "c", "image": image}]},
                "status": {"containerStatuses": [{"name": "c", "image": image, "imageID": id, "ready": true, "restartCount": 0}]}})
        };
        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [
            pod("payments", "suspect", "x/app:v1", &format!("docker.io/x/app@{digest}")),
            pod("payments", "same-name", "docker.io/x/app:v1", ""),
            pod("other", "same-digest", "mirror.example/app", &format!("mirror.example/app@{digest}")),
            pod("other", "unrelated", "x/app:v2", ""),
        ]})
    };
    let record = json!({"pod": {"name": "suspect", "namespace": "payments", "uid": "suspect"}, "containers": [
        {"name": "app", "kind": "container", "image": "x/app:v1", "image_id": format!("docker.io/x/app@{digest}"), "running": true}]});
    for everywhere in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let pods = pods.clone();
        let cx = cx(folder.path(), move |(_, path, _)| match path.starts_with("/api/v1/pods") {
            true if !everywhere => status(403, "Forbidden", "pods is forbidden"),
            _ => (200, pods.clone()),
        });
        let action = bind("image.provenance", json!({"record": record}));
        let (plan, op, done) = one(&*action, &cx).await;
        let conclusion = action.conclude(&plan.outputs, &[(op, done.unwrap())]);
        assert_eq!(conclusion.status, StepStatus::Verified, "{}", conclusion.summary);
        assert!(conclusion.summary.contains("signature not checked"));
        assert_eq!(conclusion.summary.contains("only the namespace payments"), !everywhere);
        assert_eq!(conclusion.outputs["others"], 2);
        assert_eq!(conclusion.outputs["containers"][0]["running_digest"], digest);
    }
}
