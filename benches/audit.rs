//! The audit engine's speed and size: `cargo bench --bench audit`, or `-- MIB SEED` (1024 for a log of 1 GiB).
//!
//! The log is made from the seed, as a stream, with planted truth; every answer is checked against it. Each time stands
//! beside its peer's in the same run: `rg -c` or `grep -c` for the account's name, `jq` with the same filter, `gzip -dc`
//! and `zstd -dc`, whichever are installed.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quell::audit::detect::{Detectors, Gathered};
use quell::audit::{self, Event, Query, Scan, Task, Wanted, Watch, Window};
use time::OffsetDateTime;

#[path = "audit/log.rs"]
#[expect(dead_code, reason = "the tests bring its lines into another order, the benchmark does not")]
mod log;

use log::{ACCOUNT, ADDRESS, Log, SECRET, TOKEN, Truth};

/// Each time is the median of so many.
const TIMES: usize = 5;
/// jq reads only so much of the log; its time is taken in proportion.
const FOR_JQ: u64 = 64 * 1024 * 1024;

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let mib = numbers.first().copied().unwrap_or(64);
    let seed = numbers.get(1).copied().unwrap_or(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let begun = Instant::now();
    let (truth, events, bytes) = make(&path, mib << 20, seed);
    let gib = bytes as f64 / f64::from(1 << 30);
    println!(
        "log                       {gib:.2} GiB, {events} events of {} bytes, made in {:?}",
        bytes / events,
        begun.elapsed()
    );

    let account = Query { service_accounts: vec![(ACCOUNT.0.into(), ACCOUNT.1.into())], ..Query::default() };
    let secret = Query { objects: vec![Wanted::secret(SECRET.0, SECRET.1)], ..Query::default() };
    let address = Query { source_ips: vec![format!("{ADDRESS}/32").parse().unwrap()], ..Query::default() };
    let token = Query { sessions: vec![TOKEN.into()], ..Query::default() };
    let mut times = Vec::new();
    for (name, query, answer) in [
        ("account", &account, &truth.account),
        ("secret", &secret, &truth.secret),
        ("address", &address, &truth.address),
        ("token", &token, &truth.token),
    ] {
        let time = median(|| {
            let mut scan = ask(&path, query, None, &());
            assert_eq!((scan.events(), scan.damaged()), (events, 0));
            check(&mut scan, answer, name);
        });
        println!("query {name:<19} {} requests in {time:?}, {:.2} GiB/s", answer.len(), gib / time.as_secs_f64());
        times.push(time);
    }
    let name = format!("system:serviceaccount:{}:{}", ACCOUNT.0, ACCOUNT.1);
    for program in ["rg", "grep"] {
        if let Some(time) = peer(Command::new(program).args(["-c", &name]).arg(&path)) {
            println!(
                "{program} -c                  {time:?}: the account's query takes {:.2} times that",
                ratio(times[0], time)
            );
        }
    }
    jq(dir.path(), &path, bytes, &name, times[0]);

    let begun = Instant::now();
    let mut newest = ask(&path, &account, Some(20), &());
    println!("newest 20                 {:?}", begun.elapsed());
    check(&mut newest, &truth.account[truth.account.len().saturating_sub(20)..], "newest");

    let count = Count(AtomicU64::new(0));
    let time = median(|| drop(ask(&path, &account, None, &count)));
    println!("every event parsed        {time:?}, {:.2} GiB/s", gib / time.as_secs_f64());

    let detect = Detect(Detectors::all());
    let nothing = Query { nothing: true, ..Query::default() };
    let mut findings = 0;
    let time = median(|| {
        let scan = ask(&path, &nothing, None, &detect);
        let mut whole = detect.0.gather();
        scan.seen.into_iter().for_each(|part| whole.merge(part));
        findings = detect.0.reduce(whole).findings.len();
    });
    println!(
        "all {} detections         {time:?}, {:.2} GiB/s, {findings} findings",
        detect.0.specs().count(),
        gib / time.as_secs_f64()
    );

    for (program, end) in [("gzip", "gz"), ("zstd", "zst")] {
        let packed = dir.path().join(format!("packed.{end}"));
        let mut pack = Command::new(program);
        pack.args(["-1", "-c"]).arg(&path).stdout(std::fs::File::create(&packed).unwrap()).stderr(Stdio::null());
        if !pack.status().is_ok_and(|s| s.success()) {
            continue;
        }
        let time = median(|| check(&mut ask(&packed, &account, None, &()), &truth.account, program));
        let unpacked = peer(Command::new(program).arg("-dc").arg(&packed)).unwrap();
        println!("{program:<25} {time:?}: {:.2} times what `{program} -dc` takes", ratio(time, unpacked));
        std::fs::remove_file(packed).unwrap();
    }
    println!("peak resident             {} MiB, of all these runs in one process", peak() / 1024);
}

