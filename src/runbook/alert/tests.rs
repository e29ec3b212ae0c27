use serde_json::json;

use super::*;

fn runbook() -> Runbook {
    let mapping = |kind: &str, pod: &str, namespace: &str| AlertMapping {
        kind: kind.into(),
        matches: vec![],
        inputs: vec![("pod".into(), pod.into()), ("namespace".into(), namespace.into())],
    };
    Runbook {
        name: "r".into(),
        title: String::new(),
        summary: String::new(),
        when_to_use: String::new(),
        references: vec![],
        inputs: vec![],
        alerts: vec![
            mapping("alertmanager", "labels.pod", "labels.namespace"),
            mapping("falco", "output_fields.k8s.pod.name", "output_fields.k8s.ns.name"),
        ],
        steps: vec![],
        source_text: String::new(),
        source: String::new(),
    }
}

fn webhook(alerts: &[Value], truncated: u64) -> Vec<u8> {
    json!({"version": "4", "groupKey": "g", "truncatedAlerts": truncated, "alerts": alerts}).to_string().into_bytes()
}

fn alert(pod: &str, status: &str) -> Value {
    json!({"status": status, "labels": {"pod": pod, "namespace": "pay"}, "startsAt": "2026-11-23T03:00:00Z", "fingerprint": "f"})
}

#[test]
fn only_what_is_mapped_is_taken_and_repetitions_are_the_same_alert() {
    let one = from_alert(&runbook(), &webhook(&[alert("web-1", "firing")], 0)).unwrap();
    assert_eq!(one.inputs, [("pod".to_string(), "web-1".to_string()), ("namespace".to_string(), "pay".to_string())]);
    let again = from_alert(&runbook(), &webhook(&[alert("web-1", "firing"), alert("x", "resolved")], 0)).unwrap();
    assert_eq!(one.fingerprint, again.fingerprint);
    assert_ne!(one.fingerprint, from_alert(&runbook(), &webhook(&[alert("web-2", "firing")], 0)).unwrap().fingerprint);
}

#[test]
fn falco_names_with_dots_are_found() {
    let event = json!({"rule": "Shell", "output": "o", "output_fields": {"k8s.pod.name": "web-1", "k8s.ns.name": "pay"}, "time": "t1"});
    let one = from_alert(&runbook(), event.to_string().as_bytes()).unwrap();
    assert_eq!(one.inputs[0].1, "web-1");
    let later = event.to_string().replace("t1", "t2");
    assert_eq!(one.fingerprint, from_alert(&runbook(), later.as_bytes()).unwrap().fingerprint);
}

#[test]
fn what_is_missing_doubtful_doubled_or_truncated_is_refused() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (webhook(&[alert("a", "firing")], 3), "left 3 alerts out"),
        (webhook(&[alert("a", "firing"), alert("b", "firing")], 0), "2 alerts are firing"),
        (webhook(&[alert("a", "resolved")], 0), "no alert in this document is firing"),
        (webhook(&[alert("", "firing")], 0), "labels.pod is empty"),
        (webhook(&[json!({"status": "firing", "labels": {"namespace": "pay"}})], 0), "has no labels.pod"),
        (
            webhook(&[json!({"status": "firing", "labels": {"pod": ["a", "b"], "namespace": "pay"}})], 0),
            "no usable text",
        ),
        (webhook(&[alert("a\u{1b}[2J", "firing")], 0), "no usable text"),
        (
            br#"{"alerts":[{"status":"firing","labels":{"pod":"a","pod":"b","namespace":"pay"}}]}"#.to_vec(),
            "stands there twice",
        ),
        (b"{}".to_vec(), "neither an Alertmanager webhook nor"),
        (b"[1".to_vec(), "not JSON"),
        ("[".repeat(10_000).into_bytes(), "not JSON"),
        (vec![b' '; MAX_BYTES + 1], "larger than"),
    ];
    for (document, says) in cases {
        let problem = from_alert(&runbook(), &document).unwrap_err();
        assert!(problem.message.contains(says), "{says} not in {problem}");
    }
}
