//! IP addresses and CIDR blocks as the server reads them since 1.36 (strictly: no leading zeros, no IPv4 in IPv6).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::errors::Errors;
use super::features::Feature;
use super::node::Node;

/// A block of addresses: the bits of the address, their number, and how many are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    bits: u128,
    width: u32,
    prefix: u32,
}

/// Reads an address as Go once did: leading zeros are skipped.
pub(crate) fn parse(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if text.contains(':') {
        // An IPv6 address may end in an IPv4 one that has leading zeros.
        let (head, tail) = text.rsplit_once(':')?;
        let tail = without_zeros(tail)?;
        return format!("{head}:{tail}").parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    }
    without_zeros(text).map(IpAddr::V4)
}

fn without_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = part.trim_start_matches('0');
        *octet = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The address itself, where an IPv4 one is written as IPv6.
pub(crate) fn unmapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// Whether a text is an IPv6 address.
pub(crate) fn is_v6(text: &str) -> bool {
    parse(text).is_some_and(|address| unmapped(address).is_ipv6())
}

/// Notes what is wrong with an address; whether it is right.
pub(crate) fn check(errors: &mut Errors, at: &Node<'_, '_>, text: &str) -> bool {
    let before = errors.len();
    match parse(text) {
        None => {
            errors.invalid_text(at, text, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
        }
        Some(_) if !errors.has(Feature::StrictIpCidrValidation) => {}
        Some(address) if is_mapped(address) => {
            errors.invalid_text(at, text, "must not be an IPv4-mapped IPv6 address");
        }
        Some(_) if text.parse::<IpAddr>().is_err() => {
            errors.invalid_text(at, text, "must not have leading 0s");
        }
        Some(_) => {}
    }
    errors.len() == before
}

/// [`check`], and the address must be written in its canonical form.
pub(crate) fn check_canonical(errors: &mut Errors, at: &Node<'_, '_>, text: &str) -> bool {
    if !check(errors, at, text) {
        return false;
    }
    let canonical = parse(text).map(|address| address.to_string()).unwrap_or_default();
    if canonical != text {
        errors.invalid_text(at, text, &format!("must be in canonical form (\"{canonical}\")"));
    }
    canonical == text
}

/// An address that traffic may be sent to.
pub(crate) fn check_endpoint(errors: &mut Errors, at: &Node<'_, '_>, text: &str) {
    let Some(address) = parse(text).map(unmapped) else {
        return errors.invalid_text(at, text, "must be a valid IP address");
    };
    if address.is_unspecified() {
        errors.invalid_text(at, text, &format!("may not be unspecified ({text})"));
    }
    if address.is_loopback() {
        errors.invalid_text(at, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (is_link_local, is_link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets().starts_with(&[224, 0, 0])),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    if is_link_local {
        errors.invalid_text(at, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if is_link_local_multicast {
        errors.invalid_text(
            at,
            text,
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}

fn block_of(address: IpAddr, prefix: &str) -> Option<Block> {
    if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let prefix: u32 = prefix.parse().ok()?;
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    (prefix <= width).then_some(Block { bits, width, prefix })
}

/// Reads a block leniently.
pub(crate) fn parse_block(text: &str) -> Option<Block> {
    let (address, prefix) = text.split_once('/')?;
    block_of(parse(address)?, prefix)
}

impl Block {
    fn host_bits(self) -> u128 {
        let free = self.width - self.prefix;
        let mask = if free >= 128 { u128::MAX } else { (1 << free) - 1 };
        self.bits & mask
    }

    fn network(self) -> u128 {
        self.bits & !Self { bits: u128::MAX, ..self }.host_bits()
    }

    /// Whether `inner` lies inside and is smaller.
    pub(crate) fn strictly_contains(self, inner: Self) -> bool {
        self.width == inner.width
            && self.prefix < inner.prefix
            && Self { bits: inner.bits, ..self }.network() == self.network()
    }

    /// Whether it is a block of IPv6 addresses.
    pub(crate) fn is_v6(self) -> bool {
        self.width == 128
    }
}

/// Notes what is wrong with a block.
pub(crate) fn check_block(errors: &mut Errors, at: &Node<'_, '_>, text: &str) {
    let Some(block) = parse_block(text) else {
        return errors.invalid_text(
            at,
            text,
            "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        );
    };
    if !errors.has(Feature::StrictIpCidrValidation) {
        return;
    }
    let (address, prefix) = text.split_once('/').unwrap_or((text, ""));
    let strict = address.parse::<IpAddr>().ok();
    if strict.is_none() || (prefix.len() > 1 && prefix.starts_with('0')) {
        errors.invalid_text(at, text, "must not have leading 0s in IP or prefix length");
    } else if strict.is_some_and(is_mapped) {
        errors.invalid_text(at, text, "must not have an IPv4-mapped IPv6 address");
    } else if block.host_bits() != 0 {
        errors.invalid_text(at, text, "must not have bits set beyond the prefix length");
    }
}
