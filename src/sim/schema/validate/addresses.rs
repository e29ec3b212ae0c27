//! IP addresses and ranges.
use std::net::IpAddr;

use super::super::field::{Causes, Path};

pub(super) const BAD_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
const BAD_CIDR: &str = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";

/// An address; leading zeros, which the server still takes in old objects, do not matter.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| {
        let plain: Vec<&str> = text.split('.').map(|part| part.trim_start_matches('0')).collect();
        let plain: Vec<&str> = plain.into_iter().map(|part| if part.is_empty() { "0" } else { part }).collect();
        plain.join(".").parse().ok()
    })
}

/// A range: the address's bits and how many of them count.
pub(super) fn cidr(text: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = text.split_once('/')?;
    let (address, length) = (ip(address)?, length.parse().ok()?);
    (length <= width(address)).then_some((address, length))
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn prefix(address: IpAddr, length: u32) -> u128 {
    let bits = match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    bits.checked_shr(width(address) - length).unwrap_or(0)
}

/// Whether `inner` lies in `outer` and is smaller.
pub(super) fn strictly_within(inner: (IpAddr, u32), outer: (IpAddr, u32)) -> bool {
    inner.0.is_ipv4() == outer.0.is_ipv4() && inner.1 > outer.1 && prefix(inner.0, outer.1) == prefix(outer.0, outer.1)
}

/// Complains about a text that is no range.
pub(super) fn check_cidr(text: &str, path: &Path, causes: &mut Causes) -> Option<(IpAddr, u32)> {
    let range = cidr(text);
    if range.is_none() {
        causes.invalid_text(path, text, BAD_CIDR);
    }
    range
}

/// An address that something else may be reached at.
pub(super) fn check_remote(text: &str, path: &Path, causes: &mut Causes) {
    let Some(address) = ip(text) else {
        causes.invalid_text(path, text, BAD_IP);
        return;
    };
    if address.is_unspecified() {
        causes.invalid_text(path, text, &format!("may not be unspecified ({address})"));
    }
    if address.is_loopback() {
        causes.invalid_text(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments().starts_with(&[0xff02])),
    };
    if link_local {
        causes.invalid_text(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        causes.invalid_text(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}
