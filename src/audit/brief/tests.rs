use std::path::Path;

use time::{Duration, OffsetDateTime};

use super::*;
use crate::audit::detect::{Detectors, Gathered, Report};
use crate::audit::format::kubernetes::asking;
use crate::audit::glance::Glancer;
use crate::audit::log::{Log, Random};
use crate::audit::{Event, Query, Scan, Task, Watch, Window, find, parse_event, scan};

const HERE: Origin = Origin { file: 0, offset: 0, len: 0 };

fn read(line: &str) -> Option<Brief<'_>> {
    let glance = Glancer::default().glance(line.as_bytes())?;
    Brief::read(line, &glance, HERE)
}

/// A line is either left to the parser, or says the same as the parser.
fn agrees(line: &str) -> bool {
    let Some(brief) = read(line) else { return false };
    // Who asks is read by those who need it, each text once.
    let caller = format!("{{{}}}", brief.caller);
    let Some(asking) = asking(&caller) else { return false };
    let event = parse_event(line, HERE).unwrap_or_else(|what| panic!("{what}: {line}"));
    let object = event.object.as_ref().map(|o| BriefObject {
        group: &o.group,
        resource: &o.resource,
        subresource: &o.subresource,
        name: &o.name,
    });
    assert_eq!(
        (brief.stage, brief.level, brief.audit_id, brief.verb, &brief.uri, brief.object, brief.code, brief.body),
        (
            event.stage,
            event.level,
            event.audit_id.as_ref(),
            event.verb.as_ref(),
            &event.uri,
            object,
            event.code,
            event.request_object.is_some()
        ),
        "{line}"
    );
    assert_eq!(
        (asking.user, asking.impersonated, asking.source_ips, asking.user_agent),
        (event.user.clone(), event.impersonated.clone(), event.source_ips.clone(), event.user_agent.clone()),
        "{line}"
    );
    let micros = |at: OffsetDateTime| i64::try_from(at.unix_timestamp_nanos() / 1000).unwrap();
    assert_eq!(
        (brief.received, brief.staged, brief.allowed, brief.truncated, brief.issued),
        (
            micros(event.received),
            micros(event.staged),
            event.allowed(),
            event.truncated(),
            event.issued_credential_id().is_some()
        ),
        "{line}"
    );
    true
}

fn lines(seed: u64, events: u64) -> Vec<String> {
    let start = OffsetDateTime::from_unix_timestamp(1_795_392_000).unwrap();
    let mut log = Log::new(seed, events, start, Duration::hours(3));
    log.every = 10;
    log.collect()
}

