use serde_json::json;

use super::*;
use crate::audit::detect::plant::{Line, line, texts};
use crate::audit::event::Origin;
use crate::audit::{Watch, parse_event};

fn graph(lines: &[Line], target: &Target) -> Graph {
    graph_of(&texts(lines), target, 1)
}

/// On so many threads, the lines dealt out among them.
fn graph_of(texts: &[String], target: &Target, threads: usize) -> Graph {
    let watch = Graphing::of(target, &[]);
    let mut parts: Vec<Gathered> = (0..threads).map(|_| watch.begin()).collect();
    for (at, text) in texts.iter().enumerate() {
        let origin = Origin { file: 0, offset: at as u64 * 1000, len: u32::try_from(text.len()).unwrap() };
        watch.look(&mut parts[at % threads], &parse_event(text, origin).unwrap());
    }
    let mut whole = Gathered::default();
    parts.into_iter().for_each(|part| whole.merge(part));
    whole.reach(target)
}

fn says(graph: &Graph) -> Vec<String> {
    let mut all: Vec<String> = graph
        .edges
        .iter()
        .map(|(from, relation, to, edge)| {
            let (from, to) = (&graph.nodes[*from], &graph.nodes[*to]);
            let failed = if edge.last.is_none() { " (failed)" } else { "" };
            format!("{} {relation} {} {}{failed}", from.name, to.name, edge.requests)
        })
        .collect();
    all.sort();
    all
}

fn secret() -> Target {
    Target::Secret("shop".into(), "db".into())
}

fn read_by_web(at: i64) -> Line {
    line("get", "secrets").ns("shop").name("db").account("shop", "web").pod("one", "web-1", "n1").at(at)
}

/// jane, as ops, went into the pod; the pod's token read the Secret.
#[test]
fn a_secret_is_followed_back_to_who_went_into_the_pod() {
    let lines = [
        line("create", "pods/exec").ns("shop").name("web-1").impersonating("ops", &[]).ip("198.51.100.7").at(10),
        line("create", "pods/exec").ns("shop").name("other").user("bob").at(10),
        read_by_web(60),
        // Who came after the last read did not read through it.
        line("create", "pods/exec").ns("shop").name("web-1").user("late").at(90),
        line("get", "secrets").ns("shop").name("other").user("carl").at(20),
        line("list", "secrets").ns("shop").user("eve").at(30),
        line("get", "secrets").ns("shop").name("db").user("mallory").denied().at(40),
    ];
    let found = graph(&lines, &secret());
    assert_eq!(found.nodes[0], Node::new(Kind::Secret, "shop/db"));
    let says = says(&found);
    for edge in [
        "198.51.100.7 came as jane@example.org 1",
        "jane@example.org acted as ops 1",
        "ops ran a command in shop/web-1 1",
        "shop/web-1 holds JTI=one 1",
        "JTI=one is system:serviceaccount:shop:web 1",
        "system:serviceaccount:shop:web read shop/db 1",
        "eve read, by a list shop/db 1",
        "mallory read shop/db 1 (failed)",
    ] {
        assert!(says.iter().any(|s| s == edge), "{edge}: {says:#?}");
    }
    for name in ["bob", "late", "carl", "other"] {
        assert!(!says.iter().any(|s| s.contains(name)), "{name}: {says:#?}");
    }
}

#[test]
fn tokens_bindings_and_pods_that_take_it_in_lead_there() {
    let pod = json!({
        "metadata": {"name": "thief"},
        "spec": {"serviceAccountName": "web", "volumes": [{"name": "v", "secret": {"secretName": "db"}}], "containers": []},
    });
    let binding = json!({
        "metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "web", "namespace": "shop"}, {"kind": "Group", "name": "platform"}],
    });
    let lines = [
        line("create", "serviceaccounts/token")
            .ns("shop")
            .name("web")
            .user("minter")
            .set("/annotations/authentication.kubernetes.io~1issued-credential-id", "JTI=one")
            .at(5),
        line("create", "rolebindings.rbac.authorization.k8s.io")
            .ns("shop")
            .name("b")
            .user("binder")
            .body(binding)
            .at(6),
        line("create", "pods").ns("shop").name("thief").user("maker").body(pod).at(7),
        read_by_web(60),
        line("get", "secrets").ns("shop").name("db").at(70),
    ];
    let says = says(&graph(&lines, &secret()));
    for edge in [
        "minter had issued JTI=one 1",
        "binder wrote shop/b (reader) 1",
        "shop/b (reader) gives rights to system:serviceaccount:shop:web 1",
        "platform has member jane@example.org 0",
        "maker wrote shop/thief 1",
        "shop/thief takes in shop/db 1",
    ] {
        assert!(says.iter().any(|s| s == edge), "{edge}: {says:#?}");
    }
}

