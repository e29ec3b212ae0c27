//! Programs that ask the network for a connection. What a server would answer is not known here.

use std::io::{self, Write};
use std::time::Duration;

use super::Call;

/// Host and port of a URL.
fn place(url: &str) -> (String, String) {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    match host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        Some((name, port)) => (name.into(), port.into()),
        None => (host.into(), if scheme == "https" { "443" } else { "80" }.into()),
    }
}

fn seconds(text: Option<&str>, usual: u64) -> Duration {
    Duration::from_secs_f64(text.and_then(|t| t.parse().ok()).unwrap_or(usual as f64).clamp(0.001, 3600.0))
}

fn refused(why: &str) -> bool {
    why.contains("refused")
}

fn slow(why: &str) -> bool {
    why.contains("timed out") || why.contains("timeout")
}

fn unknown(why: &str) -> bool {
    why.contains("no such host")
}

pub fn wget(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let Some(url) = call.words_beside("OTPUY").pop() else { return Ok(1) };
    let (host, port) = place(&url);
    let timeout = seconds(call.value("-T").or(call.value("--timeout=")), 30);
    if !call.has('q') {
        writeln!(call.err, "Connecting to {host}:{port}")?;
    }
    let Err(why) = call.shell.net.dial(&format!("{host}:{port}"), timeout) else { return Ok(0) };
    let text = if unknown(&why) {
        format!("bad address '{host}'")
    } else if slow(&why) {
        "download timed out".into()
    } else {
        let said = if refused(&why) { "Connection refused" } else { "No route to host" };
        format!("can't connect to remote host ({host}): {said}")
    };
    call.complain(&text)?;
    Ok(1)
}

pub fn curl(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let mut words = call.words_beside("omXHdAuwTFbe");
    words.retain(|w| !w.is_empty());
    let Some(url) = words.pop() else { return Ok(2) };
    let (host, port) = place(&url);
    let limit = call.value("--connect-timeout").or(call.value("--max-time")).or(call.value("-m"));
    let timeout = seconds(limit, 130);
    let begun = std::time::Instant::now();
    let Err(why) = call.shell.net.dial(&format!("{host}:{port}"), timeout) else { return Ok(0) };
    let ms = begun.elapsed().as_millis();
    let (code, text) = if unknown(&why) {
        (6, format!("Could not resolve host: {host}"))
    } else if slow(&why) {
        (28, format!("Failed to connect to {host} port {port} after {ms} ms: Timeout was reached"))
    } else {
        (7, format!("Failed to connect to {host} port {port} after {ms} ms: Could not connect to server"))
    };
    if !call.has('s') || call.has('S') {
        writeln!(call.err, "curl: ({code}) {text}")?;
    }
    Ok(code)
}

pub fn nc(call: &mut Call<'_, '_>) -> io::Result<i32> {
    let words = call.words_beside("wpse");
    let (Some(host), Some(port)) = (words.first(), words.get(1)) else {
        // Listening: somebody waits for a connection that does not come.
        let shell = &*call.shell;
        super::super::wait(seconds(call.value("-w"), 3600), &|| shell.cancelled());
        return Ok(1);
    };
    let address = format!("{host}:{port}");
    match call.shell.net.dial(&address, seconds(call.value("-w"), 130)) {
        Ok(()) => {
            if call.has('v') {
                writeln!(call.err, "{host} ({address}) open")?;
            }
            Ok(0)
        }
        Err(why) if unknown(&why) => call.complain(&format!("bad address '{host}'")).map(|()| 1),
        Err(why) => {
            let said = if refused(&why) {
                "Connection refused"
            } else if slow(&why) {
                "timed out"
            } else {
                "Host is unreachable"
            };
            if call.has('v') || !call.has('z') {
                call.complain(&format!("{host} ({address}): {said}"))?;
            }
            Ok(1)
        }
    }
}
