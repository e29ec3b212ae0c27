//! The connections that a node's firewall remembers (ctnetlink): what is remembered is let through without asking the
//! policy again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink;

use super::model::Remembered;
use super::netlink::{Netlink, attributes};

/// NFNL_SUBSYS_CTNETLINK with IPCTNL_MSG_CT_GET and IPCTNL_MSG_CT_DELETE (linux/netfilter/nfnetlink_conntrack.h).
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
/// CTA_TUPLE_ORIG and CTA_TUPLE_REPLY.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;

/// Those with one of the addresses at either end, deleted as they are found when `delete`; how many deletions failed.
/// Works in the network namespace of the calling thread: that is to be the node's.
///
/// # Errors
/// When the kernel gives no list.
pub fn of(addresses: &[IpAddr], delete: bool) -> io::Result<(Vec<Remembered>, Vec<String>)> {
    let mut netlink = Netlink::open(netlink::NETFILTER)?;
    let mut found = Vec::new();
    for family in [2_u8, 10] {
        let wanted = addresses.iter().any(|a| a.is_ipv4() == (family == 2));
        if wanted {
            netlink.dump(GET, &[family, 0, 0, 0], &mut |payload| found.extend(entry(family, payload, addresses)))?;
        }
    }
    let mut failed = Vec::new();
    for (_, request) in found.iter().filter(|_| delete) {
        match netlink.change(DELETE, request) {
            Ok(()) => {}
            // It ended by itself meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => failed.push(error.to_string()),
        }
    }
    Ok((found.into_iter().map(|(entry, _)| entry).collect(), failed))
}

/// The entry, when it is of one of the addresses, and the payload that names it for its deletion.
fn entry(family: u8, payload: &[u8], addresses: &[IpAddr]) -> Option<(Remembered, Vec<u8>)> {
    let body = payload.get(4..)?;
    let raw = attributes(body).find(|(kind, _)| *kind == ORIGINAL)?.1;
    let original = tuple(raw)?;
    let reply = attributes(body).find(|(kind, _)| *kind == REPLY).and_then(|(_, value)| tuple(value))?;
    let ends = [original.0, original.1, reply.0, reply.1];
    if !ends.iter().any(|end| addresses.contains(&end.0)) {
        return None;
    }
    let mut request = vec![family, 0, 0, 0];
    let length = u16::try_from(4 + raw.len()).ok()?;
    request.extend(length.to_ne_bytes());
    request.extend((ORIGINAL | 0x8000).to_ne_bytes());
    request.extend(raw);
    request.resize(request.len().next_multiple_of(4), 0);
    let shown = |(address, port): End| std::net::SocketAddr::new(address, port).to_string();
    let remembered = Remembered {
        protocol: original.2,
        source: shown(original.0),
        destination: shown(original.1),
        answered_by: shown(reply.0),
    };
    Some((remembered, request))
}

/// Address and port.
type End = (IpAddr, u16);

/// Source, destination and protocol of a tuple. ICMP has no ports: they are 0.
fn tuple(value: &[u8]) -> Option<(End, End, u8)> {
    let (mut from, mut to, mut ports, mut protocol) = (None, None, [0_u16; 2], 0);
    for (kind, inner) in attributes(value) {
        for (kind, value) in attributes(inner).map(|(k, v)| ((kind, k), v)) {
            match kind {
                (1, 1 | 3) => from = address(value),
                (1, 2 | 4) => to = address(value),
                (2, 1) => protocol = *value.first()?,
                (2, 2 | 3) => ports[usize::from(kind.1) - 2] = u16::from_be_bytes(value.get(..2)?.try_into().ok()?),
                _ => {}
            }
        }
    }
    Some(((from?, ports[0]), (to?, ports[1]), protocol))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut all = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        all.extend(kind.to_ne_bytes());
        all.extend(value);
        all.resize(all.len().next_multiple_of(4), 0);
        all
    }

    fn tuple_of(from: [u8; 4], to: [u8; 4], ports: (u16, u16)) -> Vec<u8> {
        let ip = [attribute(1, &from), attribute(2, &to)].concat();
        let protocol = [attribute(1, &[6]), attribute(2, &ports.0.to_be_bytes()), attribute(3, &ports.1.to_be_bytes())];
        [attribute(1, &ip), attribute(2, &protocol.concat())].concat()
    }

    #[test]
    fn an_entry_is_the_pods_at_whichever_end_it_stands() {
        let original = tuple_of([10, 0, 0, 7], [10, 96, 0, 1], (41212, 443));
        let reply = tuple_of([192, 0, 2, 1], [10, 0, 0, 7], (6443, 41212));
        let payload = [vec![2, 0, 0, 0], attribute(0x8001, &original), attribute(0x8002, &reply)].concat();
        for own in ["10.0.0.7", "192.0.2.1", "10.96.0.1"] {
            let (found, request) = entry(2, &payload, &[own.parse().unwrap()]).expect(own);
            assert_eq!(
                (found.source.as_str(), found.answered_by.as_str(), found.protocol),
                ("10.0.0.7:41212", "192.0.2.1:6443", 6)
            );
            assert_eq!(&request[8..8 + original.len()], original);
        }
        assert!(entry(2, &payload, &["10.0.0.8".parse().unwrap()]).is_none());
        for length in 0..payload.len() {
            assert!(entry(2, &payload[..length], &["10.0.0.7".parse().unwrap()]).is_none(), "cut at {length}");
        }
    }
}
