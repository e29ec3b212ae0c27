//! The audit engine's speed and size: `cargo bench --bench audit`, or `-- MIB SEED` (1024 for a log of 1 GiB). With
//! `-- stream MIB SEED`, memory alone: so much is made and read as a stream, and never lies anywhere.
//!
//! The log is made from the seed, as a stream, with planted truth; every answer is checked against it. Each time stands
//! beside its peer's in the same run: `rg -c` or else `grep -c` for the account's name, `jq` with the same filter, `gzip -dc`
//! and `zstd -dc`, whichever are installed. Times are of the clock, with processor time beside.

#![expect(clippy::unwrap_used, reason = "a benchmark that can't go on fails")]

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quell::audit::detect::{Detectors, Gathered};
use quell::audit::{self, Brief, Event, Query, Scan, Task, Wanted, Watch, Window};
use time::OffsetDateTime;

#[path = "audit/log.rs"]
#[expect(dead_code, reason = "the tests bring its lines into another order, the benchmark does not")]
mod log;
#[path = "audit/stream.rs"]
mod stream;

use log::{ACCOUNT, ADDRESS, Log, SECRET, TOKEN, Truth};

/// Each time is the median of so many.
const TIMES: usize = 5;
/// jq reads only so much of the log; its time is taken in proportion.
const FOR_JQ: u64 = 64 * 1024 * 1024;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let (mib, seed) = (numbers.first().copied().unwrap_or(64), numbers.get(1).copied().unwrap_or(1));
    match arguments.first().map(String::as_str) {
        Some("stream") => return stream::run(mib << 20, seed),
        // What this same program starts, to be measured alone.
        Some("make") => return stream::make(mib << 20, seed),
        Some("read") => return stream::read(Path::new(&arguments[1])),
        // To be looked at by a profiler.
        Some("query") => {
            let scan = ask(Path::new(&arguments[1]), &account(), None, &());
            return println!("{} requests", scan.requests.len());
        }
        _ => {}
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let begun = Instant::now();
    let (truth, events, bytes) = make(&path, mib << 20, seed);
    let gib = bytes as f64 / f64::from(1 << 30);
    println!(
        "log                       {gib:.2} GiB, {events} events of {} bytes, made in {:.1?}",
        bytes / events,
        begun.elapsed()
    );
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("processors                {processors}; load {}", load());

    let account = account();
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
        let mut last = None;
        let time = median(|| last = Some(ask(&path, query, None, &())));
        let mut scan = last.unwrap();
        assert_eq!((scan.events(), scan.damaged()), (events, 0));
        check(&mut scan, answer, name);
        println!("query {name:<19} {} requests in {}", answer.len(), time.speed(gib));
        times.push(time);
    }
    let name = format!("system:serviceaccount:{}:{}", ACCOUNT.0, ACCOUNT.1);
    for (program, arguments) in [("rg", &["-c"][..]), ("grep", &["-c", "-F"])] {
        let mut command = Command::new(program);
        command.args(arguments).arg(&name).arg(&path).env("LC_ALL", "C");
        if let Some((ours, theirs)) = beside(|| drop(ask(&path, &account, None, &())), &mut command) {
            println!(
                "{program:<25} {}: the account's query takes {:.2} times that",
                theirs.speed(gib),
                ours.over(&theirs)
            );
        }
    }
    jq(dir.path(), &path, bytes, &name, &times[0]);

    let time = median(|| {
        let mut newest = ask(&path, &account, Some(20), &());
        check(&mut newest, &truth.account[truth.account.len().saturating_sub(20)..], "newest");
    });
    println!("newest 20                 {:.1?}", time.wall);
    let time = median(|| {
        let scan = within(&path, &account, LATER, &());
        assert!(scan.files[0].outside.is_some() && scan.requests.is_empty());
    });
    println!("wholly outside the window {:.1?}", time.wall);

    let count = Count(AtomicU64::new(0));
    let time = median(|| drop(ask(&path, &account, None, &count)));
    println!("every event parsed        {}", time.speed(gib));

    let detect = Detect(Detectors::all());
    let mut findings = 0;
    let time = median(|| findings = detections(&path, &detect));
    println!("all {} detections         {}, {findings} findings", detect.0.specs().count(), time.speed(gib));
    println!("peak resident             {} MiB, of all these runs in one process", peak("self") / 1024);
    println!("resident, findings alone  {} MiB", stream::alone(&path) / 1024);

    for (program, end) in [("gzip", "gz"), ("zstd", "zst")] {
        let packed = dir.path().join(format!("packed.{end}"));
        let mut pack = Command::new(program);
        pack.args(["-1", "-c"]).arg(&path).stdout(std::fs::File::create(&packed).unwrap()).stderr(Stdio::null());
        if !pack.status().is_ok_and(|s| s.success()) {
            continue;
        }
        check(&mut ask(&packed, &account, None, &()), &truth.account, program);
        let ours = || drop(ask(&packed, &account, None, &()));
        let (ours, theirs) = beside(ours, Command::new(program).arg("-dc").arg(&packed)).unwrap();
        println!("{program:<25} {}: {:.2} times what `{program} -dc` takes", ours.speed(gib), ours.over(&theirs));
        std::fs::remove_file(packed).unwrap();
    }
}

