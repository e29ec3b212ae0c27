//! Logs in an object store: one that speaks S3, in the test's own process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::log;

/// What the store holds, and what it was asked.
#[derive(Default)]
struct Shelf {
    objects: BTreeMap<String, Vec<u8>>,
    /// Objects whose next whole reading breaks off in the middle.
    cut: Vec<String>,
    asked: Vec<String>,
}

struct Store {
    shelf: Arc<Mutex<Shelf>>,
    port: u16,
}

impl Store {
    fn new(objects: &[(&str, Vec<u8>)]) -> Store {
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        shelf.lock().unwrap().objects = objects.iter().map(|(key, bytes)| ((*key).to_owned(), bytes.clone())).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = shelf.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let served = served.clone();
                std::thread::spawn(move || answer(stream, &served));
            }
        });
        Store { shelf, port }
    }

    fn quell(&self, dir: &std::path::Path, arguments: &[&str], without: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quell"));
        command.args(arguments).env_clear().env("HOME", dir).env("TMPDIR", dir).current_dir(dir);
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        for (name, value) in [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "test-key"),
            ("AWS_SECRET_ACCESS_KEY", "test-secret"),
            ("AWS_REGION", "eu-north-1"),
        ] {
            if !without.contains(&name) {
                command.env(name, value);
            }
        }
        command.output().unwrap()
    }
}

fn answer(stream: TcpStream, shelf: &Mutex<Shelf>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut headers) = (String::new(), BTreeMap::new());
    reader.read_line(&mut first).unwrap();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut shelf = shelf.lock().unwrap();
    shelf.asked.push(format!("{method} {target}"));
    let signed = headers.get("authorization").is_some_and(|a| a.starts_with("AWS4-HMAC-SHA256 Credential=test-key/"));
    let key = path.trim_start_matches("/logs").trim_start_matches('/').to_owned();
    if !signed || key.starts_with("secret") || query.contains("prefix=secret") {
        return send(stream, "403 Forbidden", &[], b"<Error><Code>AccessDenied</Code></Error>", method);
    }
    if key.is_empty() {
        return send(stream, "200 OK", &[], listing(&shelf, query).as_bytes(), method);
    }
    let Some(bytes) = shelf.objects.get(&key).cloned() else {
        return send(stream, "404 Not Found", &[], b"<Error><Code>NoSuchKey</Code></Error>", method);
    };
    let range = headers
        .get("range")
        .and_then(|r| r.strip_prefix("bytes=")?.split_once('-').map(|(a, b)| (a.to_owned(), b.to_owned())));
    match range {
        Some((from, to)) => {
            let from: usize = from.parse().unwrap();
            let to = to.parse::<usize>().map_or(bytes.len(), |to| (to + 1).min(bytes.len()));
            let part = format!("bytes {from}-{}/{}", to - 1, bytes.len());
            send(stream, "206 Partial Content", &[("Content-Range", &part)], &bytes[from..to], method);
        }
        None if method == "GET" && shelf.cut.contains(&key) => {
            shelf.cut.retain(|k| *k != key);
            let mut stream = stream;
            let head = head("200 OK", &[], bytes.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes[..bytes.len() / 2]));
        }
        None => send(stream, "200 OK", &[], &bytes, method),
    }
}

/// One key a page.
fn listing(shelf: &Shelf, query: &str) -> String {
    let value = |name: &str| {
        let all = url(query);
        all.into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
    };
    let prefix = value("prefix").unwrap_or_default();
    let after = value("continuation-token").unwrap_or_default();
    let mut keys = shelf.objects.iter().filter(|(k, _)| k.starts_with(&prefix) && **k > after);
    let mut text = String::from("<?xml version=\"1.0\"?><ListBucketResult><Name>logs</Name>");
    if let Some((key, bytes)) = keys.next() {
        text.push_str(&format!(
            "<Contents><Key>{key}</Key><LastModified>2026-11-23T04:00:00.000Z</LastModified><ETag>\"1\"</ETag><Size>{}</Size></Contents>",
            bytes.len()
        ));
        if keys.next().is_some() {
            text.push_str(&format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{key}</NextContinuationToken>"
            ));
        }
    }
    text + "</ListBucketResult>"
}

