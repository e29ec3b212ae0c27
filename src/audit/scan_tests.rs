use std::io::Write;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use time::{Duration, OffsetDateTime};

use super::scan::{Scan, Task, Window, scan};
use super::{Answer, Event, Query, Wanted, find};
use crate::clock::parse;

use super::log::{ACCOUNT, ADDRESS, Log, Random, SECRET, TOKEN, Truth};

const SA: &str = "system:serviceaccount:payments:checkout";

/// One line as the API server writes it; `more` is put among the event's own keys.
fn event(id: &str, stage: &str, received: &str, staged: &str, user: &str, more: &str) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"{id}","stage":"{stage}","requestURI":"/api/v1/pods","verb":"list","user":{{"username":"{user}","groups":["g"]}},{more}"requestReceivedTimestamp":"2026-11-23T{received}.000001Z","stageTimestamp":"2026-11-23T{staged}.000002Z"}}"#
    )
}

fn at(time: &str) -> OffsetDateTime {
    parse(&format!("2026-11-23T{time}Z")).unwrap()
}

/// A log of so many events over so many hours, with much planted.
fn made(seed: u64, events: u64, hours: i64) -> Log {
    let mut log = Log::new(seed, events, at("00:00:00"), Duration::hours(hours));
    log.every = 20;
    log
}

fn account() -> Query {
    Query {
        service_accounts: vec![(ACCOUNT.0.into(), ACCOUNT.1.into())],
        pod_uids: vec!["uid-1".into()],
        ..Query::default()
    }
}

fn look(paths: &[PathBuf], query: &Query, window: Window, threads: usize, limit: Option<usize>) -> Scan<()> {
    let files = find(paths).unwrap().0;
    scan(Task { files, query, window, limit, watch: &(), threads: Some(threads), progress: &|_| {} }).unwrap()
}

fn run(files: &[(&str, String)], from: &str, to: &str) -> (Scan<()>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|(name, text)| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
        .collect();
    let window = Window { start: Some(at(from)), until: Some(at(to)), longest_gap: Duration::minutes(5) };
    (look(&paths, &account(), window, 2, None), dir)
}

fn ids(scan: &mut Scan<()>) -> Vec<String> {
    let requests = scan.requests.clone();
    requests.iter().map(|r| scan.originals.event(r, |e| e.audit_id.to_string()).unwrap()).collect()
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
    let (mut scan, _dir) = run(&[("1.log", text.clone()), ("2.log", text)], "03:00:00", "03:05:00");
    assert_eq!(scan.events(), 8);
    assert_eq!(scan.requests.len(), 2);
    assert!(scan.requests.iter().all(|r| !r.open));
    let first = scan.requests[0];
    assert_eq!(first.origin.file, 0);
    assert_eq!(scan.originals.read(&first).unwrap(), complete.as_bytes());
}

