//! Which addresses take a TCP connection from here: the only time that the collector touches the network.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::network::model::Attempt;
use super::output::Output;

/// More addresses than this are refused: it is a probe, not a scanner.
const MAX: usize = 256;

/// Tries all of them at once, from this thread's network namespace. Nothing is sent over a connection that is made.
///
/// # Errors
/// When there are too many.
pub fn tried(addresses: &[String], timeout: Duration) -> io::Result<Vec<Attempt>> {
    if addresses.len() > MAX {
        return Err(io::Error::other(format!("more than {MAX} addresses")));
    }
    Ok(std::thread::scope(|scope| {
        let tries: Vec<_> = addresses.iter().map(|address| scope.spawn(move || attempt(address, timeout))).collect();
        tries.into_iter().filter_map(|t| t.join().ok()).collect()
    }))
}

/// Writes what came of it.
///
/// # Errors
/// When the output can't be written.
pub fn write<W: Write>(out: &mut Output<W>, attempts: &[Attempt]) -> io::Result<()> {
    out.entries = attempts.len() as u64;
    out.put(&serde_json::to_vec(&serde_json::json!({ "attempts": attempts }))?)
}

fn attempt(address: &str, timeout: Duration) -> Attempt {
    let begun = Instant::now();
    let result = match address.parse::<SocketAddr>() {
        Ok(socket) => TcpStream::connect_timeout(&socket, timeout).map(drop),
        Err(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error.to_string())),
    };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let outcome = match result.as_ref().map_err(io::Error::kind) {
        Ok(()) => "connected",
        Err(io::ErrorKind::ConnectionRefused) => "refused",
        Err(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => "timeout",
        Err(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "unreachable",
        Err(io::ErrorKind::InvalidInput) => "invalid",
        Err(_) => "failed",
    };
    Attempt { address: address.into(), outcome: outcome.into(), ms, error: result.err().map(|e| e.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_an_open_port_from_a_closed_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().to_string();
        assert_eq!(attempt(&open, Duration::from_secs(2)).outcome, "connected");
        drop(listener);
        assert_eq!(attempt(&open, Duration::from_secs(2)).outcome, "refused");
        assert_eq!(attempt("localhost", Duration::from_secs(2)).outcome, "invalid");
    }
}