fn url(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            out.push(char::from(u8::from_str_radix(&rest[at + 1..at + 3], 16).unwrap()));
            rest = &rest[at + 3..];
        }
        out + rest
    };
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (n.to_owned(), decode(v))).collect()
}

fn head(status: &str, headers: &[(&str, &str)], length: usize) -> String {
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\nETag: \"1\"\r\nLast-Modified: Mon, 23 Nov 2026 04:00:00 GMT\r\n{more}\r\n"
    )
}

fn send(mut stream: TcpStream, status: &str, headers: &[(&str, &str)], body: &[u8], method: &str) {
    let body = if method == "HEAD" && status.starts_with("200") { (&[][..], body.len()) } else { (body, body.len()) };
    // Who has what it wants may be gone.
    let _ = stream.write_all(head(status, headers, body.1).as_bytes()).and_then(|()| stream.write_all(body.0));
}

fn gzip(text: &str) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = text.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let mut packed = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut packed).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    packed
}

fn filled() -> Store {
    let all = log();
    let (first, second) = all.split_at(17);
    Store::new(&[
        ("k8s/cp1/audit.log", (first.join("\n") + "\n").into_bytes()),
        ("k8s/cp1/audit.log.1.gz", gzip(&(second.join("\n") + "\n"))),
        ("k8s2/other.log", b"not of this cluster\n".to_vec()),
    ])
}

#[test]
fn a_bucket_is_read_as_files_are_and_nothing_of_it_lies_on_disk() {
    let store = filled();
    store.shelf.lock().unwrap().cut.push("k8s/cp1/audit.log".into());
    let dir = tempfile::tempdir().unwrap();
    let output =
        store.quell(dir.path(), &["audit", "s3://logs/k8s", "--service-account", "payments/checkout", "--json"], &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        format!(
            "reading from the S3 bucket logs at http://127.0.0.1:{} (not encrypted), region eu-north-1\n",
            store.port
        )
    );
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ids: Vec<_> = document["events"].as_array().unwrap().iter().map(|e| e["auditID"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a1", "a2", "a3", "a4"], "{document:#}");
    let files: Vec<_> = document["coverage"]["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| (&f["path"], &f["packing"], &f["broke"]))
        .collect();
    assert_eq!(
        files,
        [
            (&"s3://logs/k8s/cp1/audit.log".into(), &"plain".into(), &Value::Null),
            (&"s3://logs/k8s/cp1/audit.log.1.gz".into(), &"gzip".into(), &Value::Null),
        ]
    );
    assert_eq!(document["coverage"]["events"], 27);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
    // The original of one.
    let origin = &document["events"][0]["origin"];
    let place = format!("{}:{}", origin["file"].as_str().unwrap(), origin["offset"]);
    let output = store.quell(dir.path(), &["audit", "show", &place], &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim_end(), log()[15]);
    let output = store.quell(dir.path(), &["audit", "s3://logs/k8s/*/*.gz", "--verb", "list", "--jsonl", "-q"], &[]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
    assert!(output.stderr.is_empty());
}

#[test]
fn what_is_missing_or_refused_is_said_before_anything_is_read() {
    let store = filled();
    let dir = tempfile::tempdir().unwrap();
    for (source, without, says) in [
        ("s3://logs/k8s", &["AWS_ACCESS_KEY_ID"][..], "no credentials for s3://logs are in the environment"),
        ("s3://logs/k8s", &["AWS_REGION", "AWS_ENDPOINT_URL"], "in which region s3://logs lies is not said"),
        ("s3://logs/nothing", &[], "nothing lies at s3://logs/nothing in the S3 bucket logs"),
        ("s3://logs/secret", &[], "must give the right to list and to read there"),
        ("s3:///k8s", &[], "names no bucket"),
        ("gs://logs/k8s", &[], "no credentials for gs://logs are in the environment"),
        ("az://logs/k8s", &[], "set AZURE_STORAGE_ACCOUNT_NAME"),
        ("abfss://logs@account.dfs.core.windows.net/k8s", &[], "write it as az://CONTAINER/PREFIX"),
    ] {
        let output = store.quell(dir.path(), &["audit", source], without);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{source}: {text}");
        assert!(text.contains(says) && !text.contains("test-secret"), "{source}: {text}");
    }
    let asked = &store.shelf.lock().unwrap().asked;
    assert!(asked.iter().all(|a| !a.starts_with("GET /logs/k8s")), "{asked:?}");
}
