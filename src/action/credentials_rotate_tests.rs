use std::sync::{Arc, Mutex};

use super::super::test_cx::{cx, status};
use super::*;

/// A Secret `db` as its metadata is answered, a pod that has it in its environment, and every patch that came.
#[derive(Default)]
struct Server {
    meta: Value,
    patches: Vec<Value>,
    refuse: Option<(u16, Value)>,
    lose_answer: bool,
}

type Shared = Arc<Mutex<Server>>;

fn server(meta: Value) -> Shared {
    let mut base = json!({"name": "db", "namespace": "payments", "uid": "u1", "resourceVersion": "7",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"password\":\"b2xkIHZhbHVl\"}}"}});
    for (key, value) in meta.as_object().unwrap() {
        base[key] = value.clone();
    }
    Arc::new(Mutex::new(Server { meta: base, ..Server::default() }))
}

fn context(folder: &std::path::Path, server: &Shared) -> Cx {
    let server = server.clone();
    cx(folder, move |(method, path, body)| {
        let mut server = server.lock().unwrap();
        let partial =
            |meta: &Value| json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta});
        match method {
            "PATCH" => {
                let patch: Value = serde_json::from_slice(body).unwrap();
                assert_eq!(patch["metadata"]["uid"], "u1");
                if let Some(refusal) = server.refuse.clone() {
                    // A webhook that quotes what it was sent.
                    let quoted = refusal.1["message"] == "quote";
                    let text =
                        if quoted { patch.to_string() } else { refusal.1["message"].as_str().unwrap().to_owned() };
                    return status(refusal.0, refusal.1["reason"].as_str().unwrap(), &text);
                }
                if !path.contains("dryRun=All") {
                    server.meta["annotations"][ROTATED_BY] = patch["metadata"]["annotations"][ROTATED_BY].clone();
                    server.meta["resourceVersion"] = "8".into();
                    server.patches.push(patch);
                    if server.lose_answer {
                        return status(504, "Timeout", "gone");
                    }
                }
                (200, partial(&server.meta))
            }
            _ if path.starts_with("/api/v1/namespaces/payments/secrets/db") => (200, partial(&server.meta)),
            _ if path.starts_with("/api/v1/namespaces/payments/pods?") => (
                200,
                json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [
                    {"metadata": {"name": "web-1", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true}]},
                     "spec": {"containers": [{"name": "a", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]}]}},
                ]}),
            ),
            _ => status(404, "NotFound", "no such thing"),
        }
    })
}

fn action(rotate: Value) -> CredentialsRotate {
    serde_json::from_value(json!({
        "record": {"pod": {"name": "web-0", "namespace": "payments", "uid": "p"}, "credentials": [
            {"kind": "secret", "name": "db", "keys": ["password"], "via": "env", "container": "a"},
            {"kind": "service-account-token", "name": "default", "via": "projected", "expiration_seconds": 3607},
        ]},
        "rotate": rotate,
    }))
    .unwrap()
}

async fn run(cx: &Cx, action: &CredentialsRotate) -> (Vec<(Op, Done)>, Vec<String>) {
    let plan = action.plan(cx).await.unwrap();
    let mut done = Vec::new();
    for (n, mut op) in plan.ops.into_iter().enumerate() {
        op.id = format!("rotate/{}", n + 1);
        let outcome = action.apply(cx, &op).await.unwrap();
        done.push((op, outcome));
    }
    (done, plan.blockers)
}

#[tokio::test]
async fn a_value_is_replaced_and_appears_nowhere_but_in_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(json!({}));
    let cx = context(folder.path(), &server);
    let action =
        action(json!([{"secret": "db", "key": "password", "command": {"argv": ["printf", "%s", "hunter2-hunter2"]}}]));
    // The argv of this test holds the value, as a runbook's must not: only outcomes and artifacts are searched.
    let (done, blockers) = run(&cx, &action).await;
    assert_eq!(blockers, Vec::<String>::new());
    let patch = server.lock().unwrap().patches[0].clone();
    let encoded = patch["data"]["password"].as_str().unwrap().to_owned();
    assert_eq!(encoded, "aHVudGVyMi1odW50ZXIy");
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    let (op, last) = done.last().unwrap();
    assert!(last.proof.as_ref().unwrap().is_verified());
    assert!(last.detail.contains("until restarted: ReplicaSet/web"), "{}", last.detail);
    let conclusion = action.conclude(&Value::Null, &done);
    assert_eq!(conclusion.status, crate::event::StepStatus::Verified, "{}", conclusion.summary);
    assert_eq!(conclusion.outputs["rotated"], json!(["payments/db/password"]));
    assert_eq!(conclusion.outputs["restart"], json!(["payments/ReplicaSet/web"]));
    let inventory = std::fs::read_to_string(folder.path().join("data/step/credentials.json")).unwrap();
    let all = format!("{done:?} {conclusion:?} {inventory}");
    for secret in ["hunter2", encoded.as_str(), "b2xkIHZhbHVl"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    // Resume: it had landed; and a second try sends nothing.
    assert_eq!(action.landed(&cx, op).await.unwrap().0, Landed::Yes);
    action.apply(&cx, op).await.unwrap();
    assert_eq!(server.lock().unwrap().patches.len(), 1);
}

