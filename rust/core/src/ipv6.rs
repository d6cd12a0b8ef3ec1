//! A checked view of the IPv6 header (RFC 8200), and the checksum of what it carries.

use crate::{Address, checksum};

/// Length of the fixed header.
pub const HEADER: usize = 40;
/// Where the hop limit lies.
pub const HOP_LIMIT_AT: usize = 7;
/// Every link of IPv6 carries packets of this size.
pub const MIN_MTU: usize = 1280;

/// Next header: TCP.
pub const TCP: u8 = 6;
/// Next header: UDP.
pub const UDP: u8 = 17;
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;
/// Next header: a fragment.
pub const FRAGMENT: u8 = 44;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;

/// Why bytes aren't an IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ipv6Error {
    /// Shorter than the header, or than its length field says.
    #[error("the packet is cut short")]
    Short,
    /// The version nibble isn't 6.
    #[error("not IPv6")]
    Version,
}

/// The fixed header, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// 20 bits.
    pub flow_label: u32,
    /// Bytes after the fixed header.
    pub len: u16,
    /// The protocol of what follows, possibly an extension header.
    pub next_header: u8,
    /// How many routers may still forward the packet.
    pub hop_limit: u8,
    /// Source address.
    pub src: Address,
    /// Destination address.
    pub dst: Address,
}

impl Header {
    /// Read the header of `packet`, of which at least as much must be there as its length field says.
    ///
    /// # Errors
    /// Not IPv6, or cut short.
    #[inline]
    pub fn parse(packet: &[u8]) -> Result<Self, Ipv6Error> {
        let head: &[u8; HEADER] = packet.first_chunk().ok_or(Ipv6Error::Short)?;
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        if first >> 28 != 6 {
            return Err(Ipv6Error::Version);
        }
        let len = u16::from_be_bytes([head[4], head[5]]);
        if packet.len() < HEADER + usize::from(len) {
            return Err(Ipv6Error::Short);
        }
        let (mut src, mut dst) = ([0; 16], [0; 16]);
        src.copy_from_slice(&head[8..24]);
        dst.copy_from_slice(&head[24..40]);
        Ok(Self {
            traffic_class: (first >> 20) as u8,
            flow_label: first & 0xf_ffff,
            len,
            next_header: head[6],
            hop_limit: head[7],
            src,
            dst,
        })
    }

    /// The 40 bytes of the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0xf_ffff;
        head[..4].copy_from_slice(&first.to_be_bytes());
        head[4..6].copy_from_slice(&self.len.to_be_bytes());
        head[6] = self.next_header;
        head[7] = self.hop_limit;
        head[8..24].copy_from_slice(&self.src);
        head[24..40].copy_from_slice(&self.dst);
        head
    }

    /// Header and payload together, in bytes.
    #[inline]
    #[must_use]
    pub fn total_len(&self) -> usize {
        HEADER + usize::from(self.len)
    }
}

/// The transport protocol of `packet` and the offset of its header, past all extension headers. None if
/// the chain is cut short, or a fragment is in it: then the transport header may not be there.
#[must_use]
pub fn transport(packet: &[u8]) -> Option<(u8, usize)> {
    let mut protocol = *packet.get(6)?;
    let mut at = HEADER;
    // The chain can't be longer than the packet: every step moves on by at least 8 bytes.
    while matches!(protocol, HOP_BY_HOP | ROUTING | DESTINATION) {
        let next = *packet.get(at)?;
        at += 8 * (usize::from(*packet.get(at + 1)?) + 1);
        protocol = next;
    }
    (protocol != FRAGMENT && at <= packet.len()).then_some((protocol, at))
}

/// The sum over pseudo header and `transport` bytes, as [`checksum`] counts.
#[must_use]
pub fn transport_sum(src: &Address, dst: &Address, protocol: u8, transport: &[u8]) -> u64 {
    let length = u32::try_from(transport.len()).unwrap_or(u32::MAX);
    checksum::pseudo_ipv6(src, dst, protocol, length) + checksum::sum(transport)
}
