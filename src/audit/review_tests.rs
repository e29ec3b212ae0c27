use std::io::Write;
use std::path::PathBuf;

use super::*;
use crate::audit::find;
use crate::clock::parse;

pub(super) const SA: &str = "system:serviceaccount:payments:checkout";

/// One line as the API server writes it; `more` is put among the event's own keys.
pub(super) fn event(id: &str, stage: &str, received: &str, staged: &str, user: &str, more: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{id}","stage":"{stage}","requestURI":"/api/v1/pods","verb":"list","user":{{"username":"{user}","groups":["g"]}},{more}"requestReceivedTimestamp":"2026-11-23T{received}.000001Z","stageTimestamp":"2026-11-23T{staged}.000002Z"}}"#
    )
}

fn run(files: &[(&str, String)], from: &str, to: &str) -> (Review, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, text)| {
            let path = dir.path().join(name);
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
            path
        })
        .collect();
    let at = |t: &str| parse(&format!("2026-11-23T{t}Z")).unwrap();
    let window = Window { start: at(from), until: at(to), longest_gap: Duration::minutes(5) };
    let identity = Identity { username: SA.into(), pod_uid: Some("uid-1".into()) };
    let review = review(find(&paths).unwrap().0, &identity, window, &|_| {}).unwrap();
    (review, dir)
}

#[test]
fn each_request_once_by_its_most_telling_line() {
    let started = event("a", "ResponseStarted", "03:01:00", "03:01:00", SA, "");
    let complete = event("a", "ResponseComplete", "03:01:00", "03:02:00", SA, "");
    // The same auditID again, chosen by the client: another request, for it came at another time.
    let again = event("a", "ResponseComplete", "03:03:00", "03:03:00", SA, "");
    let other = event("b", "ResponseComplete", "03:04:00", "03:04:00", "system:serviceaccount:payments:checkout2", "");
    let text = format!("{started}\n{complete}\n{again}\n{other}\n");
    // The second file repeats the first: a rotated copy.
    let (mut review, _dir) = run(&[("1.log", text.clone()), ("2.log", text)], "03:00:00", "03:05:00");
    assert_eq!(review.events, 8);
    assert_eq!(review.requests.len(), 2);
    assert!(review.requests.iter().all(|r| !r.open));
    let first = review.requests[0];
    assert_eq!(review.line(&first).unwrap(), complete.as_bytes());
}

#[test]
fn the_account_is_found_escaped_impersonated_and_by_its_pod() {
    let escaped =
        event("a", "ResponseComplete", "03:01:00", "03:01:00", "system\\u003aserviceaccount:payments:checkout", "");
    let impersonated = event(
        "b",
        "ResponseComplete",
        "03:01:00",
        "03:01:00",
        "admin",
        &format!(r#""impersonatedUser":{{"username":"{SA}"}},"#),
    );
    let pod = event("c", "ResponseComplete", "03:01:00", "03:01:00", "x", "")
        .replace(r#""groups":["g"]"#, r#""extra":{"authentication.kubernetes.io/pod-uid":["uid-1"]}"#);
    // In a body only: not the account's.
    let body = event(
        "d",
        "ResponseComplete",
        "03:01:00",
        "03:01:00",
        "x",
        &format!(r#""requestObject":{{"user":{{"username":"{SA}"}}}},"#),
    );
    let (review, _dir) = run(&[("a", [escaped, impersonated, pod, body].join("\n"))], "03:00:00", "03:05:00");
    assert_eq!(review.requests.len(), 3);
    assert_eq!(review.damaged, 0, "a last line without newline that parses is whole");
}

#[test]
fn damage_is_counted_and_named() {
    let good = event("a", "ResponseComplete", "03:01:00", "03:01:00", SA, "");
    let text = [
        &good,
        "",
        "not json",
        &good[..100],
        r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}"#,
        &good[..50],
    ]
    .join("\n");
    let (review, _dir) = run(&[("a", text)], "03:00:00", "03:05:00");
    assert_eq!(review.requests.len(), 1);
    let what: Vec<_> = review.damage.iter().map(|d| (d.line, d.what)).collect();
    assert_eq!(
        what,
        [
            (3, "not JSON"),
            (4, "cut short"),
            (5, "an EventList: only one Event a line is read"),
            (6, "the file ends in the middle of it")
        ]
    );
}

#[test]
fn the_window_takes_what_was_running_in_it() {
    let text = [
        event("over", "ResponseComplete", "02:50:00", "02:59:00", SA, ""),
        event("into", "ResponseComplete", "02:50:00", "03:01:00", SA, ""),
        event("open", "ResponseStarted", "02:40:00", "02:40:00", SA, ""),
        // Ended before the window; its end comes first in the file.
        event("watch", "ResponseComplete", "02:40:00", "02:45:00", SA, "")
            .replace("/api/v1/pods", "/api/v1/pods?watch=true"),
        event("watch", "ResponseStarted", "02:40:00", "02:40:00", SA, "")
            .replace("/api/v1/pods", "/api/v1/pods?watch=true"),
        event("later", "ResponseComplete", "03:06:00", "03:06:00", SA, ""),
    ]
    .join("\n");
    let (mut review, _dir) = run(&[("a", text)], "03:00:00", "03:05:00");
    let requests = review.requests.clone();
    let ids: Vec<_> = requests
        .iter()
        .map(|r| {
            let line: serde_json::Value = serde_json::from_slice(&review.line(r).unwrap()).unwrap();
            (line["auditID"].as_str().unwrap().to_owned(), r.open)
        })
        .collect();
    assert_eq!(ids, [("open".into(), true), ("into".into(), false)]);
    assert_eq!(review.gaps.len(), 0);
}

/// `QUELL_AUDIT_BENCH=path cargo test --release --lib audit_speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement: needs a file named in QUELL_AUDIT_BENCH"]
fn audit_speed() {
    let path = PathBuf::from(std::env::var("QUELL_AUDIT_BENCH").unwrap());
    let at = |t: &str| parse(&format!("2026-11-23T{t}Z")).unwrap();
    let window = Window { start: at("00:00:00"), until: at("23:00:00"), longest_gap: Duration::minutes(5) };
    let begun = std::time::Instant::now();
    let identity = Identity { username: SA.into(), pod_uid: None };
    let review = review(find(&[path]).unwrap().0, &identity, window, &|_| {}).unwrap();
    println!(
        "{} events, {} requests, {} bytes, {:?}",
        review.events,
        review.requests.len(),
        review.files[0].bytes,
        begun.elapsed()
    );
}