fn account() -> Query {
    Query { service_accounts: vec![(ACCOUNT.0.into(), ACCOUNT.1.into())], ..Query::default() }
}

/// All detections over all of it; how many findings.
fn detections(path: &Path, detect: &Detect) -> usize {
    let nothing = Query { nothing: true, ..Query::default() };
    let scan = ask(path, &nothing, None, detect);
    let mut whole = detect.0.gather();
    scan.seen.into_iter().for_each(|part| whole.merge(part));
    detect.0.reduce(whole).findings.len()
}

/// Writes the log; what is in it, how many events it was asked for, and its bytes.
fn make(path: &Path, bytes: u64, seed: u64) -> (Truth, u64, u64) {
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(path).unwrap());
    let mut log = planned(bytes, seed);
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

/// A log of a day that comes to about so many bytes.
fn planned(bytes: u64, seed: u64) -> Log {
    let start = OffsetDateTime::from_unix_timestamp(1_795_392_000).unwrap();
    let day = time::Duration::hours(24);
    let some: Vec<usize> = Log::new(seed, 5000, start, day).map(|l| l.len() + 1).collect();
    let mean = (some.iter().sum::<usize>() / some.len()) as u64;
    Log::new(seed, bytes / mean, start, day)
}

const ALL: Window = Window { start: None, until: None, longest_gap: time::Duration::minutes(5) };
/// After the log's end.
const LATER: Window = Window { start: Some(time::macros::datetime!(2030-01-01 0:00 UTC)), ..ALL };

fn ask<W: Watch>(path: &Path, query: &Query, limit: Option<usize>, watch: &W) -> Scan<W::Seen> {
    let files = audit::find(&[PathBuf::from(path)]).unwrap().0;
    audit::scan(Task { files, query, window: ALL, limit, watch, threads: None, progress: &|_| {} }).unwrap()
}

fn within<W: Watch>(path: &Path, query: &Query, window: Window, watch: &W) -> Scan<W::Seen> {
    let files = audit::find(&[PathBuf::from(path)]).unwrap().0;
    audit::scan(Task { files, query, window, limit: None, watch, threads: None, progress: &|_| {} }).unwrap()
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
    fn glimpse(&self, seen: &mut Gathered, brief: &Brief<'_>) -> bool {
        self.0.glimpse(brief, seen)
    }
    fn end(&self, seen: &mut Gathered) {
        seen.end();
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

/// What something took.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Took {
    wall: Duration,
    processor: Duration,
}

impl Took {
    fn over(&self, other: &Took) -> f64 {
        self.wall.as_secs_f64() / other.wall.as_secs_f64()
    }

    fn speed(&self, gib: f64) -> String {
        let wall = self.wall.as_secs_f64();
        format!("{wall:.2} s, {:.2} GiB/s, {:.2} s of processors", gib / wall, self.processor.as_secs_f64())
    }
}

fn median(mut run: impl FnMut()) -> Took {
    middle((0..TIMES).map(|_| took(&mut run)).collect())
}

fn middle(mut times: Vec<Took>) -> Took {
    times.sort();
    times[TIMES / 2]
}

fn took(run: &mut impl FnMut()) -> Took {
    let (begun, before) = (Instant::now(), processor());
    run();
    Took { wall: begun.elapsed(), processor: processor() - before }
}

/// The median times of something and of a peer, run by turns, so that what else the machine does weighs on both; None if
/// the peer is not installed.
fn beside(mut run: impl FnMut(), peer: &mut Command) -> Option<(Took, Took)> {
    // Not to /dev/null: grep ends at the first match there.
    let mut peer = || {
        let mut child = peer.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
        std::io::copy(&mut child.stdout.take()?, &mut std::io::sink()).ok()?;
        child.wait().ok()
    };
    peer()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        ours.push(took(&mut run));
        theirs.push(took(&mut || {
            peer();
        }));
    }
    Some((middle(ours), middle(theirs)))
}

/// Processor time of this process and of those it waited for, user's and system's: fields 14 to 17 of proc(5)'s stat, a
/// hundredth of a second each.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(4).filter_map(|n| n.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

fn jq(dir: &Path, path: &Path, bytes: u64, name: &str, ours: &Took) {
    use std::io::Read;
    let (part, size) = (dir.join("part.log"), bytes.min(FOR_JQ));
    let mut text = Vec::new();
    std::fs::File::open(path).unwrap().take(size).read_to_end(&mut text).unwrap();
    let end = text.iter().rposition(|b| *b == b'\n').unwrap();
    std::fs::write(&part, &text[..=end]).unwrap();
    let filter = format!(r#"select(.user.username == "{name}" or .impersonatedUser.username == "{name}") | .auditID"#);
    let (begun, before) = (Instant::now(), processor());
    let done = Command::new("jq").args(["-r", &filter]).arg(&part).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if done.is_ok() {
        let whole = |time: Duration| time.mul_f64(bytes as f64 / end as f64);
        let time = Took { wall: whole(begun.elapsed()), processor: whole(processor() - before) };
        println!(
            "jq, the same filter       {} (of {} MiB, in proportion): {:.0} times the query's",
            time.speed(bytes as f64 / f64::from(1 << 30)),
            size >> 20,
            time.over(ours)
        );
    }
}

/// KiB, as the kernel counts them.
fn peak(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}