/// Writes the log; what is in it, how many events it was asked for, and its bytes.
fn make(path: &Path, bytes: u64, seed: u64) -> (Truth, u64, u64) {
    let start = OffsetDateTime::from_unix_timestamp(1_795_392_000).unwrap();
    let mean = {
        let some: Vec<usize> = Log::new(seed, 5000, start, time::Duration::hours(24)).map(|l| l.len() + 1).collect();
        (some.iter().sum::<usize>() / some.len()) as u64
    };
    let mut log = Log::new(seed, bytes / mean, start, time::Duration::hours(24));
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
    let (mut lines, mut written) = (0, 0);
    for line in log.by_ref() {
        lines += 1;
        written += line.len() as u64 + 1;
        out.write_all(line.as_bytes()).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
    (log.truth, lines, written)
}

fn ask<W: Watch>(path: &Path, query: &Query, limit: Option<usize>, watch: &W) -> Scan<W::Seen> {
    let files = audit::find(&[PathBuf::from(path)]).unwrap().0;
    let window = Window { start: None, until: None, longest_gap: time::Duration::minutes(5) };
    audit::scan(Task { files, query, window, limit, watch, threads: None, progress: &|_| {} }).unwrap()
}

/// Nothing missed, nothing invented.
fn check<S>(scan: &mut Scan<S>, answer: &[String], what: &str) {
    let requests = scan.requests.clone();
    let found: Vec<String> =
        requests.iter().map(|r| scan.originals.event(r, |e| e.audit_id.to_string()).unwrap()).collect();
    assert!(found == answer, "{what}: {} found, {} planted", found.len(), answer.len());
}

struct Detect(Detectors);

impl Watch for Detect {
    type Seen = Gathered;
    fn begin(&self) -> Gathered {
        self.0.gather()
    }
    fn look(&self, seen: &mut Gathered, event: &Event<'_>) {
        self.0.map(event, seen);
    }
}

struct Count(AtomicU64);

impl Watch for Count {
    type Seen = u64;
    fn begin(&self) -> u64 {
        0
    }
    fn look(&self, seen: &mut u64, event: &Event<'_>) {
        *seen += u64::from(event.decided());
        self.0.fetch_max(*seen, Ordering::Relaxed);
    }
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let begun = Instant::now();
            run();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[TIMES / 2]
}

/// The median time of a program; None if it is not installed.
fn peer(command: &mut Command) -> Option<Duration> {
    // Not to /dev/null: grep ends at the first match there.
    let mut run = || {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        std::io::copy(&mut child.stdout.take()?, &mut std::io::sink()).ok()?;
        child.wait().ok()
    };
    run()?;
    Some(median(|| {
        run();
    }))
}

fn jq(dir: &Path, path: &Path, bytes: u64, name: &str, ours: Duration) {
    use std::io::Read;
    let (part, size) = (dir.join("part.log"), bytes.min(FOR_JQ));
    let mut text = Vec::new();
    std::fs::File::open(path).unwrap().take(size).read_to_end(&mut text).unwrap();
    let end = text.iter().rposition(|b| *b == b'\n').unwrap();
    std::fs::write(&part, &text[..=end]).unwrap();
    let filter = format!(r#"select(.user.username == "{name}" or .impersonatedUser.username == "{name}") | .auditID"#);
    let begun = Instant::now();
    let done = Command::new("jq").args(["-r", &filter]).arg(&part).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if done.is_ok() {
        let whole = begun.elapsed().mul_f64(bytes as f64 / end as f64);
        println!(
            "jq, the same filter       {whole:?} (of {} MiB, in proportion): {:.0} times the query's",
            size >> 20,
            ratio(whole, ours)
        );
    }
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// KiB, as the kernel counts them.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
