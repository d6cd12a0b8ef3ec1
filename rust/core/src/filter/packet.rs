//! What the filter has to know of a packet: who, to whom, which protocol and ports; and where fragments stand.
//!
//! The walk along the extension headers ends after [`MAX_HEADERS`], whatever the packet says, and believes no
//! length that leads out of it.

use crate::ipv6::{FRAGMENT, HEADER, ICMPV6, TCP, UDP};

/// Extension headers walked: the five kinds that a host may send, some of them twice (RFC 8200, section 4.1).
const MAX_HEADERS: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION: u8 = 60;
const DCCP: u8 = 33;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// ICMPv6: a request to answer with an echo.
pub const ECHO_REQUEST: u8 = 128;
/// ICMPv6: the answer to that.
pub const ECHO_REPLY: u8 = 129;

/// TCP flag.
pub const FIN: u8 = 1;
/// TCP flag.
pub const SYN: u8 = 2;
/// TCP flag.
pub const RST: u8 = 4;
/// TCP flag.
pub const ACK: u8 = 16;

/// Whether `protocol` begins with a source and a destination port.
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | DCCP | SCTP | UDP_LITE)
}

/// Bytes of the transport header that must be there, and lie in the first fragment (RFC 7112).
const fn least(protocol: u8) -> usize {
    match protocol {
        TCP => 20,
        UDP | UDP_LITE | ICMPV6 => 8,
        SCTP | DCCP => 12,
        _ => 0,
    }
}

/// A packet that is part of a longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// What the pieces of one packet have in common, beside its addresses.
    pub id: u32,
    /// Where it begins, and where it ends, in units of eight bytes. Only the first begins at 0.
    pub from: u16,
    /// See `from`.
    pub to: u16,
}

/// A packet as the filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'p> {
    /// Source address.
    pub src: u128,
    /// Destination address.
    pub dst: u128,
    /// What follows the extension headers; 0 in a fragment that isn't the first.
    pub protocol: u8,
    /// Source and destination port. An echo has its identifier in both, every other ICMPv6 packet its type in
    /// the second; 0 where the protocol has none.
    pub ports: (u16, u16),
    /// Of TCP.
    pub flags: u8,
    /// Of ICMPv6.
    pub kind: u8,
    /// Only in a fragment.
    pub piece: Option<Piece>,
    /// What an ICMPv6 error quotes.
    pub quote: &'p [u8],
}

/// A packet that makes no sense, or that nobody would send who means well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("headers that can't be followed")]
pub struct Malformed;

impl<'p> Packet<'p> {
    /// Read a whole packet, or the first super-packet's header of many: lengths beyond the bytes are nobody's.
    ///
    /// # Errors
    /// Cut short in its headers, too many of them, or headers that ask for detours.
    #[inline]
    pub fn read(packet: &'p [u8]) -> Result<Self, Malformed> {
        Self::walk(packet, true, least)
    }

    /// Read what an error quotes: of the transport header only the ports need be there, and a fragment may end
    /// anywhere.
    ///
    /// # Errors
    /// As for [`Packet::read`].
    pub fn read_quote(quote: &'p [u8]) -> Result<Self, Malformed> {
        Self::walk(quote, false, |protocol| match protocol {
            ICMPV6 => 8,
            _ if has_ports(protocol) => 4,
            _ => 0,
        })
    }

    #[inline]
    fn walk(packet: &'p [u8], whole: bool, least: impl Fn(u8) -> usize) -> Result<Self, Malformed> {
        let (head, _) = packet.split_first_chunk::<HEADER>().ok_or(Malformed)?;
        let (_, addresses) = head.split_last_chunk::<32>().ok_or(Malformed)?;
        let (src, dst) = addresses.split_at(16);
        let address = |bytes: &[u8]| bytes.first_chunk().map(|word| u128::from_be_bytes(*word));
        let mut found = Self {
            src: address(src).ok_or(Malformed)?,
            dst: address(dst).ok_or(Malformed)?,
            protocol: head[6],
            ports: (0, 0),
            flags: 0,
            kind: 0,
            piece: None,
            quote: &[],
        };
        if head[0] >> 4 != 6 {
            return Err(Malformed);
        }
        match found.extensions(packet, whole)? {
            Some(at) => found.transport(packet.get(at..).ok_or(Malformed)?, least)?,
            None => found.protocol = 0,
        }
        Ok(found)
    }

    /// Walk to the transport header; where it begins. None in a fragment that isn't the first.
    #[inline]
    fn extensions(&mut self, packet: &[u8], whole: bool) -> Result<Option<usize>, Malformed> {
        let mut at = HEADER;
        for _ in 0..MAX_HEADERS {
            if !matches!(self.protocol, HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT) {
                return Ok(Some(at));
            }
            let header = packet.get(at..).and_then(<[u8]>::first_chunk::<8>);
            let header = header.ok_or(Malformed)?;
            match self.protocol {
                // Only in front of all others (RFC 8200, section 4.1).
                HOP_BY_HOP if at != HEADER => return Err(Malformed),
                // It wants to go on to somebody else, through this host.
                ROUTING if header[3] != 0 => return Err(Malformed),
                FRAGMENT => {
                    at += 8;
                    if !self.fragment(header, packet.len() - at, whole)? {
                        return Ok(None);
                    }
                }
                _ => at += 8 * (usize::from(header[1]) + 1),
            }
            self.protocol = header[0];
        }
        Err(Malformed)
    }

    /// Note what a fragment header says; whether the transport header follows.
    fn fragment(&mut self, header: &[u8; 8], rest: usize, whole: bool) -> Result<bool, Malformed> {
        let place = u16::from_be_bytes([header[2], header[3]]);
        let (from, more) = (place >> 3, place & 1 == 1);
        if from == 0 && !more {
            // The only one: not a part of anything (RFC 6946).
            return Ok(true);
        }
        let length = u16::try_from(rest).map_err(|_| Malformed)?;
        let to = from.checked_add(length.div_ceil(8)).ok_or(Malformed)?;
        // A second fragment header; an end that isn't one; beyond the longest packet there is.
        if self.piece.is_some() || (whole && more && length % 8 != 0) || to > 0x2000 {
            return Err(Malformed);
        }
        let id = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        self.piece = Some(Piece { id, from, to });
        Ok(from == 0)
    }

    #[inline]
    fn transport(&mut self, bytes: &'p [u8], least: impl Fn(u8) -> usize) -> Result<(), Malformed> {
        if bytes.len() < least(self.protocol) {
            return Err(Malformed);
        }
        let word = |at: usize| {
            let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
            word.map_or(0, |word| u16::from_be_bytes(*word))
        };
        match self.protocol {
            ICMPV6 => {
                self.kind = bytes.first().copied().unwrap_or(0);
                self.ports = match self.kind {
                    ECHO_REQUEST | ECHO_REPLY => (word(4), word(4)),
                    kind => (0, u16::from(kind)),
                };
                self.quote = bytes.get(8..).unwrap_or_default();
            }
            protocol if has_ports(protocol) => self.ports = (word(0), word(2)),
            _ => {}
        }
        if self.protocol == TCP {
            self.flags = bytes.get(13).copied().unwrap_or(0);
        }
        Ok(())
    }

    /// Whether it asks for a new TCP connection.
    #[inline]
    #[must_use]
    pub const fn is_bare_syn(&self) -> bool {
        self.protocol == TCP && self.flags & (SYN | ACK | RST) == SYN
    }
}
