//! Sockets by sock_diag(7): what `/proc/net/tcp` lacks (bytes, cookies), and their destruction.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::netlink;

use super::netlink::{Netlink, attributes};
use crate::collector::processes::sockets::STATES;

/// SOCK_DIAG_BY_FAMILY and SOCK_DESTROY (linux/sock_diag.h).
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// INET_DIAG_INFO (linux/inet_diag.h).
const INFO: u16 = 2;
/// Families and protocols, by the names of `/proc/net`'s tables.
const TABLES: [(&str, u8, u8); 4] = [("tcp", 2, 6), ("tcp6", 10, 6), ("udp", 2, 17), ("udp6", 10, 17)];

/// A socket that has a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peered {
    /// `tcp`, `udp6`, …
    pub protocol: &'static str,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// As `/proc/net/tcp` numbers them (include/net/tcp_states.h).
    pub state: u8,
    /// The user that it belongs to.
    pub uid: u32,
    /// 0 when no file holds it.
    pub inode: u32,
    /// Bytes that the peer acknowledged, and that came from it; of TCP alone.
    pub bytes: Option<(u64, u64)>,
    /// How the kernel names it: family, protocol, and struct inet_diag_sockid.
    name: (u8, u8, [u8; 48]),
}

impl Peered {
    /// `ESTABLISHED`.
    pub fn state_name(&self) -> &'static str {
        STATES.get(usize::from(self.state).wrapping_sub(1)).copied().unwrap_or("UNKNOWN")
    }
}

/// Every TCP and UDP socket of this network namespace that has a peer, but those that only wait for their end
/// (TIME_WAIT). The second value names the tables that the kernel did not give.
///
/// # Errors
/// When there is no sock_diag at all.
pub fn peered() -> io::Result<(Vec<Peered>, Vec<String>)> {
    let mut netlink = Netlink::open(netlink::SOCK_DIAG)?;
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for (table, family, protocol) in TABLES {
        // ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING: no LISTEN, no TIME_WAIT.
        let states: u32 = if protocol == 17 { 1 << 1 } else { (1..=5).chain([8, 9, 11]).map(|s| 1 << s).sum() };
        let mut request = vec![family, protocol, 1 << (INFO - 1), 0];
        request.extend(states.to_ne_bytes());
        request.extend([0; 48]);
        let answer = netlink.dump(BY_FAMILY, &request, &mut |payload| all.extend(socket(table, protocol, payload)));
        match answer {
            Ok(true) => {}
            Ok(false) => missing.push(format!("{table}: more sockets than are listed")),
            Err(error) => missing.push(format!("{table}: {error}")),
        }
    }
    Ok((all, missing))
}

/// struct inet_diag_msg and its attributes.
fn socket(table: &'static str, protocol: u8, payload: &[u8]) -> Option<Peered> {
    let id: [u8; 48] = payload.get(4..52)?.try_into().ok()?;
    let port = |at: usize| Some(u16::from_be_bytes(id.get(at..at + 2)?.try_into().ok()?));
    let family = *payload.first()?;
    let address = |at: usize| -> Option<IpAddr> {
        if family == 2 {
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(id.get(at..at + 4)?).ok()?).into());
        }
        let six = Ipv6Addr::from(<[u8; 16]>::try_from(id.get(at..at + 16)?).ok()?);
        Some(six.to_ipv4_mapped().map_or(IpAddr::V6(six), IpAddr::V4))
    };
    let number = |at: usize| Some(u32::from_ne_bytes(payload.get(at..at + 4)?.try_into().ok()?));
    let (local, remote) = (SocketAddr::new(address(4)?, port(0)?), SocketAddr::new(address(20)?, port(2)?));
    if remote.port() == 0 {
        return None;
    }
    // struct tcp_info: tcpi_bytes_acked and tcpi_bytes_received, since Linux 4.1.
    let info = attributes(payload.get(72..)?).find(|(kind, _)| *kind == INFO).map(|(_, info)| info);
    let long = |at: usize| Some(u64::from_ne_bytes(info?.get(at..at + 8)?.try_into().ok()?));
    let bytes = if protocol == 6 { long(120).zip(long(128)) } else { None };
    Some(Peered {
        protocol: table,
        local,
        remote,
        state: *payload.get(1)?,
        uid: number(64)?,
        inode: number(68)?,
        bytes,
        name: (family, protocol, id),
    })
}

/// Destroys one socket: its process gets ECONNABORTED, its peer a reset. Takes CAP_NET_ADMIN in the namespace, and a
/// kernel with CONFIG_INET_DIAG_DESTROY.
///
/// # Errors
/// The kernel's errno; ENOENT when it is gone by itself.
pub fn destroy(netlink: &mut Netlink, socket: &Peered) -> io::Result<()> {
    let (family, protocol, id) = socket.name;
    let mut request = vec![family, protocol, 0, 0];
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(id);
    netlink.change(DESTROY, &request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_its_own_connection_with_its_bytes() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"seven77").unwrap();
        far.read_exact(&mut [0; 7]).unwrap();
        let (all, missing) = peered().unwrap();
        let far = all.iter().find(|s| s.remote == near.local_addr().unwrap()).expect("the accepted end");
        assert_eq!((far.state_name(), far.bytes.map(|b| b.1), far.protocol), ("ESTABLISHED", Some(7), "tcp"));
        assert!(missing.iter().all(|m| !m.starts_with("tcp:")), "{missing:?}");
    }

    #[test]
    fn garbage_is_no_socket() {
        for length in 0..80 {
            let _ = socket("tcp", 6, &vec![0xff; length]);
        }
        assert!(socket("tcp", 6, &[2; 10]).is_none());
    }
}