#[test]
fn an_identity_is_followed_to_what_it_reached() {
    let eve = || line("get", "configmaps").user("eve").ip("203.0.113.9");
    let lines = [
        eve().ns("shop").name("c").at(0),
        line("create", "serviceaccounts/token")
            .ns("ops")
            .name("root")
            .user("eve")
            .set("/annotations/authentication.kubernetes.io~1issued-credential-id", "JTI=root")
            .at(10),
        line("get", "secrets")
            .ns("ops")
            .name("keys")
            .account("ops", "root")
            .pod("root", "p", "n1")
            .ip("198.51.100.9")
            .at(20),
        // Before it had the token.
        line("get", "secrets").ns("ops").name("early").account("ops", "root").pod("old", "p", "n1").at(1),
        line("get", "secrets").ns("bank").name("vault").user("bob").at(20),
    ];
    let says = says(&graph(&lines, &Target::Identity("eve".into())));
    for edge in [
        "203.0.113.9 came as eve 1",
        "eve had issued JTI=root 1",
        "JTI=root is system:serviceaccount:ops:root 2",
        "system:serviceaccount:ops:root read ops/keys 1",
        "198.51.100.9 used JTI=root 1",
    ] {
        assert!(says.iter().any(|s| s == edge), "{edge}: {says:#?}");
    }
    assert!(!says.iter().any(|s| s.contains("early") || s.contains("vault")), "{says:#?}");
}

#[test]
fn what_a_controller_makes_leads_to_who_wrote_its_object() {
    let spec = json!({"containers": [{"name": "c", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}}]}]});
    let owned = |kind: &str, owner: &str, body: serde_json::Value| {
        let mut body = body;
        body["metadata"] = json!({"generateName": "web-abc-", "ownerReferences": [{"kind": kind, "name": owner}]});
        body
    };
    let lines = [
        line("create", "deployments.apps")
            .ns("shop")
            .name("web")
            .user("ci")
            .body(json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": spec}}}))
            .at(1),
        line("create", "pods")
            .ns("shop")
            .controller("replicaset-controller")
            .body(owned("ReplicaSet", "web-abc", json!({"spec": spec})))
            .at(3),
    ];
    let says = says(&graph(&lines, &secret()));
    assert!(says.contains(&"ci wrote deployment shop/web 1".into()), "{says:#?}");
    assert!(says.contains(&"deployment shop/web takes in shop/db 1".into()), "{says:#?}");
    assert!(says.contains(&"replicaset shop/web-abc made shop/web-abc-* 1".into()), "{says:#?}");
    assert!(!says.iter().any(|s| s.contains("replicaset-controller")), "{says:#?}");
}

#[test]
fn it_is_the_same_however_the_lines_lie() {
    let mut lines: Vec<Line> = (0..40).map(|n| read_by_web(n).ip(&format!("10.0.0.{}", n % 7))).collect();
    lines.extend((0..40).map(|n| line("list", "secrets").user(&format!("u{}", n % 5)).at(n)));
    let all = texts(&lines);
    let mut doubled = all.clone();
    doubled.extend(all.iter().rev().cloned());
    let one = graph_of(&all, &secret(), 1);
    for threads in [2, 3, 7] {
        assert_eq!(says(&graph_of(&all, &secret(), threads)), says(&one));
    }
    assert_eq!(says(&graph_of(&doubled, &secret(), 3)), says(&one), "lines that are there twice");
}

#[test]
fn much_of_one_kind_is_folded_and_said() {
    let lines: Vec<Line> = (0..200).map(|n| read_by_web(n).ip(&format!("10.0.{n}.1"))).collect();
    let found = graph(&lines, &secret());
    assert!(found.nodes.len() < 40, "{}", found.nodes.len());
    assert_eq!(found.folded, ["180 more addresses of JTI=one are one node"]);
    let (_, _, _, edge) =
        found.edges.iter().find(|(from, ..)| found.nodes[*from].name.starts_with("180 more addresses")).unwrap();
    assert_eq!(edge.requests, 180);
}
