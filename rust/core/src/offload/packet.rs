//! Where the headers of a TCP or UDP packet lie, read from the packet itself.

use super::OffloadError;
use crate::ipv6::{self, TCP, UDP};
use crate::{checksum, ipv6::transport};

pub(super) const IPV4_HEADER: usize = 20;
pub(super) const TCP_HEADER: usize = 20;
pub(super) const UDP_HEADER: usize = 8;

pub(super) const FIN: u8 = 0x01;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const ECE: u8 = 0x40;
pub(super) const CWR: u8 = 0x80;

/// Where the flags lie in the TCP header.
pub(super) const TCP_FLAGS_AT: usize = 13;
/// Where the checksum lies in the IPv4 header.
pub(super) const IPV4_CHECKSUM_AT: usize = 10;

/// Transport protocols whose packets can be cut and merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Tcp => TCP,
            Self::Udp => UDP,
        }
    }

    /// Where the checksum lies in the transport header.
    pub(super) const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }
}

/// The layout of one TCP or UDP packet. All offsets were checked against the packet they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) v6: bool,
    pub(super) protocol: Protocol,
    /// Where the transport header begins.
    pub(super) transport: usize,
    /// Where the payload begins.
    pub(super) payload: usize,
    /// Where the packet ends, by the length in its IP header.
    pub(super) end: usize,
}

impl Layout {
    /// Find the headers of `packet`. None for anything but TCP and UDP, for fragments too.
    ///
    /// # Errors
    /// Not IP, or cut short.
    #[inline]
    pub(super) fn of(packet: &[u8]) -> Result<Option<Self>, OffloadError> {
        let (v6, protocol, transport, end) = match packet.first().map(|byte| byte >> 4) {
            Some(6) => {
                let head = packet
                    .first_chunk::<{ ipv6::HEADER }>()
                    .ok_or(OffloadError::Short)?;
                let end = ipv6::HEADER + usize::from(u16::from_be_bytes([head[4], head[5]]));
                // The common case needs no walk along extension headers.
                let found = if matches!(head[6], TCP | UDP) {
                    Some((head[6], ipv6::HEADER))
                } else {
                    transport(packet.get(..end).ok_or(OffloadError::Short)?)
                };
                let Some((protocol, at)) = found else {
                    return Ok(None);
                };
                (true, protocol, at, end)
            }
            Some(4) => {
                let head = packet.first_chunk::<IPV4_HEADER>().ok_or(OffloadError::Short)?;
                let length = usize::from(head[0] & 0x0f) * 4;
                let end = usize::from(u16::from_be_bytes([head[2], head[3]]));
                if length < IPV4_HEADER || end < length {
                    return Err(OffloadError::Short);
                }
                if u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0 {
                    return Ok(None);
                }
                (false, head[9], length, end)
            }
            Some(_) => return Err(OffloadError::Version),
            None => return Err(OffloadError::Short),
        };
        let whole = packet.get(..end).ok_or(OffloadError::Short)?;
        let head = whole.get(transport..).ok_or(OffloadError::Short)?;
        let (protocol, length) = match protocol {
            TCP => {
                let head = head.first_chunk::<TCP_HEADER>().ok_or(OffloadError::Short)?;
                let length = usize::from(head[12] >> 4) * 4;
                if length < TCP_HEADER {
                    return Err(OffloadError::Short);
                }
                (Protocol::Tcp, length)
            }
            UDP => (Protocol::Udp, UDP_HEADER),
            _ => return Ok(None),
        };
        let payload = transport + length;
        if payload > end {
            return Err(OffloadError::Short);
        }
        Ok(Some(Self {
            v6,
            protocol,
            transport,
            payload,
            end,
        }))
    }

    /// The sum of the pseudo header for a packet whose transport header and payload have `length` bytes.
    #[inline]
    pub(super) fn pseudo(&self, headers: &[u8], length: usize) -> u64 {
        let addresses = if self.v6 {
            headers.get(8..40)
        } else {
            headers.get(12..20)
        };
        let length = length as u64;
        checksum::sum(addresses.unwrap_or_default())
            + (length >> 16)
            + (length & 0xffff)
            + u64::from(self.protocol.number())
    }

    /// Write the partial checksum of a packet of `total` bytes: the sum of its pseudo header.
    #[inline]
    pub(super) fn set_pseudo(&self, headers: &mut [u8], total: usize) {
        let sum = checksum::fold(self.pseudo(headers, total - self.transport));
        put_u16(headers, self.transport + self.protocol.checksum_at(), sum.into());
    }

    /// Write the lengths of IP and UDP headers for a packet of `total` bytes in `headers`, and the IPv4
    /// header checksum.
    #[inline]
    pub(super) fn set_lengths(&self, headers: &mut [u8], total: usize) {
        if self.v6 {
            put_u16(headers, 4, total - ipv6::HEADER);
        } else {
            put_u16(headers, 2, total);
            put_u16(headers, IPV4_CHECKSUM_AT, 0);
            let sum = checksum::finish(checksum::sum(headers.get(..self.transport).unwrap_or_default()));
            put_u16(headers, IPV4_CHECKSUM_AT, sum.into());
        }
        if self.protocol == Protocol::Udp {
            put_u16(headers, self.transport + 4, total - self.transport);
        }
    }
}

/// Write `value` at `at`; nothing if that lies outside.
#[inline]
pub(super) fn put_u16(bytes: &mut [u8], at: usize, value: usize) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = (value as u16).to_be_bytes();
    }
}

/// The u16 at `at`; 0 if that lies outside.
#[inline]
pub(super) fn get_u16(bytes: &[u8], at: usize) -> u16 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |field| u16::from_be_bytes(*field))
}

/// The u32 at `at`; 0 if that lies outside.
#[inline]
pub(super) fn get_u32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map_or(0, |field| u32::from_be_bytes(*field))
}
