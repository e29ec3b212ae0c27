//! Rules as teams write them, and Sigma's.

use serde_json::json;

use super::*;
use crate::audit::detect::plant::{Line, line, report_with};

fn rule(text: &str) -> Rule {
    match parse(text) {
        Ok(Parsed::Rule(rule, _)) => *rule,
        other => panic!("{other:?}"),
    }
}

fn found(text: &str, lines: &[Line]) -> Vec<(String, Severity, u64)> {
    let rule = rule(text);
    let id = rule.id().to_owned();
    let report = report_with(lines, vec![rule]);
    report.findings.into_iter().filter(|f| f.id == id).map(|f| (f.sentence, f.severity, f.count)).collect()
}

fn team(matches: &str) -> String {
    format!(
        "apiVersion: quell/v1\nkind: Detection\nmetadata: {{name: t, title: T}}\nspec:\n  severity: high\n  match:\n{matches}"
    )
}

#[test]
fn a_teams_rule_matches_what_it_says() {
    let text = team(
        "    resource: secrets\n    verb: [get, list]\n    namespace: {glob: 'bank-*'}\n    code: 200\n    not:\n      any:\n        - sourceIP: {cidr: [10.0.0.0/8, 'fd00::/8']}\n        - serviceAccount: bank/ledger\n",
    );
    let get = line("get", "secrets").ns("bank-a").name("s").ip("203.0.113.4");
    let spoofed = get.clone().set("/sourceIPs", json!(["10.1.1.1", "203.0.113.4"]));
    assert_eq!(found(&text, &[get.clone(), spoofed])[0].2, 2);
    for not in [
        get.clone().ip("10.1.1.1"),
        get.clone().ns("shop"),
        get.clone().set("/verb", "watch"),
        get.clone().code(404),
        get.clone().account("bank", "ledger").ip("203.0.113.4"),
    ] {
        assert!(found(&text, std::slice::from_ref(&not)).is_empty(), "{}", not.0);
    }
}

#[test]
fn bodies_paths_and_existence() {
    let text = team(
        "    request.spec.containers[].image: {regex: '^evil/'}\n    request.metadata.labels[\"a.b/c\"]: {exists: false}\n",
    );
    let pod = |labels, image: &str| {
        line("create", "pods").ns("x").body(
            json!({"metadata": {"labels": labels}, "spec": {"containers": [{"image": "good"}, {"image": image}]}}),
        )
    };
    assert_eq!(found(&text, &[pod(json!({}), "evil/x")]).len(), 1);
    assert!(found(&text, &[pod(json!({"a.b/c": "d"}), "evil/x")]).is_empty());
    assert!(found(&text, &[pod(json!({}), "fine")]).is_empty());
    let report = report_with(&[line("create", "pods").ns("x")], vec![rule(&text)]);
    assert!(report.unknowable.iter().any(|u| u.id == "t"), "a rule on bodies is blind without any");
}

#[test]
fn thresholds() {
    let distinct = format!(
        "{}  threshold: {{count: 3, distinct: name, within: 1m}}\n",
        team("    resource: pods\n    verb: delete\n")
    );
    let delete = |n: i64, name: &str| line("delete", "pods").ns("x").name(name).at(n);
    assert_eq!(found(&distinct, &[delete(0, "a"), delete(10, "b"), delete(50, "c")])[0].2, 3);
    assert!(found(&distinct, &[delete(0, "a"), delete(10, "b"), delete(70, "c")]).is_empty());
    assert!(found(&distinct, &[delete(0, "a"), delete(10, "a"), delete(20, "a")]).is_empty());
    let any = distinct.replace("distinct: name, ", "");
    assert_eq!(found(&any, &[delete(0, "a"), delete(10, "a"), delete(20, "a")])[0].2, 3);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let wrong = |text: &str| -> Vec<String> {
        parse(text)
            .err()
            .unwrap_or_else(|| panic!("accepted:\n{text}"))
            .iter()
            .map(|d| format!("{}:{}: {}", d.line, d.column, d.message))
            .collect()
    };
    assert_eq!(wrong(&team("    verbs: get\n")), ["7:5: an event has no field `verbs`"]);
    assert_eq!(wrong(&team("    uri: {regex: '('}\n")), ["7:18: error: unclosed group"]);
    assert_eq!(
        wrong(&team("    sourceIP: {cidr: 10.0.0}\n")),
        ["7:22: \"10.0.0\" is neither an address nor a network (10.0.0.0/8)"]
    );
    assert_eq!(wrong(&team("    verb: get\n  treshold: {}\n")), ["8:3: unknown field `treshold`"]);
    assert_eq!(wrong(&team("    {}\n"))[0], "7:5: no condition: it would match every request");
    assert!(wrong("kind: Detection\n")[0].contains("`apiVersion` is missing"));
    let all = wrong(&team("    verb: get\n").replace("high", "bad").replace("name: t", "name: T_"));
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(wrong(&team("    verb: get\n").replace("name: t", "name: exec-in-pod"))[0].contains("itself"));
    let deep = format!("    {}verb: get{}\n", "not: {".repeat(20), "}".repeat(20));
    assert!(wrong(&team(&deep))[0].contains("deep"));
}

