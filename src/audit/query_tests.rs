use super::*;
use crate::audit::event::Origin;
use crate::audit::format::kubernetes;

const HERE: Origin = Origin { file: 0, offset: 0, len: 0 };

/// An event with these fields beside the usual ones.
fn line(fields: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseComplete",{fields},"requestReceivedTimestamp":"2026-11-23T03:00:00Z","stageTimestamp":"2026-11-23T03:00:01Z"}}"#
    )
}

/// Whether the query matches; the prefilter must let through what does.
fn asks(query: &Query, fields: &str) -> bool {
    let line = line(fields);
    let matches = query.matches(&kubernetes::event(&line, HERE).unwrap());
    let (needles, all) = (query.needles(), 0..line.len());
    let may = needles.may_match_own(line.as_bytes(), all.clone(), &mut needles.ahead(line.as_bytes()), all);
    assert!(may || !matches, "the prefilter misses {fields}");
    assert!(needles.may_match(line.as_bytes()) || !matches, "the loose prefilter misses {fields}");
    matches
}

fn object(verb: &str, object: &str) -> String {
    format!(r#""verb":"{verb}","objectRef":{{{object}}}"#)
}

#[test]
fn lists_touch_every_object_in_their_scope() {
    let query = Query { objects: vec![Wanted::secret("payments", "db")], ..Query::default() };
    for (verb, of) in [
        ("get", r#""resource":"secrets","namespace":"payments","name":"db""#),
        ("list", r#""resource":"secrets","namespace":"payments""#),
        ("watch", r#""resource":"secrets""#),
        ("list", r#""resource":"secrets","namespace":"payments","name":"db""#),
        ("deletecollection", r#""resource":"secrets","namespace":"payments""#),
        ("patch", r#""resource":"s\u0065crets","namespace":"payments","name":"db""#),
    ] {
        assert!(asks(&query, &object(verb, of)), "{verb} {of}");
    }
    for (verb, of) in [
        ("get", r#""resource":"secrets","namespace":"payments","name":"other""#),
        ("list", r#""resource":"secrets","namespace":"other""#),
        ("list", r#""resource":"secrets","namespace":"payments","name":"other""#),
        ("create", r#""resource":"secrets","namespace":"payments""#),
        ("get", r#""resource":"configmaps","namespace":"payments","name":"db""#),
    ] {
        assert!(!asks(&query, &object(verb, of)), "{verb} {of}");
    }
    let node = Query { objects: vec![Wanted::parse("node/worker-1").unwrap()], ..Query::default() };
    assert!(asks(&node, &object("patch", r#""resource":"nodes","name":"worker-1","subresource":"status""#)));
    assert!(Wanted::parse("secret//x").is_err() && Wanted::parse("a/b/c/d").is_err());
    assert_eq!(Wanted::parse("secret/ns/*").unwrap().name, None);
}

#[test]
fn an_identity_is_found_as_another_and_by_another() {
    let query = Query { subjects: vec!["jane".into()], ..Query::default() };
    let how = |fields: &str| query.how(&kubernetes::event(&line(fields), HERE).unwrap());
    assert_eq!(how(r#""user":{"username":"jane"}"#), Some(How::Itself));
    assert_eq!(how(r#""user":{"username":"jane"},"impersonatedUser":{"username":"joe"}"#), Some(How::AsOther));
    assert_eq!(how(r#""user":{"username":"joe"},"impersonatedUser":{"username":"j\u0061ne"}"#), Some(How::ByOther));
    assert_eq!(how(r#""user":{"username":"joe"},"userAgent":"jane""#), None);
    assert!(asks(&query, r#""user":{"username":"j\u0061ne"}"#));
}

#[test]
fn filters_combine_and_values_of_one_are_alternatives() {
    let query = Query {
        subjects: vec!["jane".into(), "joe".into()],
        verbs: vec!["get".into(), "list".into()],
        user_agents: vec![glob::Pattern::new("*curl/[78].*").unwrap()],
        ..Query::default()
    };
    assert!(asks(&query, r#""user":{"username":"joe"},"verb":"list","userAgent":"x curl/8.1""#));
    assert!(!asks(&query, r#""user":{"username":"joe"},"verb":"create","userAgent":"curl/8.1""#));
    assert!(!asks(&query, r#""user":{"username":"jim"},"verb":"get","userAgent":"curl/8.1""#));
    assert!(!asks(&query, r#""user":{"username":"joe"},"verb":"get","userAgent":"curl/9.1""#));
    assert!(asks(&Query::default(), r#""verb":"get""#));
    assert_eq!(literal("*curl/[]78].*x"), "curl/");
    assert_eq!(literal("a?bcd*"), "bcd");
}

#[test]
fn only_the_address_that_no_client_can_set_counts() {
    let net = |text: &str| text.parse::<IpNet>().unwrap();
    let mut query = Query { source_ips: vec![net("203.0.113.0/24")], ..Query::default() };
    let spoofed = r#""sourceIPs":["203.0.113.7","10.0.0.1"]"#;
    assert!(!asks(&query, spoofed));
    assert!(query.claimed_address(&kubernetes::event(&line(spoofed), HERE).unwrap()));
    assert!(asks(&query, r#""sourceIPs":["1.1.1.1","203.0.113.7"]"#));
    query.trusted_proxies = vec![net("10.0.0.0/8")];
    assert!(asks(&query, spoofed));
    assert!(!asks(&query, r#""sourceIPs":["203.0.113.7","evil","10.0.0.1"]"#), "a proxy passed on what is no address");
    let six = Query { source_ips: vec![net("2001:db8::/32")], ..Query::default() };
    assert!(asks(&six, r#""sourceIPs":["2001:0db8:0::1"]"#));
    assert_eq!((prefix(&net("10.1.0.0/16")), prefix(&net("10.1.2.3/32"))), ("10.1.".into(), "10.1.2.3".into()));
    assert_eq!((prefix(&net("0.0.0.0/0")), prefix(&net("10.1.2.0/25"))), (String::new(), "10.1.2.".into()));
}

#[test]
fn tokens_are_followed_from_issuance_to_use() {
    let query = Query { sessions: vec!["abc-1".into()], ..Query::default() };
    let used = r#""user":{"username":"u","extra":{"authentication.kubernetes.io/credential-id":["JTI=abc-1"]}}"#;
    let issued = r#""annotations":{"authentication.kubernetes.io/issued-credential-id":"JTI=abc-1"}"#;
    assert!(asks(&query, used) && asks(&query, issued));
    assert!(!asks(&query, &used.replace("abc-1", "abc-12")));
    let pod = r#""user":{"username":"system:serviceaccount:ns:sa","extra":{"authentication.kubernetes.io/pod-name":["web-0"],"authentication.kubernetes.io/pod-uid":["uid-1"],"authentication.kubernetes.io/node-name":["w1"]}}"#;
    assert!(asks(&Query { pods: vec![("ns".into(), "web-0".into())], ..Query::default() }, pod));
    assert!(!asks(&Query { pods: vec![("other".into(), "web-0".into())], ..Query::default() }, pod));
    assert!(asks(&Query { nodes: vec!["w1".into()], ..Query::default() }, pod));
    assert!(asks(&Query { nodes: vec!["w1".into()], ..Query::default() }, r#""user":{"username":"system:node:w1"}"#));
    let either = Query {
        service_accounts: vec![("ns".into(), "other".into())],
        pod_uids: vec!["uid-1".into()],
        ..Query::default()
    };
    assert!(asks(&either, pod));
}