#[test]
fn the_account_is_found_escaped_impersonated_and_by_its_pod() {
    let line = |id, user, more: &str| event(id, "ResponseComplete", "03:01:00", "03:01:00", user, more);
    let escaped = line("a", "system\\u003aserviceaccount:payments:checkout", "");
    let impersonated = line("b", "admin", &format!(r#""impersonatedUser":{{"username":"{SA}"}},"#));
    let pod = line("c", "x", "")
        .replace(r#""groups":["g"]"#, r#""extra":{"authentication.kubernetes.io/pod-uid":["uid-1"]}"#);
    // In a body only: not the account's.
    let body = line("d", "x", &format!(r#""requestObject":{{"user":{{"username":"{SA}"}}}},"#));
    let (mut scan, _dir) = run(&[("a", [escaped, impersonated, pod, body].join("\n"))], "03:00:00", "03:05:00");
    let mut found = ids(&mut scan);
    found.sort();
    assert_eq!(found, ["a", "b", "c"]);
    assert_eq!(scan.damaged(), 0, "a last line without newline that parses is whole");
}

#[test]
fn damage_is_counted_and_named() {
    let good = event("a", "ResponseComplete", "03:01:00", "03:01:00", SA, "");
    let text = [
        good.as_str(),
        "",
        "not json",
        &good[..100],
        r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[]}"#,
        &format!("{}{good}", &good[..150]),
        "{}",
        &good[..50],
    ]
    .join("\n");
    let (scan, _dir) = run(&[("a", text)], "03:00:00", "03:05:00");
    assert_eq!(scan.requests.len(), 1);
    let what: Vec<_> = scan.damage.iter().map(|d| (d.line.unwrap(), d.what.as_str())).collect();
    assert_eq!(
        what,
        [
            (3, "not JSON"),
            (4, "cut short"),
            (6, "not JSON"),
            (7, "not an Event of audit.k8s.io/v1"),
            (8, "the file ends in the middle of it")
        ]
    );
    assert_eq!(scan.damaged(), 5);
}

#[test]
fn the_window_takes_what_was_running_in_it() {
    let watch = |line: String| line.replace("/api/v1/pods", "/api/v1/pods?watch=true");
    let text = [
        event("over", "ResponseComplete", "02:50:00", "02:59:00", SA, ""),
        event("into", "ResponseComplete", "02:50:00", "03:01:00", SA, ""),
        event("open", "ResponseStarted", "02:40:00", "02:40:00", SA, ""),
        // Ended before the window; its end comes first in the file.
        watch(event("watch", "ResponseComplete", "02:40:00", "02:45:00", SA, "")),
        watch(event("watch", "ResponseStarted", "02:40:00", "02:40:00", SA, "")),
        event("later", "ResponseComplete", "03:06:00", "03:06:00", SA, ""),
    ]
    .join("\n");
    let (mut scan, _dir) = run(&[("a", text)], "03:00:00", "03:05:00");
    let open: Vec<_> = scan.requests.iter().map(|r| r.open).collect();
    assert_eq!(
        ids(&mut scan).into_iter().zip(open).collect::<Vec<_>>(),
        [("open".into(), true), ("into".into(), false)]
    );
    assert!(scan.coverage.gaps(Duration::minutes(5)).is_empty());
}

/// How a log may come.
const FORMS: [&str; 10] =
    ["lines", "list", "pretty", "eks", "export", "subscription", "firehose", "aks", "aks-table", "aks-query"];

/// A row of AKSAudit; `texts`: as the query API writes what is not text.
fn row(line: &str, texts: bool) -> serde_json::Value {
    let event: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(event.get("impersonatedUser").is_none(), "the table has no column for it");
    let mut row = serde_json::json!({
        "TenantId": "1", "SourceSystem": "Azure", "TimeGenerated": event["stageTimestamp"], "Type": "AKSAudit",
        "PodName": "kube-apiserver-1",
    });
    for (column, key) in [
        ("AuditId", "auditID"),
        ("Level", "level"),
        ("Stage", "stage"),
        ("RequestUri", "requestURI"),
        ("Verb", "verb"),
        ("UserAgent", "userAgent"),
        ("RequestReceivedTime", "requestReceivedTimestamp"),
        ("StageReceivedTime", "stageTimestamp"),
    ] {
        row[column] = event[key].clone();
    }
    for (column, key) in [
        ("User", "user"),
        ("SourceIps", "sourceIPs"),
        ("ObjectRef", "objectRef"),
        ("ResponseStatus", "responseStatus"),
        ("RequestObject", "requestObject"),
        ("ResponseObject", "responseObject"),
        ("Annotations", "annotations"),
    ] {
        row[column] = match &event[key] {
            serde_json::Value::Null if texts => "".into(),
            value if texts => value.to_string().into(),
            value => value.clone(),
        };
    }
    row
}

fn form(form: &str, lines: &[String]) -> String {
    let text = |line: &str| serde_json::to_string(line).unwrap();
    match form {
        "lines" => lines.join("\n") + "\n",
        "list" => lines
            .chunks(50)
            .map(|l| format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{}]}}"#, l.join(",")))
            .collect::<Vec<_>>()
            .join("\n"),
        "pretty" => {
            let items: Vec<serde_json::Value> = lines.iter().map(|l| serde_json::from_str(l).unwrap()).collect();
            serde_json::to_string_pretty(&serde_json::json!({"kind": "EventList", "items": items})).unwrap()
        }
        "eks" => {
            let events: Vec<String> = lines
                .iter()
                .map(|l| format!("    {{\n  \"logStreamName\": \"kube-apiserver-audit-1\", \"timestamp\": 1, \"message\": {}, \"eventId\": \"1\" }}", text(l)))
                .collect();
            format!("{{\n  \"events\": [\n{}\n  ],\n \"searchedLogStreams\": []\n}}", events.join(",\n"))
        }
        "export" => lines.iter().map(|l| format!("2026-11-23T03:00:00.123Z {l}\n")).collect(),
        "subscription" | "firehose" => {
            let documents = lines.chunks(20).map(|chunk| {
                let events: Vec<_> = chunk.iter().map(|l| format!(r#"{{"id":"1","timestamp":1,"message":{}}}"#, text(l))).collect();
                format!(r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/eks/a/cluster","logEvents":[{}]}}"#, events.join(","))
            });
            documents.collect::<Vec<_>>().join(if form == "firehose" { "" } else { "\n" })
        }
        "aks" => lines
            .iter()
            .map(|l| format!(r#"{{"time":"2026-11-23T03:00:00Z","category":"kube-audit","properties":{{"log":{},"stream":"stdout","pod":"kube-apiserver-1"}}}}{}"#, text(&format!("{l}\n")), "\n"))
            .collect(),
        "aks-table" => lines.iter().map(|l| format!("{}\n", row(l, false))).collect(),
        "aks-query" => {
            let rows: Vec<_> = lines.iter().map(|l| row(l, true)).collect();
            serde_json::to_string_pretty(&rows).unwrap()
        }
        _ => unreachable!(),
    }
}

fn pack(path: &Path, packing: &str, bytes: &[u8]) {
    let file = std::fs::File::create(path).unwrap();
    match packing {
        "gzip" => {
            // Two members, as rotation by append leaves them.
            let (a, b) = bytes.split_at(bytes.len() / 3);
            for part in [a, b] {
                let mut out = flate2::write::GzEncoder::new(&file, flate2::Compression::fast());
                out.write_all(part).unwrap();
                out.finish().unwrap();
            }
        }
        "zstd" => {
            let mut file = file;
            let (a, b) = bytes.split_at(bytes.len() / 3);
            for part in [a, b] {
                let packed = zstd::encode_all(part, 1).unwrap();
                // A skippable frame between them.
                file.write_all(&packed).unwrap();
                file.write_all(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]).unwrap();
            }
        }
        _ => (&file).write_all(bytes).unwrap(),
    }
}

/// The answers to the four questions.
fn answers(paths: &[PathBuf], window: Window, threads: usize) -> (Truth, Scan<()>) {
    let ask = |query: &Query| {
        let mut scan = look(paths, query, window, threads, None);
        (ids(&mut scan), scan)
    };
    let (account, mut scan) = ask(&Query { pod_uids: Vec::new(), ..account() });
    let requests = scan.requests.clone();
    let denied = requests.iter().filter(|r| scan.originals.event(r, |e| e.allowed() == Some(false)).unwrap()).count();
    let (secret, _) = ask(&Query { objects: vec![Wanted::secret(SECRET.0, SECRET.1)], ..Query::default() });
    let net: IpNet = format!("{ADDRESS}/32").parse().unwrap();
    let (address, _) = ask(&Query { source_ips: vec![net], ..Query::default() });
    let (token, _) = ask(&Query { sessions: vec![TOKEN.into()], ..Query::default() });
    (Truth { account, denied, secret, address, token }, scan)
}

const EVERYTHING: Window = Window { start: None, until: None, longest_gap: Duration::minutes(5) };

#[test]
fn planted_truth_is_found_in_every_form_and_packing() {
    for seed in [1, 2, 3] {
        let mut log = made(seed, 800, 20);
        let lines: Vec<String> = log.by_ref().collect();
        let truth = log.truth;
        assert!(truth.account.len() > 3 && !truth.secret.is_empty() && truth.denied > 0, "{truth:?}");
        for (n, name) in FORMS.iter().enumerate() {
            let packing = ["plain", "gzip", "zstd"][(n + usize::try_from(seed).unwrap()) % 3];
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("audit.log");
            let azure = ["aks-table", "aks-query"].contains(name);
            let (lines, truth) = match azure {
                false => (lines.clone(), &truth),
                // The table has no impersonation: all else is as in the lines.
                true => {
                    let rest: Vec<String> = lines.iter().filter(|l| !l.contains("impersonatedUser")).cloned().collect();
                    pack(&path, "plain", form("lines", &rest).as_bytes());
                    (rest, &answers(std::slice::from_ref(&path), EVERYTHING, 2).0)
                }
            };
            pack(&path, packing, form(name, &lines).as_bytes());
            let (found, scan) = answers(&[path], EVERYTHING, 2);
            assert_eq!(found, *truth, "{name} {packing} {seed}");
            assert_eq!((scan.events(), scan.damaged()), (lines.len() as u64, 0), "{name} {packing}: {:?}", scan.damage);
            assert!(scan.files[0].broke.is_none());
        }
    }
}

#[test]
fn shuffled_split_duplicated_and_overlapping_files_give_the_same_answers() {
    for seed in [11, 12, 13, 14] {
        let mut log = made(seed, 3000, 20);
        let lines: Vec<String> = log.by_ref().collect();
        let truth = log.truth;
        let mut random = Random(seed);
        let mut shuffled = lines.clone();
        random.shuffle(&mut shuffled);
        let dir = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        let mut put = |name: &str, packing: &str, lines: &[String], end: &str| {
            let path = dir.path().join(name);
            pack(&path, packing, (lines.join("\n") + end).as_bytes());
            paths.push(path);
        };
        let cut = usize::try_from(random.below(shuffled.len() as u64)).unwrap();
        put("b.log", "plain", &shuffled[..cut], "\n");
        put("a.log.gz", "gzip", &shuffled[cut..], "");
        put("c.log", "zstd", &lines[1000..2000], "\n");
        put("d.log", "plain", &lines[1500..2800], "");
        random.shuffle(&mut paths);
        for threads in [1, 2, 5] {
            let (found, scan) = answers(&paths, EVERYTHING, threads);
            assert_eq!(found, truth, "{seed} {threads}");
            assert_eq!(scan.damaged(), 0);
        }
    }
}

#[test]
fn the_newest_are_the_newest_and_the_rest_stays_unread() {
    let mut log = made(5, 20_000, 20);
    let lines: Vec<String> = log.by_ref().collect();
    let truth = log.truth;
    let dir = tempfile::tempdir().unwrap();
    let halves = [("audit-2026-11-23T10-00-00.000.log", &lines[..9000]), ("audit.log", &lines[9000..])];
    for (name, lines) in halves {
        std::fs::write(dir.path().join(name), lines.join("\n") + "\n").unwrap();
    }
    for limit in [1, 3, 10, 100_000] {
        let mut scan =
            look(&[dir.path().into()], &Query { pod_uids: Vec::new(), ..account() }, EVERYTHING, 2, Some(limit));
        let newest = truth.account.len().saturating_sub(limit);
        assert_eq!(ids(&mut scan), truth.account[newest..], "{limit}");
        let unread: u64 = scan.files.iter().map(|f| f.unread).sum();
        assert_eq!(unread > 0, limit < 100, "{limit}");
        assert_eq!(scan.window.start.is_some(), unread > 0);
        assert!(scan.coverage.gaps(Duration::minutes(5)).is_empty());
    }
}

#[test]
fn files_outside_the_window_are_left_unread_and_shuffled_ones_are_not() {
    let mut log = made(6, 3000, 20);
    let mut lines: Vec<String> = log.by_ref().collect();
    let dir = tempfile::tempdir().unwrap();
    let (old, mixed) = (dir.path().join("audit.log.1"), dir.path().join("audit.log"));
    std::fs::write(&old, lines[..1000].join("\n")).unwrap();
    Random(6).shuffle(&mut lines);
    std::fs::write(&mixed, lines.join("\n")).unwrap();
    let window = Window { start: Some(at("12:00:00")), until: Some(at("19:00:00")), ..EVERYTHING };
    let query = Query { pod_uids: Vec::new(), ..account() };
    let mut both = look(&[old, mixed.clone()], &query, window, 2, None);
    assert_eq!(both.files.iter().filter(|f| f.outside.is_some() && f.tally.events == 0).count(), 1);
    let mut one = look(&[mixed], &query, window, 2, None);
    assert_eq!(ids(&mut both), ids(&mut one));
    assert_eq!(one.series.len(), 1);
}

#[test]
fn hostile_bytes_end_in_damage_and_never_in_silence() {
    let mut log = made(7, 300, 1);
    let lines: Vec<String> = log.by_ref().collect();
    let whole = (lines.join("\n") + "\n").into_bytes();
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(7);
    for round in 0..200 {
        let mut bytes = match round % 3 {
            0 => whole.clone(),
            1 => form(FORMS[usize::try_from(random.below(8)).unwrap()], &lines[..40]).into_bytes(),
            _ => Vec::new(),
        };
        for _ in 0..random.below(12) {
            let at = usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
            match random.below(6) {
                0 => bytes.truncate(at),
                1 => bytes.splice(at..at, std::iter::repeat_n(b'[', 5000)).for_each(drop),
                2 => bytes.splice(at..at, [0xff, 0xfe, 0, b'"', b'\\']).for_each(drop),
                3 => {
                    bytes.splice(at..at, *b"}{\n{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",").for_each(drop)
                }
                4 => {
                    let to = (at + 700).min(bytes.len());
                    bytes.drain(at..to).for_each(drop);
                }
                _ => bytes.extend((0..random.below(300)).map(|_| random.next().to_le_bytes()[0]).collect::<Vec<_>>()),
            }
        }
        let path = dir.path().join("x");
        let packing = ["plain", "gzip", "zstd"][round % 3];
        pack(&path, packing, &bytes);
        if round % 5 == 0 {
            let mut packed = std::fs::read(&path).unwrap();
            let cut = usize::try_from(random.below(packed.len() as u64 + 1)).unwrap();
            packed.truncate(cut);
            std::fs::write(&path, packed).unwrap();
        }
        let mut scan = look(&[path], &account(), EVERYTHING, 2, (round % 4 == 0).then_some(3));
        ids(&mut scan);
    }
}

#[test]
fn a_gzip_that_was_cut_gives_what_it_has_and_says_so() {
    let mut log = made(8, 2000, 1);
    let lines: Vec<String> = log.by_ref().collect();
    let dir = tempfile::tempdir().unwrap();
    for (packing, name) in [("gzip", "a.gz"), ("zstd", "a.zst")] {
        let path = dir.path().join(name);
        pack(&path, packing, (lines.join("\n") + "\n").as_bytes());
        let packed = std::fs::read(&path).unwrap();
        std::fs::write(&path, &packed[..packed.len() * 9 / 10]).unwrap();
        let scan = look(&[path], &account(), EVERYTHING, 2, None);
        assert!(scan.files[0].broke.is_some(), "{packing}");
        assert!(scan.events() > 100 && scan.events() < 2000, "{packing}: {}", scan.events());
    }
}

#[test]
fn a_zstd_frame_that_asks_for_much_memory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let line = event("a", "ResponseComplete", "03:01:00", "03:01:00", SA, "") + "\n";
    for (exponent, taken) in [(0, true), (17, true), (18, false), (31, false)] {
        // RFC 8878, 3.1.1: magic, no options, a window of 1 KiB shifted by the exponent, one raw block that is the last.
        let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3];
        frame.extend(&(u32::try_from(line.len()).unwrap() << 3 | 1).to_le_bytes()[..3]);
        frame.extend(line.as_bytes());
        let path = dir.path().join("a.zst");
        std::fs::write(&path, &frame).unwrap();
        let scan = look(&[path], &account(), EVERYTHING, 2, None);
        let facts = &scan.files[0];
        assert_eq!((facts.broke.is_none(), scan.events() == 1), (taken, taken), "{exponent}: {:?}", facts.broke);
    }
}

#[test]
fn a_log_that_grows_and_is_rotated_while_it_is_read_is_read_as_it_was() {
    let mut log = made(9, 3000, 1);
    let lines: Vec<String> = log.by_ref().collect();
    let truth = log.truth;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let files = find(std::slice::from_ref(&path)).unwrap().0;
    let more = event("new", "ResponseComplete", "03:01:00", "03:01:00", SA, "");
    let first = std::sync::Once::new();
    let progress = |_| {
        first.call_once(|| {
            let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            for _ in 0..3000 {
                writeln!(file, "{more}").unwrap();
            }
            std::fs::rename(&path, dir.path().join("audit.log.1")).unwrap();
            std::fs::write(&path, "x").unwrap();
        });
    };
    let query = Query { pod_uids: Vec::new(), ..account() };
    let task = Task {
        files,
        query: &query,
        window: EVERYTHING,
        limit: None,
        watch: &(),
        threads: Some(1),
        progress: &progress,
    };
    let mut scan = scan(task).unwrap();
    assert_eq!(ids(&mut scan), truth.account);
    assert_eq!(scan.damaged(), 0);
}

#[test]
fn a_line_that_never_ends_is_one_damaged_line() {
    let dir = tempfile::tempdir().unwrap();
    let good = event("a", "ResponseComplete", "03:01:00", "03:01:00", SA, "");
    let mut text = format!("{good}\n{}", &good[..good.len() - 1]).into_bytes();
    text.resize(super::MAX_LINE + 5_000_000, b' ');
    text.extend_from_slice(format!("\n{good}\n").replace("\"a\"", "\"b\"").as_bytes());
    for packing in ["plain", "gzip"] {
        let path = dir.path().join(packing);
        pack(&path, packing, &text);
        let scan = look(&[path], &account(), EVERYTHING, 2, None);
        assert_eq!(scan.requests.len(), 2, "{packing}");
        let damage: Vec<_> = scan.damage.iter().map(|d| (d.line, d.offset, d.what.as_str())).collect();
        assert_eq!(damage, [(Some(2), good.len() as u64 + 1, "longer than 32 MiB")], "{packing}");
    }
}

#[test]
fn google_s_words_are_read_as_the_api_server_s() {
    let entry = r#"{"protoPayload":{"@type":"type.googleapis.com/google.cloud.audit.AuditLog","authenticationInfo":{"principalEmail":"system:serviceaccount:payments:checkout"},"authorizationInfo":[{"granted":true,"permission":"io.k8s.core.v1.pods.exec.create","resource":"core/v1/namespaces/payments/pods/web/exec"}],"methodName":"io.k8s.core.v1.pods.exec.create","request":{"@type":"core.k8s.io/v1.PodExecOptions","command":["sh","-c","cat /etc/passwd"]},"requestMetadata":{"callerIp":"203.0.113.7","callerSuppliedUserAgent":"kubectl/v1.33"},"resourceName":"core/v1/namespaces/payments/pods/web/exec","serviceName":"k8s.io","status":{"code":0}},"insertId":"i-1","resource":{"type":"k8s_cluster","labels":{}},"timestamp":"2026-11-23T03:01:00.000001Z","labels":{"authorization.k8s.io/decision":"allow"},"logName":"projects/p/logs/cloudaudit.googleapis.com%2Factivity","operation":{"id":"op-1","producer":"k8s.io","first":true,"last":true},"receiveTimestamp":"2026-11-23T03:01:05Z"}"#;
    let denied = entry
        .replace("op-1", "op-2")
        .replace(r#""code":0"#, r#""code":7,"message":"forbidden""#)
        .replace(r#"decision":"allow""#, r#"decision":"forbid""#)
        .replace("pods.exec.create", "secrets.get")
        .replace("pods/web/exec", "secrets/db");
    let other = r#"{"protoPayload":{"serviceName":"container.googleapis.com"},"timestamp":"2026-11-23T03:01:00Z"}"#;
    let array = format!("[\n  {entry},\n  {denied},\n  {other}\n]\n");
    let (mut scan, _dir) = run(&[("a.json", array)], "03:00:00", "03:05:00");
    assert_eq!((scan.events(), scan.files[0].tally.others, scan.damaged()), (2, 1, 0), "{:?}", scan.damage);
    let requests = scan.requests.clone();
    let told: Vec<_> = requests
        .iter()
        .map(|r| {
            scan.originals
                .event(r, |e| {
                    let object = e.object.as_ref().unwrap();
                    (
                        e.verb.to_string(),
                        format!("{} {}/{}", object.kind(), object.namespace, object.name),
                        e.command().join(" "),
                        e.allowed(),
                        e.code,
                    )
                })
                .unwrap()
        })
        .collect();
    assert!(
        told.contains(&(
            "create".into(),
            "pods/exec payments/web".into(),
            "sh -c cat /etc/passwd".into(),
            Some(true),
            Some(200)
        )),
        "{told:?}"
    );
    assert!(
        told.contains(&("get".into(), "secrets payments/db".into(), String::new(), Some(false), Some(403))),
        "{told:?}"
    );
}

/// A row as the table's reference shows its columns, in both ways that it is exported.
#[test]
fn a_row_of_azures_table_is_the_event_that_it_was() {
    let object = r#"{"_ResourceId":"/subscriptions/1","TimeGenerated":"2026-11-23T03:01:00.0000000Z","Level":"RequestResponse",
        "AuditId":"a-1","Stage":"ResponseComplete","RequestUri":"/api/v1/namespaces/payments/secrets/db","Verb":"get",
        "User":{"username":"jane","groups":["g"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=x"]}},
        "SourceIps":["203.0.113.9"],"UserAgent":"curl/8","ObjectRef":{"resource":"secrets","namespace":"payments","name":"db","apiVersion":"v1"},
        "ResponseStatus":{"metadata":{},"code":200},"RequestObject":null,"ResponseObject":"skipped-too-big-size-object",
        "RequestReceivedTime":"2026-11-23T03:01:00.1234567Z","StageReceivedTime":"2026-11-23T03:01:00.2Z",
        "Annotations":{"authorization.k8s.io/decision":"allow"},"PodName":"kube-apiserver-1","Type":"AKSAudit"}"#
        .replace('\n', " ");
    let texts = r#"{"AuditId":"a-2","Level":"Metadata","Stage":"ResponseComplete","RequestUri":"/api/v1/namespaces/payments/secrets/db",
        "Verb":"get","User":"{\"username\":\"j\\u0061ne\"}","SourceIps":"[\"203.0.113.9\"]","UserAgent":"curl/8",
        "ObjectRef":"{\"resource\":\"secrets\",\"namespace\":\"payments\",\"name\":\"db\"}","ResponseStatus":"{\"code\":403}",
        "RequestObject":"","ResponseObject":"","RequestReceivedTime":"2026-11-23T03:02:00Z","StageReceivedTime":"2026-11-23T03:02:00Z",
        "Annotations":"{\"authorization.k8s.io/decision\":\"forbid\"}"}"#
        .replace('\n', " ");
    let other = r#"{"Category":"kube-scheduler","Level":"INFO","Message":"hello","Type":"AKSControlPlane"}"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.json");
    std::fs::write(&path, [&object, &texts, other].join("\n")).unwrap();
    let query = Query { subjects: vec!["jane".into()], ..Query::default() };
    let mut scan = look(&[path], &query, EVERYTHING, 1, None);
    assert_eq!((scan.damaged(), scan.files[0].tally.others), (0, 1), "{:?}", scan.damage);
    let mut told = Vec::new();
    for request in scan.requests.clone() {
        let of =
            |e: &Event<'_>| (e.audit_id.to_string(), e.name().to_owned(), e.code, e.allowed(), e.provider.as_str());
        told.push(scan.originals.event(&request, of).unwrap());
    }
    assert_eq!(
        told,
        [
            ("a-1".to_owned(), "db".to_owned(), Some(200), Some(true), "aks"),
            ("a-2".to_owned(), "db".to_owned(), Some(403), Some(false), "aks"),
        ]
    );
    let answer = Answer::of(&scan, &query, &[]);
    assert!(
        answer.doubts().iter().any(|d| d.contains("2 events are rows of Azure's table AKSAudit")),
        "{:?}",
        answer.doubts()
    );
}

#[test]
fn other_components_lines_are_no_damage() {
    let lines = [
        r#"{"events":[{"message":"I1123 03:00:00 controller.go:1] hello","timestamp":1},{"message":"{\"level\":\"info\"}"}]}"#,
        r#"{"category":"kube-scheduler","properties":{"log":"I1123 hello"}}"#,
        r#"{"category":"kube-audit","properties":{"log":"skipped-too-big-size-object"}}"#,
    ];
    let (scan, _dir) = run(&[("a", lines.join("\n"))], "03:00:00", "03:05:00");
    assert_eq!(scan.files[0].tally.others, 3);
    let what: Vec<_> = scan.damage.iter().map(|d| d.what.as_str()).collect();
    assert_eq!(what, ["left out by the provider for its size"]);
}
