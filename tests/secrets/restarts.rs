//! Consumers that can't be restarted, or not yet: what the playbook says, what it leaves, and that it goes on from there.

use serde_json::{Value, json};

use crate::desk::{Desk, OLD, by_env};

/// A budget over the pods of an app.
async fn budget(desk: &Desk, app: &str, at_least: u32) {
    let object = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": app, "namespace": "shop"},
        "spec": {"minAvailable": at_least, "selector": {"matchLabels": {"app": app}}}});
    let path = format!("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/{app}");
    desk.apply(object, &path).await;
    desk.until("the budget's status", async || desk.get(&path).await["status"]["desiredHealthy"] == at_least).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_never_has_room_holds_one_restart_back_and_the_run_goes_on_when_it_has() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD}), Value::Null).await;
    desk.deployment("web", 1, json!({"env": [by_env()]}), json!([])).await;
    desk.deployment("batch", 1, json!({"env": [by_env()]}), json!([])).await;
    budget(&desk, "web", 2).await;
    let (held, other) = (desk.pods("web").await, desk.pods("batch").await);
    let ran = desk.playbook(&["--set", "provider=generate", "--set", "patience=2s"]).await;
    assert_ne!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("budget web: 1 healthy of the 2 that it wants"), "{}", ran.err);
    assert_eq!(desk.pods("web").await, held, "it was not restarted past its budget");
    assert!(desk.pods("batch").await.iter().all(|p| !other.contains(p)), "the other one was: {}", ran.err);
    assert_ne!(desk.steps().await["prove"], "verified", "{}", ran.err);
    assert!(!desk.holding(OLD).iter().any(|f| !f.contains("sealed")), "{:?}", desk.holding(OLD));

    // Somebody makes room: the same run goes on, and only what was left is done.
    let others = desk.pods("batch").await;
    desk.apply(
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
        "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/web",
    )
    .await;
    let ran = desk.quell(&["resume", "last", "--only", "prove", "--yes", "--max-risk", "destructive"]).await;
    assert!(desk.pods("web").await.iter().all(|p| !held.contains(p)), "{}", ran.err);
    assert_eq!(desk.pods("batch").await, others, "what was restarted is not restarted again");
    assert!(ran.err.contains("no running pod holds the old value"), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finalizer_keeps_the_object_and_not_the_value_its_containers_have_ended() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD}), Value::Null).await;
    desk.deployment("web", 1, json!({"env": [by_env()]}), json!([])).await;
    let pod = desk.pods("web").await.remove(0);
    let path = format!("/api/v1/namespaces/shop/pods/{pod}");
    desk.patch(&path, json!({"metadata": {"finalizers": ["example.org/hold"]}})).await;
    let ran = desk.playbook(&["--set", "provider=generate"]).await;
    let held = desk.get(&path).await;
    assert!(!held["metadata"]["deletionTimestamp"].is_null(), "it is still there: {}", ran.err);
    assert!(["Succeeded", "Failed"].iter().any(|p| held["status"]["phase"] == *p), "and nothing of it runs: {held}");
    assert!(ran.err.contains("no running pod holds the old value"), "{}", ran.err);
}