#[tokio::test]
async fn a_generated_value_is_not_called_proved_and_the_rest_is_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(json!({}));
    let cx = context(folder.path(), &server);
    let generating = action(json!([{"secret": "db", "key": "password", "generate": {}}]));
    let (done, _) = run(&cx, &generating).await;
    assert!(matches!(&done[0].1.proof, Some(Proof::Verified(_))), "{:?}", done[0].1);
    assert!(matches!(&done[1].1.proof, Some(Proof::Unproved(why)) if why.contains("issuer was not told")));
    let other = tempfile::tempdir().unwrap();
    let (done, _) = run(&context(other.path(), &server), &action(json!([]))).await;
    assert!(
        matches!(&done[0].1.proof, Some(Proof::Unproved(why)) if why.starts_with("1 handed over") && why.contains("payments/db (password;")),
        "{:?}",
        done[0].1
    );
}

#[tokio::test]
async fn an_answer_lost_on_the_way_is_no_second_change() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(json!({}));
    server.lock().unwrap().lose_answer = true;
    let (done, _) =
        run(&context(folder.path(), &server), &action(json!([{"secret": "db", "key": "password", "generate": {}}])))
            .await;
    assert_eq!(done[1].1.status, crate::event::OpStatus::Applied);
    assert_eq!(server.lock().unwrap().patches.len(), 1);
}

#[tokio::test]
async fn a_refusal_never_quotes_the_value() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(json!({}));
    let cx = context(folder.path(), &server);
    let action =
        action(json!([{"secret": "db", "key": "password", "command": {"argv": ["printf", "hunter2-hunter2"]}}]));
    let mut op = action.plan(&cx).await.unwrap().ops.remove(1);
    op.id = "rotate/2".into();
    server.lock().unwrap().refuse = Some((403, json!({"reason": "aHVudGVyMi1odW50ZXIy", "message": "quote"})));
    let problem = action.apply(&cx, &op).await.unwrap_err();
    let text = format!("{problem:?}");
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVy"), "{text}");
    assert!(text.contains("403"));
}

#[tokio::test]
async fn what_is_kept_elsewhere_or_immutable_is_blocked_with_the_right_place() {
    let one = json!([{"secret": "db", "key": "password", "generate": {}}]);
    for (meta, refuse, expected) in [
        (json!({"labels": {"reconcile.external-secrets.io/managed": "true"}}), None, "rotate at the provider"),
        (json!({"managedFields": [{"fieldsV1": {"f:data": {"f:pass": {}}}}]}), None, "no such key; it has pass"),
        (
            json!({}),
            Some((422, json!({"reason": "Invalid", "message": "data: field is immutable when `immutable` is set"}))),
            "another name",
        ),
        (
            json!({}),
            Some((403, json!({"reason": "Forbidden", "message": "cannot patch resource secrets"}))),
            "cannot patch",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let server = server(meta);
        server.lock().unwrap().refuse = refuse;
        let plan = action(one.clone()).plan(&context(folder.path(), &server)).await.unwrap();
        assert!(plan.blockers.iter().any(|b| b.contains(expected)), "{expected}: {:?}", plan.blockers);
        assert!(server.lock().unwrap().patches.is_empty());
    }
}

#[tokio::test]
async fn no_credentials_is_verified_and_an_unknown_list_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(json!({}));
    let pod = json!({"name": "web-0", "namespace": "payments", "uid": "p"});
    for (record, verified) in [(json!({"pod": pod, "credentials": []}), true), (json!({"pod": pod}), false)] {
        let mut cx = context(folder.path(), &server);
        cx.step = format!("s{verified}");
        let action: CredentialsRotate = serde_json::from_value(json!({"record": record})).unwrap();
        let (done, _) = run(&cx, &action).await;
        assert_eq!(done[0].1.proof.as_ref().unwrap().is_verified(), verified);
    }
}
