//! One request and its answers over netlink(7), for the two families that the collector speaks.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

/// NLMSG_ERROR, NLMSG_DONE (linux/netlink.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST, NLM_F_ACK, and NLM_F_DUMP (ROOT and MATCH).
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// Answers of one dump: a namespace with more entries is cut, and said to be.
const MAX_ANSWERS: usize = 500_000;

/// A netlink socket in the network namespace of the thread that opened it.
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens one for a protocol.
    ///
    /// # Errors
    /// What the kernel says: it may lack the family.
    pub fn open(protocol: Protocol) -> io::Result<Netlink> {
        let fd =
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
        // A kernel that does not answer is no reason to wait for ever.
        let patience = std::time::Duration::from_secs(5);
        rustix::net::sockopt::set_socket_timeout(&fd, rustix::net::sockopt::Timeout::Recv, Some(patience))?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Netlink { fd, sequence: 0, buffer: vec![0; 256 << 10] })
    }

    /// Asks for one change; Ok once the kernel acknowledged it.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn change(&mut self, kind: u16, payload: &[u8]) -> io::Result<()> {
        self.send(kind, REQUEST | ACK, payload)?;
        self.answers(&mut |_, _| true).map(|_| ())
    }

    /// Every answer of a dump goes to `sink`; false when there were more than are taken.
    ///
    /// # Errors
    /// The kernel's errno.
    pub fn dump(&mut self, kind: u16, payload: &[u8], sink: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        self.send(kind, REQUEST | DUMP, payload)?;
        let mut count = 0;
        self.answers(&mut |_, payload| {
            count += 1;
            if count <= MAX_ANSWERS {
                sink(payload);
            }
            true
        })?;
        Ok(count <= MAX_ANSWERS)
    }

    fn send(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let length = 16 + payload.len();
        let mut message = Vec::with_capacity(length);
        message.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend(0_u32.to_ne_bytes());
        message.extend(payload);
        rustix::net::sendto(&self.fd, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        Ok(())
    }

    fn answers(&mut self, sink: &mut dyn FnMut(u16, &[u8]) -> bool) -> io::Result<()> {
        loop {
            let (length, _) = rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::empty())?;
            let mut rest = &self.buffer[..length];
            while let Some((kind, sequence, payload, after)) = message(rest) {
                rest = after;
                if sequence != self.sequence {
                    continue;
                }
                match kind {
                    DONE => return Ok(()),
                    ERROR => {
                        let code = payload.get(..4).and_then(|b| b.try_into().ok()).map_or(0, i32::from_ne_bytes);
                        return if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) };
                    }
                    kind if !sink(kind, payload) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

/// Type, sequence number and payload of the first message, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let payload = bytes.get(16..length)?;
    Some((kind, sequence, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes in a payload: type without its flags, and value (linux/netlink.h, struct nlattr).
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_answers_end_the_reading() {
        assert!(message(&[1, 0, 0, 0]).is_none());
        assert!(message(&[255; 16]).is_none());
        let mut shorter = 8_u32.to_ne_bytes().to_vec();
        shorter.extend([0; 12]);
        assert!(message(&shorter).is_none(), "a length below the header's");
        assert_eq!(attributes(&[0, 0, 1, 0, 9, 9]).count(), 0);
        let four = [8_u16.to_ne_bytes(), 0x8003_u16.to_ne_bytes(), [1, 2], [3, 4]].concat();
        assert_eq!(attributes(&four).collect::<Vec<_>>(), [(3, &[1, 2, 3, 4][..])]);
    }
}
