//! What goes over a pod's interfaces for a while, in the file format of pcap: a packet socket in its network namespace,
//! which sees what the policy lets out and what is only tried.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with};

use super::output::Output;

/// Bytes of one packet that are kept, as tcpdump's default has it.
const SNAPLEN: u32 = 262_144;
/// How often what was seen is sent on, so that a quiet pod is not taken for a stalled stream.
const SEND_EVERY: Duration = Duration::from_secs(1);

/// How much.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Time.
    pub time: Duration,
    /// Bytes of the file.
    pub bytes: Option<u64>,
}

/// Writes the file. To be called in the network namespace that is meant.
///
/// # Errors
/// When the packet socket is refused (it takes NET_RAW), or the output can't be written.
pub fn write<W: Write>(out: &mut Output<W>, asked: Asked) -> io::Result<()> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(eth::ALL))
        .map_err(|e| io::Error::other(format!("a packet socket is refused: {e}")))?;
    set_socket_timeout(socket.as_fd(), Timeout::Recv, Some(Duration::from_millis(100)))?;
    out.put(&header())?;
    let (begun, mut sent) = (Instant::now(), Instant::now());
    let mut packet = vec![0; SNAPLEN as usize];
    while begun.elapsed() < asked.time {
        match recv(&socket, &mut packet[..], RecvFlags::TRUNC) {
            Ok((kept, length)) => {
                let record = record(SystemTime::now(), kept, length);
                if asked.bytes.is_some_and(|most| out.size() + (record.len() + kept) as u64 > most) {
                    let most = asked.bytes.unwrap_or_default();
                    out.truncate(format!("the limit of {most} bytes was met after {} s", begun.elapsed().as_secs()));
                    break;
                }
                out.entries += 1;
                out.put(&record)?;
                out.put(&packet[..kept])?;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                out.truncate(format!("the packet socket failed after {} s: {error}", begun.elapsed().as_secs()));
                break;
            }
        }
        if sent.elapsed() >= SEND_EVERY {
            sent = Instant::now();
            out.beat()?;
        }
    }
    Ok(())
}

/// Little-endian, nanoseconds, Ethernet (<https://datatracker.ietf.org/doc/draft-ietf-opsawg-pcap/>).
fn header() -> Vec<u8> {
    let mut bytes = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    bytes.extend([2_u16, 4].iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend([0, 0, SNAPLEN, 1].iter().flat_map(|n: &u32| n.to_le_bytes()));
    bytes
}

fn record(at: SystemTime, kept: usize, length: usize) -> Vec<u8> {
    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    [seconds, at.subsec_nanos(), size(kept), size(length)].iter().flat_map(|n| n.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_its_readers_expect() {
        let head = header();
        assert_eq!(head.len(), 24);
        assert_eq!(&head[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(&head[20..], [1, 0, 0, 0]);
        let record = record(UNIX_EPOCH + Duration::new(7, 9), 60, 1500);
        assert_eq!(record, [7, 0, 0, 0, 9, 0, 0, 0, 60, 0, 0, 0, 220, 5, 0, 0]);
    }
}
