//! The exposed-secret playbook with the rights that `runbook rbac` prints, a real kubelet's volumes and environments, and
//! a real PostgreSQL.

use std::process::Command;

use serde_json::Value;

use crate::postgres::Postgres;
use crate::support::{Desk, Namespace, Ran, apply, cluster, eventually, kubectl, quell};

const OLD: &str = "old-password-of-the-shop";

/// A namespace with a Secret and two consumers: web by env, worker by a volume; and the printed rights.
fn shop(name: &str, more: &str) -> Namespace {
    kubectl(&["delete", "namespace", name, "--ignore-not-found", "--wait=true"]);
    let deployment = |app: &str, replicas: u32, container: &str, pod: &str| {
        format!(
            r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"{app}","namespace":"{name}"}},"spec":{{"replicas":{replicas},
            "selector":{{"matchLabels":{{"app":"{app}"}}}},"template":{{"metadata":{{"labels":{{"app":"{app}"}}}},"spec":{{
            "terminationGracePeriodSeconds":1,"containers":[{{"name":"app","image":"quell.test/busybox:1",
            "command":["sh","-c","echo started; exec probe sleep"],{container}}}]{pod}}}}}}}}}"#
        )
    };
    let web = deployment(
        "web",
        2,
        r#""env":[{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}}]"#,
        "",
    );
    let worker = deployment(
        "worker",
        1,
        r#""volumeMounts":[{"name":"db","mountPath":"/etc/db"}]"#,
        r#","volumes":[{"name":"db","secret":{"secretName":"db"}}]"#,
    );
    let manifests = format!(
        r#"{{"apiVersion":"v1","kind":"List","items":[
        {{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{name}"}}}},
        {{"apiVersion":"v1","kind":"Secret","metadata":{{"name":"db","namespace":"{name}"}},{more}"stringData":{{"username":"shop","password":"{OLD}"}}}},
        {{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{{"name":"web","namespace":"{name}"}},"spec":{{"minAvailable":1,"selector":{{"matchLabels":{{"app":"web"}}}}}}}},
        {web},{worker}]}}"#
    );
    // Not `kubectl apply`: its annotation would hold the old value.
    let mut create = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(cluster().admin())
        .args(["create", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut create.stdin.take().unwrap(), manifests.as_bytes()).unwrap();
    assert!(create.wait().unwrap().success());
    kubectl(&["-n", name, "rollout", "status", "deployment/web", "deployment/worker", "--timeout=120s"]);
    let printed =
        quell().args(["runbook", "rbac", "exposed-secret", "-n", name, "--user", "responder"]).output().unwrap();
    assert!(printed.status.success());
    apply(&printed.stdout);
    Namespace { name: name.into() }
}

