//! Which packets may be merged, all of which a network card asks too.
//!
//! - Merged are packets that differ only in what the kernel can restore: length, checksum, sequence number,
//!   PSH on the last, IPv4 id; so never across a change of ECN bits, acknowledgement, window or options.
//! - TCP: in sequence, no SYN, FIN, RST, URG or CWR. UDP: datagrams of one flow.
//! - All are of one size, but the last may be shorter.
//! - The checksums of merged packets are verified here, since the kernel won't any more. A packet whose
//!   checksum is wrong or missing goes on alone and untouched, and the kernel judges it.

use std::ops::Range;

use super::packet::{
    ACK, ECE, IPV4_HEADER, Layout, PSH, Protocol, TCP_FLAGS_AT, TCP_HEADER, get_u16, get_u32,
};
use crate::{checksum, ipv6};

/// Segments of a TCP super-packet: 64 KB in pieces of 536 bytes, and few enough ranges for one `writev`.
const MAX_TCP_SEGMENTS: usize = 128;
/// Datagrams of a UDP super-packet: the kernel's own limit for cutting, on all versions.
const MAX_UDP_SEGMENTS: usize = 64;

/// Addresses, ports, protocol: what tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    ports: u32,
    protocol: u8,
    v6: bool,
    pub(super) addresses: [u8; 32],
}

impl Flow {
    #[inline]
    pub(super) fn of(packet: &[u8], layout: &Layout) -> Option<Self> {
        let ports = get_u32(packet, layout.transport);
        Some(Self {
            ports,
            protocol: layout.protocol.number(),
            v6: layout.v6,
            addresses: addresses(packet)?,
        })
    }
}

/// Source and destination as one value, IPv4 ones padded.
#[inline]
pub(super) fn addresses(packet: &[u8]) -> Option<[u8; 32]> {
    if packet.first()? >> 4 == 6 {
        return packet.get(8..40)?.first_chunk().copied();
    }
    let mut padded = [0; 32];
    padded
        .first_chunk_mut::<8>()
        .zip(packet.get(12..20)?.first_chunk())
        .map(|(to, from)| *to = *from)?;
    Some(padded)
}

/// How many packets may be merged into one.
pub(super) const fn max_segments(protocol: Protocol) -> usize {
    match protocol {
        Protocol::Tcp => MAX_TCP_SEGMENTS,
        Protocol::Udp => MAX_UDP_SEGMENTS,
    }
}

#[inline]
fn tcp_flags(packet: &[u8], layout: &Layout) -> u8 {
    packet.get(layout.transport + TCP_FLAGS_AT).copied().unwrap_or(0)
}

/// Whether it is TCP with PSH set: the last of its super-packet.
#[inline]
pub(super) fn is_pushed(packet: &[u8], layout: &Layout) -> bool {
    layout.protocol == Protocol::Tcp && tcp_flags(packet, layout) & PSH != 0
}

/// Whether `packet` may be part of a super-packet at all.
#[inline]
pub(super) fn is_mergeable(packet: &[u8], layout: &Layout, udp: bool) -> bool {
    let plain_ip = if layout.v6 {
        layout.transport == ipv6::HEADER
    } else {
        // No options, and the reserved flag clear; fragments have no layout.
        layout.transport == IPV4_HEADER && get_u16(packet, 6) & 0x8000 == 0
    };
    let length = packet.len() - layout.transport;
    let plain_transport = match layout.protocol {
        Protocol::Tcp => tcp_flags(packet, layout) & !(PSH | ECE) == ACK,
        Protocol::Udp => {
            udp && usize::from(get_u16(packet, layout.transport + 4)) == length
                && get_u16(packet, layout.transport + 6) != 0
        }
    };
    plain_ip && plain_transport && layout.end == packet.len() && layout.end > layout.payload
}

/// Whether `packet` continues the super-packet of `head`, which has so many segments and expects this
/// sequence number: everything is equal but what may differ. `layout` is the same for both.
#[inline]
pub(super) fn continues(head: &[u8], packet: &[u8], layout: &Layout, segments: usize, sequence: u32) -> bool {
    let same = |range: Range<usize>| head.get(range.clone()) == packet.get(range);
    let transport = layout.transport;
    let ip = if layout.v6 {
        // Version, traffic class, flow label; hop limit. Next header and addresses are in the flow.
        same(0..4) && same(7..8)
    } else {
        let id = get_u16(head, 4).wrapping_add(segments as u16);
        same(0..2) && same(6..9) && get_u16(packet, 4) == id
    };
    let tcp = || {
        get_u32(packet, transport + 4) == sequence
            && same(transport + 8..transport + TCP_FLAGS_AT)
            && (tcp_flags(head, layout) ^ tcp_flags(packet, layout)) & !PSH == 0
            && same(transport + 14..transport + 16)
            && same(transport + 18..transport + TCP_HEADER)
            && same(transport + TCP_HEADER..layout.payload)
    };
    ip && (layout.protocol == Protocol::Udp || tcp())
}

/// Whether the transport checksum is right, unless it is `partial`, and that of the IPv4 header, which merging
/// rewrites.
#[inline]
pub(super) fn has_right_checksums(packet: &[u8], layout: &Layout, partial: bool) -> bool {
    let Some(transport) = packet.get(layout.transport..layout.end) else {
        return false;
    };
    let ip = layout.v6
        || packet
            .get(..layout.transport)
            .is_some_and(|head| checksum::is_valid(checksum::sum(head)));
    ip && (partial || checksum::is_valid(layout.pseudo(packet, transport.len()) + checksum::sum(transport)))
}