#[test]
fn what_the_api_server_writes_is_read() {
    let all = lines(1, 400);
    let read = all.iter().filter(|line| agrees(line)).count();
    // Two of the kinds that are planted have another shape.
    assert!(read * 100 > all.len() * 95, "{read} of {}", all.len());
    let line = &all[0];
    for more in [
        line.replace(r#""metadata":{},"#, r#""metadata":{},"status":"Failure","message":"pods \"a\" not found","reason":"NotFound","details":{"name":"a","causes":[1,{"x":"}\""}]},"#),
        line.replace(r#""annotations":{"#, r#""annotations":{"audit.k8s.io/truncated":"true","#),
        line.replace(r#""annotations":{"#, r#""annotations":{"authentication.kubernetes.io/issued-credential-id":"JTI=a","#),
        line.replace(r#","code":200"#, ""),
        line.replace("\"userAgent\":\"", "\"userAgent\":\"søren "),
    ] {
        assert!(more != *line && agrees(&more), "{more}");
    }
}

/// Shapes in which somebody may hide, and damage; each from a line as the API server writes it.
fn hostile(line: &str, random: &mut Random, kind: u64) -> Vec<u8> {
    let put = |find: &str, new: &str| line.replacen(find, new, 1);
    let cut = |random: &mut Random| {
        let mut at = usize::try_from(random.below(line.len() as u64)).unwrap();
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let text = match kind {
        // An escape for some character of some string.
        0 => {
            let at = cut(random);
            match line[at..].find(|c: char| c.is_ascii_alphanumeric()) {
                Some(found) => {
                    let at = at + found;
                    format!("{}\\u00{:02x}{}", &line[..at], line.as_bytes()[at], &line[at + 1..])
                }
                None => line.into(),
            }
        }
        // Keys in another order.
        1 => {
            let (verb, rest) = line.split_once(r#","verb":""#).unwrap();
            let (value, rest) = rest.split_once('"').unwrap();
            format!(r#"{{"verb":"{value}",{}{rest}"#, &verb[1..])
        }
        2 => put("\",\"", "\", \""),
        3 => put(":{\"", ": {\""),
        // The same key twice.
        4 => put(r#","user":{"#, r#","verb":"delete","user":{"#),
        5 => put(r#""objectRef":{"#, r#""objectRef":{"resource":"secrets"},"objectRef":{"#),
        // Decoys.
        6 => put(
            r#""annotations":{"#,
            r#""annotations":{"a":"\",\"verb\":\"get\",\"objectRef\":{\"resource\":\"pods\"","#,
        ),
        7 => put(r#""extra":{"#, r#""extra":{"objectRef":["{\"resource\":\"secrets\"}"],"#),
        8 => put(r#""extra":{"#, r#""extra":{"a\"b":["x"],"#),
        9 => put(
            r#""requestReceivedTimestamp":"#,
            r#""requestObject":{"objectRef":{"resource":"x"},"verb":"get","requestReceivedTimestamp":"2026-11-23T00:00:00.000001Z","stageTimestamp":"2026-11-23T00:00:00.000001Z","annotations":{}},"requestReceivedTimestamp":"#,
        ),
        10 => put(r#""userAgent":""#, r#""verb":"delete","userAgent":""#),
        11 => put(r#""objectRef":{"#, r#""extra":{"x":1},"objectRef":{"#),
        12 => put(r#","verb":""#, r#","verb":null,"x":""#),
        13 => put(r#""code":2"#, r#""code":02"#),
        14 => put(r#""code":2"#, r#""code":-2"#),
        15 => put(r#""code":2"#, r#""code":2.5e"#),
        16 => put(r#"decision":"allow""#, r#"decision":"allow","authorization.k8s.io/decision":"forbid""#),
        17 => put(r#"decision":"allow""#, r#"decision":"\u0066orbid""#),
        18 => put("RBAC", "\\ud800"),
        19 => put("RBAC", "\\x"),
        20 => put(r#""sourceIPs":["#, r#""sourceIPs":[null,"#),
        21 => put(r#""impersonatedUser":{"#, r#""impersonatedUser":{"uid":7,"#),
        22 => put(r#""groups":["#, r#""groups":["a\"b","#),
        23 => put("system:node:", "\\u0073ystem:node:"),
        24 => put(r#""metadata":{}"#, r#""metadata":{"x":[}"#),
        // Damage: cut, two in one, a byte that is no text, a control character.
        25 => line[..cut(random)].into(),
        26 => format!("{}{line}", &line[..cut(random)]),
        27 => {
            let mut bytes = line.as_bytes().to_vec();
            let at = cut(random);
            bytes[at] = 0xff;
            return bytes;
        }
        28 => {
            let at = cut(random);
            format!("{}\t{}", &line[..at], &line[at..])
        }
        // A hole in the middle.
        29 => {
            let (a, b) = (cut(random), cut(random));
            format!("{}{}", &line[..a.min(b)], &line[a.max(b)..])
        }
        30 => put(r#""user":{"username":"#, r#""authenticationMetadata":{"a":[1]},"user":{"username":"#),
        _ => put("?timeout", "?dryRun=All\\u0026timeout"),
    };
    text.into_bytes()
}

const KINDS: u64 = 32;

#[test]
fn hostile_shapes_are_left_to_the_parser_or_say_the_same() {
    for seed in 1..=3 {
        let mut random = Random(seed);
        for line in lines(seed, 100) {
            for kind in 0..KINDS {
                let bytes = hostile(&line, &mut random, kind);
                if let Ok(text) = std::str::from_utf8(&bytes) {
                    agrees(text);
                }
            }
        }
    }
}

/// All detections; with the short way or without.
struct Detect(Detectors, bool);

impl Watch for Detect {
    type Seen = Gathered;
    fn begin(&self) -> Gathered {
        self.0.gather()
    }
    fn look(&self, seen: &mut Gathered, event: &Event<'_>) {
        self.0.map(event, seen);
    }
    fn glimpse(&self, seen: &mut Gathered, brief: &Brief<'_>) -> bool {
        self.1 && self.0.glimpse(brief, seen)
    }
    fn end(&self, seen: &mut Gathered) {
        seen.end();
    }
}

fn answer(path: &Path, short: bool, window: Window) -> (Report, String) {
    let files = find(&[path.into()]).unwrap().0;
    let (watch, query) = (Detect(Detectors::all(), short), Query { nothing: true, ..Query::default() });
    let task = Task { files, query: &query, window, limit: None, watch: &watch, threads: Some(2), progress: &|_| {} };
    let scan: Scan<Gathered> = scan(task).unwrap();
    let told =
        format!("{} {} {:?} {:?} {:?}", scan.events(), scan.damaged(), scan.damage, scan.resources, scan.truncated);
    let mut whole = watch.0.gather();
    scan.seen.into_iter().for_each(|part| whole.merge(part));
    (watch.0.reduce(whole), told)
}

#[test]
fn the_short_way_and_the_whole_one_give_the_same_findings() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let start = OffsetDateTime::from_unix_timestamp(1_795_392_000).unwrap();
    for seed in 1..=3 {
        let mut random = Random(seed);
        let mut bytes = Vec::new();
        for line in lines(seed, 600) {
            let line = match random.below(3) {
                0 => hostile(&line, &mut random, seed.wrapping_mul(7) % KINDS),
                1 => {
                    let kind = random.below(KINDS);
                    hostile(&line, &mut random, kind)
                }
                _ => line.into_bytes(),
            };
            bytes.extend(line);
            bytes.push(b'\n');
        }
        std::fs::write(&path, &bytes).unwrap();
        let all = Window { start: None, until: None, longest_gap: Duration::minutes(5) };
        let some =
            Window { start: Some(start + Duration::minutes(50)), until: Some(start + Duration::minutes(90)), ..all };
        for window in [all, some] {
            let (short, whole) = (answer(&path, true, window), answer(&path, false, window));
            assert!(!whole.0.findings.is_empty() && !whole.0.sessions.is_empty());
            assert_eq!(short.0.findings, whole.0.findings, "seed {seed}");
            assert_eq!(short.0.sessions, whole.0.sessions, "seed {seed}");
            assert_eq!(short, whole, "seed {seed}");
        }
    }
}
