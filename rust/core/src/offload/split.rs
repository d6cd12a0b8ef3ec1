//! Cutting one read of the TUN device into packets for the wire.

use super::packet::{CWR, FIN, Layout, PSH, Protocol, TCP_FLAGS_AT, get_u16, get_u32, put_u16};
use super::{Gso, OffloadError, VirtioNetHdr};
use crate::checksum;

/// How far the transport checksums of the packets that [`split_as`] makes are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// Complete: peers that know nothing of offload receive them.
    Complete,
    /// Over the pseudo header only, where the device left them like that: the receiver's kernel completes or
    /// skips them, as for a packet of its own machine.
    Partial,
}

/// [`split_as`] with complete checksums: `emit` gets headers and payload.
///
/// # Errors
/// As [`split_as`].
#[inline]
pub fn split(
    hdr: VirtioNetHdr,
    packet: &mut [u8],
    mut emit: impl FnMut(&[u8], &[u8]),
) -> Result<usize, OffloadError> {
    split_as(Checksums::Complete, hdr, packet, |head, body, _| emit(head, body))
}

/// Cut `packet`, as it was read from the device behind `hdr`, into packets with right lengths, sequence
/// numbers, flags and checksums.
///
/// For each, in order, `emit` gets its headers, its payload, and whether its checksum is partial; an ordinary
/// packet comes as "headers" only. Headers are patched inside `packet`, so both are good only during the call.
/// Returns how many there were. `hdr_len` isn't believed: the packet says itself where its headers end.
///
/// # Errors
/// The packet contradicts itself or `hdr`. Nothing was emitted.
#[inline]
pub fn split_as(
    checksums: Checksums,
    hdr: VirtioNetHdr,
    packet: &mut [u8],
    mut emit: impl FnMut(&[u8], &[u8], bool),
) -> Result<usize, OffloadError> {
    let gso = hdr.gso()?;
    if gso == Gso::None {
        let partial = checksums == Checksums::Partial && has_plain_partial(hdr, packet);
        if hdr.needs_csum() && !partial {
            complete(hdr, packet)?;
        }
        emit(packet, &[], partial);
        return Ok(1);
    }
    let layout = Layout::of(packet)?.ok_or(OffloadError::Type(hdr.gso_type))?;
    let fits = match gso {
        Gso::TcpV4 => layout.protocol == Protocol::Tcp && !layout.v6,
        Gso::TcpV6 => layout.protocol == Protocol::Tcp && layout.v6,
        Gso::UdpL4 => layout.protocol == Protocol::Udp,
        Gso::None => false,
    };
    if !fits {
        return Err(OffloadError::Type(hdr.gso_type));
    }
    let size = usize::from(hdr.gso_size);
    if size == 0 {
        return Err(OffloadError::Size);
    }
    let packet = packet.get_mut(..layout.end).ok_or(OffloadError::Short)?;
    let (headers, payload) = packet
        .split_at_mut_checked(layout.payload)
        .ok_or(OffloadError::Short)?;
    // Super-packets always come with partial checksums: nothing else could be cut.
    Ok(cut(layout, headers, payload, size, checksums, emit))
}

/// Whether the checksum of an ordinary packet is partial and lies where the receiver will look for it.
#[inline]
fn has_plain_partial(hdr: VirtioNetHdr, packet: &[u8]) -> bool {
    hdr.needs_csum()
        && Layout::of(packet).ok().flatten().is_some_and(|layout| {
            usize::from(hdr.csum_start) == layout.transport
                && usize::from(hdr.csum_offset) == layout.protocol.checksum_at()
                && layout.end == packet.len()
        })
}

/// Emit `payload` in pieces of `size`, each behind `headers` as patched for it. At least one.
#[inline]
fn cut(
    layout: Layout,
    headers: &mut [u8],
    payload: &[u8],
    size: usize,
    checksums: Checksums,
    mut emit: impl FnMut(&[u8], &[u8], bool),
) -> usize {
    let count = payload.len().div_ceil(size).max(1);
    let transport = layout.transport;
    let sequence = get_u32(headers, transport + 4);
    let flags = headers.get(transport + TCP_FLAGS_AT).copied().unwrap_or(0);
    let id = get_u16(headers, 4);
    for index in 0..count {
        let start = index * size;
        let segment = payload
            .get(start..payload.len().min(start + size))
            .unwrap_or_default();
        if layout.protocol == Protocol::Tcp {
            let first = if index > 0 { CWR } else { 0 };
            let last = if index + 1 < count { FIN | PSH } else { 0 };
            set_tcp(
                headers,
                transport,
                sequence.wrapping_add(start as u32),
                flags & !first & !last,
            );
        }
        if !layout.v6 {
            put_u16(headers, 4, usize::from(id.wrapping_add(index as u16)));
        }
        layout.set_lengths(headers, headers.len() + segment.len());
        match checksums {
            Checksums::Complete => set_checksum(layout, headers, checksum::sum(segment), segment.len()),
            Checksums::Partial => layout.set_pseudo(headers, headers.len() + segment.len()),
        }
        emit(headers, segment, checksums == Checksums::Partial);
    }
    count
}

#[inline]
fn set_tcp(headers: &mut [u8], transport: usize, sequence: u32, flags: u8) {
    if let Some(field) = headers.get_mut(transport + 4..).and_then(<[u8]>::first_chunk_mut) {
        *field = sequence.to_be_bytes();
    }
    if let Some(field) = headers.get_mut(transport + TCP_FLAGS_AT) {
        *field = flags;
    }
}

/// Write the complete transport checksum, given the sum of the payload.
#[inline]
fn set_checksum(layout: Layout, headers: &mut [u8], payload: u64, length: usize) {
    let at = layout.transport + layout.protocol.checksum_at();
    put_u16(headers, at, 0);
    let own = headers.get(layout.transport..).unwrap_or_default();
    let sum = layout.pseudo(headers, own.len() + length) + checksum::sum(own) + payload;
    put_u16(headers, at, checksum::finish_nonzero(sum).into());
}

/// Complete the checksum of an ordinary packet: its field holds the sum of the pseudo header.
#[inline]
fn complete(hdr: VirtioNetHdr, packet: &mut [u8]) -> Result<(), OffloadError> {
    let start = usize::from(hdr.csum_start);
    let covered = packet.get_mut(start..).ok_or(OffloadError::Checksum)?;
    let sum = checksum::sum(covered);
    let field = covered
        .get_mut(usize::from(hdr.csum_offset)..)
        .and_then(<[u8]>::first_chunk_mut)
        .ok_or(OffloadError::Checksum)?;
    *field = checksum::finish_nonzero(sum).to_be_bytes();
    Ok(())
}
