//! Memory, measured alone: this program started again, reading a file or what a third one makes.

use std::io::{BufWriter, Write, stdout};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use quell::audit::detect::Detectors;

/// How often a reader's memory is looked at.
const OFTEN: Duration = Duration::from_millis(250);

/// Makes the log and looks for findings in it, a process each, with a pipe between them; tells how memory grows.
pub fn run(bytes: u64, seed: u64) {
    let mut maker =
        again(&["make", &(bytes >> 20).to_string(), &seed.to_string()]).stdout(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let mut reader = again(&["read", "-"]).stdin(maker.stdout.take().unwrap()).spawn().unwrap();
    let mut told = Vec::new();
    let peak = watch(&mut reader, |resident| told.push((begun.elapsed(), resident)));
    assert!(maker.wait().unwrap().success());
    let took = begun.elapsed();
    println!("a stream of {} MiB took {took:.1?}; resident at most {} MiB", bytes >> 20, peak / 1024);
    for tenth in 1..=10 {
        let until = took * tenth / 10;
        let highest = told.iter().filter(|(at, _)| *at <= until).map(|(_, resident)| *resident).max().unwrap_or(0);
        println!("  up to {:>3} % of the time   {} MiB", tenth * 10, highest / 1024);
    }
}

/// KiB resident at most while another process looks for findings in this file.
pub fn alone(path: &Path) -> u64 {
    watch(&mut again(&["read", path.to_str().unwrap()]).stdout(Stdio::null()).spawn().unwrap(), |_| {})
}

/// Writes the log to standard output.
pub fn make(bytes: u64, seed: u64) {
    let mut out = BufWriter::with_capacity(1 << 20, stdout().lock());
    for line in crate::planned(bytes, seed) {
        out.write_all(line.as_bytes()).unwrap();
        out.write_all(b"\n").unwrap();
    }
    out.flush().unwrap();
}

/// Looks for findings in a file, or in standard input.
pub fn read(path: &Path) {
    let found = crate::detections(path, &crate::Detect(Detectors::all()));
    println!("  {found} findings; resident at most {} MiB by its own count", crate::peak("self") / 1024);
}

fn again(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments);
    command
}

/// Waits for a process; KiB that it had resident at most. `tell` is told every now and then.
fn watch(child: &mut Child, mut tell: impl FnMut(u64)) -> u64 {
    let mut highest = 0;
    loop {
        highest = highest.max(crate::peak(&child.id().to_string()));
        tell(highest);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return highest;
        }
        std::thread::sleep(OFTEN);
    }
}
