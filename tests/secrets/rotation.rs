//! A password in a database and the faults that meet its rotation.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::desk::{Desk, OLD, by_env, database, issuer, shop, words};

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_replaced_under_a_running_application_and_the_old_one_is_refused() {
    let (desk, server) = shop().await;
    let application = server.login("shop", OLD).await.unwrap();
    application.batch_execute("INSERT INTO orders VALUES (1)").await.unwrap();
    let before = desk.pods("web").await;
    let access = desk.home.path().join("test-access.log");
    std::fs::write(&access, "203.0.113.9 - - GET /\n").unwrap();
    let mut sets = database(&desk, &server);
    sets.extend([
        "--set".to_owned(),
        "second-role=shop_b".into(),
        "--set".into(),
        format!("external-log={}", access.display()),
    ]);
    let ran = desk.playbook(&words(&sets)).await;
    let steps = desk.steps().await;
    for step in ["consumers", "rotate", "update", "audit"] {
        assert_eq!(steps[step], "verified", "{step}\n{}", ran.err);
    }
    // The application's connection was opened with the old password: that is a use of it, and said.
    assert_eq!(steps["prove"], "unproved", "{}", ran.err);
    assert!(ran.err.contains("still in use: a session from 127.0.0.1"), "{}", ran.err);

    let values = desk.values("db").await;
    let new = values["password"].clone();
    assert_eq!(values["username"], "shop_b");
    assert_eq!(values["url"], format!("postgres://shop_b:{new}@db/shop"), "what holds the password follows it");
    assert!(server.refuses("shop", OLD).await, "{}", ran.err);
    let other = server.login("shop_b", &new).await.unwrap();
    other.batch_execute("INSERT INTO orders VALUES (2)").await.unwrap();
    application.batch_execute("INSERT INTO orders VALUES (3)").await.expect("the application's connection lived on");
    assert!(
        desk.pods("web").await.iter().all(|p| !before.contains(p)),
        "every pod with it in its environment is another"
    );
    // Old and new are in no file of quell's, in nothing that it said, and in no statement that the server logged.
    for value in [OLD, &new] {
        assert_eq!(desk.holding(value), Vec::<String>::new());
        assert!(!ran.out.contains(value) && !ran.err.contains(value));
    }
    assert!(!server.log().contains(&new), "the server is sent the verifier alone");
    let sealed: Vec<_> = std::fs::read_dir(desk.incident().join("sealed")).unwrap().collect();
    assert!(sealed.is_empty(), "what was shown to be refused is forgotten: {sealed:?}");
    assert!(ran.err.contains("is refused"), "{}", ran.err);
    let consumers = desk.document("data/consumers/consumers.json");
    assert_eq!((consumers["pods"].as_array().unwrap().len(), &consumers["workloads"][0]["name"]), (3, &json!("web")));
    // There is nothing to go back to, and undo says so.
    let undone = desk.quell(&["undo", "last", "--yes"]).await;
    assert!(undone.err.contains("forgotten"), "{}", undone.err);
    assert!(server.refuses("shop", OLD).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_nobody_restarts_is_found_and_the_old_password_is_not_revoked_under_it() {
    let (desk, server) = shop().await;
    desk.bare_pod("report").await;
    let mut sets = database(&desk, &server);
    sets.extend(["--set".to_owned(), "second-role=shop_b".into()]);
    let ran = desk.playbook(&words(&sets)).await;
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(ran.err.contains("report still holds the old value (env PASSWORD"), "{}", ran.err);
    assert!(server.login("shop", OLD).await.is_ok(), "it works on for who still holds it");
    let new = desk.values("db").await["password"].clone();
    assert!(server.login("shop_b", &new).await.is_ok());

    desk.request("DELETE", "/api/v1/namespaces/shop/pods/report", "application/json", json!({})).await;
    desk.until("the pod's end", async || desk.get("/api/v1/namespaces/shop/pods/report").await.is_null()).await;
    let ran = desk.quell(&["resume", "last", "--yes", "--max-risk", "destructive"]).await;
    assert_eq!(desk.steps().await["prove"], "verified", "{}", ran.err);
    assert!(server.refuses("shop", OLD).await);
    assert_eq!(desk.values("db").await["password"], new, "the credential is the first try's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_spoken_to_in_tls_and_one_that_can_not_be_checked_is_refused() {
    let (desk, server) = shop().await;
    let (url, ca) = server.url_in_tls();
    let mut sets = database(&desk, &server);
    sets.iter_mut().filter(|s| s.starts_with("database=")).for_each(|s| *s = format!("database={url}"));
    let plan = ["plan", "exposed-secret", "-n", "shop", "--set", "secret=db"].map(String::from);
    let unchecked: Vec<String> = plan.iter().chain(&sets).cloned().collect();
    let ran = desk.quell(&words(&unchecked)).await;
    assert!(ran.out.contains("in TLS") && ran.out.contains("UnknownIssuer"), "{}{}", ran.out, ran.err);
    sets.extend([
        "--set".to_owned(),
        format!("database-ca={}", ca.display()),
        "--only".into(),
        "consumers,rotate".into(),
    ]);
    let ran = desk.playbook(&words(&sets)).await;
    assert_eq!(desk.steps().await["rotate"], "verified", "{}", ran.err);
    assert!(server.refuses("shop", OLD).await);
    let listed = desk.quell(&["undo", "last", "--yes"]).await;
    assert!(server.login("shop", OLD).await.is_ok(), "{}", listed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_gives_back_the_old_password_as_long_as_it_is_not_shown_refused() {
    let (desk, server) = shop().await;
    // One role has one password: the old one is refused from the first step on.
    let mut sets = database(&desk, &server);
    sets.extend(["--skip".to_owned(), "prove".into()]);
    let ran = desk.playbook(&words(&sets)).await;
    assert_eq!(desk.steps().await["rotate"], "verified", "{}", ran.err);
    assert!(ran.err.contains("one role has one password"), "{}", ran.err);
    assert!(server.refuses("shop", OLD).await);
    assert_ne!(desk.values("db").await["password"], OLD);
    let undone = desk.quell(&["undo", "last", "--yes"]).await;
    assert_eq!(desk.values("db").await["password"], OLD, "{}", undone.err);
    assert!(server.login("shop", OLD).await.is_ok());
    assert!(desk.holding(OLD).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn under_active_abuse_the_old_password_ends_first_with_its_sessions() {
    let (desk, server) = shop().await;
    let thief = server.login("shop", OLD).await.unwrap();
    let mut sets = database(&desk, &server);
    sets.extend(["--set".to_owned(), "active-abuse=true".into()]);
    let ran = desk.playbook(&words(&sets)).await;
    assert!(ran.err.contains("ACTIVE ABUSE"), "the outage is said: {}", ran.err);
    assert_eq!(desk.steps().await["prove"], "verified", "{}", ran.err);
    assert!(thief.batch_execute("select 1").await.is_err(), "the session is ended");
    assert!(server.refuses("shop", OLD).await);
    let log = server.log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}\n{log}"));
    assert!(at("NOLOGIN") < at("LOGIN PASSWORD 'SCRAM"), "revoked before there was a new one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_in_between_is_a_conflict_that_names_its_author_and_is_left() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD}), Value::Null).await;
    let ran = desk.playbook(&["--set", "provider=generate", "--only", "consumers,rotate"]).await;
    assert_eq!(desk.steps().await["rotate"], "unproved", "{}", ran.err);
    desk.patch("/api/v1/namespaces/shop/secrets/db", json!({"data": {"password": STANDARD.encode("somebody-elses")}}))
        .await;
    let ran = desk.quell(&["resume", "last", "--only", "update", "--yes", "--max-risk", "high"]).await;
    assert!(ran.err.contains("was edited since it was looked at (last by somebody at"), "{}", ran.err);
    assert_eq!(desk.values("db").await["password"], "somebody-elses");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_secret_gets_a_successor_and_undo_points_back() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD, "user": "x"}), json!({"immutable": true})).await;
    let container = json!({"env": [by_env()], "envFrom": [{"secretRef": {"name": "db"}}]});
    desk.deployment("web", 2, container, json!([])).await;
    let ran = desk.playbook(&["--set", "provider=generate", "--set", "keys=password"]).await;
    let incident = desk.incident().file_name().unwrap().to_string_lossy().into_owned();
    let name = format!("db-{}", incident.rsplit('-').next().unwrap());
    let new = desk.values(&name).await;
    assert_eq!((new["user"].as_str(), new["password"] == OLD), ("x", false), "{}", ran.err);
    let path = "/apis/apps/v1/namespaces/shop/deployments/web";
    let named =
        |object: &Value, name: &str| object["spec"]["template"].to_string().matches(&format!("\"{name}\"")).count();
    assert_eq!(named(&desk.get(path).await, &name), 2);
    assert!(ran.err.contains("no running pod holds the old value"), "{}", ran.err);
    assert_eq!(desk.values("db").await["password"], OLD, "the old one is as it was");
    let undone = desk.quell(&["undo", "last", "--yes"]).await;
    assert_eq!(named(&desk.get(path).await, "db"), 2, "{}", undone.err);
    assert!(desk.values(&name).await.is_empty(), "{}", undone.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owners_secret_is_refused_with_the_right_place_and_one_that_comes_back_is_found() {
    let desk = Desk::new().await;
    let owner = json!({"metadata": {"labels": {"reconcile.external-secrets.io/managed": "true"}}});
    desk.secret("db", json!({"password": OLD}), owner).await;
    desk.deployment("web", 1, json!({"env": [by_env()]}), json!([])).await;
    let ran = desk.playbook(&["--set", "provider=generate"]).await;
    assert!(
        ran.err.contains("kept by External Secrets") && ran.err.contains("annotate the ExternalSecret"),
        "{}",
        ran.err
    );
    assert_eq!(desk.values("db").await["password"], OLD);

    // Overridden: the owner puts its value back as soon as it sees the change.
    let back = async {
        desk.until("the new value", async || desk.values("db").await["password"] != OLD).await;
        desk.patch("/api/v1/namespaces/shop/secrets/db", json!({"data": {"password": STANDARD.encode(OLD)}})).await;
    };
    let sets = ["--set", "provider=generate", "--set", "owner-override=Vault is down until morning"];
    let (ran, ()) = tokio::join!(desk.playbook(&sets), back);
    let steps = desk.steps().await;
    assert_ne!(steps["prove"], "verified", "{}", ran.err);
    assert!(
        ran.err.contains("the old value is back") || ran.err.contains("does not hold the new values"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_not_lost_when_its_issuer_fails_after_making_it() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD}), Value::Null).await;
    desk.deployment("web", 1, json!({"env": [by_env()]}), json!([])).await;
    // It writes down how it was called, makes one credential, and fails the first time.
    let sets = issuer(
        &desk,
        r#"question=$(cat)
tr '\0' ' ' </proc/$$/cmdline >>"$1"; tr '\0' ' ' </proc/$$/environ >>"$1"
case "$question" in
*'"operation":"create"'*)
  echo create >>"$1.made"
  printf '{"values": {"password": "made-by-the-issuer-%s"}, "message": "see made-by-the-issuer-1"}' "$(wc -l <"$1.made")"
  exit 3 ;;
*'"operation":"check"'*)
  case "$question" in *made-by-the-issuer-1*) echo '{"result": "yes", "message": "let in"}' ;; *) [ -e "$1.revoked" ] && echo '{"result": "no", "message": "turned away"}' || echo '{"result": "yes"}' ;; esac ;;
*'"operation":"revoke"'*) touch "$1.revoked"; echo '{"result": "yes", "message": "revoked"}' ;;
*'"operation":"uses"'*) echo '{"result": "no", "message": "nobody"}' ;;
*) echo '{"result": "unsupported"}' ;;
esac"#,
    );
    let ran = desk.playbook(&words(&sets)).await;
    assert_eq!(ran.code, 6, "{}", ran.err);
    assert!(ran.err.contains("after it had made a credential"), "{}", ran.err);
    assert_eq!(desk.values("db").await["password"], OLD);
    let ran = desk.quell(&["resume", "last", "--yes", "--max-risk", "destructive"]).await;
    assert_eq!(desk.values("db").await["password"], "made-by-the-issuer-1", "{}", ran.err);
    assert_eq!(std::fs::read_to_string(desk.home.path().join("test-account.made")).unwrap(), "create\n", "made once");
    assert_eq!(desk.steps().await["prove"], "verified", "{}", ran.err);
    let called = std::fs::read_to_string(desk.home.path().join("test-account")).unwrap();
    for value in [OLD, "made-by-the-issuer"] {
        assert!(!called.contains(value), "in its arguments or environment: {called}");
        assert_eq!(desk.holding(value), Vec::<String>::new());
        assert!(!ran.out.contains(value) && !ran.err.contains(value), "{}", ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_read_it_is_right_against_what_was_planted() {
    let desk = Desk::new().await;
    desk.secret("db", json!({"password": OLD}), Value::Null).await;
    desk.secret("copy", json!({"dsn": format!("host=x password={OLD}")}), Value::Null).await;
    desk.deployment("web", 1, json!({"env": [by_env()]}), json!([])).await;
    desk.deployment("other", 1, json!({}), json!([])).await;
    let shop = "/api/v1/namespaces/shop";
    desk.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "puller", "namespace": "shop"}, "imagePullSecrets": [{"name": "db"}]}), &format!("{shop}/serviceaccounts/puller")).await;
    desk.apply(json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "front", "namespace": "shop"},
        "spec": {"tls": [{"secretName": "db"}], "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}}), "/apis/networking.k8s.io/v1/namespaces/shop/ingresses/front").await;
    let job = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "shop"}, "spec": {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox", "envFrom": [{"secretRef": {"name": "db"}}]}]}}}}}});
    desk.apply(job, "/apis/batch/v1/namespaces/shop/cronjobs/nightly").await;
    // An operator's own kind that logs in with it.
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "stores.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced",
        "names": {"plural": "stores", "singular": "store", "kind": "Store"}, "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    desk.apply(crd, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/stores.example.org").await;
    let store = "/apis/example.org/v1/namespaces/shop/stores/vault";
    desk.until("the new kind", async || !desk.get("/apis/example.org/v1/namespaces/shop/stores").await.is_null()).await;
    desk.apply(json!({"apiVersion": "example.org/v1", "kind": "Store", "metadata": {"name": "vault", "namespace": "shop"}, "spec": {"provider": {"auth": {"tokenSecretRef": {"name": "db", "key": "password"}}}}}), store).await;
    for (name, resource, verb) in [
        ("reader", "secrets", "watch"),
        ("runner", "pods", "create"),
        ("shell", "pods/exec", "create"),
        ("viewer", "configmaps", "get"),
    ] {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name, "namespace": "shop"}, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]});
        desk.apply(role, &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/{name}")).await;
        let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name, "namespace": "shop"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}]});
        desk.apply(binding, &format!("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/{name}")).await;
    }
    let ran = desk.playbook(&["--only", "consumers"]).await;
    assert_eq!(desk.steps().await["consumers"], "verified", "{}", ran.err);
    let found = desk.document("data/consumers/consumers.json");
    let names = |of: &str| -> Vec<String> {
        let all = found[of].as_array().unwrap().iter();
        let mut names: Vec<String> =
            all.map(|o| format!("{} {}", o["kind"].as_str().unwrap(), o["name"].as_str().unwrap())).collect();
        names.sort();
        names
    };
    assert_eq!(names("workloads"), ["CronJob nightly", "Deployment web"]);
    assert_eq!(names("references"), ["Ingress front", "ServiceAccount puller", "Store vault"]);
    assert_eq!(names("copies"), ["Secret copy"]);
    assert_eq!(found["copies"][0]["within"], true);
    let powers: std::collections::BTreeMap<String, String> = found["identities"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|i| i["kind"] == "User")
        .map(|i| (i["name"].as_str().unwrap().to_owned(), i["powers"].to_string()))
        .collect();
    let expected = [("reader", "[\"read\"]"), ("runner", "[\"create pods\"]"), ("shell", "[\"exec\"]")];
    assert_eq!(powers, expected.map(|(n, p)| (n.to_owned(), p.to_owned())).into());
    assert_eq!(found["pods"].as_array().unwrap().len(), 1);
    assert!(desk.holding(OLD).is_empty(), "{:?}", desk.holding(OLD));
}
