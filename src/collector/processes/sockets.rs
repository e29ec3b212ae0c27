//! The tables under `/proc/PID/net` (proc_net_tcp(5)): addresses decoded, to be joined with a process's files by inode.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::parse::text;

/// The tables, each a file of that name.
pub const TABLES: [&str; 7] = ["tcp", "tcp6", "udp", "udp6", "raw", "raw6", "unix"];
/// include/net/tcp_states.h, from 1.
pub const STATES: [&str; 12] = [
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
];
/// More sockets of one namespace are not kept.
const MAX: usize = 100_000;

/// One socket.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    /// The table that it is in: `tcp`, `udp6`, `unix`, …
    pub protocol: String,
    /// `10.0.0.7:443`; None for unix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The other end; zeros when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Of TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Of unix sockets that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// 0 when no file holds it any more (TIME_WAIT).
    pub inode: u64,
    /// The user that it belongs to; None for unix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
}

/// Adds the sockets of one table. Those without an inode can't be joined and go to `loose`.
pub fn table(name: &str, content: &str, all: &mut BTreeMap<u64, Socket>, loose: &mut Vec<Socket>) {
    for line in content.lines().skip(1) {
        if all.len() + loose.len() >= MAX {
            return;
        }
        let socket = if name == "unix" { unix(line) } else { inet(name, line) };
        match socket {
            Some(socket) if socket.inode == 0 => loose.push(socket),
            Some(socket) => {
                all.insert(socket.inode, socket);
            }
            None => {}
        }
    }
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn inet(name: &str, line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_whitespace().take(10).collect();
    let (local, remote) = (address(fields.get(1)?)?, address(fields.get(2)?)?);
    let number = usize::from_str_radix(fields.get(3)?, 16).ok()?;
    let state = || STATES.get(number.wrapping_sub(1)).map_or_else(|| number.to_string(), |state| (*state).to_string());
    Some(Socket {
        protocol: name.into(),
        local: Some(local.to_string()),
        remote: Some(remote.to_string()),
        state: name.starts_with("tcp").then(state),
        path: None,
        inode: fields.get(9)?.parse().ok()?,
        uid: fields.get(7)?.parse().ok(),
    })
}

/// `Num RefCount Protocol Flags Type St Inode Path`, where the path may be missing and may hold spaces.
fn unix(line: &str) -> Option<Socket> {
    let mut rest = line;
    let mut inode = "";
    for _ in 0..7 {
        (inode, rest) = rest.trim_start_matches(' ').split_once(' ').unwrap_or((rest.trim_start_matches(' '), ""));
    }
    let inode = inode.parse().ok()?;
    let path = (!rest.is_empty()).then(|| text(rest.as_bytes()));
    Some(Socket { protocol: "unix".into(), path, inode, ..Socket::default() })
}

/// `0100007F:1F90`: the address in 32-bit words, each in the node's byte order, the port as one number.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |s: &str| u32::from_str_radix(s, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(ip)?)),
        32 => {
            let mut bytes = [0; 16];
            for (i, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(ip.get(i * 8..i * 8 + 8)?)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_tables_are_read() {
        let line = "   0: 0100007F:1F90 0A00020F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0 20 4 30 10 -1";
        let socket = inet("tcp", line).unwrap();
        assert_eq!(socket.local.as_deref(), Some("127.0.0.1:8080"));
        assert_eq!(socket.remote.as_deref(), Some("15.2.0.10:54321"));
        assert_eq!(socket.state.as_deref(), Some("ESTABLISHED"));
        assert_eq!((socket.inode, socket.uid), (12345, Some(1000)));
        let line =
            "  0: 00000000000000000000000001000000:2382 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 99 1";
        let socket = inet("tcp6", line).unwrap();
        assert_eq!(socket.local.as_deref(), Some("[::1]:9090"));
        assert_eq!(socket.state.as_deref(), Some("LISTEN"));
    }

    #[test]
    fn unix_sockets_have_paths_with_spaces_or_none() {
        let line = "ffff: 00000002 00000000 00010000 0001 01   777 /run/a b.sock";
        assert_eq!(unix(line).unwrap().path.as_deref(), Some("/run/a b.sock"));
        assert_eq!(unix("ffff: 00000003 00000000 00000000 0001 03 778").unwrap().path, None);
    }

    #[test]
    fn garbage_is_no_socket() {
        let (mut all, mut loose) = (BTreeMap::new(), Vec::new());
        table("tcp", "head\n\n: :\n 0: é:1 é:1 é\n0: 0:0 0:0 0 0 0 0 0 0 0\n", &mut all, &mut loose);
        table("unix", "head\nx\n", &mut all, &mut loose);
        assert!(all.is_empty() && loose.is_empty());
    }
}