/// A run as the responder; the access log holds an address that read the Secret.
fn playbook(desk: &Desk, sets: &[String]) -> Ran {
    let audit = format!("audit-log={}", cluster().audit_log().display());
    let mut all: Vec<String> = ["run", "exposed-secret", "-n", &desk.namespace].map(String::from).into();
    for set in ["watch=1s", &audit] {
        all.extend(["--set".into(), set.into()]);
    }
    if !sets.iter().any(|s| s.starts_with("secret=")) {
        all.extend(["--set".into(), "secret=db".into()]);
    }
    for set in sets {
        all.extend(["--set".into(), set.clone()]);
    }
    all.extend(["--yes", "--max-risk", "destructive"].map(String::from));
    desk.quell(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

fn database(desk: &Desk, server: &Postgres) -> Vec<String> {
    let file = server.password_file(desk.home.path());
    vec![
        "provider=postgres".into(),
        format!("database={}", server.url()),
        format!("database-password-file={}", file.display()),
        "second-role=shop_b".into(),
    ]
}

fn value(ns: &Namespace, secret: &str, key: &str) -> String {
    let coded = kubectl(&["-n", &ns.name, "get", "secret", secret, "-o", &format!("jsonpath={{.data.{key}}}")]);
    use base64::Engine;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(coded.trim()).unwrap()).unwrap()
}

/// What a process of the pod has in its environment.
fn environment(ns: &Namespace, app: &str) -> String {
    // Not of one that is about to end.
    let pods = ns.list("pod");
    let lives = |p: &&Value| p["metadata"]["labels"]["app"] == app && p["metadata"]["deletionTimestamp"].is_null();
    let pod = pods.iter().find(lives).and_then(|p| p["metadata"]["name"].as_str()).expect("a pod");
    kubectl(&["-n", &ns.name, "exec", pod, "--", "cat", "/proc/1/environ"])
}

fn shell() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_database_password_is_replaced_everywhere_with_the_printed_rights() {
    let runtime = shell();
    let server = Postgres::start();
    runtime.block_on(server.admin(&format!("CREATE ROLE shop LOGIN PASSWORD '{OLD}'")));
    let ns = shop("secret-whole", "");
    let desk = Desk::new(&ns);
    assert!(environment(&ns, "web").contains(OLD));
    let ran = playbook(&desk, &database(&desk, &server));
    let steps = desk.steps();
    for step in ["consumers", "rotate", "update", "prove"] {
        assert_eq!(steps[step], "verified", "{step}\n{}", ran.err);
    }
    let new = value(&ns, "db", "password");
    assert!(environment(&ns, "web").contains(&new), "the kubelet gave the new pods the new value");
    let holders: Value = desk.document("data/prove/holders.json");
    let worker = holders["pods"].as_array().unwrap().iter().find(|p| p["workload"] == "Deployment/worker").unwrap();
    assert!(worker["uses"].to_string().contains("read by the container's own cat"), "{holders:#}");
    assert!(runtime.block_on(server.refuses("shop", OLD)), "{}", ran.err);
    assert!(runtime.block_on(server.login("shop_b", &new)).is_ok());
    // The log began with the cluster: the audit is not proved, and says which readers there were.
    let readers: Value = desk.document("data/audit/readers.json");
    let kinds: Vec<&str> = readers["readers"].as_array().unwrap().iter().filter_map(|r| r["kind"].as_str()).collect();
    // The audit policy leaves the kubelets' reads out.
    assert!(kinds.contains(&"quell") && !kinds.contains(&"kubelet"), "{readers:#}");
    for value in [OLD, &new] {
        let found = Command::new("grep").args(["-rlF", value]).arg(desk.home.path()).output().unwrap();
        assert!(found.stdout.is_empty(), "{value} in {}", String::from_utf8_lossy(&found.stdout));
        assert!(!ran.out.contains(value) && !ran.err.contains(value));
    }
    let bundle = desk.bundle();
    let verified = desk.quell(&["bundle", "verify", bundle.to_str().unwrap()]);
    assert_eq!(verified.code, 0, "{}", verified.err);
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn an_immutable_secret_gets_a_successor_and_its_consumers_are_pointed_to_it() {
    let ns = shop("secret-immutable", r#""immutable":true,"#);
    let desk = Desk::new(&ns);
    let ran = playbook(&desk, &["provider=generate".into(), "keys=password".into()]);
    let incident = desk.incident();
    let name = format!("db-{}", incident.rsplit('-').next().unwrap());
    let new = value(&ns, &name, "password");
    assert!(new != OLD && environment(&ns, "web").contains(&new), "{}", ran.err);
    assert_eq!(value(&ns, &name, "username"), "shop");
    assert!(ran.err.contains("no running pod holds the old value"), "{}", ran.err);
    let undone = desk.quell(&["undo", "last", "--yes"]);
    assert!(ns.get("secret", &name).is_none(), "{}", undone.err);
    kubectl(&["-n", &ns.name, "rollout", "status", "deployment/web", "--timeout=60s"]);
    assert!(environment(&ns, "web").contains(OLD), "web has the old one again");
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_token_secret_is_replaced_by_another_and_its_token_ends() {
    let ns = shop("secret-token", "");
    apply(
        format!(
            r#"{{"apiVersion":"v1","kind":"List","items":[{{"apiVersion":"v1","kind":"ServiceAccount","metadata":{{"name":"robot","namespace":"{0}"}}}},
            {{"apiVersion":"v1","kind":"Secret","type":"kubernetes.io/service-account-token","metadata":{{"name":"robot-token","namespace":"{0}","annotations":{{"kubernetes.io/service-account.name":"robot"}}}}}}]}}"#,
            ns.name
        )
        .as_bytes(),
    );
    eventually("the token", 30, || ns.get("secret", "robot-token").is_some_and(|s| s["data"]["token"].is_string()));
    let old = value(&ns, "robot-token", "token");
    let desk = Desk::new(&ns);
    let ran = playbook(&desk, &["secret=robot-token".into(), "provider=service-account-token".into()]);
    let name = format!("robot-token-{}", desk.incident().rsplit('-').next().unwrap());
    assert!(ns.get("secret", "robot-token").is_none(), "the old one is deleted\n{}", ran.err);
    let new = value(&ns, &name, "token");
    let me = |token: &str| {
        let admin: Value = serde_json::from_str(&kubectl(&["config", "view", "--raw", "-o", "json"])).unwrap();
        let server = admin["clusters"][0]["cluster"]["server"].as_str().unwrap().to_owned();
        let asked = Command::new("kubectl")
            .args(["--kubeconfig", "/dev/null", "--server", &server, "--insecure-skip-tls-verify", "--token", token])
            .args(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])
            .output()
            .unwrap();
        String::from_utf8_lossy(&asked.stdout).into_owned()
    };
    assert_eq!(me(&new), format!("system:serviceaccount:{}:robot", ns.name));
    eventually("the old token is refused", 30, || me(&old).is_empty());
    assert!(!ran.err.contains(&old) && !ran.err.contains(&new));
}