fn sigma(detection: &str) -> String {
    format!(
        "title: A rule\nid: 00000000-0000-4000-8000-000000000001\ntags: [attack.execution, attack.t1609]\nlogsource: {{product: kubernetes, service: audit}}\ndetection:\n{detection}level: high\n"
    )
}

fn refused(text: &str) -> String {
    match parse(text) {
        Ok(Parsed::Refused { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn sigma_selections_and_conditions() {
    let text = sigma(
        "  sel_verb:\n    verb: [get, create]\n    objectRef.subresource: EXEC\n  sel_agent:\n    - userAgent|contains|all: [kube, ctl]\n    - userAgent|startswith: curl\n  _hidden:\n    verb: delete\n  filter:\n    user.username|re: '^system:'\n    sourceIPs|cidr: 10.0.0.0/8\n  condition: all of sel_* and not (1 of filter*)\n",
    );
    let exec = line("get", "pods/exec").ns("x").name("p");
    assert_eq!(found(&text, std::slice::from_ref(&exec))[0].1, Severity::High);
    assert_eq!(rule(&text).spec().techniques, "T1609");
    for not in [exec.clone().agent("other"), exec.clone().user("system:x"), line("get", "pods").ns("x")] {
        assert!(found(&text, std::slice::from_ref(&not)).is_empty(), "{}", not.0);
    }
    assert_eq!(found(&text, &[exec.clone().user("system:x").ip("203.0.113.1")]).len(), 1);
    let body = sigma(
        "  s:\n    requestObject.spec.containers.securityContext.capabilities|exists: true\n    objectRef.namespace: null\n  condition: s\n",
    );
    let pod = line("create", "pods")
        .body(json!({"spec": {"containers": [{}, {"securityContext": {"capabilities": {"add": []}}}]}}));
    assert_eq!(found(&body, std::slice::from_ref(&pod)).len(), 1);
    assert!(found(&body, &[pod.ns("x")]).is_empty());
    let or = sigma("  a: {verb: get}\n  b: {verb: 'l?st'}\n  condition: a or b and not a\n");
    assert_eq!(found(&or, &[line("get", "pods"), line("list", "pods"), line("watch", "pods")])[0].2, 2);
    assert_eq!(
        found(
            &sigma("  a: {verb: get}\n  _b: {verb: list}\n  condition: 1 of them\n"),
            &[line("get", "pods"), line("list", "pods")]
        )[0]
        .2,
        1
    );
}

#[test]
fn sigma_rules_that_can_not_be_are_refused_by_name() {
    let cases = [
        ("  s: {responseStatus.code: ALLOW}\n  condition: s\n", "responseStatus.code is a number"),
        ("  s: {verb: replace}\n  condition: s\n", "is no verb"),
        ("  s: {apiGroup: apps}\n  condition: s\n", "`objectRef.apiGroup` may be meant"),
        ("  s: {capabilities: '*'}\n  condition: s\n", "has no field `capabilities`"),
        ("  s: [curl]\n  condition: s\n", "words without a field"),
        ("  s: {verb|base64: get}\n  condition: s\n", "modifier `base64`"),
        ("  s: {verb: get}\n  condition: s | count() > 5\n", "threshold"),
        ("  s: {verb: get}\n  condition: s and t\n", "names `t`"),
        ("  s: {verb: get}\n  condition: (s\n", "lacks a `)`"),
        ("  s: {verb: get}\n  condition: 2 of s*\n", "only 1 and all"),
        ("  s: {verb: get}\n  timeframe: 5m\n  condition: s\n", "timeframe"),
        ("  s: {userAgent|re: '(?=x)'}\n  condition: s\n", "look-around"),
        ("  s: {verb: get}\n", "no `condition`"),
    ];
    for (detection, why) in cases {
        let said = refused(&sigma(detection));
        assert!(said.contains(why), "{detection}: {said}");
    }
    assert!(
        refused(&sigma("  s: {verb: get}\n  condition: s\n").replace("service: audit", "service: x"))
            .contains("not for kubernetes/audit")
    );
    let deep = format!("  s: {{verb: get}}\n  condition: {}s{}\n", "(".repeat(100), ")".repeat(100));
    assert!(refused(&sigma(&deep)).contains("too deeply"));
}

#[test]
fn sigma_rules_that_see_less_than_they_mean_are_warned_about() {
    let text = sigma(
        "  s: {verb: [create, replace], objectRef.resource: pods}\n  t: {verb: create, objectRef.subresource: exec}\n  condition: 1 of them\n",
    );
    let Ok(Parsed::Rule(_, warnings)) = parse(&text) else { panic!() };
    let said: Vec<&str> = warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "\"replace\" is no verb of an audit log; the others are looked for",
            "it sees exec only as `create`: over a WebSocket it is a `get`"
        ]
    );
}

#[test]
fn shipped_examples_load() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/detections");
    let loaded = load(&[folder.join("valid")]).unwrap();
    assert_eq!(loaded.rules.len(), 5);
    assert_eq!(loaded.refused.len(), 1);
    assert_eq!(loaded.refused[0].rule, "Status that never is");
    for entry in std::fs::read_dir(folder.join("invalid")).unwrap() {
        let path = entry.unwrap().path();
        let problem = load(std::slice::from_ref(&path)).expect_err("invalid").to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        let wanted = text.lines().next().unwrap().trim_start_matches("# ");
        assert!(problem.contains(wanted), "{}: {problem}", path.display());
    }
}