#[test]
#[ignore = "needs the real cluster (tests/cluster/README.md)"]
fn a_run_that_is_killed_anywhere_ends_as_an_undisturbed_one() {
    let runtime = shell();
    let server = Postgres::start();
    runtime.block_on(server.admin(&format!("CREATE ROLE shop LOGIN PASSWORD '{OLD}'")));
    let stride = std::env::var("QUELL_TEST_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(9);
    // 8: the first record after the plan; past the last one nothing is killed, and the run is an undisturbed one.
    for seq in (8..44).step_by(stride) {
        for when in ["before", "after"] {
            runtime.block_on(server.admin(&format!("ALTER ROLE shop LOGIN PASSWORD '{OLD}'")));
            let ns = shop("secret-crash", "");
            let desk = Desk::new(&ns);
            let mut sets = database(&desk, &server);
            sets.push("inspect=none".into());
            sets.push("restart=all".into());
            let mut arguments: Vec<String> = ["run", "exposed-secret", "-n", &ns.name].map(String::from).into();
            for set in ["secret=db".to_owned(), "watch=1s".into()].iter().chain(&sets) {
                arguments.extend(["--set".into(), set.clone()]);
            }
            arguments.extend(["--yes", "--max-risk", "destructive"].map(String::from));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            desk.command(&arguments).env("QUELL_FAILPOINT", format!("{when}:{seq}")).output().unwrap();
            let ran = desk.quell(&["resume", "last", "--yes", "--max-risk", "destructive"]);
            assert_eq!(desk.steps()["prove"], "verified", "{when}:{seq}\n{}", ran.err);
            let new = value(&ns, "db", "password");
            assert!(
                runtime.block_on(server.login("shop_b", &new)).is_ok(),
                "{when}:{seq}: what was made is what is used"
            );
            assert!(runtime.block_on(server.refuses("shop", OLD)), "{when}:{seq}");
            for value in [OLD, &new] {
                let found = Command::new("grep").args(["-rlF", value]).arg(desk.home.path()).output().unwrap();
                assert!(found.stdout.is_empty(), "{when}:{seq}: {}", String::from_utf8_lossy(&found.stdout));
            }
        }
    }
}
